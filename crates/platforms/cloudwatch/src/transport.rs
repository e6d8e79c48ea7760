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
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use tokio::time::Instant;

use super::clock::Clock;
use outbound::{BuiltRequest, Outbound, Repeat, RequestError, Response, Verdict, classify_by_status};

tokio::task_local! {
    /// How the requests of the running call are to be sent. The SDK hands a request on without what its caller knows, and
    /// sends it within the caller's own task.
    static MANNER: Manner;
}

/// How the requests of a call are to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) deadline: Instant,
    pub(super) repeat: Repeat,
    pub(super) is_probe: bool,
}

impl Manner {
    /// How the requests of the call that runs are to be sent, if one does.
    pub(super) fn of_running_call() -> Option<Self> {
        MANNER.try_with(|manner| *manner).ok()
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
            let request = BuiltRequest::new(outgoing(request).map_err(failed)?, manner.repeat, manner.is_probe);
            let response = way.send_built(&request, manner.deadline).await.map_err(failed)?;
            clock.note(&response.headers);
            incoming(&response).map_err(failed)
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

fn incoming(response: &Response) -> Result<HttpResponse, RequestError> {
    // An operation without an answer would take a login page for its success. STS answers XML, which begins as a page does;
    // test servers of Python call JSON a page.
    let begins_as_page = response.body().iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<');
    let declared = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if response.status.is_success() && begins_as_page && declared.to_ascii_lowercase().contains("html") {
        return Err(RequestError::Html);
    }
    let status = response.status.as_u16().try_into().map_err(|_| RequestError::NotJson)?;
    let mut given = HttpResponse::new(status, SdkBody::from(response.body().clone()));
    *given.headers_mut() = Headers::try_from(response.headers.clone()).map_err(|_| RequestError::NotJson)?;
    Ok(given)
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
