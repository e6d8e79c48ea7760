//! HTTP calls to Vault: builds them, and tells by status and known texts what the answer means. Whoever calls gives the
//! token.
//!
//! Status codes: developer.hashicorp.com/vault/api-docs#http-status-codes.

use std::time::Duration;

use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{CACHE_CONTROL, DATE},
};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use tokio::time::Instant;

use super::wire::{self, Envelope};
use outbound::{
    Outbound, OutboundState, Purpose, Redirects, Request, RequestError, Response, Verdict, classify_by_status,
};

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
/// What an answer has an object at that was wrapped.
const WRAPPED: &[u8] = br#""wrap_info""#;
const MERGE_PATCH: &str = "application/merge-patch+json";

/// Why Vault did not give what was asked for. Holds nothing that Vault wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The connector has no token yet.
    #[error("there are no credentials")]
    NoToken,
    /// The token is not accepted: Vault doesn't know it, or not any more.
    #[error("the token is not accepted")]
    TokenRejected,
    /// 403 also where every good token is answered, and no word about the token.
    #[error("the token is refused")]
    TokenBarred,
    /// A login was refused. Its answer's text is dropped: it may hold the secret id.
    #[error("the login was refused")]
    LoginRefused(LoginFault),
    /// No login is tried for this time, because the last ones were refused.
    #[error("the login was refused, and is tried again later")]
    LoginPaused(LoginFault, Duration),
    /// 400 with a text that is not known: it may be about the arguments, about Vault, or about what is behind it.
    #[error("Vault refuses the request (400), and why is not known")]
    BadRequest,
    /// 400: the KV engine is being upgraded to version 2.
    #[error("the KV engine is being upgraded to version 2")]
    Upgrading,
    /// 400 without a word, of a path that holds a character that can't be seen.
    #[error("the path holds a character that can't be seen")]
    InvisibleCharacter,
    /// 400: a path that climbs.
    #[error("the path holds what Vault takes for a way out of it")]
    BadPath,
    /// 400: the path exists in the root namespace only.
    #[error("the path exists in the root namespace only")]
    RootNamespaceOnly,
    /// 404: there is no such namespace (OpenBao).
    #[error("it has no such namespace")]
    UnknownNamespace,
    /// 400: the identity may not log in from that address.
    #[error("the address may not log in with that identity")]
    AddressBarred,
    /// 200 without what was asked for: somebody must approve the request first, and nothing was done of it
    /// (developer.hashicorp.com/vault/docs/enterprise/control-groups).
    #[error("the request waits for somebody's approval, as a control group demands")]
    AwaitsApproval,
    /// 400: the engine or auth method has no such role.
    #[error("there is no such role")]
    UnknownRole,
    /// 400: the wrapping token was used, or has ended.
    #[error("the wrapping token is not valid")]
    WrappingToken,
    /// 400: a batch token can be neither renewed nor revoked.
    #[error("a batch token can't be renewed or revoked")]
    BatchToken,
    /// 400 of older versions: Vault saw no token with the request.
    #[error("Vault saw no token with the request: something in front of it takes the header X-Vault-Token away")]
    TokenNotSeen,
    /// 400 or 500: the system behind the engine did not take a credential back.
    #[error("the system behind the secret engine did not take the credential back")]
    RevokeFailed,
    /// 400: another version than expected is current.
    #[error("the secret has another version than expected")]
    CasMismatch,
    /// 400: the mount or secret demands check-and-set.
    #[error("the secret demands check-and-set")]
    CasRequired,
    /// 400: no such lease.
    #[error("there is no such lease")]
    UnknownLease,
    /// 400: the lease can't be renewed.
    #[error("the lease can't be renewed")]
    LeaseNotRenewable,
    /// 403 on a good token, as far as that is known.
    #[error("the token's policies don't permit it")]
    Forbidden(Lack),
    /// 403 where Vault refuses no good token.
    #[error(
        "something in front of Vault refuses sys/internal/ui/mounts, which Vault itself answers to every good token"
    )]
    MountsClosed,
    /// 404.
    #[error("there is nothing at that path")]
    NotFound,
    /// 404: nothing is mounted there, or what is has no such path.
    #[error("no engine has that path")]
    NoRoute,
    /// 404: the path is one of KV version 1, and the engine has version 2.
    #[error("the KV engine has version 2, and the path is one of version 1")]
    VersionedEngine,
    /// 404 with the version's metadata: it is deleted or destroyed.
    #[error("the version is deleted")]
    VersionGone(Gone),
    /// 405.
    #[error("the path does not support the operation")]
    Unsupported,
    /// 412, or a write that a standby tried itself: not replicated yet.
    #[error("Vault has not replicated the state yet")]
    NotReplicated,
    /// 413.
    #[error("the request is too large")]
    TooLarge,
    /// 423.
    #[error("the identity or the secret is locked")]
    Locked,
    /// 429, with the wait if Vault states it.
    #[error("Vault's quota is reached")]
    Quota(Option<Duration>),
    /// 429 that no wait helps against.
    #[error("its lease count quota is reached: leases must end or be revoked, or the quota be raised")]
    LeaseQuota,
    /// 429 of something in front of Vault, with the wait if it states one.
    #[error("something in front of Vault takes no more requests for a while")]
    Throttled(Option<Duration>),
    /// 472: a disaster recovery secondary serves no clients.
    #[error("the cluster is a disaster recovery secondary")]
    DrSecondary,
    /// 501.
    #[error("Vault is not initialised")]
    NotInitialized,
    /// 500: the metadata know the version, and its content is lost.
    #[error("the version's content is lost in Vault's storage")]
    VersionLost,
    /// 500 or 503: a standby knows no active node, as while one is elected.
    #[error("Vault has no active node now")]
    NoActiveNode,
    /// 503: too many requests for the server.
    #[error("Vault is overloaded")]
    Overloaded,
    /// 502: a system behind a secret engine failed.
    #[error("a system behind the secret engine failed")]
    BackendFailed,
    /// 503, sealed.
    #[error("Vault is sealed")]
    Sealed,
    /// 503: the namespace is sealed, and the server is not (OpenBao).
    #[error("the namespace is sealed")]
    NamespaceSealed,
    /// 503, not sealed.
    #[error("Vault is being maintained")]
    Maintenance,
    /// Another answer that says that it failed.
    #[error("Vault answered with status {0}")]
    Status(u16),
    /// There is no usable answer.
    #[error("the request to Vault failed: {0}")]
    Request(#[source] RequestError),
}

