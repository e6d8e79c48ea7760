//! How fast requests are sent: no faster than the platform takes them. A bound that the manifest or the platform names is
//! kept from the start; one that nobody names is found out from the platform's own refusals (429), and given up again
//! when it has not refused for a while.
//!
//! Each refusal lowers the rate to seven tenths of what it was, at most once a second, and all requests wait for the time
//! that it names. Afterwards the rate grows by a thirtieth of that each second: what was too fast is reached again after
//! nine seconds, and tried again slowly, as TCP does it.
//!
//! A platform that says how many requests an account has left ([`Allowance`]) need not refuse: once less than a tenth is
//! left, requests are spread over the time until it is counted anew, and when nothing is left, none is sent until then.
//! They wait for that as long as their deadline lets them, and are refused at once if it doesn't.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::allowance::Allowance;
use pod_api::outbound::{AllowanceState, PaceState};

/// Time that a request waits for its turn at most, as in the bulkhead.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Pause after a refusal that names no time.
const UNNAMED_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause. What a platform asks for beyond it is asked for again by its next refusal, so that a limit which was
/// lifted, or belonged to another token, doesn't keep everybody waiting.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// Share of the rate that is left by a refusal.
const SHARE_LEFT: f64 = 0.7;
/// Time between two refusals that lower the rate: those of one burst are one.
const BETWEEN_CUTS: Duration = Duration::from_secs(1);
/// Seconds in which the rate that was refused is gained once more.
const GROWTH_SECONDS: f64 = 30.0;
/// How far beyond the refused rate a platform without a known bound is trusted again.
const FORGIVEN: f64 = 2.0;
/// The slowest rate: one request in five seconds.
const SLOWEST: f64 = 0.2;
/// Share of an allowance below which it is spread: one request in so many is left.
const LOW: u32 = 10;
/// Time that is kept for a request itself when it waits for its part of an allowance.
const KEPT: Duration = Duration::from_secs(1);
/// Time over which requests are counted to learn the rate.
const WINDOW: Duration = Duration::from_secs(5);

/// How fast requests to one platform are sent.
pub(super) struct Pace {
    /// Requests a second that are never exceeded, if there is such a bound.
    most: Option<f64>,
    state: Mutex<State>,
}

struct State {
    /// Requests that may be sent at once; below zero, those that wait.
    tokens: f64,
    counted: Instant,
    /// The last cut, if its effect lasts.
    cut: Option<Cut>,
    paused_until: Option<Instant>,
    last_refused: Option<Instant>,
    account: Option<Account>,
    window: Window,
}

/// What the platform said last of an account's requests.
#[derive(Clone, Copy)]
struct Account {
    id: u64,
    allowance: Allowance,
    told: Instant,
    /// When the next request is due while the allowance is spread.
    next: Instant,
}

/// A rate that was refused.
#[derive(Clone, Copy)]
struct Cut {
    at: Instant,
    /// Requests a second that were too many.
    refused: f64,
}

/// Requests of this window and of the one before.
struct Window {
    begun: Instant,
    now: u32,
    before: u32,
}

impl Pace {
    pub(super) fn new(requests_per_minute: Option<u32>) -> Self {
        let most = requests_per_minute.map(|count| f64::from(count.max(1)) / 60.0);
        let now = Instant::now();
        let window = Window { begun: now, now: 0, before: 0 };
        let state = State {
            tokens: burst(most),
            counted: now,
            cut: None,
            paused_until: None,
            last_refused: None,
            account: None,
            window,
        };
        Self { most, state: Mutex::new(state) }
    }

