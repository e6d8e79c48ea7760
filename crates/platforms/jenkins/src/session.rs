//! Calls in the connector's own name: puts the credentials on them, tries once more with newer ones when Jenkins refuses
//! them, and, with a password, gets the crumb that protects what changes something.
//!
//! A request that is authenticated by an API token needs no crumb (`jenkins/security/ApiCrumbExclusion.java`). One by a
//! password does, for `POST` only (`hudson/security/csrf/CrumbFilter.java`), and the crumb belongs to the HTTP session in
//! which it was fetched (`hudson/security/csrf/DefaultCrumbIssuer.java`): so its cookie goes with it.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderName;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::client::{Answer, Begin, Call, Client, Error, crumb_of};
use credentials::{CredentialSet, CredentialsHandle};
use kit::session::{Keys, with_newest};
use outbound::{OutboundState, Scan, Scanned};

/// Time for which credentials that Jenkins refused are not shown to it again.
const REFUSED_PAUSE: Duration = Duration::from_mins(1);
/// The same after many refusals.
const LONG_REFUSED_PAUSE: Duration = Duration::from_mins(5);
/// Refusals from which on the pause is the long one.
const MANY_REFUSALS: u32 = 3;
/// Age after which a crumb is fetched anew. Jenkins ends idle sessions after half an hour or later.
const CRUMB_AGE: Duration = Duration::from_mins(10);

/// Who the connector is.
#[derive(Clone)]
pub(super) struct Identity {
    /// Value of the header `Authorization`.
    pub(super) basic: SecretString,
    /// The user's name.
    pub(super) user: String,
    /// Whether it is a password, so that what changes something needs a crumb.
    pub(super) is_password: bool,
    /// Counts sets of credentials: equal numbers mean the same.
    generation: u64,
}

impl Identity {
    fn of(set: &CredentialSet) -> Option<Self> {
        let user = set.field("user")?;
        let (secret, is_password) = match (set.field("api_token"), set.field("password")) {
            (Some(token), _) => (token, false),
            (None, Some(password)) => (password, true),
            (None, None) => return None,
        };
        let pair = format!("{}:{}", user.expose_secret(), secret.expose_secret());
        Some(Self {
            basic: SecretString::from(format!("Basic {}", STANDARD.encode(pair))),
            user: user.expose_secret().to_owned(),
            is_password,
            generation: set.generation,
        })
    }
}

/// What protects a session against forged requests.
#[derive(Clone)]
pub(super) enum Crumb {
    /// The header to send, and the session that it belongs to.
    Needed {
        /// Name of the header; it can be configured.
        field: HeaderName,
        /// Value of the header.
        value: SecretString,
        /// The session's cookies.
        cookies: SecretString,
    },
    /// Jenkins has the protection switched off.
    Off,
}

struct KnownCrumb {
    generation: u64,
    fetched: Instant,
    crumb: Crumb,
}

/// What Jenkins answers for a crumb (`hudson/security/csrf/CrumbIssuer.java`).
#[derive(Deserialize)]
struct IssuedCrumb {
    crumb: String,
    #[serde(rename = "crumbRequestField")]
    field: String,
}

/// Jenkins, as the connector's identity may use it.
pub(super) struct Session {
    client: Client,
    credentials: CredentialsHandle,
    crumb: Mutex<Option<KnownCrumb>>,
    refusal: std::sync::Mutex<Option<Refusal>>,
}

/// Credentials that Jenkins refused last. Behind it there is often a directory that locks an account after some refusals,
/// so they are not shown again for a while.
struct Refusal {
    generation: u64,
    times: u32,
    at: Instant,
}

impl Refusal {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < if self.times < MANY_REFUSALS { REFUSED_PAUSE } else { LONG_REFUSED_PAUSE }
    }
}

impl Session {
    pub(super) fn new(client: Client, credentials: CredentialsHandle) -> Self {
        Self { client, credentials, crumb: Mutex::new(None), refusal: std::sync::Mutex::default() }
    }

    /// What the way to Jenkins is doing now.
    pub(super) fn outbound(&self) -> OutboundState {
        self.client.outbound()
    }

    /// Who the connector is.
    ///
    /// # Errors
    /// [`Error::NoCredentials`] while there are none.
    pub(super) fn identity(&self) -> Result<Identity, Error> {
        self.credentials.current().and_then(|set| Identity::of(&set)).ok_or(Error::NoCredentials)
    }

    /// Makes a call without credentials.
    pub(super) async fn open(&self, call: &Call, deadline: Instant) -> Result<Answer, Error> {
        self.client.send(call, None, None, deadline).await
    }

