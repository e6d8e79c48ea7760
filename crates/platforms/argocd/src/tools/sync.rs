//! `sync_argocd_app`: applies what Git says, all or some of it, or tries it without applying.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    AppArgs, ResourceName, Target, mutation, operation,
    state::{AppState, Operation, ResourceOutcome, awaits_apart, is_held, is_kept, to_be_confirmed},
};
use crate::{
    ArgoCd,
    client::Error,
    error::{auto_sync, not_taken_up, operation_running, to_tool_error},
    text,
    windows::why_closed,
    wire::{Application, Resource, SyncWindows, revisions},
};
use kit::args::WaitSeconds;
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError, page::fit};

/// Resources that are named in one call, and in one answer.
const MAX_RESOURCES: usize = 100;
/// Time that a dry run is waited for unless the call says otherwise: its result is all that it is for.
const DRY_RUN_WAIT: u64 = 20;

const SYNC: ToolDeclaration = ToolDeclaration::destroy(
    "sync_argocd_app",
    "Sync an application",
    "Applies what Git says to the cluster. Try it with dry_run first: it applies nothing and answers what would change. \
     resources restricts it to some; prune also deletes what Git no longer names. With wait_seconds it answers what came \
     of it, otherwise ask wait_argocd_app. Look at health afterwards: a sync that succeeded says only that it was \
     applied.",
);

/// Arguments of `sync_argocd_app`.
#[derive(Deserialize, JsonSchema)]
struct SyncInput {
    #[serde(flatten)]
    app: AppArgs,
    /// Revision to sync to: a commit, branch, tag or chart version. Left out, the one that the application follows.
    /// Impossible while auto-sync is on.
    #[serde(default)]
    #[schemars(length(min = 1, max = 253))]
    revision: Option<String>,
    /// For an application with several sources: a revision for each, in their order; an empty text keeps the one
    /// that is followed.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 253)))]
    revisions: Vec<String>,
    /// Whether what Git no longer names is deleted.
    #[serde(default)]
    prune: bool,
    /// Whether it is only tried: nothing is applied.
    #[serde(default)]
    dry_run: bool,
    /// Only these resources; all if left out. Hooks don't run then, and the history doesn't hold it.
    #[serde(default)]
    #[schemars(length(max = 100))]
    resources: Vec<ResourceName>,
    /// Sync options of Argo CD, such as `ServerSideApply=true`, instead of the application's own.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 100), regex(pattern = "^[A-Za-z]+=[A-Za-z]+$")))]
    sync_options: Vec<String>,
    /// Seconds to wait for the end. Left out, 0; for a dry run 20. Never longer than the call may take.
    #[serde(default)]
    wait_seconds: Option<WaitSeconds<0, 120>>,
}

/// What came of a sync.
#[derive(Serialize, JsonSchema)]
pub(super) struct Started {
    /// What happened, in words: first whether anything was applied.
    pub(super) summary: String,
    /// Name of the application.
    pub(super) app: String,
    /// Whether the operation was started.
    pub(super) triggered: bool,
    /// Whether it is only tried.
    pub(super) dry_run: bool,
    /// Whether what Git no longer names is deleted.
    pub(super) prune: bool,
    /// Whether the operation has ended; if not, ask wait_argocd_app.
    pub(super) finished: bool,
    /// Revision that it goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
    /// Revisions of the sources of an application that has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) revisions: Vec<String>,
    /// The application's state.
    #[serde(flatten)]
    pub(super) state: AppState,
    /// What changed, or with a dry run would change, as far as the operation has come: 100 at most, what was not done first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) results: Vec<ResourceOutcome>,
    /// Whether results were left out.
    pub(super) truncated: bool,
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![mutation(argocd, SYNC, preview, sync)]
}

