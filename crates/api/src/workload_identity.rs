//! `spec.workloadIdentity` of a `CredentialSource`: the pods prove who they are, and nobody keeps a credential.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The identity of the connector's pods. The platform's own provider gives short-lived credentials for it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentity {
    /// Identity at AWS, for connectors to CloudWatch.
    pub aws: AwsIdentity,
}

/// Which identity at AWS; exactly one of `roleArn`, `podIdentity` and `instanceProfile`. Nothing else is tried.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new(
    "[has(self.roleArn), has(self.podIdentity), has(self.instanceProfile)].exists_one(set, set)"
).message("aws must name exactly one identity: roleArn, podIdentity or instanceProfile"))]
#[x_kube(validation = Rule::new("!has(self.audience) || has(self.roleArn)")
    .message("audience belongs to roleArn: with podIdentity and instanceProfile no token of ours is shown"))]
#[serde(rename_all = "camelCase")]
pub struct AwsIdentity {
    /// ARN of a role, such as `arn:aws:iam::123456789012:role/mcp-reader`, that is assumed with a token of the
    /// connector's ServiceAccount (web identity, as with IRSA). The role must trust the cluster's OIDC provider for the
    /// subject `system:serviceaccount:<namespace>:mcp-<name of the connector>`. It needs no annotation and no webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 20, max = 2048), regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$"))]
    pub role_arn: Option<String>,

    /// Audience of the token, which the role's trust policy must demand. It can't be one that the Kubernetes API or a
    /// connector accepts. Defaults to `sts.amazonaws.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub audience: Option<String>,

    /// The role that a Pod Identity association of EKS ties to the ServiceAccount `mcp-<name of the connector>`. The agent
    /// on the node gives the credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_identity: Option<PodIdentity>,

    /// The role of the node (EC2 instance profile), which all pods on it share. Prefer the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_profile: Option<InstanceProfile>,
}

/// EKS Pod Identity. There is nothing to say about it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct PodIdentity {}

/// The instance profile of the node. There is nothing to say about it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceProfile {}
