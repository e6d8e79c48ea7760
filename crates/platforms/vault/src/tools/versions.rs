//! `delete_vault_secret`, `undelete_vault_secret` and `destroy_vault_secret`: versions of a secret.

use std::{collections::BTreeSet, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{failed, mutation};
use crate::{
    Vault,
    client::{Call, Error},
    names::Names,
    paths::{KvVersion, Location},
    wire,
};
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

/// Versions of one call to delete or restore.
const MAX_VERSIONS: usize = 50;
/// Versions of one call to destroy.
const MAX_DESTROYED: usize = 10;

const DELETE: ToolDeclaration = ToolDeclaration::destroy(
    "delete_vault_secret",
    "Delete a secret",
    "Deletes versions of a secret (KV version 2), the newest if none are given; undelete_vault_secret \
                  restores them. On KV version 1 the secret is lost for good.",
)
.idempotent();

const UNDELETE: ToolDeclaration = ToolDeclaration::mutate(
    "undelete_vault_secret",
    "Restore a secret",
    "Restores deleted versions of a secret (KV version 2).",
)
.idempotent();

const DESTROY: ToolDeclaration = ToolDeclaration::destroy(
    "destroy_vault_secret",
    "Destroy versions of a secret",
    "Destroys versions of a secret (KV version 2) for good. Nothing can restore them.",
)
.idempotent()
.off_by_default();

/// Arguments of `delete_vault_secret`.
#[derive(Deserialize, JsonSchema)]
struct DeleteInput {
    /// The mount followed by the path in it, without `data/`, such as `secret/apps/web`.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// Mount, if it should not be found by the path; `path` is then the path in it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    mount: Option<String>,
    /// Versions, 1 to 50 (KV version 2); the newest if left out.
    #[serde(default)]
    #[schemars(length(min = 1, max = 50), inner(range(min = 1)))]
    versions: Option<BTreeSet<u64>>,
}

/// Arguments of `undelete_vault_secret`.
#[derive(Deserialize, JsonSchema)]
struct UndeleteInput {
    /// The mount followed by the path in it, without `data/`, such as `secret/apps/web`.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// Mount, if it should not be found by the path; `path` is then the path in it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    mount: Option<String>,
    /// Versions, 1 to 50.
    #[schemars(length(min = 1, max = 50), inner(range(min = 1)))]
    versions: BTreeSet<u64>,
}

/// Arguments of `destroy_vault_secret`.
#[derive(Deserialize, JsonSchema)]
struct DestroyInput {
    /// The mount followed by the path in it, without `data/`, such as `secret/apps/web`.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// Mount, if it should not be found by the path; `path` is then the path in it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    mount: Option<String>,
    /// Versions, 1 to 10.
    #[schemars(length(min = 1, max = 10), inner(range(min = 1)))]
    versions: BTreeSet<u64>,
    /// The newest version of the secret, as `get_vault_secret_metadata` tells it. If it is another, nothing is
    /// destroyed.
    expected_current_version: u64,
}

/// What was done to a secret.
#[derive(Serialize, JsonSchema)]
struct Done {
    /// Mount.
    mount: String,
    /// Path in the mount.
    path: String,
    /// `deleted`, `restored` or `destroyed`.
    outcome: &'static str,
    /// Versions that it was done to; left out for the newest, and on KV version 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<BTreeSet<u64>>,
    /// Whether it can be undone.
    reversible: bool,
}

pub(super) fn entries(vault: &Arc<Vault>) -> Vec<ToolEntry> {
    vec![
        mutation(vault, DELETE, preview_deletion, delete),
        mutation(vault, UNDELETE, preview_restoration, undelete),
        mutation(vault, DESTROY, preview_destruction, destroy),
    ]
}

fn check_versions(versions: &BTreeSet<u64>, max: usize) -> Result<(), ToolError> {
    if versions.is_empty() || versions.len() > max || versions.contains(&0) {
        let message = format!("versions must be 1 to {max} numbers from 1");
        return Err(ToolError::invalid_argument(message).with_argument("versions"));
    }
    Ok(())
}

async fn locate(vault: &Vault, path: &str, mount: Option<&str>, context: &CallContext) -> Result<Location, ToolError> {
    let location = vault.locate(path, mount, context.deadline).await?;
    vault.rules.check(&location)?;
    Ok(location)
}

async fn locate_v2(
    vault: &Vault,
    path: &str,
    mount: Option<&str>,
    context: &CallContext,
) -> Result<Location, ToolError> {
    let location = locate(vault, path, mount, context).await?;
    if location.version == KvVersion::One {
        return Err(ToolError::invalid_argument("a KV engine of version 1 keeps no versions").with_argument("path"));
    }
    Ok(location)
}

async fn metadata(vault: &Vault, location: &Location, context: &CallContext) -> Result<wire::SecretMetadata, Error> {
    vault.session.data(&Call::get(location.api("metadata")), context.deadline).await
}

/// The state of versions, for a preview; `unknown` where the token's policies don't permit to know.
async fn state(
    vault: &Vault,
    location: &Location,
    versions: Option<&BTreeSet<u64>>,
    context: &CallContext,
) -> Result<Value, ToolError> {
    let path = location.api("metadata").join("/");
    let known = match metadata(vault, location, context).await {
        Ok(known) => known,
        Err(Error::Forbidden) => {
            return Ok(json!({ "unknown": "the token's policies don't permit to read the secret's metadata" }));
        }
        Err(error) => return Err(failed("read", &path, "read")(error)),
    };
    let newest = BTreeSet::from([known.current_version]);
    let mut states = serde_json::Map::new();
    for version in versions.unwrap_or(&newest) {
        let state = match known.versions.get(&version.to_string()) {
            None => "does not exist",
            Some(info) if info.destroyed => "destroyed",
            Some(info) if info.deleted_at().is_some() => "deleted",
            Some(_) => "readable",
        };
        states.insert(version.to_string(), state.into());
    }
    Ok(json!({ "current_version": known.current_version, "versions": states }))
}

fn listed(versions: &BTreeSet<u64>) -> String {
    let numbers = versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if versions.len() == 1 { format!("version {numbers}") } else { format!("the versions {numbers}") }
}

async fn change(
    vault: &Vault,
    location: Location,
    kind: &'static str,
    versions: BTreeSet<u64>,
    outcome: &'static str,
    context: &CallContext,
) -> Result<Done, ToolError> {
    let call = Call::post(location.api(kind), json!({ "versions": versions }));
    let path = call.policy_path();
    vault.session.run(&call, context.deadline).await.map_err(failed("write to", &path, "update"))?;
    Ok(Done {
        path: location.path(),
        mount: location.mount,
        outcome,
        versions: Some(versions),
        reversible: outcome != "destroyed",
    })
}

async fn preview_deletion(vault: Arc<Vault>, input: DeleteInput, context: CallContext) -> Result<Preview, ToolError> {
    let location = locate(&vault, &input.path, input.mount.as_deref(), &context).await?;
    let full = location.full();
    if location.version == KvVersion::One {
        refuse_versions(input.versions.as_ref())?;
        let path = location.api("data").join("/");
        let read = vault.session.data::<Names>(&Call::get(location.api("data")), context.deadline).await;
        let state = match read {
            Ok(data) => json!({ "keys": data.into_names() }),
            Err(Error::Forbidden) => json!({ "unknown": "the token's policies don't permit to read the secret" }),
            Err(error) => return Err(failed("read", &path, "read")(error)),
        };
        return Ok(Preview { would: format!("delete {full} for good: KV version 1 keeps no versions"), state });
    }
    if let Some(versions) = &input.versions {
        check_versions(versions, MAX_VERSIONS)?;
    }
    let which = input.versions.as_ref().map_or_else(|| "the newest version".to_owned(), listed);
    Ok(Preview {
        would: format!("delete {which} of {full}; undelete_vault_secret can restore it"),
        state: state(&vault, &location, input.versions.as_ref(), &context).await?,
    })
}

fn refuse_versions(versions: Option<&BTreeSet<u64>>) -> Result<(), ToolError> {
    if versions.is_some() {
        return Err(ToolError::invalid_argument("a KV engine of version 1 keeps no versions").with_argument("versions"));
    }
    Ok(())
}

async fn delete(vault: Arc<Vault>, input: DeleteInput, context: CallContext) -> Result<Done, ToolError> {
    let location = locate(&vault, &input.path, input.mount.as_deref(), &context).await?;
    if let Some(versions) = input.versions {
        if location.version == KvVersion::One {
            refuse_versions(Some(&versions))?;
        }
        check_versions(&versions, MAX_VERSIONS)?;
        return change(&vault, location, "delete", versions, "deleted", &context).await;
    }
    let call = Call::delete(location.api("data"));
    let path = call.policy_path();
    vault.session.run(&call, context.deadline).await.map_err(failed("delete", &path, "delete"))?;
    let reversible = location.version == KvVersion::Two;
    Ok(Done { path: location.path(), mount: location.mount, outcome: "deleted", versions: None, reversible })
}

async fn preview_restoration(
    vault: Arc<Vault>,
    input: UndeleteInput,
    context: CallContext,
) -> Result<Preview, ToolError> {
    check_versions(&input.versions, MAX_VERSIONS)?;
    let location = locate_v2(&vault, &input.path, input.mount.as_deref(), &context).await?;
    Ok(Preview {
        would: format!("restore {} of {}", listed(&input.versions), location.full()),
        state: state(&vault, &location, Some(&input.versions), &context).await?,
    })
}

async fn undelete(vault: Arc<Vault>, input: UndeleteInput, context: CallContext) -> Result<Done, ToolError> {
    check_versions(&input.versions, MAX_VERSIONS)?;
    let location = locate_v2(&vault, &input.path, input.mount.as_deref(), &context).await?;
    change(&vault, location, "undelete", input.versions, "restored", &context).await
}

async fn preview_destruction(
    vault: Arc<Vault>,
    input: DestroyInput,
    context: CallContext,
) -> Result<Preview, ToolError> {
    let location = expect_current(&vault, &input, &context).await?;
    Ok(Preview {
        would: format!("destroy {} of {} for good", listed(&input.versions), location.full()),
        state: state(&vault, &location, Some(&input.versions), &context).await?,
    })
}

async fn destroy(vault: Arc<Vault>, input: DestroyInput, context: CallContext) -> Result<Done, ToolError> {
    let location = expect_current(&vault, &input, &context).await?;
    change(&vault, location, "destroy", input.versions, "destroyed", &context).await
}

/// Vault has no check-and-set for destroying, so the newest version is looked at just before.
async fn expect_current(vault: &Vault, input: &DestroyInput, context: &CallContext) -> Result<Location, ToolError> {
    check_versions(&input.versions, MAX_DESTROYED)?;
    let location = locate_v2(vault, &input.path, input.mount.as_deref(), context).await?;
    let path = location.api("metadata").join("/");
    let known = metadata(vault, &location, context).await.map_err(failed("read", &path, "read"))?;
    if known.current_version == input.expected_current_version {
        return Ok(location);
    }
    Err(ToolError::new(
        ErrorCode::Conflict,
        format!("the newest version of {} is {}, not the expected one", location.full(), known.current_version),
    )
    .with_argument("expected_current_version")
    .with_remedy("look at the secret's metadata again, and decide anew"))
}
