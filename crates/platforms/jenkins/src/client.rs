//! HTTP calls to Jenkins: builds them, and tells by status, headers and known texts what the answer means. It knows no
//! tool and no credential file; whoever calls gives the identity.
//!
//! Jenkins answers errors as pages. Known texts are those of its core: `hudson/security/csrf/CrumbFilter.java` (crumb),
//! `jenkins/model/ParameterizedJobMixIn.java` (parameters), `hudson/util/HudsonIsLoading` and `HudsonIsRestarting` (start
//! page), `hudson/security/AccessDeniedException3.java` (headers of a missing permission).

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE, WWW_AUTHENTICATE,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::session::{Crumb, Identity};
use kit::failure::unknown_refusal;
use outbound::{
    Outbound, OutboundState, Purpose, Redirect, Redirects, Request, RequestError, Response, Scan, Scanned, Verdict,
    classify_by_status,
};

const REQUIRED_PERMISSION: HeaderName = HeaderName::from_static("x-required-permission");
const VERSION: HeaderName = HeaderName::from_static("x-jenkins");

/// Why Jenkins did not give what was asked for. Holds nothing that Jenkins wrote but the names of exception classes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// The connector has no credentials yet.
    #[error("there are no credentials")]
    NoCredentials,
    /// 401: user, token or password are not accepted.
    #[error("the credentials are not accepted")]
    Rejected,
    /// 403, or what is said of an input for others, with the permission that is missing, if Jenkins names one that is known.
    #[error("a permission is missing")]
    Forbidden(Option<&'static str>),
    /// 403: the crumb isn't valid.
    #[error("the crumb is not accepted")]
    CrumbRefused,
    /// 403 on the crumb itself.
    #[error("no crumb is given")]
    CrumbDenied,
    /// 404.
    #[error("there is no such thing, or it may not be seen")]
    NotFound,
    /// 400: parameters for a job that has none.
    #[error("the job takes no parameters")]
    NotParameterized,
    /// 400: the input was settled meanwhile.
    #[error("the input is settled already")]
    Settled,
    /// 400.
    #[error("Jenkins calls the request invalid")]
    BadRequest,
    /// 409: disabled, or can't build.
    #[error("the job is disabled or can't be built")]
    NotBuildable,
    /// 422.
    #[error("it can't be done with this item")]
    Unprocessable,
    /// 429, which only a proxy answers, with the wait if it states one.
    #[error("calls are limited")]
    RateLimited(Option<Duration>),
    /// 500.
    #[error("Jenkins states an internal error")]
    Failed(Fault),
    /// 503 with the start page.
    #[error("Jenkins is starting")]
    Starting,
    /// 502, 503, 504 of something else.
    #[error("a proxy in front of Jenkins answers {0}")]
    Proxy(u16),
    /// Another answer that says that it failed.
    #[error("Jenkins answered with status {0}")]
    Status(u16),
    /// The log of a build is not kept any more.
    #[error("there is no log any more")]
    LogGone,
    /// What keeps the log of a build fails.
    #[error("the log can't be read where it is kept")]
    LogUnreadable,
    /// There is no usable answer.
    #[error("the request to Jenkins failed: {0}")]
    Request(#[source] RequestError),
}

/// What the page of an internal error tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    /// The class of the exception.
    pub(super) class: Option<String>,
    /// The ID under which Jenkins has logged it.
    pub(super) id: Option<String>,
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl Error {
    /// Whether a change may have been carried out all the same: the answer is missing.
    pub(super) fn fate_is_unknown(&self) -> bool {
        matches!(self, Self::Request(RequestError::Timeout | RequestError::Interrupted) | Self::Proxy(_))
    }
}

/// One call to Jenkins. Its form may hold a secret, so it has no `Debug`.
#[derive(Clone)]
pub(super) struct Call {
    method: Method,
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
    form: Option<Vec<(String, String)>>,
    is_probe: bool,
}

impl Call {
    /// `GET` of the path that these segments make below the base URL.
    pub(super) fn get(path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let segments = path.into_iter().map(Into::into).collect();
        Self { method: Method::GET, segments, query: Vec::new(), form: None, is_probe: false }
    }

    /// `POST` with a form. A redirect is a good answer: Jenkins gives one wherever a browser would show a page next.
    pub(super) fn post(path: impl IntoIterator<Item = impl Into<String>>, form: Vec<(String, String)>) -> Self {
        Self { method: Method::POST, form: Some(form), ..Self::get(path) }
    }

    /// `GET` of the JSON of an object, of which `tree` selects the fields. Without it Jenkins would answer everything.
    pub(super) fn json(path: impl IntoIterator<Item = impl Into<String>>, tree: &str) -> Self {
        let mut call = Self::get(path);
        call.segments.extend(["api".to_owned(), "json".to_owned()]);
        call.query("tree", &tree)
    }

    /// Adds a query parameter.
    pub(super) fn query(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Says that it is the probe's: see [`Request::probe`].
    pub(super) fn probe(mut self) -> Self {
        self.is_probe = true;
        self
    }

    /// Whether it changes something, so that a session needs a crumb for it.
    pub(super) fn changes(&self) -> bool {
        self.method == Method::POST
    }
}

/// A good answer.
pub(super) struct Answer(Response);

impl Answer {
    /// The body, which is a JSON object.
    pub(super) fn object<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.json(b'{')
    }

    /// The body, which is a JSON array.
    pub(super) fn array<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        self.json(b'[')
    }

    fn json<T: DeserializeOwned>(&self, begin: u8) -> Result<T, Error> {
        // Types of which nothing is needed would take any JSON.
        let first = self.0.body().iter().find(|byte| !byte.is_ascii_whitespace());
        if !self.0.is_html() && first != Some(&begin) {
            return Err(RequestError::NotJson.into());
        }
        Ok(self.0.json()?)
    }

    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.0.body()).into_owned()
    }

    /// What it says that it is.
    pub(super) fn content_type(&self) -> Option<&str> {
        self.0.headers.get(CONTENT_TYPE)?.to_str().ok()
    }

    /// Whether it is a page for people.
    pub(super) fn is_html(&self) -> bool {
        self.0.is_html()
    }

    /// Whether it says that something was made.
    pub(super) fn is_created(&self) -> bool {
        self.0.status == StatusCode::CREATED
    }

    /// Where it leads. Jenkins builds it from the root URL that is configured in it, which may be wrong or miss: nothing
    /// but an id at its end is to be believed.
    pub(super) fn location(&self) -> Option<&str> {
        self.0.headers.get(LOCATION)?.to_str().ok()
    }

    /// The version that Jenkins states.
    pub(super) fn version(&self) -> Option<&str> {
        self.0.headers.get(VERSION)?.to_str().ok()
    }

    /// Cookies that it sets, as they are sent back.
    pub(super) fn cookies(&self) -> String {
        let set = self.0.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        set.filter_map(|cookie| cookie.split(';').next()).map(str::trim).collect::<Vec<_>>().join("; ")
    }
}

