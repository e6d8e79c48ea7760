//! How the SDK's requests leave: through the stack of `outbound`, with the deadline and the care of the call that they are
//! part of. The SDK builds and signs; it has no HTTP client, no retries and no timeouts of its own.

use std::sync::Arc;

use aws_sdk_cloudwatch::config::{HttpClient, RuntimeComponents};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::Headers,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{
    StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName},
};
use tokio::time::Instant;

use super::clock::Clock;
use outbound::{BuiltRequest, Outbound, Purpose, Repeat, RequestError, Response, Verdict, classify_by_status};

tokio::task_local! {
    /// How the requests of the running call are to be sent. The SDK hands a request on without what its caller knows, and
    /// sends it within the caller's own task.
    static MANNER: Manner;
}

/// How the requests of a call are to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) deadline: Instant,
    pub(super) purpose: Purpose,
    pub(super) repeat: Repeat,
    pub(super) is_probe: bool,
}

impl Manner {
    /// How the requests of the call that runs are to be sent, if one does.
    pub(super) fn of_running_call() -> Option<Self> {
        MANNER.try_with(|manner| *manner).ok()
    }

    /// The same within half of the time that is left.
    pub(super) fn half(self) -> Self {
        let now = Instant::now();
        Self { deadline: now + self.deadline.saturating_duration_since(now) / 2, ..self }
    }

    /// Runs what sends requests.
    pub(super) async fn during<F: Future>(self, call: F) -> F::Output {
        MANNER.scope(self, call).await
    }
}

/// The SDK's HTTP client for one service.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    pub(super) way: Outbound,
    /// What the services' answers say of the time.
    pub(super) clock: Arc<Clock>,
}

impl HttpClient for Transport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { way, clock } = self.clone();
        let manner = Manner::of_running_call();
        HttpConnectorFuture::new(async move {
            let manner = manner.ok_or_else(|| failed(RequestError::Build))?;
            let protocol = Protocol::of(&request);
            let Manner { deadline, purpose, repeat, is_probe } = manner;
            let request = BuiltRequest::new(outgoing(request).map_err(failed)?, purpose, repeat, is_probe);
            let response = way.send_built(&request, deadline).await.map_err(failed)?;
            clock.note(&response.headers);
            incoming(&response, protocol).map_err(failed)
        })
    }
}

/// The kind stays open: whoever made the call looks for [`RequestError`] among the causes.
fn failed(error: RequestError) -> ConnectorError {
    ConnectorError::other(Box::new(error), None)
}

fn outgoing(request: HttpRequest) -> Result<http::Request<Bytes>, RequestError> {
    let request = request.try_into_http1x().map_err(|_| RequestError::Build)?;
    let (mut parts, body) = request.into_parts();
    for name in [AUTHORIZATION, HeaderName::from_static("x-amz-security-token")] {
        if let Some(value) = parts.headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
    // The operations that are called have no streams.
    let body = body.bytes().map(Bytes::copy_from_slice).ok_or(RequestError::Build)?;
    Ok(http::Request::from_parts(parts, body))
}

/// How an operation is spoken: each has a form of its own for answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// CloudWatch: Smithy's RPC with CBOR.
    Cbor,
    /// CloudWatch Logs: AWS JSON 1.1.
    Json,
    /// STS: the query protocol, which answers XML.
    Query,
}

impl Protocol {
    fn of(request: &HttpRequest) -> Self {
        if request.headers().contains_key("smithy-protocol") {
            Self::Cbor
        } else if request.headers().contains_key("x-amz-target") {
            Self::Json
        } else {
            Self::Query
        }
    }

    /// Whether an answer that says that all is well has the protocol's form. An operation without an answer would take any
    /// page for its success (<https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>: an answer without the
    /// header of the request is malformed). Test servers of Python call JSON a page, so the body decides.
    fn speaks(self, response: &Response) -> bool {
        let header = |name: &str| {
            let value = response.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_ascii_lowercase()
        };
        let first = response.body().iter().find(|byte| !byte.is_ascii_whitespace());
        match self {
            Self::Cbor => header("smithy-protocol") == "rpc-v2-cbor" || header(CONTENT_TYPE.as_str()).contains("cbor"),
            Self::Json => first.is_none_or(|byte| *byte == b'{'),
            Self::Query => first == Some(&b'<') && !header(CONTENT_TYPE.as_str()).contains("html"),
        }
    }
}

/// Whether a refusal is AWS' own: it has a code in one of the three forms, or the header that its services share. What stands
/// in front of it has neither. See `e2e/doubles/ANSWERS.md`.
fn is_of_aws(response: &Response) -> bool {
    error_code(response).is_some() || response.headers.contains_key("x-amzn-requestid")
}

