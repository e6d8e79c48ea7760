//! How Argo CD does, and what it thinks of the credentials: the version, which everybody may ask for, the session, the
//! rights, and the health of applications that matter.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    ArgoCd,
    client::{Call, Error, LoginFault},
    login::REFRESH_BEFORE,
    session::Token,
    wire::{Application, CanI, Items, Settings, UserInfo, Version},
};
use api::{Reason, platform::argocd::ArgoCdReason};
use kit::{
    CredentialVerdict, HealthStatus, ProbeReport,
    health::{Examination, Finding, reason_of},
    text,
};
use outbound::{Redirect, RequestError};
use tools::ErrorCode;

/// Time left to a token that can't be renewed from which its end deserves attention.
const EXPIRING: Duration = Duration::from_hours(7 * 24);

/// Asks Argo CD how it does.
pub(super) async fn probe(argocd: &ArgoCd, deadline: Instant) -> ProbeReport {
    let mut looking = Examination::new("not asked, because Argo CD does not answer");
    let begun = Instant::now();
    match argocd.session.open::<Version>(&Call::version().probe(), deadline).await {
        Ok(version) => {
            looking.version = text::version(&version.version);
            looking.well("version", "Argo CD answers", begun);
            if let Some(token) = credentials(argocd, &mut looking, deadline).await {
                learn_its_addresses(argocd, deadline).await;
                if !argocd.critical.is_empty() {
                    applications(argocd, &mut looking, &token, deadline).await;
                }
            }
        }
        Err(error) => looking.found("version", unanswered(error), begun),
    }
    let well = "Argo CD answers and knows the connector's account";
    looking.finish(Finding::stated(HealthStatus::Ok, Reason::Healthy, well))
}

/// Asks once by which addresses Argo CD calls itself, for links that people paste. Nothing else hangs on it: without an answer it is
/// asked again with the next look.
async fn learn_its_addresses(argocd: &ArgoCd, deadline: Instant) {
    if argocd.home.is_learned() {
        return;
    }
    if let Ok(settings) = argocd.session.open::<Settings>(&Call::get(["settings"]).probe(), deadline).await {
        for url in std::iter::once(&settings.url).chain(&settings.additional_urls) {
            argocd.home.learn(url);
        }
    }
}

/// No answer of Argo CD's own.
fn unanswered(error: Error) -> Finding {
    let foreign = ArgoCdReason::NotArgoCD;
    let reason = match error {
        Error::Request(cause) => reason_of(cause, foreign),
        outage if outage.is_outage() => Reason::Unreachable.into(),
        Error::Known(known) if known.code == ErrorCode::ResultTooLarge => Reason::ServerError.into(),
        Error::NotFound
        | Error::Forbidden(_)
        | Error::TokenRejected { .. }
        | Error::Refused(_)
        | Error::Known(_)
        | Error::Unimplemented => foreign.into(),
        Error::RateLimited(_) => Reason::RateLimited.into(),
        Error::Failed(_) | Error::Status(500..=599) => Reason::ServerError.into(),
        _ => Reason::UnexpectedResponse.into(),
    };
    let message = if let Error::Request(RequestError::Redirected(Redirect::Itself)) = error {
        format!("the address does not answer as the API of Argo CD ({error}): {}", super::error::TLS_ENDS_BEFORE)
    } else if reason == foreign.into() {
        format!(
            "the address does not answer as the API of Argo CD ({error}): check url, its path, and proxies with a login"
        )
    } else {
        format!("Argo CD can't be asked: {error}")
    };
    let limited = matches!(error, Error::RateLimited(_));
    Finding::passing(if limited { HealthStatus::Degraded } else { HealthStatus::Error }, reason, message)
}

/// Fixed words: Argo CD's own say nothing more.
fn login_refused(fault: LoginFault) -> Finding {
    let (reason, message) = match fault {
        LoginFault::Wrong => (
            ArgoCdReason::LoginRejected,
            "Argo CD rejects user name and password, or has locked the user for five minutes: correct the connector's \
             credentials",
        ),
        LoginFault::LockedOut => (
            ArgoCdReason::LoginLockedOut,
            "logins failed again and again, after which Argo CD locks the user for five minutes; the connector waits as \
             long: a wrong password is being repeated, perhaps by somebody else",
        ),
        LoginFault::MayNotLogIn => (
            ArgoCdReason::LoginRejected,
            "the account is disabled or may not log in: enable it, and give it the capability login in argocd-cm",
        ),
        LoginFault::Malformed => (
            ArgoCdReason::LoginRejected,
            "the user name is longer than the 32 bytes that Argo CD takes: correct the credentials",
        ),
    };
    Finding::stated(HealthStatus::Error, reason, message)
}

