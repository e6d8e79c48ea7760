//! `spec.telemetry` of a McpConnector: what is logged, where traces go and how audit records are kept. Metrics and audit
//! records on standard output need no setting.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use strum::{Display, EnumString};

/// What the connector tells of itself, besides its logs, metrics and audit records on standard output.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TelemetrySpec {
    /// What the connector's pods log, the Vault agent beside the server included: `error`, `warn`, `info`, `debug` or `trace`.
    /// Each includes those before it; libraries stay at `info`. The pods follow a change within two minutes or so, and are not
    /// replaced for it. Defaults to `info`.
    pub log_level: Option<LogLevel>,

    /// Traces over OpenTelemetry. Left out, they go where the operator's `--otlp-endpoint` says; without that, nowhere.
    pub traces: Option<TracesSpec>,

    /// Audit records: who called which tool with which arguments by name, and how it ended. They are always written to
    /// standard output.
    pub audit: Option<AuditSpec>,
}

/// Which log lines are written: those of this level, and those before it.
#[derive(Serialize, Deserialize, JsonSchema, Display, EnumString, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[schemars(inline, transform = super::crd::plain_enum)]
pub enum LogLevel {
    /// What did not work and should have.
    Error,
    /// What may become a fault.
    Warn,
    /// What happens seldom and matters.
    Info,
    /// How each call and each request to the platform ended.
    Debug,
    /// Everything.
    Trace,
}

/// Traces over OpenTelemetry.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TracesSpec {
    /// The collector, which speaks OTLP over HTTP with protobuf: its base URL, such as
    /// `http://collector.observability.svc:4318`; `/v1/traces` is added. Defaults to the operator's `--otlp-endpoint`.
    /// With `network.egress` `Derived` and `CIDRs` the pods may connect to it: to its port in the namespace of a Service
    /// of this cluster (whose pods must listen on the Service's port), and to its port at every address but link-local
    /// and metadata ones, where it is outside.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://')")
        .message("endpoint must begin with https:// or http://"))]
    #[x_kube(validation = Rule::new("!self.contains('@') && !self.contains('?') && !self.contains('#')")
        .message("endpoint must not have credentials, a query or a fragment"))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getHostname() != ''")
        .message("endpoint must name a host, as in http://collector.observability.svc:4318"))]
    pub endpoint: Option<String>,

    /// Percent of the traces that begin at this connector which are sent; 0 turns traces off. What a caller has decided
    /// for its own trace holds. 0 to 100, 100 by default.
    #[schemars(range(min = 0, max = 100))]
    pub sample_percent: Option<i32>,
}

/// How audit records are kept.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuditSpec {
    /// Also writes them to files in `/var/log/mcp-connectors`, on a volume that lives as long as the pod: for a second
    /// way out, such as an agent of your log system that reads the node's volumes.
    pub file: Option<AuditFileSpec>,

    /// Whether each record carries the SHA-256 of the one before, so that `mcp-connectors audit verify FILE` finds where
    /// records were changed or left out. Defaults to false.
    pub hash_chain: Option<bool>,
}

/// Audit records in files.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuditFileSpec {
    /// Bytes after which a new file is begun. 1048576 to 1073741824, 16777216 by default.
    #[schemars(range(min = 1_048_576, max = 1_073_741_824))]
    pub max_bytes: Option<i64>,

    /// Files that are kept, the one that is written included. 1 to 20, 4 by default.
    #[schemars(range(min = 1, max = 20))]
    pub files: Option<i32>,
}
