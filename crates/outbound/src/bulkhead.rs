//! How many requests to one platform run and wait at a time. What doesn't fit is refused at once: a platform that hangs
//! costs its own connector some places, and nobody else anything.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use pod_api::outbound::BulkheadState;

/// Time that a request waits for its turn at most.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

pub(super) struct Bulkhead {
    places: Semaphore,
    max_running: usize,
    max_queued: usize,
    queued: AtomicUsize,
}

/// There is no place, nor one in the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Counts a waiting request for as long as it waits, also if it is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bulkhead {
    pub(super) fn new(max_running: usize, max_queued: usize) -> Self {
        let max_running = max_running.clamp(1, Semaphore::MAX_PERMITS);
        Self { places: Semaphore::new(max_running), max_running, max_queued, queued: AtomicUsize::new(0) }
    }

    /// Takes a place, and waits for one if the queue has room; no longer than the deadline, nor a second.
    ///
    /// # Errors
    /// When there is no place in time.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Full> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let _waiting = self.queue().ok_or(Full)?;
        let until = deadline.min(Instant::now() + LONGEST_WAIT);
        match tokio::time::timeout_at(until, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Full),
        }
    }

    fn queue(&self) -> Option<Waiting<'_>> {
        let room = |queued: usize| (queued < self.max_queued).then_some(queued + 1);
        self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok().map(|_| Waiting(&self.queued))
    }

    pub(super) fn state(&self) -> BulkheadState {
        BulkheadState {
            running: self.max_running.saturating_sub(self.places.available_permits()),
            queued: self.queued.load(Ordering::Relaxed),
            max_running: self.max_running,
            max_queued: self.max_queued,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn later(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_refused() {
        let bulkhead = Bulkhead::new(1, 1);
        let place = bulkhead.enter(later(9)).await.unwrap();
        let (second, third) = tokio::join!(
            async {
                let began = Instant::now();
                (bulkhead.enter(later(9)).await.is_err(), began.elapsed())
            },
            async {
                tokio::task::yield_now().await;
                assert_eq!((bulkhead.state().running, bulkhead.state().queued), (1, 1));
                let began = Instant::now();
                (bulkhead.enter(later(9)).await.is_err(), began.elapsed())
            }
        );
        assert_eq!(second, (true, LONGEST_WAIT), "it waited a second");
        assert_eq!(third, (true, Duration::ZERO), "there was no room to wait in");
        drop(place);
        assert!(bulkhead.enter(later(9)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_there_is_time() {
        let bulkhead = Bulkhead::new(1, 5);
        let _place = bulkhead.enter(later(9)).await.unwrap();
        let began = Instant::now();
        assert!(bulkhead.enter(began + Duration::from_millis(300)).await.is_err());
        assert_eq!(began.elapsed(), Duration::from_millis(300));
    }

    proptest! {
        #[test]
        fn places_never_leak(steps in proptest::collection::vec((0_u64..400, any::<bool>()), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let bulkhead = std::sync::Arc::new(Bulkhead::new(3, 4));
                let mut tasks = Vec::new();
                for (millis, cancel) in steps {
                    let bulkhead = std::sync::Arc::clone(&bulkhead);
                    let task = tokio::spawn(async move {
                        if let Ok(_place) = bulkhead.enter(later(9)).await {
                            tokio::time::sleep(Duration::from_millis(millis)).await;
                        }
                    });
                    tokio::time::sleep(Duration::from_millis(millis / 4)).await;
                    if cancel {
                        task.abort();
                    }
                    tasks.push(task);
                }
                for task in tasks {
                    let _cancelled = task.await;
                }
                let state = bulkhead.state();
                assert_eq!((state.running, state.queued), (0, 0));
            });
        }
    }
}
