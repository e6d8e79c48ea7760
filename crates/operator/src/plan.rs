//! The operator's steps without a cluster, for manifests on one machine. In go a connector and the objects beside it; out
//! comes what the operator would make and say of it, or why it wouldn't accept it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus},
        core::v1::ConfigMap,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;

pub use crate::connector::{
    build::Error as BuildError,
    observe::Handshake,
    status::Computed,
    validate::{CredentialMount, Rejection, SecretMount},
};
use crate::{
    connector::{
        build::build,
        dereference::{Dereferenced, FoundSharedLimit},
        observe::{Observation, Replica},
        references::Bundle,
        status::{NotAccepted, Seen, compute, compute_not_accepted},
        validate::{AllowedWorkload, ValidatedConnector, idle_mutations, validate},
    },
    context::Settings,
    rollout::{Limits, Share},
};
use api::{
    CredentialSource, McpConnector, McpConnectorSpec, McpConnectorStatus, ca_bundle::CaBundle, credential_source::Host,
    endpoint::AddressPolicy, platform::Declaration, scope::Scope,
};
use pod_api::{
    config::{ServeConfig, TokenKeys},
    status::ReplicaStatus,
};

/// The objects that connectors may refer to, each by its namespace and name.
pub trait Objects {
    /// A CredentialSource.
    fn source(&self, namespace: &str, name: &str) -> Option<Arc<CredentialSource>>;
    /// A ConfigMap.
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>>;
}

/// Plans connectors as the operator would.
#[derive(Clone, Debug)]
pub struct Planner {
    settings: Arc<Settings>,
}

impl Planner {
    /// A planner that lets platforms have these addresses, and every connector use these proxies. There is no cluster, so
    /// names of it are of no consequence.
    #[must_use]
    pub fn new(addresses: AddressPolicy, allowed_proxies: Vec<Host>) -> Self {
        let settings = Settings {
            connector_image: "local".to_owned(),
            connector_image_pull_policy: "Never".to_owned(),
            scope: Scope::all(),
            operator_namespace: "local".to_owned(),
            operator_service_account: "local".to_owned(),
            instance: "local".to_owned(),
            monitoring_namespace: None,
            cluster_domain: "cluster.local".to_owned(),
            poll_interval: Duration::from_secs(15),
            address: ([127, 0, 0, 1], 0).into(),
            concurrency: 1,
            // Nothing is rolled out here.
            rollout: Limits {
                max_concurrent: Share::Count(1),
                max_failures: Share::Count(1),
                ready_timeout: Duration::from_mins(2),
            },
            otlp_endpoint: None,
            allowed_proxies,
            addresses,
            cluster_assigns_user: false,
            // Which of it an operator allows is its own setting, and not known here.
            allowed_workload: AllowedWorkload::anything(),
        };
        Self { settings: Arc::new(settings) }
    }

    /// What a connector comes to.
    ///
    /// # Errors
    /// When the operator wouldn't accept it.
    pub fn plan(&self, connector: &McpConnector, objects: &impl Objects) -> Result<Plan, Rejection> {
        let connector = validate(connector, &dereference(connector, objects), &self.settings)?;
        Ok(Plan { connector, settings: self.settings.clone() })
    }
}

/// A connector that the operator would accept.
#[derive(Clone, Debug)]
pub struct Plan {
    connector: ValidatedConnector,
    settings: Arc<Settings>,
}

impl Plan {
    /// The server's configuration.
    #[must_use]
    pub fn config(&self) -> &ServeConfig {
        &self.connector.config
    }

    /// How the credentials would get into the pods.
    #[must_use]
    pub fn credentials(&self) -> &CredentialMount {
        &self.connector.credentials
    }

    /// Whether it would have pods.
    #[must_use]
    pub fn has_pods(&self) -> bool {
        !self.connector.suspended && self.connector.workload.replicas != Some(0)
    }

