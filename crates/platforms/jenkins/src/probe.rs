//! How Jenkins does, and what it thinks of the credentials: who the caller is, whether Jenkins may be read, whether
//! something may be changed, and what waits in the queue.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    Jenkins,
    client::{Answer, Call, Error},
    session::{Crumb, Identity},
    wire::{self, Queue, Root, WhoAmI},
};
use api::{Reason, platform::jenkins::JenkinsReason};
use kit::{
    CredentialVerdict, HealthStatus, ProbeReport,
    health::{Examination, Finding, reason_of},
    text,
};
use outbound::RequestError;

/// Time for which Jenkins may show its start page until that is an error.
const STARTING_FOR: Duration = Duration::from_mins(5);

/// Time between two probes while Jenkins shows it.
pub(super) const WHILE_STARTING: Duration = Duration::from_secs(10);

/// Items of the queue that are looked at.
const MAX_ITEMS: usize = 1_000;

/// Asks Jenkins how it does.
pub(super) async fn probe(jenkins: &Jenkins, deadline: Instant) -> ProbeReport {
    let mut looking = Examination::new("not known, because Jenkins could not be asked");
    look(jenkins, &mut looking, deadline).await;
    let well = "Jenkins answers, may be read, and knows the connector's user";
    looking.finish(Finding::stated(HealthStatus::Ok, Reason::Healthy, well))
}

async fn look(jenkins: &Jenkins, looking: &mut Examination, deadline: Instant) {
    let begun = Instant::now();
    let who = Call::json(["whoAmI"], wire::WHO_AM_I).probe();
    let Ok(identity) = jenkins.session.identity() else {
        match answer::<WhoAmI>(jenkins.session.open(&who, deadline).await) {
            // Without credentials, a refusal says that Jenkins is there.
            Ok(_) | Err(Error::Rejected | Error::Forbidden(_)) => {
                jenkins.learn(|seen| seen.starting = None);
                let message = "Jenkins answers; the connector has no credentials for it yet";
                let finding = Finding::stated(HealthStatus::Degraded, JenkinsReason::NoCredentials, message);
                looking.judged("read", CredentialVerdict::Unknown, finding, begun);
            }
            Err(error) => looking.found("read", unanswered(jenkins, &error), begun),
        }
        return;
    };
    let answered = jenkins.session.call(&who, deadline).await;
    if !matches!(answered, Err(Error::Starting)) {
        jenkins.learn(|seen| seen.starting = None);
    }
    let who = match answered.and_then(|answer| Ok((answer.object::<WhoAmI>()?, answer))) {
        Ok((who, answer)) => {
            looking.version = answer.version().and_then(text::version);
            who
        }
        Err(error) => return refused(jenkins, looking, &error, begun),
    };
    if who.anonymous {
        let message = "Jenkins takes the connector for an anonymous caller: the credentials don't reach it; a proxy in \
                       front of it may take them out";
        let finding = Finding::stated(HealthStatus::Error, JenkinsReason::AnonymousOnly, message);
        return looking.judged("read", CredentialVerdict::Rejected, finding, begun);
    }
    let user = who.name.as_deref().map(|user| text::name(user, 128)).unwrap_or_default();
    looking.judge(CredentialVerdict::Accepted, format!("Jenkins takes the connector for {user}"));
    looking.identity = Some(user);
    read(jenkins, looking, deadline).await;
    mutate(jenkins, looking, &identity, deadline).await;
    version(looking, begun);
    queue(jenkins, looking, deadline).await;
    let seen = jenkins.seen();
    let plugin = match (seen.stage_view, seen.graph_view) {
        (Some(true), _) => "pipeline-rest-api answers: there are stages",
        (_, Some(_)) => "pipeline-graph-view answers: there are stages",
        (Some(false), None) => {
            "neither pipeline-rest-api nor pipeline-graph-view did answer when they were asked last: no stages"
        }
        (None, None) => "which plugin tells stages is seen when stages are asked for",
    };
    looking.well("plugins", plugin, Duration::ZERO);
}

fn answer<T: DeserializeOwned>(outcome: Result<Answer, Error>) -> Result<T, Error> {
    outcome?.object()
}

/// The first question was not answered, or with a refusal.
fn refused(jenkins: &Jenkins, looking: &mut Examination, error: &Error, begun: Instant) {
    match error {
        Error::Rejected => {
            let message = "Jenkins does not accept user and token, which may have expired: put valid ones into the \
                           connector's credentials";
            let finding = Finding::stated(HealthStatus::Error, JenkinsReason::AuthenticationFailed, message);
            looking.judged("read", CredentialVerdict::Rejected, finding, begun);
        }
        Error::Request(RequestError::CredentialForm) => {
            let message = "user or token hold characters that can't be sent: correct the connector's credentials";
            let finding = Finding::stated(HealthStatus::Error, JenkinsReason::AuthenticationFailed, message);
            looking.judged("read", CredentialVerdict::Rejected, finding, begun);
        }
        Error::Forbidden(_) => forbidden(looking, begun),
        error => looking.found("read", unanswered(jenkins, error), begun),
    }
}

fn forbidden(looking: &mut Examination, begun: Instant) {
    let message = "the connector's user may not read Jenkins: grant it Overall/Read";
    let finding = Finding::stated(HealthStatus::Error, JenkinsReason::PermissionDenied, message);
    looking.judged("read", CredentialVerdict::PermissionMissing, finding, begun);
}

