//! What is watched, and which connectors and sources have to be looked at again when something is told.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    cache::{Cache, Kind, Notice, Watched, watch},
    context::{Caches, Settings},
    health::WatchHealth,
    index::Index,
    pages, slim,
};
use api::{
    ANNOTATION_RELOAD_REQUESTED_AT, CredentialSource, FIELD_MANAGER, LABEL_CONNECTOR, LABEL_MANAGED_BY, McpConnector,
    limits::LimitsSpec, scope::Scope,
};

/// A reference to a connector.
pub type ConnectorRef = ObjectRef<DeserializeGuard<McpConnector>>;
/// A reference to a source.
pub type SourceRef = ObjectRef<DeserializeGuard<CredentialSource>>;

/// Where the references go to what has to be looked at.
#[derive(Clone)]
pub struct Queues {
    /// Connectors.
    pub connectors: mpsc::UnboundedSender<ConnectorRef>,
    /// Sources.
    pub sources: mpsc::UnboundedSender<SourceRef>,
}

impl Queues {
    // Both receivers live as long as their controllers; without those the process is ending.

    fn send_connector(&self, namespace: &str, name: &str) {
        drop(self.connectors.send(ObjectRef::new(name).within(namespace)));
    }

    fn send_source(&self, namespace: &str, name: &str) {
        drop(self.sources.send(ObjectRef::new(name).within(namespace)));
    }

    /// Every connector has to be looked at.
    pub fn send_all(&self, connectors: &Store<DeserializeGuard<McpConnector>>) {
        for connector in connectors.state() {
            drop(self.connectors.send(ObjectRef::from_obj(connector.as_ref())));
        }
    }
}

/// Starts every watch. What is owned is watched by our label. Of ignored namespaces nothing is received at all.
pub fn start_watches(
    tasks: &mut JoinSet<&'static str>,
    client: &Client,
    settings: &Settings,
    health: &WatchHealth,
    queues: &Queues,
) -> Caches {
    let all = || {
        let config = watcher::Config::default().page_size(pages::MOST);
        match settings.scope.field_selector() {
            Some(selector) => config.fields(&selector),
            None => config,
        }
    };
    let client = &pages::bounded(client);
    let ours = all().labels(&format!("{LABEL_MANAGED_BY}={FIELD_MANAGER}"));
    let users = Index::new(sources_of);
    let connectors = {
        let (users, queues) = (users.clone(), queues.clone());
        let watched = watched("McpConnector", client, settings, all(), slim::written);
        watch(tasks, health, watched, move |notice| on_connector(&notice, &users, &queues))
    };
    let sources = {
        let (users, connectors, queues) = (users.clone(), connectors.clone(), queues.clone());
        let generations = Mutex::default();
        let watched = watched("CredentialSource", client, settings, all(), slim::written);
        watch(tasks, health, watched, move |notice| on_source(&notice, &generations, &users, &connectors, &queues))
    };
    let pods_by_connector = Index::new(connector_of::<Pod>);
    let pods = {
        let (index, queues, connectors) = (pods_by_connector.clone(), queues.clone(), connectors.store());
        watch(tasks, health, watched("Pod", client, settings, ours.clone(), slim::pod), move |notice| {
            match &notice {
                Notice::Changed(pod) | Notice::Echoed(pod) => drop(index.insert(pod)),
                Notice::Gone(pod) => drop(index.remove(pod)),
                Notice::Listed(all) => drop(index.replace(all)),
            }
            on_owned(&notice, &connectors, &queues);
        })
    };
    let mut owned = Owned { tasks, client, settings, health, config: &ours, queues, connectors: &connectors.store() };
    Caches {
        service_accounts: owned.watch("ServiceAccount", slim::service_account),
        config_maps: owned.watch("ConfigMap", slim::config_map),
        services: owned.watch("Service", slim::service),
        network_policies: owned.watch("NetworkPolicy", slim::network_policy),
        pod_disruption_budgets: owned.watch("PodDisruptionBudget", slim::pod_disruption_budget),
        deployments: owned.watch("Deployment", slim::deployment),
        replica_sets: owned.watch("ReplicaSet", slim::replica_set),
        pods,
        pods_by_connector,
        connectors,
        users,
        sources,
    }
}

struct Owned<'a> {
    tasks: &'a mut JoinSet<&'static str>,
    client: &'a Client,
    settings: &'a Settings,
    health: &'a WatchHealth,
    config: &'a watcher::Config,
    queues: &'a Queues,
    connectors: &'a Store<DeserializeGuard<McpConnector>>,
}

impl Owned<'_> {
    fn watch<K: Kind>(&mut self, kind: &'static str, slim: fn(&mut K)) -> Cache<K> {
        let (queues, connectors) = (self.queues.clone(), self.connectors.clone());
        let watched = watched(kind, self.client, self.settings, self.config.clone(), slim);
        watch(self.tasks, self.health, watched, move |notice| on_owned(&notice, &connectors, &queues))
    }
}

fn watched<K: Kind>(
    kind: &'static str,
    client: &Client,
    settings: &Settings,
    config: watcher::Config,
    slim: fn(&mut K),
) -> Watched<K> {
    let api = match &settings.scope {
        Scope::One(namespace) => Api::namespaced(client.clone(), namespace),
        Scope::AllBut(_) => Api::all(client.clone()),
    };
    Watched { kind, api, config, slim }
}

