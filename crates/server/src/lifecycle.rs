//! How far a replica is in its life: starting, serving, draining, giving up.

use tokio_util::sync::CancellationToken;

/// How far a replica is. Everybody who goes by it has a clone.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    /// Cancelled as soon as MCP is served.
    pub serving: CancellationToken,
    /// Cancelled when it begins to drain.
    pub draining: CancellationToken,
    /// Cancelled when calls that still run are given up.
    pub abandoned: CancellationToken,
}

impl Lifecycle {
    /// Whether the replica serves MCP and goes on doing so.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.serving.is_cancelled() && !self.draining.is_cancelled()
    }
}
