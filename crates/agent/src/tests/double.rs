//! A strict double of Vault, with tokens and leases that end. It refuses what a real one refuses, plants a secret in every
//! failing answer, and has a clock of its own, which the tests move.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers};

pub(super) const PLANTED: &str = "planted-secret";
pub(super) const JWT: &str = "planted-jwt";
pub(super) const ROLE_ID: &str = "the-role-id";

pub(super) struct Token {
    pub(super) ends: u64,
    longest: u64,
    /// Paths that the role permitted when it was made.
    pub(super) permitted: BTreeSet<String>,
    pub(super) revoked: bool,
    is_batch: bool,
}

pub(super) struct Lease {
    token: String,
    pub(super) ends: u64,
    longest: u64,
    pub(super) revoked: bool,
}

/// What the double is and holds. Times are seconds of its clock.
pub(super) struct State {
    pub(super) clock: u64,
    /// What a clock on the wall shows there when `clock` is 0: seconds since 1970.
    pub(super) began: i64,
    pub(super) sealed: bool,
    /// Status with which every login is refused.
    pub(super) login_refused: Option<u16>,
    /// Whether logins wait for a second factor: 200, and an empty token beside what is wanted (login MFA).
    pub(super) second_factor: bool,
    /// What is answered at a path, as it stands.
    pub(super) raw: BTreeMap<String, (u16, String)>,
    /// Status with which the next unwrapping is answered, which uses nothing up.
    pub(super) unwrap_fails: Option<u16>,
    /// Whether logins give batch tokens, which can be neither renewed nor revoked; their leases stay until they end.
    pub(super) batch: bool,
    /// The static role `database/static-creds/ci`: its password's number, when it changes next, and the time between two
    /// changes. Nothing is made when it is read, and there is no lease (`path_creds_create.go` of the database engine).
    pub(super) rotation: (u64, u64, u64),
    /// Whether, at the time of a change, it states the time until the one after it for some seconds, and still gives the old
    /// password, as the database engine does with a schedule (hashicorp/vault-secrets-operator#730).
    pub(super) rolls_over: bool,
    pub(super) token_ttl: u64,
    pub(super) token_max: u64,
    pub(super) lease_ttl: u64,
    pub(super) lease_max: u64,
    /// Paths that tokens of the role may use from now on.
    pub(super) permitted: BTreeSet<String>,
    pub(super) kv: BTreeMap<String, Value>,
    pub(super) tokens: BTreeMap<String, Token>,
    pub(super) leases: BTreeMap<String, Lease>,
    /// Secret ids and the logins that are left.
    pub(super) secret_ids: BTreeMap<String, u64>,
    /// When all secret ids end.
    pub(super) secret_ids_end: Option<u64>,
    /// Wrapping tokens: where they were made, and what is in them.
    pub(super) wrapped: BTreeMap<String, (String, String)>,
    /// Certificates that were signed.
    pub(super) signed: u64,
    pub(super) seen: Vec<String>,
}

pub(super) struct Double {
    server: MockServer,
    state: Arc<Mutex<State>>,
}

impl Double {
    pub(super) async fn start() -> Self {
        let permitted = [
            "secret/data/team/jenkins",
            "old/jenkins",
            "database/creds/ci",
            "database/static-creds/ci",
            "pki/issue/ci",
            "pki/sign/ci",
            "sys/leases/revoke",
            "old/data/team/jenkins",
            "secret/jenkins",
        ];
        let state = Arc::new(Mutex::new(State {
            clock: 0,
            began: jiff::Timestamp::now().as_second(),
            sealed: false,
            login_refused: None,
            second_factor: false,
            raw: BTreeMap::new(),
            unwrap_fails: None,
            batch: false,
            rotation: (1, 86_400, 86_400),
            rolls_over: false,
            token_ttl: 3_600,
            token_max: 86_400,
            lease_ttl: 600,
            lease_max: 1_000,
            permitted: permitted.into_iter().map(str::to_owned).collect(),
            kv: BTreeMap::from([
                (
                    "secret/data/team/jenkins".to_owned(),
                    json!({ "username": "ci", "token": "planted-kv2", "list": [1] }),
                ),
                ("old/jenkins".to_owned(), json!({ "pin": 1234, "user": "old" })),
            ]),
            tokens: BTreeMap::new(),
            leases: BTreeMap::new(),
            secret_ids: BTreeMap::new(),
            secret_ids_end: None,
            wrapped: BTreeMap::new(),
            signed: 0,
            seen: Vec::new(),
        }));
        let server = MockServer::start().await;
        Mock::given(matchers::any()).respond_with(Answering(Arc::clone(&state))).mount(&server).await;
        Self { server, state }
    }

