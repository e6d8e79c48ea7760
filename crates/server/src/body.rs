//! A request's body: collected within its time and what memory there is, and weighed before any value is made of it. What it
//! is, where it isn't what is wanted, is told by name.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    guards::shares::{Share, Shares},
    refusal::Refusal,
};
use outbound::{
    CallerKey,
    memory::{Budget, NoRoom, Reserved, weigh},
};

/// Bytes of a request's body, at most.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Bytes of a body that are read and thrown away, so that whoever sends them gets to read the refusal.
const MAX_DISCARDED_BYTES: usize = 16 * MAX_BODY_BYTES;
/// JSON values in a body, at most.
const MAX_VALUES: usize = 50_000;
/// Lists and objects within one another in a body, at most.
const MAX_DEPTH: usize = 64;
/// How often a body is there while it is worked on: as it came, as the protocol's message, and as arguments.
const COPIES: usize = 3;
/// Time that a body waits for memory, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// When a request that found no memory should come back.
const PAUSE: &str = "1";

/// Collects bodies.
pub(super) struct Bodies {
    timeout: Duration,
    budget: Budget,
    callers: Arc<Shares>,
}

/// Memory that a request has until it is answered.
#[derive(Debug)]
pub(super) struct BodyMemory {
    part: Reserved,
    share: Share,
}

impl Bodies {
    /// Each may take so long, and one caller's may take half of the budget together.
    pub(super) fn new(timeout: Duration, budget: Budget) -> Self {
        let callers = Shares::new(budget.bytes() / 2);
        Self { timeout, budget, callers }
    }

    /// Reads a caller's body to its end.
    pub(super) async fn read(
        &self,
        caller: CallerKey,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Bytes, BodyMemory), Refusal> {
        if headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            let message =
                "the body is compressed (Content-Encoding), and bodies are taken as they are only: send it without";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed_body", message)
                .with_header(header::ACCEPT_ENCODING, "identity"));
        }
        let declared = declared_length(headers);
        if declared.is_some_and(|length| length > MAX_DISCARDED_BYTES) {
            return Err(too_large());
        }
        let mut memory = BodyMemory { part: self.budget.part(), share: self.callers.of(caller) };
        let read = async {
            let mut collected = BytesMut::with_capacity(declared.unwrap_or(0).min(MAX_BODY_BYTES));
            let mut total = 0_usize;
            let mut stream = body.into_data_stream();
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|_| {
                    Refusal::new(StatusCode::BAD_REQUEST, "broken_body", "the body ended before its end")
                })?;
                total = total.saturating_add(chunk.len());
                if total > MAX_DISCARDED_BYTES {
                    return Err(too_large());
                }
                if total <= MAX_BODY_BYTES {
                    memory.grow(total).await?;
                    collected.extend_from_slice(&chunk);
                }
            }
            if total > MAX_BODY_BYTES { Err(too_large()) } else { Ok(collected.freeze()) }
        };
        let body = tokio::time::timeout(self.timeout, read).await.unwrap_or_else(|_| {
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body took too long to arrive"))
        })?;
        let weight = weigh(&body);
        if weight.values > MAX_VALUES {
            let message =
                format!("the body holds {} JSON values, and may hold {MAX_VALUES}: send less at a time", weight.values);
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_wide", message)
                .with_field("limit_values", MAX_VALUES));
        }
        if weight.depth > MAX_DEPTH {
            let message = format!(
                "the body holds {} lists or objects within one another, and may hold {MAX_DEPTH}: send it flatter",
                weight.depth
            );
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_deep", message)
                .with_field("limit_depth", MAX_DEPTH));
        }
        memory.grow(body.len().saturating_add(weight.bytes()).saturating_mul(COPIES)).await?;
        Ok((body, memory))
    }
}

impl BodyMemory {
    async fn grow(&mut self, to: usize) -> Result<(), Refusal> {
        if to > self.share.most() {
            return Err(too_much());
        }
        if !self.share.grow(to) {
            let message = "the requests of this caller that are worked on hold as much memory as those of one caller may: call again \
                           when some are answered, and send less at a time";
            return Err(no_memory(message));
        }
        match self.part.grow(to, Instant::now() + LONGEST_WAIT).await {
            Ok(()) => Ok(()),
            Err(NoRoom::Ever) => Err(too_much()),
            Err(NoRoom::Now) => {
                Err(no_memory("the connector has no memory left for this request: call again in a second"))
            }
        }
    }
}

/// Bytes that a body says it has.
pub(super) fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok())
}

fn no_memory(message: &str) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no_memory", message).with_header(header::RETRY_AFTER, PAUSE)
}

fn too_much() -> Refusal {
    let message = "the body, with the JSON values in it, needs more memory than the connector has for one request: send less at a time";
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_heavy", message)
}