impl SyncInput {
    /// Checks the arguments against each other and against the application.
    fn check(&self, app: &Application) -> Result<(), ToolError> {
        if self.resources.len() > MAX_RESOURCES {
            let message = format!("resources can't have more than {MAX_RESOURCES} entries");
            return Err(ToolError::invalid_argument(message).with_argument("resources"));
        }
        let sources = app.spec.sources.len();
        if sources > 0 && self.revision.is_some() {
            let message = format!("the application has {sources} sources: revision can't say which of them is meant");
            return Err(ToolError::invalid_argument(message).with_argument("revision").with_remedy("give revisions"));
        }
        if !self.revisions.is_empty() && self.revisions.len() != sources {
            let message =
                format!("the application has {sources} sources in its list, and revisions names another number");
            return Err(ToolError::invalid_argument(message).with_argument("revisions"));
        }
        // What is followed anyway is no other revision (`resolveSourceRevisions` in `server/application/application.go`).
        let followed = app.spec.sources.iter().map(|source| source.target_revision.as_str());
        let is_other = |wanted: &str, followed: &str| {
            !wanted.is_empty() && wanted != if followed.is_empty() { "HEAD" } else { followed }
        };
        let sets_other = self.revision.as_deref().is_some_and(|wanted| is_other(wanted, app.spec.followed()))
            || self.revisions.iter().zip(followed).any(|(wanted, followed)| is_other(wanted, followed));
        if sets_other && !self.dry_run && app.spec.automated().is_some() {
            return Err(auto_sync("sync to another revision"));
        }
        for wanted in &self.resources {
            let mut found = app.status.resources.iter().filter(|one| names(wanted, one)).peekable();
            // `WithOperationSettings` in `controller/sync.go` skips hooks where resources are named.
            if found.peek().is_some() && found.all(|one| one.hook) {
                let message = format!("{wanted} is a hook, which a sync of named resources does not run");
                return Err(ToolError::invalid_argument(message)
                    .with_argument("resources")
                    .with_remedy("hooks run with a sync of all resources"));
            }
            if !app.status.resources.iter().any(|one| names(wanted, one)) {
                let message = format!("the application manages no {wanted} of the group {:?}", wanted.group);
                return Err(ToolError::invalid_argument(message)
                    .with_argument("resources")
                    .with_remedy("get_argocd_app_resources tells what it manages, with group and namespace"));
            }
        }
        Ok(())
    }

    /// The resources that a sync is about, as Argo CD compared them last.
    fn affected<'a>(&'a self, app: &'a Application) -> impl Iterator<Item = &'a Resource> {
        app.status
            .resources
            .iter()
            .filter(|one| self.resources.is_empty() || self.resources.iter().any(|wanted| names(wanted, one)))
    }

    /// What the sync options do that a caller may not think of: they take the place of the application's own (`Sync` in
    /// `server/application/application.go`), and replacing is creating again where Kubernetes takes no update.
    fn options(&self, app: &Application) -> String {
        let own: &[String] = app.spec.sync_policy.as_ref().map_or(&[], |policy| &*policy.sync_options);
        // As `HasOption` does.
        let has = |options: &[String], wanted: &str| options.iter().any(|one| one == wanted);
        let lost = own.iter().filter(|own| !self.sync_options.is_empty() && !has(&self.sync_options, own));
        let lost: Vec<_> = lost.take(20).map(|own| text::clean(own)).collect();
        let mut told = String::new();
        if !lost.is_empty() {
            told = format!("; the application's own options {} don't count", lost.join(", "));
        }
        if has(if self.sync_options.is_empty() { own } else { &self.sync_options }, "Replace=true") {
            told.push_str("; Replace=true may DELETE resources and create them again");
        }
        told
    }

    fn body(&self, app: &Application) -> Value {
        let mut body = Map::new();
        body.insert("prune".into(), self.prune.into());
        body.insert("dryRun".into(), self.dry_run.into());
        if let Some(revision) = &self.revision {
            body.insert("revision".into(), revision.clone().into());
        }
        let positions: Vec<(usize, &String)> =
            (1..).zip(&self.revisions).filter(|(_, revision)| !revision.is_empty()).collect();
        if !positions.is_empty() {
            body.insert("revisions".into(), positions.iter().map(|(_, revision)| (*revision).clone()).collect());
            body.insert("sourcePositions".into(), positions.iter().map(|(position, _)| *position).collect());
        }
        if !self.resources.is_empty() {
            let resources = self.affected(app).map(
                |one| json!({ "group": one.group, "kind": one.kind, "name": one.name, "namespace": one.namespace }),
            );
            body.insert("resources".into(), resources.collect());
        }
        if !self.sync_options.is_empty() {
            body.insert("syncOptions".into(), json!({ "items": self.sync_options }));
        }
        Value::Object(body)
    }
}

fn names(wanted: &ResourceName, resource: &Resource) -> bool {
    wanted.matches(&resource.group, &resource.kind, &resource.namespace, &resource.name)
}

/// Says no where an operation can't be started now.
pub(super) fn ready(app: &Application) -> Result<(), ToolError> {
    if app.metadata.deletion_timestamp.is_some() {
        return Err(to_tool_error(Error::Deleting, "", ""));
    }
    if app.waits_for_controller() {
        return Err(not_taken_up());
    }
    if app.running().is_some() {
        let since = app.status.operation_state.as_ref().and_then(|state| state.started_at.as_deref()?.parse().ok());
        let (awaits, words) = awaits_apart(app);
        return Err(operation_running(since, awaits.as_deref()).with_platform_words(words));
    }
    Ok(())
}

