//! What can be counted: calls and what stood in their way, probes, credentials, refused tokens, and how telling of all
//! that goes. No label takes a value from outside.

mod sharing;
mod supply;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        exemplar::HistogramWithExemplars,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};

use tokio::sync::watch;

use self::{sharing::SharingFigures, supply::SupplyFigures};
use super::{audit::Audit, guards::shared_rate::SharedRates};
use api::Reason;
use credentials::CredentialsState;
use kit::Platform;
use outbound::{BreakerPosition, OutboundMetrics};
use telemetry::{ExportCounts, process::ProcessFigures};

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GuardLabels {
    guard: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabels {
    sink: String,
}

/// The trace of an observation, as an exemplar: from a slow call on a dashboard to its trace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TraceLabels {
    trace_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BreakerLabels {
    platform: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayLabels {
    platform: String,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;
type TracedHistograms<L> = Family<L, HistogramWithExemplars<TraceLabels>, fn() -> HistogramWithExemplars<TraceLabels>>;

/// All metrics of `serve`.
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    call_durations: TracedHistograms<ToolLabels>,
    operations: Histograms<OperationLabels>,
    probes: Family<ProbeLabels, Counter>,
    probe_durations: Histograms<PlatformLabels>,
    auth_failures: Family<ReasonLabels, Counter>,
    credentials: Family<ReasonLabels, Gauge>,
    credentials_current: Gauge,
    credentials_loaded_at: Gauge<f64, AtomicU64>,
    in_flight: Gauge,
    active_requests: Gauge,
    ready: Gauge,
    result_bytes: Counter<u64, AtomicU64>,
    refused: Family<GuardLabels, Counter>,
    rate_limited: Counter,
    cache_lookups: Family<ResultLabels, Counter>,
    loop_warnings: Counter,
    redactions: Counter,
    replays: Counter,
}

/// How often answers were found in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheCounts {
    /// Calls that were answered from it.
    pub hits: u64,
    /// Calls that could have been, and were not.
    pub misses: u64,
}

/// A request that is being answered, until this is dropped.
pub struct ActiveRequest(Gauge);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.dec();
    }
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
            call_durations: Family::new_with_constructor(|| HistogramWithExemplars::new(CALL_BUCKETS.into_iter())),
            operations: Family::new_with_constructor(|| Histogram::new(OPERATION_BUCKETS)),
            probes: Family::default(),
            probe_durations: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
            auth_failures: Family::default(),
            credentials: Family::default(),
            credentials_current: Gauge::default(),
            credentials_loaded_at: Gauge::default(),
            in_flight: Gauge::default(),
            active_requests: Gauge::default(),
            ready: Gauge::default(),
            result_bytes: Counter::default(),
            refused: Family::default(),
            rate_limited: Counter::default(),
            cache_lookups: Family::default(),
            loop_warnings: Counter::default(),
            redactions: Counter::default(),
            replays: Counter::default(),
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
            "mcp_active_requests",
            "Requests to the MCP port whose answer is not at its end, open streams among them",
            metrics.active_requests.clone(),
        );
        registry.register(
            "mcp_tool_calls_refused",
            "Tool calls that did not reach their tool, by the guard that refused them",
            metrics.refused.clone(),
        );
        registry.register(
            "mcp_rate_limited",
            "Requests and calls refused for their rate",
            metrics.rate_limited.clone(),
        );
        registry.register(
            "mcp_tool_cache_lookups",
            "Calls of tools whose answers are kept, by whether one was",
            metrics.cache_lookups.clone(),
        );
        registry.register(
            "mcp_loop_warnings",
            "Calls that repeated earlier ones and were warned of it",
            metrics.loop_warnings.clone(),
        );
        registry.register("mcp_redactions", "Secrets taken out of answers", metrics.redactions.clone());
        registry.register(
            "mcp_idempotent_replays",
            "Calls that were answered with what the same call had done before",
            metrics.replays.clone(),
        );
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
        registry.register(
            "connector_credentials_loaded_timestamp_seconds",
            "When the credentials in use were loaded, in seconds since 1970; 0 if there are none",
            metrics.credentials_loaded_at.clone(),
        );
        registry.register("connector_ready", "1 while the replica serves and does not drain", metrics.ready.clone());
        registry.register("connector_build_info", "Version of the binary", build);
        registry.register_collector(Box::new(ProcessFigures));
        for result in ["hit", "miss"] {
            let _shown_from_the_start = metrics.cache_lookups.get_or_create(&ResultLabels { result });
        }
        Self { registry, ..metrics }
    }

    /// Also shows when the platform's credentials end, what the sinks of audit records lost, and how the export of traces
    /// goes.
    #[must_use]
    pub fn asking(
        mut self,
        platform: Arc<dyn Platform>,
        outbound: &OutboundMetrics,
        audit: Arc<Audit>,
        exports: Option<Arc<ExportCounts>>,
    ) -> Self {
        outbound.register(&mut self.registry);
        self.registry.register_collector(Box::new(Asked { platform, audit, exports }));
        self
    }

    /// Also shows how the agent does that supplies the credentials, where one does.
    #[must_use]
    pub fn supplied(mut self, credentials: watch::Receiver<CredentialsState>) -> Self {
        self.registry.register_collector(Box::new(SupplyFigures(credentials)));
        self
    }

    /// Also shows how the count of calls does that replicas share, if they do.
    #[must_use]
    pub fn counting(mut self, rates: Option<Arc<SharedRates>>) -> Self {
        if let Some(rates) = rates {
            self.registry.register_collector(Box::new(SharingFigures(rates)));
        }
        self
    }

    /// A tool call ended. `tool` is the name of an offered tool, or [`UNKNOWN_TOOL`]; `trace_id` that of a trace that is
    /// exported.
    pub fn called(&self, tool: &str, status: &'static str, duration: Duration, bytes: usize, trace_id: Option<&str>) {
        self.calls.get_or_create(&CallLabels { tool_name: tool.to_owned(), status }).inc();
        let (exemplar, at) = match trace_id {
            Some(trace_id) => (Some(TraceLabels { trace_id: trace_id.to_owned() }), Some(SystemTime::now())),
            None => (None, None),
        };
        let labels = ToolLabels { tool_name: tool.to_owned() };
        self.call_durations.get_or_create(&labels).observe(duration.as_secs_f64(), exemplar, at);
        self.result_bytes.inc_by(bytes as u64);
    }

    /// A request to the MCP port begins to be answered.
    #[must_use]
    pub fn request_begins(&self) -> ActiveRequest {
        self.active_requests.inc();
        ActiveRequest(self.active_requests.clone())
    }

    /// A guard refused a tool call. `guard` is its name, such as `authorization`.
    pub fn refused(&self, guard: &'static str) {
        self.refused.get_or_create(&GuardLabels { guard }).inc();
    }

    /// A request or a call was refused for its rate.
    pub fn rate_limited(&self) {
        self.rate_limited.inc();
    }

    /// An answer was looked for in the cache.
    pub fn cache_looked_up(&self, hit: bool) {
        self.cache_lookups.get_or_create(&ResultLabels { result: if hit { "hit" } else { "miss" } }).inc();
    }

    /// How often answers were found in the cache.
    #[must_use]
    pub fn cache_counts(&self) -> CacheCounts {
        let count = |result| self.cache_lookups.get_or_create(&ResultLabels { result }).get();
        CacheCounts { hits: count("hit"), misses: count("miss") }
    }

    /// A caller was warned of repeating itself.
    pub fn loop_warned(&self) {
        self.loop_warnings.inc();
    }

    /// Secrets were taken out of an answer.
    pub fn redacted(&self, secrets: u64) {
        self.redactions.inc_by(secrets);
    }

    /// A call was answered with what the same call had done before.
    pub fn replayed(&self) {
        self.replays.inc();
    }

    /// A set of credentials came into use.
    pub fn credentials_loaded(&self, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.credentials_loaded_at.set(since.as_secs_f64());
    }

    /// Keeps the time at which the credentials in use were loaded, for as long as their files are followed.
    pub async fn follow_credentials(self: Arc<Self>, mut state: watch::Receiver<CredentialsState>) {
        let mut revision = None;
        loop {
            let loaded = state.borrow_and_update().loaded_revision.clone();
            if loaded != revision && loaded.is_some() {
                self.credentials_loaded(SystemTime::now());
            }
            revision = loaded;
            if state.changed().await.is_err() {
                return;
            }
        }
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
        for reason in [Reason::Loaded, Reason::Starting].into_iter().chain(Reason::CREDENTIALS_FAULTS) {
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

/// What is asked at each scrape.
struct Asked {
    platform: Arc<dyn Platform>,
    audit: Arc<Audit>,
    exports: Option<Arc<ExportCounts>>,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked")
    }
}

impl Collector for Asked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let sinks = self.audit.states();
        let mut failures = encoder.encode_descriptor(
            "connector_audit_failures",
            "Audit records that a sink lost",
            None,
            MetricType::Counter,
        )?;
        for sink in sinks {
            let labels = SinkLabels { sink: sink.name };
            ConstCounter::new(sink.lost).encode(failures.encode_family(&labels)?)?;
        }
        self.encode_outbound(&mut encoder)?;
        if let Some(end) = self.platform.credentials_expiry() {
            let expiry = encoder.encode_descriptor(
                "connector_credentials_expiry_timestamp_seconds",
                "When the credentials in use end, in seconds since 1970, where the platform says so",
                None,
                MetricType::Gauge,
            )?;
            ConstGauge::new(end.as_second()).encode(expiry)?;
        }
        let Some(exports) = &self.exports else { return Ok(()) };
        let mut spans = encoder.encode_descriptor(
            "connector_trace_spans",
            "Spans by whether the collector took them",
            None,
            MetricType::Counter,
        )?;
        for (result, count) in [("sent", exports.sent()), ("lost", exports.lost())] {
            ConstCounter::new(count).encode(spans.encode_family(&ResultLabels { result })?)?;
        }
        let failing = encoder.encode_descriptor(
            "connector_trace_export_failing",
            "1 if the last export of traces failed",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::from(exports.is_failing())).encode(failing)
    }
}

impl Asked {
    fn encode_outbound(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let ways = self.platform.outbound();
        let name = "connector_outbound_breaker_state";
        let help = "1 for the state that the circuit breaker is in";
        let mut states = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for way in &ways {
            for state in [BreakerPosition::Closed, BreakerPosition::Open, BreakerPosition::HalfOpen] {
                let labels = BreakerLabels { platform: way.name.clone(), state: state.as_str() };
                let is = i64::from(way.breaker.state == state);
                ConstGauge::new(is).encode(states.encode_family(&labels)?)?;
            }
        }
        for (name, help, of) in [
            ("connector_outbound_in_flight", "Requests to the platform that run now", false),
            ("connector_outbound_queued", "Requests to the platform that wait for their turn", true),
        ] {
            let mut counts = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for way in &ways {
                let labels = WayLabels { platform: way.name.clone() };
                let count = if of { way.bulkhead.queued } else { way.bulkhead.running };
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                ConstGauge::new(count).encode(counts.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
