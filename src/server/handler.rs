//! The protocol: answers MCP's methods out of the catalogue and leads tool calls through the guards. rmcp speaks both
//! eras of the protocol and calls this; one value is made for each request, so all of it is shared.

use std::{borrow::Cow, sync::Arc};

use rmcp::{
    ErrorData, Peer, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult,
        ContentBlock, DiscoverResult, ErrorCode as RpcCode, GetPromptRequestParams, GetPromptResponse, Implementation,
        InitializeRequestParams, InitializeResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
        ListToolsResult, MetaObject, PaginatedRequestParams, ProgressNotificationParam, ProgressToken, ProtocolVersion,
        ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};
use tracing::Instrument;

use super::{
    access::Rights,
    audit,
    guards::{Call, Guards, Outcome, bounds},
    http::RequestScope,
    metrics::{Metrics, OperationLabels, UNKNOWN_TOOL},
    text::{alternatives, safe_name},
};
use crate::tools::{ErrorCode, Progress, ProgressReport, ToolError};

/// Name that the server gives itself.
pub const SERVER_NAME: &str = "mcp-connectors";
/// Revisions of the protocol that are served.
pub const PROTOCOL_VERSIONS: &[ProtocolVersion] =
    &[ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2026_07_28];

/// Milliseconds for which a list may be kept. It changes only when the pods are replaced.
const LIST_TTL_MS: u64 = 60_000;
/// Where results say who answers.
const META_SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// Where failed calls say why, as an object. It can't be `structuredContent`, which must fit the tool's output schema.
const META_ERROR: &str = "mcp-connectors.io/error";

/// Answers MCP's methods.
#[derive(Clone)]
pub struct Handler {
    shared: Arc<Shared>,
}

struct Shared {
    guards: Arc<Guards>,
    metrics: Arc<Metrics>,
    info: ServerConfig,
    server_info: Value,
}

impl Handler {
    /// A handler that offers the guards' tools. `instructions` tell an agent what they are for.
    #[must_use]
    pub fn new(guards: Arc<Guards>, metrics: Arc<Metrics>, instructions: String) -> Self {
        // Prompts, resources and completions are declared because clients ask for them; the lists are empty.
        let capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_prompts()
            .enable_resources()
            .enable_tools()
            .build();
        let implementation = Implementation::new(SERVER_NAME, env!("CARGO_PKG_VERSION"));
        let server_info = serde_json::to_value(&implementation).unwrap_or_default();
        let mut info = ServerConfig::new(capabilities).with_server_info(implementation);
        if !instructions.is_empty() {
            info = info.with_instructions(instructions);
        }
        Self { shared: Arc::new(Shared { guards, metrics, info, server_info }) }
    }

    fn meta(&self) -> MetaObject {
        let mut meta = MetaObject::new();
        meta.insert(META_SERVER_INFO.to_owned(), self.shared.server_info.clone());
        meta
    }

    /// Counts an operation that ended.
    fn operated(&self, operation: &Operation, tool: &str, error_type: &'static str) {
        let labels = OperationLabels {
            mcp_method_name: operation.method,
            gen_ai_tool_name: tool.to_owned(),
            error_type,
            network_transport: "tcp",
            mcp_protocol_version: operation.version,
        };
        self.shared.metrics.operated(&labels, operation.started.elapsed());
    }

    fn failure(&self, error: &ToolError) -> CallToolResult {
        let error = serde_json::to_value(error).unwrap_or_default();
        let mut result = CallToolResult::error(vec![ContentBlock::text(error.to_string())]);
        let mut meta = self.meta();
        meta.insert(META_ERROR.to_owned(), error);
        result.meta = Some(meta);
        result
    }
}

