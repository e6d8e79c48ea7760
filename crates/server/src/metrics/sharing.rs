//! How the count of calls does that replicas share, as metrics.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::guards::shared_rate::SharedRates;

/// Reads the count at each scrape.
pub(super) struct SharingFigures(pub(super) Arc<SharedRates>);

impl fmt::Debug for SharingFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharingFigures")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

impl Collector for SharingFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let available = encoder.encode_descriptor(
            "mcp_shared_rate_limit_available",
            "1 while calls are counted for all replicas together, 0 while this replica counts by itself",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::from(self.0.state().available)).encode(available)?;
        let counts = self.0.counts();
        let mut calls = encoder.encode_descriptor(
            "mcp_shared_rate_limit_lookups",
            "Buckets that calls were taken out of, by where: shared, failed (here, for want of an answer), or local",
            None,
            MetricType::Counter,
        )?;
        for (result, count) in [("shared", counts.shared), ("failed", counts.failed), ("local", counts.local)] {
            ConstCounter::new(count).encode(calls.encode_family(&ResultLabels { result })?)?;
        }
        Ok(())
    }
}
