use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{core::DeserializeGuard, runtime::watcher::Event};
use serde_json::{Value, json};

use super::*;
use crate::{
    cache::Cache,
    connector::{
        build::build,
        reconcile,
        testing::{ApiServer, CERTIFICATE, MINIMAL, caches, connector, context, found, settings, source, validated},
    },
    context::Caches,
};
use api::McpConnectorStatus;

const CONNECTOR: &str = "/apis/mcp-connectors.io/v1alpha1/namespaces/team/mcpconnectors/tresor";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/team/deployments/mcp-tresor";
const CONFIG_MAP: &str = "/api/v1/namespaces/team/configmaps/mcp-tresor";

fn marked(template: Option<&str>, inputs: Option<&str>, replicas: Option<i32>, image: &str) -> Deployment {
    let mut annotations = serde_json::Map::new();
    for (name, value) in [(ANNOTATION_TEMPLATE_DIGEST, template), (ANNOTATION_INPUTS_DIGEST, inputs)] {
        annotations.extend(value.map(|value| (name.to_owned(), json!(value))));
    }
    serde_json::from_value(json!({
        "metadata": {"annotations": annotations},
        "spec": {"replicas": replicas, "selector": {}, "template": {"spec": {"containers": [{"name": "s", "image": image}]}}},
    }))
    .unwrap()
}

#[test]
fn what_a_person_changed_is_told_from_what_the_operator_changes() {
    let desired = marked(Some("new"), Some("a"), None, "9");
    for (template, inputs, replicas, image, change) in [
        (Some("new"), Some("a"), None, "9", Change::None),
        // Drift: somebody changed the live object.
        (Some("new"), Some("a"), None, "8", Change::None),
        (Some("old"), Some("a"), None, "8", Change::Own),
        (Some("old"), Some("b"), None, "8", Change::Asked),
        (Some("old"), Some("a"), Some(0), "8", Change::Asked),
        // Of a version that marked nothing.
        (None, None, None, "8", Change::Own),
        (None, None, None, "9", Change::None),
    ] {
        let live = marked(template, inputs, replicas, image);
        assert_eq!(change_of(&desired, &live), change, "{live:?}");
    }
    let suspended = marked(Some("new"), Some("a"), Some(0), "9");
    assert_eq!(change_of(&suspended, &marked(Some("old"), Some("a"), None, "8")), Change::Asked);
}

/// A connector that is Ready and was applied by an operator with the image `registry.example.com/mcp-connectors:9`.
struct World {
    server: ApiServer,
    context: Arc<Context>,
}

