//! The validate step: spec plus what it points to become a [`ValidatedConnector`], or a reason why not. Pure, so every
//! rule can be tested from YAML. Unions become enums here, defaults are resolved here, and nothing after this step asks
//! whether a spec makes sense.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::Service,
    apimachinery::pkg::{apis::meta::v1::OwnerReference, util::intstr::IntOrString},
    jiff::Timestamp,
};
use kube::{Resource, ResourceExt};
use rustls_pki_types::{CertificateDer, pem::PemObject};

mod limits;
mod shared_limit;
mod source;
mod telemetry;
mod vault;
mod workload;

pub use self::workload::{ALLOWED_ANNOTATIONS, ALLOWED_LABELS, ALLOWED_TOLERATIONS, AllowedWorkload};

use self::source::{ValidSource, validate_source};
use super::{
    dereference::Dereferenced,
    references::{Bundle, MAX_BUNDLE},
};
use crate::context::Settings;
use api::{
    self, McpConnector, Reason,
    ca_bundle::CaBundle,
    connector::{AccessRule, Egress, Mutations, Outage, WorkloadSpec},
    duration::ApiDuration,
    endpoint::{AddressPolicy, Endpoint, PlatformUrl},
    pattern::NamePattern,
    telemetry::LogLevel,
};
use pod_api::config::{
    AccessConfig, ConnectorIdentity, OperatorIdentity, ProbeConfig, ServeConfig, TokenKeys, ToolsConfig,
};

const DEFAULT_PROBE_INTERVAL: ApiDuration = ApiDuration::from_secs(30);
const DEFAULT_PROBE_TIMEOUT: ApiDuration = ApiDuration::from_secs(10);
const DEFAULT_FAILURE_THRESHOLD: i32 = 2;
/// Where a connector names its proxy.
const PROXY_FIELD: &str = "spec.workload.proxy.url";

/// A connector that can be built.
#[derive(Clone, Debug)]
pub struct ValidatedConnector {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Owner reference for everything made from it.
    pub owner: OwnerReference,
    /// Name of the platform.
    pub platform: &'static str,
    /// The server's configuration.
    pub config: ServeConfig,
    /// The platform's CA bundle in PEM.
    pub platform_ca: Option<Arc<str>>,
    /// The cluster's token keys.
    pub token_keys: TokenKeys,
    /// What the pods log, if the spec says so.
    pub log_level: Option<LogLevel>,
    /// How the credentials get into the pods.
    pub credentials: CredentialMount,
    /// The Secret with the credentials of the shared rate limit's Redis, if it asks for any.
    pub shared_limit_credentials: Option<SecretMount>,
    /// Where the pods may connect to.
    pub egress: EgressPlan,
    /// Namespaces from which callers may come; everywhere if none.
    pub caller_namespaces: Option<Vec<String>>,
    /// How the pods run.
    pub workload: WorkloadSpec,
    /// Whether the pods are taken away.
    pub suspended: bool,
    /// What an outage of the platform means for Ready.
    pub outage: Outage,
    /// When the pods were last to be replaced; see [`super::requests`].
    pub restarted_at: Option<Timestamp>,
}

/// How the credentials get into the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialMount {
    /// The kubelet mounts a Secret.
    Secret(SecretMount),
    /// The kubelet mounts several Secrets as one set.
    Secrets(Vec<SecretMount>),
    /// The Secrets Store CSI driver mounts what a SecretProviderClass names.
    Csi {
        /// Name of the class.
        secret_provider_class: String,
    },
    /// There are none. The server proves who it is with a token of the connector's ServiceAccount.
    WebIdentity {
        /// Audience of the token.
        audience: String,
    },
    /// There are none. Something on the node knows who the pod is.
    Nothing,
    /// An agent fetches them. It logs in with a token of the connector's ServiceAccount.
    Token {
        /// Audience of the token.
        audience: String,
    },
    /// An agent fetches them. It logs in with a secret id, which the kubelet mounts for it.
    SecretId(SecretMount),
}

/// A Secret that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMount {
    /// Its name.
    pub name: String,
    /// Field to key; every key under its own name if none.
    pub items: Option<BTreeMap<String, String>>,
}

/// Where the pods may connect to, DNS aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressPlan {
    /// Everything.
    Any,
    /// These targets.
    Targets(Vec<EgressTarget>),
}

