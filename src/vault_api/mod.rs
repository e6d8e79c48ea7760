//! Vault's HTTP API, as far as both the Vault platform and the agent speak it: calls, logins, and the time that tokens and
//! leases have. It knows no tool and no credential file.

pub(crate) mod client;
pub(crate) mod lifetime;
pub(crate) mod token;
pub(crate) mod wire;