/// What is missing where Vault answers 403. The answer is the same whatever it is
/// (`request_handling.go`: `logical.ErrPermissionDenied`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It could not be looked up.
    Unknown,
    /// A capability that the token's policies don't grant.
    Capability(&'static str),
    /// No capability: the policy has terms that the call doesn't meet, or the engine itself refuses.
    Terms,
}

/// How Vault refused a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFault {
    /// 400: it doesn't know the identity or its proof, or there is no such auth method.
    Rejected,
    /// 403: it doesn't let that identity in from here, or the auth method is off.
    Denied,
    /// 400: it knows the identity and its proof, and one of them is bound to other addresses.
    Address,
    /// 200 without a token: it waits for a second factor, which nobody here has.
    SecondFactor,
}

/// A version of a secret that is no longer readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its number.
    pub version: u64,
    /// When it was deleted (RFC 3339); none if it was destroyed without being deleted before.
    pub deleted_at: Option<String>,
    /// Whether it can't be restored.
    pub destroyed: bool,
}

impl Error {
    /// Whether another token may do better: this one is bad, or a permission is missing.
    #[must_use]
    pub const fn may_be_the_token(&self) -> bool {
        matches!(self, Self::Forbidden(_) | Self::TokenRejected | Self::TokenBarred)
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

/// One call to Vault's API. Its body may hold a secret, so it has no `Debug`.
pub struct Call {
    purpose: Purpose,
    method: Method,
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    patch: bool,
    root_only: bool,
    probe: bool,
    optional: bool,
    pages: bool,
}

impl Call {
    fn new(purpose: Purpose, method: Method, path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let segments = path.into_iter().map(Into::into).collect();
        Self {
            purpose,
            method,
            segments,
            query: Vec::new(),
            body: None,
            patch: false,
            root_only: false,
            probe: false,
            optional: false,
            pages: false,
        }
    }

    /// `GET` of the path that these segments make, without `v1`.
    pub fn get(path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Purpose::Look, Method::GET, path)
    }

    /// `LIST`, in its form as a `GET` with `list=true`, which proxies let through that don't know Vault's method.
    pub fn list(path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut call = Self::new(Purpose::Look, Method::GET, path).query("list", &true);
        if call.segments.last().is_some_and(|last| !last.is_empty()) {
            call.segments.push(String::new());
        }
        call
    }

    fn is_of_a_lease(&self) -> bool {
        self.segments.iter().take(2).eq(["sys", "leases"])
    }

    /// The same of what is below a name that ends in a slash.
    #[must_use]
    pub fn below(&self, folder: &str) -> Self {
        let above = self.segments.iter().map(String::as_str).filter(|segment| !segment.is_empty());
        Self::list(above.chain(folder.split('/').filter(|segment| !segment.is_empty())))
    }

    /// Says that it is a list which every OpenBao gives in pages, where one is asked for.
    #[must_use]
    pub fn in_pages(mut self) -> Self {
        self.pages = true;
        self
    }

    /// Whether it is a list which every OpenBao gives in pages.
    pub const fn is_in_pages(&self) -> bool {
        self.pages
    }

    /// The same list behind a name, which need not be there. OpenBao has that (openbao/openbao#140); Vault takes no notice of it,
    /// as of every parameter that a path doesn't have.
    #[must_use]
    pub fn after(&self, name: &str) -> Self {
        let Self { purpose, ref method, ref segments, ref query, .. } = *self;
        let call = Self { query: query.clone(), ..Self::new(purpose, method.clone(), segments.iter().cloned()) };
        call.query("after", &name)
    }

    /// `POST` with a body, to change something.
    pub fn post(path: impl IntoIterator<Item = impl Into<String>>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Purpose::Change, Method::POST, path) }
    }

    /// `POST` with a body that only looks: what it asks about stands in no path.
    pub fn ask(path: impl IntoIterator<Item = impl Into<String>>, body: Value) -> Self {
        Self { purpose: Purpose::Look, ..Self::post(path, body) }
    }

    /// `POST` with a body on the way to something, as a login is.
    pub fn step(path: impl IntoIterator<Item = impl Into<String>>, body: Value) -> Self {
        Self { purpose: Purpose::Step, ..Self::post(path, body) }
    }

    /// `PATCH` with a JSON merge patch (RFC 7396).
    pub fn patch(path: impl IntoIterator<Item = impl Into<String>>, body: Value) -> Self {
        Self { body: Some(body), patch: true, ..Self::new(Purpose::Change, Method::PATCH, path) }
    }

    /// `DELETE`.
    pub fn delete(path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Purpose::Change, Method::DELETE, path)
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Says that the path exists in the root namespace only, so that no namespace is sent.
    #[must_use]
    pub fn root_only(mut self) -> Self {
        self.root_only = true;
        self
    }

    /// Says that it asks how Vault does, which is asked at any time.
    #[must_use]
    pub fn probe(mut self) -> Self {
        self.probe = true;
        self
    }

    /// The path as it stands in a policy.
    pub fn policy_path(&self) -> String {
        self.segments.join("/")
    }

    /// Says that there is another way where the token's policies don't permit it.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Whether there is another way where the token's policies don't permit it.
    pub const fn is_optional(&self) -> bool {
        self.optional
    }

    /// What a good token lacks that Vault refuses the call with, by the capabilities that its policies grant at the path.
    pub fn lack(&self, granted: &[String]) -> Lack {
        let has = |wanted: &&str| granted.iter().any(|one| one == wanted || one == "root");
        let wanted: &[&'static str] = match self.method {
            Method::GET if self.query.iter().any(|(name, _)| *name == "list") => &["list"],
            Method::GET => &["read"],
            Method::PATCH => &["patch"],
            Method::DELETE => &["delete"],
            _ => &["update", "create"],
        };
        match wanted.iter().filter(|one| has(one)).count() {
            0 => wanted.first().map_or(Lack::Unknown, |first| Lack::Capability(first)),
            granted if granted == wanted.len() => Lack::Terms,
            // Which of the two Vault wants depends on what is there.
            _ => Lack::Unknown,
        }
    }
}

