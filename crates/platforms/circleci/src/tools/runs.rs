//! `list_circleci_runs`: the runs of a project.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_with::skip_serializing_none;

use super::{
    NO_FURTHER_PAGE, name, read,
    run::{VcsView, actor},
    time, word,
};
use crate::{
    CircleCi,
    client::{Api, Call, Error},
    ended::WHILE_IT_RUNS,
    error::{About, to_tool_error},
    locate::MAX_PAGES,
    names::Slug,
    status, text, v3,
    wire::{Items, Pipeline},
};
use kit::{
    args::{Cursor, Moment, PageArgs},
    pages::Pages,
};
use tools::{
    CallContext, ErrorCode, Page, ToolDeclaration, ToolEntry, ToolError,
    page::{encode_cursor, foreign_cursor},
};

/// Entries of a page of v3; more are refused.
const PAGE_OF_V3: usize = 20;
/// How far v3 is searched back if nobody says; it wants a beginning. The vendor's own command line takes the same.
const SEARCHED: SignedDuration = SignedDuration::from_hours(90 * 24);
const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_circleci_runs",
    "Runs of a project",
    "Lists a project's runs, the newest first, with branch, commit and, where CircleCI tells it here, their state and \
     number; get_circleci_pipeline_status tells more of one. Without from, CircleCI's cloud is searched 90 days back.",
)
.polled()
.shared(WHILE_IT_RUNS);

/// The state of a run, as CircleCI's search knows it.
#[derive(Deserialize, JsonSchema, strum::IntoStaticStr, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
enum RunStatus {
    Success,
    Failed,
    Error,
    Canceled,
    Unauthorized,
    NotRun,
    Running,
    Failing,
    OnHold,
    Queued,
}

/// Arguments of `list_circleci_runs`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// Slug of the project, such as `gh/acme/web`, or a link.
    #[schemars(length(min = 1, max = 2048))]
    project_slug: String,
    /// Only runs of this branch.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    branch: Option<String>,
    /// Only runs in this state. A CircleCI Server can't filter by it.
    #[serde(default)]
    status: Option<RunStatus>,
    /// Only runs from then on.
    #[serde(default)]
    from: Option<Moment>,
    /// Only runs until then.
    #[serde(default)]
    to: Option<Moment>,
    /// Only runs that the connector's own user started. Not together with branch or status.
    #[serde(default)]
    mine: bool,
    #[serde(flatten)]
    page: PageArgs<20, 100>,
}

/// A run in a list.
#[skip_serializing_none]
#[derive(PartialEq, Serialize, JsonSchema)]
struct RunSummary {
    /// Id: `pipeline_id` of the other tools.
    id: String,
    /// Number in the project, where CircleCI tells it.
    number: Option<u64>,
    /// State, where CircleCI tells it in a list.
    status: Option<String>,
    /// Branch.
    branch: Option<String>,
    /// Tag.
    tag: Option<String>,
    /// Commit.
    revision: Option<String>,
    /// First line of the commit's message.
    commit_subject: Option<String>,
    /// Who started it, or made the commit.
    actor: Option<String>,
    /// When it was made (RFC 3339).
    created_at: Option<String>,
}

impl RunSummary {
    fn of_v3(run: &v3::Run) -> Self {
        let vcs = run.references.event.attributes.vcs.as_ref();
        let commit = vcs.and_then(|vcs| vcs.commit.as_ref());
        let text = |text: Option<&String>| text::optional(text.map(String::as_str), 255);
        Self {
            id: name(&run.id),
            number: None,
            status: Some(word(&run.status())),
            branch: text(vcs.and_then(|vcs| vcs.branch.as_ref())),
            tag: text(vcs.and_then(|vcs| vcs.tag.as_ref())),
            revision: text(vcs.and_then(|vcs| vcs.revision.as_ref())),
            commit_subject: text(commit.and_then(|commit| commit.subject.as_ref())),
            actor: text(commit.and_then(|commit| commit.author.as_ref()).and_then(|author| author.login.as_ref())),
            created_at: time(Some(&run.attributes.created_at)),
        }
    }

