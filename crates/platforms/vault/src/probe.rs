//! How Vault does, and what it thinks of the token: at most three requests in a healthy state.
//!
//! Codes of `sys/health`: developer.hashicorp.com/vault/api-docs/system/health. OpenBao documents 200, 429, 501 and
//! 503.

use std::{sync::PoisonError, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    Vault,
    client::{Error, HealthAnswer, LoginFault},
    permission::{self, Standing},
    session::Token,
    wire::{Health, TokenInfo},
};
use api::Reason;
use kit::{Check, CredentialVerdict, HealthStatus, ProbeReport};
use outbound::RequestError;

/// Time left to a token from which its end is a fault.
const EXPIRING: u64 = 30;

/// When a token ends, as Vault said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    generation: u64,
    at: Timestamp,
}

/// What `sys/health` comes to.
struct Server {
    status: HealthStatus,
    reason: String,
    message: String,
    /// Whether it may pass by itself.
    passing: bool,
    /// Vault's word for the state.
    state: &'static str,
    version: Option<String>,
    /// Whether it answers requests, so that the token can be asked for.
    serves: bool,
}

/// What is known of the credentials.
struct Credentials {
    verdict: CredentialVerdict,
    message: String,
    identity: Option<String>,
    /// What it means for the whole: status, reason and message, if it isn't well.
    finding: Option<(HealthStatus, &'static str)>,
    checks: Vec<Check>,
}

/// Asks Vault how it does.
pub(super) async fn probe(vault: &Vault, deadline: Instant) -> ProbeReport {
    let begun = Instant::now();
    let server = match vault.session.health(deadline).await {
        Ok(answer) => server(&answer),
        Err(error) => unanswered(&error),
    };
    let mut checks = vec![check("server", server.status, &server.message, begun)];
    let credentials = if server.serves {
        credentials(vault, deadline).await
    } else {
        Credentials::unknown("not asked, because Vault does not serve requests")
    };
    checks.extend(credentials.checks);
    let (status, reason, message) = match credentials.finding {
        Some((status, reason)) if status >= server.status => {
            (status.max(server.status), reason.to_owned(), credentials.message.clone())
        }
        _ => (server.status, server.reason, server.message),
    };
    ProbeReport {
        status,
        reason,
        message,
        passing: server.passing,
        credentials: credentials.verdict,
        credentials_message: credentials.message,
        version: server.version,
        identity: credentials.identity,
        state: Some(server.state.to_owned()).filter(|state| !state.is_empty()),
        checks,
    }
}

fn check(name: &str, status: HealthStatus, message: &str, begun: Instant) -> Check {
    let latency_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Check { name: name.to_owned(), status, message: message.to_owned(), latency_ms }
}

fn server(answer: &HealthAnswer) -> Server {
    use HealthStatus::{Degraded, Error, Ok};
    let sealed = answer.body.as_ref().is_some_and(|body| body.sealed);
    let known = |status, reason: &str, state, serves, passing, message: &str| Server {
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
        passing,
        state,
        // What a server states of itself is cut to what a version can look like.
        version: answer.body.as_ref().and_then(|body| body.version.as_deref()).map(version),
        serves,
    };
    match answer.code {
        _ if sealed => known(Error, "Sealed", "sealed", false, false, "Vault is sealed: unseal it"),
        200 => match answer.body.as_ref().and_then(expired_license) {
            Some(message) => known(Degraded, "LicenseExpired", "active", true, false, &message),
            None => known(Ok, Reason::Healthy.as_str(), "active", true, false, "Vault is active and unsealed"),
        },
        429 if answer.body.is_none() => {
            let message = "a quota of Vault is reached: raise it, or call less often";
            known(Degraded, Reason::RateLimited.as_str(), "", true, true, message)
        }
        429 => known(Ok, "Standby", "standby", true, false, "the node is a standby, which forwards requests"),
        472 => known(
            Error,
            "DRSecondary",
            "dr_secondary",
            false,
            false,
            "the cluster is a disaster recovery secondary, which serves no clients: point url at the primary",
        ),
        473 => known(
            Ok,
            "PerformanceStandby",
            "performance_standby",
            true,
            false,
            "the node is a performance standby, which serves reads and forwards writes",
        ),
        474 => known(
            Error,
            "StandbyIsolated",
            "standby_isolated",
            false,
            true,
            "the standby can't reach the active node: check the cluster's network",
        ),
        501 => {
            known(Error, "NotInitialized", "not_initialized", false, false, "Vault is not initialised: initialise it")
        }
        503 => {
            known(Degraded, "Maintenance", "maintenance", false, true, "Vault says that it is being maintained (503)")
        }
        530 => known(
            Error,
            "RemovedFromCluster",
            "removed_from_cluster",
            false,
            false,
            "the node was removed from its cluster: let url point at the others",
        ),
        code @ 500..=599 => known(
            Error,
            Reason::ServerError.as_str(),
            "",
            false,
            true,
            &format!("Vault's health check answers with the fault {code}"),
        ),
        code => {
            let message = format!("Vault's health check answers with the code {code}, which is not documented");
            known(Degraded, "UnknownState", "unknown", true, false, &message)
        }
    }
}

fn version(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || ".+-_".contains(*c)).take(64).collect()
}

