//! From what a caller names to what CircleCI knows: runs, workflows and jobs by id, number or link. Whether the project
//! is allowed is decided by the slug that CircleCI states, never by one that came with an id.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;

use super::{
    CircleCi,
    client::{Api, Call, Error},
    error::{About, to_tool_error},
    names::{Link, Slug, is_uuid, not_allowed},
    text, v3,
    wire::{Items, JobDetail, Pipeline, Project, Workflow},
};
use kit::pages::Pages;
use tools::{CallContext, ErrorCode, ToolError};

/// Pages of a list that are read for one call. Their size is CircleCI's.
pub(super) const MAX_PAGES: usize = 10;
/// The same where something is looked for, or counted.
pub(super) const PAGES_OF_A_SEARCH: usize = 30;
/// Time of a call that must be left to read another page.
const TIME_FOR_A_PAGE: Duration = Duration::from_secs(3);

/// A run, as a caller names it.
#[derive(Clone, Debug)]
pub(super) enum RunName {
    Id(String),
    Number(Slug, u64),
    OfWorkflow(String),
    OfJob(Slug, u64),
}

/// A job, as a caller names it.
#[derive(Clone, Debug)]
pub(super) enum JobName {
    Id(String),
    Number(Slug, u64),
}

/// A list, and how far it is read.
pub(super) struct Listing<'a> {
    call: Call,
    doing: &'a str,
    about: About<'a>,
    at: Option<String>,
    pages: usize,
}

impl<'a> Listing<'a> {
    /// A list, read from its beginning, of [`MAX_PAGES`] at most.
    pub(super) fn new(call: Call, doing: &'a str, about: About<'a>) -> Self {
        Self { call, doing, about, at: None, pages: MAX_PAGES }
    }

    /// From a page on that an earlier answer named.
    pub(super) fn from(self, at: Option<String>) -> Self {
        Self { at, ..self }
    }

    /// Of more pages.
    pub(super) fn pages(self, pages: usize) -> Self {
        Self { pages, ..self }
    }
}

/// A list that was read page by page.
pub(super) struct Read<T> {
    pub(super) items: Vec<T>,
    /// Where it goes on, if that was not all; [`LEADS_BACK`] where nobody knows.
    pub(super) next: Option<String>,
}

/// Stands for the token of a further page where CircleCI gave one that leads back: there is more, and no way to it.
pub(super) const LEADS_BACK: &str = "";

impl<T> Read<T> {
    /// Whether there are more.
    pub(super) const fn more(&self) -> bool {
        self.next.is_some()
    }
}

fn either(one: &str, other: &str) -> ToolError {
    ToolError::invalid_argument(format!("pass either {one}, or project_slug and {other}")).with_argument(one)
}

fn not_an_id(argument: &str) -> ToolError {
    ToolError::invalid_argument(format!("{argument} is neither an id (a UUID) nor a link that names one"))
        .with_argument(argument)
        .with_remedy(
            "links that are taken: …/pipelines/gh/acme/web/12, with or without /workflows/<id>/jobs/34; …/workflow/<id>; \
             …/workflow-run/<id>; …/pipeline/<id>; …/jobs/gh/acme/web/34; …/gh/acme/web/34, which is a job",
        )
}

impl CircleCi {
    /// Reads a slug, or a link that holds one, and says no to a project that is not allowed.
    ///
    /// # Errors
    /// As [`Slug::parse`] and [`CircleCi::check_slug`].
    pub(super) async fn allowed(&self, text: &str, context: &CallContext) -> Result<Slug, ToolError> {
        self.home.check(text, "project_slug")?;
        let slug = Slug::parse(text)?;
        self.check_slug(&slug.to_string(), context).await?;
        Ok(slug)
    }

    /// [`CircleCi::allowed`], and the branch: the one that is named, else that of a link.
    pub(super) async fn allowed_with_branch(
        &self,
        text: &str,
        branch: Option<&str>,
        context: &CallContext,
    ) -> Result<(Slug, Option<String>), ToolError> {
        let slug = self.allowed(text, context).await?;
        let of_link = || Link::read(text).and_then(|link| link.branch);
        Ok((slug, branch.map(str::to_owned).or_else(of_link)))
    }

