//! `trigger_jenkins_build`: starts a build with parameters that fit the job.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{
    mutation, not_a_configuration,
    parameters::{GivenValue, by_name, check, may_drop, shown},
    start::{Started, check_buildable, start},
};
use crate::{
    Jenkins,
    names::JobName,
    wire::{Job, ParameterDefinition},
};
use kit::{args::WaitSeconds, text};
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

const TRIGGER: ToolDeclaration = ToolDeclaration::mutate(
    "trigger_jenkins_build",
    "Trigger a build",
    "Triggers a build of a job. Parameters are checked against what the job declares (get_jenkins_job) before anything is \
     sent. Waits until it leaves the queue and answers the build's number; if the time is up before, the id of the queue \
     item to go on with, and then it must not be triggered again.",
);

/// What is said of a pipeline that never ran.
pub(super) const MAY_TAKE_MORE: &str =
    "this pipeline has no builds: which parameters its script declares Jenkins knows after the first one";

/// Parameters without a value that a preview names.
const MAX_NAMED: usize = 10;

/// Arguments of `trigger_jenkins_build`.
#[derive(Deserialize, JsonSchema)]
struct TriggerInput {
    /// Full name of the job, such as `folder/name`, or a link to it.
    #[schemars(length(min = 1, max = 4000))]
    job: String,
    /// Values of parameters by name: 100 at most. Those left out have their defaults, or none. A list is several
    /// choices.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 100))]
    parameters: BTreeMap<String, GivenValue>,
    /// Seconds to wait for the build's number. Never longer than the call may take.
    #[serde(default)]
    wait_seconds: WaitSeconds<45, 120>,
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![mutation(jenkins, TRIGGER, preview, trigger)]
}

impl TriggerInput {
    async fn look(
        &self,
        jenkins: &Jenkins,
        context: &CallContext,
    ) -> Result<(JobName, Job, Vec<(String, String)>), ToolError> {
        if self.parameters.len() > 100 {
            return Err(ToolError::invalid_argument("these are more than 100 parameters").with_argument("parameters"));
        }
        let name = jenkins.fetch_name(&self.job, context).await?;
        not_a_configuration(&name, "built")?;
        let job = jenkins.fetch_job(&name, context).await?;
        check_buildable(&job)?;
        if !self.parameters.is_empty() && job.may_take_more() {
            return Err(ToolError::new(ErrorCode::Conflict, MAY_TAKE_MORE)
                .with_argument("parameters")
                .with_remedy("trigger it once without parameters"));
        }
        let fields = check(&self.parameters, job.parameters().unwrap_or_default(), false)?;
        Ok((name, job, fields))
    }
}

/// Parameters as a preview shows them.
pub(super) fn preview_fields(job: &Job, fields: &[(String, String)]) -> BTreeMap<String, String> {
    let declared = job.parameters().unwrap_or_default();
    let kind = |name: &str| declared.iter().find(|one| one.name == name).map_or("", |one| one.kind.as_str());
    let shown =
        |(name, values): (&String, Vec<&str>)| (name.clone(), shown(name, kind(name), &json!(values.join(","))));
    by_name(fields).map(shown).collect()
}

/// What triggering would do.
pub(super) fn preview_of(name: &JobName, job: &Job, fields: &[(String, String)]) -> Preview {
    let with = if fields.is_empty() { "its default parameters" } else { "these parameters" };
    let number = job.next_build_number.map(|number| format!("; it would be number {number}")).unwrap_or_default();
    let given = |one: &&ParameterDefinition| fields.iter().any(|(name, _)| *name == one.name);
    let declared = job.parameters().unwrap_or_default().iter();
    let without = declared.filter(|one| one.default_parameter_value.is_none() && !given(one));
    let without: Vec<String> = without.take(MAX_NAMED).map(|one| text::clean(&one.name)).collect();
    let without = match without.join(", ") {
        none if none.is_empty() => none,
        names => format!("; nothing is given for {names}, without a default"),
    };
    let ends =
        job.ends_with_the_next().map(|number| format!("; it ends build {number}, which runs")).unwrap_or_default();
    let drops = may_drop(fields, job.parameters().unwrap_or_default());
    let drops = drops.map(|drops| format!("; {drops}")).unwrap_or_default();
    let would = format!("trigger a build of {name} with {with}{number}{without}{ends}{drops}");
    let state = json!({
        "parameters": preview_fields(job, fields),
        "in_queue": job.in_queue,
        "building": job.last_build.as_ref().is_some_and(|last| last.building),
        "next_build_number": job.next_build_number,
    });
    Preview { would, state }
}

async fn preview(jenkins: Arc<Jenkins>, input: TriggerInput, context: CallContext) -> Result<Preview, ToolError> {
    let (name, job, fields) = input.look(&jenkins, &context).await?;
    Ok(preview_of(&name, &job, &fields))
}

async fn trigger(jenkins: Arc<Jenkins>, input: TriggerInput, context: CallContext) -> Result<Started, ToolError> {
    let wait = input.wait_seconds.seconds();
    let (name, job, fields) = input.look(&jenkins, &context).await?;
    start(&jenkins, &name, &job, fields, wait, &context).await
}