/// What begins a scan, out of the answer's headers.
pub(super) type Begin<'a, T> = &'a (dyn Fn(&HeaderMap) -> T + Sync);

/// Jenkins' HTTP API at one address. Holds no credentials.
#[derive(Clone, Debug)]
pub(super) struct Client {
    outbound: Outbound,
}

impl Client {
    pub(super) fn new(outbound: Outbound) -> Self {
        Self { outbound }
    }

    /// What the way to Jenkins is doing now.
    pub(super) fn outbound(&self) -> OutboundState {
        self.outbound.state()
    }

    /// Makes a call and reads the whole answer.
    ///
    /// # Errors
    /// Whatever Jenkins answers that isn't good, and no usable answer.
    pub(super) async fn send(
        &self,
        call: &Call,
        identity: Option<&Identity>,
        crumb: Option<&Crumb>,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let request = build_request(call, identity, crumb)?;
        judge(self.outbound.send(&request, deadline).await?)
    }

    /// Makes a call whose answer is scanned: see [`Outbound::scan`].
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(super) async fn scan<T: Scan>(
        &self,
        call: &Call,
        identity: &Identity,
        begin: Begin<'_, T>,
        deadline: Instant,
    ) -> Result<(Answer, Scanned<T>), Error> {
        let request = build_request(call, Some(identity), None)?;
        let (response, scanned) = self.outbound.scan(&request, deadline, begin).await?;
        let answer = judge(response)?;
        Ok((answer, scanned.ok_or(Error::Request(RequestError::NotJson))?))
    }
}

fn build_request(call: &Call, identity: Option<&Identity>, crumb: Option<&Crumb>) -> Result<Request, RequestError> {
    let purpose = if call.changes() { Purpose::Change } else { Purpose::Look };
    // Without it Jenkins answers in the language of its machine (`hudson/WebAppMain.java`, `LocaleProvider`).
    let mut request = Request::new(purpose, call.method.clone(), &call.segments)
        .header(ACCEPT_LANGUAGE, HeaderValue::from_static("en"));
    if call.segments.last().is_some_and(|last| last == "json") {
        request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
    }
    for (name, value) in &call.query {
        request = request.query(*name, value);
    }
    if let Some(form) = &call.form {
        request =
            request.form(form.iter().map(|(name, value)| (name.as_str(), value.as_str()))).redirects(Redirects::Answer);
    }
    if call.is_probe {
        request = request.probe();
    }
    if let Some(identity) = identity {
        request = request.credential(AUTHORIZATION, &identity.basic)?;
    }
    if let Some(Crumb::Needed { field, value, cookies }) = crumb {
        request = request.credential(field.clone(), value)?;
        // An empty cookie header is one that some servers refuse.
        if !cookies.expose_secret().is_empty() {
            request = request.credential(COOKIE, cookies)?;
        }
    }
    Ok(request)
}