/// One target of egress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressTarget {
    /// The pods behind a Service of the connector's namespace.
    Pods {
        /// Namespace of the Service.
        namespace: String,
        /// The Service's selector.
        selector: BTreeMap<String, String>,
        /// The port on the pods.
        port: IntOrString,
    },
    /// Every pod of a namespace.
    Namespace {
        /// The namespace.
        namespace: String,
        /// The port on the pods.
        port: IntOrString,
    },
    /// Any address but link-local and metadata ones.
    Outside {
        /// The port.
        port: u16,
    },
    /// Given addresses.
    Cidrs {
        /// The addresses.
        cidrs: Vec<String>,
        /// The port.
        port: u16,
    },
}

/// Why a connector isn't accepted. Several problems of one kind are told together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// Reason for the condition.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
}

impl Rejection {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Checks a connector.
///
/// # Errors
/// With the first class of problems that stands in its way.
pub fn validate(
    connector: &McpConnector,
    found: &Dereferenced,
    settings: &Settings,
) -> Result<ValidatedConnector, Rejection> {
    let invalid = |message: String| Rejection::new(Reason::InvalidSpec, message);
    let name = connector.name_any();
    let namespace = connector.namespace().ok_or_else(|| invalid("the object has no namespace".into()))?;
    let owner = connector
        .controller_owner_ref(&())
        .ok_or_else(|| invalid("the object has no uid; it was not read from an API server".into()))?;
    let spec = &connector.spec;

    let platform = spec
        .platform
        .declaration()
        .ok_or_else(|| invalid("spec.platform names no platform that this operator knows: set exactly one".into()))?;
    let endpoint = platform
        .endpoint(settings.addresses)
        .map_err(|error| invalid(format!("{}: {error}", platform.endpoint_field())))?;
    let further = platform.further_endpoints(settings.addresses).map_err(|error| invalid(error.to_string()))?;
    let problems: Vec<String> =
        platform.problems().into_iter().map(|(field, problem)| format!("{field}: {problem}")).collect();
    if !problems.is_empty() {
        return Err(invalid(problems.join("; ")));
    }

    let endpoints: Vec<&Endpoint> = std::iter::once(&endpoint).chain(&further).collect();
    let proxy = proxy_endpoint(connector, settings.addresses)?;
    let ValidSource { credentials, fields, vault, identity, egress: to_identity } =
        validate_source(connector, platform, &endpoints, proxy.as_ref(), found, settings)?;
    let platform_ca = read_ca(platform.ca_bundle(), &found.ca_bundle, "caBundle")?;
    let token_keys = found.token_keys.clone().ok_or_else(|| {
        Rejection::new(Reason::Starting, "the cluster's token keys were not read yet; this passes by itself")
    })?;

    let workload = spec.workload.clone().unwrap_or_default();
    workload::check(&workload, &settings.allowed_workload)?;
    let (telemetry, collector) = telemetry::resolve(spec.telemetry.as_ref(), settings)?;
    let to_vault = vault.as_ref().map(|vault| other_target(connector, &vault.endpoint, found.vault_service.as_deref()));
    let limit_spec = spec.limits.clone().unwrap_or_default();
    let shared_limit = match &limit_spec.shared {
        Some(shared) => Some(shared_limit::resolve(&shared.redis, &found.shared_limit, settings)?),
        None => None,
    };
    let to_redis = shared_limit
        .as_ref()
        .map(|limit| other_target(connector, &limit.endpoint, found.shared_limit.service.as_deref()));
    let to_proxy = proxy.map(|proxy| EgressTarget::Outside { port: proxy.port });
    let others = to_proxy.into_iter().chain(to_vault).chain(to_redis).chain(to_identity).chain(collector).collect();
    let egress = plan_egress(connector, &endpoint, &further, found.platform_service.as_deref(), others);
    let access = spec.access.clone().unwrap_or_default();
    let anonymous = access.anonymous.unwrap_or_default();
    let allow = resolve_access(access.allow, anonymous, &namespace);
    let url = api::endpoint_url(&namespace, &name);
    let service = api::owned_name(&name);
    let mut audiences = vec![
        url,
        format!("http://{service}.{namespace}.svc.{}:{}/mcp", settings.cluster_domain, api::MCP_PORT),
        format!("http://{service}.{namespace}:{}/mcp", api::MCP_PORT),
    ];
    let more = access.audiences.unwrap_or_default();
    if let Some(audience) = more.iter().find(|audience| vault::is_for_api_server(audience, found)) {
        return Err(invalid(format!(
            "spec.access.audiences: {audience:?} is an audience of the Kubernetes API: an agent that sends such a token \
             gives its own access to the cluster away"
        )));
    }
    audiences.extend(more);
    let caller_namespaces = (!anonymous).then(|| {
        let mut namespaces: Vec<String> = allow.iter().map(|rule| rule.namespace.clone()).collect();
        namespaces.sort();
        namespaces.dedup();
        namespaces
    });

    let tools = spec.tools.clone().unwrap_or_default();
    let probe = spec.probe.clone().unwrap_or_default();
    let (shared, shared_limit_credentials) = match shared_limit {
        Some(limit) => (Some(limit.config), limit.credentials),
        None => (None, None),
    };
    let config = ServeConfig {
        connector: ConnectorIdentity { namespace: namespace.clone(), name: name.clone(), uid: owner.uid.clone() },
        platform: spec.platform.clone(),
        tools: ToolsConfig {
            mutations: tools.mutations.unwrap_or(Mutations::ReadOnly),
            allow: tools.allow.unwrap_or_else(|| vec![NamePattern("*".into())]),
            deny: tools.deny.unwrap_or_default(),
            prefix: tools.prefix.unwrap_or_default(),
            output_schemas: tools.output_schemas.unwrap_or_default(),
        },
        access: AccessConfig { anonymous, allow, audiences },
        hosts: vec![
            service.clone(),
            format!("{service}.{namespace}"),
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.{}", settings.cluster_domain),
        ],
        operator: OperatorIdentity {
            namespace: settings.operator_namespace.clone(),
            service_account: settings.operator_service_account.clone(),
        },
        probe: ProbeConfig {
            interval: probe.interval.unwrap_or(DEFAULT_PROBE_INTERVAL),
            timeout: probe.timeout.unwrap_or(DEFAULT_PROBE_TIMEOUT),
            failure_threshold: u32::try_from(probe.failure_threshold.unwrap_or(DEFAULT_FAILURE_THRESHOLD).max(1))
                .unwrap_or(1),
        },
        limits: limits::resolve(limit_spec, shared, platform),
        proxy: workload.proxy.clone(),
        telemetry,
        agent: vault.map(|vault| vault.config),
        fields,
        identity,
    };
    Ok(ValidatedConnector {
        name,
        namespace,
        owner,
        platform: platform.name(),
        config,
        platform_ca,
        token_keys,
        log_level: spec.telemetry.as_ref().and_then(|telemetry| telemetry.log_level),
        credentials,
        shared_limit_credentials,
        egress,
        caller_namespaces,
        workload,
        suspended: spec.suspend.unwrap_or_default(),
        outage: probe.outage.unwrap_or_default(),
        restarted_at: None,
    })
}

/// The certificates of a CA bundle, which `field` asks for.
fn read_ca(bundle: Option<&CaBundle>, found: &Bundle, field: &str) -> Result<Option<Arc<str>>, Rejection> {
    let Some(bundle) = bundle else { return Ok(None) };
    let (name, key) = (&bundle.config_map.name, &bundle.config_map.key);
    let reject = |problem: String| Err(Rejection::new(Reason::CaBundleInvalid, format!("{field}: {problem}")));
    let pem = match found {
        Bundle::Text(pem) => pem,
        Bundle::NoConfigMap => {
            return reject(format!("there is no ConfigMap {name:?} in this namespace; create it, or correct the name"));
        }
        Bundle::NoKey => {
            return reject(format!("ConfigMap {name:?} has no key {key:?}; add it, or correct caBundle.configMap.key"));
        }
        Bundle::TooLarge(bytes) => {
            return reject(format!(
                "key {key:?} of ConfigMap {name:?} has {bytes} bytes, and may have {MAX_BUNDLE}: leave in it only the \
                 authorities that sign the certificates of what is called, and no comments"
            ));
        }
    };
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        match certificate {
            Ok(_) => count += 1,
            Err(_) => {
                return reject(format!(
                    "key {key:?} of ConfigMap {name:?} is not well-formed PEM after {count} certificates"
                ));
            }
        }
    }
    if count == 0 {
        return reject(format!(
            "key {key:?} of ConfigMap {name:?} holds no PEM certificate: it must have lines -----BEGIN CERTIFICATE-----"
        ));
    }
    Ok(Some(Arc::clone(pem)))
}

