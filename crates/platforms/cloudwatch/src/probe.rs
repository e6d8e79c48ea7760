//! How CloudWatch does, and what AWS thinks of the credentials: who they are, whether alarms can be read, and whether log
//! groups can, or a query be run; when the credentials end, whether AWS has refused calls of late, and what its clock says.

mod logs;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{
    CloudWatch,
    error::{Error, Failure},
    keys::Misfit,
    tools::{AlarmsAsked, Unseen},
    transport::Manner,
};
use api::{Reason, platform::cloudwatch::CloudWatchReason};
use kit::{
    CredentialVerdict, HealthStatus, ProbeReport,
    health::{Examination, Finding, reason_of},
    text,
};
use outbound::{OutboundState, Purpose, Repeat};

/// Time left to a session token from which its end deserves attention. Tokens live from one to twelve hours.
const EXPIRING: SignedDuration = SignedDuration::from_mins(15);

/// Time for which calls that AWS refused for their number are told.
const LATELY: u64 = 300;
/// Difference of the clocks from which it deserves attention: AWS refuses requests from some minutes on.
const SKEW: SignedDuration = SignedDuration::from_mins(2);

/// Asks AWS how it does.
pub(super) async fn probe(cloudwatch: &CloudWatch, deadline: Instant) -> ProbeReport {
    let session = &cloudwatch.session;
    let manner = Manner { deadline, purpose: Purpose::Look, repeat: Repeat::Safe, is_probe: true };
    let mut looking = Examination::new("not known, because AWS could not be asked");
    if identify(cloudwatch, &mut looking, manner).await {
        look(cloudwatch, &mut looking, manner).await;
        lifetime(&mut looking, session.keys.expiration().as_ref());
    }
    if looking.identity.is_some() || looking.verdict() == CredentialVerdict::Accepted {
        throttle(&mut looking, &session.outbound());
    }
    if let Some(ahead) = session.clock.ahead() {
        clock(&mut looking, ahead);
    }
    let well = format!("CloudWatch and CloudWatch Logs answer in {}", cloudwatch.region);
    looking.finish(Finding::stated(HealthStatus::Ok, Reason::Healthy, well))
}

/// Who AWS takes the connector for; whether anything else needs to be asked.
async fn identify(cloudwatch: &CloudWatch, looking: &mut Examination, manner: Manner) -> bool {
    let session = &cloudwatch.session;
    let begun = Instant::now();
    // STS may hang where CloudWatch answers: the other half of the time is for that.
    let who = session.call(manner.half(), || session.sts.get_caller_identity().send()).await;
    session.place.learn(who.as_ref().ok().and_then(|who| who.account()));
    match who {
        Ok(who) => {
            let arn = text::name(who.arn().unwrap_or_default(), 256);
            let message = format!("AWS takes the connector for {arn}");
            looking.judge(CredentialVerdict::Accepted, message.clone());
            looking.identity = Some(arn);
            looking.well("identity", message, begun);
            true
        }
        Err(failure) => {
            let error = failure.error;
            let finding = finding(cloudwatch, &failure, "the Security Token Service", "sts:GetCallerIdentity");
            looking.judge(verdict_of(error), finding.message.clone());
            if is_about_credentials(error) {
                looking.found("identity", finding, begun);
                return false;
            }
            // Where STS can't be reached, CloudWatch may be, as in a VPC with endpoints for the two alone.
            looking.not_known("identity", finding.message, begun);
            true
        }
    }
}

