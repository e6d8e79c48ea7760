//! What the process says of itself: log lines, traces, figures of the process. One JSON object a line, so that nothing a
//! caller sends can forge a line; spans go to a collector over OTLP where one is named, and nowhere otherwise.

pub mod context;
mod lines;
pub mod logs;
pub mod process;
pub mod traces;

use std::{panic, sync::Arc};

use tracing::Subscriber;
use tracing_subscriber::{Layer, Registry, filter::ParseError, layer::SubscriberExt, util::SubscriberInitExt};

use lines::Lines;
pub use logs::{DEFAULT_FILTER, FilterControl, LogFormat, LogOutput, LogSettings};
use traces::Traces;
pub use traces::{ExportCounts, TraceSettings};

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Name of the service in log lines.
pub const SERVICE: &str = "mcp-connectors";

/// Why telemetry can't begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is wrong.
    #[error("failed to read the log filter {0:?}")]
    ParseFilter(String, #[source] ParseError),
    /// The filter can't be changed any more.
    #[error("failed to change what is logged")]
    ChangeFilter(#[source] tracing_subscriber::reload::Error),
    /// Somebody else logs already.
    #[error("failed to install the logger")]
    Install(#[source] tracing_subscriber::util::TryInitError),
    /// The collector's client can't be made.
    #[error("failed to make the client of the OTLP collector")]
    CollectorClient(#[source] reqwest::Error),
}

/// What was begun. Dropped, it writes the log lines that are left, however the process ends.
#[must_use = "lines are written for as long as it is kept"]
pub struct Telemetry {
    traces: Option<Traces>,
    filter: FilterControl,
    _lines: Lines,
}

impl Telemetry {
    /// How the export of traces goes; none where nothing is exported.
    #[must_use]
    pub fn exports(&self) -> Option<Arc<ExportCounts>> {
        self.traces.as_ref().map(Traces::counts)
    }

    /// Changes what is logged.
    #[must_use]
    pub fn filter(&self) -> FilterControl {
        self.filter.clone()
    }

    /// Sends and writes what is left, for a few seconds at most.
    pub async fn finish(self) {
        if let Some(traces) = self.traces {
            traces.finish().await;
        }
    }
}

/// Begins to log and, where `traces` name a collector, to trace. `connector` is
/// `namespace/name` of the connector that is served, which every line then carries. Panics are logged too, by their
/// place only: their text may hold anything. Call it in a tokio runtime.
///
/// # Errors
/// When the filter is wrong, a logger is installed already, or the collector's client can't be made.
pub fn init(
    settings: &LogSettings,
    connector: Option<&str>,
    traces: Option<&TraceSettings>,
) -> Result<Telemetry, TelemetryError> {
    let traces = traces.map(Traces::start).transpose()?;
    let (filter, control) = FilterControl::new(logs::build_filter(&settings.filter)?);
    let (queue, lines) = Lines::start(settings.output.open());
    let layer = match settings.format {
        LogFormat::Json => logs::build_json_layer(queue, connector).boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer().with_writer(queue).boxed(),
    };
    let layer = layer.with_filter(logs::without_trace_spans(filter)).boxed();
    build_subscriber(layer, traces.as_ref()).try_init().map_err(TelemetryError::Install)?;
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic was caught");
    }));
    lines.be_counted();
    tokio::spawn(lines.tell_losses());
    Ok(Telemetry { traces, filter: control, _lines: lines })
}

/// Puts the layers together. A `None` in place of the second would count as one that wants everything: each span and event
/// of each library, however fine, would be made for nobody.
fn build_subscriber(lines: BoxedLayer, traces: Option<&Traces>) -> impl Subscriber + Send + Sync + use<> {
    let mut layers = vec![lines];
    layers.extend(traces.map(|traces| traces::build_layer(traces.tracer()).boxed()));
    tracing_subscriber::registry().with(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wants_is_not_made() {
        let lines =
            logs::build_json_layer(std::io::sink, None).with_filter(logs::build_filter("info").unwrap()).boxed();
        let subscriber = build_subscriber(lines, None);
        let interest = |span: &tracing::Span| subscriber.register_callsite(span.metadata().unwrap());
        assert!(interest(&tracing::trace_span!("fine")).is_never());
        assert!(interest(&tracing::info_span!("coarse")).is_always());
    }
}