/// A crumb out of what Jenkins answers for one.
pub(super) fn crumb_of(field: &str, value: String, answer: &Answer) -> Result<Crumb, Error> {
    let field = HeaderName::from_bytes(field.as_bytes()).map_err(|_| RequestError::unreadable("crumbRequestField"))?;
    Ok(Crumb::Needed { field, value: SecretString::from(value), cookies: SecretString::from(answer.cookies()) })
}

/// What an answer means for the way to Jenkins: while it starts it takes nothing, and a form that is sent on was not taken.
pub(super) fn verdict(response: &Response) -> Verdict {
    match response.status {
        StatusCode::SERVICE_UNAVAILABLE if says_that_it_starts(response) => Verdict::NotYet,
        _ if sent_on(response).is_some() => Verdict::Refused,
        _ => classify_by_status(response),
    }
}

fn judge(response: Response) -> Result<Answer, Error> {
    let status = response.status;
    // A redirect comes here only where it is an answer, and where the request was to be sent elsewhere.
    if let Some(led) = sent_on(&response) {
        return Err(RequestError::Redirected(led).into());
    }
    if status.is_success() || status.is_redirection() {
        return Ok(Answer(response));
    }
    let refuses = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
    if refuses && !is_of_jenkins(&response) {
        return Err(RequestError::Foreign(status.as_u16()).into());
    }
    let error = match status {
        StatusCode::BAD_REQUEST if says(&response, "is not parameterized") => Error::NotParameterized,
        StatusCode::BAD_REQUEST if says(&response, "This input has been already given") => Error::Settled,
        StatusCode::BAD_REQUEST => {
            let known = INPUT_REFUSALS.iter().find(|(words, _)| says(&response, words));
            known.map_or(Error::BadRequest, |(_, missing)| Error::Forbidden(*missing))
        }
        StatusCode::UNAUTHORIZED => Error::Rejected,
        StatusCode::FORBIDDEN if says(&response, "No valid crumb was included") => Error::CrumbRefused,
        StatusCode::FORBIDDEN => Error::Forbidden(missing_permission(&response.headers)),
        StatusCode::NOT_FOUND => Error::NotFound,
        StatusCode::CONFLICT => Error::NotBuildable,
        StatusCode::UNPROCESSABLE_ENTITY => Error::Unprocessable,
        StatusCode::TOO_MANY_REQUESTS => Error::RateLimited(response.retry_after()),
        StatusCode::INTERNAL_SERVER_ERROR => {
            Error::Failed(Fault { class: exception_class(&response), id: logging_id(&response) })
        }
        StatusCode::SERVICE_UNAVAILABLE if is_start_page(&response) => Error::Starting,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Error::Proxy(status.as_u16())
        }
        other => Error::Status(other.as_u16()),
    };
    if let Error::BadRequest | Error::Failed(_) | Error::Status(_) = &error {
        let (class, id) = (exception_class(&response), logging_id(&response));
        unknown_refusal("jenkins", status.as_u16(), class.as_deref(), id.as_deref());
    }
    Err(error)
}

/// How whoever may not settle an input is told so, with the permission that is missing (pipeline-input-step,
/// `InputStepExecution.java`: `preSubmissionCheck`, `preAbortCheck`).
const INPUT_REFUSALS: [(&str, Option<&str>); 3] = [
    ("You need to have Job/Build permissions", Some("Job/Build")),
    ("You need to have Job/Cancel permissions", Some("Job/Cancel")),
    ("You need to be ", None),
];

/// Where a form was to be sent instead, so that nothing was done with it: Jenkins answers forms with 201, 302 and 303 to its own
/// pages, and what keeps the method is of something in front of it, as what leads to a login is.
fn sent_on(response: &Response) -> Option<Redirect> {
    let location = response.headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = location.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let befores = std::iter::once("").chain(path.split('/'));
    let is_login = path.split('/').zip(befores).any(|(part, before)| {
        // What follows these in Jenkins' own pages is a name that somebody gave.
        !matches!(before, "job" | "view")
            && matches!(part, "login" | "commencelogin" | "oauth2" | "authorize" | "openid-connect" | "saml2" | "sso")
    });
    let keeps_method = matches!(
        response.status,
        StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    );
    match response.status.is_redirection() {
        true if is_login => Some(Redirect::Login),
        true if keeps_method && location.starts_with("https://") => Some(Redirect::Https),
        true if keeps_method => Some(Redirect::OtherPath),
        _ => None,
    }
}

