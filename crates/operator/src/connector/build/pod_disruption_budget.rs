//! Several replicas are disrupted one at a time.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{ValidatedConnector, metadata, selector};

pub fn build_pod_disruption_budget(connector: &ValidatedConnector) -> Option<PodDisruptionBudget> {
    let several = connector.workload.replicas.is_some_and(|replicas| replicas > 1);
    (several && !connector.suspended).then(|| PodDisruptionBudget {
        metadata: metadata(connector),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(connector)),
            // A pod that never became ready must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}
