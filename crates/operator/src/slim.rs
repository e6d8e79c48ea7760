//! What is kept of watched objects. Each function takes out what no step looks at, and what is larger than anything that a
//! step needs, so that thousands of objects take little room, whoever wrote them. The status step's tests look at slim
//! objects only, so that nothing which is told gets lost.
//!
//! What is compared with a slim object has to be made slim first: [`crate::cache::Cache::as_kept`].

use std::{collections::BTreeMap, io};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, ReplicaSet},
        core::v1::{ConfigMap, Pod, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Resource,
    core::{DeserializeGuard, PartialObjectMeta, error_boundary::InvalidObject, object::HasSpec},
};
use serde::Serialize;

use crate::connector::{apply, difference, rollout};
use api::{
    ANNOTATION_CONFIG_DIGEST, ANNOTATION_PROBE_REQUESTED_AT, ANNOTATION_RELOAD_REQUESTED_AT, ANNOTATION_RESTARTED_AT,
    LABEL_CONNECTOR, LABEL_MANAGED_BY, LABEL_NAME, LABEL_PLATFORM,
};
use pod_api::config::{CONFIG_FILE, LOG_LEVEL_FILE, PLATFORM_CA_FILE, TOKEN_KEYS_FILE};

/// A pod's condition that is false until its volumes are mounted and its network is there (KEP-3085; Kubernetes 1.29).
pub const CONTAINERS_MAY_START: &str = "PodReadyToStartContainers";

/// Annotations that some step reads or compares. Others are anybody's, and together up to 256 KiB of each object.
const ANNOTATIONS: [&str; 9] = [
    ANNOTATION_CONFIG_DIGEST,
    ANNOTATION_PROBE_REQUESTED_AT,
    ANNOTATION_RELOAD_REQUESTED_AT,
    ANNOTATION_RESTARTED_AT,
    difference::ANNOTATION_APPLIED_DIGEST,
    apply::ANNOTATION_SUSPENDED,
    rollout::ANNOTATION_TEMPLATE_DIGEST,
    rollout::ANNOTATION_INPUTS_DIGEST,
    rollout::ANNOTATION_ROLLED_OUT_AT,
];
/// Labels that some step reads or compares.
const LABELS: [&str; 4] = [LABEL_NAME, LABEL_CONNECTOR, LABEL_MANAGED_BY, LABEL_PLATFORM];
/// Characters of an annotation's value. None that means anything is longer, and a longer one means as little when it is cut.
const MAX_VALUE: usize = 128;

/// Bytes, as JSON, of the spec of a connector or a source. Those that people write have some kilobytes.
pub const MAX_SPEC: usize = 64 * 1024;
/// Bytes, as JSON, of what is kept of an owned object's spec. It is made from a connector's, and anybody may add to it.
const MAX_OWNED: usize = 64 * 1024;
/// Bytes of a file of an owned `ConfigMap` that are kept. A larger one has a trust bundle in it, and is known by its digest.
const MAX_FILE: usize = 16 * 1024;
/// Characters of what is said of an object that can't be read.
const MAX_PROBLEM: usize = 512;
/// What the digest of a text begins with that stands for the text.
const STANDS_FOR: &str = "sha256:";

/// Of the metadata, whose the object is and what is ours. Who owns which field is larger than the rest of most objects.
pub fn any<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    (metadata.managed_fields, metadata.finalizers) = (None, None);
    keep_our_annotations(&mut metadata.annotations);
    keep_only(&mut metadata.labels, &LABELS);
    if let Some(owners) = &mut metadata.owner_references {
        owners.retain(|owner| owner.controller == Some(true));
        owners.shrink_to_fit();
    }
}

fn keep_our_annotations(annotations: &mut Option<BTreeMap<String, String>>) {
    keep_only(annotations, &ANNOTATIONS);
    for value in annotations.iter_mut().flat_map(BTreeMap::values_mut) {
        cut(value, MAX_VALUE);
    }
}

fn keep_only(map: &mut Option<BTreeMap<String, String>>, names: &[&str]) {
    if let Some(values) = map {
        values.retain(|name, _| names.contains(&name.as_str()));
        if values.is_empty() {
            *map = None;
        }
    }
}

fn cut(text: &mut String, characters: usize) {
    if let Some((end, _)) = text.char_indices().nth(characters) {
        text.truncate(end);
        text.shrink_to_fit();
    }
}

/// Of a connector or a source, also its spec, unless that is larger than any that is meant. Then it counts as one that
/// can't be read, so that its author is told.
pub fn written<K>(object: &mut DeserializeGuard<K>)
where
    K: Resource<DynamicType = ()> + HasSpec<Spec: Serialize>,
{
    any(object);
    match &mut object.0 {
        Ok(readable) => {
            let bytes = weight(readable.spec());
            if bytes > MAX_SPEC {
                let metadata: ObjectMeta = readable.meta().clone();
                let error = format!("its spec has {bytes} bytes as JSON, and may have {MAX_SPEC}");
                object.0 = Err(InvalidObject { error, metadata });
            }
        }
        // It may repeat a value that doesn't fit.
        Err(invalid) => cut(&mut invalid.error, MAX_PROBLEM),
    }
}

