//! `McpConnector`: one platform, exposed as one MCP endpoint. Field documentation here is the reference manual that
//! `kubectl explain` shows. No field has a default in the schema, so a manifest stays as it was written; the defaults
//! live beside the code that uses them and are named in the field's documentation.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    duration::ApiDuration, limits::LimitsSpec, pattern::NamePattern, platform::PlatformSpec, telemetry::TelemetrySpec,
};

/// One platform, exposed as one MCP endpoint.
#[skip_serializing_none]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "mcp-connectors.io",
    version = "v1alpha1",
    kind = "McpConnector",
    namespaced,
    status = "McpConnectorStatus",
    derive = "PartialEq",
    category = "mcp",
    shortname = "mcpc",
    doc = "McpConnector exposes one platform as one MCP endpoint: the operator makes a Deployment and a Service of \
           it, which agents in the cluster call at status.url with a ServiceAccount token for status.audience.",
    scale(
        spec_replicas_path = ".spec.workload.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Platform", type_ = "string", json_path = ".status.platform.type"),
    printcolumn(name = "Health", type_ = "string", json_path = r#".status.conditions[?(@.type=="PlatformHealthy")].reason"#),
    printcolumn(name = "Credentials", type_ = "string", json_path = r#".status.conditions[?(@.type=="CredentialsAccepted")].reason"#),
    printcolumn(name = "Tools", type_ = "integer", json_path = ".status.tools.count"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#, priority = "1"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 52")
        .message("metadata.name must be at most 52 characters: the objects made from it add a prefix"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must begin with a lower-case letter and hold only lower-case letters, digits and hyphens (DNS-1035), because a Service is named after it")
)]
#[serde(rename_all = "camelCase")]
pub struct McpConnectorSpec {
    /// The platform; exactly one.
    pub platform: PlatformSpec,

    /// The credentials that the platform is called with.
    pub credentials: CredentialsReference,

    /// Which tools are offered.
    pub tools: Option<ToolsSpec>,

    /// Who may call. Left out, every ServiceAccount of this namespace may use what `tools` offers to read.
    pub access: Option<AccessSpec>,

    /// Where the pods may connect to.
    pub network: Option<NetworkSpec>,

    /// How the platform's health is asked for.
    pub probe: Option<ProbeSpec>,

    /// Bounds of a tool call.
    pub limits: Option<LimitsSpec>,

    /// How the pods run: a closed list of what may be set.
    pub workload: Option<WorkloadSpec>,

    /// What the connector tells of itself: traces, and how audit records are kept.
    pub telemetry: Option<TelemetrySpec>,

    /// Takes the pods away and keeps everything else. Defaults to false.
    pub suspend: Option<bool>,
}

/// Names a CredentialSource of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsReference {
    /// Name of the CredentialSource.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// Which tools are offered. The order is: what the platform has, less what `mutations` hides, less what `allow`
/// doesn't match, less what `deny` matches.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ToolsSpec {
    /// `ReadOnly` (the default) offers no tool that changes anything. `Confirm` offers them to callers whom a rule of
    /// `access.allow` names with `mutations: true`, and to nobody else; such a call says what it would do, and does it
    /// only with `confirm: true`. The model sets that itself: it is a brake, not an approval by a person.
    pub mutations: Option<Mutations>,

    /// Tools that are offered: names without the prefix, `*` for any run of characters. Tools that are off by default
    /// need to stand here by their full name. Defaults to `["*"]`.
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allow: Option<Vec<NamePattern>>,

    /// Tools that are not offered, whatever `allow` says.
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub deny: Option<Vec<NamePattern>>,

    /// Put before each tool's name, for agents that use two connectors of one platform. Defaults to nothing.
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9_]*$')")
        .message("prefix may hold lower-case letters, digits and underscores"))]
    pub prefix: Option<String>,

    /// `Publish` (the default) tells clients the schemas of the tools' answers. `Omit` leaves them out of the list, which
    /// is then less than half as long: for clients that hand it to the model whole, or that refuse such a schema. What
    /// the tools answer stays the same.
    pub output_schemas: Option<OutputSchemas>,
}

/// Whether clients are told the schemas of answers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline, transform = super::crd::plain_enum)]
pub enum OutputSchemas {
    /// They are.
    #[default]
    Publish,
    /// They are not.
    Omit,
}

impl OutputSchemas {
    /// Whether it is what a manifest that doesn't say anything means.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What happens to tools that change something.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline, transform = super::crd::plain_enum)]
pub enum Mutations {
    /// They are not offered.
    #[default]
    ReadOnly,
    /// They are offered, and act only when the call says `confirm: true`.
    Confirm,
}

/// Who may call the endpoint.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!(has(self.anonymous) && self.anonymous && has(self.allow))")
    .message("anonymous: true lets everyone call, so allow has no meaning beside it: remove one of them"))]
