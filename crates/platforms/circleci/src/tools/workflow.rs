//! `get_circleci_workflow` and `get_circleci_workflow_jobs`: a workflow, and the jobs in it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{Place, name, read, seconds_between, time, word};
use crate::{
    CircleCi,
    ended::{AGE, WHILE_IT_RUNS, is_workflow_final},
    jobs::listing_of_jobs,
    locate::Read,
    status,
    wire::{Workflow, WorkflowJob},
};
use kit::args::PageArgs;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError};

const GET: ToolDeclaration = ToolDeclaration::read(
    "get_circleci_workflow",
    "A workflow",
    "Answers how a workflow does, how many of its jobs are in which state, which of them failed, and which wait for \
     approval. Final states are success, failed, error, canceled, unauthorized and not_run; on_hold waits for a person, \
     and failing still runs or waits.",
)
.cached_if_final(AGE)
.polled()
.shared(WHILE_IT_RUNS);

const JOBS: ToolDeclaration = ToolDeclaration::read(
    "get_circleci_workflow_jobs",
    "Jobs of a workflow",
    "Lists a workflow's jobs with their numbers, states, times and dependencies. A job of type approval waits for a \
     person: its approval_request_id is what approve_circleci_job takes.",
)
.cached_if_final(AGE)
.polled()
.shared(WHILE_IT_RUNS);

/// Arguments of `get_circleci_workflow`.
#[derive(Deserialize, JsonSchema)]
struct GetInput {
    /// Id of the workflow (a UUID), or a link to it.
    #[schemars(length(min = 1, max = 2048))]
    workflow_id: String,
}

/// Arguments of `get_circleci_workflow_jobs`.
#[derive(Deserialize, JsonSchema)]
struct JobsInput {
    /// Id of the workflow (a UUID), or a link to it.
    #[schemars(length(min = 1, max = 2048))]
    workflow_id: String,
    #[serde(flatten)]
    page: PageArgs<200, 200>,
}

/// A workflow in an answer.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct WorkflowView {
    /// Id: `workflow_id` of the other tools. None if its record has expired.
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    /// Name.
    name: String,
    /// `queued`, `running`, `failing`, `on_hold`, or final: `success`, `failed`, `error`, `canceled`, `unauthorized`,
    /// `not_run`; or `unknown`, if CircleCI does not tell.
    status: String,
    /// Whether it changes no more.
    finished: bool,
    /// When it was made (RFC 3339).
    created_at: Option<String>,
    /// When it ended (RFC 3339).
    stopped_at: Option<String>,
    /// Which of the reruns it is that CircleCI makes by itself; absent if it was started otherwise.
    auto_rerun_number: Option<u64>,
    /// How often CircleCI runs it again by itself, each time as another workflow of the run, as long as it fails.
    max_auto_reruns: Option<u64>,
    /// Whether it makes the configuration of the run's other workflows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    setup: bool,
}

impl WorkflowView {
    pub(super) fn of(workflow: &Workflow) -> Self {
        Self {
            id: name(&workflow.id),
            name: name(&workflow.name),
            status: word(&workflow.status),
            finished: status::is_final(&workflow.status),
            created_at: time(Some(&workflow.created_at)),
            stopped_at: time(workflow.stopped_at.as_deref()),
            auto_rerun_number: workflow.auto_rerun_number,
            max_auto_reruns: workflow.max_auto_reruns,
            setup: workflow.is_setup(),
        }
    }
}

