//! `rerun_circleci_workflow`: runs a workflow again, from what failed or from the start.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{mutation, name, word};
use crate::{
    CircleCi,
    client::{Api, Call},
    error::About,
    locate::{RunName, coming_rerun, may_be_continued},
    names::is_uuid,
    status,
    v3::{Entity, Reference},
    wire::{Rerun, Workflow},
};
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

/// Age from which on CircleCI runs nothing again (circleci-docs 9734a14,
/// `docs/guides/modules/orchestrate/pages/workflows.adoc`).
const TOO_OLD_DAYS: i64 = 90;

const RERUN: ToolDeclaration = ToolDeclaration::mutate(
    "rerun_circleci_workflow",
    "Run a workflow again",
    "Runs a workflow that has ended again, from the jobs that failed (the default), all of it, or some jobs. The answer \
     has the id of the new workflow; the old one stays as it is. Runs cost credits.",
);

/// Arguments of `rerun_circleci_workflow`.
#[derive(Deserialize, JsonSchema)]
struct RerunInput {
    /// Id of the workflow (a UUID), or a link to it.
    #[schemars(length(min = 1, max = 2048))]
    workflow_id: String,
    /// Whether only what failed is run again: true if left out. Not true together with jobs.
    #[serde(default)]
    from_failed: Option<bool>,
    /// Ids of the jobs that are run again, with those that they need.
    #[serde(default)]
    #[schemars(length(max = 50))]
    jobs: Vec<String>,
}

/// A workflow that was started.
#[derive(Serialize, JsonSchema)]
struct Rerunning {
    /// Id of the new workflow.
    workflow_id: String,
    /// Id of the one that is repeated.
    rerun_of: String,
    /// Id of the run.
    pipeline_id: String,
    /// Slug of the project.
    project_slug: String,
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![mutation(circleci, RERUN, preview, rerun)]
}

impl RerunInput {
    fn only_failed(&self) -> bool {
        self.from_failed.unwrap_or(self.jobs.is_empty())
    }

    fn check(&self) -> Result<(), ToolError> {
        if self.jobs.len() > 50 || !self.jobs.iter().all(|id| is_uuid(id)) {
            return Err(ToolError::invalid_argument("jobs are ids (UUIDs) of jobs, 50 at most").with_argument("jobs"));
        }
        if !self.jobs.is_empty() && self.only_failed() {
            return Err(ToolError::invalid_argument("pass jobs or from_failed, not both").with_argument("from_failed"));
        }
        Ok(())
    }

    /// The workflow, if it can be run again, and what to know before.
    async fn workflow(&self, circleci: &CircleCi, context: &CallContext) -> Result<(Workflow, Vec<String>), ToolError> {
        self.check()?;
        let workflow = circleci.fetch_workflow(&self.workflow_id, context).await?;
        // Of one whose state is not told, CircleCI says whether it can be run again.
        if !status::is_final(&workflow.status) && workflow.status != "unknown" {
            return Err(ToolError::new(ErrorCode::Conflict, "the workflow has not ended: platform_words is its state")
                .with_remedy("wait until it has ended, or cancel it first")
                .with_platform_words([word(&workflow.status)]));
        }
        if self.only_failed() && matches!(workflow.status.as_str(), "success" | "not_run") {
            return Err(ToolError::new(ErrorCode::Conflict, "nothing failed in the workflow")
                .with_remedy("with from_failed false all of it is run again"));
        }
        let others = circleci.fetch_workflows(&workflow.pipeline_id, context).await?;
        if let Some(coming) = coming_rerun(&workflow, &others.items) {
            let message = "CircleCI may be about to run the workflow again by itself; nothing was started";
            return Err(ToolError::new(ErrorCode::Conflict, message)
                .with_remedy("get_circleci_pipeline_status tells in two minutes whether it did")
                .with_platform_words([coming]));
        }
        let is_newer = |one: &&Workflow| one.name == workflow.name && one.created_at > workflow.created_at;
        let newer: Vec<&Workflow> = others.items.iter().filter(is_newer).collect();
        if let Some(newer) = newer.iter().find(|one| !status::is_final(&one.status)) {
            return Err(ToolError::new(
                ErrorCode::Conflict,
                "the workflow is being run again already; nothing was started",
            )
            .with_remedy("platform_words is the id of its new workflow")
            .with_platform_words([name(&newer.id)]));
        }
        let mut notes = Vec::new();
        if workflow.is_setup()
            && let Some(why) = why_not_continued(circleci, &workflow, &others.items, context).await?
        {
            // Of some of its jobs, the one that continues the run may be none.
            if self.jobs.is_empty() && !self.only_failed() {
                return Err(ToolError::new(
                    ErrorCode::Conflict,
                    format!(
                        "the workflow is the setup of its run, and the run {why}: it would fail; nothing was started"
                    ),
                )
                .with_remedy(
                    "trigger_circleci_pipeline starts a new run; other workflows of the run can be run again",
                ));
            }
            notes.push(format!("it is the setup of its run, which {why}: a job that continues the run fails"));
        }
        notes.extend(
            newer
                .first()
                .map(|last| format!("it was run again since, as {}, which is {}", name(&last.id), word(&last.status))),
        );
        notes.extend(
            is_too_old(&workflow)
                .then(|| format!("CircleCI runs nothing again that is {TOO_OLD_DAYS} days old, and will refuse it")),
        );
        Ok((workflow, notes))
    }
}