/// Runs a call, and tells its caller meanwhile how far it is.
async fn telling<T>(
    call: impl Future<Output = T>,
    mut reports: mpsc::Receiver<ProgressReport>,
    token: &ProgressToken,
    peer: &Peer<RoleServer>,
) -> T {
    let mut last = f64::NEG_INFINITY;
    let mut tell = async |report: ProgressReport| {
        // The protocol wants it to grow.
        if report.done > last {
            last = report.done;
            let mut told = ProgressNotificationParam::new(token.clone(), report.done);
            told.total = report.total;
            told.message = report.message.map(|message| bounds::clean(&message).into_owned());
            // A caller that has gone is noticed elsewhere.
            let _gone = peer.notify_progress(told).await;
        }
    };
    let mut call = std::pin::pin!(call);
    loop {
        tokio::select! {
            biased;
            Some(report) = reports.recv() => tell(report).await,
            outcome = &mut call => {
                while let Ok(report) = reports.try_recv() {
                    tell(report).await;
                }
                return outcome;
            }
        }
    }
}

/// What a request asked for, and when.
struct Operation {
    method: &'static str,
    version: &'static str,
    started: Instant,
}

impl Operation {
    fn begin(method: &'static str, context: &RequestContext<RoleServer>) -> Self {
        let version = context.protocol_version();
        let known = PROTOCOL_VERSIONS.iter().find(|known| Some(*known) == version.as_ref());
        Self { method, version: known.map_or("other", ProtocolVersion::as_str), started: Instant::now() }
    }
}

/// What the HTTP side found out about the request.
fn scope(context: &RequestContext<RoleServer>) -> Result<&Arc<RequestScope>, ErrorData> {
    context
        .extensions
        .get::<http::request::Parts>()
        .and_then(|parts| parts.extensions.get::<Arc<RequestScope>>())
        .ok_or_else(|| ErrorData::internal_error("the request has no scope", None))
}

/// The caller's rights. The operator has none: its token is good for the handshake only.
fn rights(scope: &RequestScope) -> Result<&Rights, ErrorData> {
    let refused = || ErrorData::invalid_request("this identity may do the handshake and nothing else", None);
    scope.rights.as_deref().ok_or_else(refused)
}

