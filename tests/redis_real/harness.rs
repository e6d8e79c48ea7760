//! A Redis, and servers that count in it as replicas would.

use std::{
    io::sink,
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use mcp_connectors::{
    api::endpoint::AddressPolicy,
    credentials::directory::Source,
    server::{
        Instance, LoadedConfig, Parts, ServeSettings, Stop,
        config::{ConnectorIdentity, SharedRateConfig},
        guards::shared_rate::SharedRates,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

/// A server of its own, which ends with the test.
pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Redis {
    pub(crate) fn start(words: &[&str]) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(), words)
    }

    pub(crate) fn start_at(port: u16, words: &[&str]) -> Self {
        let binary = std::env::var("REDIS_BIN").unwrap_or_else(|_| {
            panic!("REDIS_BIN is not set. Install Debian's package redis-server, and set it to /usr/bin/redis-server")
        });
        let child = Command::new(&binary)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("REDIS_BIN={binary} can't be run: {error}"));
        Self { child, port }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The answer to a command, without the character of its kind.
    pub(crate) async fn ask(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(format!("{}\r\nQUIT\r\n", words.join(" ")).as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text.lines().next().unwrap()[1..].to_owned()
    }
}

/// Waits until it is as it should be.
pub(crate) async fn until(expected: &str, look: impl Fn() -> String) {
    let reached = async {
        while look() != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), reached).await;
    assert!(waited.is_ok(), "{expected} was expected; it is {}", look());
}

fn config(port: u16, credentials: bool) -> SharedRateConfig {
    SharedRateConfig { host: "127.0.0.1".into(), port, tls: false, ca_pem: None, credentials }
}

/// A count alone, and the directory of its credentials.
pub(crate) fn rates(port: u16, credentials: Option<&Value>) -> (Arc<SharedRates>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    for (name, value) in credentials.and_then(Value::as_object).into_iter().flatten() {
        std::fs::write(directory.path().join(name), value.as_str().unwrap()).unwrap();
    }
    let identity = ConnectorIdentity { namespace: "team".into(), name: "shared".into(), uid: "uid-1".into() };
    let config = config(port, credentials.is_some());
    let rates = SharedRates::new(&identity, &config, directory.path().to_owned(), AddressPolicy::Loopback).unwrap();
    let rates = Arc::new(rates);
    tokio::spawn(rates.clone().keep(CancellationToken::new()));
    (rates, directory)
}

/// A whole server, as one of several replicas.
pub(crate) struct Replica {
    pub(crate) rates: Arc<SharedRates>,
    mcp: u16,
    admin: u16,
    _directory: tempfile::TempDir,
}

/// What a caller sees of a call.
pub(crate) struct Reply {
    /// The error's code.
    pub(crate) error: Option<String>,
    pub(crate) remaining: Option<u64>,
    pub(crate) retry_after: Option<u64>,
}

impl Replica {
    /// A replica whose callers may make `burst` calls, and one a minute after that. Its platform is nowhere.
    pub(crate) async fn start(redis: &Redis, burst: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = json!({
            "connector": { "namespace": "team", "name": "shared", "uid": "uid-1" },
            "platform": { "vault": { "url": "http://127.0.0.1:1", "insecureHttp": true } },
            "tools": { "mutations": "ReadOnly", "allow": ["*"], "deny": [], "prefix": "" },
            "access": { "anonymous": true, "allow": [], "audiences": [] },
            "hosts": [],
            "operator": { "namespace": "system", "serviceAccount": "operator" },
            "probe": { "interval": "1h", "timeout": "1s", "failureThreshold": 1 },
            "limits": {
                "callTimeout": "30s",
                "maxConcurrentCalls": 8,
                "maxResultBytes": 65536,
                "calls": { "perMinute": 1, "burst": burst },
                "shared": config(redis.port, false),
            },
        });
        let loaded = LoadedConfig::parse("config.json", &text.to_string(), None).unwrap();
        let loopback = ([127, 0, 0, 1], 0).into();
        let settings = ServeSettings {
            config_directory: directory.path().to_owned(),
            mcp_address: loopback,
            admin_address: loopback,
            address_policy: AddressPolicy::Loopback,
            ..ServeSettings::default()
        };
        let source = Source::Directory(directory.path().to_owned());
        let parts = Parts::connect(&settings, &loaded, source, Box::new(sink()), None).unwrap();
        let rates = parts.shared_rates.clone().unwrap();
        let instance = Instance::start(&settings, &loaded, parts).await.unwrap();
        let (mcp, admin) = (instance.mcp_address().port(), instance.admin_address().port());
        tokio::spawn(instance.serve(Stop::default()));
        Self { rates, mcp, admin, _directory: directory }
    }

    /// Calls a tool.
    pub(crate) async fn call(&self) -> Reply {
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": "health_check", "arguments": {} },
        });
        let response = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .post(format!("http://127.0.0.1:{}/mcp", self.mcp))
            .header("Accept", "application/json, text/event-stream")
            .header("MCP-Protocol-Version", "2025-11-25")
            .json(&body)
            .send()
            .await
            .unwrap();
        let number = |name: &str| response.headers().get(name)?.to_str().ok()?.parse().ok();
        let (remaining, retry_after) = (number("x-ratelimit-remaining"), number("retry-after"));
        let answer: Value = response.json().await.unwrap();
        let error = answer["result"]["_meta"]["mcp-connectors.io/error"]["code"].as_str().map(str::to_owned);
        Reply { error, remaining, retry_after }
    }

    /// What it shows at `/metrics`.
    pub(crate) async fn metrics(&self) -> String {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(format!("http://127.0.0.1:{}/metrics", self.admin)).send().await.unwrap().text().await.unwrap()
    }
}
