//! `search_jenkins_jobs`: finds jobs in folders.

use std::{collections::VecDeque, sync::Arc};

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{NOT_TOLD, builds::BuildView, read};
use crate::{
    Jenkins,
    client::{Call, Error},
    error::to_tool_error,
    names::JobName,
    wire::{self, Folder, FolderEntry},
};
use kit::{
    args::{Limit, PageArgs},
    links::Link,
    text,
    wait::latest,
};
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError, page::encode_cursor};

/// Requests of one search. A folder takes one, and one more for each so many entries.
const MAX_LOOKS: usize = 20;
/// Entries of a folder that one request asks for. Jenkins has ranges of lists (`org/kohsuke/stapler/export/Range.java`).
const MAX_ENTRIES: usize = 500;
/// Bytes of a place to go on at, so that a cursor can hold it.
const MAX_PLACE: usize = 9_000;

const SEARCH: ToolDeclaration = ToolDeclaration::read(
    "search_jenkins_jobs",
    "Find jobs",
    "Answers jobs and folders by name, with the state of their last build. It looks into folders down to depth, as far as \
     20 requests go; next_cursor goes on. Multibranch jobs are folders, and their branches jobs in them.",
);

/// Arguments of `search_jenkins_jobs`.
#[derive(Deserialize, JsonSchema)]
struct SearchInput {
    /// Part of the full name or the display name, without regard to case; `*` stands for anything. Left out, every job.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pattern: Option<String>,
    /// Full name of the folder to look into, or a link to it. Left out, the top.
    #[serde(default)]
    #[schemars(length(min = 1, max = 4000))]
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
    /// There is no build, or the last one has the result `NOT_BUILT`.
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
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct JobView {
    /// Full name.
    name: String,
    /// What people see in place of the name's last part, if it is another.
    display_name: Option<String>,
    /// Whether it is a folder, which is not built itself.
    folder: bool,
    /// How it does; absent for a folder.
    status: Option<JobStatus>,
    /// The last build.
    last_build: Option<BuildView>,
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![read(jenkins, SEARCH, search)]
}

/// Where a search goes on.
#[derive(Serialize, Deserialize)]
struct Place {
    /// Where its looks begin.
    from: VecDeque<Spot>,
    /// The last name that was answered of what these looks find.
    after: Option<String>,
}

/// A folder that is looked into: its full name (none is the top), how deep it is, and the entry to begin at.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
struct Spot(Option<String>, usize, usize);

/// What the looks of one call found.
#[derive(Default)]
struct Looks {
    found: Vec<JobView>,
    /// Folders, and entries of them.
    folders: usize,
    entries: usize,
    /// Whether there are folders below the depth.
    deeper: bool,
    hints: Vec<String>,
}

async fn search(jenkins: Arc<Jenkins>, input: SearchInput, context: CallContext) -> Result<Page<JobView>, ToolError> {
    let mut place = if let Some(cursor) = input.page.cursor() {
        cursor.value::<Place>()?
    } else {
        let mut top = None;
        if let Some(folder) = input.folder.as_deref() {
            top = Some(jenkins.fetch_written(folder, "folder", &context).await?.0.to_string());
        }
        Place { from: VecDeque::from([Spot(top, 1, 0)]), after: None }
    };
    let mut left = place.from.clone();
    let Looks { found, folders, entries, deeper, mut hints } = look(&jenkins, &input, &mut left, &context).await?;
    let mut page = Page::cut(
        found,
        |job| job.name.as_str(),
        place.after.as_deref().map(encode_cursor).as_deref(),
        input.page.limit(),
    )?;
    if page.truncated {
        place.after = page.items.last().map(|last| last.name.clone());
    } else if left.is_empty() {
        if page.items.is_empty() {
            hints.push(nothing(deeper));
        }
        page.hints = hints;
        return Ok(page);
    } else {
        let none = if page.items.is_empty() { "nothing was found so far; " } else { "" };
        hints.push(format!(
            "{none}{entries} entries of {folders} folders were looked at: next_cursor goes on with the rest"
        ));
        place = Place { from: left, after: None };
        let lost = shorten(&mut place);
        if lost > 0 {
            hints.push(format!("{lost} folders more are not looked into: name one as folder"));
        }
    }
    let written = serde_json::to_string(&place).map_err(|_| ToolError::internal("a cursor can't be written"))?;
    page.next_cursor = Some(encode_cursor(&written));
    page.truncated = true;
    page.hints = hints;
    Ok(page)
}

/// What is said where all was looked at that was to be.
fn nothing(deeper: bool) -> String {
    if deeper {
        "nothing was found down to this depth: look deeper with depth, into a folder, or for less of the name"
    } else {
        "nothing was found among all that the connector's user may see here: look for less of the name"
    }
    .to_owned()
}

/// Leaves out folders at the end until the place fits into a cursor, and says how many.
fn shorten(place: &mut Place) -> usize {
    let size = |Spot(folder, ..): &Spot| folder.as_ref().map_or(0, String::len) + 24;
    let mut room = MAX_PLACE;
    let fits = place.from.iter().take_while(|spot| {
        let fits = size(spot) <= room;
        room = room.saturating_sub(size(spot));
        fits
    });
    let kept = fits.count();
    let lost = place.from.len() - kept;
    place.from.truncate(kept);
    lost
}

/// Looks until all was looked at, or as much as one call does; what is left stays in `left`.
async fn look(
    jenkins: &Jenkins,
    input: &SearchInput,
    left: &mut VecDeque<Spot>,
    context: &CallContext,
) -> Result<Looks, ToolError> {
    jenkins.home.check(input.pattern.as_deref().unwrap_or_default(), "pattern")?;
    let pattern = input.pattern.as_deref().map(|pattern| match Link::read(pattern) {
        Some(_) => JobName::read(pattern, "pattern")
            .map(|written| written.names.into_iter().next_back().map(|name| name.to_string())),
        None => Ok(Some(pattern.trim().replace(" » ", "/"))),
    });
    let pattern = pattern.transpose()?.flatten().map(|pattern| pattern.to_lowercase());
    // What was found must still be answered.
    let looking = CallContext { deadline: latest(context), ..context.clone() };
    let mut looks = Looks::default();
    for looked in 0..MAX_LOOKS {
        let Some(spot) = left.pop_front() else { break };
        let Spot(name, level, from) = &spot;
        let folder = name.as_deref().map(|name| JobName::parse(name, "folder")).transpose()?;
        let entries = match fetch_folder(jenkins, folder.as_ref(), *from, &looking).await {
            Ok(entries) => entries,
            // A folder below the first may have gone meanwhile, or may not be seen.
            Err(Error::NotFound | Error::Forbidden(_)) if *level > 1 => continue,
            Err(Error::NotFound) if let Some(folder) = &folder => {
                return Err(jenkins.no_such_job(folder, context).await.with_argument("folder"));
            }
            Err(error) if looked == 0 => return Err(to_tool_error(error, "search for jobs")),
            Err(error) => {
                let worded = to_tool_error(error, "look into a folder");
                looks.hints.push(format!("{NOT_TOLD} what is in the rest: {}", worded.message));
                left.push_front(spot);
                break;
            }
        };
        looks.folders += usize::from(*from == 0);
        looks.entries += entries.len();
        if entries.len() >= MAX_ENTRIES {
            left.push_front(Spot(name.clone(), *level, from.saturating_add(MAX_ENTRIES)));
        }
        for entry in entries {
            let is_folder = entry.color.is_none();
            if is_folder && *level < input.depth.get() {
                left.push_back(Spot(Some(entry.full_name.clone()), level + 1, 0));
            }
            looks.deeper |= is_folder && *level >= input.depth.get();
            let status = entry.color.as_deref().and_then(JobStatus::of);
            let fits = input.status.is_none_or(|wanted| status == Some(wanted))
                && pattern.as_ref().is_none_or(|pattern| is_called(&entry, pattern));
            if fits {
                looks.found.push(JobView {
                    display_name: entry
                        .display_name
                        .as_deref()
                        .filter(|_| entry.has_another_name())
                        .and_then(text::optional),
                    last_build: entry.last_build.as_ref().map(BuildView::of),
                    name: entry.full_name,
                    folder: is_folder,
                    status,
                });
            }
        }
    }
    Ok(looks)
}

async fn fetch_folder(
    jenkins: &Jenkins,
    folder: Option<&JobName>,
    from: usize,
    context: &CallContext,
) -> Result<Vec<FolderEntry>, Error> {
    let to = from.saturating_add(MAX_ENTRIES);
    let tree = format!("jobs[name,fullName,displayName,color,lastBuild[{}]]{{{from},{to}}}", wire::SUMMARY);
    let path = folder.map(JobName::segments).unwrap_or_default();
    Ok(jenkins.object::<Folder>(&Call::json(path, &tree), context).await?.jobs)
}

impl FolderEntry {
    /// Its full name with that of a branch as people write it: `team/web/feature/login`.
    fn readable_name(&self) -> String {
        percent_decode_str(&self.full_name).decode_utf8_lossy().into_owned()
    }

    /// Whether people see something else than its name.
    fn has_another_name(&self) -> bool {
        let short = percent_decode_str(&self.name).decode_utf8_lossy();
        self.display_name.as_ref().is_some_and(|shown| *shown != self.name && *shown != short)
    }
}

/// Whether a job has a name that holds a pattern in lower case: its full name, the same as people write it, or what they see.
fn is_called(entry: &FolderEntry, pattern: &str) -> bool {
    let folder = entry.full_name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let shown = entry.display_name.as_ref().map(|shown| format!("{folder}/{shown}"));
    let names = [Some(entry.full_name.clone()), Some(entry.readable_name()), shown];
    names.iter().flatten().any(|name| matches(pattern, &name.to_lowercase()))
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
    use super::{MAX_PLACE, Place, Spot, matches, shorten};

    #[test]
    fn a_place_fits_into_a_cursor() {
        let from = (0..9_000).map(|number| Spot(Some(format!("team/folder {number}")), 2, 0)).collect();
        let mut place = Place { from, after: None };
        let lost = shorten(&mut place);
        assert_eq!(lost + place.from.len(), 9_000);
        assert!(place.from.len() > 100 && serde_json::to_string(&place).unwrap().len() <= MAX_PLACE + 40);
    }

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
