//! `local --print-config`: what a client's own configuration has to hold, so that it starts a connector by itself.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Map, Value, json};

use super::{manifests::Key, serving::Host};

/// A program that speaks MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Claude Desktop (`claude_desktop_config.json`) and Claude Code (`.mcp.json`).
    Claude,
    /// Visual Studio Code (`.vscode/mcp.json`).
    VsCode,
    /// Cursor (`.cursor/mcp.json`).
    Cursor,
    /// The MCP Inspector (`npx @modelcontextprotocol/inspector --config FILE --server NAME`).
    Inspector,
}

/// How a connector is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// This program.
    pub program: PathBuf,
    /// Files and directories with the manifests, absolute.
    pub files: Vec<PathBuf>,
    /// Whether directories in directories are read.
    pub recursive: bool,
    /// Namespace of objects that name none.
    pub namespace: String,
    /// Where the credentials are, absolute.
    pub credentials_directory: Option<PathBuf>,
    /// File with a token for Vault, absolute.
    pub vault_jwt_file: Option<PathBuf>,
    /// Proxies that may carry credentials.
    pub proxies: Vec<Host>,
    /// Variables that say which Vault logins are for; a client that no shell has started lacks them.
    pub environment: BTreeMap<String, String>,
}

impl Start {
    fn arguments(&self, connector: &Key) -> Vec<String> {
        let mut arguments = vec!["local".to_owned(), "--stdio".to_owned()];
        for file in &self.files {
            arguments.extend(["--filename".to_owned(), file.display().to_string()]);
        }
        if self.recursive {
            arguments.push("--recursive".to_owned());
        }
        arguments.extend(["--namespace".to_owned(), self.namespace.clone()]);
        if let Some(directory) = &self.credentials_directory {
            arguments.extend(["--credentials-dir".to_owned(), directory.display().to_string()]);
        }
        if let Some(file) = &self.vault_jwt_file {
            arguments.extend(["--vault-jwt-file".to_owned(), file.display().to_string()]);
        }
        for proxy in &self.proxies {
            arguments.extend(["--allow-proxy".to_owned(), proxy.0.clone()]);
        }
        arguments.extend(["--connector".to_owned(), connector.to_string()]);
        arguments
    }
}

/// The part of a client's configuration that starts these connectors.
#[must_use]
pub fn build_client_config(client: Client, start: &Start, connectors: &[Key]) -> Value {
    let server = |key: &Key| {
        let mut server = Map::new();
        if matches!(client, Client::VsCode | Client::Inspector) {
            server.insert("type".to_owned(), json!("stdio"));
        }
        server.insert("command".to_owned(), json!(start.program.display().to_string()));
        server.insert("args".to_owned(), json!(start.arguments(key)));
        if !start.environment.is_empty() {
            server.insert("env".to_owned(), json!(start.environment));
        }
        (format!("{}-{}", key.namespace, key.name), Value::Object(server))
    };
    let servers: Map<String, Value> = connectors.iter().map(server).collect();
    match client {
        Client::VsCode => json!({ "servers": servers }),
        Client::Claude | Client::Cursor | Client::Inspector => json!({ "mcpServers": servers }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_its_own_form() {
        let start = Start {
            program: "/bin/mcp-connectors".into(),
            files: vec!["/srv/a.yaml".into()],
            recursive: false,
            namespace: "default".into(),
            credentials_directory: Some("/srv/keys".into()),
            vault_jwt_file: Some("/srv/jwt".into()),
            proxies: vec![Host("proxy:3128".into())],
            environment: BTreeMap::new(),
        };
        let address = ("VAULT_ADDR".to_owned(), "https://vault.example.com".to_owned());
        let in_vault = Start { environment: [address].into(), ..start.clone() };
        let connectors = [Key { namespace: "ci".into(), name: "jenkins".into() }];
        let words = ["local", "--stdio", "--filename", "/srv/a.yaml", "--namespace", "default", "--credentials-dir"];
        let more =
            ["/srv/keys", "--vault-jwt-file", "/srv/jwt", "--allow-proxy", "proxy:3128", "--connector", "ci/jenkins"];
        let words: Vec<&str> = words.into_iter().chain(more).collect();
        let plain = json!({ "command": "/bin/mcp-connectors", "args": words });
        let typed = json!({ "type": "stdio", "command": "/bin/mcp-connectors", "args": words });
        for (client, list, server) in [
            (Client::Claude, "mcpServers", &plain),
            (Client::Cursor, "mcpServers", &plain),
            (Client::Inspector, "mcpServers", &typed),
            (Client::VsCode, "servers", &typed),
        ] {
            assert_eq!(build_client_config(client, &start, &connectors), json!({ list: { "ci-jenkins": server } }));
            let knowing = &build_client_config(client, &in_vault, &connectors)[list]["ci-jenkins"];
            assert_eq!(knowing["env"], json!({ "VAULT_ADDR": "https://vault.example.com" }));
        }
    }
}
