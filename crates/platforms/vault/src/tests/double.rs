//! A strict double of Vault: it refuses what a real one refuses, and more (unknown query parameters, a namespace where
//! none belongs), and it plants a secret in every failing answer. Its KV engines do as those of
//! hashicorp/vault-plugin-secrets-kv: an engine of version 1 keeps whatever path it is given and answers 204; one of version 2
//! answers 404 with a warning to paths of version 1, 404 with metadata for a deleted version, and 204 to changes of versions
//! whether or not anything is there (`backend.go`, `path_data.go`, `path_delete.go`, `passthrough.go`).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

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
    /// Requests that a token of a login is good for, 0 for any number, and those that are left of the newest.
    uses: (u64, u64),
    logins: u64,
    /// Whether the token is known and refused all the same, as one of a disabled entity, and so is every login.
    barred: bool,
    /// Whether the token was made before its role had the policy for `secret/`.
    stale: bool,
    visible: bool,
    capabilities: Value,
    /// Tokens that were given back.
    revoked: Vec<String>,
    /// How long the answer of `lookup-self` is on its way.
    lookup_takes: Duration,
    kv: Kv,
}

/// The engine at `secret/`.
struct Kv {
    version: u8,
    /// Version 1: what was written, by path.
    kept: BTreeMap<String, Value>,
    /// Version 2: what became of the versions, by path, the first one first.
    versions: BTreeMap<String, Vec<Version>>,
    /// Version 2: how many versions are kept, as set at each secret and at the mount, and whether they end by themselves.
    max_versions: (usize, usize),
    ends: bool,
    /// Version 2: looks at metadata that don't show the newest version yet, as at a standby that answers reads itself
    /// (openbao/openbao#3877).
    late: usize,
    /// Names that a list has at most, as OpenBao answers it where a policy has `pagination_limit`; it then takes `after`, of which
    /// Vault takes no notice (OpenBao: `AllowOperation` in `vault/acl.go`, `pathMetadataList` in `path_metadata.go`).
    page: Option<usize>,
    /// Whether it is that of Vault 1.8: without `subkeys` (`pathInvalid` in `backend.go`) and PATCH (405 for a method that isn't
    /// known: `buildLogicalRequest` in `http/logical.go`).
    old: bool,
}

