//! When a call ends without an answer: its time is up, or its caller has gone. Either way the tool's future is dropped,
//! and with it whatever the tool does to the platform.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use api::duration::ApiDuration;
use tools::{ErrorCode, ToolError};

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
        .with_remedy("ask for less at a time; spec.limits.callTimeout of the McpConnector allows up to 60s")
}
