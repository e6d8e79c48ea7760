//! Logins: gets a token for an identity and keeps it alive. It knows no tool and no probe, so whoever needs a token of
//! Vault can use it.
//!
//! One login or renewal at a time, made when a token is asked for and due (the probe asks at every interval, so an idle
//! connector keeps its token, too). A token is renewed at two thirds of its time, give or take a tenth so that replicas
//! don't come at once, and no later than 30 s or a third of its time before it ends; when a renewal brings no more
//! time, a new login follows.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{session::Token, wire::Auth};
use credentials::CredentialSet;
use outbound::RequestError;
use vault_api::{
    client::{Client, Error, LoginFault},
    lifetime::Lifetime,
    token,
};

/// Where AppRole is mounted unless somebody says otherwise.
pub(super) const APP_ROLE_MOUNT: &str = "approle";

/// Time before the second login with credentials that Vault rejected.
const REJECTED_PAUSE: Duration = Duration::from_secs(2);
/// Denials of the same credentials after which they are tried at [`DENIED_PAUSE`] only.
const MAX_DENIALS: u32 = 3;
/// Time between two logins with credentials that were denied [`MAX_DENIALS`] times. These don't count for a lockout.
const DENIED_PAUSE: Duration = Duration::from_mins(5);
/// Time between two logins that are made because Vault refused a token.
const FORCED_PAUSE: Duration = Duration::from_mins(1);
/// Age of a token that is good and lacks a permission, from which another login is tried: a role's list of policies counts
/// when a token is made. Each such login makes the age that the next one takes [`PATIENCE`] times longer.
const STALE: Duration = Duration::from_mins(1);
const PATIENCE: u32 = 4;
/// The longest such age.
const STALE_MAX: Duration = Duration::from_hours(24);
/// Time that a call waits for a renewal, or for a login, while it has a token that works.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(3);
/// Time between two tries of that when the first failed.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Time in which the token is revoked at the end.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(2);

/// A login with AppRole, and the token that it has.
pub(super) struct Login {
    client: Client,
    mount: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Counts tokens.
    count: u64,
    forced: Option<Instant>,
    /// Age from which a good token is stale, if that was tried.
    stale: Option<Duration>,
    refusal: Option<Refusal>,
}

/// A token that was logged in for.
struct Held {
    token: Token,
    /// Generation of the credentials that it was logged in with.
    source: u64,
    lifetime: Lifetime,
    since: Instant,
    /// Whether it is good for a number of requests only (`token_num_uses` of the role).
    is_counted: bool,
    /// Whether nobody can revoke it.
    is_batch: bool,
    /// Nothing is tried for it before this time, because the last try failed.
    retry: Option<Instant>,
}

/// A token that was just logged in for, and the one before.
struct Made {
    token: Token,
    before: Option<Held>,
}

/// What came of the last logins with credentials that Vault refuses.
struct Refusal {
    generation: u64,
    count: u32,
    next: Instant,
    fault: LoginFault,
}

impl Login {
    /// A login with AppRole at a mount, written without `auth/`.
    pub(super) fn app_role(client: Client, mount: &str) -> Self {
        Self { client, mount: mount.to_owned(), state: Mutex::default() }
    }

