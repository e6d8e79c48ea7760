//! `list_vault_secrets`: what is in a KV engine, as far as the manifest lets the tools touch it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{failed, read};
use crate::{
    Vault,
    client::{Call, Error},
};
use kit::args::{Limit, PageArgs};
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError};

/// LIST requests of one call at most.
const MAX_LISTS: usize = 50;
const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_vault_secrets",
    "Secrets below a path",
    "Lists the names of secrets and folders below a path of a KV engine. Folders end in a slash. depth \
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
    let root = vault.locate(&input.path, input.mount.as_deref(), context.deadline).await?;
    vault.rules.check_folder(&root)?;
    let (mut entries, mut hidden, mut lists, mut cut) = (Vec::new(), false, 0, false);
    let mut folders = vec![(root.clone(), String::new(), 1)];
    while let Some((folder, prefix, level)) = folders.pop() {
        if lists == MAX_LISTS {
            cut = true;
            break;
        }
        lists += 1;
        let call = Call::list(folder.api("metadata"));
        let path = call.policy_path();
        let names = match vault.session.list(&call, context.deadline).await {
            Ok(names) => names.unwrap_or_default(),
            // A folder further down that is closed is no reason to hide the others.
            Err(Error::Forbidden) if level > 1 => {
                hidden = true;
                continue;
            }
            Err(error) => return Err(failed("list", &path, "list")(error)),
        };
        for name in names {
            let child = folder.child(&name);
            let is_folder = name.ends_with('/');
            let permitted =
                if is_folder { vault.rules.permit_folder(&child.full()) } else { vault.rules.permit(&child.full()) };
            if !permitted {
                hidden = true;
                continue;
            }
            let entry = format!("{prefix}{name}");
            if is_folder && level < depth {
                folders.push((child, entry.clone(), level + 1));
            }
            entries.push(entry);
        }
    }
    let is_empty = entries.is_empty();
    let mut page = input.page.cut(entries, String::as_str)?;
    if is_empty {
        page = page.with_hint(format!(
            "there is nothing at {}; it may be a secret and no folder, which read_vault_secret tells",
            root.full()
        ));
    }
    if hidden {
        page = page.with_hint("some entries are left out: the manifest's paths or Vault's policies don't permit them");
    }
    if cut {
        page = page.with_hint(format!("only {MAX_LISTS} folders were looked into; list the others by themselves"));
    }
    Ok(page)
}
