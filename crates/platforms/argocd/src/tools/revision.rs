//! `get_argocd_revision_metadata` and `get_argocd_sync_windows`: who made a revision, and when syncs are permitted.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{AppArgs, read};
use crate::{
    ArgoCd,
    client::Call,
    text,
    windows::{Concerning, concerning, why_closed},
    wire::{self, Application, Project, Source},
};
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError};

/// Sync windows of one answer.
const MAX_WINDOWS: usize = 50;

const REVISION: ToolDeclaration = ToolDeclaration::read(
    "get_argocd_revision_metadata",
    "Who made a revision",
    "Answers author, time, tags, message and signature of a commit that an application was, or could be, synced to; of a \
     chart's or an OCI artifact's version, what its publisher says of it.",
);

const WINDOWS: ToolDeclaration = ToolDeclaration::read(
    "get_argocd_sync_windows",
    "When syncs are permitted",
    "Answers whether the application may be synced by hand now, and if not until when; and the sync \
     windows of its project that concern it.",
);

/// Arguments of `get_argocd_revision_metadata`.
#[derive(Deserialize, JsonSchema)]
struct RevisionInput {
    #[serde(flatten)]
    app: AppArgs,
    /// The commit or version, as get_argocd_app_status or list_argocd_app_history answers it.
    #[schemars(length(min = 1, max = 253))]
    revision: String,
    /// Which source the revision is of, in an application with several: from 0. Left out, the one that has it.
    #[serde(default)]
    #[schemars(range(max = 100))]
    source_index: Option<u32>,
}

/// Arguments of `get_argocd_sync_windows`.
#[derive(Deserialize, JsonSchema)]
struct WindowsInput {
    #[serde(flatten)]
    app: AppArgs,
}

/// Who made a revision.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct RevisionView {
    /// The revision.
    revision: String,
    /// What it is of: `git`, `chart` or `oci`.
    of: &'static str,
    /// Who wrote it: name, and usually e-mail address.
    author: Option<String>,
    /// When (RFC 3339).
    date: Option<String>,
    /// The message, cut to 500 characters.
    message: Option<String>,
    /// Tags that point at it: 20 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// What is known of its signature, if the project demands one.
    signature: Option<String>,
    /// What a chart or an artifact is, by its publisher's words.
    description: Option<String>,
    /// Page of the chart, or source of the artifact.
    home: Option<String>,
    /// What to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// What a source is, which decides where Argo CD tells of a revision.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Git,
    Chart,
    Oci,
}

impl Of {
    fn source(source: &Source) -> Self {
        if !source.chart.is_empty() {
            Self::Chart
        } else if source.repo_url.starts_with("oci://") {
            Self::Oci
        } else {
            Self::Git
        }
    }
}

/// When syncs are permitted.
#[derive(Serialize, JsonSchema)]
struct Permission {
    /// Whether the application may be synced by hand now.
    can_sync: bool,
    /// If not: which window forbids it, and until when, or when the next one opens that permits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
    /// The windows that concern it: 50 at most.
    windows: Vec<Window>,
    /// Whether windows were left out.
    truncated: bool,
    /// What isn't known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A sync window.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct Window {
    /// `allow` or `deny`.
    kind: String,
    /// When it opens: cron, with five fields.
    schedule: String,
    /// For how long, such as `1h30m`.
    duration: String,
    /// Time zone of the schedule; absent for UTC, and where Argo CD doesn't say.
    time_zone: Option<String>,
    /// Whether syncs by hand are permitted where it would forbid them.
    manual_sync: bool,
    /// Whether it is open now; absent where that isn't known.
    active: Option<bool>,
    /// Names of applications that it concerns, as patterns. These and the next two are absent where Argo CD doesn't say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    applications: Vec<String>,
    /// Namespaces that it concerns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<String>,
    /// Clusters that it concerns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clusters: Vec<String>,
    /// Whether it concerns only what all three name, instead of what one of them names.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    all_must_match: bool,
    /// What it is for.
    description: Option<String>,
}

