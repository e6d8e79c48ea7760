//! Who is sent word when something is told.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{reflector::store::Writer, watcher::Event};
use serde_json::json;

use super::*;
use crate::connector::testing;

type Connector = DeserializeGuard<McpConnector>;
type Source = DeserializeGuard<CredentialSource>;

/// Everything that the notices need, and both ends of the queues.
struct World {
    users: Index<Connector>,
    connectors: Cache<Connector>,
    writer: Writer<Connector>,
    generations: Mutex<Generations>,
    queues: Queues,
    connector_requests: mpsc::UnboundedReceiver<ConnectorRef>,
    source_requests: mpsc::UnboundedReceiver<SourceRef>,
}

impl World {
    fn new() -> Self {
        let (connectors, connector_requests) = mpsc::unbounded_channel();
        let (sources, source_requests) = mpsc::unbounded_channel();
        let queues = Queues { connectors, sources };
        let (connectors, writer) = Cache::unwatched();
        let (users, generations) = (Index::new(sources_of), Mutex::default());
        Self { users, connectors, writer, generations, queues, connector_requests, source_requests }
    }

    fn connector(&mut self, notice: &Notice<'_, Connector>) {
        if let Notice::Changed(connector) | Notice::Echoed(connector) = notice {
            self.writer.apply_watcher_event(&Event::Apply((*connector).clone()));
        }
        on_connector(notice, &self.users, &self.queues);
    }

    fn source(&self, notice: &Notice<'_, Source>) {
        on_source(notice, &self.generations, &self.users, &self.connectors, &self.queues);
    }

    /// Names of the connectors and of the sources that were sent word since the last look.
    fn told(&mut self) -> (Vec<String>, Vec<String>) {
        let mut connectors = Vec::new();
        while let Ok(reference) = self.connector_requests.try_recv() {
            connectors.push(reference.name);
        }
        let mut sources = Vec::new();
        while let Ok(reference) = self.source_requests.try_recv() {
            sources.push(reference.name);
        }
        connectors.sort();
        sources.sort();
        (connectors, sources)
    }
}

fn connector(name: &str, source: &str) -> Connector {
    let mut connector = testing::connector(testing::MINIMAL);
    connector.metadata.name = Some(name.to_owned());
    connector.spec.credentials.name = source.to_owned();
    DeserializeGuard(Ok(connector))
}

#[test]
fn the_source_of_a_shared_rate_limit_is_one_that_a_connector_uses() {
    let mut world = World::new();
    let mut shared = testing::connector(&format!(
        "{}\nlimits: {{shared: {{redis: {{address: 'redis:6379', credentials: {{name: counter}}}}}}}}",
        testing::MINIMAL
    ));
    shared.metadata.name = Some("a".to_owned());
    let shared = DeserializeGuard(Ok(shared));
    world.connector(&Notice::Changed(&shared));
    assert_eq!(world.told(), (names(&["a"]), names(&["counter", "reader"])));
    world.source(&Notice::Changed(&source("counter", 2)));
    assert_eq!(world.told(), (names(&["a"]), names(&["counter"])));
    world.connector(&Notice::Changed(&connector("a", "reader")));
    assert_eq!(world.told(), (names(&["a"]), names(&["counter", "reader"])), "the one that it used before, too");
}

