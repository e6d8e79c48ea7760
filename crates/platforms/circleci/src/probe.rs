//! How CircleCI does, and what it thinks of the token: one request that tells who the token's user is, and one for a
//! project that the manifest names.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    CircleCi,
    client::{Api, Call, Error},
    session::me,
    text, v3,
    wire::{Me, Project},
};
use api::{Reason, platform::circleci::CircleCiReason};
use kit::{
    CredentialVerdict, HealthStatus, ProbeReport,
    health::{Examination, Finding, reason_of},
};
use outbound::{AllowanceState, RequestError};

/// Asks CircleCI how it does.
pub(super) async fn probe(circleci: &CircleCi, deadline: Instant) -> ProbeReport {
    let begun = Instant::now();
    let mut looking = Examination::new("not known, because CircleCI gives no answer about the token");
    let asked = who(circleci, deadline).await;
    let api = circleci.session.known_api();
    looking.version = api.map(|api| if api == Api::V3 { "API v3" } else { "API v2" }.to_owned());
    match asked {
        Ok(login) => {
            let message = format!("CircleCI takes the token for {login}");
            looking.judge(CredentialVerdict::Accepted, message.clone());
            looking.identity = Some(login);
            looking.well("token", message, begun);
            if let Some(api) = api {
                let words =
                    if api == Api::V3 { "API v3 is used, and v2 where v3 has nothing" } else { "API v2 is used" };
                looking.well("version", words, begun);
            }
            rate(circleci, &mut looking);
            project(circleci, &mut looking, deadline).await;
        }
        Err(error) => {
            let (finding, verdict) = unanswered(&error);
            if verdict != CredentialVerdict::Unknown {
                looking.judge(verdict, finding.message.clone());
            }
            looking.found("token", finding, begun);
        }
    }
    looking.finish(well(circleci, api))
}

fn well(circleci: &CircleCi, api: Option<Api>) -> Finding {
    if circleci.session.looks_for_v3() && api == Some(Api::V2) {
        let message = "CircleCI answers and knows the token; it has no API v3, so v2 is used";
        return Finding::stated(HealthStatus::Ok, CircleCiReason::UsingV2, message);
    }
    Finding::stated(HealthStatus::Ok, Reason::Healthy, "CircleCI answers and knows the token")
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
    login
        .map(|login| text::clean(&login, 128))
        .ok_or_else(|| RequestError::unreadable("data[].attributes.login").into())
}

/// No answer about the token, or one that refuses it.
fn unanswered(error: &Error) -> (Finding, CredentialVerdict) {
    use CredentialVerdict::{PermissionMissing, Rejected, Unknown};
    use HealthStatus::{Degraded, Error as Bad};
    let foreign = CircleCiReason::NotCircleCI;
    match error {
        Error::NoCredentials => {
            let message = "the connector has no credentials for CircleCI yet";
            (Finding::stated(Degraded, CircleCiReason::NoCredentials, message), Unknown)
        }
        Error::TokenRejected => {
            let message = "CircleCI refuses the token, which is invalid or was revoked: put a new personal API token into \
                           the connector's credentials";
            (Finding::stated(Bad, CircleCiReason::TokenInvalidOrRevoked, message), Rejected)
        }
        Error::Request(RequestError::CredentialForm) => {
            let message = format!("{error}: correct the token in the connector's credentials");
            (Finding::stated(Bad, CircleCiReason::TokenInvalidOrRevoked, message), Rejected)
        }
        Error::Forbidden => {
            let message = "CircleCI knows the token and does not let it in: authorise it for single sign-on, or look at \
                           the user's role and at IP ranges";
            (Finding::stated(Bad, CircleCiReason::TokenNotAllowed, message), PermissionMissing)
        }
        Error::RateLimited(_) => {
            let message = "CircleCI limits the token's calls, which is no outage: call less often";
            (Finding::stated(Degraded, Reason::RateLimited, message), Unknown)
        }
        Error::Retired => {
            let message = "CircleCI has retired an endpoint that the connector uses: upgrade the connector";
            (Finding::stated(Bad, CircleCiReason::EndpointRetired, message), Unknown)
        }
        Error::Failed(status, _) | Error::FailedInFront(status) => {
            let message = format!("CircleCI, or what stands in front of it, answers with the fault {status}");
            (Finding::stated(Bad, CircleCiReason::UpstreamError, message), Unknown)
        }
        error => {
            let reason = match error {
                Error::Request(cause) => reason_of(*cause, foreign),
                Error::NotFound | Error::BadRequest | Error::Status(_) => foreign.into(),
                _ => Reason::Unreachable.into(),
            };
            let message = if reason == foreign.into() {
                format!(
                    "the address does not answer as the CircleCI API ({error}): check url, apiVersion, and proxies with a \
                     login"
                )
            } else {
                format!("CircleCI can't be asked: {error}")
            };
            (Finding::passing(Bad, reason, message), Unknown)
        }
    }
}

/// How much of the rate limit is left, by what the last answers said. The numbers stand in the check alone, because a
/// condition whose message changes is written each time.
fn rate(circleci: &CircleCi, looking: &mut Examination) {
    let Some(allowance) = circleci.session.outbound().pace.allowance else {
        return looking.well("rate", "CircleCI says nothing of the requests that are left", Duration::ZERO);
    };
    let AllowanceState { limit, remaining, resets_in_seconds, low } = allowance;
    let numbers = format!("{remaining} of {limit} requests are left, which are counted anew in {resets_in_seconds} s");
    if !low {
        return looking.well("rate", numbers, Duration::ZERO);
    }
    let message = "less than a tenth of the requests that CircleCI allows is left, and what is left is spread over the time \
                   until they are counted anew: call less often";
    let finding = Finding::stated(HealthStatus::Degraded, CircleCiReason::RateLow, message);
    looking.found_in("rate", format!("{numbers}: requests are spread over that time"), finding, Duration::ZERO);
}

/// Whether the project that the manifest names can be read.
async fn project(circleci: &CircleCi, looking: &mut Examination, deadline: Instant) {
    let Some(slug) = circleci.projects.probed() else { return };
    let begun = Instant::now();
    let call = Call::of_project(Api::V2, "project", &slug, &[]).probe();
    let finding = match circleci.session.call::<Project>(&call, deadline).await {
        Ok(_) => return looking.well("project", "the project can be read", begun),
        Err(Error::NotFound | Error::Forbidden) => {
            let message = format!(
                "CircleCI shows the token no project {slug}: check the slug in spec.platform.circleCi.projects, or the \
                 user's membership"
            );
            Finding::stated(HealthStatus::Degraded, CircleCiReason::ProjectNotVisible, message)
        }
        Err(Error::Repository) => {
            let message = format!(
                "GitHub does not show CircleCI the repository of {slug}: look whether it is there by that name, and whether \
                 CircleCI and the token's user may see it at GitHub"
            );
            Finding::stated(HealthStatus::Degraded, CircleCiReason::ProjectNotVisible, message)
        }
        // The token was just accepted; what goes wrong here is told as it would be there, and is no outage.
        Err(error) => unanswered(&error).0.of_a_part(),
    };
    looking.found("project", finding, begun);
}
