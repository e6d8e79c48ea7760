//! The apply step: makes the live objects what they should be, by server-side apply with one field manager, and only
//! where they differ. An object that belongs to somebody else is never touched.

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde::Serialize;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::{
    build::Resources,
    difference::{self, ANNOTATION_APPLIED_DIGEST},
    validate::ValidatedConnector,
};
use crate::{
    cache::{Cache, Kind},
    context::{API_TIMEOUT, Caches},
};
use api::{FIELD_MANAGER, LABEL_CONNECTOR, LABEL_MANAGED_BY, McpConnector, Reason, owned_name};

/// Takes over `spec.replicas` when a user unsets them, so that the number stays as it is until an autoscaler sets it.
const REPLICAS_FIELD_MANAGER: &str = "mcp-connectors-replicas";

/// The version of the key-value store when it is empty, which is older than any object.
const VERSION_OF_NOTHING: &str = "1";

/// On a suspended Deployment: that its zero replicas are ours and not an autoscaler's.
pub(crate) const ANNOTATION_SUSPENDED: &str = "mcp-connectors.io/suspended";

/// Why an object can't be brought into its form.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It belongs to somebody else.
    #[error(
        "{kind} {name} exists and belongs to {owner}; it is left untouched. Rename or remove it, or give the McpConnector \
         another name"
    )]
    NameTaken {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// Somebody else has made it immutable, and it isn't what it should be.
    #[error(
        "ConfigMap {name} is immutable, which somebody else has made it, and does not hold what the connector's pods are to \
         read: delete it, and the operator makes it anew (kubectl delete configmap {name} --namespace {namespace}). Pods that \
         go on refusing their configuration then have to be deleted too, because a node keeps an immutable ConfigMap as long \
         as a pod on it has it"
    )]
    Immutable {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The API server's refusal.
        #[source]
        source: Box<Self>,
    },
    /// The API server refused.
    #[error("failed to {verb} {kind} {name}: {message}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The API server's words.
        message: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[error("the API server did not answer in time to {verb} {kind} {name}")]
    Timeout {
        /// What was tried.
        verb: &'static str,
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An object can't be written as JSON, which is a fault of this program.
    #[error("failed to write {kind} {name} as JSON")]
    Serialize {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// Reason for the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NameTaken { .. } => Reason::NameTaken,
            Self::Immutable { .. } | Self::Api { .. } | Self::Timeout { .. } | Self::Serialize { .. } => {
                Reason::ApplyFailed
            }
        }
    }

    /// Whether the API server understood what it was asked, and will not do it: a quota, a policy, a form that it doesn't
    /// take.
    pub fn is_refusal(&self) -> bool {
        const REFUSALS: [u16; 4] = [400, 403, 413, 422];
        match self {
            Self::Immutable { .. } => true,
            Self::Api { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if REFUSALS.contains(&status.code))
            }
            Self::NameTaken { .. } | Self::Timeout { .. } | Self::Serialize { .. } => false,
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_conflict()))
    }
}

/// What applying came to.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The Deployment as it is afterwards.
    pub deployment: Arc<Deployment>,
    /// Whether it was made just now, so that nobody can have looked at it yet.
    pub is_new: bool,
}