    fn of_v2(run: &Pipeline) -> Self {
        let VcsView { branch, tag, revision, commit_subject } = VcsView::of(run);
        Self {
            id: name(&run.id),
            number: Some(run.number),
            // What v2 says in a list is about the configuration only.
            status: Some(status::of_run(&run.state, !run.errors.is_empty(), &[]).word)
                .filter(|word| *word == "error")
                .map(str::to_owned),
            branch,
            tag,
            revision,
            commit_subject,
            actor: actor(run),
            created_at: time(Some(&run.created_at)),
        }
    }
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![read(circleci, LIST, list)]
}

async fn list(circleci: Arc<CircleCi>, input: ListInput, context: CallContext) -> Result<Page<RunSummary>, ToolError> {
    let limit = input.page.limit();
    let (slug, branch) = circleci.allowed_with_branch(&input.project_slug, input.branch.as_deref(), &context).await?;
    // That of a link is left out where none can be given.
    let branch = branch.filter(|_| !input.mine);
    if input.mine && (input.branch.is_some() || input.status.is_some()) {
        return Err(ToolError::invalid_argument("mine can't be combined with branch or status").with_argument("mine"));
    }
    let page = match circleci.api(&context).await? {
        // v3 has runs of one's own across all projects only.
        Api::V3 if !input.mine => search(&circleci, &input, (&slug, branch.as_deref()), limit, &context).await?,
        api => {
            if input.status.is_some() && api != Api::V3 {
                return Err(ToolError::invalid_argument("this CircleCI can't filter runs by their state")
                    .with_argument("status")
                    .with_remedy("leave status out; get_circleci_pipeline_status tells the state of one"));
            }
            walk(&circleci, &input, (&slug, branch.as_deref()), limit, &context).await?
        }
    };
    if !page.items.is_empty() {
        return Ok(page);
    }
    let hint = if page.truncated {
        "none of the runs that were read is of that time; there are older ones: go on with cursor"
    } else if input.page.cursor().is_some() {
        "no more run matches"
    } else if input.from.is_none() && !input.mine && circleci.session.known_api() == Some(Api::V3) {
        "no run of the 90 days before matches branch, status and to; branch is the whole name; from looks further back"
    } else {
        "no run matches branch, status, from and to; branch is the whole name"
    };
    Ok(page.with_hint(hint))
}

/// The time between which runs are wanted.
fn window(input: &ListInput) -> Result<(Option<Timestamp>, Option<Timestamp>), ToolError> {
    let now = Timestamp::now();
    let at = |name: &str, time: &Option<Moment>| time.as_ref().map(|time| time.resolve(name, now)).transpose();
    let (from, to) = (at("from", &input.from)?, at("to", &input.to)?);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(ToolError::invalid_argument("from must be before to").with_argument("from"));
    }
    Ok((from, to))
}

