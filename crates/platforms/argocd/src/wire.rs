//! What Argo CD sends, as far as it is read: `pkg/apis/application/v1alpha1/types.go` and the messages of its gRPC
//! services, in their JSON form. What is not named here is dropped while an answer is read, and so are Helm values,
//! plugin variables and cluster configurations, which may hold secrets.

mod around;

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny},
};
use serde_json::Value;

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

/// A document as a number, none if it is empty: tells whether two are the same, and nothing of what may be secret in them. What is
/// empty counts as left out, as in Go (`omitempty`).
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest(Option<u64>);

impl Digest {
    fn of(document: Value) -> Self {
        Self(without_empty(document).map(|document| {
            let mut hasher = DefaultHasher::new();
            document.hash(&mut hasher);
            hasher.finish()
        }))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::of)
    }
}

fn without_empty(value: Value) -> Option<Value> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(items) if items.is_empty() => None,
        // The places of its items count.
        Value::Array(items) => {
            Some(Value::Array(items.into_iter().map(|item| without_empty(item).unwrap_or_default()).collect()))
        }
        Value::Object(fields) => {
            let kept = fields.into_iter().filter_map(|(name, value)| Some((name, without_empty(value)?)));
            Some(Value::Object(kept.collect())).filter(|kept| kept.as_object().is_some_and(|kept| !kept.is_empty()))
        }
        other => Some(other),
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
    pub(super) annotations: Option<Annotations>,
}

/// The annotations of an application by which Argo CD's controller goes.
#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(super) struct Annotations {
    /// There from when a comparison is asked for until it is done.
    #[serde(rename = "argocd.argoproj.io/refresh")]
    pub(super) refresh: Option<String>,
    #[serde(rename = "argocd.argoproj.io/skip-reconcile")]
    pub(super) skip_reconcile: String,
    /// What manages the object, where resources are tracked by annotation:
    /// `<application>:<group>/<kind>:<namespace>/<name>` (`util/argo/resource_tracking.go`).
    #[serde(rename = "argocd.argoproj.io/tracking-id")]
    tracking_id: String,
    /// When somebody confirmed what waits for a confirmation.
    #[serde(rename = "argocd.argoproj.io/deletion-approved")]
    pub(super) deletion_approved: String,
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
    pub(super) ignore_differences: Digest,
}

#[derive(Deserialize, Default, Clone)]
#[serde(remote = "Self", default, rename_all = "camelCase")]
pub(super) struct Source {
    #[serde(rename = "repoURL")]
    pub(super) repo_url: String,
    pub(super) path: String,
    pub(super) chart: String,
    pub(super) target_revision: String,
    pub(super) name: String,
    /// Name under which other sources take files of it.
    #[serde(rename = "ref")]
    pub(super) reference: String,
    /// All of it, also what is not read: Helm values, images of Kustomize.
    #[serde(skip)]
    pub(super) digest: Digest,
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Value::deserialize(deserializer)?;
        let source = Self::deserialize(&whole).map_err(D::Error::custom)?;
        Ok(Self { digest: Digest::of(whole), ..source })
    }
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

