//! HTTP calls to Argo CD: builds them, and tells whose answer came; what one of Argo CD's own means stands in `refusal.rs`.
//! It knows no tool and no credential file; whoever calls gives the token.

use std::{collections::VecDeque, ops::ControlFlow, time::Duration};

use http::{
    HeaderValue, Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    refusal::{Known, TOO_LARGE, is_behind, judge},
    wire::{Failure, LogEntry, LogLine},
};
use kit::failure::unknown_refusal;
use outbound::{
    Outbound, OutboundState, Purpose, Repeat, Request, RequestError, Response, Scan, ScanEnd, Verdict,
    classify_by_status,
    decode::{Place, decode, leave_out_at},
};
use tools::ErrorCode;

/// Bytes of a log that are kept: its end.
const MAX_LOG_KEPT: usize = 4 * 1024 * 1024;
/// Bytes of a log that are let pass to get at its end.
const MAX_LOG_READ: u64 = 128 * 1024 * 1024;

/// A right, as `policy.csv` names it: `applications, sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Right(pub(super) Place);

/// Why Argo CD did not give what was asked for. Holds nothing that Argo CD wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// The connector has no credentials yet.
    #[error("there are no credentials")]
    NoCredentials,
    /// 401: the token is not accepted, for the reason that it states itself, if it does.
    #[error("the token is not accepted")]
    TokenRejected {
        /// Whether its time is over.
        expired: bool,
    },
    /// A login was refused.
    #[error("the login was refused")]
    LoginRefused(LoginFault),
    /// No login is tried for this time, because the last ones were refused.
    #[error("the login was refused, and is tried again later")]
    LoginPaused(LoginFault, Duration),
    /// 403, with the right that is missing if Argo CD names it. Where it names none, the object may be what is missing.
    #[error("Argo CD does not permit it")]
    Forbidden(Option<Right>),
    /// 401 of the target cluster, which does not accept Argo CD's credentials.
    #[error("the target cluster does not accept Argo CD's credentials")]
    ClusterRejects,
    /// 403: a sync window is closed.
    #[error("a sync window does not permit it now")]
    SyncWindow,
    /// 404 of something other than an application.
    #[error("Argo CD has no such object")]
    NotFound,
    /// 404 of an application that a project was named for.
    #[error("Argo CD has no such application")]
    NoApplication,
    /// 409: somebody else has changed the object at the same time.
    #[error("somebody else changed it at the same time")]
    Changed,
    /// A text whose meaning is known.
    #[error("{}", .0.message)]
    Known(&'static Known),
    /// 400, code 9: another operation runs.
    #[error("another operation is in progress")]
    OperationRunning,
    /// 400: there is no operation that could be ended.
    #[error("no operation is in progress")]
    NoOperation,
    /// 400, code 9: the application is being deleted.
    #[error("the application is being deleted")]
    Deleting,
    /// 400, code 9: what was asked for is impossible while auto-sync is on.
    #[error("auto-sync is on")]
    AutoSync,
    /// 400, code 9: the repository has no such revision, or can't be asked for it.
    #[error("the revision can't be resolved")]
    Revision,
    /// 400 with a text that is not known: it may be the request, or what is there.
    #[error("Argo CD refuses it, for a cause that is not known here")]
    Refused(u16),
    /// 429, with the wait if Argo CD states it.
    #[error("Argo CD limits calls")]
    RateLimited(Option<Duration>),
    /// 501.
    #[error("this Argo CD does not have the function")]
    Unimplemented,
    /// 500, with a cause if that is known.
    #[error("Argo CD failed: {}", .0.in_words())]
    Failed(Cause),
    /// 502, 503 or 504.
    #[error("Argo CD or what stands in front of it is not available ({0})")]
    Unavailable(u16),
    /// Another answer that says that it failed.
    #[error("Argo CD answered with status {0}")]
    Status(u16),
    /// There is no usable answer.
    #[error("the request to Argo CD failed: {0}")]
    Request(#[source] RequestError),
}

/// How Argo CD refused a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginFault {
    /// 401: user name or password are wrong, or Argo CD has locked the user. It doesn't say which.
    Wrong,
    /// 401 for the fifth time or nearly so, by our own count: Argo CD locks a user after five.
    LockedOut,
    /// 401 after the right password: the account is disabled, or lacks the capability `login`.
    MayNotLogIn,
    /// 400: the user name is longer than Argo CD takes (32 bytes).
    Malformed,
}

