//! A server on loopback, and its configuration.

use super::*;

pub fn tools_config() -> ToolsConfig {
    ToolsConfig {
        mutations: Mutations::Confirm,
        allow: vec![NamePattern("*".into())],
        deny: vec![],
        prefix: String::new(),
        output_schemas: OutputSchemas::Publish,
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
    starting_with(std::io::sink())
}

/// The same, with audit records that are written there.
pub fn starting_with(records: impl std::io::Write + Send + 'static) -> ReplicaState {
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
            Box::new(records),
        ),
        exports: None,
        cache: no_cache(),
        recent_mutations: RecentMutations::default(),
        shared_rates: None,
    }
}

/// A call of `get_fake_thing` that has ended, after 20 ms.
pub fn ended_call<'a>(state: &ReplicaState, outcome: &'a Outcome, notes: &'a Notes) -> EndedCall<'a> {
    let name = "get_fake_thing";
    EndedCall {
        caller: &Caller::Anonymous,
        name,
        offered: true,
        acts: false,
        operation: Operation::start("tools/call", "2025-11-25", Some(name), &RequestId::Number(1), None, true),
        record: state.audit.begin(&CallDescription {
            request_id: "r-1",
            caller: &Caller::Anonymous,
            peer: None,
            tool: name,
            effect: Some(Effect::Read),
            arguments: &serde_json::Map::new(),
            trace_id: "",
        }),
        outcome,
        words: Words::of(outcome),
        notes,
        duration: Duration::from_millis(20),
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
            audit_directory: directory.path().to_owned(),
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
        let upstream = Upstream {
            name: "fake",
            platform: Arc::new(platform.clone()),
            requests: Arc::default(),
            credentials: CredentialsHandle::new(current, reread),
            credentials_state,
            background: CancellationToken::new(),
        };
        let loaded = LoadedConfig { config, digest: "digest-1".into(), platform_ca: None };
        let server = Server::build(&settings, &loaded, upstream, Box::new(audit_lines.clone()), None).unwrap();
        let audit = server.admin.state.audit.clone();
        let ports = Ports::bind(&settings).await.unwrap();
        let [mcp, admin] = [&ports.mcp, &ports.admin].map(|port| port.local_addr().unwrap());
        let stop = Stop::default();
        let ended = tokio::spawn({
            let stop = stop.clone();
            async move {
                let _kept = (sets, state);
                server.serve(ports, stop).await
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
        let ConnectorIdentity { namespace, name, .. } = config().connector;
        claims["aud"] = json!([operator_audience(&namespace, &name), OPERATOR_AUDIENCE]);
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
