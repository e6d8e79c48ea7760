//! `CredentialSource`: where the credentials of one platform identity come from, and to which hosts they may be sent.

use std::{collections::BTreeMap, net::Ipv6Addr, str::FromStr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{vault_source::VaultSource, workload_identity::WorkloadIdentity};

/// Where the credentials of one platform identity come from, and to which hosts they may be sent.
///
/// Whoever may create a CredentialSource and an McpConnector in a namespace can use every Secret of that namespace
/// towards the hosts named here: grant it as you would grant reading the namespace's Secrets.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "mcp-connectors.io",
    version = "v1alpha1",
    kind = "CredentialSource",
    namespaced,
    status = "CredentialSourceStatus",
    derive = "PartialEq",
    category = "mcp",
    shortname = "credsrc",
    doc = "CredentialSource says where the credentials of one platform identity come from, and to which hosts they \
           may be sent. Whoever may create CredentialSources and McpConnectors in a namespace can use every Secret of \
           that namespace towards the hosts named here.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.secret.name"),
    printcolumn(name = "Connectors", type_ = "integer", json_path = ".status.connectorCount"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 63 characters: lower-case letters, digits and hyphens")
)]
#[x_kube(validation = Rule::new(
    "[has(self.secret), has(self.secrets), has(self.vault), has(self.csi), has(self.workloadIdentity)].exists_one(set, set)"
).message("exactly one source must be set: secret, secrets, vault, csi or workloadIdentity"))]
#[x_kube(validation = Rule::new("has(self.hosts) || has(self.workloadIdentity)")
    .message("hosts must say where these credentials may be sent; with workloadIdentity alone it can be left out"))]
#[x_kube(validation = Rule::new("!has(self.values) || !has(self.workloadIdentity)")
    .message("values have no meaning beside workloadIdentity, which has no fields"))]
#[serde(rename_all = "camelCase")]
pub struct CredentialSourceSpec {
    /// Hosts that these credentials may be sent to, as `host` or `host:port`, compared without case. Without a port,
    /// every port of that host is allowed. A connector whose platform is on another host is not accepted. With
    /// `workloadIdentity` it may be left out: then only the provider's own endpoints are called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hosts: Vec<Host>,

    /// Proxies that these credentials may travel through, as `host` or `host:port`, in the form of `hosts`: a connector
    /// whose `workload.proxy` is another one is not accepted. A proxy can read what is sent to `http://`, and everything where
    /// the connector's author names the authority (`caBundle`). Those that the operator is set to allow (`allowedProxies`
    /// of its chart) need not be here. Defaults to none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub proxies: Vec<Host>,

    /// Fields that are no secrets, such as `username` or `role_id`, as they are: they need not be in a Secret. A field that
    /// the platform keeps secret can't stand here, and none can come from two places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.all(field, field.matches('^[a-z][a-z0-9_]{0,62}$'))")
        .message("the fields of values are lower-case words with underscores, such as username or role_id"))]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub values: Option<BTreeMap<String, PlainValue>>,

    /// A Secret of this namespace. The kubelet mounts it into the connector's pods; the operator never reads it.
    /// The Secret may be made later: until then the connector says that its credentials are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,

    /// Several Secrets of this namespace, whose fields make one set: the kubelet swaps them together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub secrets: Option<Vec<SecretPart>>,

    /// Vault or OpenBao. An agent in the connector's pods fetches the credentials from there and keeps them fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultSource>,

    /// What the Secrets Store CSI driver mounts (secrets-store-csi-driver.sigs.k8s.io), which must be in the cluster. It
    /// never gets into a Secret, and is followed where the driver's rotation is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csi: Option<CsiSource>,

    /// No credentials at all: the connector's pods prove who they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<WorkloadIdentity>,
}

/// Value of a field that is no secret.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
#[schemars(inline)]
pub struct PlainValue(#[schemars(length(min = 1, max = 16_384))] pub String);

/// A host name or address with an optional port, as in a URL.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct Host(pub String);

impl schemars::JsonSchema for Host {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Host".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 259,
            "pattern": r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$",
        })
    }
}

/// What is wrong with a text that should name a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as host or host:port, such as proxy.example.com:3128, without a scheme, a path and credentials")]
pub struct NotAHost;

impl FromStr for Host {
    type Err = NotAHost;

    /// Takes what the schema takes, where there is none: on a command line.
    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let host = Self(text.to_owned());
        let (name, _) = host.parts().ok_or(NotAHost)?;
        let is_name = |name: &str| {
            let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
            let outer = |name: &str| name.starts_with(char::is_alphanumeric) && name.ends_with(char::is_alphanumeric);
            name.bytes().all(inner) && outer(name)
        };
        let is_host = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => is_name(name),
        };
        if is_host { Ok(host) } else { Err(NotAHost) }
    }
}

