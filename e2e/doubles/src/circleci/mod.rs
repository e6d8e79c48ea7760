//! A strict double of CircleCI: API v3, v2, and the `GET` endpoints of v1.1. Where its behaviour comes from:
//!
//! * v2, paths, query parameters, bodies: the OpenAPI document that CircleCI publishes (circleci.com/docs/api/v2/openapi.json),
//!   against which a unit test of the connector (`crates/platforms/circleci/src/tests/openapi.rs`) holds all that passes here.
//! * v3, conventions: circleci.com/docs/api/v3/conventions.md (Bearer only, no token in a query, cursors as they came,
//!   `page[limit]` out of range is 400); shapes: the vendor's command line and its in-process fake
//!   (CircleCI-Public/circleci-cli, 5bb7183, `internal/apiclient`, `internal/testing/fakes/circleci.go`). Unknown fields of
//!   bodies are ignored there; here they are noted, and make the test fail.
//! * v1.1: circleci.com/docs/api/v1. Slugs sent as one encoded segment are 404 (circleci-cli, `pipeline_definition.go`).
//!
//! Files lie on a second host, which refuses tokens and unsigned links. Every failing answer holds a planted secret.

mod answers;
mod answers_v3;
mod changes;
mod status;
pub mod world;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request, State as Shared},
    response::Response,
};
use http::{HeaderMap, HeaderValue, request::Parts};
use serde_json::{Value, json};

use self::world::World;
use crate::{
    platform::{Credentials, Platform, Refusal, field, only, response},
    serving::Loopback,
};

/// Part of what failing answers hold.
pub const PLANTED: &str = "planted";

/// The token that is accepted.
pub const TOKEN: &str = "planted-token";

/// One exchange, as it passed.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its method.
    pub method: String,
    /// With the version, such as `v2/me`.
    pub path: String,
    /// Parameters of the query.
    pub query: Vec<(String, String)>,
    /// The request's body.
    pub body: Value,
    /// The answer's status.
    pub status: u16,
    /// The answer's body, if it is JSON.
    pub answer: Value,
}

/// An answer that a test wants at a path, instead of the double's own.
#[derive(Clone)]
pub struct Wanted {
    /// Its status.
    pub status: u16,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its content type.
    pub kind: &'static str,
    /// Its body.
    pub body: String,
}

/// What there is, and how it is.
pub struct State {
    /// Whether it is a Server, without v3.
    pub is_server: bool,
    /// Tokens that are accepted.
    pub tokens: Vec<String>,
    /// Headers of every answer, such as those of rate limits.
    pub headers: Vec<(&'static str, String)>,
    /// Whether a trigger takes effect, and something on the way says that there was no answer in time.
    pub loses_answers: bool,
    /// The status and text with which GitHub refuses CircleCI the repository, if it does.
    pub refused_by_github: Option<(u16, &'static str)>,
    /// Answers that a test wants, by path.
    pub wanted: BTreeMap<String, Wanted>,
    /// The project.
    pub world: World,
    /// What passed.
    pub seen: Vec<Exchange>,
    /// What the real one would let pass, and no good client does.
    offences: Vec<String>,
}

/// The cloud, whose links say these URLs of its own and of the host of files.
pub fn world(url: &str, files: &str) -> Mutex<State> {
    Mutex::new(State {
        is_server: false,
        tokens: vec![TOKEN.to_owned()],
        headers: Vec::new(),
        loses_answers: false,
        refused_by_github: None,
        wanted: BTreeMap::new(),
        world: World::new(url, files),
        seen: Vec::new(),
        offences: Vec::new(),
    })
}

/// The answers of the host of files.
pub fn files(state: &Arc<Mutex<State>>) -> Router {
    Router::new().fallback(answer_file).with_state(Arc::clone(state))
}

impl Platform for Mutex<State> {
    fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(answer).with_state(self)
    }

    fn default_credentials(&self) -> Credentials {
        [("token".to_owned(), TOKEN.to_owned())].into()
    }

    fn accept(&self, credentials: Option<&Credentials>) -> Result<(), String> {
        let tokens = match credentials {
            None => Vec::new(),
            Some(given) => {
                only(given, &["token"])?;
                vec![field(given, "token")?]
            }
        };
        self.lock().unwrap().tokens = tokens;
        Ok(())
    }

    fn refuse(&self, refusal: Refusal, request: &Parts) -> Response {
        let path = request.uri.path().trim_start_matches("/api/");
        let body = |message: &str| failure_body(path, message).to_string();
        match refusal {
            Refusal::RateLimited(seconds) => {
                let mut response = response(429, "application/json", body("Rate limit exceeded"));
                for (name, value) in [("retry-after", seconds), ("x-ratelimit-remaining", 0)] {
                    response.headers_mut().insert(name, value.into());
                }
                response
            }
            Refusal::ServerError => response(500, "application/json", body("Internal server error")),
        }
    }

    fn offences(&self) -> Vec<String> {
        self.lock().unwrap().offences.clone()
    }
}

/// The cloud or a Server on loopback, for a unit test.
pub struct Double {
    server: Loopback,
    /// Where files lie.
    files: Loopback,
    state: Arc<Mutex<State>>,
}

impl Double {
    /// The cloud.
    pub async fn start() -> Self {
        let (listener, for_files) = (Loopback::bind().await, Loopback::bind().await);
        let [url, files_url] = [&listener, &for_files].map(|one| format!("http://{}", one.local_addr().unwrap()));
        let state = Arc::new(world(&url, &files_url));
        let files = Loopback::serve(for_files, files(&state));
        Self { server: Loopback::serve(listener, Arc::clone(&state).router()), files, state }
    }

