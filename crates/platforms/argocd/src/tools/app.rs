//! `get_argocd_app_status`, `get_argocd_app_resources` and `list_argocd_app_history`: one application.

use std::{collections::HashMap, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    AppArgs, Target, read,
    state::{AppState, ResourceView, SourceView, applications_in, awaits, cluster_of, heals_in_vain, kept},
    tree,
};
use crate::{ArgoCd, text, wire};
use kit::args::PageArgs;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError, page::fit};

/// Resources that a status answers.
const MAX_RESOURCES: usize = 200;
/// Time for which an application's state is answered again.
const AGE: Duration = Duration::from_secs(2);

const STATUS: ToolDeclaration = ToolDeclaration::read(
    "get_argocd_app_status",
    "State of an application",
    "Answers how an application is: sync, health and the last operation, which say different things, with a verdict in \
     words; its sources, destination and auto-sync. include_resources adds what it manages.",
)
.cached(AGE)
.polled();

const RESOURCES: ToolDeclaration = ToolDeclaration::read(
    "get_argocd_app_resources",
    "Resources of an application",
    "Lists the resources that an application manages, with the sync and health state of each; for what these make in \
     turn (ReplicaSets, pods) use get_argocd_resource_tree.",
)
.cached(AGE);

const HISTORY: ToolDeclaration = ToolDeclaration::read(
    "list_argocd_app_history",
    "Deployments of an application",
    "Lists what was deployed, newest first, with the ids that rollback_argocd_app takes. Id 0 is the first deployment, \
     not the one before.",
)
.cached(AGE);

/// What an empty history says (`SyncAppState` and `persistRevisionHistory` in `controller`).
pub(super) const NO_HISTORY: &str = "Argo CD has written down no deployment: no sync of all resources has succeeded, or the spec's \
                                     revisionHistoryLimit is 0";

/// Arguments of `get_argocd_app_status`.
#[derive(Deserialize, JsonSchema)]
struct StatusInput {
    #[serde(flatten)]
    app: AppArgs,
    /// Whether the managed resources are answered, too: 200 at most.
    #[serde(default)]
    include_resources: bool,
}

/// Arguments of `get_argocd_app_resources`.
#[derive(Deserialize, JsonSchema)]
struct ResourcesInput {
    #[serde(flatten)]
    app: AppArgs,
    /// Only resources that are not what Git says.
    #[serde(default)]
    out_of_sync_only: bool,
    /// Only resources whose health is known and neither Healthy nor Suspended.
    #[serde(default)]
    unhealthy_only: bool,
    /// Only resources of this kind, such as `Deployment`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 63))]
    kind: Option<String>,
    #[serde(flatten)]
    page: PageArgs<100, 1_000>,
}

/// Arguments of `list_argocd_app_history`.
#[derive(Deserialize, JsonSchema)]
struct HistoryInput {
    #[serde(flatten)]
    app: AppArgs,
    #[serde(flatten)]
    page: PageArgs<20, 100>,
}

/// How an application is.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct Status {
    /// Name.
    name: String,
    /// Namespace of the `Application` object.
    namespace: String,
    /// Project.
    project: String,
    /// Its state.
    #[serde(flatten)]
    state: AppState,
    /// Where its manifests come from: one source, or several.
    sources: Vec<SourceView>,
    /// Namespace that it deploys to.
    #[serde(skip_serializing_if = "String::is_empty")]
    destination_namespace: String,
    /// Cluster that it deploys to: its name, or its address.
    destination_cluster: String,
    /// How it is synced by itself; absent if it is not.
    auto_sync: Option<AutoSync>,
    /// The `ApplicationSet` that makes it, and undoes changes to it.
    application_set: Option<String>,
    /// The application that it is a resource of, if that is told.
    parent_app: Option<String>,
    /// What it manages, if it was asked for.
    resources: Option<Vec<ResourceView>>,
    /// Whether resources were left out.
    truncated: bool,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// How an application is synced by itself.
#[derive(Serialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
pub(super) struct AutoSync {
    /// Whether it deletes what Git no longer names.
    pub(super) prune: bool,
    /// Whether it undoes changes that were made in the cluster.
    pub(super) self_heal: bool,
    /// Whether it may delete all where Git names nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) allow_empty: bool,
}

