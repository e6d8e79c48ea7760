//! A call that has ended, as metrics.

use super::EndedCall;
use crate::{guards::Outcome, state::ReplicaState};

/// Counts the call and measures it, with its trace as an exemplar if that is exported.
pub fn observe(state: &ReplicaState, call: &EndedCall<'_>) {
    let (metrics, tool, words) = (&state.metrics, call.tool(), call.words);
    let bytes = if let Outcome::Answered(answer) = call.outcome { answer.text.len() } else { 0 };
    metrics.called(tool, words.status, call.duration, bytes, call.operation.exported_trace().as_deref());
    metrics.operated(&call.operation.labels(tool, words.error_type), call.duration);
    match call.outcome {
        Outcome::Answered(answer) => metrics.redacted(answer.redactions),
        Outcome::Refused(_) | Outcome::Unknown(_) => metrics.refused("authorization"),
        Outcome::Held(guard, _) => {
            metrics.refused(guard);
            if *guard == "rate" {
                metrics.rate_limited();
            }
        }
        Outcome::Failed(_) | Outcome::Panicked | Outcome::Abandoned => {}
    }
    if let Some(note) = &call.notes.cache {
        metrics.cache_looked_up(note.hit);
    }
    if call.notes.replayed {
        metrics.replayed();
    }
    if call.notes.repetition.is_some() {
        metrics.loop_warned();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        guards::{bounds::Bounded, cache::CacheNote, notes::Notes, repeats::Repetition},
        testing::{ended_call, starting},
    };
    use tools::{ErrorCode, ToolError};

    #[test]
    fn each_outcome_and_each_note_is_counted_as_what_it_is() {
        let state = starting();
        let notes = Notes {
            repetition: Some(Repetition { count: 3, window_seconds: 60, refused_from: 5 }),
            replayed: true,
            cache: Some(CacheNote { hit: true, age_seconds: 1 }),
        };
        let error = || ToolError::new(ErrorCode::RateLimited, "too many");
        let answered = Bounded { value: Value::Null, text: "null".into(), redactions: 2 };
        observe(&state, &ended_call(&state, &Outcome::Answered(answered), &notes));
        for outcome in [
            Outcome::Held("rate", error()),
            Outcome::Held("shedding", error()),
            Outcome::Refused(error()),
            Outcome::Unknown(Vec::new()),
            Outcome::Panicked,
        ] {
            observe(&state, &ended_call(&state, &outcome, &Notes::default()));
        }
        let text = state.metrics.text(&state.credentials(), 0, true);
        for line in [
            r#"mcp_tool_calls_total{tool_name="get_fake_thing",status="success"} 1"#,
            r#"mcp_tool_calls_total{tool_name="get_fake_thing",status="error"} 2"#,
            r#"mcp_tool_calls_total{tool_name="get_fake_thing",status="exception"} 1"#,
            r#"mcp_tool_calls_total{tool_name="unknown",status="error"} 2"#,
            r#"mcp_tool_calls_refused_total{guard="authorization"} 2"#,
            r#"mcp_tool_calls_refused_total{guard="rate"} 1"#,
            r#"mcp_tool_calls_refused_total{guard="shedding"} 1"#,
            r#"mcp_tool_cache_lookups_total{result="hit"} 1"#,
            "mcp_rate_limited_total 1",
            "mcp_tool_result_bytes_total 4",
            "mcp_redactions_total 2",
            "mcp_idempotent_replays_total 1",
            "mcp_loop_warnings_total 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
        let operation = r#"mcp_server_operation_duration_seconds_count{mcp_method_name="tools/call""#;
        assert!(text.contains(operation), "{text}");
    }
}
