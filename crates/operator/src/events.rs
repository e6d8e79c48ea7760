//! Kubernetes Events: told once for every transition of a condition that a person would want to know of, and for what the
//! operator did on somebody's request.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::time::Instant;
use tracing::warn;

use super::{cache::root_cause, context::API_TIMEOUT};

/// Bytes of a note that the API server takes: `NoteLengthLimit` in its `pkg/apis/core/validation/events.go`.
const MAX_NOTE_BYTES: usize = 1_024;
/// Time for which what is told again is counted on the Event that told it first, as kube's recorder does.
const REPEAT: Duration = Duration::from_mins(6);
/// Events of one object and reason within that time that differ in their notes only.
const MAX_NOTES: usize = 5;

/// Publishes Events. What is told again is counted on the Event that told it; the same with another note is an Event of its
/// own, because a note can't be changed, and an old one would be taken for what happened now.
pub struct Publisher {
    client: Client,
    reporter: Reporter,
    told: Mutex<HashMap<Subject, Vec<Told>>>,
}

/// What kube's recorder tells Events apart by.
#[derive(PartialEq, Eq, Hash)]
struct Subject {
    uid: String,
    type_: EventType,
    reason: String,
    action: String,
}

/// A note, and the recorder that knows its Event and no other of its subject.
struct Told {
    note: String,
    at: Instant,
    recorder: Recorder,
}

impl Publisher {
    /// Has published nothing yet.
    #[must_use]
    pub fn new(client: Client, reporter: Reporter) -> Self {
        Self { client, reporter, told: Mutex::default() }
    }

    /// The recorder for an Event. Where there were too many notes lately, it is the one of the newest.
    fn recorder(&self, event: &Event, regarding: &ObjectReference) -> Recorder {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, notes| {
            notes.retain(|note| now.duration_since(note.at) < REPEAT);
            !notes.is_empty()
        });
        let subject = Subject {
            uid: regarding.uid.clone().unwrap_or_default(),
            type_: event.type_,
            reason: event.reason.clone(),
            action: event.action.clone(),
        };
        let notes = told.entry(subject).or_default();
        let note = event.note.as_deref().unwrap_or_default();
        let is_full = notes.len() >= MAX_NOTES;
        let mut known = notes.iter().position(|known| known.note == note).map(|place| notes.remove(place));
        if known.is_none() && is_full {
            known = notes.pop();
        }
        let recorder = known
            .as_ref()
            .map_or_else(|| Recorder::new(self.client.clone(), self.reporter.clone()), |known| known.recorder.clone());
        let note = known.map_or_else(|| note.to_owned(), |known| known.note);
        notes.push(Told { note, at: now, recorder: recorder.clone() });
        recorder
    }

    /// Publishes an Event. One that can't be published is logged and nothing else: the status says it anyway.
    async fn send(&self, mut event: Event, regarding: &ObjectReference) {
        event.note = event.note.map(shortened);
        let recorder = self.recorder(&event, regarding);
        match tokio::time::timeout(API_TIMEOUT, recorder.publish(&event, regarding)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = %root_cause(&error), reason = event.reason, "publishing an Event failed"),
            Err(_) => warn!(reason = event.reason, "publishing an Event took too long"),
        }
    }
}

/// What the API server takes of a note.
fn shortened(mut note: String) -> String {
    const CUT: &str = "…";
    if note.len() > MAX_NOTE_BYTES {
        note.truncate(note.floor_char_boundary(MAX_NOTE_BYTES - CUT.len()));
        note.push_str(CUT);
    }
    note
}

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
pub async fn publish_rotation(events: &Publisher, revision: &str, regarding: &ObjectReference) {
    let event = Event {
        type_: EventType::Normal,
        reason: "CredentialsRotated".to_owned(),
        note: Some(format!("The credentials were replaced; their revision is {revision}.")),
        action: "Rotate".to_owned(),
        secondary: None,
    };
    events.send(event, regarding).await;
}

/// Publishes a transition.
pub async fn publish(events: &Publisher, condition: &Condition, regarding: &ObjectReference) {
    let good = condition.status == "True";
    let event = Event {
        type_: if good { EventType::Normal } else { EventType::Warning },
        reason: condition.reason.clone(),
        note: Some(format!("{}: {}", condition.type_, condition.message)),
        action: condition.type_.clone(),
        secondary: None,
    };
    events.send(event, regarding).await;
}

/// Tells of something that is no condition.
pub async fn tell(events: &Publisher, type_: EventType, reason: &str, note: String, regarding: &ObjectReference) {
    let event =
        Event { type_, reason: reason.to_owned(), note: Some(note), action: reason.to_owned(), secondary: None };
    events.send(event, regarding).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::testing::ApiServer;

    fn publisher(server: &ApiServer) -> (Publisher, ObjectReference) {
        let reporter = Reporter { controller: "test".into(), instance: None };
        let regarding = ObjectReference {
            name: Some("tresor".into()),
            namespace: Some("team".into()),
            uid: Some("uid".into()),
            ..ObjectReference::default()
        };
        (Publisher::new(server.client(), reporter), regarding)
    }

    /// The notes of the Events that were made.
    fn notes(server: &ApiServer) -> Vec<String> {
        server.events().into_iter().map(|(_, note)| note).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_rotation_is_told_with_its_own_revision_and_a_repetition_is_counted() {
        let server = ApiServer::default();
        let (events, connector) = publisher(&server);
        for revision in ["one", "two", "two", "one"] {
            publish_rotation(&events, revision, &connector).await;
        }
        let told = notes(&server);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].ends_with("is one.") && told[1].ends_with("is two."), "{told:?}");
        assert_eq!(server.requests().iter().filter(|request| *request == "PATCH events").count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_note_that_differs_each_time_makes_a_bounded_number_of_events() {
        let server = ApiServer::default();
        let (events, connector) = publisher(&server);
        for number in 0..50 {
            tell(&events, EventType::Warning, "Flapping", format!("{number}"), &connector).await;
        }
        assert_eq!(notes(&server), ["0", "1", "2", "3", "4"]);
        let other = ObjectReference { uid: Some("other".into()), ..connector.clone() };
        tell(&events, EventType::Warning, "Flapping", "other".into(), &other).await;
        tokio::time::advance(REPEAT).await;
        tell(&events, EventType::Warning, "Flapping", "later".into(), &connector).await;
        assert_eq!(notes(&server)[5..], ["other", "later"]);
    }

    #[tokio::test]
    async fn a_note_is_as_long_as_the_api_server_takes() {
        let server = ApiServer::default();
        let (events, connector) = publisher(&server);
        for text in ["a".repeat(1_024), "a".repeat(1_025), "aé€😀".repeat(400)] {
            tell(&events, EventType::Normal, "Long", text, &connector).await;
        }
        let told = notes(&server);
        assert_eq!(told[0], "a".repeat(1_024));
        assert_eq!(told[1], format!("{}…", "a".repeat(1_021)));
        assert!(told[2].ends_with('…') && (1_020..=1_024).contains(&told[2].len()), "{} bytes", told[2].len());
    }
}
