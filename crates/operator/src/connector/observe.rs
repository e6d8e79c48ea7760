//! The observe step: asks the Deployment's pods how they are, each for itself, and calls the endpoint through the Service
//! as an agent would. What pods say is untrusted input: bounded in size and time, and only from pods that really belong
//! to the Deployment.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::{ResourceExt, core::PartialObjectMeta};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::debug;

use super::validate::ValidatedConnector;
use crate::context::Context;
use api::{ADMIN_PORT, endpoint_url};
use pod_api::status::{MAX_STATUS_BYTES, ReplicaStatus};

/// The protocol revision that the handshake is made in.
const PROTOCOL_VERSION: &str = "2026-07-28";
/// Time that a pod has for one answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Pods of one connector that are asked at a time.
pub(super) const AT_A_TIME: usize = 24;
/// Time that a Deployment's controller has to look at a change before it is told that it hasn't.
const TOLERATED_DELAY: Duration = Duration::from_secs(2);
/// Answers in a row that may be missing before what a pod said last no longer counts.
const TOLERATED_MISSES: u32 = 1;

/// What was heard from a connector's pods so far.
#[derive(Debug, Default)]
pub struct Memory {
    replicas: HashMap<String, Remembered>,
    handshake_misses: u32,
    handshake_succeeded: bool,
    /// Since when the Deployment's controller has not been seen to know of its latest change.
    unobserved_since: Option<Instant>,
}

#[derive(Debug, Default)]
struct Remembered {
    status: Option<ReplicaStatus>,
    misses: u32,
}

impl Memory {
    /// Whether a Deployment was seen changed only a moment ago by a controller that hasn't looked at it yet.
    fn is_early(&mut self, deployment: &Deployment, now: Instant) -> bool {
        if !is_unobserved(deployment) {
            self.unobserved_since = None;
            return false;
        }
        now.duration_since(*self.unobserved_since.get_or_insert(now)) < TOLERATED_DELAY
    }

    /// Puts what the ready pods and the endpoint answered to what was heard before.
    fn hear(
        &mut self,
        pods: Vec<Arc<Pod>>,
        answers: Vec<(Arc<Pod>, Option<ReplicaStatus>)>,
        shaken: Option<Result<Vec<String>, String>>,
    ) -> Observation {
        let mut remembered = std::mem::take(&mut self.replicas);
        let mut is_tentative = false;
        let mut replicas = Vec::with_capacity(answers.len());
        for (pod, answer) in answers {
            let uid = pod.uid().unwrap_or_default();
            let mut entry = remembered.remove(&uid).unwrap_or_default();
            if let Some(status) = answer {
                entry = Remembered { status: Some(status), misses: 0 };
            } else {
                entry.misses = entry.misses.saturating_add(1);
                if entry.misses > TOLERATED_MISSES {
                    entry.status = None;
                }
            }
            let silent = entry.misses > TOLERATED_MISSES;
            is_tentative |= entry.status.is_none() && !silent;
            replicas.push(Replica { pod: pod.name_any(), status: entry.status.clone(), silent });
            self.replicas.insert(uid, entry);
        }
        let handshake = shaken.map(|shaken| match shaken {
            Ok(versions) => {
                self.handshake_misses = 0;
                self.handshake_succeeded = true;
                Handshake::Succeeded(versions)
            }
            Err(problem) => {
                self.handshake_misses = self.handshake_misses.saturating_add(1);
                let tolerated = self.handshake_misses <= TOLERATED_MISSES;
                if self.handshake_succeeded && tolerated {
                    Handshake::Doubtful
                } else {
                    is_tentative |= tolerated;
                    self.handshake_succeeded = false;
                    Handshake::Failed(problem)
                }
            }
        });
        Observation { pods, replicas, handshake, is_tentative, is_early: false }
    }
}

/// A connector's pods and endpoint, as they were found.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// The pods of the Deployment, without those that are going.
    pub pods: Vec<Arc<Pod>>,
    /// What each ready pod says of itself; none where it doesn't answer, or didn't yet.
    pub replicas: Vec<Replica>,
    /// How the handshake through the Service went; none where nothing could answer it.
    pub handshake: Option<Handshake>,
    /// Whether a pod, or the endpoint, was asked for the first time and did not answer: it says nothing yet. An operator
    /// that was just started has heard nobody, and must not tell of one late answer what its predecessor would not.
    pub is_tentative: bool,
    /// Whether the Deployment was changed a moment ago and its controller hasn't looked at it yet: what its status says is
    /// of before, and in a moment there is more to say.
    pub is_early: bool,
}

