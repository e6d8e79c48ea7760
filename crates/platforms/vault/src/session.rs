//! Calls in the connector's own name: puts the token on them, tells a bad token from a missing permission, and tries
//! once more when newer credentials are there.

use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    login::Login,
    wire::{self, Envelope, TokenInfo},
};
use credentials::{CredentialSet, CredentialsHandle};
use kit::session::{Keys, with_newest};
use outbound::{OutboundState, RequestError};
use vault_api::{
    client::{Call, Client, Error, HealthAnswer, LoginFault},
    token,
};

/// A token with the generation of the credentials that it comes from.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) secret: SecretString,
    /// Counts tokens: equal numbers mean the same token.
    pub(super) generation: u64,
}

/// Vault, as the connector's identity may use it.
pub(super) struct Session {
    client: Client,
    credentials: CredentialsHandle,
    /// None if the credentials are the token.
    login: Option<Login>,
}

impl Session {
    pub(super) fn new(client: Client, credentials: CredentialsHandle, login: Option<Login>) -> Self {
        Self { client, credentials, login }
    }

    /// The token in use. With a login, one is made or renewed if that is due.
    ///
    /// # Errors
    /// [`Error::NoToken`] while there are no credentials, and whatever a login meets.
    pub(super) async fn token(&self, deadline: Instant) -> Result<Token, Error> {
        let set = self.credentials.current().ok_or(Error::NoToken)?;
        match &self.login {
            Some(login) => login.token(&set, deadline).await,
            None => token_of(&set).ok_or(Error::NoToken),
        }
    }

    /// Whether tokens are logged in for, and so renewed by the connector itself.
    pub(super) fn logs_in(&self) -> bool {
        self.login.is_some()
    }

    /// How Vault refused the login with the credentials in use, while an older token still works.
    pub(super) async fn login_fault(&self) -> Option<LoginFault> {
        let set = self.credentials.current()?;
        self.login.as_ref()?.fault(set.generation).await
    }

    /// Revokes a token that was logged in for.
    pub(super) async fn close(&self) {
        if let Some(login) = &self.login {
            login.close().await;
        }
    }

    /// What the way to Vault is doing now.
    pub(super) fn outbound(&self) -> OutboundState {
        self.client.outbound()
    }

    /// Vault's state. Needs no token.
    pub(super) async fn health(&self, deadline: Instant) -> Result<HealthAnswer, Error> {
        self.client.health(deadline).await
    }

    /// Makes a call and gives the answer's body; nothing for an answer without one.
    pub(super) async fn call<T: DeserializeOwned>(&self, call: &Call, deadline: Instant) -> Result<Option<T>, Error> {
        let send = |token: Token| async move { self.client.send(call, Some(&token.secret), deadline).await };
        with_newest(self, deadline, send).await
    }

    /// A newer token after Vault refused this one.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when the token is good, so that a permission is missing; [`Error::TokenRejected`] when it
    /// is not and there is no newer one.
    pub(super) async fn replace(&self, token: &Token, deadline: Instant) -> Result<Token, Error> {
        if self.is_good(token, deadline).await? {
            return Err(Error::Forbidden);
        }
        if let Some(login) = &self.login {
            self.credentials.reread();
            let set = self.credentials.current().ok_or(Error::NoToken)?;
            return login.replace(&set, token, deadline).await;
        }
        self.newer_than(token, deadline).await.ok_or(Error::TokenRejected)
    }

    /// As [`Session::call`], for answers whose content is in `data`.
    pub(super) async fn data<T: DeserializeOwned>(&self, call: &Call, deadline: Instant) -> Result<T, Error> {
        let envelope: Option<Envelope<T>> = self.call(call, deadline).await?;
        envelope.and_then(|envelope| envelope.data).ok_or_else(|| RequestError::unreadable("data").into())
    }

    /// As [`Session::call`], for calls whose answer does not matter.
    pub(super) async fn run(&self, call: &Call, deadline: Instant) -> Result<(), Error> {
        self.call::<serde::de::IgnoredAny>(call, deadline).await.map(|_| ())
    }

