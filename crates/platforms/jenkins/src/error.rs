//! What an agent is told when Jenkins does not give what was asked for: one table, in our own words.

use super::client::Error;
use kit::failure::{Way, request_failed};
use tools::{ErrorCode, ToolError};

/// What is particular about the way to Jenkins, in words.
pub(super) const WAY: Way = Way {
    title: "Jenkins",
    check_tool: "check_jenkins_connector",
    address: "spec.platform.jenkins.url",
    narrower: "ask for less: one folder, a smaller limit",
};

/// What to do after a change whose answer is missing.
const CHECK_FIRST: &str = "a read can be tried again; after a change, check first whether it was carried out";

/// Translates an error that came up while doing something (`read the job team/web`).
pub(super) fn to_tool_error(error: Error, doing: &str) -> ToolError {
    use ErrorCode as Code;
    let new = |code, message: &str, remedy: &str| ToolError::new(code, message).with_remedy(remedy);
    match error {
        Error::NoCredentials => new(
            Code::CredentialsUnavailable,
            "the connector has no Jenkins credentials",
            "whoever owns the connector can see in the condition CredentialsLoaded of the McpConnector what is missing",
        ),
        Error::Rejected => new(
            Code::CredentialsUnavailable,
            "Jenkins refused the connector's user or token",
            "the token may have expired: whoever owns the connector must renew its credentials, which are picked up \
             without a restart",
        ),
        Error::Forbidden(missing) => {
            let what = missing.map_or_else(String::new, |permission| format!(": it lacks {permission}"));
            ToolError::new(Code::PermissionDenied, format!("the connector's user may not {doing}{what}"))
                .with_remedy("an administrator of Jenkins can grant it the permission, here or on the folder")
        }
        Error::CrumbRefused => new(
            Code::CredentialsUnavailable,
            "Jenkins refused the crumb twice",
            "whoever owns the connector should give it an API token instead of a password",
        ),
        Error::CrumbDenied => new(
            Code::CredentialsUnavailable,
            "Jenkins gives the connector's user no crumb",
            "whoever owns the connector should give it an API token instead of a password",
        ),
        Error::NotFound => {
            ToolError::new(Code::NotFound, format!("Jenkins can't {doing}: it is not there, or may not be seen"))
                .with_remedy("search_jenkins_jobs tells which jobs there are")
        }
        Error::NotParameterized => new(Code::InvalidArgument, "this job takes no parameters", "leave parameters out")
            .with_argument("parameters"),
        Error::Settled => new(
            Code::Conflict,
            "the input is settled already",
            "list_jenkins_pending_inputs tells for what the build waits now",
        ),
        Error::BadRequest => ToolError::new(Code::InvalidArgument, format!("Jenkins refuses to {doing} as asked"))
            .with_remedy("check the arguments against what is there; Jenkins' own text is not passed on"),
        Error::NotBuildable => {
            new(Code::Conflict, "the job is disabled or can't be built", "somebody with Job/Configure can enable it")
        }
        Error::Unprocessable => {
            ToolError::new(Code::PermissionDenied, format!("Jenkins does not let the connector's user {doing}"))
                .with_remedy("it needs Job/Cancel on what is queued")
        }
        Error::RateLimited(wait) => {
            let error = new(Code::RateLimited, "calls to Jenkins are limited", "make fewer calls");
            match wait {
                Some(wait) => error.with_retry_after(wait),
                None => error,
            }
        }
        Error::Failed(fault) => {
            let id = fault.id.map_or_else(String::new, |id| format!("; its log has the cause under the ID {id}"));
            let remedy = match fault.class {
                Some(_) => {
                    "platform_words is the class of the exception, and the log of Jenkins says more; after a change, check first \
                     whether it was carried out"
                }
                None => "the log of Jenkins says more; after a change, check first whether it was carried out",
            };
            ToolError::new(Code::PlatformError, format!("Jenkins failed internally to {doing}{id}"))
                .with_remedy(remedy)
                .with_platform_words(fault.class)
        }
        Error::Starting => new(Code::PlatformUnavailable, "Jenkins is starting", "try again in about a minute")
            .with_retry_after(std::time::Duration::from_secs(60)),
        Error::Proxy(status) => {
            new(Code::PlatformUnavailable, &format!("a proxy in front of Jenkins gave up ({status})"), CHECK_FIRST)
        }
        Error::Status(status) => {
            ToolError::new(Code::PlatformError, format!("Jenkins answered with the unexpected status {status}"))
        }
        Error::LogGone => ToolError::new(Code::NotFound, format!("Jenkins can't {doing}: it is not there any more"))
            .with_remedy("the log was removed or lost; what else is known of the build can still be asked for"),
        Error::LogUnreadable => {
            ToolError::new(Code::PlatformError, format!("Jenkins can't {doing}: what keeps it fails")).with_remedy(
                "logs may be kept elsewhere by a plugin: whoever runs Jenkins sees the cause in place of the log",
            )
        }
        Error::Request(cause) => request_failed(&WAY, cause),
    }
}
