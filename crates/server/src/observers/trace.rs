//! The end of a call's span.

use super::EndedCall;
use crate::state::ReplicaState;

/// Says on the span why the call failed, if it did. The span ends with the call.
pub fn observe(_: &ReplicaState, call: &EndedCall<'_>) {
    call.operation.fail(call.words.error_type);
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::Status;
    use rmcp::model::RequestId;

    use super::*;
    use crate::{
        guards::{Outcome, notes::Notes},
        operation::Operation,
        testing::{attribute, ended_call, spans_of, starting, told},
    };
    use telemetry::context;

    #[test]
    fn a_span_says_why_its_call_failed() {
        told();
        let (state, notes) = (starting(), Notes::default());
        for (trace, outcome, error, code) in [
            ("3af7651916cd43dd8448eb211c80319c", Outcome::Panicked, Some("panic"), None),
            ("4af7651916cd43dd8448eb211c80319c", Outcome::Unknown(vec![]), Some("-32602"), Some("-32602")),
        ] {
            let caller = context::parse(&format!("00-{trace}-00f067aa0ba902b7-01"), None);
            let operation = Operation::start("tools/call", "2025-11-25", None, &RequestId::Number(1), caller, true);
            let call = EndedCall { operation, ..ended_call(&state, &outcome, &notes) };
            observe(&state, &call);
            assert!(spans_of(trace).is_empty(), "it has not ended");
            drop(call);
            let [span] = spans_of(trace).try_into().unwrap();
            assert_eq!(attribute(&span, "error.type").as_deref(), error);
            assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), code);
            assert!(matches!(span.status, Status::Error { .. }), "{:?}", span.status);
        }
    }
}
