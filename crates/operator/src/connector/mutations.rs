//! Publishes the calls that changed something as Kubernetes Events, each once: connectors report them at `/status`, for
//! they may not write to the Kubernetes API. What pods say is untrusted, so it is bounded and cleaned; what is lost here
//! (there is no promise but to try) stands in the connector's audit records.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::{SignedDuration, Timestamp},
};
use kube::{Api, Client, ResourceExt, api::PostParams};
use tracing::warn;

use super::observe::Observation;
use crate::{cache::root_cause, context::API_TIMEOUT};
use api::FIELD_MANAGER;
use pod_api::status::{CallOutcome, Mutation};

/// Events of one connector that are published at a time; the others come with the next look.
const AT_A_TIME: usize = 16;
/// What happened so long before this process began was published by the one before it, or is too old to tell.
const LOOK_BACK: Duration = Duration::from_mins(10);
/// Characters of a name that a pod gave.
const MAX_NAME: usize = 128;

/// How far the calls of each pod are published.
#[derive(Debug)]
pub struct Published {
    from: Timestamp,
    until: Mutex<HashMap<String, HashMap<String, Timestamp>>>,
}

impl Default for Published {
    fn default() -> Self {
        let back = SignedDuration::try_from(LOOK_BACK).unwrap_or_default();
        Self { from: Timestamp::now().saturating_sub(back).unwrap_or_default(), until: Mutex::default() }
    }
}

impl Published {
    /// The calls that are not published yet, the oldest first. They count as published from now on.
    fn take_fresh(&self, connector_uid: &str, observation: &Observation) -> Vec<Mutation> {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let until = until.entry(connector_uid.to_owned()).or_default();
        until.retain(|name, _| observation.pods.iter().any(|pod| pod.name_any() == *name));
        let mut fresh = Vec::new();
        for replica in &observation.replicas {
            let Some(status) = &replica.status else { continue };
            let published = until.get(&replica.pod).copied().unwrap_or(self.from);
            let mut news: Vec<&Mutation> =
                status.details.mutations.iter().filter(|mutation| mutation.time > published).collect();
            news.sort_by_key(|mutation| mutation.time);
            news.truncate(AT_A_TIME.saturating_sub(fresh.len()));
            if let Some(newest) = news.last() {
                until.insert(replica.pod.clone(), newest.time);
            }
            fresh.extend(news.into_iter().cloned());
        }
        fresh
    }

    /// Forgets connectors that are gone.
    pub fn forget_others(&self, living: &dyn Fn(&str) -> bool) {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| living(uid));
    }
}

/// Publishes what is new in an observation. What can't be published is logged and nothing else.
pub async fn publish(
    client: &Client,
    instance: &str,
    published: &Published,
    connector: &ObjectReference,
    observation: &Observation,
) {
    let namespace = connector.namespace.clone().unwrap_or_default();
    let events = Api::<Event>::namespaced(client.clone(), &namespace);
    for mutation in published.take_fresh(connector.uid.as_deref().unwrap_or_default(), observation) {
        let Some(event) = build_event(&mutation, connector, instance) else { continue };
        let parameters = PostParams::default();
        match tokio::time::timeout(API_TIMEOUT, events.create(&parameters, &event)).await {
            Ok(Ok(_)) => {}
            // The process before this one was quicker.
            Ok(Err(kube::Error::Api(status))) if status.is_already_exists() => {}
            Ok(Err(error)) => warn!(error = %root_cause(&error), "publishing a change as an Event failed"),
            Err(_) => warn!("publishing a change as an Event took too long"),
        }
    }
}

