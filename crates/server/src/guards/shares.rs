//! How much of something one caller has at a time, and may have at most.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use outbound::CallerKey;

/// What callers have of something.
#[derive(Debug)]
pub struct Shares {
    most: usize,
    had: Mutex<HashMap<CallerKey, usize>>,
}

impl Shares {
    /// Something of which each caller may have so much.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, had: Mutex::default() })
    }

    /// A share of a caller, of nothing yet.
    #[must_use]
    pub fn of(self: &Arc<Self>, caller: CallerKey) -> Share {
        Share { shares: self.clone(), caller, size: 0 }
    }
}

/// What one thing takes of a caller's share, until it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    caller: CallerKey,
    size: usize,
}

impl Share {
    /// How large it may ever be.
    #[must_use]
    pub fn most(&self) -> usize {
        self.shares.most
    }

    /// Makes it as large as that, if it is smaller. Says whether there was so much left.
    #[must_use]
    pub fn grow(&mut self, to: usize) -> bool {
        let Some(more) = to.checked_sub(self.size).filter(|more| *more > 0) else { return true };
        let mut had = self.shares.had.lock().unwrap_or_else(PoisonError::into_inner);
        let of_caller = had.entry(self.caller).or_default();
        let fits = of_caller.saturating_add(more) <= self.shares.most;
        if fits {
            *of_caller += more;
            self.size = to;
        } else if *of_caller == 0 {
            had.remove(&self.caller);
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.size == 0 {
            return;
        }
        let mut had = self.shares.had.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_caller) = had.get_mut(&self.caller) {
            *of_caller = of_caller.saturating_sub(self.size);
            if *of_caller == 0 {
                had.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_no_more_than_its_share_and_others_have_theirs() {
        let shares = Shares::new(10);
        let [a, b] = ["a", "b"].map(|name| CallerKey::of(&name));
        let (mut first, mut second, mut other) = (shares.of(a), shares.of(a), shares.of(b));
        assert!(first.grow(6) && first.grow(3) && second.grow(4));
        assert!(!second.grow(5), "it has all of it");
        assert!(other.grow(10));
        drop(first);
        assert!(second.grow(10));
        drop((second, other));
        assert!(!shares.of(a).grow(11));
        assert!(shares.had.lock().unwrap().is_empty());
    }
}
