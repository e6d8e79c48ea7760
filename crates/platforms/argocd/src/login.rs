//! Logins with user name and password: gets a session and keeps it young.
//!
//! One login at a time, made when a token is asked for and due: a session is replaced five minutes before it ends (the
//! probe asks at every interval, so an idle connector keeps its session, too).
//!
//! Argo CD counts failures: after five of one user name it refuses every login for five minutes, also with the right
//! password, and says the same as for a wrong one (`util/session/sessionmanager.go`). The count lasts until nothing has
//! failed for five minutes. So after a refusal nothing is tried for a minute, and after the third for longer than that
//! window; only new credentials are tried at once. What Argo CD says when it refuses is not kept.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{
    client::{Call, Client, Error, LoginFault},
    jwt::Life,
    session::Token,
};
use credentials::CredentialSet;
use outbound::{Purpose, Repeat, RequestError};

/// Time before its end at which a session is replaced.
pub(super) const REFRESH_BEFORE: Duration = Duration::from_mins(5);
/// Time that a login may take.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a call waits for a new session while it has one that works.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(3);
/// Time between two tries to replace a session that still works.
const RETRY_PAUSE: Duration = Duration::from_secs(15);
/// Time between two logins that are made because Argo CD refused a token.
const FORCED_PAUSE: Duration = Duration::from_mins(1);
/// Time between two logins that are refused.
const REFUSED_PAUSE: Duration = Duration::from_mins(1);
/// Refusals in a row after which the window is waited for.
const MAX_REFUSALS: u32 = 3;
/// Argo CD forgets failures that are older than five minutes; ten seconds are for clocks and ways.
const LOCK_OUT: Duration = Duration::from_secs(310);

/// Logins of one connector.
pub(super) struct Login {
    client: Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Counts tokens.
    count: u64,
    forced: Option<Instant>,
    refusal: Option<Refusal>,
}

/// A session.
struct Held {
    token: Token,
    /// Generation of the credentials that it was logged in with.
    source: u64,
    /// When it is to be replaced; none for one that does not end.
    due: Option<Instant>,
    ends: Option<Instant>,
    /// Nothing is tried for it before this time, because the last try failed.
    retry: Option<Instant>,
}

/// What came of the last logins.
struct Refusal {
    generation: u64,
    /// Refusals without a break of [`LOCK_OUT`], of whatever credentials.
    count: u32,
    last: Instant,
    next: Instant,
    fault: LoginFault,
}

impl Login {
    pub(super) fn new(client: Client) -> Self {
        Self { client, state: Mutex::default() }
    }

    /// A token that is good as far as is known.
    ///
    /// # Errors
    /// [`Error::LoginRefused`] or [`Error::LoginPaused`] if Argo CD doesn't accept the login, and whatever else is in
    /// its way.
    pub(super) async fn token(&self, set: &CredentialSet, deadline: Instant) -> Result<Token, Error> {
        let mut state = self.lock(deadline).await?;
        let now = Instant::now();
        let Some(held) = state.held.as_ref().filter(|held| held.ends.is_none_or(|ends| ends > now)) else {
            return self.log_in(&mut state, set, deadline).await;
        };
        let token = held.token.clone();
        let rests = held.retry.is_some_and(|retry| retry > now);
        if rests || (held.source == set.generation && held.due.is_none_or(|due| due > now)) {
            return Ok(token);
        }
        // What fails here is no reason not to use a session that has time left, nor to keep a call waiting for long.
        let outcome = self.log_in(&mut state, set, deadline.min(now + REFRESH_TIMEOUT)).await;
        if outcome.is_err()
            && let Some(held) = &mut state.held
        {
            held.retry = Some(Instant::now() + RETRY_PAUSE);
        }
        Ok(outcome.unwrap_or(token))
    }