fn expired_license(health: &Health) -> Option<String> {
    let license = health.license.as_ref()?;
    let ended = license.expiry_time.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
    let ended = ended.filter(|at| *at <= Timestamp::now());
    if !license.terminated && ended.is_none() {
        return None;
    }
    let when = ended.map(|at| format!(" at {at}")).unwrap_or_default();
    Some(format!("the licence of Vault Enterprise has ended{when}: renew it"))
}

/// No answer of Vault's own.
fn unanswered(error: &Error) -> Server {
    let Error::Request(cause) = error else {
        return Server::silent(Reason::UnexpectedResponse, format!("Vault can't be asked: {error}"));
    };
    let reason = match cause {
        RequestError::Timeout => Reason::Timeout,
        RequestError::TlsInvalid(_) => Reason::TlsInvalid,
        RequestError::Html
        | RequestError::NotJson
        | RequestError::BodyTooLarge
        | RequestError::Redirected
        | RequestError::RedirectedElsewhere => Reason::UnexpectedResponse,
        _ => Reason::Unreachable,
    };
    Server::silent(reason, format!("Vault can't be asked: {cause}"))
}

impl Server {
    fn silent(reason: Reason, message: String) -> Self {
        Self {
            status: HealthStatus::Error,
            reason: reason.as_str().to_owned(),
            message,
            passing: true,
            state: "",
            version: None,
            serves: false,
        }
    }
}

impl Credentials {
    fn unknown(message: impl Into<String>) -> Self {
        Self {
            verdict: CredentialVerdict::Unknown,
            message: message.into(),
            identity: None,
            finding: None,
            checks: Vec::new(),
        }
    }

    fn bad(
        verdict: CredentialVerdict,
        status: HealthStatus,
        reason: &'static str,
        message: impl Into<String>,
        begun: Instant,
    ) -> Self {
        let message = message.into();
        let checks = vec![check("token", HealthStatus::Error, &message, begun)];
        Self { verdict, message, identity: None, finding: Some((status, reason)), checks }
    }
}

fn login_refused(fault: LoginFault, begun: Instant) -> Credentials {
    let (reason, message) = login_words(fault);
    Credentials::bad(CredentialVerdict::Rejected, HealthStatus::Error, reason, message, begun)
}

/// Fixed words: Vault's own may hold the secret id.
fn login_words(fault: LoginFault) -> (&'static str, &'static str) {
    match fault {
        LoginFault::Rejected => (
            "LoginRejected",
            "Vault rejects the login: the role id or the secret id is wrong, used up or ended, or namespace or mount \
             are others: put a new secret_id into the connector's credentials, or correct spec.platform.vault",
        ),
        LoginFault::Denied => (
            "LoginDenied",
            "Vault denies the login: the role does not permit this address, or the auth method is off, or failed logins have \
             locked the role out for 15 minutes: look at the role's and the secret id's CIDR lists, at \
             spec.platform.vault.auth and at sys/locked-users",
        ),
    }
}

fn malformed(error: &Error, begun: Instant) -> Credentials {
    let message = format!("{error}: correct the token in the connector's credentials");
    Credentials::bad(CredentialVerdict::Rejected, HealthStatus::Error, "TokenInvalid", message, begun)
}

fn not_asked(error: &Error, begun: Instant) -> Credentials {
    Credentials {
        checks: vec![check("token", HealthStatus::Degraded, &format!("not asked: {error}"), begun)],
        ..Credentials::unknown(format!("not known: {error}"))
    }
}

