//! HTTP calls to CircleCI: builds them for one of its API versions, and tells by status and known texts what the answer
//! means. It knows no tool and no credential file; whoever calls gives the token.
//!
//! v3 takes `Authorization: Bearer` only, v2 and v1.1 `Circle-Token` (circleci.com/docs/api/v3/conventions.md,
//! circleci.com/docs/guides/toolkit/api-developers-guide).

use std::time::Duration;

use http::{
    HeaderName, HeaderValue, Method, StatusCode, header::ACCEPT, header::AUTHORIZATION, header::CONTENT_TYPE,
    header::RANGE,
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::{names::Slug, wire::Failure};
use kit::failure::unknown_refusal;
use outbound::{Outbound, Purpose, Reading, Request, RequestError, Response};

/// The header for tokens of v2 and v1.1.
pub(super) const CIRCLE_TOKEN: HeaderName = HeaderName::from_static("circle-token");

/// A token with the generation of the credentials that it comes from.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) secret: SecretString,
    /// Counts tokens: equal numbers mean the same token. CircleCI counts the calls of each.
    pub(super) generation: u64,
}

/// Why CircleCI did not give what was asked for. Holds nothing that CircleCI wrote but the id that it gives a failure, and the
/// host of a link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// The connector has no credentials yet.
    #[error("there are no credentials")]
    NoCredentials,
    /// 401.
    #[error("the token is not accepted")]
    TokenRejected,
    /// 403.
    #[error("CircleCI does not permit it")]
    Forbidden,
    /// 404.
    #[error("CircleCI has no such object, or does not show it")]
    NotFound,
    /// GitHub, which CircleCI asks about a repository, refuses or finds none. It says nothing of the token for CircleCI.
    #[error("GitHub does not show CircleCI the repository")]
    Repository,
    /// 400: the configuration declares no such parameter. The names are the caller's own.
    #[error("a parameter is not declared")]
    UndeclaredParameter(Vec<String>),
    /// 400: a parameter has a value of another type than the configuration declares.
    #[error("a parameter has another type than is declared")]
    ParameterType(Vec<String>),
    /// 400 or 404: the repository has no such branch.
    #[error("there is no such branch")]
    NoSuchBranch,
    /// 400 about paging, which only a fault of the connector can cause.
    #[error("CircleCI refuses the page that was asked for")]
    Page,
    /// 400 with a text that is not known.
    #[error("CircleCI calls the request wrong")]
    BadRequest,
    /// 400: only what has ended is run again.
    #[error("CircleCI says that it has not ended")]
    NotEnded,
    /// 409.
    #[error("CircleCI says that it is in another state")]
    Conflict,
    /// 410.
    #[error("CircleCI has retired the endpoint")]
    Retired,
    /// 422.
    #[error("CircleCI can't work with the request")]
    Unprocessable,
    /// 429, with the wait if it is known.
    #[error("CircleCI limits calls")]
    RateLimited(Option<Duration>),
    /// 500 and above: the status, and the id that CircleCI gives the failure.
    #[error("CircleCI failed with status {0}")]
    Failed(u16, Option<String>),
    /// 500 and above, and not in CircleCI's own form: something in front of it says that it gave up.
    #[error("something in front of CircleCI failed with status {0}")]
    FailedInFront(u16),
    /// Another answer that says that it failed.
    #[error("CircleCI answered with status {0}")]
    Status(u16),
    /// A link leads to a host from which nothing may be read, which is this one, if it has a name.
    #[error("a link leads to a host that is not allowed")]
    LinkElsewhere(Option<String>),
    /// A link leads to this host without TLS.
    #[error("a link leads to a host without TLS")]
    LinkUnencrypted(String),
    /// The host that a link leads to refuses it: such links end after a while.
    #[error("the host of the file refuses the link")]
    LinkRefused,
    /// Nothing is there any more.
    #[error("the file is gone")]
    LinkGone,
    /// What a link leads to is compressed in a way that is not read.
    #[error("what the link leads to is compressed")]
    Compressed,
    /// There is no usable answer.
    #[error("the request to CircleCI failed: {0}")]
    Request(#[source] RequestError),
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl Error {
    /// Whether a change may have been carried out all the same: the answer is missing.
    pub(super) fn fate_is_unknown(&self) -> bool {
        matches!(
            self,
            Self::Request(RequestError::Timeout | RequestError::Interrupted)
                | Self::Failed(500.., _)
                | Self::FailedInFront(_)
        )
    }
}

/// A version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    V3,
    V2,
    V11,
}

/// One call to CircleCI's API.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) api: Api,
    request: Request,
    body: Option<Value>,
    is_text: bool,
    is_probe: bool,
}

impl Call {
    fn new(api: Api, purpose: Purpose, method: Method, path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let front = match api {
            Api::V3 => "v3",
            Api::V2 => "v2",
            Api::V11 => "v1.1",
        };
        let path = path.into_iter().map(Into::into);
        let request = Request::new(purpose, method, ["api", front].map(str::to_owned).into_iter().chain(path));
        Self { api, request, body: None, is_text: false, is_probe: false }
    }

