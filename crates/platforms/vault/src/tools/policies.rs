//! `check_vault_capabilities`, `list_vault_policies` and `read_vault_policy`: what Vault permits, and to whom.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{failed, read};
use crate::{
    MOUNTS_AGE, Vault,
    client::Call,
    paths::{API_ROOT, secret_segments, segments},
    session::{MAX_PAGES, MORE_NAMES},
    wire,
};
use kit::args::PageArgs;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError};

/// Bytes of a policy that are answered.
const MAX_POLICY: usize = 32 * 1024;

const CAPABILITIES: ToolDeclaration = ToolDeclaration::read(
    "check_vault_capabilities",
    "What the token may do",
    "Tells what Vault's policies let the connector do with paths. Paths are written as in policies: \
                  secret/data/apps/web for a secret of a KV version 2 mount, secret/metadata/apps for listing it.",
);

const LIST: ToolDeclaration =
    ToolDeclaration::read("list_vault_policies", "Vault's policies", "Lists the names of ACL policies.")
        .cached(Duration::from_secs(30));

const READ: ToolDeclaration =
    ToolDeclaration::read("read_vault_policy", "A policy of Vault", "Returns the text of an ACL policy.")
        .cached(Duration::from_secs(30));

/// Arguments of `check_vault_capabilities`.
#[derive(Deserialize, JsonSchema)]
struct CapabilitiesInput {
    /// API paths, as in policies: 1 to 50.
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 1024)))]
    paths: Vec<String>,
}

/// Arguments of `list_vault_policies`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    #[serde(flatten)]
    page: PageArgs<200, 200>,
}

/// Arguments of `read_vault_policy`.
#[derive(Deserialize, JsonSchema)]
struct ReadInput {
    /// Name of the policy, as `list_vault_policies` answers it.
    #[schemars(length(min = 1, max = 256))]
    name: String,
}

/// What may be done with paths.
#[derive(Serialize, JsonSchema)]
struct Capabilities {
    /// One entry a path, in the order in which they were asked for.
    paths: Vec<PathCapabilities>,
}

/// What may be done with a path.
#[derive(Serialize, JsonSchema)]
struct PathCapabilities {
    /// The path.
    path: String,
    /// Vault's capabilities: `create`, `read`, `update`, `patch`, `delete`, `list`, `sudo`, `subscribe`, `recover`,
    /// `root`, or only `deny`.
    capabilities: Vec<String>,
    /// The same in words, or that it isn't known.
    verdict: String,
}