impl AutoSync {
    pub(super) fn of(app: &wire::Application) -> Option<Self> {
        let wire::Automated { prune, self_heal, allow_empty, .. } = *app.spec.automated()?;
        Some(Self { prune, self_heal, allow_empty })
    }
}

/// The `ApplicationSet` that an application belongs to.
pub(super) fn application_set(app: &wire::Application) -> Option<String> {
    app.metadata.owner_references.iter().find(|owner| owner.kind == "ApplicationSet").map(|owner| owner.name.clone())
}

/// What makes an application, and undoes what is done to it: an `ApplicationSet`, or an application that it is a
/// resource of.
pub(super) fn maker(app: &wire::Application) -> Option<String> {
    let set = application_set(app).map(|name| format!("the ApplicationSet {name:?}"));
    set.or_else(|| {
        app.parent().map(|name| format!("the application {:?}, if that is synced by itself,", text::clean(&name)))
    })
}

/// A deployment.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct Deployment {
    /// Id, as rollback_argocd_app takes it.
    id: i64,
    /// Revision that was deployed.
    revision: Option<String>,
    /// Revisions of the sources of an application that has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    revisions: Vec<String>,
    /// When it was done (RFC 3339).
    deployed_at: Option<String>,
    /// When it began (RFC 3339).
    deploy_started_at: Option<String>,
    /// Who began it: a user, or `auto-sync`.
    initiated_by: Option<String>,
    /// Where the manifests came from.
    sources: Vec<SourceView>,
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![read(argocd, STATUS, status), read(argocd, RESOURCES, resources), read(argocd, HISTORY, history)]
}

/// Puts health into resources that came without, where Argo CD keeps it elsewhere; says so if that can't be had.
async fn with_health(
    argocd: &ArgoCd,
    target: &Target,
    app: &mut wire::Application,
    context: &CallContext,
) -> Option<String> {
    let lacks = |one: &wire::Resource| one.health.as_ref().is_none_or(|health| health.status.is_empty());
    let resources = &mut app.status.resources.0;
    if app.status.resource_health_source != "appTree" || !resources.iter().all(lacks) || resources.is_empty() {
        return None;
    }
    let tree = match tree::fetch(argocd, target, context).await {
        Ok(tree) => tree,
        Err(error) => return Some(format!("the health of its resources is not known: {}", error.message)),
    };
    let known: HashMap<_, _> = tree
        .nodes
        .iter()
        .filter_map(|node| Some(((&node.group, &node.kind, &node.namespace, &node.name), node.judged()?)))
        .collect();
    for one in resources {
        one.health = known.get(&(&one.group, &one.kind, &one.namespace, &one.name)).cloned();
    }
    None
}

async fn status(argocd: Arc<ArgoCd>, input: StatusInput, context: CallContext) -> Result<Status, ToolError> {
    let target = input.app.target(&argocd)?;
    let mut app = argocd.fetch_app(&target, &context).await?;
    let unknown = if input.include_resources { with_health(&argocd, &target, &mut app, &context).await } else { None };
    let all: Vec<ResourceView> = app.status.resources.iter().map(ResourceView::of).collect();
    let count = all.len();
    let resources = input.include_resources.then(|| {
        let most: Vec<_> = all.into_iter().take(MAX_RESOURCES).collect();
        fit(most, context.max_result_bytes / 2).0
    });
    let truncated = resources.as_ref().is_some_and(|resources| resources.len() < count);
    let more = [awaits(&app), heals_in_vain(&app), kept(&app).map(|kept| kept.told), applications_in(&app)]
        .into_iter()
        .flatten();
    let mut hints: Vec<String> = unknown.into_iter().chain(more).collect();
    // `canProcessApp` in `controller/appcontroller.go` reads it so.
    let skips = app.metadata.annotations.as_ref().map_or("", |all| &all.skip_reconcile);
    if ["1", "t", "T", "true", "True", "TRUE"].contains(&skips) {
        hints.push(
            "its annotation skip-reconcile has Argo CD's controller leave it alone: it is neither compared nor synced"
                .to_owned(),
        );
    }
    if truncated {
        hints.push(format!("it manages {count} resources; get_argocd_app_resources lists the others"));
    }
    if let Some(failed) = app.failed_hydration() {
        hints.push(format!("Argo CD failed to write the rendered manifests: {}", text::clean(failed)));
    }
    let destination = &app.spec.destination;
    Ok(Status {
        name: app.metadata.name.clone(),
        namespace: app.metadata.namespace.clone(),
        project: app.spec.project().to_owned(),
        state: AppState::of(&app),
        sources: SourceView::all(&app.spec),
        destination_namespace: destination.namespace.clone(),
        destination_cluster: cluster_of(destination),
        auto_sync: AutoSync::of(&app),
        application_set: application_set(&app),
        parent_app: app.parent().map(|name| text::clean(&name)),
        resources,
        truncated,
        hints,
    })
}

