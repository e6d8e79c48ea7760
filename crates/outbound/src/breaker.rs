//! The circuit breaker of one platform: after enough failures nothing is sent for a while, then one request is tried.
//!
//! It opens at a number of failures in a row, or at a share of failures among the requests of the last half minute. It
//! sees what came of a request after its retries, and only what says something about the platform: a refusal for the
//! number of calls, an error that the platform states itself, or a caller who has gone open nothing. The figures are
//! Linkerd's (1 s to 60 s, jitter 0.5) and Resilience4j's idea of a smallest number of requests.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use pod_api::outbound::{BreakerPosition, BreakerState};

/// Seconds whose requests count for the share of failures.
const WINDOW_SECONDS: usize = 30;
/// Requests in the window below which the share says nothing.
const LEAST_REQUESTS: u32 = 20;
/// Time that it stays open first; twice as long after each trial that failed.
const FIRST_PENALTY: Duration = Duration::from_secs(1);
/// Time that it stays open at most, before jitter.
const LONGEST_PENALTY: Duration = Duration::from_secs(60);
/// Part of a penalty that is added at random, so that replicas don't try at once.
const JITTER: f64 = 0.5;

/// When a breaker opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// Percent of failures among the requests of the last half minute, from 20 of them on.
    pub failure_percent: u32,
}

/// What a finished request says of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It works.
    Good,
    /// It doesn't.
    Bad,
}

pub(super) struct Breaker {
    limits: BreakerLimits,
    inner: Mutex<Inner>,
}

#[derive(Clone, Copy, PartialEq)]
enum Position {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

struct Inner {
    position: Position,
    consecutive: u32,
    penalty: Duration,
    began: Instant,
    /// Good and bad requests of a second, by the second's number.
    window: [(u64, u32, u32); WINDOW_SECONDS],
}

/// A request that was let through. Dropped without a sign, it says nothing, and a trial is given back.
pub(super) struct Admission<'a> {
    breaker: &'a Breaker,
    is_trial: bool,
    told: bool,
}

