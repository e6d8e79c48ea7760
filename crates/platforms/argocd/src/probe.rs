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
    wire::{Application, CanI, Items, UserInfo, Version},
};
use api::Reason;
use kit::{Check, CredentialVerdict, HealthStatus, ProbeReport};
use outbound::RequestError;

/// Time left to a token that can't be renewed from which its end deserves attention.
const EXPIRING: Duration = Duration::from_hours(7 * 24);

/// Something that isn't well, or deserves a note.
struct Finding {
    status: HealthStatus,
    reason: &'static str,
    message: String,
    /// Whether it may pass by itself.
    passing: bool,
}

/// What is known of the credentials.
struct Credentials {
    verdict: CredentialVerdict,
    message: String,
    identity: Option<String>,
    finding: Option<Finding>,
    checks: Vec<Check>,
    /// With which the applications can be asked for.
    token: Option<Token>,
}

/// Asks Argo CD how it does.
pub(super) async fn probe(argocd: &ArgoCd, deadline: Instant) -> ProbeReport {
    let begun = Instant::now();
    let version = argocd.session.open::<Version>(&Call::version().probe(), deadline).await;
    let mut checks = Vec::new();
    let mut findings = Vec::new();
    let credentials = match &version {
        Ok(_) => {
            checks.push(check("version", HealthStatus::Ok, "Argo CD answers", begun));
            credentials(argocd, deadline).await
        }
        Err(error) => {
            let finding = unanswered(*error);
            checks.push(check("version", finding.status, &finding.message, begun));
            findings.push(finding);
            Credentials::unknown("not asked, because Argo CD does not answer")
        }
    };
    checks.extend(credentials.checks);
    findings.extend(credentials.finding);
    if let Some(token) = credentials.token.filter(|_| !argocd.critical.is_empty()) {
        let begun = Instant::now();
        let finding = applications(argocd, &token, deadline).await;
        let (status, message) = finding
            .as_ref()
            .map_or((HealthStatus::Ok, "all are well"), |finding| (finding.status, finding.message.as_str()));
        checks.push(check("apps", status, message, begun));
        findings.extend(finding);
    }
    // The first of the worst: what comes first is nearer to the cause.
    let worst = findings.into_iter().reduce(|worst, other| if other.status > worst.status { other } else { worst });
    let worst = worst.unwrap_or_else(|| Finding {
        status: HealthStatus::Ok,
        reason: Reason::Healthy.as_str(),
        message: "Argo CD answers and knows the connector's account".to_owned(),
        passing: false,
    });
    ProbeReport {
        status: worst.status,
        reason: worst.reason.to_owned(),
        message: worst.message,
        passing: worst.passing,
        credentials: credentials.verdict,
        credentials_message: credentials.message,
        version: version.ok().map(|version| word(&version.version)),
        identity: credentials.identity,
        state: None,
        checks,
    }
}

fn check(name: &str, status: HealthStatus, message: &str, begun: Instant) -> Check {
    let latency_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Check { name: name.to_owned(), status, message: message.to_owned(), latency_ms }
}

/// What a server states of itself, cut to what a version can look like.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || ".+-_".contains(*c)).take(64).collect()
}

/// No answer of Argo CD's own.
fn unanswered(error: Error) -> Finding {
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
        | Error::Forbidden
        | Error::TokenRejected { .. }
        | Error::BadRequest
        | Error::Unimplemented => "NotArgoCD",
        Error::Request(_) | Error::Unavailable(_) => Reason::Unreachable.as_str(),
        Error::RateLimited(_) => Reason::RateLimited.as_str(),
        Error::Failed(_) | Error::Status(500..=599) => Reason::ServerError.as_str(),
        _ => Reason::UnexpectedResponse.as_str(),
    };
    let message = match reason {
        "NotArgoCD" => {
            format!(
                "the address does not answer as the API of Argo CD ({error}): check url, its path, and proxies with a login"
            )
        }
        _ => format!("Argo CD can't be asked: {error}"),
    };
    let limited = matches!(error, Error::RateLimited(_));
    let status = if limited { HealthStatus::Degraded } else { HealthStatus::Error };
    Finding { status, reason, message, passing: true }
}

impl Credentials {
    fn unknown(message: impl Into<String>) -> Self {
        Self {
            verdict: CredentialVerdict::Unknown,
            message: message.into(),
            identity: None,
            finding: None,
            checks: Vec::new(),
            token: None,
        }
    }

    /// Credentials that don't work.
    fn bad(check_name: &str, verdict: CredentialVerdict, finding: Finding, begun: Instant) -> Self {
        Self {
            verdict,
            checks: vec![check(check_name, finding.status, &finding.message, begun)],
            finding: Some(finding),
            ..Self::unknown("")
        }
        .with_message()
    }

