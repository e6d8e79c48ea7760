//! Traces: spans that go to a collector over OTLP (HTTP, protobuf). Only spans are sent, no events; a collector that is
//! down costs nothing but the spans, which are counted.
//!
//! The SDK batches in a thread of its own with a bounded queue. The exporter is ours, because the one of the SDK's
//! authors brings an HTTP client of its own and reads `OTEL_*` variables: a connector's configuration is closed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter},
};
use prost::Message;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};
use url::Url;

use super::TelemetryError;

/// Target of the spans that are made for traces.
pub const TRACE_TARGET: &str = "mcp_connectors::trace";

/// Time that one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two exports.
const EXPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Spans that wait for their export; what comes when it is full is lost.
const QUEUE: usize = 2_048;
/// Spans of one export.
const BATCH: usize = 512;
/// Time that sending what is left may take, at the end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of a collector's answer that are read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSettings {
    /// The collector, such as `http://collector:4318/`; `v1/traces` is added to its path.
    pub endpoint: Url,
    /// Part of the traces without a decision of their caller that are sent, 0 to 1. A caller's decision holds.
    pub ratio: f64,
    /// Name of the service that the spans are of.
    pub service: String,
    /// Namespace of that service.
    pub namespace: String,
}

/// How the export of traces goes.
#[derive(Debug, Default)]
pub struct ExportCounts {
    sent: AtomicU64,
    lost: AtomicU64,
    failing: AtomicBool,
}

impl ExportCounts {
    /// Spans that the collector took.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Spans that it did not take.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether the last export failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Counts an export, and logs it if the one before it ended otherwise.
    fn count(&self, spans: u64, outcome: &Result<u64, String>) {
        let (lost, problem) = match outcome {
            Ok(rejected) => (*rejected, None),
            Err(problem) => (spans, Some(problem)),
        };
        self.lost.fetch_add(lost, Ordering::Relaxed);
        self.sent.fetch_add(spans.saturating_sub(lost), Ordering::Relaxed);
        let failed_before = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !failed_before => tracing::warn!(problem, "the export of traces fails; spans are lost"),
            None if failed_before => tracing::info!(lost = self.lost(), "the export of traces works again"),
            _ => {}
        }
    }
}

/// The export of traces, begun.
pub struct Traces {
    provider: SdkTracerProvider,
    counts: Arc<ExportCounts>,
}

impl Traces {
    /// Begins. Nothing is sent until there is a span.
    ///
    /// # Errors
    /// When the HTTP client can't be made, as when the system has no public authorities and the collector needs them.
    pub fn start(settings: &TraceSettings) -> Result<Self, TelemetryError> {
        let counts = Arc::new(ExportCounts::default());
        let attributes = [
            KeyValue::new("service.name", settings.service.clone()),
            KeyValue::new("service.namespace", settings.namespace.clone()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let resource = Resource::builder_empty().with_attributes(attributes).build();
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("mcp-connectors/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(EXPORT_TIMEOUT)
            .no_proxy();
        if settings.endpoint.scheme() != "https" {
            // Spares reading the system's authorities, which need not be there.
            client = client.tls_certs_only([]);
        }
        let exporter = OtlpExporter {
            client: client.build().map_err(TelemetryError::CollectorClient)?,
            url: traces_url(&settings.endpoint),
            runtime: Handle::current(),
            resource: ResourceAttributesWithSchema::from(&resource),
            counts: counts.clone(),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EXPORT_INTERVAL)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.ratio))))
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .build();
        Ok(Self { provider, counts })
    }

    /// What makes spans.
    #[must_use]
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer(super::SERVICE)
    }

    /// How the export goes.
    #[must_use]
    pub fn counts(&self) -> Arc<ExportCounts> {
        self.counts.clone()
    }

    /// Sends what is left, for three seconds at most.
    pub async fn finish(self) {
        let finish = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FINISH_TIMEOUT));
        if !matches!(finish.await, Ok(Ok(()))) {
            tracing::warn!("the last traces could not be sent in time");
        }
    }
}

/// The layer that makes traces of spans: of those that are made for it, and of the requests to platforms.
pub fn build_layer<S, T>(tracer: T) -> impl Layer<S> + Send + Sync + use<S, T>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    T: opentelemetry::trace::Tracer + Send + Sync + 'static,
    T::Span: Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TRACE_TARGET))
}

/// Where a collector takes traces.
fn traces_url(endpoint: &Url) -> Url {
    let mut url = endpoint.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["v1", "traces"]);
    }
    url
}

#[derive(Debug)]
struct OtlpExporter {
    client: reqwest::Client,
    url: Url,
    runtime: Handle,
    resource: ResourceAttributesWithSchema,
    counts: Arc<ExportCounts>,
}

impl SpanExporter for OtlpExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let request =
            ExportTraceServiceRequest { resource_spans: group_spans_by_resource_and_scope(batch, &self.resource) };
        let request = self
            .client
            .post(self.url.clone())
            .header(http::header::CONTENT_TYPE, "application/x-protobuf")
            .body(request.encode_to_vec());
        // The SDK calls this in a thread of its own, where no HTTP client of tokio can run.
        let outcome = self.runtime.spawn(deliver(request)).await;
        let outcome = outcome.unwrap_or_else(|_| Err("the runtime is ending".to_owned()));
        self.counts.count(spans, &outcome);
        outcome.map(|_| ()).map_err(OTelSdkError::InternalFailure)
    }
}

/// Sends a batch. Gives the number of spans that the collector rejected, or why it took none.
async fn deliver(request: reqwest::RequestBuilder) -> Result<u64, String> {
    // The client's own words hold the URL, which is the user's; a word for the kind of fault is enough.
    let in_words = |error: &reqwest::Error| match () {
        () if error.is_timeout() => "no answer in time".to_owned(),
        () if error.is_connect() => "no connection".to_owned(),
        () => "the exchange broke off".to_owned(),
    };
    let mut response = request.send().await.map_err(|error| in_words(&error))?;
    if !response.status().is_success() {
        return Err(format!("HTTP status {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| in_words(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err("the answer is too large".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    let answer =
        ExportTraceServiceResponse::decode(body.as_slice()).map_err(|_| "the answer is not OTLP".to_owned())?;
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
    Ok(u64::try_from(rejected).unwrap_or_default())
}

#[cfg(test)]
mod tests;
