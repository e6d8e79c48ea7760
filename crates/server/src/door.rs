//! The MCP port: everything that is decided about a request before the protocol sees it. Request id, host, origin,
//! refused tokens, token, access, delegation, size; then rmcp, whose answer is told how often its caller may still call.

use std::{
    borrow::Cow,
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
};

use axum::body::{Body, to_bytes};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
    header::{ACCEPT, CONNECTION, HOST, ORIGIN, WWW_AUTHENTICATE},
    uri::Authority,
};
use rmcp::{
    ServerHandler,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::Instrument;

pub use super::body::MAX_BODY_BYTES;
use super::{
    ServeSettings,
    accepts::{self, Accepts, is_json},
    access::{Access, Caller, Rights},
    active::ActiveBody,
    audit::Audit,
    auth::{AuthFailure, Authenticator},
    body::{Bodies, BodyMemory, declared_length, unreadable},
    guards::{
        Guards,
        delegation::{self, AGENT_TRACE},
        principal::Principal,
        rate::{Failures, RateNote},
        shares::{Share, Shares},
    },
    lifecycle::Lifecycle,
    listener::{Connection, Peer, Working},
    metrics::Metrics,
    refusal::{Refusal, json_response, rate_used_up, too_many_requests, undelegated},
    state::ReplicaState,
};
use pod_api::config::ServeConfig;

/// Path of the MCP endpoint.
pub const MCP_PATH: &str = "/mcp";
/// The same, as some clients and gateways write it.
const MCP_PATH_WITH_SLASH: &str = "/mcp/";
/// Where RFC 9728 puts the metadata of a resource: here, or here with the resource's path behind it.
const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";
/// Bytes of a body that is read of every caller, also of one who may make no call now: the answer then has the call's id.
const SMALL_BODY: usize = 64 * 1024;
/// Length of a request id from outside, at most.
const MAX_REQUEST_ID: usize = 128;
/// Bytes of a text with which the protocol's layer refuses a request, at most, and characters of it that are told.
const MAX_TOLD: usize = 64 * 1024;
const MAX_TOLD_CHARACTERS: usize = 256;
/// Bytes of a request's path that go into log lines.
const MAX_LOGGED_PATH: usize = 128;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// What the operator's token is good for on this port, besides notifications.
const HANDSHAKE: [&str; 3] = ["initialize", "server/discover", "ping"];

/// What was found out about a request before the protocol saw it.
#[derive(Debug)]
pub struct RequestScope {
    /// Names the request in logs, and in the response.
    pub request_id: String,
    /// Who calls.
    pub caller: Caller,
    /// What they may use; the operator may use nothing.
    pub rights: Option<Arc<Rights>>,
    /// Where the connection comes from.
    pub peer: Option<SocketAddr>,
    /// The W3C trace context of the headers.
    pub traceparent: Option<String>,
    /// What vendors added to it.
    pub tracestate: Option<String>,
    /// Whether something may be told before the answer.
    pub streams: bool,
    /// How often the caller may still call, once that is known.
    pub rate: OnceLock<RateNote>,
    /// Memory of the request's body and of what it became.
    _memory: Option<BodyMemory>,
}

impl RequestScope {
    /// The scope of a request that doesn't come over HTTP, but from whoever started this process.
    #[must_use]
    pub fn direct(caller: Caller, rights: Option<Arc<Rights>>) -> Self {
        let request_id = new_request_id();
        let rate = OnceLock::new();
        Self {
            request_id,
            caller,
            rights,
            peer: None,
            traceparent: None,
            tracestate: None,
            streams: true,
            rate,
            _memory: None,
        }
    }
}

/// Who may call, and how they prove who they are.
pub struct Callers {
    /// The rules.
    pub access: Access,
    /// Verifies tokens.
    pub authenticator: Arc<Authenticator>,
}

/// Decides about requests to the MCP port.
pub struct Door<H> {
    /// `namespace/name` of the connector.
    own: String,
    hosts: HashSet<String>,
    origins: Vec<String>,
    unproven: Caller,
    audience: String,
    metadata_url: String,
    authenticator: Arc<Authenticator>,
    access: Access,
    failures: Failures,
    metrics: Arc<Metrics>,
    audit: Arc<Audit>,
    protocol: StreamableHttpService<H, NeverSessionManager>,
    lifecycle: Lifecycle,
    guards: Arc<Guards>,
    bodies: Bodies,
    /// Requests of each caller that are worked on.
    working: Arc<Shares>,
}

/// A request that is worked on, as its connection and its caller know it, until its answer is dropped.
type Busy = (Option<Working>, Share);

impl<H: ServerHandler + Clone> Door<H> {
    /// Puts the door together. `handler` answers MCP's methods.
    #[must_use]
    pub fn new(
        config: &ServeConfig,
        settings: &ServeSettings,
        callers: Callers,
        guards: Arc<Guards>,
        handler: H,
        state: &ReplicaState,
        lifecycle: Lifecycle,
    ) -> Self {
        let protocol = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            // Both are checked here: rmcp's list can't say "any IP address".
            .disable_allowed_hosts()
            .with_max_request_body_bytes(MAX_BODY_BYTES)
            .with_cancellation_token(lifecycle.abandoned.clone());
        let audience = config.access.audiences.first().cloned().unwrap_or_default();
        let metadata_url = match audience
            .parse::<Uri>()
            .ok()
            .and_then(|uri| Some((uri.scheme_str()?.to_owned(), uri.authority()?.to_string())))
        {
            Some((scheme, authority)) => format!("{scheme}://{authority}{METADATA_PATH}{MCP_PATH}"),
            None => format!("{METADATA_PATH}{MCP_PATH}"),
        };
        Self {
            own: format!("{}/{}", config.connector.namespace, config.connector.name),
            hosts: config.hosts.iter().map(|host| plain_host(host)).collect(),
            origins: settings.allowed_origins.clone(),
            unproven: settings.unproven.clone(),
            audience,
            metadata_url,
            authenticator: callers.authenticator,
            access: callers.access,
            failures: Failures::default(),
            metrics: state.metrics.clone(),
            audit: state.audit.clone(),
            protocol: StreamableHttpService::new(
                move || Ok(handler.clone()),
                Arc::new(NeverSessionManager::default()),
                protocol,
            ),
            lifecycle,
            guards,
            bodies: Bodies::new(settings.body_timeout, settings.memory.clone()),
            working: Shares::new((settings.max_connections / 2).max(1)),
        }
    }

    /// What a caller may use; nothing if they may not call.
    #[must_use]
    pub fn rights(&self, caller: &Caller) -> Option<Arc<Rights>> {
        self.access.rights(caller).cloned()
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let active = self.metrics.request_begins();
        let request_id = request_id(request.headers());
        let header = HeaderValue::from_str(&request_id);
        let lines = tracing::error_span!(
            "request",
            request_id,
            http_method = %request.method(),
            path = request.uri().path().get(..MAX_LOGGED_PATH).unwrap_or(request.uri().path()),
        );
        // Who is refused has its body read by nobody, after which a connection can't go on.
        let has_body = !http_body::Body::is_end_stream(request.body());
        let (response, busy, closes) = match self.decide(request, request_id).instrument(lines).await {
            Ok((response, busy)) => (response, busy, false),
            Err(refusal) => (refusal.into_rpc_response(), None, has_body),
        };
        let mut response = response.map(|body| Body::new(ActiveBody::new(body, (active, busy))));
        if let Ok(header) = header {
            response.headers_mut().insert(REQUEST_ID, header);
        }
        if closes || self.lifecycle.draining.is_cancelled() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn decide(
        &self,
        request: Request<Body>,
        request_id: String,
    ) -> Result<(Response<Body>, Option<Busy>), Refusal> {
        self.check_host(request.uri(), request.headers())?;
        self.check_origin(request.headers())?;
        match request.uri().path() {
            MCP_PATH | MCP_PATH_WITH_SLASH => self.serve(request, request_id).await,
            path if !self.access.is_anonymous() && is_metadata_path(path) => {
                if request.method() == Method::GET || request.method() == Method::HEAD {
                    Ok((json_response(StatusCode::OK, &self.metadata()), None))
                } else {
                    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only GET");
                    Err(refusal.with_header(header::ALLOW, "GET"))
                }
            }
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", format!("the MCP endpoint is at {MCP_PATH}"))),
        }
    }

    /// What RFC 9728 wants to be known of the endpoint. The authorization server is the cluster's token issuer.
    fn metadata(&self) -> Value {
        let issuer = Some(self.authenticator.issuer()).filter(|issuer| !issuer.is_empty());
        json!({
            "resource": self.audience,
            "authorization_servers": Vec::from_iter(issuer),
            "bearer_methods_supported": ["header"],
        })
    }

    async fn serve(
        &self,
        request: Request<Body>,
        request_id: String,
    ) -> Result<(Response<Body>, Option<Busy>), Refusal> {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let address = peer.map(|peer| peer.ip());
        let (caller, rights) = match self.admit(request.headers()).await {
            Ok(admitted) => admitted,
            // Looked at after the token: behind a gateway or a mesh, those who are refused share an address with all others.
            Err(turned_away) => {
                if let Some(note) = self.failures.too_many(address) {
                    self.metrics.rate_limited();
                    self.audit.refused_caller(&request_id, peer, "too_many_requests");
                    return Ok((too_many_requests(&note), None));
                }
                self.failures.count(address);
                self.audit.refused_caller(&request_id, peer, turned_away.reason);
                return Err(turned_away.refusal);
            }
        };
        let (mut parts, body) = request.into_parts();
        let principal = Principal::of(&caller, address);
        let key = principal.key();
        let mut share = self.working.of(key);
        if !share.grow(1) {
            let message =
                "as many requests of this caller are worked on as may be of one: call again when some are answered";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_at_once", message)
                .with_header(header::RETRY_AFTER, "1"));
        }
        let busy = (parts.extensions.get::<Connection>().map(|connection| connection.work_for(key)), share);
        // The token has done its work; nothing behind this line can log it or pass it on.
        parts.headers.remove(header::AUTHORIZATION);
        delegation::check(&parts.headers, &self.own).map_err(undelegated)?;
        parts.headers.remove(AGENT_TRACE);
        if parts.method != Method::POST {
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only POST");
            return Err(refusal.with_header(header::ALLOW, "POST"));
        }
        let accepts = Accepts::read(&parts.headers)?;
        parts.headers.insert(ACCEPT, accepts::BOTH);
        if declared_length(&parts.headers).is_some_and(|length| length > SMALL_BODY)
            && let Some(note) = self.guards.rates.used_up(&principal)
        {
            self.metrics.rate_limited();
            return Ok((rate_used_up(&note), None));
        }
        let (body, memory) = self.bodies.read(key, &parts.headers, body).await?;
        if caller == Caller::Operator && !is_handshake(&body) {
            let message = "the operator's identity may do the handshake and nothing else";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", message));
        }
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (traceparent, tracestate) = (header(TRACEPARENT), header(TRACESTATE));
        let scope = Arc::new(RequestScope {
            request_id,
            caller,
            rights,
            peer,
            traceparent,
            tracestate,
            streams: accepts != Accepts::Json,
            rate: OnceLock::new(),
            _memory: Some(memory),
        });
        parts.extensions.insert(scope.clone());
        let sent_json = is_json(&parts.headers);
        let response = self.protocol.handle(Request::from_parts(parts, Body::from(body.clone()))).await;
        match response.status() {
            // rmcp's answer to JSON that it can't read. Clients look for a JSON-RPC error.
            StatusCode::UNSUPPORTED_MEDIA_TYPE if sent_json => Err(unreadable(&body)),
            StatusCode::INTERNAL_SERVER_ERROR => {
                tracing::error!("the protocol layer gave up on a request");
                Err(Refusal::rpc(StatusCode::INTERNAL_SERVER_ERROR, -32603, "internal error"))
            }
            status if (status.is_client_error() || status.is_server_error()) && !is_json(response.headers()) => {
                let told = to_bytes(Body::new(response.into_body()), MAX_TOLD).await.unwrap_or_default();
                Err(Refusal::rpc(status, -32600, &safe_text(&String::from_utf8_lossy(&told))))
            }
            _ => {
                let mut response = accepts.give(response.map(Body::new)).await;
                // A stream begins before its call does, and says nothing of the rate.
                if let Some(note) = scope.rate.get() {
                    note.write(response.headers_mut());
                }
                Ok((response, Some(busy)))
            }
        }
    }

    /// Who calls, and what they may do; the operator may call no tool.
    async fn admit(&self, headers: &HeaderMap) -> Result<(Caller, Option<Arc<Rights>>), TurnedAway> {
        let caller = self.identify(headers).await?;
        match self.rights(&caller) {
            None if caller != Caller::Operator => Err(self.not_listed(&caller)),
            rights => Ok((caller, rights)),
        }
    }

    async fn identify(&self, headers: &HeaderMap) -> Result<Caller, TurnedAway> {
        if self.access.is_anonymous() {
            return Ok(self.unproven.clone());
        }
        self.authenticator.authenticate(headers).await.map_err(|failure| self.unauthorized(failure))
    }

    fn unauthorized(&self, failure: AuthFailure) -> TurnedAway {
        self.metrics.refused_token(failure.reason());
        tracing::debug!(reason = failure.reason(), "a token was refused");
        let audience = &self.audience;
        let message = format!(
            "{failure}; send a Kubernetes ServiceAccount token for the audience {audience} as Authorization: Bearer. \
             In a pod: mount a projected volume with serviceAccountToken.audience set to it, and read the file for \
             each call. By hand: kubectl create token <serviceaccount> --audience {audience}"
        );
        let error = if failure == AuthFailure::Missing { "" } else { ", error=\"invalid_token\"" };
        let challenge = format!("Bearer resource_metadata=\"{}\"{error}", self.metadata_url);
        let code = if failure == AuthFailure::Missing { "unauthorized" } else { "invalid_token" };
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, code, message)
            .with_field("reason", failure.reason())
            .with_field("audience", audience.as_str())
            .with_header(WWW_AUTHENTICATE, &challenge);
        TurnedAway { reason: failure.reason(), refusal }
    }

    fn not_listed(&self, caller: &Caller) -> TurnedAway {
        self.metrics.refused_token("not_listed");
        let message = format!(
            "the token is good, and {caller} is not among the ServiceAccounts that may call: whoever owns the \
             McpConnector can add it to spec.access.allow"
        );
        let challenge = format!("Bearer error=\"insufficient_scope\", resource_metadata=\"{}\"", self.metadata_url);
        let refusal = Refusal::new(StatusCode::FORBIDDEN, "insufficient_scope", message)
            .with_field("subject", caller.to_string())
            .with_field("field", "spec.access.allow")
            .with_header(WWW_AUTHENTICATE, &challenge);
        TurnedAway { reason: "not_listed", refusal }
    }

    /// Refuses requests that were sent to another name, as a browser's are whose name server was made to lie (DNS
    /// rebinding). An address can't be rebound, nor can `localhost`.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut values = headers.get_all(HOST).iter();
        let header = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(|text| text.parse::<Authority>().ok()),
            _ => None,
        };
        let Some(header) = header else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad_host", "the request has no valid Host header"));
        };
        for authority in std::iter::once(&header).chain(uri.authority()) {
            let host = plain_host(authority.host());
            let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
            if authority.as_str().contains('@') || !(literal || host == "localhost" || self.hosts.contains(&host)) {
                let message = "the Host header names a host that this connector is not called by: use the URL in the \
                               status of the McpConnector";
                return Err(Refusal::new(StatusCode::FORBIDDEN, "foreign_host", message));
            }
        }
        Ok(())
    }

    /// Refuses browsers: pages of other origins have no business here.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let allowed =
            |origin: &HeaderValue| origin.to_str().is_ok_and(|origin| self.origins.iter().any(|one| one == origin));
        if headers.get_all(ORIGIN).iter().all(allowed) {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::FORBIDDEN, "foreign_origin", "requests of web pages are not answered"))
    }
}