    /// Makes a call.
    pub(super) async fn call(&self, call: &Call, deadline: Instant) -> Result<Answer, Error> {
        let send = |identity: Identity| async move { self.note(self.attempt(call, &identity, deadline).await) };
        with_newest(self, deadline, send).await
    }

    /// As [`Session::call`], for an answer that is scanned. Only for what reads.
    pub(super) async fn scan<T: Scan>(
        &self,
        call: &Call,
        begin: Begin<'_, T>,
        deadline: Instant,
    ) -> Result<(Answer, Scanned<T>), Error> {
        let send =
            |identity: Identity| async move { self.note(self.client.scan(call, &identity, begin, deadline).await) };
        with_newest(self, deadline, send).await
    }

    /// Sends a call, with a crumb if it needs one; once more with a fresh one if Jenkins refuses that.
    async fn attempt(&self, call: &Call, identity: &Identity, deadline: Instant) -> Result<Answer, Error> {
        if !(identity.is_password && call.changes()) {
            return self.client.send(call, Some(identity), None, deadline).await;
        }
        let crumb = self.crumb(identity, deadline).await?;
        match self.client.send(call, Some(identity), Some(&crumb), deadline).await {
            Err(Error::CrumbRefused) => {
                let fresh = self.fetch_crumb(identity, false, deadline).await?;
                self.client.send(call, Some(identity), Some(&fresh), deadline).await
            }
            outcome => outcome,
        }
    }

    async fn crumb(&self, identity: &Identity, deadline: Instant) -> Result<Crumb, Error> {
        if let Some(known) = self.crumb.lock().await.as_ref()
            && known.generation == identity.generation
            && known.fetched.elapsed() < CRUMB_AGE
        {
            return Ok(known.crumb.clone());
        }
        self.fetch_crumb(identity, false, deadline).await
    }

    /// Fetches a crumb and keeps it. Its session is a new one.
    ///
    /// # Errors
    /// [`Error::CrumbDenied`], and as [`Session::call`].
    pub(super) async fn fetch_crumb(
        &self,
        identity: &Identity,
        for_probe: bool,
        deadline: Instant,
    ) -> Result<Crumb, Error> {
        let call = Call::get(["crumbIssuer", "api", "json"]);
        let call = if for_probe { call.probe() } else { call };
        let crumb = match self.client.send(&call, Some(identity), None, deadline).await {
            Ok(answer) => {
                let issued: IssuedCrumb = answer.object()?;
                crumb_of(&issued.field, issued.crumb, &answer)?
            }
            Err(Error::NotFound) => Crumb::Off,
            Err(Error::Forbidden(_)) => return Err(Error::CrumbDenied),
            Err(error) => return Err(error),
        };
        let known = KnownCrumb { generation: identity.generation, fetched: Instant::now(), crumb: crumb.clone() };
        *self.crumb.lock().await = Some(known);
        Ok(crumb)
    }

    /// Who the connector is, unless Jenkins has just refused that.
    fn acceptable(&self) -> Result<Identity, Error> {
        let identity = self.identity()?;
        let refusal = self.refusal();
        let is_refused = |refusal: &Refusal| refusal.generation == identity.generation && refusal.is_fresh();
        if refusal.as_ref().is_some_and(is_refused) { Err(Error::Rejected) } else { Ok(identity) }
    }

    fn refusal(&self) -> MutexGuard<'_, Option<Refusal>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that Jenkins refused these credentials.
    fn refused(&self, identity: &Identity) {
        let (mut refusal, generation) = (self.refusal(), identity.generation);
        let times = refusal.as_ref().filter(|last| last.generation == generation).map_or(0, |last| last.times);
        *refusal = Some(Refusal { generation, times: times.saturating_add(1), at: Instant::now() });
    }

    /// What was refused before is forgotten by an answer.
    fn note<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        if outcome.is_ok() {
            *self.refusal() = None;
        }
        outcome
    }
}

impl Keys for Session {
    type Key = Identity;
    type Error = Error;

    async fn current(&self, _: Instant) -> Result<Identity, Error> {
        self.acceptable()
    }

    fn is_refusal(&self, error: &Error) -> bool {
        matches!(error, Error::Rejected)
    }

    async fn newer(&self, refused: &Identity, error: Error, deadline: Instant) -> Result<Identity, Error> {
        self.refused(refused);
        let newer = self.credentials.newer_than(refused.generation, deadline).await;
        newer.and_then(|set| Identity::of(&set)).ok_or(error)
    }

    async fn newer_refused(&self, newer: &Identity, error: Error, _: Instant) -> Error {
        self.refused(newer);
        self.credentials.newer_refused(newer.generation);
        error
    }
}
