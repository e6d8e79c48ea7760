//! `get_circleci_pipeline_status`: how a run does.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RunArgs, name, read, time, word, workflow::WorkflowView};
use crate::{CircleCi, ended::AGE_OF_A_RUN, locate::newest, status, text, wire::Pipeline};
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError};

/// Workflows of one answer.
const MAX_WORKFLOWS: usize = 50;

const GET: ToolDeclaration = ToolDeclaration::read(
    "get_circleci_pipeline_status",
    "How a run does",
    "Answers a run's state, what started it, its commit, errors of its configuration, and its workflows. Final states are \
     success, failed, error, canceled, unauthorized (a context or secret was denied) and not_run; on_hold waits for a \
     person to approve a job, and failing still runs.",
)
.cached_if_final(AGE_OF_A_RUN)
.polled();

/// What a run was made of.
#[derive(Serialize, JsonSchema)]
pub(super) struct VcsView {
    /// Branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) branch: Option<String>,
    /// Tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
    /// Commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
    /// First line of the commit's message.
    #[serde(skip_serializing_if = "Option::is_none")]
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
#[derive(Serialize, JsonSchema)]
pub(super) struct RunAnswer {
    /// Id.
    pub(super) pipeline_id: String,
    /// Number in its project.
    pub(super) number: u64,
    /// Slug of its project.
    pub(super) project_slug: String,
    /// State of the whole, by its workflows: the newest of each name counts, so that a rerun replaces what it repeats.
    pub(super) status: String,
    /// Whether it changes no more.
    pub(super) finished: bool,
    /// CircleCI's own word for how far it came: `created`, `errored`, `setup-pending`, `setup` or `pending`.
    pub(super) state: String,
    /// When it was made (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_at: Option<String>,
    /// What started it: `api`, `webhook`, `explicit`, `scheduled_pipeline` and others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trigger: Option<String>,
    /// Who started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) actor: Option<String>,
    /// What it was made of.
    pub(super) vcs: VcsView,
    /// Errors of its configuration, 20 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<String>,
    /// Its workflows, the newest first, 50 at most.
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
    let run = circleci.fetch_run(&input.run.name(&circleci)?, &context).await?;
    let answer = answer(&circleci, &run, &context).await?;
    if answer.finished {
        context.answer_is_final();
    }
    Ok(answer)
}

/// A run with its workflows.
pub(super) async fn answer(circleci: &CircleCi, run: &Pipeline, context: &CallContext) -> Result<RunAnswer, ToolError> {
    let workflows = circleci.fetch_workflows(&run.id, context).await?;
    let current: Vec<&str> = newest(&workflows.items).into_iter().map(|workflow| workflow.status.as_str()).collect();
    let status = status::of_run(&run.state, &current);
    let hint = match status.as_str() {
        "pending" => Some("it has no workflows yet; if that stays so, the configuration has none to run"),
        "on_hold" => Some("a job waits for approval: get_circleci_workflow tells which"),
        "failed" | "failing" => Some("get_circleci_failure_report tells why"),
        "unauthorized" => Some("its user may not use a context or secret that a job asks for"),
        _ => None,
    };
    let errors = run.errors.iter().take(20);
    Ok(RunAnswer {
        pipeline_id: name(&run.id),
        number: run.number,
        project_slug: name(&run.project_slug),
        finished: status::is_final(&status),
        status,
        state: word(&run.state),
        created_at: time(Some(&run.created_at)),
        trigger: run.trigger.as_ref().map(|trigger| word(&trigger.type_)),
        actor: actor(run),
        vcs: VcsView::of(run),
        errors: errors.map(|error| text::clean(&format!("{}: {}", error.type_, error.message), 500)).collect(),
        workflows: workflows.items.iter().take(MAX_WORKFLOWS).map(WorkflowView::of).collect(),
        truncated: workflows.more || workflows.items.len() > MAX_WORKFLOWS,
        hints: hint.map(str::to_owned).into_iter().collect(),
    })
}
