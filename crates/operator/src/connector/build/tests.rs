use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, ResourceRequirements},
    apimachinery::pkg::util::intstr::IntOrString,
};

use proptest::prelude::*;

use super::*;
use crate::connector::{
    dereference::{Dereferenced, FoundSharedLimit},
    testing::{MINIMAL, check, found, settings, source, validated},
};

/// The whole of what a connector owns, as files that can be read and reviewed.
#[test]
fn snapshots() {
    let connector = validated(&format!(
        "{MINIMAL}\nworkload: {{replicas: 2, labels: {{team: red}}, annotations: {{note: hello}}, priorityClassName: high}}"
    ));
    let resources = build(&connector, &settings()).unwrap();
    insta::assert_yaml_snapshot!("service_account", resources.service_account);
    insta::assert_yaml_snapshot!("config_map", resources.config_map);
    insta::assert_yaml_snapshot!("network_policy", resources.network_policy);
    insta::assert_yaml_snapshot!("service", resources.service);
    insta::assert_yaml_snapshot!("pod_disruption_budget", resources.pod_disruption_budget);
    insta::assert_yaml_snapshot!("deployment", resources.deployment);
}

fn deployment(extra: &str) -> Deployment {
    build(&validated(&format!("{MINIMAL}\n{extra}")), &settings()).unwrap().deployment
}

#[test]
fn replicas_are_left_alone_when_unset_and_zero_when_suspended() {
    assert_eq!(deployment("").spec.unwrap().replicas, None);
    assert_eq!(deployment("workload: {replicas: 3}").spec.unwrap().replicas, Some(3));
    assert_eq!(deployment("suspend: true").spec.unwrap().replicas, Some(0));
}

#[test]
fn one_replica_has_no_disruption_budget() {
    let budget = |extra: &str| {
        build(&validated(&format!("{MINIMAL}\n{extra}")), &settings()).unwrap().pod_disruption_budget.is_some()
    };
    assert!(!budget(""));
    assert!(!budget("workload: {replicas: 1}"));
    assert!(budget("workload: {replicas: 2}"));
    assert!(!budget("workload: {replicas: 2}\nsuspend: true"));
}

#[test]
fn a_log_level_is_a_file_that_pods_follow_and_rolls_none() {
    let build = |extra: &str| build(&validated(&format!("{MINIMAL}\n{extra}")), &settings()).unwrap();
    let (plain, loud) = (build(""), build("telemetry: {logLevel: debug}"));
    let level = |resources: &Resources| resources.config_map.data.as_ref().unwrap().get("log-level").cloned();
    assert_eq!((level(&plain), level(&loud).as_deref()), (None, Some("debug")));
    assert_eq!(plain.deployment, loud.deployment);
    assert_eq!(plain.config_digest, loud.config_digest);
}

#[test]
fn only_what_the_server_reads_rolls_the_pods() {
    let digest = |extra: &str| build(&validated(&format!("{MINIMAL}\n{extra}")), &settings()).unwrap().config_digest;
    let plain = digest("");
    assert_eq!(digest("workload: {replicas: 5}"), plain);
    assert_eq!(digest("network: {egress: Any}"), plain);
    assert_ne!(digest("tools: {prefix: a_}"), plain);

    let mut other_keys = validated(MINIMAL);
    other_keys.token_keys.issuer = "https://other.example.com".into();
    let resources = build(&other_keys, &settings()).unwrap();
    assert_eq!(resources.config_digest, plain, "rotated token keys are read without a restart");
}

#[test]
fn a_label_of_the_operator_can_not_be_replaced() {
    let mut connector = validated(MINIMAL);
    connector.workload.labels =
        Some([(LABEL_CONNECTOR.to_owned(), api::connector::LabelValue("another".into()))].into());
    let deployment = build(&connector, &settings()).unwrap().deployment;
    let labels = deployment.spec.unwrap().template.metadata.unwrap().labels.unwrap();
    assert_eq!(labels[LABEL_CONNECTOR], "tresor");
}

