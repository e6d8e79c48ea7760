//! Calls for which there is no place on the way to the platform are refused before anything is done for them: otherwise
//! so much is done for those who come too many that there is no time for those who were let in.

use std::time::Duration;

use crate::catalogue::OfferedTool;
use kit::Platform;
use outbound::OutboundState;
use tools::{ErrorCode, ToolError};

/// When a call that found no place should come back.
const PAUSE: Duration = Duration::from_secs(1);

/// Refuses a call whose requests would find neither a place nor one in the queue, on whichever way to the platform. A tool
/// whose answers are kept, and one that asks no platform, may do without.
///
/// # Errors
/// When there is no place.
pub fn check(platform: &dyn Platform, tool: &OfferedTool) -> Result<(), ToolError> {
    if tool.kept_for.is_some() || !tool.entry.declaration.asks_platform {
        return Ok(());
    }
    let ways = platform.outbound();
    if ways.is_empty() || !ways.iter().all(is_full) {
        return Ok(());
    }
    let message = "as many requests to the platform are on their way, and as many wait, as there may be";
    Err(ToolError::new(ErrorCode::RateLimited, message)
        .with_remedy("make fewer calls at a time; spec.limits.platform says how many requests there may be")
        .with_retry_after(PAUSE))
}

/// Whether a request could neither be sent nor wait.
fn is_full(way: &OutboundState) -> bool {
    let bulkhead = way.bulkhead;
    bulkhead.running >= bulkhead.max_running && bulkhead.queued >= bulkhead.max_queued
}
