//! What an agent is told of a request that was not sent, the same for every platform.

use crate::{
    outbound::RequestError,
    tools::{ErrorCode, ToolError},
};

/// Words the refusals of the connector's own bulkhead and circuit breaker; nothing for any other error.
pub(super) fn not_sent(platform: &str, error: &RequestError) -> Option<ToolError> {
    match error {
        RequestError::Busy(wait) => {
            let message = format!("too many requests of this connector to {platform} are on their way");
            Some(
                ToolError::new(ErrorCode::RateLimited, message)
                    .with_remedy("make fewer calls at a time; spec.limits.platform says how many requests there may be")
                    .with_retry_after(*wait),
            )
        }
        RequestError::TooFast(wait) => {
            let message = format!("{platform} is asked as often as it may be");
            Some(
                ToolError::new(ErrorCode::RateLimited, message)
                    .with_remedy("make fewer calls; health_check tells how many requests there may be")
                    .with_retry_after(*wait),
            )
        }
        RequestError::CircuitOpen(wait) => {
            let message = format!("{platform} failed to answer several times, and is left alone for a while");
            Some(
                ToolError::new(ErrorCode::PlatformUnavailable, message)
                    .with_remedy("wait; health_check tells how the platform does")
                    .with_retry_after(*wait),
            )
        }
        _ => None,
    }
}
