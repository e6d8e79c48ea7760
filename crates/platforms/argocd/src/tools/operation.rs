//! `wait_argocd_app`, `refresh_argocd_app` and `terminate_argocd_operation`: what goes on in an application.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    AppArgs, Target,
    app::application_set,
    mutation, read,
    state::{AppState, HELD, Operation, applications_in, awaits, heals_in_vain, is_held, kept},
};
use crate::{
    ArgoCd,
    client::{Cause, Error},
    error::not_taken_up,
    wire::Application,
};
use kit::{args::Limit, wait::Wait};
use outbound::{Purpose, Repeat, RequestError};
use tokio::time::Instant;
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

/// Pauses between two looks: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(5)];

/// Time after the end of an operation for which the comparison that Argo CD makes then is waited for: it may be seconds, and where
/// Git or the cluster can't be read it doesn't come.
const COMPARISON_TIME: Duration = Duration::from_secs(15);

/// Time that a refresh may take. Argo CD's own command line waits as long as it takes; a controller that works needs seconds.
const REFRESH_TIME: Duration = Duration::from_secs(15);
/// Time that a refresh waits for its turn.
const REFRESH_TURN: Duration = Duration::from_secs(2);

const WAIT: ToolDeclaration = ToolDeclaration::read(
    "wait_argocd_app",
    "Wait for an application",
    "Waits until an operation of the application has ended, or it is synced, or healthy, and answers its state then. If \
     the time is up before, finished is false: call it again. A sync that succeeded on an application that is degraded \
     is no good deployment.",
)
.polled();

const REFRESH: ToolDeclaration = ToolDeclaration::read(
    "refresh_argocd_app",
    "Compare an application anew",
    "Has Argo CD compare the application with Git now, and answers its state then. It applies nothing itself; where \
     auto-sync is on, Argo CD syncs what it finds. With hard, manifests are rendered anew instead of taken from the \
     cache; that is possible once in 30 seconds. Where Argo CD takes too long, refreshed is false.",
);

const TERMINATE: ToolDeclaration = ToolDeclaration::destroy(
    "terminate_argocd_operation",
    "End an operation",
    "Ends the sync or rollback that runs. What it has applied stays applied, so the application may be half changed.",
)
.idempotent();

/// What is waited for.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Goal {
    /// That no operation runs.
    #[default]
    Operation,
    /// That the application is synced, and no operation runs.
    Sync,
    /// That the application is healthy, and no operation runs.
    Health,
}

impl Goal {
    fn is_reached(self, app: &Application) -> bool {
        app.running().is_none()
            && match self {
                Self::Operation => true,
                // What was so before something happened is not what is waited for.
                _ if app.news().is_some() => false,
                Self::Sync => app.status.sync.status == "Synced" && app.failed_hydration().is_none(),
                // Where neither Git nor the cluster can be read, it has no resources, and their health is good
                // (`setApplicationHealth` in `controller/health.go`).
                Self::Health if app.status.sync.status == "Unknown" && app.status.resources.is_empty() => false,
                // Somebody must resume it: waiting doesn't help.
                Self::Health => matches!(app.status.health.status.as_str(), "Healthy" | "Suspended"),
            }
    }
}

/// Arguments of `wait_argocd_app`.
#[derive(Deserialize, JsonSchema)]
struct WaitInput {
    #[serde(flatten)]
    app: AppArgs,
    /// What to wait for.
    #[serde(default, rename = "for")]
    goal: Goal,
    /// Seconds to wait; never longer than the call may take.
    #[serde(default)]
    timeout_seconds: Limit<45, 120>,
}

/// Arguments of `refresh_argocd_app`.
#[derive(Deserialize, JsonSchema)]
struct RefreshInput {
    #[serde(flatten)]
    app: AppArgs,
    /// Whether manifests are rendered anew.
    #[serde(default)]
    hard: bool,
}

/// Arguments of `terminate_argocd_operation`.
#[derive(Deserialize, JsonSchema)]
struct TerminateInput {
    #[serde(flatten)]
    app: AppArgs,
}

