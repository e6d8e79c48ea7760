//! The one way out: the HTTP stack to platforms.

/// Why a request could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The CA bundle holds no PEM certificate.
    #[error("the CA bundle holds no PEM certificate")]
    CaBundle,
}
