//! `get_vault_health` and `get_vault_token_info`: the server and the connector's own identity.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::{NoArguments, failed, read};
use crate::{Vault, client::Error};
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError};

const HEALTH: ToolDeclaration = ToolDeclaration::read(
    "get_vault_health",
    "Vault's health",
    "Tells whether Vault is active, a standby, sealed or not initialised, with its version and cluster. \
                  Works without credentials.",
)
.polled();

const TOKEN_INFO: ToolDeclaration = ToolDeclaration::read(
    "get_vault_token_info",
    "The connector's Vault token",
    "Tells whom Vault takes the connector for: name, policies, time left and uses left of its token. \
                  Never the token itself.",
);

/// Vault's state.
#[derive(Serialize, JsonSchema)]
struct Health {
    /// `active`, `standby`, `performance_standby`, `dr_secondary`, `standby_isolated`, `sealed`, `not_initialized`,
    /// `maintenance`, `removed_from_cluster` or `unknown`.
    state: &'static str,
    /// Whether it serves requests of clients.
    serves_requests: bool,
    /// HTTP code of its health check.
    code: u16,
    /// Whether it is sealed.
    sealed: Option<bool>,
    /// Whether it is initialised.
    initialized: Option<bool>,
    /// Whether this node is a standby, of either kind.
    standby: Option<bool>,
    /// Version that it states.
    version: Option<String>,
    /// Name of its cluster.
    cluster: Option<String>,
    /// Whether it is Vault Enterprise.
    enterprise: Option<bool>,
}

/// The connector's token, without the token.
#[derive(Serialize, JsonSchema)]
struct Token {
    /// Name that Vault gives the identity.
    display_name: String,
    /// Where the token was made, such as `auth/token/create`.
    auth_path: String,
    /// `service` or `batch`.
    kind: String,
    /// Policies of the token and of its identity.
    policies: Vec<String>,
    /// Seconds left; none for a token that does not end.
    ttl_seconds: Option<u64>,
    /// When it ends (RFC 3339); none for a token that does not end.
    expires_at: Option<String>,
    /// Whether it can be renewed.
    renewable: bool,
    /// Uses left; none for a token without a limit.
    uses_left: Option<u64>,
    /// Whether it lives on when the token that made it is revoked.
    orphan: bool,
}

pub(super) fn entries(vault: &Arc<Vault>) -> Vec<ToolEntry> {
    vec![read(vault, HEALTH, health), read(vault, TOKEN_INFO, token_info)]
}

async fn health(vault: Arc<Vault>, _: NoArguments, context: CallContext) -> Result<Health, ToolError> {
    let answer = vault.session.health(context.deadline).await.map_err(failed("read", "sys/health", "read"))?;
    let body = answer.body.as_ref();
    if answer.code == 429 && body.is_none() {
        return Err(failed("read", "sys/health", "read")(Error::Quota(answer.retry_after)));
    }
    let state = match answer.code {
        // A server that was never initialised says that it is sealed, too.
        501 => "not_initialized",
        _ if body.is_some_and(|body| !body.initialized) => "not_initialized",
        _ if body.is_some_and(|body| body.sealed) => "sealed",
        200 => "active",
        429 => "standby",
        472 => "dr_secondary",
        473 => "performance_standby",
        474 => "standby_isolated",
        503 => "maintenance",
        530 => "removed_from_cluster",
        _ => "unknown",
    };
    Ok(Health {
        state,
        serves_requests: matches!(state, "active" | "standby" | "performance_standby"),
        code: answer.code,
        sealed: body.map(|body| body.sealed),
        initialized: body.map(|body| body.initialized),
        standby: body.map(|body| body.standby || body.performance_standby),
        // A listener may be told to keep them to itself (redact_version, redact_cluster_name): they are empty then.
        version: body.and_then(|body| body.version.clone()).filter(|version| !version.is_empty()),
        cluster: body.and_then(|body| body.cluster_name.clone()).filter(|name| !name.is_empty()),
        enterprise: body.map(|body| body.enterprise),
    })
}

async fn token_info(vault: Arc<Vault>, _: NoArguments, context: CallContext) -> Result<Token, ToolError> {
    let failed = failed("look up its own token at", "auth/token/lookup-self", "read");
    let token = vault.session.token(context.deadline).await.map_err(&failed)?;
    let info = match vault.session.lookup(&token, context.deadline).await {
        Err(refused) if refused.may_be_the_token() => {
            let newer = vault.session.replace(&token, context.deadline).await.map_err(&failed)?;
            vault.session.lookup(&newer, context.deadline).await
        }
        outcome => outcome,
    }
    .map_err(&failed)?;
    let mut policies = [info.policies, info.identity_policies].concat();
    policies.sort();
    policies.dedup();
    Ok(Token {
        display_name: info.display_name,
        auth_path: info.path,
        kind: info.kind,
        policies,
        ttl_seconds: info.expire_time.is_some().then_some(info.ttl),
        expires_at: info.expire_time,
        renewable: info.renewable,
        uses_left: (info.num_uses != 0).then(|| info.num_uses.try_into().unwrap_or(0)),
        orphan: info.orphan,
    })
}
