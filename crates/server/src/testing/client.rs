//! Requests as they go over the wire.

use super::*;

#[derive(Clone)]
pub struct RawRequest {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RawRequest {
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            let _infallible = write!(text, "{name}: {value}\r\n");
        }
        let _infallible = write!(text, "Content-Length: {}\r\n\r\n", self.body.len());
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

pub fn request(method: &str, path: &str, host: &str) -> RawRequest {
    RawRequest {
        method: method.into(),
        path: path.into(),
        headers: vec![("Host".into(), host.into()), ("Connection".into(), "close".into())],
        body: vec![],
    }
}

/// A POST of JSON to the endpoint.
pub fn post(token: &str, body: &Value) -> RawRequest {
    let mut request = request("POST", "/mcp", "mcp-fake.agents.svc:8080")
        .with("Content-Type", "application/json")
        .with("Accept", "application/json, text/event-stream")
        .with("Authorization", &format!("Bearer {token}"));
    request.body = body.to_string().into_bytes();
    request
}

pub fn modern_request(token: &str, method: &str, mut params: Value) -> RawRequest {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    });
    let name = params["name"].as_str().map(str::to_owned);
    let request = post(token, &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        .with("MCP-Protocol-Version", "2026-07-28")
        .with("Mcp-Method", method);
    match name {
        Some(name) => request.with("Mcp-Name", &name),
        None => request,
    }
}

pub fn legacy_request(token: &str, version: &str, method: &str, params: &Value) -> RawRequest {
    post(token, &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        .with("MCP-Protocol-Version", version)
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub async fn send(address: SocketAddr, request: &RawRequest) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request.bytes()).await.unwrap();
    receive(&mut stream).await
}

pub async fn receive(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_mins(1), stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Reply { status, headers, body: body.to_owned() }
}
