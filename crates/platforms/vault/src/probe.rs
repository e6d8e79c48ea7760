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
use api::{Reason, platform::vault::VaultReason};
use kit::{
    CredentialVerdict, HealthStatus, ProbeReport,
    health::{Examination, Finding, reason_of},
    text,
};
use outbound::RequestError;
use vault_api::token;

/// Seconds left to a token that nobody renews, from which its end is a fault.
const EXPIRING: u64 = 30;
/// Seconds left to it from which its end is told: a week, or a quarter of its time if that is less.
const ENDING: u64 = 7 * 24 * 3_600;

/// When a token ends, as Vault said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    generation: u64,
    at: Timestamp,
}

/// Asks Vault how it does.
pub(super) async fn probe(vault: &Vault, deadline: Instant) -> ProbeReport {
    let mut looking = Examination::new("not asked, because Vault does not serve requests");
    let begun = Instant::now();
    let (answers, finding) = match vault.session.health(deadline).await {
        Ok(answer) => {
            // What a server states of itself is cut to what a version can look like.
            looking.version = answer.body.as_ref().and_then(|body| body.version.as_deref()).and_then(text::version);
            let (state, answers, finding) = stated(&answer);
            looking.state = state.map(str::to_owned);
            (answers, finding)
        }
        Err(error) => (false, unanswered(&error)),
    };
    let is_well = finding.status == HealthStatus::Ok;
    if is_well {
        looking.well("server", finding.message.clone(), begun);
    } else {
        looking.found("server", finding.clone(), begun);
    }
    if answers {
        credentials(vault, &mut looking, deadline).await;
    }
    let well = if is_well { finding } else { Finding::stated(HealthStatus::Ok, Reason::Healthy, "Vault answers") };
    looking.finish(well)
}