/// A workflow with what its jobs come to.
#[derive(Serialize, JsonSchema)]
struct WorkflowAnswer {
    /// The workflow.
    workflow: WorkflowView,
    /// Slug of its project.
    project_slug: String,
    /// Id of its run.
    pipeline_id: String,
    /// Number of its run.
    pipeline_number: u64,
    /// Number of jobs in each state.
    jobs: std::collections::BTreeMap<String, usize>,
    /// Jobs that failed, 50 at most.
    failed_jobs: Vec<JobView>,
    /// Jobs that wait for approval, 50 at most.
    approvals: Vec<JobView>,
    /// Whether there are more jobs than were read.
    truncated: bool,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A job in an answer.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct JobView {
    /// Id: `job_id` of the other tools. On a CircleCI Server the tools take numbers.
    id: String,
    /// Number in the project; none before the job has begun. An approval may have one, which no other tool takes.
    job_number: Option<u64>,
    /// Name.
    name: String,
    /// Such as `success`, `running`, `failed`, `on_hold`, `blocked`, `queued`, `canceled`, `infrastructure_fail`,
    /// `timedout`, `unauthorized` or `not_run`.
    status: String,
    /// `build` or `approval`.
    #[serde(rename = "type")]
    type_: String,
    /// When it began (RFC 3339).
    started_at: Option<String>,
    /// When it ended (RFC 3339).
    stopped_at: Option<String>,
    /// Seconds that it took.
    duration_sec: Option<i64>,
    /// For approvals: what approve_circleci_job takes.
    approval_request_id: Option<String>,
    /// Whether a person has approved it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    approved: bool,
    /// Ids of the jobs that must succeed before it, 50 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<String>,
}

impl JobView {
    fn of(job: &WorkflowJob) -> Self {
        Self {
            id: name(&job.id),
            job_number: job.job_number,
            name: name(&job.name),
            status: word(&job.status),
            type_: word(&job.type_),
            started_at: time(job.started_at.as_deref()),
            stopped_at: time(job.stopped_at.as_deref()),
            duration_sec: seconds_between(job.started_at.as_deref(), job.stopped_at.as_deref()),
            approval_request_id: job.approval_request_id.as_deref().map(name),
            approved: job.approved_by.is_some(),
            dependencies: job.dependencies.iter().take(50).map(|id| name(id)).collect(),
        }
    }
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![read(circleci, GET, get), read(circleci, JOBS, jobs)]
}

fn say_if_final(workflow: &Workflow, jobs: &Read<WorkflowJob>, context: &CallContext) {
    if !jobs.more() && is_workflow_final(&workflow.status, jobs.items.iter().map(|job| job.status.as_str())) {
        context.answer_is_final();
    }
}

/// What to know of a workflow that is called a success, and of which not all ran (circleci-docs 9734a14,
/// `docs/guides/modules/orchestrate/pages/controlling-serial-execution-across-your-organization.adoc`).
fn never_ran(workflow: &Workflow, jobs: &[WorkflowJob]) -> Option<String> {
    let those: Vec<String> =
        jobs.iter().filter(|job| status::never_ran(&job.status)).map(|job| name(&job.name)).collect();
    let (count, shown) = (those.len(), those.get(..10).unwrap_or(&those).join(", "));
    (workflow.status == "success" && count > 0).then(|| {
        format!(
            "{count} of its jobs never ran ({shown}): what they require did not come about, or a newer run went before \
             them in their serial group"
        )
    })
}

async fn get(circleci: Arc<CircleCi>, input: GetInput, context: CallContext) -> Result<WorkflowAnswer, ToolError> {
    let workflow = circleci.fetch_workflow(&input.workflow_id, &context).await?;
    let mut hints: Vec<String> = circleci.coming_rerun(&workflow, &context).await.into_iter().collect();
    let jobs = match circleci.fetch_workflow_jobs(&workflow.id, &context).await {
        Ok(jobs) => {
            if hints.is_empty() {
                say_if_final(&workflow, &jobs, &context);
            }
            hints.extend(status::meaning(&workflow.status).map(str::to_owned));
            hints.extend(never_ran(&workflow, &jobs.items));
            jobs
        }
        Err(error) => {
            hints.push(format!("its jobs could not be read: {error}"));
            Read { items: Vec::new(), next: Some(String::new()) }
        }
    };
    if jobs.more() && !jobs.items.is_empty() {
        hints.push(format!("only {} of its jobs were read: get_circleci_workflow_jobs reads on", jobs.items.len()));
    }
    let mut counts = std::collections::BTreeMap::new();
    for job in &jobs.items {
        *counts.entry(word(&job.status)).or_default() += 1;
    }
    let those = |wanted: fn(&WorkflowJob) -> bool| {
        jobs.items.iter().filter(|job| wanted(job)).take(50).map(JobView::of).collect()
    };
    Ok(WorkflowAnswer {
        workflow: WorkflowView::of(&workflow),
        project_slug: name(&workflow.project_slug),
        pipeline_id: name(&workflow.pipeline_id),
        pipeline_number: workflow.pipeline_number,
        jobs: counts,
        failed_jobs: those(|job| status::is_failed_job(&job.status)),
        approvals: those(|job| job.type_ == "approval" && job.status == "on_hold"),
        truncated: jobs.more(),
        hints,
    })
}

async fn jobs(circleci: Arc<CircleCi>, input: JobsInput, context: CallContext) -> Result<Page<JobView>, ToolError> {
    let place = Place::of(&input.page)?;
    // The jobs say which project they belong to only one by one.
    let workflow = circleci.fetch_workflow(&input.workflow_id, &context).await?;
    let listing = listing_of_jobs(&workflow.id).from(place.at.clone());
    let jobs: Read<WorkflowJob> = circleci.list(listing, |_| false, &context).await?;
    if place.at.is_none() {
        say_if_final(&workflow, &jobs, &context);
    }
    // In the order in which they began, those that have not yet begun last.
    let key = |job: &WorkflowJob| format!("{}/{}", job.started_at.as_deref().unwrap_or("~"), job.id);
    let entries = jobs.items.iter().map(|job| (key(job), JobView::of(job))).collect();
    let page = place.page(entries, jobs.next, input.page.limit());
    if page.items.is_empty() && !page.truncated {
        return Ok(page.with_hint("the workflow has no jobs (yet)"));
    }
    Ok(page)
}