/// Vault's HTTP API at one address and in one namespace. Holds no token.
#[derive(Clone, Debug)]
pub struct Client {
    outbound: Outbound,
    namespace: Option<HeaderValue>,
    on_schedule: bool,
}

/// What `sys/health` says: the code carries the state, the body the details.
pub struct HealthAnswer {
    /// The HTTP status.
    pub code: u16,
    /// None if the body isn't that of `sys/health`, as with a quota's 429.
    pub body: Option<wire::Health>,
    /// How long Vault asks to wait.
    pub retry_after: Option<Duration>,
}

impl Client {
    /// A client for a namespace, which may be written with slashes around it. `root` is the one that has no name:
    /// OpenBao knows none of that name (openbao/openbao#1917).
    ///
    /// # Errors
    /// [`RequestError::Build`] when the namespace can't stand in a header.
    pub fn new(outbound: Outbound, namespace: Option<&str>) -> Result<Self, RequestError> {
        let namespace = namespace
            .map(|text| text.trim_matches('/'))
            .filter(|text| !text.is_empty() && *text != "root")
            .map(|text| HeaderValue::from_str(text).map_err(|_| RequestError::Build))
            .transpose()?;
        Ok(Self { outbound, namespace, on_schedule: false })
    }

    /// Sends every call once and at any time, for a caller that decides itself when something is tried again.
    #[must_use]
    pub fn on_schedule(self) -> Self {
        Self { on_schedule: true, ..self }
    }

