//! HTTP calls to Argo CD: builds them, and tells by status, gRPC code and known texts what the answer means. It knows no
//! tool and no credential file; whoever calls gives the token.
//!
//! Status codes are those of the gRPC gateway (1.16, `HTTPStatusFromCode` in `runtime/errors.go`), texts those of Argo
//! CD 3.2.9 (`server/application/application.go`, `util/argo/argo.go`, `util/session/sessionmanager.go`).

use std::time::Duration;

use http::{
    HeaderValue, Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::wire::{Failure, LogEntry, LogLine};
use outbound::{
    Outbound, OutboundState, Repeat, Request, RequestError, Response,
    decode::{decode, leave_out_at},
};

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
    /// 403.
    #[error("Argo CD does not permit it")]
    Forbidden,
    /// 403: a sync window is closed.
    #[error("a sync window does not permit it now")]
    SyncWindow,
    /// 404.
    #[error("Argo CD has no such object")]
    NotFound,
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
    /// 400, code 3: no deployment has this id.
    #[error("there is no such deployment")]
    UnknownDeployment,
    /// 400, code 3: logs of too many pods.
    #[error("too many pods")]
    TooManyPods,
    /// 400, code 9: the repository has no such revision, or can't be asked for it.
    #[error("the revision can't be resolved")]
    Revision,
    /// 400 with a text that is not known.
    #[error("Argo CD calls the request invalid")]
    BadRequest,
    /// 429, with the wait if Argo CD states it.
    #[error("Argo CD limits calls")]
    RateLimited(Option<Duration>),
    /// 501.
    #[error("this Argo CD does not have the function")]
    Unimplemented,
    /// 500 with a cause that is known.
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
            Self::Unknown => "it states an internal error",
        }
    }

    /// By words that its own components and Git, Helm and Kubernetes use.
    fn of(text: &str) -> Self {
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
        matches!(
            self,
            Self::Request(RequestError::Timeout | RequestError::Interrupted)
                | Self::Unavailable(_)
                | Self::Failed(Cause::Timeout)
        )
    }
}

/// One call to Argo CD's API. Its body may hold a password, so it has no `Debug`.
pub(super) struct Call {
    method: Method,
    below: &'static [&'static str],
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    repeat: Option<Repeat>,
    is_probe: bool,
}

impl Call {
    fn new(method: Method, path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
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
        Self::new(Method::GET, path)
    }

    /// `GET` of the version: the only call that stands beside `/api/v1`, and the only one that everybody may make.
    pub(super) fn version() -> Self {
        Self { below: &["api"], ..Self::get(["version"]) }
    }

    /// `POST` with a body.
    pub(super) fn post(path: impl IntoIterator<Item = impl Into<String>>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::POST, path) }
    }

    /// `PATCH` with a body.
    pub(super) fn patch(path: impl IntoIterator<Item = impl Into<String>>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PATCH, path) }
    }

    /// `DELETE`.
    pub(super) fn delete(path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds a query parameter. It must be one that the call has: Argo CD ignores others, so that a filter with a wrong
    /// name finds everything.
    pub(super) fn query(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Says when it may be sent again, instead of what follows from its method.
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

    /// Makes a call whose answer is a stream of JSON objects, one a line, and gives the entries up to the last.
    ///
    /// # Errors
    /// As [`Client::send`], and what the stream states as its error.
    pub(super) async fn lines(
        &self,
        call: &Call,
        token: Option<&SecretString>,
        deadline: Instant,
    ) -> Result<Vec<LogEntry>, Error> {
        let response = self.exchange(call, token, deadline).await?;
        if response.status != StatusCode::OK {
            return Err(classify(call, &response));
        }
        if response.is_html() {
            return Err(RequestError::Html.into());
        }
        let mut entries = Vec::new();
        for line in response.body().split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let line: LogLine = match decode(line) {
                Ok(line) => line,
                // Lines that came are told. A stream that breaks off ends within one.
                Err(_) if !entries.is_empty() => {
                    leave_out_at("result");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match (line.result, line.error) {
                (Some(entry), _) if entry.last && entry.content.is_empty() => break,
                (Some(entry), _) => entries.push(entry),
                (None, Some(error)) => return Err(classify_stream(&error)),
                (None, None) => return Err(RequestError::unreadable("result").into()),
            }
        }
        Ok(entries)
    }

    async fn exchange(
        &self,
        call: &Call,
        token: Option<&SecretString>,
        deadline: Instant,
    ) -> Result<Response, RequestError> {
        let path = call.below.iter().copied().chain(call.segments.iter().map(String::as_str));
        let mut request = Request::new(call.method.clone(), path)
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
        self.outbound.send(&request, deadline).await
    }
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
    judge(response.status.as_u16(), failure.code, &failure.message, response.retry_after())
}

/// The error object in a stream (gRPC gateway 1.16, `StreamError`).
fn classify_stream(error: &Value) -> Error {
    let number = |name: &str| error.get(name).and_then(Value::as_i64).unwrap_or_default();
    let status = u16::try_from(number("http_code")).unwrap_or(500);
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    judge(if status == 0 { 500 } else { status }, number("grpc_code"), message, None)
}

fn judge(status: u16, code: i64, text: &str, retry_after: Option<Duration>) -> Error {
    let says = |known: &str| text.contains(known);
    match status {
        400 if says("another operation is already in progress") => Error::OperationRunning,
        400 if says("No operation is in progress") => Error::NoOperation,
        400 if says("application is deleting") => Error::Deleting,
        400 if says("auto-sync") || says("Automatic Sync") => Error::AutoSync,
        400 if says("does not have deployment with id") => Error::UnknownDeployment,
        400 if says("max pods to view logs") => Error::TooManyPods,
        400 if code == 9 && (says("resolving repo revision") || says("unable to resolve")) => Error::Revision,
        400 | 409 | 422 => Error::BadRequest,
        401 => Error::TokenRejected { expired: says("expired") },
        403 if says("sync window") => Error::SyncWindow,
        403 => Error::Forbidden,
        404 => Error::NotFound,
        429 => Error::RateLimited(retry_after),
        // Seen of 3.2 when manifests are asked for at a branch that is not there.
        500 if says("unable to resolve") && says("to a commit SHA") => Error::Revision,
        500 => Error::Failed(Cause::of(text)),
        501 => Error::Unimplemented,
        502..=504 => Error::Unavailable(status),
        other => Error::Status(other),
    }
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
