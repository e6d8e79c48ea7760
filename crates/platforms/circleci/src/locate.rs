//! From what a caller names to what CircleCI knows: runs, workflows and jobs by id, number or link. Whether the project
//! is allowed is decided by the slug that CircleCI states, never by one that came with an id.

use serde::de::DeserializeOwned;

use super::{
    CircleCi,
    client::{Api, Call, Error},
    error::{About, to_tool_error},
    names::{Link, Slug, is_uuid},
    v3,
    wire::{Items, Pipeline, Project, Workflow},
};
use tools::{CallContext, ToolError};

/// Pages of a list that are read for one call.
pub(super) const MAX_PAGES: usize = 5;

/// A run, as a caller names it.
#[derive(Clone, Debug)]
pub(super) enum RunName {
    Id(String),
    Number(Slug, u64),
}

/// A job, as a caller names it.
#[derive(Clone, Debug)]
pub(super) enum JobName {
    Id(String),
    Number(Slug, u64),
}

/// A list that was read page by page.
pub(super) struct Read<T> {
    pub(super) items: Vec<T>,
    /// Whether there are more.
    pub(super) more: bool,
}

fn either(one: &str, other: &str) -> ToolError {
    ToolError::invalid_argument(format!("pass either {one}, or project_slug and {other}")).with_argument(one)
}

fn not_an_id(argument: &str) -> ToolError {
    ToolError::invalid_argument(format!("{argument} is neither an id (a UUID) nor a link that names one"))
        .with_argument(argument)
}

impl CircleCi {
    /// Which run is meant.
    ///
    /// # Errors
    /// When nothing, too much, or something of another form is named, and when the project is not allowed.
    pub(super) fn run_name(
        &self,
        id: Option<&str>,
        project: Option<&str>,
        number: Option<u64>,
    ) -> Result<RunName, ToolError> {
        match (id, project, number) {
            (Some(id), None, None) if is_uuid(id) => Ok(RunName::Id(id.to_owned())),
            (Some(text), None, None) => {
                let link = Link::parse(text).ok_or_else(|| not_an_id("pipeline_id"))?;
                let (slug, number) = link.slug.zip(link.pipeline_number).ok_or_else(|| not_an_id("pipeline_id"))?;
                Ok(RunName::Number(Slug::allowed(&slug.to_string(), &self.projects)?, number))
            }
            (None, Some(project), Some(number)) => Ok(RunName::Number(Slug::allowed(project, &self.projects)?, number)),
            _ => Err(either("pipeline_id", "number")),
        }
    }

    /// Which job is meant.
    ///
    /// # Errors
    /// As [`CircleCi::run_name`].
    pub(super) fn job_name(
        &self,
        id: Option<&str>,
        project: Option<&str>,
        number: Option<u64>,
    ) -> Result<JobName, ToolError> {
        match (id, project, number) {
            (Some(id), None, None) if is_uuid(id) => Ok(JobName::Id(id.to_owned())),
            (Some(text), None, None) => {
                let link = Link::parse(text).ok_or_else(|| not_an_id("job_id"))?;
                let (slug, number) = link.slug.zip(link.job_number).ok_or_else(|| not_an_id("job_id"))?;
                Ok(JobName::Number(Slug::allowed(&slug.to_string(), &self.projects)?, number))
            }
            (None, Some(project), Some(number)) => Ok(JobName::Number(Slug::allowed(project, &self.projects)?, number)),
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

    /// The entries of a list of v2, of at most [`MAX_PAGES`] pages and about as many as are wanted.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        call: &Call,
        wanted: usize,
        doing: &str,
        about: About<'_>,
        context: &CallContext,
    ) -> Result<Read<T>, ToolError> {
        let (mut items, mut token): (Vec<T>, Option<String>) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page = call.clone().maybe("page-token", token.as_ref());
            let page: Items<T> = match self.ask(&page, doing, about, context).await {
                Ok(page) => page,
                // What came is told, and that it is not all.
                Err(error) if !items.is_empty() => {
                    tracing::info!(code = ?error.code, "a further page could not be read");
                    break;
                }
                Err(error) => return Err(error),
            };
            items.extend(page.items);
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() || items.len() >= wanted {
                break;
            }
        }
        Ok(Read { items, more: token.is_some() })
    }

