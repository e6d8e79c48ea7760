//! How many calls run at a time. One more is refused at once with the advice to come back: a queue would only turn too
//! many calls into too late answers. While several callers are about, each leaves an eighth of the places to the others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use outbound::{CallerKey, Callers};
use tools::{ErrorCode, ToolError};

/// The places for calls.
pub struct Slots {
    free: Arc<Semaphore>,
    total: usize,
    callers: Callers<AtomicUsize>,
}

/// A place, which is free again when this is dropped.
#[derive(Debug)]
pub struct Slot {
    _place: OwnedSemaphorePermit,
    of_caller: Arc<AtomicUsize>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.of_caller.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Slots {
    /// Places for `total` calls.
    #[must_use]
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total, callers: Callers::default() }
    }

    /// Takes a place for a caller.
    ///
    /// # Errors
    /// When none is free, or none for this caller.
    pub fn enter(&self, caller: CallerKey) -> Result<Slot, ToolError> {
        let (of_caller, company) = self.callers.come(caller, AtomicUsize::default);
        let left = if company { (self.total / 8).max(usize::from(self.total > 1)) } else { 0 };
        let room = |has: usize| (has < self.total - left).then_some(has + 1);
        if of_caller.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_err() {
            return Err(refusal("the connector works on as many calls of one caller as it may at a time"));
        }
        if let Ok(place) = self.free.clone().try_acquire_owned() {
            return Ok(Slot { _place: place, of_caller });
        }
        of_caller.fetch_sub(1, Ordering::AcqRel);
        Err(refusal("the connector works on as many calls as it may at a time"))
    }

    /// Calls that run now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.total.saturating_sub(self.free.available_permits())
    }
}

fn refusal(message: &str) -> ToolError {
    ToolError::new(ErrorCode::RateLimited, message)
        .with_remedy("call again a little later, and make fewer calls at a time")
        .with_retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_leaves_some_to_others_once_there_are_any() {
        let slots = Slots::new(16);
        let [many, other] = ["many", "other"].map(|name| CallerKey::of(&name));
        let enter = |caller, count: usize| (0..count).map_while(|_| slots.enter(caller).ok()).collect::<Vec<_>>();
        let mut held = enter(many, 20);
        assert_eq!((held.len(), slots.in_use()), (16, 16), "it is alone");
        assert!(slots.enter(other).is_err());
        held.truncate(13);
        held.extend(enter(many, 20));
        assert_eq!(held.len(), 14);
        assert_eq!(enter(other, 20).len(), 2);
        drop(held);
        assert_eq!(slots.in_use(), 0);
    }
}