/// Makes every owned object what it should be; the Deployment stays as it is where it is `held`.
///
/// # Errors
/// With the first object, in the order of [`Resources`], that can't be brought into its form. Others may be applied.
pub async fn apply(
    client: &Client,
    caches: &Caches,
    connector: &ValidatedConnector,
    resources: &Resources,
    held: Option<&Arc<Deployment>>,
) -> Result<Applied, Error> {
    // Taken apart without `..`: a new kind can't be built and then forgotten here.
    let Resources {
        service_account,
        config_map,
        network_policy,
        service,
        pod_disruption_budget,
        deployment,
        config_digest: _,
    } = resources;
    let step = Step { client, connector };
    let budget = async {
        match pod_disruption_budget {
            Some(budget) => step.apply("PodDisruptionBudget", &caches.pod_disruption_budgets, budget).await.map(|_| ()),
            None => step.remove("PodDisruptionBudget", &caches.pod_disruption_budgets).await,
        }
    };
    // None of these needs another. All are waited for, so that the error which is told is always the same one.
    let (account, configuration, policy, service, budget) = futures::join!(
        step.apply("ServiceAccount", &caches.service_accounts, service_account),
        step.apply_config_map(&caches.config_maps, config_map),
        step.apply("NetworkPolicy", &caches.network_policies, network_policy),
        step.apply("Service", &caches.services, service),
        budget,
    );
    account?;
    configuration?;
    policy?;
    service?;
    budget?;
    if let Some(deployment) = held {
        return Ok(Applied { deployment: Arc::clone(deployment), is_new: false });
    }
    // Last, so that no pod starts on an old configuration or runs without its NetworkPolicy.
    let is_new = caches.deployments.get(&connector.namespace, &deployment.name_any()).is_none();
    Ok(Applied { deployment: step.apply_deployment(&caches.deployments, deployment).await?, is_new })
}

/// Stops the pods of a suspended connector from which no Deployment can be built.
///
/// # Errors
/// When the API server refuses it or doesn't answer.
pub async fn stop(client: &Client, caches: &Caches, connector: &McpConnector, namespace: &str) -> Result<(), Error> {
    let name = owned_name(&connector.name_any());
    let Some(live) = caches.deployments.get(namespace, &name) else { return Ok(()) };
    let runs = live.spec.as_ref().and_then(|spec| spec.replicas) != Some(0);
    if !runs || !connector.uid().is_some_and(|uid| is_owned_by(live.as_ref(), &uid)) {
        return Ok(());
    }
    let patch = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "annotations": {ANNOTATION_SUSPENDED: "true"}},
        "spec": {"replicas": 0},
    });
    let parameters = PatchParams::apply(REPLICAS_FIELD_MANAGER).force();
    let api = Api::<Deployment>::namespaced(client.clone(), namespace);
    let stopped = bounded("apply", "Deployment", &name, api.patch(&name, &parameters, &Patch::Apply(&patch))).await?;
    caches.deployments.record(stopped);
    info!(namespace, connector = connector.name_any(), "pods stopped: the connector is suspended");
    Ok(())
}

/// What came of creating an object.
enum Created<K> {
    /// It was not there, and is now.
    Now(K),
    /// It was there already, and is untouched. With the API server's refusal.
    Exists(Error),
}

struct Step<'a> {
    client: &'a Client,
    connector: &'a ValidatedConnector,
}