async fn resources(
    argocd: Arc<ArgoCd>,
    input: ResourcesInput,
    context: CallContext,
) -> Result<Page<ResourceView>, ToolError> {
    let target = input.app.target(&argocd)?;
    let mut app = argocd.fetch_app(&target, &context).await?;
    let unknown = with_health(&argocd, &target, &mut app, &context).await;
    let is_well = |resource: &wire::Resource| {
        resource.health.as_ref().is_none_or(|health| matches!(health.status.as_str(), "Healthy" | "Suspended" | ""))
    };
    let wanted = app.status.resources.iter().filter(|resource| {
        (!input.out_of_sync_only || resource.status == "OutOfSync")
            && (!input.unhealthy_only || !is_well(resource))
            && input.kind.as_ref().is_none_or(|kind| *kind == resource.kind)
    });
    let entries = wanted
        .map(|one| (format!("{}/{}/{}/{}", one.group, one.kind, one.namespace, one.name), ResourceView::of(one)))
        .collect();
    let mut page = input.page.cut_keyed(entries)?;
    let unjudged = app.status.resources.iter().filter(|one| one.health.is_none()).count();
    if let Some(unknown) = unknown {
        page = page.with_hint(unknown);
    } else if input.unhealthy_only && unjudged > 0 {
        page = page
            .with_hint(format!("{unjudged} of its resources have no health in Argo CD, which judges some kinds only"));
    }
    if !page.items.is_empty() {
        return Ok(page);
    }
    Ok(page.with_hint(if app.status.resources.is_empty() {
        "the application manages nothing yet; get_argocd_app_status tells why"
    } else {
        "it manages resources, but none that match"
    }))
}

async fn history(
    argocd: Arc<ArgoCd>,
    input: HistoryInput,
    context: CallContext,
) -> Result<Page<Deployment>, ToolError> {
    let app = argocd.fetch_app(&input.app.target(&argocd)?, &context).await?;
    let entries = app.status.history.iter().map(|deployment| {
        // Newest first: the larger the id, the smaller the key.
        (format!("{:020}", i64::MAX.saturating_sub(deployment.id)), Deployment::of(deployment))
    });
    let mut page = input.page.cut_keyed(entries.collect())?;
    // `SyncAppState` in `controller/sync.go`, v3.5.1: auto-sync heals so, too (argoproj/argo-cd#27875).
    if let Some(last) = app.last_partial_sync() {
        let at = last.finished_at.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
        page = page.with_hint(format!(
            "the last sync, which succeeded{at} with revision {}, isn't among them: it was one of some resources \
             only, which Argo CD doesn't write down here",
            text::clean(&last.revision())
        ));
    }
    Ok(if page.items.is_empty() { page.with_hint(NO_HISTORY) } else { page })
}

impl Deployment {
    fn of(deployment: &wire::Deployment) -> Self {
        let sources = deployment.all_sources().iter().take(20).map(SourceView::of).collect();
        let by = &deployment.initiated_by;
        Self {
            id: deployment.id,
            revision: text::optional(&deployment.revision),
            revisions: deployment.revisions.iter().take(20).map(|revision| text::clean(revision)).collect(),
            deployed_at: deployment.deployed_at.clone(),
            deploy_started_at: deployment.deploy_started_at.clone(),
            initiated_by: if by.automated { Some("auto-sync".to_owned()) } else { text::optional(&by.username) },
            sources,
        }
    }
}
