//! Vault's tools, one file a group. A tool finds out where its path lies, asks the manifest's rules, calls, and answers
//! with typed fields; [`super::error`] words what goes wrong.

mod keeping;
mod leases;
mod listing;
mod policies;
mod secrets;
mod server;
mod surroundings;
mod versions;
mod write;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Vault, client::Error, error::to_tool_error};
use tools::{ToolEntry, ToolError, mutation, read};

/// Every tool of Vault.
pub(super) fn entries(vault: &Arc<Vault>) -> Vec<ToolEntry> {
    [
        server::entries(vault),
        surroundings::entries(vault),
        listing::entries(vault),
        secrets::entries(vault),
        policies::entries(vault),
        leases::entries(vault),
        write::entries(vault),
        versions::entries(vault),
    ]
    .concat()
}

/// A tool without arguments.
#[derive(Deserialize, JsonSchema)]
pub(super) struct NoArguments {}

/// Words an error of Vault for what was tried: `failed("read", path, "read")`.
fn failed<'a>(doing: &'a str, path: &'a str, capability: &'a str) -> impl Fn(Error) -> ToolError + 'a {
    move |error| to_tool_error(&error, doing, path, capability)
}
