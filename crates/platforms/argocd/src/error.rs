//! What an agent is told when Argo CD does not give what was asked for: one table, in our own words.

use jiff::Timestamp;

use super::client::{Cause, Error, LoginFault};
use kit::failure::{Way, request_failed};
use outbound::{Redirect, RequestError};
use tools::{ErrorCode, ToolError};

/// What is particular about the way to Argo CD, in words.
pub(super) const WAY: Way = Way {
    title: "Argo CD",
    check_tool: "check_argocd_connector",
    address: "spec.platform.argoCd.url",
    narrower: "ask for a narrower part: one project, one kind, one resource",
};

/// What helps where argocd-server sends its clients to https for ever (argoproj/argo-cd#2953, `newRedirectServer` in
/// `server/server.go`).
pub(super) const TLS_ENDS_BEFORE: &str = "argocd-server wants TLS, and what stands in front of it ends TLS: set server.insecure in argocd-cmd-params-cm, or let the \
     ingress speak HTTPS to its backend";

/// What helps where the cause is not known: it may be anything.
const UNKNOWN: &str = "arguments, the application's spec or Argo CD may be the cause: get_argocd_app_status tells the \
                       application's conditions, and the log of argocd-server has Argo CD's own text";

/// Translates an error that came up while doing something (`read the application web`), for which the account needs a
/// right (`applications, get`).
pub(super) fn to_tool_error(error: Error, doing: &str, right: &str) -> ToolError {
    use ErrorCode as Code;
    let new = |code, message: &str, remedy: &str| ToolError::new(code, message).with_remedy(remedy);
    match error {
        Error::NoCredentials => new(
            Code::CredentialsUnavailable,
            "the connector has no Argo CD credentials",
            "whoever owns the connector can see in the condition CredentialsLoaded of the McpConnector what is missing",
        ),
        Error::TokenRejected { expired } => new(
            Code::CredentialsUnavailable,
            if expired {
                "the connector's Argo CD token has ended"
            } else {
                "Argo CD does not accept the connector's token"
            },
            "whoever owns the connector must put a valid token into its credentials; it is picked up without a restart",
        ),
        Error::LoginRefused(fault) => login_refused(fault),
        Error::LoginPaused(fault, wait) => login_refused(fault).with_retry_after(wait),
        Error::Forbidden(named) => {
            let right = named.as_ref().map_or(right, |named| &named.0);
            ToolError::new(Code::PermissionDenied, format!("the connector's account may not {doing} in Argo CD"))
                .with_remedy(format!("argocd-rbac-cm, or a role of the project, must give it: {right}"))
        }
        Error::ClusterRejects => ToolError::new(
            Code::PlatformError,
            format!("Argo CD can't {doing}: the target cluster does not accept Argo CD's credentials"),
        )
        .with_remedy("whoever runs Argo CD must renew the cluster's credentials; list_argocd_clusters tells its state"),
        Error::SyncWindow => {
            new(Code::Conflict, "a sync window does not permit syncs now", "get_argocd_sync_windows tells when it does")
        }
        Error::NotFound => ToolError::new(Code::NotFound, format!("Argo CD can't {doing}: there is no such object"))
            .with_remedy("check name, project and namespace against list_argocd_apps"),
        Error::NoApplication => {
            ToolError::new(Code::NotFound, format!("Argo CD can't {doing}: there is no such application"))
                .with_argument("app")
                .with_remedy("check name, project and namespace against list_argocd_apps")
        }
        Error::Changed => new(
            Code::Conflict,
            "somebody else changed the object at the same time, so that nothing was changed",
            "look at it again, and then try again",
        ),
        Error::Known(known) => {
            let error = new(known.code, known.message, known.remedy);
            match known.argument {
                Some(argument) => error.with_argument(argument),
                None => error,
            }
        }
        Error::OperationRunning => operation_running(None, None),
        Error::NoOperation => new(Code::Conflict, "no operation is in progress", "there is nothing to end"),
        Error::Deleting => {
            new(Code::Conflict, "the application is being deleted", "nothing can be changed in it any more")
        }
        Error::AutoSync => auto_sync(doing),
        Error::Revision => new(
            Code::InvalidArgument,
            "Argo CD can't resolve the revision",
            "check that the branch, tag, commit or chart version is there; if it is, the repository can't be reached",
        )
        .with_argument("revision"),
        Error::Refused(_) => ToolError::new(
            Code::PlatformError,
            format!("Argo CD refuses to {doing}, for a cause that is not known here"),
        )
        .with_remedy(UNKNOWN),
        Error::RateLimited(wait) => {
            let error = new(Code::RateLimited, "Argo CD limits calls", "make fewer calls");
            match wait {
                Some(wait) => error.with_retry_after(wait),
                None => error,
            }
        }
        Error::Unimplemented => new(
            Code::PlatformError,
            "this version of Argo CD does not have the function",
            "an administrator can say which version runs",
        ),
        Error::Failed(Cause::Unknown) => {
            let message = format!("Argo CD failed to {doing}, for a cause that is not known here");
            ToolError::new(Code::PlatformError, message).with_remedy(UNKNOWN)
        }
        Error::Failed(cause) => {
            ToolError::new(Code::PlatformError, format!("Argo CD failed to {doing}: {}", cause.in_words()))
                .with_remedy("the conditions of the application, or the logs of Argo CD, say more")
        }
        Error::Unavailable(status) => new(
            Code::PlatformUnavailable,
            &format!("Argo CD, or what stands in front of it, is not available ({status})"),
            "try again later; after a change, check first whether it was carried out",
        ),
        Error::Status(status) => {
            ToolError::new(Code::PlatformError, format!("Argo CD answered with the unexpected status {status}"))
        }
        Error::Request(cause @ RequestError::Redirected(Redirect::Itself)) => {
            request_failed(&WAY, cause).with_remedy(format!("whoever runs Argo CD must correct it: {TLS_ENDS_BEFORE}"))
        }
        Error::Request(cause) => request_failed(&WAY, cause),
    }
}

