//! `delete_vault_secret`, `undelete_vault_secret` and `destroy_vault_secret`: versions of a secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{failed, keeping::Keeping, mutation};
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
/// Time for the looks at what was deleted, which must not cost the answer.
const LOOKING: Duration = Duration::from_secs(5);
/// Pauses before each of them.
const LOOKS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1)];

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
    /// `deleted`, `restored` or `destroyed`; `unchanged` if it was so before; `unknown` if Vault took the call and what was
    /// there can't be seen.
    outcome: &'static str,
    /// Versions that it was done to; left out on KV version 1, and where the newest can't be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<BTreeSet<u64>>,
    /// Versions that were asked for and stay as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unchanged: Vec<Unchanged>,
    /// Whether it can be undone.
    reversible: bool,
    /// What to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A version that stays as it is.
#[derive(Serialize, JsonSchema)]
struct Unchanged {
    /// Its number.
    version: u64,
    /// `does not exist`, `destroyed`, `deleted` or `readable`.
    state: &'static str,
}

/// What is done to versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Delete,
    Undelete,
    Destroy,
}

/// What a version is like before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Before {
    Absent,
    Destroyed,
    Deleted,
    /// Readable, and deleted by itself later.
    Ending,
    Readable,
}

/// What comes of an act on a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Changes,
    /// It is so already.
    Stays,
    /// It can't be.
    Never,
}

/// What an act comes to. Vault answers 204 whether or not anything was there (`path_delete.go` and `path_destroy.go` of
/// hashicorp/vault-plugin-secrets-kv skip what they don't find), so that is looked at before.
struct Plan {
    /// The versions that it changes; none if that can't be seen.
    changes: Option<BTreeSet<u64>>,
    unchanged: Vec<Unchanged>,
    /// When the newest version ends by itself; empty if it doesn't, or if that can't be seen.
    ends: String,
    /// For a preview.
    state: Value,
}

impl Act {
    /// The part of the API path.
    const fn kind(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Destroy => "destroy",
        }
    }

    const fn outcome(self) -> &'static str {
        match self {
            Self::Delete => "deleted",
            Self::Undelete => "restored",
            Self::Destroy => "destroyed",
        }
    }

    const fn on(self, before: Before) -> Fit {
        match (self, before) {
            (_, Before::Absent) | (Self::Delete | Self::Undelete, Before::Destroyed) => Fit::Never,
            (Self::Destroy, Before::Destroyed)
            | (Self::Delete, Before::Deleted)
            | (Self::Undelete, Before::Readable) => Fit::Stays,
            _ => Fit::Changes,
        }
    }
}