    /// That nobody in a cluster may use the tools that it offers to change something, if that is so.
    #[must_use]
    pub fn idle_mutations(&self) -> Option<&'static str> {
        idle_mutations(&self.connector.config)
    }

    /// The files of the ConfigMap that the server would read, of a configuration that `change` has changed.
    ///
    /// # Errors
    /// When the objects can't be built, which is a fault of this program.
    pub fn files(&self, change: impl FnOnce(&mut ServeConfig)) -> Result<BTreeMap<String, String>, BuildError> {
        let mut connector = self.connector.clone();
        change(&mut connector.config);
        Ok(build(&connector, &self.settings)?.config_map.data.unwrap_or_default())
    }

    /// Its status with one replica, which says this of itself and should run with the configuration of this digest; or with
    /// none. `handshake` says how its endpoint answered.
    #[must_use]
    pub fn status(
        &self,
        replica: Option<ReplicaStatus>,
        config_digest: &str,
        handshake: Option<Handshake>,
    ) -> Computed {
        let deployment = self.deployment(replica.is_some());
        let replicas = replica.map(|status| Replica { pod: "local".to_owned(), status: Some(status), silent: false });
        let observation = Observation { replicas: replicas.into_iter().collect(), handshake, ..Observation::default() };
        compute(Seen {
            connector: &self.connector,
            config_digest,
            deployment: &deployment,
            observation: &observation,
            known_revision: None,
        })
    }

    /// The Deployment that there would be, of the one replica that runs or doesn't.
    fn deployment(&self, runs: bool) -> Deployment {
        let running = i32::from(runs);
        let available = DeploymentCondition {
            type_: "Available".to_owned(),
            status: if runs { "True" } else { "False" }.to_owned(),
            ..DeploymentCondition::default()
        };
        Deployment {
            metadata: ObjectMeta { generation: Some(1), ..ObjectMeta::default() },
            spec: Some(DeploymentSpec { replicas: Some(i32::from(self.has_pods())), ..DeploymentSpec::default() }),
            status: Some(DeploymentStatus {
                observed_generation: Some(1),
                replicas: Some(running),
                ready_replicas: Some(running),
                updated_replicas: Some(running),
                conditions: Some(vec![available]),
                ..DeploymentStatus::default()
            }),
        }
    }
}

/// The status of a connector that isn't accepted, out of the one that it had.
#[must_use]
pub fn rejected_status(spec: &McpConnectorSpec, current: &McpConnectorStatus, rejection: &Rejection) -> Computed {
    let problem = NotAccepted { reason: rejection.reason, message: rejection.message.clone(), lasting: true };
    compute_not_accepted(current, spec.platform.declaration().map(Declaration::name), &problem)
}

/// Whether the ConfigMaps with the CA bundles of a connector's platform and of its Vault are there, as far as any is asked
/// for.
#[must_use]
pub fn has_bundles(connector: &McpConnector, objects: &impl Objects) -> bool {
    let source = source(connector, objects);
    let asked = [platform_bundle(connector), source.as_deref().and_then(vault_bundle)];
    asked.into_iter().flatten().all(|asked| bundle(connector, objects, Some(asked)) != Bundle::NoConfigMap)
}

fn dereference(connector: &McpConnector, objects: &impl Objects) -> Dereferenced {
    let source = source(connector, objects);
    Dereferenced {
        ca_bundle: bundle(connector, objects, platform_bundle(connector)),
        vault_ca_bundle: bundle(connector, objects, source.as_deref().and_then(vault_bundle)),
        shared_limit: dereference_shared_limit(connector, objects).unwrap_or_default(),
        // Of no cluster: nobody's token is verified with them.
        token_keys: Some(TokenKeys { issuer: String::new(), previous: None, keys: Vec::new() }),
        source,
        ..Dereferenced::default()
    }
}

fn dereference_shared_limit(connector: &McpConnector, objects: &impl Objects) -> Option<FoundSharedLimit> {
    let redis = &connector.spec.limits.as_ref()?.shared.as_ref()?.redis;
    let credentials = redis.credentials.as_ref();
    Some(FoundSharedLimit {
        source: credentials.and_then(|named| objects.source(&namespace(connector), &named.name)),
        ca_bundle: bundle(connector, objects, redis.ca_bundle.as_ref()),
        ..FoundSharedLimit::default()
    })
}

fn source(connector: &McpConnector, objects: &impl Objects) -> Option<Arc<CredentialSource>> {
    objects.source(&namespace(connector), &connector.spec.credentials.name)
}

fn bundle(connector: &McpConnector, objects: &impl Objects, asked: Option<&CaBundle>) -> Bundle {
    let Some(asked) = asked else { return Bundle::default() };
    let config_map = objects.config_map(&namespace(connector), &asked.config_map.name);
    Bundle::of(config_map.as_deref(), &asked.config_map.key)
}

