//! `get_jenkins_build_stages`: how far a pipeline is, and where it failed.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AGE_OF_AN_ENDED_BUILD, BuildArgs, BuildName, NO_STAGE_VIEW, Target, read};
use crate::{
    Jenkins,
    client::{Answer, Call, Error},
    error::to_tool_error,
    wire::{self, Flow},
};
use kit::text;
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError, time};

/// Stages of one answer.
const MAX_STAGES: usize = 200;

const GET: ToolDeclaration = ToolDeclaration::read(
    "get_jenkins_build_stages",
    "Stages of a pipeline",
    "Answers the stages of a pipeline's build in their order, with status and duration; of the one that failed, the step \
     and its error, too. Parallel branches stand beside each other. PAUSED_PENDING_INPUT waits for somebody.",
)
.cached_if_final(AGE_OF_AN_ENDED_BUILD)
.polled();

/// Arguments of `get_jenkins_build_stages`.
#[derive(Deserialize, JsonSchema)]
struct StagesInput {
    #[serde(flatten)]
    build: BuildArgs<{ BuildName::LAST }>,
}

/// The stages of a build.
#[derive(Serialize, JsonSchema)]
struct Pipeline {
    /// Number of the build.
    build: u32,
    /// Status of the whole, in the words of the pipeline: IN_PROGRESS, SUCCESS, FAILED, and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    /// The stages: 200 at most.
    stages: Vec<Stage>,
    /// The step that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_step: Option<FailedStep>,
    /// Whether stages were left out.
    truncated: bool,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A stage.
#[derive(Serialize, JsonSchema)]
struct Stage {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// NOT_EXECUTED, IN_PROGRESS, PAUSED_PENDING_INPUT, SUCCESS, UNSTABLE, FAILED or ABORTED.
    status: String,
    /// When it began (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    /// How long it has taken.
    duration_ms: i64,
    /// How long it waited for somebody.
    #[serde(skip_serializing_if = "is_zero")]
    paused_ms: i64,
    /// What went wrong, cut to 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A step that failed.
#[derive(Serialize, JsonSchema, Clone)]
pub(super) struct FailedStep {
    /// The stage that it is in.
    pub(super) stage: String,
    /// The step, such as `Shell Script`; absent where Jenkins doesn't tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<String>,
    /// Its error, cut to 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl Stage {
    fn of(stage: &Flow) -> Self {
        Self {
            id: text::clean(&stage.id),
            name: text::clean(&stage.name),
            status: text::clean(&stage.status),
            started: time::from_milliseconds(stage.start_time_millis),
            duration_ms: stage.duration_millis,
            paused_ms: stage.pause_duration_millis,
            error: stage.error.as_ref().and_then(|error| text::optional(&error.message)),
        }
    }
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![read(jenkins, GET, get)]
}

impl Jenkins {
    /// A build's stages; nothing if it has none, or the plugin isn't there.
    pub(super) async fn fetch_flow(&self, target: &Target, context: &CallContext) -> Result<Option<Flow>, Error> {
        self.stage_view(&Call::get(target.path(&["wfapi", "describe"])), Answer::object, context).await
    }

    /// The first stage that failed, with the step in it that did, which costs a request.
    pub(super) async fn fetch_failed_step(
        &self,
        target: &Target,
        flow: &Flow,
        context: &CallContext,
    ) -> Result<Option<FailedStep>, Error> {
        let Some(stage) = flow.stages.iter().find(|stage| stage.status == "FAILED") else { return Ok(None) };
        let path = target.path(&["execution", "node", &stage.id, "wfapi", "describe"]);
        let described: Option<Flow> = self.stage_view(&Call::get(path), Answer::object, context).await?;
        let steps = described.map(|stage| stage.stage_flow_nodes).unwrap_or_default();
        // The last of them: those before were caught, or the failure wouldn't have gone on.
        let step = steps.iter().rev().find(|step| step.status == "FAILED");
        let error = step.and_then(|step| step.error.as_ref()).or(stage.error.as_ref());
        Ok(Some(FailedStep {
            stage: text::clean(&stage.name),
            step: step.and_then(|step| text::optional(&step.name)),
            error: error.and_then(|error| text::optional(&error.message)),
        }))
    }
}

async fn get(jenkins: Arc<Jenkins>, input: StagesInput, context: CallContext) -> Result<Pipeline, ToolError> {
    let target = input.build.target(&jenkins, &context).await?;
    // Without it, a 404 could mean anything.
    let build = jenkins.fetch_build(&target, wire::BUILD_STATE, &context).await?;
    target.say_if_final(&build, &context);
    let target = target.numbered(&build);
    let failed = |error| to_tool_error(error, &format!("read the stages of {target}"));
    let Some(flow) = jenkins.fetch_flow(&target, &context).await.map_err(failed)? else {
        return Ok(Pipeline {
            build: build.number,
            status: None,
            stages: Vec::new(),
            failed_step: None,
            truncated: false,
            hints: vec![NO_STAGE_VIEW.to_owned()],
        });
    };
    let failed_step = jenkins.fetch_failed_step(&target, &flow, &context).await.map_err(failed)?;
    let mut hints = Vec::new();
    if flow.stages.is_empty() {
        hints.push("the pipeline has no stages, or none has begun".to_owned());
    }
    if flow.status == "PAUSED_PENDING_INPUT" {
        hints.push("it waits for somebody: list_jenkins_pending_inputs tells for what".to_owned());
    }
    Ok(Pipeline {
        build: build.number,
        status: text::optional(&flow.status),
        stages: flow.stages.iter().take(MAX_STAGES).map(Stage::of).collect(),
        failed_step,
        truncated: flow.stages.len() > MAX_STAGES,
        hints,
    })
}