    /// As [`CircleCi::list`], for a list of v3.
    pub(super) async fn list_v3<T: DeserializeOwned>(
        &self,
        call: &Call,
        wanted: usize,
        doing: &str,
        about: About<'_>,
        context: &CallContext,
    ) -> Result<Read<T>, ToolError> {
        let (mut items, mut cursor): (Vec<T>, Option<String>) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page = call.clone().maybe("page[cursor]", cursor.as_ref());
            let page: v3::List<T> = match self.ask(&page, doing, about, context).await {
                Ok(page) => page,
                Err(error) if !items.is_empty() => {
                    tracing::info!(code = ?error.code, "a further page could not be read");
                    break;
                }
                Err(error) => return Err(error),
            };
            items.extend(page.data);
            cursor = page.page.next.filter(|cursor| !cursor.is_empty());
            if cursor.is_none() || items.len() >= wanted {
                break;
            }
        }
        Ok(Read { items, more: cursor.is_some() })
    }

    /// A project.
    pub(super) async fn fetch_project(&self, slug: &Slug, context: &CallContext) -> Result<Project, ToolError> {
        let call = Call::of_project(Api::V2, "project", slug, &[]);
        let project: Project = self.ask(&call, "read the project", About::Project(&slug.to_string()), context).await?;
        self.projects.check(&project.slug)?;
        Ok(project)
    }

    /// A run of an allowed project.
    pub(super) async fn fetch_run(&self, name: &RunName, context: &CallContext) -> Result<Pipeline, ToolError> {
        let call = match name {
            RunName::Id(id) => Call::get(Api::V2, ["pipeline", id.as_str()]),
            RunName::Number(slug, number) => {
                Call::of_project(Api::V2, "project", slug, &["pipeline", &number.to_string()])
            }
        };
        let run: Pipeline = self.ask(&call, "read the run", About::Id("run"), context).await?;
        self.projects.check(&run.project_slug)?;
        Ok(run)
    }

    /// The workflows of a run, the newest first.
    pub(super) async fn fetch_workflows(&self, run: &str, context: &CallContext) -> Result<Read<Workflow>, ToolError> {
        let call = Call::get(Api::V2, ["pipeline", run, "workflow"]);
        let mut read: Read<Workflow> =
            self.list(&call, 50, "read the run's workflows", About::Id("run"), context).await?;
        read.items.sort_by(|a, b| b.created_at.cmp(&a.created_at));
        Ok(read)
    }

    /// A workflow of an allowed project, by its id or a link.
    pub(super) async fn fetch_workflow(&self, text: &str, context: &CallContext) -> Result<Workflow, ToolError> {
        let id = workflow_id(text)?;
        let call = Call::get(Api::V2, ["workflow", id.as_str()]);
        let workflow: Workflow = self.ask(&call, "read the workflow", About::Id("workflow"), context).await?;
        self.projects.check(&workflow.project_slug)?;
        Ok(workflow)
    }
}

/// The id of a workflow, out of itself or of a link.
fn workflow_id(text: &str) -> Result<String, ToolError> {
    if is_uuid(text) {
        return Ok(text.to_owned());
    }
    Link::parse(text).and_then(|link| link.workflow_id).ok_or_else(|| not_an_id("workflow_id"))
}

/// Of each name the newest of workflows that are in the order of their making, the newest first: a rerun takes the place
/// of what it repeats.
pub(super) fn newest(workflows: &[Workflow]) -> Vec<&Workflow> {
    let mut kept: Vec<&Workflow> = Vec::new();
    for workflow in workflows {
        if !kept.iter().any(|one| one.name == workflow.name) {
            kept.push(workflow);
        }
    }
    kept
}
