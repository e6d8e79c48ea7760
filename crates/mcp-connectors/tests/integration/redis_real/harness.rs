//! A Redis, and servers that count in it as replicas would.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use api::endpoint::AddressPolicy;
use pod_api::config::{ConnectorIdentity, SharedRateConfig};
use serde_json::{Value, json};
use server::guards::shared_rate::SharedRates;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::served::{Served, serve};

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
    /// On a free port. Another program may take it before Redis does: then on another one.
    pub(crate) fn start(words: &[&str]) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut tries = (0..5).map(|_| Self::start_at(free(), words));
        tries.find_map(|mut redis| redis.listens().then_some(redis)).expect("Redis listens on one of five ports")
    }

    /// Waits until it listens; false if it ended instead.
    fn listens(&mut self) -> bool {
        while self.child.try_wait().unwrap().is_none() {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                // Whoever has the port: where it is another program, Redis ends at once.
                std::thread::sleep(Duration::from_millis(100));
                return self.child.try_wait().unwrap().is_none();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
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
    served: Served,
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
        let limits = json!({
            "callTimeout": "30s",
            "maxConcurrentCalls": 8,
            "maxResultBytes": 65536,
            "calls": { "perMinute": 1, "burst": burst },
            "shared": config(redis.port, false),
        });
        let platform = json!({ "vault": { "url": "http://127.0.0.1:1", "insecureHttp": true } });
        let served = serve(&platform, &limits, &[], "1h").await;
        Self { rates: served.rates.clone().unwrap(), served }
    }

    /// Calls a tool.
    pub(crate) async fn call(&self) -> Reply {
        let (error, _, headers) = self.served.call("check_vault_connector").await;
        let number = |name: &str| headers.get(name)?.to_str().ok()?.parse().ok();
        Reply { error, remaining: number("x-ratelimit-remaining"), retry_after: number("retry-after") }
    }

    /// What it shows at `/metrics`.
    pub(crate) async fn metrics(&self) -> String {
        self.served.shown("/metrics").await
    }
}
