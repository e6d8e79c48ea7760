//! The log line of a call that has ended.

use super::EndedCall;
use crate::state::ReplicaState;
use pod_api::status::CallOutcome;
use tools::ErrorCode;

/// Logs it. Calls that go well are in the audit records; a line for each of them would say it twice. So are those of which
/// there are too many, and a flood of lines would cost the calls that are answered.
pub fn observe(_: &ReplicaState, call: &EndedCall<'_>) {
    let duration_ms = u64::try_from(call.duration.as_millis()).unwrap_or(u64::MAX);
    let (outcome, error_code) = (call.words.status, call.words.error_code);
    if call.words.outcome == CallOutcome::Success {
        tracing::debug!(duration_ms, outcome, "tool call ended");
    } else if error_code == <&'static str>::from(ErrorCode::RateLimited) {
        tracing::debug!(duration_ms, outcome, error_code, "tool call refused");
    } else {
        tracing::info!(duration_ms, outcome, error_code, "tool call failed");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        guards::{Outcome, bounds::Bounded, notes::Notes},
        testing::{ended_call, starting, told},
    };
    use tools::ToolError;

    #[test]
    fn only_what_failed_and_was_not_one_too_many_is_a_line_by_default() {
        let (state, notes, lines) = (starting(), Notes::default(), &told().lines);
        let answered = Bounded { value: Value::Null, text: "null".into(), redactions: 0 };
        let failed = |code| ToolError::new(code, "canary-argument");
        for (id, outcome, level, message, code) in [
            ("observed-0", Outcome::Answered(answered), "DEBUG", "tool call ended", Value::Null),
            ("observed-1", Outcome::Failed(failed(ErrorCode::OutcomeUnread)), "DEBUG", "tool call ended", Value::Null),
            (
                "observed-2",
                Outcome::Held("rate", failed(ErrorCode::RateLimited)),
                "DEBUG",
                "tool call refused",
                json!("rate_limited"),
            ),
            (
                "observed-3",
                Outcome::Failed(failed(ErrorCode::NotFound)),
                "INFO",
                "tool call failed",
                json!("not_found"),
            ),
            ("observed-4", Outcome::Panicked, "INFO", "tool call failed", json!("internal")),
            ("observed-5", Outcome::Unknown(vec![]), "INFO", "tool call failed", json!("unknown_tool")),
        ] {
            let call = ended_call(&state, &outcome, &notes);
            tracing::error_span!("tool_call", request_id = id).in_scope(|| observe(&state, &call));
            let line = lines.values().into_iter().find(|line| line["request_id"] == id).unwrap();
            assert_eq!((&line["level"], &line["message"]), (&json!(level), &json!(message)), "{line}");
            assert_eq!((&line["error_code"], &line["duration_ms"]), (&code, &json!(20)), "{line}");
        }
    }
}
