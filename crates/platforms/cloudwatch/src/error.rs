//! What AWS says when it does not do what was asked, and what an agent is told then: two tables, in our own words. AWS'
//! own texts may hold ARNs, parts of queries and parts of requests, and are never passed on.

pub(super) mod said;

use std::{error::Error as StdError, time::Duration};

use aws_sdk_cloudwatchlogs::types::error::MalformedQueryException;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use self::said::Said;
use super::{keys::NoKeys, place::Place, transport::is_throttling};
use kit::failure::{Way, request_failed, unknown_refusal};
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
    /// The endpoint doesn't have the operation.
    #[error("the endpoint does not have the operation")]
    NoOperation,
    /// The place to go on at is not known any more.
    #[error("the cursor is not valid any more")]
    Cursor,
    /// The text of a query is wrong; where, if AWS says so.
    #[error("the text of the query is wrong")]
    Query(Option<(i32, i32)>),
    /// The request is wrong; what of it, if AWS says so in a way that is known.
    #[error("the request is wrong")]
    BadRequest(Mistake),
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

/// What is wrong with a request, as AWS' messages tell it apart where its codes don't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// AWS says nothing that is known.
    Unknown,
    /// The log group is of a class for which the operation isn't there.
    Class,
    /// The filter pattern.
    Pattern,
    /// Log groups beside a query that names them in its text.
    GroupsInText,
    /// A query without log groups.
    NoGroups,
    /// An expression over metrics.
    Expression,
    /// A statistic.
    Statistic,
    /// The time lies before the log groups were made, or before what they keep.
    Retention,
    /// A type of alarms that the endpoint doesn't have.
    AlarmType,
}

/// By words of AWS' messages: <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/CommonErrors.html> names
/// the codes; the messages are those that people posted (karpenter-provider-aws #9567, grafana #24975, boto3 #3450,
/// steampipe-plugin-aws #2758, yet-another-cloudwatch-exporter #385). The first line whose words are all there is
/// taken.
const MISTAKES: &[(&[&str], Mistake)] = &[
    (&["log-group-class"], Mistake::Class),
    (&["log class"], Mistake::Class),
    (&["log group class"], Mistake::Class),
    (&["retention setting"], Mistake::Retention),
    (&["log groups creation time"], Mistake::Retention),
    (&["specified in the query string"], Mistake::GroupsInText),
    (&["exactly one of", "loggroup"], Mistake::NoGroups),
    (&["filter pattern"], Mistake::Pattern),
    (&["filterpattern"], Mistake::Pattern),
    (&["in term '"], Mistake::Pattern),
    (&["error in expression"], Mistake::Expression),
    (&["not a valid statistic"], Mistake::Statistic),
    (&["alarmtypes", "enum value set"], Mistake::AlarmType),
];

impl Mistake {
    fn of(message: &str) -> Self {
        let message = message.to_ascii_lowercase();
        let known = MISTAKES.iter().find(|(words, _)| words.iter().all(|word| message.contains(word)));
        known.map_or(Self::Unknown, |(_, mistake)| *mistake)
    }
}

/// Why a call gave nothing, and what AWS itself calls it: its code and the request's id, by which its owner finds it in
/// CloudTrail. Neither holds anything of what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) error: Error,
    code: Option<String>,
    request_id: Option<String>,
    said: Said,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, code: None, request_id: None, said: Said::default() }
    }
}

impl Failure {
    /// Of a request that goes on where another ended: what is wrong with it is the place, because the rest was taken before.
    pub(super) fn of_next_page(self) -> Self {
        match self.error {
            Error::BadRequest(Mistake::Unknown) => Self { error: Error::Cursor, ..self },
            _ => self,
        }
    }

    /// The permission that AWS names; the given one where that says more.
    fn permission<'a>(&'a self, needed: &'a str) -> &'a str {
        self.said.denial.permission.as_deref().filter(|named| !needed.starts_with(named)).unwrap_or(needed)
    }

    /// What keeps a permission from the identity, in words: `the identity lacks ...`.
    pub(super) fn why_denied(&self, needed: &str) -> String {
        let permission = self.permission(needed);
        self.said.denial.cause(permission).unwrap_or_else(|| format!("the identity lacks {permission}"))
    }

    /// What AWS calls it, in brackets; nothing for what is no refusal of AWS.
    fn reference(&self) -> String {
        match (&self.code, &self.request_id) {
            (Some(code), Some(id)) => format!(" (AWS: {code}, request {id})"),
            (Some(code), None) => format!(" (AWS: {code})"),
            _ => String::new(),
        }
    }
}

/// A code or an id without anything that neither of them has; nothing if nothing is left.
fn plain(text: &str) -> Option<String> {
    let plain: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).take(64).collect();
    Some(plain).filter(|plain| !plain.is_empty() && plain.len() == text.len())
}

