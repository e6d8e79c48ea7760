//! The controller as a whole: what is written when.

use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::{reflector::store::Writer, watcher::Event};

use super::*;
use crate::{
    cache::Cache,
    connector::testing::{ApiServer, CONNECTOR, DEPLOYMENT, MINIMAL, caches, connector, context, found, with_pods},
    context::Caches,
};

/// Caches with a connector, its source, and a Deployment that the test fills.
fn world() -> (Arc<DeserializeGuard<McpConnector>>, Caches, Writer<Deployment>) {
    let connector = DeserializeGuard(Ok(connector(MINIMAL)));
    let (connectors, mut writer) = Cache::unwatched();
    writer.apply_watcher_event(&Event::Apply(connector.clone()));
    let (sources, mut writer) = Cache::unwatched();
    let source = found().source.unwrap().as_ref().clone();
    writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(source))));
    let (deployments, writer) = Cache::unwatched();
    (Arc::new(connector), Caches { connectors, sources, deployments, ..caches() }, writer)
}

#[tokio::test]
async fn the_first_word_is_said_once_there_is_more_to_say_than_that_it_was_made() {
    let (connector, caches, mut writer) = world();
    let server = ApiServer::default();
    server.put(CONNECTOR, serde_json::to_value(connector.0.as_ref().unwrap()).unwrap());
    let context = context(&server, caches);
    let action = reconcile(Arc::clone(&connector), Arc::clone(&context)).await.unwrap();
    assert_eq!(action, Action::requeue(LOOK_AGAIN));
    let requests = server.requests();
    assert!(requests.contains(&"PATCH deployments new".to_owned()), "{requests:?}");
    assert!(!requests.iter().any(|request| request.contains("status")), "{requests:?}");

    let mut seen: Deployment = serde_json::from_value(server.object(DEPLOYMENT)).unwrap();
    seen.status = Some(serde_json::from_value(json!({"observedGeneration": 1, "replicas": 1})).unwrap());
    seen.metadata.resource_version = Some("8".into());
    writer.apply_watcher_event(&Event::Apply(seen));
    let action = reconcile(connector, context).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.iter().filter(|request| request.ends_with("status")).count(), 1, "{requests:?}");
    assert_ne!(action, Action::requeue(LOOK_AGAIN), "no pod is there to be asked: a watch will tell");
}

fn condition<'a>(status: &'a serde_json::Value, type_: &str) -> &'a serde_json::Value {
    status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == type_).unwrap()
}

#[tokio::test]
async fn one_late_answer_at_the_first_look_changes_nothing_that_was_told() {
    for (observed_generation, looks_without_a_word) in [(1, 1), (0, 0)] {
        let mut told = connector(MINIMAL);
        told.metadata.generation = Some(1);
        told.status = Some(McpConnectorStatus {
            observed_generation: Some(observed_generation),
            ..McpConnectorStatus::default()
        });
        let server = ApiServer::default();
        // Nobody listens there.
        let caches = with_pods(&told, &server, &["127.0.0.1".to_owned()]);
        let context = context(&server, caches);
        let told = Arc::new(DeserializeGuard(Ok(told)));
        for look in 0..=looks_without_a_word {
            let action = reconcile(Arc::clone(&told), Arc::clone(&context)).await.unwrap();
            let written = server.requests().iter().any(|request| request == "PATCH mcpconnectors/status");
            assert_eq!(written, look == looks_without_a_word, "generation {observed_generation}, look {look}");
            assert_eq!(action == Action::requeue(LOOK_AGAIN), !written);
        }
        let status = &server.object(CONNECTOR)["status"];
        assert_eq!(condition(status, "EndpointReady")["reason"], "HandshakeFailed");
    }
}

