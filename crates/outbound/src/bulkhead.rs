//! How many requests to one platform run and wait at a time. What doesn't fit is refused at once: a platform that hangs
//! costs its own connector some places, and nobody else anything. While several callers are about, none of them has all
//! places, nor all of the queue, so that slow requests of one don't keep the others out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::Instant,
};

use super::callers::{self, Callers};

use pod_api::outbound::BulkheadState;

/// Time that a request waits for its turn at most.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

pub(super) struct Bulkhead {
    places: Semaphore,
    max_running: usize,
    max_queued: usize,
    queued: AtomicUsize,
    callers: Callers<Own>,
}

/// What one caller has of it.
struct Own {
    /// As many as there are in all.
    places: Arc<Semaphore>,
    queued: AtomicUsize,
}

/// A place. It is free again when this is dropped.
pub(super) struct Place<'a> {
    _place: SemaphorePermit<'a>,
    _own: Option<OwnedSemaphorePermit>,
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
        Self {
            places: Semaphore::new(max_running),
            max_running,
            max_queued,
            queued: AtomicUsize::new(0),
            callers: Callers::default(),
        }
    }

    /// Takes a place, and waits for one if the queue has room; no longer than the deadline, nor a second.
    ///
    /// # Errors
    /// When there is no place in time.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<Place<'_>, Full> {
        let mine = callers::current().map(|caller| {
            let (own, company) = self.callers.come(caller, || self.begin());
            let (over, room) = self.share(company);
            (own, over, room)
        });
        if let Some(place) = self.try_enter(mine.as_ref().map(|(own, over, _)| (&**own, *over))) {
            return Ok(place);
        }
        let _waiting = wait_in(&self.queued, self.max_queued).ok_or(Full)?;
        let _own = match &mine {
            Some((own, _, room)) => Some(wait_in(&own.queued, *room).ok_or(Full)?),
            None => None,
        };
        let until = deadline.min(Instant::now() + LONGEST_WAIT);
        let turn = async {
            let own = match &mine {
                Some((own, over, _)) => {
                    let taken = own.places.clone().acquire_many_owned(1 + over).await.ok()?;
                    Some(without(taken, *over))
                }
                None => None,
            };
            Some(Place { _place: self.places.acquire().await.ok()?, _own: own })
        };
        tokio::time::timeout_at(until, turn).await.ok().flatten().ok_or(Full)
    }

    fn try_enter(&self, mine: Option<(&Own, u32)>) -> Option<Place<'_>> {
        let own = match mine {
            Some((own, over)) => Some(without(own.places.clone().try_acquire_many_owned(1 + over).ok()?, over)),
            None => None,
        };
        Some(Place { _place: self.places.try_acquire().ok()?, _own: own })
    }

    /// Places that a caller leaves to others, and seats of the queue that it may have. One who is alone leaves nothing; of
    /// others each leaves one place and a quarter of the queue, where there is more than one.
    fn share(&self, company: bool) -> (u32, usize) {
        if !company {
            return (0, self.max_queued);
        }
        let left = (self.max_queued / 4).max(usize::from(self.max_queued > 1));
        (u32::from(self.max_running > 1), self.max_queued - left)
    }

    fn begin(&self) -> Own {
        Own { places: Arc::new(Semaphore::new(self.max_running)), queued: AtomicUsize::new(0) }
    }

    /// How many run and wait. To a caller who looks, and has had its share, it is full.
    pub(super) fn state(&self) -> BulkheadState {
        let state = BulkheadState {
            running: self.max_running.saturating_sub(self.places.available_permits()),
            queued: self.queued.load(Ordering::Relaxed),
            max_running: self.max_running,
            max_queued: self.max_queued,
        };
        let own = callers::looking().and_then(|caller| self.callers.get(caller));
        let has_had_its_share = own.is_some_and(|(own, company)| {
            let (over, room) = self.share(company);
            own.places.available_permits() <= over as usize && own.queued.load(Ordering::Relaxed) >= room
        });
        if has_had_its_share {
            return BulkheadState { running: self.max_running, queued: self.max_queued, ..state };
        }
        state
    }
}

/// What was taken, without as many as were taken only to see that they are there.
fn without(mut taken: OwnedSemaphorePermit, over: u32) -> OwnedSemaphorePermit {
    let _given_back = taken.split(over as usize);
    taken
}

/// Takes a seat in a queue, if there is one.
fn wait_in(queued: &AtomicUsize, most: usize) -> Option<Waiting<'_>> {
    let room = |queued: usize| (queued < most).then_some(queued + 1);
    queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok().map(|_| Waiting(queued))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::CallerKey;

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

    #[tokio::test(start_paused = true)]
    async fn one_of_several_callers_has_neither_all_places_nor_all_of_the_queue() {
        let bulkhead = &Bulkhead::new(3, 4);
        let [slow, other] = ["slow", "other"].map(|name| CallerKey::of(&name));
        let enter = |caller| callers::on_behalf_of(caller, bulkhead.enter(later(9)));
        drop(enter(other).await.unwrap());
        let held = [enter(slow).await.unwrap(), enter(slow).await.unwrap()];
        let began = Instant::now();
        let waiting =
            futures::future::join_all((0..4).map(|_| async { (enter(slow).await.is_err(), began.elapsed()) }));
        let others = async {
            tokio::task::yield_now().await;
            assert_eq!((bulkhead.state().running, bulkhead.state().queued), (2, 3));
            let seen = |caller| callers::seen_by(caller, || bulkhead.state());
            assert_eq!((seen(slow).running, seen(slow).queued), (3, 4), "there is nothing more for it");
            assert_eq!((seen(other).running, seen(other).queued), (2, 3));
            drop(enter(other).await.unwrap());
            began.elapsed()
        };
        let (waited, others) = tokio::join!(waiting, others);
        assert_eq!(others, Duration::ZERO, "its place was free");
        let waits: Vec<_> = waited.iter().map(|(refused, wait)| (*refused, *wait == Duration::ZERO)).collect();
        assert_eq!(waits, [(true, false), (true, false), (true, false), (true, true)]);
        drop(held);
        assert!(enter(slow).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_is_alone_has_all_of_it_until_another_comes() {
        let bulkhead = &Bulkhead::new(2, 1);
        let [alone, other] = ["alone", "other"].map(|name| CallerKey::of(&name));
        let enter = |caller| callers::on_behalf_of(caller, bulkhead.enter(later(9)));
        let mut held = vec![enter(alone).await.unwrap(), enter(alone).await.unwrap()];
        assert!(enter(other).await.is_err());
        held.pop();
        assert!(enter(alone).await.is_err(), "the next one is the other's");
        assert!(enter(other).await.is_ok());
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
