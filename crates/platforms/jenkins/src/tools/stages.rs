//! `get_jenkins_build_stages`: how far a pipeline is, and where it failed.

use std::{mem, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    AGE_OF_AN_ENDED_BUILD, BuildArgs, BuildName, MAX_LINE, MAX_SCAN, NOT_TOLD, Target, WHILE_IT_RUNS,
    build::WAITS,
    builds::{BuildStatus, known},
    first, read,
};
use crate::{
    Jenkins,
    client::{Answer, Call, Error},
    error::to_tool_error,
    wire::{self, Build, Flow, GraphAnswer, StepLog},
};
use kit::{log::Tail, text};
use outbound::{RequestError, Scan};
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError, time};

/// Stages of one answer.
const MAX_STAGES: usize = 200;
/// Stages that failed of one answer, and those of them whose steps are asked for.
const MAX_FAILED: usize = 6;
const MAX_DESCRIBED: usize = 3;
/// Stages of which it is asked whether they have steps at all, where several have the same error.
const MAX_LOOKS: usize = 6;
/// What has taken less is skipped more likely than not.
const SHORT_MS: i64 = 1_000;
/// Steps that the stage view tells of a stage: the first ones (`StageNodeExt.MAX_CHILD_NODES`).
const STEPS_OF_STAGE_VIEW: usize = 100;
/// Lines of what a step wrote that are told.
const STEP_LINES: usize = 40;
/// What pipeline-graph-view answers for a step that wrote nothing (`PipelineConsoleViewAction.java`).
const NO_LOGS: &str = "No logs found";
/// The status of what waits for an input.
const PAUSED: &str = "PAUSED_PENDING_INPUT";
/// The status of what is told as going on in a build that has ended, as after a controller was stopped.
const UNKNOWN: &str = "UNKNOWN";
/// How a build, or a stage, can end otherwise than well.
const NOT_WELL: [&str; 4] = ["FAILED", "ABORTED", "UNSTABLE", UNKNOWN];
/// What is said of failures that stand beside each other.
const SEVERAL_FAILED: &str = "several stages did not end well: failed_step is the likeliest cause of the result; others \
     may have been caught, or follow from it";

const GET: ToolDeclaration = ToolDeclaration::read(
    "get_jenkins_build_stages",
    "Stages of a pipeline",
    "Answers the stages of a pipeline's build in their order, with status and duration; of the one that failed, the step \
     and its error, too. Parallel branches stand beside each other. PAUSED_PENDING_INPUT waits for somebody.",
)
.cached_if_final(AGE_OF_AN_ENDED_BUILD)
.polled()
.shared(WHILE_IT_RUNS);

/// Arguments of `get_jenkins_build_stages`.
#[derive(Deserialize, JsonSchema)]
struct StagesInput {
    #[serde(flatten)]
    build: BuildArgs<{ BuildName::LAST }>,
}

/// The stages of a build.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct Pipeline {
    /// Number of the build.
    build: u32,
    /// Status of the whole, in the words of the pipeline: IN_PROGRESS, SUCCESS, FAILED, and so on.
    status: Option<String>,
    /// The stages: 200 at most.
    stages: Vec<Stage>,
    /// The step that failed, or was aborted or is unstable; of several the one that ended the build most likely.
    failed_step: Option<FailedStep>,
    /// Other stages that failed, were aborted or are unstable: 5 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_failed_steps: Vec<FailedStep>,
    /// Whether stages were left out.
    truncated: bool,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A stage.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct Stage {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// NOT_EXECUTED, QUEUED, IN_PROGRESS, PAUSED_PENDING_INPUT, SUCCESS, UNSTABLE, FAILED, ABORTED or UNKNOWN. The
    /// plugin stage view says SUCCESS, or FAILED after a failure, also of stages that were skipped.
    status: String,
    /// When it began (RFC 3339).
    started: Option<String>,
    /// How long it has taken, if that is known.
    duration_ms: Option<i64>,
    /// How long it waited for somebody.
    #[serde(skip_serializing_if = "is_zero")]
    paused_ms: i64,
    /// What went wrong, cut to 500 characters.
    error: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A step that failed.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema, Clone)]
