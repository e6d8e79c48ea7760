//! What MCP clients and pods need to be configured with to call a connector. Pure. No token is ever printed: clients get
//! theirs from `kubectl create token`, pods from the kubelet.

use std::fmt::Write as _;

use api::{MCP_PORT, McpConnector, owned_name};
use clap::ValueEnum;
use kube::ResourceExt;
use serde_json::{Value, json};

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum McpClient {
    /// A pod of the cluster: its volume with a token, and where to send it
    Pod,
    /// Claude Code: a command to run
    ClaudeCode,
    /// Cursor: .cursor/mcp.json
    Cursor,
    /// Visual Studio Code: .vscode/mcp.json
    Vscode,
}

/// Why nothing can be printed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator has not told yet where it is to be reached.
    #[error("McpConnector {0} has no status.url yet; kubectl mcp status {0} says why")]
    NoUrl(String),
    /// The text can't be written, which is a fault of this program.
    #[error("failed to write the configuration")]
    Write(#[source] Box<dyn std::error::Error>),
}

/// The configuration, with what to do with it.
///
/// # Errors
/// While the connector has no URL.
pub fn build(connector: &McpConnector, client: McpClient) -> Result<String, Error> {
    let name = connector.name_any();
    let status = connector.status.clone().unwrap_or_default();
    let url = status.url.ok_or_else(|| Error::NoUrl(name.clone()))?;
    let is_anonymous = connector.spec.access.as_ref().is_some_and(|access| access.anonymous == Some(true));
    let audience = status.audience.filter(|_| !is_anonymous);
    let namespace = connector.namespace().unwrap_or_default();
    if client == McpClient::Pod {
        return pod(&url, audience.as_deref());
    }

    let local = format!("http://localhost:{MCP_PORT}/mcp");
    let mut head = format!(
        "# Leave this running; a client outside of the cluster reaches the endpoint through it:\n\
         #   kubectl -n {namespace} port-forward deployment/{} {MCP_PORT}\n",
        owned_name(&name)
    );
    if let Some(audience) = &audience {
        let _ = writeln!(
            head,
            "# Before the client starts, and again when the token has ended:\n\
             #   export MCP_TOKEN=$(kubectl -n {namespace} create token default --audience {audience} --duration 8h)"
        );
    }
    // Each client has its own way to name an environment variable.
    let server = |variable: &str| {
        if audience.is_some() {
            let headers = json!({"Authorization": format!("Bearer {variable}")});
            json!({"type": "http", "url": local, "headers": headers})
        } else {
            json!({"type": "http", "url": local})
        }
    };
    let pretty = |value: Value| format!("{value:#}\n");
    let body = match client {
        McpClient::ClaudeCode => {
            let header = if audience.is_some() { " \\\n  --header \"Authorization: Bearer $MCP_TOKEN\"" } else { "" };
            format!("claude mcp add --transport http {name} {local}{header}\n")
        }
        McpClient::Cursor => pretty(json!({"mcpServers": {name: server("${env:MCP_TOKEN}")}})),
        McpClient::Vscode => pretty(json!({"servers": {name: server("${env:MCP_TOKEN}")}})),
        McpClient::Pod => String::new(),
    };
    Ok(head + &body)
}

fn pod(url: &str, audience: Option<&str>) -> Result<String, Error> {
    let address = json!({"name": "MCP_URL", "value": url});
    let spec = if let Some(audience) = audience {
        let directory = "/var/run/secrets/mcp-connectors.io";
        let token = json!({"audience": audience, "expirationSeconds": 3600, "path": "token"});
        json!({
            "containers": [{
                "name": "agent",
                "env": [address, {"name": "MCP_TOKEN_FILE", "value": format!("{directory}/token")}],
                "volumeMounts": [{"name": "mcp-token", "mountPath": directory, "readOnly": true}],
            }],
            "volumes": [{"name": "mcp-token", "projected": {"sources": [{"serviceAccountToken": token}]}}],
        })
    } else {
        json!({"containers": [{"name": "agent", "env": [address]}]})
    };
    let text = serde_saphyr::to_string(&json!({"spec": spec})).map_err(|error| Error::Write(Box::new(error)))?;
    let how = if audience.is_some() {
        "# Part of a pod. The kubelet renews the file: read it for every request, and send it as Authorization: Bearer …\n"
    } else {
        "# Part of a pod. The connector asks for no token.\n"
    };
    Ok(how.to_owned() + &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(anonymous: bool) -> McpConnector {
        serde_json::from_value(json!({
            "apiVersion": "mcp-connectors.io/v1alpha1", "kind": "McpConnector",
            "metadata": {"name": "vault", "namespace": "agents"},
            "spec": {"platform": {}, "credentials": {"name": "reader"}, "access": {"anonymous": anonymous}},
            "status": {"url": "http://mcp-vault.agents.svc:8080/mcp", "audience": "http://mcp-vault.agents.svc:8080/mcp"},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_gets_a_token_of_the_right_audience() {
        let text = build(&connector(false), McpClient::Pod).unwrap();
        let pod: Value = serde_saphyr::from_str(&text).unwrap();
        let source = &pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
        assert_eq!(source["audience"], "http://mcp-vault.agents.svc:8080/mcp");
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["name"], pod["spec"]["volumes"][0]["name"]);
    }

    #[test]
    fn files_of_clients_are_json_below_a_head_that_says_what_to_do() {
        for (client, pointer) in [
            (McpClient::Cursor, "/mcpServers/vault/headers/Authorization"),
            (McpClient::Vscode, "/servers/vault/headers/Authorization"),
        ] {
            let text = build(&connector(false), client).unwrap();
            let (head, body): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
            assert!(head.join("\n").contains("--audience http://mcp-vault.agents.svc:8080/mcp"), "{text}");
            let body: Value = serde_json::from_str(&body.join("\n")).unwrap();
            assert_eq!(body.pointer(pointer).unwrap(), "Bearer ${env:MCP_TOKEN}");
        }
        assert!(
            build(&connector(false), McpClient::ClaudeCode).unwrap().contains("claude mcp add --transport http vault")
        );
    }

    #[test]
    fn where_everybody_may_call_there_is_no_token() {
        for client in McpClient::value_variants() {
            let text = build(&connector(true), *client).unwrap();
            assert!(!text.to_lowercase().contains("bearer") && !text.contains("audience"), "{text}");
        }
    }
}