impl Observation {
    /// Whether a pod was there to be asked. Otherwise everything that was looked at is watched.
    pub fn has_ready_pods(&self) -> bool {
        !self.replicas.is_empty()
    }
}

/// A ready pod.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Name of the pod.
    pub pod: String,
    /// What it says of itself.
    pub status: Option<ReplicaStatus>,
    /// Whether it has failed to answer more often than is tolerated.
    pub silent: bool,
}

/// How the handshake through the Service went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// It succeeded; these are the revisions that are served.
    Succeeded(Vec<String>),
    /// It failed lately, after it had succeeded: not believed yet.
    Doubtful,
    /// It failed, in our own words.
    Failed(String),
}

/// Whether the Deployment's controller has not looked at its latest change yet.
pub fn is_unobserved(deployment: &Deployment) -> bool {
    deployment.status.as_ref().and_then(|status| status.observed_generation) < deployment.metadata.generation
}

/// Asks a connector's pods and endpoint.
pub async fn observe(context: &Context, connector: &ValidatedConnector, deployment: &Deployment) -> Observation {
    let pods = pods_of(context, connector, deployment);
    let memory = memory_of(context, &connector.owner.uid);
    let mut memory = memory.lock().await;
    let is_early = memory.is_early(deployment, Instant::now());
    let ready: Vec<Arc<Pod>> = pods.iter().filter(|pod| is_ready(pod)).cloned().collect();
    let Some(token) = token_for(context, connector).await else {
        return Observation { pods, replicas: silent(&ready), is_early, ..Observation::default() };
    };
    let answers: Vec<(Arc<Pod>, Option<ReplicaStatus>)> = stream::iter(ready.iter().cloned())
        .map(|pod| {
            let token = &token;
            async move {
                let status = fetch_status(context, &pod, token).await.filter(|status| {
                    // A pod that carries another connector's configuration is none of this one's.
                    status.connector_uid == connector.owner.uid
                });
                (pod, status)
            }
        })
        .buffered(AT_A_TIME)
        .collect()
        .await;
    let shaken = if ready.is_empty() { None } else { Some(shake_hands(context, connector, &token).await) };
    Observation { is_early, ..memory.hear(pods, answers, shaken) }
}

/// Forgets what was heard from the pods of connectors that are gone.
pub fn forget_others(context: &Context, living: &dyn Fn(&str) -> bool) {
    context.memory.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| living(uid));
}

fn memory_of(context: &Context, uid: &str) -> Arc<tokio::sync::Mutex<Memory>> {
    let mut memory = context.memory.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(memory.entry(uid.to_owned()).or_default())
}

fn silent(ready: &[Arc<Pod>]) -> Vec<Replica> {
    ready.iter().map(|pod| Replica { pod: pod.name_any(), status: None, silent: false }).collect()
}

/// The pods that belong to the Deployment by their owners, and not by labels that anybody can write.
pub(super) fn pods_of(context: &Context, connector: &ValidatedConnector, deployment: &Deployment) -> Vec<Arc<Pod>> {
    let Some(deployment_uid) = deployment.uid() else { return Vec::new() };
    let in_deployment = |set: &PartialObjectMeta<ReplicaSet>| {
        set.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == deployment_uid)
    };
    let caches = &context.caches;
    let mut pods = caches.pods_by_connector.members(&caches.pods, &connector.namespace, &connector.name);
    pods.retain(|pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod.owner_references().iter().filter(|owner| owner.controller == Some(true)).any(|owner| {
                caches
                    .replica_sets
                    .get(&connector.namespace, &owner.name)
                    .is_some_and(|set| set.uid().as_deref() == Some(&owner.uid) && in_deployment(&set))
            })
    });
    pods
}

/// Whether a pod's Ready condition is true.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// What opens this connector's pods to the operator.
pub(super) async fn token_for(context: &Context, connector: &ValidatedConnector) -> Option<String> {
    context.own_tokens.for_connector(&connector.owner.uid, &connector.namespace, &connector.name).await
}

