//! A strict double of a Jenkins controller: a program on loopback with a state of its own, that refuses what the real one
//! refuses, and what it ignores (unknown query parameters, reads without a selection of fields, cookies beside a token).
//!
//! Where its behaviour comes from, in the repositories of jenkinsci:
//! - who the caller is, 401: `jenkins/security/BasicHeaderProcessor.java`, `hudson/security/WhoAmI.java`
//! - 403 and its headers: `hudson/security/AccessDeniedException3.java`; 404 for what may not be read: `Jenkins.getItem`
//! - crumbs: `hudson/security/csrf/{CrumbFilter,DefaultCrumbIssuer}.java` (POST only; bound to user and session; the name of
//!   the header is configurable), `jenkins/security/ApiCrumbExclusion.java` (none with a token)
//! - triggering: `jenkins/model/ParameterizedJobMixIn.java`, `hudson/model/ParametersDefinitionProperty.java` (201 with a
//!   `Location` out of the configured root URL, 303 for an item that waits already, 400, 409; undeclared parameters dropped)
//! - the queue: `hudson/model/Queue.java` (left items are kept for five minutes; `cancelItem` 204, 404, 422)
//! - logs: `org/kohsuke/stapler/framework/io/LargeText.java` of stapler (`X-Text-Size`, `X-More-Data`, whole lines while the
//!   build runs, begins anew beyond the end, lone LF becomes CR LF), `hudson/console/PlainTextConsoleOutputStream.java`
//!   (annotations are in the raw log and not in the text)
//! - builds: `hudson/model/AbstractBuild.java` (`stop` always redirects), `workflow-job-plugin` (`term`, `kill`)
//! - stages and inputs: `pipeline-stage-view-plugin`, `rest-api` (`RunAPI`, `FlowNodeAPI`, `PendingInputActionsExt`);
//!   `pipeline-input-step-plugin`, `InputStepExecution.java` (settled once; an unknown parameter is an exception)
//! - the start page: `hudson/util/HudsonIsLoading/index.jelly`
//! - slashes in names: the documentation of multibranch jobs, JENKINS-33903; `%2F` in a path is refused by Jetty 10 and later
//!
//! It plants a secret in every failing answer. It needs nothing of the crate, so that it can become a program of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State as Shared},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::double_model::{Build, Item, Job, JobKind};
use super::double_routes::route;

pub(super) const USER: &str = "bot";
pub(super) const TOKEN: &str = "planted-token";
pub(super) const PASSWORD: &str = "planted-password";
/// Part of what failing answers hold.
pub(super) const PLANTED: &str = "planted";

/// Milliseconds for which items that left the queue are known.
pub(super) const KEPT: i64 = 300_000;

/// An answer that a test wants at a path, instead of the double's own.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
    /// Whether the request takes effect all the same.
    pub(super) takes_effect: bool,
    pub(super) delay: Duration,
}

pub(super) struct State {
    pub(super) permissions: BTreeSet<&'static str>,
    /// Whether the crumb issuer is on.
    pub(super) csrf: bool,
    pub(super) crumb_field: &'static str,
    /// Whether the crumb issuer refuses the user.
    pub(super) crumb_denied: bool,
    /// Cookies of live sessions.
    pub(super) sessions: BTreeSet<String>,
    pub(super) jobs: BTreeMap<String, Job>,
    pub(super) queue: BTreeMap<u64, Item>,
    /// Looks at an item until its build begins; never, if none.
    pub(super) looks_until_start: Option<u32>,
    /// Milliseconds since 1970: the double's own clock.
    pub(super) now: i64,
    pub(super) stage_view: bool,
    pub(super) version: Option<&'static str>,
    pub(super) quieting_down: bool,
    pub(super) starting: bool,
    /// A proxy takes out the credentials.
    pub(super) drops_credentials: bool,
    pub(super) nodes: Vec<Value>,
    wanted: BTreeMap<String, Wanted>,
    /// Method, and path with query.
    seen: Vec<(String, String)>,
    /// Bodies of forms that came, by path.
    pub(super) forms: BTreeMap<String, Vec<(String, String)>>,
    pub(super) sequence: u64,
    /// Bytes of generated logs that were sent.
    pub(super) sent: Arc<std::sync::atomic::AtomicU64>,
}