    /// Says no to a project that is not allowed, by a slug that CircleCI or the caller wrote. A project of the GitHub App has
    /// two: if the manifest has the other one, CircleCI's record of the project tells.
    ///
    /// # Errors
    /// [`ErrorCode::PermissionDenied`], and whatever goes wrong when CircleCI is asked.
    pub(super) async fn check_slug(&self, slug: &str, context: &CallContext) -> Result<(), ToolError> {
        if self.projects.allows(slug) {
            return Ok(());
        }
        if !self.projects.may_be_another_form(slug) {
            return Err(not_allowed());
        }
        let allowed = if let Some(allowed) = self.forms.known(slug) {
            allowed
        } else {
            let call = Call::of_project(Api::V2, "project", &Slug::parse(slug)?, &[]);
            match self.ask::<Project>(&call, "read the project", About::Project(slug), context).await {
                Ok(project) => {
                    let allowed = self.projects.allows_project(&project);
                    self.forms.learn(slug, allowed);
                    allowed
                }
                Err(error) if error.code == ErrorCode::NotFound => false,
                Err(error) => return Err(error),
            }
        };
        if allowed { Ok(()) } else { Err(not_allowed()) }
    }

    /// Which run is meant.
    ///
    /// # Errors
    /// When nothing, too much, or something of another form is named, and when the project is not allowed.
    pub(super) async fn run_name(
        &self,
        id: Option<&str>,
        project: Option<&str>,
        number: Option<u64>,
        context: &CallContext,
    ) -> Result<RunName, ToolError> {
        match (id, project, number) {
            (Some(id), None, None) if is_uuid(id.trim()) => Ok(RunName::Id(id.trim().to_owned())),
            (Some(text), None, None) => {
                self.home.check(text, "pipeline_id")?;
                let link = Link::read(text).ok_or_else(|| not_an_id("pipeline_id"))?;
                match link {
                    Link { run_id: Some(id), .. } => Ok(RunName::Id(id)),
                    Link { slug: Some(slug), pipeline_number: Some(number), .. } => {
                        self.check_slug(&slug.to_string(), context).await?;
                        Ok(RunName::Number(slug, number))
                    }
                    Link { workflow_id: Some(id), .. } => Ok(RunName::OfWorkflow(id)),
                    Link { slug: Some(slug), job_number: Some(number), .. } => {
                        self.check_slug(&slug.to_string(), context).await?;
                        Ok(RunName::OfJob(slug, number))
                    }
                    _ => Err(not_an_id("pipeline_id")),
                }
            }
            (None, Some(project), Some(number)) => Ok(RunName::Number(self.allowed(project, context).await?, number)),
            _ => Err(either("pipeline_id", "number")),
        }
    }

    /// Which job is meant.
    ///
    /// # Errors
    /// As [`CircleCi::run_name`].
    pub(super) async fn job_name(
        &self,
        id: Option<&str>,
        project: Option<&str>,
        number: Option<u64>,
        context: &CallContext,
    ) -> Result<JobName, ToolError> {
        match (id, project, number) {
            (Some(id), None, None) if is_uuid(id.trim()) => Ok(JobName::Id(id.trim().to_owned())),
            (Some(text), None, None) => {
                self.home.check(text, "job_id")?;
                let link = Link::read(text).ok_or_else(|| not_an_id("job_id"))?;
                match link {
                    Link { job_id: Some(id), .. } => Ok(JobName::Id(id)),
                    Link { slug: Some(slug), job_number: Some(number), .. } => {
                        self.check_slug(&slug.to_string(), context).await?;
                        Ok(JobName::Number(slug, number))
                    }
                    Link { workflow_id: Some(id), job_number: Some(number), .. } => {
                        let workflow = self.fetch_workflow(&id, context).await?;
                        Ok(JobName::Number(Slug::parse(&workflow.project_slug)?, number))
                    }
                    _ => Err(not_an_id("job_id")),
                }
            }
            (None, Some(project), Some(number)) => Ok(JobName::Number(self.allowed(project, context).await?, number)),
            _ => Err(either("job_id", "job_number")),
        }
    }