impl Window {
    pub(super) fn of(window: &wire::SyncWindow, active: Option<bool>) -> Self {
        let some = |all: &[String]| all.iter().take(MAX_WINDOWS).map(|one| text::clean(one)).collect();
        Self {
            kind: text::clean(&window.kind),
            schedule: text::clean(&window.schedule),
            duration: text::clean(&window.duration),
            time_zone: text::optional(&window.time_zone),
            manual_sync: window.manual_sync,
            active,
            applications: some(&window.applications),
            namespaces: some(&window.namespaces),
            clusters: some(&window.clusters),
            all_must_match: window.and_operator,
            description: text::optional(&window.description),
        }
    }
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![read(argocd, REVISION, revision), read(argocd, WINDOWS, windows)]
}

async fn revision(argocd: Arc<ArgoCd>, input: RevisionInput, context: CallContext) -> Result<RevisionView, ToolError> {
    let target = input.app.target(&argocd)?;
    if input.revision.contains('/') {
        let message = "Argo CD can't be asked for a revision whose name holds a slash";
        return Err(ToolError::invalid_argument(message).with_argument("revision").with_remedy(
            "give the commit instead: get_argocd_app_status and list_argocd_app_history answer those of the application",
        ));
    }
    let app = argocd.fetch_app(&target, &context).await?;
    let Whence { of, index, deployment } = source_of(&app, &input.revision, input.source_index)?;
    let path = |last: &str| {
        target
            .get(&["revisions", &input.revision, last])
            .maybe("sourceIndex", index.as_ref())
            .maybe("versionId", deployment.as_ref())
    };
    let (doing, right) = ("read a revision of", "applications, get");
    let empty = RevisionView {
        revision: input.revision.clone(),
        of: "git",
        author: None,
        date: None,
        message: None,
        tags: Vec::new(),
        signature: None,
        description: None,
        home: None,
        hints: Vec::new(),
    };
    Ok(match of {
        Of::Git => {
            let found: wire::Revision = argocd.ask(&target, &path("metadata"), doing, right, &context).await?;
            RevisionView {
                author: text::optional(&found.author),
                date: found.date,
                message: text::optional(&found.message),
                tags: found.tags.iter().take(20).map(|tag| text::clean(tag)).collect(),
                signature: text::optional(&found.signature_info),
                ..empty
            }
        }
        Of::Chart => {
            let found: wire::ChartDetails = argocd.ask(&target, &path("chartdetails"), doing, right, &context).await?;
            let maintainers: Vec<_> = found.maintainers.iter().take(10).map(|one| text::clean(one)).collect();
            RevisionView {
                of: "chart",
                author: Some(maintainers.join(", ")).filter(|all| !all.is_empty()),
                description: text::optional(&found.description),
                home: text::optional(&found.home),
                hints: vec!["a chart's version has no commit: author names the chart's maintainers".to_owned()],
                ..empty
            }
        }
        Of::Oci => {
            let found: wire::OciMetadata = argocd.ask(&target, &path("ocimetadata"), doing, right, &context).await?;
            RevisionView {
                of: "oci",
                author: text::optional(&found.authors),
                date: text::optional(&found.created_at),
                tags: text::optional(&found.version).into_iter().collect(),
                description: text::optional(&found.description),
                home: text::optional(&found.source_url).or_else(|| text::optional(&found.docs_url)),
                ..empty
            }
        }
    })
}

/// The source that a revision is of, and how Argo CD is told which it is.
struct Whence {
    of: Of,
    /// Its number, of several.
    index: Option<u32>,
    /// The deployment whose sources are meant, where the application's own are others now (backstage/community-plugins#5045).
    deployment: Option<i64>,
}

