//! A connector's endpoint from a person's machine: a port of one of its pods is forwarded, and each message carries a token
//! that the API server makes for a ServiceAccount, with the connector's audience. The server keeps no sessions, so each
//! message is one request.

use api::{MCP_PORT, McpConnector};
use axum::body::{Body, Bytes, to_bytes};
use http::{Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount},
};
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::{Map, Value, json};

use crate::cluster::{self, Cluster};

/// The revision of the protocol that is spoken.
const PROTOCOL_VERSION: &str = "2026-07-28";
/// Seconds that a token is good for: the least that the API server gives.
const TOKEN_SECONDS: i64 = 600;
/// Bytes of an answer, at most.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Pages of a list, at most.
const MAX_PAGES: usize = 100;

/// Why a connector can't be asked, or what it refused with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something of the cluster can't be read.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The operator has not told yet where it is to be reached.
    #[error("McpConnector {0} has no status.url yet; kubectl mcp status {0} says why")]
    NoUrl(String),
    /// None of its pods is ready.
    #[error("no pod of McpConnector {0} is ready; kubectl mcp status {0} says why")]
    NotReady(String),
    /// The API server makes no token.
    #[error(
        "failed to make a token for ServiceAccount {account}: it must exist, and you need the verb create on \
         serviceaccounts/token; --service-account names another one"
    )]
    Token {
        /// The ServiceAccount.
        account: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The port can't be forwarded.
    #[error("failed to forward a port of pod {pod}: you need the verb create on pods/portforward")]
    Forward {
        /// The pod.
        pod: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The connection broke off.
    #[error("the connection to the connector broke off")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The endpoint refused.
    #[error("the connector refused (HTTP {status}): {message}")]
    Refused {
        /// Status.
        status: StatusCode,
        /// Its words.
        message: String,
    },
    /// The answer is not what it has to be.
    #[error("an answer has not the form that it must have: {0}")]
    Answer(String),
}

/// A ServiceAccount to call as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A connector that can be called.
pub struct Endpoint {
    pods: Api<Pod>,
    pod: String,
    /// Host and path that the server expects.
    host: String,
    path: String,
    token: Option<String>,
}

impl Endpoint {
    /// Finds a ready pod, and makes a token where one is needed.
    ///
    /// # Errors
    /// When there is none, or the token can't be made.
    pub async fn open(cluster: &Cluster, connector: &McpConnector, account: &Account) -> Result<Self, Error> {
        let name = connector.name_any();
        let status = connector.status.clone().unwrap_or_default();
        let url = status.url.as_deref().and_then(|url| url::Url::parse(url).ok());
        let url = url.ok_or_else(|| Error::NoUrl(name.clone()))?;
        let ready = |pod: &Pod| {
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            pod.metadata.deletion_timestamp.is_none()
                && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        let pod = cluster.pods(&name).await?.into_iter().find(ready).ok_or_else(|| Error::NotReady(name.clone()))?;
        let is_anonymous = connector.spec.access.as_ref().is_some_and(|access| access.anonymous == Some(true));
        let token = match &status.audience {
            Some(audience) if !is_anonymous => Some(make_token(cluster, account, audience).await?),
            _ => None,
        };
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let pods = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        Ok(Self { pods, pod: pod.name_any(), host, path: url.path().to_owned(), token })
    }

    /// The tools that the caller is offered.
    ///
    /// # Errors
    /// When the connector can't be asked, or refuses.
    pub async fn tools(&self) -> Result<Vec<Value>, Error> {
        let (mut tools, mut cursor) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let parameters = cursor.take().map_or_else(|| json!({}), |cursor: Value| json!({"cursor": cursor}));
            let mut result = self.ask("tools/list", parameters).await?;
            let Some(Value::Array(page)) = result.get_mut("tools").map(Value::take) else {
                return Err(Error::Answer("it lists no tools".to_owned()));
            };
            tools.extend(page);
            cursor = result.get_mut("nextCursor").map(Value::take).filter(|cursor| !cursor.is_null());
            if cursor.is_none() {
                break;
            }
        }
        Ok(tools)
    }

    /// Calls a tool. An answer with `isError` is an answer.
    ///
    /// # Errors
    /// When the connector can't be asked, or refuses.
    pub async fn call(&self, tool: &str, arguments: &Map<String, Value>) -> Result<Value, Error> {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    async fn ask(&self, method: &str, parameters: Value) -> Result<Value, Error> {
        let forward = |source| Error::Forward { pod: self.pod.clone(), source: Box::new(source) };
        let mut forwarder = self.pods.portforward(&self.pod, &[MCP_PORT]).await.map_err(forward)?;
        let stream = forwarder.take_stream(MCP_PORT).ok_or_else(|| broken("the port was not forwarded"))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(connection);
        let request = build_request(&self.host, &self.path, self.token.as_deref(), method, parameters)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), MAX_ANSWER).await.map_err(broken)?;
        drop(sender);
        connection.abort();
        forwarder.abort();
        read_answer(status, &body)
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Http(error.into())
}

async fn make_token(cluster: &Cluster, account: &Account, audience: &str) -> Result<String, Error> {
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(vec![audience.to_owned()]),
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let api = Api::<ServiceAccount>::namespaced(cluster.client.clone(), &account.namespace);
    let made = api.create_token_request(&account.name, &PostParams::default(), &request).await;
    let made = made.map_err(|source| Error::Token {
        account: format!("{}/{}", account.namespace, account.name),
        source: Box::new(source),
    })?;
    made.status.and_then(|status| status.token).ok_or_else(|| Error::Answer("the API server made no token".to_owned()))
}

/// A message with the headers and the metadata that belong to it.
fn build_request(
    host: &str,
    path: &str,
    token: Option<&str>,
    method: &str,
    mut parameters: Value,
) -> Result<Request<Body>, Error> {
    let tool = parameters.get("name").and_then(Value::as_str).map(str::to_owned);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "kubectl-mcp", "version": env!("CARGO_PKG_VERSION")},
    });
    if let Some(parameters) = parameters.as_object_mut() {
        parameters.insert("_meta".to_owned(), meta);
    }
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
    let mut request = Request::post(path)
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/json, text/event-stream")
        .header(header::CONTENT_TYPE, "application/json")
        .header("mcp-protocol-version", PROTOCOL_VERSION)
        .header("mcp-method", method);
    if let Some(tool) = tool {
        request = request.header("mcp-name", tool);
    }
    if let Some(token) = token {
        let mut value = http::HeaderValue::from_str(&format!("Bearer {token}")).map_err(broken)?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    request.body(Body::from(body.to_string())).map_err(broken)
}