/// Whether alarms can be read, and whether logs can.
async fn look(cloudwatch: &CloudWatch, looking: &mut Examination, manner: Manner) {
    let session = &cloudwatch.session;
    let ((alarms, alarms_took), (logs, logs_took)) = tokio::join!(
        // As the tools ask: composite alarms need more of a policy than others.
        timed(cloudwatch.ask_of_types(manner, AlarmsAsked::All, |types| {
            session.metrics.describe_alarms().set_alarm_types(Some(types)).max_records(1).send()
        })),
        timed(logs::look(cloudwatch, manner)),
    );
    match alarms {
        Ok((_, unseen)) => {
            alarms_seen(looking, unseen, alarms_took);
            if looking.identity.is_none() {
                let message = "CloudWatch accepts the credentials; who they are is not known";
                looking.judge(CredentialVerdict::Accepted, message);
            }
        }
        Err(failure) => {
            let error = failure.error;
            let finding = finding(cloudwatch, &failure, "CloudWatch", "cloudwatch:DescribeAlarms");
            if error == Error::Denied || is_about_credentials(error) {
                looking.judge(verdict_of(error), finding.message.clone());
            }
            looking.found("alarms", finding, alarms_took);
        }
    }
    match logs {
        Ok(words) => looking.well("logs", words, logs_took),
        Err(fault) => {
            let finding = fault.finding(cloudwatch);
            if looking.is_well() && fault.failure.error == Error::Denied {
                looking.judge(CredentialVerdict::PermissionMissing, finding.message.clone());
            }
            looking.found("logs", finding, logs_took);
        }
    }
}

/// What is told when alarms can be read, of all types or not.
fn alarms_seen(looking: &mut Examination, unseen: Unseen, took: Duration) {
    if !unseen.composite {
        let words = if unseen.log {
            "alarms on metrics and composite ones can be read; this endpoint has none on logs"
        } else {
            "alarms can be read"
        };
        return looking.well("alarms", words, took);
    }
    let message = "composite alarms can't be read: they need cloudwatch:DescribeAlarms on all resources (*); the tools for \
                   other alarms work";
    if looking.verdict() != CredentialVerdict::Unknown {
        looking.judge(CredentialVerdict::PermissionMissing, message);
    }
    looking.found("alarms", Finding::stated(HealthStatus::Degraded, CloudWatchReason::PermissionDenied, message), took);
}

/// How long the credentials last.
fn lifetime(looking: &mut Examination, ends: Option<&Result<Timestamp, jiff::Error>>) {
    match ends {
        None => {
            looking.well("credentials", "the keys have no end that is known, or are renewed here", Duration::ZERO);
        }
        Some(Ok(ends)) => {
            let left = ends.duration_since(Timestamp::now());
            let words = format!("the session token ends at {ends}, in {} s", left.as_secs().max(0));
            if left >= EXPIRING {
                return looking.well("credentials", words, Duration::ZERO);
            }
            let message = format!("the session token ends at {ends}: put a new one into the connector's credentials");
            if looking.verdict() == CredentialVerdict::Accepted {
                looking.judge(CredentialVerdict::Accepted, message.clone());
            }
            let finding = Finding::stated(HealthStatus::Degraded, CloudWatchReason::CredentialsExpiring, message);
            looking.found_in("credentials", words, finding, Duration::ZERO);
        }
        Some(Err(_)) => {
            let why = "the field expiration of the credentials is no RFC 3339 time, such as 2026-01-31T08:00:00Z";
            looking.not_known("credentials", why, Duration::ZERO);
        }
    }
}

/// Whether AWS has refused calls to the two services of late, which the tools say to whoever calls and is no finding.
fn throttle(looking: &mut Examination, ways: &[OutboundState]) {
    let refused = ways.iter().take(2).filter_map(|way| way.pace.refused_seconds_ago);
    match refused.min().filter(|ago| *ago < LATELY) {
        None => looking.well("throttle", "AWS has refused no call of late for their number", Duration::ZERO),
        Some(ago) => {
            let words = format!("AWS refused a call for their number {ago} s ago: call less often");
            looking.aside("throttle", HealthStatus::Degraded, words, Duration::ZERO);
        }
    }
}

/// What the clocks say. The difference stands in the check alone, because a condition whose message changes is written each
/// time.
fn clock(looking: &mut Examination, ahead: SignedDuration) {
    let direction = if ahead.is_negative() { "behind" } else { "ahead of" };
    let words = format!("the clock here is {} s {direction} that of AWS", ahead.abs().as_secs());
    if ahead.abs() <= SKEW {
        return looking.well("clock", words, Duration::ZERO);
    }
    let message = "the clock of the node differs from that of AWS by more than two minutes, and AWS refuses what is signed too \
                   far from its own time: set the clock of the node";
    let finding = Finding::passing(HealthStatus::Degraded, CloudWatchReason::ClockSkew, message);
    looking.found_in("clock", words, finding, Duration::ZERO);
}