/// When versions end that end by themselves.
pub(super) const END: &str = "2999-01-01T00:00:00Z";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Readable,
    Deleted,
    Destroyed,
    /// Thrown away by a later write.
    Pruned,
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
                            "creation_ttl": 7_200, "renewable": true, "type": "service",
                            "expire_time": "2999-01-01T00:00:00Z", "id": TOKEN, "accessor": "planted-accessor" }),
            visible: true,
            capabilities: json!(["read"]),
            kv: Kv::new(2),
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

    pub(super) fn look_up_slowly(&self, takes: Duration) {
        self.state.lock().unwrap().lookup_takes = takes;
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

    /// Makes the engine at `secret/` anew, with a version.
    pub(super) fn remount(&self, version: u8) {
        self.state.lock().unwrap().kv = Kv::new(version);
    }

    pub(super) fn set_uses(&self, uses: u64) {
        self.state.lock().unwrap().uses = (uses, uses);
    }

    pub(super) fn bar(&self, is: bool) {
        self.state.lock().unwrap().barred = is;
    }

    pub(super) fn outdate(&self) {
        self.state.lock().unwrap().stale = true;
    }

    /// Sets how many versions each secret and the mount keep, and whether they end by themselves.
    pub(super) fn keep_versions(&self, secret: usize, mount: usize, ends: bool) {
        let mut state = self.state.lock().unwrap();
        (state.kv.max_versions, state.kv.ends) = ((secret, mount), ends);
    }

    /// Sets how many looks at metadata don't show the newest version.
    pub(super) fn be_late(&self, looks: usize) {
        self.state.lock().unwrap().kv.late = looks;
    }

    /// Gives so many names in each answer to a list.
    pub(super) fn list_in_pages_of(&self, names: usize) {
        self.state.lock().unwrap().kv.page = Some(names);
    }

    /// Is a Vault 1.8 from now on.
    pub(super) fn age(&self) {
        self.state.lock().unwrap().kv.old = true;
    }

    /// What became of the versions of a secret below `secret/`.
    pub(super) fn versions(&self, path: &str) -> Vec<Version> {
        self.state.lock().unwrap().kv.versions.get(path).cloned().unwrap_or_default()
    }

    pub(super) fn set_versions(&self, path: &str, versions: &[Version]) {
        self.state.lock().unwrap().kv.versions.insert(path.to_owned(), versions.to_vec());
    }

    /// What an engine of version 1 at `secret/` keeps at a path, or what was written last to one of version 2.
    pub(super) fn kept(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().kv.kept.get(path).cloned()
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
fn granted(token: &str, uses: u64) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(
        json!({ "auth": { "client_token": token, "accessor": "planted", "lease_duration": 3600, "renewable": true,
                          "num_uses": uses, "mfa_requirement": null } }),
    )
}

/// A token that Vault doesn't know (`request_handling.go`: `logical.ErrInvalidToken`, seen of 1.21).
fn unknown_token() -> ResponseTemplate {
    let text = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n";
    ResponseTemplate::new(403).set_body_json(json!({ "errors": [text, format!("{PLANTED}-in-error")] }))
}

/// A token that Vault knows and refuses, or a call that its policies don't permit.
fn denied() -> ResponseTemplate {
    let text = "1 error occurred:\n\t* permission denied\n\n";
    ResponseTemplate::new(403).set_body_json(json!({ "errors": [text, format!("{PLANTED}-in-error")] }))
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
        if query.iter().any(|name| !["list", "after", "version", "depth"].contains(&name.as_str())) {
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
            if state.barred {
                return denied();
            }
            (state.stale, state.uses.1) = (false, state.uses.0);
            state.logins += 1;
            return granted(&format!("{TOKEN}-{}", state.logins), state.uses.0);
        }
        let token = header("x-vault-token").unwrap_or_default();
        let is_known = token.strip_prefix(TOKEN).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        if !is_known || state.revoked.contains(&token) || state.uses.0 > 0 && state.uses.1 == 0 {
            return unknown_token();
        }
        state.uses.1 = state.uses.1.saturating_sub(1);
        if state.barred || state.stale && path.starts_with("secret/") {
            return denied();
        }
        let data = match (request.method.as_str(), path.as_str(), query.is_empty()) {
            ("GET", "auth/token/lookup-self", true) => state.lookup.clone(),
            ("GET", "sys/internal/ui/mounts", true) if !state.visible => json!({ "secret": {}, "auth": {} }),
            ("GET", "sys/internal/ui/mounts", true) => {
                json!({ "secret": { "secret/": { "type": "kv", "options": { "version": state.kv.version.to_string() } },
                                    "old/": { "type": "kv", "options": null } }, "auth": {} })
            }
            ("POST", "sys/capabilities-self", true) => {
                let asked: Value = serde_json::from_slice(&request.body).unwrap();
                let paths = asked["paths"].as_array().unwrap().iter();
                // Of all paths, or of each.
                let granted = |path: &str| match &state.capabilities {
                    Value::Object(each) => each.get(path).cloned().unwrap_or_else(|| json!(["deny"])),
                    _ if state.stale => json!(["deny"]),
                    all => all.clone(),
                };
                // Without blanks at the ends (`TypeCommaStringSlice`; seen of 1.21).
                paths.map(|path| path.as_str().unwrap().trim()).map(|path| (path.to_owned(), granted(path))).collect()
            }
            ("GET", "sys/internal/ui/resultant-acl", true) => json!({ "exact_paths": {}, "glob_paths": {} }),
            (method, path, _) if path.starts_with("secret/") => return state.kv.answer(method, request),
            // Nothing is there, and an engine of version 1 takes every change.
            ("POST" | "DELETE", path, _) if path.starts_with("old/") => return ResponseTemplate::new(204),
            ("POST", "auth/token/renew-self", true) => return granted(&token, 0),
            ("POST", "auth/token/revoke-self", true) => {
                state.revoked.push(token);
                return ResponseTemplate::new(204);
            }
            ("POST", "sys/leases/renew", true) => {
                return ResponseTemplate::new(200).set_body_json(
                    json!({ "lease_id": "database/creds/app/x", "renewable": true, "lease_duration": 60 }),
                );
            }
            _ => return failure(404),
        };
        let takes = if path == "auth/token/lookup-self" { state.lookup_takes } else { Duration::ZERO };
        let body = json!({ "request_id": "r", "data": data, "auth": null });
        ResponseTemplate::new(200).set_body_json(body).set_delay(takes)
    }
}

impl Default for Kv {
    fn default() -> Self {
        Self::new(2)
    }
}

impl Kv {
    fn new(version: u8) -> Self {
        let versions = BTreeMap::from([("apps/web".to_owned(), vec![Version::Readable])]);
        let versions = if version == 2 { versions } else { BTreeMap::new() };
        let kept = BTreeMap::new();
        Self { version, kept, versions, max_versions: (0, 0), ends: false, late: 0, page: None, old: false }
    }