/// A caller who may not call, and why as a word.
struct TurnedAway {
    reason: &'static str,
    refusal: Refusal,
}

/// Whether a body is one of the messages that the operator may send. A body that can't be read is none of them.
fn is_handshake(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
    }
    serde_json::from_slice::<Message<'_>>(body).is_ok_and(|message| {
        HANDSHAKE.contains(&message.method.as_ref()) || message.method.starts_with("notifications/")
    })
}

/// What the protocol's layer says of a request, which may repeat a part of it.
fn safe_text(text: &str) -> String {
    common::foreign::line(text, MAX_TOLD_CHARACTERS)
}

fn is_metadata_path(path: &str) -> bool {
    path.strip_prefix(METADATA_PATH).is_some_and(|rest| rest.is_empty() || rest == MCP_PATH)
}

/// A host name in the one form in which names are compared.
fn plain_host(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// The id that the caller gave the request, if it is harmless; one of our own otherwise.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let harmless = |id: &&str| {
        !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
    };
    given.filter(harmless).map_or_else(new_request_id, str::to_owned)
}

/// 122 random bits in the form of a UUID (version 4).
fn new_request_id() -> String {
    let bits = (rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_taken_or_made() {
        let id = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
            request_id(&headers)
        };
        assert_eq!(id(b"abc-1"), "abc-1");
        for bad in [&b""[..], b"a b", &[b'a'; 129], "ü".as_bytes()] {
            let made = id(bad);
            assert_eq!(made.len(), 36);
            assert_eq!((&made[14..15], made[19..20].contains(['8', '9', 'a', 'b'])), ("4", true), "{made}");
        }
    }

    #[test]
    fn the_operator_may_send_the_handshake_only() {
        for (body, allowed) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#, true),
            (r#"{"method":"server/discover"}"#, true),
            (r#"{"method":"notifications/initialized"}"#, true),
            (r#"{"method":"tools/list"}"#, false),
            (r#"{"method":"ping","method":"tools/call"}"#, false),
            (r#"[{"method":"ping"}]"#, false),
            ("", false),
        ] {
            assert_eq!(is_handshake(body.as_bytes()), allowed, "{body}");
        }
    }
}
