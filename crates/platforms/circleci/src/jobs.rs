//! A job with its steps, the same for both kinds of API: v3 answers them by the job's id, v1.1 by its number.

use std::collections::HashMap;

use super::{
    CircleCi,
    client::{Api, Call},
    error::About,
    locate::{JobName, Listing, Read},
    names::Slug,
    status, text,
    v3::{self, Entity},
    wire::{Build, JobDetail, JobMessage, WorkflowJob},
};
use tools::{CallContext, ErrorCode, ToolError};

/// Messages of a job that are told.
const MAX_MESSAGES: usize = 5;

/// A job.
pub(super) struct JobFacts {
    /// None on CircleCI Server.
    pub(super) id: Option<String>,
    /// None where only the id is known.
    pub(super) number: Option<u64>,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) started_at: Option<String>,
    pub(super) stopped_at: Option<String>,
    pub(super) executor: Option<String>,
    pub(super) workflow_id: Option<String>,
    pub(super) steps: Vec<StepFacts>,
    pub(super) is_approval: bool,
    /// What CircleCI says of the job itself. Only v2 tells it, by the job's number.
    pub(super) messages: Vec<String>,
    /// What could not be found out, and why.
    pub(super) missing: Vec<String>,
}

/// A step on one of the machines that run a job side by side. It has no `Debug`: its link is a credential.
pub(super) struct StepFacts {
    pub(super) execution: u64,
    pub(super) num: u64,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) exit_code: Option<i64>,
    /// Where its output lies, on CircleCI Server.
    pub(super) output_url: Option<String>,
    /// Which try it is, where that is told: v3 does not.
    auto_rerun_number: Option<u64>,
    /// Whether it failed and CircleCI ran it again by itself: a later step of its name is the next try.
    pub(super) run_again: bool,
    insignificant: bool,
}

impl StepFacts {
    pub(super) fn has_failed(&self) -> bool {
        status::is_failed_job(&self.status) || self.status == "failing"
    }

    pub(super) fn is_over(&self) -> bool {
        status::is_final_job(&self.status)
    }
}

impl JobFacts {
    /// Whether it changes no more.
    pub(super) fn has_ended(&self) -> bool {
        status::is_final_job(&self.status)
    }

    /// The steps for which the job failed, on all machines. Of one that was run again the last try counts.
    pub(super) fn failed_steps(&self) -> Vec<&StepFacts> {
        let failed = || self.steps.iter().filter(|step| step.has_failed() && !step.insignificant);
        let last: Vec<&StepFacts> = failed().filter(|step| !step.run_again).collect();
        // A later step may only have the name of the one that failed.
        if last.is_empty() && status::is_failed_job(&self.status) { failed().collect() } else { last }
    }

    /// What CircleCI says of the job itself, in one text.
    pub(super) fn said(&self) -> Option<String> {
        said(&self.messages)
    }

    /// What to know of a job that failed, and of no step that it did: what ended it stands in no log.
    pub(super) fn without_a_failed_step(&self) -> Option<String> {
        if !status::is_failed_job(&self.status) || !self.failed_steps().is_empty() {
            return None;
        }
        if !self.missing.is_empty() {
            return self.said();
        }
        let known = [self.said(), status::meaning(&self.status).map(str::to_owned)];
        let known: Vec<String> = known.into_iter().flatten().collect();
        let why = match (known.is_empty(), self.number) {
            (false, _) => known.join("; "),
            (true, Some(_)) => "CircleCI does not tell here why the job failed".to_owned(),
            (true, None) => {
                "CircleCI does not tell here why the job failed: asked for with project_slug and job_number, it may"
                    .to_owned()
            }
        };
        Some(match self.steps.last() {
            None => format!("no step is told: {why}"),
            Some(last) => {
                let (name, status) = (text::clean(&last.name, 255), text::clean(&last.status, 64));
                format!("no step failed: {why}; the last step is {name} ({status})")
            }
        })
    }
}

/// Finds the steps that were run again. Later tries have the same name, and follow on the same machine: at once, unless CircleCI
/// numbers them. Another step may only have the name of the one that failed.
fn find_reruns(steps: &mut [StepFacts]) {
    let mut numbered: HashMap<(u64, String), u64> = HashMap::new();
    let mut following: HashMap<u64, String> = HashMap::new();
    for step in steps.iter_mut().rev() {
        if status::has_not_begun(&step.status) {
            continue;
        }
        let (name, number) = ((step.execution, step.name.clone()), step.auto_rerun_number);
        let is_later = match numbered.get(&name) {
            Some(next) => *next > number.unwrap_or_default(),
            None => number.is_none() && following.get(&step.execution) == Some(&step.name),
        };
        step.run_again = step.has_failed() && is_later;
        following.insert(step.execution, step.name.clone());
        if let Some(number) = number {
            numbered.insert(name, number);
        }
    }
}