    /// `GET` of the path that these segments make below the version's.
    pub(super) fn get(api: Api, path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(api, Purpose::Look, Method::GET, path)
    }

    /// `POST` with a body, to change something.
    pub(super) fn post(api: Api, path: impl IntoIterator<Item = impl Into<String>>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(api, Purpose::Change, Method::POST, path) }
    }

    /// `POST` without one.
    pub(super) fn post_nothing(api: Api, path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(api, Purpose::Change, Method::POST, path)
    }

    /// `GET` of something of a project.
    pub(super) fn of_project(api: Api, front: &str, slug: &Slug, rest: &[&str]) -> Self {
        Self::get(api, path_of(front, slug, rest))
    }

    fn with(self, change: impl FnOnce(Request) -> Request) -> Self {
        Self { request: change(self.request), ..self }
    }

    /// Adds a query parameter.
    pub(super) fn query(self, name: &'static str, value: &impl ToString) -> Self {
        self.with(|request| request.query(name, value))
    }

    /// [`Call::query`] for what may be left out.
    pub(super) fn maybe(self, name: &'static str, value: Option<&impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Says that the answer is no JSON.
    pub(super) fn text(self) -> Self {
        Self { is_text: true, ..self }
    }

    /// Asks for what follows after so many bytes.
    pub(super) fn starting_at(self, offset: u64) -> Self {
        match HeaderValue::try_from(format!("bytes={offset}-")) {
            Ok(range) => self.with(|request| request.header(RANGE, range)),
            Err(_) => self,
        }
    }

    /// Says how much of the answer is read.
    pub(super) fn reading(self, reading: Reading) -> Self {
        self.with(|request| request.reading(reading))
    }

    /// Says that it changes nothing, though it is a `POST`.
    pub(super) fn changes_nothing(self) -> Self {
        self.with(|request| request.purpose(Purpose::Look))
    }

    /// Says that it is the connector's own look at CircleCI's health, which asks about the token before anything else.
    pub(super) fn probe(self) -> Self {
        Self { is_probe: true, ..self.with(Request::probe) }
    }

    /// Whether 404 may be the answer to a token that CircleCI does not know. Of v3 nothing of the kind is known.
    pub(super) fn hides_a_refusal(&self) -> bool {
        !self.is_probe && self.api != Api::V3
    }
}

/// The path of something of a project: `front/provider/organization/project/rest`.
pub(super) fn path_of(front: &str, slug: &Slug, rest: &[&str]) -> Vec<String> {
    [front].into_iter().chain(slug.parts()).chain(rest.iter().copied()).map(str::to_owned).collect()
}

/// Makes a call and gives the answer, whatever its status.
///
/// # Errors
/// When there is no usable answer.
pub(super) async fn send(way: &Outbound, call: &Call, token: &Token, deadline: Instant) -> Result<Response, Error> {
    let mut request = call.request.clone().account(token.generation);
    if !call.is_text {
        // v1.1 would otherwise answer EDN.
        request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
    }
    if let Some(body) = &call.body {
        request = request.json(body, None)?;
    }
    request = match call.api {
        Api::V3 => {
            let bearer = SecretString::from(format!("Bearer {}", token.secret.expose_secret()));
            request.credential(AUTHORIZATION, &bearer)?
        }
        Api::V2 | Api::V11 => request.credential(CIRCLE_TOKEN, &token.secret)?,
    };
    Ok(way.send(&request, deadline).await?)
}

/// The answer as JSON, and its status.
///
/// # Errors
/// What the status says when it says that it failed, and [`RequestError::NotJson`] for another form than `T`.
pub(super) fn json<T: DeserializeOwned>(call: &Call, response: &Response) -> Result<(StatusCode, T), Error> {
    succeeded(call, response)?;
    // Structs would take an array of their fields, too.
    let begins = response.body().iter().find(|byte| !byte.is_ascii_whitespace());
    if !response.is_html() && !matches!(begins, Some(b'{' | b'[')) {
        return Err(RequestError::NotJson.into());
    }
    Ok((response.status, response.json()?))
}

/// Says no to an answer whose status says that it failed, and to pages for people.
///
/// # Errors
/// What the status and known texts say.
pub(super) fn succeeded(call: &Call, response: &Response) -> Result<(), Error> {
    if !response.status.is_success() {
        return Err(classify(call, response));
    }
    // What a step wrote may be a page, too.
    let is_page = if call.is_text { is_declared_html(response) } else { response.is_html() };
    if is_page { Err(RequestError::Html.into()) } else { Ok(()) }
}

fn is_declared_html(response: &Response) -> bool {
    let declared = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    declared.to_ascii_lowercase().contains("html")
}