async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    (call.await, begun.elapsed())
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

/// What is to be done about keys that AWS doesn't accept.
fn rejected(misfit: Option<Misfit>) -> &'static str {
    match misfit {
        Some(Misfit::NoToken) => {
            "AWS does not accept the access key: it is a temporary one (ASIA...), which is good with its session token only, and \
             the credentials have no session_token: add it"
        }
        Some(Misfit::NeedlessToken) => {
            "AWS does not accept the access key together with the session_token: it is a user's own (AKIA...), which has none: \
             take the token out, or put in the temporary key that it belongs to"
        }
        None => {
            "AWS does not know the access key, or its secret or session token does not fit it: correct the connector's \
             credentials; a region that the account has not enabled, or one of another partition, answers so, too"
        }
    }
}

/// What an error says of the whole.
fn finding(cloudwatch: &CloudWatch, failure: &Failure, service: &str, permission: &str) -> Finding {
    use CloudWatchReason as Own;
    use HealthStatus::{Degraded, Error as Bad};
    match failure.error {
        Error::NoCredentials => {
            Finding::stated(Degraded, Own::NoCredentials, "the connector has no credentials for AWS yet")
        }
        Error::Expired => Finding::stated(
            Bad,
            Own::CredentialsExpired,
            "the credentials have ended: put new ones into the connector's credentials",
        ),
        Error::Rejected => Finding::passing(Bad, Own::CredentialsInvalid, rejected(cloudwatch.session.keys.misfit())),
        Error::Clock => Finding::passing(
            Bad,
            Own::ClockSkew,
            "AWS takes the requests for too old or too new: set the clock of the node",
        ),
        Error::RoleRefused => Finding::stated(
            Bad,
            Own::RoleRefused,
            "the role may not be assumed: check assumeRole against the role's trust policy and its external id, and give the \
             credentials sts:AssumeRole",
        ),
        Error::TrustRefused => Finding::stated(
            Bad,
            Own::RoleRefused,
            "AWS does not let the connector's ServiceAccount assume the role: check that the role exists, and that its trust \
             policy allows sts:AssumeRoleWithWebIdentity to the cluster's OIDC provider with the ServiceAccount as subject \
             (system:serviceaccount:<namespace>:mcp-<connector>) and the right audience",
        ),
        Error::TokenRefused => Finding::stated(
            Bad,
            Own::IdentityRejected,
            "AWS does not accept the ServiceAccount's token: make an OIDC provider for the cluster's issuer in the role's \
             account, with the audience that the CredentialSource names, and check that AWS can read the issuer's public keys",
        ),
        Error::NoIdentity => Finding::stated(
            Bad,
            Own::IdentityRejected,
            "the node gives this pod no credentials: check the Pod Identity association of the connector's ServiceAccount \
             and its role, or the instance profile of the node",
        ),
        Error::IdentityUnavailable => Finding::passing(
            Bad,
            Own::IdentityUnavailable,
            "whoever gives credentials for the pod's identity can't be asked now: look at the Pod Identity agent of the node, \
             at the hop limit of its metadata service (2 for pods), or whether AWS reaches the cluster's issuer",
        ),
        Error::Denied => Finding::stated(
            Bad,
            Own::PermissionDenied,
            format!("{}, which the connector needs", failure.why_denied(permission)),
        ),
        Error::Throttled(_) | Error::Quota => {
            Finding::passing(Degraded, Reason::RateLimited, "AWS limits calls of this account and region")
        }
        error @ Error::Unavailable(_) => {
            Finding::passing(Bad, Reason::ServerError, format!("{service} does not answer well: {error}"))
        }
        error => {
            let foreign = Own::NotCloudWatch;
            let reason = if let Error::Request(cause) = error { reason_of(cause, foreign) } else { foreign.into() };
            let message = if reason == foreign.into() {
                format!("the address does not answer as {service} ({error}): check endpoint, endpoints and the proxy")
            } else if reason == Reason::Timeout.into() {
                format!("{service} did not answer in time")
            } else {
                format!("{service} can't be asked: {error}")
            };
            Finding::passing(Bad, reason, message)
        }
    }
}