/// Why there is no token that could be asked with.
fn tokenless(looking: &mut Examination, error: Error, begun: Instant) {
    use CredentialVerdict::{Expired, Rejected, Unknown};
    let (check, verdict, finding) = match error {
        Error::NoCredentials => {
            let message = "Argo CD is well; the connector has no credentials for it yet";
            ("login", Unknown, Finding::stated(HealthStatus::Degraded, ArgoCdReason::NoCredentials, message))
        }
        Error::LoginRefused(fault) | Error::LoginPaused(fault, _) => ("login", Rejected, login_refused(fault)),
        Error::Request(RequestError::CredentialForm) => {
            let message = format!("{error}: correct the token in the connector's credentials");
            ("identity", Rejected, Finding::stated(HealthStatus::Error, ArgoCdReason::TokenRejected, message))
        }
        Error::TokenRejected { expired } => {
            ("identity", if expired { Expired } else { Rejected }, token_refused(expired))
        }
        error => ("login", Unknown, unanswered(error)),
    };
    looking.judged(check, verdict, finding, begun);
}

fn token_refused(expired: bool) -> Finding {
    if expired {
        let message = "the token's time is over: put a new one into the connector's credentials";
        return Finding::stated(HealthStatus::Error, ArgoCdReason::TokenExpired, message);
    }
    let message = "Argo CD does not accept the token, which was revoked, or whose account is disabled or has a new \
                   password: put a new one into the connector's credentials";
    Finding::passing(HealthStatus::Error, ArgoCdReason::TokenRejected, message)
}

async fn identify(argocd: &ArgoCd, token: &Token, deadline: Instant) -> Result<UserInfo, Error> {
    let info: UserInfo = argocd.session.with(token, &Call::get(["session", "userinfo"]), deadline).await?;
    if info.logged_in { Ok(info) } else { Err(Error::TokenRejected { expired: token.has_ended() }) }
}

/// Looks what Argo CD thinks of the credentials. Gives what the applications can be asked for with.
async fn credentials(argocd: &ArgoCd, looking: &mut Examination, deadline: Instant) -> Option<Token> {
    let begun = Instant::now();
    let mut token = match argocd.session.token(deadline).await {
        Ok(token) => token,
        Err(error) => {
            tokenless(looking, error, begun);
            return None;
        }
    };
    let mut asked = argocd.session.with::<UserInfo>(&token, &Call::get(["session", "userinfo"]), deadline).await;
    if asked.as_ref().is_ok_and(|info| !info.logged_in) {
        asked = match argocd.session.replace(&token, false, deadline).await {
            Ok(newer) => {
                token = newer;
                identify(argocd, &token, deadline).await
            }
            Err(error) => Err(error),
        };
    } else if let Err(Error::TokenRejected { .. }) = asked {
        // A server that has started answers this call to everybody, with `loggedIn: false` for a bad token.
        let message = "Argo CD refuses a call that it answers to everybody when it has started";
        let finding = Finding::passing(HealthStatus::Error, ArgoCdReason::Starting, message);
        looking.judged("identity", CredentialVerdict::Unknown, finding, begun);
        return None;
    }
    let info = match asked {
        Ok(info) => info,
        Err(error) => {
            tokenless(looking, error, begun);
            return None;
        }
    };
    let who = text::name(&info.username, 128);
    let known = format!("Argo CD takes the connector for {who}");
    looking.well("identity", known.clone(), begun);
    looking.judge(CredentialVerdict::Accepted, known.clone());
    looking.identity = Some(who);
    ends(argocd, looking, &token, &known, begun).await;
    let begun = Instant::now();
    match rights(argocd, &token, deadline).await {
        Ok(Rights::Sufficient(note)) => looking.well("rbac", note, begun),
        Ok(Rights::NothingSeen) => {
            let message = "the account sees no application: its projects have none yet, or it lacks `applications, get` in \
                           argocd-rbac-cm or in a role of a project";
            looking.found(
                "rbac",
                Finding::stated(HealthStatus::Degraded, ArgoCdReason::NoApplicationSeen, message),
                begun,
            );
        }
        // The token was just accepted; that nothing more is known now is no reason to doubt it.
        Err(error) => looking.not_known("rbac", error, begun),
    }
    Some(token)
}

/// How long the connector is let in.
async fn ends(argocd: &ArgoCd, looking: &mut Examination, token: &Token, known: &str, begun: Instant) {
    let left = token.ends.and_then(|ends| Duration::try_from(ends.duration_since(Timestamp::now())).ok());
    if let Some(fault) = argocd.session.login_fault().await {
        let refused = login_refused(fault);
        let message = format!("{}; the session of an earlier login still works for a while", refused.message);
        looking.judge(CredentialVerdict::Rejected, message.clone());
        let words = refused.message.clone();
        let finding = Finding { status: HealthStatus::Degraded, message, ..refused };
        looking.found_in("login", words, finding, begun);
    } else if let (false, Some(ends)) = (argocd.session.logs_in(), token.ends) {
        looking.judge(CredentialVerdict::Accepted, format!("{known}; the token ends at {ends}"));
        if left.is_none_or(|left| left >= EXPIRING) {
            looking.well("login", format!("the token ends at {ends}"), begun);
        }
        if left.is_some_and(|left| left < EXPIRING) {
            let message = format!("the token ends at {ends}: put a new one into the connector's credentials");
            looking.found(
                "login",
                Finding::stated(HealthStatus::Degraded, ArgoCdReason::TokenExpiring, message),
                begun,
            );
        }
    } else if left.is_some_and(|left| left < REFRESH_BEFORE) {
        let message = "the session ends soon, and a new login has not succeeded yet";
        looking.found("login", Finding::passing(HealthStatus::Ok, ArgoCdReason::Refreshing, message), begun);
    }
}