/// Says no while a sync window is closed. Argo CD takes a rollback all the same, and holds it until the window opens
/// (`Rollback` in `server/application/application.go`, v3.5.1).
pub(super) async fn check_windows(
    argocd: &ArgoCd,
    target: &Target,
    app: &Application,
    context: &CallContext,
) -> Result<(), ToolError> {
    let call = target.get(&["syncwindows"]);
    let right = "applications, get";
    let windows: SyncWindows = argocd.ask(target, &call, "read the sync windows of", right, context).await?;
    if windows.can_sync {
        return Ok(());
    }
    let why = why_closed(&argocd.concerning(&windows, app.spec.project(), context).await, Timestamp::now());
    let message = "sync windows do not permit syncs now; nothing was started";
    Err(ToolError::new(ErrorCode::Conflict, message)
        .with_remedy(
            "platform_words say which, and until when if that is known; get_argocd_sync_windows tells all windows of the \
             application",
        )
        .with_platform_words([why]))
}

async fn preview(argocd: Arc<ArgoCd>, input: SyncInput, context: CallContext) -> Result<Preview, ToolError> {
    let target = input.app.target(&argocd)?;
    let app = argocd.fetch_app(&target, &context).await?;
    input.check(&app)?;
    ready(&app)?;
    check_windows(&argocd, &target, &app, &context).await?;
    let name = |one: &Resource| format!("{}/{}", one.kind, one.name);
    let changed: Vec<_> =
        input.affected(&app).filter(|one| one.status == "OutOfSync" && !one.requires_pruning).map(name).collect();
    let pruned: Vec<_> =
        input.affected(&app).filter(|one| one.requires_pruning && !is_kept(&app, one)).map(name).collect();
    let left = input.affected(&app).filter(|one| is_kept(&app, one)).count();
    let last = revisions(&app.status.sync.revision, &app.status.sync.revisions);
    let given = input.revisions.iter().enumerate().filter(|(_, revision)| !revision.is_empty());
    let given: Vec<_> = given
        .map(|(index, revision)| format!("{revision:?} of source {} of {}", index + 1, input.revisions.len()))
        .collect();
    let differs = "which may differ from what was compared last";
    let to = match (&input.revision, last.as_str()) {
        (Some(revision), _) => format!(" to the revision {revision:?}, {differs}"),
        (None, last) if !given.is_empty() => format!(" to the revisions {}, {differs} ({last})", given.join(", ")),
        (None, "") => String::new(),
        (None, last) => format!(" to what Git said last ({last})"),
    };
    let act = if input.dry_run { "apply nothing, and try a sync of" } else { "sync" };
    let kept = match (pruned.len(), input.prune) {
        (0, _) => String::new(),
        // Of a resource's annotations the application tells nothing.
        (count, true) => {
            format!(
                ", and DELETE {count} that Git no longer names, but for what Prune=false keeps (get_argocd_diff tells)"
            )
        }
        (count, false) => format!("; {count} that Git no longer names stay, because prune is false"),
    };
    let left =
        if left > 0 { format!("; {left} stay because of Prune=false, as with the last sync") } else { String::new() };
    let confirmed = to_be_confirmed(input.affected(&app).filter(|one| input.prune && one.requires_pruning));
    let confirmed = confirmed.map(|what| format!("; before it ends, {what}")).unwrap_or_default();
    let hooks = if input.resources.is_empty() { "" } else { "; hooks don't run" };
    let as_of = app
        .news()
        .map(|news| format!("; but {news}, and Argo CD has not compared it since: it may be other resources"));
    let as_of = as_of.unwrap_or_default();
    let options = input.options(&app);
    let count = changed.len();
    let would = format!(
        "{act} {}{to}: change {count} resources{kept}{left}{confirmed}{hooks}{options}{as_of}",
        app.metadata.name
    );
    let state = json!({
        "sync": app.status.sync.status,
        "revision": last,
        "changed": changed.iter().take(MAX_RESOURCES).collect::<Vec<_>>(),
        "no_longer_in_git": pruned.iter().take(MAX_RESOURCES).collect::<Vec<_>>(),
        "auto_sync": app.spec.automated().is_some(),
    });
    Ok(Preview { would, state })
}

async fn sync(argocd: Arc<ArgoCd>, input: SyncInput, context: CallContext) -> Result<Started, ToolError> {
    let target = input.app.target(&argocd)?;
    let app = argocd.fetch_app(&target, &context).await?;
    input.check(&app)?;
    ready(&app)?;
    check_windows(&argocd, &target, &app, &context).await?;
    let call = target.post(&["sync"], input.body(&app));
    start(&argocd, &target, &call, &app, "sync the application", &context).await?;
    let unsaid = Duration::from_secs(if input.dry_run { DRY_RUN_WAIT } else { 0 });
    let wait = input.wait_seconds.map_or(unsaid, WaitSeconds::seconds);
    finish(&argocd, &target, wait, input.dry_run, input.prune, &context).await
}

