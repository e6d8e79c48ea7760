//! Log lines about what a platform does again and again: one of a kind a minute.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Time between two lines of the same kind.
const PAUSE: Duration = Duration::from_mins(1);
/// Kinds whose last line is remembered, at most. Beyond them nothing is logged until one is forgotten.
const MAX_KINDS: usize = 256;

/// Says which lines are due. `Kind` tells what makes two lines the same.
#[derive(Debug)]
pub struct Seldom<Kind>(Mutex<Vec<(Kind, Instant)>>);

impl<Kind: PartialEq> Seldom<Kind> {
    /// Nothing has been logged.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is made in constants")]
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Whether a line of this kind is due; it is taken as logged then.
    pub fn is_due(&self, kind: Kind) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|(_, at)| at.elapsed() < PAUSE);
        let due = logged.len() < MAX_KINDS && !logged.iter().any(|(known, _)| *known == kind);
        if due {
            logged.push((kind, Instant::now()));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_a_kind_and_a_bound_on_kinds() {
        let seldom = Seldom::new();
        assert!(seldom.is_due(0) && !seldom.is_due(0) && seldom.is_due(1));
        assert_eq!((2..1_000).filter(|kind| seldom.is_due(*kind)).count(), MAX_KINDS - 2);
    }
}
