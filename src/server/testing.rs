//! A platform, keys and a client for the server's tests.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, KeyPair, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, watch},
};
use tokio_util::sync::CancellationToken;

use super::{
    Instance, LoadedConfig, Parts, ServeError, ServeSettings, Stop,
    audit::Audit,
    config::{
        AccessConfig, CacheConfig, CallRateConfig, ConnectorIdentity, Layout, LimitsConfig, OperatorIdentity,
        PlatformLimitsConfig, ProbeConfig, RepeatsConfig, ServeConfig, TOKEN_KEYS_FILE, TelemetryConfig, ToolsConfig,
    },
    guards::cache::AnswerCache,
    metrics::Metrics,
    state::ReplicaState,
};
use crate::{
    api::{
        connector::{AccessRule, Mutations},
        duration::ApiDuration,
        endpoint::AddressPolicy,
        pattern::NamePattern,
    },
    credentials::{CredentialsHandle, CredentialsState},
    outbound::{self, Outbound, OutboundState},
    platforms::{CredentialVerdict, HealthStatus, Platform, PlatformSpec, ProbeReport},
    tools::{CallContext, Effect, Preview, ToolDeclaration, ToolEntry, ToolError},
};

pub const AUDIENCE: &str = "http://mcp-fake.agents.svc:8080/mcp";
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

// ===== platform =====

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Color {
    Red,
    Blue,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ThingInput {
    /// Name of the thing.
    name: String,
    #[serde(default)]
    color: Option<Color>,
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct Thing {
    name: String,
}

#[derive(Serialize, JsonSchema)]
struct Deleted {
    deleted: Thing,
}

#[derive(Deserialize, JsonSchema)]
struct TextInput {
    text: String,
    #[serde(default)]
    times: Option<usize>,
}

#[derive(Serialize, JsonSchema)]
struct TextOutput {
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct NoInput {}

/// What a test sees of the platform and does to it.
pub struct FakeState {
    /// Calls of `wait_fake_time` that run.
    pub waiting: watch::Sender<usize>,
    /// Calls of `wait_fake_time` that were ended from outside.
    pub dropped: watch::Sender<usize>,
    /// Lets one call of `wait_fake_time` end.
    pub release: Notify,
    /// The state that a mutation is announced on.
    pub version: AtomicU64,
    /// Texts that were echoed.
    pub echoes: AtomicUsize,
    /// Deletions that were begun.
    pub deletions: watch::Sender<usize>,
    /// Whether deletions that were begun come to their end.
    pub open: watch::Sender<bool>,
    /// What the probe answers.
    pub report: Mutex<ProbeReport>,
    /// Times that the client was closed.
    pub closed: AtomicUsize,
    /// The way to a platform that is asked for a thing, if a test has one.
    pub upstream: Mutex<Option<Arc<Outbound>>>,
    /// The ways out.
    pub outbound: Mutex<Vec<OutboundState>>,
}

/// A platform that does what tests ask.
#[derive(Clone)]
pub struct FakePlatform {
    pub state: Arc<FakeState>,
}

impl Default for FakePlatform {
    fn default() -> Self {
        let report = ProbeReport {
            status: HealthStatus::Ok,
            reason: "Healthy".into(),
            message: "all is well".into(),
            passing: false,
            credentials: CredentialVerdict::Accepted,
            credentials_message: "accepted".into(),
            version: Some("1.2.3".into()),
            identity: Some("tester".into()),
            state: Some("active".into()),
            checks: vec![],
        };
        let state = FakeState {
            waiting: watch::Sender::new(0),
            dropped: watch::Sender::new(0),
            release: Notify::new(),
            version: AtomicU64::new(1),
            echoes: AtomicUsize::new(0),
            deletions: watch::Sender::new(0),
            open: watch::Sender::new(true),
            report: Mutex::new(report),
            closed: AtomicUsize::new(0),
            upstream: Mutex::default(),
            outbound: Mutex::default(),
        };
        Self { state: Arc::new(state) }
    }
}

struct Waiting(Arc<FakeState>, bool);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|count| *count -= 1);
        if !self.1 {
            self.0.dropped.send_modify(|count| *count += 1);
        }
    }
}

fn declaration(name: &'static str, effect: Effect) -> ToolDeclaration {
    let declare = match effect {
        Effect::Read => ToolDeclaration::read,
        Effect::Mutate => ToolDeclaration::mutate,
        Effect::Destroy => ToolDeclaration::destroy,
    };
    declare(name, "A tool", "Does what tests need.")
}

async fn ask_platform(state: &FakeState) {
    let upstream = state.upstream.lock().unwrap().clone();
    if let Some(upstream) = upstream {
        let request = outbound::Request::new(http::Method::GET, ["thing"]);
        upstream.send(&request, tokio::time::Instant::now() + Duration::from_secs(5)).await.unwrap();
    }
}