impl Breaker {
    pub(super) fn new(limits: BreakerLimits) -> Self {
        let inner = Inner {
            position: Position::Closed,
            consecutive: 0,
            penalty: FIRST_PENALTY,
            began: Instant::now(),
            window: [(u64::MAX, 0, 0); WINDOW_SECONDS],
        };
        Self { limits, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request through, or says when one may be.
    ///
    /// # Errors
    /// The time after which a request may be let through.
    pub(super) fn admit(&self) -> Result<Admission<'_>, Duration> {
        let mut inner = self.lock();
        let is_trial = match inner.position {
            Position::Closed => false,
            Position::Open { until } => {
                let now = Instant::now();
                if now < until {
                    return Err(until - now);
                }
                inner.position = Position::HalfOpen;
                true
            }
            // The trial tells soon; until then nobody else is sent after it.
            Position::HalfOpen => return Err(FIRST_PENALTY),
        };
        Ok(Admission { breaker: self, is_trial, told: false })
    }

    /// Takes a sign that came outside of the breaker, as a health probe's.
    pub(super) fn told(&self, sign: Sign) {
        let mut inner = self.lock();
        match sign {
            Sign::Good if inner.position != Position::Closed => inner.close(),
            // A probe is no request of a caller: it opens nothing by its share.
            Sign::Good => inner.consecutive = 0,
            Sign::Bad => inner.fails(self.limits, false),
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        let inner = self.lock();
        let (state, wait) = match inner.position {
            Position::Closed => (BreakerPosition::Closed, None),
            Position::HalfOpen => (BreakerPosition::HalfOpen, None),
            Position::Open { until } => {
                (BreakerPosition::Open, Some(until.saturating_duration_since(Instant::now()).as_secs() + 1))
            }
        };
        BreakerState { state, consecutive_failures: inner.consecutive, retry_after_seconds: wait }
    }
}

impl Admission<'_> {
    /// Says what came of the request.
    pub(super) fn tell(mut self, sign: Sign) {
        self.told = true;
        let mut inner = self.breaker.lock();
        inner.count(sign);
        match sign {
            Sign::Good if self.is_trial => inner.close(),
            Sign::Good => inner.consecutive = 0,
            Sign::Bad => inner.fails(self.breaker.limits, self.is_trial),
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.is_trial && !self.told {
            let mut inner = self.breaker.lock();
            if inner.position == Position::HalfOpen {
                inner.position = Position::Open { until: Instant::now() };
            }
        }
    }
}

impl Inner {
    fn close(&mut self) {
        self.position = Position::Closed;
        self.consecutive = 0;
        self.penalty = FIRST_PENALTY;
        self.window = [(u64::MAX, 0, 0); WINDOW_SECONDS];
    }

    fn fails(&mut self, limits: BreakerLimits, is_trial: bool) {
        self.consecutive = self.consecutive.saturating_add(1);
        let opens = match self.position {
            Position::Closed => self.consecutive >= limits.consecutive_failures || self.share_is_bad(limits),
            Position::HalfOpen => is_trial,
            Position::Open { .. } => false,
        };
        if opens {
            self.position =
                Position::Open { until: Instant::now() + self.penalty.mul_f64(1.0 + rand::random_range(0.0..JITTER)) };
            self.penalty = (self.penalty * 2).min(LONGEST_PENALTY);
        }
    }

    fn count(&mut self, sign: Sign) {
        let second = self.began.elapsed().as_secs();
        let place = usize::try_from(second).unwrap_or_default() % WINDOW_SECONDS;
        if let Some(slot) = self.window.get_mut(place) {
            if slot.0 != second {
                *slot = (second, 0, 0);
            }
            match sign {
                Sign::Good => slot.1 += 1,
                Sign::Bad => slot.2 += 1,
            }
        }
    }

    fn share_is_bad(&self, limits: BreakerLimits) -> bool {
        let now = self.began.elapsed().as_secs();
        let oldest = now.saturating_sub(WINDOW_SECONDS as u64 - 1);
        let recent = self.window.iter().filter(|slot| slot.0 != u64::MAX && slot.0 >= oldest);
        let (good, bad) = recent.fold((0_u32, 0_u32), |(good, bad), slot| (good + slot.1, bad + slot.2));
        let all = good + bad;
        all >= LEAST_REQUESTS && bad * 100 >= limits.failure_percent * all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BreakerLimits = BreakerLimits { consecutive_failures: 7, failure_percent: 50 };

    fn fail(breaker: &Breaker) {
        breaker.admit().unwrap_or_else(|_| panic!("refused")).tell(Sign::Bad);
    }

    fn succeed(breaker: &Breaker) {
        breaker.admit().unwrap_or_else(|_| panic!("refused")).tell(Sign::Good);
    }

    fn position(breaker: &Breaker) -> BreakerPosition {
        breaker.state().state
    }

    async fn wait_out(breaker: &Breaker) {
        let wait = breaker.admit().err().unwrap();
        tokio::time::advance(wait).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_at_the_seventh_failure_in_a_row_and_not_before() {
        let breaker = Breaker::new(LIMITS);
        for _ in 0..6 {
            fail(&breaker);
        }
        succeed(&breaker);
        for _ in 0..6 {
            fail(&breaker);
        }
        assert_eq!(position(&breaker), BreakerPosition::Closed);
        fail(&breaker);
        let state = breaker.state();
        assert_eq!((state.state, state.consecutive_failures), (BreakerPosition::Open, 7));
        assert!((1..=2).contains(&state.retry_after_seconds.unwrap()));
        assert!(breaker.admit().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_half_of_twenty_fail_within_half_a_minute() {
        let breaker = Breaker::new(LIMITS);
        for _ in 0..9 {
            succeed(&breaker);
            fail(&breaker);
        }
        succeed(&breaker);
        assert_eq!(position(&breaker), BreakerPosition::Closed, "nineteen say nothing");
        fail(&breaker);
        assert_eq!(position(&breaker), BreakerPosition::Open);

        let slow = Breaker::new(LIMITS);
        for _ in 0..60 {
            succeed(&slow);
            fail(&slow);
            tokio::time::advance(Duration::from_secs(4)).await;
        }
        assert_eq!(position(&slow), BreakerPosition::Closed, "there are never twenty in half a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_is_tried_and_decides() {
        let breaker = Breaker::new(LIMITS);
        (0..7).for_each(|_| fail(&breaker));
        wait_out(&breaker).await;
        let trial = breaker.admit().unwrap_or_else(|_| panic!("refused"));
        assert!(breaker.admit().is_err(), "only one is tried");
        trial.tell(Sign::Good);
        assert_eq!(position(&breaker), BreakerPosition::Closed);
        assert_eq!(breaker.state().consecutive_failures, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_nobody_waits_for_is_given_back() {
        let breaker = Breaker::new(LIMITS);
        (0..7).for_each(|_| fail(&breaker));
        wait_out(&breaker).await;
        drop(breaker.admit());
        succeed(&breaker);
        assert_eq!(position(&breaker), BreakerPosition::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn each_failed_trial_doubles_the_wait_up_to_a_minute_and_a_half() {
        let breaker = Breaker::new(LIMITS);
        (0..7).for_each(|_| fail(&breaker));
        let mut bounds = FIRST_PENALTY;
        for _ in 0..10 {
            let wait = breaker.admit().err().unwrap();
            assert!(wait >= bounds && wait <= bounds.mul_f64(1.5), "{wait:?} {bounds:?}");
            tokio::time::advance(wait).await;
            fail(&breaker);
            bounds = (bounds * 2).min(LONGEST_PENALTY);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_probe_closes_it_at_once() {
        let breaker = Breaker::new(LIMITS);
        (0..7).for_each(|_| breaker.told(Sign::Bad));
        assert_eq!(position(&breaker), BreakerPosition::Open);
        breaker.told(Sign::Good);
        succeed(&breaker);
    }

    proptest! {
        #[test]
        fn whatever_happens_it_heals(signs in proptest::collection::vec(0_u8..4, 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let breaker = Breaker::new(LIMITS);
                for sign in signs {
                    match (sign, breaker.admit()) {
                        (0, Ok(admission)) => admission.tell(Sign::Good),
                        (1, Ok(admission)) => admission.tell(Sign::Bad),
                        (2, Ok(admission)) => drop(admission),
                        (_, Ok(_)) => tokio::time::advance(Duration::from_millis(700)).await,
                        (_, Err(wait)) => {
                            assert!(wait <= LONGEST_PENALTY.mul_f64(1.5));
                            tokio::time::advance(wait / 2).await;
                        }
                    }
                }
                tokio::time::advance(LONGEST_PENALTY.mul_f64(1.5)).await;
                breaker.admit().unwrap_or_else(|_| panic!("refused")).tell(Sign::Good);
                assert_eq!(position(&breaker), BreakerPosition::Closed);
            });
        }
    }
}
