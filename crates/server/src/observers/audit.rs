//! The end of a call's audit record.

use super::EndedCall;
use crate::state::ReplicaState;

/// Writes how the call ended.
pub fn observe(_: &ReplicaState, call: &EndedCall<'_>) {
    call.record.end(call.words.outcome, call.words.error_code);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        guards::{Outcome, notes::Notes},
        testing::{Lines, ended_call, starting_with},
    };
    use tools::{ErrorCode, ToolError};

    #[test]
    fn the_record_is_ended_once_and_with_what_the_call_ended_with() {
        let (lines, notes) = (Lines::default(), Notes::default());
        let state = starting_with(lines.clone());
        let failed = Outcome::Failed(ToolError::new(ErrorCode::NotFound, "there is none"));
        let call = ended_call(&state, &failed, &notes);
        observe(&state, &call);
        drop(call);
        drop(ended_call(&state, &Outcome::Panicked, &notes));
        state.audit.finish();
        let told: Vec<[String; 3]> = lines
            .values()
            .iter()
            .map(|record| {
                ["/data/unmapped/phase", "/data/unmapped/outcome", "/data/status_code"]
                    .map(|at| record.pointer(at).and_then(|word| word.as_str()).unwrap_or_default().to_owned())
            })
            .collect();
        let begun = ["attempt", "", ""];
        assert_eq!(told, [begun, ["result", "error", "not_found"], begun, ["result", "abandoned", "abandoned"]]);
    }
}
