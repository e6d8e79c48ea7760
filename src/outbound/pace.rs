//! How fast requests are sent: no faster than the platform takes them. A bound that the manifest or the platform names is
//! kept from the start; one that nobody names is found out from the platform's own refusals (429), and given up again
//! when it has not refused for a while.
//!
//! Each refusal lowers the rate to seven tenths of what it was, at most once a second, and all requests wait for the time
//! that it names. Afterwards the rate grows by a thirtieth of that each second: what was too fast is reached again after
//! nine seconds, and tried again slowly, as TCP does it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::state::PaceState;

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
    window: Window,
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
        let state = State { tokens: burst(most), counted: now, cut: None, paused_until: None, window };
        Self { most, state: Mutex::new(state) }
    }

    /// Waits for a request's turn, no longer than until the deadline; a request that was not sent before is refused if it
    /// had to wait longer than a second.
    ///
    /// # Errors
    /// When its turn comes later, with the time until then.
    pub(super) async fn turn(&self, deadline: Instant, was_sent: bool) -> Result<(), Duration> {
        let now = Instant::now();
        let until = if was_sent { deadline } else { deadline.min(now + LONGEST_WAIT) };
        let wait = self.lock().take(self.most, now, until)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// The platform refused a request because there were too many; `pause` is the time that it names.
    pub(super) fn refused(&self, pause: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.lock();
        let until = now + pause.unwrap_or(UNNAMED_PAUSE).min(LONGEST_PAUSE);
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
        let paused =
            state.paused_until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero());
        PaceState {
            requests_per_minute: state.rate(self.most, now).map(|rate| (rate * 60.0 * 10.0).round() / 10.0),
            paused_seconds: paused.map(|left| left.as_secs() + u64::from(left.subsec_nanos() > 0)),
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

impl State {
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
    fn take(&mut self, most: Option<f64>, now: Instant, until: Instant) -> Result<Duration, Duration> {
        let pause = self.paused_until.map_or(Duration::ZERO, |paused| paused.saturating_duration_since(now));
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
        if !wait.is_zero() && now + wait > until {
            return Err(wait);
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Requests that are let through in a time, asked for without a pause.
    async fn sent_in(pace: &Pace, time: Duration) -> u32 {
        let end = Instant::now() + time;
        let mut sent = 0;
        while Instant::now() < end {
            match pace.turn(far(), false).await {
                Ok(()) => sent += 1,
                Err(wait) => tokio::time::sleep(wait.min(Duration::from_millis(100))).await,
            }
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bound_nothing_waits() {
        let pace = Pace::new(None);
        for _ in 0..10_000 {
            pace.turn(Instant::now(), false).await.unwrap();
        }
        assert_eq!(pace.state(), PaceState::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_is_kept_from_the_start() {
        let pace = Pace::new(Some(600));
        let sent = sent_in(&pace, Duration::from_secs(60)).await;
        assert!((600..=621).contains(&sent), "{sent}");
        assert_eq!(pace.state().requests_per_minute, Some(600.0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_the_platform_names_is_waited_for() {
        let pace = Pace::new(None);
        pace.turn(far(), false).await.unwrap();
        pace.refused(Some(Duration::from_secs(30)));
        assert_eq!(pace.state().paused_seconds, Some(30));
        let wait = pace.turn(far(), false).await.unwrap_err();
        assert!(wait >= Duration::from_secs(30), "{wait:?}");
        tokio::time::advance(wait).await;
        pace.turn(far(), false).await.unwrap();
        assert_eq!(pace.state().paused_seconds, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_platform_that_takes_ten_a_second_is_found_out_and_hardly_refuses() {
        let pace = Pace::new(None);
        let (mut sent, mut refused, mut second, mut in_second) = (0, 0, Instant::now(), 0);
        let end = Instant::now() + Duration::from_secs(120);
        while Instant::now() < end {
            // Forty calls a second come.
            tokio::time::advance(Duration::from_millis(25)).await;
            if second.elapsed() >= Duration::from_secs(1) {
                (second, in_second) = (Instant::now(), 0);
            }
            if pace.turn(Instant::now(), false).await.is_ok() {
                in_second += 1;
                if in_second > 10 {
                    refused += 1;
                    pace.refused(None);
                } else {
                    sent += 1;
                }
            }
        }
        assert!(sent > 120 * 5, "only {sent} were taken");
        assert!(refused * 20 < sent, "{refused} were refused, {sent} taken");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_was_refused_once_is_sent_again_after_the_pause() {
        let (pace, begun) = (Pace::new(None), Instant::now());
        pace.turn(far(), false).await.unwrap();
        pace.refused(None);
        pace.turn(far(), true).await.unwrap();
        assert_eq!(begun.elapsed(), UNNAMED_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_forgotten_when_nothing_is_refused_any_more() {
        let pace = Pace::new(None);
        for _ in 0..50 {
            pace.turn(far(), false).await.unwrap();
        }
        pace.refused(None);
        assert!(pace.state().requests_per_minute.is_some());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(pace.state(), PaceState::default());
        for _ in 0..1_000 {
            pace.turn(Instant::now(), false).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_of_one_burst_count_once() {
        let pace = Pace::new(Some(6_000));
        for _ in 0..20 {
            pace.refused(None);
        }
        assert_eq!(pace.state().requests_per_minute, Some(4_200.0));
    }

    proptest! {
        #[test]
        fn no_more_is_sent_than_the_bound_and_a_burst(per_minute in 1_u32..3_000, pauses in prop::collection::vec(0_u64..500, 1..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let (sent, passed) = runtime.block_on(async {
                let (pace, begun, mut sent) = (Pace::new(Some(per_minute)), Instant::now(), 0_u32);
                for pause in pauses {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    sent += u32::from(pace.turn(far(), false).await.is_ok());
                }
                (sent, begun.elapsed())
            });
            let rate = f64::from(per_minute) / 60.0;
            prop_assert!(f64::from(sent) <= burst(Some(rate)) + passed.as_secs_f64() * rate + 1.0);
        }
    }
}
