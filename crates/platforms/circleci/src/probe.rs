//! How CircleCI does, and what it thinks of the token: one request that tells who the token's user is, and one for a
//! project that the manifest names.

use tokio::time::Instant;

use super::{
    CircleCi,
    client::{Api, Call, Error},
    session::me,
    text, v3,
    wire::{Me, Project},
};
use api::Reason;
use kit::{Check, CredentialVerdict, HealthStatus, ProbeReport};
use outbound::{AllowanceState, RequestError};

/// Something that isn't well, or deserves a note.
struct Finding {
    status: HealthStatus,
    reason: &'static str,
    message: String,
    /// Whether it may pass by itself.
    passing: bool,
}

/// Asks CircleCI how it does.
pub(super) async fn probe(circleci: &CircleCi, deadline: Instant) -> ProbeReport {
    let begun = Instant::now();
    let (mut checks, mut findings) = (Vec::new(), Vec::new());
    let asked = who(circleci, deadline).await;
    let api = circleci.session.known_api();
    let (verdict, credentials_message, identity) = match asked {
        Ok(login) => {
            let message = format!("CircleCI takes the token for {login}");
            checks.push(check("token", HealthStatus::Ok, &message, begun));
            (CredentialVerdict::Accepted, message, Some(login))
        }
        Err(error) => {
            let (finding, verdict) = unanswered(&error);
            checks.push(check("token", finding.status, &finding.message, begun));
            let message = match verdict {
                CredentialVerdict::Unknown => "not known, because CircleCI gives no answer about the token".to_owned(),
                _ => finding.message.clone(),
            };
            findings.push(finding);
            (verdict, message, None)
        }
    };
    if identity.is_some() {
        if let Some(api) = api {
            let words = if api == Api::V3 { "API v3 is used, and v2 where v3 has nothing" } else { "API v2 is used" };
            checks.push(check("version", HealthStatus::Ok, words, begun));
        }
        let (rate, words) = rate(circleci);
        checks.push(check("rate", rate.as_ref().map_or(HealthStatus::Ok, |finding| finding.status), &words, begun));
        findings.extend(rate);
        let begun = Instant::now();
        if let Some(finding) = project(circleci, deadline).await {
            let status = finding.as_ref().map_or(HealthStatus::Ok, |finding| finding.status);
            let words = finding.as_ref().map_or("the project can be read", |finding| finding.message.as_str());
            checks.push(check("project", status, words, begun));
            findings.extend(finding);
        }
    }
    // The first of the worst: what comes first is nearer to the cause.
    let worst = findings.into_iter().reduce(|worst, other| if other.status > worst.status { other } else { worst });
    let worst = worst.unwrap_or_else(|| well(circleci, api));
    ProbeReport {
        status: worst.status,
        reason: worst.reason.to_owned(),
        message: worst.message,
        passing: worst.passing,
        credentials: verdict,
        credentials_message,
        version: api.map(|api| if api == Api::V3 { "API v3" } else { "API v2" }.to_owned()),
        identity,
        state: None,
        checks,
    }
}

fn check(name: &str, status: HealthStatus, message: &str, begun: Instant) -> Check {
    let latency_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Check { name: name.to_owned(), status, message: message.to_owned(), latency_ms }
}

fn well(circleci: &CircleCi, api: Option<Api>) -> Finding {
    let found_v2 = circleci.session.looks_for_v3() && api == Some(Api::V2);
    let (reason, message) = if found_v2 {
        ("UsingV2", "CircleCI answers and knows the token; it has no API v3, so v2 is used")
    } else {
        (Reason::Healthy.as_str(), "CircleCI answers and knows the token")
    };
    Finding { status: HealthStatus::Ok, reason, message: message.to_owned(), passing: false }
}

/// Who the token's user is.
async fn who(circleci: &CircleCi, deadline: Instant) -> Result<String, Error> {
    let session = &circleci.session;
    let login = match session.known_api() {
        // Where v3 was found and its user is told at once.
        None => match session.look_for_v3(me(Api::V3).probe(), deadline).await? {
            (Api::V3, login) => login,
            (api, _) => Some(session.call::<Me>(&me(api).probe(), deadline).await?.login),
        },
        Some(Api::V3) => {
            let users: v3::List<v3::User> = session.call(&me(Api::V3).probe(), deadline).await?;
            users.data.into_iter().next().map(|user| user.attributes.login)
        }
        Some(api) => Some(session.call::<Me>(&me(api).probe(), deadline).await?.login),
    };
    login.map(|login| text::clean(&login, 128)).ok_or(Error::Request(RequestError::NotJson))
}