fn is_too_old(workflow: &Workflow) -> bool {
    let made: Option<Timestamp> = workflow.created_at.parse().ok();
    made.is_some_and(|made| Timestamp::now().duration_since(made).as_hours() >= TOO_OLD_DAYS * 24)
}

/// Why the run can't be continued from its setup: that is done once, within a time, and a rerun changes nothing of it
/// (CircleCI-Public/path-filtering-orb #14).
async fn why_not_continued(
    circleci: &CircleCi,
    setup: &Workflow,
    others: &[Workflow],
    context: &CallContext,
) -> Result<Option<&'static str>, ToolError> {
    let run = circleci.fetch_run(&RunName::Id(setup.pipeline_id.clone()), context).await?;
    let was_continued = others.iter().any(|one| !one.is_setup()) || (setup.status == "success" && run.state != "setup");
    Ok(match (was_continued, may_be_continued(&run)) {
        (true, _) => Some("was continued from it already, which CircleCI does once"),
        (false, false) => Some("is older than the six hours in which CircleCI continues a run from it"),
        (false, true) => None,
    })
}

async fn preview(circleci: Arc<CircleCi>, input: RerunInput, context: CallContext) -> Result<Preview, ToolError> {
    let (workflow, notes) = input.workflow(&circleci, &context).await?;
    let what = match (input.jobs.len(), input.only_failed()) {
        (0, true) => "what failed in".to_owned(),
        (0, false) => "all of".to_owned(),
        (count, _) => format!("{count} jobs of"),
    };
    let mut would = format!(
        "run {what} the workflow {} of {}, run {}, again",
        name(&workflow.name),
        workflow.project_slug,
        workflow.pipeline_number
    );
    for note in notes {
        would = format!("{would}; {note}");
    }
    let state = json!({ "status": workflow.status, "project_slug": workflow.project_slug, "workflow_id": workflow.id });
    Ok(Preview { would, state })
}

async fn rerun(circleci: Arc<CircleCi>, input: RerunInput, context: CallContext) -> Result<Rerunning, ToolError> {
    let (workflow, _) = input.workflow(&circleci, &context).await?;
    let (doing, about) = ("run the workflow again", About::Id("workflow"));
    // v3 takes no jobs, and has another name for the same: with v2's it would run everything again, without a word.
    let new = if input.jobs.is_empty() && circleci.api(&context).await? == Api::V3 {
        let body = json!({ "is_from_failed": input.only_failed() });
        let call = Call::post(Api::V3, ["workflows", &workflow.id, "rerun"], body);
        let answer: Entity<Reference> = circleci.ask(&call, doing, about, &context).await?;
        answer.data.id
    } else {
        let body = if input.jobs.is_empty() {
            json!({ "from_failed": input.only_failed() })
        } else {
            json!({ "jobs": input.jobs })
        };
        let call = Call::post(Api::V2, ["workflow", &workflow.id, "rerun"], body);
        let answer: Rerun = circleci.ask(&call, doing, about, &context).await?;
        answer.workflow_id
    };
    Ok(Rerunning {
        workflow_id: name(&new),
        rerun_of: name(&workflow.id),
        pipeline_id: name(&workflow.pipeline_id),
        project_slug: name(&workflow.project_slug),
    })
}
