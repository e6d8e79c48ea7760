//! The pods: one container that serves, under the restricted pod security profile, with the credentials as a read-only
//! directory, and where they come from Vault an agent beside it. What a user may set is the closed list of `spec.workload`.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, HTTPGetAction,
            PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext,
            TopologySpreadConstraint, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{ValidatedConnector, agent, credentials, labels, metadata, selector};
use crate::context::Settings;
use api::{ADMIN_PORT, ANNOTATION_CONFIG_DIGEST, ANNOTATION_RESTARTED_AT, MCP_PORT, owned_name};
use pod_api::config::{AUDIT_DIRECTORY, AuditFileConfig, CONFIG_DIRECTORY, SHARED_LIMIT_DIRECTORY};

/// User and group of the container; the image names the same.
const USER: i64 = 65_532;

/// Name of the volume with the credentials of the shared rate limit's Redis.
const SHARED_LIMIT: &str = "shared-limit";

/// What the server's drain takes beside the calls that still run: its first 5 s, and time to give back what it holds.
const GRACE_BESIDE_CALLS: Duration = Duration::from_secs(15);
/// The least time that a pod gets to end.
const LEAST_GRACE: Duration = Duration::from_secs(45);

/// A rollout that makes no progress for so long is told as a lasting problem.
pub const PROGRESS_DEADLINE_SECONDS: i32 = 120;

pub fn build_deployment(
    connector: &ValidatedConnector,
    settings: &Settings,
    config_digest: &str,
    whole_digest: &str,
) -> Deployment {
    let workload = &connector.workload;
    let mut pod_labels: BTreeMap<String, String> =
        workload.labels.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    // Ours last: they can't be replaced.
    pod_labels.extend(labels(connector));
    let mut annotations: BTreeMap<String, String> =
        workload.annotations.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    annotations.insert(ANNOTATION_CONFIG_DIGEST.to_owned(), config_digest.to_owned());
    annotations.extend(connector.restarted_at.map(|time| (ANNOTATION_RESTARTED_AT.to_owned(), time.to_string())));

    Deployment {
        metadata: metadata(connector),
        spec: Some(DeploymentSpec {
            replicas: if connector.suspended { Some(0) } else { workload.replicas },
            selector: selector(connector),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            // Endpoints need a moment to reach every node before the last old pod goes.
            min_ready_seconds: Some(2),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECONDS),
            revision_history_limit: Some(3),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(connector, settings, whole_digest)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// Time in which a pod ends by itself, whatever call it still serves.
fn grace_period_seconds(call_timeout: Duration) -> i64 {
    let grace = call_timeout.saturating_add(GRACE_BESIDE_CALLS).max(LEAST_GRACE);
    i64::try_from(grace.as_secs()).unwrap_or(i64::MAX)
}

fn pod_spec(connector: &ValidatedConnector, settings: &Settings, whole_digest: &str) -> PodSpec {
    let workload = &connector.workload;
    let user = (!settings.cluster_assigns_user).then_some(USER);
    PodSpec {
        service_account_name: Some(owned_name(&connector.name)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(grace_period_seconds(connector.config.limits.call_timeout.0)),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: user,
            run_as_group: user,
            fs_group: user,
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        init_containers: connector
            .config
            .agent
            .as_ref()
            .map(|_| vec![agent::build_agent(connector, settings, whole_digest)]),
        containers: vec![container(connector, settings, whole_digest)],
        volumes: Some(volumes(connector)),
        image_pull_secrets: workload.image_pull_secrets.clone(),
        node_selector: workload
            .node_selector
            .as_ref()
            .map(|labels| labels.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect()),
        tolerations: workload.tolerations.clone(),
        affinity: workload.affinity.clone(),
        topology_spread_constraints: Some(
            workload.topology_spread_constraints.clone().unwrap_or_else(|| vec![spread_over_nodes(connector)]),
        ),
        priority_class_name: workload.priority_class_name.clone(),
        runtime_class_name: workload.runtime_class_name.clone(),
        ..PodSpec::default()
    }
}

fn container(connector: &ValidatedConnector, settings: &Settings, whole_digest: &str) -> Container {
    let port = |name: &str, number: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    };
    Container {
        name: "server".into(),
        image: Some(settings.connector_image.clone()),
        image_pull_policy: Some(settings.connector_image_pull_policy.clone()),
        args: Some(arguments("serve", whole_digest)),
        ports: Some(vec![port("mcp", MCP_PORT), port("admin", ADMIN_PORT)]),
        resources: Some(
            connector
                .workload
                .resources
                .clone()
                .unwrap_or_else(|| resources(&[("cpu", "20m"), ("memory", "32Mi")], "128Mi")),
        ),
        security_context: Some(container_security()),
        volume_mounts: Some(volume_mounts(connector)),
        startup_probe: Some(Probe { period_seconds: Some(1), failure_threshold: Some(60), ..probe("/readyz") }),
        readiness_probe: Some(Probe { period_seconds: Some(5), failure_threshold: Some(2), ..probe("/readyz") }),
        liveness_probe: Some(Probe { period_seconds: Some(10), failure_threshold: Some(3), ..probe("/livez") }),
        ..Container::default()
    }
}

/// What a container runs, and the digest of the configuration that it is made with. Who may write ConfigMaps and no
/// Deployments can change the one and not the other, and the container uses no other configuration.
pub fn arguments(command: &str, whole_digest: &str) -> Vec<String> {
    vec![command.to_owned(), format!("--config-digest={whole_digest}")]
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".into()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

/// What every container of the pod may do: nothing.
pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
        ..SecurityContext::default()
    }
}

/// Requests, and a limit of memory.
pub fn resources(requests: &[(&str, &str)], memory: &str) -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect())
    };
    ResourceRequirements { requests: quantities(requests), limits: quantities(&[("memory", memory)]), claims: None }
}

/// A volume at a path, to be read.
pub fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), read_only: Some(true), ..VolumeMount::default() }
}

fn volume_mounts(connector: &ValidatedConnector) -> Vec<VolumeMount> {
    let mut mounts = vec![mount("config", CONFIG_DIRECTORY)];
    mounts.extend(credentials::build_credential_mounts(&connector.credentials));
    if connector.config.telemetry.audit.file.is_some() {
        mounts.push(VolumeMount { read_only: None, ..mount("audit", AUDIT_DIRECTORY) });
    }
    if connector.shared_limit_credentials.is_some() {
        mounts.push(mount(SHARED_LIMIT, SHARED_LIMIT_DIRECTORY));
    }
    mounts
}

/// Lives as long as the pod. A pod that exceeds the limit is evicted, so there is room for one file more than are kept.
fn audit_volume(file: AuditFileConfig) -> Volume {
    let bytes = file.max_bytes.saturating_mul(u64::from(file.files) + 1);
    Volume {
        name: "audit".into(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(bytes.to_string())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn volumes(connector: &ValidatedConnector) -> Vec<Volume> {
    let mut volumes = vec![Volume {
        name: "config".into(),
        config_map: Some(ConfigMapVolumeSource {
            name: owned_name(&connector.name),
            default_mode: Some(0o444),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }];
    volumes.extend(credentials::build_credential_volumes(&connector.credentials));
    volumes.extend(connector.config.telemetry.audit.file.map(audit_volume));
    volumes.extend(
        connector.shared_limit_credentials.iter().map(|secret| credentials::secret_volume(SHARED_LIMIT, secret)),
    );
    volumes
}

fn spread_over_nodes(connector: &ValidatedConnector) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(selector(connector)),
        match_label_keys: Some(vec!["pod-template-hash".into()]),
        ..TopologySpreadConstraint::default()
    }
}