/// No answer about the token, or one that refuses it.
fn unanswered(error: &Error) -> (Finding, CredentialVerdict) {
    use CredentialVerdict::{PermissionMissing, Rejected, Unknown};
    use HealthStatus::{Degraded, Error as Bad};
    let found = |status, reason, message: String, passing| Finding { status, reason, message, passing };
    match error {
        Error::NoCredentials => {
            let message = "the connector has no credentials for CircleCI yet".to_owned();
            (found(Degraded, "NoCredentials", message, false), Unknown)
        }
        Error::TokenRejected => {
            let message = "CircleCI refuses the token, which is invalid or was revoked: put a new personal API token into \
                           the connector's credentials";
            (found(Bad, "TokenInvalidOrRevoked", message.to_owned(), false), Rejected)
        }
        Error::Request(RequestError::CredentialForm) => {
            let message = format!("{error}: correct the token in the connector's credentials");
            (found(Bad, "TokenInvalidOrRevoked", message, false), Rejected)
        }
        Error::Forbidden => {
            let message = "CircleCI knows the token and does not let it in: authorise it for single sign-on, or look at \
                           the user's role and at IP ranges";
            (found(Bad, "TokenNotAllowed", message.to_owned(), false), PermissionMissing)
        }
        Error::RateLimited(_) => {
            let message = "CircleCI limits the token's calls, which is no outage: call less often".to_owned();
            (found(Degraded, Reason::RateLimited.as_str(), message, false), Unknown)
        }
        Error::Retired => {
            let message = "CircleCI has retired an endpoint that the connector uses: upgrade the connector".to_owned();
            (found(Bad, "EndpointRetired", message, false), Unknown)
        }
        Error::Failed(status, _) => {
            let message = format!("CircleCI, or what stands in front of it, answers with the fault {status}");
            (found(Bad, "UpstreamError", message, false), Unknown)
        }
        Error::Request(RequestError::Timeout) => {
            (found(Bad, Reason::Timeout.as_str(), format!("CircleCI can't be asked: {error}"), true), Unknown)
        }
        Error::Request(RequestError::TlsInvalid(_)) => {
            (found(Bad, Reason::TlsInvalid.as_str(), format!("CircleCI can't be asked: {error}"), true), Unknown)
        }
        Error::NotFound
        | Error::BadRequest
        | Error::Status(_)
        | Error::Request(
            RequestError::Html
            | RequestError::NotJson
            | RequestError::BodyTooLarge
            | RequestError::Redirected
            | RequestError::RedirectedElsewhere,
        ) => {
            let message = format!(
                "the address does not answer as the CircleCI API ({error}): check url, apiVersion, and proxies with a login"
            );
            (found(Bad, "NotCircleCI", message, true), Unknown)
        }
        _ => (found(Bad, Reason::Unreachable.as_str(), format!("CircleCI can't be asked: {error}"), true), Unknown),
    }
}

/// How much of the rate limit is left, by what the last answers said: what there is to find, and the numbers. They stand in
/// the check alone, because a condition whose message changes is written each time.
fn rate(circleci: &CircleCi) -> (Option<Finding>, String) {
    let Some(allowance) = circleci.session.outbound().pace.allowance else {
        return (None, "CircleCI says nothing of the requests that are left".to_owned());
    };
    let AllowanceState { limit, remaining, resets_in_seconds, low } = allowance;
    let numbers = format!("{remaining} of {limit} requests are left, which are counted anew in {resets_in_seconds} s");
    let finding = low.then(|| Finding {
        status: HealthStatus::Degraded,
        reason: "RateLow",
        message:
            "less than a tenth of the requests that CircleCI allows is left, and what is left is spread over the time \
                  until they are counted anew: call less often"
                .to_owned(),
        passing: false,
    });
    let words = if low { format!("{numbers}: requests are spread over that time") } else { numbers };
    (finding, words)
}

/// Whether the project that the manifest names can be read; nothing if it names none.
async fn project(circleci: &CircleCi, deadline: Instant) -> Option<Option<Finding>> {
    let slug = circleci.projects.probed()?;
    let call = Call::of_project(Api::V2, "project", &slug, &[]).probe();
    let finding = match circleci.session.call::<Project>(&call, deadline).await {
        Ok(_) => None,
        Err(Error::NotFound | Error::Forbidden) => Some(Finding {
            status: HealthStatus::Degraded,
            reason: "ProjectNotVisible",
            message: format!(
                "CircleCI shows the token no project {slug}: check the slug in spec.platform.circleCi.projects, or the \
                 user's membership"
            ),
            passing: false,
        }),
        // The token was just accepted; what goes wrong here is told as it would be there, and is no outage.
        Err(error) => {
            let (finding, _) = unanswered(&error);
            Some(Finding { status: HealthStatus::Degraded, ..finding })
        }
    };
    Some(finding)
}
