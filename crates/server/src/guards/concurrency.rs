//! How many calls run at a time. One more is refused at once with the advice to come back: a queue would only turn too
//! many calls into too late answers.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use tools::{ErrorCode, ToolError};

/// The places for calls.
pub struct Slots {
    free: Arc<Semaphore>,
    total: usize,
}

impl Slots {
    /// Places for `total` calls.
    #[must_use]
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total }
    }

    /// Takes a place, which is free again when the answer is dropped.
    ///
    /// # Errors
    /// When none is free.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, ToolError> {
        self.free.clone().try_acquire_owned().map_err(|_| {
            ToolError::new(ErrorCode::RateLimited, "the connector works on as many calls as it may at a time")
                .with_remedy("call again a little later, and make fewer calls at a time")
                .with_retry_after(Duration::from_secs(1))
        })
    }

    /// Calls that run now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.total.saturating_sub(self.free.available_permits())
    }
}