    /// A token that is good as far as is known.
    ///
    /// # Errors
    /// [`Error::NoToken`] if a field is missing, [`Error::LoginRefused`] or [`Error::LoginPaused`] if Vault doesn't
    /// accept the login, and whatever else is in its way.
    pub(super) async fn token(&self, set: &CredentialSet, deadline: Instant) -> Result<Token, Error> {
        let mut state = self.lock(deadline).await?;
        let now = Instant::now();
        let Some(held) = state.held.as_ref().filter(|held| held.lifetime.lasts()) else {
            return self.log_in(&mut state, set, deadline).await.map(|made| made.token);
        };
        let (token, renewable) = (held.token.clone(), held.lifetime.renewable);
        let is_current = held.source == set.generation;
        let rests = held.retry.is_some_and(|retry| retry > now);
        // A login that was refused while the token works is tried again, so that what is told of it is true.
        let was_refused = state.refusal.as_ref().is_some_and(|refusal| refusal.next <= now);
        if rests || (is_current && !held.lifetime.is_due() && !was_refused) {
            return Ok(token);
        }
        // What fails here is no reason not to use a token that has time left, nor to keep a call waiting for long.
        let soon = deadline.min(now + REFRESH_TIMEOUT);
        if is_current && renewable && !was_refused {
            match self.renew(&mut state, soon).await {
                Err(
                    Error::Forbidden(_)
                    | Error::TokenRejected
                    | Error::BadRequest
                    | Error::BatchToken
                    | Error::LeaseNotRenewable,
                ) => {}
                outcome => {
                    state.rest_after(outcome.is_err());
                    return Ok(token);
                }
            }
        }
        let outcome = self.log_in(&mut state, set, soon).await;
        state.rest_after(outcome.is_err());
        Ok(outcome.map_or(token, |made| self.instead_of_the_other(made)))
    }

    /// Another token after Vault refused this one. Made at most once a minute, but for a token whose uses are counted. Until
    /// there is one, the one that is refused stays in use: what refuses it may pass, as with a disabled entity.
    ///
    /// # Errors
    /// As [`Login::token`]; why it was refused if the last one was made less than a minute ago.
    pub(super) async fn replace(
        &self,
        set: &CredentialSet,
        refused: &Token,
        why: Error,
        deadline: Instant,
    ) -> Result<Token, Error> {
        let mut state = self.lock(deadline).await?;
        // Another call has replaced it already.
        if let Some(held) = state.held.as_ref().filter(|held| held.token.generation != refused.generation) {
            return Ok(held.token.clone());
        }
        let is_counted = state.held.as_ref().is_some_and(|held| held.is_counted);
        if !is_counted && state.refusal.is_none() && state.forced.is_some_and(|at| at.elapsed() < FORCED_PAUSE) {
            return Err(why);
        }
        let outcome = self.log_in(&mut state, set, deadline).await;
        // One that only found no way says nothing of the token: the next call tries again.
        if matches!(outcome, Ok(_) | Err(Error::LoginRefused(_))) {
            state.forced = Some(Instant::now());
        }
        outcome.map(|made| made.token)
    }

    /// Another token though this one is good: its role may have policies by now that it was made without. None where it is too
    /// young for that, and where no login is to be had.
    pub(super) async fn renewed(&self, set: &CredentialSet, refused: &Token, deadline: Instant) -> Option<Token> {
        let mut state = self.lock(deadline).await.ok()?;
        let held = state.held.as_ref()?;
        if held.token.generation != refused.generation {
            return Some(held.token.clone());
        }
        let age = state.stale.unwrap_or(STALE);
        if held.since.elapsed() < age {
            return None;
        }
        // The token that there is may do for other calls, which wait meanwhile.
        let soon = deadline.min(Instant::now() + REFRESH_TIMEOUT);
        let outcome = self.log_in(&mut state, set, soon).await;
        state.stale = Some((age * PATIENCE).min(STALE_MAX));
        outcome.ok().map(|made| self.instead_of_the_other(made))
    }

    /// How Vault refused the last login with the credentials of a generation.
    pub(super) async fn fault(&self, generation: u64) -> Option<LoginFault> {
        let state = self.state.lock().await;
        state.refusal.as_ref().filter(|refusal| refusal.generation == generation).map(|refusal| refusal.fault)
    }

    /// Revokes the token, if that can be done soon.
    pub(super) async fn close(&self) {
        let deadline = Instant::now() + REVOKE_TIMEOUT;
        let Ok(mut state) = self.lock(deadline).await else { return };
        if let Some(held) = state.held.take().filter(Held::can_be_given_back) {
            // It ends by itself, later.
            let _best_effort = token::revoke(&self.client, &held.token.secret, deadline).await;
        }
    }

