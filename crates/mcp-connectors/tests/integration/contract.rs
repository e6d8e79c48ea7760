//! What users hold on to: every reason is explained in the documents, and resources that another version wrote are read.

use std::{collections::BTreeSet, fs, path::Path};

use api::{CredentialSource, McpConnector, Reason, platform};
use cli::samples;
use serde_json::{Value, json};
use strum::IntoEnumIterator;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join("docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn troubleshooting_has_an_entry_for_every_reason_and_none_for_others() {
    let text = document("troubleshooting.md");
    let mut found = BTreeSet::new();
    let mut sections = text.split("\n### `").skip(1);
    for section in &mut sections {
        let (reason, entry) = section.split_once("`\n").unwrap();
        let entry = entry.split("\n## ").next().unwrap_or_default();
        assert!(entry.trim().len() > 20, "{reason} is not explained");
        assert!(found.insert(reason.to_owned()), "{reason} has two entries");
    }
    let reasons: BTreeSet<String> = Reason::iter().map(|reason| reason.to_string()).collect();
    assert_eq!(found, reasons);
}

#[test]
fn the_reference_explains_every_reason_of_a_platform() {
    let text = document("platforms.md");
    for (platform, reasons) in platform::declared_reasons() {
        for reason in reasons {
            let row = format!("| `{}` | {} |", reason.name, reason.meaning);
            assert!(text.contains(&row), "{platform}: {row}");
        }
    }
}

#[test]
fn events_of_the_operator_are_explained() {
    let text = document("troubleshooting.md");
    for reason in [
        "CredentialsRotated",
        "PlatformChanged",
        "PlatformChangeFailed",
        "ProbeRequested",
        "ReloadRequested",
        "RestartRequested",
        "RequestRefused",
        "RolloutFailed",
    ] {
        assert!(text.contains(&format!("`{reason}`")), "{reason}");
    }
}

/// Every manifest of the samples.
fn manifests() -> Vec<Value> {
    let all: Vec<Value> = samples::all()
        .unwrap()
        .iter()
        .flat_map(|(_, text)| serde_saphyr::from_multiple::<Value>(text).unwrap())
        .collect();
    assert!(all.len() >= 10, "{} manifests", all.len());
    all
}

/// Reads a resource into our types and writes it again.
fn rewritten(manifest: &Value) -> Result<Value, serde_json::Error> {
    if manifest["kind"] == "McpConnector" {
        serde_json::to_value(serde_json::from_value::<McpConnector>(manifest.clone())?)
    } else {
        serde_json::to_value(serde_json::from_value::<CredentialSource>(manifest.clone())?)
    }
}

#[test]
fn what_is_read_is_written_as_it_was() {
    for manifest in manifests() {
        assert_eq!(rewritten(&manifest).unwrap(), manifest);
    }
}

#[test]
fn fields_of_a_newer_version_are_ignored_and_values_of_one_are_not_guessed() {
    for manifest in manifests() {
        let mut newer = manifest.clone();
        newer["spec"]["ofTheFuture"] = json!({"a": [1]});
        assert_eq!(rewritten(&newer).unwrap(), manifest);
        if manifest["kind"] == "McpConnector" {
            newer["spec"]["tools"] = json!({"mutations": "Approve"});
            assert!(rewritten(&newer).unwrap_err().to_string().contains("Approve"));
        }
    }
}
