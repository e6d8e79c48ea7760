//! What is asked of the API server, and in which order. The API server below keeps objects and does what the real one does
//! with the two things that are relied on: a version that isn't the object's is a conflict, and an object that isn't there
//! is made by applying it.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kube::client::Body;

use super::*;
use crate::operator::connector::{
    build::build,
    testing::{MINIMAL, caches, settings, validated},
};

/// Objects by their paths, and the requests that were made: method, plural and whether only to create.
#[derive(Clone, Default)]
struct ApiServer(Arc<Mutex<(HashMap<String, Value>, Vec<String>)>>);

impl ApiServer {
    fn client(&self) -> Client {
        let server = self.clone();
        let answer = move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let (status, answer) = server.answer(parts.method.as_str(), parts.uri.path(), body);
                let answer = Full::new(bytes::Bytes::from(answer.to_string()));
                Ok::<_, Infallible>(Response::builder().status(status).body(answer).unwrap())
            }
        };
        Client::new(tower::service_fn(answer), "default")
    }

    fn answer(&self, method: &str, path: &str, mut body: Value) -> (u16, Value) {
        let (objects, requests) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let plural = path.rsplit('/').nth(1).unwrap();
        let version = body.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_owned);
        requests.push(format!("{method} {plural}{}", if version.is_some() { " new" } else { "" }));
        let failure = |code: u16, reason: &str| {
            (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason}))
        };
        let there = objects.get(path).cloned();
        match (method, there) {
            ("GET", Some(object)) => (200, object),
            ("GET", None) => failure(404, "NotFound"),
            ("PATCH", Some(object))
                if version.is_some()
                    && object.pointer("/metadata/resourceVersion") != body.pointer("/metadata/resourceVersion") =>
            {
                failure(409, "Conflict")
            }
            ("PATCH", _) => {
                body["metadata"]["resourceVersion"] = json!("7");
                objects.insert(path.to_owned(), body.clone());
                (200, body)
            }
            _ => failure(405, "MethodNotAllowed"),
        }
    }

    fn put(&self, path: &str, object: Value) {
        self.0.lock().unwrap().0.insert(path.to_owned(), object);
    }

    fn object(&self, path: &str) -> Value {
        self.0.lock().unwrap().0[path].clone()
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

const ACCOUNT: &str = "/api/v1/namespaces/team/serviceaccounts/mcp-tresor";
const CONFIG_MAP: &str = "/api/v1/namespaces/team/configmaps/mcp-tresor";

fn foreign() -> Value {
    json!({"metadata": {
        "name": "mcp-tresor", "namespace": "team", "resourceVersion": "5",
        "ownerReferences": [{"apiVersion": "v1", "kind": "Chart", "name": "other", "uid": "1", "controller": true}],
    }})
}

async fn apply_all(server: &ApiServer, caches: &Caches, spec: &str) -> Result<Arc<Deployment>, Error> {
    let connector = validated(spec);
    let resources = build(&connector, &settings()).unwrap();
    apply(&server.client(), caches, &connector, &resources).await
}

#[tokio::test]
async fn what_nobody_has_is_made_with_one_request_each_and_the_deployment_last() {
    let (server, caches) = (ApiServer::default(), caches());
    let deployment = apply_all(&server, &caches, &format!("{MINIMAL}\nworkload: {{replicas: 2}}")).await.unwrap();
    assert_eq!(deployment.resource_version().as_deref(), Some("7"));
    let mut requests = server.requests();
    assert_eq!(requests.pop().as_deref(), Some("PATCH deployments new"));
    requests.sort();
    let others = ["configmaps", "networkpolicies", "poddisruptionbudgets", "serviceaccounts", "services"];
    assert_eq!(requests, others.map(|plural| format!("PATCH {plural} new")));

    // The answers are known although no watch has shown them, so that there is nothing more to do.
    apply_all(&server, &caches, &format!("{MINIMAL}\nworkload: {{replicas: 2}}")).await.unwrap();
    assert_eq!(server.requests(), Vec::<String>::new());
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