fn resolve_access(allow: Option<Vec<AccessRule>>, anonymous: bool, namespace: &str) -> Vec<AccessRule> {
    let everything = || Some(vec![NamePattern("*".into())]);
    if anonymous {
        return Vec::new();
    }
    match allow {
        // Left out: every ServiceAccount of this namespace may read. What changes something needs a rule that names who.
        None => vec![AccessRule {
            namespace: namespace.to_owned(),
            service_account: "*".into(),
            tools: everything(),
            mutations: Some(false),
        }],
        Some(rules) => rules
            .into_iter()
            .map(|rule| AccessRule {
                tools: rule.tools.or_else(everything),
                mutations: Some(rule.mutations.unwrap_or_default()),
                ..rule
            })
            .collect(),
    }
}

/// That nobody may use the tools that a configuration offers to change something, if that is so, and what to do.
#[must_use]
pub fn idle_mutations(config: &ServeConfig) -> Option<&'static str> {
    let AccessConfig { anonymous, allow, .. } = &config.access;
    if config.tools.mutations == Mutations::ReadOnly || allow.iter().any(|rule| rule.mutations == Some(true)) {
        return None;
    }
    Some(if *anonymous {
        "spec.tools.mutations: Confirm lets nobody in the cluster change anything, because spec.access.anonymous names nobody: \
         put rules with mutations: true for the ServiceAccounts that may into spec.access.allow in its place."
    } else {
        "spec.tools.mutations: Confirm lets nobody in the cluster change anything, because no rule of spec.access.allow has \
         mutations: true: add one for each ServiceAccount that may."
    })
}