impl Step<'_> {
    fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.connector.namespace)
    }

    async fn apply<K: Kind + Serialize>(
        &self,
        kind: &'static str,
        cache: &Cache<K>,
        desired: &K,
    ) -> Result<Arc<K>, Error> {
        let name = desired.name_any();
        let serialize = |source| Error::Serialize { kind, name: name.clone(), source };
        let mut wanted = serde_json::to_value(desired).map_err(serialize)?;
        let digest = difference::digest(&wanted);
        let live = if let Some(live) = cache.get(&self.connector.namespace, &name) {
            live
        } else {
            let mut new = wanted.clone();
            annotate(&mut new, ANNOTATION_APPLIED_DIGEST, &digest);
            match self.create(kind, &name, new).await? {
                Created::Now(created) => {
                    self.tell(kind, true);
                    return Ok(cache.record(created));
                }
                // One that isn't watched may exist all the same, without our labels.
                Created::Exists(conflict) => {
                    let live = self.call("get", kind, &name, self.api::<K>().get_opt(&name)).await?;
                    Arc::new(cache.as_kept(live.ok_or(conflict)?))
                }
            }
        };
        self.check_owner(kind, live.as_ref())?;
        let kept = serde_json::to_value(cache.as_kept(desired.clone())).map_err(serialize)?;
        let found = serde_json::to_value(live.as_ref()).map_err(serialize)?;
        let is_applied = difference::applied_digest(live.meta()) == Some(&digest);
        if is_applied && (difference::is_covered(&kept, &found) || cache.is_kept_otherwise(live.as_ref())) {
            return Ok(live);
        }
        annotate(&mut wanted, ANNOTATION_APPLIED_DIGEST, &digest);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let api = self.api::<K>();
        let applied = self.call("apply", kind, &name, api.patch(&name, &parameters, &Patch::Apply(&wanted))).await?;
        self.tell(kind, false);
        let applied = cache.record(applied);
        let is_covered = difference::is_covered(&kept, &serde_json::to_value(applied.as_ref()).map_err(serialize)?);
        // Asking again and again would not change what an admission webhook makes of it.
        if cache.keep_otherwise(applied.as_ref(), !is_covered) {
            let (namespace, connector) = (&self.connector.namespace, &self.connector.name);
            warn!(%namespace, %connector, kind, "somebody, such as an admission webhook, makes something else of an object");
        }
        Ok(applied)
    }

    /// Applies an object that nobody has: with a version that no object has, the API server refuses to apply it to one
    /// that is there. Creating it by POST would do the same, but make the fields those of another kind of manager, which
    /// no later apply could remove.
    async fn create<K: Kind>(&self, kind: &'static str, name: &str, mut new: Value) -> Result<Created<K>, Error> {
        if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), json!(VERSION_OF_NOTHING));
        }
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let api = self.api::<K>();
        match self.call("create", kind, name, api.patch(name, &parameters, &Patch::Apply(&new))).await {
            Ok(created) => Ok(Created::Now(created)),
            Err(error) if error.is_conflict() => Ok(Created::Exists(error)),
            Err(error) => Err(error),
        }
    }

    fn tell(&self, kind: &'static str, created: bool) {
        info!(
            namespace = %self.connector.namespace,
            connector = %self.connector.name,
            kind,
            created,
            "object applied"
        );
    }

    /// Tells an immutable one from others that the API server refuses. It would have to be deleted, which the operator may
    /// do with no ConfigMap.
    async fn apply_config_map(&self, cache: &Cache<ConfigMap>, desired: &ConfigMap) -> Result<Arc<ConfigMap>, Error> {
        const KIND: &str = "ConfigMap";
        let refusal = match self.apply(KIND, cache, desired).await {
            Err(error) if error.is_refusal() => error,
            other => return other,
        };
        let name = desired.name_any();
        let live = self.call("get", KIND, &name, self.api::<ConfigMap>().get_opt(&name)).await;
        if !matches!(live, Ok(Some(ConfigMap { immutable: Some(true), .. }))) {
            return Err(refusal);
        }
        let namespace = self.connector.namespace.clone();
        Err(Error::Immutable { namespace, name, source: Box::new(refusal) })
    }

    async fn apply_deployment(
        &self,
        cache: &Cache<Deployment>,
        desired: &Deployment,
    ) -> Result<Arc<Deployment>, Error> {
        const KIND: &str = "Deployment";
        let mut desired = desired.clone();
        if self.connector.suspended {
            desired.annotations_mut().insert(ANNOTATION_SUSPENDED.to_owned(), "true".to_owned());
        }
        let wants_replicas = desired.spec.as_ref().is_some_and(|spec| spec.replicas.is_some());
        let name = desired.name_any();
        if !wants_replicas
            && let Some(live) = cache.get(&self.connector.namespace, &name)
            && self.check_owner(KIND, live.as_ref()).is_ok()
        {
            let api = self.api::<Deployment>();
            if live.annotations().contains_key(ANNOTATION_SUSPENDED) {
                // Coming back: an autoscaler leaves a Deployment with zero replicas alone.
                self.hand_over_replicas(&api, &name, 1).await?;
            } else if needs_change(&live, &desired) {
                // Rare, so the whole object is read: the cache keeps no managed fields.
                let whole = self.call("get", KIND, &name, api.get(&name)).await?;
                if owns_replicas(&whole) {
                    let replicas = whole.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                    self.hand_over_replicas(&api, &name, replicas).await?;
                }
            }
        }
        self.apply(KIND, cache, &desired).await
    }

    async fn hand_over_replicas(&self, api: &Api<Deployment>, name: &str, replicas: i32) -> Result<(), Error> {
        let patch = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas},
        });
        let parameters = PatchParams::apply(REPLICAS_FIELD_MANAGER).force();
        self.call("apply", "Deployment", name, api.patch(name, &parameters, &Patch::Apply(&patch))).await?;
        Ok(())
    }

    /// Removes an object that is no longer wanted, if it is ours.
    async fn remove<K: Kind>(&self, kind: &'static str, cache: &Cache<K>) -> Result<(), Error> {
        let name = owned_name(&self.connector.name);
        let Some(live) = cache.get(&self.connector.namespace, &name) else { return Ok(()) };
        if !is_owned(live.as_ref(), self.connector) || live.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: live.uid(), resource_version: live.resource_version() }),
            ..DeleteParams::default()
        };
        let api = self.api::<K>();
        match self.call("delete", kind, &name, api.delete(&name, &parameters)).await {
            // Gone already, or changed since: the watch tells, and this runs again.
            Err(Error::Api { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.is_not_found() || status.is_conflict()) => {
                Ok(())
            }
            other => other.map(|_| ()),
        }
    }

    fn check_owner<K: Resource<DynamicType = ()>>(&self, kind: &'static str, live: &K) -> Result<(), Error> {
        if is_owned(live, self.connector) || is_orphan(live, self.connector) {
            return Ok(());
        }
        let owner = live.owner_references().iter().find(|owner| owner.controller == Some(true)).map_or_else(
            || "nobody that its owner references name".to_owned(),
            |owner| format!("{} {}", owner.kind, owner.name),
        );
        Err(Error::NameTaken { kind, name: live.name_any(), owner })
    }

    async fn call<T>(
        &self,
        verb: &'static str,
        kind: &'static str,
        name: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        bounded(verb, kind, name, request).await
    }
}

