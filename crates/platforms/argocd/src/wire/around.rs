//! What Argo CD sends of what surrounds an application: its tree, what differs, manifests, events, logs, revisions, sync
//! windows and actions; and projects, clusters and `ApplicationSet`s.

use serde::Deserialize;
use serde_json::Value;

use super::{AppSpec, Application, Destination, Health, List, Metadata, Resource};

/// `GET …/resource-tree`.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Tree {
    pub(crate) nodes: List<Node>,
    pub(crate) orphaned_nodes: List<Node>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Node {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) parent_refs: List<NodeRef>,
    pub(crate) images: List<String>,
    pub(crate) health: Option<Health>,
    pub(crate) created_at: Option<String>,
}

impl Node {
    /// Its health. What Git names and nobody has created has none in the tree; Argo CD calls it missing elsewhere
    /// (`inferResourcesStatusHealth` in `server/application/application.go`).
    pub(crate) fn judged(&self) -> Option<Health> {
        let is_there = !(self.uid.is_empty() && self.resource_version.is_empty() && self.created_at.is_none());
        let missing = || Health { status: "Missing".to_owned(), message: "it has not been created".to_owned() };
        self.health.clone().or_else(|| (!is_there).then(missing))
    }
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(crate) struct NodeRef {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// An entry of `GET …/managed-resources`. The states are JSON documents as texts; `null` or empty for none.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ManagedResource {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) target_state: String,
    pub(crate) live_state: String,
    pub(crate) normalized_live_state: String,
    pub(crate) predicted_live_state: String,
    /// Whether Argo CD holds it for changed.
    pub(crate) modified: bool,
    pub(crate) hook: bool,
}

/// `GET …/manifests`: JSON documents as texts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rendering {
    #[serde(default)]
    pub(crate) manifests: List<String>,
    #[serde(default)]
    pub(crate) revision: String,
    #[serde(default)]
    pub(crate) source_type: String,
}

/// A Kubernetes event.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Event {
    pub(crate) metadata: Metadata,
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) count: u64,
    pub(crate) first_timestamp: Option<String>,
    pub(crate) last_timestamp: Option<String>,
    #[serde(rename = "eventTime")]
    pub(crate) happened_at: Option<String>,
    /// Where it is counted in the newer form, without `count` and `lastTimestamp`.
    pub(crate) series: Option<Series>,
    pub(crate) involved_object: InvolvedObject,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Series {
    pub(crate) count: u64,
    pub(crate) last_observed_time: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct InvolvedObject {
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// A line of `GET …/logs`.
#[derive(Deserialize)]
pub(crate) struct LogLine {
    pub(crate) result: Option<LogEntry>,
    pub(crate) error: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct LogEntry {
    pub(crate) content: String,
    pub(crate) time_stamp_str: String,
    pub(crate) pod_name: String,
    pub(crate) last: bool,
}

impl LogEntry {
    /// Whether it is what Kubernetes says instead of logs: Argo CD gives that as a line of no pod.
    pub(crate) fn is_said(&self) -> bool {
        self.pod_name.is_empty()
    }
}

/// `GET …/revisions/{revision}/metadata`.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Revision {
    pub(crate) author: String,
    pub(crate) date: Option<String>,
    pub(crate) tags: List<String>,
    pub(crate) message: String,
    pub(crate) signature_info: String,
}

/// `GET …/revisions/{revision}/chartdetails`.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct ChartDetails {
    pub(crate) description: String,
    pub(crate) home: String,
    pub(crate) maintainers: List<String>,
}

/// `GET …/revisions/{revision}/ocimetadata`, of 3.1 and later.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct OciMetadata {
    pub(crate) created_at: String,
    pub(crate) authors: String,
    pub(crate) source_url: String,
    pub(crate) docs_url: String,
    pub(crate) version: String,
    pub(crate) description: String,
}

/// `GET …/syncwindows`.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SyncWindows {
    pub(crate) active_windows: List<SyncWindow>,
    pub(crate) assigned_windows: List<SyncWindow>,
    pub(crate) can_sync: bool,
}

