//! `list_argocd_apps`: the applications, with the filters that Argo CD really has and those that it lacks.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{failed, read, state::SourceView};
use crate::{
    ArgoCd,
    client::Call,
    wire::{Application, Items},
};
use kit::args::PageArgs;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError};

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_argocd_apps",
    "Applications",
    "Lists applications with their sync and health states, which are independent. Filters narrow it; all of them must \
     match. Argo CD answers only what the connector's account may see.",
)
.cached(Duration::from_secs(10));

/// What is asked for of each application. Argo CD before 3.5 knows `spec` only as a whole, and leaves out unknown
/// fields without a word (`pkg/apiclient/application/forwarder_overwrite.go`).
const FIELDS: &str = "items.metadata.name,items.metadata.namespace,items.spec,items.status.sync.status,\
                      items.status.health,items.status.operationState.phase";

/// Arguments of `list_argocd_apps`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// Only applications of this project.
    #[serde(default)]
    #[schemars(length(min = 1, max = 253))]
    project: Option<String>,
    /// Only applications that deploy to this namespace.
    #[serde(default)]
    #[schemars(length(min = 1, max = 63))]
    namespace: Option<String>,
    /// Only applications with this health.
    #[serde(default)]
    health_status: Option<HealthStatus>,
    /// Only applications with this sync state.
    #[serde(default)]
    sync_status: Option<SyncStatus>,
    /// Only applications whose labels match, as `team=payments,tier!=test`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1024))]
    selector: Option<String>,
    /// Only applications whose names hold this text.
    #[serde(default)]
    #[schemars(length(min = 1, max = 253))]
    name_contains: Option<String>,
    /// Only applications of this repository: its URL, as it stands in the application.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2048))]
    repo: Option<String>,
    /// Only `Application` objects of this namespace.
    #[serde(default)]
    #[schemars(length(min = 1, max = 63))]
    app_namespace: Option<String>,
    #[serde(flatten)]
    page: PageArgs<50, 500>,
}

/// A health state.
#[derive(Deserialize, JsonSchema, strum::IntoStaticStr, Clone, Copy)]
enum HealthStatus {
    Healthy,
    Progressing,
    Degraded,
    Suspended,
    Missing,
    Unknown,
}

/// A sync state.
#[derive(Deserialize, JsonSchema, strum::IntoStaticStr, Clone, Copy)]
enum SyncStatus {
    Synced,
    OutOfSync,
    Unknown,
}

/// An application in a list.
#[derive(Serialize, JsonSchema)]
struct AppSummary {
    /// Name.
    name: String,
    /// Namespace of the `Application` object: `app_namespace` of the other tools.
    namespace: String,
    /// Project.
    project: String,
    /// `Synced`, `OutOfSync` or `Unknown`.
    sync_status: String,
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`.
    health_status: String,
    /// Phase of the operation that runs or was the last: `Running`, `Terminating`, `Succeeded`, `Failed` or `Error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_phase: Option<String>,
    /// Namespace that it deploys to.
    #[serde(skip_serializing_if = "String::is_empty")]
    destination_namespace: String,
    /// Cluster that it deploys to: its name, or its address.
    #[serde(skip_serializing_if = "String::is_empty")]
    destination_cluster: String,
    /// Repository of the first source.
    repo_url: String,
    /// Revision of the first source that is followed.
    target_revision: String,
    /// Number of sources, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<usize>,
    /// Whether auto-sync is on.
    auto_sync: bool,
}

impl AppSummary {
    fn of(app: &Application) -> Self {
        let known = |status: &str| if status.is_empty() { "Unknown".to_owned() } else { status.to_owned() };
        let sources = app.spec.all_sources();
        let first = SourceView::of(&sources.first().cloned().unwrap_or_default());
        let destination = &app.spec.destination;
        let cluster = if destination.name.is_empty() { &destination.server } else { &destination.name };
        Self {
            name: app.metadata.name.clone(),
            namespace: app.metadata.namespace.clone(),
            project: app.spec.project().to_owned(),
            sync_status: known(&app.status.sync.status),
            health_status: known(&app.status.health.status),
            operation_phase: app.status.operation_state.as_ref().map(|state| state.phase.clone()),
            destination_namespace: destination.namespace.clone(),
            destination_cluster: cluster.clone(),
            repo_url: first.repo_url,
            target_revision: first.target_revision,
            sources: Some(sources.len()).filter(|count| *count > 1),
            auto_sync: app.spec.automated().is_some(),
        }
    }
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![read(argocd, LIST, list)]
}

async fn list(argocd: Arc<ArgoCd>, input: ListInput, context: CallContext) -> Result<Page<AppSummary>, ToolError> {
    let call = Call::get(["applications"])
        .query("fields", &FIELDS)
        .maybe("projects", input.project.as_ref())
        .maybe("selector", input.selector.as_ref())
        .maybe("repo", input.repo.as_ref())
        .maybe("appNamespace", input.app_namespace.as_ref());
    let found: Items<Application> =
        argocd.session.call(&call, context.deadline).await.map_err(failed("list applications", "applications, get"))?;
    let seen = found.items.len();
    let entries = found.items.iter().map(AppSummary::of).filter(|app| input.matches(app));
    let entries = entries.map(|app| (format!("{}/{}", app.name, app.namespace), app)).collect();
    let page = input.page.cut_keyed(entries)?;
    if !page.items.is_empty() {
        return Ok(page);
    }
    Ok(page.with_hint(if seen == 0 {
        "Argo CD answers none: project, selector, repo or app_namespace match nothing, or the connector's account may not \
         see what they match"
    } else {
        "there are applications, but none that match namespace, health_status, sync_status and name_contains"
    }))
}

impl ListInput {
    /// The filters that Argo CD doesn't have.
    fn matches(&self, app: &AppSummary) -> bool {
        let health = self.health_status.map(<&str>::from);
        let sync = self.sync_status.map(<&str>::from);
        self.namespace.as_ref().is_none_or(|namespace| *namespace == app.destination_namespace)
            && health.is_none_or(|health| health == app.health_status)
            && sync.is_none_or(|sync| sync == app.sync_status)
            && self.name_contains.as_ref().is_none_or(|part| app.name.contains(part))
    }
}
