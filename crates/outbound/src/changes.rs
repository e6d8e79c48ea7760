//! What requests are for, and whether one that changes something was sent: a fact for whoever asks ([`noting`]), so that nobody
//! has to guess by how a call failed.

use std::cell::Cell;

tokio::task_local! {
    /// Requests that change something, and that the platform took or may have taken.
    static SENT: Cell<u32>;
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To look: it changes nothing, however often it arrives.
    Look,
    /// A step on the way, such as a login or the start of a query: it leaves something behind, so it should arrive once, and
    /// is not what a caller means by a change.
    Step,
    /// To change something.
    Change,
}

/// Does something, and tells whether a request that changes something was sent meanwhile in the same task, and not refused.
pub async fn noting<F: Future>(work: F) -> (F::Output, bool) {
    SENT.scope(Cell::new(0), async { (work.await, SENT.with(Cell::get) > 0) }).await
}

/// A request that is being sent. If it is dropped before its end is known, it counts as taken.
pub(super) struct Sending(Purpose);

impl Sending {
    pub(super) fn begin(purpose: Purpose) -> Self {
        count(purpose, 1);
        Self(purpose)
    }

    /// Says that the platform has not taken it.
    pub(super) fn was_not_taken(self) {
        count(self.0, -1);
    }
}

fn count(purpose: Purpose, by: i32) {
    if purpose == Purpose::Change {
        let _nobody_asks = SENT.try_with(|sent| sent.set(sent.get().saturating_add_signed(by)));
    }
}
