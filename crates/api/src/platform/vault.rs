//! Vault's part of a manifest, its needs and its reasons: what the operator may know of it. No IO.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{Declaration, PlatformSpec};
use crate::{
    ca_bundle::{CaBundle, ConfigMapKey},
    connector::{CredentialsReference, McpConnectorSpec},
    duration::ApiDuration,
    endpoint::{AddressPolicy, Endpoint, EndpointError, PlatformUrl},
    pattern::PathPattern,
    requirement::{CLIENT_CERTIFICATE, Field, Requirement},
};

/// HashiCorp Vault, or OpenBao.
///
/// The credentials are a `token`, or with `auth.appRole` a `role_id` and a `secret_id`.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!self.url.startsWith('http://') || (has(self.insecureHttp) && self.insecureHttp)")
    .message("http:// sends the token in clear text: use https://, or set insecureHttp: true if that is meant"))]
#[serde(rename_all = "camelCase")]
pub struct VaultSpec {
    /// Base URL, such as `https://vault.example.com:8200`. A path in front of `/v1` may be part of it.
    pub url: PlatformUrl,

    /// Vault namespace (Vault Enterprise, HCP), such as `admin/team-a`. Sent with every call but those that exist in
    /// the root namespace only. Defaults to none.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^/?[^/ ]+(/[^/ ]+)*/?$')")
        .message("namespace must be a path such as admin/team-a"))]
    pub namespace: Option<String>,

    /// Certificates that Vault's certificate is verified with, instead of the public authorities.
    pub ca_bundle: Option<CaBundle>,

    /// Allows a URL with `http://`. The token then crosses the network in clear text. Defaults to false.
    pub insecure_http: Option<bool>,

    /// How the connector gets its token. Left out, the credentials are a `token`.
    pub auth: Option<VaultAuth>,

    /// Which secrets the tools may touch, within what the token's policies permit.
    pub paths: Option<VaultPaths>,

    /// Secrets whose values `read_vault_secret` may answer, one named key at a time. Defaults to none: without a rule
    /// here the tools answer the names of keys and never a value.
    #[schemars(length(max = 32))]
    pub release_values: Option<Vec<ReleaseRule>>,
}

/// How the connector gets its token; exactly one of the fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("has(self.appRole)").message("auth must name a method: appRole"))]
#[serde(rename_all = "camelCase")]
pub struct VaultAuth {
    /// It logs in with AppRole. The credentials are then a `role_id` and a `secret_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_role: Option<AppRoleAuth>,
}

/// Login with AppRole (developer.hashicorp.com/vault/api-docs/auth/approle). The token is renewed while Vault lets it,
/// and revoked when the connector ends.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AppRoleAuth {
    /// Where the auth method is mounted, without `auth/`. Defaults to `approle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$')")
        .message("mount must be a path such as approle, without auth/ in front"))]
    pub mount: Option<String>,
}

/// Which secrets the tools may touch. A path is the mount followed by the path in it, without `data/`:
/// `secret/apps/web`. `*` stands for a part of one segment, a last `**` for everything below.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct VaultPaths {
    /// Paths that may be touched. Left out, all of them.
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allow: Option<Vec<PathPattern>>,

    /// Paths that may not be touched, whatever `allow` says.
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub deny: Option<Vec<PathPattern>>,
}

/// Secrets whose values may be answered.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRule {
    /// Mount and path, as in `paths`.
    pub path: PathPattern,

    /// Keys whose values may be answered. There is no pattern for them.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub keys: Vec<String>,
}