impl FakePlatform {
    pub fn entries(&self) -> Vec<ToolEntry> {
        let (state, before, after) = (self.state.clone(), self.state.clone(), self.state.clone());
        let (asked, echoed) = (self.state.clone(), self.state.clone());
        vec![
            ToolEntry::read(declaration("get_fake_thing", Effect::Read), move |input: ThingInput, _: CallContext| {
                let asked = asked.clone();
                async move {
                    let _unused = (input.limit, matches!(input.color, Some(Color::Red | Color::Blue)));
                    match input.name.as_str() {
                        "panic" => panic!("canary-panic"),
                        "missing" => {
                            Err(ToolError::new(crate::tools::ErrorCode::NotFound, "no thing \u{1b}[1mmissing"))
                        }
                        _ => {
                            ask_platform(&asked).await;
                            Ok(Thing { name: input.name })
                        }
                    }
                }
            }),
            ToolEntry::read(
                declaration("echo_fake_text", Effect::Read).cached(Duration::from_secs(30)),
                move |input: TextInput, _: CallContext| {
                    echoed.echoes.fetch_add(1, Ordering::SeqCst);
                    async move { Ok(TextOutput { text: input.text.repeat(input.times.unwrap_or(1)) }) }
                },
            ),
            ToolEntry::read(declaration("wait_fake_time", Effect::Read), move |_: NoInput, _: CallContext| {
                let state = state.clone();
                async move {
                    state.waiting.send_modify(|count| *count += 1);
                    let mut waiting = Waiting(state.clone(), false);
                    state.release.notified().await;
                    waiting.1 = true;
                    Ok(TextOutput { text: "waited".into() })
                }
            }),
            ToolEntry::mutation(
                declaration("delete_fake_thing", Effect::Destroy),
                move |input: ThingInput, _: CallContext| {
                    let version = before.version.load(Ordering::SeqCst);
                    async move {
                        let would = format!("delete {}", input.name);
                        Ok(Preview { would, state: json!({ "version": version }) })
                    }
                },
                move |input: ThingInput, _: CallContext| {
                    after.deletions.send_modify(|count| *count += 1);
                    let mut open = after.open.subscribe();
                    async move {
                        let _sender_lives = open.wait_for(|open| *open).await;
                        match input.name.as_str() {
                            "locked" => Err(ToolError::new(crate::tools::ErrorCode::Conflict, "it is locked")),
                            "broken" => Err(ToolError::new(crate::tools::ErrorCode::PlatformError, "it broke")),
                            _ => Ok(Deleted { deleted: Thing { name: input.name } }),
                        }
                    }
                },
            ),
            ToolEntry::read(
                declaration("reveal_fake_secret", Effect::Read).off_by_default().sensitive(),
                |_: NoInput, _: CallContext| async move { Ok(TextOutput { text: "canary-secret".into() }) },
            ),
        ]
    }
}

#[async_trait]
impl Platform for FakePlatform {
    fn tools(self: Arc<Self>) -> Vec<ToolEntry> {
        self.entries()
    }

    async fn probe(&self, _timeout: Duration) -> ProbeReport {
        self.state.report.lock().unwrap().clone()
    }

    fn instructions(&self) -> String {
        "Fake things.".into()
    }

    fn outbound(&self) -> Vec<OutboundState> {
        self.state.outbound.lock().unwrap().clone()
    }

    async fn close(&self) {
        self.state.closed.fetch_add(1, Ordering::SeqCst);
    }
}

// ===== keys and tokens =====

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

/// A key of the cluster.
pub struct TestKey {
    pub id: &'static str,
    pair: Pair,
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl TestKey {
    pub fn rsa(id: &'static str) -> Self {
        Self { id, pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()) }
    }

    pub fn ec(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { id, pair: Pair::Ec(pair) }
    }

    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
        }
    }

    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                json!({
                    "kty": "RSA",
                    "n": base64(public.modulus().big_endian_without_leading_zero()),
                    "e": base64(public.exponent().big_endian_without_leading_zero()),
                })
            }
            Pair::Ec(pair) => {
                let point: &[u8] = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..])})
            }
        };
        jwk["kid"] = self.id.into();
        jwk["alg"] = self.algorithm().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// A token with exactly this header and these claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let rng = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &rng, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&rng, message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", base64(&signature))
    }

    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm(), "kid": self.id})
    }

    /// A good token of a ServiceAccount.
    pub fn token(&self, namespace: &str, name: &str) -> String {
        self.sign(&self.header(), &claims(namespace, name))
    }
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Claims as the API server makes them.
pub fn claims(namespace: &str, name: &str) -> Value {
    json!({
        "iss": ISSUER,
        "aud": [AUDIENCE],
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "iat": now() - 10,
        "nbf": now() - 10,
        "exp": now() + 3_600,
        "jti": "1",
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": "1"}, "pod": {"name": "p"}},
    })
}