/// Finds out what the SDK's error means: by the causes that are ours, then by the code of AWS, then by the status.
pub(super) fn of_sdk<E>(error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let response = error.raw_response();
    let header = |name: &str| response.and_then(|response| response.headers().get(name));
    let status = response.map_or(0, |response| response.status().as_u16());
    let retry_after = || header("retry-after")?.parse().ok().map(Duration::from_secs);
    let (mut code, mut said) = (None, Said::default());
    let request_id = header("x-amzn-requestid").and_then(plain);
    let error = match cause_of_ours(error) {
        Some(error) => error,
        None => match error {
            SdkError::ServiceError(service) => {
                let whole = service.err().code().unwrap_or_default();
                let word = whole.rsplit('#').next().unwrap_or_default();
                code = plain(word);
                let message = service.err().message().unwrap_or_default();
                said = Said::of(message);
                let of_query = malformed(service.err()).filter(|_| Mistake::of(message) == Mistake::Unknown);
                let known = of_query.or_else(|| by_code(word, message));
                if matches!(known, None | Some(Error::BadRequest(Mistake::Unknown))) {
                    unknown_refusal("cloudWatch", status, code.as_deref(), request_id.as_deref());
                }
                match known {
                    Some(Error::Throttled(_)) => Error::Throttled(retry_after()),
                    Some(error) => error,
                    None => by_status(status, retry_after()),
                }
            }
            // An answer with status 200 that can't be read.
            SdkError::ResponseError(_) => by_status(status, retry_after()),
            SdkError::ConstructionFailure(_) => Error::BadRequest(Mistake::Unknown),
            _ => Error::Request(RequestError::Interrupted),
        },
    };
    Failure { error, code, request_id, said }
}

/// What was found before the SDK could read an answer.
fn cause_of_ours(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(NoKeys(error)) = current.downcast_ref() {
            return Some(*error);
        }
        if let Some(error) = current.downcast_ref::<RequestError>() {
            return Some(Error::Request(*error));
        }
        cause = current.source();
    }
    None
}

/// The error of a query's text, with the place, if AWS tells it.
fn malformed(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(query) = current.downcast_ref::<MalformedQueryException>() {
            let place = query.query_compile_error().and_then(|error| error.location());
            let place = place.and_then(|place| Some((place.start_char_offset?, place.end_char_offset?)));
            return Some(Error::Query(place));
        }
        cause = current.source();
    }
    None
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

/// What a code means; nothing for one that is not known. The message decides where AWS uses one code for several
/// things: for a wrong secret and a wrong clock, and for what is wrong with a request.
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
        | "RegionDisabledException"
        | "SubscriptionRequiredException" => Error::Rejected,
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "NotAuthorized" => Error::Denied,
        "LimitExceeded" | "LimitExceededException" | "LimitExceededFault" | "ServiceQuotaExceededException" => {
            Error::Quota
        }
        "ResourceNotFound" | "ResourceNotFoundException" => Error::NotFound,
        // What is newer than an endpoint, and what an emulator lacks (boto/boto3 #2359).
        "UnknownOperationException"
        | "UnknownOperation"
        | "InvalidAction"
        | "NotImplemented"
        | "UnsupportedOperation"
        | "UnsupportedOperationException" => Error::NoOperation,
        "InvalidNextToken" | "InvalidNextTokenException" => Error::Cursor,
        "MalformedQueryException" => match Mistake::of(message) {
            Mistake::Unknown => Error::Query(None),
            mistake => Error::BadRequest(mistake),
        },
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
        | "ConflictException" => Error::BadRequest(Mistake::of(message)),
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
pub(super) fn to_tool_error(failure: &Failure, doing: &str, permission: &str, place: &Place) -> ToolError {
    let Failure { error, said, .. } = failure;
    let permission = failure.permission(permission);
    let mut told = in_words(*error, doing, permission, place);
    match error {
        Error::Denied => said.denial.tell(&mut told, doing, permission),
        Error::NotFound => said.tell_missing(&mut told, doing, place),
        Error::BadRequest(mistake) => said.tell_mistake(*mistake, &mut told, doing),
        // What has a code is AWS' own answer.
        Error::Unexpected(status) if failure.code.is_some() => {
            told.message = format!("AWS refuses to {doing} in a way that this version does not know (status {status})");
            told.remedy = Some("whoever owns the connector can look the request up by its id".to_owned());
        }
        _ => {}
    }
    told.message.push_str(&failure.reference());
    told
}

