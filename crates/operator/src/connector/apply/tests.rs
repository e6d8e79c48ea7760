//! What is asked of the API server, and in which order.

use super::*;
use crate::connector::{
    build::build,
    testing::{ApiServer, MINIMAL, caches, settings, validated},
};

const ACCOUNT: &str = "/api/v1/namespaces/team/serviceaccounts/mcp-tresor";
const CONFIG_MAP: &str = "/api/v1/namespaces/team/configmaps/mcp-tresor";

fn foreign() -> Value {
    json!({"metadata": {
        "name": "mcp-tresor", "namespace": "team", "resourceVersion": "5",
        "ownerReferences": [{"apiVersion": "v1", "kind": "Chart", "name": "other", "uid": "1", "controller": true}],
    }})
}

async fn apply_all(server: &ApiServer, caches: &Caches, spec: &str) -> Result<Applied, Error> {
    let connector = validated(spec);
    let resources = build(&connector, &settings()).unwrap();
    Box::pin(apply(&server.client(), caches, &connector, &resources, None)).await
}

#[tokio::test]
async fn what_nobody_has_is_made_with_one_request_each_and_the_deployment_last() {
    let (server, caches) = (ApiServer::default(), caches());
    let applied = apply_all(&server, &caches, &format!("{MINIMAL}\nworkload: {{replicas: 2}}")).await.unwrap();
    assert_eq!(applied.deployment.resource_version().as_deref(), Some("7"));
    assert!(applied.is_new);
    let mut requests = server.requests();
    assert_eq!(requests.pop().as_deref(), Some("PATCH deployments new"));
    requests.sort();
    let others = ["configmaps", "networkpolicies", "poddisruptionbudgets", "serviceaccounts", "services"];
    assert_eq!(requests, others.map(|plural| format!("PATCH {plural} new")));

    // The answers are known although no watch has shown them, so that there is nothing more to do.
    let applied = apply_all(&server, &caches, &format!("{MINIMAL}\nworkload: {{replicas: 2}}")).await.unwrap();
    assert_eq!((server.requests(), applied.is_new), (Vec::<String>::new(), false));
}

#[tokio::test]
async fn an_object_of_somebody_else_is_refused_and_left_untouched() {
    let (server, caches) = (ApiServer::default(), caches());
    server.put(CONFIG_MAP, foreign());
    server.put(ACCOUNT, foreign());
    let error = apply_all(&server, &caches, MINIMAL).await.unwrap_err();
    assert!(
        matches!(&error, Error::NameTaken { kind: "ServiceAccount", owner, .. } if owner == "Chart other"),
        "{error}"
    );
    assert_eq!((server.object(CONFIG_MAP), server.object(ACCOUNT)), (foreign(), foreign()));
    let requests = server.requests();
    assert!(!requests.iter().any(|request| request.contains("deployments")), "no pod without its configuration");
    assert!(requests.iter().all(|request| !request.starts_with("PATCH") || request.ends_with(" new")), "{requests:?}");
}

#[tokio::test]
async fn an_object_of_ours_that_lost_its_labels_is_brought_back_into_its_form() {
    let (server, caches) = (ApiServer::default(), caches());
    let owner = validated(MINIMAL).owner;
    let mut unlabelled = foreign();
    unlabelled["metadata"]["ownerReferences"] = json!([owner]);
    server.put(ACCOUNT, unlabelled);
    apply_all(&server, &caches, MINIMAL).await.unwrap();
    let account = server.object(ACCOUNT);
    assert_eq!(account["metadata"]["labels"][LABEL_MANAGED_BY], FIELD_MANAGER);
    let requests: Vec<String> =
        server.requests().into_iter().filter(|request| request.contains("serviceaccounts")).collect();
    assert_eq!(requests, ["PATCH serviceaccounts new", "GET serviceaccounts", "PATCH serviceaccounts"]);
}

#[tokio::test]
async fn what_differs_from_what_is_wanted_is_applied_and_nothing_else() {
    let (server, caches) = (ApiServer::default(), caches());
    apply_all(&server, &caches, MINIMAL).await.unwrap();
    server.requests();
    apply_all(&server, &caches, &format!("{MINIMAL}\nworkload: {{priorityClassName: high}}")).await.unwrap();
    let writes: Vec<String> = server.requests().into_iter().filter(|request| request.starts_with("PATCH")).collect();
    assert_eq!(writes, ["PATCH deployments"]);
}

#[tokio::test]
async fn what_an_admission_webhook_makes_of_it_is_asked_for_once_and_then_left() {
    let (server, caches) = (ApiServer::default(), caches());
    server.rewrite("deployments", "/spec/minReadySeconds", json!(30));
    let mut writes = 0;
    for _ in 0..4 {
        apply_all(&server, &caches, MINIMAL).await.unwrap();
        writes += server.requests().iter().filter(|request| request.starts_with("PATCH deployments")).count();
    }
    assert_eq!(writes, 2, "made, and asked for once more");
    apply_all(&server, &caches, &format!("{MINIMAL}\nworkload: {{priorityClassName: high}}")).await.unwrap();
    assert!(server.requests().contains(&"PATCH deployments".to_owned()), "what is wanted has changed");
}

#[tokio::test]
async fn an_immutable_config_map_is_told_with_what_to_do() {
    let (server, caches) = (ApiServer::default(), caches());
    apply_all(&server, &caches, MINIMAL).await.unwrap();
    let mut altered = server.object(CONFIG_MAP);
    altered["immutable"] = json!(true);
    server.put(CONFIG_MAP, altered.clone());
    apply_all(&server, &caches, MINIMAL).await.unwrap();

    altered["data"]["config.json"] = json!("{}");
    altered["metadata"]["resourceVersion"] = json!("8");
    server.put(CONFIG_MAP, altered.clone());
    caches.config_maps.record(serde_json::from_value(altered).unwrap());
    server.requests();
    let error = apply_all(&server, &caches, MINIMAL).await.unwrap_err();
    assert!(error.is_refusal() && error.reason() == Reason::ApplyFailed, "{error:?}");
    assert!(error.to_string().contains("kubectl delete configmap mcp-tresor --namespace team"), "{error}");
    assert!(!server.requests().iter().any(|request| request.contains("deployments")), "no pod is made for it");

    // A policy that refuses one which isn't is told in the API server's words.
    let (server, caches) = (ApiServer::default(), self::caches());
    server.refuse("configmaps");
    let error = apply_all(&server, &caches, MINIMAL).await.unwrap_err();
    assert!(matches!(error, Error::Api { .. }), "{error:?}");
}