pub fn write_keys(directory: &Path, keys: &[&TestKey]) {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    let text = json!({"issuer": ISSUER, "keys": keys}).to_string();
    std::fs::write(directory.join("new"), text).unwrap();
    std::fs::rename(directory.join("new"), directory.join(TOKEN_KEYS_FILE)).unwrap();
}

// ===== server =====

pub fn tools_config() -> ToolsConfig {
    ToolsConfig {
        mutations: Mutations::Confirm,
        allow: vec![NamePattern("*".into())],
        deny: vec![],
        prefix: String::new(),
    }
}

pub fn rule(namespace: &str, account: &str, tools: &[&str], mutations: bool) -> AccessRule {
    AccessRule {
        namespace: namespace.into(),
        service_account: account.into(),
        tools: Some(tools.iter().map(|tool| NamePattern((*tool).to_owned())).collect()),
        mutations: Some(mutations),
    }
}

pub fn config() -> ServeConfig {
    ServeConfig {
        connector: ConnectorIdentity { namespace: "agents".into(), name: "fake".into(), uid: "uid-1".into() },
        platform: PlatformSpec::default(),
        tools: tools_config(),
        access: AccessConfig {
            anonymous: false,
            allow: vec![rule("agents", "*", &["*"], true), rule("agents", "narrow", &["get_*"], false)],
            audiences: vec![AUDIENCE.into()],
        },
        hosts: vec!["mcp-fake".into(), "mcp-fake.agents.svc".into()],
        operator: OperatorIdentity { namespace: "mcp-system".into(), service_account: "operator".into() },
        probe: ProbeConfig {
            interval: ApiDuration::from_secs(30),
            timeout: ApiDuration::from_secs(10),
            failure_threshold: 1,
        },
        limits: LimitsConfig {
            call_timeout: ApiDuration::from_secs(30),
            max_concurrent_calls: 4,
            max_result_bytes: 4_096,
            calls: CallRateConfig { per_minute: 60_000, burst: 1_000 },
            tools: vec![],
            shared: None,
            repeats: RepeatsConfig { enabled: false, ..RepeatsConfig::default() },
            cache: CacheConfig::default(),
            platform: PlatformLimitsConfig::default(),
        },
        proxy: None,
        telemetry: TelemetryConfig::default(),
        agent: None,
        fields: Layout::default(),
        identity: None,
    }
}