/// Starts an operation. It is never sent twice: when there is no answer, the application tells whether it was started.
pub(super) async fn start(
    argocd: &ArgoCd,
    target: &Target,
    call: &crate::client::Call,
    before: &Application,
    doing: &str,
    context: &CallContext,
) -> Result<(), ToolError> {
    // Part of the time stays for a look at what came of it.
    let deadline = tokio::time::Instant::now() + context.remaining().mul_f64(0.7);
    let right = "applications, sync";
    let Err(error) = argocd.session.call::<serde::de::IgnoredAny>(call, deadline).await else { return Ok(()) };
    if error.fate_is_unknown() {
        let started = |app: &Application| {
            let at = |app: &Application| app.status.operation_state.as_ref().and_then(|state| state.started_at.clone());
            app.operation.is_some() || at(app) != at(before)
        };
        if let Ok(now) = argocd.look(target, context).await
            && started(&now)
        {
            return Ok(());
        }
    }
    Err(argocd.explain(target, error, doing, right, context).await)
}

/// Waits for an operation that was started, and says what came of it.
pub(super) async fn finish(
    argocd: &ArgoCd,
    target: &Target,
    wait: Duration,
    dry_run: bool,
    prune: bool,
    context: &CallContext,
) -> Result<Started, ToolError> {
    let ended = operation::poll(argocd, target, wait, context, operation::settled()).await;
    let app = ended.map_err(|error| if dry_run { error } else { error.after_the_change() })?;
    let finished = app.running().is_none();
    let operation = Operation::of(&app);
    let phase = operation.as_ref().map_or("Running", |operation| operation.phase.as_str());
    let result = app.status.operation_state.as_ref().and_then(|state| state.sync_result.as_ref());
    let resources = || result.iter().flat_map(|result| result.resources.iter());
    let left = resources().filter(|one| one.is_kept()).count();
    let left =
        if left > 0 { format!("; {left} that Git no longer names stay because of Prune=false") } else { String::new() };
    let mut outcomes: Vec<_> = resources().map(ResourceOutcome::of).collect();
    // Results are those of the last attempt.
    let has_applied = operation.as_ref().is_some_and(|operation| operation.failed_attempts > 0)
        || outcomes.iter().any(|one| !matches!(one.status.as_str(), "SyncFailed" | "PruneSkipped" | ""));
    let applied = match (dry_run, finished) {
        (true, true) => "Nothing was applied: the dry run has ended",
        // `operation` was taken away, or nothing is told of it.
        (false, true) if !matches!(phase, "Succeeded" | "Failed" | "Error") => {
            "Nobody carries it on: what was applied is not known"
        }
        (false, true) if phase == "Succeeded" => "It was applied, as far as the phase says: the operation has ended",
        // All is tried by a dry run first, of which only what fails is written down (`runTasks` in
        // `gitops-engine/pkg/sync/sync_context.go`, v3.5.1; argoproj/argo-cd#1884).
        (false, true) if !has_applied => "It failed, and nothing is told to have been applied: the operation has ended",
        (false, true) => "It failed, and a part was applied, or may have been: the operation has ended",
        (_, false) if app.waits_for_controller() => {
            "Nothing was applied yet: Argo CD's controller has not begun with it"
        }
        (true, false) => "Nothing was applied: the dry run still runs",
        (false, false) if is_held(&app) => "Nothing more is applied: a sync window holds the operation",
        (false, false) => "It is being applied: the operation still runs",
    };
    let summary = match app.news() {
        Some(_) => {
            format!("{applied} ({phase}){left}; how the application is now is not known yet, wait_argocd_app tells")
        }
        None => format!("{applied} ({phase}){left}; the application is {}", app.status.health.status),
    };
    // What failed or was left is not what an answer may lack: a sync that leaves what is to be pruned succeeds
    // (argoproj/argo-cd#273).
    outcomes.sort_by_key(|one| matches!(one.status.as_str(), "Synced" | "Pruned" | "Succeeded"));
    let count = outcomes.len();
    let (results, _) = fit(outcomes.into_iter().take(MAX_RESOURCES).collect(), context.max_result_bytes / 2);
    let mut state = AppState::of(&app);
    if let Some(operation) = &mut state.operation {
        // `results` has them.
        operation.failed.clear();
    }
    Ok(Started {
        summary,
        app: app.metadata.name.clone(),
        triggered: true,
        dry_run,
        prune,
        finished,
        revision: result.and_then(|result| text::optional(&result.revision)),
        revisions: result.iter().flat_map(|result| result.revisions.iter().take(20).cloned()).collect(),
        state,
        truncated: results.len() < count,
        results,
    })
}
