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
use api::Reason;
use kit::{Check, CredentialVerdict, HealthStatus, ProbeReport};
use outbound::RequestError;

/// Time for which Jenkins may show its start page until that is an error.
const STARTING_FOR: Duration = Duration::from_mins(5);

/// Time between two probes while Jenkins shows it.
pub(super) const WHILE_STARTING: Duration = Duration::from_secs(10);

/// Something that isn't well, or deserves a note.
struct Finding {
    status: HealthStatus,
    reason: &'static str,
    message: String,
    /// Whether it may pass by itself.
    passing: bool,
}

impl Finding {
    fn stated(status: HealthStatus, reason: &'static str, message: &str) -> Self {
        Self { status, reason, message: message.to_owned(), passing: false }
    }
}

/// What is being found out.
struct Looking {
    checks: Vec<Check>,
    findings: Vec<Finding>,
    credentials: (CredentialVerdict, String),
    version: Option<String>,
    identity: Option<String>,
}

impl Looking {
    fn check(&mut self, name: &str, status: HealthStatus, message: &str, begun: Instant) {
        let latency_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.checks.push(Check { name: name.to_owned(), status, message: message.to_owned(), latency_ms });
    }

    /// Keeps a finding, with its check.
    fn find(&mut self, check: &str, finding: Finding, begun: Instant) {
        self.check(check, finding.status, &finding.message, begun);
        self.findings.push(finding);
    }

    /// Keeps a finding that is about the credentials.
    fn judge(&mut self, check: &str, verdict: CredentialVerdict, finding: Finding, begun: Instant) {
        self.credentials = (verdict, finding.message.clone());
        self.find(check, finding, begun);
    }
}

/// Asks Jenkins how it does.
pub(super) async fn probe(jenkins: &Jenkins, deadline: Instant) -> ProbeReport {
    let mut looking = Looking {
        checks: Vec::new(),
        findings: Vec::new(),
        credentials: (CredentialVerdict::Unknown, "not known, because Jenkins could not be asked".to_owned()),
        version: None,
        identity: None,
    };
    look(jenkins, &mut looking, deadline).await;
    // The first of the worst: what comes first is nearer to the cause.
    let findings = looking.findings.into_iter();
    let worst = findings.reduce(|worst, other| if other.status > worst.status { other } else { worst });
    let worst = worst.unwrap_or_else(|| {
        Finding::stated(
            HealthStatus::Ok,
            Reason::Healthy.as_str(),
            "Jenkins answers, may be read, and knows the connector's user",
        )
    });
    let (credentials, credentials_message) = looking.credentials;
    ProbeReport {
        status: worst.status,
        reason: worst.reason.to_owned(),
        message: worst.message,
        passing: worst.passing,
        credentials,
        credentials_message,
        version: looking.version,
        identity: looking.identity,
        state: None,
        checks: looking.checks,
    }
}

