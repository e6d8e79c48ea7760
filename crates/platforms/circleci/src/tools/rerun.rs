//! `rerun_circleci_workflow`: runs a workflow again, from what failed or from the start.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{mutation, name};
use crate::{
    CircleCi,
    client::{Api, Call},
    error::About,
    locate::coming_rerun,
    names::is_uuid,
    status,
    v3::{Entity, Reference},
    wire::{Rerun, Workflow},
};
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

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

    /// The workflow, if it can be run again.
    async fn workflow(&self, circleci: &CircleCi, context: &CallContext) -> Result<Workflow, ToolError> {
        self.check()?;
        let workflow = circleci.fetch_workflow(&self.workflow_id, context).await?;
        // Of one whose state is not told, CircleCI says whether it can be run again.
        if !status::is_final(&workflow.status) && workflow.status != "unknown" {
            return Err(ToolError::new(
                ErrorCode::Conflict,
                format!("the workflow is {}, and has not ended", workflow.status),
            )
            .with_remedy("wait until it has ended, or cancel it first"));
        }
        if self.only_failed() && matches!(workflow.status.as_str(), "success" | "not_run") {
            return Err(ToolError::new(ErrorCode::Conflict, "nothing failed in the workflow")
                .with_remedy("with from_failed false all of it is run again"));
        }
        let others = circleci.fetch_workflows(&workflow.pipeline_id, context).await?;
        if let Some(coming) = coming_rerun(&workflow, &others.items) {
            return Err(ToolError::new(ErrorCode::Conflict, format!("{coming}; nothing was started"))
                .with_remedy("get_circleci_pipeline_status tells in two minutes whether it did"));
        }
        let newer = others.items.iter().find(|one| {
            one.name == workflow.name && one.created_at > workflow.created_at && !status::is_final(&one.status)
        });
        match newer {
            Some(newer) => {
                Err(ToolError::new(ErrorCode::Conflict, "the workflow is being run again already; nothing was started")
                    .with_remedy(format!("its new workflow is {}", name(&newer.id))))
            }
            None => Ok(workflow),
        }
    }
}

async fn preview(circleci: Arc<CircleCi>, input: RerunInput, context: CallContext) -> Result<Preview, ToolError> {
    let workflow = input.workflow(&circleci, &context).await?;
    let what = match (input.jobs.len(), input.only_failed()) {
        (0, true) => "what failed in".to_owned(),
        (0, false) => "all of".to_owned(),
        (count, _) => format!("{count} jobs of"),
    };
    let would = format!(
        "run {what} the workflow {} of {}, run {}, again",
        name(&workflow.name),
        workflow.project_slug,
        workflow.pipeline_number
    );
    let state = json!({ "status": workflow.status, "project_slug": workflow.project_slug, "workflow_id": workflow.id });
    Ok(Preview { would, state })
}

async fn rerun(circleci: Arc<CircleCi>, input: RerunInput, context: CallContext) -> Result<Rerunning, ToolError> {
    let workflow = input.workflow(&circleci, &context).await?;
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
