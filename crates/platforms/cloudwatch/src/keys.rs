//! What requests are signed with: the keys among the credential files, those of the pod's own identity, or those of a role
//! that is assumed with either. The SDK asks for every request, so keys that rotate are used at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio::{sync::Mutex, time::Instant};

use super::{
    error::Error,
    issuer::{Issuer, Session},
};
use credentials::CredentialsHandle;

/// Time before its end at which a session is replaced.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// Time for which a session that could not be renewed yet is used without trying again: an issuer that hangs would hold up
/// every call, though their keys are good.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// Why there are no keys. The SDK carries it to whoever made the call.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("there are no keys to sign with")]
pub(super) struct NoKeys(pub(super) Error);

fn no_keys(error: Error) -> CredentialsError {
    CredentialsError::provider_error(NoKeys(error))
}

/// The keys among the credential files.
#[derive(Clone, Debug)]
pub(super) struct FileKeys(pub(super) CredentialsHandle);

impl FileKeys {
    fn current(&self) -> Result<Credentials, CredentialsError> {
        let set = self.0.current().ok_or(no_keys(Error::NoCredentials))?;
        let text = |name| set.field(name).map(|value| value.expose_secret().to_owned());
        let (Some(id), Some(secret)) = (text("access_key_id"), text("secret_access_key")) else {
            return Err(no_keys(Error::NoCredentials));
        };
        Ok(Credentials::new(id, secret, text("session_token"), None, "files"))
    }

    /// When they end, if the files say so; an error if what they say is no time.
    fn expiration(&self) -> Option<Result<Timestamp, jiff::Error>> {
        Some(self.0.current()?.field("expiration")?.expose_secret().parse())
    }

    fn misfit(&self) -> Option<Misfit> {
        let keys = self.current().ok()?;
        match (keys.access_key_id().get(..4)?, keys.session_token()) {
            ("ASIA", None) => Some(Misfit::NoToken),
            ("AKIA", Some(_)) => Some(Misfit::NeedlessToken),
            _ => None,
        }
    }

    fn generation(&self) -> u64 {
        self.0.current().map_or(0, |set| set.generation)
    }
}

/// What can't belong together, by what keys begin with
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>). AWS answers to it as to
/// a key that it doesn't know.
#[derive(Clone, Copy)]
pub(super) enum Misfit {
    /// A temporary key, which is good with its session token only.
    NoToken,
    /// A user's own key, which has no session token.
    NeedlessToken,
}

/// Sessions that somebody issues: the one that is in use, renewed before it ends.
#[derive(Debug)]
pub(super) struct Sessions {
    issuer: Issuer,
    held: Mutex<Option<Held>>,
    /// Sessions that were made.
    made: AtomicU64,
}

#[derive(Debug)]
struct Held {
    session: Session,
    /// Generation of the files that it was made with.
    generation: u64,
    /// Until when its renewal isn't tried again.
    rests_until: Option<Instant>,
}

impl Held {
    /// Whether it was made with these files and lasts for more than a time.
    fn lasts(&self, generation: u64, time: Duration) -> bool {
        let left = |ends: SystemTime| ends.duration_since(SystemTime::now()).unwrap_or_default();
        self.generation == generation && self.session.ends.is_none_or(|ends| left(ends) > time)
    }

    /// Whether it is to be used as it is.
    fn is_good(&self, generation: u64) -> bool {
        let rests = self.rests_until.is_some_and(|until| Instant::now() < until);
        self.lasts(generation, if rests { Duration::ZERO } else { RENEW_BEFORE })
    }
}

impl Sessions {
    pub(super) fn new(issuer: Issuer) -> Self {
        Self { issuer, held: Mutex::new(None), made: AtomicU64::new(0) }
    }