impl World {
    async fn new() -> Self {
        let mut ready = connector(MINIMAL);
        let condition = Condition {
            type_: "Ready".into(),
            status: "True".into(),
            reason: "Ready".into(),
            message: String::new(),
            observed_generation: Some(3),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        ready.status = Some(McpConnectorStatus { conditions: vec![condition], ..McpConnectorStatus::default() });
        let (connectors, mut writer) = Cache::unwatched();
        writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(ready.clone()))));
        let (sources, mut writer) = Cache::unwatched();
        let source = found().source.unwrap().as_ref().clone();
        writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(source))));
        let server = ApiServer::default();
        let mut there = serde_json::to_value(&ready).unwrap();
        there["metadata"]["resourceVersion"] = json!("8");
        server.put(CONNECTOR, there);
        let world = Self { context: context(&server, Caches { connectors, sources, ..caches() }), server };
        world.reconciled(&ready).await;
        // As the status said before the operator was replaced.
        world.is(&ready);
        world
    }

    /// The connector is like this now.
    fn is(&self, connector: &McpConnector) {
        let mut newer = connector.clone();
        newer.metadata.resource_version = Some("9".into());
        self.context.caches.connectors.record(DeserializeGuard(Ok(newer)));
    }

    fn connector(&self) -> McpConnector {
        let newest = self.context.caches.connectors.get("team", "tresor").unwrap();
        newest.0.as_ref().unwrap().clone()
    }

    async fn reconciled(&self, connector: &McpConnector) -> Vec<String> {
        self.server.requests();
        let guarded = Arc::new(DeserializeGuard(Ok(connector.clone())));
        reconcile(guarded, Arc::clone(&self.context)).await.unwrap();
        self.server.requests().into_iter().filter(|request| request.starts_with("PATCH")).collect()
    }

    /// A new version of the operator, under which another connector, an older one, may be changed first.
    fn upgrade(&mut self) {
        let context = Arc::get_mut(&mut self.context).unwrap();
        context.settings.connector_image = "registry.example.com/mcp-connectors:10".into();
        // New versions have new defaults, too.
        context.settings.otlp_endpoint = Some("http://collector.example.com:4318".into());
        assert_eq!(self.ask_for_another(), Turn::Now);
    }

    fn ask_for_another(&self) -> Turn {
        let place = Place { created: None, namespace: "team".into(), name: "older".into() };
        let deadline = SignedDuration::from_secs(120);
        let candidate = Candidate { uid: "other", place, was_ready: true, deadline };
        self.context.rollout.ask(&candidate, || vec!["other".into()], Timestamp::now())
    }

    fn image(&self) -> Value {
        self.server.object(DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    }

    fn condition(&self, type_: &str) -> Option<Value> {
        let object = self.server.object(CONNECTOR);
        object["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == type_).cloned()
    }
}

#[tokio::test]
async fn a_new_image_waits_for_its_turn_and_nothing_is_written_meanwhile() {
    let mut world = World::new().await;
    let ready = world.connector();
    let (before, config) = (world.server.object(DEPLOYMENT), world.server.object(CONFIG_MAP));
    world.upgrade();
    world.reconciled(&world.connector()).await;
    assert_eq!(world.server.object(DEPLOYMENT), before);
    assert_eq!(world.server.object(CONFIG_MAP)["data"], config["data"], "a pod that starts finds what its image knows");
    assert_eq!(world.reconciled(&world.connector()).await, Vec::<String>::new());

    let later = Timestamp::now();
    let deadline = SignedDuration::from_secs(120);
    let through = Changed { since: Some(later), deadline, is_ready: true, ready_changed: None };
    world.context.rollout.follow("other", through, later);
    // There are no pods here that could keep it Ready.
    world.is(&ready);
    let writes = world.reconciled(&ready).await;
    assert!(writes.contains(&"PATCH deployments".to_owned()), "{writes:?}");
    assert_eq!(world.image(), "registry.example.com/mcp-connectors:10");
    assert_ne!(world.server.object(CONFIG_MAP)["data"], config["data"]);
    let marks = world.server.object(DEPLOYMENT)["metadata"]["annotations"].clone();
    assert!(marks[ANNOTATION_ROLLED_OUT_AT].is_string(), "{marks}");
    assert!(!world.condition("Reconciling").is_some_and(|c| c["reason"] == "RolloutPending"));
    assert_eq!(world.context.rollout.figures(Timestamp::now()).running, 1);
    assert_eq!(world.ask_for_another(), Turn::Later, "the one place is taken");
    assert_eq!(world.reconciled(&world.connector()).await, Vec::<String>::new(), "the mark of the turn stays");
}

#[tokio::test]
async fn a_person_never_waits() {
    for change in ["generation", "restart"] {
        let mut world = World::new().await;
        world.upgrade();
        let mut changed = world.connector();
        if change == "generation" {
            changed.metadata.generation = Some(4);
        } else {
            let time = "2025-11-01T12:00:00Z".to_owned();
            changed.annotations_mut().insert(api::ANNOTATION_RESTARTED_AT.to_owned(), time);
        }
        world.is(&changed);
        let writes = world.reconciled(&changed).await;
        assert!(writes.contains(&"PATCH deployments".to_owned()), "{change}: {writes:?}");
        assert_eq!(world.image(), "registry.example.com/mcp-connectors:10", "{change}");
    }
}

#[test]
fn whatever_a_person_changes_is_told_from_the_operators_own_changes() {
    let plain = (found(), validated(MINIMAL));
    let digest =
        |(found, validated): &(Dereferenced, ValidatedConnector)| inputs_digest(&connector(MINIMAL), found, validated);
    let with_redis = format!("{MINIMAL}\nlimits: {{shared: {{redis: {{address: 'redis.limits.svc:6380'}}}}}}");
    let shared = || (found(), validated(&with_redis));
    let mut digests = vec![digest(&plain), digest(&shared())];
    // Nothing of the connector has changed but what stands in a ConfigMap or a source.
    assert_eq!(digests[0], digests[1]);
    digests.pop();
    let mut changed = shared();
    changed.1.config.limits.shared.as_mut().unwrap().ca_pem = Some("pem".into());
    digests.push(digest(&changed));
    for generation in [1, 2] {
        let mut changed = shared();
        let mut counter = source("{hosts: [redis.limits.svc], secret: {name: counter}}");
        counter.metadata.generation = Some(generation);
        changed.0.shared_limit.source = Some(Arc::new(counter));
        digests.push(digest(&changed));
    }
    for pem in ["one", "two"] {
        let mut changed = (found(), validated(MINIMAL));
        let agent = json!({
            "address": "https://vault.example.com", "caPem": pem, "login": {"token": {"mount": "jwt", "role": "ci"}},
            "secrets": [], "refreshInterval": "60s",
        });
        changed.1.config.agent = Some(serde_json::from_value(agent).unwrap());
        digests.push(digest(&changed));
    }
    let different: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(different.len(), digests.len());
}

#[tokio::test]
async fn one_that_does_not_get_through_is_told_once_and_stops_the_others() {
    let mut world = World::new().await;
    Arc::get_mut(&mut world.context).unwrap().settings.connector_image = "registry.example.com/broken:1".into();
    world.reconciled(&world.connector()).await;
    assert_eq!(world.image(), "registry.example.com/broken:1");
    // As if its turn had come long ago.
    let mut deployment: Deployment = serde_json::from_value(world.server.object(DEPLOYMENT)).unwrap();
    let long_ago = "2025-11-01T12:00:00Z".to_owned();
    deployment.annotations_mut().insert(ANNOTATION_ROLLED_OUT_AT.to_owned(), long_ago);
    world.context.caches.deployments.record(deployment);
    for _ in 0..2 {
        world.reconciled(&world.connector()).await;
    }
    let told: Vec<(String, String)> =
        world.server.events().into_iter().filter(|(reason, _)| reason == "RolloutFailed").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.contains("registry.example.com/broken:1"), "{told:?}");
    assert!(told[0].1.contains("within 45 s"), "{told:?}");
    assert_eq!(world.ask_for_another(), Turn::Stopped);
}

