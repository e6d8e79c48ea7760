//! What requests are signed with: the keys among the credential files, or those of a role that is assumed with them. The
//! SDK asks for every request, so keys that rotate are used at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{
    error::{Error, of_sdk},
    spec::AssumeRole,
};
use crate::credentials::CredentialsHandle;

/// Time that a call waits for newer credentials after AWS refused those in use for the first time.
const REREAD_WAIT: Duration = Duration::from_secs(1);
/// Time before its end at which a role's session is replaced.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Name of a role's sessions, as CloudTrail shows it.
const SESSION_NAME: &str = "mcp-connectors";

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
    pub(super) fn expiration(&self) -> Option<Result<Timestamp, jiff::Error>> {
        Some(self.0.current()?.field("expiration")?.expose_secret().parse())
    }

    fn generation(&self) -> u64 {
        self.0.current().map_or(0, |set| set.generation)
    }
}

impl ProvideCredentials for FileKeys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.current())
    }
}

/// A role and its session.
#[derive(Debug)]
struct Role {
    spec: AssumeRole,
    sts: aws_sdk_sts::Client,
    session: Mutex<Option<RoleSession>>,
    /// Sessions that were made.
    made: AtomicU64,
}

#[derive(Debug)]
struct RoleSession {
    keys: Credentials,
    ends: Option<std::time::SystemTime>,
    /// Generation of the files that it was made with.
    generation: u64,
}

impl RoleSession {
    /// Whether it was made with these files and lasts for more than a time.
    fn lasts(&self, generation: u64, time: Duration) -> bool {
        let left = |ends: std::time::SystemTime| ends.duration_since(std::time::SystemTime::now()).unwrap_or_default();
        self.generation == generation && self.ends.is_none_or(|ends| left(ends) > time)
    }
}

/// Which keys were in use: the generation of the files, and the number of sessions that were made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    files: u64,
    sessions: u64,
}

/// What requests are signed with.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) files: FileKeys,
    role: Option<Role>,
    /// Generation that AWS refused last; 0 for none. A second call with it does not wait for newer files.
    refused: AtomicU64,
}

impl Keys {
    /// `sts` signs with the files' keys, and is asked for sessions of the role.
    pub(super) fn new(files: FileKeys, role: Option<AssumeRole>, sts: aws_sdk_sts::Client) -> Self {
        let role = role.map(|spec| Role { spec, sts, session: Mutex::new(None), made: AtomicU64::new(0) });
        Self { files, role, refused: AtomicU64::new(0) }
    }

    /// Whether sessions are renewed here.
    pub(super) fn renews(&self) -> bool {
        self.role.is_some()
    }

    /// What tells one set of keys from the next.
    pub(super) fn mark(&self) -> Mark {
        let sessions = self.role.as_ref().map_or(0, |role| role.made.load(Ordering::Relaxed));
        Mark { files: self.files.generation(), sessions }
    }

    /// Looks for other keys after AWS refused these: a new session of the role, or newer files, which it waits for a
    /// moment. Tells whether there are any.
    pub(super) async fn renew(&self, refused: Mark, deadline: Instant) -> bool {
        if let Some(role) = &self.role {
            let mut session = role.session.lock().await;
            // Of several calls that were refused together, the first one makes the new session.
            if role.made.load(Ordering::Relaxed) != refused.sessions {
                return true;
            }
            if session.take().is_some() {
                self.files.0.reread();
                return true;
            }
        }
        let refused = refused.files;
        let is_newer = |files: &FileKeys| files.generation() != refused;
        if is_newer(&self.files) {
            return true;
        }
        if self.refused.swap(refused, Ordering::Relaxed) == refused {
            return false;
        }
        let mut credentials = self.files.0.clone();
        credentials.reread();
        let until = deadline.min(Instant::now() + REREAD_WAIT);
        timeout_at(until, async {
            while !is_newer(&self.files) {
                credentials.changed().await;
            }
        })
        .await
        .is_ok()
    }

    async fn current(&self) -> Result<Credentials, CredentialsError> {
        match &self.role {
            None => self.files.current(),
            Some(role) => role.current(self.files.generation()).await,
        }
    }
}

impl Role {
    async fn current(&self, generation: u64) -> Result<Credentials, CredentialsError> {
        let mut session = self.session.lock().await;
        if let Some(good) = session.as_ref().filter(|held| held.lasts(generation, RENEW_BEFORE)) {
            return Ok(good.keys.clone());
        }
        let asked = self
            .sts
            .assume_role()
            .role_arn(&self.spec.role_arn)
            .role_session_name(SESSION_NAME)
            .set_external_id(self.spec.external_id.clone());
        let answer = match (Box::pin(asked.send()).await, session.as_ref()) {
            (Ok(answer), _) => answer,
            // It is renewed early, so that a failure is not felt at once.
            (Err(_), Some(held)) if held.lasts(generation, Duration::ZERO) => return Ok(held.keys.clone()),
            (Err(error), _) => {
                let error = of_sdk(&error);
                return Err(no_keys(if error == Error::Denied { Error::RoleRefused } else { error }));
            }
        };
        let given = answer.credentials.ok_or(no_keys(Error::Unexpected(200)))?;
        let ends = std::time::SystemTime::try_from(given.expiration).ok();
        let keys = Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            // Its end is looked at here; the SDK would only warn of it.
            None,
            "role",
        );
        self.made.fetch_add(1, Ordering::Relaxed);
        *session = Some(RoleSession { keys: keys.clone(), ends, generation });
        Ok(keys)
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
