//! What an agent is told when CircleCI does not give what was asked for: one table, in our own words.

use super::client::Error;
use kit::failure::{Way, request_failed};
use tools::{ErrorCode, ToolError};

/// What is particular about the way to CircleCI, in words.
pub(super) const WAY: Way = Way {
    title: "CircleCI",
    check_tool: "check_circleci_connector",
    address: "spec.platform.circleCi.url",
    narrower: "ask for a narrower part, or open it in CircleCI's web site",
};

/// What a call was about, which is what 404 means.
#[derive(Clone, Copy, Debug)]
pub(super) enum About<'a> {
    /// A project, by its slug.
    Project(&'a str),
    /// A run, workflow, job or other thing that has an id: its kind.
    Id(&'a str),
    /// A job, by its number.
    JobNumber(u64),
    /// A job, by its id. Of one that never ran there is no description (CircleCI-Public/circleci-cli 7c87a076).
    JobId,
    /// What the token's user has.
    Account,
}

/// Translates an error that came up while doing something (`read the workflow`).
pub(super) fn to_tool_error(error: &Error, doing: &str, about: About<'_>) -> ToolError {
    use ErrorCode as Code;
    let new = |code, message: &str, remedy: &str| ToolError::new(code, message).with_remedy(remedy);
    // The slug may be the platform's own form of the one that was given, and is told as such.
    let slug = match (error, about) {
        (Error::Forbidden | Error::NotFound, About::Project(slug)) => Some(slug),
        _ => None,
    };
    let told = match error {
        Error::NoCredentials => new(
            Code::CredentialsUnavailable,
            "the connector has no CircleCI credentials",
            "whoever owns the connector can see in the condition CredentialsLoaded of the McpConnector what is missing",
        ),
        Error::TokenRejected => new(
            Code::CredentialsUnavailable,
            "CircleCI refused the connector's token (invalid or revoked)",
            "whoever owns the connector must put a valid personal API token into its credentials; it is picked up without a \
             restart",
        ),
        Error::Forbidden => {
            ToolError::new(Code::PermissionDenied, format!("the token's user may not {doing}")).with_remedy(
                "whoever owns the connector can look at the user's role, at single sign-on, which must be authorised for the \
                 token, and at IP ranges",
            )
        }
        Error::NotFound => match about {
            About::Project(_) => new(
                Code::NotFound,
                "there is no such project, or the connector's token can't see it",
                "a slug is provider/organization/project; list_circleci_projects tells those that are followed",
            ),
            About::Id(kind) => ToolError::new(Code::NotFound, format!("CircleCI knows no {kind} with that id or name"))
                .with_remedy("ids of runs, workflows and jobs differ: each is found from the level above"),
            About::JobNumber(number) => ToolError::new(
                Code::NotFound,
                format!(
                    "CircleCI describes no job {number}: there is none, or it is an approval, which has a number only"
                ),
            )
            .with_remedy("get_circleci_workflow tells approvals, and get_circleci_workflow_jobs the jobs"),
            About::JobId => new(
                Code::NotFound,
                "CircleCI describes no job with that id: there is none, it never ran, or the token can't see it",
                "get_circleci_workflow_jobs tells the jobs of a workflow, and their states",
            ),
            About::Account => new(
                Code::PlatformError,
                "this CircleCI does not have the function",
                "whoever owns the connector can look at spec.platform.circleCi.url and apiVersion",
            ),
        },
        Error::Repository => new(
            Code::NotFound,
            "GitHub does not show CircleCI the repository: GitHub's own refusal is what CircleCI answers",
            "somebody can look whether the repository is there by that name (moved, renamed or deleted), and whether CircleCI, \
             and the token's user there, may still see it at GitHub, single sign-on included",
        ),
        Error::UndeclaredParameter(names) => undeclared(names, None),
        Error::ParameterType(names) => {
            other_type(names).with_remedy("pass strings, numbers and true or false as what they are")
        }
        Error::NoSuchBranch => ToolError::invalid_argument("the repository has no such branch")
            .with_argument("branch")
            .with_remedy("a pull request of a fork is run on pull/<number>/head; its runs have pull/<number>"),
        Error::Page => new(
            Code::PlatformError,
            "CircleCI refuses the page of a list that was asked for",
            "ask again without cursor: the list may have changed meanwhile",
        ),
        Error::BadRequest => ToolError::new(Code::InvalidArgument, format!("CircleCI refuses to {doing} as asked"))
            .with_remedy("check the arguments against what is there; CircleCI's own text is not passed on"),
        Error::NotEnded => new(
            Code::Conflict,
            "CircleCI says that it is not in a terminal state, which it must be in to be run again: it has not ended",
            "wait until it has ended, or cancel it: that takes CircleCI a moment, too",
        ),
        Error::Conflict => new(
            Code::Conflict,
            "CircleCI says that it is in another state by now",
            "read the state again, and decide anew",
        ),
        Error::Retired => new(
            Code::PlatformError,
            "this endpoint was retired by CircleCI",
            "whoever owns the connector must upgrade it",
        ),
        Error::Unprocessable => new(
            Code::InvalidArgument,
            "the request was refused: CircleCI can't work with it",
            "check the slug's form and the values",
        ),
        Error::RateLimited(wait) => {
            let error =
                new(Code::RateLimited, "CircleCI limits the token's calls", "make fewer calls, and come back later");
            match wait {
                Some(wait) => error.with_retry_after(*wait),
                None => error,
            }
        }
        Error::Failed(status @ (502..=504), _) => new(
            Code::PlatformUnavailable,
            &format!("CircleCI, or what stands in front of it, is not available ({status})"),
            "try again later; after a change, check first whether it was carried out",
        ),
        Error::Failed(status, id) => {
            let id = id.as_ref().map(|id| format!(", error id {id}")).unwrap_or_default();
            new(
                Code::PlatformError,
                &format!("CircleCI had an internal error (status {status}{id})"),
                "a read can be tried again; after a change, check first whether it was carried out",
            )
        }
        Error::FailedInFront(status @ (502..=504)) => new(
            Code::PlatformUnavailable,
            &format!("CircleCI is not available: something in front of it answers with status {status}"),
            "try again later; after a change, check first whether it was carried out",
        ),
        Error::FailedInFront(status) => new(
            Code::PlatformError,
            &format!("something in front of CircleCI answers with status {status}, and not CircleCI itself"),
            "a read can be tried again; after a change, check first whether it was carried out",
        ),
        Error::Status(status) => {
            ToolError::new(Code::PlatformError, format!("CircleCI answered with the unexpected status {status}"))
        }
        Error::LinkElsewhere(host) => new(
            Code::PermissionDenied,
            "CircleCI keeps it on a host from which the connector may not read",
            "platform_words is that host, if there is one: whoever owns the connector can add it to \
             spec.platform.circleCi.downloadHosts, if CircleCI's files are kept there",
        )
        .with_platform_words(host.clone()),
        Error::LinkUnencrypted(host) => new(
            Code::PermissionDenied,
            "CircleCI's link leads to a host without TLS, and is not followed",
            "whoever runs that host, which is in platform_words, can let CircleCI give links that begin with https://",
        )
        .with_platform_words([host]),
        Error::LinkRefused => new(
            Code::PlatformError,
            "the host that keeps it refuses CircleCI's link, as it does when the link has ended",
            "try again, for a new link; a proxy or a firewall before that host is another cause",
        ),
        Error::LinkGone => new(
            Code::NotFound,
            "it is kept no more: CircleCI has a link to it, and nothing is there",
            "CircleCI keeps output and artifacts for a limited time",
        ),
        Error::Compressed => new(
            Code::PlatformError,
            "CircleCI keeps it compressed in a way that the connector does not read",
            "open it in CircleCI's web site",
        ),
        Error::Request(cause) => request_failed(&WAY, *cause),
    };
    match slug {
        Some(slug) => told.with_platform_words([slug]),
        None => told,
    }
}

/// Parameters that the configuration does not declare, and those that it does, where that could be found out.
pub(super) fn undeclared(names: &[String], declared: Option<&[String]>) -> ToolError {
    let message = if names.is_empty() {
        "the configuration does not declare one of the parameters".to_owned()
    } else {
        format!("the configuration declares no parameter {}", in_words(names))
    };
    let remedy = match declared {
        Some([]) => "it declares none; parameters are not environment variables",
        Some(_) => "platform_words are those that are declared",
        None => {
            "declare it below parameters in the configuration, or leave it out; parameters are not environment variables"
        }
    };
    let error = ToolError::invalid_argument(message).with_argument("parameters").with_remedy(remedy);
    error.with_platform_words(declared.unwrap_or_default())
}

/// Parameters whose values are not of the types that are declared, which are these.
pub(super) fn other_types(wanted: &[(String, String)]) -> ToolError {
    let names: Vec<String> = wanted.iter().map(|(name, _)| name.clone()).collect();
    let types: Vec<String> = wanted.iter().map(|(name, declared)| format!("{name} is {declared}")).collect();
    let remedy = "platform_words are the types that the newest run's configuration declares";
    other_type(&names).with_remedy(remedy).with_platform_words(types)
}

fn other_type(names: &[String]) -> ToolError {
    ToolError::invalid_argument(format!("the configuration declares another type for {}", in_words(names)))
        .with_argument("parameters")
}

fn in_words(names: &[String]) -> String {
    if names.is_empty() { "a parameter".to_owned() } else { names.join(", ") }
}
