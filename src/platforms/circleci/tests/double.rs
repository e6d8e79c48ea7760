//! A strict double of CircleCI: API v3, v2, and the `GET` endpoints of v1.1. Where its behaviour comes from:
//!
//! * v2, paths, query parameters, bodies: the OpenAPI document that CircleCI publishes (circleci.com/docs/api/v2/openapi.json),
//!   against which `openapi.rs` holds all that passes here.
//! * v3, conventions: circleci.com/docs/api/v3/conventions.md (Bearer only, no token in a query, cursors as they came,
//!   `page[limit]` out of range is 400); shapes: the vendor's command line and its in-process fake
//!   (CircleCI-Public/circleci-cli, 5bb7183, `internal/apiclient`, `internal/testing/fakes/circleci.go`). Unknown fields of
//!   bodies are ignored there; here they are noted, and make the test fail.
//! * v1.1: circleci.com/docs/api/v1. Slugs sent as one encoded segment are 404 (circleci-cli, `pipeline_definition.go`).
//!
//! Files lie on a second host, which refuses tokens and unsigned links. Every failing answer holds a planted secret.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers};

use super::{PLANTED, answers, world::World};

/// The token that is accepted.
pub(super) const TOKEN: &str = "planted-token";

/// One exchange, as it passed.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) method: String,
    /// With the version, such as `v2/me`.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Value,
    pub(super) status: u16,
    pub(super) answer: Value,
}

/// An answer that a test wants at a path, instead of the double's own.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

pub(super) struct State {
    /// Whether it is a Server, without v3.
    pub(super) is_server: bool,
    pub(super) tokens: Vec<String>,
    /// Headers of every answer, such as those of rate limits.
    pub(super) headers: Vec<(&'static str, String)>,
    /// Whether a trigger takes effect, and something on the way says that there was no answer in time.
    pub(super) loses_answers: bool,
    pub(super) wanted: BTreeMap<String, Wanted>,
    pub(super) world: World,
    pub(super) seen: Vec<Exchange>,
    /// What the real one would let pass, and no good client does.
    offences: Vec<String>,
}

pub(super) struct Double {
    server: MockServer,
    /// Where files lie.
    files: MockServer,
    state: Arc<Mutex<State>>,
}

struct Answering(Arc<Mutex<State>>);

struct Files(Arc<Mutex<State>>);

impl Double {
    /// The cloud.
    pub(super) async fn start() -> Self {
        let (server, files) = (MockServer::start().await, MockServer::start().await);
        let state = Arc::new(Mutex::new(State {
            is_server: false,
            tokens: vec![TOKEN.to_owned()],
            headers: Vec::new(),
            loses_answers: false,
            wanted: BTreeMap::new(),
            world: World::new(&server.uri(), &files.uri()),
            seen: Vec::new(),
            offences: Vec::new(),
        }));
        Mock::given(matchers::any()).respond_with(Answering(Arc::clone(&state))).mount(&server).await;
        Mock::given(matchers::any()).respond_with(Files(Arc::clone(&state))).mount(&files).await;
        Self { server, files, state }
    }

    /// A CircleCI Server.
    pub(super) async fn start_server() -> Self {
        let double = Self::start().await;
        double.change(|state| state.is_server = true);
        double
    }

    pub(super) fn uri(&self) -> String {
        self.server.uri()
    }

    pub(super) fn files_host(&self) -> String {
        self.files.uri()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
    }

    /// Wants a status, headers and a JSON body at a path, such as `v2/me`.
    pub(super) fn want(&self, path: &str, status: u16, headers: &[(&'static str, &str)], body: &Value) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let wanted = Wanted { status, headers, kind: "application/json", body: body.to_string() };
        self.state().wanted.insert(path.to_owned(), wanted);
    }

    /// Wants a failure at a path, worded as the path's version does it.
    pub(super) fn fail(&self, path: &str, status: u16, message: &str) {
        self.want(path, status, &[], &failure_body(path, message));
    }

    /// Wants a page at a path.
    pub(super) fn page(&self, path: &str, status: u16) {
        let body = format!("<!doctype html>{PLANTED}");
        self.state().wanted.insert(path.to_owned(), Wanted { status, headers: vec![], kind: "text/html", body });
    }

    /// What passed.
    pub(super) fn seen(&self) -> Vec<Exchange> {
        self.state().seen.clone()
    }

    pub(super) fn count(&self, method: &str, path: &str) -> usize {
        self.state().seen.iter().filter(|one| one.method == method && one.path == path).count()
    }

    pub(super) fn total(&self) -> usize {
        self.state().seen.len()
    }

    /// The body of the last request with a method to a path.
    pub(super) fn body(&self, method: &str, path: &str) -> Value {
        let state = self.state();
        state.seen.iter().rev().find(|one| one.method == method && one.path == path).unwrap().body.clone()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.state().offences, Vec::<String>::new());
        }
    }
}

pub(super) fn failure_body(path: &str, message: &str) -> Value {
    let message = format!("{message} {PLANTED}");
    if path.starts_with("v3/") {
        let id = "0f8d4c5e-2b8e-4f5a-9c52-1f2a3b4c5d6e";
        json!({ "error": { "id": id, "title": message, "detail": PLANTED, "source": { "pointer": "/x" } } })
    } else {
        json!({ "message": message })
    }
}

/// What an answer is made of.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Value,
    /// Instead of `body`.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Reply {
    pub(super) fn json(status: u16, body: Value) -> Self {
        Self { status, body, bytes: None, headers: Vec::new() }
    }

