//! Log lines: one JSON object a line with `timestamp, level, target, message, service, version`, the connector, and the
//! fields of the event and of the spans around it, all on one level so that a line can be searched without knowing how
//! deep it was written.

use std::io::{self, Write};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, filter_fn},
    fmt::{MakeWriter, time::SystemTime},
    layer::Filter,
    registry::LookupSpan,
    reload,
};

use super::{SERVICE, TelemetryError, traces::TRACE_TARGET};

/// The filter that is used where none is given. rmcp says whole requests at `debug` and one line for each bad request
/// at `warn`, so it is held to errors.
pub const DEFAULT_FILTER: &str = "info,rmcp=error,hyper=error";

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For a terminal.
    Text,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output, as containers do.
    #[default]
    Stdout,
    /// Standard error, where standard output has another purpose.
    Stderr,
}

impl LogOutput {
    /// What writes there, and waits until it is written.
    #[must_use]
    pub fn open(self) -> Box<dyn Write + Send> {
        match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::Stderr => Box::new(io::stderr()),
        }
    }
}

/// How to log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Directives such as `info,mcp_connectors=debug`. What they leave unsaid about rmcp stays as in
    /// [`DEFAULT_FILTER`].
    pub filter: String,
    /// The form of the lines.
    pub format: LogFormat,
    /// Where the lines go.
    pub output: LogOutput,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: DEFAULT_FILTER.to_owned(), format: LogFormat::default(), output: LogOutput::default() }
    }
}

/// The layer that writes JSON lines. `connector` is `namespace/name`, where one is served.
pub fn build_json_layer<S, W>(writer: W, connector: Option<&str>) -> impl Layer<S> + Send + Sync + use<S, W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let mut layer = json_subscriber::JsonLayer::new(writer);
    layer.with_timer("timestamp", SystemTime).with_level("level").with_target("target");
    layer.add_static_field("service", SERVICE.into());
    layer.add_static_field("version", env!("CARGO_PKG_VERSION").into());
    if let Some(connector) = connector {
        layer.add_static_field("connector", connector.into());
    }
    layer.with_flattened_event().with_top_level_flattened_span_list();
    layer
}

/// The filter that `directives` stand for, in which rmcp, hyper, AWS' SDK and the sending part of kube are quiet unless they are
/// named.
///
/// # Errors
/// When the directives are wrong.
pub fn build_filter(directives: &str) -> Result<EnvFilter, TelemetryError> {
    let mut text = directives.to_owned();
    for (target, directive) in [
        ("rmcp", ",rmcp=error"),
        ("hyper", ",hyper=error"),
        // Finer, AWS' SDK writes out whole answers: what is in the logs that agents read, and what a proxy shows of a request.
        ("aws", ",aws=warn"),
        // Who sent the request says what became of it.
        ("kube_client", ",kube_client::client::builder=off"),
    ] {
        let named = |directive: &str| directive.trim().split(['=', '[', ':']).next() == Some(target);
        if !directives.split(',').any(named) {
            text.push_str(directive);
        }
    }
    EnvFilter::try_new(&text).map_err(|error| TelemetryError::ParseFilter(directives.to_owned(), error))
}

/// What of the process is logged: it can be changed while it runs.
#[derive(Clone, Debug)]
pub struct FilterControl(reload::Handle<EnvFilter, Registry>);

impl FilterControl {
    /// A filter for [`tracing_subscriber::registry()`], and the control of it.
    #[must_use]
    pub fn new(filter: EnvFilter) -> (reload::Layer<EnvFilter, Registry>, Self) {
        let (filter, handle) = reload::Layer::new(filter);
        (filter, Self(handle))
    }

    /// Logs from now on what the directives say; see [`build_filter`].
    ///
    /// # Errors
    /// When the directives are wrong, or the logger is gone.
    pub fn set(&self, directives: &str) -> Result<(), TelemetryError> {
        self.0.reload(build_filter(directives)?).map_err(TelemetryError::ChangeFilter)
    }

    /// What is logged now; nothing if the logger is gone.
    #[must_use]
    pub fn directives(&self) -> Option<String> {
        self.0.with_current(ToString::to_string).ok()
    }
}

/// What `filter` lets through, without the spans that are made for traces only: lines have spans of their own.
pub fn without_trace_spans<S, F>(filter: F) -> impl Filter<S> + Send + Sync + use<S, F>
where
    S: Subscriber + for<'a> LookupSpan<'a> + 'static,
    F: Filter<S> + Send + Sync,
{
    filter.and(filter_fn(|metadata| metadata.target() != TRACE_TARGET))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

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
        let subscriber = tracing_subscriber::registry().with(
            build_json_layer(move || writer.clone(), Some("agents/fake"))
                .with_filter(without_trace_spans(build_filter("info").unwrap())),
        );
        tracing::subscriber::with_default(subscriber, || {
            let _request = tracing::error_span!("request", request_id = "r-1").entered();
            let _traced = tracing::error_span!(target: TRACE_TARGET, "traced", otel.name = "x").entered();
            tracing::info!(tool = "a\nb", "two\nlines");
            tracing::info!(target: "rmcp::service", "not this");
            tracing::debug!("nor this");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["message"], "two\nlines");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["tool"], "a\nb");
        assert_eq!((&line["service"], &line["connector"]), (&"mcp-connectors".into(), &"agents/fake".into()));
        assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!((&line["request_id"], line.get("otel.name")), (&"r-1".into(), None));
        line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }

    #[test]
    fn what_is_logged_can_be_changed_on_the_way() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (filter, control) = FilterControl::new(build_filter("info").unwrap());
        let subscriber = tracing_subscriber::registry()
            .with(build_json_layer(move || writer.clone(), None).with_filter(without_trace_spans(filter)));
        let say = |message: &'static str| tracing::debug!(message);
        tracing::subscriber::with_default(subscriber, || {
            say("before");
            control.set("info,mcp_connectors=debug").unwrap();
            say("while");
            assert!(control.set("mcp_connectors=noise").is_err());
            control.set("info").unwrap();
            say("after");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let said = ["before", "while", "after"].map(|word| text.contains(word));
        assert_eq!(said, [false, true, false], "{text}");
    }

    #[test]
    fn a_wrong_filter_is_refused() {
        assert!(build_filter("info,mcp_connectors=noise").is_err());
        assert!(build_filter("info,rmcp=debug").unwrap().to_string().contains("rmcp=debug"));
    }
}