    /// A CircleCI Server.
    pub async fn start_server() -> Self {
        let double = Self::start().await;
        double.change(|state| state.is_server = true);
        double
    }

    /// The URL.
    pub fn uri(&self) -> String {
        self.server.url()
    }

    /// The URL of the host of files.
    pub fn files_host(&self) -> String {
        self.files.url()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Changes what there is.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
    }

    /// Wants a status, headers and a JSON body at a path, such as `v2/me`.
    pub fn want(&self, path: &str, status: u16, headers: &[(&'static str, &str)], body: &Value) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let wanted = Wanted { status, headers, kind: "application/json", body: body.to_string() };
        self.state().wanted.insert(path.to_owned(), wanted);
    }

    /// Wants a failure at a path, worded as the path's version does it.
    pub fn fail(&self, path: &str, status: u16, message: &str) {
        self.want(path, status, &[], &failure_body(path, message));
    }

    /// Wants what something in front of CircleCI answers at a path.
    pub fn foreign(&self, path: &str, status: u16, kind: &'static str, body: &str) {
        let wanted = Wanted { status, headers: vec![], kind, body: body.to_owned() };
        self.state().wanted.insert(path.to_owned(), wanted);
    }

    /// Wants a page at a path.
    pub fn page(&self, path: &str, status: u16) {
        let body = format!("<!doctype html>{PLANTED}");
        self.state().wanted.insert(path.to_owned(), Wanted { status, headers: vec![], kind: "text/html", body });
    }

    /// What passed.
    pub fn seen(&self) -> Vec<Exchange> {
        self.state().seen.clone()
    }

    /// Requests with a method to a path.
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.state().seen.iter().filter(|one| one.method == method && one.path == path).count()
    }

    /// All requests.
    pub fn total(&self) -> usize {
        self.state().seen.len()
    }

    /// The body of the last request with a method to a path.
    pub fn body(&self, method: &str, path: &str) -> Value {
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

fn failure_body(path: &str, message: &str) -> Value {
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

/// A request, read to its end.
struct Asked {
    method: String,
    /// Without the slash that it begins with.
    path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    async fn read(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        Self {
            method: parts.method.to_string(),
            path: parts.uri.path().trim_start_matches('/').to_owned(),
            query: query.into_owned().collect(),
            headers: parts.headers,
            body: to_bytes(body, 1 << 20).await.unwrap(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

fn with_headers<'a>(mut response: Response, headers: impl IntoIterator<Item = &'a (&'static str, String)>) -> Response {
    for (name, value) in headers {
        response.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    response
}

async fn answer(Shared(state): Shared<Arc<Mutex<State>>>, request: Request) -> Response {
    let asked = Asked::read(request).await;
    let mut state = state.lock().unwrap();
    let Some(path) = asked.path.strip_prefix("api/").map(str::to_owned) else {
        return own_file(&state, &asked);
    };
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or(Value::Null);
    let (method, query) = (asked.method.clone(), asked.query.clone());
    if let Some(wanted) = state.wanted.get(&path).cloned() {
        state.seen.push(Exchange { method, path, query, body, status: wanted.status, answer: Value::Null });
        return with_headers(response(wanted.status, wanted.kind, wanted.body), &wanted.headers);
    }
    let reply = checked(&mut state, &asked, &path, &body);
    let answer = if state.loses_answers && path.ends_with("pipeline/run") {
        response(504, "text/html", format!("<html>{PLANTED}"))
    } else {
        let answer = match &reply.bytes {
            Some(bytes) => response(reply.status, "application/octet-stream", bytes.clone()),
            // v1.1 says of its JSON that it is text (discuss.circleci.com/t/33558).
            None if reply.status >= 400 && path.starts_with("v1.1/") => {
                response(reply.status, "text/plain;charset=utf-8", reply.body.to_string())
            }
            None => response(reply.status, "application/json", reply.body.to_string()),
        };
        with_headers(answer, reply.headers.iter().chain(&state.headers))
    };
    state.seen.push(Exchange { method, path, query, body, status: reply.status, answer: reply.body });
    answer
}

/// What every call must be, before it is answered.
fn checked(state: &mut State, asked: &Asked, path: &str, body: &Value) -> Reply {
    let (query, header) = (&asked.query, |name: &str| asked.header(name));
    let is_v3 = path.starts_with("v3/");
    if is_v3 && state.is_server {
        // A Server's Kong has no route to it (Kong 3.3.1, `kong/runloop/handler.lua`).
        let headers = vec![("x-kong-response-latency", "1".to_owned())];
        return Reply { headers, ..Reply::json(404, json!({ "message": "no Route matched with those values" })) };
    }
    if query
        .iter()
        .any(|(name, value)| name.contains("token") && !name.starts_with("page") || state.tokens.contains(value))
    {
        return Reply::fails(path, 400, "a token in the query");
    }
    let token = if is_v3 { header("authorization").strip_prefix("Bearer ") } else { Some(header("circle-token")) };
    if !token.is_some_and(|token| state.tokens.iter().any(|one| one == token)) {
        // By design, as CircleCI's staff says: a project is hidden from a token that is not known, v1.1's and v2's alike, and
        // only who asks whose the token is is told (discuss.circleci.com/t/33558, promiseofcake/circleci-trigger-action #186).
        if ["v1.1/project/", "v2/project/"].iter().any(|front| path.starts_with(front)) {
            return Reply::fails(path, 404, "Project not found");
        }
        return Reply::fails(path, 401, "You must log in first");
    }
    // CircleCI passes on GitHub's answer as it is, a text within its own (eddiewebb/circleci-queue #106).
    if let Some((status, text)) = state.refused_by_github
        && ["v1.1/project/", "v2/project/"].iter().any(|front| path.starts_with(front))
    {
        let documentation = "https://docs.github.com/rest/repos/repos#get-a-repository";
        let message = json!({ "message": text, "documentation_url": documentation }).to_string();
        return Reply::fails(path, status, &message);
    }
    // The slashes of a slug are no part of its segments.
    let segments: Vec<&str> = path.split('/').collect();
    if segments.iter().any(|segment| segment.to_ascii_lowercase().contains("%2f")) {
        return Reply::fails(path, 404, "Not found");
    }
    let method = asked.method.as_str();
    let Some(known) = answers::parameters(method, &segments) else {
        return Reply::fails(path, 404, "Not found");
    };
    if let Some((name, _)) = query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Reply::fails(path, 400, &format!("unknown parameter {name}"));
    }
    if method == "POST" && !body.is_null() && header("content-type") != "application/json" {
        return Reply::fails(path, 415, "not JSON");
    }
    if let Some(allowed) = answers::fields(&segments) {
        let sent = body.as_object().into_iter().flatten().map(|(name, _)| name.clone());
        state
            .offences
            .extend(sent.filter(|name| !allowed.contains(&name.as_str())).map(|name| format!("{path}: {name}")));
    }
    let range = header("range").strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')?.parse().ok());
    answers::answer(&mut state.world, method, &segments, query, body, range)
}

/// Artifacts on CircleCI's own host: they take a token, and lead on to where the file lies.
fn own_file(state: &State, asked: &Asked) -> Response {
    let token = asked.header("circle-token");
    if !state.tokens.iter().any(|one| one == token) {
        return response(401, "text/plain", PLANTED);
    }
    let target = format!("{}/{}?signature={PLANTED}", state.world.files, asked.path);
    with_headers(response(302, "text/plain", ""), &[("location", target)])
}

async fn answer_file(Shared(state): Shared<Arc<Mutex<State>>>, request: Request) -> Response {
    let asked = Asked::read(request).await;
    let mut state = state.lock().unwrap();
    for header in ["circle-token", "authorization"] {
        if asked.headers.contains_key(header) {
            state.offences.push(format!("a token went to {}", asked.path));
        }
    }
    if !asked.query.iter().any(|(name, _)| name == "signature") {
        return response(403, "text/plain", PLANTED);
    }
    match state.world.file(&asked.path) {
        Some(bytes) if state.world.packs_files => {
            let packed = response(200, "application/octet-stream", packed(&bytes));
            with_headers(packed, &[("content-encoding", "gzip".to_owned())])
        }
        Some(bytes) => response(200, "application/octet-stream", bytes),
        // As object storage says it of a link that has ended, and of a file that is gone.
        None => response(404, "application/xml", format!("<Error><Code>NoSuchKey</Code><Key>{PLANTED}</Key></Error>")),
    }
}

/// A file in the form of gzip (RFC 1952), of blocks that are stored as they are.
fn packed(content: &[u8]) -> Vec<u8> {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    };
    let checksum = !content.iter().fold(!0, step);
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for block in content.chunks(0xffff) {
        let length = u16::try_from(block.len()).unwrap();
        file.push(0);
        file.extend(length.to_le_bytes().into_iter().chain((!length).to_le_bytes()));
        file.extend(block);
    }
    file.extend([1, 0, 0, 0xff, 0xff]);
    file.extend(checksum.to_le_bytes());
    file.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    file
}