/// A known cause of a failure inside Argo CD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A Git, Helm or OCI repository.
    Repository,
    /// Rendering of the manifests.
    Manifests,
    /// The cluster that is deployed to.
    Cluster,
    /// Something took too long.
    Timeout,
    /// Its cache, Redis.
    Cache,
    /// None that is known.
    Unknown,
}

impl Cause {
    /// What failed, in a few words.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Repository => "the repository can't be read",
            Self::Manifests => "the manifests can't be rendered",
            Self::Cluster => "the target cluster can't be used",
            Self::Timeout => "something behind it took too long",
            Self::Cache => "its cache can't be read",
            Self::Unknown => "the cause is not known here",
        }
    }

    /// By words that its own components and Git, Helm and Kubernetes use.
    pub(super) fn of(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&["deadline exceeded", "timed out", "timeout"]) {
            Self::Timeout
        } else if says(&["redis", "cache:"]) {
            Self::Cache
        } else if says(&["manifest generation", "failed to generate manifest", "helm template", "kustomize build"]) {
            Self::Manifests
        } else if says(&["repo", "git ", "unable to resolve", "ls-remote", "helm chart"]) {
            Self::Repository
        } else if says(&["cluster", "dial tcp"]) {
            Self::Cluster
        } else {
            Self::Unknown
        }
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl Error {
    /// Whether a change may have been carried out all the same: the answer is missing.
    pub(super) fn fate_is_unknown(self) -> bool {
        self.is_outage()
            || matches!(
                self,
                Self::Request(RequestError::Timeout | RequestError::Interrupted) | Self::Failed(Cause::Timeout)
            )
    }

    /// Whether Argo CD, or a part of it, is not available for now.
    pub(super) fn is_outage(self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Known(known) => known.code == ErrorCode::PlatformUnavailable,
            _ => false,
        }
    }
}

/// One call to Argo CD's API. Its body may hold a password, so it has no `Debug`.
pub(super) struct Call {
    purpose: Purpose,
    method: Method,
    below: &'static [&'static str],
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    repeat: Option<Repeat>,
    is_probe: bool,
}

impl Call {
    fn new(purpose: Purpose, method: Method, path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            purpose,
            method,
            below: &["api", "v1"],
            segments: path.into_iter().map(Into::into).collect(),
            query: Vec::new(),
            body: None,
            repeat: None,
            is_probe: false,
        }
    }

    /// `GET` of the path that these segments make below `/api/v1`.
    pub(super) fn get(path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Purpose::Look, Method::GET, path)
    }

    /// `GET` of the version: the only call that stands beside `/api/v1`, and the only one that everybody may make.
    pub(super) fn version() -> Self {
        Self { below: &["api"], ..Self::get(["version"]) }
    }

    /// `POST` with a body, to change something.
    pub(super) fn post(path: impl IntoIterator<Item = impl Into<String>>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Purpose::Change, Method::POST, path) }
    }

    /// `PATCH` with a body.
    pub(super) fn patch(path: impl IntoIterator<Item = impl Into<String>>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Purpose::Change, Method::PATCH, path) }
    }

    /// `DELETE`.
    pub(super) fn delete(path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Purpose::Change, Method::DELETE, path)
    }

    /// Adds a query parameter. It must be one that the call has: Argo CD ignores others, so that a filter with a wrong
    /// name finds everything.
    pub(super) fn query(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Says what it is for, instead of what follows from its method.
    pub(super) fn purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// Says when it may be sent again, instead of what follows from its purpose.
    pub(super) fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = Some(repeat);
        self
    }

    /// Says that it is the connector's own look at Argo CD's health.
    pub(super) fn probe(mut self) -> Self {
        self.is_probe = true;
        self
    }

    /// [`Call::query`] for what may be left out.
    pub(super) fn maybe(self, name: &'static str, value: Option<&impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }
}

/// Argo CD's HTTP API at one address. Holds no token.
#[derive(Clone, Debug)]
pub(super) struct Client {
    outbound: Outbound,
}

impl Client {
    pub(super) fn new(outbound: Outbound) -> Self {
        Self { outbound }
    }

    /// State of the way to Argo CD.
    pub(super) fn outbound(&self) -> OutboundState {
        self.outbound.state()
    }

