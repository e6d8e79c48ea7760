//! The apply step: makes the live objects what they should be, by server-side apply with one field manager, and only
//! where they differ. An object that belongs to somebody else is never touched.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde::Serialize;
use serde_json::{Value, json};
use tracing::info;

use super::{
    build::Resources,
    difference::{self, ANNOTATION_APPLIED_DIGEST},
    validate::ValidatedConnector,
};
use crate::{
    api::{FIELD_MANAGER, LABEL_CONNECTOR, LABEL_MANAGED_BY, Reason, owned_name},
    operator::{
        cache::{Cache, Kind},
        context::{API_TIMEOUT, Context},
    },
};

/// Takes over `spec.replicas` when a user unsets them, so that the number stays as it is until an autoscaler sets it.
const REPLICAS_FIELD_MANAGER: &str = "mcp-connectors-replicas";

/// On a suspended Deployment: that its zero replicas are ours and not an autoscaler's.
const ANNOTATION_SUSPENDED: &str = "mcp-connectors.io/suspended";

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
            Self::Api { .. } | Self::Timeout { .. } | Self::Serialize { .. } => Reason::ApplyFailed,
        }
    }
}

/// Makes every owned object what it should be and returns the Deployment as it is afterwards.
///
/// # Errors
/// With the first object that can't be brought into its form. Those before it stay applied.
pub async fn apply(
    context: &Context,
    connector: &ValidatedConnector,
    resources: &Resources,
) -> Result<Deployment, Error> {
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
    let step = Step { context, connector };
    let caches = &context.caches;
    step.apply("ServiceAccount", &caches.service_accounts, service_account).await?;
    step.apply("ConfigMap", &caches.config_maps, config_map).await?;
    // Before the pods, so that none runs without it.
    step.apply("NetworkPolicy", &caches.network_policies, network_policy).await?;
    step.apply("Service", &caches.services, service).await?;
    match pod_disruption_budget {
        Some(budget) => {
            step.apply("PodDisruptionBudget", &caches.pod_disruption_budgets, budget).await?;
        }
        None => step.remove("PodDisruptionBudget", &caches.pod_disruption_budgets).await?,
    }
    step.apply_deployment(deployment).await
}

struct Step<'a> {
    context: &'a Context,
    connector: &'a ValidatedConnector,
}

impl Step<'_> {
    async fn apply<K: Kind + Serialize>(&self, kind: &'static str, cache: &Cache<K>, desired: &K) -> Result<K, Error> {
        let name = desired.name_any();
        let serialize = |source| Error::Serialize { kind, name: name.clone(), source };
        let live = self.live(kind, cache, &name).await?;
        let mut wanted = serde_json::to_value(desired).map_err(serialize)?;
        let digest = difference::digest(&wanted);
        if let Some(live) = &live {
            self.check_owner(kind, live)?;
            let found = serde_json::to_value(live).map_err(serialize)?;
            if difference::applied_digest(live.meta()) == Some(&digest) && difference::is_covered(&wanted, &found) {
                return Ok(live.clone());
            }
        }
        annotate(&mut wanted, ANNOTATION_APPLIED_DIGEST, &digest);
        let api = Api::<K>::namespaced(self.context.client.clone(), &self.connector.namespace);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let applied = self.call("apply", kind, &name, api.patch(&name, &parameters, &Patch::Apply(&wanted))).await?;
        info!(
            namespace = %self.connector.namespace,
            connector = %self.connector.name,
            kind,
            created = live.is_none(),
            "object applied"
        );
        cache.record(applied.clone());
        Ok(applied)
    }

    async fn apply_deployment(&self, desired: &Deployment) -> Result<Deployment, Error> {
        const KIND: &str = "Deployment";
        let mut desired = desired.clone();
        if self.connector.suspended {
            desired.annotations_mut().insert(ANNOTATION_SUSPENDED.to_owned(), "true".to_owned());
        }
        let wants_replicas = desired.spec.as_ref().is_some_and(|spec| spec.replicas.is_some());
        let name = desired.name_any();
        let cache = &self.context.caches.deployments;
        if !wants_replicas
            && let Some(live) = self.live(KIND, cache, &name).await?
            && self.check_owner(KIND, &live).is_ok()
        {
            let api = Api::<Deployment>::namespaced(self.context.client.clone(), &self.connector.namespace);
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
        let api = Api::<K>::namespaced(self.context.client.clone(), &self.connector.namespace);
        match self.call("delete", kind, &name, api.delete(&name, &parameters)).await {
            // Gone already, or changed since: the watch tells, and this runs again.
            Err(Error::Api { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.is_not_found() || status.is_conflict()) => {
                Ok(())
            }
            other => other.map(|_| ()),
        }
    }

    /// The object as it is. One that isn't watched may exist all the same, without our labels.
    async fn live<K: Kind>(&self, kind: &'static str, cache: &Cache<K>, name: &str) -> Result<Option<K>, Error> {
        if let Some(object) = cache.get(&self.connector.namespace, name) {
            return Ok(Some(object.as_ref().clone()));
        }
        let api = Api::<K>::namespaced(self.context.client.clone(), &self.connector.namespace);
        self.call("get", kind, name, api.get_opt(name)).await
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
}

fn is_owned<K: Resource<DynamicType = ()>>(live: &K, connector: &ValidatedConnector) -> bool {
    live.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == connector.owner.uid)
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