impl CircleCi {
    /// A job of an allowed project, with its steps.
    pub(super) async fn fetch_job(&self, name: &JobName, context: &CallContext) -> Result<JobFacts, ToolError> {
        if let JobName::Id(id) = name {
            self.wants_v3(context).await?;
            let facts = self.job_of_allowed_by_id(id, None, context).await?;
            if !self.projects.is_open() {
                self.fetch_workflow(facts.workflow_id.as_deref().unwrap_or_default(), context).await?;
            }
            self.ended.learn(name, &facts);
            return Ok(facts);
        }
        self.fetch_job_of_allowed(name, context).await
    }

    /// As [`CircleCi::fetch_job`], for a job of which is known already that its project is allowed.
    pub(super) async fn fetch_job_of_allowed(
        &self,
        name: &JobName,
        context: &CallContext,
    ) -> Result<JobFacts, ToolError> {
        let facts = match (self.api(context).await?, name) {
            (_, JobName::Id(id)) => self.job_of_allowed_by_id(id, None, context).await?,
            (Api::V3, JobName::Number(slug, number)) => {
                let detail = self.job_detail(slug, *number, context).await?;
                match self.steps_by_id(&detail, *number, context).await {
                    Ok(facts) => JobFacts { executor: executor(&detail), messages: messages(&detail), ..facts },
                    Err(error) => without_steps(detail, *number, &error),
                }
            }
            (_, JobName::Number(slug, number)) => {
                let detail = self.job_detail(slug, *number, context).await?;
                let build = Call::of_project(Api::V11, "project", slug, &[&number.to_string()]);
                match self.ask::<Build>(&build, "read the job's steps", About::Id("job"), context).await {
                    Ok(build) => JobFacts { steps: steps_of(build), missing: Vec::new(), ..bare(detail, *number) },
                    Err(error) => without_steps(detail, *number, &error),
                }
            }
        };
        self.ended.learn(name, &facts);
        Ok(facts)
    }

    /// A job as v2 describes it. One that waits for approval has a number, and no such description
    /// (Kesin11/CIAnalyzer #1120).
    pub(super) async fn job_detail(
        &self,
        slug: &Slug,
        number: u64,
        context: &CallContext,
    ) -> Result<JobDetail, ToolError> {
        let call = Call::of_project(Api::V2, "project", slug, &["job", &number.to_string()]);
        self.ask(&call, "read the job", About::JobNumber(number), context).await
    }

    async fn steps_by_id(&self, detail: &JobDetail, number: u64, context: &CallContext) -> Result<JobFacts, ToolError> {
        let id = self.id_of_job(detail, number, context).await?;
        self.job_of_allowed_by_id(&id, Some(number), context).await
    }

    async fn id_of_job(&self, detail: &JobDetail, number: u64, context: &CallContext) -> Result<String, ToolError> {
        let gone = |message| {
            ToolError::new(ErrorCode::NotFound, message)
                .with_remedy("pass job_id, as get_circleci_workflow_jobs answers it")
        };
        let workflow = detail
            .latest_workflow
            .as_ref()
            .ok_or_else(|| gone("CircleCI does not tell which workflow the job belongs to".to_owned()))?;
        let is_meant = |job: &WorkflowJob| job.job_number == Some(number);
        let jobs = self.list_workflow_jobs(&workflow.id, |jobs| jobs.iter().any(is_meant), context).await?;
        let read = jobs.items.len();
        jobs.items.into_iter().find(is_meant).map(|job| job.id).ok_or_else(|| {
            gone(match jobs.next {
                Some(_) => format!("the job is not among the first {read} of its workflow"),
                None => "the job's workflow does not list it".to_owned(),
            })
        })
    }

    /// The jobs of a workflow.
    pub(super) async fn fetch_workflow_jobs(
        &self,
        workflow: &str,
        context: &CallContext,
    ) -> Result<Read<WorkflowJob>, ToolError> {
        self.list_workflow_jobs(workflow, |_| false, context).await
    }

    /// The same until there are enough.
    pub(super) async fn list_workflow_jobs(
        &self,
        workflow: &str,
        enough: impl Fn(&[WorkflowJob]) -> bool,
        context: &CallContext,
    ) -> Result<Read<WorkflowJob>, ToolError> {
        self.list(listing_of_jobs(workflow), enough, context).await
    }