    /// Another token after Argo CD refused this one. Made at most once a minute.
    ///
    /// # Errors
    /// As [`Login::token`]; [`Error::TokenRejected`] if the last one was made less than a minute ago.
    pub(super) async fn replace(
        &self,
        set: &CredentialSet,
        refused: &Token,
        deadline: Instant,
    ) -> Result<Token, Error> {
        let mut state = self.lock(deadline).await?;
        // Another call has replaced it already.
        if let Some(held) = state.held.as_ref().filter(|held| held.token.generation != refused.generation) {
            return Ok(held.token.clone());
        }
        if state.forced.is_some_and(|at| at.elapsed() < FORCED_PAUSE) {
            return Err(Error::TokenRejected { expired: false });
        }
        state.forced = Some(Instant::now());
        state.held = None;
        self.log_in(&mut state, set, deadline).await
    }

    /// How Argo CD refused the last login with the credentials of a generation.
    pub(super) async fn fault(&self, generation: u64) -> Option<LoginFault> {
        let state = self.state.lock().await;
        state.refusal.as_ref().filter(|refusal| refusal.generation == generation).map(|refusal| refusal.fault)
    }

    async fn lock(&self, deadline: Instant) -> Result<tokio::sync::MutexGuard<'_, State>, Error> {
        timeout_at(deadline, self.state.lock()).await.map_err(|_| Error::Request(RequestError::Timeout))
    }

    async fn log_in(&self, state: &mut State, set: &CredentialSet, deadline: Instant) -> Result<Token, Error> {
        let (Some(username), Some(password)) = (set.field("username"), set.field("password")) else {
            return Err(Error::NoCredentials);
        };
        if let Some(refusal) = &state.refusal {
            let wait = refusal.wait(set.generation);
            if !wait.is_zero() {
                return Err(Error::LoginPaused(refusal.fault, wait));
            }
        }
        let deadline = deadline.min(Instant::now() + LOGIN_TIMEOUT);
        match self.client.log_in(&call(username, password), deadline).await {
            Ok(session) => {
                state.refusal = None;
                state.count += 1;
                let token = Token::new(session.token, state.count);
                state.held = Some(Held::new(token.clone(), set.generation));
                Ok(token)
            }
            Err(Error::LoginRefused(fault)) => {
                let refusal = Refusal::after(state.refusal.take(), set.generation, fault);
                let fault = refusal.fault;
                state.refusal = Some(refusal);
                Err(Error::LoginRefused(fault))
            }
            Err(error) => Err(error),
        }
    }
}

fn call(username: &SecretString, password: &SecretString) -> Call {
    let body = json!({ "username": username.expose_secret(), "password": password.expose_secret() });
    // Argo CD counts logins that fail: none is made twice by itself.
    Call::post(["session"], body).purpose(Purpose::Step).repeat(Repeat::Never)
}

impl Refusal {
    fn after(before: Option<Self>, generation: u64, fault: LoginFault) -> Self {
        let now = Instant::now();
        let earlier = before.filter(|before| before.last.elapsed() < LOCK_OUT + REFUSED_PAUSE);
        // Only wrong passwords are counted by Argo CD.
        let counts = fault == LoginFault::Wrong;
        let count = earlier.map_or(0, |before| before.count).saturating_add(u32::from(counts));
        let locked = counts && count >= MAX_REFUSALS;
        let pause = if locked { LOCK_OUT } else { REFUSED_PAUSE };
        let fault = if locked { LoginFault::LockedOut } else { fault };
        Self { generation, count, last: now, next: now + pause, fault }
    }

    /// Time until something may be tried with the credentials of a generation. New ones are tried at once, unless that
    /// could be the failure that locks the user out.
    fn wait(&self, generation: u64) -> Duration {
        if generation != self.generation && self.count <= MAX_REFUSALS {
            return Duration::ZERO;
        }
        self.next.saturating_duration_since(Instant::now())
    }
}

impl Held {
    fn new(token: Token, source: u64) -> Self {
        let now = Instant::now();
        let length = Life::of(&token.secret).length();
        // A session that is short is used for half of its time.
        let due = length.map(|length| now + length.saturating_sub(REFRESH_BEFORE).max(length / 2));
        Self { token, source, due, ends: length.map(|length| now + length), retry: None }
    }
}