fn platform_bundle(connector: &McpConnector) -> Option<&CaBundle> {
    connector.spec.platform.declaration().and_then(Declaration::ca_bundle)
}

/// The bundle that the Vault of a source is verified with.
fn vault_bundle(source: &CredentialSource) -> Option<&CaBundle> {
    source.spec.vault.as_ref()?.ca_bundle.as_ref()
}

fn namespace(connector: &McpConnector) -> String {
    connector.namespace().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::testing::{CERTIFICATE, MINIMAL, config_map, connector, source};
    use api::{ConditionType, Reason};

    /// A source and a ConfigMap, found under their names in one namespace.
    #[derive(Default)]
    struct Beside {
        source: Option<Arc<CredentialSource>>,
        config_map: Option<Arc<ConfigMap>>,
    }

    impl Objects for Beside {
        fn source(&self, namespace: &str, name: &str) -> Option<Arc<CredentialSource>> {
            self.source.clone().filter(|_| (namespace, name) == ("team", "reader"))
        }

        fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
            self.config_map.clone().filter(|_| (namespace, name) == ("team", "corp"))
        }
    }

    fn beside() -> Beside {
        let source = source("{hosts: [vault.example.com], secret: {name: keys, items: {token: vault}}}");
        Beside { source: Some(Arc::new(source)), config_map: None }
    }

    fn status_of(computed: &Computed, type_: ConditionType) -> Option<bool> {
        computed.findings.iter().find(|finding| finding.type_ == type_).unwrap().status
    }

    #[test]
    fn a_connector_comes_to_files_and_a_status_without_a_cluster() {
        let plan = Planner::new(AddressPolicy::Cluster, Vec::new()).plan(&connector(MINIMAL), &beside()).unwrap();
        assert!(
            plan.has_pods() && matches!(plan.credentials(), CredentialMount::Secret(mount) if mount.name == "keys")
        );
        let files = plan.files(|config| config.access.anonymous = true).unwrap();
        let written: ServeConfig = serde_json::from_str(&files["config.json"]).unwrap();
        assert_eq!((written.access.anonymous, plan.config().access.anonymous), (true, false));

        let starting = plan.status(None, "", None);
        assert_eq!(status_of(&starting, ConditionType::Accepted), Some(true));
        assert_eq!(status_of(&starting, ConditionType::Available), None, "it is being brought up");

        let suspended = connector(&format!("{MINIMAL}\nsuspend: true"));
        let suspended = Planner::new(AddressPolicy::Cluster, Vec::new()).plan(&suspended, &beside()).unwrap();
        assert!(!suspended.has_pods());
        assert_eq!(status_of(&suspended.status(None, "", None), ConditionType::Available), Some(false));
    }

    #[test]
    fn what_is_not_accepted_says_why_and_keeps_what_was_known() {
        let planner = Planner::new(AddressPolicy::Cluster, Vec::new());
        let connector = connector(MINIMAL);
        let rejection = planner.plan(&connector, &Beside::default()).unwrap_err();
        assert!(rejection.message.contains("reader"), "{rejection}");
        let known = McpConnectorStatus { url: Some("http://known".into()), ..McpConnectorStatus::default() };
        let computed = rejected_status(&connector.spec, &known, &rejection);
        assert_eq!(status_of(&computed, ConditionType::Accepted), Some(false));
        assert_eq!(computed.status.url.as_deref(), Some("http://known"));
    }

    #[test]
    fn a_bundle_is_looked_for_beside_its_connector() {
        let bundle = "caBundle: {configMap: {name: corp, key: ca.crt}}";
        let spec = format!(
            "platform: {{vault: {{url: 'https://vault.example.com', {bundle}}}}}\ncredentials: {{name: reader}}"
        );
        let (connector, planner) = (connector(&spec), Planner::new(AddressPolicy::Cluster, Vec::new()));
        let mut objects = beside();
        assert_eq!(planner.plan(&connector, &objects).unwrap_err().reason, Reason::CaBundleInvalid);
        assert!(!has_bundles(&connector, &objects));
        objects.config_map = Some(config_map("ca.crt", CERTIFICATE));
        assert!(has_bundles(&connector, &objects) && planner.plan(&connector, &objects).is_ok());
    }
}
