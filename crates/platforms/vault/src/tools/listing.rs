//! `list_vault_secrets`: what is in a KV engine, as far as the manifest lets the tools touch it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{failed, read};
use crate::{
    MOUNTS_AGE, MOUNTS_MIN_AGE, Vault,
    client::{Call, Error},
    paths::{Location, secret_segments},
    session::{Listed, MORE_NAMES},
};
use kit::args::{Limit, PageArgs};
use tools::{CallContext, ErrorCode, Page, ToolDeclaration, ToolEntry, ToolError};

/// LIST requests of one call at most.
const MAX_LISTS: usize = 50;
const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_vault_secrets",
    "Secrets below a path",
    "Lists names of secrets, deleted ones too, and folders below a path of a KV engine. Folders end in a slash. depth \
                  above 1 also lists what is in them.",
);

/// Arguments of `list_vault_secrets`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// The mount followed by the folder in it, such as `secret/apps`. With `mount`, the folder in that mount.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    path: String,
    /// Mount, if it should not be found by the path.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    mount: Option<String>,
    /// Levels of folders to go down. Each folder costs a request, of which there are 50 at most.
    #[serde(default)]
    depth: Limit<1, 4>,
    #[serde(flatten)]
    page: PageArgs<200, 1_000>,
}

pub(super) fn entries(vault: &Arc<Vault>) -> Vec<ToolEntry> {
    vec![read(vault, LIST, list)]
}

async fn list(vault: Arc<Vault>, input: ListInput, context: CallContext) -> Result<Page<String>, ToolError> {
    let depth = input.depth.get();
    if input.path.trim_matches('/').is_empty() && input.mount.is_none() {
        return Err(ToolError::invalid_argument("path is empty")
            .with_argument("path")
            .with_remedy("begin with a mount, as list_vault_mounts tells them"));
    }
    let (path, mount) = (input.path.as_str(), input.mount.as_deref());
    let mut root = vault.located(path, mount, MOUNTS_AGE, context.deadline).await?;
    let mut found = below(&vault, &root, depth, &context).await;
    let is_nothing = match &found {
        Ok(found) => found.entries.is_empty() && !found.hidden,
        Err(error) => error.code == ErrorCode::Conflict,
    };
    if is_nothing {
        // Vault answers the same for an engine that was made anew with the other version.
        let now = vault.located(path, mount, MOUNTS_MIN_AGE, context.deadline).await?;
        if now != root {
            root = now;
            found = below(&vault, &root, depth, &context).await;
        }
    }
    let Found { entries, untaken, unread, closed, hidden, cut, short } = found?;
    let is_empty = entries.is_empty();
    let mut page = input.page.cut(entries, String::as_str)?;
    if is_empty {
        page = page.with_hint(format!(
            "there is nothing at {}; it may be a secret and no folder, which read_vault_secret tells",
            root.full()
        ));
    }
    if hidden {
        page = page.with_hint("some entries are left out: the manifest's paths don't permit them");
    }
    if !closed.is_empty() {
        let names = closed.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        page = page.with_hint(format!(
            "Vault's policies don't permit to list {} of the folders, and what is in them is left out: {names}",
            closed.len()
        ));
    }
    if short {
        page = page.with_hint(MORE_NAMES);
    }
    if !unread.is_empty() {
        let names = unread.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        page = page.with_hint(format!(
            "Vault failed to list {} of the folders, and what is in them is left out: {names}; list them by themselves",
            unread.len()
        ));
    }
    if !untaken.is_empty() {
        let names = untaken.iter().take(5).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        page = page.with_hint(format!(
            "{} of the names can't be passed to the tools, because a server could take them for another path: {names}",
            untaken.len()
        ));
    }
    if cut {
        page = page.with_hint(format!("only {MAX_LISTS} folders were looked into; list the others by themselves"));
    }
    Ok(page)
}

/// What is below a folder.
struct Found {
    entries: Vec<String>,
    /// Those of the entries that no tool takes as a path.
    untaken: Vec<String>,
    /// Folders that could not be listed now.
    unread: Vec<String>,
    /// Folders that the policies don't permit to list.
    closed: Vec<String>,
    /// Whether something is left out.
    hidden: bool,
    /// Whether not all folders were looked into.
    cut: bool,
    /// Whether a folder may have more names than were read.
    short: bool,
}

async fn below(vault: &Vault, root: &Location, depth: usize, context: &CallContext) -> Result<Found, ToolError> {
    vault.rules.check_folder(root)?;
    let mut found = Found {
        entries: Vec::new(),
        untaken: Vec::new(),
        unread: Vec::new(),
        closed: Vec::new(),
        hidden: false,
        cut: false,
        short: false,
    };
    let mut lists = 0;
    let mut folders = vec![(root.clone(), String::new(), 1)];
    while let Some((folder, prefix, level)) = folders.pop() {
        let left = MAX_LISTS.saturating_sub(lists);
        if left == 0 {
            found.cut = true;
            break;
        }
        let call = Call::list(folder.api("metadata")).in_pages();
        let path = call.policy_path();
        lists += 1;
        let names = match vault.session.list(&call, left, context.deadline).await {
            Ok(Listed { names, requests, cut }) => {
                lists += requests - 1;
                found.short |= cut;
                names
            }
            // A folder further down that is closed, or fails, is no reason to hide the others.
            Err(Error::Forbidden(_)) if level > 1 => {
                found.closed.push(prefix);
                continue;
            }
            Err(error) if level > 1 && !error.may_be_the_token() => {
                found.unread.push(prefix);
                continue;
            }
            Err(error) => return Err(failed("list", &path, "list")(error)),
        };
        for name in names {
            let child = folder.child(&name);
            let full = child.full();
            let is_folder = name.ends_with('/');
            let permitted = if is_folder { vault.rules.permit_folder(&full) } else { vault.rules.permit(&full) };
            if !permitted {
                found.hidden = true;
                continue;
            }
            let entry = format!("{prefix}{name}");
            if secret_segments("path", &full).is_err() {
                found.untaken.push(entry.clone());
            } else if is_folder && level < depth {
                folders.push((child, entry.clone(), level + 1));
            }
            found.entries.push(entry);
        }
    }
    Ok(found)
}
