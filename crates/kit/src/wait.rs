//! Waiting for something on a platform: looks at growing intervals, for as long as the caller wants and the call may last, with
//! time left for the answer.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use tools::CallContext;

/// Time of a call that is left for its last look and its answer.
const RESERVE: Duration = Duration::from_secs(2);
/// By how much each pause is longer than the one before.
const GROWTH: f64 = 1.3;

/// When a call that waits has to come to its end; now, if there is not even time for that.
#[must_use]
pub fn latest(context: &CallContext) -> Instant {
    context.deadline.checked_sub(RESERVE).unwrap_or_else(Instant::now)
}

/// A wait that goes on.
#[derive(Debug)]
pub struct Wait {
    begun: Instant,
    until: Instant,
    pause: Duration,
    longest: Duration,
}

impl Wait {
    /// Begins. `time` is how long the caller wants to wait; pauses between looks grow from `first` to `longest`.
    #[must_use]
    pub fn new(time: Duration, context: &CallContext, first: Duration, longest: Duration) -> Self {
        let begun = Instant::now();
        let latest = latest(context);
        let until = begun.checked_add(time).map_or(latest, |until| until.min(latest));
        Self { begun, until, pause: first, longest }
    }

    /// Time since it began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Tells the caller how it goes (`state`, such as `running`), and pauses until the next look. False if the last look was the
    /// last one: the time is up.
    pub async fn next_look(&mut self, state: impl Into<String>, context: &CallContext) -> bool {
        self.next_look_after(self.pause, state, context).await
    }

    /// The same with a pause that is at least so long.
    pub async fn next_look_after(&mut self, least: Duration, state: impl Into<String>, context: &CallContext) -> bool {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let whole = self.until.duration_since(self.begun);
        context.progress.report(self.elapsed().as_secs_f64(), Some(whole.as_secs_f64()), state);
        // The last look comes when the time is up, not a pause before; or now, when the server is about to end.
        let pause = sleep(self.pause.max(least).min(left));
        if context.stopping.run_until_cancelled(pause).await.is_none() {
            self.until = Instant::now();
        }
        self.pause = self.pause.mul_f64(GROWTH).min(self.longest);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn looks(time: Duration, call: Duration) -> Vec<u64> {
        let begun = Instant::now();
        let context = CallContext::new(begun + call, 1_024);
        let mut wait = Wait::new(time, &context, SECOND, SECOND * 3);
        let mut at = vec![0];
        while wait.next_look("waits", &context).await {
            at.push(u64::try_from(begun.elapsed().as_millis()).unwrap());
        }
        at
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_the_last_look_comes_when_the_time_is_up() {
        let at = looks(SECOND * 10, SECOND * 60).await;
        assert_eq!(at.last(), Some(&10_000), "{at:?}");
        let pauses: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (last, others) = pauses.split_last().unwrap();
        assert!(others.windows(2).all(|pair| pair[0] <= pair[1]) && others[0] == 1_000, "{pauses:?}");
        assert!(*last <= 3_000 && others.iter().all(|pause| *pause <= 3_000), "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_about_to_end_is_not_held_up() {
        let begun = Instant::now();
        let context = CallContext::new(begun + SECOND * 100, 1_024);
        let stopping = context.stopping.clone();
        tokio::spawn(async move {
            sleep(SECOND * 4).await;
            stopping.cancel();
        });
        let mut wait = Wait::new(SECOND * 90, &context, SECOND * 3, SECOND * 3);
        let mut looks = 0;
        while wait.next_look("waits", &context).await {
            looks += 1;
        }
        assert_eq!((looks, begun.elapsed()), (2, SECOND * 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_never_takes_the_time_of_the_answer() {
        assert_eq!(looks(SECOND * 100, SECOND * 5).await.last(), Some(&3_000));
        assert_eq!(looks(Duration::MAX, SECOND * 5).await.last(), Some(&3_000));
        assert_eq!(looks(SECOND * 100, SECOND).await, [0]);
        assert_eq!(looks(Duration::ZERO, SECOND * 5).await, [0]);
    }
}
