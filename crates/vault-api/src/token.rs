//! What is done with tokens: getting one by a login, renewing it, asking whether it is good, giving it back.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    client::{Call, Client, Error, LoginFault},
    wire::{Auth, AuthEnvelope, Envelope, TokenInfo},
};
use outbound::RequestError;

/// A pause after which Vault counts an AppRole's failed logins anew, with a minute to spare. By default it locks out the whole
/// role, for 15 minutes and whatever its secret id is then, after the fifth login in a row that it rejects, each within 15
/// minutes of the one before (developer.hashicorp.com/vault/docs/concepts/user-lockout).
pub const LOCKOUT_PAUSE: Duration = Duration::from_mins(16);
/// Logins with an AppRole's secret id that Vault rejects, after which each process waits for [`LOCKOUT_PAUSE`]: two replicas
/// lock nobody out. One alone would be too few, as a secret id that was just made is not known to all of Vault's servers.
pub const REJECTED_LOGINS: u32 = 2;

/// Logs in at an auth method, whose mount is written without `auth/`. What Vault says when it refuses a login is never
/// kept: it may hold the secret id (developer.hashicorp.com/vault/api-docs/auth/approle).
///
/// # Errors
/// [`Error::LoginRefused`] when Vault doesn't let the identity in, and whatever else is in its way.
pub async fn log_in(client: &Client, mount: &str, proof: Value, deadline: Instant) -> Result<Auth, Error> {
    let mount = mount.split('/').filter(|segment| !segment.is_empty());
    let call = Call::step(std::iter::once("auth").chain(mount).chain(["login"]), proof);
    let answer = client.send::<AuthEnvelope>(&call, None, deadline).await.map_err(|error| match error {
        // Older versions miss a token where no auth method is mounted.
        Error::BadRequest
        | Error::NotFound
        | Error::NoRoute
        | Error::UnknownRole
        | Error::TokenNotSeen
        | Error::TokenRejected => Error::LoginRefused(LoginFault::Rejected),
        Error::AddressBarred => Error::LoginRefused(LoginFault::Address),
        Error::Forbidden(_) | Error::Unsupported => Error::LoginRefused(LoginFault::Denied),
        other => other,
    })?;
    auth_of(answer)
}

/// Why Vault may not know a token.
pub const GONE: &str =
    "it has ended, was revoked, is of another Vault, or is used up (a wrapping token by its first use)";
/// Why Vault may refuse a token without a word (`request_handling.go`: what it says then stands in its own log only).
pub const BARRED: &str = "its identity entity may be disabled or deleted, or the token bound to other addresses \
                          (token_bound_cidrs) or of another namespace; of one that has ended, was revoked or is used up, older \
                          versions of Vault say no more either";

/// Renews a token.
///
/// # Errors
/// [`Error::Forbidden`] or [`Error::BadRequest`] when Vault doesn't, and whatever else is in its way.
pub async fn renew(client: &Client, token: &SecretString, deadline: Instant) -> Result<Auth, Error> {
    let call = Call::step(["auth", "token", "renew-self"], json!({}));
    auth_of(client.send(&call, Some(token), deadline).await?)
}

/// Gives a token back, and with it every lease that was made with it.
///
/// # Errors
/// Whatever is in its way.
pub async fn revoke(client: &Client, token: &SecretString, deadline: Instant) -> Result<(), Error> {
    let call = Call::step(["auth", "token", "revoke-self"], json!({}));
    client.send::<IgnoredAny>(&call, Some(token), deadline).await.map(|_| ())
}

/// What Vault knows of a token.
///
/// # Errors
/// [`Error::Forbidden`] when it is a bad one, or may not ask about itself, and whatever else is in the way.
pub async fn look_up(client: &Client, token: &SecretString, deadline: Instant) -> Result<TokenInfo, Error> {
    let call = Call::get(["auth", "token", "lookup-self"]);
    let answer = client.send::<Envelope<TokenInfo>>(&call, Some(token), deadline).await?;
    answer.and_then(|envelope| envelope.data).ok_or_else(|| RequestError::unreadable("data").into())
}

/// Asks whether Vault accepts a token at all.
///
/// `lookup-self` is permitted by the policy `default`, which a token need not have; the list of visible mounts is
/// answered to every good token, and refused for a bad one.
///
/// # Errors
/// [`Error::TokenRejected`] or [`Error::TokenBarred`] when it doesn't, and others when it does not say.
pub async fn check(client: &Client, token: &SecretString, deadline: Instant) -> Result<(), Error> {
    for call in [Call::get(["auth", "token", "lookup-self"]), Call::get(["sys", "internal", "ui", "mounts"])] {
        match client.send::<IgnoredAny>(&call, Some(token), deadline).await {
            Err(Error::Forbidden(_)) => {}
            outcome => return outcome.map(|_| ()),
        }
    }
    Err(Error::TokenBarred)
}

/// Whether Vault accepts a token at all, as [`check`] asks it.
///
/// # Errors
/// When Vault does not say.
pub async fn is_good(client: &Client, token: &SecretString, deadline: Instant) -> Result<bool, Error> {
    match check(client, token, deadline).await {
        Err(Error::TokenRejected | Error::TokenBarred) => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// The token of an answer. Where a second factor is wanted, there is an empty one beside `mfa_requirement`
/// (`login_mfa.go`; developer.hashicorp.com/vault/docs/auth/login-mfa).
fn auth_of(answer: Option<AuthEnvelope>) -> Result<Auth, Error> {
    let auth = answer.and_then(|envelope| envelope.auth).ok_or_else(|| RequestError::unreadable("auth"))?;
    match (auth.client_token.expose_secret().is_empty(), &auth.mfa_requirement) {
        (true, Some(_)) => Err(Error::LoginRefused(LoginFault::SecondFactor)),
        (true, None) => Err(RequestError::unreadable("auth.client_token").into()),
        (false, _) => Ok(auth),
    }
}
