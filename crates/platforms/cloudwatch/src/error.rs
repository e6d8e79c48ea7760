//! What AWS says when it does not do what was asked, and what an agent is told then: two tables, in our own words. AWS'
//! own texts may hold ARNs, parts of queries and parts of requests, and are never passed on.

use std::{error::Error as StdError, time::Duration};

use aws_sdk_cloudwatchlogs::types::error::MalformedQueryException;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{keys::NoKeys, place::Place, transport::is_throttling};
use kit::failure::{Way, request_failed};
use outbound::RequestError;
use tools::{ErrorCode, ToolError};

/// What is particular about the way to CloudWatch, in words.
pub(super) const WAY: Way = Way {
    title: "CloudWatch",
    check_tool: "check_cloudwatch_connector",
    address: "spec.platform.cloudWatch",
    narrower: "ask for a shorter time, or for fewer entries",
};

/// Why AWS gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// There are no credentials yet.
    #[error("there are no credentials")]
    NoCredentials,
    /// The credentials have ended.
    #[error("the credentials have ended")]
    Expired,
    /// AWS doesn't know the key, or the signature doesn't fit.
    #[error("AWS does not accept the credentials")]
    Rejected,
    /// The time of the request is not AWS' own.
    #[error("the clock here differs from that of AWS by too much")]
    Clock,
    /// The role can't be assumed.
    #[error("the role may not be assumed")]
    RoleRefused,
    /// The role doesn't trust the ServiceAccount, or there is no such role.
    #[error("the role does not trust the connector's ServiceAccount")]
    TrustRefused,
    /// AWS doesn't accept the token of the ServiceAccount.
    #[error("AWS does not accept the token of the connector's ServiceAccount")]
    TokenRefused,
    /// Nobody gives credentials for the pod's identity.
    #[error("nobody gives the pod credentials for its identity")]
    NoIdentity,
    /// Who gives credentials for the pod's identity gives no usable answer now.
    #[error("credentials for the pod's identity can't be fetched now")]
    IdentityUnavailable,
    /// The identity lacks a permission.
    #[error("the identity lacks a permission")]
    Denied,
    /// Too many requests; when to come back, if AWS says so.
    #[error("AWS limits calls")]
    Throttled(Option<Duration>),
    /// As many queries run as may, or another quota is used up.
    #[error("a quota of the account is used up")]
    Quota,
    /// There is no such thing.
    #[error("there is no such object")]
    NotFound,
    /// The place to go on at is not known any more.
    #[error("the cursor is not valid any more")]
    Cursor,
    /// The text of a query is wrong; where, if AWS says so.
    #[error("the text of the query is wrong")]
    Query(Option<(i32, i32)>),
    /// The request is wrong.
    #[error("the request is wrong")]
    BadRequest,
    /// AWS, or what stands in front of it, doesn't work now.
    #[error("the service is not available (status {0})")]
    Unavailable(u16),
    /// An answer that isn't understood.
    #[error("unexpected answer with status {0}")]
    Unexpected(u16),
    /// No usable answer.
    #[error("{0}")]
    Request(RequestError),
}

impl Error {
    /// Whether other keys may help.
    pub(super) const fn is_of_keys(self) -> bool {
        matches!(self, Self::Expired | Self::Rejected)
    }
}

/// Finds out what the SDK's error means: by the causes that are ours, then by the code of AWS, then by the status.
pub(super) fn of_sdk<E>(error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(NoKeys(error)) = current.downcast_ref() {
            return *error;
        }
        if let Some(error) = current.downcast_ref::<RequestError>() {
            return Error::Request(*error);
        }
        if let Some(query) = current.downcast_ref::<MalformedQueryException>() {
            let place = query.query_compile_error().and_then(|error| error.location());
            let place = place.and_then(|place| Some((place.start_char_offset?, place.end_char_offset?)));
            return Error::Query(place);
        }
        cause = current.source();
    }
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let retry_after = || {
        let text = error.raw_response()?.headers().get("retry-after")?;
        text.parse().ok().map(Duration::from_secs)
    };
    match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or_default();
            let code = code.rsplit('#').next().unwrap_or_default();
            match by_code(code, service.err().message().unwrap_or_default()) {
                Some(Error::Throttled(_)) => Error::Throttled(retry_after()),
                Some(error) => error,
                None => by_status(status, retry_after()),
            }
        }
        // An answer with status 200 that can't be read.
        SdkError::ResponseError(_) => by_status(status, retry_after()),
        SdkError::ConstructionFailure(_) => Error::BadRequest,
        _ => Error::Request(RequestError::Interrupted),
    }
}

fn by_status(status: u16, retry_after: Option<Duration>) -> Error {
    match status {
        401 => Error::Rejected,
        403 => Error::Denied,
        429 => Error::Throttled(retry_after),
        500..=599 => Error::Unavailable(status),
        other => Error::Unexpected(other),
    }
}