/// A source's state follows from its connectors'. Our own write to a connector is no news to the connector itself.
fn on_connector(
    notice: &Notice<'_, DeserializeGuard<McpConnector>>,
    users: &Index<DeserializeGuard<McpConnector>>,
    queues: &Queues,
) {
    match notice {
        Notice::Changed(connector) | Notice::Echoed(connector) => {
            let namespace = connector.namespace().unwrap_or_default();
            let (before, now) = (users.insert(connector), sources_of(connector));
            // Also those that it used before: they have lost a user.
            for source in before.union(&now) {
                queues.send_source(&namespace, source);
            }
            if matches!(notice, Notice::Changed(_)) {
                queues.send_connector(&namespace, &connector.name_any());
            }
        }
        Notice::Gone(connector) => {
            for source in users.remove(connector) {
                queues.send_source(&connector.namespace().unwrap_or_default(), &source);
            }
        }
        Notice::Listed(all) => {
            for (namespace, source) in users.replace(all) {
                queues.send_source(&namespace, &source);
            }
            for connector in *all {
                let namespace = connector.namespace().unwrap_or_default();
                for source in sources_of(connector) {
                    queues.send_source(&namespace, &source);
                }
                queues.send_connector(&namespace, &connector.name_any());
            }
        }
    }
}

/// The uid and generation of each source, and when its credentials were to be read again, as its users last heard of it.
type Generations = HashMap<SourceRef, (Option<String>, Option<i64>, Option<String>)>;

/// A connector's acceptance follows from its source's spec, and a request for its credentials goes to all who use them. The status says nothing that a connector didn't say itself: if
/// its changes were passed on, every connector of a source would wake all others.
fn on_source(
    notice: &Notice<'_, DeserializeGuard<CredentialSource>>,
    generations: &Mutex<Generations>,
    users: &Index<DeserializeGuard<McpConnector>>,
    connectors: &Cache<DeserializeGuard<McpConnector>>,
    queues: &Queues,
) {
    let known = |source: &DeserializeGuard<CredentialSource>| {
        let reload = source.annotations().get(ANNOTATION_RELOAD_REQUESTED_AT).cloned();
        (ObjectRef::from_obj(source), (source.uid(), source.meta().generation, reload))
    };
    let mut generations = generations.lock().unwrap_or_else(PoisonError::into_inner);
    let news: Vec<SourceRef> = match notice {
        Notice::Changed(source) | Notice::Echoed(source) => {
            let (reference, generation) = known(source);
            let before = generations.insert(reference.clone(), generation.clone());
            (before != Some(generation)).then_some(reference).into_iter().collect()
        }
        Notice::Gone(source) => {
            let (reference, _) = known(source);
            generations.remove(&reference);
            vec![reference]
        }
        Notice::Listed(all) => {
            let now: Generations = all.iter().map(|source| known(source)).collect();
            let before = std::mem::replace(&mut *generations, now);
            let gone = before.keys().filter(|source| !generations.contains_key(*source));
            let changed = generations.iter().filter(|(source, now)| before.get(*source) != Some(*now));
            gone.chain(changed.map(|(source, _)| source)).cloned().collect()
        }
    };
    drop(generations);
    for source in news {
        let namespace = source.namespace.unwrap_or_default();
        for connector in users.members(connectors, &namespace, &source.name) {
            queues.send_connector(&namespace, &connector.name_any());
        }
    }
    let own: Vec<SourceRef> = match notice {
        Notice::Changed(source) => vec![ObjectRef::from_obj(source)],
        Notice::Listed(all) => all.iter().map(|source| ObjectRef::from_obj(source.as_ref())).collect(),
        Notice::Echoed(_) | Notice::Gone(_) => Vec::new(),
    };
    for source in own {
        queues.send_source(&source.namespace.unwrap_or_default(), &source.name);
    }
}

/// A change of an owned object that somebody else made, and a deletion above all, goes to the connector that the label
/// names.
fn on_owned<K: Kind>(notice: &Notice<'_, K>, connectors: &Store<DeserializeGuard<McpConnector>>, queues: &Queues) {
    match notice {
        Notice::Changed(object) | Notice::Gone(object) => {
            if let (Some(name), Some(namespace)) = (object.labels().get(LABEL_CONNECTOR), object.namespace()) {
                queues.send_connector(&namespace, name);
            }
        }
        Notice::Echoed(_) => {}
        Notice::Listed(_) => queues.send_all(connectors),
    }
}

/// The sources that a connector uses: for its platform, and for its shared rate limit.
fn sources_of(connector: &DeserializeGuard<McpConnector>) -> BTreeSet<String> {
    let Ok(connector) = &connector.0 else { return BTreeSet::new() };
    let limit = connector.spec.limits.as_ref().and_then(LimitsSpec::shared_credentials);
    std::iter::once(connector.spec.credentials.name.as_str()).chain(limit).map(str::to_owned).collect()
}

fn connector_of<K: Kind>(object: &K) -> BTreeSet<String> {
    object.labels().get(LABEL_CONNECTOR).cloned().into_iter().collect()
}

#[cfg(test)]
mod tests;
