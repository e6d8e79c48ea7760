//! A strict double of a Jenkins controller. It refuses what the real one refuses, and what the real one ignores (unknown
//! query parameters, reads without a selection of fields, cookies beside a token).
//!
//! Where its behaviour comes from, in the repositories of jenkinsci:
//! - who the caller is, 401: `jenkins/security/BasicHeaderProcessor.java`, `hudson/security/WhoAmI.java`
//! - 403 and its headers: `hudson/security/AccessDeniedException3.java`; 404 for what may not be read: `Jenkins.getItem`
//! - crumbs: `hudson/security/csrf/{CrumbFilter,DefaultCrumbIssuer}.java` (POST only; bound to user and session; the name of
//!   the header is configurable), `jenkins/security/ApiCrumbExclusion.java` (none with a token)
//! - triggering: `jenkins/model/ParameterizedJobMixIn.java`, `hudson/model/ParametersDefinitionProperty.java` (201 with a
//!   `Location` out of the configured root URL, 303 for an item that waits already, 400, 409; undeclared parameters dropped; until January 2026 back to the job
//!   where nothing was queued, as of a branch whose project is disabled: jenkins #26117)
//! - parameters: `hudson/model/SimpleParameterDefinition.java` (one that is left out has its default, or is left out of the build),
//!   `{Choice,Run,File,Password}ParameterDefinition.java`; what their values export: `RunParameterValue.java` (`jobName` and
//!   `number`, and no `value`), `PasswordParameterValue.java`, `FileParameterValue.java` and credentials-plugin's
//!   `CredentialsParameterValue.java` (the name only); a plugin that wants a value: git-parameter-plugin,
//!   `GitParameterDefinition.createValue` (`Failure`, which is 400 by `hudson/model/Failure/error.jelly`)
//! - the queue: `hudson/model/Queue.java` (left items are kept for five minutes; `cancelItem` 204, 404, 422; items of jobs that may
//!   not be read are stubs in `discoverableItems`, or nowhere: `checkPermissionsAndAddToList`; the newest that can be built first)
//! - jobs: `hudson/model/AbstractProject.java` and workflow-job's `WorkflowJob.java` (`disabled` is what somebody did;
//!   `buildable` is also false of a branch that is gone: workflow-multibranch's `BranchJobProperty.java`; a job whose
//!   next build ends the one that runs has `concurrentBuild` and `DisableConcurrentBuildsJobProperty.java`, which tells
//!   nothing of itself); deleting one: `jenkins/model/queue/ItemDeletion.java` (what waits is cancelled, what runs is
//!   ended; 400 where it doesn't end in 15 seconds)
//! - languages: `hudson/WebAppMain.java` (`LocaleProvider`: that of the request, and else the machine's, which is Spanish here;
//!   `hudson/model/Messages_es.properties`)
//! - nodes: `jenkins/model/IComputer.java` (an icon of its own for one that is online and takes nothing)
//! - logs: `org/kohsuke/stapler/framework/io/LargeText.java` of stapler (`X-Text-Size`, `X-More-Data`, whole lines
//!   while the build runs, begins anew beyond the end, lone LF becomes CR LF),
//!   `hudson/console/PlainTextConsoleOutputStream.java` (annotations are in the raw log and not in the text),
//!   `hudson/model/Run.java` (a log that is gone is answered as a text)
//! - builds: `hudson/model/AbstractBuild.java` (`stop` always redirects), `workflow-job-plugin` (`term`, `kill`);
//!   `hudson/model/Run.java` (`inProgress` outlasts `building`; a name is `#12` unless somebody gave one);
//!   `jenkins/model/{InterruptedBuildAction,CauseOfInterruption}.java` (what ended it has the field of what started it)
//! - stages and inputs: `pipeline-stage-view-plugin`, `rest-api` (`RunAPI`, `FlowNodeAPI`, `PendingInputActionsExt`);
//!   `pipeline-input-step-plugin`, `InputStepExecution.java` (settled once; an unknown parameter is an exception)
//! - plugins: up to 2.442 the setup wizard installed the stage view, since then pipeline-graph-view
//!   (`jenkins/install/platform-plugins.json`); `pipeline-graph-view-plugin`, `PipelineConsoleViewAction.java` (`tree`, `steps`,
//!   `exceptionText`), `PipelineJsonWriter.java` (the envelope), `PipelineState.java`; inputs in the build's JSON:
//!   `pipeline-input-step-plugin`, `InputAction.java`, since its change 987738a
//! - artifacts: `hudson/model/DirectoryBrowserSupport.java` (`*view*`; a redirect where a resource root URL is set, but not of
//!   `*view*`; storage elsewhere always redirects)
//! - JSON of beans: `org/kohsuke/stapler/export/JSONDataWriter.java` (control characters stand in texts as they are, but for
//!   LF, CR and TAB)
//! - ranges of lists in `tree`: `org/kohsuke/stapler/export/Range.java`
//! - characters that a path can't have: refused by Jetty 12 (junit-plugin #659) and Tomcat (jenkins-artifactory-plugin #618)
//! - matrix projects: `matrix-project-plugin`, `hudson/matrix/MatrixProject.java` (`activeConfigurations`; a configuration has no
//!   `job` before it, and its axes may stand in any order: `Combination.java`), `MatrixBuild.java` (`runs`, also of configurations
//!   that are not built any more, of which it tells the last run; a run has the number of the whole), `MatrixConfiguration.java`
//!   (the name is the combination; it can't be deleted while it is active)
//! - the start page: `hudson/util/HudsonIsLoading/index.jelly`
//! - slashes in names: the documentation of multibranch jobs, JENKINS-33903; `%2F` in a path is refused by Jetty 10 and later
//!
//! It plants a secret in every failing answer.

