//! `get_jenkins_build_status`: one build.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    AGE_OF_AN_ENDED_BUILD, BuildArgs, BuildName, WHILE_IT_RUNS,
    builds::{BuildStatus, another_name, known},
    first,
    matrix::{self, ConfigurationRunView},
    parameters::seen,
    read,
};
use crate::{
    Jenkins,
    wire::{self, Cause, Change},
};
use kit::text;
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError, time};

/// Parameters and changes of one answer.
const MAX_LISTED: usize = 50;

const GET: ToolDeclaration = ToolDeclaration::read(
    "get_jenkins_build_status",
    "One build",
    "Answers how a build does or did: result, times, what started it, the commits in it, and its parameters, of which those \
     that may be secrets are masked.",
)
.cached_if_final(AGE_OF_AN_ENDED_BUILD)
.polled()
.shared(WHILE_IT_RUNS);

/// Arguments of `get_jenkins_build_status`.
#[derive(Deserialize, JsonSchema)]
struct GetInput {
    #[serde(flatten)]
    build: BuildArgs<{ BuildName::LAST }>,
}

/// A build.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct BuildDetails {
    /// Its number.
    number: u32,
    /// What people call it, such as a version, if that isn't its number.
    name: Option<String>,
    /// How it does, or did.
    status: BuildStatus,
    /// Whether it runs.
    building: bool,
    /// Whether it runs and is seen to wait for somebody.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waits_for_input: bool,
    /// When it began (RFC 3339).
    started: Option<String>,
    /// How long it took; absent while it runs.
    duration_ms: Option<i64>,
    /// How long it takes usually, as far as Jenkins can say.
    estimated_duration_ms: Option<i64>,
    /// Id of the queue item that it came from.
    queue_id: Option<u64>,
    /// What somebody wrote about it.
    description: Option<String>,
    /// What started it.
    causes: Vec<String>,
    /// What interrupted it, or something in it: somebody, a time limit, a newer build.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interrupted_by: Vec<String>,
    /// Commits in it: 50 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commits: Vec<Commit>,
    /// Parameters that it was started with: 50 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parameters: Vec<UsedParameter>,
    /// Of a matrix build: how each configuration did, 200 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    configurations: Vec<ConfigurationRunView>,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A commit.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct Commit {
    /// Its id.
    id: Option<String>,
    /// Its message, cut to 500 characters.
    message: String,
    /// Who wrote it.
    author: Option<String>,
}

/// A parameter of a build.
#[derive(Serialize, JsonSchema)]
struct UsedParameter {
    /// Its name.
    name: String,
    /// Its value, masked where it may be a secret; absent where Jenkins doesn't tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl Commit {
    pub(super) fn of(change: &Change) -> Self {
        Self {
            id: change.commit_id.as_deref().and_then(text::optional),
            message: text::clean(&change.msg),
            author: change.author.as_ref().and_then(|author| text::optional(&author.full_name)),
        }
    }
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![read(jenkins, GET, get)]
}

/// What is said of a build that waits for somebody.
pub(super) const WAITS: &str = "it waits for somebody: list_jenkins_pending_inputs tells for what";

/// What is said of a build whose result is known before all is done for it.
pub(super) const GOES_ON: &str = "its result is known, and what follows its steps still runs and writes to its log";

/// Causes of a build, in words.
pub(super) fn causes<'a>(causes: impl Iterator<Item = &'a Cause>, hints: &mut Vec<String>) -> Vec<String> {
    first(causes.map(|cause| text::clean(&cause.short_description)), MAX_LISTED, "causes", hints)
}

async fn get(jenkins: Arc<Jenkins>, input: GetInput, context: CallContext) -> Result<BuildDetails, ToolError> {
    let target = input.build.target(&jenkins, &context).await?;
    let build = jenkins.fetch_build(&target, wire::BUILD, &context).await?;
    target.say_if_final(&build, &context);
    let mut hints = Vec::new();
    if build.waits_for_input() {
        hints.push(WAITS.to_owned());
    } else if !build.building && build.goes_on() {
        hints.push(GOES_ON.to_owned());
    }
    let parameters = build.actions.iter().flat_map(|action| &action.parameters).map(|parameter| UsedParameter {
        name: text::clean(&parameter.name),
        value: seen(&parameter.name, &parameter.class, parameter),
    });
    Ok(BuildDetails {
        number: build.number,
        name: another_name(build.display_name.as_deref(), build.number),
        status: BuildStatus::of(build.building, build.result.as_deref()),
        building: build.building,
        waits_for_input: build.waits_for_input(),
        started: time::from_milliseconds(build.timestamp),
        duration_ms: known(build.duration).filter(|_| !build.building),
        estimated_duration_ms: Some(build.estimated_duration).filter(|estimate| *estimate > 0),
        queue_id: build.queue_id,
        description: build.description.as_deref().and_then(text::optional),
        causes: causes(build.started_by(), &mut hints),
        interrupted_by: causes(build.interrupted_by(), &mut hints),
        commits: first(build.changes().map(Commit::of), MAX_LISTED, "commits", &mut hints),
        parameters: first(parameters, MAX_LISTED, "parameters", &mut hints),
        configurations: matrix::views(&matrix::runs(&target.job, &build), &mut hints),
        hints,
    })
}
