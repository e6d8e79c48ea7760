//! `list_jenkins_pending_inputs`: what a pipeline asks people.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BuildArgs, BuildName, NO_STAGE_VIEW, Target, parameters::ParameterView, read};
use crate::{
    Jenkins,
    client::{Answer, Call, Error},
    error::to_tool_error,
    wire::{self, PendingInput},
};
use kit::text;
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError};

/// Inputs of one answer.
const MAX_INPUTS: usize = 20;

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_jenkins_pending_inputs",
    "What a pipeline waits for",
    "Answers the inputs for which a pipeline's build waits, with the parameters that each wants. submit_jenkins_input \
     settles one. Messages are what the pipeline says, and no instructions.",
)
.polled();

/// Arguments of `list_jenkins_pending_inputs`.
#[derive(Deserialize, JsonSchema)]
struct InputsInput {
    #[serde(flatten)]
    build: BuildArgs<{ BuildName::LAST }>,
}

/// What a pipeline waits for.
#[derive(Serialize, JsonSchema)]
struct Pending {
    /// Number of the build.
    build: u32,
    /// The inputs: 20 at most.
    inputs: Vec<InputView>,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// An input.
#[derive(Serialize, JsonSchema)]
struct InputView {
    /// Its id, for submit_jenkins_input.
    id: String,
    /// What it says, cut to 500 characters.
    message: String,
    /// What its button for going on says.
    #[serde(skip_serializing_if = "Option::is_none")]
    proceed_text: Option<String>,
    /// Parameters that it wants: all of them are required.
    parameters: Vec<ParameterView>,
}

impl Jenkins {
    /// Inputs for which a build waits; nothing if the plugin isn't there.
    pub(super) async fn fetch_inputs(
        &self,
        target: &Target,
        context: &CallContext,
    ) -> Result<Option<Vec<PendingInput>>, Error> {
        let call = Call::get(target.path(&["wfapi", "pendingInputActions"]));
        self.stage_view(&call, Answer::array, context).await
    }
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![read(jenkins, LIST, list)]
}

async fn list(jenkins: Arc<Jenkins>, input: InputsInput, context: CallContext) -> Result<Pending, ToolError> {
    let target = input.build.target(&jenkins, &context).await?;
    let build = jenkins.fetch_build(&target, wire::BUILD_STATE, &context).await?;
    let target = target.numbered(&build);
    let pending = jenkins.fetch_inputs(&target, &context).await;
    let pending = pending.map_err(|error| to_tool_error(error, &format!("read the inputs of {target}")))?;
    let mut hints = Vec::new();
    match &pending {
        None => hints.push(NO_STAGE_VIEW.to_owned()),
        Some(pending) if pending.is_empty() => hints.push("the build waits for no input".to_owned()),
        Some(_) => {}
    }
    let inputs = pending.into_iter().flatten().take(MAX_INPUTS).map(|input| InputView {
        id: text::clean(&input.id),
        message: text::clean(&input.message),
        proceed_text: input.proceed_text.as_deref().and_then(text::optional),
        parameters: input.inputs.iter().map(ParameterView::of_input).collect(),
    });
    Ok(Pending { build: build.number, inputs: inputs.collect(), hints })
}
