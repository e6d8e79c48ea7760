//! `get_circleci_pipeline_status`: how a run does.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{RunArgs, name, read, time, word, workflow::WorkflowView};
use crate::{
    CircleCi,
    ended::{AGE_OF_A_RUN, WHILE_IT_RUNS},
    locate::{Read, coming_rerun, may_be_continued, newest},
    status::{self, RunState},
    text,
    wire::{Pipeline, Workflow},
};
use tools::{CallContext, ErrorCode, ToolDeclaration, ToolEntry, ToolError};

/// Time after which the workflows of a run would have begun.
const TIME_TO_BEGIN: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// Workflows of one answer.
const MAX_WORKFLOWS: usize = 50;

const GET: ToolDeclaration = ToolDeclaration::read(
    "get_circleci_pipeline_status",
    "How a run does",
    "Answers a run's state, what started it, its commit, errors of its configuration, and its workflows. Final states are \
     success, failed, error, canceled, unauthorized (a context was denied) and not_run; on_hold waits for a \
     person to approve a job; failing has failed, and the rest still runs or waits.",
)
.cached_if_final(AGE_OF_A_RUN)
.polled()
.shared(WHILE_IT_RUNS);

/// What a run was made of.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct VcsView {
    /// Branch.
    pub(super) branch: Option<String>,
    /// Tag.
    pub(super) tag: Option<String>,
    /// Commit.
    pub(super) revision: Option<String>,
    /// First line of the commit's message.
    pub(super) commit_subject: Option<String>,
}

impl VcsView {
    pub(super) fn of(run: &Pipeline) -> Self {
        let git = run.trigger_parameters.as_ref().and_then(|parameters| parameters.git.as_ref());
        let vcs = run.vcs.as_ref();
        let first =
            |one: Option<&String>, other: Option<&String>| text::optional(one.or(other).map(String::as_str), 255);
        Self {
            branch: first(vcs.and_then(|vcs| vcs.branch.as_ref()), git.and_then(|git| git.branch.as_ref())),
            tag: first(vcs.and_then(|vcs| vcs.tag.as_ref()), git.and_then(|git| git.tag.as_ref())),
            revision: first(vcs.and_then(|vcs| vcs.revision.as_ref()), git.and_then(|git| git.checkout_sha.as_ref())),
            commit_subject: first(
                vcs.and_then(|vcs| vcs.commit.as_ref()).and_then(|commit| commit.subject.as_ref()),
                None,
            ),
        }
    }
}

/// Who started a run.
pub(super) fn actor(run: &Pipeline) -> Option<String> {
    let actor = run.trigger.as_ref()?.actor.as_ref()?;
    text::optional(actor.login.as_deref(), 255)
}

/// Arguments of `get_circleci_pipeline_status`.
#[derive(Deserialize, JsonSchema)]
struct GetInput {
    #[serde(flatten)]
    run: RunArgs,
}

/// How a run does.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct RunAnswer {
    /// Id.
    pub(super) pipeline_id: String,
    /// Number in its project.
    pub(super) number: u64,
    /// Slug of its project.
    pub(super) project_slug: String,
    /// State of the whole, by its own errors and its workflows: the newest of each name counts, so that a rerun replaces what
    /// it repeats. `unknown` if CircleCI does not tell, or no workflow came, or none after a setup.
    pub(super) status: String,
    /// Whether it changes no more.
    pub(super) finished: bool,
    /// CircleCI's own word for how far it came: `created`, `errored`, `setup-pending`, `setup` or `pending`.
    pub(super) state: String,
    /// When it was made (RFC 3339).
    pub(super) created_at: Option<String>,
    /// What started it: `api`, `webhook`, `explicit`, `scheduled_pipeline` and others.
    pub(super) trigger: Option<String>,
    /// Who started it.
    pub(super) actor: Option<String>,
    /// What it was made of.
    pub(super) vcs: VcsView,
    /// Errors of its configuration, 20 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<String>,
    /// Its workflows, the newest first; 50 at most, of more the worst.
    pub(super) workflows: Vec<WorkflowView>,
    /// Whether there are more workflows.
    pub(super) truncated: bool,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hints: Vec<String>,
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![read(circleci, GET, get)]
}

