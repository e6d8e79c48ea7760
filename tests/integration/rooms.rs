//! Keeps true which room may know which (`ARCHITECTURE.md`), by reading the imports.

use std::{fs, path::Path};

/// Every Rust file below `folder`, with its path from the package's root. Tests of a room may know more.
#[allow(clippy::case_sensitive_file_extension_comparisons, reason = "Cargo compares so, too")]
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_dir() {
                if !name.ends_with("/tests") && !name.ends_with("/testing") {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && !name.ends_with("testing.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                found.push((name, code));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} holds no Rust file");
    found
}

/// Lines that name one of `forbidden`, but for those that name one of `allowed`.
fn offences(folder: &str, forbidden: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut offences = Vec::new();
    for (name, code) in sources(folder) {
        for (number, line) in code.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let names = |words: &[&str]| words.iter().any(|word| code.contains(word));
            if names(forbidden) && !names(allowed) {
                offences.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    offences
}

#[test]
fn the_operator_never_touches_a_platforms_client() {
    let clients = [
        "platforms::connect",
        "dyn Platform",
        "argocd::ArgoCd",
        "circleci::CircleCi",
        "cloudwatch::CloudWatch",
        "jenkins::Jenkins",
        "vault::Vault",
        "crate::outbound",
        "crate::tools",
    ];
    assert_eq!(offences("src/operator", &clients, &[]), Vec::<String>::new());
}

#[test]
fn the_operator_knows_the_servers_files_and_answers_only() {
    let server = ["server::", "crate::credentials", "crate::vault_api", "crate::agent", "agent::{"];
    let told = ["server::config", "server::status", "agent::config"];
    assert_eq!(offences("src/operator", &server, &told), Vec::<String>::new());
}

#[test]
fn the_server_has_no_client_of_the_kubernetes_api() {
    for folder in
        ["src/server", "src/tools", "src/platforms", "src/credentials", "src/outbound", "src/agent", "src/vault_api"]
    {
        let client = ["kube::Client", "kube::Api", "kube::client", "kube::runtime", "crate::operator"];
        assert_eq!(offences(folder, &client, &[]), Vec::<String>::new());
    }
}

#[test]
fn the_server_knows_no_platform_by_name() {
    let names = [
        "platforms::argocd",
        "ArgoCd",
        "platforms::circleci",
        "CircleCi",
        "platforms::cloudwatch",
        "CloudWatch",
        "aws_sdk",
        "platforms::jenkins",
        "Jenkins",
        "platforms::vault",
        "platforms::{vault",
        "Vault",
    ];
    assert_eq!(offences("src/server", &names, &[]), Vec::<String>::new());
}

#[test]
fn platforms_and_tools_know_no_server() {
    for folder in ["src/platforms", "src/tools", "src/outbound", "src/credentials", "src/agent", "src/vault_api"] {
        assert_eq!(offences(folder, &["crate::server"], &[]), Vec::<String>::new());
    }
}

#[test]
fn the_agent_knows_no_platform_and_vaults_api_no_room_but_the_way_out() {
    let others = ["crate::platforms", "platforms::", "crate::tools", "crate::operator"];
    assert_eq!(offences("src/agent", &others, &[]), Vec::<String>::new());
    assert_eq!(offences("src/vault_api", &["crate::"], &["crate::outbound"]), Vec::<String>::new());
}

#[test]
fn telemetry_knows_no_other_room() {
    assert_eq!(offences("src/telemetry", &["crate::"], &["crate::telemetry"]), Vec::<String>::new());
}

/// It is the operator without a cluster: its pure steps, and nothing that asks or writes.
#[test]
fn without_a_cluster_there_is_no_client_of_the_kubernetes_api() {
    let client = ["kube::Client", "kube::Api", "kube::client", "kube::runtime", "connector::apply", "operator::cache"];
    assert_eq!(offences("src/local", &client, &[]), Vec::<String>::new());
    let platforms = ["platforms::argocd", "platforms::circleci", "platforms::cloudwatch", "platforms::jenkins"];
    assert_eq!(offences("src/local", &platforms, &[]), Vec::<String>::new());
}

#[test]
fn nobody_knows_what_runs_without_a_cluster() {
    for folder in
        ["src/api", "src/operator", "src/server", "src/tools", "src/platforms", "src/credentials", "src/outbound"]
    {
        assert_eq!(offences(folder, &["crate::local"], &[]), Vec::<String>::new());
    }
}

#[test]
fn the_contract_does_no_io() {
    let io = ["std::fs", "tokio::", "reqwest", "kube::Client", "kube::Api", "crate::operator", "crate::server"];
    assert_eq!(offences("src/api", &io, &[]), Vec::<String>::new());
}