/// An operation is wanted, and nobody carries it out. Argo CD starts no other one then, and can't end this one either.
pub(super) fn not_taken_up() -> ToolError {
    ToolError::new(
        ErrorCode::Conflict,
        "an operation is wanted, and Argo CD's application controller has not taken it up yet: until then none can be started, \
         and this one can't be ended",
    )
    .with_remedy(
        "wait for it with wait_argocd_app; if it stays so, the controller (or the one of this cluster) doesn't work, or \
         does not look after the application's namespace: a person must see to it, or take `operation` out of the \
         Application object",
    )
}

/// Another operation runs, since a time if that is known, and what it waits for.
pub(super) fn operation_running(since: Option<Timestamp>, awaits: Option<&str>) -> ToolError {
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    let awaits = awaits.map(|awaits| format!("; {awaits}")).unwrap_or_default();
    ToolError::new(ErrorCode::Conflict, format!("another operation runs{since}; nothing was started"))
        .with_remedy(format!("wait for it with wait_argocd_app, or end it with terminate_argocd_operation{awaits}"))
}

/// What can't be done while auto-sync is on.
pub(super) fn auto_sync(doing: &str) -> ToolError {
    ToolError::new(ErrorCode::Conflict, format!("it is impossible to {doing} as asked while auto-sync is on"))
        .with_remedy("auto-sync would undo it: change what Git says, or switch auto-sync off with set_argocd_auto_sync")
}

fn login_refused(fault: LoginFault) -> ToolError {
    let message = match fault {
        LoginFault::LockedOut => "logins failed so often that Argo CD may have locked the connector's user",
        _ => "Argo CD refuses the connector's login",
    };
    ToolError::new(ErrorCode::CredentialsUnavailable, message).with_remedy(
        "whoever owns the connector can see the cause in the condition CredentialsAccepted of the McpConnector",
    )
}
