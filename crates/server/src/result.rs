//! How a tool call ended, as the result that goes over the wire.

use rmcp::model::{CallToolResult, ContentBlock, MetaObject};

use super::guards::{bounds::Bounded, notes::Notes, provenance};
use tools::ToolError;

/// Where failed calls say why, as an object. It can't be `structuredContent`, which must fit the tool's output schema.
const META_ERROR: &str = "mcp-connectors.io/error";

/// An answer of a platform's tool: JSON as the first content block and as structured content, then the mark and what else
/// there is to say. `meta` is what every result has.
pub fn build_answer(
    mut meta: MetaObject,
    platform: &str,
    tool: &str,
    answer: Bounded,
    notes: &Notes,
) -> CallToolResult {
    let mut blocks = vec![ContentBlock::text(answer.text), provenance::mark(platform, tool)];
    blocks.extend(notes.blocks(tool));
    let mut result = CallToolResult::success(blocks);
    result.structured_content = Some(answer.value);
    provenance::write(&mut meta, platform, tool);
    notes.write(&mut meta);
    result.meta = Some(meta);
    result
}

/// An error that the caller can act on. One of the guards is in our own words; one of a tool may hold the platform's, and is
/// marked as an answer is.
pub fn build_failure(
    mut meta: MetaObject,
    platform: &str,
    tool: &str,
    error: &ToolError,
    notes: &Notes,
) -> CallToolResult {
    let is_of_platform = error.of_platform;
    let error = serde_json::to_value(error).unwrap_or_default();
    let mut blocks = vec![ContentBlock::text(error.to_string())];
    if is_of_platform {
        blocks.push(provenance::mark_failure(platform, tool));
        provenance::write(&mut meta, platform, tool);
    }
    let mut result = CallToolResult::error(blocks);
    notes.write(&mut meta);
    meta.insert(META_ERROR.to_owned(), error);
    result.meta = Some(meta);
    result
}
