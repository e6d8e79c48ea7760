//! The way out to servers of tests.

#![allow(clippy::unwrap_used, reason = "tests use it")]

use std::sync::Arc;

use super::{Outbound, OutboundLimits, OutboundSettings, Purpose, changes::Sending, classify_by_status};
use api::endpoint::{AddressPolicy, PlatformUrl};

/// The way to a server on this machine, with nothing that isn't there by default.
pub fn settings(url: &str) -> OutboundSettings {
    let addresses = AddressPolicy::Loopback;
    OutboundSettings {
        endpoint: PlatformUrl(url.to_owned()).endpoint(true, addresses).unwrap(),
        ca_pem: None,
        addresses,
        proxy: None,
        name: "fake",
        classify: classify_by_status,
        client_certificate: None,
        limits: OutboundLimits::default(),
        metrics: Arc::default(),
    }
}

/// Notes that a request that changes something was sent, and nothing came back.
pub fn sent_a_change() {
    Sending::begin(Purpose::Change);
}

/// The same, ready to be used.
pub fn outbound(url: &str) -> Outbound {
    Outbound::new(settings(url)).unwrap()
}