    async fn lock(&self, deadline: Instant) -> Result<tokio::sync::MutexGuard<'_, State>, Error> {
        timeout_at(deadline, self.state.lock()).await.map_err(|_| Error::Request(RequestError::Timeout))
    }

    /// The token of a login. The one before is good as it was, and is given back: it would be a lease until it ends.
    /// A call that is on its way with it is made once more with the new one. Something between that answers the same
    /// login from its memory gives the same token.
    fn instead_of_the_other(&self, made: Made) -> Token {
        let is_another = |before: &Held| before.token.secret.expose_secret() != made.token.secret.expose_secret();
        if let Some(before) = made.before.filter(|before| before.can_be_given_back() && is_another(before)) {
            let client = self.client.clone();
            // Nobody waits for it.
            tokio::spawn(async move {
                let deadline = Instant::now() + REVOKE_TIMEOUT;
                let _best_effort = token::revoke(&client, &before.token.secret, deadline).await;
            });
        }
        made.token
    }

    async fn log_in(&self, state: &mut State, set: &CredentialSet, deadline: Instant) -> Result<Made, Error> {
        let (Some(role_id), Some(secret_id)) = (set.field("role_id"), set.field("secret_id")) else {
            return Err(Error::NoToken);
        };
        if state.refusal.as_ref().is_some_and(|refusal| refusal.generation != set.generation) {
            state.refusal = None;
        }
        if let Some(refusal) = &state.refusal {
            let wait = refusal.next.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return Err(Error::LoginPaused(refusal.fault, wait));
            }
        }
        match self.ask(role_id, secret_id, deadline).await {
            Ok(auth) => {
                (state.refusal, state.stale) = (None, None);
                state.count += 1;
                let token = Token { secret: auth.client_token.clone(), generation: state.count };
                let lifetime = Lifetime::new(auth.lease_duration, auth.renewable);
                let before = state.held.replace(Held {
                    token: token.clone(),
                    source: set.generation,
                    lifetime,
                    since: Instant::now(),
                    is_counted: auth.num_uses > 0,
                    is_batch: auth.kind == "batch",
                    retry: None,
                });
                Ok(Made { token, before })
            }
            Err(Error::LoginRefused(fault)) => {
                let count = state.refusal.as_ref().map_or(1, |refusal| refusal.count.saturating_add(1));
                let next = Instant::now() + pause(fault, count);
                state.refusal = Some(Refusal { generation: set.generation, count, next, fault });
                Err(Error::LoginRefused(fault))
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, role_id: &SecretString, secret_id: &SecretString, deadline: Instant) -> Result<Auth, Error> {
        let proof = json!({ "role_id": role_id.expose_secret(), "secret_id": secret_id.expose_secret() });
        token::log_in(&self.client, &self.mount, proof, deadline).await
    }

    async fn renew(&self, state: &mut State, deadline: Instant) -> Result<(), Error> {
        let Some(held) = &mut state.held else { return Err(Error::TokenRejected) };
        let auth = token::renew(&self.client, &held.token.secret, deadline).await?;
        held.lifetime.extend(auth.lease_duration, auth.renewable);
        Ok(())
    }
}

impl Held {
    /// Whether there is something to revoke.
    fn can_be_given_back(&self) -> bool {
        !self.is_batch && self.lifetime.lasts()
    }
}

impl State {
    fn rest_after(&mut self, failed: bool) {
        if let Some(held) = &mut self.held {
            held.retry = failed.then(|| Instant::now() + RETRY_PAUSE);
        }
    }
}

/// The wait after so many refusals in a row.
fn pause(fault: LoginFault, count: u32) -> Duration {
    match fault {
        // A login from an address that may not log in takes a use of the secret id, too, where these are counted.
        LoginFault::Rejected | LoginFault::Address if count < token::REJECTED_LOGINS => REJECTED_PAUSE,
        LoginFault::Rejected | LoginFault::Address => token::LOCKOUT_PAUSE,
        LoginFault::Denied | LoginFault::SecondFactor if count < MAX_DENIALS => Duration::from_secs(1 << count),
        LoginFault::Denied | LoginFault::SecondFactor => DENIED_PAUSE,
    }
}