/// What a code means; nothing for one that is not known. The message decides in one case only: AWS uses one code for a
/// wrong secret and for a wrong clock.
fn by_code(code: &str, message: &str) -> Option<Error> {
    if is_throttling(code) {
        return Some(Error::Throttled(None));
    }
    Some(match code {
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Error::Expired,
        "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" => Error::Clock,
        "SignatureDoesNotMatch" | "InvalidSignatureException" | "InvalidSignature" => {
            let about_time =
                ["Signature expired", "Signature not yet current"].iter().any(|words| message.contains(words));
            if about_time { Error::Clock } else { Error::Rejected }
        }
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "UnrecognizedClient"
        | "InvalidAccessKeyId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "OptInRequired"
        | "SubscriptionRequiredException" => Error::Rejected,
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "NotAuthorized" => Error::Denied,
        "LimitExceeded" | "LimitExceededException" | "LimitExceededFault" | "ServiceQuotaExceededException" => {
            Error::Quota
        }
        "ResourceNotFound" | "ResourceNotFoundException" => Error::NotFound,
        "InvalidNextToken" | "InvalidNextTokenException" => Error::Cursor,
        "MalformedQueryException" => Error::Query(None),
        "InvalidParameterValue"
        | "InvalidParameterValueException"
        | "InvalidParameterException"
        | "InvalidParameterCombination"
        | "InvalidParameterCombinationException"
        | "InvalidParameterInput"
        | "InvalidFormat"
        | "InvalidFormatFault"
        | "InvalidOperationException"
        | "MissingParameter"
        | "MissingRequiredParameterException"
        | "ValidationError"
        | "ValidationException"
        | "ConflictException" => Error::BadRequest,
        "InternalServiceFault" | "InternalServiceError" | "InternalFailure" | "InternalServerException" => {
            Error::Unavailable(500)
        }
        "ServiceUnavailable" | "ServiceUnavailableException" => Error::Unavailable(503),
        _ => return None,
    })
}

/// Words an error that came up while doing something (`read alarms`), for which a permission is needed
/// (`cloudwatch:DescribeAlarms`). To ask in another account or region than one thinks is the commonest cause of finding
/// nothing, so `place` is named then.
pub(super) fn to_tool_error(error: Error, doing: &str, permission: &str, place: &Place) -> ToolError {
    use ErrorCode as Code;
    let new = |code, message: String, remedy: &str| ToolError::new(code, message).with_remedy(remedy);
    let owner =
        "whoever owns the connector can see in the condition CredentialsAccepted of the McpConnector what to do";
    match error {
        Error::NoCredentials => new(
            Code::CredentialsUnavailable,
            "the connector has no AWS credentials".to_owned(),
            "whoever owns the connector can see in the condition CredentialsLoaded of the McpConnector what is missing",
        ),
        Error::Expired => new(
            Code::CredentialsUnavailable,
            "the connector's AWS credentials have expired, and there are no newer ones".to_owned(),
            "whoever owns the connector must put new ones into its credentials; they are picked up without a restart",
        ),
        Error::Rejected => {
            new(Code::CredentialsUnavailable, "AWS does not accept the connector's credentials".to_owned(), owner)
        }
        Error::RoleRefused | Error::TrustRefused => {
            new(Code::CredentialsUnavailable, "the connector may not assume its role in AWS".to_owned(), owner)
        }
        Error::TokenRefused | Error::NoIdentity => {
            new(Code::CredentialsUnavailable, "AWS gives the connector's own identity no credentials".to_owned(), owner)
        }
        Error::IdentityUnavailable => new(
            Code::CredentialsUnavailable,
            "credentials for the connector's own identity can't be fetched now".to_owned(),
            "try again later; whoever owns the connector can see in its conditions what is in the way",
        ),
        Error::Clock => new(
            Code::CredentialsUnavailable,
            "AWS takes the connector's requests for too old or too new".to_owned(),
            "the clock of the node on which the connector runs must be set",
        ),
        Error::Denied => new(
            Code::PermissionDenied,
            format!("the connector's identity may not {doing}: it lacks {permission}"),
            "ask for that permission; trying again will not help",
        ),
        Error::Throttled(wait) => new(
            Code::RateLimited,
            "AWS limits calls of this account and region".to_owned(),
            "wait; then make fewer calls, ask for a shorter time, or for several metrics in one call",
        )
        .with_retry_after(wait.unwrap_or(Duration::from_secs(2))),
        Error::Quota => new(
            Code::RateLimited,
            format!("AWS does not {doing} now, because a quota of the account is used up"),
            "wait until other queries have ended, or delete what is not needed",
        )
        .with_retry_after(Duration::from_secs(10)),
        Error::NotFound => new(
            Code::NotFound,
            format!("AWS can't {doing}: there is no such object in {place}"),
            "list what there is first; what lies elsewhere needs a connector of its own",
        ),
        Error::Cursor => new(
            Code::InvalidArgument,
            "the cursor is not valid any more".to_owned(),
            "start again without it, and with the same arguments for all pages",
        )
        .with_argument("cursor"),
        Error::Query(place) => {
            let place = place.map(|(from, to)| format!(" from character {from} to {to}")).unwrap_or_default();
            new(
                Code::InvalidArgument,
                format!("the text of the query is wrong{place}"),
                "check it against the query language; AWS' own text is not passed on",
            )
            .with_argument("query")
        }
        Error::BadRequest => new(
            Code::InvalidArgument,
            format!("AWS refuses to {doing} as asked"),
            "check the arguments against what there is and against each other; AWS' own text is not passed on",
        ),
        Error::Unavailable(status) => new(
            Code::PlatformUnavailable,
            format!("CloudWatch, or what stands in front of it, is not available ({status})"),
            "try again later; after a change, check first whether it was carried out",
        ),
        Error::Unexpected(status) => new(
            Code::PlatformError,
            format!("the address does not answer as CloudWatch does (status {status})"),
            "whoever owns the McpConnector must check spec.platform.cloudWatch and workload.proxy",
        ),
        Error::Request(cause) => request_failed(&WAY, cause),
    }
}
