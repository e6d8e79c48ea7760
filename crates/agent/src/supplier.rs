//! The agent's state machine: each step does what is due, and nothing else. Time comes from `tokio::time` alone, so that
//! hours pass in a test at once.
//!
//! ```text
//! token: log in ─▶ renew at 2/3 ─▶ … ─▶ log in again ─▶ (old token given back, and its leases with it)
//! secret: fetch ─▶ renew or look again ─▶ fetch ─▶ all there? ─▶ write as one set ─▶ 30 s ─▶ (old lease given back)
//! ```
//! What Vault refuses or can't do now never takes away what is in the files.

mod loans;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use self::loans::Loan;
use super::{
    identity::Identity,
    secrets::{self, Bearer, Held, Slot},
    store::Store,
    trouble::{Rest, Trouble},
};
use api::Reason;
use credentials::supply::{Supply, SupplyState};
use pod_api::agent::AgentConfig;
use vault_api::{
    client::{Client, Error},
    lifetime::Lifetime,
    token,
    wire::Auth,
};

/// Time that one call to Vault may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for which what was replaced stays good: every reader has the new set by then.
const GRACE: Duration = Duration::from_secs(30);
/// Time between two logins that are made because Vault refused a good token, where logins cost nothing: the token may
/// have older policies than its role.
const FORCED_PAUSE: Duration = Duration::from_secs(4);
/// The same where each login may use up a secret id.
const FORCED_PAUSE_SPARING: Duration = Duration::from_mins(1);
/// Time in which leases and token are given back at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// Time after which it wakes though nothing is due.
const IDLE: Duration = Duration::from_hours(1);
/// What is kept to be given back, at most: it all ends by itself.
const MAX_RETIRED: usize = 64;

/// Fetches credentials, keeps them fresh, and writes them.
pub(super) struct Supplier {
    client: Client,
    identity: Identity,
    fingerprint: Option<[u8; 32]>,
    store: Store,
    interval: Duration,
    slots: Vec<Slot>,
    session: Option<Session>,
    /// Counts tokens.
    tokens: u64,
    forced: Option<Instant>,
    login: Rest,
    write: Rest,
    /// Whether the slots hold something else than the files.
    unwritten: bool,
    /// Replaced, while the files don't hold what replaces it.
    superseded: Vec<Loan>,
    /// Replaced in the files, too.
    retired: Vec<(Instant, Loan)>,
    /// When the first of the credentials in the files ends.
    ends: Option<Instant>,
    announced: Option<Instant>,
    supply: Supply,
    /// What stands beside the files.
    told: Option<Supply>,
}

/// A token in use.
struct Session {
    token: SecretString,
    number: u64,
    /// Whether it can be given back, and all leases with it. A batch token can't: its leases are given back one by one.
    returns: bool,
    lifetime: Lifetime,
    /// When it was known to be good last.
    checked: Instant,
}

impl Supplier {
    /// An agent that has done nothing yet. What another one has left in the store is taken over.
    pub(super) fn new(client: Client, identity: Identity, store: Store, config: &AgentConfig) -> Self {
        let now = Timestamp::now();
        let left = store.left().unwrap_or_else(|| Supply::starting(now));
        let message = "the agent logs in to Vault for the first time".to_owned();
        let ends = left.expires.map(|end| Instant::now() + Duration::try_from(end - now).unwrap_or_default());
        Self {
            fingerprint: identity.fingerprint(),
            client,
            identity,
            store,
            interval: config.refresh_interval.0,
            slots: config.secrets.iter().cloned().map(Slot::new).collect(),
            session: None,
            tokens: 0,
            forced: None,
            login: Rest::default(),
            write: Rest::default(),
            unwritten: false,
            superseded: Vec::new(),
            retired: Vec::new(),
            ends,
            announced: None,
            told: None,
            supply: Supply { state: SupplyState::Starting, message, since: now, next_attempt: None, ..left },
        }
    }