pub(super) struct FailedStep {
    /// The stage that it is in.
    pub(super) stage: String,
    /// How the stage ended, if it did not fail: ABORTED, UNSTABLE or UNKNOWN.
    pub(super) status: Option<String>,
    /// The step, such as `Shell Script`; absent where Jenkins doesn't tell it.
    pub(super) step: Option<String>,
    /// Its error, cut to 500 characters.
    pub(super) error: Option<String>,
    /// Its id, if it is known.
    #[serde(skip)]
    id: Option<String>,
}

impl Stage {
    fn of(stage: &Flow) -> Self {
        Self {
            id: text::clean(&stage.id),
            name: text::clean(&stage.name),
            status: text::clean(&stage.status),
            started: time::from_milliseconds(stage.start_time_millis),
            duration_ms: stage.duration_millis.and_then(known),
            paused_ms: stage.pause_duration_millis.and_then(known).unwrap_or_default(),
            error: stage.error.as_ref().and_then(|error| text::optional(error.text())),
        }
    }
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![read(jenkins, GET, get)]
}

/// Where the stages of a pipeline are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    StageView,
    /// pipeline-graph-view, by its place in [`GRAPH_VIEWS`].
    GraphView(usize),
}

/// Where pipeline-graph-view tells stages, steps, and what steps failed with: since February 2026, since May 2025, before. The
/// last is told since September 2025, and 404 before.
const GRAPH_VIEWS: [[&str; 2]; 3] =
    [["stages", "stages"], ["pipeline-overview", "pipeline-overview"], ["pipeline-graph", "pipeline-console"]];

/// The stages of a build.
pub(super) struct Stages {
    flow: Flow,
    source: Source,
}

/// What is known of the stages of a build.
pub(super) enum Told {
    Stages(Stages),
    /// It is no build of a pipeline.
    NoPipeline,
    /// It is, and Jenkins has no plugin that tells them.
    NoPlugin,
}

/// What is said where no plugin tells stages.
pub(super) const NO_PLUGIN: &str = "Jenkins tells no stages of this pipeline: it lacks the plugins pipeline-graph-view and \
     pipeline-rest-api (stage view), or they are too old";

impl Jenkins {
    /// A build's stages. Nothing of one that has ended goes on, whatever is told (pipeline-graph-view-plugin #944).
    pub(super) async fn fetch_stages(
        &self,
        target: &Target,
        build: &Build,
        context: &CallContext,
    ) -> Result<Told, Error> {
        let mut told = self.fetch_told(target, build, context).await?;
        if let Told::Stages(stages) = &mut told
            && !build.goes_on()
        {
            let goes_on = |stage: &&mut Flow| matches!(stage.status.as_str(), "IN_PROGRESS" | "QUEUED" | PAUSED);
            stages.flow.stages.iter_mut().filter(goes_on).for_each(|stage| UNKNOWN.clone_into(&mut stage.status));
        }
        Ok(told)
    }

    /// The stages as the stage view tells them, or else pipeline-graph-view.
    async fn fetch_told(&self, target: &Target, build: &Build, context: &CallContext) -> Result<Told, Error> {
        if !build.may_be_pipeline() {
            return Ok(Told::NoPipeline);
        }
        let call = Call::get(target.path(&["wfapi", "describe"]));
        let missing = match self.stage_view(&call, Answer::object, context).await {
            Ok(Some(flow)) => return Ok(Told::Stages(Stages { flow, source: Source::StageView })),
            Ok(None) => None,
            // It may fail at a pipeline that the other plugin can tell of.
            Err(error @ (Error::Failed(_) | Error::Request(RequestError::Unreadable(_)))) => Some(error),
            Err(error) => return Err(error),
        };
        match (self.fetch_graph(target, build, context).await, missing) {
            (Ok(Some(stages)), _) => Ok(Told::Stages(stages)),
            (_, Some(error)) | (Err(error), None) => Err(error),
            (Ok(None), None) => Ok(Told::NoPlugin),
        }
    }

