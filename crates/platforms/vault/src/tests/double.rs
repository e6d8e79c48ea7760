//! A strict double of Vault: it refuses what a real one refuses, and more (unknown query parameters, a namespace where
//! none belongs), and it plants a secret in every failing answer.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers};

use super::PLANTED;

/// The token that is accepted.
pub(super) const TOKEN: &str = "planted-good-token";

/// An answer that a test wants at a path.
#[derive(Clone)]
struct Wanted {
    path: String,
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

#[derive(Default)]
struct State {
    namespace: Option<String>,
    wanted: Vec<Wanted>,
    seen: Vec<String>,
    lookup: Value,
    visible: bool,
    capabilities: Value,
}

pub(super) struct Double {
    server: MockServer,
    state: Arc<Mutex<State>>,
}

struct Answering(Arc<Mutex<State>>);

impl Double {
    pub(super) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            lookup: json!({ "display_name": "approle", "policies": ["default", "apps"], "ttl": 3600,
                            "expire_time": "2999-01-01T00:00:00Z", "id": TOKEN, "accessor": "planted-accessor" }),
            visible: true,
            capabilities: json!(["read"]),
            ..State::default()
        }));
        let server = MockServer::start().await;
        Mock::given(matchers::any()).respond_with(Answering(Arc::clone(&state))).mount(&server).await;
        Self { server, state }
    }

    pub(super) fn uri(&self) -> String {
        self.server.uri()
    }

    pub(super) fn namespace(self, namespace: &str) -> Self {
        self.state.lock().unwrap().namespace = Some(namespace.to_owned());
        self
    }

    /// Wants a status and a body at a path, without `v1`.
    pub(super) fn want(&self, path: &str, status: u16, body: Option<Value>) {
        self.want_with(path, status, &[], body);
    }

    pub(super) fn want_with(&self, path: &str, status: u16, headers: &[(&'static str, &str)], body: Option<Value>) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut state = self.state.lock().unwrap();
        state.wanted.retain(|wanted| wanted.path != path);
        state.wanted.push(Wanted { path: path.to_owned(), status, headers, body });
    }

    pub(super) fn lookup(&self, field: &str, value: Value) {
        self.state.lock().unwrap().lookup[field] = value;
    }

    pub(super) fn hide_mounts(&self) {
        self.state.lock().unwrap().visible = false;
    }

    pub(super) fn show_mounts(&self) {
        self.state.lock().unwrap().visible = true;
    }

    pub(super) fn capabilities(&self, value: Value) {
        self.state.lock().unwrap().capabilities = value;
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.state.lock().unwrap().seen.iter().filter(|seen| *seen == path).count()
    }

    pub(super) fn total(&self) -> usize {
        self.state.lock().unwrap().seen.len()
    }
}

pub(super) fn health(initialized: bool, sealed: bool) -> Value {
    json!({ "initialized": initialized, "sealed": sealed, "standby": false, "version": "1.21.0+ent",
            "cluster_name": "c", "enterprise": true, "echo_duration_ms": 0 })
}

/// A token for an hour.
fn granted() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(
        json!({ "auth": { "client_token": TOKEN, "accessor": "planted", "lease_duration": 3600, "renewable": true } }),
    )
}

fn failure(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
        .set_body_json(json!({ "errors": [format!("invalid secret_id \"{PLANTED}-in-error\"")] }))
}

impl Respond for Answering {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        let path = request.url.path().strip_prefix("/v1/").unwrap().trim_end_matches('/').to_owned();
        state.seen.push(path.clone());
        let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let query: Vec<String> = request.url.query_pairs().map(|(name, _)| name.into_owned()).collect();
        if header("x-vault-request").as_deref() != Some("true") || header("accept-encoding").is_some() {
            return failure(400);
        }
        if query.iter().any(|name| !["list", "version", "depth"].contains(&name.as_str())) {
            return failure(400);
        }
        let expected = if path == "sys/health" { None } else { state.namespace.clone() };
        if header("x-vault-namespace") != expected {
            return failure(400);
        }
        if let Some(wanted) = state.wanted.iter().find(|wanted| wanted.path == path) {
            let mut answer = failure(wanted.status);
            if let Some(body) = &wanted.body {
                answer = match body {
                    Value::String(text) => ResponseTemplate::new(wanted.status).set_body_string(text),
                    body => ResponseTemplate::new(wanted.status).set_body_json(body),
                };
            }
            for (name, value) in &wanted.headers {
                answer = answer.insert_header(*name, value.as_str());
            }
            return answer;
        }
        if path == "sys/health" {
            return ResponseTemplate::new(200).set_body_json(health(true, false));
        }
        if path == "auth/approle/login" {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(body, json!({ "role_id": "planted-role", "secret_id": "planted-secret-id" }));
            return granted();
        }
        if header("x-vault-token").as_deref() != Some(TOKEN) {
            return failure(403);
        }
        let data = match (request.method.as_str(), path.as_str(), query.is_empty()) {
            ("GET", "auth/token/lookup-self", true) => state.lookup.clone(),
            ("GET", "sys/internal/ui/mounts", true) if !state.visible => json!({ "secret": {}, "auth": {} }),
            ("GET", "sys/internal/ui/mounts", true) => {
                json!({ "secret": { "secret/": { "type": "kv", "options": { "version": "2" } },
                                    "old/": { "type": "kv", "options": null } }, "auth": {} })
            }
            ("POST", "sys/capabilities-self", true) => {
                let asked: Value = serde_json::from_slice(&request.body).unwrap();
                let paths = asked["paths"].as_array().unwrap().iter();
                paths.map(|path| (path.as_str().unwrap().to_owned(), state.capabilities.clone())).collect()
            }
            ("GET", "sys/internal/ui/resultant-acl", true) => json!({ "exact_paths": {}, "glob_paths": {} }),
            ("GET", "secret/subkeys/apps/web", _) => {
                json!({ "subkeys": { "a": "planted-value" }, "metadata": { "version": 1, "created_time": "t" } })
            }
            ("GET", "secret/data/apps/web", _) => {
                json!({ "data": { "a": "released" }, "metadata": { "version": 1, "created_time": "t" } })
            }
            ("POST", "auth/token/renew-self", true) => return granted(),
            ("POST", "auth/token/revoke-self", true) => return ResponseTemplate::new(204),
            ("POST", "sys/leases/renew", true) => {
                return ResponseTemplate::new(200).set_body_json(
                    json!({ "lease_id": "database/creds/app/x", "renewable": true, "lease_duration": 60 }),
                );
            }
            _ => return failure(404),
        };
        ResponseTemplate::new(200).set_body_json(json!({ "data": data, "auth": null }))
    }
}
