//! The resource `server://version`: what a client asks before it relies on something.

use rmcp::model::{Resource, ResourceContents};
use serde_json::json;

use super::handler::PROTOCOL_VERSIONS;

/// Where it is read.
pub const URI: &str = "server://version";
const MIME_TYPE: &str = "application/json";

/// How it is listed.
#[must_use]
pub fn build_resource() -> Resource {
    Resource::new(URI, "version")
        .with_title("Version of this server")
        .with_description("Version of the server, the protocol revisions that it serves, and what has changed in it.")
        .with_mime_type(MIME_TYPE)
}

/// What it holds. `minimumClientVersion` is the oldest protocol revision that a client may speak.
#[must_use]
pub fn build_contents() -> ResourceContents {
    let versions: Vec<&str> = PROTOCOL_VERSIONS.iter().map(rmcp::model::ProtocolVersion::as_str).collect();
    let text = json!({
        "serverVersion": env!("CARGO_PKG_VERSION"),
        "mcpProtocolVersions": versions,
        "minimumClientVersion": versions.first(),
        // The first version has nothing that it could break.
        "breakingChanges": [],
    });
    ResourceContents::text(text.to_string(), URI).with_mime_type(MIME_TYPE)
}
