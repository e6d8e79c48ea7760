//! What the process says of itself: log lines. One JSON object a line, so that nothing a caller sends can forge a line.

use std::panic;

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The filter that is used where none is given. rmcp says whole requests at `debug` and one line for each bad request
/// at `warn`, so it is held to errors.
pub const DEFAULT_FILTER: &str = "info,rmcp=error,hyper=error,audit=info";

/// The target of audit records, which a filter must let through at `info`.
pub const AUDIT_TARGET: &str = "audit";

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line: `timestamp` (RFC 3339), `level`, `target`, `message` and the fields.
    #[default]
    Json,
    /// For a terminal.
    Text,
}

/// How to log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Directives such as `info,mcp_connectors=debug`. What they leave unsaid about rmcp stays as in
    /// [`DEFAULT_FILTER`].
    pub filter: String,
    /// The form of the lines.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: DEFAULT_FILTER.to_owned(), format: LogFormat::default() }
    }
}

/// Why logging can't begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is wrong.
    #[error("failed to read the log filter {0:?}")]
    ParseFilter(String, #[source] ParseError),
    /// Somebody else logs already.
    #[error("failed to install the logger")]
    Install(#[source] tracing_subscriber::util::TryInitError),
}

/// Begins to log to standard output. Panics are logged too, by their place only: their text may hold anything.
///
/// # Errors
/// When the filter is wrong, or a logger is installed already.
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    let filter = build_filter(&settings.filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    match settings.format {
        LogFormat::Json => registry.with(build_json_layer(std::io::stdout)).try_init(),
        LogFormat::Text => registry.with(fmt::layer()).try_init(),
    }
    .map_err(TelemetryError::Install)?;
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic was caught");
    }));
    Ok(())
}

/// The layer that writes JSON lines.
pub fn build_json_layer<S, W>(writer: W) -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> fmt::MakeWriter<'a> + 'static,
{
    fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false).with_writer(writer)
}

/// The filter that `directives` stand for, in which rmcp and hyper are quiet and audit records are written unless they
/// are named.
///
/// # Errors
/// When the directives are wrong.
pub fn build_filter(directives: &str) -> Result<EnvFilter, TelemetryError> {
    let mut text = directives.to_owned();
    for (target, directive) in [("rmcp", ",rmcp=error"), ("hyper", ",hyper=error"), (AUDIT_TARGET, ",audit=info")] {
        let named = |directive: &str| directive.trim().split(['=', '[', ':']).next() == Some(target);
        if !directives.split(',').any(named) {
            text.push_str(directive);
        }
    }
    EnvFilter::try_new(&text).map_err(|error| TelemetryError::ParseFilter(directives.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_line_is_one_object_whatever_a_message_holds() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::registry()
            .with(build_filter("info").unwrap())
            .with(build_json_layer(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(tool = "a\nb", "two\nlines");
            tracing::info!(target: "rmcp::service", "not this");
            tracing::debug!("nor this");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["message"], "two\nlines");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["tool"], "a\nb");
        line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }

    #[test]
    fn a_wrong_filter_is_refused() {
        assert!(build_filter("info,mcp_connectors=noise").is_err());
        assert!(build_filter("info,rmcp=debug").unwrap().to_string().contains("rmcp=debug"));
    }
}
