//! One record for each tool call, as a log line of its own target: who, what, with which arguments by name, how it ended.
//! Never a value.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{access::Caller, text::safe_name};
use crate::telemetry::AUDIT_TARGET;

/// Argument names in a record, at most.
const MAX_ARGUMENTS: usize = 32;

/// Names of a call's arguments, cleaned and bounded.
#[must_use]
pub fn argument_names(arguments: &Map<String, Value>) -> String {
    arguments.keys().take(MAX_ARGUMENTS).map(|name| safe_name(name)).collect::<Vec<_>>().join(",")
}

/// A finished call.
pub struct Record<'a> {
    /// Id of the HTTP request.
    pub request_id: &'a str,
    /// Who called.
    pub caller: &'a Caller,
    /// The tool's name as it was called.
    pub tool: &'a str,
    /// See [`argument_names`].
    pub arguments: &'a str,
    /// Whether authorisation let the call through.
    pub allowed: bool,
    /// `success`, `error`, `exception` or `abandoned`.
    pub outcome: &'static str,
    /// Class of the error, or empty.
    pub error_code: &'static str,
    /// How long it took.
    pub duration: Duration,
    /// W3C trace id, or empty.
    pub trace_id: &'a str,
}

impl Record<'_> {
    /// Writes the record.
    pub fn write(&self) {
        tracing::info!(
            target: AUDIT_TARGET,
            request_id = self.request_id,
            caller = %self.caller,
            tool = safe_name(self.tool),
            arguments = self.arguments,
            decision = if self.allowed { "allowed" } else { "denied" },
            outcome = self.outcome,
            error_code = self.error_code,
            duration_ms = u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            trace_id = self.trace_id,
            "tool call"
        );
    }
}

/// The trace id of a `traceparent`, if it has the form that W3C gives it.
#[must_use]
pub fn trace_id(traceparent: &str) -> Option<&str> {
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let mut parts = traceparent.splitn(4, '-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let zero = |text: &str| text.bytes().all(|b| b == b'0');
    let good = hex(version, 2) && hex(trace, 32) && hex(parent, 16) && flags.len() >= 2 && hex(flags.get(..2)?, 2);
    (good && version != "ff" && !zero(trace) && !zero(parent)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_trace_ids_are_taken() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        assert_eq!(trace_id(good), Some("0af7651916cd43dd8448eb211c80319c"));
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7",
            "00-0AF7651916CD43DD8448EB211C80319C-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
    }
}