    pub(super) fn uri(&self) -> String {
        self.server.uri()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.state().seen.iter().filter(|seen| *seen == path).count()
    }

    /// Tokens that live.
    pub(super) fn tokens(&self) -> Vec<String> {
        let state = self.state();
        state.tokens.iter().filter(|(_, token)| state.lives(token)).map(|(id, _)| id.clone()).collect()
    }

    /// Leases that live.
    pub(super) fn leases(&self) -> Vec<String> {
        let state = self.state();
        let lives = |lease: &Lease| {
            !lease.revoked && lease.ends > state.clock && state.tokens.get(&lease.token).is_some_and(|t| state.lives(t))
        };
        state.leases.iter().filter(|(_, lease)| lives(lease)).map(|(id, _)| id.clone()).collect()
    }
}

struct Answering(Arc<Mutex<State>>);

fn failure(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({ "errors": [format!("invalid: {PLANTED}-in-error")] }))
}

fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

impl State {
    /// A time of its clock, as a clock on the wall shows it.
    fn on_the_wall(&self, time: u64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(self.began + i64::try_from(time).unwrap()).unwrap()
    }

    fn lives(&self, token: &Token) -> bool {
        !token.revoked && token.ends > self.clock
    }

    /// Makes a token that a person has, without a login.
    pub(super) fn own(&mut self, id: &str, ttl: u64, longest: u64) {
        let token = Token {
            ends: self.clock + ttl,
            longest: self.clock + longest,
            permitted: self.permitted.clone(),
            revoked: false,
            is_batch: false,
        };
        self.tokens.insert(id.to_owned(), token);
    }

    fn grant(&mut self, metadata: &Value) -> ResponseTemplate {
        let id = format!("planted-token-{}", self.tokens.len() + 1);
        let ttl = self.token_ttl.min(self.token_max);
        let token = Token {
            ends: self.clock + ttl,
            longest: self.clock + self.token_max,
            permitted: self.permitted.clone(),
            revoked: false,
            is_batch: self.batch,
        };
        self.tokens.insert(id.clone(), token);
        ok(&json!({ "auth": { "client_token": id, "accessor": "planted-accessor", "lease_duration": ttl,
                              "renewable": !self.batch, "token_type": if self.batch { "batch" } else { "service" },
                              "metadata": metadata } }))
    }

    fn log_in(&mut self, path: &str, body: &Value) -> ResponseTemplate {
        if let Some(status) = self.login_refused {
            return failure(status);
        }
        if self.second_factor {
            return ok(&json!({ "auth": { "client_token": "", "policies": null, "metadata": null, "lease_duration": 0,
                "renewable": false, "mfa_requirement": { "mfa_request_id": PLANTED, "mfa_constraints": {} } } }));
        }
        match path {
            "auth/kubernetes/login" if body["role"] == "ci" => {
                if *body != json!({ "role": "ci", "jwt": JWT }) {
                    return failure(403);
                }
                self.grant(&json!({ "role": "ci" }))
            }
            "auth/approle/login" if body["role_id"] == ROLE_ID => {
                let secret_id = body["secret_id"].as_str().unwrap().to_owned();
                let ended = self.secret_ids_end.is_some_and(|end| end <= self.clock);
                match self.secret_ids.get_mut(&secret_id) {
                    Some(uses) if !ended => {
                        *uses -= 1;
                        if *uses == 0 {
                            self.secret_ids.remove(&secret_id);
                        }
                        self.grant(&json!({ "role_name": "ci" }))
                    }
                    _ => failure(400),
                }
            }
            _ => failure(400),
        }
    }

