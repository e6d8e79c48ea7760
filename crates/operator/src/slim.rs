//! What is kept of watched objects. Each function takes out what no step looks at, so that thousands of objects take
//! little room. The status step's tests look at slim objects only, so that nothing which is told gets lost.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::{Resource, ResourceExt, core::PartialObjectMeta};

use api::LABEL_CONNECTOR;

/// A pod's condition that is false until its volumes are mounted and its network is there (KEP-3085; Kubernetes 1.29).
pub const CONTAINERS_MAY_START: &str = "PodReadyToStartContainers";

/// What `kubectl apply` leaves behind: the whole object once more.
const ANNOTATION_LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Takes out who owns which field. It is larger than the rest of the object.
pub fn any<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(ANNOTATION_LAST_APPLIED);
    }
}

/// Also the times and words of a Deployment's conditions that no status is made from.
pub fn deployment(deployment: &mut Deployment) {
    any(deployment);
    for condition in deployment.status.iter_mut().flat_map(|status| status.conditions.iter_mut().flatten()) {
        (condition.last_transition_time, condition.last_update_time) = (None, None);
        // It tells why the API server refuses pods; the others' words aren't repeated.
        if condition.type_ != "ReplicaFailure" {
            condition.message = None;
        }
    }
}

/// Of a ReplicaSet, only whose it is.
pub fn replica_set(set: &mut PartialObjectMeta<ReplicaSet>) {
    only_the_connector_label(set);
}

/// Of a pod, whose it is and how it does. What it is made of is the Deployment's business.
pub fn pod(pod: &mut Pod) {
    only_the_connector_label(pod);
    pod.spec = None;
    let Some(status) = pod.status.take() else { return };
    let mut conditions = status.conditions.unwrap_or_default();
    conditions.retain(|condition| matches!(condition.type_.as_str(), "Ready" | "PodScheduled" | CONTAINERS_MAY_START));
    for condition in &mut conditions {
        (condition.message, condition.last_probe_time, condition.last_transition_time) = (None, None, None);
    }
    conditions.shrink_to_fit();
    pod.status = Some(k8s_openapi::api::core::v1::PodStatus {
        conditions: Some(conditions),
        init_container_statuses: status.init_container_statuses,
        container_statuses: status.container_statuses,
        pod_ip: status.pod_ip,
        ..Default::default()
    });
}

fn only_the_connector_label<K: Resource>(object: &mut K) {
    any(object);
    object.meta_mut().annotations = None;
    object.labels_mut().retain(|key, _| key == LABEL_CONNECTOR);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::{
        build::build,
        testing::{MINIMAL, settings, validated},
    };
    use serde_json::json;

    #[test]
    fn nothing_that_is_applied_gets_lost() {
        let connector = validated(&format!("{MINIMAL}\nworkload: {{replicas: 2, annotations: {{note: hello}}}}"));
        let built = build(&connector, &settings()).unwrap();
        let mut slim = built.clone();
        any(&mut slim.service_account);
        any(&mut slim.config_map);
        any(&mut slim.network_policy);
        any(&mut slim.service);
        slim.pod_disruption_budget.iter_mut().for_each(any);
        deployment(&mut slim.deployment);
        assert_eq!(slim.service_account, built.service_account);
        assert_eq!(slim.config_map, built.config_map);
        assert_eq!(slim.network_policy, built.network_policy);
        assert_eq!(slim.service, built.service);
        assert_eq!(slim.pod_disruption_budget, built.pod_disruption_budget);
        assert_eq!(slim.deployment, built.deployment);
    }

    #[test]
    fn of_a_pod_stays_whose_it_is_and_how_it_does() {
        let mut found: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": "p", "namespace": "team", "uid": "1", "resourceVersion": "5", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "labels": {LABEL_CONNECTOR: "tresor", "team": "red"}, "annotations": {"note": "hello"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "s", "uid": "2", "controller": true}],
                "managedFields": [{"manager": "kubelet", "operation": "Update"}],
            },
            "spec": {"containers": [{"name": "server"}]},
            "status": {
                "phase": "Running", "podIP": "192.0.2.1", "hostIP": "192.0.2.9",
                "conditions": [
                    {"type": "Initialized", "status": "True"},
                    {"type": "PodReadyToStartContainers", "status": "True"},
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                ],
                "containerStatuses": [{"name": "server", "image": "i", "imageID": "", "ready": true, "restartCount": 3}],
            },
        }))
        .unwrap();
        pod(&mut found);
        let left = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "p", "namespace": "team", "uid": "1", "resourceVersion": "5", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "labels": {LABEL_CONNECTOR: "tresor"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "s", "uid": "2", "controller": true}],
            },
            "status": {
                "podIP": "192.0.2.1",
                "conditions": [
                    {"type": "PodReadyToStartContainers", "status": "True"}, {"type": "Ready", "status": "True"},
                ],
                "containerStatuses": [{"name": "server", "image": "i", "imageID": "", "ready": true, "restartCount": 3}],
            },
        });
        assert_eq!(serde_json::to_value(&found).unwrap(), left);
    }

    #[test]
    fn who_owns_which_field_is_not_kept() {
        let mut found: PartialObjectMeta<ReplicaSet> = serde_json::from_value(json!({
            "metadata": {
                "name": "s", "labels": {LABEL_CONNECTOR: "tresor", "pod-template-hash": "1"},
                "annotations": {ANNOTATION_LAST_APPLIED: "{}"}, "managedFields": [{"manager": "kubectl"}],
            },
        }))
        .unwrap();
        let mut whole = found.clone();
        replica_set(&mut found);
        assert_eq!(
            serde_json::to_value(&found.metadata).unwrap(),
            json!({"name": "s", "labels": {LABEL_CONNECTOR: "tresor"}})
        );
        any(&mut whole);
        assert!(whole.managed_fields().is_empty() && whole.annotations().is_empty());
        assert_eq!(whole.labels().len(), 2, "but what may be compared is");
    }
}
