//! An application's state, as several tools answer it: sync and health, which are independent, and the last operation.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_with::skip_serializing_none;

use super::may_be_secret;
use crate::{
    text,
    wire::{AppSpec, Application, OperationState, Resource, ResourceResult, Source, revisions},
};

/// Whether what runs is what Git says.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct Sync {
    /// `Synced`, `OutOfSync` or `Unknown`.
    pub(super) status: String,
    /// Revision that was compared with: a commit, or a chart's version.
    pub(super) revision: Option<String>,
    /// Revisions of the sources of an application that has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) revisions: Vec<String>,
    /// The application's conditions: what Argo CD has to say about it.
    pub(super) message: Option<String>,
}

/// Whether what runs is well.
#[derive(Serialize, JsonSchema)]
pub(super) struct Health {
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`.
    pub(super) status: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

/// The operation that runs, or the last one: a sync, a rollback, or a dry run of one.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct Operation {
    /// `Running`, `Terminating`, `Succeeded`, `Failed` or `Error`.
    pub(super) phase: String,
    /// Whether it is a dry run, which applies nothing.
    pub(super) dry_run: bool,
    /// Revision that it goes to, or those of several sources.
    pub(super) revision: Option<String>,
    /// When it began (RFC 3339); absent before Argo CD's controller has taken it up.
    pub(super) started_at: Option<String>,
    /// When it ended (RFC 3339).
    pub(super) finished_at: Option<String>,
    /// What it says.
    pub(super) message: Option<String>,
    /// Who began it; absent for auto-sync.
    pub(super) initiated_by: Option<String>,
    /// Attempts that failed, after which it was tried again.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) failed_attempts: u64,
    /// How often auto-sync has undone changes in the cluster by Argo CD's count, this time included.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) self_heals: u64,
    /// The hooks and resources that it failed by, with what is said of each: 10 at most. While it is tried again, those
    /// of the attempt before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) failed: Vec<ResourceOutcome>,
}

/// What an operation did to a resource.
#[derive(Serialize, JsonSchema)]
pub(super) struct ResourceOutcome {
    /// API group; absent for the core group.
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    /// Kind.
    kind: String,
    /// Name.
    name: String,
    /// Namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    /// `Synced`, `SyncFailed`, `Pruned` or `PruneSkipped`; for a hook, and for what failed after it was applied, its
    /// phase.
    pub(super) status: String,
    /// What Kubernetes or Argo CD says.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Where manifests come from.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct SourceView {
    /// Repository, without user information.
    pub(super) repo_url: String,
    /// Path in it, of a Git repository.
    pub(super) path: Option<String>,
    /// Chart, of a Helm repository.
    pub(super) chart: Option<String>,
    /// Revision that is followed; `HEAD` if none is named.
    pub(super) target_revision: String,
    /// The source's own name, if it has one.
    pub(super) name: Option<String>,
    /// Name under which other sources take files of it, such as values; without path and chart it makes no manifests itself.
    #[serde(rename = "ref")]
    pub(super) reference: Option<String>,
    /// Where Argo CD writes the manifests that it makes of this source, and syncs them from, if it does.
    pub(super) hydrated: Option<HydratedView>,
}

/// Where Argo CD writes rendered manifests.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct HydratedView {
    /// Branch that is synced.
    branch: String,
    /// Path in it.
    path: Option<String>,
    /// Its repository, if that is another one than the source's.
    repo_url: Option<String>,
    /// Branch that is written to, if somebody must merge it into the one that is synced.
    written_to: Option<String>,
}

/// A resource that the application manages.
#[derive(Serialize, JsonSchema)]
pub(super) struct ResourceView {
    /// API group; absent for the core group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) group: String,
    /// Kind.
    pub(super) kind: String,
    /// Name.
    pub(super) name: String,
    /// Namespace; absent for what belongs to none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    /// `Synced`, `OutOfSync` or `Unknown`.
    pub(super) sync: String,
    /// As of the application; absent for kinds that Argo CD can't judge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health: Option<Health>,
    /// Whether Git says no longer that it should be there: a sync with prune deletes it, unless `Prune=false` is on it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) requires_pruning: bool,
    /// Whether a person must confirm before it is pruned or deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) requires_confirmation: bool,
}

/// How an application is.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct AppState {
    /// Sync and health in words: what they mean together.
    pub(super) verdict: String,
    /// When Argo CD looked at Git for it last (RFC 3339). Between two such looks health and sync follow what changes in the cluster.
    pub(super) reconciled_at: Option<String>,
    /// Whether something has happened since that Argo CD has not looked at: sync and health are those of before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) outdated: bool,
    /// Whether what runs is what Git says.
    pub(super) sync: Sync,
    /// Whether what runs is well.
    pub(super) health: Health,
    /// The operation that runs, or the last one.
    pub(super) operation: Option<Operation>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn known(status: &str) -> String {
    if status.is_empty() { "Unknown".to_owned() } else { text::clean(status) }
}

impl Health {
    pub(super) fn of(health: &crate::wire::Health) -> Self {
        Self { status: known(&health.status), message: text::optional(&health.message) }
    }
}

impl Operation {
    /// The operation of an application, also one that is wanted and not yet taken up.
    pub(super) fn of(app: &Application) -> Option<Self> {
        let state = app.status.operation_state.as_ref();
        let wanted = app.operation.as_ref().filter(|_| app.waits_for_controller());
        if let Some(operation) = wanted {
            return Some(Self {
                phase: "Running".to_owned(),
                dry_run: operation.sync.as_ref().is_some_and(|sync| sync.dry_run),
                revision: operation
                    .sync
                    .as_ref()
                    .and_then(|sync| text::optional(&revisions(&sync.revision, &sync.revisions))),
                started_at: None,
                finished_at: None,
                message: Some("it waits for Argo CD's controller, which has not taken it up yet".to_owned()),
                initiated_by: text::optional(&operation.initiated_by.username),
                failed_attempts: 0,
                self_heals: 0,
                failed: Vec::new(),
            });
        }
        let mut last = state.map(Self::of_state)?;
        if app.has_stale_operation() {
            let message = "it is written down as running, and nobody carries it on: `operation` was taken away";
            last.message = Some(message.to_owned());
        }
        Some(last)
    }

    fn of_state(state: &OperationState) -> Self {
        let results = state.sync_result.iter().filter(|_| state.phase != "Succeeded");
        let failed = results.flat_map(|result| result.resources.iter()).filter(|one| one.has_failed());
        Self {
            failed: failed.take(MAX_FAILED).map(ResourceOutcome::of).collect(),
            phase: known(&state.phase),
            dry_run: state.is_dry_run(),
            revision: text::optional(&state.revision()),
            started_at: state.started_at.clone(),
            // While it is tried again, this is the end of the attempt that failed.
            finished_at: state.finished_at.clone().filter(|_| state.phase != "Running"),
            message: text::optional(&state.message),
            initiated_by: text::optional(&state.operation.initiated_by.username),
            failed_attempts: state.retry_count,
            self_heals: state.operation.sync.as_ref().map_or(0, |sync| sync.heals),
        }
    }
}

impl ResourceOutcome {
    pub(super) fn of(result: &ResourceResult) -> Self {
        let is_hook = !result.hook_type.is_empty() || result.status.is_empty();
        let has_failed_later = result.has_failed() && result.status != "SyncFailed";
        Self {
            group: result.group.clone(),
            kind: result.kind.clone(),
            name: result.name.clone(),
            namespace: result.namespace.clone(),
            status: if is_hook || has_failed_later { &result.hook_phase } else { &result.status }.clone(),
            // What Kubernetes says of a Secret may quote it.
            message: if may_be_secret(&result.kind) { None } else { text::optional(&result.message) },
        }
    }
}

impl SourceView {
    pub(super) fn of(source: &Source) -> Self {
        let target = if source.target_revision.is_empty() { "HEAD" } else { &source.target_revision };
        Self {
            repo_url: text::repository(&source.repo_url),
            path: text::optional(&source.path),
            chart: text::optional(&source.chart),
            target_revision: text::clean(target),
            name: text::optional(&source.name),
            reference: text::optional(&source.reference),
            hydrated: None,
        }
    }

    /// All sources of an application, whichever form they have: 20 at most.
    pub(super) fn all(spec: &AppSpec) -> Vec<Self> {
        let Some(hydrator) = &spec.source_hydrator else {
            return spec.all_sources().iter().take(20).map(Self::of).collect();
        };
        let synced = &hydrator.sync_source;
        let hydrated = HydratedView {
            branch: text::clean(&synced.target_branch),
            path: text::optional(&synced.path),
            repo_url: Some(text::repository(&synced.repo_url)).filter(|url| !url.is_empty()),
            written_to: hydrator.hydrate_to.as_ref().and_then(|to| text::optional(&to.target_branch)),
        };
        vec![Self { hydrated: Some(hydrated), ..Self::of(&hydrator.dry_source) }]
    }
}

/// The cluster that a destination names: by its name, or by its address.
pub(super) fn cluster_of(destination: &crate::wire::Destination) -> String {
    if destination.name.is_empty() { address(&destination.server) } else { text::clean(&destination.name) }
}

/// A cluster's address as Argo CD writes it, capitals and all, without user information and query, where tokens may stand.
pub(super) fn address(server: &str) -> String {
    let shown = text::clean(server);
    shown.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/').to_owned()
}

impl ResourceView {
    pub(super) fn of(resource: &Resource) -> Self {
        Self {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            name: resource.name.clone(),
            namespace: resource.namespace.clone(),
            sync: known(&resource.status),
            health: resource.health.as_ref().map(Health::of),
            requires_pruning: resource.requires_pruning,
            requires_confirmation: resource.requires_deletion_confirmation,
        }
    }
}

impl AppState {
    pub(super) fn of(app: &Application) -> Self {
        let status = &app.status;
        // Argo CD sorts them by type, and there may be a warning for each resource.
        let (errors, warnings): (Vec<_>, Vec<_>) =
            status.conditions.iter().partition(|one| one.type_.ends_with("Error"));
        let all = errors.into_iter().chain(warnings).take(MAX_CONDITIONS);
        let mut conditions: Vec<_> = all.map(|one| format!("{}: {}", one.type_, text::clean(&one.message))).collect();
        if let more @ 1.. = status.conditions.len().saturating_sub(MAX_CONDITIONS) {
            conditions.push(format!("and {more} more"));
        }
        let sync = Sync {
            status: known(&status.sync.status),
            revision: text::optional(&status.sync.revision),
            revisions: status.sync.revisions.iter().take(20).map(|revision| text::clean(revision)).collect(),
            message: Some(conditions.join("; ")).filter(|text| !text.is_empty()),
        };
        let health = Health::of(&status.health);
        let news = app.news();
        Self {
            verdict: verdict(app, &sync.status, &health.status, news.as_deref()),
            reconciled_at: status.reconciled_at.clone(),
            outdated: news.is_some(),
            sync,
            health,
            operation: Operation::of(app),
        }
    }
}

/// Resources before whose deletion a person must be asked, by kind and name: 10 at most.
pub(super) fn to_be_confirmed<'a>(resources: impl Iterator<Item = &'a Resource>) -> Option<String> {
    let wanted: Vec<_> = resources.filter(|one| one.requires_deletion_confirmation).collect();
    (!wanted.is_empty()).then(|| format!("a person must confirm the deletion of {} ({CONFIRM})", names(&wanted)))
}

/// Resources by kind and name: 10 at most, and how many more there are.
fn names(resources: &[&Resource]) -> String {
    let names: Vec<_> = resources.iter().take(10).map(|one| format!("{}/{}", one.kind, one.name)).collect();
    let more = resources.len().saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// Whether the last operation left a resource that Git no longer names because of `Prune=false`, which the application
/// itself doesn't tell (argoproj/argo-cd#17188).
pub(super) fn is_kept(app: &Application, resource: &Resource) -> bool {
    let of = |result: &ResourceResult| {
        result.is_kept()
            && (&result.group, &result.kind, &result.namespace, &result.name)
                == (&resource.group, &resource.kind, &resource.namespace, &resource.name)
    };
    let result = app.status.operation_state.as_ref().and_then(|state| state.sync_result.as_ref());
    resource.requires_pruning && result.is_some_and(|result| result.resources.iter().any(of))
}

/// Resources that `Prune=false` keeps, with which an application stays `OutOfSync`.
pub(super) struct Kept {
    /// What is said of them.
    pub(super) told: String,
    /// Whether nothing else differs, so that no sync changes anything.
    pub(super) is_all: bool,
}

/// The resources that `Prune=false` keeps, if the last operation has told of any.
pub(super) fn kept(app: &Application) -> Option<Kept> {
    let differing: Vec<_> = app.status.resources.iter().filter(|one| one.status == "OutOfSync").collect();
    let kept: Vec<_> = differing.iter().copied().filter(|one| is_kept(app, one)).collect();
    let is_all = kept.len() == differing.len();
    let only = if is_all { ", and nothing else differs" } else { "" };
    let told = || {
        format!(
            "Git no longer names {}, and the last sync left it because of Prune=false: no sync deletes it while that \
             is on it, and the application stays OutOfSync with it{only}",
            names(&kept)
        )
    };
    (!kept.is_empty()).then(|| Kept { told: told(), is_all })
}

/// Hooks and resources that an operation tells as failed.
const MAX_FAILED: usize = 10;

/// Conditions that are told.
const MAX_CONDITIONS: usize = 10;
/// Resources that are not there and are named.
const MAX_ABSENT: usize = 5;

/// How a person confirms.
const CONFIRM: &str = "argocd app confirm-deletion, or Argo CD's page of the application";

/// Whether a sync window holds the operation that runs (`SyncAppState` in `controller/sync.go`, v2.14.0 to v3.5.1).
pub(super) fn is_held(app: &Application) -> bool {
    let state = app.status.operation_state.as_ref().filter(|_| app.running().is_some());
    state.is_some_and(|state| state.message.starts_with("Sync operation blocked by sync window"))
}

/// What an operation that runs waits for, if waiting alone doesn't help (`setRunningPhase` in
/// `gitops-engine/pkg/sync/sync_context.go`, v3.5.1).
pub(super) fn awaits(app: &Application) -> Option<String> {
    in_words(app, &mut text::clean)
}

/// The same without Argo CD's own words, and these.
pub(super) fn awaits_apart(app: &Application) -> (Option<String>, Vec<String>) {
    let mut words = Vec::new();
    let mut apart = |word: &str| {
        words.push(text::clean(word));
        "what is in platform_words".to_owned()
    };
    let told = in_words(app, &mut apart);
    (told, words)
}

fn in_words(app: &Application, word: &mut dyn FnMut(&str) -> String) -> Option<String> {
    let state = app.status.operation_state.as_ref().filter(|_| app.running().is_some())?;
    if is_held(app) {
        return Some(HELD.to_owned());
    }
    // One that is being ended keeps the message of before.
    if state.phase != "Running" {
        return None;
    }
    if state.message.starts_with("waiting for pruning confirmation of") {
        return Some(format!("the operation goes on when a person has confirmed what it would delete ({CONFIRM})"));
    }
    if let Some(what) = state.message.strip_prefix("waiting for healthy state of ")
        && app.status.health.status == "Suspended"
    {
        return Some(format!(
            "the operation waits for {} to be healthy, and something in the application is suspended: if it waits for \
             that, it goes on when that is resumed (run_argocd_resource_action may)",
            word(what)
        ));
    }
    // With `retry.refresh` the next attempt takes the newest one (argoproj/argo-cd#11494).
    let is_kept = state.retry_count > 0 && !state.operation.retry.refresh;
    let (goes_to, now) = (state.revision(), revisions(&app.status.sync.revision, &app.status.sync.revisions));
    (is_kept && !goes_to.is_empty() && !now.is_empty() && goes_to != now).then(|| {
        format!(
            "the operation is tried again with the revision that it began with, and not with what was compared last \
             ({}): unless that is meant, end it with terminate_argocd_operation, and sync anew",
            word(&now)
        )
    })
}

/// What a sync window does to an operation. One that is ended stays `Terminating` until then (argoproj/argo-cd#25361).
pub(super) const HELD: &str = "a sync window holds the operation: until syncs are permitted \
                               (get_argocd_sync_windows), it applies nothing more, and doesn't end either";

/// What is said of an application that auto-sync heals again and again, which it does at the revision of the last sync,
/// after that succeeded (`autoSync` in `controller/appcontroller.go`, v3.5.1). The count stays when it is over.
pub(super) fn heals_in_vain(app: &Application) -> Option<String> {
    let (state, now) = (app.status.operation_state.as_ref()?, &app.status.sync);
    let sync = state.operation.sync.as_ref()?;
    let is_healed = app.running().is_none() && app.news().is_none() && state.phase == "Succeeded";
    let heals = app.spec.automated().is_some_and(|automated| automated.self_heal)
        && state.revision() == revisions(&now.revision, &now.revisions);
    (sync.heals > 1 && is_healed && heals && now.status == "OutOfSync").then(|| {
        format!(
            "auto-sync has healed it {} times, and it is OutOfSync again: something changes it back, or drops a part \
             of what Git says; get_argocd_diff tells what differs",
            sync.heals
        )
    })
}

/// What Argo CD said of a deletion that failed; it tries it again, and may have got on since.
pub(super) fn failed_deletion(app: &Application) -> Option<String> {
    let failed = app.status.conditions.iter().find(|one| one.type_ == "DeletionError")?;
    Some(format!("Argo CD said that a try to delete it failed: {}", text::clean(&failed.message)))
}

/// What is said of applications among an application's resources: their health is no part of its own, unless the installation has a
/// rule for it (`docs/operator-manual/health.md`).
pub(super) fn applications_in(app: &Application) -> Option<String> {
    let is_app = |one: &&Resource| one.group == "argoproj.io" && one.kind == "Application";
    let unjudged = app.status.resources.iter().filter(is_app).filter(|one| one.health.is_none()).count();
    (unjudged > 0).then(|| {
        format!("it manages {unjudged} applications, whose health is no part of its own: list_argocd_apps tells it")
    })
}

/// What an application's deletion has come to, which the controller does in this order (`finalizeApplicationDeletion` in
/// `controller/appcontroller.go`, v3.5.1).
fn deletion(app: &Application, since: &str) -> String {
    let has = |name: &str| app.metadata.finalizers.iter().any(|one| one == name);
    let approved = app.metadata.annotations.as_ref().map_or("", |all| &all.deletion_approved);
    let is_approved = match (approved.parse::<Timestamp>(), since.parse::<Timestamp>()) {
        (Ok(approved), Ok(since)) => approved >= since,
        _ => false,
    };
    let confirmation = to_be_confirmed(app.status.resources.iter()).filter(|_| !is_approved);
    let stage = if has("pre-delete-finalizer.argocd.argoproj.io") {
        ": its PreDelete hooks come first".to_owned()
    } else if app.is_cascading() {
        format!(": {}", confirmation.unwrap_or_else(|| "what it runs is being deleted".to_owned()))
    } else if has("post-delete-finalizer.argocd.argoproj.io") {
        ": its PostDelete hooks run".to_owned()
    } else {
        String::new()
    };
    let failed = failed_deletion(app).map(|failed| format!("; {failed}")).unwrap_or_default();
    format!("the application is being deleted since {since}{stage}{failed}")
}

/// What Git names and is not there. Since 3.4 an application's own health leaves that out, unless nothing is there
/// (argoproj/argo-cd#25962).
fn absent(app: &Application) -> String {
    let is_missing =
        |one: &&Resource| !one.hook && one.health.as_ref().is_some_and(|health| health.status == "Missing");
    let missing: Vec<_> = app.status.resources.iter().filter(is_missing).collect();
    let names: Vec<_> =
        missing.iter().take(MAX_ABSENT).map(|one| text::clean(&format!("{} {}", one.kind, one.name))).collect();
    match missing.len().saturating_sub(names.len()) {
        _ if names.is_empty() => String::new(),
        0 => format!("; not there: {}", names.join(", ")),
        more => format!("; not there: {} and {more} more", names.join(", ")),
    }
}

/// What sync and health mean together, and beside the last operation.
fn verdict(app: &Application, sync: &str, health: &str, news: Option<&str>) -> String {
    if let Some(since) = &app.metadata.deletion_timestamp {
        return deletion(app, since);
    }
    let unknown = news.map(|news| {
        let last = app.status.reconciled_at.as_deref().unwrap_or("a time that it doesn't tell");
        format!("not known yet: {news}, and Argo CD compared it last at {last}; sync and health are those of before")
    });
    let last = app.status.operation_state.as_ref();
    let has_failed = app.running().is_none()
        && last.is_some_and(|last| matches!(last.phase.as_str(), "Failed" | "Error") && !last.is_dry_run());
    let leaves_out = sync == "Synced" && app.has_condition(&["ExcludedResourceWarning", "RepeatedResourceWarning"]);
    let state = match (sync, health) {
        _ if app.status.sync.status.is_empty() && app.status.health.status.is_empty() => {
            "it was not compared with Git yet: nothing is known of it, as if no controller of Argo CD had seen it"
        }
        _ if unknown.is_some() => unknown.as_deref().unwrap_or_default(),
        _ if app.failed_hydration().is_some() => {
            "Argo CD failed to render what Git says now: sync and health are those of what it rendered before"
        }
        ("Synced", "Healthy") if leaves_out => "what Argo CD compares is as Git says, and healthy",
        // Hooks are no part of either (`CompareAppState`, `setApplicationHealth` in `controller`).
        ("Synced", "Healthy") if has_failed => "what Git says runs, and is healthy",
        ("Synced", "Healthy") => "well: what Git says runs, and is healthy",
        ("OutOfSync", "Healthy") => "what runs is healthy, and is not what Git says",
        ("Synced", "Degraded") => "what Git says was applied, and doesn't work",
        ("OutOfSync", "Degraded") => "the worst: what runs doesn't work, and is not what Git says",
        ("Synced", "Progressing") => "what Git says was applied, and is still starting",
        ("OutOfSync", "Progressing") => "what runs is still starting, and is not what Git says",
        ("OutOfSync", "Suspended") => "it is suspended, until something resumes it, and is not what Git says",
        (_, "Suspended") => "it is suspended: somebody, or something, must resume it",
        ("Unknown", "Missing") => "its cluster can't be reached, or its resources are gone",
        (_, "Missing") => "resources that Git names are not there",
        ("Unknown", _) if app.status.conditions.is_empty() => "Argo CD doesn't know whether it is what Git says",
        ("Unknown", _) => "Argo CD can't compare it with what Git says: see sync.message",
        _ => "its health is not known",
    };
    let left_out = if leaves_out { "; a part of what Git says is left out: see sync.message" } else { "" };
    let absent = if unknown.is_some() || health == "Missing" { String::new() } else { absent(app) };
    let state = format!("{state}{absent}{left_out}");
    let running = app.running();
    let is_dry_run = last.is_some_and(OperationState::is_dry_run);
    let last = last.map(|state| state.phase.as_str());
    match (running, last) {
        (Some("Terminating"), _) => format!("{state}; an operation is being ended"),
        (Some(_), _) if app.waits_for_controller() => format!("{state}; an operation waits for Argo CD's controller"),
        (Some(_), _) if app.status.operation_state.as_ref().is_some_and(|state| state.retry_count > 0) => {
            format!("{state}; an operation is tried again after it failed: see operation.message")
        }
        (Some(_), _) if is_held(app) => format!("{state}; a sync window holds an operation"),
        (Some(_), _) => format!("{state}; an operation runs"),
        (None, Some("Failed" | "Error")) if is_dry_run => format!("{state}; the last operation, a dry run, failed"),
        (None, Some("Succeeded")) if health == "Degraded" && news.is_none() && !is_dry_run => {
            format!("{state}; the last operation succeeded all the same, which says only that it was applied")
        }
        (None, Some("Failed" | "Error")) => format!("{state}; the last operation failed"),
        _ => state,
    }
}