    fn lease(&mut self, token: &str) -> ResponseTemplate {
        let number = self.leases.len() + 1;
        let id = format!("database/creds/ci/{number}");
        let lease = Lease {
            token: token.to_owned(),
            ends: self.clock + self.lease_ttl,
            longest: self.clock + self.lease_max,
            revoked: false,
        };
        self.leases.insert(id.clone(), lease);
        ok(&json!({ "lease_id": id, "lease_duration": self.lease_ttl, "renewable": true,
                    "data": { "username": format!("user-{number}"), "password": format!("planted-password-{number}") } }))
    }

    fn with_token(&mut self, token: &str, method: &str, path: &str, body: &Value) -> ResponseTemplate {
        let clock = self.clock;
        if !self.tokens.get(token).is_some_and(|token| self.lives(token)) {
            // `logical.ErrInvalidToken`, as 1.21 answers it.
            let text = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n";
            return ResponseTemplate::new(403)
                .set_body_json(json!({ "errors": [text, format!("{PLANTED}-in-error")] }));
        }
        match (method, path) {
            ("GET", "auth/token/lookup-self") => {
                let held = &self.tokens[token];
                let (ttl, renewable) = (held.ends - clock, held.longest > held.ends);
                return ok(&json!({ "data": { "id": token, "ttl": ttl, "renewable": renewable } }));
            }
            ("POST", "auth/token/renew-self") => {
                let ttl = self.token_ttl;
                let held = self.tokens.get_mut(token).unwrap();
                held.ends = (clock + ttl).min(held.longest);
                let left = held.ends - clock;
                return ok(&json!({ "auth": { "client_token": token, "lease_duration": left, "renewable": true } }));
            }
            // `token_store.go`: a batch token is nowhere but at its holder's.
            ("POST", "auth/token/revoke-self") if self.tokens[token].is_batch => {
                let text = format!("batch tokens cannot be revoked, {PLANTED}");
                return ResponseTemplate::new(400).set_body_json(json!({ "errors": [text] }));
            }
            ("GET", "sys/internal/ui/mounts/secret") => {
                return ok(&json!({ "data": { "type": "kv", "options": { "version": "2" } } }));
            }
            ("GET", "sys/internal/ui/mounts/old") => {
                return ok(&json!({ "data": { "type": "kv", "options": { "version": "1" } } }));
            }
            ("POST", "auth/token/revoke-self") => {
                self.tokens.get_mut(token).unwrap().revoked = true;
                return ResponseTemplate::new(204);
            }
            ("POST", "sys/leases/renew") => {
                let ttl = self.lease_ttl;
                let Some(lease) = self.leases.get_mut(body["lease_id"].as_str().unwrap()) else { return failure(400) };
                if lease.revoked || lease.ends <= clock || lease.token != token {
                    return failure(400);
                }
                lease.ends = (clock + ttl).min(lease.longest);
                let left = lease.ends - clock;
                return ok(&json!({ "lease_id": body["lease_id"], "lease_duration": left, "renewable": true }));
            }
            ("POST", "auth/approle/role/ci/secret-id/lookup") => {
                let end = self.secret_ids_end.map(|end| self.on_the_wall(end).to_string());
                let end = end.unwrap_or_else(|| "0001-01-01T00:00:00Z".to_owned());
                let date = httpdate::fmt_http_date(self.on_the_wall(clock).into());
                return match self.secret_ids.get(body["secret_id"].as_str().unwrap()) {
                    Some(uses) => ok(&json!({ "data": { "secret_id_num_uses": uses, "expiration_time": end } }))
                        .insert_header("date", date.as_str()),
                    None => ResponseTemplate::new(204),
                };
            }
            _ => {}
        }
        if !self.tokens[token].permitted.contains(path) || !self.permitted.contains(path) {
            return failure(403);
        }
        match (method, path) {
            ("POST", "sys/leases/revoke") => {
                self.leases.get_mut(body["lease_id"].as_str().unwrap()).unwrap().revoked = true;
                ResponseTemplate::new(204)
            }
            ("GET", path) if self.raw.contains_key(path) => {
                let (status, body) = &self.raw[path];
                ResponseTemplate::new(*status).set_body_string(body)
            }
            ("GET", "database/creds/ci") => self.lease(token),
            ("GET", "database/static-creds/ci") => {
                let (mut number, mut next, period) = self.rotation;
                let late = if self.rolls_over { 5 } else { 0 };
                while next + late <= clock {
                    (number, next) = (number + 1, next + period);
                }
                self.rotation = (number, next, period);
                ok(&json!({ "request_id": "r", "lease_id": "", "lease_duration": 0, "renewable": false, "data": {
                    "username": "static", "password": format!("planted-static-{number}"), "ttl": (if next <= clock { next + period } else { next }) - clock,
                    "rotation_period": period, "last_vault_rotation": "2026-01-01T00:00:00Z" } }))
            }
            // Without a lease, as `no_store` or a role without `generate_lease` gives it: each call makes another one.
            ("POST", "pki/sign/ci") => {
                let end = self.on_the_wall(clock + self.lease_ttl).as_second();
                self.signed += 1;
                ok(&json!({ "request_id": "r", "lease_id": "", "lease_duration": 0, "renewable": false, "data": {
                    "certificate": format!("planted-certificate-{}", self.signed), "expiration": end } }))
            }
            ("POST", "pki/issue/ci") if *body == json!({ "common_name": "ci" }) => self.lease(token),
            ("GET", path) => match self.kv.get(path) {
                // A version that was deleted (`path_data.go` of the KV engine).
                Some(Value::String(deleted)) => {
                    let metadata = json!({ "version": 4, "created_time": "t", "deletion_time": deleted,
                                           "destroyed": deleted.is_empty() });
                    ResponseTemplate::new(404)
                        .set_body_json(json!({ "request_id": "r", "data": { "data": null, "metadata": metadata } }))
                }
                Some(data) if path.contains("/data/") => ok(&json!({ "data": { "data": data, "metadata": {} } })),
                Some(data) => {
                    ok(&json!({ "lease_id": "", "lease_duration": 2_764_800, "renewable": false, "data": data }))
                }
                None if path.starts_with("secret/") && !path.contains("/data/") => {
                    let text = "Invalid path for a versioned K/V secrets engine. See the API docs";
                    ResponseTemplate::new(404).set_body_json(json!({ "request_id": "r", "warnings": [text] }))
                }
                None => ResponseTemplate::new(404).set_body_json(json!({ "errors": [] })),
            },
            _ => failure(404),
        }
    }
}

