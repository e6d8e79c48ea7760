//! `get_argocd_revision_metadata` and `get_argocd_sync_windows`: who made a revision, and when syncs are permitted.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AppArgs, read};
use crate::{ArgoCd, client::Call, text, windows::why_closed, wire};
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError};

/// Sync windows of one answer.
const MAX_WINDOWS: usize = 50;

const REVISION: ToolDeclaration = ToolDeclaration::read(
    "get_argocd_revision_metadata",
    "Who made a revision",
    "Answers author, time, tags, message and signature of a commit that an application was, or could be, synced to.",
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
    /// The commit, as get_argocd_app_status or list_argocd_app_history answers it.
    #[schemars(length(min = 1, max = 253))]
    revision: String,
    /// Which source the revision is of, in an application with several: from 0.
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
#[derive(Serialize, JsonSchema)]
struct RevisionView {
    /// The revision.
    revision: String,
    /// Who wrote it: name, and usually e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    /// When (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    /// The message, cut to 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Tags that point at it: 20 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// What is known of its signature, if the project demands one.
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
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
}

/// A sync window.
#[derive(Serialize, JsonSchema)]
pub(super) struct Window {
    /// `allow` or `deny`.
    kind: String,
    /// When it opens: cron, with five fields.
    schedule: String,
    /// For how long, such as `1h30m`.
    duration: String,
    /// Time zone of the schedule; absent for UTC, and where Argo CD doesn't say.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// Whether syncs by hand are permitted where it would forbid them.
    manual_sync: bool,
    /// Whether it is open now; absent where that isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<bool>,
}

impl Window {
    pub(super) fn of(window: &wire::SyncWindow, active: Option<bool>) -> Self {
        Self {
            kind: text::clean(&window.kind),
            schedule: text::clean(&window.schedule),
            duration: text::clean(&window.duration),
            time_zone: text::optional(&window.time_zone),
            manual_sync: window.manual_sync,
            active,
        }
    }
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![read(argocd, REVISION, revision), read(argocd, WINDOWS, windows)]
}

async fn revision(argocd: Arc<ArgoCd>, input: RevisionInput, context: CallContext) -> Result<RevisionView, ToolError> {
    let target = input.app.target();
    let call =
        target.get(&["revisions", &input.revision, "metadata"]).maybe("sourceIndex", input.source_index.as_ref());
    let found: wire::Revision = argocd.ask(&target, &call, "read a revision of", "applications, get", &context).await?;
    Ok(RevisionView {
        revision: input.revision,
        author: text::optional(&found.author),
        date: found.date,
        message: text::optional(&found.message),
        tags: found.tags.iter().take(20).map(|tag| text::clean(tag)).collect(),
        signature: text::optional(&found.signature_info),
    })
}

async fn windows(argocd: Arc<ArgoCd>, input: WindowsInput, context: CallContext) -> Result<Permission, ToolError> {
    let target = input.app.target();
    let call = target.get(&["syncwindows"]);
    let found: wire::SyncWindows =
        argocd.ask(&target, &call, "read the sync windows of", "applications, get", &context).await?;
    let why_not = if found.can_sync {
        None
    } else {
        let project = match &target.project {
            Some(project) => project.clone(),
            None => argocd.fetch_app(&target, &context).await?.spec.project,
        };
        Some(argocd.why_closed(&found, &project, &context).await)
    };
    let assigned = found.assigned_windows.iter();
    let windows: Vec<_> =
        assigned.take(MAX_WINDOWS).map(|one| Window::of(one, Some(found.active_windows.contains(one)))).collect();
    let truncated = windows.len() < found.assigned_windows.len();
    Ok(Permission { can_sync: found.can_sync, why_not, truncated, windows })
}

impl ArgoCd {
    /// Which window of an application forbids a sync now, and until when. Its project, which alone knows the windows' time
    /// zones, may be one that the account may not read; then no time is told.
    pub(super) async fn why_closed(&self, windows: &wire::SyncWindows, project: &str, context: &CallContext) -> String {
        let read = self.session.call::<wire::Project>(&Call::get(["projects", project]), context.deadline).await;
        let of_project = read.as_ref().ok().map(|project| &*project.spec.sync_windows);
        why_closed(windows, of_project, Timestamp::now())
    }
}