reasons! {
    /// Reasons for `PlatformHealthy` that only Vault gives. The codes are those of `GET /sys/health`
    /// (developer.hashicorp.com/vault/api-docs/system/health).
    VaultReason {
        Standby: "The node is a standby, which forwards requests (429). No action.",
        PerformanceStandby: "The node is a performance standby (473). No action.",
        DRSecondary:
            "The cluster is a disaster recovery secondary (472), which serves no clients: point url at the primary.",
        StandbyIsolated: "The standby can't reach the active node (474).",
        NotInitialized: "Vault is not initialised (501): initialise it.",
        Sealed: "Vault is sealed (503): unseal it.",
        Maintenance: "Vault answers 503 and is not sealed: it is being maintained.",
        RemovedFromCluster: "The node was removed from its cluster (530).",
        UnknownState: "Vault answers with a health code that is not documented.",
        LicenseExpired: "The licence of Vault Enterprise has ended.",
        TokenInvalid: "Vault is well and does not accept the token.",
        TokenExpiring:
            "The token of the credentials ends within a week, or a quarter of its time if that is less, and the connector doesn't \
             renew it: put another one there, or use auth.appRole.",
        LoginRejected:
            "Vault does not know the role id or the secret id (400): it may be used up, ended, or for another mount.",
        LoginDenied:
            "Vault does not let the role in: from this address, because the auth method is off or the role's entity \
             disabled, or because failed logins have locked it out, as a rule for 15 minutes; or it wants a second factor \
             (login MFA), which a connector doesn't have.",
        NoCredentials: "Vault is well; the connector has no credentials for it yet.",
    }
}

const TOKEN: Requirement = Requirement::any_of(&[&[Field::line("token")]]).with_additions(&[CLIENT_CERTIFICATE]);
const APP_ROLE: Requirement = Requirement::any_of(&[&[Field::line("role_id").public(), Field::line("secret_id")]])
    .with_additions(&[CLIENT_CERTIFICATE]);

impl Declaration for VaultSpec {
    fn name(&self) -> &'static str {
        "vault"
    }

    fn title(&self) -> &'static str {
        "Vault"
    }

    fn endpoint(&self, policy: AddressPolicy) -> Result<Endpoint, EndpointError> {
        self.url.endpoint(self.insecure_http.unwrap_or_default(), policy)
    }

    fn endpoint_field(&self) -> &'static str {
        "spec.platform.vault.url"
    }

    fn ca_bundle(&self) -> Option<&CaBundle> {
        self.ca_bundle.as_ref()
    }

    /// Vault answers from memory and one store; what takes longer is a Vault that is in trouble.
    fn request_timeout(&self) -> ApiDuration {
        ApiDuration::from_secs(10)
    }

    fn requirement(&self) -> Requirement {
        match self.auth.as_ref().and_then(|auth| auth.app_role.as_ref()) {
            Some(_) => APP_ROLE,
            None => TOKEN,
        }
    }

    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        for (index, rule) in self.release_values.iter().flatten().enumerate() {
            if rule.path.0.split('/').next().is_some_and(|mount| mount.contains('*')) {
                problems.push((
                    format!("spec.platform.vault.releaseValues[{index}].path"),
                    "the first segment is the mount and must be written out, so that a new mount never releases values"
                        .to_owned(),
                ));
            }
        }
        problems
    }
}

/// The sample that `config/samples` shows.
#[must_use]
pub fn example() -> McpConnectorSpec {
    McpConnectorSpec {
        platform: PlatformSpec {
            vault: Some(VaultSpec {
                url: PlatformUrl("https://vault.vault.svc:8200".into()),
                namespace: None,
                ca_bundle: Some(CaBundle {
                    config_map: ConfigMapKey { name: "vault-ca".into(), key: "ca.crt".into() },
                }),
                insecure_http: None,
                auth: None,
                paths: None,
                release_values: Some(vec![ReleaseRule {
                    path: PathPattern("secret/apps/*".into()),
                    keys: vec!["url".into()],
                }]),
            }),
            ..PlatformSpec::default()
        },
        credentials: CredentialsReference { name: "vault-reader".into() },
        tools: None,
        access: None,
        network: None,
        probe: None,
        limits: None,
        workload: None,
        telemetry: None,
        suspend: None,
    }
}
