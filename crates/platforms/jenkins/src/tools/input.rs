//! `submit_jenkins_input`: settles what a pipeline waits for.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    BuildArgs, BuildName, Target,
    inputs::UNTOLD,
    mutation,
    parameters::{GivenValue, by_name, check, shown},
};
use crate::{
    Jenkins,
    client::{Call, Error},
    error::to_tool_error,
    wire::PendingInput,
};
use kit::text;
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

const SUBMIT: ToolDeclaration = ToolDeclaration::destroy(
    "submit_jenkins_input",
    "Settle what a pipeline waits for",
    "Lets a pipeline that waits go on, with the parameters that it asks for, or aborts it. list_jenkins_pending_inputs tells \
     the ids and the parameters, all of which are required. What was settled can't be taken back.",
);

/// How an input is settled.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
enum Decision {
    /// The pipeline goes on.
    Proceed,
    /// The pipeline is aborted.
    Abort,
}

/// Arguments of `submit_jenkins_input`.
#[derive(Deserialize, JsonSchema)]
struct SubmitInput {
    #[serde(flatten)]
    build: BuildArgs<{ BuildName::LAST }>,
    /// Id of the input.
    #[schemars(length(min = 1, max = 200))]
    input_id: String,
    /// What to do.
    action: Decision,
    /// Values of the parameters that it asks for, by name. None with abort.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 100))]
    parameters: BTreeMap<String, GivenValue>,
}

/// An input that was settled.
#[derive(Serialize, JsonSchema)]
struct Settlement {
    /// Number of the build.
    build: u32,
    /// Id of the input.
    input_id: String,
    /// What was done.
    action: Decision,
    /// Whether it is no longer waited for.
    settled: bool,
}

/// What was found out before.
struct Looked {
    target: Target,
    build: u32,
    pending: PendingInput,
    fields: Vec<(String, String)>,
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![mutation(jenkins, SUBMIT, preview, submit)]
}

impl SubmitInput {
    async fn look(&self, jenkins: &Jenkins, context: &CallContext) -> Result<Looked, ToolError> {
        let target = self.build.target(jenkins, context).await?;
        let (build, pending) = jenkins.fetch_inputs(&target, context).await?;
        let target = target.numbered(&build);
        let Some(pending) = pending else { return Err(ToolError::new(ErrorCode::PlatformError, UNTOLD)) };
        let ids: Vec<String> = pending.iter().map(|one| text::clean(&one.id)).collect();
        let Some(pending) = pending.into_iter().find(|one| one.id == self.input_id) else {
            let remedy = if ids.is_empty() {
                "the build waits for no input: it was settled, or the build has ended"
            } else {
                "platform_words are the inputs that the build waits for"
            };
            return Err(ToolError::new(ErrorCode::NotFound, "the build does not wait for this input")
                .with_argument("input_id")
                .with_remedy(remedy)
                .with_platform_words(ids));
        };
        let fields = match self.action {
            Decision::Proceed => check(&self.parameters, &pending.parameters, true)?,
            Decision::Abort if self.parameters.is_empty() => Vec::new(),
            Decision::Abort => {
                return Err(ToolError::invalid_argument("abort takes no parameters").with_argument("parameters"));
            }
        };
        Ok(Looked { target, build: build.number, pending, fields })
    }
}

async fn preview(jenkins: Arc<Jenkins>, input: SubmitInput, context: CallContext) -> Result<Preview, ToolError> {
    let looked = input.look(&jenkins, &context).await?;
    let Looked { target, pending, fields, .. } = &looked;
    let message = text::clean(&pending.message);
    let would = match input.action {
        Decision::Proceed => format!("let {target} go on, which asks: {message}"),
        Decision::Abort => format!("abort {target}, which asks: {message}"),
    };
    let parameters: BTreeMap<&String, String> = by_name(fields)
        .map(|(name, values)| (name, shown(name, pending.kind(name), &json!(values.join(",")))))
        .collect();
    Ok(Preview { would, state: json!({ "build": looked.build, "input_id": input.input_id, "parameters": parameters }) })
}

async fn submit(jenkins: Arc<Jenkins>, input: SubmitInput, context: CallContext) -> Result<Settlement, ToolError> {
    let Looked { target, build, pending, fields } = input.look(&jenkins, &context).await?;
    // The actions of `InputStepExecution` in the plugin pipeline-input-step.
    let (action, form) = match input.action {
        Decision::Abort => ("abort", Vec::new()),
        // `proceedEmpty` did not tell the pipeline who approved (`submitterParameter`) until July 2025.
        Decision::Proceed => {
            let value = |(name, values): (&String, Vec<&str>)| match (values.as_slice(), pending.kind(name)) {
                // As its constructor calls it (`hudson/model/RunParameterValue.java`).
                ([run], "RunParameterDefinition") => json!({ "name": name, "runId": run }),
                ([value], _) => json!({ "name": name, "value": value }),
                (several, _) => json!({ "name": name, "value": several }),
            };
            let values: Vec<_> = by_name(&fields).map(value).collect();
            ("proceed", vec![("json".to_owned(), json!({ "parameter": values }).to_string())])
        }
    };
    let call = Call::post(target.path(&["input", &input.input_id, action]), form);
    let outcome = jenkins.session.call(&call, context.deadline).await;
    outcome.map_err(|error| refused(error, &target, &pending, input.action))?;
    // Refusals are pages with many statuses, so what counts is that it isn't waited for any more.
    let pending = jenkins.fetch_inputs(&target, &context).await;
    let settled = pending
        .is_ok_and(|(_, pending)| pending.is_some_and(|pending| pending.iter().all(|one| one.id != input.input_id)));
    Ok(Settlement { build, input_id: input.input_id, action: input.action, settled })
}

/// Words of a refusal. Whoever may abort the build may abort what it asks, too.
fn refused(error: Error, target: &Target, pending: &PendingInput, action: Decision) -> ToolError {
    let only = pending.submitter.as_deref().and_then(text::optional);
    let is_for_others = matches!(error, Error::Forbidden(None));
    let is_unclear = matches!(error, Error::BadRequest);
    let worded = to_tool_error(error, &format!("settle the input of {target}"));
    match (only, action) {
        (Some(only), Decision::Proceed) if is_for_others => {
            worded.with_remedy("only the users and groups in platform_words may").with_platform_words([only])
        }
        (Some(only), Decision::Abort) if is_for_others => {
            let remedy = "only the users and groups in platform_words may, or whoever has Job/Cancel";
            worded.with_remedy(remedy).with_platform_words([only])
        }
        (Some(only), _) if is_unclear => ToolError::new(ErrorCode::PermissionDenied, worded.message)
            .with_remedy("it may be settled already; else only the users and groups in platform_words may")
            .with_platform_words([only]),
        _ => worded,
    }
}