/// A Ready connector whose Deployment was changed once more, and the writer of the Deployments that are known.
async fn just_changed() -> (ApiServer, Arc<Context>, Arc<DeserializeGuard<McpConnector>>, Writer<Deployment>) {
    let (connector, caches, mut writer) = world();
    let server = ApiServer::default();
    server.put(CONNECTOR, serde_json::to_value(connector.0.as_ref().unwrap()).unwrap());
    let context = context(&server, caches);
    reconcile(Arc::clone(&connector), Arc::clone(&context)).await.unwrap();
    let mut told = connector.0.as_ref().unwrap().clone();
    told.status = Some(McpConnectorStatus { observed_generation: Some(2), ..McpConnectorStatus::default() });
    told.metadata.resource_version = Some("9".into());
    context.caches.connectors.record(DeserializeGuard(Ok(told.clone())));
    let mut deployment: Deployment = serde_json::from_value(server.object(DEPLOYMENT)).unwrap();
    deployment.metadata.generation = Some(2);
    deployment.metadata.resource_version = Some("8".into());
    deployment.status = Some(serde_json::from_value(json!({"observedGeneration": 1, "replicas": 1})).unwrap());
    writer.apply_watcher_event(&Event::Apply(deployment));
    server.requests();
    (server, context, Arc::new(DeserializeGuard(Ok(told))), writer)
}

