//! The contract: the custom resources a platform team writes, the status they read back, and the names that tie
//! the operator's objects together. No IO happens here.

pub mod ca_bundle;
pub mod condition;
pub mod connector;
pub mod crd;
pub mod credential_source;
pub mod duration;
pub mod endpoint;
pub mod limits;
pub mod pattern;
pub mod platform;
pub mod requirement;
pub mod scope;
pub mod telemetry;
pub mod vault_source;
pub mod workload_identity;

pub use condition::{ConditionType, Reason};
pub use connector::{McpConnector, McpConnectorSpec, McpConnectorStatus};
pub use credential_source::{CredentialSource, CredentialSourceSpec, CredentialSourceStatus};

/// API group of both kinds.
pub const GROUP: &str = "mcp-connectors.io";
/// The one served and stored version.
pub const VERSION: &str = "v1alpha1";

/// Field manager of every object the operator owns.
pub const FIELD_MANAGER: &str = "mcp-connectors";
/// Field manager of the `status` subresource of both kinds.
pub const STATUS_FIELD_MANAGER: &str = "mcp-connectors-status";

/// Put before a connector's name to name everything it owns: a Service named like the platform's own would collide
/// with it.
pub const OWNED_PREFIX: &str = "mcp-";

/// Recommended label: the tool that manages an object. Always [`FIELD_MANAGER`] on what the operator owns.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Recommended label: what the object is. Always `mcp-connector` on what the operator owns.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// Value of [`LABEL_NAME`].
pub const LABEL_NAME_VALUE: &str = "mcp-connector";
/// Names the connector an object belongs to. Part of the Deployment's selector, so it never changes.
pub const LABEL_CONNECTOR: &str = "mcp-connectors.io/connector";
/// Names the platform of the connector an object belongs to.
pub const LABEL_PLATFORM: &str = "mcp-connectors.io/platform";

/// On the pod template: digest of the configuration the pod was started with. A change rolls the Deployment.
pub const ANNOTATION_CONFIG_DIGEST: &str = "mcp-connectors.io/config-digest";

/// On an McpConnector: the time (RFC 3339) at which somebody asked for a probe of the platform at once. Each later time is
/// one request, and `status.requests.probe` says which was honoured last.
pub const ANNOTATION_PROBE_REQUESTED_AT: &str = "mcp-connectors.io/probe-requested-at";
/// On an McpConnector, or on a CredentialSource for all connectors that use it: the time at which somebody asked for the
/// credentials to be read again and tried. As [`ANNOTATION_PROBE_REQUESTED_AT`].
pub const ANNOTATION_RELOAD_REQUESTED_AT: &str = "mcp-connectors.io/reload-requested-at";
/// On an McpConnector: the time at which somebody asked for its pods to be replaced, one by one. Also on the pod template,
/// which is what replaces them.
pub const ANNOTATION_RESTARTED_AT: &str = "mcp-connectors.io/restarted-at";

/// On the admin port: `POST` with the operator's token asks for a probe at once.
pub const PROBE_PATH: &str = "/probe";
/// On the admin port: `POST` with the operator's token asks for the credential files to be read again.
pub const RELOAD_PATH: &str = "/reload";

/// Port of the MCP endpoint, in the pod and on the Service.
pub const MCP_PORT: u16 = 8080;
/// Port of probes, metrics and `/status`. On the pod only: no Service exposes it.
pub const ADMIN_PORT: u16 = 8081;

/// Name of everything owned by the connector `name`.
#[must_use]
pub fn owned_name(name: &str) -> String {
    format!("{OWNED_PREFIX}{name}")
}

/// The URL of a connector's MCP endpoint inside the cluster, which is also the audience its callers' tokens must carry.
#[must_use]
pub fn endpoint_url(namespace: &str, name: &str) -> String {
    format!("http://{}.{namespace}.svc:{MCP_PORT}/mcp", owned_name(name))
}
