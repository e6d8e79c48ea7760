//! The protocol: answers MCP's methods out of the catalogue and leads tool calls through the guards. rmcp speaks both
//! eras of the protocol and calls this; one value is made for each request, so all of it is shared.

use std::{borrow::Cow, sync::Arc};

use rmcp::{
    ErrorData, Peer, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult,
        CustomRequest, CustomResult, DiscoverResult, ErrorCode as RpcCode, GetPromptRequestParams, GetPromptResponse,
        Implementation, InitializeRequestParams, InitializeResult, ListPromptsResult, ListResourceTemplatesResult,
        ListResourcesResult, ListToolsResult, MetaObject, PaginatedRequestParams, ProgressNotificationParam,
        ProgressToken, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
        ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::Instrument;

use super::{
    access::Rights,
    audit::CallDescription,
    catalogue::CONFIRM,
    door::RequestScope,
    guards::{Call, Called, Guards, Outcome, bounds, notes::Notes},
    malformed,
    observers::{self, EndedCall, Words},
    operation::Operation,
    result::{build_answer, build_failure},
    state::ReplicaState,
    text::{alternatives, safe_name},
    version,
};
use tools::{Progress, ProgressReport, ToolError};

/// Name that the server gives itself.
pub const SERVER_NAME: &str = "mcp-connectors";
/// Revisions of the protocol that are served.
pub const PROTOCOL_VERSIONS: &[ProtocolVersion] =
    &[ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2026_07_28];

/// Milliseconds for which a list may be kept. It changes only when the pods are replaced.
const LIST_TTL_MS: u64 = 60_000;
/// Where results say who answers.
const META_SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// Answers MCP's methods.
#[derive(Clone)]
pub struct Handler {
    shared: Arc<Shared>,
}

struct Shared {
    guards: Arc<Guards>,
    state: Arc<ReplicaState>,
    info: ServerConfig,
    server_info: Value,
}

impl Handler {
    /// A handler that offers the guards' tools. `instructions` tell an agent what they are for.
    #[must_use]
    pub fn new(guards: Arc<Guards>, state: Arc<ReplicaState>, instructions: String) -> Self {
        // Prompts and completions are declared because clients ask for them; the lists are empty.
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
        Self { shared: Arc::new(Shared { guards, state, info, server_info }) }
    }

    fn meta(&self) -> MetaObject {
        let mut meta = MetaObject::new();
        meta.insert(META_SERVER_INFO.to_owned(), self.shared.server_info.clone());
        meta
    }

    /// Ends an operation that is not about a tool.
    fn end(&self, operation: Operation, error_type: &'static str) {
        operation.end(&self.shared.state.metrics, error_type);
    }

    fn failure(&self, tool: &str, error: &ToolError, notes: &Notes) -> CallToolResult {
        build_failure(self.meta(), self.shared.guards.platform, tool, error, notes)
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
            told.message = report.message.map(|message| bounds::tidy(&message));
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

/// Begins an operation that is not about a tool.
fn begin(method: &'static str, context: &RequestContext<RoleServer>) -> Result<Operation, ErrorData> {
    Ok(Operation::begin(method, None, scope(context)?, context))
}

/// Begins an operation of a caller who may do more than the handshake.
fn begin_with_rights(method: &'static str, context: &RequestContext<RoleServer>) -> Result<Operation, ErrorData> {
    rights(scope(context)?)?;
    begin(method, context)
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
        self.end(begin("ping", &context)?, "");
        Ok(())
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let operation = begin("initialize", &context)?;
        let result = self.negotiate_initialize(&request);
        self.end(operation, if result.is_ok() { "" } else { "-32022" });
        result
    }

    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let operation = begin("server/discover", &context)?;
        let mut result = DiscoverResult::from_server_info(PROTOCOL_VERSIONS.to_vec(), self.get_info());
        result.ttl_ms = LIST_TTL_MS;
        result.cache_scope = CacheScope::Private;
        self.end(operation, "");
        Ok(result)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let operation = begin_with_rights("tools/list", &context)?;
        let tools = self.shared.guards.catalogue.list(rights(scope(&context)?)?);
        let mut result = ListToolsResult::with_all_items(tools.to_vec());
        result.ttl_ms = Some(LIST_TTL_MS);
        result.cache_scope = Some(CacheScope::Private);
        result.meta = Some(self.meta());
        self.end(operation, "");
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
        let scope = scope(&context)?;
        let rights = rights(scope)?;
        let Shared { guards, state, .. } = &*self.shared;
        let offered = guards.catalogue.get(&request.name);
        let operation = Operation::begin("tools/call", offered.map(|_| &*request.name), scope, &context);
        let trace_id = operation.trace_id().to_string();
        let arguments = request.arguments.unwrap_or_default();
        operation.name_arguments(&arguments);
        let acts = offered.is_some_and(|tool| tool.mutates()) && arguments.get(CONFIRM) == Some(&Value::Bool(true));
        // Before the tool runs, so that a call that the process doesn't survive is on record too.
        let record = state.audit.begin(&CallDescription {
            request_id: &scope.request_id,
            caller: &scope.caller,
            peer: scope.peer,
            tool: &request.name,
            effect: offered.map(|tool| tool.entry.declaration.effect),
            arguments: &arguments,
            trace_id: &trace_id,
        });
        let (progress, told) = match context.meta.get_progress_token().filter(|_| scope.streams) {
            Some(token) => {
                let (progress, reports) = Progress::channel();
                (progress, Some((token, reports)))
            }
            None => (Progress::default(), None),
        };
        let call = Call {
            caller: &scope.caller,
            address: scope.peer.map(|peer| peer.ip()),
            rights,
            name: &request.name,
            arguments,
            progress,
            gone: context.ct.clone(),
            rate: &scope.rate,
        };
        let lines = tracing::error_span!(
            "tool_call",
            request_id = scope.request_id,
            trace_id,
            tool = safe_name(&request.name),
            caller = %scope.caller,
        );
        let running = operation.run(Box::pin(guards.call(call))).instrument(lines.clone());
        let Called { outcome, notes } = match told {
            Some((token, reports)) => telling(running, reports, &token, &context.peer).await,
            None => running.await,
        };

        let call = EndedCall {
            caller: &scope.caller,
            name: &request.name,
            offered: offered.is_some(),
            acts,
            duration: operation.started().elapsed(),
            operation,
            record,
            words: Words::of(&outcome),
            outcome: &outcome,
            notes: &notes,
        };
        lines.in_scope(|| observers::tell(state, &call));
        drop(call);

        match outcome {
            Outcome::Answered(answer) => {
                Ok(build_answer(self.meta(), guards.platform, &request.name, answer, &notes).into())
            }
            Outcome::Failed(error) | Outcome::Held(_, error) | Outcome::Refused(error) => {
                Ok(self.failure(&request.name, &error, &notes).into())
            }
            Outcome::Panicked => {
                let error = ToolError::internal("the tool ended with a fault of the connector")
                    .with_remedy("whoever runs the connector finds the place in its log");
                Ok(self.failure(&request.name, &error, &notes).into())
            }
            Outcome::Abandoned => Err(ErrorData::new(RpcCode::INTERNAL_ERROR, "the caller has gone", None)),
            Outcome::Unknown(near) => Err(unknown_tool(&request.name, &near)),
        }
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        rights(scope(&context)?)?;
        let is_stateless = context.protocol_version() == Some(ProtocolVersion::V_2026_07_28);
        if let Some(wrong) = malformed::describe(&request.method, request.params.as_ref(), is_stateless) {
            return Err(ErrorData::invalid_params(wrong, None));
        }
        // Its name is the caller's words, of any length.
        let message = format!("unknown method: {}", safe_name(&request.method));
        Err(ErrorData::new(RpcCode::METHOD_NOT_FOUND, message, None))
    }

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let operation = begin_with_rights("completion/complete", &context)?;
        let mut result = CompleteResult::default();
        result.meta = Some(self.meta());
        self.end(operation, "");
        Ok(result)
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let operation = begin_with_rights("prompts/list", &context)?;
        let mut result = ListPromptsResult::default().with_ttl_ms(LIST_TTL_MS);
        result.cache_scope = Some(CacheScope::Private);
        result.meta = Some(self.meta());
        self.end(operation, "");
        Ok(result)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let operation = begin_with_rights("prompts/get", &context)?;
        self.end(operation, "-32602");
        let message = format!("unknown prompt: {}; this server has none", safe_name(&request.name));
        Err(ErrorData::invalid_params(message, None))
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let operation = begin_with_rights("resources/list", &context)?;
        let mut result = ListResourcesResult::with_all_items(vec![version::build_resource()]).with_ttl_ms(LIST_TTL_MS);
        // It is the same for everyone.
        result.cache_scope = Some(CacheScope::Public);
        result.meta = Some(self.meta());
        self.end(operation, "");
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let operation = begin_with_rights("resources/templates/list", &context)?;
        let mut result = ListResourceTemplatesResult::default().with_ttl_ms(LIST_TTL_MS);
        result.cache_scope = Some(CacheScope::Private);
        result.meta = Some(self.meta());
        self.end(operation, "");
        Ok(result)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let operation = begin_with_rights("resources/read", &context)?;
        if request.uri != version::URI {
            self.end(operation, "-32002");
            let uri = common::foreign::line(&request.uri, 256);
            let message = format!("there is no such resource; this server has {}", version::URI);
            return Err(ErrorData::resource_not_found(message, Some(json!({ "uri": uri }))));
        }
        let mut result = ReadResourceResult::new(vec![version::build_contents()]);
        result.ttl_ms = Some(LIST_TTL_MS);
        result.cache_scope = Some(CacheScope::Public);
        result.meta = Some(self.meta());
        self.end(operation, "");
        Ok(result.into())
    }
}