async fn credentials(vault: &Vault, deadline: Instant) -> Credentials {
    let begun = Instant::now();
    let mut token = match vault.session.token(deadline).await {
        Ok(token) => token,
        Err(Error::NoToken) => {
            let message = "Vault is well; the connector has no credentials for it yet";
            return Credentials {
                finding: Some((HealthStatus::Degraded, "NoCredentials")),
                checks: vec![check("token", HealthStatus::Error, "there is none", begun)],
                ..Credentials::unknown(message)
            };
        }
        Err(Error::LoginRefused(fault) | Error::LoginPaused(fault, _)) => return login_refused(fault, begun),
        Err(error @ Error::Request(RequestError::CredentialForm)) => return malformed(&error, begun),
        Err(error) => return not_asked(&error, begun),
    };
    let mut looked_up = vault.session.lookup(&token, deadline).await;
    if looked_up == Err(Error::Forbidden) {
        match vault.session.replace(&token, deadline).await {
            Ok(newer) => {
                token = newer;
                looked_up = vault.session.lookup(&token, deadline).await;
            }
            // The token is good, and its policies don't permit it to look at itself.
            Err(Error::Forbidden) => {}
            Err(error) => looked_up = Err(error),
        }
    }
    let info = match looked_up {
        Ok(info) => Some(info),
        Err(Error::Forbidden) => None,
        Err(Error::TokenRejected) => return refused(vault, &token, begun),
        Err(Error::LoginRefused(fault) | Error::LoginPaused(fault, _)) => return login_refused(fault, begun),
        Err(error @ Error::Request(RequestError::CredentialForm)) => return malformed(&error, begun),
        Err(error) => return not_asked(&error, begun),
    };
    if let Some(info) = &info {
        vault.note_ending(&token, info);
        if !vault.session.logs_in() && expires_soon(info) {
            let at = info.expire_time.as_deref().unwrap_or("any moment");
            let message = format!("the token ends at {at}: put a new one into the connector's credentials");
            let mut bad =
                Credentials::bad(CredentialVerdict::Accepted, HealthStatus::Error, "TokenExpiring", message, begun);
            bad.identity = identity(info);
            return bad;
        }
    }
    let (message, detail) = match &info {
        Some(info) => describe(info, vault.session.logs_in()),
        None => ("Vault accepts the token, which may not look itself up".to_owned(), String::new()),
    };
    let mut checks = vec![check("token", HealthStatus::Ok, &format!("{message}{detail}"), begun)];
    if let Some(fault) = vault.session.login_fault().await {
        let (reason, words) = login_words(fault);
        checks.push(check("login", HealthStatus::Error, words, begun));
        return Credentials {
            verdict: CredentialVerdict::Rejected,
            message: format!("{words}; a token of the credentials before still works for a while"),
            identity: info.as_ref().and_then(identity),
            finding: Some((HealthStatus::Degraded, reason)),
            checks,
        };
    }
    let identity = info.as_ref().and_then(identity);
    let begun = Instant::now();
    let (verdict, message) = match permission::check(vault, &token, deadline).await {
        Ok(Standing::Permitted(note)) => {
            checks.push(check("mounts", HealthStatus::Ok, &note, begun));
            (CredentialVerdict::Accepted, message)
        }
        Ok(Standing::Missing(what)) => {
            checks.push(check("mounts", HealthStatus::Error, &what, begun));
            (CredentialVerdict::PermissionMissing, format!("Vault accepts the token, but {what}"))
        }
        // The token was just accepted; that nothing more is known now is no reason to doubt it.
        Err(error) => {
            checks.push(check("mounts", HealthStatus::Degraded, &format!("not known: {error}"), begun));
            (CredentialVerdict::Accepted, message)
        }
    };
    Credentials { verdict, message, identity, finding: None, checks }
}

fn refused(vault: &Vault, token: &Token, begun: Instant) -> Credentials {
    let ended = vault.ended_at(token);
    let (verdict, message) = match ended {
        Some(at) => (
            CredentialVerdict::Expired,
            format!("the token ended at {at}: put a new one into the connector's credentials"),
        ),
        None => (
            CredentialVerdict::Rejected,
            "Vault does not accept the token, which was revoked, has ended, or belongs to another Vault or namespace: \
             put a new one into the connector's credentials"
                .to_owned(),
        ),
    };
    Credentials::bad(verdict, HealthStatus::Error, "TokenInvalid", message, begun)
}

fn expires_soon(info: &TokenInfo) -> bool {
    // A ttl of 0 with a time of expiry is a token in its last second.
    info.expire_time.is_some() && info.ttl < EXPIRING
}

fn identity(info: &TokenInfo) -> Option<String> {
    let name: String = info.display_name.chars().filter(|c| !c.is_control()).take(128).collect();
    (!name.is_empty()).then_some(name)
}

/// Who the token is for, in words that stay the same for as long as that does, and what changes all the time: the end
/// of a token that is renewed, and the uses that are left.
fn describe(info: &TokenInfo, is_renewed: bool) -> (String, String) {
    let who = identity(info).unwrap_or_else(|| "an unnamed identity".to_owned());
    let policies = info.policies.iter().chain(&info.identity_policies).take(8).cloned().collect::<Vec<_>>().join(", ");
    let mut message = format!("Vault takes the token for {who} with the policies {policies}");
    let mut detail = String::new();
    let ends =
        info.expire_time.as_ref().map_or_else(|| "; it does not end".to_owned(), |at| format!("; it ends at {at}"));
    if is_renewed {
        detail.push_str(&ends);
    } else {
        message.push_str(&ends);
    }
    if info.num_uses > 0 {
        message.push_str("; its uses are limited, and every request takes one");
        detail = format!("{detail}; {} uses are left", info.num_uses);
    }
    (message, detail)
}

impl Vault {
    /// Remembers when a token ends. The time moves with renewals, so the last word counts.
    fn note_ending(&self, token: &Token, info: &TokenInfo) {
        let at = info.expire_time.as_ref().and_then(|text| text.parse().ok());
        *self.ending.lock().unwrap_or_else(PoisonError::into_inner) =
            at.map(|at| Ending { generation: token.generation, at });
    }

    /// When the token ends that Vault was last asked about.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).map(|ending| ending.at)
    }

    /// When a token that is refused now has ended; none if it had time left when Vault spoke of it last.
    fn ended_at(&self, token: &Token) -> Option<Timestamp> {
        let known = *self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        // Clocks may differ by a little.
        let now = Timestamp::now() + Duration::from_secs(2);
        known.filter(|ending| ending.generation == token.generation && ending.at <= now).map(|ending| ending.at)
    }
}
