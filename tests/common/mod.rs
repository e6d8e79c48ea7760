//! A connector that is served in the process of a test, with nothing behind it but what the test says.

use std::{io::sink, sync::Arc};

use mcp_connectors::{
    api::endpoint::AddressPolicy,
    credentials::directory::Source,
    server::{Instance, LoadedConfig, Parts, ServeSettings, Stop, guards::shared_rate::SharedRates},
};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A connector that serves until the test ends.
pub struct Served {
    mcp: u16,
    admin: u16,
    client: reqwest::Client,
    /// The count that it shares with others, if it does.
    #[allow(dead_code, reason = "not every test has others")]
    pub rates: Option<Arc<SharedRates>>,
    directory: TempDir,
}

/// Serves a connector that everyone may call: to this platform, with these limits and files of credentials, probed at this
/// interval.
pub async fn serve(platform: &Value, limits: &Value, files: &[(&str, &str)], interval: &str) -> Served {
    let directory = tempfile::tempdir().unwrap();
    for (name, value) in files {
        std::fs::write(directory.path().join(name), value).unwrap();
    }
    let text = json!({
        "connector": { "namespace": "team", "name": "served", "uid": "uid-1" },
        "platform": platform,
        "tools": { "mutations": "ReadOnly", "allow": ["*"], "deny": [], "prefix": "" },
        "access": { "anonymous": true, "allow": [], "audiences": [] },
        "hosts": [],
        "operator": { "namespace": "system", "serviceAccount": "operator" },
        "probe": { "interval": interval, "timeout": "1s", "failureThreshold": 1 },
        "limits": limits,
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
    let rates = parts.shared_rates.clone();
    let instance = Instance::start(&settings, &loaded, parts).await.unwrap();
    let (mcp, admin) = (instance.mcp_address().port(), instance.admin_address().port());
    tokio::spawn(instance.serve(Stop::default()));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Served { mcp, admin, client, rates, directory }
}

impl Served {
    /// Calls a tool without arguments. The error's code and when to come back, as the answer holds them, and the answer's
    /// headers.
    #[allow(dead_code, reason = "not every test looks at one tool only")]
    pub async fn call(&self, tool: &str) -> (Option<String>, Option<u64>, HeaderMap) {
        let (headers, text) = self.answer(tool).await;
        assert!(!text.contains("canary"), "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        let error = &answer["result"]["_meta"]["mcp-connectors.io/error"];
        (error["code"].as_str().map(str::to_owned), error["retry_after_seconds"].as_u64(), headers)
    }

    /// Calls a tool without arguments. The answer as it came.
    pub async fn answer(&self, tool: &str) -> (HeaderMap, String) {
        let params = json!({ "name": tool, "arguments": {} });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let response = self
            .client
            .post(format!("http://127.0.0.1:{}/mcp", self.mcp))
            .header("Accept", "application/json, text/event-stream")
            .header("MCP-Protocol-Version", "2025-11-25")
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        (headers, response.text().await.unwrap())
    }

    /// Replaces files of credentials.
    #[allow(dead_code, reason = "not every test rotates")]
    pub fn write(&self, files: &[(&str, &str)]) {
        for (name, value) in files {
            std::fs::write(self.directory.path().join(name), value).unwrap();
        }
    }

    /// What it shows of itself at a path of the admin port.
    pub async fn shown(&self, path: &str) -> String {
        self.client.get(format!("http://127.0.0.1:{}{path}", self.admin)).send().await.unwrap().text().await.unwrap()
    }
}
