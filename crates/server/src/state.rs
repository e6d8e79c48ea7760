//! What the replica knows of how it does: one snapshot, from which `/status`, `/health`, the connector's own tool and the
//! metrics are made, so that no two of them can differ. Never asks the platform.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    audit::Audit,
    guards::{cache::AnswerCache, shared_rate::SharedRates},
    metrics::Metrics,
    observers::recent_mutations::RecentMutations,
    prober::Finding,
};
use credentials::CredentialsState;
use kit::Platform;
use outbound::OutboundState;
use pod_api::status::ReplicaDetails;
use telemetry::ExportCounts;

/// What the replica knows of how it does.
pub struct ReplicaState {
    /// The platform, for the state of the ways out to it.
    pub platform: Arc<dyn Platform>,
    /// The credential files.
    pub credentials: watch::Receiver<CredentialsState>,
    /// What is believed of the platform.
    pub findings: watch::Receiver<Option<Arc<Finding>>>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Where audit records go.
    pub audit: Arc<Audit>,
    /// How the export of traces goes; none where nothing is exported.
    pub exports: Option<Arc<ExportCounts>>,
    /// Answers that may be given again.
    pub cache: Arc<AnswerCache>,
    /// The last calls that changed something.
    pub recent_mutations: RecentMutations,
    /// The count of calls that replicas share, if they do.
    pub shared_rates: Option<Arc<SharedRates>>,
}

impl ReplicaState {
    /// What is believed of the platform; nothing before the first probe.
    #[must_use]
    pub fn finding(&self) -> Option<Arc<Finding>> {
        self.findings.borrow().clone()
    }

    /// What is known of the credential files.
    #[must_use]
    pub fn credentials(&self) -> CredentialsState {
        self.credentials.borrow().clone()
    }

    /// The ways out to the platform.
    #[must_use]
    pub fn outbound(&self) -> Vec<OutboundState> {
        self.platform.outbound()
    }

    /// What is told besides what conditions are made of.
    #[must_use]
    pub fn details(&self) -> ReplicaDetails {
        ReplicaDetails {
            outbound: self.outbound(),
            audit: self.audit.states(),
            trace_export_failing: self.exports.as_ref().map(|exports| exports.is_failing()),
            probe_age_seconds: self.finding().map(|finding| finding.at.elapsed().as_secs()),
            cache: self.cache.state(),
            mutations: self.recent_mutations.all(),
            shared_rate_limit: self.shared_rates.as_ref().map(|rates| rates.state()),
        }
    }
}
