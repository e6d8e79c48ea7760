//! When a call ends without an answer: its time is up, or its caller has gone. Either way the tool's future is dropped,
//! and with it whatever the tool does to the platform.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use api::duration::ApiDuration;
use tools::{ErrorCode, ToolError};

/// Time that a call may take in all, however long it is asked to wait.
pub const LONGEST: Duration = Duration::from_secs(150);
/// The arguments by which a caller says how long a tool may wait, in seconds.
const WAIT: [&str; 2] = ["wait_seconds", "timeout_seconds"];

/// How long a tool with these arguments waits if nothing is said; nothing for a tool that can't be told to wait.
#[must_use]
pub fn waits(input_schema: &Map<String, Value>) -> Option<Duration> {
    let arguments = input_schema.get("properties")?;
    let schema = WAIT.iter().find_map(|name| arguments.get(name))?;
    Some(Duration::from_secs(schema.get("default").and_then(Value::as_u64).unwrap_or_default()))
}

/// Time that a call may take: that of any call, and what its caller lets it wait.
#[must_use]
pub fn allowed(call_timeout: Duration, waits: Option<Duration>, arguments: &Value) -> Duration {
    let Some(unsaid) = waits else { return call_timeout };
    let said = WAIT.iter().find_map(|name| arguments.get(name)).and_then(Value::as_u64);
    let wait = said.map_or(unsaid, Duration::from_secs);
    call_timeout.saturating_add(wait).min(LONGEST).max(call_timeout)
}

/// How a future ended.
pub enum Ended<T> {
    /// By itself.
    Done(T),
    /// By the deadline.
    TimeUp,
    /// With its caller.
    CallerGone,
}

/// Runs a future until the deadline, and no longer than its caller is there.
pub async fn within<T>(deadline: Instant, gone: &CancellationToken, future: impl Future<Output = T>) -> Ended<T> {
    tokio::select! {
        biased;
        () = gone.cancelled() => Ended::CallerGone,
        done = tokio::time::timeout_at(deadline, future) => done.map_or(Ended::TimeUp, Ended::Done),
    }
}

/// What a caller whose time is up is told.
#[must_use]
pub fn error(allowed: Duration) -> ToolError {
    let message = format!("the call took longer than the {} it may take, and was ended", ApiDuration(allowed));
    ToolError::new(ErrorCode::DeadlineExceeded, message)
        .with_remedy("ask for less at a time; spec.limits.callTimeout of the McpConnector allows up to 150s")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_may_take_what_it_may_wait_and_never_more_than_the_longest() {
        let schema = |properties: Value| waits(json!({ "properties": properties }).as_object().unwrap());
        let seconds = Duration::from_secs;
        let unsaid = schema(json!({ "wait_seconds": { "type": "integer", "default": 45 } }));
        let none = schema(json!({ "wait_seconds": { "type": "integer" } }));
        assert_eq!((unsaid, none, schema(json!({ "job": {} }))), (Some(seconds(45)), Some(seconds(0)), None));
        for (call, waits, arguments, expected) in [
            (30, unsaid, json!({}), 75),
            (30, unsaid, json!({ "wait_seconds": 120 }), 150),
            (30, unsaid, json!({ "wait_seconds": 0 }), 30),
            (60, unsaid, json!({ "wait_seconds": 120 }), 150),
            (150, unsaid, json!({}), 150),
            (30, None, json!({ "wait_seconds": 120 }), 30),
        ] {
            assert_eq!(allowed(seconds(call), waits, &arguments), seconds(expected), "{call} {arguments}");
        }
    }
}
