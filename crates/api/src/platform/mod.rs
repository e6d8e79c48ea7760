//! `spec.platform`: what of each platform stands in a manifest, and what follows from that alone. One file and one row of
//! `platforms!` a platform; its client is elsewhere, and nothing here knows of it.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ca_bundle::CaBundle,
    condition::Reason,
    connector::McpConnectorSpec,
    duration::ApiDuration,
    endpoint::{AddressPolicy, Endpoint, EndpointError},
    limits::DEFAULT_REQUESTS_AT_A_TIME,
    requirement::{Field, Requirement},
};

/// What a platform's probes can give as a reason beside the core ones: an enum, so that a mistyped one doesn't compile, and
/// `REASONS`, the list of what each means, which people read.
macro_rules! reasons {
    ($(#[$about:meta])* $type:ident { $($name:ident: $meaning:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type {
            $(#[doc = $meaning] $name,)+
        }

        /// All of them, for documentation.
        pub const REASONS: &[super::DeclaredReason] =
            &[$(super::DeclaredReason { name: stringify!($name), meaning: $meaning },)+];

        impl From<$type> for super::ProbeReason {
            fn from(reason: $type) -> Self {
                Self(match reason { $($type::$name => stringify!($name),)+ })
            }
        }
    };
}

/// Everything that lists the platforms is made of this table: a row is the platform's field and its name in `spec.platform`, its
/// module and its part of a manifest.
macro_rules! platforms {
    ($($(#[$about:meta])* $field:ident, $name:literal => $module:ident::$spec:ident;)+) => {
        $(pub mod $module;)+

        /// The platform of a connector; exactly one of the fields.
        #[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
        #[x_kube(validation = Rule::new(concat!("[false", $(", has(self.", $name, ")",)+ "].exists_one(set, set)"))
            .message(concat!("exactly one platform must be set, of these:", $(" ", $name,)+)))]
        #[serde(rename_all = "camelCase")]
        pub struct PlatformSpec {
            $(
                $(#[$about])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$module::$spec>,
            )+
        }

        impl PlatformSpec {
            /// The one platform that is set, or nothing if none or several are (which the API server refuses).
            #[must_use]
            pub fn declaration(&self) -> Option<&dyn Declaration> {
                let set = [$(self.$field.as_ref().map(|spec| spec as &dyn Declaration),)+];
                let mut set = set.into_iter().flatten();
                let one = set.next()?;
                set.next().is_none().then_some(one)
            }
        }

        /// Every platform's declared reasons, by the platform's name in `spec.platform`, for documentation and for the closed
        /// list that the operator accepts from its pods.
        #[must_use]
        pub fn declared_reasons() -> Vec<(&'static str, &'static [DeclaredReason])> {
            vec![$(($name, $module::REASONS),)+]
        }

        /// A sample spec of every platform, from which `config/samples` is generated.
        #[must_use]
        pub fn examples() -> Vec<(&'static str, McpConnectorSpec)> {
            vec![$(($name, $module::example()),)+]
        }
    };
}

platforms! {
    /// Argo CD.
    argo_cd, "argoCd" => argocd::ArgoCdSpec;
    /// CircleCI: the cloud, or a CircleCI Server.
    circle_ci, "circleCi" => circleci::CircleCiSpec;
    /// Amazon CloudWatch: metrics, alarms and logs.
    cloud_watch, "cloudWatch" => cloudwatch::CloudWatchSpec;
    /// Jenkins.
    jenkins, "jenkins" => jenkins::JenkinsSpec;
    /// HashiCorp Vault, or OpenBao.
    vault, "vault" => vault::VaultSpec;
}

/// What the operator may know of a platform: its part of a manifest, and what follows from that alone.
pub trait Declaration: Send + Sync {
    /// The field of `spec.platform`, such as `vault`.
    fn name(&self) -> &'static str;

    /// Its name as people write it, such as `Argo CD`.
    fn title(&self) -> &'static str;

    /// The platform's address.
    ///
    /// # Errors
    /// When the URL can't be a platform's.
    fn endpoint(&self, policy: AddressPolicy) -> Result<Endpoint, EndpointError>;

    /// Further addresses that are called with the same credentials, of a platform that is several services.
    ///
    /// # Errors
    /// When a URL can't be a platform's.
    fn further_endpoints(&self, _policy: AddressPolicy) -> Result<Vec<Endpoint>, EndpointError> {
        Ok(Vec::new())
    }

    /// Path in the manifest of the field that [`Declaration::endpoint`] comes from.
    fn endpoint_field(&self) -> &'static str;

    /// Where the CA bundle lies, if the platform has one of its own.
    fn ca_bundle(&self) -> Option<&CaBundle>;

    /// The credential fields that the platform needs.
    fn requirement(&self) -> Requirement;

    /// The credential fields that a sample shows: by default the combination that is preferred.
    fn sample_fields(&self) -> &'static [Field] {
        self.requirement().alternatives().first().copied().unwrap_or_default()
    }

    /// Requests that the platform is sent at a time, by one replica, if the manifest doesn't say.
    fn requests_at_a_time(&self) -> usize {
        DEFAULT_REQUESTS_AT_A_TIME
    }

    /// Time that one attempt of a request may take, if the manifest doesn't say.
    fn request_timeout(&self) -> ApiDuration {
        ApiDuration::from_secs(30)
    }

    /// Requests that the platform is sent a minute, by one replica, if the manifest doesn't say; nothing if no such bound
    /// is known.
    fn requests_per_minute(&self) -> Option<u32> {
        None
    }

    /// Hosts of the provider that knows the identity of pods and gives credentials for it: they may be called without
    /// being listed in a `CredentialSource`. None where the platform knows no such identity.
    fn identity_hosts(&self) -> Vec<String> {
        Vec::new()
    }

    /// What is wrong with the spec beyond what the schema and its rules can say: `(field, what and what to do)`.
    fn problems(&self) -> Vec<(String, String)>;
}

/// A reason for `PlatformHealthy`: a core one, or one that a platform declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeReason(&'static str);

impl ProbeReason {
    /// As it stands in the condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl From<Reason> for ProbeReason {
    fn from(reason: Reason) -> Self {
        Self(reason.as_str())
    }
}

/// A reason that a platform can give for `PlatformHealthy` beside the core ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclaredReason {
    /// CamelCase name.
    pub name: &'static str,
    /// When it is given, and what to do.
    pub meaning: &'static str,
}