/// Also the times and words of a Deployment's conditions that no status is made from.
pub fn deployment(deployment: &mut Deployment) {
    any(deployment);
    if let Some(spec) = &mut deployment.spec
        && weight(spec) > MAX_OWNED
    {
        let mut hollow = DeploymentSpec {
            replicas: spec.replicas,
            progress_deadline_seconds: spec.progress_deadline_seconds,
            ..DeploymentSpec::default()
        };
        if let Some(metadata) = &mut spec.template.metadata {
            keep_our_annotations(&mut metadata.annotations);
            hollow.template.metadata =
                Some(ObjectMeta { annotations: metadata.annotations.take(), ..ObjectMeta::default() });
        }
        *spec = hollow;
    }
    for condition in deployment.status.iter_mut().flat_map(|status| status.conditions.iter_mut().flatten()) {
        (condition.last_transition_time, condition.last_update_time) = (None, None);
        // It tells why the API server refuses pods; the others' words aren't repeated.
        if condition.type_ != "ReplicaFailure" {
            condition.message = None;
        }
    }
}

/// Of a `ConfigMap`, the server's files; of a large one, its digest.
pub fn config_map(map: &mut ConfigMap) {
    any(map);
    map.binary_data = None;
    let Some(files) = &mut map.data else { return };
    files.retain(|name, _| [CONFIG_FILE, TOKEN_KEYS_FILE, LOG_LEVEL_FILE, PLATFORM_CA_FILE].contains(&name.as_str()));
    for text in files.values_mut().filter(|text| text.len() > MAX_FILE) {
        *text = stand_in(text);
    }
}

/// What is kept of a file: itself, or its digest if it is large.
pub fn as_kept(file: &str) -> String {
    if file.len() > MAX_FILE { stand_in(file) } else { file.to_owned() }
}

/// Whether a kept file is only the digest of what it was.
pub fn is_stand_in(kept: &str) -> bool {
    kept.starts_with(STANDS_FOR)
}

fn stand_in(text: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    format!("{STANDS_FOR}{}", hex::encode(hash.as_ref()))
}

/// Of a `ServiceAccount`, nothing that others add to it.
pub fn service_account(account: &mut ServiceAccount) {
    any(account);
    (account.secrets, account.image_pull_secrets) = (None, None);
}

/// Of a Service, no more of a spec than any of ours has.
pub fn service(service: &mut Service) {
    any(service);
    service.status = None;
    service.spec.take_if(|spec| weight(spec) > MAX_OWNED);
}

/// Of a `NetworkPolicy`, no more of a spec than any of ours has.
pub fn network_policy(policy: &mut NetworkPolicy) {
    any(policy);
    policy.spec.take_if(|spec| weight(spec) > MAX_OWNED);
}

/// Of a `PodDisruptionBudget`, no more of a spec than any of ours has.
pub fn pod_disruption_budget(budget: &mut PodDisruptionBudget) {
    any(budget);
    budget.status = None;
    budget.spec.take_if(|spec| weight(spec) > MAX_OWNED);
}

