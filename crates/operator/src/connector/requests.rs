//! What a person, or an action of Argo CD, asks for by annotation: a probe at once, credentials read again, new pods. A
//! request is the time that the annotation names; the newest one that was honoured stands in the status, so each is
//! honoured once, also across restarts of the operator, and an annotation that goes asks for nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ObjectReference, Pod},
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use kube::{ResourceExt, runtime::events::EventType};
use tokio::time::Instant;

use super::{
    observe::{ANSWER_TIMEOUT, AT_A_TIME, admin_url, is_ready, pods_of, token_for},
    validate::ValidatedConnector,
};
use crate::{context::Context, events};
use api::{
    ANNOTATION_PROBE_REQUESTED_AT, ANNOTATION_RELOAD_REQUESTED_AT, ANNOTATION_RESTARTED_AT, CredentialSource,
    McpConnector, PROBE_PATH, RELOAD_PATH, connector::RequestsStatus,
};

/// Times a pod is asked before it is left out.
const ATTEMPTS: u32 = 3;
/// Time between two of them.
const PAUSE: Duration = Duration::from_secs(1);
/// Time that asking all pods may take, however many there are: a reconcile has more to do.
const ASKING_TIMEOUT: Duration = Duration::from_secs(20);
/// How far another machine's clock may be ahead of ours. A time further off would keep later requests from being seen.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// Characters of a value that somebody wrote, where it is repeated.
const MAX_VALUE: usize = 64;

/// What the annotations of a connector and its source ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// A probe at once; none that was honoured already.
    pub probe: Option<Timestamp>,
    /// The credentials read again; none that was honoured already.
    pub reload: Option<Timestamp>,
    /// New pods; none that was honoured already.
    pub restart: Option<Timestamp>,
    /// When the pods were last to be replaced, honoured or not. It stands on the pod template.
    pub restarted_at: Option<Timestamp>,
    /// Annotations that can't be understood, and why.
    pub refused: BTreeMap<&'static str, String>,
}

/// Reads what is asked for. Pure.
pub fn read(connector: &McpConnector, source: Option<&CredentialSource>, now: Timestamp) -> Requests {
    let honoured = connector.status.as_ref().and_then(|status| status.requests.clone()).unwrap_or_default();
    let mut refused = BTreeMap::new();
    let mut time_of = |annotations: &BTreeMap<String, String>, name: &'static str| {
        let value = annotations.get(name)?;
        match parse(value, now) {
            Ok(time) => Some(time),
            Err(problem) => {
                let value = common::foreign::line(value, MAX_VALUE);
                refused.insert(name, format!("{name}: {value:?} {problem}"));
                None
            }
        }
    };
    let own = connector.annotations();
    let probe = time_of(own, ANNOTATION_PROBE_REQUESTED_AT);
    let restart = time_of(own, ANNOTATION_RESTARTED_AT);
    let reload = time_of(own, ANNOTATION_RELOAD_REQUESTED_AT);
    let of_source = source.and_then(|source| time_of(source.annotations(), ANNOTATION_RELOAD_REQUESTED_AT));
    let fresh = |asked: Option<Timestamp>, honoured: Option<&Time>| {
        asked.filter(|asked| honoured.is_none_or(|honoured| *asked > honoured.0))
    };
    let restart = fresh(restart, honoured.restart.as_ref());
    Requests {
        probe: fresh(probe, honoured.probe.as_ref()),
        reload: fresh(reload.max(of_source), honoured.reload.as_ref()),
        restart,
        restarted_at: restart.or(honoured.restart.map(|time| time.0)),
        refused,
    }
}

/// A time in whole seconds, which is what a status can hold.
fn parse(value: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    let malformed = "is not a time such as 2026-11-01T12:00:00Z (RFC 3339): write date -u +%Y-%m-%dT%H:%M:%SZ";
    let time: Timestamp = value.parse().map_err(|_| malformed)?;
    if time > now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX) {
        return Err("lies in the future: a request is made at the time that it names");
    }
    Timestamp::from_second(time.as_second()).map_err(|_| malformed)
}

/// The annotations of each connector that were refused, so that each value is told of once.
#[derive(Debug, Default)]
pub struct Refused(Mutex<HashMap<String, BTreeMap<&'static str, String>>>);

impl Refused {
    /// Those that were not told of yet. They count as told from now on.
    fn take_fresh(&self, uid: &str, refused: &BTreeMap<&'static str, String>) -> Vec<String> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.is_empty() {
            told.remove(uid);
            return Vec::new();
        }
        let before = told.insert(uid.to_owned(), refused.clone()).unwrap_or_default();
        refused.iter().filter(|(name, why)| before.get(*name) != Some(*why)).map(|(_, why)| why.clone()).collect()
    }

    /// Forgets connectors that are gone.
    pub fn forget_others(&self, living: &dyn Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| living(uid));
    }
}