impl Before {
    fn of(info: Option<&wire::VersionInfo>) -> Self {
        match info {
            None => Self::Absent,
            Some(info) if info.destroyed => Self::Destroyed,
            Some(info) if info.deleted_at().is_some() => Self::Deleted,
            Some(info) if !info.deletion_time.is_empty() => Self::Ending,
            Some(_) => Self::Readable,
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Absent => "does not exist",
            Self::Destroyed => "destroyed",
            Self::Deleted => "deleted",
            Self::Ending | Self::Readable => "readable",
        }
    }
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
    let location = vault.locate_now(path, mount, context.deadline).await?;
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

/// What an act on versions, or on the newest one, comes to.
///
/// # Errors
/// When it would change nothing, because nothing is there that it could change.
async fn plan(
    vault: &Vault,
    location: &Location,
    act: Act,
    wanted: Option<&BTreeSet<u64>>,
    context: &CallContext,
) -> Result<Plan, ToolError> {
    let path = location.api("metadata").join("/");
    let mut ends = String::new();
    let (current, states) = match metadata(vault, location, context).await {
        Ok(mut known) => {
            let newest = BTreeSet::from([known.current_version]);
            let of = |version: &u64| (*version, Before::of(known.versions.get(&version.to_string())));
            let states = wanted.unwrap_or(&newest).iter().map(of).collect();
            let newest = known.versions.remove(&known.current_version.to_string());
            ends = newest.map(|info| info.deletion_time).unwrap_or_default();
            (Some(known.current_version), states)
        }
        Err(Error::NotFound) => return Err(nothing_there(location)),
        Err(Error::Forbidden(_)) => {
            let Some((version, before)) = seen_by_reading(vault, location, wanted, context).await? else {
                let state = json!({ "unknown": "the token's policies don't permit to read the secret's metadata" });
                return Ok(Plan { changes: None, unchanged: Vec::new(), ends, state });
            };
            (None, BTreeMap::from([(version, before)]))
        }
        Err(error) => return Err(failed("read", &path, "read")(error)),
    };
    Ok(Plan { ends, ..planned(location, act, current, &states)? })
}

fn planned(
    location: &Location,
    act: Act,
    current: Option<u64>,
    states: &BTreeMap<u64, Before>,
) -> Result<Plan, ToolError> {
    let with = |fit: Fit| states.iter().filter(move |(_, before)| act.on(**before) == fit);
    let changes: BTreeSet<u64> = with(Fit::Changes).map(|(version, _)| *version).collect();
    if changes.is_empty() && with(Fit::Stays).next().is_none() {
        return Err(nothing_fits(location, act, states));
    }
    let versions: serde_json::Map<String, Value> =
        states.iter().map(|(version, before)| (version.to_string(), before.in_words().into())).collect();
    let mut state = json!({ "versions": versions });
    if let (Some(current), Some(fields)) = (current, state.as_object_mut()) {
        fields.insert("current_version".to_owned(), current.into());
    }
    let unchanged = states.iter().filter(|(version, _)| !changes.contains(version));
    let unchanged =
        unchanged.map(|(version, before)| Unchanged { version: *version, state: before.in_words() }).collect();
    Ok(Plan { changes: Some(changes), unchanged, ends: String::new(), state })
}

fn nothing_there(location: &Location) -> ToolError {
    ToolError::new(ErrorCode::NotFound, format!("there is no secret at {}; nothing was changed", location.full()))
        .with_argument("path")
        .with_remedy(if location.is_like_api() {
            "leave data/ out of the path, the tools add it; list_vault_secrets tells what is there"
        } else {
            "list_vault_secrets tells what is there"
        })
}

fn nothing_fits(location: &Location, act: Act, states: &BTreeMap<u64, Before>) -> ToolError {
    let verb = match act {
        Act::Delete => "deleted",
        Act::Undelete => "restored",
        Act::Destroy => "destroyed",
    };
    let is_there = states.values().any(|before| *before != Before::Absent);
    let what = states
        .iter()
        .map(|(version, before)| match before {
            Before::Absent if *version == 0 => "it has no version".to_owned(),
            Before::Destroyed => format!("version {version} is destroyed"),
            before => format!("version {version} {}", before.in_words()),
        })
        .collect::<Vec<_>>()
        .join(", ");
    let code = if is_there { ErrorCode::Conflict } else { ErrorCode::NotFound };
    ToolError::new(code, format!("nothing of {} can be {verb}: {what}; nothing was changed", location.full()))
        .with_argument("versions")
        .with_remedy("get_vault_secret_metadata tells the versions and what they are like")
}

/// What one version is like, as far as reading it tells that: by its keys' names, or where the usual policy grants `data` only, by
/// an answer of which no value is kept. None where the token's policies don't permit to know.
async fn seen_by_reading(
    vault: &Vault,
    location: &Location,
    wanted: Option<&BTreeSet<u64>>,
    context: &CallContext,
) -> Result<Option<(u64, Before)>, ToolError> {
    #[derive(Deserialize)]
    struct OnlyMetadata {
        metadata: wire::VersionInfo,
    }
    if wanted.is_some_and(|wanted| wanted.len() > 1) {
        return Ok(None);
    }
    let wanted = wanted.and_then(BTreeSet::first);
    let calls =
        [Call::get(location.api("subkeys")).query("depth", &1).optional(), Call::get(location.api("data")).optional()];
    for mut call in calls {
        if let Some(version) = wanted {
            call = call.query("version", version);
        }
        return match vault.session.data::<OnlyMetadata>(&call, context.deadline).await {
            Ok(OnlyMetadata { metadata }) => Ok(Some((metadata.version, Before::of(Some(&metadata))))),
            Err(Error::VersionGone(gone)) => {
                Ok(Some((gone.version, if gone.destroyed { Before::Destroyed } else { Before::Deleted })))
            }
            Err(Error::NotFound) => match wanted {
                Some(version) => Ok(Some((*version, Before::Absent))),
                None => Err(nothing_there(location)),
            },
            // Not permitted, or not there before Vault 1.10.
            Err(Error::Forbidden(_) | Error::VersionedEngine) => continue,
            Err(error) => Err(failed("read", &call.policy_path(), "read")(error)),
        };
    }
    Ok(None)
}

fn listed(versions: &BTreeSet<u64>) -> String {
    let numbers = versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if versions.len() == 1 { format!("version {numbers}") } else { format!("the versions {numbers}") }
}

/// Carries out what was planned by a call.
async fn carry_out(
    vault: &Vault,
    location: Location,
    act: Act,
    plan: Plan,
    call: &Call,
    capability: &'static str,
    context: &CallContext,
) -> Result<Done, ToolError> {
    let is_done = plan.changes.as_ref().is_some_and(BTreeSet::is_empty);
    if !is_done {
        let path = call.policy_path();
        let doing = if capability == "delete" { "delete" } else { "write to" };
        vault.session.run(call, context.deadline).await.map_err(failed(doing, &path, capability))?;
    }
    let outcome = match &plan.changes {
        None => "unknown",
        Some(_) if is_done => "unchanged",
        Some(_) => act.outcome(),
    };
    let mut hints = Vec::new();
    if plan.changes.is_none() {
        hints.push(format!(
            "Vault took the call, as it does where nothing is there, too; to see what it changed the token needs read on {}",
            location.api("metadata").join("/")
        ));
    }
    Ok(Done {
        path: location.path(),
        mount: location.mount,
        outcome,
        versions: plan.changes.filter(|versions| !versions.is_empty()),
        unchanged: plan.unchanged,
        reversible: act != Act::Destroy,
        hints,
    })
}

/// Carries out an act on versions that are named. Only those that it changes are named to Vault.
async fn change(
    vault: &Vault,
    location: Location,
    act: Act,
    wanted: &BTreeSet<u64>,
    context: &CallContext,
) -> Result<Done, ToolError> {
    let plan = plan(vault, &location, act, Some(wanted), context).await?;
    let versions = plan.changes.as_ref().unwrap_or(wanted);
    let call = Call::post(location.api(act.kind()), json!({ "versions": versions }));
    carry_out(vault, location, act, plan, &call, "update", context).await
}

/// What a preview says of a plan: `would` if it changes something.
fn previewed(plan: Plan, would: String) -> Preview {
    let changes_nothing = plan.changes.as_ref().is_some_and(BTreeSet::is_empty);
    let would = if changes_nothing { format!("change nothing, as it is so already (asked: {would})") } else { would };
    Preview { would, state: plan.state }
}

/// The names of a KV version 1 secret's keys; none where the token's policies don't permit to know.
///
/// # Errors
/// When there is no secret, and whatever is in the way.
async fn unversioned(
    vault: &Vault,
    location: &Location,
    context: &CallContext,
) -> Result<Option<Vec<String>>, ToolError> {
    let call = Call::get(location.api("data"));
    match vault.session.data::<Names>(&call, context.deadline).await {
        Ok(data) => Ok(Some(data.into_names())),
        Err(Error::Forbidden(_)) => Ok(None),
        Err(Error::NotFound) => Err(nothing_there(location)),
        Err(error) => Err(failed("read", &call.policy_path(), "read")(error)),
    }
}

async fn preview_deletion(vault: Arc<Vault>, input: DeleteInput, context: CallContext) -> Result<Preview, ToolError> {
    let location = locate(&vault, &input.path, input.mount.as_deref(), &context).await?;
    let full = location.full();
    if location.version == KvVersion::One {
        refuse_versions(input.versions.as_ref())?;
        let state = match unversioned(&vault, &location, &context).await? {
            Some(keys) => json!({ "keys": keys }),
            None => json!({ "unknown": "the token's policies don't permit to read the secret" }),
        };
        return Ok(Preview { would: format!("delete {full} for good: KV version 1 keeps no versions"), state });
    }
    if let Some(versions) = &input.versions {
        check_versions(versions, MAX_VERSIONS)?;
    }
    let which = input.versions.as_ref().map_or_else(|| "the newest version".to_owned(), listed);
    let plan = plan(&vault, &location, Act::Delete, input.versions.as_ref(), &context).await?;
    Ok(previewed(plan, format!("delete {which} of {full}; undelete_vault_secret can restore it")))
}

fn refuse_versions(versions: Option<&BTreeSet<u64>>) -> Result<(), ToolError> {
    if versions.is_some() {
        return Err(ToolError::invalid_argument("a KV engine of version 1 keeps no versions").with_argument("versions"));
    }
    Ok(())
}

async fn delete(vault: Arc<Vault>, input: DeleteInput, context: CallContext) -> Result<Done, ToolError> {
    let location = locate(&vault, &input.path, input.mount.as_deref(), &context).await?;
    let call = Call::delete(location.api("data"));
    if location.version == KvVersion::One {
        refuse_versions(input.versions.as_ref())?;
        let is_seen = unversioned(&vault, &location, &context).await?.is_some();
        let path = call.policy_path();
        vault.session.run(&call, context.deadline).await.map_err(failed("delete", &path, "delete"))?;
        let hint = format!(
            "Vault took the call, as it does where nothing is there, too; to see it the token needs read on {path}"
        );
        return Ok(Done {
            path: location.path(),
            mount: location.mount,
            outcome: if is_seen { "deleted" } else { "unknown" },
            versions: None,
            unchanged: Vec::new(),
            reversible: false,
            hints: (!is_seen).then_some(hint).into_iter().collect(),
        });
    }
    if let Some(versions) = &input.versions {
        check_versions(versions, MAX_VERSIONS)?;
        return change(&vault, location, Act::Delete, versions, &context).await;
    }
    let plan = plan(&vault, &location, Act::Delete, None, &context).await?;
    let (looked_at, ends) = (plan.changes.as_ref().and_then(BTreeSet::first).copied(), plan.ends.clone());
    let mut done = carry_out(&vault, location.clone(), Act::Delete, plan, &call, "delete", &context).await?;
    if let Some(version) = looked_at {
        match newest_deleted(&vault, &location, version, &ends, &context).await {
            Ok(deleted) => done.versions = Some(BTreeSet::from([deleted])),
            Err(why) => {
                (done.outcome, done.versions) = ("unknown", None);
                done.hints.push(format!(
                    "Vault took the call, which deletes the version that is the newest there; {why}: look again"
                ));
            }
        }
    }
    Ok(done)
}

/// Which version was deleted as the newest: `DELETE` takes the one that there is when it arrives. One may have been
/// written since it was looked at, and a standby that answers reads tells what is new a moment late
/// (openbao/openbao#3877).
///
/// # Errors
/// Why that can't be said.
async fn newest_deleted(
    vault: &Vault,
    location: &Location,
    looked_at: u64,
    ends: &str,
    context: &CallContext,
) -> Result<u64, String> {
    let mut context = context.clone();
    context.deadline = context.deadline.min(Instant::now() + LOOKING);
    for pause in LOOKS {
        tokio::time::sleep_until(context.deadline.min(Instant::now() + pause)).await;
        match metadata(vault, location, &context).await {
            Ok(known) => {
                // The time is one of Vault's clock, which need not be that of the one here.
                let is_gone = |version: &u64| {
                    let info = known.versions.get(&version.to_string());
                    info.is_some_and(|info| {
                        info.destroyed || (!info.deletion_time.is_empty() && info.deletion_time != ends)
                    })
                };
                if let Some(version) = [looked_at, known.current_version].into_iter().find(is_gone) {
                    return Ok(version);
                }
            }
            Err(Error::Forbidden(_)) => {
                let one = BTreeSet::from([looked_at]);
                let seen =
                    seen_by_reading(vault, location, Some(&one), &context).await.map_err(|error| error.message)?;
                if seen.is_some_and(|(_, now)| matches!(now, Before::Deleted | Before::Destroyed)) {
                    return Ok(looked_at);
                }
            }
            Err(error) => return Err(failed("look at", &location.full(), "read")(error).message),
        }
    }
    Err(format!(
        "version {looked_at}, which was the newest when it was looked at, does not show as deleted: another may have \
         been written since, or this node is a moment late"
    ))
}

async fn preview_restoration(
    vault: Arc<Vault>,
    input: UndeleteInput,
    context: CallContext,
) -> Result<Preview, ToolError> {
    check_versions(&input.versions, MAX_VERSIONS)?;
    let location = locate_v2(&vault, &input.path, input.mount.as_deref(), &context).await?;
    let plan = plan(&vault, &location, Act::Undelete, Some(&input.versions), &context).await?;
    let ends = Keeping::ask(&vault, &location, &context).await.ends();
    let ends = ends.map(|after| format!("; Vault deletes it again by itself {after}")).unwrap_or_default();
    Ok(previewed(plan, format!("restore {} of {}{ends}", listed(&input.versions), location.full())))
}

async fn undelete(vault: Arc<Vault>, input: UndeleteInput, context: CallContext) -> Result<Done, ToolError> {
    check_versions(&input.versions, MAX_VERSIONS)?;
    let location = locate_v2(&vault, &input.path, input.mount.as_deref(), &context).await?;
    let mut done = change(&vault, location.clone(), Act::Undelete, &input.versions, &context).await?;
    // The time after which versions are deleted begins anew (`path_undelete` of the engine).
    if let (Some(restored), Ok(known)) = (&done.versions, metadata(&vault, &location, &context).await) {
        let ends = |version: &u64| Some((*version, known.versions.get(&version.to_string())?.ends_at()?.to_owned()));
        let ends = restored.iter().filter_map(ends);
        done.hints.extend(ends.map(|(version, at)| format!("Vault deletes version {version} again by itself at {at}")));
    }
    Ok(done)
}

async fn preview_destruction(
    vault: Arc<Vault>,
    input: DestroyInput,
    context: CallContext,
) -> Result<Preview, ToolError> {
    let location = expect_current(&vault, &input, &context).await?;
    let plan = plan(&vault, &location, Act::Destroy, Some(&input.versions), &context).await?;
    Ok(previewed(plan, format!("destroy {} of {} for good", listed(&input.versions), location.full())))
}

async fn destroy(vault: Arc<Vault>, input: DestroyInput, context: CallContext) -> Result<Done, ToolError> {
    let location = expect_current(&vault, &input, &context).await?;
    change(&vault, location, Act::Destroy, &input.versions, &context).await
}

/// Vault has no check-and-set for destroying, so the newest version is looked at just before.
async fn expect_current(vault: &Vault, input: &DestroyInput, context: &CallContext) -> Result<Location, ToolError> {
    check_versions(&input.versions, MAX_DESTROYED)?;
    let location = locate_v2(vault, &input.path, input.mount.as_deref(), context).await?;
    let path = location.api("metadata").join("/");
    let known = match metadata(vault, &location, context).await {
        Err(Error::NotFound) => return Err(nothing_there(&location)),
        outcome => outcome.map_err(failed("read", &path, "read"))?,
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Vault skips what it doesn't find and what is so already: whatever is sent, what is told is what changes.
    #[test]
    fn what_is_told_as_changed_was_there_before() {
        use Before::{Absent, Deleted, Destroyed, Ending, Readable};
        let location = Location {
            mount: "secret".to_owned(),
            path: vec!["web".to_owned()],
            version: KvVersion::Two,
            linked: None,
        };
        let all = [Absent, Destroyed, Deleted, Ending, Readable];
        for (act, changed, stays) in [
            (Act::Delete, [Ending, Readable].as_slice(), Deleted),
            (Act::Undelete, &[Deleted, Ending], Readable),
            (Act::Destroy, &[Deleted, Ending, Readable], Destroyed),
        ] {
            for first in all {
                for second in all {
                    let states = BTreeMap::from([(1, first), (2, second)]);
                    let outcome = planned(&location, act, Some(2), &states);
                    let fits = |before: &Before| changed.contains(before) || *before == stays;
                    assert_eq!(outcome.is_ok(), states.values().any(fits), "{act:?} {states:?}");
                    let Ok(plan) = outcome else { continue };
                    let changes = plan.changes.unwrap();
                    for (version, before) in &states {
                        assert_eq!(changes.contains(version), changed.contains(before), "{act:?} {states:?}");
                        assert_ne!(changes.contains(version), plan.unchanged.iter().any(|one| one.version == *version));
                    }
                }
            }
        }
        let error = planned(&location, Act::Delete, Some(0), &BTreeMap::from([(0, Absent)])).err().unwrap();
        assert!(error.message.contains("it has no version"), "{error:?}");
    }
}