async fn look(jenkins: &Jenkins, looking: &mut Looking, deadline: Instant) {
    let begun = Instant::now();
    let who = Call::json(["whoAmI"], wire::WHO_AM_I).probe();
    let Ok(identity) = jenkins.session.identity() else {
        match answer::<WhoAmI>(jenkins.session.open(&who, deadline).await) {
            // Without credentials, a refusal says that Jenkins is there.
            Ok(_) | Err(Error::Rejected | Error::Forbidden(_)) => {
                jenkins.learn(|seen| seen.starting = None);
                let message = "Jenkins answers; the connector has no credentials for it yet";
                let finding = Finding::stated(HealthStatus::Degraded, "NoCredentials", message);
                looking.judge("read", CredentialVerdict::Unknown, finding, begun);
            }
            Err(error) => looking.find("read", unanswered(jenkins, &error), begun),
        }
        return;
    };
    let answered = jenkins.session.call(&who, deadline).await;
    if !matches!(answered, Err(Error::Starting)) {
        jenkins.learn(|seen| seen.starting = None);
    }
    let who = match answered.and_then(|answer| Ok((answer.object::<WhoAmI>()?, answer))) {
        Ok((who, answer)) => {
            looking.version = answer.version().map(word).filter(|version| !version.is_empty());
            who
        }
        Err(error) => return refused(jenkins, looking, &error, begun),
    };
    if who.anonymous {
        let message = "Jenkins takes the connector for an anonymous caller: the credentials don't reach it; a proxy in \
                       front of it may take them out";
        let finding = Finding::stated(HealthStatus::Error, "AnonymousOnly", message);
        return looking.judge("read", CredentialVerdict::Rejected, finding, begun);
    }
    let user = who.name.as_deref().map(name).unwrap_or_default();
    looking.credentials = (CredentialVerdict::Accepted, format!("Jenkins takes the connector for {user}"));
    looking.identity = Some(user);
    read(jenkins, looking, deadline).await;
    mutate(jenkins, looking, &identity, deadline).await;
    version(looking, begun);
    queue(jenkins, looking, deadline).await;
    let plugin = match jenkins.seen().stage_view {
        Some(true) => "pipeline-rest-api answers: there are stages and inputs",
        Some(false) => "pipeline-rest-api did not answer when it was asked last: no stages, no inputs",
        None => "whether pipeline-rest-api is there is seen when stages or inputs are asked for",
    };
    looking.check("plugins", HealthStatus::Ok, plugin, Instant::now());
}

fn answer<T: DeserializeOwned>(outcome: Result<Answer, Error>) -> Result<T, Error> {
    outcome?.object()
}

/// The first question was not answered, or with a refusal.
fn refused(jenkins: &Jenkins, looking: &mut Looking, error: &Error, begun: Instant) {
    match error {
        Error::Rejected => {
            let message = "Jenkins does not accept user and token: put valid ones into the connector's credentials";
            let finding = Finding::stated(HealthStatus::Error, "AuthenticationFailed", message);
            looking.judge("read", CredentialVerdict::Rejected, finding, begun);
        }
        Error::Request(RequestError::CredentialForm) => {
            let message = "user or token hold characters that can't be sent: correct the connector's credentials";
            let finding = Finding::stated(HealthStatus::Error, "AuthenticationFailed", message);
            looking.judge("read", CredentialVerdict::Rejected, finding, begun);
        }
        Error::Forbidden(_) => forbidden(looking, begun),
        error => looking.find("read", unanswered(jenkins, error), begun),
    }
}

fn forbidden(looking: &mut Looking, begun: Instant) {
    let message = "the connector's user may not read Jenkins: grant it Overall/Read";
    let finding = Finding::stated(HealthStatus::Error, "PermissionDenied", message);
    looking.judge("read", CredentialVerdict::PermissionMissing, finding, begun);
}

async fn read(jenkins: &Jenkins, looking: &mut Looking, deadline: Instant) {
    let begun = Instant::now();
    let call = Call::json(Vec::<String>::new(), wire::ROOT).probe();
    match answer::<Root>(jenkins.session.call(&call, deadline).await) {
        Ok(root) if root.quieting_down => {
            let message = "Jenkins prepares to shut down: builds that are triggered now wait";
            looking.find("read", Finding::stated(HealthStatus::Degraded, "QuietingDown", message), begun);
        }
        // `EXCLUSIVE`: the built-in node takes only jobs that are tied to it.
        Ok(Root { mode: Some(mode), .. }) if mode == "EXCLUSIVE" => {
            looking.check("read", HealthStatus::Ok, "Jenkins may be read; its built-in node takes no free jobs", begun);
        }
        Ok(_) => looking.check("read", HealthStatus::Ok, "Jenkins may be read", begun),
        Err(Error::Forbidden(_)) => forbidden(looking, begun),
        Err(error) => looking.find("read", unanswered(jenkins, &error), begun),
    }
}