#[test]
fn an_audit_file_has_a_volume_with_room_for_it() {
    let pod = |extra: &str| deployment(extra).spec.unwrap().template.spec.unwrap();
    let volumes =
        |extra: &str| -> Vec<String> { pod(extra).volumes.unwrap().into_iter().map(|volume| volume.name).collect() };
    assert_eq!(volumes(""), ["config", "credentials"]);
    let extra = "telemetry: {audit: {file: {maxBytes: 2000000, files: 3}}}";
    assert_eq!(volumes(extra), ["config", "credentials", "audit"]);
    let pod = pod(extra);
    let volume = pod.volumes.unwrap().pop().unwrap().empty_dir.unwrap();
    assert_eq!(volume.size_limit.unwrap().0, "8000000");
    let mount = pod.containers[0].volume_mounts.clone().unwrap().pop().unwrap();
    assert_eq!((mount.mount_path.as_str(), mount.read_only), ("/var/log/mcp-connectors", None));
}

#[test]
fn the_password_of_a_shared_limit_is_mounted_for_the_server() {
    let spec = format!(
        "{MINIMAL}\nlimits: {{shared: {{redis: {{address: 'redis.limits.svc:6379', credentials: {{name: counter}}}}}}}}"
    );
    let counter = source("{hosts: [redis.limits.svc], secret: {name: redis, items: {password: p}}}");
    let shared_limit = FoundSharedLimit { source: Some(Arc::new(counter)), ..FoundSharedLimit::default() };
    let connector = check(&spec, &Dereferenced { shared_limit, ..found() }).unwrap();
    let pod = build(&connector, &settings()).unwrap().deployment.spec.unwrap().template.spec.unwrap();
    let volume = pod.volumes.unwrap().pop().unwrap();
    let secret = volume.secret.unwrap();
    assert_eq!((secret.secret_name.as_deref(), secret.optional), (Some("redis"), Some(true)));
    assert_eq!(secret.items.unwrap()[0].path, "password");
    let mount = pod.containers[0].volume_mounts.clone().unwrap().pop().unwrap();
    assert_eq!((mount.name, mount.read_only), (volume.name, Some(true)));
    assert_eq!(mount.mount_path, "/var/run/secrets/mcp-connectors.io/shared-limit");
}

#[test]
fn a_collector_in_the_cluster_may_be_reached_in_its_namespace() {
    let spec = format!("{MINIMAL}\ntelemetry: {{traces: {{endpoint: 'http://collector.seeing.svc:4318'}}}}");
    let policy = build(&validated(&spec), &settings()).unwrap().network_policy;
    let rule = policy.spec.unwrap().egress.unwrap().pop().unwrap();
    let peer = rule.to.unwrap().remove(0);
    let labels = peer.namespace_selector.unwrap().match_labels.unwrap();
    assert_eq!(labels["kubernetes.io/metadata.name"], "seeing");
    assert_eq!(rule.ports.unwrap()[0].port, Some(IntOrString::Int(4_318)));
}

const IN_VAULT: &str = "{hosts: [vault.example.com], vault: {address: 'https://store.vault.svc:8200', \
     auth: AUTH, secrets: [{kv: {path: team/ci}, fields: {token: token}}]}}";

fn from_vault(auth: &str) -> Resources {
    from_vault_with(auth, "")
}

fn from_vault_with(auth: &str, extra: &str) -> Resources {
    let found = Dereferenced { source: Some(Arc::new(source(&IN_VAULT.replace("AUTH", auth)))), ..found() };
    build(&check(&format!("{MINIMAL}\n{extra}"), &found).unwrap(), &settings()).unwrap()
}

#[test]
fn credentials_from_vault_come_by_an_agent() {
    let resources = from_vault("{kubernetes: {role: ci}}");
    insta::assert_yaml_snapshot!("agent_deployment", resources.deployment);
    insta::assert_yaml_snapshot!("agent_network_policy", resources.network_policy.spec.unwrap().egress);
    insta::assert_yaml_snapshot!("agent_config", resources.config_map.data.unwrap()["config.json"]);
}

#[test]
fn server_and_agent_have_resources_of_their_own() {
    let resources = |workload: &str| {
        let deployment = from_vault_with("{kubernetes: {role: ci}}", workload).deployment;
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        [pod.init_containers.unwrap().remove(0), pod.containers[0].clone()].map(|container| {
            let ResourceRequirements { limits, requests, .. } = container.resources.unwrap();
            (limits.unwrap()["memory"].0.clone(), requests.is_some())
        })
    };
    let of = |memory: &str, requests: bool| (memory.to_owned(), requests);
    assert_eq!(resources(""), [of("32Mi", true), of("128Mi", true)]);
    let agents = resources("workload: {agentResources: {limits: {memory: 64Mi}}}");
    assert_eq!(agents, [of("64Mi", false), of("128Mi", true)]);
    let servers = resources("workload: {resources: {limits: {memory: 256Mi}}}");
    assert_eq!(servers, [of("32Mi", true), of("256Mi", false)]);
}

