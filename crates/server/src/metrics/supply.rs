//! What an agent tells of the credentials that it supplies, as metrics. The agent itself has no port.

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use tokio::sync::watch;

use credentials::{CredentialsState, supply::SupplyState};

/// Reads the state at each scrape. Nothing is shown where no agent supplies the credentials.
#[derive(Debug)]
pub(super) struct SupplyFigures(pub(super) watch::Receiver<CredentialsState>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

impl Collector for SupplyFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(supply) = self.0.borrow().supply.clone().map(|supply| supply.as_seen(Timestamp::now())) else {
            return Ok(());
        };
        let name = "connector_agent_state";
        let mut states = encoder.encode_descriptor(name, "1 for the state of the agent", None, MetricType::Gauge)?;
        for (state, label) in [
            (SupplyState::Starting, "Starting"),
            (SupplyState::Serving, "Serving"),
            (SupplyState::Degraded, "Degraded"),
            (SupplyState::Failing, "Failing"),
        ] {
            let is = ConstGauge::new(i64::from(supply.state == state));
            is.encode(states.encode_family(&StateLabels { state: label })?)?;
        }
        for (name, help, at) in [
            (
                "connector_agent_fetched_timestamp_seconds",
                "When the agent wrote the credentials last, in seconds since 1970",
                supply.fetched,
            ),
            (
                "connector_agent_expiry_timestamp_seconds",
                "When the first of the credentials ends unless the agent renews it, in seconds since 1970",
                supply.expires,
            ),
        ] {
            if let Some(at) = at {
                let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(at.as_second()).encode(gauge)?;
            }
        }
        for (name, help, count) in [
            ("connector_agent_renewals", "Tokens and leases that the agent renewed", supply.renewals),
            ("connector_agent_rotations", "Times that the agent wrote other credentials than before", supply.rotations),
            ("connector_agent_failures", "Times that something of the agent failed", supply.failures),
        ] {
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(counter)?;
        }
        Ok(())
    }
}
