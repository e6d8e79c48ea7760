//! `list_argocd_projects`, `get_argocd_project` and `list_argocd_clusters`: where applications may come from and go to.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    failed,
    names::{self, Names},
    read,
    revision::Window,
    state::{address, cluster_of},
};
use crate::{
    ArgoCd,
    client::{Call, Error},
    text,
    wire::{Cluster, Items, KindPattern, Project},
};
use kit::args::PageArgs;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError};

/// Entries of each list of a project.
const MAX_ENTRIES: usize = 100;

const PROJECTS: ToolDeclaration = ToolDeclaration::read(
    "list_argocd_projects",
    "Projects",
    "Lists the projects of Argo CD that the connector's account may see.",
);

const PROJECT: ToolDeclaration = ToolDeclaration::read(
    "get_argocd_project",
    "A project",
    "Answers what a project permits: repositories, destinations and sync windows, with its roles.",
);

const CLUSTERS: ToolDeclaration = ToolDeclaration::read(
    "list_argocd_clusters",
    "Clusters",
    "Lists the clusters that Argo CD deploys to, with the state of the connection. Never how it logs in to them.",
);

/// Arguments of a list.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    #[serde(flatten)]
    page: PageArgs<100, 100>,
}

/// Arguments of `get_argocd_project`.
#[derive(Deserialize, JsonSchema)]
struct ProjectInput {
    /// Name of the project, or a link to its page.
    #[schemars(length(min = 1, max = 2048))]
    name: String,
}

/// A project in a list.
#[derive(Serialize, JsonSchema)]
struct ProjectSummary {
    /// Name.
    name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Number of sync windows.
    sync_windows: usize,
}

