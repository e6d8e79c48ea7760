//! What Argo CD sends of what surrounds an application: its tree, what differs, manifests, events, logs, revisions, sync
//! windows and actions; and projects, clusters and `ApplicationSet`s.

use serde::Deserialize;

use super::{AppSpec, Application, Destination, Health, List, Metadata, Resource};

/// `GET …/resource-tree`.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::platforms::argocd) struct Tree {
    pub(in crate::platforms::argocd) nodes: List<Node>,
    pub(in crate::platforms::argocd) orphaned_nodes: List<Node>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::platforms::argocd) struct Node {
    pub(in crate::platforms::argocd) group: String,
    pub(in crate::platforms::argocd) version: String,
    pub(in crate::platforms::argocd) kind: String,
    pub(in crate::platforms::argocd) namespace: String,
    pub(in crate::platforms::argocd) name: String,
    pub(in crate::platforms::argocd) uid: String,
    pub(in crate::platforms::argocd) parent_refs: List<NodeRef>,
    pub(in crate::platforms::argocd) images: List<String>,
    pub(in crate::platforms::argocd) health: Option<Health>,
    pub(in crate::platforms::argocd) created_at: Option<String>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(in crate::platforms::argocd) struct NodeRef {
    pub(in crate::platforms::argocd) group: String,
    pub(in crate::platforms::argocd) kind: String,
    pub(in crate::platforms::argocd) namespace: String,
    pub(in crate::platforms::argocd) name: String,
    pub(in crate::platforms::argocd) uid: String,
}

/// An entry of `GET …/managed-resources`. The states are JSON documents as texts; `null` or empty for none.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::platforms::argocd) struct ManagedResource {
    pub(in crate::platforms::argocd) group: String,
    pub(in crate::platforms::argocd) kind: String,
    pub(in crate::platforms::argocd) namespace: String,
    pub(in crate::platforms::argocd) name: String,
    pub(in crate::platforms::argocd) target_state: String,
    pub(in crate::platforms::argocd) live_state: String,
    pub(in crate::platforms::argocd) normalized_live_state: String,
    pub(in crate::platforms::argocd) predicted_live_state: String,
    pub(in crate::platforms::argocd) hook: bool,
}

/// `GET …/manifests`: JSON documents as texts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::platforms::argocd) struct Rendering {
    #[serde(default)]
    pub(in crate::platforms::argocd) manifests: List<String>,
    #[serde(default)]
    pub(in crate::platforms::argocd) revision: String,
    #[serde(default)]
    pub(in crate::platforms::argocd) source_type: String,
}

/// A Kubernetes event.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::platforms::argocd) struct Event {
    pub(in crate::platforms::argocd) metadata: Metadata,
    #[serde(rename = "type")]
    pub(in crate::platforms::argocd) type_: String,
    pub(in crate::platforms::argocd) reason: String,
    pub(in crate::platforms::argocd) message: String,
    pub(in crate::platforms::argocd) count: u64,
    pub(in crate::platforms::argocd) first_timestamp: Option<String>,
    pub(in crate::platforms::argocd) last_timestamp: Option<String>,
    #[serde(rename = "eventTime")]
    pub(in crate::platforms::argocd) happened_at: Option<String>,
    pub(in crate::platforms::argocd) involved_object: InvolvedObject,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::platforms::argocd) struct InvolvedObject {
    pub(in crate::platforms::argocd) kind: String,
    pub(in crate::platforms::argocd) name: String,
}

/// A line of `GET …/logs`.
#[derive(Deserialize)]
pub(in crate::platforms::argocd) struct LogLine {
    pub(in crate::platforms::argocd) result: Option<LogEntry>,
    pub(in crate::platforms::argocd) error: Option<serde_json::Value>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::platforms::argocd) struct LogEntry {
    pub(in crate::platforms::argocd) content: String,
    pub(in crate::platforms::argocd) time_stamp_str: String,
    pub(in crate::platforms::argocd) pod_name: String,
    pub(in crate::platforms::argocd) last: bool,
}

/// `GET …/revisions/{revision}/metadata`.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::platforms::argocd) struct Revision {
    pub(in crate::platforms::argocd) author: String,
    pub(in crate::platforms::argocd) date: Option<String>,
    pub(in crate::platforms::argocd) tags: List<String>,
    pub(in crate::platforms::argocd) message: String,
    pub(in crate::platforms::argocd) signature_info: String,
}