/// Where the connector's proxy is, if it has one.
fn proxy_endpoint(connector: &McpConnector, addresses: AddressPolicy) -> Result<Option<Endpoint>, Rejection> {
    let Some(proxy) = connector.spec.workload.as_ref().and_then(|workload| workload.proxy.as_ref()) else {
        return Ok(None);
    };
    PlatformUrl(proxy.url.clone())
        .endpoint(true, addresses)
        .map(Some)
        .map_err(|error| Rejection::new(Reason::InvalidSpec, format!("{PROXY_FIELD}: {error}")))
}

fn plan_egress(
    connector: &McpConnector,
    endpoint: &Endpoint,
    further: &[Endpoint],
    service: Option<&Service>,
    others: Vec<EgressTarget>,
) -> EgressPlan {
    let network = connector.spec.network.clone().unwrap_or_default();
    let mut targets: Vec<EgressTarget> = match network.egress.unwrap_or_default() {
        Egress::Any => return EgressPlan::Any,
        Egress::Cidrs => {
            let cidrs = network.cidrs.unwrap_or_default();
            let targets = std::iter::once(endpoint).chain(further);
            targets.map(|endpoint| EgressTarget::Cidrs { cidrs: cidrs.clone(), port: endpoint.port }).collect()
        }
        // The Service, if there is one, is that of the first address.
        Egress::Derived => {
            let own = connector.namespace().unwrap_or_default();
            let service_of = |other: &Endpoint| service.filter(|_| other.host == endpoint.host);
            let targets = std::iter::once(endpoint).chain(further);
            targets.map(|target| derive_target(&own, target, service_of(target))).collect()
        }
    };
    targets.dedup();
    targets.extend(others);
    EgressPlan::Targets(targets)
}

/// Where the pods may connect to for something beside the platform.
fn other_target(connector: &McpConnector, endpoint: &Endpoint, service: Option<&Service>) -> EgressTarget {
    let network = connector.spec.network.clone().unwrap_or_default();
    match network.egress.unwrap_or_default() {
        Egress::Cidrs => EgressTarget::Cidrs { cidrs: network.cidrs.unwrap_or_default(), port: endpoint.port },
        Egress::Derived | Egress::Any => derive_target(&connector.namespace().unwrap_or_default(), endpoint, service),
    }
}

fn derive_target(own_namespace: &str, endpoint: &Endpoint, service: Option<&Service>) -> EgressTarget {
    let outside = EgressTarget::Outside { port: endpoint.port };
    let Some(service) = service else { return outside };
    let Some(spec) = &service.spec else { return outside };
    let Some(port) = spec.ports.iter().flatten().find(|port| port.port == i32::from(endpoint.port)) else {
        return outside;
    };
    let target = port.target_port.clone().unwrap_or(IntOrString::Int(port.port));
    match (&spec.selector, service.namespace()) {
        (Some(selector), Some(namespace)) if !selector.is_empty() => {
            // The policy stands in the connector's namespace, whose readers need not know what runs in another one.
            if namespace == own_namespace {
                EgressTarget::Pods { namespace, selector: selector.clone(), port: target }
            } else {
                EgressTarget::Namespace { namespace, port: target }
            }
        }
        // A Service without a selector has endpoints that somebody else writes: any address, on the target's port.
        _ => match target {
            IntOrString::Int(number) => EgressTarget::Outside { port: u16::try_from(number).unwrap_or(endpoint.port) },
            IntOrString::String(_) => outside,
        },
    }
}

#[cfg(test)]
mod tests;