/// The Event of a call; nothing if the call's id is not one of ours. Its name follows from the id, so that the API server
/// refuses a second one.
fn build_event(mutation: &Mutation, connector: &ObjectReference, instance: &str) -> Option<Event> {
    let id = &mutation.id;
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return None;
    }
    let (type_, reason, how) = match mutation.outcome {
        CallOutcome::Success => ("Normal", "PlatformChanged", "succeeded"),
        CallOutcome::Error => ("Warning", "PlatformChangeFailed", "failed"),
        CallOutcome::Denied => ("Warning", "PlatformChangeFailed", "was refused"),
        CallOutcome::Exception => ("Warning", "PlatformChangeFailed", "ended with a fault of the connector"),
        CallOutcome::Abandoned => ("Warning", "PlatformChangeFailed", "was abandoned; it may or may not have acted"),
    };
    let clean = |text: &str| -> String {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "_.-:".contains(c) { c } else { '?' };
        text.chars().take(3 * MAX_NAME).map(safe).collect()
    };
    let tool: String = clean(&mutation.tool).chars().take(MAX_NAME).collect();
    Some(Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{id}", connector.name.as_deref().unwrap_or_default())),
            namespace: connector.namespace.clone(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(mutation.time)),
        reporting_controller: Some(FIELD_MANAGER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        note: Some(format!("{tool}, called by {}, {how} (audit record {id})", clean(&mutation.caller))),
        action: Some(tool),
        reason: Some(reason.to_owned()),
        regarding: Some(connector.clone()),
        type_: Some(type_.to_owned()),
        ..Event::default()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::Pod;
    use kube::client::Body;
    use tower::service_fn;

    use super::*;
    use crate::connector::observe::Replica;
    use credentials::CredentialsState;
    use pod_api::status::{ReplicaDetails, ReplicaStatus};

    fn mutation(number: u128, seconds: i64) -> Mutation {
        Mutation {
            id: format!("{number:032x}"),
            tool: "delete_vault_secret".into(),
            caller: "system:serviceaccount:agents:triage".into(),
            outcome: CallOutcome::Success,
            time: Timestamp::now() + SignedDuration::from_secs(seconds),
        }
    }

    fn observed(mutations: &[Mutation]) -> Observation {
        let status = ReplicaStatus {
            connector_uid: "uid".into(),
            config_digest: String::new(),
            version: String::new(),
            protocol_versions: vec![],
            tool_count: 0,
            tool_digest: String::new(),
            credentials: CredentialsState {
                reason: String::new(),
                message: String::new(),
                mounted_revision: None,
                loaded_revision: None,
                supply: None,
            },
            probe: None,
            details: ReplicaDetails { mutations: mutations.to_vec(), ..ReplicaDetails::default() },
        };
        let pod = Pod { metadata: ObjectMeta { name: Some("a".into()), ..ObjectMeta::default() }, ..Pod::default() };
        let replica = Replica { pod: "a".into(), status: Some(status), silent: false };
        Observation { pods: vec![Arc::new(pod)], replicas: vec![replica], ..Observation::default() }
    }

    fn connector() -> ObjectReference {
        ObjectReference {
            namespace: Some("team".into()),
            name: Some("tresor".into()),
            uid: Some("uid".into()),
            ..ObjectReference::default()
        }
    }

    #[test]
    fn each_call_is_taken_once_the_oldest_first() {
        let published = Published::default();
        let (old, first, second) = (mutation(0, -3_600), mutation(1, 1), mutation(2, 2));
        let both = observed(&[second.clone(), first.clone(), old]);
        assert_eq!(published.take_fresh("uid", &both), [first.clone(), second.clone()]);
        assert_eq!(published.take_fresh("uid", &both), []);
        let third = mutation(3, 3);
        assert_eq!(published.take_fresh("uid", &observed(&[first, second, third.clone()])), [third]);
    }

    #[test]
    fn a_flood_is_published_bit_by_bit() {
        let published = Published::default();
        let many: Vec<Mutation> = (0_u32..32).map(|number| mutation(u128::from(number), i64::from(number))).collect();
        let taken: Vec<usize> = (0..3).map(|_| published.take_fresh("uid", &observed(&many)).len()).collect();
        assert_eq!(taken, [16, 16, 0]);
        published.forget_others(&|_| false);
        assert_eq!(published.take_fresh("uid", &observed(&many)).len(), 16, "nothing was forgotten");
    }

    #[test]
    fn what_a_pod_says_is_cleaned_and_bounded() {
        let event = build_event(&mutation(7, 0), &connector(), "operator-0").unwrap();
        assert_eq!(event.metadata.name.as_deref(), Some("tresor.00000000000000000000000000000007"));
        assert_eq!(event.type_.as_deref(), Some("Normal"));
        let note = event.note.unwrap();
        assert!(
            note.starts_with("delete_vault_secret, called by system:serviceaccount:agents:triage, succeeded"),
            "{note}"
        );

        let hostile = Mutation { tool: "a\n<b>".repeat(1_000), caller: "x\u{1b}".repeat(1_000), ..mutation(7, 0) };
        let event = build_event(&Mutation { outcome: CallOutcome::Abandoned, ..hostile }, &connector(), "o").unwrap();
        let note = event.note.unwrap();
        // The API server takes 1,024 bytes of a note and 128 of an action.
        assert!(note.len() <= 1_024 && !note.contains(['\n', '<', '\u{1b}']), "{note}");
        assert!(event.action.unwrap().len() <= 128);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert!(build_event(&Mutation { id: "../../secrets".into(), ..mutation(7, 0) }, &connector(), "o").is_none());
    }

    #[tokio::test]
    async fn an_event_that_exists_already_is_no_fault() {
        let sent: Arc<Mutex<Vec<String>>> = Arc::default();
        let keep = sent.clone();
        let api = service_fn(move |request: Request<Body>| {
            keep.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
            let body = r#"{"kind":"Status","status":"Failure","reason":"AlreadyExists","code":409,"message":"exists"}"#;
            let response = Response::builder().status(409).body(Body::from(body.as_bytes().to_vec()));
            async move { response }
        });
        let (client, published) = (Client::new(api, "team"), Published::default());
        let observation = observed(&[mutation(1, 1), mutation(2, 2)]);
        for _ in 0..2 {
            publish(&client, "operator-0", &published, &connector(), &observation).await;
        }
        assert_eq!(*sent.lock().unwrap(), ["POST /apis/events.k8s.io/v1/namespaces/team/events"; 2]);
    }
}