/// What came, taken apart.
pub(super) struct Asked {
    pub(super) method: String,
    /// Segments below the context path, as yet encoded.
    pub(super) segments: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) form: Vec<(String, String)>,
    pub(super) crumb: Option<String>,
    pub(super) cookie: Option<String>,
    pub(super) caller: Caller,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Anonymous,
    Token,
    Password,
    Wrong,
}

pub(super) struct Double {
    pub(super) address: SocketAddr,
    pub(super) state: Arc<Mutex<State>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Double {
    /// A controller with a folder, a few jobs and their builds.
    pub(super) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            permissions: ["Overall/Read", "Job/Read", "Job/Build", "Job/Cancel", "Job/Delete"].into(),
            csrf: true,
            crumb_field: "Jenkins-Crumb",
            crumb_denied: false,
            sessions: BTreeSet::new(),
            jobs: Job::samples(),
            queue: BTreeMap::new(),
            looks_until_start: Some(0),
            now: 1_769_846_400_000,
            stage_view: true,
            version: Some("2.528.1"),
            quieting_down: false,
            starting: false,
            drops_credentials: false,
            nodes: vec![
                json!({ "displayName": "Built-In Node", "offline": false, "numExecutors": 2, "idle": false,
                        "temporarilyOffline": false, "offlineCauseReason": "", "assignedLabels": [{ "name": "built-in" }] }),
                json!({ "displayName": "linux-1", "offline": true, "numExecutors": 4, "idle": true,
                        "temporarilyOffline": true, "offlineCauseReason": "disk is full", "assignedLabels": [] }),
            ],
            wanted: BTreeMap::new(),
            seen: Vec::new(),
            forms: BTreeMap::new(),
            sequence: 40,
            sent: Arc::default(),
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, state, server }
    }

    /// The URL, with a context path.
    pub(super) fn url(&self) -> String {
        format!("http://{}/jenkins", self.address)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// Changes a build.
    pub(super) fn build(&self, job: &str, number: u32, change: impl FnOnce(&mut Build)) {
        self.change(|state| change(state.jobs.get_mut(job).unwrap().builds.get_mut(&number).unwrap()));
    }

    /// Wants a page with a status at a path below the context path, without its query.
    pub(super) fn want(&self, path: &str, status: u16, body: &str) {
        self.want_with(path, |wanted| Wanted { status, body: format!("<!-- {PLANTED} -->{body}"), ..wanted });
    }

    pub(super) fn want_with(&self, path: &str, make: impl FnOnce(Wanted) -> Wanted) {
        let wanted = make(Wanted {
            status: 200,
            kind: "text/html;charset=utf-8",
            headers: Vec::new(),
            body: String::new(),
            takes_effect: false,
            delay: Duration::ZERO,
        });
        self.change(|state| state.wanted.insert(path.to_owned(), wanted));
    }

    /// Jenkins restarts: sessions end, and the start page is shown.
    pub(super) fn restart(&self) {
        self.change(|state| {
            state.sessions.clear();
            state.starting = true;
        });
    }

    pub(super) fn total(&self) -> usize {
        self.change(|state| state.seen.len())
    }

    /// Requests with a method whose path ends so.
    pub(super) fn count(&self, method: &str, end: &str) -> usize {
        let ends = |path: &str| path.split('?').next().is_some_and(|path| path.ends_with(end));
        self.change(|state| state.seen.iter().filter(|(one, path)| one == method && ends(path)).count())
    }

    /// The last form that came to a path.
    pub(super) fn form(&self, path: &str) -> Vec<(String, String)> {
        self.change(|state| state.forms.get(path).cloned().unwrap_or_default())
    }
}

