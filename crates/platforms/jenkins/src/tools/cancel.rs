//! `cancel_jenkins_build` and `cancel_jenkins_queue_item`: ends what runs, or what waits.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{BuildArgs, BuildName, builds::BuildStatus, mutation, queue};
use crate::{
    Jenkins,
    client::{Call, Error},
    error::to_tool_error,
    wire::{self, Build, QueueItem},
};
use tools::{CallContext, Preview, ToolDeclaration, ToolEntry, ToolError, time};

const BUILD: ToolDeclaration = ToolDeclaration::destroy(
    "cancel_jenkins_build",
    "End a build that runs",
    "Ends a build. What it did stays done, so a deployment may be half finished. stop is for every build; term and kill, \
     harder and for pipelines only, are for one that doesn't end: give each some 15 seconds.",
)
.idempotent();

const ITEM: ToolDeclaration = ToolDeclaration::destroy(
    "cancel_jenkins_queue_item",
    "Take an item out of the queue",
    "Cancels a build that waits in the queue. One that has begun meanwhile is left alone, and its number is answered. \
     Cancelling a step of a running pipeline ends that pipeline.",
)
.idempotent();

/// How hard a build is ended.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// It is interrupted, and may clean up.
    #[default]
    Stop,
    /// Its steps are ended without waiting for them. Pipelines only.
    Term,
    /// It is ended at once, whatever it leaves behind. Pipelines only.
    Kill,
}

impl Mode {
    const fn action(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Term => "term",
            Self::Kill => "kill",
        }
    }
}

/// Arguments of `cancel_jenkins_build`.
#[derive(Deserialize, JsonSchema)]
struct BuildInput {
    #[serde(flatten)]
    build: BuildArgs<{ BuildName::LAST }>,
    /// How hard.
    #[serde(default)]
    mode: Mode,
}

/// Arguments of `cancel_jenkins_queue_item`.
#[derive(Deserialize, JsonSchema)]
struct ItemInput {
    /// Id of the item.
    #[schemars(range(min = 1))]
    id: u64,
}

