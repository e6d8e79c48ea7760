//! What the operator knows of the cluster: one watch a kind, each in a task of its own, feeding a store.
//!
//! kube's `Controller` merges all its watches behind one shared backoff; while that waits, no watch is polled, and after
//! connection trouble they can starve each other for ever (stackabletech/trino-operator#936). Here every watch backs off
//! alone, and what the reconcilers get are object references, which can't fail.
//!
//! A store lags behind our own writes, so each write's answer is kept until the watch has caught up with it. Without
//! that the next reconcile would see the past and write again.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
use kube::{
    Api, Resource,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store::Writer},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tracing::warn;

use super::health::WatchHealth;

/// How long a write's answer counts when the watch never shows the object: by then somebody else has deleted it.
const WRITE_MEMORY: Duration = Duration::from_secs(30);

/// What is asked of a kind to be watched, read and written here: namespaced, and known at compile time.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Answers to our writes, until the watch has caught up with them.
type Written<K> = Arc<Mutex<HashMap<ObjectRef<K>, (Instant, Arc<K>)>>>;

/// Versions of objects that came back from an apply otherwise than they were asked for.
type Otherwise<K> = Arc<Mutex<HashMap<ObjectRef<K>, u64>>>;

/// The newest known state of every object of one kind.
pub struct Cache<K: Resource + Clone + 'static>
where
    K::DynamicType: Eq + Hash + Clone,
{
    store: Store<K>,
    written: Written<K>,
    otherwise: Otherwise<K>,
    slim: fn(&mut K),
}

impl<K> Clone for Cache<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            written: Arc::clone(&self.written),
            otherwise: Arc::clone(&self.otherwise),
            slim: self.slim,
        }
    }
}

impl<K: Kind> Cache<K> {
    /// The newest known state of an object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::new(name).within(namespace);
        let watched = self.store.get(&key);
        let mut written = lock(&self.written);
        let Some((at, ours)) = written.get(&key) else { return watched };
        let caught_up = watched
            .as_ref()
            .map_or(at.elapsed() > WRITE_MEMORY, |watched| version(watched.as_ref()) >= version(ours.as_ref()));
        if caught_up {
            written.remove(&key);
            return watched;
        }
        Some(Arc::clone(ours))
    }

    /// Remembers the answer to a write of ours, and returns it as it is kept.
    pub fn record(&self, object: K) -> Arc<K> {
        let object = Arc::new(self.as_kept(object));
        let key = ObjectRef::from_obj(object.as_ref());
        lock(&self.written).insert(key, (Instant::now(), Arc::clone(&object)));
        object
    }

    /// An object as it is kept, to be compared with one that is.
    pub fn as_kept(&self, mut object: K) -> K {
        (self.slim)(&mut object);
        object
    }

    /// Remembers whether an object came back from an apply otherwise than it was asked for; true if that is new.
    pub fn keep_otherwise(&self, object: &K, is_otherwise: bool) -> bool {
        let (key, mut otherwise) = (ObjectRef::from_obj(object), lock(&self.otherwise));
        if !is_otherwise {
            otherwise.remove(&key);
            return false;
        }
        otherwise.retain(|other, _| self.store.get(other).is_some());
        otherwise.insert(key, version(object)).is_none()
    }

    /// Whether this version of an object is what the last apply came to, though it isn't what was asked for.
    pub fn is_kept_otherwise(&self, object: &K) -> bool {
        lock(&self.otherwise).get(&ObjectRef::from_obj(object)) == Some(&version(object))
    }

    /// An object as it is watched. Writes that the watch hasn't shown yet are not in it.
    pub fn watched(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// Everything that is watched. Writes that the watch hasn't shown yet are not in it.
    pub fn state(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// The store behind it.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// Forgets an answer that the watch has caught up with. Whether the object is just what we wrote: then nobody else did
    /// anything since, and whoever wrote it has acted on the answer already.
    fn caught_up(&self, object: &K) -> bool {
        let key = ObjectRef::from_obj(object);
        let mut written = lock(&self.written);
        let Some(ours) = written.get(&key).map(|(_, ours)| version(ours.as_ref())) else { return false };
        if version(object) >= ours {
            written.remove(&key);
        }
        version(object) == ours
    }
}

#[cfg(test)]
impl<K: Kind> Cache<K> {
    /// A cache that no watch fills, but the test.
    pub fn unwatched() -> (Self, Writer<K>) {
        let writer = Writer::new(());
        let (written, otherwise) = (Arc::default(), Arc::default());
        (Self { store: writer.as_reader(), written, otherwise, slim: |_| {} }, writer)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resource versions can be compared as numbers (KEP-5504).
fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// What a watch tells.
pub enum Notice<'a, K> {
    /// This object is new, or changed.
    Changed(&'a K),
    /// This object is as we wrote it ourselves: the watch has caught up with us, and nobody else did anything.
    Echoed(&'a K),
    /// This object is gone.
    Gone(&'a K),
    /// The list is whole, at the start or after the watch was away. These are all objects there are; what happened in
    /// between, deletions above all, was not told.
    Listed(&'a [Arc<K>]),
}

/// How a kind is watched.
pub struct Watched<K> {
    /// Its name, as logs and metrics show it.
    pub kind: &'static str,
    /// What is listed and watched.
    pub api: Api<K>,
    /// Which of it.
    pub config: watcher::Config,
    /// Takes out of an object what nobody here looks at, before it is kept.
    pub slim: fn(&mut K),
}

/// Starts to watch a kind. `notify` is called after the store has taken a change in.
pub fn watch<K: Kind>(
    tasks: &mut JoinSet<&'static str>,
    health: &WatchHealth,
    watched: Watched<K>,
    notify: impl Fn(Notice<'_, K>) + Send + 'static,
) -> Cache<K> {
    let Watched { kind, api, config, slim } = watched;
    let mut writer = Writer::<K>::new(());
    let cache = Cache { store: writer.as_reader(), written: Arc::default(), otherwise: Arc::default(), slim };
    let own = cache.clone();
    health.register(kind, K::plural(&()).into_owned());
    let health = health.clone();
    tasks.spawn(async move {
        let mut events = watcher(api, config).default_backoff().modify(slim).boxed();
        // The stream of a watcher never ends.
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    warn!(kind, error = %root_cause(&error), "watch failed; it is tried again");
                    continue;
                }
            };
            writer.apply_watcher_event(&event);
            health.moved(kind, matches!(event, watcher::Event::InitDone));
            match &event {
                watcher::Event::Apply(object) if own.caught_up(object) => notify(Notice::Echoed(object)),
                watcher::Event::Apply(object) => notify(Notice::Changed(object)),
                watcher::Event::Delete(object) => {
                    own.caught_up(object);
                    notify(Notice::Gone(object));
                }
                watcher::Event::InitDone => notify(Notice::Listed(&own.state())),
                watcher::Event::Init | watcher::Event::InitApply(_) => {}
            }
        }
        kind
    });
    cache
}

/// The innermost error, which says what happened; the layers around it only say where.
pub fn root_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

#[cfg(test)]
mod tests;