fn wrote_status(server: &ApiServer) -> bool {
    server.requests().iter().any(|request| request == "PATCH mcpconnectors/status")
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_was_just_changed_is_told_of_once_its_controller_has_seen_it() {
    let (server, context, connector, mut writer) = just_changed().await;
    for _ in 0..2 {
        let action = reconcile(Arc::clone(&connector), Arc::clone(&context)).await.unwrap();
        assert_eq!((action, wrote_status(&server)), (Action::requeue(LOOK_AGAIN), false));
    }
    let mut seen = context.caches.deployments.get("team", "mcp-tresor").unwrap().as_ref().clone();
    seen.status.as_mut().unwrap().observed_generation = Some(2);
    seen.metadata.resource_version = Some("10".into());
    writer.apply_watcher_event(&Event::Apply(seen));
    reconcile(connector, context).await.unwrap();
    assert!(wrote_status(&server));
    let available = condition(&server.object(CONNECTOR)["status"], "Available").clone();
    assert_eq!(available["message"], "0 of 1 replicas are ready.", "{available}");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_whose_controller_never_looks_is_told_of_after_its_time() {
    let (server, context, connector, _writer) = just_changed().await;
    reconcile(Arc::clone(&connector), Arc::clone(&context)).await.unwrap();
    assert!(!wrote_status(&server));
    tokio::time::advance(LOOK_AGAIN).await;
    reconcile(connector, context).await.unwrap();
    assert!(wrote_status(&server));
    let available = condition(&server.object(CONNECTOR)["status"], "Available").clone();
    assert_eq!(
        (&available["status"], &available["message"]),
        (&json!("Unknown"), &json!("The Deployment was just changed."))
    );
}

#[tokio::test(start_paused = true)]
async fn who_scales_a_connector_to_nothing_is_told_so_at_once() {
    let (server, context, connector, mut writer) = just_changed().await;
    let mut none = context.caches.deployments.get("team", "mcp-tresor").unwrap().as_ref().clone();
    none.spec.as_mut().unwrap().replicas = Some(0);
    none.metadata.resource_version = Some("10".into());
    writer.apply_watcher_event(&Event::Apply(none));
    reconcile(connector, context).await.unwrap();
    assert!(wrote_status(&server));
    assert_eq!(condition(&server.object(CONNECTOR)["status"], "Ready")["reason"], "ScaledToZero");
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told_with_its_words() {
    let (connector, caches, _writer) = world();
    let server = ApiServer::default();
    server.put(CONNECTOR, serde_json::to_value(connector.0.as_ref().unwrap()).unwrap());
    server.refuse("services");
    let action = reconcile(connector, context(&server, caches)).await.unwrap();
    let status = server.object(CONNECTOR)["status"].take();
    for type_ in ["Ready", "Accepted"] {
        let told = condition(&status, type_);
        assert_eq!((&told["status"], &told["reason"]), (&json!("False"), &json!("ApplyFailed")), "{told}");
        assert!(told["message"].as_str().unwrap().contains("Service mcp-tresor: exceeded quota"), "{told}");
    }
    assert_eq!(condition(&status, "Stalled")["status"], "True");
    assert_ne!(action, Action::requeue(LOOK_AGAIN), "what was refused is not tried all the time");
}

#[tokio::test]
async fn whoever_suspends_a_connector_stops_it_though_its_spec_is_refused() {
    let mut suspended = connector(&format!("{MINIMAL}\nsuspend: true"));
    suspended.metadata.uid = Some("6".into());
    let (deployments, mut writer) = Cache::unwatched();
    let caches = Caches { deployments, ..caches() };
    let server = ApiServer::default();
    server.put(CONNECTOR, serde_json::to_value(&suspended).unwrap());
    let owner = suspended.controller_owner_ref(&()).unwrap();
    let live = json!({
        "metadata": {"name": "mcp-tresor", "namespace": "team", "resourceVersion": "5", "ownerReferences": [owner]},
        "spec": {"replicas": 2, "selector": {}, "template": {}},
    });
    server.put(DEPLOYMENT, live.clone());
    writer.apply_watcher_event(&Event::Apply(serde_json::from_value(live).unwrap()));
    let context = context(&server, caches);
    for _ in 0..2 {
        // Its source is not there.
        reconcile(Arc::new(DeserializeGuard(Ok(suspended.clone()))), Arc::clone(&context)).await.unwrap();
    }
    assert_eq!(server.object(DEPLOYMENT)["spec"]["replicas"], 0);
    let stops = server.requests().iter().filter(|request| *request == "PATCH deployments").count();
    assert_eq!(stops, 1, "stopped once");
    let status = server.object(CONNECTOR)["status"].take();
    let told = condition(&status, "Ready");
    assert_eq!(told["reason"], "CredentialSourceNotFound");
    assert!(
        told["message"].as_str().unwrap().ends_with(". It is suspended, so its pods are stopped all the same."),
        "{told}"
    );
}

#[tokio::test]
async fn an_object_that_cannot_be_read_keeps_what_was_honoured() {
    let server = ApiServer::default();
    let mut malformed = serde_json::to_value(connector(MINIMAL)).unwrap();
    malformed["spec"]["suspend"] = json!("perhaps");
    malformed["status"] = json!({"requests": {"restart": "2025-11-21T11:00:00Z"}, "conditions": []});
    server.put(CONNECTOR, malformed.clone());
    let guard: DeserializeGuard<McpConnector> = serde_json::from_value(malformed).unwrap();
    assert!(guard.0.is_err());
    reconcile(Arc::new(guard), context(&server, caches())).await.unwrap();
    let status = server.object(CONNECTOR)["status"].take();
    assert_eq!(condition(&status, "Accepted")["reason"], "InvalidSpec");
    assert_eq!(status["requests"], json!({"restart": "2025-11-21T11:00:00Z"}));
}

#[test]
fn a_rotation_is_told_once() {
    let with = |revision: Option<&str>| {
        let credentials = revision.map(|revision| api::connector::CredentialsStatus {
            revision: Some(revision.to_owned()),
            loaded_replicas: 0,
            replicas: 1,
        });
        McpConnectorStatus { credentials, ..McpConnectorStatus::default() }
    };
    assert_eq!(rotated(&with(Some("a")), &with(Some("b"))), Some("b"));
    for (before, after) in [(Some("a"), Some("a")), (None, Some("a")), (Some("a"), None)] {
        assert_eq!(rotated(&with(before), &with(after)), None, "{before:?} {after:?}");
    }
}

#[test]
fn who_can_be_asked_is_asked_again() {
    let interval = Duration::from_secs(15);
    assert_eq!(next_look(true, true, interval), LOOK_AGAIN);
    assert_eq!(next_look(true, false, interval), interval);
    assert_eq!(next_look(false, true, interval), references::FOUND_FOR, "a watch tells of a pod that gets ready");
    assert_eq!(next_look(true, true, Duration::from_secs(1)), Duration::from_secs(1));
}