#[test]
fn a_secret_id_is_mounted_for_the_agent_alone() {
    let resources = from_vault("{appRole: {roleId: r, secretId: {secret: {name: ids, key: ci}}}}");
    let pod = resources.deployment.spec.unwrap().template.spec.unwrap();
    let mounts = |container: &Container| -> Vec<String> {
        container.volume_mounts.iter().flatten().map(|mount| mount.name.clone()).collect()
    };
    assert_eq!(mounts(&pod.containers[0]), ["config", "credentials"]);
    assert_eq!(mounts(&pod.init_containers.unwrap()[0]), ["config", "credentials", "identity"]);
    let volumes = pod.volumes.unwrap();
    let identity = volumes.iter().find(|volume| volume.name == "identity").unwrap().secret.clone().unwrap();
    assert_eq!((identity.secret_name.as_deref(), identity.optional), (Some("ids"), Some(true)));
    let item = &identity.items.unwrap()[0];
    assert_eq!((item.key.as_str(), item.path.as_str()), ("ci", "secret_id"));
}

#[test]
fn a_cluster_that_assigns_users_is_left_to_do_so() {
    let settings = Settings { cluster_assigns_user: true, ..settings() };
    let deployment = build(&validated(MINIMAL), &settings).unwrap().deployment;
    let context = deployment.spec.unwrap().template.spec.unwrap().security_context.unwrap();
    assert_eq!((context.run_as_user, context.run_as_group, context.fs_group), (None, None, None));
    assert_eq!(context.run_as_non_root, Some(true));
}

fn pod_from(spec: &str, source_spec: &str) -> PodSpec {
    let found = Dereferenced { source: Some(Arc::new(source(source_spec))), ..found() };
    let resources = build(&check(spec, &found).unwrap(), &settings()).unwrap();
    resources.deployment.spec.unwrap().template.spec.unwrap()
}

#[test]
fn several_secrets_are_mounted_as_one_set() {
    let pod = pod_from(
        MINIMAL,
        "{hosts: [vault.example.com], secrets: [{name: a, items: {token: key}}, {name: b, items: {tls_key: k, \
         tls_certificate: c}}]}",
    );
    insta::assert_yaml_snapshot!("secrets_volume", pod.volumes.unwrap().pop().unwrap());
}

#[test]
fn what_a_csi_driver_mounts_is_read_only() {
    let pod = pod_from(MINIMAL, "{hosts: [vault.example.com], csi: {secretProviderClass: c, items: {token: f}}}");
    insta::assert_yaml_snapshot!("csi_volume", pod.volumes.unwrap().pop().unwrap());
    let mount = pod.containers[0].volume_mounts.clone().unwrap().pop().unwrap();
    assert_eq!((mount.name.as_str(), mount.read_only), ("credentials", Some(true)));
}

const METRICS: &str = "platform: {cloudWatch: {region: eu-central-1}}\ncredentials: {name: reader}";

#[test]
fn a_web_identity_is_a_token_that_the_server_alone_reads() {
    let aws = "{workloadIdentity: {aws: {roleArn: 'arn:aws:iam::123456789012:role/reader', audience: aws}}}";
    let pod = pod_from(METRICS, aws);
    insta::assert_yaml_snapshot!("web_identity_volume", pod.volumes.unwrap().pop().unwrap());
    let mounts = pod.containers[0].volume_mounts.clone().unwrap();
    let mounts: Vec<_> = mounts.iter().map(|mount| (mount.name.as_str(), mount.mount_path.as_str())).collect();
    let (config, identity) = ("/etc/mcp-connectors", "/var/run/secrets/mcp-connectors.io/identity");
    assert_eq!(mounts, [("config", config), ("identity", identity)]);
    assert_eq!((pod.init_containers, pod.automount_service_account_token), (None, Some(false)));
}