/// Honours the requests of a connector whose Deployment was applied, and tells what was done as Events. Nothing if there
/// was none; otherwise what now belongs into the status.
pub async fn honour(
    context: &Context,
    connector: &ValidatedConnector,
    deployment: &Deployment,
    requests: &Requests,
    honoured: Option<&RequestsStatus>,
    regarding: &ObjectReference,
) -> Option<RequestsStatus> {
    for why in context.refused_requests.take_fresh(&connector.owner.uid, &requests.refused) {
        events::tell(&context.events, EventType::Warning, "RequestRefused", why, regarding).await;
    }
    requests.probe.or(requests.reload).or(requests.restart)?;
    let mut status = honoured.cloned().unwrap_or_default();
    if let Some(time) = requests.restart {
        status.restart = Some(Time(time));
        let note = format!("The pods are replaced one by one, as was asked for at {time}.");
        events::tell(&context.events, EventType::Normal, "RestartRequested", note, regarding).await;
    }
    // Reading again has what was read tried on the platform, too.
    if let Some(time) = requests.reload
        && let Some(told) = ask_replicas(context, connector, deployment, RELOAD_PATH).await
    {
        status.reload = Some(Time(time));
        if requests.probe.is_some() {
            status.probe = requests.probe.map(Time);
        }
        tell(context, &told, "ReloadRequested", "to read the credentials again and try them", regarding).await;
    } else if let Some(time) = requests.probe
        && let Some(told) = ask_replicas(context, connector, deployment, PROBE_PATH).await
    {
        status.probe = Some(Time(time));
        tell(context, &told, "ProbeRequested", "to probe the platform", regarding).await;
    }
    Some(status)
}

/// How many of the ready replicas took a request.
struct Told {
    took: usize,
    of: usize,
}

async fn tell(context: &Context, told: &Told, reason: &str, what: &str, regarding: &ObjectReference) {
    let Told { took, of } = told;
    let (type_, note) = match (took, of) {
        (_, 0) => {
            (EventType::Normal, format!("No replica is ready that could be asked {what}: one does it when it starts."))
        }
        (took, of) if took == of => (EventType::Normal, format!("{took} of {of} replicas were asked {what}.")),
        (took, of) => (
            EventType::Warning,
            format!("{took} of {of} replicas were asked {what}. The others did not answer: ask again once they do."),
        ),
    };
    events::tell(&context.events, type_, reason, note, regarding).await;
}

/// Asks every ready replica; nothing if the operator can't prove who it is just now.
async fn ask_replicas(
    context: &Context,
    connector: &ValidatedConnector,
    deployment: &Deployment,
    path: &str,
) -> Option<Told> {
    let token = token_for(context, connector).await?;
    let mut left: Vec<Arc<Pod>> =
        pods_of(context, connector, deployment).into_iter().filter(|pod| is_ready(pod)).collect();
    let of = left.len();
    let deadline = Instant::now() + ASKING_TIMEOUT;
    // In rounds, so that those that answer are not kept waiting by others that are asked again.
    for attempt in 1..=ATTEMPTS {
        if left.is_empty() || Instant::now() >= deadline {
            break;
        }
        if attempt > 1 {
            tokio::time::sleep(PAUSE).await;
        }
        left = stream::iter(left)
            .map(|pod| {
                let token = &token;
                async move {
                    let asked = tokio::time::timeout_at(deadline, ask(context, &pod, path, token)).await;
                    (!asked.unwrap_or(false)).then_some(pod)
                }
            })
            .buffer_unordered(AT_A_TIME)
            .filter_map(std::future::ready)
            .collect()
            .await;
    }
    Some(Told { took: of - left.len(), of })
}

async fn ask(context: &Context, pod: &Pod, path: &str, token: &str) -> bool {
    let Some(url) = admin_url(pod, path) else { return false };
    let sent = context.pods_http.post(url).bearer_auth(token).send();
    matches!(tokio::time::timeout(ANSWER_TIMEOUT, sent).await, Ok(Ok(response)) if response.status().is_success())
}

#[cfg(test)]
mod tests;