    fn answer(&mut self, method: &str, request: &Request) -> ResponseTemplate {
        let path = request.url.path().strip_prefix("/v1/secret/").unwrap().trim_end_matches('/').to_owned();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let query =
            |name: &str| request.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let nothing = || ResponseTemplate::new(404).set_body_json(json!({ "errors": [] }));
        let data = |data: Value| ResponseTemplate::new(200).set_body_json(json!({ "request_id": "r", "data": data }));
        if query("list").is_some() {
            let folder = if self.version == 2 { path.strip_prefix("metadata").unwrap_or(&path) } else { &path };
            let folder = folder.trim_matches('/');
            let all =
                if self.version == 2 { self.versions.keys().collect::<Vec<_>>() } else { self.kept.keys().collect() };
            let mut names: Vec<&str> =
                all.into_iter().filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/')).collect();
            if let Some(most) = self.page {
                let after = query("after").unwrap_or_default();
                names.retain(|name| *name > after.as_str());
                names.truncate(most);
            }
            return if names.is_empty() { nothing() } else { data(json!({ "keys": names })) };
        }
        if self.version == 1 {
            return match method {
                "GET" => self.kept.get(&path).map_or_else(nothing, |kept| data(kept.clone())),
                "POST" => {
                    self.kept.insert(path, body);
                    ResponseTemplate::new(204)
                }
                "DELETE" => {
                    self.kept.remove(&path);
                    ResponseTemplate::new(204)
                }
                _ => ResponseTemplate::new(405).set_body_json(json!({ "errors": ["unsupported operation"] })),
            };
        }
        let (kind, path) = path.split_once('/').unwrap_or((&path, ""));
        if self.old && method == "PATCH" {
            return ResponseTemplate::new(405).set_body_json(json!({ "errors": [] }));
        }
        let kind = if self.old && kind == "subkeys" { "unknown" } else { kind };
        let ends = self.ends;
        let described = |number: usize, version: Version| {
            let deleted = match version {
                Version::Deleted => "2020-01-01T00:00:00Z",
                Version::Readable if ends => END,
                _ => "",
            };
            json!({ "version": number, "created_time": "t", "deletion_time": deleted,
                    "destroyed": version == Version::Destroyed, "custom_metadata": null })
        };
        let after = if ends { "720h0m0s" } else { "0s" };
        match (method, kind) {
            ("GET", "config") => data(json!({ "cas_required": false, "max_versions": self.max_versions.1,
                                              "delete_version_after": after })),
            ("GET", "data" | "subkeys") => {
                let Some(versions) = self.versions.get(path) else { return nothing() };
                let number = query("version").map_or(versions.len(), |number| number.parse().unwrap());
                let version = number.checked_sub(1).and_then(|index| versions.get(index));
                let Some(version) = version.filter(|version| **version != Version::Pruned) else {
                    return nothing();
                };
                let metadata = described(number, *version);
                let content = if kind == "data" { "data" } else { "subkeys" };
                if *version != Version::Readable {
                    let gone = json!({ "request_id": "r", "data": { content: null, "metadata": metadata } });
                    return ResponseTemplate::new(404).set_body_json(gone);
                }
                // Names are all that may come out of `subkeys`, whatever a server puts there.
                let value = if kind == "data" { "released" } else { "planted-value" };
                data(json!({ content: { "a": value }, "metadata": metadata }))
            }
            ("GET", "metadata") => {
                let Some(versions) = self.versions.get(path) else { return nothing() };
                let shown = versions.len() - usize::from(self.late > 0);
                self.late = self.late.saturating_sub(1);
                let known = versions.iter().take(shown).enumerate().filter(|(_, version)| **version != Version::Pruned);
                let known: BTreeMap<String, Value> =
                    known.map(|(index, v)| ((index + 1).to_string(), described(index + 1, *v))).collect();
                data(json!({ "current_version": shown, "versions": known, "custom_metadata": null,
                             "max_versions": self.max_versions.0, "delete_version_after": "0s" }))
            }
            // Without a body (seen of 1.21).
            ("PATCH", "data") if self.versions.get(path).is_none_or(Vec::is_empty) => {
                ResponseTemplate::new(404).insert_header("cache-control", "no-store")
            }
            ("POST" | "PATCH", "data") => {
                let versions = self.versions.entry(path.to_owned()).or_default();
                versions.push(Version::Readable);
                // `KeyMetadata.AddVersion` in `path_data.go`: the larger number counts, and 10 where there is none.
                let most = match self.max_versions.0.max(self.max_versions.1) {
                    0 => 10,
                    set => set,
                };
                let kept = versions.len().saturating_sub(most);
                versions.iter_mut().take(kept).for_each(|version| *version = Version::Pruned);
                self.kept.insert(format!("data/{path}"), body);
                data(described(versions.len(), Version::Readable))
            }
            ("DELETE", "data") => {
                if let Some(version) = self.versions.get_mut(path).and_then(|versions| versions.last_mut())
                    && *version == Version::Readable
                {
                    *version = Version::Deleted;
                }
                ResponseTemplate::new(204)
            }
            ("POST", "delete" | "undelete" | "destroy") => {
                for number in body["versions"].as_array().unwrap() {
                    let index = usize::try_from(number.as_u64().unwrap()).unwrap() - 1;
                    let Some(version) = self.versions.get_mut(path).and_then(|versions| versions.get_mut(index)) else {
                        continue;
                    };
                    *version = match (kind, *version) {
                        (_, Version::Pruned) => Version::Pruned,
                        ("destroy", _) | (_, Version::Destroyed) => Version::Destroyed,
                        ("delete", _) => Version::Deleted,
                        _ => Version::Readable,
                    };
                }
                ResponseTemplate::new(204)
            }
            _ => {
                let text = "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API \
                            endpoints to use.";
                ResponseTemplate::new(404).set_body_json(json!({ "request_id": "r", "data": null, "warnings": [text] }))
            }
        }
    }
}
