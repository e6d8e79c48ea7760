//! Kubernetes Events: told once for every transition of a condition that a person would want to know of, and for what the
//! operator did on somebody's request.

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::runtime::events::{Event, EventType, Recorder};
use tracing::warn;

use super::{cache::root_cause, context::API_TIMEOUT};

/// The conditions that turned to True or False, or stayed False for another reason. What is being brought up is not worth
/// an Event, nor is what repeats another condition: the kstatus pair, and a Ready that is False.
pub fn transitions<'a>(before: &'a [Condition], after: &'a [Condition]) -> impl Iterator<Item = &'a Condition> {
    after.iter().filter(move |condition| {
        match condition.type_.as_str() {
            "Reconciling" | "Stalled" => return false,
            "Ready" if condition.status == "False" => return false,
            _ if condition.status == "Unknown" => return false,
            _ => {}
        }
        match before.iter().find(|earlier| earlier.type_ == condition.type_) {
            None => true,
            Some(earlier) if earlier.status != condition.status => true,
            Some(earlier) => condition.status == "False" && earlier.reason != condition.reason,
        }
    })
}

/// Publishes that other credentials are in use than before.
pub async fn publish_rotation(recorder: &Recorder, revision: &str, regarding: &ObjectReference) {
    let event = Event {
        type_: EventType::Normal,
        reason: "CredentialsRotated".to_owned(),
        note: Some(format!("The credentials were replaced; their revision is {revision}.")),
        action: "Rotate".to_owned(),
        secondary: None,
    };
    send(recorder, &event, regarding).await;
}

/// Publishes a transition. An Event that can't be published is logged and nothing else: the status says it anyway.
pub async fn publish(recorder: &Recorder, condition: &Condition, regarding: &ObjectReference) {
    let good = condition.status == "True";
    let event = Event {
        type_: if good { EventType::Normal } else { EventType::Warning },
        reason: condition.reason.clone(),
        note: Some(format!("{}: {}", condition.type_, condition.message)),
        action: condition.type_.clone(),
        secondary: None,
    };
    send(recorder, &event, regarding).await;
}

/// Tells of something that is no condition.
pub async fn tell(recorder: &Recorder, type_: EventType, reason: &str, note: String, regarding: &ObjectReference) {
    let event =
        Event { type_, reason: reason.to_owned(), note: Some(note), action: reason.to_owned(), secondary: None };
    send(recorder, &event, regarding).await;
}

async fn send(recorder: &Recorder, event: &Event, regarding: &ObjectReference) {
    match tokio::time::timeout(API_TIMEOUT, recorder.publish(event, regarding)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(error = %root_cause(&error), reason = event.reason, "publishing an Event failed"),
        Err(_) => warn!(reason = event.reason, "publishing an Event took too long"),
    }
}