    /// Waits for the turn of a request that counts for this account, no longer than until the deadline; a request that was
    /// not sent before is refused if it had to wait longer than a second for anything but its part of an allowance.
    ///
    /// # Errors
    /// When its turn comes later, with the time until then.
    pub(super) async fn turn(&self, account: Option<u64>, deadline: Instant, was_sent: bool) -> Result<(), Duration> {
        let wait = self.lock().take(self.most, account, was_sent, deadline)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// The platform answered a request of this account, and said how many it has left, if anything.
    pub(super) fn told(&self, account: u64, allowance: Option<Allowance>) {
        let mut state = self.lock();
        // What is known of one account says nothing about another.
        let before = state.account.filter(|known| known.id == account);
        let now = Instant::now();
        let next = before.map_or(now, |known| known.next);
        state.account = allowance.map(|allowance| Account { id: account, allowance, told: now, next }).or(before);
    }

    /// The platform refused a request because there were too many; `pause` is the time that it names.
    pub(super) fn refused(&self, pause: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.lock();
        let until = now + pause.unwrap_or(UNNAMED_PAUSE).min(LONGEST_PAUSE);
        state.last_refused = Some(now);
        state.paused_until = Some(state.paused_until.map_or(until, |before| before.max(until)));
        if state.cut.is_some_and(|cut| now.duration_since(cut.at) < BETWEEN_CUTS) {
            return;
        }
        let refused = state.rate(self.most, now).unwrap_or_else(|| state.window.rate(now)).max(SLOWEST);
        state.cut = Some(Cut { at: now, refused });
        // One may be sent as soon as the pause is over.
        state.tokens = state.tokens.min(1.0);
        state.counted = now;
    }

    pub(super) fn state(&self) -> PaceState {
        let now = Instant::now();
        let state = self.lock();
        let account = state.account.filter(|account| !account.left(now).is_zero());
        let paused = state.pause(account, now);
        let spread = account.and_then(|account| account.spacing(now)).map(|spacing| spacing.as_secs_f64().recip());
        let rate = state.rate(self.most, now).into_iter().chain(spread).reduce(f64::min);
        PaceState {
            requests_per_minute: rate.map(|rate| (rate * 60.0 * 10.0).round() / 10.0),
            paused_seconds: (!paused.is_zero()).then(|| whole_seconds(paused)),
            refused_seconds_ago: state.last_refused.map(|at| now.duration_since(at).as_secs()),
            allowance: account.map(|account| AllowanceState {
                limit: account.allowance.limit,
                remaining: account.allowance.remaining,
                resets_in_seconds: whole_seconds(account.until_reset(now)),
                low: account.is_low(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests that may be sent at once after a rest: those of two seconds, but one at least.
fn burst(rate: Option<f64>) -> f64 {
    rate.map_or(f64::INFINITY, |rate| (rate * 2.0).max(1.0))
}

/// Rounded up.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

impl Account {
    /// Time for which it is still known.
    fn left(&self, now: Instant) -> Duration {
        (self.told + self.allowance.resets_in.min(LONGEST_PAUSE)).saturating_duration_since(now)
    }

    fn until_reset(&self, now: Instant) -> Duration {
        (self.told + self.allowance.resets_in).saturating_duration_since(now)
    }

    fn is_low(&self) -> bool {
        self.allowance.remaining < self.allowance.limit.div_ceil(LOW)
    }

    /// Time between two requests that spreads what is left from an instant on until it is counted anew; nothing while
    /// there is enough, or none.
    fn spacing(&self, from: Instant) -> Option<Duration> {
        self.until_reset(from).checked_div(self.allowance.remaining).filter(|_| self.is_low())
    }
}

impl State {
    /// The time for which nothing is sent.
    fn pause(&self, account: Option<Account>, now: Instant) -> Duration {
        let asked = self.paused_until.map_or(Duration::ZERO, |paused| paused.saturating_duration_since(now));
        let spent = account.filter(|account| account.allowance.remaining == 0).map(|account| account.left(now));
        asked.max(spent.unwrap_or_default())
    }

    /// Requests a second that are permitted now; nothing for any number.
    fn rate(&self, most: Option<f64>, now: Instant) -> Option<f64> {
        let Some(cut) = self.cut else { return most };
        let grown = cut.refused * (SHARE_LEFT + now.duration_since(cut.at).as_secs_f64() / GROWTH_SECONDS);
        let rate = grown.max(SLOWEST);
        match most {
            Some(most) => Some(rate.min(most)),
            None => (rate < cut.refused * FORGIVEN).then_some(rate),
        }
    }

    /// Takes a turn: the wait until it.
    fn take(
        &mut self,
        most: Option<f64>,
        account: Option<u64>,
        was_sent: bool,
        deadline: Instant,
    ) -> Result<Duration, Duration> {
        let now = Instant::now();
        let account = self.account.filter(|known| Some(known.id) == account);
        let pause = self.pause(account, now);
        let wait = match self.rate(most, now) {
            None => {
                (self.cut, self.tokens) = (None, f64::INFINITY);
                pause
            }
            Some(rate) => {
                let gained = now.saturating_duration_since(self.counted).as_secs_f64() * rate;
                self.tokens = (self.tokens + gained).min(burst(Some(rate)));
                self.counted = now;
                let missing = (1.0 - self.tokens).max(0.0);
                pause + Duration::try_from_secs_f64(missing / rate).unwrap_or(LONGEST_WAIT)
            }
        };
        let low = account.filter(|account| account.is_low() && !account.left(now).is_zero());
        let due = low.map_or(now, |account| account.next.max(now));
        let wait = wait.max(due.saturating_duration_since(now));
        let until = match (low.is_some(), was_sent) {
            (true, _) => deadline.checked_sub(KEPT).unwrap_or(now),
            (false, true) => deadline,
            (false, false) => deadline.min(now + LONGEST_WAIT),
        };
        if !wait.is_zero() && now + wait > until {
            return Err(wait);
        }
        if let Some(account) = self.account.as_mut().filter(|_| account.is_some()) {
            account.next = due + account.spacing(due).unwrap_or_default();
            // Until the answer tells it.
            account.allowance.remaining = account.allowance.remaining.saturating_sub(1);
        }
        self.tokens -= 1.0;
        self.window.count(now);
        Ok(wait)
    }
}

impl Window {
    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.begun);
        if passed >= WINDOW {
            self.before = if passed < WINDOW * 2 { self.now } else { 0 };
            self.now = 0;
            self.begun = now;
        }
    }

    fn count(&mut self, now: Instant) {
        self.turn(now);
        self.now = self.now.saturating_add(1);
    }

    /// Requests a second of late.
    fn rate(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.begun).as_secs_f64();
        f64::from(self.before + self.now) / (passed + if self.before > 0 { WINDOW.as_secs_f64() } else { 0.0 }).max(1.0)
    }
}

#[cfg(test)]
mod tests;
