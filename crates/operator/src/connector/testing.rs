//! What the tests of the steps share: a connector and what it points to, made from YAML as a person would write it.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Pod, Service},
};
use kube::{
    Client, Resource, ResourceExt,
    client::Body,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{events::Reporter, watcher::Event},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    dereference::Dereferenced,
    mutations::Published,
    references::{Bundle, ReferenceCache},
    requests::Refused,
    validate::{AllowedWorkload, Rejection, ValidatedConnector, validate},
};
use crate::{
    cache::Cache,
    context::{Caches, Context, Settings},
    events::Publisher,
    index::Index,
    metrics::Metrics,
    own_tokens::OwnTokens,
    rollout::{Limits, Rollout, Share},
};
use api::{CredentialSource, LABEL_CONNECTOR, McpConnector, endpoint::AddressPolicy, scope::Scope};
use pod_api::config::TokenKeys;

/// A certificate of nobody; the tests only need its form.
pub const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ1F5\n-----END CERTIFICATE-----\n";

/// Where the API server keeps the connector that [`connector`] makes.
pub const CONNECTOR: &str = "/apis/mcp-connectors.io/v1alpha1/namespaces/team/mcpconnectors/tresor";
/// Where it keeps the connector's Deployment.
pub const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/team/deployments/mcp-tresor";

pub fn settings() -> Settings {
    Settings {
        connector_image: "registry.example.com/mcp-connectors:9".into(),
        connector_image_pull_policy: "IfNotPresent".into(),
        scope: Scope::all(),
        operator_namespace: "operator-namespace".into(),
        operator_service_account: "operator-account".into(),
        instance: "operator-0".into(),
        monitoring_namespace: Some("monitoring".into()),
        cluster_domain: "cluster.local".into(),
        poll_interval: Duration::from_secs(15),
        address: ([127, 0, 0, 1], 0).into(),
        concurrency: 1,
        rollout: Limits {
            max_concurrent: Share::Count(1),
            max_failures: Share::Count(1),
            ready_timeout: Duration::from_secs(45),
        },
        otlp_endpoint: None,
        allowed_proxies: Vec::new(),
        addresses: AddressPolicy::Cluster,
        cluster_assigns_user: false,
        allowed_workload: AllowedWorkload::anything(),
    }
}