/// `GET …/syncwindows`.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::platforms::argocd) struct SyncWindows {
    pub(in crate::platforms::argocd) active_windows: List<SyncWindow>,
    pub(in crate::platforms::argocd) assigned_windows: List<SyncWindow>,
    pub(in crate::platforms::argocd) can_sync: bool,
}

#[derive(Deserialize, Default, Clone, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::platforms::argocd) struct SyncWindow {
    pub(in crate::platforms::argocd) kind: String,
    pub(in crate::platforms::argocd) schedule: String,
    pub(in crate::platforms::argocd) duration: String,
    pub(in crate::platforms::argocd) manual_sync: bool,
    pub(in crate::platforms::argocd) time_zone: String,
    pub(in crate::platforms::argocd) applications: List<String>,
    pub(in crate::platforms::argocd) namespaces: List<String>,
    pub(in crate::platforms::argocd) clusters: List<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::platforms::argocd) struct Project {
    pub(in crate::platforms::argocd) metadata: Metadata,
    pub(in crate::platforms::argocd) spec: ProjectSpec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::platforms::argocd) struct ProjectSpec {
    pub(in crate::platforms::argocd) description: String,
    pub(in crate::platforms::argocd) source_repos: List<String>,
    pub(in crate::platforms::argocd) destinations: List<Destination>,
    pub(in crate::platforms::argocd) sync_windows: List<SyncWindow>,
    pub(in crate::platforms::argocd) source_namespaces: List<String>,
    pub(in crate::platforms::argocd) roles: List<Role>,
}

/// A project's role, without the tokens' ids.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::platforms::argocd) struct Role {
    pub(in crate::platforms::argocd) name: String,
    pub(in crate::platforms::argocd) description: String,
}

/// A cluster, without its configuration.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::platforms::argocd) struct Cluster {
    pub(in crate::platforms::argocd) name: String,
    pub(in crate::platforms::argocd) server: String,
    pub(in crate::platforms::argocd) project: String,
    pub(in crate::platforms::argocd) info: ClusterInfo,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::platforms::argocd) struct ClusterInfo {
    pub(in crate::platforms::argocd) connection_state: ConnectionState,
    pub(in crate::platforms::argocd) server_version: String,
    pub(in crate::platforms::argocd) applications_count: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::platforms::argocd) struct ConnectionState {
    pub(in crate::platforms::argocd) status: String,
    pub(in crate::platforms::argocd) message: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::platforms::argocd) struct AppSet {
    pub(in crate::platforms::argocd) metadata: Metadata,
    pub(in crate::platforms::argocd) spec: AppSetSpec,
    pub(in crate::platforms::argocd) status: AppSetStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::platforms::argocd) struct AppSetSpec {
    /// Each an object with one field, which is the generator's name. Their content is not read.
    pub(in crate::platforms::argocd) generators: List<serde_json::Map<String, serde_json::Value>>,
    pub(in crate::platforms::argocd) template: AppSetTemplate,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::platforms::argocd) struct AppSetTemplate {
    pub(in crate::platforms::argocd) spec: AppSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::platforms::argocd) struct AppSetStatus {
    pub(in crate::platforms::argocd) conditions: List<AppSetCondition>,
    pub(in crate::platforms::argocd) resources: List<Resource>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::platforms::argocd) struct AppSetCondition {
    #[serde(rename = "type")]
    pub(in crate::platforms::argocd) type_: String,
    pub(in crate::platforms::argocd) status: String,
    pub(in crate::platforms::argocd) reason: String,
    pub(in crate::platforms::argocd) message: String,
}

/// `POST /api/v1/applicationsets/generate`.
#[derive(Deserialize)]
pub(in crate::platforms::argocd) struct Generated {
    #[serde(default)]
    pub(in crate::platforms::argocd) applications: List<Application>,
}

/// `GET …/resource/actions`.
#[derive(Deserialize)]
pub(in crate::platforms::argocd) struct Actions {
    #[serde(default)]
    pub(in crate::platforms::argocd) actions: List<Action>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::platforms::argocd) struct Action {
    pub(in crate::platforms::argocd) name: String,
    pub(in crate::platforms::argocd) display_name: String,
    pub(in crate::platforms::argocd) disabled: bool,
    pub(in crate::platforms::argocd) params: List<ActionParameter>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::platforms::argocd) struct ActionParameter {
    pub(in crate::platforms::argocd) name: String,
}