/// What became of a build.
#[derive(Serialize, JsonSchema)]
struct Cancelled {
    /// Number of the build.
    build: u32,
    /// How it does now. It may take a while to end: running is no failure yet.
    status: BuildStatus,
    /// Whether it had ended already, so that nothing was done.
    already: bool,
    /// What to know or to do next.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// What became of an item.
#[derive(Serialize, JsonSchema)]
struct CancelledItem {
    /// Its id.
    id: u64,
    /// Whether it is cancelled.
    cancelled: bool,
    /// Number of its build, if that had begun already.
    #[serde(skip_serializing_if = "Option::is_none")]
    already_started: Option<u32>,
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![mutation(jenkins, BUILD, preview_build, cancel_build), mutation(jenkins, ITEM, preview_item, cancel_item)]
}

fn status(build: &Build) -> BuildStatus {
    BuildStatus::of(build.building, build.result.as_deref())
}

/// Refuses to end a build harder than it can be ended: `term` and `kill` are of pipelines (`WorkflowRun.java`).
fn check_mode(mode: Mode, build: &Build) -> Result<(), ToolError> {
    if mode == Mode::Stop || build.may_be_pipeline() { Ok(()) } else { Err(no_pipeline()) }
}

/// Words that a build can't be ended so.
fn no_pipeline() -> ToolError {
    ToolError::invalid_argument("this build can't be ended so: it is no pipeline")
        .with_argument("mode")
        .with_remedy("use stop")
}

async fn preview_build(jenkins: Arc<Jenkins>, input: BuildInput, context: CallContext) -> Result<Preview, ToolError> {
    let target = input.build.target(&jenkins, &context).await?;
    let build = jenkins.fetch_build(&target, wire::BUILD_STATE, &context).await?;
    check_mode(input.mode, &build)?;
    let target = target.numbered(&build);
    let would = if build.building {
        format!("end {target} ({}); what it did stays done", input.mode.action())
    } else {
        format!("do nothing: {target} has ended already")
    };
    let started = time::from_milliseconds(build.timestamp);
    Ok(Preview { would, state: json!({ "build": build.number, "status": status(&build), "started": started }) })
}

async fn cancel_build(jenkins: Arc<Jenkins>, input: BuildInput, context: CallContext) -> Result<Cancelled, ToolError> {
    let target = input.build.target(&jenkins, &context).await?;
    let build = jenkins.fetch_build(&target, wire::BUILD_STATE, &context).await?;
    if !build.building {
        return Ok(Cancelled { build: build.number, status: status(&build), already: true, hints: Vec::new() });
    }
    check_mode(input.mode, &build)?;
    let target = target.numbered(&build);
    // Its answer is a redirect, whether something was ended or not.
    let call = Call::post(target.path(&[input.mode.action()]), Vec::new());
    match jenkins.session.call(&call, context.deadline).await {
        Ok(_) => {}
        Err(Error::NotFound) if input.mode != Mode::Stop => return Err(no_pipeline()),
        Err(error) => return Err(to_tool_error(error, &format!("end {target}"))),
    }
    let after = jenkins.fetch_build(&target, wire::BUILD_STATE, &context).await;
    let after = after.map_err(ToolError::after_the_change)?;
    let hints = if after.building {
        let next =
            if input.mode == Mode::Kill { "" } else { "; if it doesn't end in 15 seconds, a harder mode may help" };
        vec![format!("it was told to end and still runs: ask get_jenkins_build_status{next}")]
    } else {
        Vec::new()
    };
    Ok(Cancelled { build: build.number, status: status(&after), already: false, hints })
}

impl Jenkins {
    async fn queue_item(&self, id: u64, context: &CallContext) -> Result<QueueItem, ToolError> {
        let item = self.fetch_queue_item(id, context).await;
        item.map_err(|error| to_tool_error(error, &format!("read the queue item {id}")))?.ok_or_else(queue::gone)
    }
}

async fn preview_item(jenkins: Arc<Jenkins>, input: ItemInput, context: CallContext) -> Result<Preview, ToolError> {
    let item = jenkins.queue_item(input.id, &context).await?;
    let view = queue::ItemView::of(&item);
    let job = view.job.clone().unwrap_or_else(|| "a task".to_owned());
    let would = match view.state {
        // What becomes of it: `ExecutorStepExecution.java`, `QueueTaskCancelled`.
        queue::ItemState::Waiting if view.is_step => {
            "cancel a step of a pipeline that runs, which waits for a node: the \
             pipeline ends by it, unless its script catches that; Jenkins does not tell which pipeline"
                .to_owned()
        }
        queue::ItemState::Waiting => format!("cancel the queued build of {job}"),
        queue::ItemState::Started => format!("do nothing: the build of {job} has begun; cancel_jenkins_build ends it"),
        queue::ItemState::Cancelled => "do nothing: the item is cancelled already".to_owned(),
    };
    Ok(Preview { would, state: json!({ "state": view.state, "job": view.job, "build": view.build }) })
}

async fn cancel_item(
    jenkins: Arc<Jenkins>,
    input: ItemInput,
    context: CallContext,
) -> Result<CancelledItem, ToolError> {
    let id = input.id;
    let became = |item: &QueueItem| CancelledItem {
        id,
        cancelled: item.cancelled && item.build().is_none(),
        already_started: item.build(),
    };
    let item = jenkins.queue_item(id, &context).await?;
    if item.build().is_some() || item.cancelled {
        return Ok(became(&item));
    }
    let call = Call::post(["queue", "cancelItem"], Vec::new()).query("id", &id);
    match jenkins.session.call(&call, context.deadline).await {
        // Older versions redirect, whatever they did; and 404 says that it left the queue meanwhile.
        Ok(_) | Err(Error::NotFound) => {
            let after = jenkins.queue_item(id, &context).await.map_err(ToolError::after_the_change)?;
            Ok(became(&after))
        }
        Err(error) => Err(to_tool_error(error, "cancel this item")),
    }
}
