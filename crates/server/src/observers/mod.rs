//! What is told of a tool call when it has ended, one file for each who tells it: lines, metrics, traces, the recent
//! mutations, audit records. A further one is a file, a `mod` and a place in the list.

mod audit;
mod log;
mod metrics;
pub mod recent_mutations;
mod trace;

use std::time::Duration;

use super::{
    access::Caller,
    audit::CallRecord,
    guards::{Outcome, notes::Notes},
    metrics::UNKNOWN_TOOL,
    operation::Operation,
    state::ReplicaState,
};
use pod_api::status::CallOutcome;
use tools::ErrorCode;

/// Everybody who tells of calls, in this order: who reads an audit record finds in the metrics what it is about.
const OBSERVERS: &[fn(&ReplicaState, &EndedCall<'_>)] =
    &[log::observe, trace::observe, metrics::observe, recent_mutations::observe, audit::observe];

/// Tells all of them of a call. To be called in the span of its log lines.
pub fn tell(state: &ReplicaState, call: &EndedCall<'_>) {
    for observe in OBSERVERS {
        observe(state, call);
    }
}

/// A call that has ended, with all that there is to tell of it.
pub struct EndedCall<'a> {
    /// Who called.
    pub caller: &'a Caller,
    /// The tool's name as it was called.
    pub name: &'a str,
    /// Whether there is such a tool.
    pub offered: bool,
    /// Whether it was to change something, and not only to say what it would change.
    pub acts: bool,
    /// Its place in its caller's trace.
    pub operation: Operation,
    /// Its audit record, which was begun before the tool ran.
    pub record: CallRecord,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// The same in words.
    pub words: Words,
    /// What the guards said besides.
    pub notes: &'a Notes,
    /// How long it took.
    pub duration: Duration,
}

impl EndedCall<'_> {
    /// The tool for labels: its name, or [`UNKNOWN_TOOL`] where there is none for this caller.
    fn tool(&self) -> &str {
        if self.offered && self.words.outcome != CallOutcome::Denied { self.name } else { UNKNOWN_TOOL }
    }
}

/// How a call ended, in the words of lines, metrics, spans and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// For records.
    outcome: CallOutcome,
    /// `success`, `error` or `exception`.
    status: &'static str,
    /// Class of the error, or empty.
    error_code: &'static str,
    /// The same in the words of the semantic conventions.
    error_type: &'static str,
}

impl Words {
    /// The words for an outcome.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let (outcome, status, error_code, error_type) = match outcome {
            Outcome::Answered(_) => (CallOutcome::Success, "success", "", ""),
            Outcome::Failed(error) if error.code == ErrorCode::OutcomeUnread => {
                (CallOutcome::Success, "error", error.code.into(), "tool_error")
            }
            Outcome::Failed(error) | Outcome::Held(_, error) => {
                (CallOutcome::Error, "error", error.code.into(), "tool_error")
            }
            Outcome::Refused(error) => (CallOutcome::Denied, "error", error.code.into(), "tool_error"),
            Outcome::Panicked => (CallOutcome::Exception, "exception", ErrorCode::Internal.into(), "panic"),
            Outcome::Abandoned => (CallOutcome::Abandoned, "error", "abandoned", "abandoned"),
            Outcome::Unknown(_) => (CallOutcome::Denied, "error", "unknown_tool", "-32602"),
        };
        Self { outcome, status, error_code, error_type }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ended_call, starting};
    use tools::ToolError;

    #[test]
    fn a_tool_that_the_caller_may_not_know_of_is_no_label() {
        let (state, notes) = (starting(), Notes::default());
        let tool = |outcome: &Outcome, offered| {
            let call = EndedCall { offered, ..ended_call(&state, outcome, &notes) };
            call.tool().to_owned()
        };
        let error = || ToolError::internal("fault");
        assert_eq!(tool(&Outcome::Failed(error()), true), "get_fake_thing");
        assert_eq!(tool(&Outcome::Held("rate", error()), false), UNKNOWN_TOOL);
        for denied in [Outcome::Refused(error()), Outcome::Unknown(Vec::new())] {
            assert_eq!(tool(&denied, true), UNKNOWN_TOOL);
        }
    }
}