fn read_answer(status: StatusCode, body: &Bytes) -> Result<Value, Error> {
    let mut answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(message) = answer.pointer("/error/message").and_then(Value::as_str) {
        return Err(Error::Refused { status, message: message.to_owned() });
    }
    if !status.is_success() {
        let message = String::from_utf8_lossy(body).chars().take(500).collect();
        return Err(Error::Refused { status, message });
    }
    match answer.get_mut("result").map(Value::take) {
        Some(result) => Ok(result),
        None => Err(Error::Answer(String::from_utf8_lossy(body).chars().take(200).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_says_in_its_headers_what_stands_in_its_body() {
        let parameters = json!({"name": "get_vault_health", "arguments": {}});
        let request = build_request("mcp-vault.a.svc:8080", "/mcp", Some("t"), "tools/call", parameters).unwrap();
        for (name, value) in [
            ("host", "mcp-vault.a.svc:8080"),
            ("authorization", "Bearer t"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "get_vault_health"),
            ("mcp-protocol-version", PROTOCOL_VERSION),
        ] {
            assert_eq!(request.headers()[name], value, "{name}");
        }
        assert!(request.headers()["authorization"].is_sensitive());
        let body: Value = serde_json::from_slice(&to_bytes(request.into_body(), 10_000).await.unwrap()).unwrap();
        assert_eq!(body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], PROTOCOL_VERSION);
        assert_eq!(body["params"]["name"], "get_vault_health");
    }

    #[test]
    fn answers_and_refusals_are_told_apart() {
        let read = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            read_answer(status, &Bytes::from(body.to_owned())).map_err(|error| error.to_string())
        };
        assert_eq!(read(200, r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#), Ok(json!({"tools": []})));
        let refused = read(403, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"not allowed"}}"#);
        assert_eq!(refused, Err("the connector refused (HTTP 403 Forbidden): not allowed".to_owned()));
        assert!(read(502, "<html>").unwrap_err().contains("502"));
        assert!(read(200, "<html>").unwrap_err().contains("not the form"));
    }
}