    /// Makes a call and gives the answer's body, which is always a JSON object.
    ///
    /// # Errors
    /// Whatever Argo CD answers other than 200, and no usable answer.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        call: &Call,
        token: Option<&SecretString>,
        deadline: Instant,
    ) -> Result<T, Error> {
        let response = self.exchange(call, token, deadline).await?;
        if response.status != StatusCode::OK {
            return Err(classify(call, &response));
        }
        // Types of which nothing is needed would take any JSON.
        if !response.is_html() && response.body().iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(RequestError::NotJson.into());
        }
        Ok(response.json()?)
    }

    /// Makes a call whose answer is a stream of JSON objects, one a line, and gives the last of them, as far as they came.
    ///
    /// # Errors
    /// As [`Client::send`], and what the stream states as its error where nothing came before.
    pub(super) async fn lines(
        &self,
        call: &Call,
        token: Option<&SecretString>,
        deadline: Instant,
    ) -> Result<Lines, Error> {
        let request = Self::request(call, token)?;
        let begin = |_: &http::HeaderMap| LogEnd::default();
        let (response, scanned) = self.outbound.scan(&request, deadline, &begin).await?;
        let Some(scanned) = scanned.filter(|_| response.status == StatusCode::OK) else {
            return Err(classify(call, &response));
        };
        let bytes = Vec::from(scanned.scan.kept);
        let is_page = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<');
        if response.is_html() || is_page {
            return Err(RequestError::Html.into());
        }
        let is_cut = scanned.scan.dropped > 0;
        let is_whole = scanned.end == ScanEnd::Whole;
        let mut lines = read_lines(&bytes, is_cut, is_whole)?;
        if !is_whole && lines.entries.is_empty() {
            let is_late = deadline.saturating_duration_since(Instant::now()) < Duration::from_secs(1);
            return Err(if is_late { RequestError::Timeout } else { RequestError::Interrupted }.into());
        }
        if is_cut && lines.entries.is_empty() && lines.fault.is_none() {
            return Err(RequestError::BodyTooLarge.into());
        }
        lines.is_cut |= is_cut;
        lines.broke_off |= !is_whole;
        Ok(lines)
    }

    async fn exchange(
        &self,
        call: &Call,
        token: Option<&SecretString>,
        deadline: Instant,
    ) -> Result<Response, RequestError> {
        self.outbound.send(&Self::request(call, token)?, deadline).await
    }

    fn request(call: &Call, token: Option<&SecretString>) -> Result<Request, RequestError> {
        let path = call.below.iter().copied().chain(call.segments.iter().map(String::as_str));
        let mut request = Request::new(call.purpose, call.method.clone(), path)
            // Without it Argo CD's web server would answer some paths with its pages.
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(repeat) = call.repeat {
            request = request.repeat(repeat);
        }
        if call.is_probe {
            request = request.probe();
        }
        for (name, value) in &call.query {
            request = request.query(*name, value);
        }
        if let Some(body) = &call.body {
            request = request.json(body, None)?;
        } else if call.method != Method::GET {
            // Argo CD answers 415 to every change without it, also to one that has no body (`server/server.go`,
            // `enforceContentTypes`).
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(token) = token {
            let bearer = SecretString::from(format!("Bearer {}", token.expose_secret()));
            request = request.credential(AUTHORIZATION, &bearer)?;
        }
        Ok(request)
    }
}

/// The last entries of a log.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) entries: Vec<LogEntry>,
    /// Whether older ones came and were not kept.
    pub(super) is_cut: bool,
    /// Whether the stream broke off, so that newer ones may be missing.
    pub(super) broke_off: bool,
    /// The error that Argo CD ended the stream with.
    pub(super) fault: Option<Error>,
}

/// Keeps the end of a log.
#[derive(Debug, Default)]
struct LogEnd {
    kept: VecDeque<u8>,
    dropped: u64,
}