async fn get(circleci: Arc<CircleCi>, input: GetInput, context: CallContext) -> Result<RunAnswer, ToolError> {
    let run = circleci.fetch_run(&input.run.name(&circleci, &context).await?, &context).await?;
    let (answer, _) = answer(&circleci, &run, &context).await;
    if answer.finished {
        context.answer_is_final();
    }
    Ok(answer)
}

/// A run with its workflows, and whether it goes on by itself.
pub(super) async fn answer(circleci: &CircleCi, run: &Pipeline, context: &CallContext) -> (RunAnswer, bool) {
    let mut hints = Vec::new();
    let (workflows, known) = match circleci.fetch_workflows(&run.id, context).await {
        Ok(workflows) => (workflows, true),
        Err(error) => {
            hints.push(format!("its workflows could not be read: {error}"));
            let again = error.code != ErrorCode::NotFound;
            (Read { items: Vec::new(), next: again.then(String::new) }, false)
        }
    };
    let mut current = Vec::new();
    for workflow in newest(&workflows.items) {
        let coming = coming_rerun(workflow, &workflows.items);
        // What is about to be run again goes on.
        current.push(if coming.is_some() { "failing" } else { workflow.status.as_str() });
        hints.extend(coming);
    }
    let mut state = status::of_run(&run.state, !run.errors.is_empty(), &current);
    if let Some(word) = ended_in_its_setup(run, &current) {
        state = RunState { word, finished: true, moves: false };
    }
    // CircleCI goes on saying that it was created, and what is neither to come nor there has no state.
    if known && workflows.items.is_empty() && !workflows.more() && state.word == "pending" && began_none(run) {
        state = RunState { word: "unknown", finished: true, moves: false };
    }
    // What was not seen may be worse.
    if workflows.more() || !known {
        hints.extend(known.then(|| format!("only {} of its workflows were read", workflows.items.len())));
        state.finished = false;
        let goes_on = known && state.moves;
        if !(goes_on || status::is_failed(state.word)) {
            state = RunState { word: "unknown", finished: false, moves: workflows.more() && !known };
        }
    }
    hints.extend(hint(run, state, &current, known).map(str::to_owned));
    hints.extend(scheduled(run).filter(|_| state.word == "unauthorized").map(str::to_owned));
    let (shown, cut) = worst(&workflows.items, MAX_WORKFLOWS);
    let answer = RunAnswer {
        pipeline_id: name(&run.id),
        number: run.number,
        project_slug: name(&run.project_slug),
        finished: state.finished,
        status: state.word.to_owned(),
        state: word(&run.state),
        created_at: time(Some(&run.created_at)),
        trigger: run.trigger.as_ref().map(|trigger| word(&trigger.type_)),
        actor: actor(run),
        vcs: VcsView::of(run),
        errors: errors(run),
        truncated: workflows.more() || cut,
        workflows: shown.into_iter().map(WorkflowView::of).collect(),
        hints,
    };
    (answer, state.moves)
}

/// Errors of a run's configuration.
pub(super) fn errors(run: &Pipeline) -> Vec<String> {
    let share = text::share(run.errors.len().min(20));
    let errors = run.errors.iter().take(20);
    errors.map(|error| text::lines(&format!("{}: {}", error.type_, error.message), share)).collect()
}

/// What is said of a run of which [`ended_in_its_setup`] is true.
pub(super) const NOT_CONTINUED: &str =
    "its setup ended and continued to no configuration, as it can for six hours: no more workflows come";

/// What to call a run whose setup ended well, and continued to nothing in the time that it has for that: CircleCI goes
/// on saying that it is in its setup (CircleCI-Public/path-filtering-orb #14).
pub(super) fn ended_in_its_setup(run: &Pipeline, workflows: &[&str]) -> Option<&'static str> {
    let is_left = run.state == "setup"
        && !may_be_continued(run)
        && workflows.contains(&"success")
        && workflows.iter().all(|status| matches!(*status, "success" | "not_run"));
    is_left.then_some(if run.errors.is_empty() { "unknown" } else { "error" })
}