    fn with_message(mut self) -> Self {
        self.message = self.finding.as_ref().map(|finding| finding.message.clone()).unwrap_or_default();
        self
    }
}

/// Fixed words: Argo CD's own say nothing more.
fn login_refused(fault: LoginFault) -> Finding {
    let (reason, message) = match fault {
        LoginFault::Wrong => (
            "LoginRejected",
            "Argo CD rejects user name and password, or has locked the user for five minutes: correct the connector's \
             credentials",
        ),
        LoginFault::LockedOut => (
            "LoginLockedOut",
            "logins failed again and again, after which Argo CD locks the user for five minutes; the connector waits as \
             long: a wrong password is being repeated, perhaps by somebody else",
        ),
        LoginFault::MayNotLogIn => (
            "LoginRejected",
            "the account is disabled or may not log in: enable it, and give it the capability login in argocd-cm",
        ),
        LoginFault::Malformed => {
            ("LoginRejected", "the user name is longer than the 32 bytes that Argo CD takes: correct the credentials")
        }
    };
    Finding { status: HealthStatus::Error, reason, message: message.to_owned(), passing: false }
}

/// Why there is no token that could be asked with.
fn tokenless(error: Error, begun: Instant) -> Credentials {
    match error {
        Error::NoCredentials => {
            let finding = Finding {
                status: HealthStatus::Degraded,
                reason: "NoCredentials",
                message: "Argo CD is well; the connector has no credentials for it yet".to_owned(),
                passing: false,
            };
            Credentials::bad("login", CredentialVerdict::Unknown, finding, begun)
        }
        Error::LoginRefused(fault) | Error::LoginPaused(fault, _) => {
            Credentials::bad("login", CredentialVerdict::Rejected, login_refused(fault), begun)
        }
        Error::Request(RequestError::CredentialForm) => {
            let finding = Finding {
                status: HealthStatus::Error,
                reason: "TokenRejected",
                message: format!("{error}: correct the token in the connector's credentials"),
                passing: false,
            };
            Credentials::bad("identity", CredentialVerdict::Rejected, finding, begun)
        }
        Error::TokenRejected { expired } => Credentials::bad(
            "identity",
            if expired { CredentialVerdict::Expired } else { CredentialVerdict::Rejected },
            token_refused(expired),
            begun,
        ),
        error => Credentials::bad("login", CredentialVerdict::Unknown, unanswered(error), begun),
    }
}

fn token_refused(expired: bool) -> Finding {
    if expired {
        return Finding {
            status: HealthStatus::Error,
            reason: "TokenExpired",
            message: "the token's time is over: put a new one into the connector's credentials".to_owned(),
            passing: false,
        };
    }
    Finding {
        status: HealthStatus::Error,
        reason: "TokenRejected",
        message: "Argo CD does not accept the token, which was revoked, or whose account is disabled or has a new \
                  password: put a new one into the connector's credentials"
            .to_owned(),
        passing: true,
    }
}

async fn identify(argocd: &ArgoCd, token: &Token, deadline: Instant) -> Result<UserInfo, Error> {
    let info: UserInfo = argocd.session.with(token, &Call::get(["session", "userinfo"]), deadline).await?;
    if info.logged_in { Ok(info) } else { Err(Error::TokenRejected { expired: token.has_ended() }) }
}

