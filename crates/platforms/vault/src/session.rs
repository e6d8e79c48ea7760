//! Calls in the connector's own name: puts the token on them, tells a bad token from a missing permission, and tries
//! once more when newer credentials are there.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

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
    client::{Call, Client, Error, HealthAnswer, Lack, LoginFault},
    token,
};

/// A token with the generation of the credentials that it comes from.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) secret: SecretString,
    /// Counts tokens: equal numbers mean the same token.
    pub(super) generation: u64,
}

/// What a LIST gives.
pub(super) struct Listed {
    /// The names; none where nothing is there.
    pub(super) names: Vec<String>,
    /// Requests that it took.
    pub(super) requests: usize,
    /// Whether there may be more names.
    pub(super) cut: bool,
}

/// Requests of one list, at most.
pub(super) const MAX_PAGES: usize = 50;

/// What to know of a list that was cut.
pub(super) const MORE_NAMES: &str =
    "not all names were read, as a policy lets Vault list only a few at a time (pagination_limit): there may be more";

/// Vault, as the connector's identity may use it.
pub(super) struct Session {
    client: Client,
    credentials: CredentialsHandle,
    /// None if the credentials are the token.
    login: Option<Login>,
    /// Whether lists are known to come whole, as Vault's do.
    lists_whole: AtomicBool,
}

impl Session {
    pub(super) fn new(client: Client, credentials: CredentialsHandle, login: Option<Login>) -> Self {
        Self { client, credentials, login, lists_whole: AtomicBool::new(false) }
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
        with_newest(&Asking { session: self, call }, deadline, send).await
    }

    /// A newer token after Vault refused this one.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when the token is good, so that a permission is missing; [`Error::TokenRejected`] or
    /// [`Error::TokenBarred`] when it is not and there is no newer one.
    pub(super) async fn replace(&self, token: &Token, deadline: Instant) -> Result<Token, Error> {
        let refused = self.refused(token, None, deadline).await;
        self.instead_of(token, refused, deadline).await
    }

    /// A newer token than one that Vault refused for a reason, if that may help.
    async fn instead_of(&self, token: &Token, refused: Error, deadline: Instant) -> Result<Token, Error> {
        match (&self.login, &refused) {
            (Some(login), Error::TokenRejected | Error::TokenBarred) => {
                self.credentials.reread();
                let set = self.credentials.current().ok_or(Error::NoToken)?;
                login.replace(&set, token, refused, deadline).await
            }
            (None, Error::TokenRejected | Error::TokenBarred) => self.newer_than(token, deadline).await.ok_or(refused),
            _ => Err(refused),
        }
    }

    /// Why Vault answered 403: [`Error::Forbidden`] with what a good token lacks for a call, or what is known of a bad one.
    async fn refused(&self, token: &Token, call: Option<&Call>, deadline: Instant) -> Error {
        if let Some(call) = call {
            let path = call.policy_path();
            match self.capabilities(token, std::slice::from_ref(&path), deadline).await {
                Ok(found) => return Error::Forbidden(found.get(&path).map_or(Lack::Unknown, |list| call.lack(list))),
                Err(Error::TokenRejected) => return Error::TokenRejected,
                // The policy `default` permits it, and a token need not have that.
                Err(_) => {}
            }
        }
        match token::check(&self.client, &token.secret, deadline).await {
            Ok(()) => Error::Forbidden(Lack::Unknown),
            Err(error) => error,
        }
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

    /// The names that a LIST gives, with so many requests at most.
    ///
    /// OpenBao cuts a list without a word where a policy has `pagination_limit` (openbao/openbao#3517): whoever asks for
    /// what comes after the last name sees whether it was cut (`AllowOperation` in `vault/acl.go`). What comes is the same list
    /// again where pages are unknown. A list that is known to be in pages at every OpenBao then tells that of the whole server.
    pub(super) async fn list(&self, call: &Call, room: usize, deadline: Instant) -> Result<Listed, Error> {
        let mut listed = Listed { names: self.page(call, deadline).await?, requests: 1, cut: false };
        let mut seen: BTreeSet<String> = listed.names.iter().cloned().collect();
        while let Some(last) = listed.names.last().filter(|_| !self.lists_whole.load(Ordering::Relaxed)) {
            if listed.requests >= room {
                listed.cut = true;
                break;
            }
            let more = self.page(&call.after(last), deadline).await?;
            listed.requests += 1;
            if more.iter().any(|name| seen.contains(name)) {
                if call.is_in_pages() {
                    self.lists_whole.store(true, Ordering::Relaxed);
                }
                break;
            }
            if more.is_empty() {
                break;
            }
            seen.extend(more.iter().cloned());
            listed.names.extend(more);
        }
        Ok(listed)
    }

    /// The names of one answer to a LIST. Vault answers 404 where nothing is there.
    async fn page(&self, call: &Call, deadline: Instant) -> Result<Vec<String>, Error> {
        match self.data::<wire::Keys>(call, deadline).await {
            Ok(list) => Ok(list.keys),
            Err(Error::NotFound) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// What Vault knows of a token, asked with that token. Nothing else is tried if it is refused.
    pub(super) async fn lookup(&self, token: &Token, deadline: Instant) -> Result<TokenInfo, Error> {
        let call = Call::get(["auth", "token", "lookup-self"]);
        let envelope: Option<Envelope<TokenInfo>> = self.client.send(&call, Some(&token.secret), deadline).await?;
        envelope.and_then(|envelope| envelope.data).ok_or_else(|| RequestError::unreadable("data").into())
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

/// A call that is made with the newest token.
struct Asking<'a> {
    session: &'a Session,
    call: &'a Call,
}

impl Keys for Asking<'_> {
    type Key = Token;
    type Error = Error;

    async fn current(&self, deadline: Instant) -> Result<Token, Error> {
        self.session.token(deadline).await
    }

    /// 403 says that the token is bad or that a permission is missing.
    fn is_refusal(&self, error: &Error) -> bool {
        error.may_be_the_token()
    }

    async fn newer(&self, refused: &Token, _: Error, deadline: Instant) -> Result<Token, Error> {
        let why = self.session.refused(refused, Some(self.call), deadline).await;
        if let (Some(login), Error::Forbidden(Lack::Unknown | Lack::Capability(_))) = (&self.session.login, &why) {
            // A login may use up a secret id, so none is made for what is read in another way.
            if self.call.is_optional() {
                return Err(why);
            }
            let set = self.session.credentials.current().ok_or(Error::NoToken)?;
            return login.renewed(&set, refused, deadline).await.ok_or(why);
        }
        self.session.instead_of(refused, why, deadline).await
    }

    async fn newer_refused(&self, newer: &Token, _: Error, deadline: Instant) -> Error {
        let why = self.session.refused(newer, Some(self.call), deadline).await;
        if matches!(why, Error::TokenRejected | Error::TokenBarred) {
            self.session.credentials.newer_refused(newer.generation);
        }
        why
    }
}

fn token_of(set: &CredentialSet) -> Option<Token> {
    set.field("token").map(|secret| Token { secret: secret.clone(), generation: set.generation })
}