/// A policy.
#[derive(Serialize, JsonSchema)]
struct PolicyText {
    /// Its name.
    name: String,
    /// Its text, in HCL or JSON.
    policy: String,
    /// Whether the text was cut.
    truncated: bool,
    /// What to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

pub(super) fn entries(vault: &Arc<Vault>) -> Vec<ToolEntry> {
    vec![read(vault, CAPABILITIES, capabilities), read(vault, LIST, list), read(vault, READ, read_policy)]
}

async fn capabilities(
    vault: Arc<Vault>,
    input: CapabilitiesInput,
    context: CallContext,
) -> Result<Capabilities, ToolError> {
    if input.paths.is_empty() || input.paths.len() > 50 {
        return Err(ToolError::invalid_argument("paths must have 1 to 50 entries").with_argument("paths"));
    }
    // As Vault's pages show it (hashicorp/vault#31660); policies want it without, but where an engine lies there.
    let cuts = input.paths.iter().any(|text| text.starts_with("/v1/"))
        && !vault.mounts(MOUNTS_AGE, context.deadline).await.is_ok_and(|mounts| mounts.has_api_root());
    let mut paths = Vec::with_capacity(input.paths.len());
    for text in &input.paths {
        let mut path = secret_segments("paths", text)?.join("/");
        if cuts && text.starts_with('/') && path.starts_with(API_ROOT) {
            path.replace_range(..API_ROOT.len(), "");
        }
        if path.is_empty() {
            return Err(ToolError::invalid_argument("a path is empty").with_argument("paths"));
        }
        // A trailing slash means a folder in policies, and matters.
        if text.ends_with('/') {
            path.push('/');
        }
        paths.push(path);
    }
    let failed = failed("ask for its capabilities at", "sys/capabilities-self", "update");
    let token = vault.session.token(context.deadline).await.map_err(&failed)?;
    // A LIST is asked for with a slash at its end, whatever was written (`buildLogicalPath` in `http/logical.go`), and so is
    // the right to it: hashicorp/vault#4765.
    let as_folder = |path: &str| (!path.ends_with('/')).then(|| format!("{path}/"));
    let asked: Vec<String> = paths.iter().cloned().chain(paths.iter().filter_map(|path| as_folder(path))).collect();
    let found = match vault.session.capabilities(&token, &asked, context.deadline).await {
        Err(refused) if refused.may_be_the_token() => {
            let newer = vault.session.replace(&token, context.deadline).await.map_err(&failed)?;
            vault.session.capabilities(&newer, &asked, context.deadline).await
        }
        outcome => outcome,
    }
    .map_err(&failed)?;
    // What nothing is permitted at may be a path as the tools take it. Without the mounts that isn't known.
    let is_denied = |path: &String| found.get(path).is_some_and(|list| granted(list).is_empty());
    let mounts = if paths.iter().any(is_denied) { vault.mounts(MOUNTS_AGE, context.deadline).await.ok() } else { None };
    let paths = paths
        .into_iter()
        .map(|path| {
            let (capabilities, mut verdict) = match found.get(&path) {
                Some(list) => (list.clone(), in_words(list)),
                // Vault leaves out blanks at the ends of what it is asked about (`TypeCommaStringSlice`).
                None => {
                    (Vec::new(), "not known: Vault answers for another path, without blanks at its ends".to_owned())
                }
            };
            if let Some(meant) = mounts.as_ref().filter(|_| is_denied(&path)).and_then(|mounts| mounts.api_paths(&path))
            {
                verdict.push_str(&meant);
            }
            let lists = |path: &str| found.get(path).map(|list| list.iter().any(|one| one == "list" || one == "root"));
            if let Some(folder) = as_folder(&path)
                && let (Some(here), Some(listing)) = (lists(&path), lists(&folder))
                && here != listing
            {
                let how = if listing { "permitted" } else { "not permitted" };
                let _ = write!(verdict, "; a list is asked of {folder}, where it is {how}");
            }
            PathCapabilities { path, capabilities, verdict }
        })
        .collect();
    Ok(Capabilities { paths })
}

fn granted(capabilities: &[String]) -> Vec<&str> {
    capabilities.iter().map(String::as_str).filter(|capability| *capability != "deny").collect()
}

fn in_words(capabilities: &[String]) -> String {
    if capabilities.iter().any(|capability| capability == "root") {
        return "everything is permitted".to_owned();
    }
    let granted = granted(capabilities);
    if granted.is_empty() {
        return "nothing is permitted: no policy covers the path, or one denies it".to_owned();
    }
    format!("permitted: {}", granted.join(", "))
}

async fn list(vault: Arc<Vault>, input: ListInput, context: CallContext) -> Result<Page<String>, ToolError> {
    let call = Call::list(["sys", "policies", "acl"]);
    let listed = vault.session.list(&call, MAX_PAGES, context.deadline).await.map_err(failed(
        "list policies at",
        "sys/policies/acl",
        "list",
    ))?;
    let page = input.page.cut(listed.names, String::as_str)?;
    if !page.items.is_empty() {
        return Ok(if listed.cut { page.with_hint(MORE_NAMES) } else { page });
    }
    Ok(page.with_hint("there are none; every namespace has the policy default, so look whether the namespace is right"))
}

async fn read_policy(vault: Arc<Vault>, input: ReadInput, context: CallContext) -> Result<PolicyText, ToolError> {
    let name = segments("name", &input.name)?;
    let call = Call::get(["sys", "policies", "acl"].into_iter().chain(name.iter().map(String::as_str)));
    let path = call.policy_path();
    if name.is_empty() {
        return Err(ToolError::invalid_argument("name is empty").with_argument("name"));
    }
    let mut policy: wire::Policy =
        vault.session.data(&call, context.deadline).await.map_err(failed("read the policy at", &path, "read"))?;
    // Escaping can double the text in the answer.
    let room = MAX_POLICY.min(context.max_result_bytes / 2);
    let truncated = policy.policy.len() > room;
    if truncated {
        policy.policy.truncate(policy.policy.floor_char_boundary(room));
    }
    let name = name.join("/");
    // Vault takes no policy without a text (`sys/policies/acl`), and reads names in lower case.
    let hints = match name.to_lowercase().as_str() {
        "root" if policy.policy.is_empty() => vec!["root has no text: it permits everything".to_owned()],
        _ => Vec::new(),
    };
    Ok(PolicyText { name, policy: policy.policy, truncated, hints })
}