/// Bytes of something as JSON. What can't be written weighs all that there is.
fn weight(value: &impl Serialize) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
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
    let metadata = object.meta_mut();
    metadata.annotations = None;
    keep_only(&mut metadata.labels, &[LABEL_CONNECTOR]);
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;

    use super::*;
    use crate::connector::{
        build::build,
        testing::{MINIMAL, connector, settings, validated},
    };
    use serde_json::json;

    #[test]
    fn nothing_that_is_applied_gets_lost() {
        let connector = validated(&format!("{MINIMAL}\nworkload: {{replicas: 2, annotations: {{note: hello}}}}"));
        let built = build(&connector, &settings()).unwrap();
        let mut slim = built.clone();
        service_account(&mut slim.service_account);
        config_map(&mut slim.config_map);
        network_policy(&mut slim.network_policy);
        service(&mut slim.service);
        slim.pod_disruption_budget.iter_mut().for_each(pod_disruption_budget);
        deployment(&mut slim.deployment);
        assert_eq!(slim.service_account, built.service_account);
        assert_eq!(slim.config_map, built.config_map);
        assert_eq!(slim.network_policy, built.network_policy);
        assert_eq!(slim.service, built.service);
        assert_eq!(slim.pod_disruption_budget, built.pod_disruption_budget);
        assert_eq!(slim.deployment, built.deployment);
    }

    /// Metadata with all that the API server takes of somebody who means ill, beside what is ours.
    fn fat_metadata() -> serde_json::Value {
        let many = |count: usize| (0..count).map(|index| (format!("a{index}"), json!("x".repeat(2_500))));
        let mut annotations: serde_json::Map<_, _> = many(100).collect();
        annotations.extend(ANNOTATIONS.map(|name| (name.to_owned(), json!("y".repeat(10_000)))));
        let mut labels: serde_json::Map<_, _> = many(20).map(|(name, _)| (name, json!("x"))).collect();
        labels.extend(LABELS.map(|name| (name.to_owned(), json!("tresor"))));
        let owner = |index: usize, controller: bool| json!({"apiVersion": "v1", "kind": "Node", "name": "n".repeat(200), "uid": format!("{index}"), "controller": controller});
        let owners: Vec<_> = (0..500).map(|index| owner(index, index == 7)).collect();
        json!({
            "name": "mcp-tresor", "namespace": "team", "uid": "1", "resourceVersion": "5", "annotations": annotations,
            "labels": labels, "ownerReferences": owners, "finalizers": vec!["example.com/x".repeat(20); 1_000],
            "managedFields": vec![json!({"manager": "m".repeat(128)}); 1_000],
        })
    }

    #[test]
    fn whatever_others_write_into_an_object_little_of_it_is_kept() {
        fn kept<K: Serialize + serde::de::DeserializeOwned>(rest: &serde_json::Value, slim: fn(&mut K)) -> usize {
            let mut whole = json!({"metadata": fat_metadata()});
            whole.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            let mut object: K = serde_json::from_value(whole).unwrap();
            assert!(weight(&object) > 500_000);
            slim(&mut object);
            let once = serde_json::to_value(&object).unwrap();
            slim(&mut object);
            assert_eq!(serde_json::to_value(&object).unwrap(), once, "what is slim stays as it is");
            assert_eq!(once["metadata"]["ownerReferences"][0]["uid"], "7");
            assert_eq!(once["metadata"]["labels"].as_object().map(serde_json::Map::len), Some(LABELS.len()));
            weight(&object)
        }
        let large = "x".repeat(900_000);
        let pairs: serde_json::Map<_, _> = (0..20_000).map(|index| (format!("k{index}"), json!("v"))).collect();
        for bytes in [
            kept(
                &json!({"data": {"config.json": large, "ca.crt": large, "other": large}, "binaryData": {"b": ""}}),
                config_map,
            ),
            kept(&json!({"data": pairs}), config_map),
            kept(&json!({"secrets": vec![json!({"name": large}); 2]}), service_account),
            kept(&json!({"spec": {"selector": pairs}}), service),
            kept(&json!({"spec": {"podSelector": {"matchLabels": pairs}}}), network_policy),
            kept(&json!({"spec": {"selector": {"matchLabels": pairs}}}), pod_disruption_budget),
            kept(
                &json!({"spec": {"replicas": 3, "selector": {"matchLabels": pairs}, "template": {"metadata": fat_metadata()}}}),
                deployment,
            ),
        ] {
            assert!(bytes < 8_000, "{bytes}");
        }
    }

    #[test]
    fn a_large_file_is_known_by_its_digest() {
        let files = |bundle: &str| {
            let data = [(PLATFORM_CA_FILE.to_owned(), bundle.to_owned()), (CONFIG_FILE.to_owned(), "{}".to_owned())];
            let mut map = ConfigMap { data: Some(data.into()), ..ConfigMap::default() };
            config_map(&mut map);
            map.data.unwrap()
        };
        let (one, other) = ("x".repeat(MAX_FILE + 1), "y".repeat(MAX_FILE + 1));
        assert_eq!(files(&one), files(&one));
        assert_ne!(files(&one), files(&other));
        assert!(is_stand_in(&files(&one)[PLATFORM_CA_FILE]) && files(&one)[PLATFORM_CA_FILE] == as_kept(&one));
        assert_eq!((files("small")[PLATFORM_CA_FILE].as_str(), files(&one)[CONFIG_FILE].as_str()), ("small", "{}"));
    }

    #[test]
    fn a_spec_that_is_too_large_counts_as_one_that_cannot_be_read() {
        let read = |labels: usize| {
            let selector: serde_json::Map<_, _> = (0..labels).map(|index| (format!("k{index}"), json!("v"))).collect();
            let mut whole = serde_json::to_value(connector(MINIMAL)).unwrap();
            whole["metadata"] = fat_metadata();
            whole["spec"]["workload"] = json!({"nodeSelector": selector});
            let mut object: DeserializeGuard<api::McpConnector> = serde_json::from_value(whole).unwrap();
            written(&mut object);
            object
        };
        let small = read(10).0.unwrap();
        assert!(weight(&small) < 8_000 && small.spec.workload.is_some());
        assert_eq!(small.annotations().len(), ANNOTATIONS.len());
        let large = read(20_000);
        assert_eq!(large.name_any(), "mcp-tresor");
        let problem = large.0.unwrap_err();
        assert!(problem.error.contains("bytes as JSON, and may have 65536"), "{problem}");
        assert!(weight(&problem.metadata) < 8_000);

        let mut malformed: DeserializeGuard<api::McpConnector> = serde_json::from_value(json!({
            "metadata": fat_metadata(), "spec": {"credentials": {"name": "a"}, "platform": "x".repeat(100_000)},
        }))
        .unwrap();
        written(&mut malformed);
        assert!(malformed.0.unwrap_err().error.len() < 1_000);
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
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}, "managedFields": [{"manager": "kubectl"}],
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
        assert_eq!(whole.labels().keys().collect::<Vec<_>>(), [LABEL_CONNECTOR], "nor what is nobody's here");
    }
}
