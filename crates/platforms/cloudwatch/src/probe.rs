//! How CloudWatch does, and what AWS thinks of the credentials: who they are, whether alarms can be read, and whether log
//! groups can, or a query be run; when the credentials end, whether AWS has refused calls of late, and what its clock says.

mod logs;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{CloudWatch, error::Error, transport::Manner};
use api::Reason;
use kit::{Check, CredentialVerdict, HealthStatus, ProbeReport};
use outbound::{OutboundState, Repeat, RequestError};

/// Time left to a session token from which its end deserves attention. Tokens live from one to twelve hours.
const EXPIRING: SignedDuration = SignedDuration::from_mins(15);

/// Time for which calls that AWS refused for their number are told.
const LATELY: u64 = 300;
/// Difference of the clocks from which it deserves attention: AWS refuses requests from some minutes on.
const SKEW: SignedDuration = SignedDuration::from_mins(2);

/// Something that isn't well.
struct Finding {
    status: HealthStatus,
    reason: &'static str,
    message: String,
    /// Whether it may pass by itself.
    passing: bool,
}

/// Asks AWS how it does.
pub(super) async fn probe(cloudwatch: &CloudWatch, deadline: Instant) -> ProbeReport {
    let session = &cloudwatch.session;
    let manner = Manner { deadline, repeat: Repeat::Safe, is_probe: true };
    let mut checks = Vec::new();
    let mut findings = Vec::new();

    let begun = Instant::now();
    let who = session.call(manner, || session.sts.get_caller_identity().send()).await;
    session.place.learn(who.as_ref().ok().and_then(|who| who.account()));
    let (mut verdict, mut credentials_message, identity) = match &who {
        Ok(who) => {
            let arn: String = who.arn().unwrap_or_default().chars().filter(|c| !c.is_control()).take(256).collect();
            let message = format!("AWS takes the connector for {arn}");
            checks.push(check("identity", HealthStatus::Ok, &message, begun));
            (CredentialVerdict::Accepted, message, Some(arn))
        }
        Err(error) => {
            let finding = finding(*error, "the Security Token Service", "sts:GetCallerIdentity");
            checks.push(check("identity", finding.status, &finding.message, begun));
            let message = finding.message.clone();
            // Where STS can't be reached, CloudWatch may be, as in a VPC with endpoints for the two alone.
            if is_about_credentials(*error) {
                findings.push(finding);
            }
            (verdict_of(*error), message, None)
        }
    };
    if findings.is_empty() {
        let (alarms, logs) = tokio::join!(
            timed(session.call(manner, || session.metrics.describe_alarms().max_records(1).send())),
            timed(logs::look(cloudwatch, manner)),
        );
        let (alarms, latency) = alarms;
        match alarms {
            Ok(_) => {
                checks.push(timed_check("alarms", HealthStatus::Ok, "alarms can be read", latency));
                if identity.is_none() {
                    verdict = CredentialVerdict::Accepted;
                    "CloudWatch accepts the credentials; who they are is not known"
                        .clone_into(&mut credentials_message);
                }
            }
            Err(error) => {
                let finding = finding(error, "CloudWatch", "cloudwatch:DescribeAlarms");
                checks.push(timed_check("alarms", finding.status, &finding.message, latency));
                if error == Error::Denied || is_about_credentials(error) {
                    (verdict, credentials_message) = (verdict_of(error), finding.message.clone());
                }
                findings.push(finding);
            }
        }
        let (logs, latency) = logs;
        match logs {
            Ok(words) => checks.push(timed_check("logs", HealthStatus::Ok, words, latency)),
            Err(fault) => {
                let finding = fault.finding(cloudwatch);
                checks.push(timed_check("logs", finding.status, &finding.message, latency));
                if findings.is_empty() && fault.error == Error::Denied {
                    (verdict, credentials_message) = (CredentialVerdict::PermissionMissing, finding.message.clone());
                }
                findings.push(finding);
            }
        }
    }
    if findings.is_empty() {
        let (check, finding) = lifetime(session.keys.expiration().as_ref());
        checks.push(check);
        if let Some(finding) = finding {
            credentials_message.clone_from(&finding.message);
            findings.push(finding);
        }
    }
    if identity.is_some() || verdict == CredentialVerdict::Accepted {
        checks.push(throttle(&session.outbound()));
    }
    if let Some((check, finding)) = session.clock.ahead().map(clock) {
        checks.push(check);
        findings.extend(finding);
    }
    // The first of the worst: what comes first is nearer to the cause.
    let worst = findings.into_iter().reduce(|worst, other| if other.status > worst.status { other } else { worst });
    let worst = worst.unwrap_or_else(|| Finding {
        status: HealthStatus::Ok,
        reason: Reason::Healthy.as_str(),
        message: format!("CloudWatch and CloudWatch Logs answer in {}", cloudwatch.region),
        passing: false,
    });
    ProbeReport {
        status: worst.status,
        reason: worst.reason.to_owned(),
        message: worst.message,
        passing: worst.passing,
        credentials: verdict,
        credentials_message,
        version: None,
        identity,
        state: None,
        checks,
    }
}

