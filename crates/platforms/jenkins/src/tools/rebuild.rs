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
     Not with parameters that hold a password, or that the job doesn't declare: see trigger_jenkins_build.",
);

/// Parameters that an error names.
const MAX_NAMED: usize = 10;

/// What is said of a build that ran otherwise than its job does.
const WAS_REPLAY: &str =
    "that build was a replay, which may have run another script: this runs the script that the job has now";
const WAS_RESTART: &str = "that build was restarted from one of its stages: this runs all of them";

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
    async fn look(&self, jenkins: &Jenkins, context: &CallContext) -> Result<Looked, ToolError> {
        let target = self.build.target(jenkins, context).await?;
        not_a_configuration(&target.job, "built")?;
        let build = jenkins.fetch_build(&target, wire::BUILD, context).await?;
        let job = jenkins.fetch_job(&target.job, context).await?;
        check_buildable(&job)?;
        let fields = check(&values(&build, &job)?, job.parameters().unwrap_or_default(), false);
        // What it was started with may not be offered any more.
        let fields = fields.map_err(|error| {
            // Names in the message are of that build here, and not the caller's.
            let words = std::iter::once(error.message).chain(error.platform_words.into_iter().flatten());
            not_again("the job does not take any more what that build was started with: platform_words say what")
                .with_platform_words(words)
        })?;
        let otherwise = [(build.is_replay(), WAS_REPLAY), (build.is_restart(), WAS_RESTART)];
        let otherwise = otherwise.into_iter().filter_map(|(is, words)| is.then_some(words)).collect();
        Ok(Looked { name: target.job, job, fields, otherwise })
    }
}

/// What was found out before.
struct Looked {
    name: JobName,
    job: Job,
    fields: Vec<(String, String)>,
    /// How the build that is built again ran otherwise than this one will.
    otherwise: Vec<&'static str>,
}

/// Words that a build can't be built as it was.
fn not_again(message: impl Into<String>) -> ToolError {
    ToolError::new(ErrorCode::Conflict, message).with_remedy("give all parameters anew to trigger_jenkins_build")
}

/// The values of a build. What the job doesn't declare is dropped by Jenkins, so that it would be another build: that
/// of another commit, where a trigger such as the pull request builder's gave it.
fn values(build: &Build, job: &Job) -> Result<BTreeMap<String, GivenValue>, ToolError> {
    let declared = job.parameters().unwrap_or_default();
    let used = || build.actions.iter().flat_map(|action| &action.parameters);
    let undeclared: Vec<String> = used()
        .filter(|used| !declared.iter().any(|one| one.name == used.name))
        .map(|used| text::clean(&used.name))
        .collect();
    if !undeclared.is_empty() {
        let remedy =
            if undeclared.len() > MAX_NAMED { "platform_words are some of them" } else { "platform_words are they" };
        return Err(not_again("that build had parameters that the job does not declare, and that can't be given")
            .with_remedy(format!(
                "{remedy}; trigger_jenkins_build takes those that the job declares, which builds something else"
            ))
            .with_platform_words(undeclared.into_iter().take(MAX_NAMED)));
    }
    let mut values = BTreeMap::new();
    for parameter in used() {
        let value = match parameter.told() {
            Some(Value::String(text)) => GivenValue::Text(text),
            Some(Value::Bool(flag)) => GivenValue::Flag(flag),
            Some(Value::Number(number)) => GivenValue::Number(number),
            _ => {
                let name = text::clean(&parameter.name);
                return Err(not_again("a parameter of that build, in platform_words, can't be read back")
                    .with_platform_words([name]));
            }
        };
        values.insert(parameter.name.clone(), value);
    }
    Ok(values)
}

async fn preview(jenkins: Arc<Jenkins>, input: RebuildInput, context: CallContext) -> Result<Preview, ToolError> {
    let Looked { name, job, fields, otherwise } = input.look(&jenkins, &context).await?;
    let mut preview = trigger::preview_of(&name, &job, &fields);
    for words in otherwise {
        preview.would = format!("{}; {words}", preview.would);
    }
    Ok(preview)
}

async fn rebuild(jenkins: Arc<Jenkins>, input: RebuildInput, context: CallContext) -> Result<Started, ToolError> {
    let wait = input.wait_seconds.seconds();
    let Looked { name, job, fields, otherwise } = input.look(&jenkins, &context).await?;
    let mut started = start(&jenkins, &name, &job, fields, wait, &context).await?;
    started.hints.extend(otherwise.into_iter().map(str::to_owned));
    Ok(started)
}
