//! What Argo CD sends, as far as it is read: `pkg/apis/application/v1alpha1/types.go` and the messages of its gRPC
//! services, in their JSON form. What is not named here is dropped while an answer is read, and so are Helm values,
//! plugin variables and cluster configurations, which may hold secrets.

mod around;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

pub(super) use self::around::*;

/// A list for which Go writes `null` when it is empty.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Eq> Eq for List<T> {}

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

/// `GET /api/v1/settings`, which everybody may read (`server/settings/settings.go`): the addresses of its pages in `argocd-cm`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    #[serde(default)]
    pub(super) url: String,
    #[serde(default)]
    pub(super) additional_urls: Vec<String>,
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
    /// Instead of both: of 2.14 and later.
    pub(super) source_hydrator: Option<SourceHydrator>,
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

/// Manifests that Argo CD renders out of a dry source, and writes to a branch which is synced.
#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SourceHydrator {
    pub(super) dry_source: Source,
    pub(super) sync_source: SyncSource,
    pub(super) hydrate_to: Option<SyncSource>,
}

/// A branch that manifests are written to; of another repository than the dry source's, where one is named.
#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SyncSource {
    #[serde(rename = "repoURL")]
    pub(super) repo_url: String,
    pub(super) target_branch: String,
    pub(super) path: String,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct HydratorStatus {
    pub(super) current_operation: Option<Hydration>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(super) struct Hydration {
    pub(super) phase: String,
    pub(super) message: String,
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
    pub(super) source_hydrator: Option<HydratorStatus>,
    /// `appTree` where the health of resources is kept in a cache (3.0 and later), from which the API server fills it in if it
    /// can (argoproj/argo-cd#22921, #24832).
    pub(super) resource_health_source: String,
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
    /// Attempts that failed before the one that runs.
    pub(super) retry_count: u64,
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

    /// The revision that is followed, of the first source.
    pub(super) fn followed(&self) -> &str {
        let hydrated = self.source_hydrator.as_ref().map(|hydrator| hydrator.sync_source.target_branch.as_str());
        let first = || self.all_sources().first().map(|source| source.target_revision.as_str());
        hydrated.or_else(first).filter(|revision| !revision.is_empty()).unwrap_or("HEAD")
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

/// An object of Kubernetes, which has a name.
pub(super) trait Object {
    fn metadata(&self) -> &Metadata;
}

impl Object for Application {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Object for Project {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Object for WholeSet {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Object for AppSet {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Application {
    /// The phase of the operation that is wanted or runs; none if none does.
    ///
    /// Argo CD sets `operation` and clears `operationState` at once, and takes `operation` away when it is done
    /// (`SetAppOperation` in `util/argo/argo.go`). A state that says it runs, without `operation`, is one that nobody carries on:
    /// the controller acts on `operation` only, and so does the API server (`TerminateOperation`).
    pub(super) fn running(&self) -> Option<&str> {
        self.operation.as_ref()?;
        Some(self.unfinished().map_or("Running", |state| &state.phase))
    }

    fn unfinished(&self) -> Option<&OperationState> {
        let state = self.status.operation_state.as_ref()?;
        matches!(state.phase.as_str(), "Running" | "Terminating").then_some(state)
    }

    /// Whether an operation is wanted that Argo CD's controller has not taken up.
    pub(super) fn waits_for_controller(&self) -> bool {
        self.operation.is_some() && self.unfinished().is_none()
    }

    /// Whether its last operation is written down as running though it was taken away.
    pub(super) fn has_stale_operation(&self) -> bool {
        self.operation.is_none() && self.unfinished().is_some()
    }
}
