//! What the operator and a connector's pods tell each other: the configuration that the operator writes for the server
//! and for the agent beside it, and the state that each replica answers at `/status`. Both sides use these types, so
//! neither can drift from the other.

pub mod agent;
pub mod config;
pub mod outbound;
pub mod report;
pub mod status;