/// How long the credentials last.
fn lifetime(ends: Option<&Result<Timestamp, jiff::Error>>) -> (Check, Option<Finding>) {
    let (status, words) = match ends {
        None => (HealthStatus::Ok, "the keys have no end that is known, or are renewed here".to_owned()),
        Some(Ok(ends)) => {
            let left = ends.duration_since(Timestamp::now());
            let is_soon = left < EXPIRING;
            let status = if is_soon { HealthStatus::Degraded } else { HealthStatus::Ok };
            let words = format!("the session token ends at {ends}, in {} s", left.as_secs().max(0));
            if is_soon {
                let message =
                    format!("the session token ends at {ends}: put a new one into the connector's credentials");
                let finding = Finding { status, reason: "CredentialsExpiring", message, passing: false };
                return (check("credentials", status, &words, Instant::now()), Some(finding));
            }
            (status, words)
        }
        // The end is not known then, and nothing else is wrong.
        Some(Err(_)) => (
            HealthStatus::Degraded,
            "the field expiration of the credentials is no RFC 3339 time, such as 2026-01-31T08:00:00Z".to_owned(),
        ),
    };
    (check("credentials", status, &words, Instant::now()), None)
}

/// Whether AWS has refused calls to the two services of late, which the tools say to whoever calls and is no finding.
fn throttle(ways: &[OutboundState]) -> Check {
    let refused = ways.iter().take(2).filter_map(|way| way.pace.refused_seconds_ago);
    match refused.min().filter(|ago| *ago < LATELY) {
        None => check("throttle", HealthStatus::Ok, "AWS has refused no call of late for their number", Instant::now()),
        Some(ago) => {
            let words = format!("AWS refused a call for their number {ago} s ago: call less often");
            check("throttle", HealthStatus::Degraded, &words, Instant::now())
        }
    }
}

/// What the clocks say. The difference stands in the check alone, because a condition whose message changes is written each
/// time.
fn clock(ahead: SignedDuration) -> (Check, Option<Finding>) {
    let is_off = ahead.abs() > SKEW;
    let status = if is_off { HealthStatus::Degraded } else { HealthStatus::Ok };
    let direction = if ahead.is_negative() { "behind" } else { "ahead of" };
    let words = format!("the clock here is {} s {direction} that of AWS", ahead.abs().as_secs());
    let finding = is_off.then(|| Finding {
        status,
        reason: "ClockSkew",
        message: "the clock of the node differs from that of AWS by more than two minutes, and AWS refuses what is signed too \
                  far from its own time: set the clock of the node"
            .to_owned(),
        passing: true,
    });
    (check("clock", status, &words, Instant::now()), finding)
}

async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    (call.await, begun.elapsed())
}

fn check(name: &str, status: HealthStatus, message: &str, begun: Instant) -> Check {
    timed_check(name, status, message, begun.elapsed())
}

fn timed_check(name: &str, status: HealthStatus, message: &str, latency: Duration) -> Check {
    let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
    Check { name: name.to_owned(), status, message: message.to_owned(), latency_ms }
}

/// Whether nothing else needs to be asked: no request would be answered.
fn is_about_credentials(error: Error) -> bool {
    use Error as E;
    matches!(
        error,
        E::NoCredentials
            | E::Expired
            | E::Rejected
            | E::Clock
            | E::RoleRefused
            | E::TrustRefused
            | E::TokenRefused
            | E::NoIdentity
            | E::IdentityUnavailable
    )
}

