//! A connector that is served in the process of a test, with nothing behind it but what the test says.

use std::{collections::BTreeSet, io::sink, sync::Arc};

use api::endpoint::AddressPolicy;
use credentials::directory::Source;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use server::{
    LoadedConfig, Ports, ServeSettings, Server, Stop, Upstream, access::Caller, guards::shared_rate::SharedRates,
};
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

/// Serves a connector as on a machine of whoever calls it, to read: to this platform, with these limits and files of credentials, probed
/// at this interval.
#[allow(dead_code, reason = "not every test only reads")]
pub async fn serve(platform: &Value, limits: &Value, files: &[(&str, &str)], interval: &str) -> Served {
    let tools = json!({ "mutations": "ReadOnly", "allow": ["*"], "deny": [], "prefix": "" });
    serve_tools(platform, &tools, limits, files, interval).await
}

/// As [`serve`], with these tools.
pub async fn serve_tools(
    platform: &Value,
    tools: &Value,
    limits: &Value,
    files: &[(&str, &str)],
    interval: &str,
) -> Served {
    let directory = tempfile::tempdir().unwrap();
    for (name, value) in files {
        std::fs::write(directory.path().join(name), value).unwrap();
    }
    let text = json!({
        "connector": { "namespace": "team", "name": "served", "uid": "uid-1" },
        "platform": platform,
        "tools": tools,
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
        // Of everyone, nobody would be named who may change something.
        unproven: Caller::Local,
        ..ServeSettings::default()
    };
    let source = Source::Directory(directory.path().to_owned());
    let upstream = Upstream::connect(platforms::connect, &settings, &loaded, source).unwrap();
    let server = Server::build(&settings, &loaded, upstream, Box::new(sink()), None).unwrap();
    let rates = server.admin.state.shared_rates.clone();
    let ports = Ports::bind(&settings).await.unwrap();
    let [mcp, admin] = [&ports.mcp, &ports.admin].map(|port| port.local_addr().unwrap().port());
    tokio::spawn(server.serve(ports, Stop::default()));
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
    #[allow(dead_code, reason = "not every test calls without arguments")]
    pub async fn answer(&self, tool: &str) -> (HeaderMap, String) {
        self.ask("tools/call", &json!({ "name": tool, "arguments": {} })).await
    }

    /// Calls a tool. The result.
    #[allow(dead_code, reason = "not every test has arguments")]
    pub async fn call_with(&self, tool: &str, arguments: &Value) -> Value {
        let (_, text) = self.ask("tools/call", &json!({ "name": tool, "arguments": arguments })).await;
        serde_json::from_str::<Value>(&text).unwrap()["result"].take()
    }

    /// The names of the tools that are offered.
    #[allow(dead_code, reason = "not every test looks at them")]
    pub async fn tools(&self) -> BTreeSet<String> {
        let tools = self.list().await;
        tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().into()).collect()
    }

    /// The tools that are offered, as they are listed.
    #[allow(dead_code, reason = "not every test looks at them")]
    pub async fn list(&self) -> Value {
        let (_, text) = self.ask("tools/list", &json!({})).await;
        serde_json::from_str::<Value>(&text).unwrap()["result"]["tools"].take()
    }

    async fn ask(&self, method: &str, params: &Value) -> (HeaderMap, String) {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
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
    #[allow(dead_code, reason = "not every test looks at it")]
    pub async fn shown(&self, path: &str) -> String {
        self.client.get(format!("http://127.0.0.1:{}{path}", self.admin)).send().await.unwrap().text().await.unwrap()
    }
}