mod model;
mod routes;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
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
use http::request::Parts;
use serde::Serialize;
use serde_json::{
    Value, json,
    ser::{CharEscape, Formatter, Serializer},
};

pub use self::model::{Build, GraphView, Item, Job, JobKind, NOTE};
use self::routes::route;
use crate::{
    platform::{Credentials, Platform, Refusal, field, only, response},
    serving::Loopback,
};

/// The user that is accepted.
pub const USER: &str = "bot";
/// Its API token.
pub const TOKEN: &str = "planted-token";
/// Its password.
pub const PASSWORD: &str = "planted-password";
/// Part of what failing answers hold.
pub const PLANTED: &str = "planted";

/// Milliseconds for which items that left the queue are known.
pub const KEPT: i64 = 300_000;

/// An answer that a test wants at a path, instead of the double's own.
#[derive(Clone)]
pub struct Wanted {
    /// Its status.
    pub status: u16,
    /// Its content type.
    pub kind: &'static str,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: String,
    /// Whether it has the header that Jenkins' own answers have.
    pub of_jenkins: bool,
    /// Whether the request takes effect all the same.
    pub takes_effect: bool,
    /// Time until it comes.
    pub delay: Duration,
}

/// A user, and what it may come with.
struct Accepted {
    user: String,
    token: Option<String>,
    password: Option<String>,
}

