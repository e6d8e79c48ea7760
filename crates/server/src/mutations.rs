//! The last calls that changed something, for the operator to publish as Kubernetes Events: this process may not write to
//! the Kubernetes API. Never an argument.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use pod_api::status::Mutation;

/// Calls that are kept. The operator asks every few seconds; what comes faster is in the audit records only.
const KEPT: usize = 32;

/// The last calls that changed something.
#[derive(Debug, Default)]
pub struct Mutations(Mutex<VecDeque<Mutation>>);

impl Mutations {
    /// Keeps one more, in the place of the oldest if there are too many.
    pub fn push(&self, mutation: Mutation) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(mutation);
    }

    /// All that are kept, the newest last.
    #[must_use]
    pub fn all(&self) -> Vec<Mutation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pod_api::status::{CallOutcome, MAX_STATUS_BYTES};

    #[test]
    fn the_newest_are_kept_and_fit_into_the_status() {
        let mutations = Mutations::default();
        for number in 0..100 {
            mutations.push(Mutation {
                id: format!("{number:032}"),
                tool: "t".repeat(128),
                caller: format!("system:serviceaccount:{}:{}", "n".repeat(63), "s".repeat(253)),
                outcome: CallOutcome::Success,
                time: jiff::Timestamp::UNIX_EPOCH,
            });
        }
        let kept = mutations.all();
        assert_eq!((kept.len(), kept[0].id.trim_start_matches('0')), (KEPT, "68"));
        assert!(serde_json::to_string(&kept).unwrap().len() < MAX_STATUS_BYTES / 2);
    }
}
