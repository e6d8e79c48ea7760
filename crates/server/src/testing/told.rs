//! What is told in the process of a test: log lines and spans.

use std::sync::OnceLock;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use tracing_subscriber::{Layer, layer::SubscriberExt};

use super::Lines;
use telemetry::{logs, traces};

/// What is told in the whole process.
pub struct Told {
    pub lines: Lines,
    pub exporter: InMemorySpanExporter,
}

/// Begins to keep it. Not for one thread at a time: whether a place in the code tells at all is decided when it is first
/// reached, in whichever thread that is.
pub fn told() -> &'static Told {
    static TOLD: OnceLock<Told> = OnceLock::new();
    TOLD.get_or_init(|| {
        let (lines, exporter) = (Lines::default(), InMemorySpanExporter::default());
        let writer = lines.clone();
        // Callers decide which of their traces are kept.
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
            .with_simple_exporter(exporter.clone())
            .build();
        let filter = logs::without_trace_spans(logs::build_filter("trace,mcp_connectors=trace").unwrap());
        let subscriber = tracing_subscriber::registry()
            .with(logs::build_json_layer(move || writer.clone(), Some("agents/fake")).with_filter(filter))
            .with(traces::build_layer(provider.tracer("test")));
        tracing::subscriber::set_global_default(subscriber).unwrap();
        tracing::callsite::rebuild_interest_cache();
        Told { lines, exporter }
    })
}

/// The spans of a trace, in the order in which they ended.
pub fn spans_of(trace: &str) -> Vec<SpanData> {
    let mut spans = told().exporter.get_finished_spans().unwrap();
    spans.retain(|span| span.span_context.trace_id().to_string() == trace);
    spans
}

pub fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|found| found.value.to_string())
}