/// What a project permits.
#[derive(Serialize, JsonSchema)]
struct ProjectView {
    /// Name.
    name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Repositories that applications may come from, as patterns; `!` in front forbids.
    source_repos: Vec<String>,
    /// Where applications may go to; a pattern with `!` in front forbids.
    destinations: Vec<DestinationView>,
    /// Whether only clusters that belong to the project are permitted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own_clusters_only: bool,
    /// Kinds of resources that belong to no namespace; what is not in `allowed` is forbidden.
    cluster_kinds: KindsView,
    /// Kinds of resources that belong to a namespace; without `allowed`, all that are not in `denied` are permitted.
    namespaced_kinds: KindsView,
    /// Namespaces beside Argo CD's own in which applications may be declared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_namespaces: Vec<String>,
    /// When syncs are permitted.
    sync_windows: Vec<Window>,
    /// Roles, without their tokens.
    roles: Vec<RoleView>,
    /// Whether something was left out: each list has 100 entries at most.
    truncated: bool,
    /// What adds to these lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// Where applications may go to.
#[derive(Serialize, JsonSchema)]
struct DestinationView {
    /// Cluster: its name, or the pattern of its address.
    cluster: String,
    /// Where `cluster` is a name, the pattern of an address that is permitted, too: one of the two suffices.
    #[serde(skip_serializing_if = "String::is_empty")]
    server: String,
    /// Namespace, as a pattern.
    namespace: String,
}

/// Kinds that a project permits and forbids, as `group/Kind`, with a pattern of their names where it has one.
#[derive(Serialize, JsonSchema)]
struct KindsView {
    /// What is permitted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed: Vec<String>,
    /// What is forbidden all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    denied: Vec<String>,
}

/// A role of a project.
#[derive(Serialize, JsonSchema)]
struct RoleView {
    /// Name.
    name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

/// A cluster.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct ClusterView {
    /// Name.
    name: String,
    /// Address of its API server.
    server: String,
    /// `Successful`, `Failed` or `Unknown`, as Argo CD's controller saw it last. A cluster without applications is
    /// Unknown.
    status: String,
    /// What is wrong with the connection.
    message: Option<String>,
    /// Version of Kubernetes.
    version: Option<String>,
    /// Number of applications that go there; absent if Argo CD hasn't counted them, as while its controller doesn't work.
    applications: Option<i64>,
    /// Project that it belongs to.
    project: Option<String>,
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![read(argocd, PROJECTS, projects), read(argocd, PROJECT, project), read(argocd, CLUSTERS, clusters)]
}

async fn projects(
    argocd: Arc<ArgoCd>,
    input: ListInput,
    context: CallContext,
) -> Result<Page<ProjectSummary>, ToolError> {
    let failed = failed("list projects", "projects, get");
    let found: Items<Project> =
        argocd.session.call(&Call::get(["projects"]), context.deadline).await.map_err(failed)?;
    let entries = found.items.iter().map(|project| {
        let summary = ProjectSummary {
            name: project.metadata.name.clone(),
            description: text::optional(&project.spec.description),
            sync_windows: project.spec.sync_windows.len(),
        };
        (summary.name.clone(), summary)
    });
    let page = input.page.cut_keyed(entries.collect())?;
    if !page.items.is_empty() {
        return Ok(page);
    }
    Ok(page.with_hint("the connector's account may see none: it needs projects, get"))
}

async fn project(argocd: Arc<ArgoCd>, input: ProjectInput, context: CallContext) -> Result<ProjectView, ToolError> {
    argocd.home.check(&input.name, names::PROJECT.argument)?;
    let Names { name, .. } = Names::read(&input.name, None, names::PROJECT)?;
    let doing = format!("read the project {name:?}");
    let found: Project = argocd
        .session
        .object(&Call::get(["projects", &name]), &name, context.deadline)
        .await
        .map_err(failed(&doing, "projects, get"))?;
    // What they permit, and their windows, Argo CD adds (`mergeVirtualProject` in `util/argo/argo.go`).
    let hint = match argocd.global_projects(&name, &context).await {
        Ok(global) if global.is_empty() => None,
        Ok(global) => {
            let names: Vec<_> = global.iter().take(20).map(|one| text::clean(&one.metadata.name)).collect();
            Some(format!("global projects add to these lists, and get_argocd_project tells what: {}", names.join(", ")))
        }
        Err(_) => Some("Argo CD did not tell whether global projects add to these lists".to_owned()),
    };
    let spec = &found.spec;
    let kinds = [
        &spec.cluster_resource_whitelist,
        &spec.cluster_resource_blacklist,
        &spec.namespace_resource_whitelist,
        &spec.namespace_resource_blacklist,
    ];
    let lengths = [spec.source_repos.len(), spec.destinations.len(), spec.sync_windows.len(), spec.roles.len()];
    let lengths = lengths.into_iter().chain(kinds.map(|kinds| kinds.len())).chain([spec.source_namespaces.len()]);
    Ok(ProjectView {
        name: found.metadata.name.clone(),
        description: text::optional(&spec.description),
        source_repos: spec.source_repos.iter().take(MAX_ENTRIES).map(|repo| text::repository(repo)).collect(),
        destinations: spec.destinations.iter().take(MAX_ENTRIES).map(DestinationView::of).collect(),
        own_clusters_only: spec.permit_only_project_scoped_clusters,
        cluster_kinds: KindsView::of(&spec.cluster_resource_whitelist, &spec.cluster_resource_blacklist),
        namespaced_kinds: KindsView::of(&spec.namespace_resource_whitelist, &spec.namespace_resource_blacklist),
        source_namespaces: spec.source_namespaces.iter().take(MAX_ENTRIES).cloned().collect(),
        sync_windows: spec.sync_windows.iter().take(MAX_ENTRIES).map(|window| Window::of(window, None)).collect(),
        roles: spec.roles.iter().take(MAX_ENTRIES).map(RoleView::of).collect(),
        hints: hint.into_iter().collect(),
        truncated: lengths.into_iter().any(|length| length > MAX_ENTRIES),
    })
}

impl ArgoCd {
    /// The global projects that a project inherits from: none where Argo CD knows of no such thing.
    pub(super) async fn global_projects(&self, project: &str, context: &CallContext) -> Result<Vec<Project>, Error> {
        let call = Call::get(["projects", project, "globalprojects"]);
        match self.session.call::<Items<Project>>(&call, context.deadline).await {
            Ok(found) => Ok(found.items.0),
            Err(Error::Unimplemented) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

impl DestinationView {
    fn of(destination: &crate::wire::Destination) -> Self {
        // `isDestinationMatched` in `pkg/apis/application/v1alpha1/app_project_types.go`, v3.5.1.
        let server = if destination.name.is_empty() { String::new() } else { address(&destination.server) };
        Self { cluster: cluster_of(destination), server, namespace: destination.namespace.clone() }
    }
}

impl KindsView {
    fn of(allowed: &[KindPattern], denied: &[KindPattern]) -> Self {
        let told = |one: &KindPattern| {
            let group = if one.group.is_empty() { String::new() } else { format!("{}/", text::clean(&one.group)) };
            let name = if one.name.is_empty() { String::new() } else { format!(" {}", text::clean(&one.name)) };
            format!("{group}{}{name}", text::clean(&one.kind))
        };
        let some = |kinds: &[KindPattern]| kinds.iter().take(MAX_ENTRIES).map(told).collect();
        Self { allowed: some(allowed), denied: some(denied) }
    }
}

impl RoleView {
    fn of(role: &crate::wire::Role) -> Self {
        Self { name: role.name.clone(), description: text::optional(&role.description) }
    }
}

async fn clusters(argocd: Arc<ArgoCd>, input: ListInput, context: CallContext) -> Result<Page<ClusterView>, ToolError> {
    let failed = failed("list clusters", "clusters, get");
    let found: Items<Cluster> =
        argocd.session.call(&Call::get(["clusters"]), context.deadline).await.map_err(failed)?;
    let entries = found.items.iter().map(|cluster| {
        let state = &cluster.info.connection_state;
        let view = ClusterView {
            name: cluster.name.clone(),
            server: address(&cluster.server),
            status: text::optional(&state.status).unwrap_or_else(|| "Unknown".to_owned()),
            message: text::optional(&state.message).filter(|_| state.status != "Successful"),
            version: text::optional(&cluster.info.server_version),
            applications: cluster.info.counted(),
            project: text::optional(&cluster.project),
        };
        (format!("{}/{}", view.name, view.server), view)
    });
    let page = input.page.cut_keyed(entries.collect())?;
    if !page.items.is_empty() {
        return Ok(page);
    }
    Ok(page.with_hint("the connector's account may see none: it needs clusters, get"))
}