/// So many workflows, of more than that those that did worst, in their order; and whether some are left out.
pub(super) fn worst(workflows: &[Workflow], most: usize) -> (Vec<&Workflow>, bool) {
    let mut order: Vec<(u8, usize)> = workflows.iter().map(|one| status::rank(&one.status)).zip(0..).collect();
    order.sort_unstable();
    order.truncate(most);
    let kept = |index: usize| order.iter().any(|(_, one)| *one == index);
    let shown: Vec<&Workflow> =
        workflows.iter().enumerate().filter(|(index, _)| kept(*index)).map(|(_, one)| one).collect();
    let cut = shown.len() < workflows.len();
    (shown, cut)
}

fn hint(run: &Pipeline, state: RunState, workflows: &[&str], known: bool) -> Option<&'static str> {
    Some(match state.word {
        _ if !known => return None,
        "unknown" if state.finished && workflows.is_empty() => return Some(without_workflows(run)),
        "unknown" if state.finished => NOT_CONTINUED,
        "pending" => return Some(without_workflows(run)),
        "running" if !workflows.iter().any(|one| !status::is_final(one)) => {
            "its setup has ended; the workflows of the configuration that it made are still to come"
        }
        "on_hold" => "a job waits for approval: get_circleci_workflow tells which",
        "queued" => return status::meaning("queued"),
        "failing" if !state.moves => {
            "something failed, and a job waits for approval: get_circleci_failure_report tells why"
        }
        "failed" | "failing" => "get_circleci_failure_report tells why",
        "error" if !run.errors.is_empty() && !workflows.is_empty() => {
            "CircleCI rejects the configuration, or more of it: see errors; what its workflows did before stands beside"
        }
        "error" if run.state != "errored" && run.errors.is_empty() => return status::meaning("error"),
        "unauthorized" => return status::meaning("unauthorized"),
        // Some projects cancel what runs as soon as a job failed (ampproject/amphtml #34743).
        "canceled" => "get_circleci_failure_report tells whether something failed before",
        "unknown" => "CircleCI does not tell the state of a workflow: records expire",
        _ => return None,
    })
}

/// What to know where a run that a schedule started may not use a context (gruntwork-io/cloud-nuke #154,
/// mozilla/bigquery-etl #2072).
pub(super) fn scheduled(run: &Pipeline) -> Option<&'static str> {
    run.trigger.as_ref().filter(|trigger| trigger.type_.starts_with("schedule")).map(|_| {
        "a schedule started the run: where its actor is CircleCI's own scheduler, and no person, it may use no \
         restricted context"
    })
}

/// What is said of a run without workflows. Tags are left out unless a job asks for them (circleci-docs 001502da,
/// `docs/guides/modules/orchestrate/pages/workflows.adoc`; CircleCI-Archived/api-preview-docs #61,
/// CircleCI-Public/trigger-circleci-pipeline-action #32).
pub(super) fn without_workflows(run: &Pipeline) -> &'static str {
    match (began_none(run), VcsView::of(run).tag.is_some()) {
        (true, true) => {
            "no workflow of the run began, and waiting does not help: the configuration has none to run, as jobs run for a tag \
             only if their filters name tags and other filters and conditions may leave out all, or the records have expired"
        }
        (true, false) => {
            "no workflow of the run began, and waiting does not help: the configuration has none to run, as its filters and \
             conditions may leave out all, or the records have expired"
        }
        (false, true) => {
            "it has no workflows yet; if that stays so, the configuration has none to run: jobs run for a tag only if their \
             filters name tags"
        }
        (false, false) => {
            "it has no workflows yet; if that stays so, the configuration has none to run: its filters and conditions may leave \
             out all"
        }
    }
}

/// Whether the workflows of a run, of which none is there, would be there by now.
fn began_none(run: &Pipeline) -> bool {
    let made: Option<jiff::Timestamp> = run.created_at.parse().ok();
    let is_old = made.is_some_and(|made| jiff::Timestamp::now().duration_since(made) >= TIME_TO_BEGIN);
    is_old && run.state == "created"
}
