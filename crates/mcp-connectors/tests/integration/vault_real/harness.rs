//! A Vault in dev mode, and a connector to it as the server would hold it.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use api::{endpoint::AddressPolicy, platform::PlatformSpec};
use credentials::{CredentialSet, CredentialsHandle};
use kit::{Platform, PlatformEnvironment, ProbeReport};
use outbound::OutboundLimits;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};
use tools::{Behavior, CallContext, Preview, ToolEntry, ToolError};

pub(crate) const ROOT: &str = "planted-root-token";
pub(crate) const PLANTED: &str = "planted-value";
pub(crate) const IGNORED: &str = "needs a Vault binary in VAULT_BIN; make test runs it";

/// A Vault in dev mode of its own, which ends with the test.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its plugins are of its group, and would outlive it.
        let group = format!("-{}", self.child.id());
        let _ended = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _reaped = self.child.wait();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With the programs in the folder that `VAULT_PLUGINS` names as plugins.
    pub(crate) async fn start_with_plugins() -> Self {
        let folder = std::env::var("VAULT_PLUGINS").unwrap_or_else(|_| {
            panic!(
                "VAULT_PLUGINS is not set. Set it to the folder that `e2e/cluster/cluster build --only \
                 vault-plugin-auth-kubernetes` prints, or let `make test` do it"
            )
        });
        Self::start_with(&[format!("-dev-plugin-dir={folder}")]).await
    }

    async fn start_with(arguments: &[String]) -> Self {
        let binary = std::env::var("VAULT_BIN").unwrap_or_else(|_| {
            panic!(
                "VAULT_BIN is not set. Get Vault 1.21 from https://releases.hashicorp.com/vault/ (or let `make test` \
                 do it), and set VAULT_BIN to the path of the binary. {IGNORED}"
            )
        });
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(&binary)
            .args(["server", "-dev", "-dev-no-store-token", &format!("-dev-root-token-id={ROOT}")])
            .arg(format!("-dev-listen-address={address}"))
            .args(arguments)
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("VAULT_BIN={binary} can't be run: {error}"));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let server = Self { child, url: format!("http://{address}"), http };
        for _ in 0..150 {
            // The mount `secret` is made after the server has begun to answer.
            if server
                .try_admin("GET", "sys/internal/ui/mounts/secret", Value::Null)
                .await
                .is_some_and(|(s, _)| s == 200)
            {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("Vault does not answer at {address}");
    }

    pub(crate) async fn try_admin(&self, method: &str, path: &str, body: Value) -> Option<(u16, Value)> {
        let mut request =
            self.http.request(method.parse().unwrap(), format!("{}/v1/{path}", self.url)).header("X-Vault-Token", ROOT);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.unwrap_or_default()))
    }

    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.try_admin(method, path, body).await.unwrap();
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    pub(crate) async fn policy(&self, name: &str, rules: &str) {
        self.admin("PUT", &format!("sys/policies/acl/{name}"), json!({ "policy": rules })).await;
    }

    pub(crate) async fn token(&self, policies: &[&str], more: Value) -> String {
        let mut body = json!({ "policies": policies, "ttl": "1h" });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let answer = self.admin("POST", "auth/token/create", body).await;
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }
}

/// A connector, with the end at which a test puts credentials.
pub(crate) struct Connector {
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) tools: BTreeMap<&'static str, ToolEntry>,
    pub(crate) credentials: watch::Sender<Option<Arc<CredentialSet>>>,
    pub(crate) reread: watch::Receiver<u64>,
    pub(crate) generation: u64,
    pub(crate) known: Vec<String>,
}

impl Connector {
    pub(crate) fn new(server: &Server, token: Option<&str>, spec: &Value) -> Self {
        let mut vault = json!({ "url": server.url, "insecureHttp": true });
        vault.as_object_mut().unwrap().extend(spec.as_object().cloned().unwrap_or_default());
        let spec: PlatformSpec = serde_json::from_value(json!({ "vault": vault })).unwrap();
        let (credentials, current) = watch::channel(None);
        let (asked, reread) = watch::channel(0);
        let environment = PlatformEnvironment {
            credentials: CredentialsHandle::new(current, asked),
            identity: None,
            ca_pem: None,
            addresses: AddressPolicy::Loopback,
            proxy: None,
            limits: OutboundLimits::default(),
            metrics: Arc::default(),
        };
        let platform = platforms::connect(&spec, environment).unwrap();
        let tools = Arc::clone(&platform).tools().into_iter().map(|tool| (tool.declaration.name, tool)).collect();
        let mut connector = Self { platform, tools, credentials, reread, generation: 0, known: vec![ROOT.to_owned()] };
        if let Some(token) = token {
            connector.mount(&[("token", token)]);
        }
        connector
    }

    pub(crate) fn mount(&mut self, fields: &[(&str, &str)]) {
        self.generation += 1;
        self.known.extend(fields.iter().map(|(_, value)| (*value).to_owned()));
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned().into())).collect();
        self.credentials.send_replace(Some(Arc::new(CredentialSet::new(self.generation, fields))));
    }

    pub(crate) fn context() -> CallContext {
        CallContext::new(Instant::now() + Duration::from_secs(10), 256 * 1024)
    }

    /// No token may be in anything that comes out.
    pub(crate) fn scan(&self, text: &str) {
        for secret in &self.known {
            assert!(!text.contains(secret.as_str()), "a token came out: {text}");
        }
    }

    pub(crate) async fn call(&self, name: &str, arguments: Value) -> Result<Value, ToolError> {
        let run = match &self.tools[name].behavior {
            Behavior::Read(run) => run,
            Behavior::Mutation { act, .. } => act,
        };
        let outcome = run(arguments, Self::context()).await;
        self.scan(&format!("{outcome:?}"));
        outcome
    }

    pub(crate) async fn ok(&self, name: &str, arguments: Value) -> Value {
        let answer = self.call(name, arguments).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let schema = Value::Object((*self.tools[name].output_schema).clone());
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(validator.is_valid(&answer), "{name}: {answer} against {schema}");
        answer
    }

    pub(crate) async fn fails(&self, name: &str, arguments: Value) -> ToolError {
        match self.call(name, arguments).await {
            Ok(answer) => panic!("{name} answered {answer}"),
            Err(error) => error,
        }
    }

    pub(crate) async fn preview(&self, name: &str, arguments: Value) -> Preview {
        let Behavior::Mutation { preview, .. } = &self.tools[name].behavior else { panic!("{name}") };
        let preview = preview(arguments, Self::context()).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(!format!("{preview:?}").contains(PLANTED), "{preview:?}");
        preview
    }

    pub(crate) async fn probe(&self) -> ProbeReport {
        let report = self.platform.probe(Duration::from_secs(5)).await;
        self.scan(&format!("{report:?}"));
        report
    }
}
