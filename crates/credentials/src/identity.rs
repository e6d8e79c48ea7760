//! Identities of the pod that stand in for credential files: the platform's provider gives short-lived credentials for
//! them, which the platform's client fetches and renews. Such an identity is the whole set, and never rotates.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use url::Url;

use super::{CredentialSet, CredentialsHandle, CredentialsState};
use api::{Reason, endpoint::INSTANCE_METADATA_ADDRESS};

/// Directory in the server's container where the kubelet puts the token that a web identity is proved with.
pub const WEB_IDENTITY_DIRECTORY: &str = "/var/run/secrets/mcp-connectors.io/identity";
/// That token, in [`WEB_IDENTITY_DIRECTORY`]. The kubelet renews it.
pub const WEB_IDENTITY_TOKEN_FILE: &str = "token";

/// Which identity the pod has, as the operator says it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum WorkloadIdentity {
    /// A role at AWS, assumed with a token of the ServiceAccount.
    AwsWebIdentity {
        /// The role's ARN.
        role_arn: String,
        /// Name of its sessions, as CloudTrail shows it.
        session_name: String,
    },
    /// The role of an association of EKS Pod Identity.
    AwsPodIdentity,
    /// The role of the node.
    AwsInstanceProfile,
}

/// What EKS puts into the environment of pods whose ServiceAccount has a Pod Identity association
/// (docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentityAgent {
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub url: Url,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`.
    pub token_file: PathBuf,
}

/// An identity with all that is needed to use it on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A role, assumed with a token.
    WebIdentity {
        /// The role's ARN.
        role_arn: String,
        /// Name of its sessions.
        session_name: String,
        /// Where the token is. It is read for each session.
        token_file: PathBuf,
    },
    /// What the agent on the node gives; none while EKS has told this pod of no agent.
    PodIdentity(Option<PodIdentityAgent>),
    /// What the node's metadata service gives.
    InstanceProfile {
        /// Its address.
        url: String,
    },
}

impl Identity {
    /// Puts together what the operator and this machine say.
    #[must_use]
    pub fn new(told: &WorkloadIdentity, token_file: PathBuf, agent: Option<PodIdentityAgent>) -> Self {
        match told {
            WorkloadIdentity::AwsWebIdentity { role_arn, session_name } => {
                Self::WebIdentity { role_arn: role_arn.clone(), session_name: session_name.clone(), token_file }
            }
            WorkloadIdentity::AwsPodIdentity => Self::PodIdentity(agent),
            WorkloadIdentity::AwsInstanceProfile => {
                Self::InstanceProfile { url: format!("http://{INSTANCE_METADATA_ADDRESS}") }
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::WebIdentity { role_arn, .. } => role_arn,
            Self::PodIdentity(_) => "EKS Pod Identity",
            Self::InstanceProfile { .. } => "the node's instance profile",
        }
    }

    /// The set that stands for the identity: without fields, and with a revision that is the same in every replica. There
    /// is none where EKS has not told the pod of its agent, which it does only when a pod is made.
    #[must_use]
    pub fn stand_in(&self, salt: &str) -> (CredentialsHandle, watch::Receiver<CredentialsState>) {
        let is_there = *self != Self::PodIdentity(None);
        let set = is_there.then(|| Arc::new(CredentialSet::new(1, BTreeMap::new())));
        let revision = is_there.then(|| self.revision(salt));
        let (reason, message) = if is_there {
            (Reason::Loaded, format!("the pod's own identity is used: {}", self.name()))
        } else {
            let message = "EKS has told this pod of no identity: make a Pod Identity association for the connector's \
                           ServiceAccount, and then replace the pods";
            (Reason::NoFields, message.to_owned())
        };
        let state = CredentialsState {
            reason: reason.as_str().to_owned(),
            message,
            mounted_revision: revision.clone(),
            loaded_revision: revision,
            supply: None,
        };
        (CredentialsHandle::new(watch::channel(set).1, watch::channel(0).0), watch::channel(state).1)
    }

    /// The name of an identity is no secret, so nothing slow is needed to hide it.
    fn revision(&self, salt: &str) -> String {
        let mut context = Context::new(&SHA256);
        context.update(salt.as_bytes());
        context.update(self.name().as_bytes());
        hex::encode(context.finish().as_ref().get(..4).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web_identity(token_file: &str) -> Identity {
        let told = WorkloadIdentity::AwsWebIdentity { role_arn: "arn".into(), session_name: "name".into() };
        Identity::new(&told, token_file.into(), None)
    }

    #[test]
    fn an_identity_is_one_set_that_is_the_same_in_every_replica() {
        let (handle, state) = web_identity("a").stand_in("uid");
        assert_eq!(handle.current().unwrap().generation, 1);
        let state = state.borrow().clone();
        assert_eq!((state.reason.as_str(), &state.mounted_revision), ("Loaded", &state.loaded_revision));
        assert_eq!(state.loaded_revision.as_ref().unwrap().len(), 8);
        assert_eq!(web_identity("b").stand_in("uid").1.borrow().loaded_revision, state.loaded_revision);
        let of_node = Identity::new(&WorkloadIdentity::AwsInstanceProfile, "a".into(), None);
        for (other, salt) in [(web_identity("a"), "other"), (of_node, "uid")] {
            assert_ne!(other.stand_in(salt).1.borrow().loaded_revision, state.loaded_revision);
        }
    }

    #[test]
    fn a_pod_that_eks_told_of_no_agent_has_no_credentials() {
        let (handle, state) = Identity::new(&WorkloadIdentity::AwsPodIdentity, "a".into(), None).stand_in("uid");
        assert!(handle.current().is_none());
        let state = state.borrow();
        assert_eq!((state.reason.as_str(), state.loaded_revision.as_deref()), ("NoFields", None));
        assert!(state.message.contains("association"), "{}", state.message);
    }
}