    /// Makes a call and gives the whole answer's body as JSON; nothing for an answer without a body (204).
    ///
    /// # Errors
    /// Whatever Vault answers other than 200 and 204, and no usable answer. 403 is [`Error::Forbidden`] here, also for
    /// a bad token.
    pub async fn send<T: DeserializeOwned>(
        &self,
        call: &Call,
        token: Option<&SecretString>,
        deadline: Instant,
    ) -> Result<Option<T>, Error> {
        Ok(self.send_dated(call, token, deadline).await?.0)
    }

    /// As [`Self::send`], with the time that Vault's clock showed when it answered; none if the answer has no `Date`.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub async fn send_dated<T: DeserializeOwned>(
        &self,
        call: &Call,
        token: Option<&SecretString>,
        deadline: Instant,
    ) -> Result<(Option<T>, Option<Timestamp>), Error> {
        let response = self.exchange(call, token, deadline).await?;
        let date = response.headers.get(DATE).and_then(|value| value.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok()?.try_into().ok());
        match response.status {
            StatusCode::NO_CONTENT => Ok((None, date)),
            StatusCode::OK if awaits_approval(&response) => Err(Error::AwaitsApproval),
            StatusCode::OK | StatusCode::ACCEPTED if response.body().is_empty() => Ok((None, date)),
            StatusCode::OK | StatusCode::ACCEPTED => Ok((Some(response.json()?), date)),
            // What a patch of nothing is answered with: no body, and the header that all of Vault's answers have
            // (`pathDataPatch` in `path_data.go` of the KV engine; seen of 1.21).
            StatusCode::NOT_FOUND
                if call.patch
                    && response.body().is_empty()
                    && response.headers.get(CACHE_CONTROL).is_some_and(|value| value == "no-store") =>
            {
                Err(Error::NotFound)
            }
            // `PrintablePathCheckHandler` of hashicorp/go-cleanhttp, in front of all else (hashicorp/vault#4917).
            StatusCode::BAD_REQUEST
                if response.body().is_empty() && call.segments.iter().any(|s| holds_invisible(s)) =>
            {
                Err(Error::InvisibleCharacter)
            }
            // What follows a period in a lease's id is the id of a namespace (hashicorp/vault#5460).
            StatusCode::INTERNAL_SERVER_ERROR if is_of_no_namespace(&response) && call.is_of_a_lease() => {
                Err(Error::UnknownLease)
            }
            _ => Err(classify(&response)),
        }
    }

    /// What the way to Vault is doing now.
    pub fn outbound(&self) -> OutboundState {
        self.outbound.state()
    }

    /// Asks for Vault's state. No status is an error here.
    ///
    /// # Errors
    /// No usable answer, or one that isn't Vault's.
    pub async fn health(&self, deadline: Instant) -> Result<HealthAnswer, Error> {
        let response = self.exchange(&Call::get(["sys", "health"]).root_only().probe(), None, deadline).await?;
        if response.is_html() {
            return Err(RequestError::Html.into());
        }
        let body = match response.json() {
            Ok(body) => Some(body),
            // Vault answers JSON whatever its state, so anything else comes from somebody in front of it.
            Err(error) => {
                let is_own = own_texts(&response).is_some();
                let status = response.status;
                match error {
                    RequestError::Interrupted => return Err(error.into()),
                    _ if !is_own && is_like_health(&response) => return Err(error.into()),
                    _ if !is_own && (status.is_client_error() || status.is_server_error()) => {
                        return Err(RequestError::Foreign(status.as_u16()).into());
                    }
                    _ if !is_own => return Err(RequestError::NotJson.into()),
                    _ => None,
                }
            }
        };
        Ok(HealthAnswer { code: response.status.as_u16(), body, retry_after: response.retry_after() })
    }

    async fn exchange(
        &self,
        call: &Call,
        token: Option<&SecretString>,
        deadline: Instant,
    ) -> Result<Response, RequestError> {
        let path = std::iter::once("v1").chain(call.segments.iter().map(String::as_str));
        let mut request = Request::new(call.purpose, call.method.clone(), path)
            // Some proxies and agents demand it, as a sign that no browser was tricked into the call.
            .header(REQUEST, HeaderValue::from_static("true"))
            .redirects(Redirects::SameResource);
        for (name, value) in &call.query {
            request = request.query(*name, value);
        }
        if let Some(body) = &call.body {
            request = request.json(body, call.patch.then_some(MERGE_PATCH))?;
        }
        if let Some(namespace) = self.namespace.as_ref().filter(|_| !call.root_only) {
            request = request.header(NAMESPACE, namespace.clone());
        }
        if let Some(token) = token {
            request = request.credential(TOKEN, token)?;
        }
        if call.probe || self.on_schedule {
            request = request.probe();
        }
        self.outbound.send(&request, deadline).await
    }
}