#[tokio::test]
async fn one_that_is_suspended_stops_nobody() {
    let mut world = World::new().await;
    Arc::get_mut(&mut world.context).unwrap().settings.connector_image = "registry.example.com/broken:1".into();
    world.reconciled(&world.connector()).await;
    let mut deployment: Deployment = serde_json::from_value(world.server.object(DEPLOYMENT)).unwrap();
    let long_ago = "2025-11-01T12:00:00Z".to_owned();
    deployment.annotations_mut().insert(ANNOTATION_ROLLED_OUT_AT.to_owned(), long_ago);
    world.context.caches.deployments.record(deployment);
    world.reconciled(&world.connector()).await;
    assert_eq!(world.ask_for_another(), Turn::Stopped);
    let mut suspended = world.connector();
    suspended.metadata.generation = Some(4);
    suspended.spec.suspend = Some(true);
    for _ in 0..2 {
        world.is(&suspended);
        world.reconciled(&suspended).await;
    }
    assert_ne!(world.ask_for_another(), Turn::Stopped);
}

#[test]
fn who_waits_says_so_unless_it_is_being_brought_up_anyway() {
    let waiting = |findings: Vec<Finding>, turn| {
        let mut computed = Computed { status: McpConnectorStatus::default(), findings, is_moving: false };
        tell_waiting(&mut computed, turn);
        computed.findings.into_iter().map(|finding| finding.reason).collect::<Vec<_>>()
    };
    assert_eq!(waiting(vec![], Turn::Later), ["RolloutPending"]);
    assert_eq!(waiting(vec![], Turn::Stopped), ["RolloutStopped"]);
    let starting = Finding::new(ConditionType::Reconciling, Some(true), Reason::Starting, "");
    assert_eq!(waiting(vec![starting], Turn::Later), ["Starting"]);
}

