//! `rollback_argocd_app`: goes back to an earlier deployment.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{
    AppArgs,
    app::NO_HISTORY,
    mutation,
    state::SourceView,
    sync::{self, Started},
};
use crate::{
    ArgoCd,
    error::auto_sync,
    wire::{Application, Deployment, are_same, revisions},
};
use kit::args::WaitSeconds;
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

const ROLLBACK: ToolDeclaration = ToolDeclaration::destroy(
    "rollback_argocd_app",
    "Roll an application back",
    "Goes back to an earlier deployment, named by its id of list_argocd_app_history. Impossible while auto-sync is on: \
     Git decides then. expected_revision guards against a mistaken id. Git stays as it is, so the application is \
     OutOfSync afterwards.",
);

/// Arguments of `rollback_argocd_app`.
#[derive(Deserialize, JsonSchema)]
struct RollbackInput {
    #[serde(flatten)]
    app: AppArgs,
    /// Id of the deployment, as list_argocd_app_history answers it. 0 is the first one, not the one before.
    #[schemars(range(min = 0))]
    history_id: i64,
    /// Revision that this deployment must have: a chart's version in full, of a commit 7 characters at least.
    #[serde(default)]
    #[schemars(length(min = 1, max = 253))]
    expected_revision: Option<String>,
    /// Whether what that deployment does not name is deleted.
    #[serde(default)]
    prune: bool,
    /// Whether it is only tried: nothing is applied.
    #[serde(default)]
    dry_run: bool,
    /// Seconds to wait for the end. Left out, 0; for a dry run 20. Never longer than the call may take.
    #[serde(default)]
    wait_seconds: Option<WaitSeconds<0, 120>>,
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![mutation(argocd, ROLLBACK, preview, rollback)]
}

impl RollbackInput {
    /// Finds the deployment, and says no where a rollback is impossible or is not what was meant.
    fn check<'a>(&self, app: &'a Application) -> Result<&'a Deployment, ToolError> {
        let Some(deployment) = app.status.history.iter().find(|one| one.id == self.history_id) else {
            let ids = app.status.history.iter().rev().take(20).map(|one| one.id.to_string()).collect::<Vec<_>>();
            let message = format!("the application has no deployment with the id {}", self.history_id);
            let remedy = if ids.is_empty() {
                NO_HISTORY.to_owned()
            } else {
                format!("the history has the ids {}, the newest first", ids.join(", "))
            };
            return Err(ToolError::invalid_argument(message).with_argument("history_id").with_remedy(remedy));
        };
        if let Some(expected) = &self.expected_revision {
            let mut revisions = std::iter::once(&deployment.revision).chain(deployment.revisions.iter());
            if !revisions.any(|revision| is_meant(expected, revision)) {
                let message = format!("the deployment {} has another revision than expected_revision", deployment.id);
                return Err(ToolError::new(ErrorCode::Conflict, message)
                    .with_argument("expected_revision")
                    .with_remedy("list_argocd_app_history tells which id has which revision"));
            }
        }
        if deployment.source.repo_url.is_empty() && deployment.sources.is_empty() {
            let message = format!("Argo CD has not written down where the deployment {} came from", deployment.id);
            return Err(ToolError::new(ErrorCode::Conflict, message)
                .with_argument("history_id")
                .with_remedy("it refuses to go back to such a one: sync to its revision with sync_argocd_app"));
        }
        if app.spec.automated().is_some() {
            return Err(auto_sync("roll back"));
        }
        sync::ready(app)?;
        Ok(deployment)
    }
}

/// Whether a revision is the one that a caller names. Only commits (SHA-1, SHA-256) may be cut: 1.10.10 is another version of a chart
/// than 1.10.100.
fn is_meant(expected: &str, revision: &str) -> bool {
    let is_commit = matches!(revision.len(), 40 | 64) && is_hex(revision);
    let is_start = || {
        expected.len() >= 7 && revision.get(..expected.len()).is_some_and(|start| start.eq_ignore_ascii_case(expected))
    };
    !revision.is_empty() && (expected == revision || is_commit && is_start())
}

/// Whether it is a hexadecimal number, as commits are.
pub(super) fn is_hex(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_hexdigit())
}

fn revision(deployment: &Deployment) -> String {
    revisions(&deployment.revision, &deployment.revisions)
}

async fn preview(argocd: Arc<ArgoCd>, input: RollbackInput, context: CallContext) -> Result<Preview, ToolError> {
    let target = input.app.target(&argocd)?;
    let app = argocd.fetch_app(&target, &context).await?;
    let deployment = input.check(&app)?;
    sync::check_windows(&argocd, &target, &app, &context).await?;
    let revision = revision(deployment);
    let act = if input.dry_run { "apply nothing, and try to roll" } else { "roll" };
    let prune = if input.prune { ", and DELETE what it does not name" } else { "" };
    let at = deployment.deployed_at.as_deref().map(|at| format!(" of {at}")).unwrap_or_default();
    // A hydrated source is written down in another form.
    let differs = app.spec.source_hydrator.is_none() && !are_same(deployment.all_sources(), app.spec.all_sources());
    let were: Vec<_> = deployment.all_sources().iter().take(20).filter(|_| differs).map(SourceView::of).collect();
    let source = if differs { ", with the sources that it had then" } else { "" };
    let would = format!(
        "{act} {} back to the deployment {}{at}, revision {revision}{source}{prune}",
        app.metadata.name, deployment.id
    );
    let state = json!({
        "history_id": deployment.id,
        "to_revision": revision,
        "from_revision": revisions(&app.status.sync.revision, &app.status.sync.revisions),
        "newest_id": app.status.history.iter().map(|one| one.id).max(),
        "health": app.status.health.status,
        "other_sources": were,
    });
    Ok(Preview { would, state })
}

async fn rollback(argocd: Arc<ArgoCd>, input: RollbackInput, context: CallContext) -> Result<Started, ToolError> {
    let target = input.app.target(&argocd)?;
    let app = argocd.fetch_app(&target, &context).await?;
    let wanted = input.check(&app)?;
    sync::check_windows(&argocd, &target, &app, &context).await?;
    let body = json!({ "id": input.history_id, "prune": input.prune, "dryRun": input.dry_run });
    let call = target.post(&["rollback"], body);
    sync::start(&argocd, &target, &call, &app, "roll back the application", &context).await?;
    let wait = input
        .wait_seconds
        .map_or(if input.dry_run { Duration::from_secs(20) } else { Duration::ZERO }, WaitSeconds::seconds);
    let started = sync::finish(&argocd, &target, wait, input.dry_run, input.prune, &context).await?;
    let summary = format!("{}; it goes to the deployment {}, {}", started.summary, wanted.id, revision(wanted));
    Ok(Started { summary, ..started })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_commits_may_be_cut() {
        let commit = "4f6a1c2b7d8e9f00112233445566778899aabbcc";
        for (expected, revision, meant) in [
            ("4f6a1c2", commit, true),
            ("4F6A1C2B", commit, true),
            ("4f6a1c", commit, false),
            (commit, commit, true),
            ("1.4.2", "1.4.2", true),
            ("1.10.10", "1.10.100", false),
            ("sha256:4f6a1c2", "sha256:4f6a1c2b", false),
            ("", "", false),
        ] {
            assert_eq!(is_meant(expected, revision), meant, "{expected} {revision}");
        }
    }

    proptest! {
        #[test]
        fn a_version_stands_for_itself_only(one in "[0-9.a-z]{1,12}", other in "[0-9.a-z]{1,12}") {
            prop_assert_eq!(is_meant(&one, &other), one == other);
        }
    }
}
