//! `lookup_vault_lease`, `renew_vault_lease` and `revoke_vault_lease`: credentials that Vault has given to others, by
//! their lease.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{failed, mutation, read};
use crate::{
    Vault,
    client::{Call, Error},
    paths::segments,
    wire,
};
use outbound::RequestError;
use tools::{CallContext, Preview, ToolDeclaration, ToolEntry, ToolError};

/// Longest time that a renewal may ask for: 32 days, the default of Vault's longest lease.
const MAX_INCREMENT: u64 = 32 * 24 * 3_600;

const LOOKUP: ToolDeclaration = ToolDeclaration::read(
    "lookup_vault_lease",
    "A lease of Vault",
    "Tells when a lease was issued, when it ends and whether it can be renewed. Never the credential.",
)
.polled();

const RENEW: ToolDeclaration = ToolDeclaration::mutate(
    "renew_vault_lease",
    "Renew a lease",
    "Renews a lease, so that the credential behind it lives longer. Vault may give less time than asked \
                  for.",
)
.idempotent();

const REVOKE: ToolDeclaration = ToolDeclaration::destroy(
    "revoke_vault_lease",
    "Revoke a lease",
    "Revokes a lease: the credential behind it stops working at once, for whoever uses it.",
)
.idempotent();

/// Arguments of `lookup_vault_lease` and `revoke_vault_lease`.
#[derive(Deserialize, JsonSchema)]
struct LeaseInput {
    /// Id of the lease, such as `database/creds/app/7b1c...`.
    #[schemars(length(min = 1, max = 512))]
    lease_id: String,
}

/// Arguments of `renew_vault_lease`.
#[derive(Deserialize, JsonSchema)]
struct RenewInput {
    /// Id of the lease, such as `database/creds/app/7b1c...`.
    #[schemars(length(min = 1, max = 512))]
    lease_id: String,
    /// Seconds from now that it should have, 1 to 2764800. Left out, as many as at first.
    #[serde(default)]
    #[schemars(range(min = 1, max = 2_764_800))]
    increment_seconds: Option<u64>,
}

/// A lease.
#[derive(Serialize, JsonSchema)]
struct LeaseState {
    /// Its id.
    lease_id: String,
    /// When it was issued (RFC 3339).
    issued_at: Option<String>,
    /// When it ends (RFC 3339).
    expires_at: Option<String>,
    /// When it was renewed last (RFC 3339).
    renewed_at: Option<String>,
    /// Seconds left.
    ttl_seconds: u64,
    /// Whether it can be renewed.
    renewable: bool,
    /// What to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<&'static str>,
}

/// A renewed lease.
#[derive(Serialize, JsonSchema)]
struct Renewed {
    /// Its id.
    lease_id: String,
    /// Seconds left now.
    ttl_seconds: u64,
    /// Whether it can be renewed again.
    renewable: bool,
    /// What to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<&'static str>,
}

/// A revoked lease.
#[derive(Serialize, JsonSchema)]
struct Revoked {
    /// Its id.
    lease_id: String,
    /// Always true.
    revoked: bool,
}

pub(super) fn entries(vault: &Arc<Vault>) -> Vec<ToolEntry> {
    vec![
        read(vault, LOOKUP, lookup),
        mutation(vault, RENEW, preview_renewal, renew),
        mutation(vault, REVOKE, preview_revocation, revoke),
    ]
}

/// Checks a lease's id. Leases of logins are not for these tools: behind them are tokens, the connector's own among
/// them.
fn checked(lease_id: &str) -> Result<String, ToolError> {
    let path = segments("lease_id", lease_id)?;
    if path.len() < 2 {
        return Err(ToolError::invalid_argument("lease_id is not the id of a lease").with_argument("lease_id"));
    }
    if path.first().is_some_and(|first| first == "auth") {
        return Err(ToolError::invalid_argument("the lease is that of a login, which these tools don't touch")
            .with_argument("lease_id"));
    }
    Ok(path.join("/"))
}

async fn fetch(vault: &Vault, lease_id: &str, context: &CallContext) -> Result<LeaseState, ToolError> {
    let call = Call::ask(["sys", "leases", "lookup"], json!({ "lease_id": lease_id }));
    let lease: wire::Lease = vault.session.data(&call, context.deadline).await.map_err(failed(
        "look up leases at",
        "sys/leases/lookup",
        "update",
    ))?;
    let hint = match (&lease.revoke_error, lease.ttl) {
        (Some(_), _) => Some("Vault failed to take the credential back when its time was over: it may still work"),
        (None, ..0) => {
            Some("its time is over, and it is still there: Vault has not taken the credential back yet, or failed to")
        }
        _ => None,
    };
    Ok(LeaseState {
        lease_id: lease_id.to_owned(),
        issued_at: lease.issue_time,
        expires_at: lease.expire_time,
        renewed_at: lease.last_renewal,
        ttl_seconds: u64::try_from(lease.ttl).unwrap_or_default(),
        renewable: lease.renewable,
        hints: hint.into_iter().collect(),
    })
}

