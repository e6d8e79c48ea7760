//! A strict double of Argo CD 3.2, or with `is_new` of 3.5. Paths, query parameters and bodies are those of its gRPC services
//! (`server/application/application.proto` and its neighbours at v3.2.9); what the real one ignores, such as an unknown
//! query parameter, is refused here. Rules of sync, rollback and termination are those of
//! `server/application/application.go`, of logins those of `util/session/sessionmanager.go`, error bodies those of the
//! gRPC gateway 1.16. It plants a secret in every failing answer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers};

use super::PLANTED;

/// A token of a project's role, which doesn't end, in the form of a JWT.
pub(super) const TOKEN: &str = "eyJwbGFudGVkIjoxfQ.eyJpYXQiOjE3MDAwMDAwMDB9.planted";

/// An answer that a test wants at a path, instead of the double's own.
type Wanted = (u16, Option<&'static str>, Value, Duration);

pub(super) struct State {
    /// Tokens that are accepted.
    pub(super) tokens: Vec<String>,
    pub(super) password: String,
    /// Seconds for which a session is issued.
    pub(super) session_seconds: i64,
    pub(super) failures: u32,
    pub(super) app: Value,
    pub(super) can_sync: bool,
    pub(super) rights: bool,
    /// Whether a sync takes effect without an answer.
    pub(super) loses_answers: bool,
    /// Whether operations stay as they are.
    pub(super) stands_still: bool,
    /// More applications, beside `app`.
    pub(super) others: Vec<Value>,
    /// Whether lists select parts of `spec` by themselves, as 3.5 does.
    pub(super) is_new: bool,
    /// Whether it is 3.0: actions are run by the older call only.
    pub(super) is_old: bool,
    /// Sync and health that the controller's next comparison will find, if one is due.
    pub(super) due: Option<[&'static str; 2]>,
    /// Whether the controller finds a sync window closed, and holds what was started (`SyncAppState` in
    /// `controller/sync.go`, v3.5.1).
    pub(super) is_held: bool,
    /// How an operation ends, instead of well: phase, and what is told of resources.
    pub(super) ends: Option<(&'static str, Value)>,
    /// What `managed-resources` has to answer.
    pub(super) managed: Vec<Value>,
    /// Whether no controller works, so that a refresh is never answered (`Get` in `server/application/application.go`).
    pub(super) hangs: bool,
    wanted: BTreeMap<String, Wanted>,
    /// Method, path and body of what was asked.
    pub(super) seen: Vec<(String, String, Value)>,
}

pub(super) struct Double {
    server: MockServer,
    pub(super) state: Arc<Mutex<State>>,
}

struct Answering(Arc<Mutex<State>>);

/// A token with times in it.
pub(super) fn jwt(issued: i64, ends: i64, mark: &str) -> String {
    let claims = json!({ "iss": "argocd", "sub": "ci:login", "iat": issued, "exp": ends, "jti": mark });
    format!("e30.{}.{PLANTED}{mark}", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// An application as Argo CD answers it.
pub(super) fn app() -> Value {
    let source = json!({ "repoURL": "https://bot:planted@git.example.com/web.git", "path": "deploy", "targetRevision": "main",
                         "helm": { "values": "password: planted" } });
    let destination = json!({ "server": "https://kubernetes.default.svc", "namespace": "shop" });
    json!({
        "metadata": { "name": "web", "namespace": "argocd", "uid": "u", "annotations": { "a": "planted-annotation" } },
        "spec": {
            "project": "team",
            "source": source,
            "destination": destination,
        },
        "status": {
            // `CompareAppState` in `controller/state.go` writes down what it compared with: the spec's own parts.
            "sync": { "status": "OutOfSync", "revision": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                      "comparedTo": { "source": source, "destination": destination } },
            "health": { "status": "Degraded" },
            "reconciledAt": "2026-01-02T00:00:09Z",
            "conditions": [{ "type": "SyncError", "message": "can't read https://bot:planted@git.example.com/web.git" }],
            "resources": [
                { "group": "apps", "version": "v1", "kind": "Deployment", "namespace": "shop", "name": "web",
                  "status": "OutOfSync", "health": { "status": "Degraded", "message": "crash loop" } },
                { "version": "v1", "kind": "Service", "namespace": "shop", "name": "web", "status": "Synced",
                  "health": { "status": "Healthy" } },
                { "version": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "old", "status": "OutOfSync",
                  "requiresPruning": true },
            ],
            "history": [
                { "id": 0, "revision": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "deployedAt": "2026-01-01T00:00:00Z",
                  "source": { "repoURL": "https://git.example.com/web.git" }, "initiatedBy": { "username": "ann" } },
                { "id": 1, "revision": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "deployedAt": "2026-01-02T00:00:00Z",
                  "source": { "repoURL": "https://git.example.com/web.git" }, "initiatedBy": { "automated": true } },
            ],
            "operationState": { "phase": "Succeeded", "startedAt": "2026-01-02T00:00:00Z",
                                "finishedAt": "2026-01-02T00:00:09Z", "operation": { "sync": {} } },
        },
    })
}

impl Double {
    pub(super) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            tokens: vec![TOKEN.to_owned()],
            password: "planted-password".to_owned(),
            session_seconds: 86_400,
            failures: 0,
            app: app(),
            can_sync: true,
            rights: true,
            loses_answers: false,
            stands_still: false,
            others: Vec::new(),
            is_new: false,
            is_old: false,
            due: None,
            is_held: false,
            ends: None,
            managed: managed(),
            hangs: false,
            wanted: BTreeMap::new(),
            seen: Vec::new(),
        }));
        let server = MockServer::start().await;
        Mock::given(matchers::any()).respond_with(Answering(Arc::clone(&state))).mount(&server).await;
        Self { server, state }
    }

    pub(super) fn uri(&self) -> String {
        self.server.uri()
    }

    /// Wants a status and a body at a path below `/api/v1`.
    pub(super) fn want(&self, path: &str, status: u16, body: Value) {
        self.state.lock().unwrap().wanted.insert(path.to_owned(), (status, None, body, Duration::ZERO));
    }

    /// Wants a gRPC error at a path.
    pub(super) fn fail(&self, path: &str, status: u16, code: i64, message: &str) {
        let message = format!("{message} {PLANTED}");
        self.want(path, status, json!({ "error": message, "message": message, "code": code }));
    }

    /// Wants a page at a path.
    pub(super) fn page(&self, path: &str, status: u16) {
        let page = json!(format!("<!doctype html>{PLANTED}"));
        self.state.lock().unwrap().wanted.insert(path.to_owned(), (status, Some("text/html"), page, Duration::ZERO));
    }

    /// Wants a text at a path.
    pub(super) fn text(&self, path: &str, status: u16, text: &str) {
        let wanted = (status, Some("text/plain"), json!(text), Duration::ZERO);
        self.state.lock().unwrap().wanted.insert(path.to_owned(), wanted);
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    pub(super) fn count(&self, method: &str, path: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.seen.iter().filter(|(one, at, _)| one == method && at == path).count()
    }

    pub(super) fn total(&self) -> usize {
        self.state.lock().unwrap().seen.len()
    }

    /// The body of the last request with a method to a path.
    pub(super) fn body(&self, method: &str, path: &str) -> Value {
        let state = self.state.lock().unwrap();
        state.seen.iter().rev().find(|(one, at, _)| one == method && at == path).unwrap().2.clone()
    }
}

/// A path as Go gives it to a handler.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits: String = rest.by_ref().take(2).map(char::from).collect();
            bytes.push(u8::from_str_radix(&digits, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// What a list selects of an application: a white list, beside which fields are left out without a word
/// (`pkg/apiclient/application/forwarder_overwrite.go`, v3.2.9 and v3.5.1).
fn selected(app: &Value, fields: &str, is_new: bool) -> Value {
    let known = [
        "metadata.name",
        "metadata.namespace",
        "metadata.deletionTimestamp",
        "spec",
        "status.sync.status",
        "status.health",
        "status.operationState.phase",
    ];
    let newer =
        ["spec.destination", "spec.project", "spec.source", "spec.sources", "spec.syncPolicy", "status.sync.revision"];
    let mut made = json!({});
    for field in fields.split(',').filter_map(|field| field.strip_prefix("items.")) {
        if known.contains(&field) || is_new && newer.contains(&field) {
            let pointer = format!("/{}", field.replace('.', "/"));
            let Some(value) = app.pointer(&pointer) else { continue };
            let mut place = &mut made;
            for step in field.split('.') {
                place = &mut place[step];
            }
            *place = value.clone();
        }
    }
    made
}

fn failure(status: u16, code: i64, message: &str) -> ResponseTemplate {
    let message = format!("{message} {PLANTED}");
    ResponseTemplate::new(status).set_body_json(json!({ "error": message, "message": message, "code": code }))
}

/// A text that the tests of meanings need whole.
fn failure_as_is(status: u16, code: i64, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({ "error": message, "message": message, "code": code }))
}

fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

#[allow(clippy::match_same_arms, reason = "a table")]
#[allow(clippy::unnested_or_patterns, reason = "a table")]
/// The query parameters that a call has, or nothing for a call that isn't there.
fn parameters(method: &str, path: &[&str]) -> Option<&'static [&'static str]> {
    Some(match (method, path) {
        ("POST", ["session"] | ["applications", _, "sync" | "rollback"] | ["applicationsets", "generate"]) => &[],
        ("POST", ["applications", _, "resource", "actions", "v2"]) | ("PATCH", ["applications", _]) => &[],
        (
            "GET",
            ["version"]
            | ["settings"]
            | ["session", "userinfo"]
            | ["projects"]
            | ["projects", _]
            | ["projects", _, "globalprojects"]
            | ["clusters"],
        ) => &[],
        ("GET", ["account", "can-i", _, _, _, _]) => &[],
        ("GET", ["applications"]) => &["fields", "projects", "selector", "repo", "appNamespace", "name"],
        ("GET", ["applications", _]) => &["project", "appNamespace", "refresh"],
        ("GET", ["applications", _, "resource-tree" | "syncwindows"]) => &["project", "appNamespace"],
        ("GET", ["applications", _, "managed-resources"]) => {
            &["project", "appNamespace", "kind", "name", "group", "namespace"]
        }
        ("GET", ["applications", _, "manifests"]) => &["project", "appNamespace", "revision"],
        ("GET", ["applications", _, "events"]) => {
            &["project", "appNamespace", "resourceName", "resourceNamespace", "resourceUID"]
        }
        ("GET", ["applications", _, "logs"]) => &[
            "project",
            "appNamespace",
            "namespace",
            "podName",
            "container",
            "kind",
            "group",
            "resourceName",
            "tailLines",
            "sinceSeconds",
            "filter",
            "previous",
            "follow",
        ],
        ("GET", ["applications", _, "revisions", _, "metadata" | "chartdetails" | "ocimetadata"]) => {
            &["project", "appNamespace", "sourceIndex", "versionId"]
        }
        // The older call has the action as its body, and the rest in the query (`application.proto`, v3.0.0).
        ("GET" | "POST", ["applications", _, "resource", "actions"]) => {
            &["project", "appNamespace", "namespace", "resourceName", "version", "group", "kind"]
        }
        ("DELETE", ["applications", _]) => &["project", "appNamespace", "cascade"],
        ("DELETE", ["applications", _, "operation"]) => &["project", "appNamespace"],
        ("GET", ["applicationsets"]) => &["projects", "selector", "appsetNamespace"],
        ("GET", ["applicationsets", _]) => &["appsetNamespace"],
        _ => return None,
    })
}

impl Respond for Answering {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        // `argocd-server` has it beside the others (`server/server.go`, `/api/version`).
        let version = (request.url.path() == "/api/version").then_some("version");
        let below = request.url.path().strip_prefix("/api/v1/").filter(|path| *path != "version");
        // The gateway looks for the route in the decoded path (grpc-gateway 1.16, `ServeMux.ServeHTTP` in `runtime/mux.go`).
        let Some(path) = version.or(below).map(decoded) else {
            // What is not the API is Argo CD's own pages.
            return ResponseTemplate::new(200).set_body_raw(format!("<!doctype html>{PLANTED}"), "text/html");
        };
        let method = request.method.as_str().to_owned();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        state.seen.push((method.clone(), path.clone(), body.clone()));
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let segments: Vec<&str> = path.split('/').collect();
        if let Some((status, kind, body, delay)) = state.wanted.get(&path) {
            let answer = ResponseTemplate::new(*status).set_delay(*delay);
            return match (kind, body) {
                (Some(kind), body) => answer.set_body_raw(body.as_str().unwrap(), kind),
                (None, Value::String(text)) => answer.set_body_raw(text.as_str(), "application/json"),
                (None, body) => answer.set_body_json(body),
            };
        }
        let known = parameters(&method, &segments).filter(|_| !(state.is_old && segments.ends_with(&["v2"])));
        let Some(known) = known else {
            // Texts, and no JSON (`OtherErrorHandler` in `runtime/errors.go`, called by `runtime/mux.go`).
            let other = ["GET", "POST", "PATCH", "DELETE"].into_iter().any(|one| parameters(one, &segments).is_some());
            let (status, text) = if other { (405, "Method Not Allowed\n") } else { (404, "Not Found\n") };
            return ResponseTemplate::new(status).set_body_raw(text, "text/plain; charset=utf-8");
        };
        if let Some(unknown) = query.keys().find(|name| !known.contains(&name.as_str())) {
            return failure(400, 3, &format!("the double knows no parameter {unknown}"));
        }
        let header =
            |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        if header("accept").as_deref() != Some("application/json") {
            return failure(400, 3, "the double wants JSON to be accepted");
        }
        // `server/server.go`, `enforceContentTypes`: so that no page of another site can send it.
        if method != "GET" && header("content-type").as_deref() != Some("application/json") {
            return ResponseTemplate::new(415).set_body_string("Invalid content type");
        }
        let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer ").map(ToOwned::to_owned));
        let logged_in = bearer.is_some_and(|bearer| state.tokens.contains(&bearer));
        match segments.as_slice() {
            ["version"] => return ok(&json!({ "Version": "v3.2.9+abc" })),
            // `server/settings/settings.go`: everybody may read it.
            ["settings"] => {
                return ok(
                    &json!({ "url": "https://argocd.example.com", "additionalUrls": ["https://argo.example.org/x"] }),
                );
            }
            ["session"] => return state.log_in(&body),
            // Argo CD answers this to everybody.
            ["session", "userinfo"] if !logged_in => return ok(&json!({})),
            ["session", "userinfo"] => return ok(&json!({ "loggedIn": true, "username": "ci", "iss": "argocd" })),
            _ if !logged_in => return failure(401, 16, "invalid session: token is revoked, please re-login"),
            _ => {}
        }
        state.answer(&method, &segments, &query, &body)
    }
}

impl State {
    fn log_in(&mut self, body: &Value) -> ResponseTemplate {
        let right = body == &json!({ "username": "ci", "password": self.password });
        if self.failures >= 5 || !right {
            self.failures += u32::from(self.failures < 5);
            return failure(401, 16, "Invalid username or password");
        }
        self.failures = 0;
        let now = jiff::Timestamp::now().as_second();
        let token = jwt(now, now + self.session_seconds, &self.tokens.len().to_string());
        self.tokens.push(token.clone());
        ok(&json!({ "token": token }))
    }

    fn answer(
        &mut self,
        method: &str,
        path: &[&str],
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> ResponseTemplate {
        let asked = |name: &str| query.get(name).map(String::as_str);
        if let ["applications", name, ..] = path {
            let project = asked("project").or_else(|| body["project"].as_str());
            let namespace = asked("appNamespace").or_else(|| body["appNamespace"].as_str()).unwrap_or("argocd");
            let is_it = |app: &&Value| {
                (app["metadata"]["name"].as_str(), app["metadata"]["namespace"].as_str())
                    == (Some(name), Some(namespace))
            };
            let found = std::iter::once(&self.app).chain(&self.others).find(is_it).cloned();
            let known =
                found.as_ref().is_some_and(|app| project.is_none_or(|project| app["spec"]["project"] == project));
            if !known {
                // `getAppEnforceRBAC`.
                return match project {
                    Some(_) => failure(404, 5, &format!("applications.argoproj.io \"{name}\" not found")),
                    None => failure_as_is(403, 7, "permission denied"),
                };
            }
            if let (Some(other), ["applications", _]) = (found.filter(|app| *app != self.app), path) {
                return ok(&other);
            }
        }
        match (method, path) {
            ("GET", ["applications"]) => {
                assert!(asked("fields").is_some(), "a list without fields is tens of megabytes");
                // `labels.Parse`; a plain error of Go has code 2.
                if asked("selector").is_some_and(|selector| selector.contains(' ')) {
                    return failure(500, 2, "error parsing the selector: unable to parse requirement: found 'AND'");
                }
                let is_wanted = |app: &&Value| {
                    let is = |wanted: Option<&str>, value: &Value| wanted.is_none_or(|wanted| value == wanted);
                    is(asked("projects"), &app["spec"]["project"])
                        && is(asked("name"), &app["metadata"]["name"])
                        && is(asked("appNamespace"), &app["metadata"]["namespace"])
                };
                let all = std::iter::once(&self.app).chain(&self.others).filter(is_wanted).filter(|_| self.rights);
                let items: Vec<Value> = all.map(|app| selected(app, asked("fields").unwrap(), self.is_new)).collect();
                let items = if items.is_empty() { Value::Null } else { json!(items) };
                ok(&json!({ "items": items, "metadata": {} }))
            }
            ("GET", ["account", "can-i", ..]) => ok(&json!({ "value": if self.rights { "yes" } else { "no" } })),
            ("GET", ["applications", _]) if self.hangs && asked("refresh").is_some() => {
                ok(&self.app).set_delay(Duration::from_mins(2))
            }
            // It is answered when the controller has compared the application.
            ("GET", ["applications", _]) if asked("refresh").is_some() => {
                self.compare();
                ok(&self.app)
            }
            ("GET", ["applications", _]) => {
                let shown = ok(&self.app);
                self.go_on();
                shown
            }
            ("POST", ["applications", _, "sync"]) => self.start(
                body,
                &[
                    "prune",
                    "dryRun",
                    "revision",
                    "revisions",
                    "sourcePositions",
                    "resources",
                    "syncOptions",
                    "project",
                    "appNamespace",
                ],
            ),
            ("POST", ["applications", _, "rollback"]) => {
                if self.app["spec"]["syncPolicy"]["automated"].is_object() {
                    return failure(400, 9, "rollback cannot be initiated when auto-sync is enabled");
                }
                // It asks no sync window (v3.5.1).
                self.begin(body, &["id", "prune", "dryRun", "project", "appNamespace"])
            }
            ("DELETE", ["applications", _, "operation"]) => {
                if self.app["operation"].is_null() || self.app["status"]["operationState"].is_null() {
                    return failure(400, 3, "Unable to terminate operation. No operation is in progress");
                }
                self.app["status"]["operationState"]["phase"] = json!("Terminating");
                ok(&json!({}))
            }
            ("PATCH", ["applications", _]) => {
                assert_eq!(body["patchType"], "merge");
                let wanted: Value = serde_json::from_str(body["patch"].as_str().unwrap()).unwrap();
                self.app["spec"]["syncPolicy"] = wanted["spec"]["syncPolicy"].clone();
                ok(&self.app)
            }
            ("DELETE", ["applications", _]) => {
                self.app["metadata"]["deletionTimestamp"] = json!("2026-01-03T00:00:00Z");
                ok(&json!({}))
            }
            ("GET", ["applications", _, "syncwindows"]) => {
                let window = json!({ "kind": "deny", "schedule": closing(), "duration": "1h", "manualSync": false });
                let active = if self.can_sync { Value::Null } else { json!([window]) };
                ok(&json!({ "canSync": self.can_sync, "activeWindows": active, "assignedWindows": [window] }))
            }
            ("GET", ["applications", _, "events"])
                if asked("resourceName").is_some() && asked("resourceUID") != Some("p1") =>
            {
                failure(400, 3, "web-1 not found as part of application web")
            }
            ("GET", ["applications", _, "resource", "actions"]) => {
                ok(&json!({ "actions": [{ "name": "restart" }, { "name": "scale", "params": [{ "name": "replicas" }] },
                                        { "name": "resume", "disabled": true }] }))
            }
            ("POST", [.., "actions"]) => {
                assert_eq!((body, asked("version")), (&json!("restart"), Some("v1")));
                ok(&json!({}))
            }
            ("POST", [.., "v2"]) => {
                assert_eq!(body["version"], "v1");
                ok(&json!({}))
            }
            // `isMatchingResource`: what isn't said matches all.
            ("GET", ["applications", _, "managed-resources"]) => {
                let is = |one: &Value, name: &str| {
                    asked(name)
                        .is_none_or(|wanted| wanted.is_empty() || one[name].as_str().unwrap_or_default() == wanted)
                };
                let found = |one: &&Value| ["group", "kind", "namespace", "name"].into_iter().all(|name| is(one, name));
                ok(&json!({ "items": self.managed.iter().filter(found).collect::<Vec<_>>() }))
            }
            ("GET", ["applications", _, "logs"]) => {
                let tail = asked("tailLines").map_or(usize::MAX, |lines| lines.parse().unwrap());
                logs(asked("podName").or(asked("resourceName")), asked("container"), tail, asked("filter"))
            }
            ("GET", ["applications", _, "revisions", revision, what]) => {
                self.revision(revision, what, asked("sourceIndex"), asked("versionId"))
            }
            _ => ok(&fixed(path)),
        }
    }

    /// `RevisionMetadata` and its neighbours, and `GetRevisionMetadata` in `reposerver/repository/repository.go`.
    fn revision(&self, revision: &str, what: &str, index: Option<&str>, deployment: Option<&str>) -> ResponseTemplate {
        let spec = &self.app["spec"];
        // `getAppSourceBySourceIndexAndVersionId`.
        let history = self.app["status"]["history"].as_array().cloned().unwrap_or_default();
        let past = deployment
            .map(|id| history.iter().find(|one| one["id"] == json!(id.parse::<i64>().unwrap())).unwrap().clone());
        let holder = past.as_ref().unwrap_or(spec);
        let sources = holder["sources"].as_array().cloned().unwrap_or_else(|| vec![holder["source"].clone()]);
        let index = index.map_or(0, |index| index.parse::<usize>().unwrap());
        let Some(source) = sources.get(index) else {
            let message = "error getting app source by source index and version ID: source index 3 not found because there is only 1 source";
            return failure(500, 2, message);
        };
        let is_commit = (7..=40).contains(&revision.len()) && revision.chars().all(|c| c.is_ascii_hexdigit());
        match what {
            "metadata" if !is_commit || source["chart"].is_string() => {
                failure(500, 2, &format!("revision {revision} must be resolved"))
            }
            "metadata" => {
                ok(&json!({ "author": "Ann <ann@example.com>", "date": "2026-01-01T00:00:00Z", "message": "Fix it" }))
            }
            "chartdetails" if source["chart"].is_null() => failure(500, 2, "no chart found for application: web"),
            "chartdetails" => ok(
                &json!({ "description": "The shop", "home": "https://shop.example.com", "maintainers": ["Ann", "Ben"] }),
            ),
            _ => ok(
                &json!({ "authors": "Ann", "createdAt": "2026-01-01T00:00:00Z", "version": "1.2.3", "description": "The shop" }),
            ),
        }
    }

    /// An operation begins as Argo CD's API server writes it: wanted, without a state.
    fn start(&mut self, body: &Value, known: &[&str]) -> ResponseTemplate {
        if !self.can_sync {
            return failure(403, 7, "cannot sync: blocked by sync window");
        }
        self.begin(body, known)
    }

    fn begin(&mut self, body: &Value, known: &[&str]) -> ResponseTemplate {
        if let Some(unknown) = body.as_object().unwrap().keys().find(|name| !known.contains(&name.as_str())) {
            return failure(400, 3, &format!("unknown field {unknown}"));
        }
        if !body["syncOptions"].is_null() && !body["syncOptions"]["items"].is_array() {
            return failure(400, 3, "syncOptions is an object with items");
        }
        if !self.app["operation"].is_null() {
            return failure(400, 9, "another operation is already in progress");
        }
        self.app["operation"] = json!({ "sync": { "dryRun": body["dryRun"] }, "initiatedBy": { "username": "ci" } });
        self.app["status"]["operationState"] = Value::Null;
        if self.loses_answers { failure(504, 4, "upstream request timeout") } else { ok(&self.app) }
    }

    /// A comparison, by `processAppRefreshQueueItem` in `controller/appcontroller.go`.
    fn compare(&mut self) {
        let [sync, health] = self.due.take().map_or(
            [self.app["status"]["sync"]["status"].clone(), self.app["status"]["health"]["status"].clone()],
            |found| found.map(|one| json!(one)),
        );
        let spec = self.app["spec"].clone();
        let status = &mut self.app["status"];
        status["sync"]["status"] = sync;
        status["sync"]["comparedTo"] =
            json!({ "source": spec["source"], "sources": spec["sources"], "destination": spec["destination"] });
        status["health"]["status"] = health;
        status["reconciledAt"] = json!("2026-01-03T00:00:05Z");
    }

    /// The controller's next step, after each look: it takes an operation up, ends it, and then compares, which it asks itself for
    /// unless it was a dry run (`processRequestedAppOperation`).
    fn go_on(&mut self) {
        let operation = self.app["operation"].clone();
        if operation.is_null() && self.due.is_some() && !self.stands_still {
            return self.compare();
        }
        if operation.is_null() || self.stands_still {
            return;
        }
        let state = &mut self.app["status"]["operationState"];
        if state.is_null() {
            *state = json!({ "phase": "Running", "startedAt": "2026-01-03T00:00:00Z", "operation": operation });
        } else if !self.is_held {
            return self.end(&operation);
        }
        if self.is_held && state["phase"] == "Running" {
            state["message"] = json!("Sync operation blocked by sync window");
        }
    }

    fn end(&mut self, operation: &Value) {
        let state = &mut self.app["status"]["operationState"];
        state["phase"] = json!(if state["phase"] == "Terminating" { "Failed" } else { "Succeeded" });
        state["finishedAt"] = json!("2026-01-03T00:00:05Z");
        state["syncResult"] = json!({ "revision": "cccccccccc", "resources": [
            { "group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web", "status": "Synced",
              "message": "deployment.apps/web configured" },
            { "kind": "Secret", "namespace": "shop", "name": "s", "status": "SyncFailed", "message": "planted in Secret" },
        ]});
        if let Some((phase, resources)) = &self.ends {
            state["phase"] = json!(phase);
            state["syncResult"]["resources"] = resources.clone();
        }
        self.app["operation"] = Value::Null;
        if operation["sync"]["dryRun"] != true {
            self.due = Some(["Synced", "Progressing"]);
        }
    }
}

/// `PodLogs` in `server/application/application.go` (v3.5.1): each pod has its last lines; a refusal of Kubernetes is a line of no
/// pod, without a time, which so comes first; the filter is asked last, of all of them.
fn logs(pod: Option<&str>, container: Option<&str>, tail: usize, filter: Option<&str>) -> ResponseTemplate {
    let line = |content: &str, pod: &str, last: bool| {
        let [time, text] = match (pod, last) {
            ("", false) => [Value::Null, json!("0001-01-01T00:00:00Z")],
            _ => ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z"].map(|time| json!(time)),
        };
        json!({ "result": { "content": content, "podName": pod, "last": last, "timeStamp": time, "timeStampStr": text } })
            .to_string()
    };
    let written = |said: &[&str], wrote: &[&str]| {
        let is_wanted = |content: &&&str| match filter {
            Some(filter) => match filter.strip_prefix('!') {
                Some(filter) => !content.to_lowercase().contains(&filter.to_lowercase()),
                None => content.to_lowercase().contains(&filter.to_lowercase()),
            },
            None => true,
        };
        let newest = wrote.get(wrote.len().saturating_sub(tail)..).unwrap();
        let said = said.iter().filter(is_wanted).map(|content| line(content, "", false));
        let wrote = newest.iter().filter(is_wanted).map(|content| line(content, "web-1", false));
        said.chain(wrote).chain([line("", "", true)]).collect::<Vec<_>>().join("\n")
    };
    let text = match pod {
        Some("web-1") => written(&[], &["one", "two\u{1b}[0m"]),
        // `LogLocation` in Kubernetes' `pkg/registry/core/pod/strategy.go`.
        Some("sidecar") if container.is_none() => {
            written(&["a container name must be specified for pod sidecar, choose one of: [app istio-proxy]"], &[])
        }
        // Of two pods, one has not begun.
        Some("half") => {
            let waits = "container \"app\" in pod \"web-2\" is waiting to start: ContainerCreating";
            written(&[waits], &["one", "two"])
        }
        // A container's log that is gone (argoproj/argo-cd#21286).
        Some("gone") => {
            let error = json!({ "grpc_code": 2, "http_code": 500, "http_status": "Internal Server Error",
                                "message": "parsing time \"unable\" as \"2006\": cannot parse \"unable\" as \"2006\" planted" });
            [line("one", "web-1", false), line("two", "web-1", false), json!({ "error": error }).to_string()].join("\n")
        }
        Some("large") => {
            let long = "x".repeat(1_900);
            let lines = (0..5_000).map(|number| line(&format!("{number} {long}"), "large", false));
            lines.chain([line("", "", true)]).collect::<Vec<_>>().join("\n")
        }
        Some("broken") => {
            let error =
                json!({ "grpc_code": 3, "http_code": 400, "message": "max pods to view logs are reached planted" });
            json!({ "error": error }).to_string()
        }
        _ => line("", "", true),
    };
    ResponseTemplate::new(200).set_body_raw(text, "application/json")
}

fn managed() -> Vec<Value> {
    vec![
        json!({ "group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web",
                "liveState": "{\"spec\":{\"replicas\":1}}", "targetState": "{\"spec\":{\"replicas\":2}}",
                "normalizedLiveState": "{\"spec\":{\"replicas\":1}}",
                "predictedLiveState": "{\"spec\":{\"replicas\":2}}" }),
        json!({ "kind": "Secret", "namespace": "shop", "name": "s", "liveState": "{\"data\":{\"a\":\"planted1\"}}",
                "targetState": "{\"data\":{\"a\":\"planted2\"}}" }),
        json!({ "kind": "ConfigMap", "namespace": "shop", "name": "same", "liveState": "{}", "targetState": "{}" }),
    ]
}

/// Answers that never change.
fn fixed(path: &[&str]) -> Value {
    match path {
        ["applications", _, "resource-tree"] => json!({ "nodes": [
            { "group": "apps", "version": "v1", "kind": "Deployment", "namespace": "shop", "name": "web", "uid": "d1",
              "health": { "status": "Degraded" } },
            { "group": "apps", "version": "v1", "kind": "ReplicaSet", "namespace": "shop", "name": "web-r", "uid": "r1",
              "parentRefs": [{ "group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web", "uid": "d1" }],
              "health": { "status": "Healthy" } },
            { "version": "v1", "kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "p1",
              "parentRefs": [{ "group": "apps", "kind": "ReplicaSet", "namespace": "shop", "name": "web-r", "uid": "r1" }],
              "images": ["web:1"], "health": { "status": "Degraded", "message": "CrashLoopBackOff" } },
            { "version": "v1", "kind": "Service", "namespace": "shop", "name": "web", "uid": "s1",
              "health": { "status": "Healthy" } },
        ]}),
        ["applications", _, "manifests"] => {
            json!({ "revision": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "sourceType": "Helm", "manifests": [
                "{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"}}",
                "{\"kind\":\"Secret\",\"stringData\":{\"a\":\"planted\"}}",
            ]})
        }
        ["applications", _, "events"] => json!({ "items": [
            { "type": "Warning", "reason": "BackOff", "message": "restarting", "count": 3,
              "lastTimestamp": "2026-01-02T00:00:00Z", "involvedObject": { "kind": "Pod", "name": "web-1" } },
            { "type": "Normal", "reason": "Pulled", "message": "ok", "lastTimestamp": "2026-01-03T00:00:00Z",
              "involvedObject": { "kind": "Pod", "name": "web-1" } },
            // Counted in `series` (kubernetes/kubernetes#36304).
            { "type": "Warning", "reason": "FailedScheduling", "message": "no room", "firstTimestamp": null, "lastTimestamp": null,
              "eventTime": "2026-01-01T00:00:00.000000Z",
              "series": { "count": 57, "lastObservedTime": "2026-01-04T00:00:00.000000Z" },
              "involvedObject": { "kind": "Pod", "name": "web-1" } },
        ]}),
        ["projects"] => json!({ "items": [{ "metadata": { "name": "team" }, "spec": { "description": "ours" } }] }),
        ["projects", name] => json!({ "metadata": { "name": name }, "spec": {
            "sourceRepos": ["https://bot:planted@git.example.com/*"], "destinations": [{ "server": "*", "namespace": "shop" }],
            "roles": [{ "name": "ci", "jwtTokens": [{ "id": "planted" }] }],
            "syncWindows": [{ "kind": "deny", "schedule": closing(), "duration": "1h", "timeZone": "Etc/GMT-3" }] } }),
        ["clusters"] => json!({ "items": [{ "name": "in-cluster", "server": "https://kubernetes.default.svc",
            "config": { "bearerToken": "planted" },
            "info": { "connectionState": { "status": "Successful" }, "serverVersion": "1.36", "applicationsCount": 1,
                      "cacheInfo": { "lastCacheSyncTime": "2026-01-03T00:00:00Z" } } }] }),
        ["applicationsets"] => json!({ "items": [set()] }),
        ["applicationsets", "generate"] => json!({ "applications": [app()] }),
        ["applicationsets", _] => set(),
        _ => json!({}),
    }
}

/// The schedule of a window that opened ten minutes ago, by the clock of `Etc/GMT-3`, which is three hours ahead.
fn closing() -> String {
    let opened = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(3 * 60 - 10);
    opened.strftime("%-M %-H * * *").to_string()
}

fn set() -> Value {
    json!({ "metadata": { "name": "all", "namespace": "argocd", "managedFields": [] },
            "spec": { "generators": [{ "git": { "repoURL": "planted" } }], "template": { "spec": { "project": "team" } } },
            "status": { "conditions": [{ "type": "ErrorOccurred", "status": "True", "reason": "X", "message": "bad" }],
                        "resources": [{ "name": "web", "namespace": "argocd", "status": "Synced" }] } })
}
