//! `cancel_circleci_workflow`: ends a workflow.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::json;

use super::{mutation, name, word};
use crate::{
    CircleCi,
    client::{Api, Call},
    error::About,
    status,
};
use tools::{CallContext, Preview, ToolDeclaration, ToolEntry, ToolError};

const CANCEL: ToolDeclaration = ToolDeclaration::destroy(
    "cancel_circleci_workflow",
    "Cancel a workflow",
    "Cancels a workflow and all jobs of it that run. It can't be taken back: what was done so far is lost, and a rerun \
     begins anew. CircleCI takes a moment; the answer has the state right after.",
)
.idempotent();

/// Arguments of `cancel_circleci_workflow`.
#[derive(Deserialize, JsonSchema)]
struct CancelInput {
    /// Id of the workflow (a UUID), or a link to it.
    #[schemars(length(min = 1, max = 2048))]
    workflow_id: String,
}

/// A workflow that was cancelled.
#[derive(Serialize, JsonSchema)]
struct CancelAnswer {
    /// Whether it is cancelled, or is being cancelled; false if it ended otherwise before that.
    cancelled: bool,
    /// Whether it had ended already, so that nothing was done.
    already: bool,
    /// Id of the workflow.
    workflow_id: String,
    /// Its state right after.
    status: String,
    /// Whether it changes no more.
    finished: bool,
    /// Slug of its project.
    project_slug: String,
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![mutation(circleci, CANCEL, preview, cancel)]
}

async fn preview(circleci: Arc<CircleCi>, input: CancelInput, context: CallContext) -> Result<Preview, ToolError> {
    let workflow = circleci.fetch_workflow(&input.workflow_id, &context).await?;
    let what = format!("{} of {}, run {}", name(&workflow.name), workflow.project_slug, workflow.pipeline_number);
    let would = if status::is_final(&workflow.status) {
        format!("do nothing: the workflow {what} has ended ({})", word(&workflow.status))
    } else {
        format!("cancel the workflow {what}, which is {}; it can't be taken back", word(&workflow.status))
    };
    let state = json!({ "status": workflow.status, "project_slug": workflow.project_slug, "workflow_id": workflow.id });
    Ok(Preview { would, state })
}

async fn cancel(circleci: Arc<CircleCi>, input: CancelInput, context: CallContext) -> Result<CancelAnswer, ToolError> {
    let mut workflow = circleci.fetch_workflow(&input.workflow_id, &context).await?;
    let already = status::is_final(&workflow.status);
    if !already {
        let call = match circleci.api(&context).await? {
            Api::V3 => Call::post_nothing(Api::V3, ["workflows", &workflow.id, "cancel"]),
            _ => Call::post_nothing(Api::V2, ["workflow", &workflow.id, "cancel"]),
        };
        let doing = "cancel the workflow";
        let _: IgnoredAny = circleci.ask(&call, doing, About::Id("workflow"), &context).await?;
        // It was taken; that the state can't be read now is no failure.
        if let Ok(after) = circleci.fetch_workflow(&workflow.id, &context).await {
            workflow = after;
        }
    }
    Ok(CancelAnswer {
        // What is asked for is done later, and a workflow may end before (CircleCI-Public/circleci-cli #1400).
        cancelled: workflow.status == "canceled" || !status::is_final(&workflow.status),
        already,
        finished: status::is_final(&workflow.status),
        workflow_id: name(&workflow.id),
        status: word(&workflow.status),
        project_slug: name(&workflow.project_slug),
    })
}