/// Whether something could be changed. That a permission is there shows only when it is used.
async fn mutate(jenkins: &Jenkins, looking: &mut Looking, identity: &Identity, deadline: Instant) {
    let begun = Instant::now();
    if !identity.is_password {
        return looking.check("mutate", HealthStatus::Ok, "the token needs no crumb", begun);
    }
    match jenkins.session.fetch_crumb(identity, true, deadline).await {
        Ok(Crumb::Needed { .. }) => looking.check("mutate", HealthStatus::Ok, "a fresh crumb is there", begun),
        Ok(Crumb::Off) => {
            let message = "Jenkins has its protection against forged requests switched off";
            looking.find("mutate", Finding::stated(HealthStatus::Ok, "CrumbDisabled", message), begun);
        }
        Err(Error::CrumbDenied) => {
            let message = "Jenkins gives the connector's user no crumb, so it can change nothing: use an API token";
            let finding = Finding::stated(HealthStatus::Error, "CrumbDenied", message);
            looking.judge("mutate", CredentialVerdict::PermissionMissing, finding, begun);
        }
        Err(error) => looking.find("mutate", unanswered(jenkins, &error), begun),
    }
}

fn version(looking: &mut Looking, begun: Instant) {
    if let Some(version) = &looking.version {
        let message = format!("Jenkins {version}");
        return looking.check("version", HealthStatus::Ok, &message, begun);
    }
    let message = "the address answers as Jenkins does and tells no version: something on the way takes out the header \
                   X-Jenkins";
    looking.find("version", Finding::stated(HealthStatus::Degraded, "VersionUnknown", message), begun);
}

/// What is stuck in the queue is no fault of the connector's way, so it is only a check.
async fn queue(jenkins: &Jenkins, looking: &mut Looking, deadline: Instant) {
    let begun = Instant::now();
    let call = Call::json(["queue"], "items[id,stuck]{0,100}").probe();
    match answer::<Queue>(jenkins.session.call(&call, deadline).await) {
        Ok(queue) if queue.items.iter().any(|item| item.stuck) => {
            looking.check("queue", HealthStatus::Degraded, "items are stuck in the queue", begun);
        }
        Ok(_) => looking.check("queue", HealthStatus::Ok, "nothing is stuck in the queue", begun),
        Err(error) => looking.check("queue", HealthStatus::Degraded, &format!("not known: {error}"), begun),
    }
}

/// No answer of Jenkins' own, or one that says that it can't answer.
fn unanswered(jenkins: &Jenkins, error: &Error) -> Finding {
    if *error == Error::Starting {
        let mut since = Instant::now();
        jenkins.learn(|seen| since = *seen.starting.get_or_insert(since));
        let status = if since.elapsed() < STARTING_FOR { HealthStatus::Degraded } else { HealthStatus::Error };
        return Finding::stated(status, "Starting", "Jenkins is starting, and shows its start page");
    }
    let reason = match error {
        Error::Request(RequestError::Timeout) => Reason::Timeout.as_str(),
        Error::Request(RequestError::TlsInvalid(_)) => Reason::TlsInvalid.as_str(),
        Error::Request(
            RequestError::Html
            | RequestError::NotJson
            | RequestError::BodyTooLarge
            | RequestError::Redirected
            | RequestError::RedirectedElsewhere,
        )
        | Error::NotFound
        | Error::BadRequest => "NotJenkins",
        Error::Request(_) => Reason::Unreachable.as_str(),
        Error::Proxy(_) => "ProxyError",
        Error::RateLimited(_) => Reason::RateLimited.as_str(),
        Error::Failed(_) | Error::Status(500..=599) => Reason::ServerError.as_str(),
        _ => Reason::UnexpectedResponse.as_str(),
    };
    let message = match reason {
        "NotJenkins" => format!(
            "the address does not answer as the API of Jenkins ({error}): check url, its path, and proxies with a login"
        ),
        _ => format!("Jenkins can't be asked: {error}"),
    };
    let limited = matches!(error, Error::RateLimited(_));
    let status = if limited { HealthStatus::Degraded } else { HealthStatus::Error };
    Finding { status, reason, message, passing: reason != "NotJenkins" }
}

/// What a server states of itself, cut to what a version can look like.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || ".+-_".contains(*c)).take(64).collect()
}

fn name(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}