    /// What pipeline-graph-view tells, wherever this version of it does.
    async fn fetch_graph(
        &self,
        target: &Target,
        build: &Build,
        context: &CallContext,
    ) -> Result<Option<Stages>, Error> {
        let known = self.seen().graph_view;
        let others = (0..GRAPH_VIEWS.len()).filter(|place| Some(*place) != known);
        for place in known.into_iter().chain(others) {
            let Some([tree, _]) = GRAPH_VIEWS.get(place) else { continue };
            let answer = match self.session.call(&Call::get(target.path(&[tree, "tree"])), context.deadline).await {
                Ok(answer) => answer.object::<GraphAnswer>()?,
                Err(Error::NotFound) => continue,
                Err(error) => return Err(error),
            };
            self.learn(|seen| seen.graph_view = Some(place));
            let stages = answer.stages();
            let paused = stages.iter().any(|stage| stage.status == PAUSED);
            let status = match BuildStatus::of(build.building, build.result.as_deref()) {
                BuildStatus::Running if paused => PAUSED,
                BuildStatus::Running => "IN_PROGRESS",
                BuildStatus::Success => "SUCCESS",
                BuildStatus::Unstable => "UNSTABLE",
                BuildStatus::Failure => "FAILED",
                BuildStatus::Aborted => "ABORTED",
                BuildStatus::NotBuilt => "NOT_EXECUTED",
                BuildStatus::Unknown => "",
            };
            let flow = Flow { status: status.to_owned(), stages, ..Flow::default() };
            return Ok(Some(Stages { flow, source: Source::GraphView(place) }));
        }
        self.learn(|seen| seen.graph_view = None);
        Ok(None)
    }

