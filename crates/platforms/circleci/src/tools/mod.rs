//! CircleCI's tools, one file a group. A tool finds out what is meant and whether its project is allowed, calls, and
//! answers with typed fields; [`super::error`] words what goes wrong.

mod approve;
mod artifacts;
mod cancel;
mod config;
mod definitions;
mod insights;
mod job;
mod log;
mod projects;
mod report;
mod rerun;
mod rollback;
mod run;
mod runs;
mod tests_of_job;
mod trigger;
mod wait;
mod workflow;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    CircleCi,
    locate::{JobName, RunName},
    text,
};
use kit::args::PageArgs;
use tools::{Page, ToolEntry, ToolError, mutation, read};

/// Every tool of CircleCI.
pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    [
        projects::entries(circleci),
        runs::entries(circleci),
        run::entries(circleci),
        wait::entries(circleci),
        workflow::entries(circleci),
        job::entries(circleci),
        log::entries(circleci),
        report::entries(circleci),
        tests_of_job::entries(circleci),
        insights::entries(circleci),
        artifacts::entries(circleci),
        definitions::entries(circleci),
        config::entries(circleci),
        trigger::entries(circleci),
        rerun::entries(circleci),
        cancel::entries(circleci),
        approve::entries(circleci),
        rollback::entries(circleci),
    ]
    .concat()
}

/// Arguments that name the run that a tool is about.
#[derive(Deserialize, JsonSchema)]
struct RunArgs {
    /// Id of the run (a UUID), or a link to it. Give it, or project_slug and number.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2048))]
    pipeline_id: Option<String>,
    /// Slug of the project, such as `gh/acme/web`, or a link.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2048))]
    project_slug: Option<String>,
    /// Number of the run in its project.
    #[serde(default)]
    #[schemars(range(min = 1))]
    number: Option<u64>,
}

impl RunArgs {
    fn name(&self, circleci: &CircleCi) -> Result<RunName, ToolError> {
        circleci.run_name(self.pipeline_id.as_deref(), self.project_slug.as_deref(), self.number)
    }
}

/// Arguments that name the job that a tool is about.
#[derive(Deserialize, JsonSchema)]
struct JobArgs {
    /// Id of the job (a UUID), as get_circleci_workflow_jobs answers it, or a link to it. Give it, or project_slug
    /// and job_number; a CircleCI Server knows numbers only.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2048))]
    job_id: Option<String>,
    /// Slug of the project, such as `gh/acme/web`, or a link.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2048))]
    project_slug: Option<String>,
    /// Number of the job in its project.
    #[serde(default)]
    #[schemars(range(min = 1))]
    job_number: Option<u64>,
}

impl JobArgs {
    fn name(&self, circleci: &CircleCi) -> Result<JobName, ToolError> {
        circleci.job_name(self.job_id.as_deref(), self.project_slug.as_deref(), self.job_number)
    }
}

/// Cuts a list that was read to one page, by keys that are not part of the entries. `more` says that CircleCI has more
/// than was read.
///
/// # Errors
/// When the cursor is not one of ours.
fn page<T, const DEFAULT: usize, const MAX: usize>(
    entries: Vec<(String, T)>,
    more: bool,
    wanted: &PageArgs<DEFAULT, MAX>,
) -> Result<Page<T>, ToolError> {
    let page = wanted.cut_keyed(entries)?;
    let page = Page { truncated: page.truncated || more, ..page };
    if more && page.next_cursor.is_none() {
        return Ok(page.with_hint("CircleCI has more than one call reads: narrow the question"));
    }
    Ok(page)
}

/// A time as CircleCI states it.
fn time(text: Option<&str>) -> Option<String> {
    text.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(|at| at.to_string())
}

/// Seconds between two times.
fn seconds_between(from: Option<&str>, to: Option<&str>) -> Option<i64> {
    let at = |text: Option<&str>| text.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    Some(at(to)?.as_second() - at(from)?.as_second())
}

/// A word such as a status, which agents branch on.
fn word(text: &str) -> String {
    text::clean(text, 64)
}

/// A name.
fn name(text: &str) -> String {
    text::clean(text, 255)
}