    /// The keys that a LIST gives; Vault answers 404 for an empty list, which is an empty list here.
    pub(super) async fn list(&self, call: &Call, deadline: Instant) -> Result<Option<Vec<String>>, Error> {
        match self.data::<wire::Keys>(call, deadline).await {
            Ok(list) => Ok(Some(list.keys)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What Vault knows of a token, asked with that token. Nothing else is tried if it is refused.
    pub(super) async fn lookup(&self, token: &Token, deadline: Instant) -> Result<TokenInfo, Error> {
        let call = Call::get(["auth", "token", "lookup-self"]);
        let envelope: Option<Envelope<TokenInfo>> = self.client.send(&call, Some(&token.secret), deadline).await?;
        envelope.and_then(|envelope| envelope.data).ok_or_else(|| RequestError::unreadable("data").into())
    }

    /// Whether Vault accepts a token at all.
    pub(super) async fn is_good(&self, token: &Token, deadline: Instant) -> Result<bool, Error> {
        token::is_good(&self.client, &token.secret, deadline).await
    }

    /// The mounts that a token has any access to, asked with that token. Nothing else is tried if it is refused.
    pub(super) async fn visible_mounts(&self, token: &Token, deadline: Instant) -> Result<wire::VisibleMounts, Error> {
        let call = Call::get(["sys", "internal", "ui", "mounts"]);
        let envelope: Option<Envelope<wire::VisibleMounts>> =
            self.client.send(&call, Some(&token.secret), deadline).await?;
        envelope.and_then(|envelope| envelope.data).ok_or_else(|| RequestError::unreadable("data").into())
    }

    /// What a token may do with paths, asked with that token. Nothing else is tried if it is refused.
    pub(super) async fn capabilities(
        &self,
        token: &Token,
        paths: &[String],
        deadline: Instant,
    ) -> Result<std::collections::BTreeMap<String, Vec<String>>, Error> {
        let call = Call::ask(["sys", "capabilities-self"], serde_json::json!({ "paths": paths }));
        let envelope: Option<Envelope<std::collections::BTreeMap<String, Value>>> =
            self.client.send(&call, Some(&token.secret), deadline).await?;
        let data = envelope.and_then(|envelope| envelope.data).ok_or_else(|| RequestError::unreadable("data"))?;
        // Beside the paths there is `capabilities`, the list for a single path.
        let asked = data.into_iter().filter(|(path, _)| paths.contains(path));
        Ok(asked.map(|(path, list)| (path, Vec::<String>::deserialize(list).unwrap_or_default())).collect())
    }

    /// What a token's policies come to.
    pub(super) async fn resultant_acl(&self, token: &Token, deadline: Instant) -> Result<wire::ResultantAcl, Error> {
        let call = Call::get(["sys", "internal", "ui", "resultant-acl"]);
        let envelope: Option<Envelope<wire::ResultantAcl>> =
            self.client.send(&call, Some(&token.secret), deadline).await?;
        envelope.and_then(|envelope| envelope.data).ok_or_else(|| RequestError::unreadable("data").into())
    }

    /// Asks for the files to be read again and gives a newer token, if there is one soon.
    async fn newer_than(&self, refused: &Token, deadline: Instant) -> Option<Token> {
        token_of(&*self.credentials.newer_than(refused.generation, deadline).await?)
    }
}

impl Keys for Session {
    type Key = Token;
    type Error = Error;

    async fn current(&self, deadline: Instant) -> Result<Token, Error> {
        self.token(deadline).await
    }

    /// 403 says that the token is bad or that a permission is missing.
    fn is_refusal(&self, error: &Error) -> bool {
        error.may_be_the_token()
    }

    async fn newer(&self, refused: &Token, _: Error, deadline: Instant) -> Result<Token, Error> {
        self.replace(refused, deadline).await
    }

    async fn newer_refused(&self, newer: &Token, error: Error, deadline: Instant) -> Error {
        match self.is_good(newer, deadline).await {
            Ok(true) => error,
            Ok(false) => {
                self.credentials.newer_refused(newer.generation);
                Error::TokenRejected
            }
            Err(error) => error,
        }
    }
}

fn token_of(set: &CredentialSet) -> Option<Token> {
    set.field("token").map(|secret| Token { secret: secret.clone(), generation: set.generation })
}
