//! Keeps dashboards and alerts true: every metric that they name is one that the programs have, and every label that
//! metrics have takes few values.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use api::endpoint::{AddressPolicy, PlatformUrl};
use async_trait::async_trait;
use credentials::{
    CredentialsState,
    supply::{Supply, SupplyState},
};
use kit::{Platform, ProbeReport};
use kube::runtime::reflector;
use operator::{
    health::WatchHealth,
    metrics as operator_metrics,
    rollout::{Limits, Rollout, Share},
};
use outbound::{
    BreakerPosition, BreakerState, BulkheadState, Outbound, OutboundLimits, OutboundMetrics, OutboundSettings,
    OutboundState, PaceState, Purpose, Request, classify_by_status,
};
use pod_api::config::{AuditConfig, ConnectorIdentity, SharedRateConfig};
use prometheus_client::encoding::text::encode;
use server::{
    audit::Audit,
    guards::shared_rate::SharedRates,
    metrics::{Metrics, OperationLabels},
};
use telemetry::ExportCounts;
use tokio::sync::watch;
use tools::ToolEntry;

/// What the names of metrics begin with, and nothing else in a query.
const PREFIXES: [&str; 8] =
    ["mcp_", "connector_", "mcpconnector_", "controller_runtime_", "watch_", "leader_election_", "process_", "up"];

struct Nothing;

#[async_trait]
impl Platform for Nothing {
    fn tools(self: Arc<Self>) -> Vec<ToolEntry> {
        Vec::new()
    }

    async fn probe(&self, _timeout: Duration) -> ProbeReport {
        std::future::pending().await
    }

    fn check_tool(&self) -> &'static str {
        "check_fake_connector"
    }

    fn instructions(&self) -> String {
        String::new()
    }

    fn outbound(&self) -> Vec<OutboundState> {
        vec![OutboundState {
            name: "fake".into(),
            bulkhead: BulkheadState { running: 0, queued: 0, max_running: 1, max_queued: 0 },
            breaker: BreakerState {
                state: BreakerPosition::Closed,
                consecutive_failures: 0,
                retry_after_seconds: None,
            },
            pace: PaceState::default(),
        }]
    }

    fn credentials_expiry(&self) -> Option<jiff::Timestamp> {
        Some(jiff::Timestamp::UNIX_EPOCH)
    }
}

/// Counts of a request that finds nobody, and is tried again.
async fn outbound_metrics() -> Arc<OutboundMetrics> {
    let metrics = Arc::new(OutboundMetrics::default());
    let addresses = AddressPolicy::Loopback;
    let settings = OutboundSettings {
        endpoint: PlatformUrl("http://127.0.0.1:1".into()).endpoint(true, addresses).unwrap(),
        ca_pem: None,
        addresses,
        proxy: None,
        name: "fake",
        classify: classify_by_status,
        client_certificate: None,
        limits: OutboundLimits::default(),
        metrics: Arc::clone(&metrics),
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    Outbound::new(settings)
        .unwrap()
        .send(&Request::new(Purpose::Look, http::Method::GET, ["x"]), deadline)
        .await
        .unwrap_err();
    metrics
}

/// What `serve` answers at `/metrics` when everything has happened once.
async fn server_text() -> String {
    let outbound = outbound_metrics().await;
    let identity = ConnectorIdentity { namespace: "a".into(), name: "b".into(), uid: "c".into() };
    let sink = Box::new(std::io::sink());
    let audit = Audit::start(&identity, "fake", &AuditConfig::default(), "/nonexistent".into(), sink);
    let metrics = Metrics::new().asking(Arc::new(Nothing), &outbound, audit, Some(Arc::new(ExportCounts::default())));
    for status in ["success", "error", "exception"] {
        metrics.called("get_fake_thing", status, Duration::ZERO, 1, None);
    }
    metrics.operated(
        &OperationLabels {
            mcp_method_name: "tools/call",
            gen_ai_tool_name: "get_fake_thing".into(),
            error_type: "",
            network_transport: "tcp",
            mcp_protocol_version: "other",
        },
        Duration::ZERO,
    );
    metrics.probed("fake", "Healthy", Duration::ZERO);
    metrics.refused_token("expired");
    metrics.refused("authorization");
    metrics.rate_limited();
    metrics.cache_looked_up(true);
    metrics.loop_warned();
    metrics.redacted(1);
    metrics.replayed();
    metrics.credentials_loaded(SystemTime::now());
    let credentials = CredentialsState {
        reason: "Loaded".into(),
        message: String::new(),
        mounted_revision: None,
        loaded_revision: None,
        supply: Some(Supply {
            state: SupplyState::Serving,
            reason: "Loaded".into(),
            message: String::new(),
            since: jiff::Timestamp::UNIX_EPOCH,
            fetched: Some(jiff::Timestamp::UNIX_EPOCH),
            expires: Some(jiff::Timestamp::UNIX_EPOCH),
            rotations: 0,
            renewals: 0,
            failures: 0,
            next_attempt: None,
        }),
    };
    let shared = SharedRateConfig { host: "x".into(), port: 1, tls: false, ca_pem: None, credentials: false };
    let rates = SharedRates::new(&identity, &shared, "/nonexistent".into(), AddressPolicy::Loopback).unwrap();
    let metrics = metrics.supplied(watch::channel(credentials.clone()).1).counting(Some(Arc::new(rates)));
    metrics.text(&credentials, 0, true)
}

/// The same of `operator`.
fn operator_text() -> String {
    let (metrics, health) = (operator_metrics::Metrics::default(), WatchHealth::default());
    health.register("McpConnector", "mcpconnectors".into());
    health.moved("McpConnector", true);
    metrics.observe_reconcile("mcpconnector", Duration::ZERO, false);
    metrics.lead();
    let registry = metrics.registry(health, "mcp-connectors-operator");
    let (reader, _writer) = reflector::store();
    let one = Share::Count(1);
    let limits = Limits { max_concurrent: one, max_failures: one, ready_timeout: Duration::from_mins(2) };
    operator_metrics::register_leader(&registry, reader, Rollout::new(limits));
    let mut text = String::new();
    encode(&mut text, &registry.lock().unwrap()).unwrap();
    text
}

/// The names that a query may use, of a text in the OpenMetrics format.
fn names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let Some(declared) = line.strip_prefix("# TYPE ") else { continue };
        let (name, kind) = declared.split_once(' ').unwrap();
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "gauge" => &[""],
            other => panic!("{name} is a {other}"),
        };
        names.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
    }
    names
}