/// The texts of an answer that is Vault's own: it has the form of all its failures, or that of an answer to a call with
/// warnings in it. None for one of something in front of it, such as a proxy, a gateway or a login.
///
/// Source: `sdk/logical/response_util.go` (`RespondError`: `errors` is a list, empty where nothing is there) and
/// `sdk/logical/translate_response.go` (`HTTPResponse`: `request_id` is always there); `http/handler.go` of Vault and OpenBao
/// write nothing else below `/v1` but `sys/health`.
fn own_texts(response: &Response) -> Option<Vec<String>> {
    let body: Value = response.json().ok()?;
    let texts = |name: &str| {
        let list = body.get(name)?.as_array()?;
        list.iter().map(|text| text.as_str().map(ToOwned::to_owned)).collect::<Option<Vec<String>>>()
    };
    texts("errors").or_else(|| {
        body.get("request_id")?.as_str()?;
        Some(texts("warnings").unwrap_or_default())
    })
}

/// Whether a request named a namespace that isn't there, by the id that a lease or a token ends in (`ErrNoNamespace`).
fn is_of_no_namespace(response: &Response) -> bool {
    own_texts(response).is_some_and(|texts| texts == ["no namespace"])
}

/// Whether Vault has wrapped an answer for which nobody asked it to: the request is to be approved before it is made.
///
/// Source: `respondLogical` in `http/logical.go` of Vault and OpenBao: `wrap_info` and no data.
fn awaits_approval(response: &Response) -> bool {
    #[derive(serde::Deserialize)]
    struct Wrapped {
        wrap_info: Option<IgnoredAny>,
        data: Option<IgnoredAny>,
    }
    let body = response.body();
    // Of most answers it is null, and these aren't read twice.
    let begins_object = |rest: &[u8]| rest.iter().find(|byte| !b": \t\r\n".contains(byte)) == Some(&b'{');
    body.windows(WRAPPED.len())
        .enumerate()
        .any(|(at, part)| part == WRAPPED && body.get(at + WRAPPED.len()..).is_some_and(begins_object))
        && response.json::<Wrapped>().is_ok_and(|answer| answer.wrap_info.is_some() && answer.data.is_none())
}

