//! The tool that is measured, as rmcp's macros make it: no authentication, no guards, no limits, no audit.
//!
//! Arguments: the address to listen on, and the platform's URL.

use std::{error::Error, sync::Arc};

use rmcp::{
    Json, ServerHandler,
    handler::server::{router::tool::ToolRouter, wrapper::Parameters},
    tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Arguments of `list_vault_secrets`, as the product declares them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "declared for the schema's sake")]
struct ListInput {
    /// The mount followed by the folder in it, such as `secret/apps`. With `mount`, the folder in that mount.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    path: String,
    /// Mount, if it should not be found by the path.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    mount: Option<String>,
    /// Levels of folders to go down, 1 to 4; 1 if left out. Each folder costs a request, of which there are 50 at most.
    #[serde(default)]
    #[schemars(range(min = 1, max = 4))]
    depth: Option<u8>,
    /// Entries of one answer: 1 to 1000, 200 if left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// `next_cursor` of the answer before.
    #[serde(default)]
    cursor: Option<String>,
}

/// One page of a list.
#[derive(Serialize, JsonSchema)]
struct Page {
    /// The entries, in a stable order.
    items: Vec<String>,
    /// Whether there are more.
    truncated: bool,
    /// Pass this as `cursor` to go on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What to know or to try, above all when the list is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

#[derive(Deserialize)]
struct Envelope {
    data: Keys,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

#[derive(Clone)]
struct Connector {
    tool_router: Arc<ToolRouter<Self>>,
    client: reqwest::Client,
    url: Arc<str>,
}

#[tool_router]
impl Connector {
    #[tool(
        description = "Lists the names of secrets and folders below a path of a KV engine. Folders end in a slash. \
                       depth above 1 also lists what is in them.",
        annotations(title = "Secrets below a path", read_only_hint = true, idempotent_hint = true)
    )]
    async fn list_vault_secrets(&self, Parameters(input): Parameters<ListInput>) -> Result<Json<Page>, String> {
        let folder = input.path.strip_prefix("secret/").ok_or("unknown mount")?;
        let url = format!("{}/v1/secret/metadata/{folder}/?list=true", self.url);
        let answer = self.client.get(url).header("x-vault-token", "bench").send().await;
        let envelope: Envelope = answer.map_err(|e| e.to_string())?.json().await.map_err(|e| e.to_string())?;
        Ok(Json(Page { items: envelope.data.keys, truncated: false, next_cursor: None, hints: Vec::new() }))
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Connector {}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bare-rmcp ADDRESS URL".into());
    };
    let client = reqwest::Client::builder().no_proxy().build()?;
    let connector = Connector { tool_router: Arc::new(Connector::tool_router()), client, url: url.into() };
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .disable_allowed_hosts();
    let service =
        StreamableHttpService::new(move || Ok(connector.clone()), Arc::new(NeverSessionManager::default()), config);
    let app = axum::Router::new().nest_service("/mcp", service);
    let listener = tokio::net::TcpListener::bind(address).await?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, app).await?)
}
