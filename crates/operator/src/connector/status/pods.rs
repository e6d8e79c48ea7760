//! Why pods don't start, as far as it is seen of the pods themselves. In our own words, because the kubelet alternates
//! between several for the same cause.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{super::observe::is_ready, Seen, foreign};
use crate::{connector::validate::CredentialMount, slim::CONTAINERS_MAY_START};
use api::{LABEL_CONNECTOR, Reason, owned_name};
use pod_api::config::EXIT_CONFIG_ALTERED;

/// What pods may be waiting for whose credentials a CSI driver mounts: all other volumes are there whatever is missing. The
/// kubelet tells it in Events alone, which nobody reads here; that no container may start yet is seen of the pod.
pub(super) fn awaited_volume(seen: Seen<'_>) -> Option<String> {
    let CredentialMount::Csi { secret_provider_class } = &seen.connector.credentials else { return None };
    let waits = |pod: &Arc<Pod>| {
        let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        let is = |name: &str, status: &str| conditions.clone().any(|one| one.type_ == name && one.status == status);
        is("PodScheduled", "True") && is(CONTAINERS_MAY_START, "False")
    };
    seen.observation.pods.iter().any(waits).then(|| {
        format!(
            "A pod waits for what the Secrets Store CSI driver mounts. If it stays so: check that the driver and its provider \
             run on the node, that this namespace has the SecretProviderClass {secret_provider_class:?}, and that the store \
             lets the connector's ServiceAccount have what it names; kubectl describe pod says which."
        )
    })
}

/// What is known of a configuration that its pod refuses: that it is another one, and not who has changed it.
fn altered(pod: &Pod) -> String {
    let name = pod.labels().get(LABEL_CONNECTOR).map_or_else(String::new, |name| format!(" {}", owned_name(name)));
    format!(
        "A pod finds another configuration in the ConfigMap{name} than it was made with, so it reads no credentials and calls \
         nobody: somebody else has changed the ConfigMap, or it has changed since with its connector. The operator puts it \
         back, and new pods start. If this stays, delete the connector's pods, and see who may write ConfigMaps in this \
         namespace."
    )
}

/// Why a pod can't start.
pub(super) fn trouble_of(pod: &Pod) -> Option<(Reason, String)> {
    if is_ready(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    let (sidecars, containers) = (status.init_container_statuses.iter(), status.container_statuses.iter());
    for container in sidecars.chain(containers).flatten() {
        let state = container.state.as_ref();
        let waiting = state.and_then(|state| state.waiting.as_ref()).and_then(|waiting| waiting.reason.as_deref());
        if let Some("ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName") = waiting {
            return Some((
                Reason::ImagePullFailed,
                format!(
                    "The node can't get the image {}; check its name, the registry and spec.workload.imagePullSecrets.",
                    foreign(&container.image),
                ),
            ));
        }
        // Between two attempts to start it waits like one that crashed.
        let ended = [state, container.last_state.as_ref()].into_iter().flatten().find_map(|s| s.terminated.as_ref());
        let never_ran =
            matches!(waiting, Some("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError"))
                || ended.is_some_and(|ended| ended.reason.as_deref() == Some("StartError"));
        if never_ran {
            return Some((
                Reason::CrashLooping,
                "The container can't be started; its memory limit may be too small, and the pod's events say more: \
                 kubectl describe pod"
                    .to_owned(),
            ));
        }
        // Between two crashes a container is shown as running for a moment; the count of restarts doesn't forget.
        if waiting == Some("CrashLoopBackOff") || container.restart_count >= 2 {
            let last = container.last_state.as_ref().or(state).and_then(|state| state.terminated.as_ref());
            if last.is_some_and(|ended| ended.exit_code == i32::from(EXIT_CONFIG_ALTERED)) {
                return Some((Reason::ConfigurationAltered, altered(pod)));
            }
            let how = last.map_or_else(String::new, |ended| match ended.reason.as_deref() {
                Some("OOMKilled") => " It ran out of memory: raise spec.workload.resources.limits.memory.".to_owned(),
                _ => format!(" It ended with exit code {}.", ended.exit_code),
            });
            return Some((
                Reason::CrashLooping,
                format!(
                    "The {} starts and ends again and again.{how} Look at its log: kubectl logs --previous -c {0}",
                    foreign(&container.name),
                ),
            ));
        }
    }
    let unschedulable = status.conditions.iter().flatten().any(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    });
    unschedulable.then(|| {
        (
            Reason::Unschedulable,
            "No node has room for a replica or matches its constraints; look at the pod's events: kubectl describe pod"
                .to_owned(),
        )
    })
}
