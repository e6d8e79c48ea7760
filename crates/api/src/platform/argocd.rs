//! Argo CD's part of a manifest, its needs and its reasons: what the operator may know of it. No IO.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{Declaration, PlatformSpec};
use crate::{
    ca_bundle::{CaBundle, ConfigMapKey},
    connector::{CredentialsReference, McpConnectorSpec},
    endpoint::{AddressPolicy, Endpoint, EndpointError, PlatformUrl},
    requirement::{CLIENT_CERTIFICATE, Field, Requirement},
};

/// Requests that Argo CD is sent at a time. It documents no limit; its own login limit is 50 at a time, and a list of
/// thousands of applications keeps its API server busy for seconds.
const REQUESTS_AT_A_TIME: usize = 6;

/// Argo CD, over the REST API of `argocd-server`.
///
/// The credentials are a `token` (of an account with the capability `apiKey`, or of a project's role), or a `username`
/// and a `password` of a local account with the capability `login`. The token is taken if both are there.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!self.url.startsWith('http://') || (has(self.insecureHttp) && self.insecureHttp)")
    .message("http:// sends the token in clear text: use https://, or set insecureHttp: true if that is meant"))]
#[serde(rename_all = "camelCase")]
pub struct ArgoCdSpec {
    /// Base URL of `argocd-server`, such as `https://argocd.example.com`. The path under which it is served
    /// (`--rootpath`, and `--grpc-web-root-path` of its command line) is part of it: `https://example.com/argocd`.
    pub url: PlatformUrl,

    /// Certificates that Argo CD's certificate is verified with, instead of the public authorities. One that Argo CD
    /// made for itself stands in the Secret `argocd-server-tls` or `argocd-secret` under `tls.crt`.
    pub ca_bundle: Option<CaBundle>,

    /// Allows a URL with `http://`. The token then crosses the network in clear text. Defaults to false.
    pub insecure_http: Option<bool>,

    /// Applications whose health the probe looks at: one that is degraded or missing makes `PlatformHealthy` say so.
    /// Each costs one small request a probe. Defaults to none.
    #[schemars(length(max = 20))]
    pub critical_applications: Option<Vec<CriticalApplication>>,
}

/// An application whose health the probe looks at.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CriticalApplication {
    /// Name of the application.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Namespace of the `Application` object. Left out, all namespaces that Argo CD looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

reasons! {
    /// Reasons for `PlatformHealthy` that only Argo CD gives.
    ArgoCdReason {
        TokenRejected:
            "Argo CD is well and does not accept the token: it was revoked, has ended, or its account is off or has \
             a new password.",
        TokenExpired: "The token's time is over: make a new one.",
        TokenExpiring: "The token ends within a week and can't be renewed: make a new one.",
        Refreshing: "The session ends within five minutes, and a new login has not succeeded yet. No action.",
        LoginRejected:
            "Argo CD rejects user name and password, or the account may not log in: correct the credentials.",
        LoginLockedOut:
            "Logins failed so often that Argo CD may have locked the user for five minutes; the connector waits as \
             long. A wrong password is being repeated, perhaps by somebody else.",
        NoApplicationSeen:
            "The account sees no application: its projects have none yet, or it lacks `applications, get` in argocd-rbac-cm or \
             in a role of a project.",
        Starting: "Argo CD refuses a call that it answers to everybody when it has started.",
        NotArgoCD:
            "The address answers, but not as the API of Argo CD: check url, its path, and proxies with a login.",
        ApplicationsUnhealthy: "An application of criticalApplications is degraded or missing.",
        ApplicationsUnknown:
            "Argo CD does not know the health of an application of criticalApplications, or whether it runs what Git says: \
             its cluster can't be asked, or it was not compared yet.",
        ApplicationsOutOfSync:
            "An application of criticalApplications runs something else than Git says. No fault of Argo CD.",
        NoCredentials: "Argo CD is well; the connector has no credentials for it yet.",
    }
}

const CREDENTIALS: Requirement =
    Requirement::any_of(&[&[Field::line("token")], &[Field::line("username").public(), Field::text("password")]])
        .with_additions(&[CLIENT_CERTIFICATE]);

impl Declaration for ArgoCdSpec {
    fn name(&self) -> &'static str {
        "argoCd"
    }

    fn title(&self) -> &'static str {
        "Argo CD"
    }

    fn endpoint(&self, policy: AddressPolicy) -> Result<Endpoint, EndpointError> {
        self.url.endpoint(self.insecure_http.unwrap_or_default(), policy)
    }

    fn endpoint_field(&self) -> &'static str {
        "spec.platform.argoCd.url"
    }

    fn ca_bundle(&self) -> Option<&CaBundle> {
        self.ca_bundle.as_ref()
    }

    fn requirement(&self) -> Requirement {
        CREDENTIALS
    }

    fn requests_at_a_time(&self) -> usize {
        REQUESTS_AT_A_TIME
    }

    fn problems(&self) -> Vec<(String, String)> {
        // What people copy out of the browser's address bar.
        let path = self.url.0.trim_end_matches('/');
        let copied = ["/api/v1", "/applications", "/login"].iter().find(|end| path.ends_with(*end));
        let mut problems: Vec<_> = copied
            .map(|end| {
                let message = format!("the URL ends with {end}, which the connector adds itself: leave it out");
                ("spec.platform.argoCd.url".to_owned(), message)
            })
            .into_iter()
            .collect();
        let critical = self.critical_applications.as_deref().unwrap_or_default();
        for (index, app) in critical.iter().enumerate() {
            if critical.iter().take(index).any(|earlier| earlier == app) {
                let field = format!("spec.platform.argoCd.criticalApplications[{index}]");
                problems.push((field, format!("the application {:?} stands there twice", app.name)));
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
            argo_cd: Some(ArgoCdSpec {
                url: PlatformUrl("https://argocd-server.argocd.svc".into()),
                ca_bundle: Some(CaBundle {
                    config_map: ConfigMapKey { name: "argocd-ca".into(), key: "ca.crt".into() },
                }),
                insecure_http: None,
                critical_applications: Some(vec![CriticalApplication { name: "payments".into(), namespace: None }]),
            }),
            ..PlatformSpec::default()
        },
        credentials: CredentialsReference { name: "argocd-reader".into() },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_copied_from_the_address_bar_is_a_problem() {
        let mut spec = example().platform.argo_cd.unwrap();
        for (url, problems) in [
            ("https://argocd.example.com/argocd", 0),
            ("https://argocd.example.com/applications/", 1),
            ("https://argocd.example.com/argocd/api/v1", 1),
        ] {
            spec.url = PlatformUrl(url.into());
            assert_eq!(spec.problems().len(), problems, "{url}");
        }
        spec.url = PlatformUrl("https://argocd.example.com".into());
        let app = CriticalApplication { name: "web".into(), namespace: None };
        spec.critical_applications = Some(vec![app.clone(), app]);
        assert_eq!(spec.problems()[0].0, "spec.platform.argoCd.criticalApplications[1]");
    }
}