/// Which source a revision is of: of several, the one that has or had this revision.
fn source_of(app: &Application, revision: &str, stated: Option<u32>) -> Result<Whence, ToolError> {
    let plain = |of| Whence { of, index: stated, deployment: None };
    if app.spec.source_hydrator.is_some() {
        return Ok(plain(Of::Git));
    }
    let sources = app.spec.all_sources();
    let at = |one: &str, many: &[String]| match many.iter().position(|known| known == revision) {
        Some(at) => Some(at),
        None => (one == revision).then_some(0),
    };
    let stated_index = stated.and_then(|index| usize::try_from(index).ok());
    let now = at(&app.status.sync.revision, &app.status.sync.revisions);
    let then = || app.status.history.iter().rev().find_map(|one| Some((one, at(&one.revision, &one.revisions)?)));
    let past = if now.is_some() { None } else { then() };
    let index = stated_index.or(now).or(past.map(|(_, at)| at)).unwrap_or_default();
    let source = sources.get(index);
    let told = |count: usize| if count > 1 { u32::try_from(index).ok() } else { stated };
    if let Some((deployment, _)) = past {
        let were = deployment.all_sources();
        let is_same = |was: &Source| source.is_some_and(|is| (&is.repo_url, &is.chart) == (&was.repo_url, &was.chart));
        if let Some(was) = were.get(index).filter(|was| !was.repo_url.is_empty() && !is_same(was)) {
            return Ok(Whence { of: Of::source(was), index: told(were.len()), deployment: Some(deployment.id) });
        }
    }
    match (source, stated) {
        (Some(source), _) => Ok(Whence { of: Of::source(source), index: told(sources.len()), deployment: None }),
        (None, Some(_)) => {
            let message = format!("the application has {} sources, counted from 0", sources.len());
            Err(ToolError::invalid_argument(message).with_argument("source_index"))
        }
        (None, None) => Ok(plain(Of::Git)),
    }
}

async fn windows(argocd: Arc<ArgoCd>, input: WindowsInput, context: CallContext) -> Result<Permission, ToolError> {
    let target = input.app.target(&argocd)?;
    let call = target.get(&["syncwindows"]);
    let found: wire::SyncWindows =
        argocd.ask(&target, &call, "read the sync windows of", "applications, get", &context).await?;
    // Only the project knows time zones, and what else a window concerns.
    let now = Timestamp::now();
    let mut known = concerning(&found, None, now);
    if !found.can_sync || !known.is_empty() {
        let project = match &target.project {
            Some(project) => Some(project.clone()),
            None => argocd.look(&target, &context).await.ok().map(|app| app.spec.project().to_owned()),
        };
        if let Some(project) = project {
            known = argocd.concerning(&found, &project, &context).await;
        }
    }
    let unknown = known.iter().filter(|one| !one.knows_zone).count();
    let hints = (unknown > 0).then(|| {
        format!("of {unknown} windows neither the time zone is known nor what else they concern: the project couldn't be read, or doesn't say which of its windows they are")
    });
    let why_not = (!found.can_sync).then(|| why_closed(&known, now));
    let windows: Vec<_> = known.iter().take(MAX_WINDOWS).map(|one| Window::of(&one.window, one.active)).collect();
    let truncated = windows.len() < known.len();
    Ok(Permission { can_sync: found.can_sync, why_not, windows, truncated, hints: hints.into_iter().collect() })
}

impl ArgoCd {
    /// The windows of an application, with what its project says of them. That may be one that the account may not read; then it
    /// isn't known.
    pub(super) async fn concerning(
        &self,
        windows: &wire::SyncWindows,
        project: &str,
        context: &CallContext,
    ) -> Vec<Concerning> {
        let own = self.session.call::<Project>(&Call::get(["projects", project]), context.deadline).await;
        let global = self.global_projects(project, context).await;
        let all = own.and_then(|own| Ok(std::iter::once(own).chain(global?)));
        let all = all.map(|all| all.flat_map(|one| one.spec.sync_windows.0).collect::<Vec<_>>());
        concerning(windows, all.as_deref().ok(), Timestamp::now())
    }
}
