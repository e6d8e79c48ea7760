//! Whether a caller may use a tool. A tool that this caller may not use is unknown to it; one that is hidden only
//! because the manifest offers no mutations is refused with the field that would offer it.

use std::sync::Arc;

use crate::{
    access::Rights,
    catalogue::{Catalogue, OfferedTool},
    text::{safe_name, suggest},
};
use tools::{ErrorCode, ToolError};

/// What is decided.
pub enum Verdict<'a> {
    /// The tool may be used.
    Allowed(&'a Arc<OfferedTool>),
    /// It may not, and the caller may know of it.
    Refused(ToolError),
    /// For this caller there is no such tool. Here are names that may have been meant.
    Unknown(Vec<String>),
}

/// Decides.
#[must_use]
pub fn decide<'a>(catalogue: &'a Catalogue, rights: &Rights, name: &str) -> Verdict<'a> {
    if let Some(tool) = catalogue.get(name)
        && rights.allow(tool.entry.declaration.name, tool.mutates())
    {
        return Verdict::Allowed(tool);
    }
    if let Some(bare) = catalogue.hidden_by_read_only(name)
        && rights.allow(bare, true)
    {
        let message = format!("{} changes something, and this connector is read-only", safe_name(name));
        let remedy = "ask whoever owns the McpConnector to set spec.tools.mutations: Confirm";
        return Verdict::Refused(ToolError::new(ErrorCode::PermissionDenied, message).with_remedy(remedy));
    }
    let visible = catalogue.list(rights);
    let near = suggest(name, visible.iter().map(|tool| tool.name.as_ref()));
    Verdict::Unknown(near.into_iter().map(str::to_owned).collect())
}