/// The error for a tool that doesn't exist for a caller, from which a model can correct itself.
fn unknown_tool(name: &str, near: &[String]) -> ErrorData {
    let name = safe_name(name);
    let near: Vec<&str> = near.iter().map(String::as_str).collect();
    let message = if near.is_empty() {
        format!("unknown tool: {name}; tools/list gives the tools there are")
    } else {
        format!("unknown tool: {name}; did you mean {}?", alternatives(&near))
    };
    ErrorData::invalid_params(message, Some(json!({ "tool": name, "similar": near })))
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        self.shared.info.clone()
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(PROTOCOL_VERSIONS)
    }

    async fn ping(&self, context: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.operated(&Operation::begin("ping", &context), "", "");
        Ok(())
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let operation = Operation::begin("initialize", &context);
        let result = self.negotiate_initialize(&request);
        self.operated(&operation, "", if result.is_ok() { "" } else { "-32022" });
        result
    }

    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let operation = Operation::begin("server/discover", &context);
        let mut result = DiscoverResult::from_server_info(PROTOCOL_VERSIONS.to_vec(), self.get_info());
        result.ttl_ms = LIST_TTL_MS;
        result.cache_scope = CacheScope::Private;
        self.operated(&operation, "", "");
        Ok(result)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let operation = Operation::begin("tools/list", &context);
        let tools = self.shared.guards.catalogue.list(rights(scope(&context)?)?);
        let mut result = ListToolsResult::with_all_items(tools.to_vec());
        result.ttl_ms = Some(LIST_TTL_MS);
        result.cache_scope = Some(CacheScope::Private);
        result.meta = Some(self.meta());
        self.operated(&operation, "", "");
        Ok(result)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        // For the check of headers that repeat arguments, which knows no caller.
        self.shared.guards.catalogue.get(name).map(|tool| tool.definition.clone())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let operation = Operation::begin("tools/call", &context);
        let scope = scope(&context)?;
        let rights = rights(scope)?;
        let arguments = request.arguments.unwrap_or_default();
        let argument_names = audit::argument_names(&arguments);
        let (progress, told) = match context.meta.get_progress_token() {
            Some(token) => {
                let (progress, reports) = Progress::channel();
                (progress, Some((token, reports)))
            }
            None => (Progress::default(), None),
        };
        let call =
            Call { caller: &scope.caller, rights, name: &request.name, arguments, progress, gone: context.ct.clone() };
        let span = tracing::info_span!("tool_call", request_id = scope.request_id, tool = safe_name(&request.name));
        let running = self.shared.guards.call(call).instrument(span);
        let outcome = match told {
            Some((token, reports)) => telling(running, reports, &token, &context.peer).await,
            None => running.await,
        };

        let exists = !matches!(outcome, Outcome::Unknown(_) | Outcome::Refused(_));
        let tool = if exists { request.name.as_ref() } else { UNKNOWN_TOOL };
        let (status, error_code, error_type, bytes): (_, &'static str, _, _) = match &outcome {
            Outcome::Answered(answer) => ("success", "", "", answer.text.len()),
            Outcome::Failed(error) | Outcome::Refused(error) => ("error", error.code.into(), "tool_error", 0),
            Outcome::Panicked => ("exception", ErrorCode::Internal.into(), "panic", 0),
            Outcome::Abandoned => ("error", "abandoned", "abandoned", 0),
            Outcome::Unknown(_) => ("error", "unknown_tool", "-32602", 0),
        };
        let duration = operation.started.elapsed();
        self.shared.metrics.called(tool, status, duration, bytes);
        self.operated(&operation, tool, error_type);
        audit::Record {
            request_id: &scope.request_id,
            caller: &scope.caller,
            tool: &request.name,
            arguments: &argument_names,
            allowed: exists,
            outcome: if matches!(outcome, Outcome::Abandoned) { "abandoned" } else { status },
            error_code,
            duration,
            trace_id: context
                .meta
                .get_traceparent()
                .or(scope.traceparent.as_deref())
                .and_then(audit::trace_id)
                .unwrap_or_default(),
        }
        .write();

        match outcome {
            Outcome::Answered(answer) => {
                let mut result = CallToolResult::success(vec![ContentBlock::text(answer.text)]);
                result.structured_content = Some(answer.value);
                result.meta = Some(self.meta());
                Ok(result.into())
            }
            Outcome::Failed(error) | Outcome::Refused(error) => Ok(self.failure(&error).into()),
            Outcome::Panicked => {
                let error = ToolError::internal("the tool ended with a fault of the connector")
                    .with_remedy("whoever runs the connector finds the place in its log");
                Ok(self.failure(&error).into())
            }
            Outcome::Abandoned => Err(ErrorData::new(RpcCode::INTERNAL_ERROR, "the caller has gone", None)),
            Outcome::Unknown(near) => Err(unknown_tool(&request.name, &near)),
        }
    }

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        rights(scope(&context)?)?;
        let mut result = CompleteResult::default();
        result.meta = Some(self.meta());
        Ok(result)
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        rights(scope(&context)?)?;
        let mut result = ListPromptsResult::default().with_ttl_ms(LIST_TTL_MS);
        result.cache_scope = Some(CacheScope::Private);
        result.meta = Some(self.meta());
        Ok(result)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let message = format!("unknown prompt: {}; this server has none", safe_name(&request.name));
        Err(ErrorData::invalid_params(message, None))
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        rights(scope(&context)?)?;
        let mut result = ListResourcesResult::default().with_ttl_ms(LIST_TTL_MS);
        result.cache_scope = Some(CacheScope::Private);
        result.meta = Some(self.meta());
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        rights(scope(&context)?)?;
        let mut result = ListResourceTemplatesResult::default().with_ttl_ms(LIST_TTL_MS);
        result.cache_scope = Some(CacheScope::Private);
        result.meta = Some(self.meta());
        Ok(result)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri: String = request.uri.chars().filter(|c| !c.is_control()).take(256).collect();
        Err(ErrorData::resource_not_found("this server has no resources", Some(json!({ "uri": uri }))))
    }
}