fn source(name: &str, generation: i64) -> Source {
    let mut source = testing::source("{hosts: [vault.example.com], secret: {name: keys, items: {token: vault}}}");
    source.metadata.name = Some(name.to_owned());
    source.metadata.generation = Some(generation);
    DeserializeGuard(Ok(source))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_connector_that_changed_wakes_itself_and_its_source() {
    let mut world = World::new();
    world.connector(&Notice::Changed(&connector("a", "x")));
    assert_eq!(world.told(), (names(&["a"]), names(&["x"])));
    world.connector(&Notice::Changed(&connector("a", "y")));
    assert_eq!(world.told(), (names(&["a"]), names(&["x", "y"])), "the old source has lost a user");
    world.connector(&Notice::Gone(&connector("a", "y")));
    assert_eq!(world.told(), (names(&[]), names(&["y"])));
}

#[test]
fn our_own_word_on_a_connector_wakes_only_its_source() {
    let mut world = World::new();
    world.connector(&Notice::Echoed(&connector("a", "x")));
    assert_eq!(world.told(), (names(&[]), names(&["x"])));
}

#[test]
fn a_list_of_connectors_wakes_them_and_every_source_that_may_have_lost_one() {
    let mut world = World::new();
    world.connector(&Notice::Changed(&connector("a", "x")));
    world.told();
    world.connector(&Notice::Listed(&[Arc::new(connector("b", "y"))]));
    assert_eq!(world.told(), (names(&["b"]), names(&["x", "y"])));
}

#[test]
fn a_source_wakes_its_users_when_its_spec_changed_and_not_when_its_status_did() {
    let mut world = World::new();
    for name in ["a", "b"] {
        world.connector(&Notice::Changed(&connector(name, "x")));
    }
    world.connector(&Notice::Changed(&connector("other", "y")));
    world.told();

    world.source(&Notice::Changed(&source("x", 1)));
    assert_eq!(world.told(), (names(&["a", "b"]), names(&["x"])), "it is new");
    world.source(&Notice::Echoed(&source("x", 1)));
    assert_eq!(world.told(), (names(&[]), names(&[])), "we wrote its status");
    world.source(&Notice::Changed(&source("x", 1)));
    assert_eq!(world.told(), (names(&[]), names(&["x"])), "somebody wrote its status");
    world.source(&Notice::Changed(&source("x", 2)));
    assert_eq!(world.told(), (names(&["a", "b"]), names(&["x"])), "its spec changed");
    world.source(&Notice::Gone(&source("x", 2)));
    assert_eq!(world.told(), (names(&["a", "b"]), names(&[])));
    world.source(&Notice::Changed(&source("x", 2)));
    assert_eq!(world.told(), (names(&["a", "b"]), names(&["x"])), "it came back");
}

#[test]
fn a_request_for_the_credentials_of_a_source_wakes_its_users_once() {
    let mut world = World::new();
    world.connector(&Notice::Changed(&connector("a", "x")));
    world.source(&Notice::Changed(&source("x", 1)));
    world.told();
    let mut asked = source("x", 1);
    asked.annotations_mut().insert(ANNOTATION_RELOAD_REQUESTED_AT.to_owned(), "2026-11-01T12:00:00Z".to_owned());
    world.source(&Notice::Changed(&asked));
    assert_eq!(world.told(), (names(&["a"]), names(&["x"])));
    world.source(&Notice::Changed(&asked));
    assert_eq!(world.told(), (names(&[]), names(&["x"])));
}

#[test]
fn a_list_of_sources_wakes_the_users_of_those_that_are_new_changed_or_gone() {
    let mut world = World::new();
    for (name, of) in [("a", "same"), ("b", "changed"), ("c", "gone"), ("d", "new")] {
        world.connector(&Notice::Changed(&connector(name, of)));
    }
    world.source(&Notice::Listed(&["same", "changed", "gone"].map(|name| Arc::new(source(name, 1)))));
    world.told();
    let now = [("same", 1), ("changed", 2), ("new", 1)].map(|(name, generation)| Arc::new(source(name, generation)));
    world.source(&Notice::Listed(&now));
    assert_eq!(world.told(), (names(&["b", "c", "d"]), names(&["changed", "new", "same"])));
}

#[test]
fn what_others_do_to_an_owned_object_wakes_its_connector_and_what_we_did_does_not() {
    let mut world = World::new();
    let object: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "mcp-a", "namespace": "team", "labels": {LABEL_CONNECTOR: "a"}},
    }))
    .unwrap();
    let connectors = world.connectors.store();
    for (notice, told) in [
        (Notice::Changed(&object), names(&["a"])),
        (Notice::Gone(&object), names(&["a"])),
        (Notice::Echoed(&object), names(&[])),
    ] {
        on_owned(&notice, &connectors, &world.queues);
        assert_eq!(world.told(), (told, names(&[])));
    }
    world.connector(&Notice::Changed(&connector("b", "x")));
    world.told();
    on_owned::<ConfigMap>(&Notice::Listed(&[]), &connectors, &world.queues);
    assert_eq!(world.told(), (names(&["b"]), names(&[])), "what was deleted meanwhile was not told");
}