impl Respond for Answering {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        let path = request.url.path().strip_prefix("/v1/").unwrap().to_owned();
        state.seen.push(path.clone());
        let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        if header("x-vault-request").as_deref() != Some("true") || request.url.query().is_some() {
            return failure(400);
        }
        if state.sealed {
            return ResponseTemplate::new(503).set_body_json(json!({ "errors": ["Vault is sealed"] }));
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        match (header("x-vault-token"), path.as_str()) {
            (None, path) if path.ends_with("/login") => state.log_in(path, &body),
            (None, "sys/wrapping/lookup") => match state.wrapped.get(body["token"].as_str().unwrap()) {
                Some((creation_path, _)) => ok(&json!({ "data": { "creation_path": creation_path } })),
                None => failure(400),
            },
            (_, "sys/wrapping/unwrap") if state.unwrap_fails.is_some() => {
                failure(state.unwrap_fails.take().unwrap_or(500))
            }
            (Some(token), "sys/wrapping/unwrap") => match state.wrapped.remove(&token) {
                Some((_, secret_id)) => ok(&json!({ "data": { "secret_id": secret_id, "secret_id_accessor": "a" } })),
                None => failure(400),
            },
            (Some(token), path) => state.with_token(&token, request.method.as_str(), path, &body),
            (None, _) => failure(400),
        }
    }
}