impl Scan for LogEnd {
    fn take(&mut self, piece: &[u8]) -> ControlFlow<()> {
        self.kept.extend(piece);
        let surplus = self.kept.len().saturating_sub(MAX_LOG_KEPT);
        self.kept.drain(..surplus);
        self.dropped += surplus as u64;
        if self.dropped > MAX_LOG_READ { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Reads the entries of a stream. Lines that came are told, whatever comes after them.
fn read_lines(bytes: &[u8], is_cut: bool, is_whole: bool) -> Result<Lines, Error> {
    let mut texts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if !is_whole {
        // What is left of a line.
        texts.pop();
    }
    // The first one may have lost its beginning.
    let whole = texts.into_iter().skip(usize::from(is_cut));
    let mut lines = Lines::default();
    for text in whole.filter(|text| !text.trim_ascii().is_empty()) {
        let line: LogLine = match decode(text) {
            Ok(line) => line,
            Err(_) if !lines.entries.is_empty() => {
                leave_out_at("result");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match (line.result, line.error) {
            (Some(entry), _) if entry.last && entry.content.is_empty() => break,
            (Some(entry), _) => lines.entries.push(entry),
            (None, Some(error)) if lines.entries.is_empty() && !is_cut => return Err(classify_stream(&error)),
            (None, Some(error)) => {
                lines.fault = Some(classify_stream(&error));
                break;
            }
            (None, None) if !lines.entries.is_empty() => leave_out_at("result"),
            (None, None) => return Err(RequestError::unreadable("result").into()),
        }
    }
    Ok(lines)
}

/// What an answer means for the way to Argo CD. An outage of what stands behind it, as of the repository server, which
/// most calls need not, is Argo CD's own answer: it works (argoproj/argo-cd#12570). A message that is too large for gRPC
/// has the status of a limit of calls.
pub(super) fn verdict(response: &Response) -> Verdict {
    let by_status = classify_by_status(response);
    let failure = || response.json::<Failure>().unwrap_or_default();
    let is_behind = match by_status {
        Verdict::Transient => {
            let failure = failure();
            is_behind(response.status.as_u16(), failure.code, &failure.message)
        }
        Verdict::Throttled => failure().message.contains(TOO_LARGE),
        _ => false,
    };
    if is_behind { Verdict::Answered } else { by_status }
}

fn classify(call: &Call, response: &Response) -> Error {
    if response.is_html() && !response.status.is_server_error() {
        return RequestError::Html.into();
    }
    let failure: Failure = response.json().unwrap_or_default();
    if failure.error.is_object() {
        return classify_stream(&failure.error);
    }
    // Each error of Argo CD's API has a code of gRPC (gateway 1.16, `DefaultHTTPError`). A route that this version doesn't have is
    // the only thing of its own that is a text (`OtherErrorHandler`). See `e2e/doubles/ANSWERS.md`.
    let status = response.status.as_u16();
    if matches!(status, 400..=428 | 430..=499) && failure.code == 0 {
        let own: &[u8] = if status == 405 { b"Method Not Allowed" } else { b"Not Found" };
        if !matches!(status, 404 | 405) || response.body().trim_ascii() != own {
            return RequestError::Foreign(status).into();
        }
        // The gateway looks for the route in the decoded path, in which a name with a slash is several.
        let is_name = call.segments.iter().any(|segment| segment.contains('/'));
        return if is_name { Error::NotFound } else { Error::Unimplemented };
    }
    let error = judge(status, failure.code, &failure.message, response.retry_after());
    if matches!(error, Error::Refused(_) | Error::Failed(Cause::Unknown) | Error::Status(_)) {
        unknown_refusal("argoCd", status, Some(&failure.code.to_string()), None);
    }
    error
}

/// The error object in a stream (gRPC gateway 1.16, `StreamError`).
fn classify_stream(error: &Value) -> Error {
    let number = |name: &str| error.get(name).and_then(Value::as_i64).unwrap_or_default();
    let status = u16::try_from(number("http_code")).unwrap_or(500);
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    judge(if status == 0 { 500 } else { status }, number("grpc_code"), message, None)
}

/// What a refused login means, by the texts of Argo CD's session manager.
pub(super) fn login_fault(response: &Response) -> Option<LoginFault> {
    let failure: Failure = response.json().unwrap_or_default();
    let says = |known: &str| failure.message.contains(known);
    match response.status.as_u16() {
        400 if says("Username is too long") => Some(LoginFault::Malformed),
        401 if says("is disabled") || says("capability") => Some(LoginFault::MayNotLogIn),
        401 => Some(LoginFault::Wrong),
        _ => None,
    }
}

impl Client {
    /// Logs in.
    ///
    /// # Errors
    /// [`Error::LoginRefused`], and as [`Client::send`]. The body of a refusal is never kept.
    pub(super) async fn log_in(&self, call: &Call, deadline: Instant) -> Result<super::wire::Session, Error> {
        let response = self.exchange(call, None, deadline).await?;
        if response.status == StatusCode::OK {
            return Ok(response.json()?);
        }
        if response.is_html() {
            return Err(classify(call, &response));
        }
        Err(login_fault(&response).map_or_else(|| classify(call, &response), Error::LoginRefused))
    }
}