/// What the controller has in it, and how it is.
pub struct State {
    /// Who is accepted; nobody, if none.
    accepted: Option<Accepted>,
    /// Permissions of that user, such as `Job/Build`.
    pub permissions: BTreeSet<&'static str>,
    /// Whether the crumb issuer is on.
    pub csrf: bool,
    /// Name of the header that a crumb comes in.
    pub crumb_field: &'static str,
    /// Whether the crumb issuer refuses the user.
    pub crumb_denied: bool,
    /// Cookies of live sessions.
    pub sessions: BTreeSet<String>,
    /// Folders and jobs by their full names.
    pub jobs: BTreeMap<String, Job>,
    /// Items of the queue, and those that left it, by their ids.
    pub queue: BTreeMap<u64, Item>,
    /// Looks at an item until its build begins; never, if none.
    pub looks_until_start: Option<u32>,
    /// Milliseconds since 1970: the double's own clock.
    pub now: i64,
    /// Whether the plugin pipeline-rest-api (stage view) is there, which tells of stages and inputs.
    pub stage_view: bool,
    /// The plugin pipeline-graph-view, which tells of stages, if it is there.
    pub graph_view: Option<GraphView>,
    /// Whether inputs are part of a build's JSON: pipeline-input-step since November 2022.
    pub inputs_exported: bool,
    /// Whether a resource root URL is set, so that artifacts are redirects to another host.
    pub resource_root: bool,
    /// Version that headers tell.
    pub version: Option<&'static str>,
    /// Items of the queue whose jobs the user may not read, and whether it may know that they are there (Job/Discover).
    pub unreadable: BTreeMap<u64, bool>,
    /// Whether it takes no new builds.
    pub quieting_down: bool,
    /// Whether it shows its start page.
    pub starting: bool,
    /// A proxy takes out the credentials.
    pub drops_credentials: bool,
    /// Nodes as beans.
    pub nodes: Vec<Value>,
    wanted: BTreeMap<String, Wanted>,
    /// Method, and path with query.
    seen: Vec<(String, String)>,
    /// Bodies of forms that came, by path.
    pub forms: BTreeMap<String, Vec<(String, String)>>,
    /// The last number that was given out.
    pub sequence: u64,
    /// Bytes of generated logs that were sent.
    pub sent: Arc<std::sync::atomic::AtomicU64>,
}

/// What came, taken apart.
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Segments below the context path, as yet encoded.
    pub(crate) segments: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) form: Vec<(String, String)>,
    pub(crate) crumb: Option<String>,
    pub(crate) cookie: Option<String>,
    /// Whether English is wanted. Without a language Jenkins answers in that of its machine.
    pub(crate) english: bool,
    pub(crate) caller: Caller,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Anonymous,
    Token,
    Password,
    Wrong,
}

/// A controller with a folder, a few jobs and their builds.
pub fn world() -> Mutex<State> {
    Mutex::new(State {
        accepted: Some(Accepted {
            user: USER.to_owned(),
            token: Some(TOKEN.to_owned()),
            password: Some(PASSWORD.to_owned()),
        }),
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
        graph_view: None,
        inputs_exported: true,
        resource_root: false,
        version: Some("2.528.1"),
        unreadable: BTreeMap::new(),
        quieting_down: false,
        starting: false,
        drops_credentials: false,
        nodes: vec![
            json!({ "displayName": "Built-In Node", "offline": false, "icon": "symbol-computer",
                    "numExecutors": 2, "idle": false,
                    "temporarilyOffline": false, "offlineCauseReason": "", "assignedLabels": [{ "name": "built-in" }] }),
            // A monitor took it offline, which looks as if somebody had (`AbstractNodeMonitorDescriptor.markOffline`).
            json!({ "displayName": "linux-1", "offline": true, "icon": "symbol-computer-offline",
                    "numExecutors": 4, "idle": true, "temporarilyOffline": true,
                    "offlineCauseReason": "Disk space is below threshold of 1.00 GiB. Only 0.21 GiB left on /home/jenkins.",
                    "assignedLabels": [] }),
        ],
        wanted: BTreeMap::new(),
        seen: Vec::new(),
        forms: BTreeMap::new(),
        sequence: 40,
        sent: Arc::default(),
    })
}

