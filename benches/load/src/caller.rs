//! One caller: a connection to an MCP endpoint, and what its calls come to.

use std::{collections::BTreeMap, io, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::TcpSocket, task::AbortHandle};

/// Where and how a tool is called.
#[derive(Clone, Deserialize)]
pub struct Endpoint {
    address: SocketAddr,
    path: String,
    headers: BTreeMap<String, String>,
}

/// An error of the connection, which is then of no more use.
pub type Broken = Box<dyn std::error::Error>;
/// A call, as it is sent.
pub type CallRequest = Request<Full<Bytes>>;

/// A connection, closed when it is dropped.
pub struct Caller {
    sender: SendRequest<Full<Bytes>>,
    connection: AbortHandle,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// An answer, as far as it matters here.
#[derive(Deserialize)]
struct Answer {
    result: Outcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(default)]
    is_error: bool,
    #[serde(default, rename = "_meta")]
    meta: Meta,
}

#[derive(Deserialize, Default)]
struct Meta {
    #[serde(rename = "mcp-connectors.io/error")]
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
}

impl Caller {
    /// Connects, from an address of this machine if one is given.
    pub async fn connect(endpoint: &Endpoint, from: Option<SocketAddr>) -> Result<Self, Broken> {
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        if let Some(from) = from {
            socket.bind(from)?;
        }
        let stream = socket.connect(endpoint.address).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // What ends it is seen by the call that it ends.
        let connection = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Self { sender, connection })
    }

    /// Makes a call, and says in a word how it ended: `answered`, the error's code, or the HTTP status.
    pub async fn call(&mut self, request: CallRequest) -> Result<String, Broken> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status != 200 {
            return Ok(format!("status {}", status.as_u16()));
        }
        Ok(match serde_json::from_slice::<Answer>(&body) {
            Ok(Answer { result: Outcome { is_error: false, .. } }) => "answered".to_owned(),
            Ok(answer) => answer.result.meta.error.map_or("failed".to_owned(), |failure| failure.code),
            Err(_) => "unreadable".to_owned(),
        })
    }
}

impl Endpoint {
    /// A request with this body.
    pub fn request(&self, body: Bytes) -> Result<CallRequest, http::Error> {
        let mut request = Request::builder().method(Method::POST).uri(&self.path);
        request = request.header(HOST, HeaderValue::try_from(self.address.to_string())?);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(body))
    }
}

/// An address of 127.0.0.0/8 for each caller, so that each counts by itself where callers are known by address.
pub fn loopback(number: usize) -> io::Result<SocketAddr> {
    let low = u16::try_from(number + 256).map_err(io::Error::other)?;
    let [third, fourth] = low.to_be_bytes();
    Ok(([127, 0, third, fourth], 0).into())
}