/// Whether a text holds a character that Go doesn't call printable, such as a no-break space.
fn holds_invisible(text: &str) -> bool {
    // As what follows a letter, so that an accent that is a character of its own counts as what it is.
    let is_escaped = |c: char| {
        let pair = String::from_iter(['a', c]);
        pair.escape_debug().nth(1) == Some('\\')
    };
    text.chars().any(|c| !matches!(c, '\\' | '"' | '\'') && is_escaped(c))
}

/// Whether an answer is that of `sys/health`, though something in it can't be read.
fn is_like_health(response: &Response) -> bool {
    let body: Value = response.json().unwrap_or_default();
    ["initialized", "sealed", "standby", "server_time_utc"].iter().filter(|name| body.get(name).is_some()).count() > 1
}

/// What an answer means for the way to Vault. States that Vault itself tells are answers, not outages: asking again
/// doesn't unseal it.
pub fn verdict(response: &Response) -> Verdict {
    let says = |known: &str| own_texts(response).is_some_and(|texts| texts.iter().any(|text| text.contains(known)));
    match response.status.as_u16() {
        // `sys/health`, on a standby, too: that is no throttling.
        429 | 503 if response.json::<wire::Health>().is_ok() => Verdict::Answered,
        200 if awaits_approval(response) => Verdict::Refused,
        // Leases don't end by waiting a moment.
        429 if says("lease count quota exceeded") => Verdict::Refused,
        // Quotas are for paths (https://developer.hashicorp.com/vault/docs/concepts/resource-quotas).
        429 => Verdict::ThrottledInPart,
        503 if says("sealed") || says("locked") => Verdict::Refused,
        // Not replicated yet.
        412 => Verdict::NotYet,
        // A standby that did not hand the request on (`ErrReadOnly` in sdk/logical/storage.go).
        400 | 500 if says("cannot write to readonly storage") => Verdict::NotYet,
        500 if is_of_no_namespace(response) => Verdict::Refused,
        // A standby while a new active node is elected.
        500 if says("active cluster node not found") || says("node is not the leader") => Verdict::NotYet,
        503 if ["no active Vault instance", "node is not active", "standby mode", "overloaded"]
            .into_iter()
            .any(says) =>
        {
            Verdict::NotYet
        }
        // An error beside an answer, whatever it is about: most texts don't say what was done before it.
        400 if own_texts(response).is_some() && !says("from non-versioned") => Verdict::Answered,
        _ => classify_by_status(response),
    }
}