/// With the search of v3, which filters by itself.
async fn search(
    circleci: &CircleCi,
    input: &ListInput,
    (slug, branch): (&Slug, Option<&str>),
    limit: usize,
    context: &CallContext,
) -> Result<Page<RunSummary>, ToolError> {
    let (from, to) = window(input)?;
    let to = to.unwrap_or_else(Timestamp::now);
    let from = from.or_else(|| to.checked_sub(SEARCHED).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut filter = Vec::new();
    if let Some(branch) = branch {
        if branch.contains(['"', '\\']) || branch.chars().any(char::is_control) {
            return Err(ToolError::invalid_argument("no branch has such a name").with_argument("branch"));
        }
        filter.push(format!("pipeline.git.branch == \"{branch}\""));
    }
    if let Some(status) = input.status {
        filter.push(format!("pipeline.status == \"{}\"", <&str>::from(status)));
    }
    let project = circleci.fetch_project(slug, context).await?;
    let mut cursor = input.page.cursor().map(Cursor::key).transpose()?;
    let mut items: Pages<RunSummary> = Pages::default();
    for _ in 0..MAX_PAGES {
        let body = json!({
            "scope": { "project_ids": [project.id], "from": from.to_string(), "to": to.to_string() },
            "filter": filter.join(" and "),
            "page": { "cursor": cursor.clone().unwrap_or_default(), "limit": (limit - items.entries().len()).min(PAGE_OF_V3) },
        });
        let call = Call::post(Api::V3, ["runs", "search"], body).changes_nothing();
        let about = slug.to_string();
        let found = circleci.ask::<v3::List<v3::Run>>(&call, "search runs", About::Project(&about), context).await;
        let found = match found {
            Err(error) if !items.entries().is_empty() => {
                tracing::info!(code = ?error.code, "a further page could not be read");
                break;
            }
            // The project was just read.
            Err(error) if error.code == ErrorCode::NotFound && cursor.is_some() => {
                return Err(to_tool_error(&Error::Page, "search runs", About::Project(&about)).with_argument("cursor"));
            }
            found => found?,
        };
        cursor = found.page.next.filter(|next| !next.is_empty());
        let leads_back = !items.add(found.data.iter().map(RunSummary::of_v3).collect(), cursor.is_some());
        if leads_back {
            return Ok(Page {
                items: items.into_entries(),
                truncated: true,
                next_cursor: None,
                hints: vec![NO_FURTHER_PAGE.to_owned()],
            });
        }
        if cursor.is_none() || found.data.is_empty() || items.entries().len() >= limit {
            break;
        }
    }
    let items = items.into_entries();
    let truncated = cursor.is_some();
    Ok(Page { items, truncated, next_cursor: cursor.as_deref().map(encode_cursor), hints: Vec::new() })
}

/// Through the pages of v2, which knows the branch at most. A cursor says how many entries of which page were seen.
async fn walk(
    circleci: &CircleCi,
    input: &ListInput,
    (slug, branch): (&Slug, Option<&str>),
    limit: usize,
    context: &CallContext,
) -> Result<Page<RunSummary>, ToolError> {
    let (from, to) = window(input)?;
    let mut call =
        Call::of_project(Api::V2, "project", slug, if input.mine { &["pipeline", "mine"] } else { &["pipeline"] });
    call = call.maybe("branch", branch.as_ref());
    let (mut token, mut seen) = match input.page.cursor() {
        Some(cursor) => position(cursor)?,
        None => (String::new(), 0),
    };
    let (mut items, mut pages) = (Vec::new(), Pages::default());
    let mut next = None;
    'pages: for read in 0..MAX_PAGES {
        let page = call.clone().maybe("page-token", Some(&token).filter(|token| !token.is_empty()));
        let about = slug.to_string();
        let found = match circleci.ask::<Items<Pipeline>>(&page, "list runs", About::Project(&about), context).await {
            // Where it goes on is known still.
            Err(error) if read > 0 => {
                tracing::info!(code = ?error.code, "a further page could not be read");
                break;
            }
            Err(error) if error.code == ErrorCode::NotFound && !token.is_empty() => {
                return Err(to_tool_error(&Error::Page, "list runs", About::Project(&about)).with_argument("cursor"));
            }
            found => found?,
        };
        let goes_on = found.next_page_token.as_ref().is_some_and(|token| !token.is_empty());
        if !pages.add(found.items.iter().map(|run| run.id.clone()).collect(), goes_on) {
            return Ok(Page { items, truncated: true, next_cursor: None, hints: vec![NO_FURTHER_PAGE.to_owned()] });
        }
        let count = found.items.len();
        for (index, run) in found.items.iter().enumerate().skip(seen) {
            let at: Option<Timestamp> = run.created_at.parse().ok();
            if at.zip(from).is_some_and(|(at, from)| at < from) {
                // The newest come first, so nothing that is wanted follows.
                next = None;
                break 'pages;
            }
            if at.zip(to).is_none_or(|(at, to)| at <= to) {
                items.push(RunSummary::of_v2(run));
            }
            if items.len() == limit {
                next = if index + 1 < count {
                    Some(format!("{} {token}", index + 1))
                } else {
                    found.next_page_token.as_ref().map(|token| format!("0 {token}"))
                };
                break 'pages;
            }
        }
        // Where to go on if no more pages are read for this call.
        next = found.next_page_token.filter(|token| !token.is_empty()).map(|token| format!("0 {token}"));
        match next.as_deref().and_then(|next| next.strip_prefix("0 ")) {
            Some(following) => token = following.to_owned(),
            None => break,
        }
        seen = 0;
    }
    let truncated = next.is_some();
    Ok(Page { items, truncated, next_cursor: next.as_deref().map(encode_cursor), hints: Vec::new() })
}

fn position(cursor: &Cursor) -> Result<(String, usize), ToolError> {
    let key = cursor.key()?;
    let parts = key.split_once(' ').and_then(|(seen, token)| Some((token.to_owned(), seen.parse().ok()?)));
    parts.ok_or_else(foreign_cursor)
}
