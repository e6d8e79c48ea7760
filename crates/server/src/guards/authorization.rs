//! Whether a caller may use a tool. A tool that this caller may not use is unknown to it; one that changes something, and
//! that nobody may use because the manifest offers no mutations or names nobody for them, is refused with what would let
//! the caller use it.

use std::sync::Arc;

use crate::{
    access::{Mutating, Rights},
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

/// What lets a caller change something, where no rule names anybody.
const RULE: &str = "a rule with mutations: true for this agent's ServiceAccount to spec.access.allow";

/// Decides.
#[must_use]
pub fn decide<'a>(catalogue: &'a Catalogue, rights: &Rights, name: &str) -> Verdict<'a> {
    if let Some(tool) = catalogue.get(name)
        && rights.allow(tool.entry.declaration.name, tool.mutates())
    {
        return Verdict::Allowed(tool);
    }
    let refused = |why: &str, remedy: String| {
        let message = format!("{} changes something, and {why}", safe_name(name));
        let remedy = format!("ask whoever owns the McpConnector to {remedy}");
        Verdict::Refused(ToolError::new(ErrorCode::PermissionDenied, message).with_remedy(remedy))
    };
    if let Some(tool) = catalogue.get(name)
        && tool.mutates()
        && rights.mutating == Mutating::Nobody
        && rights.may_know_of(tool.entry.declaration.name)
    {
        return refused("no rule of this connector's spec.access names who may", format!("add {RULE}"));
    }
    if let Some(bare) = catalogue.hidden_by_read_only(name)
        && rights.may_know_of(bare)
    {
        let mut remedy = "set spec.tools.mutations: Confirm".to_owned();
        if rights.mutating == Mutating::Nobody {
            remedy = format!("{remedy}, and to add {RULE}");
        }
        return refused("this connector is read-only", remedy);
    }
    let visible = catalogue.list(rights);
    let near = suggest(name, visible.iter().map(|tool| tool.name.as_ref()));
    Verdict::Unknown(near.into_iter().map(str::to_owned).collect())
}