/// A connector named `tresor`, so that a label or a name with the platform's own name in it stands out.
pub fn connector(spec: &str) -> McpConnector {
    let spec = spec.replace('\n', "\n  ");
    let text = format!(
        "apiVersion: mcp-connectors.io/v1alpha1\nkind: McpConnector\nmetadata: {{name: tresor, namespace: team, \
         uid: 11111111-2222-3333-4444-555555555555, generation: 3}}\nspec:\n  {spec}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

pub const MINIMAL: &str = "\
platform: {vault: {url: 'https://vault.example.com:8200'}}
credentials: {name: reader}";

pub fn source(spec: &str) -> CredentialSource {
    let text = format!(
        "apiVersion: mcp-connectors.io/v1alpha1\nkind: CredentialSource\nmetadata: {{name: reader, namespace: team}}\n\
         spec: {spec}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

pub fn found() -> Dereferenced {
    Dereferenced {
        source: Some(Arc::new(source("{hosts: [vault.example.com], secret: {name: keys, items: {token: vault}}}"))),
        token_keys: Some(TokenKeys { issuer: "https://issuer.example.com".into(), previous: None, keys: Vec::new() }),
        ..Dereferenced::default()
    }
}

pub fn bundle(text: &str) -> Bundle {
    Bundle::Text(text.into())
}

pub fn config_map(key: &str, value: &str) -> Arc<ConfigMap> {
    Arc::new(ConfigMap { data: Some([(key.to_owned(), value.to_owned())].into()), ..ConfigMap::default() })
}

pub fn service(yaml: &str) -> Arc<Service> {
    Arc::new(serde_saphyr::from_str(yaml).unwrap())
}

pub fn validated(spec: &str) -> ValidatedConnector {
    check(spec, &found()).unwrap()
}

pub fn check(spec: &str, found: &Dereferenced) -> Result<ValidatedConnector, Rejection> {
    validate(&connector(spec), found, &settings())
}

/// Caches in which nothing is, and that no watch fills.
pub fn caches() -> Caches {
    Caches {
        connectors: Cache::unwatched().0,
        users: Index::new(|_| BTreeSet::new()),
        sources: Cache::unwatched().0,
        service_accounts: Cache::unwatched().0,
        config_maps: Cache::unwatched().0,
        services: Cache::unwatched().0,
        network_policies: Cache::unwatched().0,
        pod_disruption_budgets: Cache::unwatched().0,
        deployments: Cache::unwatched().0,
        replica_sets: Cache::unwatched().0,
        pods: Cache::unwatched().0,
        pods_by_connector: Index::new(|_| BTreeSet::new()),
    }
}

/// An API server that keeps objects and does what the real one does with the two things that are relied on: a version that
/// isn't the object's is a conflict, and an object that isn't there is made by applying it. It holds the objects by their
/// paths, the requests that were made (method, kind of object, and whether only to create), and reason and note of each
/// Event.
#[derive(Clone, Default)]
pub struct ApiServer(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    objects: HashMap<String, Value>,
    requests: Vec<String>,
    events: Vec<(String, String)>,
    /// Kind of objects that no write is taken of, as a quota or a policy does it.
    refused: Option<&'static str>,
    /// Kind of objects in which every write sets something else, as an admission webhook does it: where, and to what.
    rewritten: Option<(&'static str, &'static str, Value)>,
    /// Tokens that were given.
    tokens: u32,
}

impl ApiServer {
    pub fn client(&self) -> Client {
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
        let Held { objects, requests, events, refused, rewritten, tokens } = &mut *self.0.lock().unwrap();
        let (collection, last) = path.rsplit_once('/').unwrap();
        let what = match last {
            "status" | "token" => format!("{}/{last}", collection.rsplit('/').nth(1).unwrap()),
            _ => collection.rsplit('/').next().unwrap().to_owned(),
        };
        let version = body.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_owned);
        requests.push(format!("{method} {what}{}", if version.is_some() { " new" } else { "" }));
        let failure = |code: u16, reason: &str| {
            (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason}))
        };
        if let Some(path) = path.strip_suffix("/status") {
            let Some(object) = objects.get_mut(path) else { return failure(404, "NotFound") };
            object["status"] = body["status"].take();
            return (200, object.clone());
        }
        if method == "PATCH" && *refused == Some(what.as_str()) {
            return failure(403, "exceeded quota");
        }
        let is_immutable = objects.get(path).is_some_and(|object| object["immutable"] == true);
        if method == "PATCH" && is_immutable && objects[path]["data"] != body["data"] {
            return failure(422, "data: Forbidden: field is immutable when `immutable` is set");
        }
        if what == "serviceaccounts/token" {
            if *refused == Some("serviceaccounts/token") {
                return failure(403, "Forbidden");
            }
            *tokens += 1;
            let audiences: Vec<&str> =
                body["spec"]["audiences"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let token = format!("token {tokens} for {}", audiences.join(", "));
            body["status"] = json!({"token": token, "expirationTimestamp": "2026-01-01T00:00:00Z"});
            return (201, body);
        }
        if method == "PATCH" && what == "events" {
            return (200, body);
        }
        let there = objects.get(path).cloned();
        match (method, there) {
            ("POST", _) if last == "events" => {
                let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
                events.push((text("reason"), text("note")));
                (201, body)
            }
            ("GET", Some(object)) => (200, object),
            ("GET", None) => failure(404, "NotFound"),
            ("PATCH", Some(object))
                if version.is_some()
                    && object.pointer("/metadata/resourceVersion") != body.pointer("/metadata/resourceVersion") =>
            {
                failure(409, "Conflict")
            }
            ("PATCH", there) => {
                body["metadata"]["resourceVersion"] = json!("7");
                if let Some(uid) = there.and_then(|object| object.pointer("/metadata/uid").cloned()) {
                    body["metadata"]["uid"] = uid;
                }
                if let Some((_, pointer, value)) = rewritten.as_ref().filter(|(plural, ..)| *plural == what) {
                    *body.pointer_mut(pointer).unwrap() = value.clone();
                }
                objects.insert(path.to_owned(), body.clone());
                (200, body)
            }
            _ => failure(405, "MethodNotAllowed"),
        }
    }

    pub fn put(&self, path: &str, object: Value) {
        self.0.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    pub fn object(&self, path: &str) -> Value {
        self.0.lock().unwrap().objects[path].clone()
    }

    pub fn refuse(&self, plural: &'static str) {
        self.0.lock().unwrap().refused = Some(plural);
    }

    pub fn rewrite(&self, plural: &'static str, pointer: &'static str, value: Value) {
        self.0.lock().unwrap().rewritten = Some((plural, pointer, value));
    }

    /// Reason and note of every Event that was made.
    pub fn events(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().events.clone()
    }

    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }
}

/// The caches of a cluster in which the connector's Deployment has a pod at each of these addresses.
pub fn with_pods(connector: &McpConnector, server: &ApiServer, pods: &[String]) -> Caches {
    let (connectors, mut writer) = Cache::unwatched();
    writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(connector.clone()))));
    server.put(CONNECTOR, serde_json::to_value(connector).unwrap());
    let (sources, mut writer) = Cache::unwatched();
    let source = found().source.unwrap().as_ref().clone();
    writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(source))));
    let (deployments, mut writer) = Cache::unwatched();
    let deployment = json!({
        "metadata": {
            "name": "mcp-tresor", "namespace": "team", "uid": "deployment", "resourceVersion": "7",
            "ownerReferences": [connector.controller_owner_ref(&()).unwrap()],
        },
        "spec": {"selector": {}, "template": {}},
    });
    server.put(DEPLOYMENT, deployment.clone());
    writer.apply_watcher_event(&Event::Apply(serde_json::from_value::<Deployment>(deployment).unwrap()));
    let owner = |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
    let (replica_sets, mut writer) = Cache::unwatched();
    let set = json!({"metadata": {"name": "set", "namespace": "team", "uid": "set",
        "ownerReferences": owner("Deployment", "mcp-tresor", "deployment")}});
    writer.apply_watcher_event(&Event::Apply(serde_json::from_value::<PartialObjectMeta<ReplicaSet>>(set).unwrap()));
    let (pods_cache, mut writer) = Cache::unwatched();
    let index = Index::new(|pod: &Pod| pod.labels().get(LABEL_CONNECTOR).cloned().into_iter().collect());
    for address in pods {
        let pod = json!({
            "metadata": {"name": address, "namespace": "team", "uid": address, "labels": {LABEL_CONNECTOR: "tresor"},
                "ownerReferences": owner("ReplicaSet", "set", "set")},
            "status": {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        index.insert(&pod);
        writer.apply_watcher_event(&Event::Apply(pod));
    }
    Caches { connectors, sources, deployments, replica_sets, pods: pods_cache, pods_by_connector: index, ..caches() }
}

/// A context with these caches, in front of this API server.
pub fn context(server: &ApiServer, caches: Caches) -> Arc<Context> {
    let (client, keys) = (server.client(), found().token_keys);
    let reporter = Reporter { controller: "test".into(), instance: None };
    Arc::new(Context {
        events: Publisher::new(client.clone(), reporter),
        own_tokens: OwnTokens::new(client.clone(), "operator-namespace", "operator-account".into()),
        client,
        settings: settings(),
        caches,
        references: ReferenceCache::default(),
        status_writes: tokio::sync::Semaphore::new(1),
        token_keys: watch::channel(keys).1,
        api_audiences: watch::channel(None).1,
        pods_http: reqwest::Client::builder().no_proxy().build().unwrap(),
        memory: Mutex::default(),
        mutations: Published::default(),
        rollout: Rollout::new(settings().rollout),
        refused_requests: Refused::default(),
        metrics: Metrics::default(),
    })
}