impl Destination {
    /// Whether it may be the same: versions before 3.0 add the address to a name.
    fn may_be(&self, other: &Self) -> bool {
        let may_be = |one: &str, other: &str| one == other || one.is_empty() || other.is_empty();
        self.namespace == other.namespace && may_be(&self.server, &other.server) && may_be(&self.name, &other.name)
    }
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SyncPolicy {
    pub(super) automated: Option<Automated>,
    pub(super) sync_options: List<String>,
}

/// `enabled` is of 3.1 and later; before, automated sync is on wherever this is there.
#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Automated {
    pub(super) prune: bool,
    pub(super) self_heal: bool,
    pub(super) allow_empty: bool,
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
#[serde(default, rename_all = "camelCase")]
pub(super) struct SyncStatus {
    pub(super) status: String,
    pub(super) revision: String,
    pub(super) revisions: List<String>,
    pub(super) compared_to: Option<ComparedTo>,
}

/// What of the spec the last comparison was made with.
#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ComparedTo {
    source: Source,
    sources: List<Source>,
    destination: Destination,
    ignore_differences: Digest,
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
    /// Of 2.14 and later: before it is deleted or pruned, somebody must confirm it.
    pub(super) requires_deletion_confirmation: bool,
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

impl Deployment {
    /// Its sources; a single one is a list of one.
    pub(super) fn all_sources(&self) -> &[Source] {
        if self.sources.is_empty() { std::slice::from_ref(&self.source) } else { &self.sources }
    }
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
    pub(super) retry: Retry,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(super) struct Retry {
    /// Of 3.2 and later: whether each attempt takes the newest revision.
    pub(super) refresh: bool,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SyncOperation {
    pub(super) dry_run: bool,
    pub(super) revision: String,
    pub(super) revisions: List<String>,
    resources: List<IgnoredAny>,
    /// How often auto-sync has undone changes, this time included; versions go on counting at other revisions, too
    /// (argoproj/argo-cd#21599).
    #[serde(rename = "autoHealAttemptsCount")]
    pub(super) heals: u64,
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

impl ResourceResult {
    /// Whether it is what an operation fails by: it could not be applied, it is a hook that failed, or it was applied
    /// and then was Degraded (`Sync` in `gitops-engine/pkg/sync/sync_context.go`, v3.5.1).
    pub(super) fn has_failed(&self) -> bool {
        self.status == "SyncFailed" || matches!(self.hook_phase.as_str(), "Failed" | "Error")
    }

    /// Whether it was left because of `Prune=false` (`pruneObject`, there).
    pub(super) fn is_kept(&self) -> bool {
        self.status == "PruneSkipped" && self.message == "ignored (no prune)"
    }
}

impl OperationState {
    pub(super) fn is_dry_run(&self) -> bool {
        self.operation.sync.as_ref().is_some_and(|sync| sync.dry_run)
    }

    /// The revision that it goes to, or those of several sources; empty if it isn't told.
    pub(super) fn revision(&self) -> String {
        let result = self.sync_result.as_ref().map(|result| revisions(&result.revision, &result.revisions));
        let wanted = || self.operation.sync.as_ref().map(|sync| revisions(&sync.revision, &sync.revisions));
        result.filter(|revision| !revision.is_empty()).or_else(wanted).unwrap_or_default()
    }
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

/// Whether sources are the same, with all that isn't read of them.
pub(super) fn are_same(some: &[Source], others: &[Source]) -> bool {
    some.iter().map(|one| one.digest).eq(others.iter().map(|one| one.digest))
}

/// The revision, or those of several sources.
pub(super) fn revisions(one: &str, many: &[String]) -> String {
    if one.is_empty() { many.join(", ") } else { one.to_owned() }
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

    /// What has happened since it was compared last, if something has that the next comparison will look at: until then its sync and
    /// health are those of before.
    ///
    /// Those are what the controller goes by itself (`needRefreshAppStatus` in `controller/appcontroller.go`, v3.5.1). When an
    /// operation has ended that was no dry run, it asks itself for a comparison (`processRequestedAppOperation`), and writes down
    /// when that began, in seconds; Argo CD's command line waits for it, too (`checkAppWaitConditions`).
    pub(super) fn news(&self) -> Option<String> {
        if self.metadata.annotations.as_ref().is_some_and(|one| one.refresh.is_some()) {
            return Some("a comparison was asked for".to_owned());
        }
        if self.is_not_compared() {
            return None;
        }
        if self.has_other_spec() {
            return Some("its spec was changed".to_owned());
        }
        if self.hydration().is_some_and(|hydration| hydration.phase == "Hydrating") {
            return Some("Argo CD is rendering what Git says now".to_owned());
        }
        let state = self.status.operation_state.as_ref().filter(|_| self.running().is_none())?;
        if state.is_dry_run() {
            return None;
        }
        let ended: Timestamp = state.finished_at.as_ref()?.parse().ok()?;
        let compared = self.status.reconciled_at.as_ref().and_then(|at| at.parse::<Timestamp>().ok());
        compared.is_none_or(|compared| compared < ended).then(|| format!("an operation ended at {ended}"))
    }

    /// Whether Argo CD has looked, and finds nothing that it could compare: it says so by conditions, and keeps the time and the
    /// spec of the comparison before (`processAppRefreshQueueItem`, `refreshAppConditions`).
    fn is_not_compared(&self) -> bool {
        let is_unknown = self.status.sync.status == "Unknown" && self.status.health.status == "Unknown";
        is_unknown && self.has_condition(&["InvalidSpecError", "UnknownError"])
    }

    /// Whether its spec is another one than was compared.
    fn has_other_spec(&self) -> bool {
        let (now, then) = (&self.spec, self.status.sync.compared_to.as_ref());
        // It was never compared where that holds nothing.
        let Some(then) = then.filter(|then| !then.source.repo_url.is_empty() || !then.sources.is_empty()) else {
            return false;
        };
        let then_sources = if then.sources.is_empty() { std::slice::from_ref(&then.source) } else { &*then.sources };
        // A hydrated source is written there in another form.
        now.source_hydrator.is_none() && !are_same(now.all_sources(), then_sources)
            || !now.destination.may_be(&then.destination)
            || now.ignore_differences != then.ignore_differences
    }

    /// How far the rendering of its dry source has come. Until that is done, what Git says is compared as it was
    /// rendered before (argoproj/argo-cd#22303).
    fn hydration(&self) -> Option<&Hydration> {
        self.spec.source_hydrator.as_ref()?;
        self.status.source_hydrator.as_ref()?.current_operation.as_ref()
    }

    /// What Argo CD says where it failed to render what Git says now.
    pub(super) fn failed_hydration(&self) -> Option<&str> {
        self.hydration().filter(|hydration| hydration.phase == "Failed").map(|hydration| &*hydration.message)
    }

    /// The last operation, if it was a sync of some resources only, and succeeded.
    pub(super) fn last_partial_sync(&self) -> Option<&OperationState> {
        let last =
            self.status.operation_state.as_ref().filter(|last| last.phase == "Succeeded" && !last.is_dry_run())?;
        last.operation.sync.as_ref().is_some_and(|sync| !sync.resources.is_empty()).then_some(last)
    }

    /// Whether auto-sync has tried in vain and says so (`autoSync` in `controller/appcontroller.go`, v2.14.0 to
    /// v3.5.1), or takes an operation that was never finished for its try (`alreadyAttemptedSync`, from v3.2.0 on;
    /// argoproj/argo-cd#29636). While a window forbids auto-sync, what it says may be of an older revision.
    pub(super) fn has_had_its_try(&self) -> bool {
        let told = ["Failed last sync attempt", "Failed sync attempt"];
        let says = |text: &str| told.iter().any(|start| text.starts_with(start));
        let was_left =
            |last: &OperationState| !last.phase.is_empty() && last.sync_result.is_none() && last.finished_at.is_none();
        self.status.conditions.iter().any(|one| one.type_ == "SyncError" && says(&one.message))
            || self.unfinished().is_none() && self.status.operation_state.as_ref().is_some_and(was_left)
    }

    /// The application that this one is a resource of, if that is told, as `namespace/name` where it is in another
    /// namespace than Argo CD's own (`InstanceName` of the `Application`).
    pub(super) fn parent(&self) -> Option<String> {
        let Metadata { name, namespace, annotations, .. } = &self.metadata;
        let (parent, of) = annotations.as_ref()?.tracking_id.split_once(':')?;
        let parent = parent.replacen('_', "/", 1);
        // An annotation may have been copied from another object, and Argo CD may manage itself.
        let is_own = of == format!("argoproj.io/Application:{namespace}/{name}");
        let is_itself = parent == *name || parent == format!("{namespace}/{name}");
        (is_own && !is_itself && !parent.is_empty()).then_some(parent)
    }

    /// Whether a condition of one of these types is there.
    pub(super) fn has_condition(&self, types: &[&str]) -> bool {
        self.status.conditions.iter().any(|one| types.contains(&&*one.type_))
    }

    /// Whether hooks run when it is deleted. A deletion that leaves what it runs leaves their finalizers, too (`Delete`
    /// in `server/application/application.go`, v3.5.1; argoproj/argo-cd#27278).
    pub(super) fn has_delete_hooks(&self) -> bool {
        let hooks = ["pre-delete-finalizer.argocd.argoproj.io", "post-delete-finalizer.argocd.argoproj.io"];
        self.metadata.finalizers.iter().any(|one| hooks.iter().any(|hook| one.starts_with(hook)))
    }

    /// Whether what it runs is deleted with it, by the finalizer that Argo CD sets (`Delete` in `server/application/application.go`).
    pub(super) fn is_cascading(&self) -> bool {
        self.metadata.finalizers.iter().any(|one| one.starts_with("resources-finalizer.argocd.argoproj.io"))
    }

    /// Whether its last operation is written down as running though it was taken away.
    pub(super) fn has_stale_operation(&self) -> bool {
        self.operation.is_none() && self.unfinished().is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_empty_is_no_difference_and_all_else_is() {
        let source = json!({ "repoURL": "a", "helm": { "parameters": [{ "name": "tag", "value": "1" }] } });
        for (other, same) in [
            (json!({ "helm": { "parameters": [{ "value": "1", "name": "tag" }] }, "repoURL": "a" }), true),
            (
                json!({ "repoURL": "a", "chart": "", "helm": { "parameters": [{ "name": "tag", "value": "1" }], "skipCrds": false },
                     "plugin": {}, "directory": { "jsonnet": {} }, "kustomize": null }),
                true,
            ),
            (json!({ "repoURL": "a", "helm": { "parameters": [{ "name": "tag", "value": "2" }] } }), false),
            (json!({ "repoURL": "a" }), false),
            (json!({}), false),
        ] {
            assert_eq!(Digest::of(source.clone()) == Digest::of(other.clone()), same, "{other}");
        }
        assert_eq!(Digest::of(json!({ "a": {} })), Digest::default());
    }

    proptest! {
        #[test]
        fn a_text_is_the_same_as_itself_only(one in "[a-c]{0,4}", other in "[a-c]{0,4}") {
            let same = Digest::of(json!({ "a": one })) == Digest::of(json!({ "a": other }));
            prop_assert_eq!(same, one == other);
        }
    }
}
