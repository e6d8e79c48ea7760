//! What Argo CD sends, as far as it is read: `pkg/apis/application/v1alpha1/types.go` and the messages of its gRPC
//! services, in their JSON form. What is not named here is dropped while an answer is read, and so are Helm values,
//! plugin variables and cluster configurations, which may hold secrets.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

/// A list for which Go writes `null` when it is empty.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> std::ops::Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::deserialize(deserializer)?.unwrap_or_default()))
    }
}

/// `GET /api/v1/version`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Version {
    pub(super) version: String,
}

/// `POST /api/v1/session`.
#[derive(Deserialize)]
pub(super) struct Session {
    #[serde(deserialize_with = "secret")]
    pub(super) token: SecretString,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// `GET /api/v1/session/userinfo`. Go leaves `loggedIn` out when it is false.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct UserInfo {
    pub(super) logged_in: bool,
    pub(super) username: String,
}

/// `GET /api/v1/account/can-i/…`.
#[derive(Deserialize)]
pub(super) struct CanI {
    pub(super) value: String,
}

/// Any list with `items`.
#[derive(Deserialize)]
pub(super) struct Items<T> {
    #[serde(default = "List::default")]
    pub(super) items: List<T>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Application {
    pub(super) metadata: Metadata,
    pub(super) spec: AppSpec,
    pub(super) status: AppStatus,
    /// There while an operation is wanted or runs.
    pub(super) operation: Option<Operation>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) deletion_timestamp: Option<String>,
    pub(super) owner_references: List<Owner>,
    pub(super) finalizers: List<String>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(super) struct Owner {
    pub(super) kind: String,
    pub(super) name: String,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct AppSpec {
    pub(super) project: String,
    pub(super) source: Option<Source>,
    pub(super) sources: List<Source>,
    pub(super) destination: Destination,
    pub(super) sync_policy: Option<SyncPolicy>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Source {
    #[serde(rename = "repoURL")]
    pub(super) repo_url: String,
    pub(super) path: String,
    pub(super) chart: String,
    pub(super) target_revision: String,
    pub(super) name: String,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(super) struct Destination {
    pub(super) server: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(super) struct SyncPolicy {
    pub(super) automated: Option<Automated>,
}

/// `enabled` is of 3.1 and later; before, automated sync is on wherever this is there.
#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Automated {
    pub(super) prune: bool,
    pub(super) self_heal: bool,
    pub(super) enabled: Option<bool>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct AppStatus {
    pub(super) sync: SyncStatus,
    pub(super) health: Health,
    pub(super) conditions: List<Condition>,
    pub(super) resources: List<Resource>,
    pub(super) history: List<Deployment>,
    pub(super) operation_state: Option<OperationState>,
    pub(super) reconciled_at: Option<String>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(super) struct SyncStatus {
    pub(super) status: String,
    pub(super) revision: String,
    pub(super) revisions: List<String>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(super) struct Health {
    pub(super) status: String,
    pub(super) message: String,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) message: String,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) health: Option<Health>,
    pub(super) hook: bool,
    pub(super) requires_pruning: bool,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Deployment {
    pub(super) id: i64,
    pub(super) revision: String,
    pub(super) revisions: List<String>,
    pub(super) deployed_at: Option<String>,
    pub(super) deploy_started_at: Option<String>,
    pub(super) source: Source,
    pub(super) sources: List<Source>,
    pub(super) initiated_by: Initiator,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(super) struct Initiator {
    pub(super) username: String,
    pub(super) automated: bool,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct OperationState {
    pub(super) operation: Operation,
    pub(super) phase: String,
    pub(super) message: String,
    pub(super) started_at: Option<String>,
    pub(super) finished_at: Option<String>,
    pub(super) sync_result: Option<SyncResult>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Operation {
    pub(super) sync: Option<SyncOperation>,
    pub(super) initiated_by: Initiator,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SyncOperation {
    pub(super) dry_run: bool,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(super) struct SyncResult {
    pub(super) revision: String,
    pub(super) revisions: List<String>,
    pub(super) resources: List<ResourceResult>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ResourceResult {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) message: String,
    pub(super) hook_type: String,
    pub(super) hook_phase: String,
}

/// `GET …/resource-tree`.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Tree {
    pub(super) nodes: List<Node>,
    pub(super) orphaned_nodes: List<Node>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Node {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) parent_refs: List<NodeRef>,
    pub(super) images: List<String>,
    pub(super) health: Option<Health>,
    pub(super) created_at: Option<String>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(super) struct NodeRef {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// An entry of `GET …/managed-resources`. The states are JSON documents as texts; `null` or empty for none.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ManagedResource {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) target_state: String,
    pub(super) live_state: String,
    pub(super) normalized_live_state: String,
    pub(super) predicted_live_state: String,
    pub(super) hook: bool,
}

/// `GET …/manifests`: JSON documents as texts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rendering {
    #[serde(default)]
    pub(super) manifests: List<String>,
    #[serde(default)]
    pub(super) revision: String,
    #[serde(default)]
    pub(super) source_type: String,
}

/// A Kubernetes event.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) count: u64,
    pub(super) first_timestamp: Option<String>,
    pub(super) last_timestamp: Option<String>,
    #[serde(rename = "eventTime")]
    pub(super) happened_at: Option<String>,
    pub(super) involved_object: InvolvedObject,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct InvolvedObject {
    pub(super) kind: String,
    pub(super) name: String,
}

/// A line of `GET …/logs`.
#[derive(Deserialize)]
pub(super) struct LogLine {
    pub(super) result: Option<LogEntry>,
    pub(super) error: Option<serde_json::Value>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LogEntry {
    pub(super) content: String,
    pub(super) time_stamp_str: String,
    pub(super) pod_name: String,
    pub(super) last: bool,
}

/// `GET …/revisions/{revision}/metadata`.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Revision {
    pub(super) author: String,
    pub(super) date: Option<String>,
    pub(super) tags: List<String>,
    pub(super) message: String,
    pub(super) signature_info: String,
}

/// `GET …/syncwindows`.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SyncWindows {
    pub(super) active_windows: List<SyncWindow>,
    pub(super) assigned_windows: List<SyncWindow>,
    pub(super) can_sync: bool,
}

#[derive(Deserialize, Default, Clone, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SyncWindow {
    pub(super) kind: String,
    pub(super) schedule: String,
    pub(super) duration: String,
    pub(super) manual_sync: bool,
    pub(super) time_zone: String,
    pub(super) applications: List<String>,
    pub(super) namespaces: List<String>,
    pub(super) clusters: List<String>,
}

impl<T: PartialEq> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Eq> Eq for List<T> {}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Project {
    pub(super) metadata: Metadata,
    pub(super) spec: ProjectSpec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ProjectSpec {
    pub(super) description: String,
    pub(super) source_repos: List<String>,
    pub(super) destinations: List<Destination>,
    pub(super) sync_windows: List<SyncWindow>,
    pub(super) source_namespaces: List<String>,
    pub(super) roles: List<Role>,
}

/// A project's role, without the tokens' ids.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) description: String,
}

/// A cluster, without its configuration.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) server: String,
    pub(super) project: String,
    pub(super) info: ClusterInfo,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ClusterInfo {
    pub(super) connection_state: ConnectionState,
    pub(super) server_version: String,
    pub(super) applications_count: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ConnectionState {
    pub(super) status: String,
    pub(super) message: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct AppSet {
    pub(super) metadata: Metadata,
    pub(super) spec: AppSetSpec,
    pub(super) status: AppSetStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct AppSetSpec {
    /// Each an object with one field, which is the generator's name. Their content is not read.
    pub(super) generators: List<serde_json::Map<String, serde_json::Value>>,
    pub(super) template: AppSetTemplate,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct AppSetTemplate {
    pub(super) spec: AppSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct AppSetStatus {
    pub(super) conditions: List<AppSetCondition>,
    pub(super) resources: List<Resource>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct AppSetCondition {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
}

/// `POST /api/v1/applicationsets/generate`.
#[derive(Deserialize)]
pub(super) struct Generated {
    #[serde(default)]
    pub(super) applications: List<Application>,
}

/// `GET …/resource/actions`.
#[derive(Deserialize)]
pub(super) struct Actions {
    #[serde(default)]
    pub(super) actions: List<Action>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Action {
    pub(super) name: String,
    pub(super) display_name: String,
    pub(super) disabled: bool,
    pub(super) params: List<ActionParameter>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ActionParameter {
    pub(super) name: String,
}

/// The body of an error (gRPC gateway 1.16, `runtime/errors.go`), and of an error in a stream, where `error` is an
/// object.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Failure {
    pub(super) error: serde_json::Value,
    pub(super) message: String,
    pub(super) code: i64,
}

impl AppSpec {
    /// Its sources; a single one is a list of one.
    pub(super) fn all_sources(&self) -> &[Source] {
        if self.sources.is_empty() { self.source.as_slice() } else { &self.sources }
    }

    /// The settings of automated sync, if it is on.
    pub(super) fn automated(&self) -> Option<&Automated> {
        self.sync_policy.as_ref()?.automated.as_ref().filter(|automated| automated.enabled != Some(false))
    }

    /// The project; Argo CD takes an empty one for `default`.
    pub(super) fn project(&self) -> &str {
        if self.project.is_empty() { "default" } else { &self.project }
    }
}

impl Application {
    /// The phase of the operation that is wanted or runs; none if none does.
    ///
    /// Argo CD sets `operation` and clears `operationState` at once, and takes `operation` away when it is done
    /// (`SetAppOperation` in `util/argo/argo.go`).
    pub(super) fn running(&self) -> Option<&str> {
        let state = self.status.operation_state.as_ref();
        let unfinished = state.filter(|state| matches!(state.phase.as_str(), "Running" | "Terminating"));
        match (&self.operation, unfinished) {
            (_, Some(state)) => Some(&state.phase),
            (Some(_), None) => Some("Running"),
            (None, None) => None,
        }
    }
}
