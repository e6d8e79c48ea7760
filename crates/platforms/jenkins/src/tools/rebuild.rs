//! `rebuild_jenkins_build`: a build once more, with the same parameters.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    BuildArgs, BuildName, mutation, not_a_configuration,
    parameters::{GivenValue, check},
    start::{Started, check_buildable, start},
    trigger,
};
use crate::{
    Jenkins,
    names::JobName,
    wire::{self, Build, Job},
};
use kit::{args::WaitSeconds, text};
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

const REBUILD: ToolDeclaration = ToolDeclaration::mutate(
    "rebuild_jenkins_build",
    "Build once more",
    "Triggers a build with the parameters of an earlier one. It takes what is in the repository now, not what was then. \
     Parameters with a password can't be read back: trigger_jenkins_build takes them anew.",
);

/// Arguments of `rebuild_jenkins_build`.
#[derive(Deserialize, JsonSchema)]
struct RebuildInput {
    #[serde(flatten)]
    build: BuildArgs<{ BuildName::LAST }>,
    /// Seconds to wait for the build's number. Never longer than the call may take.
    #[serde(default)]
    wait_seconds: WaitSeconds<45, 120>,
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![mutation(jenkins, REBUILD, preview, rebuild)]
}

impl RebuildInput {
    async fn look(
        &self,
        jenkins: &Jenkins,
        context: &CallContext,
    ) -> Result<(JobName, Job, Vec<(String, String)>), ToolError> {
        let target = self.build.target(jenkins, context).await?;
        not_a_configuration(&target.job, "built")?;
        let build = jenkins.fetch_build(&target, wire::BUILD, context).await?;
        let job = jenkins.fetch_job(&target.job, context).await?;
        check_buildable(&job)?;
        let fields = check(&values(&build, &job)?, job.parameters().unwrap_or_default(), false)?;
        Ok((target.job, job, fields))
    }
}

/// The values of a build, of the parameters that the job still declares.
fn values(build: &Build, job: &Job) -> Result<BTreeMap<String, GivenValue>, ToolError> {
    let declared = job.parameters().unwrap_or_default();
    let used = build.actions.iter().flat_map(|action| &action.parameters);
    let mut values = BTreeMap::new();
    for parameter in used.filter(|used| declared.iter().any(|one| one.name == used.name)) {
        let value = match parameter.told() {
            Some(Value::String(text)) => GivenValue::Text(text),
            Some(Value::Bool(flag)) => GivenValue::Flag(flag),
            Some(Value::Number(number)) => GivenValue::Number(number),
            _ => {
                let message =
                    format!("the parameter {} of that build can't be read back", text::clean(&parameter.name));
                return Err(ToolError::new(ErrorCode::Conflict, message)
                    .with_remedy("give all parameters anew to trigger_jenkins_build"));
            }
        };
        values.insert(parameter.name.clone(), value);
    }
    Ok(values)
}

async fn preview(jenkins: Arc<Jenkins>, input: RebuildInput, context: CallContext) -> Result<Preview, ToolError> {
    let (name, job, fields) = input.look(&jenkins, &context).await?;
    Ok(trigger::preview_of(&name, &job, &fields))
}

async fn rebuild(jenkins: Arc<Jenkins>, input: RebuildInput, context: CallContext) -> Result<Started, ToolError> {
    let wait = input.wait_seconds.seconds();
    let (name, job, fields) = input.look(&jenkins, &context).await?;
    start(&jenkins, &name, &job, fields, wait, &context).await
}