/// What `sys/health` says: Vault's word for the state, whether it answers requests so that the token can be asked for, and what
/// that means.
fn stated(answer: &HealthAnswer) -> (Option<&'static str>, bool, Finding) {
    use HealthStatus::{Degraded, Error, Ok};
    use VaultReason as Own;
    let body = answer.body.as_ref();
    match answer.code {
        // A server that was never initialised says that it is sealed, too.
        501 => {
            let message = "Vault is not initialised: initialise it";
            (Some("not_initialized"), false, Finding::stated(Error, Own::NotInitialized, message))
        }
        _ if body.is_some_and(|body| body.sealed) => {
            (Some("sealed"), false, Finding::stated(Error, Own::Sealed, "Vault is sealed: unseal it"))
        }
        200 => match body.and_then(expired_license) {
            Some(message) => (Some("active"), true, Finding::stated(Degraded, Own::LicenseExpired, message)),
            None => (Some("active"), true, Finding::stated(Ok, Reason::Healthy, "Vault is active and unsealed")),
        },
        429 if body.is_none() => {
            let message = "a quota of Vault is reached: raise it, or call less often";
            (None, true, Finding::passing(Degraded, Reason::RateLimited, message))
        }
        429 => {
            let message = "the node is a standby: it forwards requests, or answers reads, a moment late (OpenBao)";
            (Some("standby"), true, Finding::stated(Ok, Own::Standby, message))
        }
        472 => {
            let message =
                "the cluster is a disaster recovery secondary, which serves no clients: point url at the primary";
            (Some("dr_secondary"), false, Finding::stated(Error, Own::DRSecondary, message))
        }
        473 => {
            let message = "the node is a performance standby, which serves reads and forwards writes";
            (Some("performance_standby"), true, Finding::stated(Ok, Own::PerformanceStandby, message))
        }
        474 => {
            let message = "the standby can't reach the active node: check the cluster's network";
            (Some("standby_isolated"), false, Finding::passing(Error, Own::StandbyIsolated, message))
        }
        503 => {
            let message = "Vault says that it is being maintained (503)";
            (Some("maintenance"), false, Finding::passing(Degraded, Own::Maintenance, message))
        }
        530 => {
            let message = "the node was removed from its cluster: let url point at the others";
            (Some("removed_from_cluster"), false, Finding::stated(Error, Own::RemovedFromCluster, message))
        }
        code @ 500..=599 => {
            let message = format!("Vault's health check answers with the fault {code}");
            (None, false, Finding::passing(Error, Reason::ServerError, message))
        }
        code => {
            let message = format!("Vault's health check answers with the code {code}, which is not documented");
            (Some("unknown"), true, Finding::passing(Degraded, Own::UnknownState, message))
        }
    }
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

/// No answer of Vault's own, or one that says that it can't answer.
fn unanswered(error: &Error) -> Finding {
    let (status, reason) = match error {
        Error::Request(cause) => (HealthStatus::Error, reason_of(*cause, Reason::UnexpectedResponse)),
        Error::Sealed | Error::NamespaceSealed => (HealthStatus::Error, VaultReason::Sealed.into()),
        Error::LeaseQuota => (HealthStatus::Error, Reason::RateLimited.into()),
        Error::Quota(_) | Error::Throttled(_) => (HealthStatus::Degraded, Reason::RateLimited.into()),
        Error::Maintenance => (HealthStatus::Degraded, VaultReason::Maintenance.into()),
        Error::BackendFailed | Error::NoActiveNode | Error::Overloaded | Error::Status(500..=599) => {
            (HealthStatus::Error, Reason::ServerError.into())
        }
        _ => (HealthStatus::Error, Reason::UnexpectedResponse.into()),
    };
    // Every Vault has what a probe asks for.
    let elsewhere = match error {
        Error::NoRoute => ": correct the path in url, which leaves out /v1, or spec.platform.vault.namespace",
        _ => "",
    };
    Finding::passing(status, reason, format!("Vault can't be asked: {error}{elsewhere}"))
}

/// Fixed words: Vault's own may hold the secret id.
fn login_refused(fault: LoginFault) -> Finding {
    let (reason, message) = match fault {
        LoginFault::Rejected => (
            VaultReason::LoginRejected,
            "Vault rejects the login: the role id or the secret id is wrong, used up or ended, or namespace or mount \
             are others: put a new secret_id into the connector's credentials, or correct spec.platform.vault",
        ),
        LoginFault::Denied => (
            VaultReason::LoginDenied,
            "Vault denies the login: the role or its secret id does not permit this address, or there is no such auth \
             method in that namespace, or it is off, or the identity entity is disabled, or failed logins have locked \
             the role out for 15 minutes: look at the CIDR lists of both, at namespace and auth in \
             spec.platform.vault, at identity/entity and at sys/locked-users",
        ),
        LoginFault::Address => (
            VaultReason::LoginDenied,
            "Vault does not let the role or its secret id in from this address: look at the CIDR lists of both",
        ),
        LoginFault::SecondFactor => (
            VaultReason::LoginDenied,
            "Vault knows the role and gives no token without a second factor (login MFA), which a connector doesn't have: leave \
             the auth method, or the role's entity, out of the login enforcement (identity/mfa/login-enforcement)",
        ),
    };
    Finding::stated(HealthStatus::Error, reason, message)
}

/// Why the token could not be asked for, or was refused.
fn tokenless(vault: &Vault, looking: &mut Examination, token: Option<&Token>, error: &Error, begun: Instant) {
    use CredentialVerdict::{Expired, Rejected, Unknown};
    let (verdict, finding) = match (error, token) {
        (Error::NoToken, _) => {
            let message = "Vault is well; the connector has no credentials for it yet";
            (Unknown, Finding::stated(HealthStatus::Degraded, VaultReason::NoCredentials, message))
        }
        (Error::LoginRefused(fault) | Error::LoginPaused(fault, _), _) => (Rejected, login_refused(*fault)),
        (Error::Request(RequestError::CredentialForm), _) => {
            let message = format!("{error}: correct the token in the connector's credentials");
            (Rejected, Finding::stated(HealthStatus::Error, VaultReason::TokenInvalid, message))
        }
        (Error::TokenRejected | Error::TokenBarred, Some(token)) => {
            if let Some(at) = vault.ended_at(token) {
                let message = format!("the token ended at {at}: put a new one into the connector's credentials");
                (Expired, Finding::stated(HealthStatus::Error, VaultReason::TokenInvalid, message))
            } else {
                let message = if *error == Error::TokenRejected {
                    format!(
                        "Vault does not know the token: {}: put a new one into the connector's credentials",
                        token::GONE
                    )
                } else {
                    format!("Vault refuses the token and does not say why: {}; Vault's log may tell", token::BARRED)
                };
                (Rejected, Finding::stated(HealthStatus::Error, VaultReason::TokenInvalid, message))
            }
        }
        // sys/health, which needs no token, may answer where nothing else does: a standby that redirects, a gateway.
        (error, _) => (Unknown, unanswered(error)),
    };
    looking.judged("token", verdict, finding, begun);
}

/// Looks what Vault thinks of the token.
async fn credentials(vault: &Vault, looking: &mut Examination, deadline: Instant) {
    let begun = Instant::now();
    let mut token = match vault.session.token(deadline).await {
        Ok(token) => token,
        Err(error) => return tokenless(vault, looking, None, &error, begun),
    };
    let mut looked_up = vault.session.lookup(&token, deadline).await;
    if looked_up.as_ref().is_err_and(Error::may_be_the_token) {
        match vault.session.replace(&token, deadline).await {
            Ok(newer) => {
                token = newer;
                looked_up = vault.session.lookup(&token, deadline).await;
            }
            // The token is good, and its policies don't permit it to look at itself.
            Err(Error::Forbidden(_)) => {}
            Err(error) => looked_up = Err(error),
        }
    }
    let info = match looked_up {
        Ok(info) => Some(info),
        Err(Error::Forbidden(_)) => None,
        Err(error) => return tokenless(vault, looking, Some(&token), &error, begun),
    };
    looking.identity = info.as_ref().and_then(identity);
    let (message, detail) = match &info {
        Some(info) => describe(info, vault.session.logs_in()),
        None => ("Vault accepts the token, which may not look itself up".to_owned(), String::new()),
    };
    let mut ending = None;
    if let Some(info) = &info {
        vault.note_ending(&token, info);
        ending = if vault.session.logs_in() { None } else { ends_soon(info) };
    }
    match ending {
        Some(finding) => looking.found_in("token", format!("{message}{detail}"), finding, begun),
        None => looking.well("token", format!("{message}{detail}"), begun),
    }
    if let Some(fault) = vault.session.login_fault().await {
        let refused = login_refused(fault);
        let words = refused.message.clone();
        let message = format!("{words}; a token of the credentials before still works for a while");
        looking.judge(CredentialVerdict::Rejected, message.clone());
        looking.found_in("login", words, Finding { message, ..refused.of_a_part() }, begun);
        return;
    }
    let begun = Instant::now();
    let mut standing = permission::check(vault, &token, deadline).await;
    // A login of another call may have replaced the token meanwhile, and given it back.
    if standing.as_ref().is_err_and(Error::may_be_the_token)
        && let Ok(newer) = vault.session.token(deadline).await
        && newer.generation != token.generation
    {
        standing = permission::check(vault, &newer, deadline).await;
    }
    match standing {
        Ok(Standing::Permitted(note)) => {
            looking.judge(CredentialVerdict::Accepted, message);
            looking.well("mounts", note, begun);
        }
        Ok(Standing::Missing(what)) => {
            looking.judge(CredentialVerdict::PermissionMissing, format!("Vault accepts the token, but {what}"));
            looking.aside("mounts", HealthStatus::Error, what, begun);
        }
        // The token was just accepted; that nothing more is known now is no reason to doubt it.
        Err(error) => {
            looking.judge(CredentialVerdict::Accepted, message);
            match &error {
                // Held back here, or out of the probe's own time: that says nothing of Vault.
                Error::Request(
                    RequestError::Busy(_)
                    | RequestError::TooFast(_)
                    | RequestError::CircuitOpen(_)
                    | RequestError::Timeout,
                ) => looking.not_known("mounts", error, begun),
                Error::Forbidden(_) | Error::MountsClosed => looking.found("mounts", mounts_closed(), begun),
                _ => looking.found("mounts", unanswered(&error), begun),
            }
        }
    }
}

/// Vault answers the list of mounts to every good token; without it no tool finds a secret.
fn mounts_closed() -> Finding {
    let message = format!("{}: let the path /v1/sys/internal/ui/mounts through", Error::MountsClosed);
    Finding::stated(HealthStatus::Error, Reason::UnexpectedResponse, message)
}

/// What there is to say of the end of a token that the connector does not renew: a fault in its last seconds, and a note a
/// good while before.
fn ends_soon(info: &TokenInfo) -> Option<Finding> {
    // A ttl of 0 with a time of expiry is a token in its last second.
    let at = info.expire_time.as_deref()?;
    let life = info.period.unwrap_or(info.creation_ttl);
    let early = ENDING.min(life / 4);
    let status = match info.ttl {
        0..EXPIRING => HealthStatus::Error,
        left if left < early => HealthStatus::Degraded,
        _ => return None,
    };
    let renewing = if info.renewable { ", or renew it, which the connector does not do" } else { "" };
    let message = format!("the token ends at {at}: put a new one into the connector's credentials{renewing}");
    Some(Finding::stated(status, VaultReason::TokenExpiring, message))
}

fn identity(info: &TokenInfo) -> Option<String> {
    let name = text::name(&info.display_name, 128);
    (!name.is_empty()).then_some(name)
}

/// Who the token is for, in words that stay the same for as long as that does, and what changes all the time: the end
/// of a token that is renewed, and the uses that are left.
fn describe(info: &TokenInfo, is_renewed: bool) -> (String, String) {
    let who = identity(info).unwrap_or_else(|| "an unnamed identity".to_owned());
    let policies = info.policies.iter().chain(&info.identity_policies).take(8).cloned().collect::<Vec<_>>().join(", ");
    let mut message = format!("Vault takes the token for {who} with the policies {policies}");
    let mut detail = String::new();
    let renewal = match (is_renewed, info.renewable, info.period) {
        (true, ..) | (false, false, None) => "",
        (false, _, Some(_)) => ", unless somebody renews it: the connector does not, and auth.appRole is for that",
        (false, true, None) => ", and the connector does not renew it",
    };
    let ends = info
        .expire_time
        .as_ref()
        .map_or_else(|| "; it does not end".to_owned(), |at| format!("; it ends at {at}{renewal}"));
    if is_renewed {
        detail.push_str(&ends);
    } else {
        message.push_str(&ends);
    }
    if info.num_uses != 0 {
        message.push_str("; its uses are limited, and every request takes one");
        if is_renewed {
            message.push_str(", so the connector logs in again and again: set token_num_uses of the role to 0");
        }
        detail = format!("{detail}; {} uses are left", info.num_uses.max(0));
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
