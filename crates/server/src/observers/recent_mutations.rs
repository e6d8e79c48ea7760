//! The last calls that changed something, for the operator to publish as Kubernetes Events: this process may not write to
//! the Kubernetes API. Never an argument.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use super::EndedCall;
use crate::{guards::Outcome, state::ReplicaState};
use pod_api::status::Mutation;

/// Calls that are kept. The operator asks every few seconds; what comes faster is in the audit records only.
const KEPT: usize = 32;

/// The last calls that changed something.
#[derive(Debug, Default)]
pub struct RecentMutations(Mutex<VecDeque<Mutation>>);

impl RecentMutations {
    /// Keeps one more, in the place of the oldest if there are too many.
    fn push(&self, mutation: Mutation) {
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

/// Keeps the call if it was to change something, no guard held it up or refused it, and it isn't the answer to an earlier
/// one given again.
pub fn observe(state: &ReplicaState, call: &EndedCall<'_>) {
    let stopped = matches!(call.outcome, Outcome::Held(..) | Outcome::Refused(_) | Outcome::Unknown(_));
    if call.acts && !stopped && !call.notes.replayed {
        state.recent_mutations.push(Mutation {
            id: call.record.event_id().to_owned(),
            tool: call.name.to_owned(),
            caller: call.caller.to_string(),
            outcome: call.words.outcome,
            time: jiff::Timestamp::now(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        guards::notes::Notes,
        testing::{ended_call, starting},
    };
    use pod_api::status::{CallOutcome, MAX_STATUS_BYTES};
    use tools::{ErrorCode, ToolError};

    #[test]
    fn the_newest_are_kept_and_fit_into_the_status() {
        let mutations = RecentMutations::default();
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

    #[test]
    fn what_was_stopped_or_changes_nothing_is_not_kept() {
        let (state, error) = (starting(), || ToolError::new(ErrorCode::Conflict, "it is locked"));
        let (plain, replayed) = (Notes::default(), Notes { replayed: true, ..Notes::default() });
        for (outcome, acts, notes, kept) in [
            (Outcome::Failed(error()), false, &plain, 0),
            (Outcome::Failed(error()), true, &replayed, 0),
            (Outcome::Held("concurrency", error()), true, &plain, 0),
            (Outcome::Refused(error()), true, &plain, 0),
            (Outcome::Failed(error()), true, &plain, 1),
            (Outcome::Panicked, true, &plain, 2),
        ] {
            observe(&state, &EndedCall { acts, ..ended_call(&state, &outcome, notes) });
            assert_eq!(state.recent_mutations.all().len(), kept, "{acts} {kept}");
        }
        let outcomes: Vec<CallOutcome> = state.recent_mutations.all().iter().map(|kept| kept.outcome).collect();
        assert_eq!(outcomes, [CallOutcome::Error, CallOutcome::Exception]);
    }
}
