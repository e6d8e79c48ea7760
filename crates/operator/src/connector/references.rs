//! What was read of objects that specs refer to and that are not watched: of a `ConfigMap` one key, of a Service its ports
//! and its selector. It is remembered for some minutes, within bounds: whoever may write a connector may name any number
//! of objects, each as large as the API server takes.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{ConfigMap, Service, ServicePort, ServiceSpec};
use kube::api::ObjectMeta;
use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

/// What was there is looked at again after this time.
pub const FOUND_FOR: Duration = Duration::from_mins(5);
/// What was missing is looked at again after this time.
const MISSING_FOR: Duration = Duration::from_secs(15);

/// Bytes of a trust bundle. The public authorities of Debian or Mozilla are 220 kB, so there is room for those of a company
/// beside them; and the three bundles that a connector may name fit into one `ConfigMap`, which may have 1 MiB.
pub const MAX_BUNDLE: usize = 320 * 1024;
/// Bytes of all that is remembered of a kind. What was read longest ago by the namespace that has most goes first.
const MAX_REMEMBERED: usize = 4 * 1024 * 1024;
/// Bytes that an entry has beside its texts, or more.
const ENTRY: usize = 512;
/// Bytes of a connector's trust bundles from which on they are large.
const LARGE: usize = 32 * 1024;
/// Connectors with large bundles that are built and applied at a time: their objects are there in several forms meanwhile.
const LARGE_AT_A_TIME: usize = 4;
/// Objects that are read at a time. Each may have 1.5 MB until it is known what is needed of it.
const READ_AT_A_TIME: usize = 2;

/// A trust bundle, as far as it can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bundle {
    /// There is no such `ConfigMap`.
    #[default]
    NoConfigMap,
    /// The `ConfigMap` has no such key.
    NoKey,
    /// It has so many bytes, and is not kept.
    TooLarge(usize),
    /// The text, which all who name an equal one share.
    Text(Arc<str>),
}

impl Bundle {
    /// A bundle of a `ConfigMap` that was read whole.
    #[must_use]
    pub fn of(config_map: Option<&ConfigMap>, key: &str) -> Self {
        let Some(config_map) = config_map else { return Self::NoConfigMap };
        Self::from_text(config_map.data.as_ref().and_then(|data| data.get(key)).map(String::as_str))
    }

    /// A bundle of a `ConfigMap` as the API server writes it.
    ///
    /// # Errors
    /// When it is no object, or the key's value no text.
    pub(super) fn read(json: &str, key: &str) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let text = Field { name: "data", inner: Field { name: key, inner: PhantomData::<String> } }
            .deserialize(&mut deserializer)?;
        Ok(Self::from_text(text.flatten().as_deref()))
    }

    fn from_text(text: Option<&str>) -> Self {
        match text {
            None => Self::NoKey,
            Some(text) if text.len() > MAX_BUNDLE => Self::TooLarge(text.len()),
            Some(text) => Self::Text(text.into()),
        }
    }
}

