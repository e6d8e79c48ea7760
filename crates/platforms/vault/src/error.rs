//! What an agent is told when Vault does not give what was asked for: one table, in our own words.

use std::time::Duration;

use jiff::Timestamp;

use super::client::{Error, Gone, Lack};
use kit::failure::{Way, request_failed, unknown_refusal};
use tools::{ErrorCode, ToolError};
use vault_api::token;

/// What is particular about the way to Vault, in words.
pub(super) const WAY: Way = Way {
    title: "Vault",
    check_tool: "check_vault_connector",
    address: "spec.platform.vault.url",
    narrower: "ask for a narrower part",
};

/// What to do about a refusal whose text is not known. Vault's texts may hold secrets: the secret id of a login, values.
const UNKNOWN_CAUSE: &str = "it may be the arguments, Vault, or a system behind the engine: Vault's own text may hold secrets and is \
                             not passed on; its log, or its audit log, has it";

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
        Error::TokenRejected => {
            ToolError::new(Code::CredentialsUnavailable, "the connector's Vault token is not accepted").with_remedy(format!(
                "{}; whoever owns the connector must put a valid token into its credentials; it is picked up without a restart",
                token::GONE
            ))
        }
        Error::TokenBarred => ToolError::new(
            Code::CredentialsUnavailable,
            format!("Vault refuses the connector's token and does not say why: {}", token::BARRED),
        )
        .with_remedy("whoever administers Vault finds the cause in its log; the token may be right"),
        Error::LoginRefused(_) => login_refused(),
        Error::LoginPaused(_, wait) => login_refused().with_retry_after(*wait),
        Error::Forbidden(lack) => forbidden(*lack, doing, path, capability),
        // Every Vault has these.
        Error::NoRoute if ["sys/internal/ui/mounts", "auth/token/lookup-self"].contains(&path) => {
            ToolError::new(Code::PlatformError, format!("the address leads to no Vault that has the path {path}"))
                .with_remedy(format!(
                    "whoever owns the McpConnector must correct the path in {}, which leaves out /v1, or \
                     spec.platform.vault.namespace",
                    WAY.address
                ))
        }
        Error::NoRoute => ToolError::new(Code::NotFound, format!("no engine of Vault has the path {path}"))
            .with_remedy("list_vault_mounts and list_vault_auth_methods tell what is mounted, and of which type"),
        Error::VersionedEngine => new(
            Code::Conflict,
            "the KV engine has version 2 now, and had version 1 when it was looked at",
            "make the call again",
        ),
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
            new(Code::Conflict, "the lease can't be renewed, or has ended", "lookup_vault_lease tells when it ends")
        }
        Error::BadRequest => {
            unknown_refusal("vault", 400, None, None);
            let message = format!("Vault refuses to {doing} {path} (400), and why is not known here");
            ToolError::new(Code::PlatformError, message).with_remedy(UNKNOWN_CAUSE)
        }
        Error::UnknownRole => ToolError::new(Code::NotFound, format!("Vault has no such role at {path}"))
            .with_remedy("list_vault_roles tells which there are"),
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
        Error::Quota(wait) | Error::Throttled(wait) => {
            let message = match error {
                Error::Quota(_) => "a quota of Vault is reached",
                _ => "something in front of Vault takes no more requests for a while",
            };
            let error = new(Code::RateLimited, message, "make fewer calls");
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
            unknown_refusal("vault", *status, None, None);
            let message = format!("Vault failed to {doing} {path} (status {status}), and why is not known here");
            ToolError::new(Code::PlatformError, message).with_remedy(UNKNOWN_CAUSE)
        }
        Error::Request(cause) => request_failed(&WAY, *cause),
        other => of_a_known_text(other),
    }
}

