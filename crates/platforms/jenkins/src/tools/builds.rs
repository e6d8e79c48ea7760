//! `list_jenkins_builds`: the newest builds of a job.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::read;
use crate::{
    Jenkins,
    client::{Call, Error},
    error::to_tool_error,
    wire::{self, BuildSummary, Builds},
};
use kit::{
    args::{Moment, PageArgs},
    text,
};
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError, page::encode_cursor, time};

/// Builds that Jenkins tells of at once: what `builds` of a job gives at most.
const NEWEST: usize = 100;

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_jenkins_builds",
    "Builds of a job",
    "Answers the newest builds of a job, the newest first: 100 can be listed. A build that runs has no result yet.",
);

/// Arguments of `list_jenkins_builds`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// Full name of the job, such as `folder/name`, or a link to it; with `/axis=value,axis=value` after it, one
    /// configuration of a matrix project.
    #[schemars(length(min = 1, max = 4000))]
    job: String,
    /// Only builds in this state.
    #[serde(default)]
    status: Option<BuildStatus>,
    /// Only builds that began at this time or later.
    #[serde(default)]
    since: Option<Moment>,
    #[serde(flatten)]
    page: PageArgs<20, NEWEST>,
}

/// How a build does, or did.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum BuildStatus {
    /// It runs.
    Running,
    /// It succeeded.
    Success,
    /// It ended, but not all is well, as with failing tests.
    Unstable,
    /// It failed.
    Failure,
    /// It was aborted.
    Aborted,
    /// It was not built.
    NotBuilt,
    /// Jenkins says something else.
    Unknown,
}

impl BuildStatus {
    /// By result (`hudson/model/Result.java`), of which a build that runs usually has none.
    pub(super) fn of(building: bool, result: Option<&str>) -> Self {
        match result {
            _ if building => Self::Running,
            Some("SUCCESS") => Self::Success,
            Some("UNSTABLE") => Self::Unstable,
            Some("FAILURE") => Self::Failure,
            Some("ABORTED") => Self::Aborted,
            Some("NOT_BUILT") => Self::NotBuilt,
            _ => Self::Unknown,
        }
    }
}

/// A build in short.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct BuildView {
    /// Its number.
    pub(super) number: u32,
    /// What people call it, such as a version, if that isn't its number.
    pub(super) name: Option<String>,
    /// How it does, or did.
    pub(super) status: BuildStatus,
    /// When it began (RFC 3339).
    pub(super) started: Option<String>,
    /// How long it took; absent while it runs.
    pub(super) duration_ms: Option<i64>,
}

impl BuildView {
    pub(super) fn of(build: &BuildSummary) -> Self {
        Self {
            number: build.number,
            name: another_name(build.display_name.as_deref(), build.number),
            status: BuildStatus::of(build.building, build.result.as_deref()),
            started: time::from_milliseconds(build.timestamp),
            duration_ms: known(build.duration).filter(|_| !build.building),
        }
    }
}

/// Milliseconds that something took, if they are known: where clocks differ, or something waited, Jenkins tells fewer than
/// none.
pub(super) fn known(milliseconds: i64) -> Option<i64> {
    Some(milliseconds).filter(|known| *known >= 0)
}

/// The name of a build that somebody gave it (`hudson/model/Run.java`, `getDisplayName`).
pub(super) fn another_name(shown: Option<&str>, number: u32) -> Option<String> {
    shown.filter(|shown| *shown != format!("#{number}")).and_then(text::optional)
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![read(jenkins, LIST, list)]
}

async fn list(jenkins: Arc<Jenkins>, input: ListInput, context: CallContext) -> Result<Page<BuildView>, ToolError> {
    let limit = input.page.limit();
    let job = jenkins.fetch_name(&input.job, &context).await?;
    let since = input.since.as_ref().map(|since| since.resolve("since", Timestamp::now())).transpose()?;
    let before: u32 = input.page.position()?;
    let call = Call::json(job.segments(), &format!("builds[{}]{{0,{NEWEST}}},nextBuildNumber", wire::SUMMARY));
    let there: Builds = match jenkins.object(&call, &context).await {
        Ok(there) => there,
        Err(Error::NotFound) => return Err(jenkins.no_such_job(&job, &context).await),
        Err(error) => return Err(to_tool_error(error, &format!("list the builds of {job}"))),
    };
    let full = there.all().len() == NEWEST;
    let mut matching = there
        .all()
        .iter()
        .filter(|build| before == 0 || build.number < before)
        .filter(|build| since.is_none_or(|since| build.timestamp >= since.as_millisecond()))
        .map(BuildView::of)
        .filter(|view| input.status.is_none_or(|wanted| view.status == wanted));
    let items: Vec<BuildView> = matching.by_ref().take(limit).collect();
    let truncated = matching.next().is_some();
    let next_cursor = items.last().filter(|_| truncated).map(|last| encode_cursor(&last.number.to_string()));
    let mut hints = Vec::new();
    if items.is_empty() {
        let none = if there.all().is_empty() { there.why_none() } else { "none of its builds here matches".to_owned() };
        hints.push(format!("{}: {none}", text::clean(job.as_str())));
    }
    if full && !truncated {
        hints.push(format!("only the newest {NEWEST} builds are listed; older ones can be asked for by number"));
    }
    Ok(Page { items, truncated, next_cursor, hints })
}