impl Host {
    /// Whether a URL with this host and (explicit or default) port is covered.
    #[must_use]
    pub fn covers(&self, host: &str, port: u16) -> bool {
        self.parts().is_some_and(|(own_host, own_port)| {
            own_host.eq_ignore_ascii_case(host) && own_port.is_none_or(|own| own == port)
        })
    }

    /// The host, and its port if there is one; nothing if the port is none.
    fn parts(&self) -> Option<(&str, Option<u16>)> {
        match self.0.rsplit_once(':') {
            Some((host, digits)) if !host.is_empty() && !digits.contains(']') => {
                Some((host, Some(digits.parse::<u16>().ok()?)))
            }
            _ => Some((self.0.as_str(), None)),
        }
    }
}

/// A Secret of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretSource {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Maps the fields that the platform asks for (such as `token`) to the keys of the Secret. Left out, every key is
    /// taken as the field of its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.size() >= 1 && self.size() <= 16")
        .message("items must map 1 to 16 fields; leave it out to take every key of the Secret by its own name"))]
    #[x_kube(validation = Rule::new("self.all(field, field.matches('^[a-z][a-z0-9_]{0,62}$'))")
        .message("the fields of items are lower-case words with underscores, such as token or role_id"))]
    #[schemars(extend("maxProperties" = 16))]
    pub items: Option<BTreeMap<String, SecretKey>>,
}

/// One of several Secrets of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretPart {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Maps fields that the platform asks for (such as `token`) to keys of this Secret. A field comes from one Secret only.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub items: BTreeMap<String, SecretKey>,
}

/// What the Secrets Store CSI driver mounts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CsiSource {
    /// Name of a SecretProviderClass of this namespace. While the driver, the class, or what it points to is missing, the
    /// connector's pods can't start.
    #[schemars(length(min = 1, max = 253))]
    pub secret_provider_class: String,

    /// Maps the fields that the platform asks for (such as `token`) to the files that the class makes: names of objects, or
    /// their aliases. Left out, every file is taken as the field of its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.all(field, field.matches('^[a-z][a-z0-9_]{0,62}$'))")
        .message("the fields of items are lower-case words with underscores, such as token or role_id"))]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub items: Option<BTreeMap<String, MountedFile>>,
}

/// A file in a mounted directory, such as `jenkins-token` or `team/token`. No part of it begins with a dot.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
#[schemars(inline)]
pub struct MountedFile(
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[-_a-zA-Z0-9][-._a-zA-Z0-9]*(/[-_a-zA-Z0-9][-._a-zA-Z0-9]*)*$")
    )]
    pub String,
);

/// A key of a Secret.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct SecretKey(pub String);

impl schemars::JsonSchema for SecretKey {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretKey".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[-._a-zA-Z0-9]+$",
        })
    }
}

/// What the operator found out about a CredentialSource.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialSourceStatus {
    /// The `metadata.generation` that this status is about.
    pub observed_generation: Option<i64>,

    /// How many connectors of this namespace use this source.
    pub connector_count: Option<i32>,

    /// The connectors that use this source, by name; the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub connectors: Vec<ConnectorUse>,

    /// `Ready`: every connector that uses this source runs on complete credentials that its platform accepts; also
    /// `True` while no connector uses it. `Reconciling` and `Stalled` follow kstatus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// One connector that uses a CredentialSource.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorUse {
    /// Name of the McpConnector.
    pub name: String,
    /// Reason of its `CredentialsLoaded` condition; empty while it has none.
    pub loaded: Option<String>,
    /// Reason of its `CredentialsAccepted` condition; empty while it has none.
    pub accepted: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_cover_what_they_name() {
        let cases = [
            ("vault.example.com", "vault.example.com", 8200, true),
            ("Vault.Example.com", "vault.example.COM", 443, true),
            ("vault.example.com:8200", "vault.example.com", 8200, true),
            ("vault.example.com:8200", "vault.example.com", 443, false),
            ("vault.example.com", "evil.vault.example.com", 443, false),
            ("example.com", "vault.example.com", 443, false),
            ("[2001:db8::1]", "[2001:db8::1]", 443, true),
            ("[2001:db8::1]:8200", "[2001:db8::1]", 443, false),
            ("vault:99999", "vault", 443, false),
        ];
        for (own, host, port, expected) in cases {
            assert_eq!(Host(own.into()).covers(host, port), expected, "{own} {host}:{port}");
        }
    }

    #[test]
    fn a_command_line_takes_what_the_schema_takes() {
        for text in ["proxy", "proxy.example.com", "proxy.example.com:3128", "10.0.0.1:3128", "[2001:db8::1]:3128"] {
            assert_eq!(text.parse::<Host>(), Ok(Host(text.to_owned())));
        }
        for text in [
            "",
            ":",
            ":3128",
            "http://proxy",
            "u:p@proxy",
            "proxy/",
            "proxy:99999",
            "proxy:",
            "-a",
            "a.",
            "*",
            "a b",
            "[x]",
            "[::1",
        ] {
            assert_eq!(text.parse::<Host>(), Err(NotAHost), "{text}");
        }
    }
}