#[serde(rename_all = "camelCase")]
pub struct AccessSpec {
    /// ServiceAccounts that may call. A rule for the exact name wins over one for `*`. Left out, every ServiceAccount
    /// of this namespace may use every offered tool that only reads; an empty list lets nobody call.
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into(), "serviceAccount".into()]))]
    pub allow: Option<Vec<AccessRule>>,

    /// Audiences that are accepted in a token beside `status.audience`.
    #[schemars(length(max = 8), inner(length(min = 1, max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(a, !(a in ['https://kubernetes.default.svc', 'https://kubernetes.default.svc.cluster.local', 'kubernetes', 'api']))")
        .message("the API server's audience can't be accepted: a token for it could be replayed against the cluster; give the agent a projected token with an audience of its own"))]
    pub audiences: Option<Vec<String>>,

    /// Lets everyone who reaches the endpoint call every offered tool that only reads, without a token. Defaults to
    /// false.
    pub anonymous: Option<bool>,
}

/// One ServiceAccount, or all of a namespace, and what it may use.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccessRule {
    /// Namespace of the ServiceAccount.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("namespace must be the name of one namespace; there is no pattern for it"))]
    pub namespace: String,

    /// Name of the ServiceAccount; `*` for every one of the namespace.
    #[schemars(length(min = 1, max = 253))]
    pub service_account: String,

    /// Tools that it may use, of those that `spec.tools` offers: names without the prefix, `*` for any run of
    /// characters. Defaults to `["*"]`.
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub tools: Option<Vec<NamePattern>>,

    /// Whether it may use tools that change something, when `spec.tools.mutations` offers them. Defaults to false.
    pub mutations: Option<bool>,
}

/// Where the connector's pods may connect to.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("(has(self.egress) && self.egress == 'CIDRs') == has(self.cidrs)")
    .message("cidrs belongs to egress: CIDRs, and to no other"))]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// `Derived` (the default): DNS, and the platform's port: of its pods, where it is a Service of the connector's
    /// namespace, of all pods of the namespace, where it is a Service of another one, and of every address but
    /// link-local and metadata ones, where it is outside. `CIDRs` narrows the addresses. `Any`
    /// leaves egress open.
    pub egress: Option<Egress>,

    /// Addresses that the platform may have, as CIDRs.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c))").message("each of cidrs must be a CIDR, such as 192.0.2.0/24"))]
    pub cidrs: Option<Vec<String>>,
}

/// How egress is limited.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline, transform = super::crd::plain_enum)]
pub enum Egress {
    /// DNS and the platform's port.
    #[default]
    Derived,
    /// DNS, and the platform's port at the given addresses.
    #[serde(rename = "CIDRs")]
    Cidrs,
    /// Everything.
    Any,
}

/// How the platform's health is asked for.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProbeSpec {
    /// Time between two probes of one replica; jitter only shortens it. After a fault that may pass, the next probe comes
    /// within 30s. 5s to 1h, 30s by default.
    #[x_kube(validation = Rule::new("duration(self) >= duration('5s') && duration(self) <= duration('1h')")
        .message("interval must be between 5s and 1h"))]
    pub interval: Option<ApiDuration>,

    /// Time after which an unanswered probe counts as failed. 1s to 60s, 10s by default.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('60s')")
        .message("timeout must be between 1s and 60s"))]
    pub timeout: Option<ApiDuration>,

    /// Failures in a row after which a passing fault (no connection, no answer in time) is believed. 1 to 10, 2 by
    /// default. Faults that the platform states itself are believed at once.
    #[schemars(range(min = 1, max = 10))]
    pub failure_threshold: Option<i32>,

    /// Whether an outage of the platform makes the connector unready: `Unready` (the default), or `Report`, which
    /// leaves `Ready` alone, so that an outage doesn't stop a sync wave.
    pub outage: Option<Outage>,
}

/// What an outage of the platform means for `Ready`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline, transform = super::crd::plain_enum)]
pub enum Outage {
    /// `Ready` is `False`.
    #[default]
    Unready,
    /// `PlatformHealthy` says it; `Ready` stays.
    Report,
}