fn too_large() -> Refusal {
    let message = format!("the body is larger than {MAX_BODY_BYTES} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message).with_field("limit_bytes", MAX_BODY_BYTES)
}

/// What is wrong with a body that is no message of JSON-RPC.
pub(super) fn unreadable(body: &[u8]) -> Refusal {
    let not_json = |message: &str| Refusal::rpc(StatusCode::BAD_REQUEST, -32700, message);
    let beginning = match body {
        [0xef, 0xbb, 0xbf, ..] => "begins with a byte order mark (BOM), which JSON has not: send it without",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "is UTF-16, and JSON is UTF-8",
        [0x1f, 0x8b, ..] => "is compressed (gzip), and bodies are taken as they are only: send it without",
        _ => "",
    };
    if !beginning.is_empty() {
        return not_json(&format!("the body {beginning}"));
    }
    if let Err(error) = std::str::from_utf8(body) {
        return not_json(&format!("the body is not JSON in UTF-8: it holds other bytes at {}", error.valid_up_to()));
    }
    let message = match serde_json::from_slice::<Value>(body) {
        Ok(message) => message,
        Err(error) => {
            let told = error.to_string();
            if told.contains("surrogate") || told.contains("hex escape") {
                let (line, column) = (error.line(), error.column());
                return not_json(&format!(
                    "the body holds half of a pair of surrogates (\\ud800 to \\udfff), which is no character, before line {line}, \
                     column {column}"
                ));
            }
            return not_json(&format!("the body is not JSON in UTF-8: {told}"));
        }
    };
    no_message(&message)
}

/// What is wrong with JSON that is no message.
fn no_message(message: &Value) -> Refusal {
    let refuse = |message: &str| Refusal::rpc(StatusCode::BAD_REQUEST, -32600, message);
    let Some(members) = message.as_object() else {
        return refuse(if message.is_array() {
            "the body is a list: send one JSON-RPC request or notification in each body"
        } else {
            "the body is not one JSON-RPC request or notification, but a single value"
        });
    };
    let id = members.get("id");
    let with_id = |refusal: Refusal| match id {
        Some(id) if is_id(id) => refusal.with_id(id.clone()),
        _ => refusal,
    };
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return with_id(refuse("the body is not one JSON-RPC request or notification: jsonrpc must be \"2.0\""));
    }
    if id.is_some_and(|id| !is_id(id)) {
        return refuse("the body is not one JSON-RPC request or notification: id must be a text or a whole number");
    }
    if !members.get("method").is_some_and(Value::is_string) {
        return with_id(refuse("the body is not one JSON-RPC request or notification: method must be a text"));
    }
    if members.get("params").is_some_and(|params| !params.is_object()) {
        return with_id(Refusal::rpc(StatusCode::BAD_REQUEST, -32602, "params must be an object"));
    }
    with_id(refuse("the body is not one JSON-RPC request or notification"))
}

fn is_id(id: &Value) -> bool {
    id.is_string() || id.is_i64() || id.is_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::principal::Principal;

    fn bodies(bytes: usize) -> Bodies {
        Bodies::new(Duration::from_secs(10), Budget::new(bytes))
    }

    fn caller(name: &str) -> CallerKey {
        Principal::Address(Some(name.parse().unwrap())).key()
    }

    async fn told(refusal: Refusal) -> (u16, String) {
        let response = refusal.into_rpc_response();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let told: Value = serde_json::from_slice(&body).unwrap();
        (status, told["error"]["data"]["error"].as_str().unwrap_or_default().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_body_becomes_is_bounded_before_it_is_made() {
        let bodies = bodies(64 * 1024 * 1024);
        let read = async |text: String| bodies.read(caller("10.0.0.1"), &HeaderMap::new(), text.into()).await;
        let (body, memory) = read("[1,2,3]".to_owned()).await.unwrap();
        assert_eq!(body, "[1,2,3]");
        assert!(memory.part.bytes() >= 7 * COPIES);
        for (text, word) in [
            (format!("[{}0]", "0,".repeat(500_000)), "body_too_wide"),
            (format!("[{}0]", "[],".repeat(MAX_VALUES)), "body_too_wide"),
            (format!("{}{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1)), "body_too_deep"),
            (" ".repeat(MAX_BODY_BYTES + 1), "body_too_large"),
        ] {
            let refused = told(read(text).await.unwrap_err()).await;
            assert_eq!(refused, (413, word.to_owned()));
        }
        drop(memory);
        assert_eq!(bodies.budget.left(), bodies.budget.bytes(), "all of it was given back");
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_has_no_more_than_half_of_the_memory() {
        let bodies = bodies(8 * 1024 * 1024);
        let text = format!("\"{}\"", "x".repeat(MAX_BODY_BYTES - 2));
        let read = async |name: &str| bodies.read(caller(name), &HeaderMap::new(), text.clone().into()).await;
        let held = read("10.0.0.1").await.unwrap();
        assert_eq!(told(read("10.0.0.1").await.unwrap_err()).await, (503, "no_memory".to_owned()));
        let other = read("10.0.0.2").await.unwrap();
        let began = Instant::now();
        assert_eq!(told(read("10.0.0.3").await.unwrap_err()).await, (503, "no_memory".to_owned()));
        assert_eq!(began.elapsed(), LONGEST_WAIT, "it waited for a while");
        drop(held);
        assert!(read("10.0.0.3").await.is_ok());
        drop(other);
    }
}