    async fn job_of_allowed_by_id(
        &self,
        id: &str,
        number: Option<u64>,
        context: &CallContext,
    ) -> Result<JobFacts, ToolError> {
        let call = Call::get(Api::V3, ["jobs", id]);
        let job: Entity<v3::Job> = self.ask(&call, "read the job", About::JobId, context).await?;
        Ok(from_v3(job.data, number))
    }

    /// Says no to a job, known by its id, of a project that is not allowed.
    pub(super) async fn check_job(&self, id: &str, context: &CallContext) -> Result<(), ToolError> {
        if self.projects.is_open() {
            return Ok(());
        }
        self.fetch_job(&JobName::Id(id.to_owned()), context).await.map(|_| ())
    }
}

fn from_v3(job: v3::Job, number: Option<u64>) -> JobFacts {
    let attributes = job.attributes;
    let begun = attributes.started_at.as_deref().is_some_and(|at| !at.is_empty());
    let steps = attributes.parallel_executions.into_iter().zip(0..).flat_map(|(execution, index)| {
        execution.steps.into_iter().map(move |step| StepFacts {
            execution: index,
            num: step.num,
            status: status::of_phase(&step.phase, &step.outcome, "", true),
            name: step.name,
            exit_code: step.exit_code,
            output_url: None,
            auto_rerun_number: None,
            run_again: false,
            insignificant: false,
        })
    });
    let mut steps: Vec<StepFacts> = steps.collect();
    find_reruns(&mut steps);
    JobFacts {
        id: Some(job.id),
        number,
        name: attributes.name,
        status: status::of_phase(&attributes.phase, &attributes.outcome, "", begun),
        started_at: attributes.started_at,
        stopped_at: attributes.ended_at,
        executor: None,
        workflow_id: Some(job.references.workflow.id).filter(|id| !id.is_empty()),
        steps,
        is_approval: attributes.type_ == "approval",
        messages: Vec::new(),
        missing: Vec::new(),
    }
}

fn steps_of(build: Build) -> Vec<StepFacts> {
    let steps = build.steps.into_iter().flat_map(|step| {
        let name = step.name;
        step.actions.into_iter().map(move |action| StepFacts {
            execution: action.index,
            num: action.step,
            name: name.clone(),
            status: action.status,
            exit_code: action.exit_code,
            output_url: action.output_url,
            auto_rerun_number: action.auto_rerun_number,
            run_again: false,
            insignificant: action.insignificant,
        })
    });
    let mut steps: Vec<StepFacts> = steps.collect();
    find_reruns(&mut steps);
    steps
}

/// What v2 tells of a job, which has no steps.
fn bare(detail: JobDetail, number: u64) -> JobFacts {
    let (executor, messages) = (executor(&detail), messages(&detail));
    JobFacts {
        id: None,
        number: Some(number),
        name: detail.name,
        status: detail.status,
        started_at: detail.started_at,
        stopped_at: detail.stopped_at,
        executor,
        workflow_id: detail.latest_workflow.map(|workflow| workflow.id),
        steps: Vec::new(),
        is_approval: false,
        messages,
        missing: Vec::new(),
    }
}

fn without_steps(detail: JobDetail, number: u64, error: &ToolError) -> JobFacts {
    JobFacts { missing: vec![format!("its steps: {error}")], ..bare(detail, number) }
}

/// A workflow's jobs, as a list.
pub(super) fn listing_of_jobs(workflow: &str) -> Listing<'static> {
    let call = Call::get(Api::V2, ["workflow", workflow, "job"]);
    Listing::new(call, "read the workflow's jobs", About::Id("workflow"))
}

/// What CircleCI says of a job, in one text.
pub(super) fn said(messages: &[String]) -> Option<String> {
    (!messages.is_empty()).then(|| format!("CircleCI says of the job: {}", messages.join("; ")))
}

/// What CircleCI says of a job: texts, or the word for the reason where there is no text.
pub(super) fn messages(detail: &JobDetail) -> Vec<String> {
    let text = |text: Option<&str>| text::optional(text, 500);
    let of = |one: &JobMessage| text(one.message.as_deref()).or_else(|| text(one.reason.as_deref()));
    let texts = detail.messages.iter().filter_map(of);
    texts.take(MAX_MESSAGES).collect()
}

fn executor(detail: &JobDetail) -> Option<String> {
    let executor = detail.executor.as_ref()?;
    let parts = [executor.type_.as_deref(), executor.resource_class.as_deref()];
    let machine = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let several = detail.parallelism.filter(|count| *count > 1).map(|count| format!(", {count} side by side"));
    Some(format!("{machine}{}", several.unwrap_or_default())).filter(|text| !text.is_empty())
}