async fn read(jenkins: &Jenkins, looking: &mut Examination, deadline: Instant) {
    let begun = Instant::now();
    let call = Call::json(Vec::<String>::new(), wire::ROOT).probe();
    let root = answer::<Root>(jenkins.session.call(&call, deadline).await);
    if let Ok(Root { url: Some(url), .. }) = &root {
        jenkins.home.learn(url);
    }
    match root {
        Ok(root) if root.quieting_down => {
            let message = "Jenkins prepares to shut down: builds that are triggered now wait";
            looking.found("read", Finding::stated(HealthStatus::Degraded, JenkinsReason::QuietingDown, message), begun);
        }
        // `EXCLUSIVE`: the built-in node takes only jobs that are tied to it.
        Ok(Root { mode: Some(mode), .. }) if mode == "EXCLUSIVE" => {
            looking.well("read", "Jenkins may be read; its built-in node takes no free jobs", begun);
        }
        Ok(_) => looking.well("read", "Jenkins may be read", begun),
        Err(Error::Forbidden(_)) => forbidden(looking, begun),
        Err(error) => looking.found("read", unanswered(jenkins, &error), begun),
    }
}

/// Whether something could be changed. That a permission is there shows only when it is used.
async fn mutate(jenkins: &Jenkins, looking: &mut Examination, identity: &Identity, deadline: Instant) {
    let begun = Instant::now();
    if !identity.is_password {
        return looking.well("mutate", "the token needs no crumb", begun);
    }
    match jenkins.session.fetch_crumb(identity, true, deadline).await {
        Ok(Crumb::Needed { .. }) => looking.well("mutate", "a fresh crumb is there", begun),
        Ok(Crumb::Off) => {
            let message = "Jenkins has its protection against forged requests switched off";
            looking.found("mutate", Finding::stated(HealthStatus::Ok, JenkinsReason::CrumbDisabled, message), begun);
        }
        Err(Error::CrumbDenied) => {
            let message = "Jenkins gives the connector's user no crumb, so it can change nothing: use an API token";
            let finding = Finding::stated(HealthStatus::Error, JenkinsReason::CrumbDenied, message);
            looking.judged("mutate", CredentialVerdict::PermissionMissing, finding, begun);
        }
        Err(error) => looking.found("mutate", unanswered(jenkins, &error), begun),
    }
}

fn version(looking: &mut Examination, begun: Instant) {
    if let Some(version) = &looking.version {
        let message = format!("Jenkins {version}");
        return looking.well("version", message, begun);
    }
    let message = "the address answers as Jenkins does and tells no version: something on the way takes out the header \
                   X-Jenkins";
    looking.found("version", Finding::stated(HealthStatus::Degraded, JenkinsReason::VersionUnknown, message), begun);
}

/// What is stuck in the queue is no fault of the connector's way, so it is only a check.
async fn queue(jenkins: &Jenkins, looking: &mut Examination, deadline: Instant) {
    let begun = Instant::now();
    let call = Call::json(["queue"], &format!("items[id,stuck]{{0,{MAX_ITEMS}}}")).probe();
    match answer::<Queue>(jenkins.session.call(&call, deadline).await) {
        Ok(queue) if queue.items.iter().any(|item| item.stuck) => {
            looking.aside("queue", HealthStatus::Degraded, "items are stuck in the queue", begun);
        }
        Ok(queue) if queue.items.len() >= MAX_ITEMS => {
            looking.well("queue", format!("none of {MAX_ITEMS} items of the queue is stuck; there may be more"), begun);
        }
        Ok(_) => looking.well("queue", "nothing that the connector's user may see is stuck in the queue", begun),
        Err(error) => looking.not_known("queue", error, begun),
    }
}

/// No answer of Jenkins' own, or one that says that it can't answer.
fn unanswered(jenkins: &Jenkins, error: &Error) -> Finding {
    if *error == Error::Starting {
        let mut since = Instant::now();
        jenkins.learn(|seen| since = *seen.starting.get_or_insert(since));
        let status = if since.elapsed() < STARTING_FOR { HealthStatus::Degraded } else { HealthStatus::Error };
        return Finding::stated(status, JenkinsReason::Starting, "Jenkins is starting, and shows its start page");
    }
    let foreign = JenkinsReason::NotJenkins;
    let reason = match error {
        Error::Request(cause) => reason_of(*cause, foreign),
        Error::NotFound | Error::BadRequest => foreign.into(),
        Error::Proxy(_) => JenkinsReason::ProxyError.into(),
        Error::RateLimited(_) => Reason::RateLimited.into(),
        Error::Failed(_) | Error::Status(500..=599) => Reason::ServerError.into(),
        _ => Reason::UnexpectedResponse.into(),
    };
    if reason == foreign.into() {
        let message = format!(
            "the address does not answer as the API of Jenkins ({error}): check url, its path, and proxies with a login"
        );
        return Finding::stated(HealthStatus::Error, reason, message);
    }
    let limited = matches!(error, Error::RateLimited(_));
    let status = if limited { HealthStatus::Degraded } else { HealthStatus::Error };
    Finding::passing(status, reason, format!("Jenkins can't be asked: {error}"))
}
