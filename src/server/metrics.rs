//! What can be counted: calls, probes, credentials, refused tokens. No label takes a value from outside.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{api::Reason, credentials::CredentialsState};

/// Buckets of `mcp_tool_call_duration_seconds`.
const CALL_BUCKETS: [f64; 8] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];
/// Buckets of `mcp_server_operation_duration_seconds`, which the semantic conventions name.
const OPERATION_BUCKETS: [f64; 14] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Label value of tools that don't exist.
pub const UNKNOWN_TOOL: &str = "unknown";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    tool_name: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabels {
    tool_name: String,
}

/// What an operation of the protocol was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OperationLabels {
    /// Such as `tools/call`.
    pub mcp_method_name: &'static str,
    /// The tool, or empty.
    pub gen_ai_tool_name: String,
    /// `tool_error`, a JSON-RPC code, or empty.
    pub error_type: &'static str,
    /// Always `tcp`: it is HTTP.
    pub network_transport: &'static str,
    /// One of the revisions served, or `other`.
    pub mcp_protocol_version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeLabels {
    platform: &'static str,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlatformLabels {
    platform: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metrics of `serve`.
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    call_durations: Histograms<ToolLabels>,
    operations: Histograms<OperationLabels>,
    probes: Family<ProbeLabels, Counter>,
    probe_durations: Histograms<PlatformLabels>,
    auth_failures: Family<ReasonLabels, Counter>,
    credentials: Family<ReasonLabels, Gauge>,
    credentials_current: Gauge,
    in_flight: Gauge,
    ready: Gauge<i64, std::sync::atomic::AtomicI64>,
    result_bytes: Counter<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers the metrics.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            calls: Family::default(),
            call_durations: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
            operations: Family::new_with_constructor(|| Histogram::new(OPERATION_BUCKETS)),
            probes: Family::default(),
            probe_durations: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
            auth_failures: Family::default(),
            credentials: Family::default(),
            credentials_current: Gauge::default(),
            in_flight: Gauge::default(),
            ready: Gauge::default(),
            result_bytes: Counter::default(),
            registry: Registry::default(),
        };
        let build: Family<BuildLabels, Gauge> = Family::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("mcp_tool_calls", "Tool calls by how they ended", metrics.calls.clone());
        registry.register(
            "mcp_tool_call_duration_seconds",
            "Time that tool calls took",
            metrics.call_durations.clone(),
        );
        registry.register(
            "mcp_server_operation_duration_seconds",
            "Time that operations of the protocol took",
            metrics.operations.clone(),
        );
        registry.register("mcp_tool_result_bytes", "Bytes of the answers of tools", metrics.result_bytes.clone());
        registry.register("mcp_tool_calls_in_flight", "Tool calls that run now", metrics.in_flight.clone());
        registry.register(
            "mcp_http_auth_failures",
            "Requests refused for their token, by why",
            metrics.auth_failures.clone(),
        );
        registry.register("connector_probe", "Probes of the platform by what they found", metrics.probes.clone());
        registry.register(
            "connector_probe_duration_seconds",
            "Time that probes of the platform took",
            metrics.probe_durations.clone(),
        );
        registry.register(
            "connector_credentials_state",
            "1 for the state that the mounted credentials are in",
            metrics.credentials.clone(),
        );
        registry.register(
            "connector_credentials_current",
            "1 if the credentials in use are the ones that are mounted",
            metrics.credentials_current.clone(),
        );
        registry.register("connector_ready", "1 while the replica serves and does not drain", metrics.ready.clone());
        registry.register("connector_build_info", "Version of the binary", build);
        Self { registry, ..metrics }
    }

    /// A tool call ended. `tool` is the name of an offered tool, or [`UNKNOWN_TOOL`].
    pub fn called(&self, tool: &str, status: &'static str, duration: Duration, bytes: usize) {
        self.calls.get_or_create(&CallLabels { tool_name: tool.to_owned(), status }).inc();
        self.call_durations.get_or_create(&ToolLabels { tool_name: tool.to_owned() }).observe(duration.as_secs_f64());
        self.result_bytes.inc_by(bytes as u64);
    }

    /// An operation of the protocol ended.
    pub fn operated(&self, labels: &OperationLabels, duration: Duration) {
        self.operations.get_or_create(labels).observe(duration.as_secs_f64());
    }

    /// The platform was probed.
    pub fn probed(&self, platform: &'static str, reason: &str, duration: Duration) {
        self.probes.get_or_create(&ProbeLabels { platform, reason: reason.to_owned() }).inc();
        self.probe_durations.get_or_create(&PlatformLabels { platform }).observe(duration.as_secs_f64());
    }

    /// A request was refused for its token.
    pub fn refused_token(&self, reason: &'static str) {
        self.auth_failures.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// All metrics in the text format, with gauges set to what is now.
    #[must_use]
    pub fn text(&self, credentials: &CredentialsState, in_flight: usize, ready: bool) -> String {
        for reason in [Reason::Loaded, Reason::NoFields, Reason::FieldMissing, Reason::FieldInvalid] {
            let is = i64::from(reason.as_str() == credentials.reason);
            self.credentials.get_or_create(&ReasonLabels { reason: reason.as_str() }).set(is);
        }
        let current = credentials.reason == Reason::Loaded.as_str()
            && credentials.mounted_revision == credentials.loaded_revision;
        self.credentials_current.set(i64::from(current));
        self.in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        self.ready.set(i64::from(ready));
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            tracing::error!("the metrics could not be written");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_and_buckets_are_those_that_dashboards_use() {
        let metrics = Metrics::new();
        metrics.called("get_fake_thing", "success", Duration::from_millis(20), 10);
        metrics.called(UNKNOWN_TOOL, "error", Duration::ZERO, 0);
        metrics.probed("fake", "Healthy", Duration::from_millis(3));
        metrics.refused_token("expired");
        let state = CredentialsState {
            reason: "NoFields".into(),
            message: String::new(),
            mounted_revision: None,
            loaded_revision: None,
        };
        let text = metrics.text(&state, 2, true);
        for line in [
            r#"mcp_tool_calls_total{tool_name="get_fake_thing",status="success"} 1"#,
            r#"mcp_tool_calls_total{tool_name="unknown",status="error"} 1"#,
            r#"mcp_tool_call_duration_seconds_bucket{le="0.05",tool_name="get_fake_thing"} 1"#,
            r#"mcp_tool_call_duration_seconds_bucket{le="30.0",tool_name="get_fake_thing"} 1"#,
            r#"connector_probe_total{platform="fake",reason="Healthy"} 1"#,
            r#"connector_probe_duration_seconds_count{platform="fake"} 1"#,
            r#"connector_credentials_state{reason="NoFields"} 1"#,
            r#"connector_credentials_state{reason="Loaded"} 0"#,
            r#"mcp_http_auth_failures_total{reason="expired"} 1"#,
            "mcp_tool_calls_in_flight 2",
            "connector_ready 1",
            concat!("connector_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}
