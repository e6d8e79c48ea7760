//! What an agent is told when Vault does not give what was asked for: one table, in our own words.

use super::client::{Error, Gone};
use kit::failure::{Way, request_failed};
use tools::{ErrorCode, ToolError};

/// What is particular about the way to Vault, in words.
pub(super) const WAY: Way = Way {
    title: "Vault",
    check_tool: "check_vault_connector",
    address: "spec.platform.vault.url",
    narrower: "ask for a narrower part",
};

/// Translates an error that came up while doing something (`read`) with an API path (`secret/data/apps/web`), for which
/// a policy needs a capability (`read`).
pub(super) fn to_tool_error(error: &Error, doing: &str, path: &str, capability: &str) -> ToolError {
    use ErrorCode as Code;
    let new = |code, message: &str, remedy: &str| ToolError::new(code, message).with_remedy(remedy);
    match error {
        Error::NoToken => new(
            Code::CredentialsUnavailable,
            "the connector has no Vault credentials",
            "whoever owns the connector can see in the condition CredentialsLoaded of the McpConnector what is missing",
        ),
        Error::TokenRejected => new(
            Code::CredentialsUnavailable,
            "the connector's Vault token is not accepted",
            "whoever owns the connector must put a valid token into its credentials; it is picked up without a restart",
        ),
        Error::LoginRefused(_) => login_refused(),
        Error::LoginPaused(_, wait) => login_refused().with_retry_after(*wait),
        Error::Forbidden => {
            ToolError::new(Code::PermissionDenied, format!("the connector's identity may not {doing} {path} in Vault"))
                .with_remedy(format!(
                    "a policy of its token needs: path {path:?} {{ capabilities = [{capability:?}] }}"
                ))
        }
        Error::NotFound => ToolError::new(Code::NotFound, format!("Vault has nothing at {path}"))
            .with_remedy("list what is there; leave data/ and metadata/ out of paths, the tools add them"),
        Error::VersionGone(gone) => version_gone(gone),
        Error::CasMismatch => new(
            Code::Conflict,
            "the secret has changed since the version that the call expects",
            "read its metadata again, and decide anew",
        ),
        Error::CasRequired => new(
            Code::Conflict,
            "this secret or mount demands check-and-set",
            "pass cas: the current version as get_vault_secret_metadata tells it, or 0 for a new secret",
        ),
        Error::UnknownLease => new(Code::NotFound, "Vault knows no such lease, or it has ended", "check the lease id"),
        Error::LeaseNotRenewable => {
            new(Code::Conflict, "the lease can't be renewed", "lookup_vault_lease tells when it ends")
        }
        Error::BadRequest => new(
            Code::InvalidArgument,
            "Vault calls the request invalid",
            "check the arguments against what is there; Vault's own text is not passed on, as it may hold secrets",
        ),
        Error::Unsupported => ToolError::new(Code::InvalidArgument, format!("{path} does not support to {doing}")),
        Error::TooLarge => new(Code::InvalidArgument, "Vault calls the request too large", "write less at a time"),
        Error::Locked => new(
            Code::PlatformUnavailable,
            "Vault has locked the identity or the path for a while",
            "come back later; an administrator can lift the lock",
        ),
        Error::NotReplicated => new(
            Code::PlatformUnavailable,
            "this Vault node has not replicated the newest state yet",
            "try again in a moment",
        )
        .with_retry_after(std::time::Duration::from_secs(1)),
        Error::Quota(wait) => {
            let error = new(Code::RateLimited, "a quota of Vault is reached", "make fewer calls");
            match wait {
                Some(wait) => error.with_retry_after(*wait),
                None => error,
            }
        }
        Error::DrSecondary => new(
            Code::PlatformUnavailable,
            "this Vault is a disaster recovery secondary, which serves no clients",
            "whoever owns the McpConnector must point spec.platform.vault.url at the primary",
        ),
        Error::NotInitialized => {
            new(Code::PlatformUnavailable, "Vault is not initialised", "an administrator must initialise it")
        }
        Error::Sealed => new(
            Code::PlatformUnavailable,
            "Vault is sealed",
            "an administrator must unseal it; nothing works until then",
        ),
        Error::Maintenance => {
            new(Code::PlatformUnavailable, "Vault says that it is being maintained (503)", "try again later")
        }
        Error::BackendFailed => new(
            Code::PlatformError,
            "a system behind this secret engine failed",
            "try once more; then an administrator must look at the engine's configuration",
        ),
        Error::Status(status) => {
            ToolError::new(Code::PlatformError, format!("Vault answered with the unexpected status {status}"))
        }
        Error::Request(cause) => request_failed(&WAY, *cause),
    }
}

fn login_refused() -> ToolError {
    ToolError::new(ErrorCode::CredentialsUnavailable, "Vault refuses the connector's login").with_remedy(
        "whoever owns the connector can see the cause in the condition CredentialsAccepted of the McpConnector",
    )
}

fn version_gone(gone: &Gone) -> ToolError {
    let version = gone.version;
    if gone.destroyed {
        return ToolError::new(ErrorCode::NotFound, format!("version {version} of the secret is destroyed"))
            .with_remedy("it can't be restored; get_vault_secret_metadata tells which versions are left");
    }
    let when = gone.deleted_at.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
    ToolError::new(ErrorCode::NotFound, format!("version {version} of the secret was deleted{when}"))
        .with_remedy("undelete_vault_secret can restore it; get_vault_secret_metadata tells which versions are left")
}
