//! What platforms are made of: what a platform is to the server, and the parts that each of them would otherwise write for
//! itself. It knows no platform and no server.

pub mod args;
pub mod failure;
pub mod health;
pub mod links;
pub mod log;
pub mod pages;
mod platform;
pub mod session;
pub mod text;
pub mod wait;

pub use pod_api::report::{Check, CheckStatus, CredentialVerdict, HealthStatus, ProbeReport};

pub use self::platform::{Connect, ConnectError, Platform, PlatformEnvironment};