fn in_words(error: Error, doing: &str, permission: &str, place: &Place) -> ToolError {
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
        Error::Rejected => new(
            Code::CredentialsUnavailable,
            "AWS does not accept the connector's credentials".to_owned(),
            "whoever owns the connector can see in the condition CredentialsAccepted of the McpConnector what to do; a region \
             that the account has not enabled, or one of another partition, answers so, too",
        ),
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
            format!(
                "the connector's identity may not {doing}: it lacks {permission}, or has it for other resources only"
            ),
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
        Error::NoOperation => new(
            Code::PlatformError,
            format!("the endpoint can't {doing}: it does not have the operation"),
            "other tools may work; a region or partition gets new operations later than others, and emulators lack some",
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
        Error::BadRequest(mistake) => of_mistake(mistake, doing),
        Error::Unavailable(status) => new(
            Code::PlatformUnavailable,
            format!("CloudWatch, or what stands in front of it, is not available ({status})"),
            "try again later; after a change, check first whether it was carried out",
        ),
        Error::Unexpected(status @ 200..=299) => new(
            Code::PlatformError,
            format!("CloudWatch answered something that can't be read (status {status})"),
            "ask for a shorter time or for fewer entries, which may leave out what can't be read; other tools may work",
        ),
        Error::Unexpected(status) => new(
            Code::PlatformError,
            format!("the address does not answer as CloudWatch does (status {status})"),
            "whoever owns the McpConnector must check spec.platform.cloudWatch and workload.proxy",
        ),
        Error::Request(cause) => request_failed(&WAY, cause),
    }
}

/// What AWS has against a request, with the argument that it is about where all tools that can meet it call it the same.
fn of_mistake(mistake: Mistake, doing: &str) -> ToolError {
    let new = |message: String, remedy: &str| ToolError::invalid_argument(message).with_remedy(remedy);
    let refuses = format!("AWS refuses to {doing}");
    match mistake {
        Mistake::Unknown => new(
            format!("{refuses} as asked"),
            "check the arguments against what there is and against each other; whoever owns the connector can look the \
             request up by its id",
        ),
        Mistake::Class => new(
            format!("{refuses}: the log group is of a class that can't do this"),
            "query_cloudwatch_logs reads groups of the class INFREQUENT_ACCESS; list_cloudwatch_log_groups tells the class",
        ),
        Mistake::Pattern => new(
            format!("{refuses}: the filter pattern is wrong"),
            "put a term that has other characters than letters, digits and _ into double quotes; JSON is matched as \
             { $.field = \"value\" }",
        )
        .with_argument("pattern"),
        Mistake::GroupsInText => new(
            format!("{refuses}: the text itself must name the log groups"),
            "SQL names them in its FROM: leave groups out",
        )
        .with_argument("groups"),
        Mistake::NoGroups => new(
            format!("{refuses}: log groups must be named in one way, by groups or in the text itself (SOURCE)"),
            "name them in one of both; list_cloudwatch_log_groups tells the names",
        )
        .with_argument("groups"),
        Mistake::Expression => new(
            format!("{refuses}: an expression is wrong"),
            "check each expression for itself: ids that it refers to must be among the queries",
        )
        .with_argument("queries"),
        Mistake::Statistic => new(
            format!("{refuses}: it has no such statistic"),
            "give Average, Sum, Minimum, Maximum, SampleCount, or one such as p99, tm90 or PR(0:500)",
        )
        .with_argument("stat"),
        Mistake::Retention => new(
            format!("{refuses}: the time lies before the log groups were made, or before what they keep"),
            "ask for a later time; list_cloudwatch_log_groups tells the retention",
        )
        .with_argument("since"),
        Mistake::AlarmType => new(
            format!("{refuses}: this endpoint does not have alarms of a type that was asked for"),
            "leave the type log out",
        )
        .with_argument("types"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_saw_aws_say_is_told_apart() {
        for (message, expected) in [
            (
                "The log group /x is of log-group-class INFREQUENT_ACCESS. FilterLogEvents is not supported for this log class.",
                Mistake::Class,
            ),
            ("Invalid character(s) in term '-'", Mistake::Pattern),
            ("Invalid filter pattern", Mistake::Pattern),
            ("If a filter pattern starts with '{' it must end with '}'", Mistake::Pattern),
            ("This operation is only supported on the Standard log class.", Mistake::Class),
            ("Log group names must be specified in the query string for SQL", Mistake::GroupsInText),
            ("Exactly one of logGroupName, logGroupNames, or logGroupIdentifiers must be specified", Mistake::NoGroups),
            ("Error in expression 'e1': Unsupported operand type(s) for +", Mistake::Expression),
            (
                "The value x for parameter MetricDataQueries.member.2.MetricStat.Stat is not a valid statistic.",
                Mistake::Statistic,
            ),
            (
                "Query's end date and time is either before the log groups creation time or exceeds the log groups log \
                 retention settings",
                Mistake::Retention,
            ),
            (
                "Value '[LogAlarm]' at 'alarmTypes' failed to satisfy constraint: Member must satisfy enum value set: [A]",
                Mistake::AlarmType,
            ),
            ("planted", Mistake::Unknown),
        ] {
            assert_eq!(Mistake::of(message), expected, "{message}");
        }
    }

    #[test]
    fn a_code_that_is_none_is_not_told() {
        assert_eq!(plain("ValidationError").as_deref(), Some("ValidationError"));
        assert_eq!((plain("arn:aws:iam::1:user/x"), plain("")), (None, None));
    }
}
