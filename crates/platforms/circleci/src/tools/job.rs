//! `get_circleci_job`: a job with its steps.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{JobArgs, name, read, seconds_between, time, word};
use crate::{
    CircleCi,
    ended::{AGE, WHILE_IT_RUNS},
    jobs::StepFacts,
    status,
};
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError};

/// Steps of one answer.
const MAX_STEPS: usize = 200;

const GET: ToolDeclaration = ToolDeclaration::read(
    "get_circleci_job",
    "A job and its steps",
    "Answers a job's state, times, executor, and its steps with state and exit code. Numbers of steps and executions are \
     what get_circleci_job_log takes.",
)
.cached_if_final(AGE)
.polled()
.shared(WHILE_IT_RUNS);

/// Arguments of `get_circleci_job`.
#[derive(Deserialize, JsonSchema)]
struct GetInput {
    #[serde(flatten)]
    job: JobArgs,
}

/// A job.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct JobAnswer {
    /// Id; none on a CircleCI Server.
    id: Option<String>,
    /// Number in its project, if the job was named by it.
    job_number: Option<u64>,
    /// Name.
    name: String,
    /// State.
    status: String,
    /// Whether it changes no more.
    finished: bool,
    /// Id of its workflow.
    workflow_id: Option<String>,
    /// When it began (RFC 3339).
    started_at: Option<String>,
    /// When it ended (RFC 3339).
    stopped_at: Option<String>,
    /// Seconds that it took.
    duration_sec: Option<i64>,
    /// What it ran on, if the job was named by its number.
    executor: Option<String>,
    /// The steps, in their order; 200 at most, those that failed before others.
    steps: Vec<StepView>,
    /// Whether steps were left out.
    truncated: bool,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A step.
#[derive(Serialize, JsonSchema)]
pub(super) struct StepView {
    /// Number: `step` of get_circleci_job_log.
    num: u64,
    /// Which of the machines that run the job side by side: `execution` of get_circleci_job_log.
    execution: u64,
    /// Name.
    name: String,
    /// State.
    status: String,
    /// Exit code of its command.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
    /// Whether it failed and CircleCI ran it again by itself, as far as the steps after it tell: as a later one of the same name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    run_again: bool,
}

impl StepView {
    pub(super) fn of(step: &StepFacts) -> Self {
        Self {
            num: step.num,
            execution: step.execution,
            name: name(&step.name),
            status: word(&step.status),
            exit_code: step.exit_code,
            run_again: step.run_again,
        }
    }
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![read(circleci, GET, get)]
}

async fn get(circleci: Arc<CircleCi>, input: GetInput, context: CallContext) -> Result<JobAnswer, ToolError> {
    let job = circleci.fetch_job(&input.job.name(&circleci, &context).await?, &context).await?;
    if job.has_ended() && job.missing.is_empty() {
        context.answer_is_final();
    }
    let mut hints: Vec<String> = job.missing.iter().map(|missing| format!("could not be read: {missing}")).collect();
    if job.is_approval {
        hints.push("it is an approval, and has no steps: get_circleci_workflow tells whether it waits".to_owned());
    } else if let Some(why) = job.without_a_failed_step().or_else(|| job.said()) {
        hints.push(why);
    } else if job.steps.is_empty() && job.missing.is_empty() {
        hints.push(if status::never_ran(&job.status) {
            "the job was not run: get_circleci_workflow_jobs tells how those did that it waits for".to_owned()
        } else if job.has_ended() {
            "no steps are told of the job, as of one that does nothing (no-op)".to_owned()
        } else {
            "the job has no steps: it has not begun, or it waits for approval".to_owned()
        });
    }
    Ok(JobAnswer {
        finished: job.has_ended(),
        duration_sec: seconds_between(job.started_at.as_deref(), job.stopped_at.as_deref()),
        started_at: time(job.started_at.as_deref()),
        stopped_at: time(job.stopped_at.as_deref()),
        steps: shown(&job.steps).into_iter().map(StepView::of).collect(),
        truncated: job.steps.len() > MAX_STEPS || !job.missing.is_empty(),
        id: job.id,
        job_number: job.number,
        name: name(&job.name),
        status: word(&job.status),
        workflow_id: job.workflow_id.as_deref().map(name),
        executor: job.executor.as_deref().map(name),
        hints,
    })
}

/// So many steps, in their order. Of a job that runs on many machines there are more, and the one that failed may be the last.
fn shown(steps: &[StepFacts]) -> Vec<&StepFacts> {
    let mut room = MAX_STEPS.saturating_sub(steps.iter().filter(|step| step.has_failed()).count());
    let fits = |step: &&StepFacts| {
        let is_shown = step.has_failed() || room > 0;
        room = room.saturating_sub(usize::from(!step.has_failed()));
        is_shown
    };
    steps.iter().filter(fits).take(MAX_STEPS).collect()
}