/// What is written, kept.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Each line as JSON.
    pub fn values(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.text().lines().map(parse).collect()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A cache for those who need one and don't ask it.
pub fn no_cache() -> Arc<AnswerCache> {
    let credentials = CredentialsHandle::new(watch::channel(None).1, watch::channel(0).0);
    Arc::new(AnswerCache::new(CacheConfig::default(), credentials))
}

/// How a replica does that has not begun yet.
pub fn starting() -> ReplicaState {
    let state = CredentialsState {
        reason: "NoFields".into(),
        message: String::new(),
        mounted_revision: None,
        loaded_revision: None,
        supply: None,
    };
    let config = config();
    ReplicaState {
        platform: Arc::new(FakePlatform::default()),
        credentials: watch::channel(state).1,
        findings: watch::channel(None).1,
        metrics: Arc::new(Metrics::new()),
        audit: Audit::start(
            &config.connector,
            "fake",
            &config.telemetry.audit,
            "/nonexistent".into(),
            Box::new(std::io::sink()),
        ),
        exports: None,
        cache: no_cache(),
        mutations: Arc::default(),
        shared_rates: None,
    }
}

/// A server that listens on loopback.
pub struct TestServer {
    pub mcp: SocketAddr,
    pub admin: SocketAddr,
    pub platform: FakePlatform,
    pub key: TestKey,
    pub directory: tempfile::TempDir,
    pub audit: Arc<Audit>,
    pub audit_lines: Lines,
    /// How often the credential files were to be read again.
    pub rereads: watch::Receiver<u64>,
    pub stop: Stop,
    pub ended: tokio::task::JoinHandle<Result<(), ServeError>>,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::start_with(config(), |_| {}).await
    }

    pub async fn start_with(config: ServeConfig, change: impl FnOnce(&mut ServeSettings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = TestKey::ec("first");
        write_keys(directory.path(), &[&key]);
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut settings = ServeSettings {
            config_directory: directory.path().to_owned(),
            credentials_directory: directory.path().to_owned(),
            mcp_address: loopback,
            admin_address: loopback,
            address_policy: AddressPolicy::Loopback,
            drain_delay: Duration::ZERO,
            ..ServeSettings::default()
        };
        change(&mut settings);
        let platform = FakePlatform::default();
        let (sets, current) = watch::channel(None);
        let (reread, rereads) = watch::channel(0);
        let (state, credentials_state) = watch::channel(CredentialsState {
            reason: "Loaded".into(),
            message: String::new(),
            mounted_revision: Some("00000001".into()),
            loaded_revision: Some("00000001".into()),
            supply: None,
        });
        let audit_lines = Lines::default();
        let audit = Audit::start(
            &config.connector,
            "fake",
            &config.telemetry.audit,
            directory.path().to_owned(),
            Box::new(audit_lines.clone()),
        );
        let parts = Parts {
            outbound: Arc::default(),
            audit: audit.clone(),
            exports: None,
            shared_rates: None,
            name: "fake",
            platform: Arc::new(platform.clone()),
            credentials: CredentialsHandle::new(current, reread),
            credentials_state,
            background: CancellationToken::new(),
        };
        let loaded = LoadedConfig { config, digest: "digest-1".into(), platform_ca: None };
        let instance = Instance::start(&settings, &loaded, parts).await.unwrap();
        let (mcp, admin) = (instance.mcp_address(), instance.admin_address());
        let stop = Stop::default();
        let ended = tokio::spawn({
            let stop = stop.clone();
            async move {
                let _kept = (sets, state);
                instance.serve(stop).await
            }
        });
        Self { mcp, admin, platform, key, directory, audit, audit_lines, rereads, stop, ended }
    }

    /// The audit records so far.
    pub fn records(&self) -> Vec<Value> {
        self.audit.finish();
        self.audit_lines.values()
    }

    /// A token of a ServiceAccount that may use everything.
    pub fn token(&self) -> String {
        self.key.token("agents", "triage")
    }

    /// The operator's token.
    pub fn operator_token(&self) -> String {
        let mut claims = claims("mcp-system", "operator");
        claims["aud"] = json!([super::config::OPERATOR_AUDIENCE]);
        self.key.sign(&self.key.header(), &claims)
    }

    /// Sends a message of the newest revision with the headers and metadata that belong to it.
    pub async fn modern(&self, token: &str, method: &str, params: Value) -> Reply {
        send(self.mcp, &modern_request(token, method, params)).await
    }

    /// Calls a tool.
    pub async fn call(&self, token: &str, tool: &str, arguments: Value) -> Value {
        let reply = self.modern(token, "tools/call", json!({"name": tool, "arguments": arguments})).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }

    /// Gets a path of the admin port.
    pub async fn admin(&self, path: &str, token: Option<&str>) -> Reply {
        self.ask_admin("GET", path, token).await
    }

    /// Asks something of the admin port.
    pub async fn ask_admin(&self, method: &str, path: &str, token: Option<&str>) -> Reply {
        let mut request = request(method, path, "localhost");
        if let Some(token) = token {
            request.headers.push(("Authorization".into(), format!("Bearer {token}")));
        }
        send(self.admin, &request).await
    }
}

// ===== client =====

#[derive(Clone)]
pub struct RawRequest {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RawRequest {
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            let _infallible = write!(text, "{name}: {value}\r\n");
        }
        let _infallible = write!(text, "Content-Length: {}\r\n\r\n", self.body.len());
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

pub fn request(method: &str, path: &str, host: &str) -> RawRequest {
    RawRequest {
        method: method.into(),
        path: path.into(),
        headers: vec![("Host".into(), host.into()), ("Connection".into(), "close".into())],
        body: vec![],
    }
}

/// A POST of JSON to the endpoint.
pub fn post(token: &str, body: &Value) -> RawRequest {
    let mut request = request("POST", "/mcp", "mcp-fake.agents.svc:8080")
        .with("Content-Type", "application/json")
        .with("Accept", "application/json, text/event-stream")
        .with("Authorization", &format!("Bearer {token}"));
    request.body = body.to_string().into_bytes();
    request
}

pub fn modern_request(token: &str, method: &str, mut params: Value) -> RawRequest {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    });
    let name = params["name"].as_str().map(str::to_owned);
    let request = post(token, &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        .with("MCP-Protocol-Version", "2026-07-28")
        .with("Mcp-Method", method);
    match name {
        Some(name) => request.with("Mcp-Name", &name),
        None => request,
    }
}

pub fn legacy_request(token: &str, version: &str, method: &str, params: &Value) -> RawRequest {
    post(token, &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        .with("MCP-Protocol-Version", version)
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub async fn send(address: SocketAddr, request: &RawRequest) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request.bytes()).await.unwrap();
    receive(&mut stream).await
}

pub async fn receive(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_mins(1), stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Reply { status, headers, body: body.to_owned() }
}
