//! `search_jenkins_jobs`: finds jobs in folders.

use std::{collections::VecDeque, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{builds::BuildView, read};
use crate::{
    Jenkins,
    client::{Call, Error},
    error::to_tool_error,
    names::JobName,
    wire::{self, Folder, FolderEntry},
};
use kit::args::{Limit, PageArgs};
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError};

/// Folders that one search looks into.
const MAX_FOLDERS: usize = 20;
/// Entries of one folder that are looked at.
const MAX_ENTRIES: usize = 500;

const SEARCH: ToolDeclaration = ToolDeclaration::read(
    "search_jenkins_jobs",
    "Find jobs",
    "Answers jobs and folders by name, with the state of their last build. It looks into folders down to depth, 20 of them \
     at most: name a folder to look deeper. Multibranch jobs are folders, and their branches jobs in them.",
);

/// Arguments of `search_jenkins_jobs`.
#[derive(Deserialize, JsonSchema)]
struct SearchInput {
    /// Part of the full name, without regard to case; `*` stands for anything. Left out, every job.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pattern: Option<String>,
    /// Full name of the folder to look into. Left out, the top.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1000))]
    folder: Option<String>,
    /// How deep to look: 1 is the folder itself.
    #[serde(default)]
    depth: Limit<2, 5>,
    /// Only jobs in this state.
    #[serde(default)]
    status: Option<JobStatus>,
    #[serde(flatten)]
    page: PageArgs<50, 200>,
}

/// How a job does.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum JobStatus {
    /// The last build succeeded.
    Success,
    /// The last build failed.
    Failed,
    /// The last build was unstable, as with failing tests.
    Unstable,
    /// The last build was aborted.
    Aborted,
    /// Nothing was built yet.
    NotBuilt,
    /// It can't be built until somebody enables it.
    Disabled,
    /// A build runs.
    Running,
}

impl JobStatus {
    /// By the color of its ball (`hudson/model/BallColor.java`).
    pub(super) fn of(color: &str) -> Option<Self> {
        if color.ends_with("_anime") {
            return Some(Self::Running);
        }
        Some(match color {
            "blue" | "green" => Self::Success,
            "red" => Self::Failed,
            "yellow" => Self::Unstable,
            "aborted" => Self::Aborted,
            "notbuilt" | "nobuilt" | "grey" => Self::NotBuilt,
            "disabled" => Self::Disabled,
            _ => return None,
        })
    }
}

/// A job, or a folder.
#[derive(Serialize, JsonSchema)]
struct JobView {
    /// Full name.
    name: String,
    /// Whether it is a folder, which is not built itself.
    folder: bool,
    /// How it does; absent for a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<JobStatus>,
    /// The last build.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_build: Option<BuildView>,
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![read(jenkins, SEARCH, search)]
}

async fn search(jenkins: Arc<Jenkins>, input: SearchInput, context: CallContext) -> Result<Page<JobView>, ToolError> {
    let depth = input.depth.get();
    let top = input.folder.as_deref().map(|folder| JobName::parse(folder, "folder")).transpose()?;
    let pattern = input.pattern.as_deref().map(str::to_lowercase);
    let mut left = VecDeque::from([(top, 1)]);
    let (mut found, mut looked, mut hints) = (Vec::new(), 0, Vec::new());
    while let Some((folder, level)) = left.pop_front() {
        if looked == MAX_FOLDERS {
            hints.push(format!("it looked into {MAX_FOLDERS} folders and left others out: name one as folder"));
            break;
        }
        let entries = match fetch_folder(&jenkins, folder.as_ref(), &context).await {
            // A folder below the first may have gone meanwhile, or may not be seen.
            Err(Error::NotFound | Error::Forbidden(_)) if looked > 0 => Vec::new(),
            Err(Error::NotFound) if folder.is_some() => {
                let folder = folder.as_ref().map(ToString::to_string).unwrap_or_default();
                let missing = jenkins.no_such_job(&JobName::parse(&folder, "folder")?, &context).await;
                return Err(missing.with_argument("folder"));
            }
            outcome => outcome.map_err(|error| to_tool_error(error, "search for jobs"))?,
        };
        looked += 1;
        if entries.len() == MAX_ENTRIES {
            hints.push(format!("of a folder only the first {MAX_ENTRIES} entries were looked at"));
        }
        for entry in entries {
            let is_folder = entry.color.is_none();
            if is_folder && level < depth {
                left.push_back((JobName::parse(&entry.full_name, "folder").ok(), level + 1));
            }
            let status = entry.color.as_deref().and_then(JobStatus::of);
            let fits = input.status.is_none_or(|wanted| status == Some(wanted))
                && pattern.as_ref().is_none_or(|pattern| matches(pattern, &entry.full_name.to_lowercase()));
            if fits {
                let last_build = entry.last_build.as_ref().map(BuildView::of);
                found.push(JobView { name: entry.full_name, folder: is_folder, status, last_build });
            }
        }
    }
    let mut page = input.page.cut(found, |job| job.name.as_str())?;
    if page.items.is_empty() {
        hints.push("nothing was found: look deeper with depth, in another folder, or for less of the name".to_owned());
    }
    page.hints = hints;
    Ok(page)
}

async fn fetch_folder(
    jenkins: &Jenkins,
    folder: Option<&JobName>,
    context: &CallContext,
) -> Result<Vec<FolderEntry>, Error> {
    let tree = format!("jobs[name,fullName,color,lastBuild[{}]]{{0,{MAX_ENTRIES}}}", wire::SUMMARY);
    let path = folder.map(JobName::segments).unwrap_or_default();
    Ok(jenkins.object::<Folder>(&Call::json(path, &tree), context).await?.jobs)
}

/// Whether a name holds a pattern; both are in lower case.
fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = name;
    pattern.split('*').filter(|part| !part.is_empty()).all(|part| match rest.find(part) {
        Some(at) => {
            rest = rest.get(at + part.len()..).unwrap_or_default();
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_is_a_part_of_the_name() {
        for (pattern, name, expected) in [
            ("web", "team/web", true),
            ("team/*-api", "team/shop-api", true),
            ("*", "a", true),
            ("a*a", "a", false),
            ("api*team", "team/api", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