fn says(response: &Response, known: &str) -> bool {
    response.body().windows(known.len()).any(|window| window == known.as_bytes())
}

/// Of the page that leads from what a build doesn't have to the build (`hudson/model/Run.java`, `RedirectUp`; `hudson/Util.java`,
/// `printRedirect`).
const LEADS_UP: &str = "<meta http-equiv='refresh' content='1;url=..'/>";

/// Whether Jenkins itself refuses, by what only it sends. Its pages and its API have a header of their own; what its container
/// answers for it (a wrong token, a missing crumb) names the servlet or the realm; `HttpResponses.notFound()` has no body; and
/// what a build doesn't have (tests, stages, `term`) is [`LEADS_UP`]. See `e2e/doubles/ANSWERS.md`.
fn is_of_jenkins(response: &Response) -> bool {
    let realm = response.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    response.headers.contains_key(VERSION)
        || realm.contains("realm=\"Jenkins")
        || ["Stapler", "data-rooturl", "No valid crumb was included", LEADS_UP].iter().any(|mark| says(response, mark))
        || (response.body().is_empty() && response.headers.contains_key(X_CONTENT_TYPE_OPTIONS))
}

/// The page that Jenkins shows while it starts. Its text is translated; that Jenkins itself answers 503 is said by its
/// header, too.
fn is_start_page(response: &Response) -> bool {
    response.headers.contains_key(VERSION) || says_that_it_starts(response)
}

fn says_that_it_starts(response: &Response) -> bool {
    ["getting ready to work", "Jenkins is restarting", "Starting Jenkins"].iter().any(|text| says(response, text))
}

/// The permission in the words of Jenkins' configuration pages, if it is one of its core.
fn missing_permission(headers: &HeaderMap) -> Option<&'static str> {
    const KNOWN: &[(&str, &str)] = &[
        ("hudson.model.Hudson.Read", "Overall/Read"),
        ("hudson.model.Hudson.Administer", "Overall/Administer"),
        ("hudson.model.Item.Read", "Job/Read"),
        ("hudson.model.Item.Discover", "Job/Discover"),
        ("hudson.model.Item.Build", "Job/Build"),
        ("hudson.model.Item.Cancel", "Job/Cancel"),
        ("hudson.model.Item.Delete", "Job/Delete"),
        ("hudson.model.Item.Configure", "Job/Configure"),
        ("hudson.model.Item.ExtendedRead", "Job/ExtendedRead"),
        ("hudson.model.Item.Workspace", "Job/Workspace"),
        ("hudson.model.Run.Artifacts", "Run/Artifacts"),
        ("hudson.model.Run.Update", "Run/Update"),
        ("hudson.model.Computer.ExtendedRead", "Agent/ExtendedRead"),
        ("hudson.model.View.Read", "View/Read"),
    ];
    let id = headers.get(REQUIRED_PERMISSION)?.to_str().ok()?;
    KNOWN.iter().find(|(known, _)| *known == id).map(|(_, words)| *words)
}

/// The class of the first exception that a page names, if it is of a package that Jenkins is made of.
fn exception_class(response: &Response) -> Option<String> {
    const PACKAGES: &[&str] = &[
        "java.",
        "javax.",
        "jakarta.",
        "hudson.",
        "jenkins.",
        "org.jenkinsci.",
        "org.kohsuke.",
        "groovy.",
        "org.acegisecurity.",
    ];
    let text = String::from_utf8_lossy(response.body());
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '$' | '_')))
        .map(|word| word.trim_matches('.'))
        .find(|word| {
            word.len() <= 120
                && PACKAGES.iter().any(|package| word.starts_with(package))
                && (word.ends_with("Exception") || word.ends_with("Error") || word.ends_with("Failure"))
        })
        .map(str::to_owned)
}

/// The ID under which Jenkins has logged what it shows no more of (`jenkins/model/Jenkins/oops.jelly`): a UUID.
fn logging_id(response: &Response) -> Option<String> {
    let text = String::from_utf8_lossy(response.body());
    let (_, rest) = text.split_once("Logging ID=")?;
    let id: String = rest.chars().take_while(|c| c.is_ascii_hexdigit() || *c == '-').take(36).collect();
    Some(id).filter(|id| id.len() == 36)
}
