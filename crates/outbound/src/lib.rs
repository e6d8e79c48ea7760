//! The one way out: the HTTP stack to platforms. It knows no platform.
//!
//! ```text
//! platform ─▶ Request ─▶ stack: breaker ─▶ pace ─▶ bulkhead ─▶ attempt ─▶ retry?
//!             attempt: resolver (refuses addresses) ─▶ TLS ─▶ proxy? ─▶ platform
//!                                         capped body ◀─ redirect check ◀─┘
//! ```
//! One [`Outbound`] per platform keeps the connections, and its own breaker and bulkhead. It sends to one origin only, but
//! for links that the platform gave and that are downloaded without being followed further; it never follows a redirect by
//! itself, reads at most [`MAX_BODY_BYTES`] of an answer, and no more than there is memory for ([`memory`]), and gives errors in our own words: neither what a server
//! wrote nor a credential is ever part of one.

mod address;
mod allowance;
mod breaker;
mod built;
mod bulkhead;
mod callers;
pub mod changes;
mod client;
pub mod decode;
mod error;
mod form;
pub mod memory;
mod metrics;
mod pace;
mod reading;
mod retry;
mod scan;
mod seldom;
mod stack;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod uri;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use url::Url;

pub use self::{
    breaker::BreakerLimits,
    built::BuiltRequest,
    callers::{CallerKey, Callers, on_behalf_of, seen_by},
    changes::Purpose,
    error::{OutboundError, RequestError, TlsFault},
    metrics::OutboundMetrics,
    reading::{Download, LeftOut, Reading},
    retry::{Classify, Repeat, Verdict, classify_by_status},
    scan::{Scan, ScanEnd, Scanned},
    seldom::Seldom,
    stack::OutboundLimits,
    uri::Redirect,
};
use self::{
    client::{ClientRecipe, Identity},
    memory::{Budget, Reserved},
    stack::{Stack, Treatment},
};
use api::{
    connector::ProxySpec,
    endpoint::{AddressPolicy, Endpoint},
};
use credentials::CredentialsHandle;
pub use pod_api::outbound::{AllowanceState, BreakerPosition, BreakerState, BulkheadState, OutboundState, PaceState};
use telemetry::context::propagate;

/// Time in which a connection, its TLS handshake included, must be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an answer that are read at most.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Redirects to the same resource that are followed one after the other.
const MAX_TURNS: usize = 3;
/// How the product calls itself.
pub const USER_AGENT: &str = concat!("mcp-connectors/", env!("CARGO_PKG_VERSION"));

/// Where requests go and what they may meet on the way.
#[derive(Clone, Debug)]
pub struct OutboundSettings {
    /// The platform's address.
    pub endpoint: Endpoint,
    /// PEM certificates of the platform's authorities, *instead of* the public ones. Without it the public ones of the
    /// system are taken (`/etc/ssl/certs`, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` point).
    pub ca_pem: Option<String>,
    /// Which addresses may be called: of the platform, and of the proxy.
    pub addresses: AddressPolicy,
    /// HTTP proxy. Behind it the proxy resolves the platform's name, so only the proxy's own address is checked here.
    /// The variables `HTTP_PROXY` and so on are never read.
    pub proxy: Option<ProxySpec>,
    /// The platform's name, for states and metrics.
    pub name: &'static str,
    /// What its answers mean for the way to it.
    pub classify: Classify,
    /// Whose client certificate is shown to a platform that asks for one. Nobody else is ever shown it.
    pub client_certificate: Option<CredentialsHandle>,
    /// Bounds of the way to it.
    pub limits: OutboundLimits,
    /// Where its requests are counted.
    pub metrics: Arc<OutboundMetrics>,
}

/// The HTTP client of one platform. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Outbound {
    client: reqwest::Client,
    /// For the platform's own origin only.
    identity: Option<Arc<Identity>>,
    base: Url,
    addresses: AddressPolicy,
    stack: Arc<Stack>,
    /// Against which answers are counted.
    memory: Budget,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// Which redirects a request may follow. None ever leads to another scheme, host or port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// None.
    #[default]
    Refuse,
    /// A few 307 or 308 to the same path and query of the same origin, as a load balancer in front of a cluster gives
    /// them when one node after the other sends its clients to the active one. The path must stay, because servers
    /// "clean" paths by redirects: Vault answers `a/../b` with a 307 to `b`.
    SameResource,
    /// None: the redirect itself is the answer, as where a form is sent. Nobody is led anywhere.
    Answer,
}