/// One field of an object; the others are read over.
struct Field<'a, S> {
    name: &'a str,
    inner: S,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Field<'_, S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Field<'_, S> {
    type Value = Option<S::Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut inner, mut found) = (Some(self.inner), None);
        while let Some(name) = map.next_key::<String>()? {
            match inner.take_if(|_| name == self.name) {
                Some(seed) => found = Some(map.next_value_seed(seed)?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// The status of an object as the API server writes it; nothing if it has none.
///
/// # Errors
/// When it is no object.
pub(super) fn status_of(json: &str) -> serde_json::Result<Value> {
    let field = Field { name: "status", inner: PhantomData::<Value> };
    Ok(field.deserialize(&mut serde_json::Deserializer::from_str(json))?.unwrap_or_default())
}

/// Of a Service, where it is, its ports and its selector.
pub(super) fn slim_service(service: Service) -> Arc<Service> {
    let port = |port: ServicePort| ServicePort {
        port: port.port,
        target_port: port.target_port,
        protocol: None,
        ..ServicePort::default()
    };
    Arc::new(Service {
        metadata: ObjectMeta {
            name: service.metadata.name,
            namespace: service.metadata.namespace,
            ..ObjectMeta::default()
        },
        spec: service.spec.map(|spec| ServiceSpec {
            selector: spec.selector,
            ports: spec.ports.map(|ports| ports.into_iter().map(port).collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    })
}

/// What can be remembered.
pub(super) trait Remember: Clone {
    /// Whether nothing was there.
    fn is_missing(&self) -> bool;
    /// Bytes of it, and where they are: what is at the same place counts once.
    fn bytes(&self) -> (usize, Option<*const u8>);
    /// Takes over an equal value's bytes, instead of having the same ones again.
    fn share(&mut self, _other: &Self) {}
}

impl Remember for Bundle {
    fn is_missing(&self) -> bool {
        *self == Self::NoConfigMap
    }

    fn bytes(&self) -> (usize, Option<*const u8>) {
        match self {
            Self::Text(text) => (text.len(), Some(text.as_ptr())),
            Self::NoConfigMap | Self::NoKey | Self::TooLarge(_) => (0, None),
        }
    }

    fn share(&mut self, other: &Self) {
        if self == other {
            *self = other.clone();
        }
    }
}

impl Remember for Option<Arc<Service>> {
    fn is_missing(&self) -> bool {
        self.is_none()
    }

    fn bytes(&self) -> (usize, Option<*const u8>) {
        let Some(spec) = self.as_ref().and_then(|service| service.spec.as_ref()) else { return (0, None) };
        let selector = spec.selector.iter().flatten().map(|(key, value)| key.len() + value.len() + ENTRY / 4);
        let ports = spec.ports.as_ref().map_or(0, Vec::len) * size_of::<ServicePort>();
        (selector.sum::<usize>() + ports, None)
    }
}

/// The namespace, the object's name, and what of it.
pub(super) type Key = (String, String, String);

struct Entry<V> {
    at: Instant,
    value: V,
}

/// What is remembered of one kind.
pub(super) struct Remembered<V>(Mutex<HashMap<Key, Entry<V>>>);

impl<V> Default for Remembered<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Remember> Remembered<V> {
    /// What is still good.
    pub(super) fn get(&self, key: &Key) -> Option<V> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|entry| is_good(entry)).map(|entry| entry.value.clone())
    }

    /// Remembers what was read just now, and returns it as it is kept. Room is made for it.
    pub(super) fn insert(&self, key: Key, mut value: V) -> V {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| is_good(entry));
        entries.values().for_each(|entry| value.share(&entry.value));
        entries.insert(key, Entry { at: Instant::now(), value: value.clone() });
        while weight(&entries) > MAX_REMEMBERED
            && let Some(key) = dispensable(&entries)
        {
            entries.remove(&key);
        }
        value
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn is_good<V: Remember>(entry: &Entry<V>) -> bool {
    entry.at.elapsed() < if entry.value.is_missing() { MISSING_FOR } else { FOUND_FOR }
}

fn bytes_of<V: Remember>(key: &Key, entry: &Entry<V>) -> usize {
    ENTRY + key.0.len() + key.1.len() + key.2.len() + entry.value.bytes().0
}

/// Bytes of all entries; what several share counts once.
fn weight<V: Remember>(entries: &HashMap<Key, Entry<V>>) -> usize {
    let mut seen = HashSet::new();
    let bytes = entries.iter().map(|(key, entry)| match entry.value.bytes() {
        (shared, Some(at)) if !seen.insert(at) => bytes_of(key, entry).saturating_sub(shared),
        _ => bytes_of(key, entry),
    });
    bytes.sum()
}

/// What was read longest ago of the namespace that has most: nobody's entries go because of another's.
fn dispensable<V: Remember>(entries: &HashMap<Key, Entry<V>>) -> Option<Key> {
    let mut of_namespace: HashMap<&str, usize> = HashMap::new();
    for (key, entry) in entries {
        *of_namespace.entry(key.0.as_str()).or_default() += bytes_of(key, entry);
    }
    let (largest, _) = of_namespace.into_iter().max_by_key(|(_, bytes)| *bytes)?;
    let of_largest = entries.iter().filter(|(key, _)| key.0 == largest);
    of_largest.min_by_key(|(_, entry)| entry.at).map(|(key, _)| key.clone())
}

/// Objects that specs refer to and that are not watched.
pub struct ReferenceCache {
    pub(super) bundles: Remembered<Bundle>,
    pub(super) services: Remembered<Option<Arc<Service>>>,
    /// Who may read an object just now.
    pub(super) reading: Semaphore,
    /// Who may build and apply objects with large bundles in them just now.
    building: Semaphore,
}

impl ReferenceCache {
    /// Waits until there is room for objects with these bundles in them; nothing where they are small.
    pub(super) async fn room_for(&self, bundles: [&Bundle; 3]) -> Option<SemaphorePermit<'_>> {
        if bundles.iter().map(|bundle| bundle.bytes().0).sum::<usize>() <= LARGE {
            return None;
        }
        // It is never closed.
        self.building.acquire().await.ok()
    }
}

impl Default for ReferenceCache {
    fn default() -> Self {
        Self {
            bundles: Remembered::default(),
            services: Remembered::default(),
            reading: Semaphore::new(READ_AT_A_TIME),
            building: Semaphore::new(LARGE_AT_A_TIME),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn key(namespace: &str, name: usize) -> Key {
        (namespace.to_owned(), format!("m{name}"), "ca.crt".to_owned())
    }

    fn text(value: &str) -> Bundle {
        Bundle::Text(value.into())
    }

    #[test]
    fn of_a_config_map_only_the_named_key_is_kept() {
        let whole = json!({
            "metadata": {"name": "m", "annotations": {"ca.crt": "no"}, "managedFields": [{"data": {"ca.crt": "no"}}]},
            "binaryData": {"ca.crt": "no"},
            "data": {"a": "x".repeat(900_000), "ca.crt": "yes\n", "z": ""},
        });
        assert_eq!(Bundle::read(&whole.to_string(), "ca.crt").unwrap(), text("yes\n"));
        for (json, bundle) in [
            (json!({"data": {"other": "x"}}), Bundle::NoKey),
            (json!({"data": null}), Bundle::NoKey),
            (json!({}), Bundle::NoKey),
            (json!({"data": {"ca.crt": ""}}), text("")),
            (json!({"data": {"ca.crt": "x".repeat(MAX_BUNDLE)}}), text(&"x".repeat(MAX_BUNDLE))),
            (json!({"data": {"ca.crt": "x".repeat(MAX_BUNDLE + 1)}}), Bundle::TooLarge(MAX_BUNDLE + 1)),
        ] {
            assert_eq!(Bundle::read(&json.to_string(), "ca.crt").unwrap(), bundle);
            let map: ConfigMap = serde_json::from_value(json).unwrap();
            assert_eq!(Bundle::of(Some(&map), "ca.crt"), bundle, "as of one that was read whole");
        }
        let status = status_of("{\"spec\": [{}], \"status\": {\"conditions\": []}}").unwrap();
        assert_eq!((status, status_of("{}").unwrap()), (json!({"conditions": []}), Value::Null));
        assert!(Bundle::read("[]", "ca.crt").is_err() && Bundle::read("{\"data\": {\"k\": 1}}", "k").is_err());
    }

    #[test]
    fn equal_bundles_are_one() {
        let remembered = Remembered::default();
        let large = "x".repeat(MAX_BUNDLE);
        for name in 0..1_000 {
            remembered.insert(key("a", name), text(&large));
        }
        assert_eq!(remembered.len(), 1_000);
        let places: HashSet<_> = (0..1_000).filter_map(|name| remembered.get(&key("a", name))?.bytes().1).collect();
        assert_eq!(places.len(), 1);
    }

    #[test]
    fn a_namespace_with_many_large_bundles_takes_nothing_from_another() {
        let remembered = Remembered::default();
        remembered.insert(key("other", 0), text(&"y".repeat(MAX_BUNDLE)));
        for name in 0..200 {
            let value = format!("{name}{}", "x".repeat(MAX_BUNDLE - 3));
            let kept = remembered.insert(key("a", name), text(&value));
            assert_eq!(kept, text(&value), "who asked gets what was read");
        }
        assert!(remembered.get(&key("other", 0)).is_some(), "though it is the oldest");
        assert!(remembered.get(&key("a", 199)).is_some() && remembered.get(&key("a", 0)).is_none());
        assert!(weight(&remembered.0.lock().unwrap()) <= MAX_REMEMBERED);
    }

    #[test]
    fn of_a_service_stays_where_it_leads() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "n", "annotations": {"a": "b"}, "labels": {"c": "d"}},
            "spec": {"clusterIP": "192.0.2.1", "selector": {"app": "v"}, "ports": [{"name": "p", "port": 80, "targetPort": "http"}]},
            "status": {"loadBalancer": {}},
        }))
        .unwrap();
        let left = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"},
            "spec": {"selector": {"app": "v"}, "ports": [{"port": 80, "targetPort": "http"}]},
        });
        assert_eq!(serde_json::to_value(slim_service(service).as_ref()).unwrap(), left);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn whatever_is_named_there_is_a_bound(
            named in proptest::collection::vec((0..4_usize, 0..40_usize, 0..=MAX_BUNDLE, any::<bool>()), 0..120),
        ) {
            let remembered = Remembered::default();
            for (namespace, name, length, same) in named {
                let filler = if same { "x".repeat(length) } else { format!("{name}{}", "x".repeat(length)) };
                let filler = filler.get(..length).unwrap_or_default();
                remembered.insert(key(&namespace.to_string(), name), text(filler));
                prop_assert!(remembered.get(&key(&namespace.to_string(), name)).is_some());
                prop_assert!(weight(&remembered.0.lock().unwrap()) <= MAX_REMEMBERED);
            }
        }
    }
}