#[derive(Deserialize, Default, Clone, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SyncWindow {
    pub(crate) kind: String,
    pub(crate) schedule: String,
    pub(crate) duration: String,
    pub(crate) manual_sync: bool,
    pub(crate) time_zone: String,
    pub(crate) applications: List<String>,
    pub(crate) namespaces: List<String>,
    pub(crate) clusters: List<String>,
    pub(crate) and_operator: bool,
    pub(crate) description: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Project {
    pub(crate) metadata: Metadata,
    pub(crate) spec: ProjectSpec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ProjectSpec {
    pub(crate) description: String,
    pub(crate) source_repos: List<String>,
    pub(crate) destinations: List<Destination>,
    pub(crate) permit_only_project_scoped_clusters: bool,
    pub(crate) cluster_resource_whitelist: List<KindPattern>,
    pub(crate) cluster_resource_blacklist: List<KindPattern>,
    pub(crate) namespace_resource_whitelist: List<KindPattern>,
    pub(crate) namespace_resource_blacklist: List<KindPattern>,
    pub(crate) sync_windows: List<SyncWindow>,
    pub(crate) source_namespaces: List<String>,
    pub(crate) roles: List<Role>,
}

/// A kind of resources, as patterns; of those that belong to no namespace 3.3 and later take a name.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct KindPattern {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// A project's role, without the tokens' ids.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) description: String,
}

/// A cluster, without its configuration.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) server: String,
    pub(crate) project: String,
    pub(crate) info: ClusterInfo,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ClusterInfo {
    pub(crate) connection_state: ConnectionState,
    pub(crate) server_version: String,
    pub(crate) applications_count: i64,
    pub(crate) cache_info: ClusterCache,
}

impl ClusterInfo {
    /// Number of applications, if Argo CD has counted them. The API server answers what its cache holds of the cluster, and where
    /// that is nothing, or was written when the cluster was added, a zero (`toAPIResponse` and `Create` in
    /// `server/cluster/cluster.go`); a controller that has counted says more besides (`controller/clusterinfoupdater.go`).
    pub(crate) fn counted(&self) -> Option<i64> {
        let is_of_controller =
            self.cache_info.last_cache_sync_time.is_some() || !self.connection_state.message.is_empty();
        Some(self.applications_count).filter(|count| *count > 0 || is_of_controller)
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ClusterCache {
    last_cache_sync_time: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct ConnectionState {
    pub(crate) status: String,
    pub(crate) message: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct AppSet {
    pub(crate) metadata: Metadata,
    pub(crate) spec: AppSetSpec,
    pub(crate) status: AppSetStatus,
}

/// A set whose definition is handed back to Argo CD as it is.
#[derive(Deserialize)]
pub(crate) struct WholeSet {
    #[serde(default)]
    pub(crate) metadata: Metadata,
    #[serde(default)]
    pub(crate) spec: Value,
    #[serde(default)]
    pub(crate) status: AppSetStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct AppSetSpec {
    /// Each an object with one field, which is the generator's name. Their content is not read.
    pub(crate) generators: List<serde_json::Map<String, Value>>,
    pub(crate) template: AppSetTemplate,
    pub(crate) strategy: Value,
}

/// Whether a strategy of an `ApplicationSet` is one in steps (`RollingSyncStrategyEnabled` in
/// `applicationset/progressivesync/progressive_sync.go`, v3.5.1).
pub(crate) fn has_steps(strategy: &Value) -> bool {
    let steps = strategy.pointer("/rollingSync/steps").and_then(Value::as_array);
    strategy.get("type").is_some_and(|kind| kind == "RollingSync") && steps.is_some_and(|all| !all.is_empty())
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct AppSetTemplate {
    pub(crate) spec: AppSpec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AppSetStatus {
    pub(crate) conditions: List<AppSetCondition>,
    /// The first of them only where there are many: 3.2 and later cut them, and then count them.
    pub(crate) resources: List<Resource>,
    pub(crate) resources_count: usize,
    /// Where applications are synced in steps.
    pub(crate) application_status: List<Rollout>,
}

impl AppSetStatus {
    /// Number of applications, if it is told: none may mean that they were not written down yet.
    pub(crate) fn applications(&self) -> Option<usize> {
        Some(self.resources_count.max(self.resources.len())).filter(|count| *count > 0)
    }
}

/// How far the steps of an `ApplicationSet` have come with an application.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Rollout {
    pub(crate) application: String,
    pub(crate) status: String,
    pub(crate) step: String,
    pub(crate) message: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct AppSetCondition {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// `POST /api/v1/applicationsets/generate`.
#[derive(Deserialize)]
pub(crate) struct Generated {
    #[serde(default)]
    pub(crate) applications: List<Application>,
}

/// `GET …/resource/actions`.
#[derive(Deserialize)]
pub(crate) struct Actions {
    #[serde(default)]
    pub(crate) actions: List<Action>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Action {
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) disabled: bool,
    pub(crate) params: List<ActionParameter>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct ActionParameter {
    pub(crate) name: String,
}