fn labels(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let line = line.split(" # ").next().unwrap();
        let Some((name, rest)) = line.split_once('{') else { continue };
        let set = rest.rsplit_once('}').unwrap().0;
        let keys = set.split("\",").filter_map(|pair| pair.split_once("=\"")).map(|(key, _)| key.to_owned());
        labels.entry(name.to_owned()).or_default().extend(keys);
    }
    labels
}

/// Words of a query that can only be metrics, without what stands in braces or quotes.
fn metrics_in(query: &str) -> BTreeSet<String> {
    let (mut plain, mut depth, mut by) = (String::new(), 0, false);
    for piece in query.split_inclusive(['{', '}', '(', ')']) {
        let text = piece.strip_suffix(['{', '}', '(', ')']).unwrap_or(piece);
        let end = &piece[text.len()..];
        if depth == 0 && !by {
            plain.push_str(text);
            plain.push(' ');
        }
        match end {
            "{" => depth += 1,
            "}" => depth -= 1,
            // Labels stand in the parentheses of `by` and `on`.
            "(" => by = text.trim_end().ends_with(" by") || text.trim_end().ends_with(" on"),
            _ => by = false,
        }
    }
    plain
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
        .map(str::to_owned)
        .collect()
}

fn strings_named<'a>(value: &'a serde_json::Value, keys: &[&str], into: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(text) if keys.contains(&key.as_str()) => into.push(text),
                    _ => strings_named(value, keys, into),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| strings_named(item, keys, into)),
        _ => {}
    }
}

#[tokio::test]
async fn queries_name_metrics_that_there_are() {
    let mut known: BTreeSet<String> = names(&server_text().await);
    known.extend(names(&operator_text()));
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join("config");
    let mut queries = 0;
    for file in ["grafana/connector.json", "grafana/operator.json", "prometheus/rules.yaml"] {
        let text = fs::read_to_string(config.join(file)).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let mut found = Vec::new();
        strings_named(&value, &["expr", "definition"], &mut found);
        for query in found {
            queries += 1;
            let used = metrics_in(query);
            assert!(!used.is_empty(), "{file}: no metric in {query}");
            for name in used {
                assert!(known.contains(&name), "{file}: there is no {name}, which stands in {query}");
            }
        }
    }
    assert!(queries > 50, "only {queries} queries were found");
}

#[test]
fn a_metric_that_is_not_there_is_found() {
    let query = "sum by (mcp_method_name) (rate(mcp_gone_total{connector_x=\"mcp_y\"}[5m])) and on (up) up";
    assert_eq!(metrics_in(query), ["mcp_gone_total", "up"].map(str::to_owned).into());
}

#[tokio::test]
async fn labels_are_those_that_are_bounded() {
    let allowed = [
        "by",
        "class",
        "controller",
        "error_type",
        "gen_ai_tool_name",
        "guard",
        "kind",
        "le",
        "mcp_method_name",
        "mcp_protocol_version",
        // The operator's own Lease.
        "name",
        "network_transport",
        "outcome",
        "platform",
        "reason",
        "result",
        "sink",
        "state",
        "status",
        "tool_name",
        "version",
    ];
    for (metric, keys) in labels(&server_text().await).into_iter().chain(labels(&operator_text())) {
        for key in keys {
            assert!(
                allowed.contains(&key.as_str()),
                "{metric} has the label {key}: is the number of its values bounded?"
            );
        }
    }
}