#[test]
fn a_file_that_is_known_by_its_digest_is_put_back_too() {
    let large = |end: &str| format!("{CERTIFICATE}{}{end}", "#".repeat(20_000));
    let connector = ValidatedConnector { platform_ca: Some(large("a").as_str().into()), ..validated(MINIMAL) };
    let before = build(&connector, &settings()).unwrap();
    let mut kept = before.config_map.clone();
    slim::config_map(&mut kept);
    let mut same = before.clone();
    hold(&mut same, &before.deployment, &kept).unwrap();
    assert_eq!(same.config_map, before.config_map, "it is the same, so it is at hand");

    let mut other = build(&connector, &settings()).unwrap();
    other.config_map.data.as_mut().unwrap().insert(PLATFORM_CA_FILE.to_owned(), large("b"));
    assert!(hold(&mut other, &before.deployment, &kept).is_err(), "it has to be read");
    hold(&mut other, &before.deployment, &before.config_map).unwrap();
    assert_eq!(other.config_map, before.config_map);
}

#[test]
fn what_somebody_has_put_into_the_config_map_is_not_what_the_pods_were_made_with() {
    let before = build(&validated(MINIMAL), &settings()).unwrap();
    let after = build(&validated(&format!("{MINIMAL}\ntools: {{prefix: a_}}")), &settings()).unwrap();
    for file in [CONFIG_FILE, PLATFORM_CA_FILE] {
        let mut altered = before.config_map.clone();
        altered.data.as_mut().unwrap().insert(file.to_owned(), "{}".to_owned());
        let mut held = after.clone();
        hold(&mut held, &before.deployment, &altered).unwrap_err();
        assert_eq!((&held.config_map, &held.config_digest), (&after.config_map, &after.config_digest), "{file}");
    }
    let mut held = after.clone();
    hold(&mut held, &before.deployment, &before.config_map).unwrap();
    assert_eq!((held.config_map, held.config_digest), (before.config_map, before.config_digest));
}

#[tokio::test]
async fn a_connector_whose_config_map_was_altered_does_not_wait_for_its_turn() {
    let mut world = World::new().await;
    let config = world.server.object(CONFIG_MAP)["data"]["config.json"].clone();
    let mut altered: ConfigMap = serde_json::from_value(world.server.object(CONFIG_MAP)).unwrap();
    altered.data.as_mut().unwrap().insert(CONFIG_FILE.to_owned(), "{}".to_owned());
    altered.metadata.resource_version = Some("9".into());
    world.server.put(CONFIG_MAP, json!(altered));
    world.context.caches.config_maps.record(altered);
    world.upgrade();
    let writes = world.reconciled(&world.connector()).await;
    assert!(writes.contains(&"PATCH deployments".to_owned()), "{writes:?}");
    let now = world.server.object(CONFIG_MAP)["data"]["config.json"].clone();
    assert!(now != "{}" && now != config, "it is what the new image is to read");
}