    /// Makes a call, and words what goes wrong.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        call: &Call,
        doing: &str,
        about: About<'_>,
        context: &CallContext,
    ) -> Result<T, ToolError> {
        self.session.call(call, context.deadline).await.map_err(|error| to_tool_error(&error, doing, about))
    }

    /// The API to be used where there is a choice.
    pub(super) async fn api(&self, context: &CallContext) -> Result<Api, ToolError> {
        let asked = |error: Error| to_tool_error(&error, "find out which API there is", About::Account);
        self.session.api(context.deadline).await.map_err(asked)
    }

    /// Says no to an id of a job where only numbers are known.
    pub(super) async fn wants_v3(&self, context: &CallContext) -> Result<(), ToolError> {
        if self.api(context).await? == Api::V3 {
            return Ok(());
        }
        Err(ToolError::invalid_argument("this CircleCI knows jobs by their number only")
            .with_argument("job_id")
            .with_remedy("pass project_slug and job_number, as get_circleci_workflow_jobs answers them"))
    }

    /// The entries of a list, page by page, until those that were read are enough, its pages are read, or the time is up.
    /// What came is kept when a further page can't be read: CircleCI sometimes gives tokens for pages that it then doesn't
    /// know (circleci/circleci-docs #6472).
    pub(super) async fn list<T: DeserializeOwned + PartialEq>(
        &self,
        listing: Listing<'_>,
        enough: impl Fn(&[T]) -> bool,
        context: &CallContext,
    ) -> Result<Read<T>, ToolError> {
        let Listing { call, doing, about, mut at, pages } = listing;
        let goes_on = at.is_some();
        let mut read: Pages<T> = Pages::default();
        for page in 0..pages {
            if page > 0 && context.remaining() < TIME_FOR_A_PAGE {
                break;
            }
            let (found, next) = match self.one_page(&call, at.as_deref(), context.deadline).await {
                Ok(found) => found,
                Err(error) if page > 0 => {
                    tracing::info!(%error, "a further page could not be read");
                    break;
                }
                Err(Error::NotFound | Error::BadRequest | Error::Page) if goes_on => {
                    return Err(to_tool_error(&Error::Page, doing, about).with_argument("cursor"));
                }
                Err(error) => return Err(to_tool_error(&error, doing, about)),
            };
            // Tokens that lead back leave a list without its end.
            let next = next.filter(|next| !next.is_empty());
            let leads_back = !read.add(found, next.is_some()) || (next.is_some() && next == at);
            if leads_back {
                at = Some(LEADS_BACK.to_owned());
                break;
            }
            at = next;
            if at.is_none() || enough(read.entries()) {
                break;
            }
        }
        Ok(Read { items: read.into_entries(), next: at })
    }

    async fn one_page<T: DeserializeOwned>(
        &self,
        call: &Call,
        at: Option<&str>,
        deadline: tokio::time::Instant,
    ) -> Result<(Vec<T>, Option<String>), Error> {
        if call.api == Api::V3 {
            let page = call.clone().maybe("page[cursor]", at.as_ref());
            let page: v3::List<T> = self.session.call(&page, deadline).await?;
            return Ok((page.data, page.page.next));
        }
        let page = call.clone().maybe("page-token", at.as_ref());
        let page: Items<T> = self.session.call(&page, deadline).await?;
        Ok((page.items, page.next_page_token))
    }

    /// A project.
    pub(super) async fn fetch_project(&self, slug: &Slug, context: &CallContext) -> Result<Project, ToolError> {
        let call = Call::of_project(Api::V2, "project", slug, &[]);
        let project: Project = self.ask(&call, "read the project", About::Project(&slug.to_string()), context).await?;
        if self.projects.allows_project(&project) { Ok(project) } else { Err(not_allowed()) }
    }

    /// A run of an allowed project.
    pub(super) async fn fetch_run(&self, name: &RunName, context: &CallContext) -> Result<Pipeline, ToolError> {
        let call = match name {
            RunName::Id(id) => Call::get(Api::V2, ["pipeline", id.as_str()]),
            RunName::Number(slug, number) => {
                Call::of_project(Api::V2, "project", slug, &["pipeline", &number.to_string()])
            }
            RunName::OfWorkflow(id) => {
                let workflow = self.fetch_workflow(id, context).await?;
                Call::get(Api::V2, ["pipeline", workflow.pipeline_id.as_str()])
            }
            RunName::OfJob(slug, number) => {
                let unknown = || ToolError::new(ErrorCode::NotFound, "CircleCI does not tell which run the job is of");
                let job = self.job_detail(slug, *number, context).await?;
                let run = job.pipeline.map(|run| run.id).filter(|id| is_uuid(id)).ok_or_else(unknown)?;
                Call::get(Api::V2, ["pipeline", run.as_str()])
            }
        };
        let run: Pipeline = self.ask(&call, "read the run", About::Id("run"), context).await?;
        self.check_slug(&run.project_slug, context).await?;
        Ok(run)
    }

    /// The workflows of a run, the newest first.
    pub(super) async fn fetch_workflows(&self, run: &str, context: &CallContext) -> Result<Read<Workflow>, ToolError> {
        let call = Call::get(Api::V2, ["pipeline", run, "workflow"]);
        let listing = Listing::new(call, "read the run's workflows", About::Id("run"));
        let mut read: Read<Workflow> = self.list(listing, |read| read.len() >= 200, context).await?;
        read.items.sort_by(|a, b| b.created_at.cmp(&a.created_at));
        Ok(read)
    }

    /// [`coming_rerun`] of a workflow whose run was not read.
    pub(super) async fn coming_rerun(&self, workflow: &Workflow, context: &CallContext) -> Option<String> {
        let alone = coming_rerun(workflow, &[])?;
        match self.fetch_workflows(&workflow.pipeline_id, context).await {
            Ok(read) => coming_rerun(workflow, &read.items),
            Err(_) => Some(alone),
        }
    }

    /// A workflow of an allowed project, by its id or a link.
    pub(super) async fn fetch_workflow(&self, text: &str, context: &CallContext) -> Result<Workflow, ToolError> {
        let id = self.workflow_id(text, context).await?;
        let call = Call::get(Api::V2, ["workflow", id.as_str()]);
        let mut workflow: Workflow = self.ask(&call, "read the workflow", About::Id("workflow"), context).await?;
        self.check_slug(&workflow.project_slug, context).await?;
        if workflow.id.is_empty() {
            workflow.id = id;
        }
        Ok(workflow)
    }

    /// The id of a workflow, out of itself or of a link to it or to one of its jobs.
    async fn workflow_id(&self, text: &str, context: &CallContext) -> Result<String, ToolError> {
        if is_uuid(text.trim()) {
            return Ok(text.trim().to_owned());
        }
        self.home.check(text, "workflow_id")?;
        match Link::read(text) {
            Some(Link { workflow_id: Some(id), .. }) => Ok(id),
            Some(Link { slug: Some(slug), job_number: Some(number), .. }) => {
                self.check_slug(&slug.to_string(), context).await?;
                let job: JobDetail = self.job_detail(&slug, number, context).await?;
                job.latest_workflow.map(|workflow| workflow.id).ok_or_else(|| {
                    ToolError::new(ErrorCode::NotFound, "CircleCI does not tell which workflow the job belongs to")
                })
            }
            _ => Err(not_an_id("workflow_id")),
        }
    }
}