/// A path of a pod's admin port; nothing while the pod has no address.
pub(super) fn admin_url(pod: &Pod, path: &str) -> Option<String> {
    let address = pod.status.as_ref()?.pod_ip.as_deref()?;
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    Some(format!("http://{host}:{ADMIN_PORT}{path}"))
}

async fn fetch_status(context: &Context, pod: &Pod, token: &str) -> Option<ReplicaStatus> {
    let request = context.pods_http.get(admin_url(pod, "/status")?).bearer_auth(token);
    let answer = async {
        let response = request.send().await.ok()?;
        if !response.status().is_success() {
            debug!(pod = %pod.name_any(), status = %response.status(), "a replica refused to tell its state");
            return None;
        }
        serde_json::from_slice(&read_capped(response, MAX_STATUS_BYTES).await?).ok()
    };
    tokio::time::timeout(ANSWER_TIMEOUT, answer).await.ok().flatten()
}

async fn read_capped(mut response: reqwest::Response, limit: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > limit {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

async fn shake_hands(context: &Context, connector: &ValidatedConnector, token: &str) -> Result<Vec<String>, String> {
    let body = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "server/discover",
        "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {
                "name": "mcp-connectors-operator", "version": env!("CARGO_PKG_VERSION"),
            },
        }},
    });
    let request = context
        .pods_http
        .post(endpoint_url(&connector.namespace, &connector.name))
        .bearer_auth(token)
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", PROTOCOL_VERSION)
        .header("mcp-method", "server/discover")
        .body(body.to_string());
    let exchange = async {
        let response = request.send().await.map_err(|error| {
            if error.is_connect() { "no connection through the Service".to_owned() } else { "no answer".to_owned() }
        })?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("HTTP status {}", status.as_u16()));
        }
        let body = read_capped(response, MAX_STATUS_BYTES).await.ok_or("the answer broke off or is too large")?;
        let answer: Value = serde_json::from_slice(&body).map_err(|_| "the answer is not JSON".to_owned())?;
        let versions = answer.pointer("/result/supportedVersions").and_then(Value::as_array);
        let versions: Vec<String> =
            versions.into_iter().flatten().filter_map(Value::as_str).take(16).map(str::to_owned).collect();
        if versions.is_empty() { Err("the answer names no protocol version".to_owned()) } else { Ok(versions) }
    };
    tokio::time::timeout(ANSWER_TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_early_until_its_deployments_controller_has_seen_it_or_its_time_is_over() {
        let at = |generation: i64, observed: i64| -> Deployment {
            let yaml =
                format!("{{metadata: {{generation: {generation}}}, status: {{observedGeneration: {observed}}}}}");
            serde_saphyr::from_str(&yaml).unwrap()
        };
        let mut memory = Memory::default();
        let mut is_early = |deployment: &Deployment| memory.is_early(deployment, Instant::now());
        assert!(!is_early(&at(1, 1)));
        assert!(is_early(&at(2, 1)));
        tokio::time::advance(TOLERATED_DELAY / 2).await;
        assert!(is_early(&at(3, 1)), "one that is changed again and again has no more time");
        tokio::time::advance(TOLERATED_DELAY / 2).await;
        assert!(!is_early(&at(4, 1)));
        assert!(!is_early(&at(4, 4)));
        assert!(is_early(&at(5, 4)), "its time begins anew");
        // Of one that has no status yet, too.
        assert!(
            Memory::default().is_early(&serde_saphyr::from_str("{metadata: {generation: 1}}").unwrap(), Instant::now())
        );
    }

    #[test]
    fn pods_of_both_ip_families_are_asked_and_those_without_an_address_are_not() {
        let url = |status: &str| {
            let pod: Pod = serde_saphyr::from_str(&format!("{{metadata: {{name: p}}, status: {status}}}")).unwrap();
            admin_url(&pod, "/status")
        };
        assert_eq!(url("{podIP: 192.0.2.1}").as_deref(), Some("http://192.0.2.1:8081/status"));
        let v6 = url("{podIP: '2001:db8::7'}").unwrap();
        assert_eq!(v6, "http://[2001:db8::7]:8081/status");
        assert_eq!(url::Url::parse(&v6).unwrap().port(), Some(ADMIN_PORT));
        assert_eq!(url("{}"), None);
    }
}
