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

/// An error that the caller can act on, in our own words.
pub fn build_failure(mut meta: MetaObject, error: &ToolError, notes: &Notes) -> CallToolResult {
    let error = serde_json::to_value(error).unwrap_or_default();
    let mut result = CallToolResult::error(vec![ContentBlock::text(error.to_string())]);
    notes.write(&mut meta);
    meta.insert(META_ERROR.to_owned(), error);
    result.meta = Some(meta);
    result
}