    pub(super) fn fails(path: &str, status: u16, message: &str) -> Self {
        Self::json(status, failure_body(path, message))
    }
}

impl Respond for Answering {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        let raw = request.url.path().trim_start_matches('/').to_owned();
        if !raw.starts_with("api/") {
            return own_file(&mut state, request, &raw);
        }
        let path = raw.trim_start_matches("api/").to_owned();
        let query: Vec<(String, String)> =
            request.url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let reply = match state.wanted.get(&path).cloned() {
            Some(wanted) => {
                let mut template = ResponseTemplate::new(wanted.status).set_body_raw(wanted.body, wanted.kind);
                for (name, value) in &wanted.headers {
                    template = template.insert_header(*name, value.as_str());
                }
                let (method, answer) = (request.method.to_string(), Value::Null);
                state.seen.push(Exchange { method, path, query, body, status: wanted.status, answer });
                return template;
            }
            None => checked(&mut state, request, &path, &query, &body),
        };
        let mut template = ResponseTemplate::new(reply.status);
        template = match &reply.bytes {
            Some(bytes) => template.set_body_raw(bytes.clone(), "application/octet-stream"),
            None => template.set_body_json(&reply.body),
        };
        for (name, value) in reply.headers.iter().chain(&state.headers) {
            template = template.insert_header(*name, value.as_str());
        }
        if state.loses_answers && path.ends_with("pipeline/run") {
            template = ResponseTemplate::new(504).set_body_raw(format!("<html>{PLANTED}"), "text/html");
        }
        let method = request.method.to_string();
        state.seen.push(Exchange { method, path, query, body, status: reply.status, answer: reply.body });
        template
    }
}

/// What every call must be, before it is answered.
fn checked(state: &mut State, request: &Request, path: &str, query: &[(String, String)], body: &Value) -> Reply {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_v3 = path.starts_with("v3/");
    if is_v3 && state.is_server {
        return Reply::fails("v2", 404, "Not found");
    }
    if query
        .iter()
        .any(|(name, value)| name.contains("token") && !name.starts_with("page") || state.tokens.contains(value))
    {
        return Reply::fails(path, 400, "a token in the query");
    }
    let token = if is_v3 { header("authorization").strip_prefix("Bearer ") } else { Some(header("circle-token")) };
    if !token.is_some_and(|token| state.tokens.iter().any(|one| one == token)) {
        return Reply::fails(path, 401, "You must log in first");
    }
    // The slashes of a slug are no part of its segments.
    let path = path.to_owned();
    let segments: Vec<&str> = path.split('/').collect();
    if segments.iter().any(|segment| segment.to_ascii_lowercase().contains("%2f")) {
        return Reply::fails(&path, 404, "Not found");
    }
    let method = request.method.to_string();
    let Some(known) = answers::parameters(&method, &segments) else {
        return Reply::fails(&path, 404, "Not found");
    };
    if let Some((name, _)) = query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Reply::fails(&path, 400, &format!("unknown parameter {name}"));
    }
    if method == "POST" && !body.is_null() && header("content-type") != "application/json" {
        return Reply::fails(&path, 415, "not JSON");
    }
    if let Some(allowed) = answers::fields(&segments) {
        let sent = body.as_object().into_iter().flatten().map(|(name, _)| name.clone());
        state
            .offences
            .extend(sent.filter(|name| !allowed.contains(&name.as_str())).map(|name| format!("{path}: {name}")));
    }
    let range = header("range").strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')?.parse().ok());
    answers::answer(&mut state.world, &method, &segments, query, body, range)
}

/// Artifacts on CircleCI's own host: they take a token, and lead on to where the file lies.
fn own_file(state: &mut State, request: &Request, path: &str) -> ResponseTemplate {
    let token = request.headers.get("circle-token").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !state.tokens.iter().any(|one| one == token) {
        return ResponseTemplate::new(401).set_body_string(PLANTED);
    }
    let target = format!("{}/{path}?signature={PLANTED}", state.world.files);
    ResponseTemplate::new(302).insert_header("location", target.as_str())
}

impl Respond for Files {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        for header in ["circle-token", "authorization"] {
            if request.headers.contains_key(header) {
                state.offences.push(format!("a token went to {}", request.url.path()));
            }
        }
        if !request.url.query_pairs().any(|(name, _)| name == "signature") {
            return ResponseTemplate::new(403).set_body_string(PLANTED);
        }
        match state.world.file(request.url.path()) {
            Some(bytes) => ResponseTemplate::new(200).set_body_raw(bytes, "application/octet-stream"),
            None => ResponseTemplate::new(404).set_body_string(PLANTED),
        }
    }
}
