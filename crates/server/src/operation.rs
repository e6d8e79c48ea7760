//! One request of the protocol while it is worked on: its place in its caller's trace, its span by the semantic
//! conventions for MCP, and its measurement when it ends.
//!
//! The conventions: <https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/mcp.md>.

use opentelemetry::{
    Context,
    trace::{FutureExt, SpanContext, Status, TraceContextExt, TraceId, WithContext},
};
use rmcp::{
    RoleServer,
    model::{ProtocolVersion, RequestId},
    service::RequestContext,
};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::{Instrument, Span, field::Empty, instrument::Instrumented};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{
    access::Caller,
    audit::argument_names,
    door::RequestScope,
    handler::PROTOCOL_VERSIONS,
    metrics::{Metrics, OperationLabels},
    text::safe_name,
};
use telemetry::{context, traces::TRACE_TARGET};

/// A request of the protocol while it is worked on.
pub struct Operation {
    method: &'static str,
    version: &'static str,
    started: Instant,
    span: Span,
    place: Context,
    exported: bool,
}

impl Operation {
    /// Begins. `tool` is the name of an offered tool, if it is about one.
    pub fn begin(
        method: &'static str,
        tool: Option<&str>,
        scope: &RequestScope,
        request: &RequestContext<RoleServer>,
    ) -> Self {
        let version = request.protocol_version();
        let known = PROTOCOL_VERSIONS.iter().find(|known| Some(*known) == version.as_ref());
        let version = known.map_or("other", ProtocolVersion::as_str);
        // The message's own context comes before that of the HTTP request, which may carry several.
        let of_message =
            request.meta.get_traceparent().and_then(|parent| context::parse(parent, request.meta.get_tracestate()));
        let of_request =
            || scope.traceparent.as_deref().and_then(|parent| context::parse(parent, scope.tracestate.as_deref()));
        // The operator asks every few seconds; nobody wants a trace of that.
        let traced = scope.caller != Caller::Operator;
        Self::start(method, version, tool, &request.id, of_message.or_else(of_request), traced)
    }

    /// Begins with what was found out about the request: the revision of the protocol, and the trace context of the caller,
    /// if it has one. Only one that is `traced` gets a span.
    pub fn start(
        method: &'static str,
        version: &'static str,
        tool: Option<&str>,
        id: &RequestId,
        caller: Option<SpanContext>,
        traced: bool,
    ) -> Self {
        let span = if traced {
            tracing::error_span!(
                target: TRACE_TARGET,
                "operation",
                otel.name = tool.map(|tool| format!("{method} {tool}")).as_deref().unwrap_or(method),
                otel.kind = "server",
                mcp.method.name = method,
                mcp.protocol.version = version,
                jsonrpc.request.id = safe_name(&id.to_string()),
                network.transport = "tcp",
                network.protocol.name = "http",
                gen_ai.tool.name = tool,
                gen_ai.operation.name = tool.map(|_| "execute_tool"),
                mcp_connectors.argument_names = Empty,
                error.type = Empty,
                rpc.response.status_code = Empty,
            )
        } else {
            Span::none()
        };
        let caller = caller.map(|caller| Context::new().with_remote_span_context(caller));
        // Where spans aren't exported, the span is none and has no place.
        let _not_exported = span.set_parent(caller.clone().unwrap_or_default());
        let traced = span.context();
        let (place, exported) = if traced.span().span_context().is_valid() {
            let sampled = traced.span().span_context().is_sampled();
            (traced, sampled)
        } else {
            (caller.unwrap_or_else(|| Context::new().with_remote_span_context(context::start())), false)
        };
        Self { method, version, started: Instant::now(), span, place, exported }
    }

    /// The trace that it is part of, of the caller or begun here.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.place.span().span_context().trace_id()
    }

    /// When it began.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// The trace that it is part of, if that is exported.
    #[must_use]
    pub fn exported_trace(&self) -> Option<String> {
        self.exported.then(|| self.trace_id().to_string())
    }

    /// Says which arguments a call has, by name.
    pub fn name_arguments(&self, arguments: &Map<String, Value>) {
        if self.exported {
            self.span.record("mcp_connectors.argument_names", argument_names(arguments).join(","));
        }
    }

    /// Works on it: what `work` asks of a platform is part of the same trace.
    pub fn run<F: Future>(&self, work: F) -> WithContext<Instrumented<F>> {
        work.instrument(self.span.clone()).with_context(self.place.clone())
    }

    /// Says on its span why it failed. `error_type` is `tool_error` for a tool's own error, a JSON-RPC code, or empty if it
    /// didn't fail.
    pub fn fail(&self, error_type: &'static str) {
        if !error_type.is_empty() {
            self.span.record("error.type", error_type);
            if error_type.starts_with('-') {
                self.span.record("rpc.response.status_code", error_type);
            }
            self.span.set_status(Status::error(error_type));
        }
    }

    /// Its labels, with the name of the tool that it is about, if it is about one.
    #[must_use]
    pub fn labels(&self, tool: &str, error_type: &'static str) -> OperationLabels {
        OperationLabels {
            mcp_method_name: self.method,
            gen_ai_tool_name: tool.to_owned(),
            error_type,
            network_transport: "tcp",
            mcp_protocol_version: self.version,
        }
    }

    /// Ends one that is not about a tool.
    pub fn end(self, metrics: &Metrics, error_type: &'static str) {
        self.fail(error_type);
        metrics.operated(&self.labels("", error_type), self.started.elapsed());
    }
}