fn verdict_of(error: Error) -> CredentialVerdict {
    match error {
        Error::Expired => CredentialVerdict::Expired,
        Error::Rejected | Error::RoleRefused | Error::TrustRefused | Error::TokenRefused | Error::NoIdentity => {
            CredentialVerdict::Rejected
        }
        Error::Denied => CredentialVerdict::PermissionMissing,
        _ => CredentialVerdict::Unknown,
    }
}

/// What an error says of the whole.
fn finding(error: Error, service: &str, permission: &str) -> Finding {
    use HealthStatus::{Degraded, Error as Bad};
    let (status, reason, passing, message) = match error {
        Error::NoCredentials => {
            (Degraded, "NoCredentials", false, "the connector has no credentials for AWS yet".to_owned())
        }
        Error::Expired => (
            Bad,
            "CredentialsExpired",
            false,
            "the credentials have ended: put new ones into the connector's credentials".to_owned(),
        ),
        Error::Rejected => (
            Bad,
            "CredentialsInvalid",
            true,
            "AWS does not know the access key, or its secret or session token does not fit it: correct the connector's \
             credentials"
                .to_owned(),
        ),
        Error::Clock => {
            (Bad, "ClockSkew", true, "AWS takes the requests for too old or too new: set the clock of the node".to_owned())
        }
        Error::RoleRefused => (
            Bad,
            "RoleRefused",
            false,
            "the role may not be assumed: check assumeRole against the role's trust policy and its external id, and give the \
             credentials sts:AssumeRole"
                .to_owned(),
        ),
        Error::TrustRefused => (
            Bad,
            "RoleRefused",
            false,
            "AWS does not let the connector's ServiceAccount assume the role: check that the role exists, and that its trust \
             policy allows sts:AssumeRoleWithWebIdentity to the cluster's OIDC provider with the ServiceAccount as subject \
             (system:serviceaccount:<namespace>:mcp-<connector>) and the right audience"
                .to_owned(),
        ),
        Error::TokenRefused => (
            Bad,
            "IdentityRejected",
            false,
            "AWS does not accept the ServiceAccount's token: make an OIDC provider for the cluster's issuer in the role's \
             account, with the audience that the CredentialSource names, and check that AWS can read the issuer's public keys"
                .to_owned(),
        ),
        Error::NoIdentity => (
            Bad,
            "IdentityRejected",
            false,
            "the node gives this pod no credentials: check the Pod Identity association of the connector's ServiceAccount \
             and its role, or the instance profile of the node"
                .to_owned(),
        ),
        Error::IdentityUnavailable => (
            Bad,
            "IdentityUnavailable",
            true,
            "whoever gives credentials for the pod's identity can't be asked now: look at the Pod Identity agent of the node, \
             at the hop limit of its metadata service (2 for pods), or whether AWS reaches the cluster's issuer"
                .to_owned(),
        ),
        Error::Denied => {
            (Bad, "PermissionDenied", false, format!("the identity lacks {permission}, which the connector needs"))
        }
        Error::Throttled(_) | Error::Quota => {
            (Degraded, Reason::RateLimited.as_str(), true, "AWS limits calls of this account and region".to_owned())
        }
        Error::Unavailable(_) => (Bad, Reason::ServerError.as_str(), true, format!("{service} does not answer well: {error}")),
        Error::Request(RequestError::Timeout) => {
            (Bad, Reason::Timeout.as_str(), true, format!("{service} did not answer in time"))
        }
        Error::Request(RequestError::TlsInvalid(_)) => {
            (Bad, Reason::TlsInvalid.as_str(), true, format!("{service} can't be asked: {error}"))
        }
        Error::Request(
            RequestError::Html
            | RequestError::NotJson
            | RequestError::BodyTooLarge
            | RequestError::Redirected
            | RequestError::RedirectedElsewhere,
        )
        | Error::Unexpected(_)
        | Error::NotFound
        | Error::BadRequest
        | Error::Cursor
        | Error::Query(_) => (
            Bad,
            "NotCloudWatch",
            true,
            format!("the address does not answer as {service} ({error}): check endpoint, endpoints and the proxy"),
        ),
        Error::Request(_) => (Bad, Reason::Unreachable.as_str(), true, format!("{service} can't be asked: {error}")),
    };
    Finding { status, reason, message, passing }
}