async fn lookup(vault: Arc<Vault>, input: LeaseInput, context: CallContext) -> Result<LeaseState, ToolError> {
    fetch(&vault, &checked(&input.lease_id)?, &context).await
}

fn increment(input: &RenewInput) -> Result<Option<u64>, ToolError> {
    match input.increment_seconds {
        Some(seconds) if !(1..=MAX_INCREMENT).contains(&seconds) => {
            Err(ToolError::invalid_argument(format!("increment_seconds must be from 1 to {MAX_INCREMENT}"))
                .with_argument("increment_seconds"))
        }
        other => Ok(other),
    }
}

async fn preview_renewal(vault: Arc<Vault>, input: RenewInput, context: CallContext) -> Result<Preview, ToolError> {
    let wanted = increment(&input)?;
    let lease = fetch(&vault, &checked(&input.lease_id)?, &context).await?;
    if !lease.renewable {
        return Err(failed("renew", "sys/leases/renew", "update")(Error::LeaseNotRenewable));
    }
    let time = wanted.map_or_else(|| "its first time again".to_owned(), |seconds| format!("{seconds} s from now"));
    // What is asked for counts from now, and is no addition (`CalculateTTL` in `sdk/framework/lease.go`).
    let shortens = if wanted.is_some_and(|seconds| seconds < lease.ttl_seconds) {
        ", which makes it end earlier than now"
    } else {
        ""
    };
    Ok(Preview {
        would: format!("renew the lease {} for {time}{shortens}", lease.lease_id),
        // The time left changes by itself and is no part of the state.
        state: json!({ "lease_id": lease.lease_id, "expires_at": lease.expires_at }),
    })
}

async fn renew(vault: Arc<Vault>, input: RenewInput, context: CallContext) -> Result<Renewed, ToolError> {
    let wanted = increment(&input)?;
    let lease_id = checked(&input.lease_id)?;
    let mut body = json!({ "lease_id": lease_id });
    if let (Some(seconds), Some(fields)) = (wanted, body.as_object_mut()) {
        fields.insert("increment".to_owned(), json!(seconds));
    }
    let failed = failed("renew leases at", "sys/leases/renew", "update");
    let renewed: Option<wire::RenewedLease> =
        vault.session.call(&Call::post(["sys", "leases", "renew"], body), context.deadline).await.map_err(&failed)?;
    let renewed = renewed.ok_or_else(|| failed(Error::Request(RequestError::unreadable("lease_id"))))?;
    // Vault caps the time, and says so beside a success.
    let is_capped = renewed.warnings.iter().flatten().any(|text| text.contains("exceeded the effective max_ttl"));
    let is_less = wanted.is_some_and(|seconds| renewed.lease_duration < seconds);
    let hint = "Vault gave less time than was asked for: beyond its longest time (max_ttl) no renewal keeps a lease";
    Ok(Renewed {
        lease_id,
        ttl_seconds: renewed.lease_duration,
        renewable: renewed.renewable,
        hints: (is_capped || is_less).then_some(hint).into_iter().collect(),
    })
}

async fn preview_revocation(vault: Arc<Vault>, input: LeaseInput, context: CallContext) -> Result<Preview, ToolError> {
    let lease = fetch(&vault, &checked(&input.lease_id)?, &context).await?;
    Ok(Preview {
        would: format!("revoke the lease {}; the credential behind it stops working at once", lease.lease_id),
        state: json!({ "lease_id": lease.lease_id, "issued_at": lease.issued_at, "expires_at": lease.expires_at }),
    })
}

async fn revoke(vault: Arc<Vault>, input: LeaseInput, context: CallContext) -> Result<Revoked, ToolError> {
    let lease_id = checked(&input.lease_id)?;
    // Vault answers 204 for a lease that it doesn't know, so that is asked first. `sync` waits until it is done.
    fetch(&vault, &lease_id, &context).await?;
    let call = Call::post(["sys", "leases", "revoke"], json!({ "lease_id": lease_id, "sync": true }));
    vault.session.run(&call, context.deadline).await.map_err(failed(
        "revoke leases at",
        "sys/leases/revoke",
        "update",
    ))?;
    Ok(Revoked { lease_id, revoked: true })
}
