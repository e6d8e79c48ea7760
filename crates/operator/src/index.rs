//! Which objects of a kind go with which other objects of their namespace, so that a reconcile looks at its own and not
//! at all there are.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::ResourceExt;

use super::cache::{Cache, Kind};

/// A namespace and a name in it.
pub type Place = (String, String);

/// Objects by those that they go with. Cheap to clone. Filled by what a watch tells, after its store took it in.
pub struct Index<K> {
    goes_with: fn(&K) -> BTreeSet<String>,
    links: Arc<Mutex<Links>>,
}

#[derive(Default)]
struct Links {
    /// By the place of the other object: names of those that go with it.
    members: HashMap<Place, BTreeSet<String>>,
    /// By an object's place: the names of those that it goes with.
    goes_with: HashMap<Place, BTreeSet<String>>,
}

impl Links {
    fn remove(&mut self, place: &Place) -> BTreeSet<String> {
        let before = self.goes_with.remove(place).unwrap_or_default();
        for with in &before {
            let key = (place.0.clone(), with.clone());
            if let Some(members) = self.members.get_mut(&key) {
                members.remove(&place.1);
                if members.is_empty() {
                    self.members.remove(&key);
                }
            }
        }
        before
    }

    fn insert(&mut self, place: Place, with: BTreeSet<String>) {
        if with.is_empty() {
            return;
        }
        for name in &with {
            self.members.entry((place.0.clone(), name.clone())).or_default().insert(place.1.clone());
        }
        self.goes_with.insert(place, with);
    }
}

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Self { goes_with: self.goes_with, links: Arc::clone(&self.links) }
    }
}

impl<K: Kind> Index<K> {
    /// An empty index. `goes_with` names the other objects.
    pub fn new(goes_with: fn(&K) -> BTreeSet<String>) -> Self {
        Self { goes_with, links: Arc::default() }
    }

    /// Takes in an object that is new or changed, and returns the names of those that it went with before.
    pub fn insert(&self, object: &K) -> BTreeSet<String> {
        let place = place_of(object);
        let mut links = self.links();
        let with = (self.goes_with)(object);
        if links.goes_with.get(&place) == Some(&with) {
            return with;
        }
        let before = links.remove(&place);
        links.insert(place, with);
        before
    }

    /// Forgets an object, and returns the names of those that it went with.
    pub fn remove(&self, object: &K) -> BTreeSet<String> {
        self.links().remove(&place_of(object))
    }

    /// Starts anew from all objects there are, and returns the places that something went with before.
    pub fn replace(&self, all: &[Arc<K>]) -> Vec<Place> {
        let mut new = Links::default();
        for object in all {
            new.insert(place_of(object.as_ref()), (self.goes_with)(object));
        }
        std::mem::replace(&mut *self.links(), new).members.into_keys().collect()
    }

    /// The watched objects that go with the one of this name, ordered by their own names.
    pub fn members(&self, cache: &Cache<K>, namespace: &str, name: &str) -> Vec<Arc<K>> {
        let names: Vec<String> = {
            let links = self.links();
            links.members.get(&(namespace.to_owned(), name.to_owned())).into_iter().flatten().cloned().collect()
        };
        names.iter().filter_map(|name| cache.watched(namespace, name)).collect()
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place_of<K: Kind>(object: &K) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    fn object(name: &str, with: &[&str]) -> ConfigMap {
        let with: BTreeMap<&str, &str> = with.iter().map(|with| (*with, "")).collect();
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "here", "labels": with}})).unwrap()
    }

    /// An index whose objects are in a cache too, as a watch keeps them.
    fn filled(objects: &[ConfigMap]) -> (Index<ConfigMap>, Cache<ConfigMap>) {
        let index = Index::new(|object: &ConfigMap| object.labels().keys().cloned().collect());
        let (cache, mut writer) = Cache::unwatched();
        for object in objects {
            writer.apply_watcher_event(&Event::Apply(object.clone()));
            index.insert(object);
        }
        (index, cache)
    }

    fn names(index: &Index<ConfigMap>, cache: &Cache<ConfigMap>, with: &str) -> Vec<String> {
        index.members(cache, "here", with).iter().map(|object| object.name_any()).collect()
    }

    #[test]
    fn members_are_found_by_the_object_they_go_with() {
        let (index, cache) = filled(&[object("b", &["x"]), object("a", &["x", "z"]), object("c", &[])]);
        assert_eq!(names(&index, &cache, "x"), ["a", "b"]);
        assert_eq!(names(&index, &cache, "z"), ["a"], "it goes with two");
        assert!(index.members(&cache, "there", "x").is_empty(), "another namespace has its own");

        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(index.insert(&object("a", &["y"])), set(&["x", "z"]), "it went with x and z before");
        assert_eq!(index.insert(&object("a", &["y"])), set(&["y"]), "and now it stays");
        assert_eq!((names(&index, &cache, "x"), names(&index, &cache, "y")), (vec!["b".into()], vec!["a".into()]));

        assert_eq!(index.remove(&object("b", &["x"])), set(&["x"]));
        assert_eq!(index.remove(&object("b", &["x"])), set(&[]), "gone already");
        assert!(names(&index, &cache, "x").is_empty());
        assert_eq!(index.insert(&object("a", &[])), set(&["y"]), "it goes with nothing any more");
        assert!(index.links().members.is_empty() && index.links().goes_with.is_empty(), "nothing is left over");
    }

    #[test]
    fn a_new_list_replaces_what_was_known_and_tells_who_may_have_lost_members() {
        let (index, cache) = filled(&[object("a", &["x"]), object("b", &["y"])]);
        let mut before = index.replace(&[Arc::new(object("b", &["y"]))]);
        before.sort();
        assert_eq!(before, [("here".to_owned(), "x".to_owned()), ("here".to_owned(), "y".to_owned())]);
        assert!(names(&index, &cache, "x").is_empty());
        assert_eq!(names(&index, &cache, "y"), ["b"]);
    }
}
