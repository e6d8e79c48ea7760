//! `set_argocd_auto_sync`: whether Git decides by itself.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    AppArgs,
    app::{AutoSync, maker},
    mutation,
};
use crate::{ArgoCd, client::Error, wire::Application};
use outbound::RequestError;
use tools::{CallContext, Preview, ToolDeclaration, ToolEntry, ToolError};

const SET: ToolDeclaration = ToolDeclaration::mutate(
    "set_argocd_auto_sync",
    "Switch auto-sync",
    "Switches auto-sync of an application on or off. Off is what a rollback needs, and loses its settings, which are \
     answered. An ApplicationSet or Git may switch it back.",
)
.idempotent()
.off_by_default();

/// Arguments of `set_argocd_auto_sync`.
#[derive(Deserialize, JsonSchema)]
struct SetInput {
    #[serde(flatten)]
    app: AppArgs,
    /// Whether auto-sync is on.
    enabled: bool,
    /// Whether it deletes what Git no longer names. Only with enabled; left out, as it is.
    #[serde(default)]
    prune: Option<bool>,
    /// Whether it undoes changes that were made in the cluster. Only with enabled; left out, as it is.
    #[serde(default)]
    self_heal: Option<bool>,
    /// Whether it may delete all where Git names nothing. Only with enabled; left out, as it is.
    #[serde(default)]
    allow_empty: Option<bool>,
}

/// Auto-sync before and after.
#[derive(Serialize, JsonSchema)]
struct Switched {
    /// Name of the application.
    app: String,
    /// How it was synced by itself; absent if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<AutoSync>,
    /// How it is synced by itself now; absent if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<AutoSync>,
    /// What to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![mutation(argocd, SET, preview, set)]
}

impl SetInput {
    /// What is wanted, where it isn't so already.
    fn wanted(&self, app: &Application) -> Result<Option<AutoSync>, ToolError> {
        if !self.enabled && [self.prune, self.self_heal, self.allow_empty].into_iter().any(|one| one.is_some()) {
            let message = "prune, self_heal and allow_empty mean nothing while auto-sync is off";
            return Err(ToolError::invalid_argument(message).with_argument("enabled"));
        }
        if app.metadata.deletion_timestamp.is_some() {
            return Err(super::to_tool_error(Error::Deleting, "", ""));
        }
        // Also of auto-sync that is off: `enabled` of 3.1 and later keeps them.
        let kept = app.spec.sync_policy.as_ref().and_then(|policy| policy.automated.as_ref());
        Ok(self.enabled.then(|| AutoSync {
            prune: self.prune.unwrap_or_else(|| kept.is_some_and(|kept| kept.prune)),
            self_heal: self.self_heal.unwrap_or_else(|| kept.is_some_and(|kept| kept.self_heal)),
            allow_empty: self.allow_empty.unwrap_or_else(|| kept.is_some_and(|kept| kept.allow_empty)),
        }))
    }
}

fn hints(app: &Application) -> Vec<String> {
    let undone = maker(app).map(|maker| format!("{maker} undoes changes to the application unless it is told not to"));
    undone.into_iter().collect()
}

/// As merge patch (RFC 7396). `automated` goes as a whole: servers before 3.1 don't know its field `enabled`, would drop
/// it, and leave auto-sync on.
fn patch(wanted: Option<AutoSync>) -> Value {
    let automated = wanted.map_or(Value::Null, |AutoSync { prune, self_heal, allow_empty }| {
        json!({ "prune": prune, "selfHeal": self_heal, "allowEmpty": allow_empty, "enabled": null })
    });
    json!({ "spec": { "syncPolicy": { "automated": automated } } })
}

async fn preview(argocd: Arc<ArgoCd>, input: SetInput, context: CallContext) -> Result<Preview, ToolError> {
    let app = argocd.fetch_app(&input.app.target(&argocd)?, &context).await?;
    let (now, wanted) = (AutoSync::of(&app), input.wanted(&app)?);
    let name = &app.metadata.name;
    let would = match (now == wanted, wanted) {
        (true, _) => format!("change nothing: auto-sync of {name} is so already"),
        (false, None) => format!("switch auto-sync of {name} off"),
        (false, Some(wanted)) => {
            format!("switch auto-sync of {name} on, with prune {} and self_heal {}", wanted.prune, wanted.self_heal)
        }
    };
    Ok(Preview { would, state: json!({ "auto_sync": now, "hints": hints(&app) }) })
}

async fn set(argocd: Arc<ArgoCd>, input: SetInput, context: CallContext) -> Result<Switched, ToolError> {
    let target = input.app.target(&argocd)?;
    let app = argocd.fetch_app(&target, &context).await?;
    let (before, wanted) = (AutoSync::of(&app), input.wanted(&app)?);
    let mut after = before;
    if before != wanted {
        let call = target.patch(json!({ "patch": patch(wanted).to_string(), "patchType": "merge" }));
        let right = "applications, update";
        let patched: Application = match argocd.session.object(&call, &target.name, context.deadline).await {
            Ok(patched) => patched,
            // Only an answer that says it was done is read.
            Err(error @ Error::Request(RequestError::Unreadable(_) | RequestError::NotJson)) => {
                return Err(super::to_tool_error(error, "", right).after_the_change());
            }
            Err(error) => return Err(argocd.explain(&target, error, "change the application", right, &context).await),
        };
        after = AutoSync::of(&patched);
    }
    Ok(Switched { app: app.metadata.name.clone(), before, after, hints: hints(&app) })
}