/// What came of waiting.
#[derive(Serialize, JsonSchema)]
struct Waited {
    /// Name of the application.
    app: String,
    /// Whether what was waited for is there, or can't come any more; false if the time was up before.
    finished: bool,
    /// Its state.
    #[serde(flatten)]
    state: AppState,
    /// What to do next.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// The state after a refresh.
#[derive(Serialize, JsonSchema)]
struct ComparedAnew {
    /// Name of the application.
    app: String,
    /// Whether it was compared anew; if not, the state is the one of the last comparison.
    refreshed: bool,
    /// Its state.
    #[serde(flatten)]
    state: AppState,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// What came of ending an operation.
#[derive(Serialize, JsonSchema)]
struct Terminated {
    /// Name of the application.
    app: String,
    /// Phase of the operation: `Terminating` until it has stopped.
    phase: String,
    /// What must come before it has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![
        read(argocd, WAIT, wait),
        read(argocd, REFRESH, refresh),
        mutation(argocd, TERMINATE, preview_terminate, terminate),
    ]
}

/// Looks at an application again and again until `done`, or until the time is up; `report` is told on the way.
pub(super) async fn poll(
    argocd: &ArgoCd,
    target: &Target,
    wait: Duration,
    context: &CallContext,
    mut done: impl FnMut(&Application) -> bool,
) -> Result<Application, ToolError> {
    let [first, longest] = PAUSES;
    let mut wait = Wait::new(wait, context, first, longest);
    let mut app = argocd.fetch_app(target, context).await?;
    loop {
        if done(&app) {
            return Ok(app);
        }
        let phase = app.running().unwrap_or("no operation");
        if !wait.next_look(format!("{phase}, {}", app.status.health.status), context).await {
            return Ok(app);
        }
        // A look that fails on the way doesn't lose what is known; the next one may work.
        match argocd.look(target, context).await {
            Ok(newer) => app = newer,
            Err(Error::Request(_) | Error::Failed(_) | Error::RateLimited(_)) => {}
            Err(error) if error.is_outage() => {}
            Err(error) => {
                let right = "applications, get";
                return Err(argocd.explain(target, error, "read the application", right, context).await);
            }
        }
    }
}

/// Whether no operation runs and the state is the one of after it, or that has been waited for in vain.
pub(super) fn settled() -> impl FnMut(&Application) -> bool {
    let mut ended = None;
    move |app| {
        if app.running().is_some() {
            ended = None;
            return false;
        }
        app.news().is_none() || ended.get_or_insert_with(Instant::now).elapsed() >= COMPARISON_TIME
    }
}

async fn wait(argocd: Arc<ArgoCd>, input: WaitInput, context: CallContext) -> Result<Waited, ToolError> {
    let (goal, mut settled) = (input.goal, settled());
    let done = move |app: &Application| goal.is_reached(app) && (goal != Goal::Operation || settled(app));
    let wait = input.timeout_seconds.seconds();
    let app = poll(&argocd, &input.app.target(&argocd)?, wait, &context, done).await?;
    let finished = goal.is_reached(&app);
    let hint = match (app.running(), goal) {
        (Some(_), _) if app.waits_for_controller() => not_taken_up().remedy,
        (Some(_), _) => Some(awaits(&app).unwrap_or_else(|| "the operation still runs: call it again".to_owned())),
        (None, _) if app.news().is_some() => Some(
            "sync and health are not known yet: call it again, or refresh_argocd_app; if that doesn't help, \
             get_argocd_app_status tells the application's conditions"
                .to_owned(),
        ),
        (None, _) if finished => None,
        (None, _) if app.status.sync.status == "Unknown" => Some(
            "Argo CD can't compare it with what Git says: sync.message has the application's conditions".to_owned(),
        ),
        (None, Goal::Sync) => {
            let failed = app.failed_hydration().map(|_| "get_argocd_app_status tells why rendering failed".to_owned());
            let is_all_kept = kept(&app).is_some_and(|kept| kept.is_all);
            failed.or_else(|| heals_in_vain(&app)).or_else(|| (!is_all_kept).then(|| who_syncs(&app)))
        }
        (None, _) => Some("get_argocd_resource_tree with unhealthy_only tells what is not healthy".to_owned()),
    };
    let more = match goal {
        Goal::Sync if !finished => kept(&app).map(|kept| kept.told),
        Goal::Health => applications_in(&app),
        _ => None,
    };
    let hints = hint.into_iter().chain(more).collect();
    Ok(Waited { app: app.metadata.name.clone(), finished, state: AppState::of(&app), hints })
}

/// What syncs an application that is not synced, while no operation runs.
fn who_syncs(app: &Application) -> String {
    if app.spec.automated().is_some() && app.has_had_its_try() {
        return "auto-sync has had its try, which failed at the revision that its condition in sync.message names, or has \
                left no result (which stops it from 3.2 on), and begins nothing more there: sync_argocd_app does, once \
                the cause is gone"
            .to_owned();
    }
    if app.spec.automated().is_some() {
        return "auto-sync is on, and nothing runs yet: call it again. It begins nothing while a sync window is closed \
                (get_argocd_sync_windows), after it has failed at this revision, and without self_heal where only the cluster was \
                changed"
            .to_owned();
    }
    match application_set(app) {
        Some(set) => format!(
            "auto-sync is off. If the ApplicationSet {set:?} goes in steps, it syncs the application itself when its step comes: \
             get_argocd_appset tells; if not, sync_argocd_app does"
        ),
        None => "nothing runs that would sync it: sync_argocd_app does".to_owned(),
    }
}

async fn refresh(argocd: Arc<ArgoCd>, input: RefreshInput, context: CallContext) -> Result<ComparedAnew, ToolError> {
    let target = input.app.target(&argocd)?;
    if input.hard {
        let key = format!("{}/{}", target.namespace.as_deref().unwrap_or_default(), target.name);
        argocd.take_hard_refresh(key).map_err(|wait| {
            ToolError::new(ErrorCode::RateLimited, "the application was refreshed from scratch a moment ago")
                .with_remedy("refresh without hard, or come back later")
                .with_retry_after(wait)
        })?;
    }
    let fresh = argocd.compare_anew(&target, input.hard, &context).await?;
    let (refreshed, app, hint) = match fresh {
        Ok(app) => (true, app, None),
        Err(hint) => (false, argocd.fetch_app(&target, &context).await?, Some(hint.to_owned())),
    };
    Ok(ComparedAnew {
        app: app.metadata.name.clone(),
        refreshed,
        state: AppState::of(&app),
        hints: hint.into_iter().collect(),
    })
}

impl ArgoCd {
    /// Has Argo CD compare an application, which it answers when its controller has done so: the request is one for an act, so it is
    /// sent once, and has a time of its own. Where that is up, a hint says why.
    async fn compare_anew(
        &self,
        target: &Target,
        hard: bool,
        context: &CallContext,
    ) -> Result<Result<Application, &'static str>, ToolError> {
        let until = Instant::now() + context.remaining().mul_f64(0.6).min(REFRESH_TIME);
        let Some(_place) = self.slow_place(REFRESH_TURN).await else {
            return Ok(Err(
                "it was not compared anew: other comparisons are on their way, and don't end; come back later",
            ));
        };
        let call = target.get(&[]).query("refresh", &if hard { "hard" } else { "normal" });
        let call = call.purpose(Purpose::Change).repeat(Repeat::Never);
        match self.session.object(&call, &target.name, until).await {
            Ok(app) => Ok(Ok(app)),
            Err(error) if is_late(error) => Ok(Err(
                "Argo CD did not compare it in time, and this is the state of the last comparison (reconciled_at). It was asked to, and \
                 does so when its application controller comes to it: where that doesn't happen, the controller, or the one of this \
                 cluster, is busy or doesn't work",
            )),
            Err(error) => {
                Err(self.explain(target, error, "refresh the application", "applications, get", context).await)
            }
        }
    }
}

