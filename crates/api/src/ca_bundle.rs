//! Where the certificates of authorities lie that a server's certificate is verified with, instead of the public ones.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Certificates of the authorities that may have signed the platform's certificate, instead of the public ones.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// Key of a ConfigMap of the same namespace, which holds PEM certificates: 320 KiB at most.
    pub config_map: ConfigMapKey,
}

/// Key of a ConfigMap of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in it, such as `ca.crt`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
