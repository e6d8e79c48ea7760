//! `approve_circleci_job`: lets a workflow go on that waits for a person.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::json;

use super::{mutation, name, word};
use crate::{
    CircleCi,
    client::{Api, Call},
    error::About,
    locate::Read,
    wire::{Workflow, WorkflowJob},
};
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

const APPROVE: ToolDeclaration = ToolDeclaration::destroy(
    "approve_circleci_job",
    "Approve a job",
    "Approves a job on which a workflow waits, so that what follows it runs: often a deployment. It can't be taken back. \
     The job is named by its approval_request_id or its name, as get_circleci_workflow answers them.",
)
.idempotent();

/// Arguments of `approve_circleci_job`.
#[derive(Deserialize, JsonSchema)]
struct ApproveInput {
    /// Id of the workflow (a UUID), or a link to it.
    #[schemars(length(min = 1, max = 2048))]
    workflow_id: String,
    /// Id of the approval. Give it, or job_name.
    #[serde(default)]
    #[schemars(length(min = 36, max = 36))]
    approval_request_id: Option<String>,
    /// Name of the job.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    job_name: Option<String>,
}

/// A job that was approved.
#[derive(Serialize, JsonSchema)]
struct Approved {
    /// Name of the job.
    job: String,
    /// Whether it was approved already, so that nothing was done.
    already: bool,
    /// Id of the workflow.
    workflow_id: String,
    /// State of the workflow right after.
    status: String,
    /// Slug of the project.
    project_slug: String,
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![mutation(circleci, APPROVE, preview, approve)]
}

/// The workflow, the job, its approval's id, and whether it is approved already.
struct Pending {
    workflow: Workflow,
    job: WorkflowJob,
    request: String,
    already: bool,
    /// Names of what runs next.
    next: Vec<String>,
}

impl ApproveInput {
    async fn find(&self, circleci: &CircleCi, context: &CallContext) -> Result<Pending, ToolError> {
        if self.approval_request_id.is_some() == self.job_name.is_some() {
            return Err(ToolError::invalid_argument("pass either approval_request_id or job_name")
                .with_argument("approval_request_id"));
        }
        let workflow = circleci.fetch_workflow(&self.workflow_id, context).await?;
        let Read { items: jobs, next } = circleci.fetch_workflow_jobs(&workflow.id, context).await?;
        let is_meant = |job: &&WorkflowJob| {
            job.type_ == "approval"
                && (self.job_name.as_ref().is_some_and(|name| *name == job.name)
                    || self.approval_request_id.is_some() && job.approval_request_id == self.approval_request_id)
        };
        let Some(job) = jobs.iter().find(is_meant) else {
            let waiting: Vec<String> = jobs
                .iter()
                .filter(|job| job.type_ == "approval" && job.status == "on_hold")
                .take(10)
                .map(|job| name(&job.name))
                .collect();
            let remedy = if waiting.is_empty() {
                "no job of the workflow waits for approval"
            } else {
                "platform_words are those that wait"
            };
            return Err(match next {
                None => ToolError::new(ErrorCode::NotFound, "the workflow has no such approval")
                    .with_remedy(remedy)
                    .with_platform_words(waiting),
                Some(_) => ToolError::new(
                    ErrorCode::ResultTooLarge,
                    format!("the approval is not among the {} jobs of the workflow that were read", jobs.len()),
                )
                .with_remedy("there are more jobs: open the workflow in CircleCI's web site"),
            });
        };
        let already = job.approved_by.is_some() || job.status == "success";
        if !already && job.status != "on_hold" {
            return Err(ToolError::new(ErrorCode::Conflict, "the job waits for nobody: platform_words is its state")
                .with_remedy("it can be approved when all that comes before it has succeeded")
                .with_platform_words([word(&job.status)]));
        }
        let request = job
            .approval_request_id
            .clone()
            .ok_or_else(|| ToolError::new(ErrorCode::PlatformError, "CircleCI does not tell the id of the approval"))?;
        let follows = jobs.iter().filter(|one| one.dependencies.contains(&job.id));
        let next = follows.take(10).map(|one| name(&one.name)).collect();
        let id = job.id.clone();
        let job = jobs.into_iter().find(|one| one.id == id).ok_or_else(|| ToolError::internal("a job is gone"))?;
        Ok(Pending { workflow, job, request, already, next })
    }
}

async fn preview(circleci: Arc<CircleCi>, input: ApproveInput, context: CallContext) -> Result<Preview, ToolError> {
    let Pending { workflow, job, already, next, .. } = input.find(&circleci, &context).await?;
    let what = format!("{} of the workflow {} of {}", name(&job.name), name(&workflow.name), workflow.project_slug);
    let would = match (already, next.is_empty()) {
        (true, _) => format!("do nothing: {what} is approved already"),
        (false, true) => format!("approve {what}"),
        (false, false) => format!("approve {what}, so that {} can run", next.join(", ")),
    };
    let state = json!({
        "job_status": job.status,
        "workflow_status": workflow.status,
        "project_slug": workflow.project_slug,
        "run": workflow.pipeline_number,
        "next": next,
    });
    Ok(Preview { would, state })
}

async fn approve(circleci: Arc<CircleCi>, input: ApproveInput, context: CallContext) -> Result<Approved, ToolError> {
    let Pending { mut workflow, job, request, already, .. } = input.find(&circleci, &context).await?;
    if !already {
        // v3 has nothing for it.
        let call = Call::post_nothing(Api::V2, ["workflow", &workflow.id, "approve", &request]);
        let _: IgnoredAny = circleci.ask(&call, "approve the job", About::Id("approval"), &context).await?;
        // It was taken; that the state can't be read now is no failure.
        if let Ok(after) = circleci.fetch_workflow(&workflow.id, &context).await {
            workflow = after;
        }
    }
    Ok(Approved {
        job: name(&job.name),
        already,
        workflow_id: name(&workflow.id),
        status: word(&workflow.status),
        project_slug: name(&workflow.project_slug),
    })
}