enum Rights {
    /// Applications can be read; with a note on what else may be done.
    Sufficient(String),
    /// It may not read all applications, and sees none. Rights in a project can't be asked for without its name.
    NothingSeen,
}

/// What the account may do everywhere. An account that is bound to projects may do nothing everywhere, so then the
/// applications that it sees are counted.
async fn rights(argocd: &ArgoCd, token: &Token, deadline: Instant) -> Result<Rights, Error> {
    let can = |resource: &'static str, action: &'static str| async move {
        // The object has the form project/application, of which the slash is part of the path.
        let call = Call::get(["account", "can-i", resource, action, "*", "*"]);
        argocd.session.with::<CanI>(token, &call, deadline).await.map(|answer| answer.value == "yes")
    };
    let (get, sync, logs) = tokio::join!(can("applications", "get"), can("applications", "sync"), can("logs", "get"));
    if !get? {
        let call = Call::get(["applications"]).query("fields", &"items.metadata.name");
        let seen = argocd.session.with::<Items<Application>>(token, &call, deadline).await?;
        if seen.items.is_empty() {
            return Ok(Rights::NothingSeen);
        }
        return Ok(Rights::Sufficient("the account may read applications of some projects".to_owned()));
    }
    let word = |may: Result<bool, Error>| if may.unwrap_or_default() { "may" } else { "may not" };
    let note = format!(
        "the account may read applications everywhere, {} sync them, and {} read logs everywhere",
        word(sync),
        word(logs)
    );
    Ok(Rights::Sufficient(note))
}

/// How the applications that matter are.
async fn applications(argocd: &ArgoCd, looking: &mut Examination, token: &Token, deadline: Instant) {
    let begun = Instant::now();
    let asked = argocd.critical.iter().map(|app| async move {
        let fields = "items.metadata.name,items.status.health,items.status.sync.status";
        let call = Call::get(["applications"])
            .query("name", &app.name)
            .query("fields", &fields)
            .maybe("appNamespace", app.namespace.as_ref());
        (app.name.as_str(), argocd.session.with::<Items<Application>>(token, &call, deadline).await)
    });
    let (mut unhealthy, mut out_of_sync, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    let mut unasked = None;
    for (name, outcome) in join_all(asked).await {
        match outcome {
            Ok(found) if found.items.is_empty() => unhealthy.push(format!("{name} is not there, or may not be read")),
            Ok(found) => {
                for app in found.items.iter() {
                    match (app.status.health.status.as_str(), app.status.sync.status.as_str()) {
                        ("Degraded", _) => unhealthy.push(format!("{name} is degraded")),
                        ("Missing", _) => unhealthy.push(format!("{name} is missing")),
                        ("Unknown" | "", _) => unknown.push(format!("the health of {name}")),
                        (_, "Unknown" | "") => unknown.push(format!("whether {name} runs what Git says")),
                        (_, "OutOfSync") => out_of_sync.push(name),
                        _ => {}
                    }
                }
            }
            Err(error) => unasked = Some(error),
        }
    }
    let all_well = unhealthy.is_empty() && out_of_sync.is_empty() && unknown.is_empty() && unasked.is_none();
    if all_well {
        return looking.well("apps", "all are well", begun);
    }
    if !unhealthy.is_empty() {
        let message = format!("of the critical applications {}", unhealthy.join(", "));
        looking.found(
            "apps",
            Finding::passing(HealthStatus::Degraded, ArgoCdReason::ApplicationsUnhealthy, message),
            begun,
        );
    }
    if !unknown.is_empty() {
        let message = format!("Argo CD does not know {}", unknown.join(", "));
        looking.found(
            "apps",
            Finding::passing(HealthStatus::Degraded, ArgoCdReason::ApplicationsUnknown, message),
            begun,
        );
    }
    if let Some(error) = unasked {
        looking.found("apps", unanswered(error).of_a_part(), begun);
    }
    if !out_of_sync.is_empty() {
        let message =
            format!("of the critical applications {} run something else than Git says", out_of_sync.join(", "));
        looking.found("apps", Finding::stated(HealthStatus::Ok, ArgoCdReason::ApplicationsOutOfSync, message), begun);
    }
}
