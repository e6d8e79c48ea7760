//! One connector that runs in this process: a server without a port, and what the operator would see
//! of it.

use std::{io, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    LocalError,
    serving::{Credentials, Inbound, serve_settings},
};
use agent::Agent;
use credentials::{
    directory::Source,
    supply::{Supplied, SupplyState},
};
use operator::plan::Handshake;
use pod_api::status::ReplicaStatus;
use server::{
    LoadedConfig, Server, Upstream,
    access::{Caller, Rights},
    door::{Door, MCP_PATH},
    handler::Handler,
};

/// The protocol revision that the handshake is made in.
const PROTOCOL_VERSION: &str = "2026-07-28";
/// Bytes of an answer to the handshake, at most.
const MAX_ANSWER: usize = 64 * 1024;
/// Time that an answer to the handshake may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Answers requests for one connector, and knows how many it is at.
#[derive(Clone)]
pub struct Route {
    door: Arc<Door<Handler>>,
    requests: TaskTracker,
}

impl Route {
    /// Answers a request whose path is that of a connector's own port.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let _counted = self.requests.token();
        self.door.answer(request).await
    }
}

/// A connector that runs.
pub struct Replica {
    /// Where its requests go.
    pub route: Route,
    /// Digest of the configuration that it runs with.
    pub digest: String,
    /// Where its credentials are.
    pub credentials: Credentials,
    files: watch::Sender<Supplied>,
    agent: Option<Supplying>,
    server: Server,
}

/// An agent that runs.
struct Supplying {
    supplied: watch::Receiver<Supplied>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Replica {
    /// Starts a connector. Audit records go to `records`.
    ///
    /// # Errors
    /// When its platform's client can't be made, its tools can't be offered, or Vault could never be called.
    pub fn start(
        loaded: &LoadedConfig,
        credentials: Credentials,
        inbound: &Inbound,
        records: Box<dyn io::Write + Send>,
    ) -> Result<Self, LocalError> {
        let settings = serve_settings(inbound);
        let (files, receiver) = watch::channel(credentials.supplied());
        let agent = credentials.agent(&loaded.config).map_err(LocalError::Agent)?;
        let source = match (&credentials, &agent) {
            (Credentials::Folder(folder), _) => Source::Directory(folder.clone()),
            (_, Some((_, supplied))) => Source::Memory(supplied.clone()),
            (_, None) => Source::Memory(receiver),
        };
        let server = Upstream::connect(platforms::connect, &settings, loaded, source)
            .and_then(|upstream| Server::build(&settings, loaded, upstream, records, None))
            .map_err(LocalError::Serve)?;
        Ok(Self {
            route: Route { door: server.door.clone(), requests: TaskTracker::new() },
            digest: loaded.digest.clone(),
            credentials,
            files,
            agent: agent.map(|(agent, supplied)| supply(agent, supplied)),
            server,
        })
    }

    /// Whether it can go on with these credentials: a folder is followed by itself, and values are handed over.
    pub fn takes(&mut self, credentials: &Credentials) -> bool {
        let handed_over = self.credentials.are_handed_over() && credentials.are_handed_over();
        if handed_over && self.credentials != *credentials {
            self.files.send_replace(credentials.supplied());
            self.credentials = credentials.clone();
        }
        self.credentials == *credentials
    }

    /// Waits until the agent has tried once to fetch the credentials, if one does, and no longer than this.
    pub async fn supplied(&self, timeout: Duration) {
        let Some(Supplying { supplied, .. }) = &self.agent else { return };
        let mut supplied = supplied.clone();
        let tried =
            |supplied: &Supplied| supplied.supply.as_ref().is_some_and(|supply| supply.state != SupplyState::Starting);
        if tokio::time::timeout(timeout, supplied.wait_for(tried)).await.is_err() {
            tracing::warn!("Vault has not answered yet");
        }
    }

    /// What it says of itself.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        self.server.admin.status()
    }

    /// Answers MCP's methods, for a transport that is not HTTP.
    #[must_use]
    pub fn handler(&self) -> Handler {
        self.server.handler.clone()
    }

    /// What whoever calls without a token may use.
    #[must_use]
    pub fn rights(&self) -> Option<Arc<Rights>> {
        self.server.door.rights(&Caller::Local)
    }

    /// Calls the endpoint as an agent would.
    pub async fn shake_hands(&self) -> Handshake {
        let exchange = async {
            let response = self.route.answer(handshake_request()?).await;
            match response.status() {
                StatusCode::OK => versions(response).await,
                // It asks who calls, which nobody here can prove. That is an answer.
                StatusCode::UNAUTHORIZED => Ok(self.status().protocol_versions),
                status => Err(format!("HTTP status {}", status.as_u16())),
            }
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, exchange).await {
            Ok(Ok(versions)) => Handshake::Succeeded(versions),
            Ok(Err(problem)) => Handshake::Failed(problem),
            Err(_) => Handshake::Failed(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
        }
    }

    /// Ends it: the calls that run get the time that they would get in a pod.
    pub async fn drain(self) {
        self.route.requests.close();
        if let Err(error) = self.server.drain(self.route.requests.wait()).await {
            tracing::warn!("{error}");
        }
        self.server.close().await;
        if let Some(Supplying { stop, task, .. }) = self.agent {
            stop.cancel();
            if task.await.is_err() {
                tracing::error!("what fetches credentials from Vault panicked");
            }
        }
    }
}

/// Lets an agent run, which gives everything back at its end.
fn supply(mut agent: Agent, supplied: watch::Receiver<Supplied>) -> Supplying {
    let stop = CancellationToken::new();
    let until = stop.clone();
    let task = tokio::spawn(async move {
        agent.run(&until).await;
        agent.close().await;
    });
    Supplying { supplied, stop, task }
}

fn handshake_request() -> Result<Request<Body>, String> {
    let body = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "server/discover",
        "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {
                "name": "mcp-connectors-local", "version": env!("CARGO_PKG_VERSION"),
            },
        }},
    });
    Request::builder()
        .method(Method::POST)
        .uri(MCP_PATH)
        .header(header::HOST, "localhost")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .header(header::CONTENT_TYPE, "application/json")
        .header("mcp-protocol-version", PROTOCOL_VERSION)
        .header("mcp-method", "server/discover")
        .body(Body::from(Bytes::from(body.to_string())))
        .map_err(|error| error.to_string())
}

async fn versions(response: Response<Body>) -> Result<Vec<String>, String> {
    let mut body = Vec::new();
    let mut stream = response.into_body().into_data_stream();
    while let Some(chunk) = stream.next().await {
        body.extend_from_slice(&chunk.map_err(|_| "the answer broke off".to_owned())?);
        if body.len() > MAX_ANSWER {
            return Err("the answer is too large".to_owned());
        }
    }
    let answer: Value = serde_json::from_slice(&body).map_err(|_| "the answer is not JSON".to_owned())?;
    let versions = answer.pointer("/result/supportedVersions").and_then(Value::as_array);
    let versions: Vec<String> = versions.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if versions.is_empty() { Err("the answer names no protocol version".to_owned()) } else { Ok(versions) }
}