pub(super) async fn bounded<T>(
    verb: &'static str,
    kind: &'static str,
    name: &str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(API_TIMEOUT, request)
        .await
        .map_err(|_| Error::Timeout { verb, kind, name: name.to_owned() })?
        .map_err(|source| Error::Api {
            verb,
            kind,
            name: name.to_owned(),
            message: match &source {
                kube::Error::Api(status) => status.message.clone(),
                _ => "the API server could not be asked".to_owned(),
            },
            source: Box::new(source),
        })
}

pub(super) fn is_owned<K: Resource<DynamicType = ()>>(live: &K, connector: &ValidatedConnector) -> bool {
    is_owned_by(live, &connector.owner.uid)
}

fn is_owned_by<K: Resource<DynamicType = ()>>(live: &K, uid: &str) -> bool {
    live.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// An object that carries our labels and no owner, as after a restore from a backup, is taken up again.
fn is_orphan<K: Resource<DynamicType = ()>>(live: &K, connector: &ValidatedConnector) -> bool {
    let labels = live.labels();
    live.owner_references().iter().all(|owner| owner.controller != Some(true))
        && labels.get(LABEL_MANAGED_BY).is_some_and(|value| value == FIELD_MANAGER)
        && labels.get(LABEL_CONNECTOR).is_some_and(|value| *value == connector.name)
}

fn needs_change(live: &Deployment, desired: &Deployment) -> bool {
    serde_json::to_value(desired)
        .is_ok_and(|wanted| difference::applied_digest(&live.metadata) != Some(&difference::digest(&wanted)))
}

fn owns_replicas(deployment: &Deployment) -> bool {
    deployment.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    })
}

fn annotate(object: &mut Value, key: &str, value: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(key.to_owned(), Value::String(value.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests;
