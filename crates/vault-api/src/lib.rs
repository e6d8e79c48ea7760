//! Vault's HTTP API, as far as both the Vault platform and the agent speak it: calls, logins, and the time that tokens and
//! leases have. It knows no tool and no credential file.

pub mod client;
pub mod lifetime;
pub mod numbers;
pub mod token;
pub mod wire;