#[test]
fn an_identity_that_the_node_knows_needs_no_volume() {
    for aws in ["podIdentity: {}", "instanceProfile: {}"] {
        let pod = pod_from(METRICS, &format!("{{workloadIdentity: {{aws: {{{aws}}}}}}}"));
        assert_eq!(pod.volumes.unwrap().len(), 1, "{aws}");
    }
}

/// The digest that every container of a Deployment is given.
fn digest_of(deployment: &Deployment) -> String {
    let pod = deployment.spec.clone().unwrap().template.spec.unwrap();
    let digests: std::collections::BTreeSet<String> = pod
        .containers
        .into_iter()
        .chain(pod.init_containers.into_iter().flatten())
        .flat_map(|container| container.args.unwrap())
        .filter_map(|word| word.strip_prefix("--config-digest=").map(str::to_owned))
        .collect();
    assert_eq!(digests.len(), 1, "{digests:?}");
    digests.into_iter().next().unwrap()
}

/// What a pod reads of a ConfigMap that has these files.
fn read_by_a_pod(files: &std::collections::BTreeMap<String, Vec<u8>>, digest: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let read = pod_api::config::StartFiles::read(folder.path(), Some(digest)).map_err(|error| error.to_string())?;
    serde_json::from_str::<ServeConfig>(&read.config).map(drop).map_err(|error| error.to_string())
}

#[test]
fn the_agent_is_given_the_digest_too() {
    let resources = from_vault("{kubernetes: {role: ci}}");
    let pod = resources.deployment.spec.clone().unwrap().template.spec.unwrap();
    assert_eq!(pod.init_containers.unwrap().len(), 1);
    assert!(digest_of(&resources.deployment).starts_with(&resources.config_digest));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever becomes of a file that says where credentials go, no pod of this Deployment starts on it; the files that pods
    /// follow live are no part of that.
    #[test]
    fn a_pod_starts_on_what_it_was_made_with_only(
        file in prop::sample::select(vec!["config.json", "platform-ca.pem", "token-keys.json", "log-level", "other"]),
        with_ca in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        put in prop::collection::vec(any::<u8>(), 0..6),
        length in 0_usize..4,
        gone in prop::bool::weighted(0.1),
    ) {
        let ca = with_ca.then(|| crate::connector::testing::CERTIFICATE.into());
        let connector = ValidatedConnector { platform_ca: ca, ..validated(MINIMAL) };
        let resources = build(&connector, &settings()).unwrap();
        let files: std::collections::BTreeMap<String, Vec<u8>> =
            resources.config_map.data.unwrap().into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
        let digest = digest_of(&resources.deployment);
        prop_assert_eq!(read_by_a_pod(&files, &digest), Ok(()));

        let mut altered = files.clone();
        let bytes = altered.entry(file.to_owned()).or_default();
        let start = cut.index(bytes.len() + 1);
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, put);
        if gone {
            altered.remove(file);
        }
        let decides = |files: &std::collections::BTreeMap<String, Vec<u8>>| {
            ["config.json", "platform-ca.pem"].map(|name| files.get(name).cloned().unwrap_or_default())
        };
        let unchanged = decides(&altered) == decides(&files);
        prop_assert_eq!(read_by_a_pod(&altered, &digest).is_ok(), unchanged, "{}", file);
    }

    /// Nor on another connector's, however it differs.
    #[test]
    fn a_pod_starts_on_no_other_configuration(host in "[a-z]{1,8}", proxy in prop::option::of("[a-z]{1,8}"), prefix in "[a-z]{0,3}") {
        let made_with = build(&validated(MINIMAL), &settings()).unwrap();
        let mut connector = validated(MINIMAL);
        let platform = serde_json::json!({"vault": {"url": format!("https://{host}.example.com:8200")}});
        connector.config.platform = serde_json::from_value(platform).unwrap();
        let proxy = proxy.map(|proxy| serde_json::json!({"url": format!("http://{proxy}.example.com:3128")}));
        connector.config.proxy = proxy.map(|proxy| serde_json::from_value(proxy).unwrap());
        connector.config.tools.prefix = prefix;
        let other = build(&connector, &settings()).unwrap();
        let files = other.config_map.data.clone().unwrap().into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
        let same = other.config_map.data == made_with.config_map.data;
        prop_assert_eq!(read_by_a_pod(&files, &digest_of(&made_with.deployment)).is_ok(), same);
    }
}