impl Platform for Mutex<State> {
    fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(answer).with_state(self)
    }

    fn default_credentials(&self) -> Credentials {
        [("user", USER), ("api_token", TOKEN), ("password", PASSWORD)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn accept(&self, credentials: Option<&Credentials>) -> Result<(), String> {
        let accepted = match credentials {
            None => None,
            Some(given) => {
                only(given, &["user", "api_token", "password"])?;
                let (token, password) = (given.get("api_token").cloned(), given.get("password").cloned());
                Some(Accepted { user: field(given, "user")?, token, password })
            }
        };
        self.lock().unwrap().accepted = accepted;
        Ok(())
    }

    fn refuse(&self, refusal: Refusal, _request: &Parts) -> Response {
        let state = self.lock().unwrap();
        match refusal {
            // Jenkins itself knows no rates; what stands before it does.
            Refusal::RateLimited(seconds) => {
                let mut response = response(429, "text/html", format!("<html>Too Many Requests {PLANTED}"));
                response.headers_mut().insert("retry-after", seconds.into());
                response
            }
            Refusal::ServerError => page(&state, 500, "java.lang.IllegalStateException: Oops"),
        }
    }

    fn offences(&self) -> Vec<String> {
        // It refuses whatever is wrong.
        Vec::new()
    }
}

/// A controller on loopback, for a unit test.
pub struct Double {
    server: Loopback,
    state: Arc<Mutex<State>>,
}

impl Double {
    /// A controller with a folder, a few jobs and their builds.
    pub async fn start() -> Self {
        let state = Arc::new(world());
        let server = Loopback::serve(Loopback::bind().await, Arc::clone(&state).router());
        Self { server, state }
    }

    /// The URL, with a context path.
    pub fn url(&self) -> String {
        format!("{}/jenkins", self.server.url())
    }

    /// Looks at what there is, and changes it.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// Changes a build.
    pub fn build(&self, job: &str, number: u32, change: impl FnOnce(&mut Build)) {
        self.change(|state| change(state.jobs.get_mut(job).unwrap().builds.get_mut(&number).unwrap()));
    }

    /// Wants a page with a status at a path below the context path, without its query.
    pub fn want(&self, path: &str, status: u16, body: &str) {
        self.want_with(path, |wanted| Wanted { status, body: format!("<!-- {PLANTED} -->{body}"), ..wanted });
    }

    /// Wants an answer at a path; without changes an empty page.
    pub fn want_with(&self, path: &str, make: impl FnOnce(Wanted) -> Wanted) {
        let wanted = make(Wanted {
            status: 200,
            kind: "text/html;charset=utf-8",
            headers: Vec::new(),
            body: String::new(),
            of_jenkins: true,
            takes_effect: false,
            delay: Duration::ZERO,
        });
        self.change(|state| state.wanted.insert(path.to_owned(), wanted));
    }

    /// Something in front of Jenkins answers at a path.
    pub fn foreign(&self, path: &str, status: u16, kind: &'static str, body: &str) {
        self.want_with(path, |wanted| Wanted { status, kind, body: body.to_owned(), of_jenkins: false, ..wanted });
    }

    /// Jenkins restarts: sessions end, and the start page is shown.
    pub fn restart(&self) {
        self.change(|state| {
            state.sessions.clear();
            state.starting = true;
        });
    }

    /// Requests that came.
    pub fn total(&self) -> usize {
        self.change(|state| state.seen.len())
    }

    /// Requests with a method whose path ends so.
    pub fn count(&self, method: &str, end: &str) -> usize {
        let ends = |path: &str| path.split('?').next().is_some_and(|path| path.ends_with(end));
        self.change(|state| state.seen.iter().filter(|(one, path)| one == method && ends(path)).count())
    }

    /// The last form that came to a path.
    pub fn form(&self, path: &str) -> Vec<(String, String)> {
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
        if path.contains(['[', ']', '{', '}', '|', '^', '\\', '`', '"', '<', '>']) {
            return jetty(400, "Illegal Path Character");
        }
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
                english: header("accept-language").is_some_and(|wanted| wanted.starts_with("en")),
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
            if wanted.status >= 502 || !wanted.of_jenkins {
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
    let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
    let given = pair.as_deref().and_then(|pair| pair.split_once(':'));
    let (Some((user, secret)), Some(accepted)) = (given, &state.accepted) else { return Caller::Wrong };
    if user != accepted.user {
        Caller::Wrong
    } else if accepted.token.as_deref() == Some(secret) {
        Caller::Token
    } else if accepted.password.as_deref() == Some(secret) {
        Caller::Password
    } else {
        Caller::Wrong
    }
}

/// A page, as Jenkins answers errors.
fn page(state: &State, status: u16, text: &str) -> Response {
    let mut response = Response::builder().status(status).header("content-type", "text/html;charset=utf-8");
    if let Some(version) = state.version {
        response = response.header("x-jenkins", version);
    }
    let body = format!("<html><head><title>{PLANTED}</title></head><body>{text} {PLANTED}</body></html>");
    response.body(Body::from(body)).unwrap()
}

/// What Stapler makes of `HttpResponses.error`: a stack trace, without a header of Jenkins
/// (`org/kohsuke/stapler/HttpResponses.java`).
fn stack_trace(status: u16, text: &str) -> Response {
    let body = format!(
        "java.lang.Exception: {text} {PLANTED}\n\tat org.kohsuke.stapler.HttpResponses.error(HttpResponses.java:92)\n\
         \tat org.kohsuke.stapler.Stapler.invoke(Stapler.java:838)\n"
    );
    let response = Response::builder().status(status).header("content-type", "text/plain;charset=utf-8");
    response.header("x-content-type-options", "nosniff").body(Body::from(body)).unwrap()
}

/// What Jenkins' container answers for it, which has no header of Jenkins: a wrong token, a missing crumb, a form that is none
/// (`../../ANSWERS.md`, section 1; Jetty's `ErrorHandler`).
fn jetty(status: u16, text: &str) -> Response {
    let body = format!(
        "<html><head><title>Error {status} {text}</title></head><body><h2>HTTP ERROR {status} {text}</h2><table>\
         <tr><th>MESSAGE:</th><td>{PLANTED}</td></tr><tr><th>SERVLET:</th><td>Stapler</td></tr></table></body></html>"
    );
    let response = Response::builder().status(status).header("content-type", "text/html;charset=iso-8859-1");
    let response = response.header("x-content-type-options", "nosniff");
    let response =
        if status == 401 { response.header("www-authenticate", "Basic realm=\"Jenkins\"") } else { response };
    response.body(Body::from(body)).unwrap()
}

/// What Jenkins answers for what a build doesn't have: a page that leads up to the build, which has no header of Jenkins
/// (`hudson/model/Run.java`, `getDynamicImpl`, `RedirectUp`; `hudson/Util.java`, `printRedirect`).
fn leads_up() -> Response {
    let body = format!(
        "<html><head><meta http-equiv='refresh' content='1;url=..'/><script id='redirect' data-redirect-url='..' \
         src='/jenkins/static/1f0c0d/scripts/redirect.js'></script></head><body style='background-color:white; color:white;'>\n\
         Not found\n<!--\n{PLANTED}"
    );
    let response = Response::builder().status(404).header("content-type", "text/html;charset=utf-8");
    response.header("x-content-type-options", "nosniff").body(Body::from(body)).unwrap()
}

/// A bean as JSON.
fn bean(state: &State, value: &Value) -> Response {
    let mut response = Response::builder().status(200).header("content-type", "application/json;charset=utf-8");
    if let Some(version) = state.version {
        response = response.header("x-jenkins", version);
    }
    response.body(Body::from(as_stapler_writes(value))).unwrap()
}

/// Control characters as they are, which is no JSON.
struct Raw;

impl Formatter for Raw {
    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => writer.write_all(b"\\\\"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
            CharEscape::Backspace => writer.write_all(&[0x08]),
            CharEscape::FormFeed => writer.write_all(&[0x0c]),
            CharEscape::AsciiControl(byte) => writer.write_all(&[byte]),
            CharEscape::Solidus => writer.write_all(b"/"),
        }
    }
}

fn as_stapler_writes(value: &Value) -> Vec<u8> {
    let mut written = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut written, Raw)).unwrap();
    written
}

/// A redirect. Its host is that of the configured root URL, which is wrong.
fn redirect(status: u16, path: &str) -> Response {
    let location = format!("http://wrong-root-url.example.com/jenkins/{path}");
    Response::builder().status(status).header("location", location).body(Body::empty()).unwrap()
}

impl State {
    fn user(&self) -> String {
        self.accepted.as_ref().map_or(USER.to_owned(), |accepted| accepted.user.clone())
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Begins the build of an item.
    pub fn begin(&mut self, id: u64) {
        let now = self.now;
        let item = self.queue.get_mut(&id).unwrap();
        let job = self.jobs.get_mut(&item.job).unwrap();
        let number = job.next_number();
        job.builds.insert(number, Build::running(id, now, item.parameters.clone(), job.kind == JobKind::Pipeline));
        item.build = Some(number);
        item.left = Some(now);
    }
}