    /// The keys of a session that was made with these files; with 0, of one that needs none.
    async fn current(&self, generation: u64) -> Result<Credentials, CredentialsError> {
        let mut held = self.held.lock().await;
        if let Some(good) = held.as_ref().filter(|held| held.is_good(generation)) {
            return Ok(good.session.keys.clone());
        }
        let session = match (self.issuer.issue().await, held.as_mut()) {
            (Ok(session), _) => session,
            // It is renewed early, so that a failure is not felt at once.
            (Err(_), Some(held)) if held.lasts(generation, Duration::ZERO) => {
                held.rests_until = Some(Instant::now() + RENEWAL_PAUSE);
                return Ok(held.session.keys.clone());
            }
            (Err(error), _) => return Err(no_keys(error)),
        };
        let keys = session.keys.clone();
        self.made.fetch_add(1, Ordering::Relaxed);
        *held = Some(Held { session, generation, rests_until: None });
        Ok(keys)
    }

    fn mark(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Gives up the session that was refused, so that a new one is made. Tells whether there is a newer one, or will be.
    async fn give_up(&self, refused: u64) -> bool {
        let mut held = self.held.lock().await;
        // Of several calls that were refused together, the first one makes the new session.
        self.mark() != refused || held.take().is_some()
    }
}

/// What the connector has from elsewhere.
#[derive(Debug)]
pub(super) enum Base {
    /// Keys among the credential files.
    Files(FileKeys),
    /// Sessions of the pod's own identity.
    Identity(Box<Sessions>),
}

impl Base {
    fn generation(&self) -> u64 {
        match self {
            Self::Files(files) => files.generation(),
            Self::Identity(_) => 0,
        }
    }

    fn mark(&self) -> u64 {
        match self {
            Self::Files(files) => files.generation(),
            Self::Identity(sessions) => sessions.mark(),
        }
    }

    async fn current(&self) -> Result<Credentials, CredentialsError> {
        match self {
            Self::Files(files) => files.current(),
            Self::Identity(sessions) => sessions.current(0).await,
        }
    }
}

/// The same as the SDK takes it, to sign requests for sessions of a role with.
#[derive(Clone, Debug)]
pub(super) struct SharedBase(pub(super) Arc<Base>);

impl ProvideCredentials for SharedBase {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.0.current())
    }
}

/// Which keys were in use: the generation of the files or the number of the identity's sessions that were made, and of the
/// role's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    base: u64,
    role: u64,
}

/// What requests are signed with.
#[derive(Debug)]
pub(super) struct Keys {
    base: Arc<Base>,
    role: Option<Sessions>,
}

impl Keys {
    /// `role` issues sessions that are made with the base's keys.
    pub(super) fn new(base: Arc<Base>, role: Option<Issuer>) -> Self {
        Self { base, role: role.map(Sessions::new) }
    }

    /// When the keys end, if the files say so and nothing here renews them; an error if what they say is no time.
    pub(super) fn expiration(&self) -> Option<Result<Timestamp, jiff::Error>> {
        match (&*self.base, &self.role) {
            (Base::Files(files), None) => files.expiration(),
            _ => None,
        }
    }

    /// What doesn't belong together among the credential files.
    pub(super) fn misfit(&self) -> Option<Misfit> {
        match &*self.base {
            Base::Files(files) => files.misfit(),
            Base::Identity(_) => None,
        }
    }

    /// What tells one set of keys from the next.
    pub(super) fn mark(&self) -> Mark {
        Mark { base: self.base.mark(), role: self.role.as_ref().map_or(0, Sessions::mark) }
    }

    /// Looks for other keys after AWS refused these: a new session, or newer files, which it waits for a moment. Tells
    /// whether there are any.
    pub(super) async fn renew(&self, refused: Mark, deadline: Instant) -> bool {
        if let Some(role) = &self.role
            && role.give_up(refused.role).await
        {
            if let Base::Files(files) = &*self.base {
                files.0.reread();
            }
            return true;
        }
        match &*self.base {
            Base::Identity(sessions) => sessions.give_up(refused.base).await,
            Base::Files(files) => files.0.newer_than(refused.base, deadline).await.is_some(),
        }
    }

    async fn current(&self) -> Result<Credentials, CredentialsError> {
        match &self.role {
            None => self.base.current().await,
            Some(role) => role.current(self.base.generation()).await,
        }
    }
}

/// The keys as the SDK takes them.
#[derive(Clone, Debug)]
pub(super) struct SharedKeys(pub(super) Arc<Keys>);

impl ProvideCredentials for SharedKeys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.0.current())
    }
}