    /// Does what is due.
    pub(super) async fn step(&mut self) {
        self.give_back().await;
        self.keep_token().await;
        let begun = Instant::now();
        for index in 0..self.slots.len() {
            self.keep_secret(index).await;
            // With a Vault that hangs each takes its whole time. The state is told first, so that the agent doesn't seem to.
            if begun.elapsed() > 2 * CALL_TIMEOUT {
                break;
            }
        }
        self.put_in_use();
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Instant {
        let now = Instant::now();
        let resting = |rest: &Rest, due: Option<Instant>| match rest.until() {
            Some(until) => Some(due.map_or(until, |due| due.max(until))),
            None => due,
        };
        // Without a token, nothing can be given back.
        let retired = self.session.as_ref().and_then(|_| self.retired.iter().map(|(at, _)| *at).min());
        let mut moments = vec![retired, self.ends.filter(|ends| *ends > now)];
        if self.unwritten && self.slots.iter().all(|slot| slot.held.is_some()) {
            moments.push(resting(&self.write, Some(now)));
        }
        match &self.session {
            None => moments.push(resting(&self.login, Some(now))),
            Some(session) => {
                let check = self.checks_token().then(|| session.checked + self.interval);
                // What failed is tried again soon, also if a secret has shown meanwhile that the token is good.
                let failed = self.login.trouble.is_some().then_some(now);
                let due = [session.lifetime.due, check, failed].into_iter().flatten().min();
                moments.push(resting(&self.login, due));
                moments.push(session.lifetime.ends);
                moments.extend(self.slots.iter().map(|slot| resting(&slot.rest, self.due(slot))));
            }
        }
        moments.into_iter().flatten().min().unwrap_or(now + IDLE).min(now + IDLE)
    }

    /// Puts the state beside the files, if it has changed.
    pub(super) fn tell(&mut self, next: Instant) {
        let mut supply = self.judge();
        // Told anew only when the plan has changed, and not because clocks differ by a moment.
        if self.announced != Some(next) {
            supply.next_attempt = Some(wall(next));
        }
        if self.told.as_ref() == Some(&supply) {
            return;
        }
        if (supply.state, &supply.reason) != (self.supply.state, &self.supply.reason) {
            match supply.state {
                SupplyState::Serving | SupplyState::Starting => tracing::info!(state = ?supply.state, "credentials"),
                SupplyState::Degraded | SupplyState::Failing => tracing::warn!(
                    state = ?supply.state, reason = supply.reason, detail = supply.message, "credentials"
                ),
            }
        }
        match self.store.write_state(&supply) {
            Ok(()) => (self.announced, self.told) = (Some(next), Some(supply.clone())),
            Err(error) => tracing::warn!(%error, "the agent's state could not be written"),
        }
        self.supply = supply;
    }

    /// Looks whether there is something else to log in with; then everything is tried at once.
    pub(super) fn look_at_identity(&mut self) {
        let fingerprint = self.identity.fingerprint();
        if fingerprint.is_some() && fingerprint != self.fingerprint {
            self.fingerprint = fingerprint;
            self.login.cut_short();
            if self.identity.is_owned()
                && let Some(session) = &mut self.session
            {
                // Its owner has another one now.
                session.lifetime.replace();
            }
            self.forced = None;
            self.slots.iter_mut().for_each(|slot| slot.rest.cut_short());
        }
    }

    async fn keep_token(&mut self) {
        if self.session.as_ref().is_some_and(|session| !session.lifetime.lasts()) {
            self.session = None;
        }
        if self.login.is_on() {
            return;
        }
        let deadline = Instant::now() + CALL_TIMEOUT;
        let checks = self.checks_token();
        let Some(session) = &mut self.session else {
            self.log_in().await;
            return;
        };
        let outcome = if session.lifetime.is_due() {
            if !session.lifetime.renewable {
                self.log_in().await;
                return;
            }
            token::renew(&self.client, &session.token, deadline).await.map(|auth| {
                session.lifetime.extend(auth.lease_duration, auth.renewable);
                self.supply.renewals += 1;
                true
            })
        } else if checks && session.checked + self.interval <= Instant::now() || self.login.trouble.is_some() {
            token::is_good(&self.client, &session.token, deadline).await
        } else {
            return;
        };
        match outcome {
            Ok(true) => {
                session.checked = Instant::now();
                self.login.end();
            }
            // Its leases are gone with it.
            Ok(false) => {
                self.session = None;
                self.log_in().await;
            }
            Err(Error::Forbidden(_) | Error::TokenRejected | Error::BadRequest | Error::BatchToken) => {
                self.log_in().await;
            }
            Err(error) => self.login_failed(Trouble::of_login(error, self.identity.method())),
        }
    }

    /// Gets another token. The old one, if it is still good, is given back later.
    async fn log_in(&mut self) {
        match self.identity.log_in(Instant::now() + CALL_TIMEOUT).await {
            Ok(auth) => {
                if let Some(session) = &mut self.session
                    && session.token.expose_secret() == auth.client_token.expose_secret()
                {
                    // Its owner has no other one: it is used to its end.
                    session.lifetime = Lifetime::new(auth.lease_duration, auth.renewable);
                    session.lifetime.use_up();
                    session.checked = Instant::now();
                    self.login.end();
                    return;
                }
                let session = self.session_of(&auth);
                self.adopt(session);
            }
            Err(trouble) => self.login_failed(trouble),
        }
    }

    fn session_of(&mut self, auth: &Auth) -> Session {
        self.tokens += 1;
        tracing::info!(number = self.tokens, seconds = auth.lease_duration, "logged in to Vault");
        Session {
            token: auth.client_token.clone(),
            number: self.tokens,
            returns: auth.kind != "batch",
            lifetime: Lifetime::new(auth.lease_duration, auth.renewable),
            checked: Instant::now(),
        }
    }

    fn adopt(&mut self, session: Session) {
        self.login.end();
        if let Some(old) = self.session.replace(session)
            && !self.identity.is_owned()
            && old.returns
        {
            self.superseded.push(Loan::Token { token: old.token, number: old.number });
        }
    }

    fn login_failed(&mut self, trouble: Trouble) {
        self.supply.failures += 1;
        let sparing = self.identity.is_sparing();
        self.login.after(trouble, sparing);
    }

    /// Whether the token is asked about by itself, because no secret is looked at with it.
    fn checks_token(&self) -> bool {
        !self.slots.iter().any(Slot::is_kept)
    }

    /// When a secret is to be fetched, renewed or looked at.
    fn due(&self, slot: &Slot) -> Option<Instant> {
        let now = Instant::now();
        let Some(held) = &slot.held else { return Some(now) };
        match &held.lease {
            None => Some(held.fetched + held.look_again_after(self.interval)),
            // A lease ends with the token that it was made with, which is not looked after any more. What has neither a lease nor
            // an end that is known is asked for once a token.
            Some(lease)
                if (!lease.id.is_empty() || lease.lifetime.ends.is_none())
                    && self.session.as_ref().is_some_and(|session| session.number != held.token) =>
            {
                Some(now)
            }
            Some(lease) => lease.lifetime.due,
        }
    }

    async fn keep_secret(&mut self, index: usize) {
        let deadline = Instant::now() + CALL_TIMEOUT;
        let due = self.slots.get(index).and_then(|slot| self.due(slot));
        let Some(session) = self.session.as_ref() else { return };
        let bearer = Bearer { secret: &session.token, number: session.number };
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.rest.is_on() || due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        if let Some(Held { token, lease: Some(lease), .. }) = &mut slot.held
            && *token == bearer.number
            && !lease.id.is_empty()
            && lease.lifetime.renewable
            && lease.lifetime.lasts()
        {
            match secrets::renew(&self.client, lease, bearer.secret, deadline).await {
                Ok(()) => {
                    self.supply.renewals += 1;
                    slot.rest.end();
                    return;
                }
                Err(Error::LeaseNotRenewable) => {}
                Err(error) => {
                    let trouble = Trouble::of(error, "sys/leases/renew", "update");
                    self.secret_failed(index, trouble);
                    return;
                }
            }
        }
        match secrets::fetch(&self.client, &slot.config, bearer, deadline).await {
            Ok(held) => self.accept(index, held),
            Err(forbidden @ Trouble::Forbidden { .. }) => self.after_forbidden(index, forbidden).await,
            Err(trouble) => self.secret_failed(index, trouble),
        }
    }

    /// A token that is bad is replaced. One that is good may have older policies than its role: another one is tried, and
    /// taken if it may have the secret.
    async fn after_forbidden(&mut self, index: usize, forbidden: Trouble) {
        let deadline = Instant::now() + CALL_TIMEOUT;
        let Some(session) = &self.session else { return };
        match token::is_good(&self.client, &session.token, deadline).await {
            Ok(true) => {}
            Ok(false) => {
                self.session = None;
                self.log_in().await;
                if let Err(trouble) = self.fetch_with_session(index, deadline).await {
                    self.secret_failed(index, trouble);
                }
                return;
            }
            Err(error) => return self.secret_failed(index, Trouble::of(error, "auth/token/lookup-self", "read")),
        }
        let pause = if self.identity.is_sparing() { FORCED_PAUSE_SPARING } else { FORCED_PAUSE };
        // There is no other token to be had where somebody lends one.
        if self.identity.is_owned() || self.forced.is_some_and(|at| at.elapsed() < pause) {
            return self.secret_failed(index, forbidden);
        }
        self.forced = Some(Instant::now());
        let Ok(auth) = self.identity.log_in(deadline).await else { return self.secret_failed(index, forbidden) };
        let candidate = self.session_of(&auth);
        let bearer = Bearer { secret: &candidate.token, number: candidate.number };
        let Some(slot) = self.slots.get(index) else { return };
        match secrets::fetch(&self.client, &slot.config, bearer, deadline).await {
            Ok(held) => {
                self.adopt(candidate);
                self.accept(index, held);
            }
            Err(trouble) => {
                // Nothing hangs on it.
                if candidate.returns {
                    let _ends_by_itself = token::revoke(&self.client, &candidate.token, deadline).await;
                }
                self.secret_failed(index, trouble);
            }
        }
    }

    async fn fetch_with_session(&mut self, index: usize, deadline: Instant) -> Result<(), Trouble> {
        let (Some(session), Some(slot)) = (&self.session, self.slots.get(index)) else { return Ok(()) };
        let bearer = Bearer { secret: &session.token, number: session.number };
        let held = secrets::fetch(&self.client, &slot.config, bearer, deadline).await?;
        self.accept(index, held);
        Ok(())
    }

    fn secret_failed(&mut self, index: usize, trouble: Trouble) {
        self.supply.failures += 1;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.rest.after(trouble, false);
        }
    }