async fn credentials(argocd: &ArgoCd, deadline: Instant) -> Credentials {
    let begun = Instant::now();
    let mut token = match argocd.session.token(deadline).await {
        Ok(token) => token,
        Err(error) => return tokenless(error, begun),
    };
    let mut asked = argocd.session.with::<UserInfo>(&token, &Call::get(["session", "userinfo"]), deadline).await;
    if asked.as_ref().is_ok_and(|info| !info.logged_in) {
        match argocd.session.replace(&token, false, deadline).await {
            Ok(newer) => {
                token = newer;
                asked = identify(argocd, &token, deadline).await;
            }
            Err(error) => return tokenless(error, begun),
        }
    } else if let Err(Error::TokenRejected { .. }) = asked {
        // A server that has started answers this call to everybody, with `loggedIn: false` for a bad token.
        let finding = Finding {
            status: HealthStatus::Error,
            reason: "Starting",
            message: "Argo CD refuses a call that it answers to everybody when it has started".to_owned(),
            passing: true,
        };
        return Credentials::bad("identity", CredentialVerdict::Unknown, finding, begun);
    }
    let info = match asked {
        Ok(info) => info,
        Err(error) => return tokenless(error, begun),
    };
    let who: String = info.username.chars().filter(|c| !c.is_control()).take(128).collect();
    let mut message = format!("Argo CD takes the connector for {who}");
    let logs_in = argocd.session.logs_in();
    let mut checks = vec![check("identity", HealthStatus::Ok, &message, begun)];
    let left = token.ends.and_then(|ends| Duration::try_from(ends.duration_since(Timestamp::now())).ok());
    let mut finding = None;
    if let Some(fault) = argocd.session.login_fault().await {
        let refused = login_refused(fault);
        checks.push(check("login", HealthStatus::Error, &refused.message, begun));
        message = format!("{}; the session of an earlier login still works for a while", refused.message);
        finding = Some(Finding { status: HealthStatus::Degraded, message: message.clone(), ..refused });
    } else if let (false, Some(ends)) = (logs_in, token.ends) {
        message = format!("{message}; the token ends at {ends}");
        if left.is_some_and(|left| left < EXPIRING) {
            let message = format!("the token ends at {ends}: put a new one into the connector's credentials");
            checks.push(check("login", HealthStatus::Degraded, &message, begun));
            let (status, passing) = (HealthStatus::Degraded, false);
            finding = Some(Finding { status, reason: "TokenExpiring", message, passing });
        }
    } else if left.is_some_and(|left| left < REFRESH_BEFORE) {
        let message = "the session ends soon, and a new login has not succeeded yet".to_owned();
        finding = Some(Finding { status: HealthStatus::Ok, reason: "Refreshing", message, passing: true });
    }
    let mut verdict = if finding.as_ref().is_some_and(|finding| finding.reason.starts_with("Login")) {
        CredentialVerdict::Rejected
    } else {
        CredentialVerdict::Accepted
    };
    let begun = Instant::now();
    match rights(argocd, &token, deadline).await {
        Ok(Rights::Sufficient(note)) => checks.push(check("rbac", HealthStatus::Ok, &note, begun)),
        Ok(Rights::Missing) => {
            let missing = "the account may not read any application: give it `applications, get` in argocd-rbac-cm";
            checks.push(check("rbac", HealthStatus::Degraded, missing, begun));
            if finding.is_none() {
                let (status, reason) = (HealthStatus::Degraded, "PermissionMissing");
                finding = Some(Finding { status, reason, message: missing.to_owned(), passing: false });
                verdict = CredentialVerdict::PermissionMissing;
                message = format!("Argo CD takes the connector for {who}, but {missing}");
            }
        }
        // The token was just accepted; that nothing more is known now is no reason to doubt it.
        Err(error) => checks.push(check("rbac", HealthStatus::Degraded, &format!("not known: {error}"), begun)),
    }
    Credentials { verdict, message, identity: Some(who), finding, checks, token: Some(token) }
}

enum Rights {
    /// Applications can be read; with a note on what else may be done.
    Sufficient(String),
    Missing,
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
            return Ok(Rights::Missing);
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
async fn applications(argocd: &ArgoCd, token: &Token, deadline: Instant) -> Option<Finding> {
    let asked = argocd.critical.iter().map(|app| async move {
        let fields = "items.metadata.name,items.status.health,items.status.sync.status";
        let call = Call::get(["applications"])
            .query("name", &app.name)
            .query("fields", &fields)
            .maybe("appNamespace", app.namespace.as_ref());
        (app.name.as_str(), argocd.session.with::<Items<Application>>(token, &call, deadline).await)
    });
    let (mut unhealthy, mut out_of_sync, mut unknown) = (Vec::new(), Vec::new(), None);
    for (name, outcome) in join_all(asked).await {
        match outcome {
            Ok(found) if found.items.is_empty() => unhealthy.push(format!("{name} is not there, or may not be read")),
            Ok(found) => {
                for app in found.items.iter() {
                    match app.status.health.status.as_str() {
                        "Degraded" => unhealthy.push(format!("{name} is degraded")),
                        "Missing" => unhealthy.push(format!("{name} is missing")),
                        _ if app.status.sync.status == "OutOfSync" => out_of_sync.push(name),
                        _ => {}
                    }
                }
            }
            Err(error) => unknown = Some(error),
        }
    }
    if !unhealthy.is_empty() {
        return Some(Finding {
            status: HealthStatus::Degraded,
            reason: "ApplicationsUnhealthy",
            message: format!("of the critical applications {}", unhealthy.join(", ")),
            passing: true,
        });
    }
    if let Some(error) = unknown {
        return Some(Finding { status: HealthStatus::Degraded, ..unanswered(error) });
    }
    (!out_of_sync.is_empty()).then(|| Finding {
        status: HealthStatus::Ok,
        reason: "ApplicationsOutOfSync",
        message: format!("of the critical applications {} run something else than Git says", out_of_sync.join(", ")),
        passing: false,
    })
}