/// What Vault says of itself and of what is behind it, told by its texts: the same whatever was tried.
fn of_a_known_text(error: &Error) -> ToolError {
    use ErrorCode as Code;
    let new = |code, message: &str, remedy: &str| ToolError::new(code, message).with_remedy(remedy);
    match error {
        Error::Upgrading => new(
            Code::PlatformUnavailable,
            "the KV engine is being upgraded to version 2, which passes by itself",
            "come back later; nothing was changed",
        )
        .with_retry_after(Duration::from_secs(5)),
        Error::InvisibleCharacter => new(
            Code::InvalidArgument,
            "the path holds a character that can't be seen, such as a no-break space, and is refused (400)",
            "write the path by hand; what was copied from a page may hold such characters",
        ),
        Error::BadPath => new(
            Code::InvalidArgument,
            "Vault refuses the path, which holds what it takes for a way out of it",
            "leave .. out of it",
        ),
        Error::UnknownNamespace => new(
            Code::PlatformError,
            "Vault has no such namespace as the connector is set to",
            "whoever owns the McpConnector must correct spec.platform.vault.namespace, or have the namespace made",
        ),
        Error::NamespaceSealed => new(
            Code::PlatformUnavailable,
            "the connector's namespace of Vault is sealed, though Vault itself is not",
            "whoever administers the namespace must unseal it; nothing in it works until then",
        ),
        Error::AwaitsApproval => new(
            Code::PermissionDenied,
            "Vault wants somebody's approval before it does that (a control group), and has done nothing",
            "this connector can't wait for it: whoever administers Vault can do it, or leave the control group out of \
             the policies of the connector's token",
        ),
        Error::LeaseQuota => new(
            Code::PlatformUnavailable,
            "Vault makes no more leases: its lease count quota is reached",
            "waiting doesn't help: leases must end or be revoked, or whoever administers Vault must raise the quota \
             (sys/quotas/lease-count)",
        ),
        Error::RootNamespaceOnly => new(
            Code::PermissionDenied,
            "what the call asks for is in Vault's root namespace only, and the connector is in another one",
            "whoever owns the McpConnector can see spec.platform.vault.namespace",
        ),
        Error::WrappingToken => {
            new(Code::NotFound, "the wrapping token was used, or its time is over", "ask whoever made it for another one")
        }
        Error::BatchToken => new(Code::Conflict, "a batch token can't be renewed or revoked", "it ends by itself"),
        Error::TokenNotSeen => ToolError::new(Code::PlatformError, error.to_string())
            .with_remedy("whoever owns the McpConnector must let it through; the token may be right"),
        Error::RevokeFailed => new(
            Code::PlatformError,
            "the system behind the engine did not take the credential back, so the lease stays and the credential may \
             still work",
            "an administrator must look at the engine's configuration, and at that system; Vault's log has the cause",
        ),
        Error::VersionLost => new(
            Code::PlatformError,
            "Vault knows that version of the secret, and has lost its content",
            "read another version, as get_vault_secret_metadata tells them; Vault's administrator should look at its storage",
        ),
        Error::NoActiveNode => new(
            Code::PlatformUnavailable,
            "Vault has no active node at the moment, as while one is elected",
            "try again in a few seconds",
        )
        .with_retry_after(Duration::from_secs(5)),
        Error::Overloaded => {
            new(Code::PlatformUnavailable, "Vault says that it is overloaded", "make fewer calls, and come back later")
        }
        Error::MountsClosed => ToolError::new(Code::PlatformError, error.to_string()).with_remedy(
            "whoever owns the McpConnector must have the path /v1/sys/internal/ui/mounts let through; the tools need it to \
             know the engines and their versions",
        ),
        other => ToolError::new(Code::PlatformError, other.to_string()).with_remedy(UNKNOWN_CAUSE),
    }
}

/// Vault answers 403 whatever is missing; what is known of it was looked up.
fn forbidden(lack: Lack, doing: &str, path: &str, capability: &str) -> ToolError {
    let terms = "allowed_parameters, denied_parameters or required_parameters, min_wrapping_ttl, or sudo";
    let (message, remedy) = match lack {
        Lack::Capability(capability) => {
            let or_create = if capability == "update" { ", or create where nothing is there yet" } else { "" };
            (
                format!("the connector's identity may not {doing} {path} in Vault"),
                format!("a policy of its token needs: path {path:?} {{ capabilities = [{capability:?}] }}{or_create}"),
            )
        }
        Lack::Terms => (
            format!(
                "Vault refuses to {doing} {path} (403), though the policies of the connector's token grant the capability"
            ),
            format!(
                "a policy may have terms there that the call does not meet ({terms}; in Vault Enterprise Sentinel, control \
                 groups, MFA), or the engine itself refuses: whoever administers Vault must look"
            ),
        ),
        Lack::Unknown => (
            format!("the connector's identity may not {doing} {path} in Vault, and what is missing is not known"),
            format!(
                "a policy of its token may lack: path {path:?} {{ capabilities = [{capability:?}] }}, or create where nothing \
                 is there yet; or have terms that the call does not meet ({terms}); check_vault_capabilities may tell"
            ),
        ),
    };
    ToolError::new(ErrorCode::PermissionDenied, message).with_remedy(remedy)
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
    let when: Option<Timestamp> = gone.deleted_at.as_deref().and_then(|at| at.parse().ok());
    let when = when.map(|at| format!(" at {at}")).unwrap_or_default();
    ToolError::new(ErrorCode::NotFound, format!("version {version} of the secret was deleted{when}"))
        .with_remedy("undelete_vault_secret can restore it; get_vault_secret_metadata tells which versions are left")
}