fn incoming(response: &Response, protocol: Protocol) -> Result<HttpResponse, RequestError> {
    let status = response.status;
    if status.is_success() && !protocol.speaks(response) {
        let begins_as_page = response.body().iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<');
        return Err(if begins_as_page { RequestError::Html } else { RequestError::NotJson });
    }
    // 429 and an outage are told as they are, whoever says so.
    if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS && !is_of_aws(response) {
        return Err(RequestError::Foreign(status.as_u16()));
    }
    let body = match protocol {
        Protocol::Json => whole_characters(response.body()),
        Protocol::Cbor | Protocol::Query => response.body().clone(),
    };
    let mut given =
        HttpResponse::new(status.as_u16().try_into().map_err(|_| RequestError::NotJson)?, SdkBody::from(body));
    *given.headers_mut() = Headers::try_from(response.headers.clone()).map_err(|_| RequestError::NotJson)?;
    Ok(given)
}

/// JSON with a mark for each half of a pair of characters without the other, which JSON can write and nothing can read: one
/// event that was cut there would cost the whole page.
fn whole_characters(body: &Bytes) -> Bytes {
    const ESCAPE: usize = r"\ud83d".len();
    let unit = |at: usize| {
        let digits = body.get(at..at + ESCAPE)?.strip_prefix(br"\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(byte) = body.get(at) {
        if *byte != b'\\' {
            at += 1;
            continue;
        }
        let broken = match unit(at) {
            Some(0xD800..=0xDBFF) => {
                let is_whole = matches!(unit(at + ESCAPE), Some(0xDC00..=0xDFFF));
                at += if is_whole { 2 * ESCAPE } else { ESCAPE };
                !is_whole
            }
            Some(0xDC00..=0xDFFF) => {
                at += ESCAPE;
                true
            }
            // Another escape is this character and the next.
            _ => {
                at += 2;
                false
            }
        };
        if broken && let Some(half) = mended.get_or_insert_with(|| body.to_vec()).get_mut(at - ESCAPE..at) {
            half.copy_from_slice(br"\ufffd");
        }
    }
    mended.map_or_else(|| body.clone(), Bytes::from)
}

/// What an answer means for the way to AWS, which says "too many requests" with status 400 as well.
pub(super) fn classify(response: &Response) -> Verdict {
    if response.status.is_success() {
        return Verdict::Answered;
    }
    match error_code(response) {
        Some(code) if is_throttling(&code) => Verdict::Throttled,
        _ => classify_by_status(response),
    }
}

/// Whether an error of AWS says that there were too many requests. From the list that the SDKs share:
/// `aws-runtime/src/retries/classifiers.rs`.
pub(super) fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "BandwidthLimitExceeded"
            | "SlowDown"
            | "PriorRequestNotComplete"
            | "EC2ThrottledException"
    )
}

/// The code of an error in any of the three protocols: AWS JSON, RPC v2 CBOR (both `__type`, with or without a namespace)
/// and the query protocol of STS (`<Code>`).
fn error_code(response: &Response) -> Option<String> {
    let body: &[u8] = response.body();
    let of_json = || serde_json::from_slice::<serde_json::Value>(body).ok()?.get("__type")?.as_str().map(str::to_owned);
    let code = of_json().or_else(|| of_cbor(body)).or_else(|| of_xml(body))?;
    let without_namespace = code.rsplit('#').next().unwrap_or_default();
    Some(without_namespace.split(':').next().unwrap_or_default().to_owned())
}

/// Finds the key `__type` (a text of six bytes) and reads the text after it (RFC 8949, section 3.1).
fn of_cbor(body: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"\x66__type";
    let at = body.windows(KEY.len()).position(|window| window == KEY)?;
    let (head, rest) = body.get(at + KEY.len()..)?.split_first()?;
    let (length, text) = match head {
        0x60..=0x77 => (head - 0x60, rest),
        0x78 => rest.split_first().map(|(length, text)| (*length, text))?,
        _ => return None,
    };
    std::str::from_utf8(text.get(..usize::from(length))?).ok().map(str::to_owned)
}

fn of_xml(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_character_costs_itself_and_nothing_else() {
        for (given, expected) in [
            (r#"{"a":"\ud83d\ude00 \u00fc"}"#, r#"{"a":"\ud83d\ude00 \u00fc"}"#),
            (r#"{"a":"cut \ud83d"}"#, r#"{"a":"cut \ufffd"}"#),
            (r#"{"a":"\ude00\ud83dx\ud83d\u0041"}"#, r#"{"a":"\ufffd\ufffdx\ufffd\u0041"}"#),
            // A backslash and the text of an escape.
            (r#"{"a":"\\ud83d"}"#, r#"{"a":"\\ud83d"}"#),
            (r#"{"a":"\"#, r#"{"a":"\"#),
        ] {
            assert_eq!(whole_characters(&Bytes::from(given)), Bytes::from(expected), "{given}");
        }
    }
}