    /// The stages that did not end well, the likeliest to have ended the build first; steps are told of three of them,
    /// which cost a request each.
    pub(super) async fn fetch_failed_steps(
        &self,
        target: &Target,
        stages: &Stages,
        hints: &mut Vec<String>,
        context: &CallContext,
    ) -> Vec<FailedStep> {
        let mut failed = Vec::new();
        let mut missing = None;
        if stages.flow.stages.iter().any(|stage| stage.status == UNKNOWN) {
            hints.push(
                "the build has ended, and Jenkins tells stages as if they ran: how these ended is not known".to_owned(),
            );
        }
        let mut candidates = Candidate::all(&stages.flow);
        let mut described = 0;
        for place in order_of_looks(&candidates).into_iter().take(MAX_LOOKS) {
            let Some(candidate) = candidates.get_mut(place).filter(|one| one.stage.status != UNKNOWN) else { continue };
            if described == MAX_DESCRIBED {
                break;
            }
            match self.fetch_failed_step(target, candidate.stage, stages.source, hints, context).await {
                Ok(looked) => candidate.looked = Some(looked),
                Err(error) => missing = Some(error),
            }
            described += usize::from(!candidate.is_empty());
        }
        let skipped = take_skipped(&mut candidates);
        if !skipped.is_empty() {
            let named = skipped.iter().take(MAX_FAILED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = skipped.len().saturating_sub(MAX_FAILED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            hints.push(format!(
                "{named}{more}: FAILED with the error of another stage and without a step, so skipped because of it, or around it"
            ));
        }
        for Candidate { stage, looked, .. } in first(candidates, MAX_FAILED, "stages that failed", hints) {
            let error = stage.error.as_ref().and_then(|error| text::optional(error.text()));
            let status = Some(stage.status.clone()).filter(|status| status != "FAILED");
            let mut one = FailedStep { stage: text::clean(&stage.name), status, step: None, error, id: None };
            if let Some(Looked::Step(step)) = looked {
                one.id = Some(step.id);
                one.step = step.name;
                one.error = step.error.or(one.error);
            }
            failed.push(one);
        }
        // What failed and has neither a step nor an error that did was skipped, or failed because of another.
        failed.sort_by_key(|one| one.status.is_none() && one.step.is_none() && one.error.is_none());
        if let Some(error) = missing {
            let worded = to_tool_error(error, "tell a step that failed");
            hints.push(format!("{NOT_TOLD} a step that failed: {}", worded.message));
        }
        if failed.len() > 1 {
            hints.push(SEVERAL_FAILED.to_owned());
        }
        failed
    }

    /// The step of a stage that failed, and its error. The last of them: those before were caught, or the failure wouldn't
    /// have gone on.
    async fn fetch_failed_step(
        &self,
        target: &Target,
        stage: &Flow,
        source: Source,
        hints: &mut Vec<String>,
        context: &CallContext,
    ) -> Result<Looked, Error> {
        match source {
            Source::StageView => {
                let path = target.path(&["execution", "node", &stage.id, "wfapi", "describe"]);
                let described: Option<Flow> = self.stage_view(&Call::get(path), Answer::object, context).await?;
                let Some(steps) = described.map(|stage| stage.stage_flow_nodes) else { return Ok(Looked::Untold) };
                if steps.is_empty() {
                    return Ok(Looked::NoSteps);
                }
                if steps.len() >= STEPS_OF_STAGE_VIEW {
                    // Those that failed among the first may have been caught.
                    hints.push(format!(
                        "the stage {} has {STEPS_OF_STAGE_VIEW} steps or more, and Jenkins tells only so many: which failed is not known",
                        text::clean(&stage.name)
                    ));
                    return Ok(Looked::Untold);
                }
                let failed = steps.iter().rev().find(|step| step.status == stage.status);
                Ok(failed.map_or(Looked::Untold, |step| {
                    let error = step.error.as_ref().and_then(|error| text::optional(error.text()));
                    Looked::Step(Step { id: step.id.clone(), name: text::optional(&step.name), error })
                }))
            }
            Source::GraphView(place) => {
                let Some([_, steps]) = GRAPH_VIEWS.get(place) else { return Ok(Looked::Untold) };
                let below = |last: &str, id: &str| Call::get(target.path(&[steps, last])).query("nodeId", &id);
                let answer = match self.session.call(&below("steps", &stage.id), context.deadline).await {
                    Ok(answer) => answer.object::<GraphAnswer>()?.steps(),
                    Err(Error::NotFound) => return Ok(Looked::Untold),
                    Err(error) => return Err(error),
                };
                let Some(step) = answer.into_iter().rev().find(|step| step.status() == stage.status) else {
                    return Ok(Looked::Untold);
                };
                let error = match self.session.call(&below("exceptionText", &step.id), context.deadline).await {
                    // Of a step without a text it was this until March 2026 (pipeline-graph-view-plugin #1170).
                    Ok(answer) if !answer.is_html() => text::optional(&answer.text()).filter(|text| text != "null"),
                    Ok(_) | Err(Error::NotFound) => None,
                    Err(error) => return Err(error),
                };
                // Its name may be its arguments, which may hold secrets.
                Ok(Looked::Step(Step { name: text::optional(&step.title), id: step.id, error }))
            }
        }
    }

    /// The last lines of what a step wrote, of so many bytes; nothing where no plugin tells them.
    pub(super) async fn fetch_step_log(
        &self,
        target: &Target,
        stages: &Stages,
        step: &FailedStep,
        room: usize,
        context: &CallContext,
    ) -> Result<Option<String>, Error> {
        let Some(id) = &step.id else { return Ok(None) };
        let read = match stages.source {
            Source::StageView => {
                let call = Call::get(target.path(&["execution", "node", id, "wfapi", "log"]));
                let answer = self.session.call(&call, context.deadline).await;
                answer.and_then(|answer| answer.object::<StepLog>()).map(|log| {
                    let mut tail = Tail::new(room, MAX_SCAN);
                    let _all_of_it = tail.take(log.lines().as_bytes());
                    tail
                })
            }
            Source::GraphView(place) => {
                let Some([_, steps]) = GRAPH_VIEWS.get(place) else { return Ok(None) };
                let call = Call::get(target.path(&[steps, "log"])).query("nodeId", id);
                self.fetch_log(&call, &|_| Tail::new(room, MAX_SCAN), context).await.map(|scanned| scanned.scan)
            }
        };
        match read {
            Ok(tail) => {
                let (text, _) = tail.finish(STEP_LINES, MAX_LINE);
                Ok(Some(text).filter(|text| !text.is_empty() && text != NO_LOGS))
            }
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A step that did not end well.
struct Step {
    id: String,
    name: Option<String>,
    error: Option<String>,
}

/// What is known of a stage's step that did not end well.
enum Looked {
    Step(Step),
    /// The stage has no step at all.
    NoSteps,
    /// It has some, of which none is told as the one.
    Untold,
}

/// A stage that did not end well.
struct Candidate<'a> {
    stage: &'a Flow,
    /// Its error, if another one has the same.
    shared: Option<&'a str>,
    looked: Option<Looked>,
}

impl<'a> Candidate<'a> {
    /// The candidates of a pipeline, the likeliest first.
    fn all(flow: &'a Flow) -> Vec<Self> {
        let likeliest = by_likelihood(flow);
        let error = |stage: &'a Flow| stage.error.as_ref().map(|error| error.text());
        let is_shared = |text: &&str| likeliest.iter().filter(|stage| error(stage) == Some(*text)).count() > 1;
        let candidate = |stage: &&'a Flow| Self { stage, shared: error(stage).filter(is_shared), looked: None };
        likeliest.iter().map(candidate).collect()
    }

    const fn has_step(&self) -> bool {
        matches!(self.looked, Some(Looked::Step(_)))
    }

    /// Whether it has the error of another, and no step that could have failed with it.
    const fn is_empty(&self) -> bool {
        self.shared.is_some() && matches!(self.looked, Some(Looked::NoSteps))
    }
}

/// In which order candidates are asked for their steps. A declarative pipeline throws the error of the stage that failed in each
/// stage that it skips for it, too, which the stage view tells as FAILED with that error (pipeline-model-definition,
/// `ModelInterpreter.groovy`: `evaluateStage`). They take no time, and come after the one that failed.
fn order_of_looks(candidates: &[Candidate]) -> Vec<usize> {
    let is_short = |stage: &Flow| stage.duration_millis.is_some_and(|milliseconds| milliseconds < SHORT_MS);
    let (short, long): (Vec<_>, Vec<_>) =
        candidates.iter().enumerate().partition(|(_, one)| one.shared.is_some() && is_short(one.stage));
    long.into_iter().chain(short.into_iter().rev()).map(|(place, _)| place).collect()
}

/// Takes out those without a step that have the error of one with a step, and gives their names. Those that nobody looked at come
/// after it. Where none of them has a step, the first one failed, as without an agent, and the others follow from it.
fn take_skipped(candidates: &mut Vec<Candidate>) -> Vec<String> {
    let with_steps: Vec<&str> = candidates.iter().filter(|one| one.has_step()).filter_map(|one| one.shared).collect();
    let follows = |one: &Candidate| one.shared.is_some_and(|error| with_steps.contains(&error));
    let (mut skipped, mut others): (Vec<_>, Vec<_>) =
        mem::take(candidates).into_iter().partition(|one| follows(one) && one.is_empty());
    others.sort_by_key(|one| follows(one) && one.looked.is_none());
    if let Some(first) = others.first().filter(|one| one.is_empty())
        && let Some(earliest) = others.iter().rposition(|one| one.shared == first.shared)
    {
        let earliest = others.remove(earliest);
        others.insert(0, earliest);
    }
    *candidates = others;
    // In the order of the pipeline.
    skipped.reverse();
    skipped.iter().map(|one| text::clean(&one.stage.name)).collect()
}

/// Stages that failed or ended as the whole did, and none around another that did; if there is none, those that did not
/// end well otherwise. What comes after a failure runs only if it was caught, so the last one with an error ended the
/// build; but for what a declarative pipeline does at its end in any case. Stages that were skipped because of the
/// failure count as failed, too, and have no error.
fn by_likelihood(flow: &Flow) -> Vec<&Flow> {
    let end = NOT_WELL.into_iter().find(|end| flow.status == *end);
    let inner = || flow.stages.iter().rev().filter(|stage| !stage.same_inside);
    let ended = |stage: &&Flow| stage.status == "FAILED" || end.is_some_and(|end| stage.status == end);
    let mut likeliest: Vec<&Flow> = inner().filter(ended).collect();
    if likeliest.is_empty() && end.is_some() {
        likeliest = inner().filter(|stage| NOT_WELL.contains(&stage.status.as_str())).collect();
    }
    likeliest.sort_by_key(|stage| {
        let differs = end.is_some_and(|end| stage.status != end);
        (differs, stage.error.is_none(), stage.name == "Declarative: Post Actions")
    });
    likeliest
}

async fn get(jenkins: Arc<Jenkins>, input: StagesInput, context: CallContext) -> Result<Pipeline, ToolError> {
    let target = input.build.target(&jenkins, &context).await?;
    // Without it, a 404 could mean anything.
    let build = jenkins.fetch_build(&target, wire::BUILD_STATE, &context).await?;
    target.say_if_final(&build, &context);
    let target = target.numbered(&build);
    let told = jenkins.fetch_stages(&target, &build, &context).await;
    let untold = |hint: &str| Pipeline {
        build: build.number,
        status: None,
        stages: Vec::new(),
        failed_step: None,
        other_failed_steps: Vec::new(),
        truncated: false,
        hints: vec![hint.to_owned()],
    };
    let stages = match told.map_err(|error| to_tool_error(error, &format!("read the stages of {target}")))? {
        Told::Stages(stages) => stages,
        Told::NoPipeline => return Ok(untold("this is no build of a pipeline, and has no stages")),
        Told::NoPlugin => return Ok(untold(NO_PLUGIN)),
    };
    let mut hints = Vec::new();
    let failed = jenkins.fetch_failed_steps(&target, &stages, &mut hints, &context).await;
    let flow = &stages.flow;
    if flow.stages.is_empty() {
        hints.push("the pipeline has no stages, or none has begun".to_owned());
    }
    if flow.status == PAUSED {
        hints.push(WAITS.to_owned());
    }
    let mut failed = failed.into_iter();
    Ok(Pipeline {
        build: build.number,
        status: text::optional(&flow.status),
        stages: flow.stages.iter().take(MAX_STAGES).map(Stage::of).collect(),
        failed_step: failed.next(),
        other_failed_steps: failed.collect(),
        truncated: flow.stages.len() > MAX_STAGES,
        hints,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_follows_from_a_failure_is_not_taken_for_it() {
        let stage = |name: &str, error: &str, milliseconds: i64| {
            let stage = json!({ "name": name, "status": "FAILED", "durationMillis": milliseconds, "error": { "message": error } });
            serde_json::from_value::<Flow>(stage).unwrap()
        };
        let step = || Looked::Step(Step { id: "1".to_owned(), name: None, error: None });
        let stages = vec![
            stage("Lint", "exit 2", 3_000),
            stage("Test", "exit 1", 9_000),
            stage("Deploy", "exit 1", 50),
            stage("Notify", "exit 1", 40),
        ];
        let flow = Flow { status: "FAILED".to_owned(), stages, ..Flow::default() };
        let mut candidates = Candidate::all(&flow);
        let names = |all: &[Candidate]| all.iter().map(|one| one.stage.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&candidates), ["Notify", "Deploy", "Test", "Lint"]);
        // Those that took time first, and then the first of the others.
        assert_eq!(order_of_looks(&candidates), [2, 3, 1, 0]);
        // Where nobody looked, they come last; where they have no step, they are none.
        candidates[2].looked = Some(step());
        assert_eq!(
            (take_skipped(&mut candidates), names(&candidates)),
            (vec![], ["Test", "Lint", "Notify", "Deploy"].map(str::to_owned).into())
        );
        candidates[2].looked = Some(Looked::NoSteps);
        candidates[3].looked = Some(Looked::NoSteps);
        assert_eq!(take_skipped(&mut candidates), ["Deploy", "Notify"]);
        assert_eq!(names(&candidates), ["Test", "Lint"]);
        // None has a step, as without an agent: the first failed.
        let mut candidates = Candidate::all(&flow);
        candidates.iter_mut().take(3).for_each(|one| one.looked = Some(Looked::NoSteps));
        assert_eq!(
            (take_skipped(&mut candidates), names(&candidates)),
            (vec![], ["Test", "Notify", "Deploy", "Lint"].map(str::to_owned).into())
        );
        // Each with a step of its own: the last, as ever.
        let mut candidates = Candidate::all(&flow);
        for one in &mut candidates {
            one.looked = Some(step());
        }
        assert_eq!(
            (take_skipped(&mut candidates), names(&candidates)),
            (vec![], ["Notify", "Deploy", "Test", "Lint"].map(str::to_owned).into())
        );
    }

    #[test]
    fn the_last_failure_that_was_not_caught_comes_first() {
        let stage = |name: &str, status: &str, error: bool| {
            let error = error.then(|| json!({ "message": "no" }));
            serde_json::from_value::<Flow>(json!({ "name": name, "status": status, "error": error })).unwrap()
        };
        let stages = [
            stage("Lint", "FAILED", true),
            stage("Build", "SUCCESS", false),
            stage("Deploy", "FAILED", true),
            stage("Report", "FAILED", false),
            stage("Declarative: Post Actions", "FAILED", true),
        ];
        let whole = |status: &str, stages: Vec<Flow>| Flow { status: status.to_owned(), stages, ..Flow::default() };
        let names = |whole: &Flow| by_likelihood(whole).iter().map(|stage| stage.name.clone()).collect::<Vec<_>>();
        let failed = whole("FAILED", stages.into());
        assert_eq!(names(&failed), ["Deploy", "Lint", "Declarative: Post Actions", "Report"]);
        let mut outer = stage("Tests", "FAILED", false);
        outer.same_inside = true;
        assert_eq!(names(&whole("FAILED", vec![outer, stage("unit", "FAILED", false)])), ["unit"]);
        // As the whole ended, before what was caught; and otherwise only if nothing else is known.
        let stages = || {
            vec![
                stage("Lint", "FAILED", true),
                stage("Cover", "UNSTABLE", false),
                stage("Ship", "ABORTED", true),
                stage("Wait", UNKNOWN, false),
            ]
        };
        assert_eq!(names(&whole("UNSTABLE", stages())), ["Cover", "Lint"]);
        assert_eq!(names(&whole("ABORTED", stages())), ["Ship", "Lint"]);
        assert_eq!(names(&whole("FAILED", stages())), ["Lint"]);
        assert_eq!(names(&whole("FAILED", stages().split_off(1))), ["Ship", "Wait", "Cover"]);
        assert_eq!(names(&whole("SUCCESS", stages().split_off(1))), Vec::<String>::new());
    }
}
