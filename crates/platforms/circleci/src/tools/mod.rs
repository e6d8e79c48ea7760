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
use serde::{Deserialize, Serialize};

use super::{
    CircleCi,
    locate::{JobName, LEADS_BACK, RunName},
    text,
};
use kit::args::{Cursor, PageArgs};
use tools::{CallContext, Page, ToolEntry, ToolError, mutation, page::encode_cursor, read};

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
    /// Id of the run (a UUID), or a link to it, to its workflow or job. Give it, or project_slug and number.
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
    async fn name(&self, circleci: &CircleCi, context: &CallContext) -> Result<RunName, ToolError> {
        circleci.run_name(self.pipeline_id.as_deref(), self.project_slug.as_deref(), self.number, context).await
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
    async fn name(&self, circleci: &CircleCi, context: &CallContext) -> Result<JobName, ToolError> {
        circleci.job_name(self.job_id.as_deref(), self.project_slug.as_deref(), self.job_number, context).await
    }
}

/// Where a list goes on: at which page of CircleCI's the stretch begins that one call reads, and after which entry of it.
#[derive(Serialize, Deserialize, Default)]
struct Place {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

impl Place {
    fn of<const DEFAULT: usize, const MAX: usize>(wanted: &PageArgs<DEFAULT, MAX>) -> Result<Self, ToolError> {
        wanted.cursor().map_or_else(|| Ok(Self::default()), Cursor::value)
    }

    fn cursor(&self) -> String {
        encode_cursor(&serde_json::to_string(self).unwrap_or_default())
    }

    /// Cuts what was read from this place on to one page, by keys that are not part of the entries. `next` is where CircleCI
    /// goes on after what was read.
    fn page<T>(self, entries: Vec<(String, T)>, next: Option<String>, limit: usize) -> Page<T> {
        let mut entries = entries;
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        // Entries that are alike are told apart by their number.
        let mut number = 0_usize;
        let mut last = None;
        let numbered = entries.into_iter().map(|(key, entry)| {
            number = if last.as_ref() == Some(&key) { number + 1 } else { 0 };
            last = Some(key.clone());
            (format!("{key} {number:06}"), entry)
        });
        let mut rest = numbered.filter(|(key, _)| self.after.as_ref().is_none_or(|after| key > after));
        let (mut items, mut end) = (Vec::new(), None);
        for (key, entry) in rest.by_ref().take(limit) {
            items.push(entry);
            end = Some(key);
        }
        let going_on = match (rest.next(), next) {
            (Some(_), _) => Some(Self { at: self.at, after: end }),
            (None, Some(next)) if next == LEADS_BACK => {
                return Page { items, truncated: true, next_cursor: None, hints: vec![NO_FURTHER_PAGE.to_owned()] };
            }
            (None, Some(next)) => Some(Self { at: Some(next), after: None }),
            (None, None) => None,
        };
        let next_cursor = going_on.as_ref().map(Self::cursor);
        Page { items, truncated: next_cursor.is_some(), next_cursor, hints: Vec::new() }
    }
}

/// What is said of a list whose tokens lead back.
const NO_FURTHER_PAGE: &str = "CircleCI gives pages again that came already: what follows can't be read now";

/// What is said of a part that fits nothing of what was read, when there is more.
fn none_so_far(read: usize) -> String {
    format!("none in the {read} that were read; there are more: go on with cursor")
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Reads a list of so many stretches through, as a tool does.
    fn through(stretches: &[Vec<u8>], limit: usize) -> Vec<u8> {
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..1_000 {
            let wanted: PageArgs<50, 100> = serde_json::from_value(json!({ "cursor": cursor })).unwrap();
            let place = Place::of(&wanted).unwrap();
            let at: usize = place.at.as_ref().map_or(0, |at| at.parse().unwrap());
            let entries = stretches[at].iter().map(|entry| (format!("{entry:03}"), *entry)).collect();
            let next = (at + 1 < stretches.len()).then(|| (at + 1).to_string());
            let page = place.page(entries, next, limit);
            assert_eq!(page.truncated, page.next_cursor.is_some());
            seen.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return seen;
            }
        }
        panic!("it never ends");
    }

    proptest! {
        #[test]
        fn stretches_give_every_entry_once(
            stretches in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 1..5),
            limit in 1usize..9,
        ) {
            let expected: Vec<u8> = stretches
                .iter()
                .flat_map(|stretch| {
                    let mut sorted = stretch.clone();
                    sorted.sort_unstable();
                    sorted
                })
                .collect();
            prop_assert_eq!(through(&stretches, limit), expected);
        }
    }
}