/// How the pods run. There is no raw pod template: what isn't here is the operator's.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// Number of replicas. Left out, the operator leaves the Deployment's replicas alone, so that an autoscaler may set
    /// them; a new Deployment then begins with one.
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<i32>,

    /// Resources of the server's container. Defaults to requests of 20m CPU and 32Mi memory, and a memory limit of
    /// 128Mi.
    pub resources: Option<ResourceRequirements>,

    /// Resources of the agent's container, which there is where the credentials come from Vault. Defaults to requests of 5m CPU
    /// and 16Mi memory, and a memory limit of 32Mi.
    pub agent_resources: Option<ResourceRequirements>,

    /// Labels added to the pods: those that the operator allows (the chart's `allowWorkload.labels`), which by default are
    /// two of Istio's. Those of the operator can't be replaced.
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('mcp-connectors.io/') && !k.startsWith('app.kubernetes.io/') && !k.startsWith('argocd.argoproj.io/'))")
        .message("labels under mcp-connectors.io/, app.kubernetes.io/ and argocd.argoproj.io/ are set by the operator or by your GitOps tool"))]
    pub labels: Option<BTreeMap<String, LabelValue>>,

    /// Annotations added to the pods: those that the operator allows (the chart's `allowWorkload.annotations`), which by
    /// default ask a mesh for its proxy, or are Prometheus's.
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('mcp-connectors.io/') && !k.startsWith('argocd.argoproj.io/'))")
        .message("annotations under mcp-connectors.io/ and argocd.argoproj.io/ are set by the operator or by your GitOps tool"))]
    pub annotations: Option<BTreeMap<String, AnnotationValue>>,

    /// Labels that a node must have.
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: Option<BTreeMap<String, LabelValue>>,

    /// Taints that the pods tolerate, if the operator allows their keys (the chart's `allowWorkload.tolerations`).
    #[schemars(length(max = 32))]
    pub tolerations: Option<Vec<Toleration>>,

    /// Affinity of the pods.
    pub affinity: Option<Affinity>,

    /// How the pods are spread. Defaults to spreading over nodes where that is possible.
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,

    /// PriorityClass of the pods, if the operator allows it (the chart's `allowWorkload.priorityClasses`).
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// RuntimeClass of the pods.
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,

    /// Secrets of this namespace for pulling the image.
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,

    /// HTTP proxy for calls to the platform, and to the Vault that the credentials come from. It must be among the
    /// `proxies` of the CredentialSource, or be one that the operator is set to allow.
    pub proxy: Option<ProxySpec>,
}

/// Value of a label.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
#[schemars(inline)]
pub struct LabelValue(#[schemars(length(max = 63))] pub String);

/// Value of an annotation.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
#[schemars(inline)]
pub struct AnnotationValue(#[schemars(length(max = 4096))] pub String);

/// HTTP proxy for calls to the platform.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProxySpec {
    /// Address of the proxy, such as `http://proxy.example.com:3128`. Without credentials.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/?#@ ]+/?$')")
        .message("url must look like http://proxy.example.com:3128, without credentials, path, query or fragment"))]
    pub url: String,

    /// Hosts, domains (`.example.com`) and CIDRs that are called directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub no_proxy: Option<Vec<String>>,
}

/// What the operator found out about a connector. It changes on transitions only: times and latencies are metrics.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct McpConnectorStatus {
    /// The `metadata.generation` that this status is about.
    pub observed_generation: Option<i64>,

    /// URL of the MCP endpoint inside the cluster.
    pub url: Option<String>,

    /// The audience that callers' ServiceAccount tokens must carry.
    pub audience: Option<String>,

    /// How callers prove who they are: `ServiceAccountToken`, or `Anonymous` where `access.anonymous` is true.
    pub authentication: Option<Authentication>,

    /// Number of pods of the Deployment.
    pub replicas: Option<i32>,

    /// Number of pods that are ready.
    pub ready_replicas: Option<i32>,

    /// Label selector of the pods, for autoscalers.
    pub selector: Option<String>,

    /// The tools that are offered.
    pub tools: Option<ToolsStatus>,

    /// The platform behind the endpoint.
    pub platform: Option<PlatformStatus>,

    /// The credentials that are in use.
    pub credentials: Option<CredentialsStatus>,

    /// What was asked for by annotation, and honoured.
    pub requests: Option<RequestsStatus>,

    /// Revisions of the Model Context Protocol that are served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub protocol_versions: Vec<String>,

    /// Accepted, Available, EndpointReady, CredentialsLoaded, CredentialsAccepted, PlatformHealthy and Ready: all good
    /// when True. Reconciling and Stalled follow kstatus and are absent unless True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// How callers prove who they are.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(inline, transform = super::crd::plain_enum)]
pub enum Authentication {
    /// By a ServiceAccount token for `status.audience`.
    ServiceAccountToken,
    /// Not at all.
    Anonymous,
}

/// The tools that are offered.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ToolsStatus {
    /// How many tools a caller with every right is offered.
    pub count: i32,
    /// Digest of their definitions (name, title, description, schemas, annotations): it changes when what an agent is
    /// told about them changes.
    pub digest: String,
}

/// The platform behind the endpoint.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformStatus {
    /// Which of `spec.platform` it is.
    #[serde(rename = "type", default)]
    pub type_: Option<String>,
    /// Version that the platform states.
    pub version: Option<String>,
    /// Who the platform takes the credentials for, such as a user's or a role's name. Never a credential.
    pub identity: Option<String>,
}

/// The credentials that are in use.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsStatus {
    /// The newest revision that any replica has seen mounted: equal for equal content, and useless to a reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Replicas that run on it.
    pub loaded_replicas: i32,
    /// Replicas that were asked.
    pub replicas: i32,
}

/// Which requests were honoured: of each kind the newest, by the time that its annotation names. An annotation with a
/// later time is a new request.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RequestsStatus {
    /// Of `mcp-connectors.io/probe-requested-at`: every ready replica was asked to probe its platform.
    pub probe: Option<Time>,
    /// Of `mcp-connectors.io/reload-requested-at`, here or on the CredentialSource: every ready replica was asked to read
    /// its credentials again.
    pub reload: Option<Time>,
    /// Of `mcp-connectors.io/restarted-at`: the pods are replaced, one by one.
    pub restart: Option<Time>,
}