fn classify(call: &Call, response: &Response) -> Error {
    let status = response.status.as_u16();
    match status {
        // Whoever limits calls, it is waited for.
        429 => return Error::RateLimited(response.retry_after()),
        // Ranges are the business of whatever keeps the bytes.
        416 => return Error::Status(416),
        _ if is_own(response) => {}
        500.. => return Error::FailedInFront(status),
        _ => return RequestError::Foreign(status).into(),
    }
    let failure: Failure = response.json().unwrap_or_default();
    let error = match status {
        400..500 if is_of_github(&failure) => Error::Repository,
        400 => bad_request(call, &failure.text()),
        401 => Error::TokenRejected,
        403 => Error::Forbidden,
        // Among the 404s of CircleCI's own document (`e2e/doubles/ANSWERS.md`).
        404 if is_about_a_branch(&failure.text()) => Error::NoSuchBranch,
        404 => Error::NotFound,
        409 => Error::Conflict,
        410 => Error::Retired,
        422 => Error::Unprocessable,
        500.. => Error::Failed(status, failure.id()),
        other => Error::Status(other),
    };
    if matches!(error, Error::BadRequest | Error::Unprocessable | Error::Status(_)) {
        unknown_refusal("circleci", status, None, failure.id().as_deref());
    }
    error
}

/// Texts of what may stand in front of CircleCI, a Server's own Kong included, that have the form of CircleCI's own.
const FOREIGN_TEXTS: &[&str] = &[
    "no route matched with those values",
    "no api key found in request",
    "invalid authentication credentials",
    "an invalid response was received from the upstream server",
    "the upstream server is currently unavailable",
    "the upstream server is timing out",
    "an unexpected error occurred",
    "failure to get a peer from the ring-balancer",
    "name resolution failed",
    "missing authentication token",
];
/// Texts that CircleCI is known to give without any form.
const PLAIN_TEXTS: &[&str] =
    &["permission denied", "you must log in first", "invalid token provided", "project not found", "not found"];

/// Whether CircleCI itself says that it failed, by the form that its failing answers have: an object with a text, whatever the
/// content type says. See `e2e/doubles/ANSWERS.md`.
pub(super) fn is_own(response: &Response) -> bool {
    // Kong's own answer has this one; one that it passes on has `X-Kong-Upstream-Latency`.
    if response.headers.contains_key("x-kong-response-latency") || response.headers.contains_key("x-squid-error") {
        return false;
    }
    let body = response.body().trim_ascii();
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body.get(..body.len().min(100)).unwrap_or_default()).to_ascii_lowercase();
        return PLAIN_TEXTS.contains(&text.trim_end_matches('.'));
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_ascii_lowercase).unwrap_or_default();
    let message = text(body.get("message"));
    if !message.is_empty() {
        return !FOREIGN_TEXTS.iter().any(|foreign| message.contains(foreign));
    }
    match body.get("error") {
        Some(Value::Object(error)) => ["title", "detail", "id"].iter().any(|name| !text(error.get(*name)).is_empty()),
        // What OAuth's own errors say is one word (RFC 6750, 3.1).
        Some(Value::String(error)) => error.contains(' ') && !body.contains_key("timestamp"),
        _ => false,
    }
}

/// Whether CircleCI passes on what GitHub's API refused it: the text is GitHub's own answer, which names its documentation
/// (eddiewebb/circleci-queue #106: "This is an error talking to Github").
fn is_of_github(failure: &Failure) -> bool {
    let text = failure.text().to_ascii_lowercase();
    text.contains("documentation_url") && text.contains("github")
}

/// Whether CircleCI refuses the token. What stands in front of CircleCI, or behind it, says nothing about it.
pub(super) fn refuses_the_token(response: &Response) -> bool {
    response.status == StatusCode::UNAUTHORIZED
        && is_own(response)
        && !is_of_github(&response.json().unwrap_or_default())
}

fn is_about_a_branch(text: &str) -> bool {
    text.to_ascii_lowercase().contains("branch not found")
}

/// 400, by the texts that CircleCI is known to give: `Unexpected argument(s): name` and `Type error for argument name`
/// for parameters of a run, `Branch not found` (roopakv/orbs #71), `Invalid page size` and the like for paging.
fn bad_request(call: &Call, text: &str) -> Error {
    let lower = text.to_ascii_lowercase();
    let parameters = call.body.as_ref().and_then(|body| body.get("parameters")).and_then(Value::as_object);
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && !"_-".contains(c)).collect();
    // Only names that the caller gave go on.
    let named = || -> Vec<String> {
        parameters
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
            .filter(|name| words.contains(&name.as_str()))
            .cloned()
            .collect()
    };
    if lower.contains("unexpected argument") {
        Error::UndeclaredParameter(named())
    } else if lower.contains("type error for argument") {
        Error::ParameterType(named())
    } else if is_about_a_branch(text) {
        Error::NoSuchBranch
    } else if lower.contains("must be in a terminal state") {
        // A rerun of what still runs, or was cancelled a moment ago (mailpoet/mailpoet #6928, support.circleci.com 49955000658715).
        Error::NotEnded
    } else if lower.contains("page size") || lower.contains("page[limit]") || lower.contains("page-token") {
        Error::Page
    } else {
        Error::BadRequest
    }
}
