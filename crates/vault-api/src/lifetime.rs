//! The time that a token or a lease has: when it is to be renewed, when replaced, when it ends.

use std::time::Duration;

use tokio::time::Instant;

/// The time that a token or a lease has, as Vault said last.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    first_ttl: Duration,
    /// Whether renewing it brings more time; otherwise it is to be replaced when it is due.
    pub renewable: bool,
    /// When it is to be renewed, or replaced; none for what does not end.
    pub due: Option<Instant>,
    /// When it ends; none for what does not.
    pub ends: Option<Instant>,
}

impl Lifetime {
    /// The time of something that was just given for so many seconds; 0 does not end.
    pub fn new(seconds: u64, renewable: bool) -> Self {
        let mut lifetime = Self { first_ttl: Duration::from_secs(seconds), renewable, due: None, ends: None };
        lifetime.extend(seconds, renewable);
        lifetime
    }

    /// Takes note of a renewal.
    pub fn extend(&mut self, seconds: u64, renewable: bool) {
        let ttl = Duration::from_secs(seconds);
        let now = Instant::now();
        // Vault gives less and less as something comes near its longest time; then a new one is due next.
        self.renewable = renewable && ttl * 2 > self.first_ttl;
        let ends = !ttl.is_zero();
        self.ends = ends.then(|| now + ttl);
        self.due = ends.then(|| now + due_after(ttl, rand::random_range(0.9..=1.1)));
    }

    /// There is something to replace it by: that is due now.
    pub fn replace(&mut self) {
        (self.due, self.renewable) = (Some(Instant::now()), false);
    }

    /// There is nothing to replace it by, and renewing it brought nothing: it is due when it ends.
    pub fn use_up(&mut self) {
        self.due = self.ends;
    }

    /// Whether there is time left.
    pub fn lasts(&self) -> bool {
        self.ends.is_none_or(|ends| ends > Instant::now())
    }

    /// Whether it is to be renewed or replaced.
    pub fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }
}

/// When something that lives so long is to be renewed, with a factor from 0.9 to 1.1: at two thirds of its time, so that
/// replicas don't come at once, and no later than 30 s or a third of its time before it ends.
fn due_after(ttl: Duration, jitter: f64) -> Duration {
    let latest = ttl.saturating_sub((ttl / 3).min(Duration::from_secs(30)));
    (ttl * 2 / 3).mul_f64(jitter).min(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_renewed_in_time() {
        let after = |ttl, jitter| due_after(Duration::from_secs(ttl), jitter).as_secs();
        assert_eq!((after(3600, 0.9), after(3600, 1.0), after(3600, 1.1)), (2160, 2400, 2640));
        assert_eq!((after(60, 1.0), after(60, 1.1)), (40, 40));
        assert_eq!((after(3, 1.1), after(0, 1.0)), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_brings_little_is_the_last() {
        let mut lifetime = Lifetime::new(100, true);
        tokio::time::advance(Duration::from_secs(75)).await;
        assert!(lifetime.is_due() && lifetime.lasts());
        lifetime.extend(90, true);
        assert!(lifetime.renewable && !lifetime.is_due());
        lifetime.extend(50, true);
        assert!(!lifetime.renewable);
        tokio::time::advance(Duration::from_secs(50)).await;
        assert!(!lifetime.lasts());
        assert!(Lifetime::new(0, false).lasts() && !Lifetime::new(0, false).is_due());
    }
}
