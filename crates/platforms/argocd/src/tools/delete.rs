//! `delete_argocd_app`: deletes an application, with or without what it runs.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    AppArgs,
    app::maker,
    mutation,
    state::{failed_deletion, to_be_confirmed},
};
use crate::{
    ArgoCd,
    wire::{Application, Resource},
};
use tools::{CallContext, Preview, ToolDeclaration, ToolEntry, ToolError};

const DELETE: ToolDeclaration = ToolDeclaration::destroy(
    "delete_argocd_app",
    "Delete an application",
    "Deletes an application from Argo CD. With cascade, all that it runs is deleted, too; without, that stays and nobody \
     manages it any more. confirm_name must repeat the name.",
)
.idempotent()
.off_by_default();

/// Arguments of `delete_argocd_app`.
#[derive(Deserialize, JsonSchema)]
struct DeleteInput {
    #[serde(flatten)]
    app: AppArgs,
    /// Whether what the application runs is deleted with it.
    #[serde(default)]
    cascade: bool,
    /// The application's name once more, without its namespace.
    #[schemars(length(min = 1, max = 253))]
    confirm_name: String,
}

/// What was deleted.
#[derive(Serialize, JsonSchema)]
struct Deleted {
    /// Name of the application.
    app: String,
    /// Whether it was being deleted already, so that nothing was done.
    already: bool,
    /// Whether what it runs is deleted with it.
    cascade: bool,
    /// Number of resources that it managed.
    resources: usize,
    /// What must come before it ends, or goes with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![mutation(argocd, DELETE, preview, delete)]
}

impl DeleteInput {
    fn check(&self, argocd: &ArgoCd) -> Result<(), ToolError> {
        if self.confirm_name == self.app.target(argocd)?.name {
            return Ok(());
        }
        Err(ToolError::invalid_argument("confirm_name does not repeat the application's name")
            .with_argument("confirm_name"))
    }
}

/// Whether a resource stays that belongs to an application which is deleted with what it runs (`shouldBeDeleted` in
/// `controller/appcontroller.go`, v3.5.1).
fn stays(resource: &Resource) -> bool {
    resource.group == "apiextensions.k8s.io" && resource.kind == "CustomResourceDefinition"
}

/// What is said of hooks of an application that is deleted without what it runs.
fn hooks(app: &Application, cascade: bool) -> Option<&'static str> {
    let run = "its PreDelete and PostDelete hooks run all the same, and may delete what would stay";
    (!cascade && app.has_delete_hooks()).then_some(run)
}

async fn preview(argocd: Arc<ArgoCd>, input: DeleteInput, context: CallContext) -> Result<Preview, ToolError> {
    input.check(&argocd)?;
    let app = argocd.fetch_app(&input.app.target(&argocd)?, &context).await?;
    let count = app.status.resources.len();
    let what = if input.cascade {
        let stay = app.status.resources.iter().filter(|one| stays(one)).count();
        let stays = if stay > 0 { format!("; {stay} custom resource definitions stay") } else { String::new() };
        // Of a resource's annotations the application tells nothing.
        format!(
            "and DELETE the {} resources that it manages, but for what Delete=false or Helm's resource policy keeps{stays}",
            count.saturating_sub(stay)
        )
    } else {
        format!("and leave the {count} resources that it manages where they are")
    };
    let again = maker(&app).map(|maker| format!("; {maker} would make it again")).unwrap_or_default();
    let hooks = hooks(&app, input.cascade).map(|hooks| format!("; {hooks}")).unwrap_or_default();
    let confirmed = to_be_confirmed(app.status.resources.iter().filter(|_| input.cascade));
    let confirmed = confirmed.map(|what| format!("; before it ends, {what}")).unwrap_or_default();
    let would = format!("delete the application {} {what}{confirmed}{hooks}{again}", app.metadata.name);
    let state = json!({
        "resources": count,
        "health": app.status.health.status,
        "being_deleted": app.metadata.deletion_timestamp.is_some(),
    });
    Ok(Preview { would, state })
}

async fn delete(argocd: Arc<ArgoCd>, input: DeleteInput, context: CallContext) -> Result<Deleted, ToolError> {
    input.check(&argocd)?;
    let target = input.app.target(&argocd)?;
    let app = argocd.fetch_app(&target, &context).await?;
    let already = app.metadata.deletion_timestamp.is_some();
    if !already {
        let call = target.delete(&[]).query("cascade", &input.cascade);
        let right = "applications, delete";
        let _: serde::de::IgnoredAny = argocd.ask(&target, &call, "delete the application", right, &context).await?;
    }
    let resources = app.status.resources.len();
    // What was begun before goes on as it was begun.
    let cascade = if already { app.is_cascading() } else { input.cascade };
    let confirmed = to_be_confirmed(app.status.resources.iter().filter(|_| cascade));
    let hooks = hooks(&app, cascade).map(ToOwned::to_owned);
    let hints = [failed_deletion(&app).filter(|_| already), confirmed, hooks].into_iter().flatten().collect();
    Ok(Deleted { app: app.metadata.name, already, cascade, resources, hints })
}