/// Texts of Vault whose meaning is known, with the status that they come with: 400 and 500 alone say nothing of whose fault
/// it is (`RespondErrorCommon`: an error beside a response is 400, one without is 500, whatever it is about). Errors come
/// wrapped, so each is looked for within a text. Where Vault and OpenBao have them stands in `e2e/doubles/ANSWERS.md`.
static KNOWN: &[(&[u16], &str, Error)] = &[
    (&[400], "check-and-set parameter did not match", Error::CasMismatch),
    (&[400], "check-and-set parameter required", Error::CasRequired),
    (&[400], "invalid lease", Error::UnknownLease),
    (&[400], "lease not found", Error::UnknownLease),
    (&[400], "lease is not renewable", Error::LeaseNotRenewable),
    (&[400], "lease expired", Error::LeaseNotRenewable),
    (&[400], "tokens cannot be renewed through this endpoint", Error::LeaseNotRenewable),
    (&[400], "lease is expired and has failed previous revocation attempts", Error::LeaseNotRenewable),
    // `path_login.go` of AppRole, of a secret id and of a role; neither id is wrong then.
    (&[400], "CIDR restrictions on the", Error::AddressBarred),
    (&[400, 500], "cannot write to readonly storage", Error::NotReplicated),
    (&[400], "Upgrading from non-versioned to versioned data", Error::Upgrading),
    (&[400], "Waiting for the primary to upgrade from non-versioned", Error::Upgrading),
    (&[400], "relative paths not supported", Error::BadPath),
    (&[400], "path cannot contain parent references", Error::BadPath),
    (&[400], "operation unavailable in namespaces", Error::RootNamespaceOnly),
    (&[400], "unknown role", Error::UnknownRole),
    (&[400], "wrapping token is not valid or does not exist", Error::WrappingToken),
    (&[400, 500], "batch tokens cannot be re", Error::BatchToken),
    (&[400], "missing client token", Error::TokenNotSeen),
    (&[400, 500], "failed to revoke entry", Error::RevokeFailed),
    (&[404], "Invalid path for a versioned K/V secrets engine", Error::VersionedEngine),
    // OpenBao: `handleCancelableRequest` in request_handling.go.
    (&[404], "namespace not found", Error::UnknownNamespace),
    (&[404], "no handler for route", Error::NoRoute),
    (&[404], "unsupported path", Error::NoRoute),
    (&[404], "functionality on this path has been removed", Error::NoRoute),
    // Of a token that Vault doesn't know (`logical.ErrInvalidToken`); older versions say no more than "permission denied".
    (&[400, 403], "\t* invalid token", Error::TokenRejected),
    // A token whose end names a namespace that this Vault doesn't have: one of another cluster, or no token at all.
    (&[500], "failed to look up namespace from the token", Error::TokenRejected),
    (&[429], "lease count quota exceeded", Error::LeaseQuota),
    (&[500], "could not find version data", Error::VersionLost),
    (&[500], "active cluster node not found", Error::NoActiveNode),
    // Integrated storage, of a node that just lost the lead (hashicorp/vault#18117).
    (&[500], "node is not the leader", Error::NoActiveNode),
    (&[503], "no active Vault instance", Error::NoActiveNode),
    (&[503], "node is not active", Error::NoActiveNode),
    (&[503], "Vault is in standby mode", Error::NoActiveNode),
    (&[503], "API access to this namespace has been locked", Error::Locked),
    (&[503], "locked namespace", Error::Locked),
    (&[503], "overloaded", Error::Overloaded),
    (&[503], "namespace is sealed", Error::NamespaceSealed),
    (&[503], "sealed", Error::Sealed),
];

/// Whose word an answer is comes before its status: only Vault can say that a token is bad, that a policy is missing, or that
/// a secret isn't there.
fn classify(response: &Response) -> Error {
    let status = response.status.as_u16();
    let Some(texts) = own_texts(response) else {
        return match status {
            429 => Error::Throttled(response.retry_after()),
            400.. => RequestError::Foreign(status).into(),
            _ if response.is_html() => RequestError::Html.into(),
            _ => Error::Status(status),
        };
    };
    let known = KNOWN
        .iter()
        .find(|(statuses, known, _)| statuses.contains(&status) && texts.iter().any(|text| text.contains(known)));
    if let Some((_, _, error)) = known {
        return error.clone();
    }
    match status {
        400 => Error::BadRequest,
        403 => Error::Forbidden(Lack::Unknown),
        404 => gone(response).map_or(Error::NotFound, Error::VersionGone),
        405 => Error::Unsupported,
        412 => Error::NotReplicated,
        413 => Error::TooLarge,
        423 => Error::Locked,
        429 => Error::Quota(response.retry_after()),
        472 => Error::DrSecondary,
        501 => Error::NotInitialized,
        502 => Error::BackendFailed,
        503 => Error::Maintenance,
        other => Error::Status(other),
    }
}

/// The 404 of a KV v2 read that has the version's metadata in its body.
fn gone(response: &Response) -> Option<Gone> {
    #[derive(serde::Deserialize)]
    struct OnlyMetadata {
        metadata: wire::VersionInfo,
    }
    let metadata = response.json::<Envelope<OnlyMetadata>>().ok()?.data?.metadata;
    let deleted_at = metadata.deleted_at().map(ToOwned::to_owned);
    Some(Gone { version: metadata.version, deleted_at, destroyed: metadata.destroyed })
}
