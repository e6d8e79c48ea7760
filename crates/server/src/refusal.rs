//! Answers of the ports that are no success: a status, a word to branch on, and a sentence that says what to do.

use axum::body::Body;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE},
};
use serde_json::{Map, Value, json};

use super::guards::{delegation::DelegationError, rate::RateNote};

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    /// JSON-RPC's code for it, where it has one.
    code: Option<i32>,
    /// The id of the request that is refused, where it was read.
    id: Option<Box<Value>>,
    message: String,
    /// A word to branch on, and what else there is to know.
    data: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// A refusal with a word to branch on and a sentence that says what to do.
    pub(super) fn new(status: StatusCode, error: &str, message: impl Into<String>) -> Self {
        let data = Map::from_iter([("error".to_owned(), Value::from(error))]);
        Self { status, code: None, id: None, message: message.into(), data, headers: Vec::new() }
    }

    pub(super) fn rpc(status: StatusCode, code: i32, message: &str) -> Self {
        Self { status, code: Some(code), id: None, message: message.to_owned(), data: Map::new(), headers: Vec::new() }
    }

    pub(super) fn with_field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn with_id(mut self, id: Value) -> Self {
        self.id = Some(Box::new(id));
        self
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// As plain JSON: the word and the sentence side by side.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut body = self.data;
        body.insert("message".to_owned(), self.message.into());
        respond(self.status, &body.into(), self.headers)
    }

    /// As a JSON-RPC error, because clients of MCP show nothing else to whoever called. Where JSON-RPC has no code for it,
    /// the code is the HTTP status, which lies outside the range that JSON-RPC reserves.
    pub(super) fn into_rpc_response(self) -> Response<Body> {
        let code = self.code.unwrap_or_else(|| i32::from(self.status.as_u16()));
        let mut error = json!({ "code": code, "message": self.message });
        if let (Some(error), false) = (error.as_object_mut(), self.data.is_empty()) {
            error.insert("data".to_owned(), self.data.into());
        }
        respond(self.status, &json!({ "jsonrpc": "2.0", "id": self.id, "error": error }), self.headers)
    }
}

fn respond(status: StatusCode, body: &Value, headers: Vec<(HeaderName, HeaderValue)>) -> Response<Body> {
    let mut response = json_response(status, body);
    response.headers_mut().extend(headers);
    response
}

/// The answer to a call on behalf of others that can't be made.
pub(super) fn undelegated(error: DelegationError) -> Refusal {
    let (status, word) = match error {
        DelegationError::Circular => (StatusCode::FORBIDDEN, "circular_delegation"),
        DelegationError::Malformed => (StatusCode::BAD_REQUEST, "bad_agent_trace"),
    };
    tracing::info!(reason = word, "a call on behalf of others was refused");
    Refusal::new(status, word, error.to_string())
}

/// The answer to an address with too many refused callers, before any token of it is looked at.
pub(super) fn too_many_requests(note: &RateNote) -> Response<Body> {
    let message = "too many callers from this address were refused lately: come back after retryAfter seconds";
    refused_for_rate("too_many_requests", message, note)
}

/// The answer to a large request of a caller who has made as many calls as it may, of which nothing is read.
pub(super) fn rate_used_up(note: &RateNote) -> Response<Body> {
    let message =
        "these are more calls than a caller may make, so the body is not read: come back after retryAfter seconds";
    refused_for_rate("rate_limited", message, note)
}

fn refused_for_rate(word: &str, message: &str, note: &RateNote) -> Response<Body> {
    let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, word, message)
        .with_field("retryAfter", note.retry_after_seconds())
        .with_header(CONNECTION, "close");
    let mut response = refusal.into_rpc_response();
    note.write(response.headers_mut());
    response
}

/// A response with a JSON body.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