/// Whether Argo CD, or what stands in front of it, has waited in vain.
fn is_late(error: Error) -> bool {
    match error {
        Error::Request(RequestError::Timeout) | Error::Failed(Cause::Timeout) | Error::Unavailable(504) => true,
        Error::Known(known) => known.code == ErrorCode::DeadlineExceeded,
        _ => false,
    }
}

async fn preview_terminate(
    argocd: Arc<ArgoCd>,
    input: TerminateInput,
    context: CallContext,
) -> Result<Preview, ToolError> {
    let app = argocd.fetch_app(&input.app.target(&argocd)?, &context).await?;
    if app.waits_for_controller() {
        return Err(not_taken_up());
    }
    let Some(operation) = app.running().and_then(|_| Operation::of(&app)) else { return Err(nothing_runs()) };
    let since = operation.started_at.as_deref().map(|at| format!(" that runs since {at}")).unwrap_or_default();
    let held = if is_held(&app) { format!("; but {HELD}") } else { String::new() };
    let would = format!("end the operation{since} on {}; what it has applied stays applied{held}", app.metadata.name);
    Ok(Preview { would, state: json!({ "operation": operation }) })
}

/// Nothing runs; also where a state is left that says so, which nobody carries on.
fn nothing_runs() -> ToolError {
    super::to_tool_error(Error::NoOperation, "", "")
}

async fn terminate(argocd: Arc<ArgoCd>, input: TerminateInput, context: CallContext) -> Result<Terminated, ToolError> {
    let target = input.app.target(&argocd)?;
    let app = argocd.fetch_app(&target, &context).await?;
    let phase = "Terminating".to_owned();
    match app.running() {
        None => return Err(nothing_runs()),
        Some(_) if app.waits_for_controller() => return Err(not_taken_up()),
        Some("Terminating") => {}
        Some(_) => {
            let call = target.delete(&["operation"]);
            let right = "applications, sync";
            let ended = argocd.session.call::<serde::de::IgnoredAny>(&call, context.deadline).await;
            if let Err(error) = ended {
                // Between the look and the act it may have ended, or another one may have been asked for.
                if error == Error::NoOperation
                    && argocd.look(&target, &context).await.is_ok_and(|app| app.waits_for_controller())
                {
                    return Err(not_taken_up());
                }
                return Err(argocd
                    .explain(&target, error, "end the operation of the application", right, &context)
                    .await);
            }
        }
    }
    let hints = is_held(&app).then(|| HELD.to_owned()).into_iter().collect();
    Ok(Terminated { app: app.metadata.name, phase, hints })
}
