//! `spec.vault` of a `CredentialSource`: where an agent beside the server logs in, and what it fetches there.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{ca_bundle::CaBundle, credential_source::SecretKey, duration::ApiDuration, endpoint::PlatformUrl};

/// Credentials that an agent beside the server fetches from Vault or OpenBao, renews, and writes into memory. They never
/// get into a Secret.
///
/// The agent logs in as the connector's own ServiceAccount, `mcp-<name of the connector>`, or with AppRole.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!self.address.startsWith('http://') || (has(self.insecureHttp) && self.insecureHttp)")
    .message("http:// sends the credentials in clear text: use https://, or set insecureHttp: true if that is meant"))]
#[serde(rename_all = "camelCase")]
pub struct VaultSource {
    /// Base URL, such as `https://vault.vault.svc:8200`. It need not be among `hosts`, which says where the fetched
    /// credentials may go.
    pub address: PlatformUrl,

    /// Vault namespace (Vault Enterprise, OpenBao), such as `admin/team-a`. Sent with every call. Defaults to none.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^/?[^/ ]+(/[^/ ]+)*/?$')")
        .message("namespace must be a path such as admin/team-a"))]
    pub namespace: Option<String>,

    /// Certificates that Vault's certificate is verified with, instead of the public authorities.
    pub ca_bundle: Option<CaBundle>,

    /// Allows an address with `http://`. Credentials then cross the network in clear text. Defaults to false.
    pub insecure_http: Option<bool>,

    /// How the agent logs in.
    pub auth: VaultLogin,

    /// Time between two looks at secrets of a KV engine, and at a token that nothing else is asked with; jitter only
    /// shortens it. 10s to 1h, 60s by default.
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('1h')")
        .message("refreshInterval must be between 10s and 1h"))]
    pub refresh_interval: Option<ApiDuration>,

    /// What is fetched. All of it is one set: it is replaced as a whole, and only when every part is there.
    #[schemars(length(min = 1, max = 8))]
    pub secrets: Vec<VaultSecret>,
}

/// How the agent logs in; exactly one of the fields.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("[has(self.kubernetes), has(self.appRole), has(self.jwt)].exists_one(set, set)")
    .message("auth must name exactly one method: kubernetes, appRole or jwt"))]
#[serde(rename_all = "camelCase")]
pub struct VaultLogin {
    /// As the connector's ServiceAccount, which Vault asks the Kubernetes API about.
    pub kubernetes: Option<RoleLogin>,

    /// With a role id and a secret id.
    pub app_role: Option<AppRoleLogin>,

    /// As the connector's ServiceAccount, whose token Vault verifies by the cluster's public keys.
    pub jwt: Option<RoleLogin>,
}

/// Login with a token of the connector's ServiceAccount, which the kubelet renews.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RoleLogin {
    /// Where the auth method is mounted, without `auth/`. Defaults to the name of the method.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$')")
        .message("mount must be a path such as kubernetes, without auth/ in front"))]
    pub mount: Option<String>,

    /// Role of the auth method. Bind it to the ServiceAccount `mcp-<name of the connector>` of this namespace.
    #[schemars(length(min = 1, max = 256))]
    pub role: String,

    /// Audience of the token, which the role must demand. It can't be one that the Kubernetes API or a connector
    /// accepts. Defaults to `vault`.
    #[schemars(length(min = 1, max = 256))]
    pub audience: Option<String>,
}

/// Login with AppRole (developer.hashicorp.com/vault/api-docs/auth/approle).
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AppRoleLogin {
    /// Where the auth method is mounted, without `auth/`. Defaults to `approle`.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$')")
        .message("mount must be a path such as approle, without auth/ in front"))]
    pub mount: Option<String>,

    /// The role id, which is no secret.
    #[schemars(length(min = 1, max = 256))]
    pub role_id: String,

    /// Where the secret id lies. The kubelet mounts it for the agent alone, and it may be made or replaced later.
    pub secret_id: SecretIdReference,

    /// Says that what lies there is a wrapping token instead. The agent unwraps it once and keeps the secret id in memory;
    /// so there can be one replica only, and a pod that starts anew needs a new wrapping token.
    pub wrapping: Option<Wrapping>,
}

/// Where the secret id lies.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretIdReference {
    /// A key of a Secret of this namespace.
    pub secret: SecretKeyReference,
}

/// A key of a Secret of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The key.
    pub key: SecretKey,
}

/// How a wrapped secret id was made.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Wrapping {
    /// The API path that it was made at, such as `auth/approle/role/jenkins/secret-id`. A token that was made elsewhere is
    /// not unwrapped: somebody may have put it there.
    #[schemars(length(min = 1, max = 512))]
    pub creation_path: String,
}

/// One secret, and which of its values are credentials.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("has(self.kv) != has(self.dynamic)")
    .message("a secret must be exactly one of kv and dynamic"))]
#[serde(rename_all = "camelCase")]
pub struct VaultSecret {
    /// A secret that somebody keeps in a KV engine. It is looked at every `refreshInterval`.
    pub kv: Option<KvSecret>,

    /// A secret that an engine makes for the agent (database, aws, pki, …). Its lease is renewed while Vault lets it; then
    /// a new one is fetched, and the old one is given back once the new one is in use.
    pub dynamic: Option<DynamicSecret>,

    /// Maps the fields that the platform asks for (such as `token`) to the keys of the secret.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub fields: BTreeMap<String, VaultKey>,
}

/// A key of a secret in Vault.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
#[schemars(inline)]
pub struct VaultKey(#[schemars(length(min = 1, max = 256))] pub String);

/// A secret of a KV engine.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KvSecret {
    /// Where the engine is mounted. Defaults to `secret`.
    #[schemars(length(min = 1, max = 256))]
    pub mount: Option<String>,

    /// Path within the mount, without `data/`, such as `team/jenkins`.
    #[schemars(length(min = 1, max = 512))]
    pub path: String,

    /// Version of the engine: 1 or 2. Defaults to 2.
    #[schemars(range(min = 1, max = 2))]
    pub version: Option<i32>,
}

/// A secret that an engine makes on demand.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DynamicSecret {
    /// The API path, such as `database/creds/readonly`.
    #[schemars(length(min = 1, max = 512))]
    pub path: String,

    /// Parameters, for engines that want them (`aws/sts/…`, `pki/issue/…`): with any, the path is written to (`POST`),
    /// without, it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub parameters: Option<BTreeMap<String, ParameterValue>>,
}

/// Value of a parameter.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
#[schemars(inline)]
pub struct ParameterValue(#[schemars(length(max = 1024))] pub String);
