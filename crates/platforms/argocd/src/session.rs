//! Calls in the connector's own name: puts the token on them, and tries once more with a newer one when Argo CD refuses
//! it. 401 always means the token; a missing permission is 403.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    client::{Call, Client, Error, Lines, LoginFault},
    jwt::Life,
    login::Login,
    wire::Object,
};
use credentials::{CredentialSet, CredentialsHandle};
use kit::session::{Keys, with_newest};
use outbound::{OutboundState, RequestError};

/// A token.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) secret: SecretString,
    /// Counts tokens: equal numbers mean the same token.
    pub(super) generation: u64,
    /// When it ends, as it says itself.
    pub(super) ends: Option<Timestamp>,
}

impl Token {
    pub(super) fn new(secret: SecretString, generation: u64) -> Self {
        let ends = Life::of(&secret).ends;
        Self { secret, generation, ends }
    }

    /// Whether its time is over, by this machine's clock.
    pub(super) fn has_ended(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Timestamp::now())
    }
}

/// Argo CD, as the connector's identity may use it.
pub(super) struct Session {
    client: Client,
    credentials: CredentialsHandle,
    login: Login,
}

impl Session {
    pub(super) fn new(client: Client, credentials: CredentialsHandle) -> Self {
        Self { login: Login::new(client.clone()), client, credentials }
    }

    /// The token in use. Without one among the credentials, a login is made if that is due.
    ///
    /// # Errors
    /// [`Error::NoCredentials`] while there are none, and whatever a login meets.
    pub(super) async fn token(&self, deadline: Instant) -> Result<Token, Error> {
        let set = self.credentials.current().ok_or(Error::NoCredentials)?;
        match token_of(&set) {
            Some(token) => Ok(token),
            None => self.login.token(&set, deadline).await,
        }
    }

    /// State of the way to Argo CD.
    pub(super) fn outbound(&self) -> OutboundState {
        self.client.outbound()
    }

    /// Whether tokens are logged in for, and so renewed by the connector itself.
    pub(super) fn logs_in(&self) -> bool {
        self.credentials.current().is_some_and(|set| set.field("token").is_none())
    }

    /// When the token among the credentials ends, as it says itself; nothing if it doesn't, or if sessions are logged in for.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        token_of(&*self.credentials.current()?)?.ends
    }

    /// How Argo CD refused the login with the credentials in use, while an older session still works.
    pub(super) async fn login_fault(&self) -> Option<LoginFault> {
        let set = self.credentials.current()?;
        self.login.fault(set.generation).await
    }

    /// Makes a call without a token.
    pub(super) async fn open<T: DeserializeOwned>(&self, call: &Call, deadline: Instant) -> Result<T, Error> {
        self.client.send(call, None, deadline).await
    }

    /// Makes a call with a token. Nothing else is tried if it is refused.
    pub(super) async fn with<T: DeserializeOwned>(
        &self,
        token: &Token,
        call: &Call,
        deadline: Instant,
    ) -> Result<T, Error> {
        self.client.send(call, Some(&token.secret), deadline).await
    }

    /// Makes a call and gives the answer.
    pub(super) async fn call<T: DeserializeOwned>(&self, call: &Call, deadline: Instant) -> Result<T, Error> {
        let send = |token: Token| async move { self.client.send(call, Some(&token.secret), deadline).await };
        with_newest(self, deadline, send).await
    }

    /// As [`Session::call`], for an object of this name. A body without it is another route's, or not Argo CD's.
    ///
    /// # Errors
    /// As [`Session::call`], and when the answer is no such object.
    pub(super) async fn object<T: DeserializeOwned + Object>(
        &self,
        call: &Call,
        name: &str,
        deadline: Instant,
    ) -> Result<T, Error> {
        let found: T = self.call(call, deadline).await?;
        if found.metadata().name == name { Ok(found) } else { Err(RequestError::unreadable("metadata.name").into()) }
    }

    /// As [`Session::call`], for an answer of one JSON object a line.
    pub(super) async fn lines(&self, call: &Call, deadline: Instant) -> Result<Lines, Error> {
        let send = |token: Token| async move { self.client.lines(call, Some(&token.secret), deadline).await };
        with_newest(self, deadline, send).await
    }

    /// A newer token after Argo CD refused this one: of a new login, or of newer files.
    ///
    /// # Errors
    /// [`Error::TokenRejected`] when there is none, and whatever a login meets.
    pub(super) async fn replace(&self, token: &Token, expired: bool, deadline: Instant) -> Result<Token, Error> {
        let set = self.credentials.current().ok_or(Error::NoCredentials)?;
        if set.field("token").is_none() {
            self.credentials.reread();
            return self.login.replace(&set, token, deadline).await;
        }
        let rejected = Error::TokenRejected { expired: expired || token.has_ended() };
        self.newer_than(token, deadline).await.ok_or(rejected)
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

    fn is_refusal(&self, error: &Error) -> bool {
        matches!(error, Error::TokenRejected { .. })
    }

    async fn newer(&self, refused: &Token, error: Error, deadline: Instant) -> Result<Token, Error> {
        self.replace(refused, matches!(error, Error::TokenRejected { expired: true }), deadline).await
    }

    async fn newer_refused(&self, newer: &Token, error: Error, _: Instant) -> Error {
        self.credentials.newer_refused(newer.generation);
        error
    }
}

fn token_of(set: &CredentialSet) -> Option<Token> {
    set.field("token").map(|secret| Token::new(secret.clone(), set.generation))
}