/// A request to a platform. Credentials are in it as sensitive header values, which `Debug` does not show; nor does it
/// show the body, which may be a secret.
#[derive(Clone)]
pub struct Request {
    method: Method,
    segments: Vec<String>,
    query: Vec<(Cow<'static, str>, String)>,
    headers: HeaderMap,
    body: Option<Bytes>,
    redirects: Redirects,
    reading: Reading,
    treatment: Treatment,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("segments", &self.segments)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// A request to the path below the platform's URL that these segments make. Each is encoded, so none can hold a
    /// slash of its own; `.` and `..` are refused when the request is sent. An empty last segment makes a trailing
    /// slash.
    pub fn new<S: Into<String>>(purpose: Purpose, method: Method, segments: impl IntoIterator<Item = S>) -> Self {
        let treatment = Treatment { purpose, repeat: Repeat::of(purpose), is_probe: false, account: None };
        Self {
            method,
            segments: segments.into_iter().map(Into::into).collect(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: None,
            redirects: Redirects::Refuse,
            reading: Reading::Whole,
            treatment,
        }
    }

    /// Says anew what it is for, and with it when it may be sent again.
    #[must_use]
    pub fn purpose(mut self, purpose: Purpose) -> Self {
        (self.treatment.purpose, self.treatment.repeat) = (purpose, Repeat::of(purpose));
        self
    }

    /// Says when it may be sent again. Without it one that only looks is [`Repeat::Safe`], and everything else
    /// [`Repeat::IfNotTaken`].
    #[must_use]
    pub fn repeat(mut self, repeat: Repeat) -> Self {
        self.treatment.repeat = repeat;
        self
    }

    /// Says that it is the connector's own look at the platform's health: it is sent once, at any time, and what comes
    /// of it opens and closes the circuit breaker.
    #[must_use]
    pub fn probe(mut self) -> Self {
        self.treatment.is_probe = true;
        self
    }

    /// Says for which account the platform counts it, in a number of the caller's own, such as the generation of a token.
    /// What the answer then says of the requests that are left (`RateLimit-*`, `X-RateLimit-*`) is kept to by all further
    /// requests of the account, and forgotten when an answer to another account comes.
    #[must_use]
    pub fn account(mut self, account: u64) -> Self {
        self.treatment.account = Some(account);
        self
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: impl Into<Cow<'static, str>>, value: &impl ToString) -> Self {
        self.query.push((name.into(), value.to_string()));
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets a header to a credential.
    ///
    /// # Errors
    /// [`RequestError::CredentialForm`] when it holds what can't stand in a header, such as a line break.
    pub fn credential(mut self, name: HeaderName, value: &SecretString) -> Result<Self, RequestError> {
        let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| RequestError::CredentialForm)?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Sets the body to JSON. `content_type` is that of the request, `application/json` if none is given.
    ///
    /// # Errors
    /// [`RequestError::Build`] when the value is not JSON.
    pub fn json(mut self, body: &impl Serialize, content_type: Option<&'static str>) -> Result<Self, RequestError> {
        self.body = Some(Bytes::from(serde_json::to_vec(body).map_err(|_| RequestError::Build)?));
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type.unwrap_or("application/json")));
        Ok(self)
    }

    /// Says which redirects it may follow.
    #[must_use]
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// Says how much of the answer is read.
    #[must_use]
    pub fn reading(mut self, reading: Reading) -> Self {
        self.reading = reading;
        self
    }
}

/// What servers say, with 400, that speak TLS and were spoken to without: those written in Go, as Vault and Argo CD are
/// (`serve` in `net/http/server.go`), nginx (`ngx_http_error_497_page` in `ngx_http_special_response.c`) and Apache
/// (`modules/ssl`).
const WANTS_TLS: &[&str] = &[
    "Client sent an HTTP request to an HTTPS server",
    "The plain HTTP request was sent to HTTPS port",
    "speaking plain HTTP to an SSL-enabled server port",
];

/// A platform's answer, read to its end. `Debug` does not show the body: it may be a secret.
pub struct Response {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// What of the body was not kept, as the request asked.
    pub left_out: LeftOut,
    body: Bytes,
    memory: Held,
}

/// Memory of the budget that an answer has.
#[derive(Clone, Debug, Default)]
struct Held {
    /// Nothing of an answer that isn't counted.
    part: Option<Arc<Reserved>>,
    /// Whether what it becomes as JSON is in it.
    as_json: bool,
}

impl Held {
    /// Memory for what the answer becomes as JSON, which the call that reads it keeps, too.
    fn for_json(&self, body: &[u8]) -> Result<Option<Arc<Reserved>>, RequestError> {
        let Some(part) = &self.part else { return Ok(None) };
        let part = if self.as_json {
            part.clone()
        } else {
            let mut more = part.budget().part();
            more.try_grow(memory::weigh(body).bytes()).map_err(|_| RequestError::BodyTooLarge)?;
            Arc::new(more)
        };
        callers::keep(part.clone());
        Ok(Some(part))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Response {
    /// The body as JSON.
    ///
    /// # Errors
    /// [`RequestError::Html`] when it is a page, as proxies and login walls give it; [`RequestError::BodyTooLarge`] when there
    /// is no memory for it; otherwise as [`decode::decode`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, RequestError> {
        if self.is_html() {
            return Err(RequestError::Html);
        }
        let _memory = self.memory.for_json(&self.body)?;
        decode::decode(&self.body)
    }

    /// Whether the answer is a page for people.
    pub fn is_html(&self) -> bool {
        let declared = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        declared.to_ascii_lowercase().contains("html")
            || self.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<')
    }

    /// Whether a server says that it was spoken to without TLS, by which it takes requests.
    fn is_of_a_tls_port(&self) -> bool {
        let says = |text: &&str| self.body.windows(text.len()).any(|part| part == text.as_bytes());
        self.status == StatusCode::BAD_REQUEST && WANTS_TLS.iter().any(says)
    }

    /// Bytes of the body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

impl Outbound {
    /// Makes the client. No connection is made.
    ///
    /// # Errors
    /// When an address may not be called, the CA bundle or the proxy can't be used, or no public authorities are found
    /// though they are needed.
    pub fn new(settings: OutboundSettings) -> Result<Self, OutboundError> {
        let OutboundSettings {
            endpoint,
            ca_pem,
            addresses,
            proxy,
            name,
            classify,
            client_certificate,
            limits,
            metrics,
        } = settings;
        let recipe = ClientRecipe::new(&endpoint.url, ca_pem.as_deref(), addresses, proxy, limits.max_running)?;
        let client = recipe.build(None)?;
        let identity = client_certificate.map(|credentials| Arc::new(Identity::new(credentials, recipe)));
        let stack = Arc::new(Stack::new(name, limits, classify, metrics));
        let memory = Budget::of_process().clone();
        Ok(Self { client, identity, base: endpoint.url, addresses, stack, memory })
    }

    /// What the way to the platform is doing now.
    #[must_use]
    pub fn state(&self) -> OutboundState {
        self.stack.state()
    }

    /// Sends a request, again if that may help, and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// When there is no answer by `deadline`, none that can be read, or a redirect that may not be followed;
    /// [`RequestError::CircuitOpen`], [`RequestError::Busy`] or [`RequestError::TooFast`] when it was not sent at all.
    pub async fn send(&self, request: &Request, deadline: Instant) -> Result<Response, RequestError> {
        let url = uri::below(&self.base, &request.segments, &request.query)?;
        self.stack.run(request.treatment, deadline, |until| self.attempt(request, url.clone(), until)).await
    }

    async fn attempt(&self, request: &Request, url: Url, deadline: Instant) -> Result<Response, RequestError> {
        let mut response = self.send_once(request, url.clone(), deadline).await?;
        for _ in 0..MAX_TURNS {
            if !response.status.is_redirection() || request.redirects == Redirects::Answer {
                return Ok(response);
            }
            let led = Redirect::of(&url, &response.headers);
            let repeats = matches!(response.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            if request.redirects != Redirects::SameResource || !repeats || led != Redirect::Itself {
                return Err(RequestError::Redirected(led));
            }
            response = self.send_once(request, url.clone(), deadline).await?;
        }
        if response.status.is_redirection() {
            return Err(RequestError::Redirected(Redirect::of(&url, &response.headers)));
        }
        Ok(response)
    }

    async fn send_once(&self, request: &Request, url: Url, deadline: Instant) -> Result<Response, RequestError> {
        let is_plain = url.scheme() == "http";
        // The connector's own look at the platform's health is small, and has to tell the truth at any time.
        let budget = (!request.treatment.is_probe).then_some(&self.memory);
        let response =
            reading::read(self.open(request, url, deadline).await?, request.reading, budget, deadline).await?;
        if is_plain && response.is_of_a_tls_port() {
            return Err(RequestError::TlsWanted);
        }
        Ok(response)
    }

    /// Sends a request and gives the answer, of which only the head was read.
    async fn open(&self, request: &Request, url: Url, deadline: Instant) -> Result<reqwest::Response, RequestError> {
        self.exchange(request.method.clone(), url, request.headers.clone(), request.body.clone(), deadline).await
    }

    async fn exchange(
        &self,
        method: Method,
        url: Url,
        mut headers: HeaderMap,
        body: Option<Bytes>,
        deadline: Instant,
    ) -> Result<reqwest::Response, RequestError> {
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(RequestError::Timeout);
        }
        tracing::Span::current()
            .record("http.request.method", method.as_str())
            .record("server.address", url.host_str())
            .record("server.port", url.port_or_known_default());
        propagate(&mut headers);
        let identified = match &self.identity {
            Some(identity) if url.origin() == self.base.origin() => identity.client()?,
            _ => None,
        };
        let client = identified.as_ref().unwrap_or(&self.client);
        let mut outgoing = client.request(method, url).headers(headers).timeout(remaining);
        if let Some(body) = body {
            outgoing = outgoing.body(body);
        }
        outgoing.send().await.map_err(|error| RequestError::classify(&error))
    }
}