    fn accept(&mut self, index: usize, held: Held) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.rest.end();
        if let Some(session) = &mut self.session
            && session.number == held.token
        {
            session.checked = held.fetched;
        }
        let token = held.token;
        let stays = self.identity.is_owned() || self.session.as_ref().is_some_and(|session| !session.returns);
        self.unwritten |= slot.held.as_ref().is_none_or(|old| !old.same_values(&held));
        if let Some(Held { lease: Some(lease), token: made_with, .. }) = slot.held.replace(held)
            // It goes with its token, unless that stays.
            && (made_with == token || stays)
            && !lease.id.is_empty()
        {
            self.superseded.push(Loan::Lease { id: lease.id });
        }
    }

    /// Writes the files, if there is everything and something of it is new.
    fn put_in_use(&mut self) {
        if self.slots.iter().any(|slot| slot.held.is_none()) {
            return;
        }
        if self.unwritten {
            if self.write.is_on() {
                return;
            }
            let values = self.slots.iter().filter_map(|slot| slot.held.as_ref()).flat_map(|held| held.values.clone());
            let fields: BTreeMap<String, SecretString> = values.collect();
            if let Err(error) = self.store.write(&fields) {
                self.supply.failures += 1;
                self.write.after(Trouble::Write(error.kind()), false);
                return;
            }
            self.write.end();
            self.unwritten = false;
            self.supply.rotations += u64::from(self.supply.fetched.is_some());
            self.supply.fetched = Some(Timestamp::now());
            tracing::info!(fields = fields.len(), "credentials written");
        }
        let at = Instant::now() + GRACE;
        self.retired.extend(self.superseded.drain(..).map(|loan| (at, loan)));
        let excess = self.retired.len().saturating_sub(MAX_RETIRED);
        self.retired.drain(..excess);
        let ends = self.slots.iter().filter_map(|slot| slot.held.as_ref()?.lease.as_ref()?.lifetime.ends).min();
        if ends != self.ends {
            self.ends = ends;
            self.supply.expires = ends.map(wall);
        }
    }

    fn judge(&self) -> Supply {
        let troubles = std::iter::once(&self.login).chain(self.slots.iter().map(|slot| &slot.rest));
        let trouble = troubles.chain([&self.write]).find_map(|rest| rest.trouble.as_ref());
        let (reason, message) = match (trouble, self.identity.warning()) {
            (Some(trouble), _) => (trouble.reason(), trouble.to_string()),
            (None, Some(warning)) => (Reason::VaultLoginFailed, warning),
            (None, None) => (Reason::Loaded, String::new()),
        };
        let usable = self.supply.fetched.is_some() && self.ends.is_none_or(|ends| ends > Instant::now());
        let (state, message) = match (reason, usable) {
            (Reason::Loaded, true) => (SupplyState::Serving, "the credentials are fresh".to_owned()),
            (Reason::Loaded, false) => (SupplyState::Starting, self.supply.message.clone()),
            (_, true) => {
                let end = self.supply.expires.map(|end| format!(" until {end}")).unwrap_or_default();
                (SupplyState::Degraded, format!("{message}; what was fetched before stays in use{end}"))
            }
            (_, false) if self.supply.fetched.is_some() => {
                (SupplyState::Failing, format!("{message}; the credentials have ended"))
            }
            (_, false) => (SupplyState::Failing, message),
        };
        let same = (state, reason.as_str()) == (self.supply.state, self.supply.reason.as_str());
        let since = if same { self.supply.since } else { Timestamp::now() };
        Supply { state, reason: reason.as_str().to_owned(), message, since, ..self.supply.clone() }
    }
}

/// A moment as a clock on the wall shows it, in whole seconds.
pub(super) fn wall(at: Instant) -> Timestamp {
    let time = SystemTime::now() + at.saturating_duration_since(Instant::now());
    let time = Timestamp::try_from(time).unwrap_or_else(|_| Timestamp::now());
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