/// How long after its making a run can be continued from its setup, once (circleci-docs 9734a14,
/// `docs/guides/modules/orchestrate/pages/dynamic-config.adoc`).
const UNTIL_CONTINUED: SignedDuration = SignedDuration::from_hours(6);

/// Whether a run is young enough to be continued from its setup.
pub(super) fn may_be_continued(run: &Pipeline) -> bool {
    let made: Option<Timestamp> = run.created_at.parse().ok();
    made.is_none_or(|made| Timestamp::now().duration_since(made) < UNTIL_CONTINUED)
}

/// How long after its end a workflow may still be run again: CircleCI begins at once.
const UNTIL_A_RERUN: SignedDuration = SignedDuration::from_mins(2);

/// What is said of a workflow that CircleCI may be about to run again by itself, beside the others of its run, as far as they
/// are known. It does so with one that failed, as often as the configuration says, and with none that was run again by hand
/// (circleci-docs 9734a14, `docs/guides/modules/orchestrate/pages/automatic-reruns.adoc`).
pub(super) fn coming_rerun(workflow: &Workflow, others: &[Workflow]) -> Option<String> {
    let most = workflow.max_auto_reruns?;
    let next = workflow.auto_rerun_number.unwrap_or_default() + 1;
    let same = || others.iter().filter(|one| one.name == workflow.name && one.id != workflow.id);
    let is_by_hand = workflow.auto_rerun_number.is_none() && same().any(|one| one.created_at < workflow.created_at);
    let is_over = same().any(|one| one.created_at > workflow.created_at);
    let ended: Option<Timestamp> = workflow.stopped_at.as_deref().and_then(|at| at.parse().ok());
    // A clock that is wrong by more than that tells nothing.
    let is_fresh = ended.is_some_and(|ended| Timestamp::now().duration_since(ended).abs() < UNTIL_A_RERUN);
    (workflow.status == "failed" && next <= most && !is_by_hand && !is_over && is_fresh).then(|| {
        let name = text::clean(&workflow.name, 255);
        format!(
            "{name} failed, and CircleCI may now run it again by itself (rerun {next} of {most}), as a new workflow of \
             the run"
        )
    })
}

/// Of each name the newest of workflows that are in the order of their making, the newest first: a rerun takes the place
/// of what it repeats.
pub(super) fn newest(workflows: &[Workflow]) -> Vec<&Workflow> {
    let mut kept: Vec<&Workflow> = Vec::new();
    for workflow in workflows {
        // Of records that have expired not even the name is told.
        if workflow.name.is_empty() || !kept.iter().any(|one| one.name == workflow.name) {
            kept.push(workflow);
        }
    }
    kept
}