async fn answer(Shared(state): Shared<Arc<Mutex<State>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let path = parts.uri.path().to_owned();
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let method = parts.method.to_string();
    let whole = parts.uri.to_string();
    let wanted;
    let response = {
        let mut state = state.lock().unwrap();
        state.seen.push((method.clone(), whole));
        let Some(below) = path.strip_prefix("/jenkins/") else { return page(&state, 404, "not found") };
        wanted = state.wanted.get(below).cloned();
        if wanted.as_ref().is_some_and(|wanted| !wanted.takes_effect) {
            None
        } else if method == "POST" && header("content-type").as_deref() != Some("application/x-www-form-urlencoded") {
            Some(page(&state, 400, "This page expects a form submission"))
        } else {
            let form: Vec<_> = url::form_urlencoded::parse(&body).into_owned().collect();
            if method == "POST" {
                state.forms.insert(below.to_owned(), form.clone());
            }
            let asked = Asked {
                method,
                segments: below.split('/').map(str::to_owned).collect(),
                query,
                form,
                crumb: header(state.crumb_field),
                cookie: header("cookie"),
                caller: caller(&state, header("authorization").as_deref()),
            };
            Some(route(&mut state, &asked))
        }
    };
    match (wanted, response) {
        (Some(wanted), _) => {
            tokio::time::sleep(wanted.delay).await;
            let mut response = Response::builder()
                .status(wanted.status)
                .header("content-type", wanted.kind)
                .header("x-jenkins", "2.528.1");
            if wanted.status >= 502 {
                // It is not Jenkins that answers so.
                response = Response::builder().status(wanted.status).header("content-type", wanted.kind);
            }
            for (name, value) in wanted.headers {
                response = response.header(name, value);
            }
            response.body(Body::from(wanted.body)).unwrap()
        }
        (None, Some(response)) => response,
        (None, None) => unreachable!("an answer is either wanted or the double's own"),
    }
}

fn caller(state: &State, authorization: Option<&str>) -> Caller {
    let Some(pair) = authorization.filter(|_| !state.drops_credentials) else { return Caller::Anonymous };
    let pair = pair.strip_prefix("Basic ").and_then(|pair| STANDARD.decode(pair).ok());
    match pair.and_then(|pair| String::from_utf8(pair).ok()).as_deref().and_then(|pair| pair.split_once(':')) {
        Some((USER, TOKEN)) => Caller::Token,
        Some((USER, PASSWORD)) => Caller::Password,
        _ => Caller::Wrong,
    }
}

/// A page, as Jenkins answers errors.
pub(super) fn page(state: &State, status: u16, text: &str) -> Response {
    let mut response = Response::builder().status(status).header("content-type", "text/html;charset=utf-8");
    if let Some(version) = state.version {
        response = response.header("x-jenkins", version);
    }
    let body = format!("<html><head><title>{PLANTED}</title></head><body>{text} {PLANTED}</body></html>");
    response.body(Body::from(body)).unwrap()
}

/// A bean as JSON.
pub(super) fn bean(state: &State, value: &Value) -> Response {
    let mut response = Response::builder().status(200).header("content-type", "application/json;charset=utf-8");
    if let Some(version) = state.version {
        response = response.header("x-jenkins", version);
    }
    response.body(Body::from(value.to_string())).unwrap()
}

/// A redirect. Its host is that of the configured root URL, which is wrong.
pub(super) fn redirect(status: u16, path: &str) -> Response {
    let location = format!("http://wrong-root-url.example.com/jenkins/{path}");
    Response::builder().status(status).header("location", location).body(Body::empty()).unwrap()
}

impl State {
    pub(super) fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Begins the build of an item.
    pub(super) fn begin(&mut self, id: u64) {
        let now = self.now;
        let item = self.queue.get_mut(&id).unwrap();
        let job = self.jobs.get_mut(&item.job).unwrap();
        let number = job.next_number();
        job.builds.insert(number, Build::running(id, now, item.parameters.clone(), job.kind == JobKind::Pipeline));
        item.build = Some(number);
        item.left = Some(now);
    }
}
