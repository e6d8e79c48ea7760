//! Jenkins' part of a manifest, its needs and its reasons: what the operator may know of it. No IO.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{Declaration, PlatformSpec};
use crate::{
    ca_bundle::CaBundle,
    connector::{CredentialsReference, McpConnectorSpec},
    endpoint::{AddressPolicy, Endpoint, EndpointError, PlatformUrl},
    requirement::{CLIENT_CERTIFICATE, Field, Requirement},
};

/// Requests that Jenkins is sent at a time. It limits none itself, and one controller does everything: its CPU is what
/// is scarce.
const REQUESTS_AT_A_TIME: usize = 4;

/// Jenkins, over the REST API of its controller.
///
/// The credentials are `user` and `api_token` (made by that user under *Security*, or by an administrator). `user` and
/// `password` work too and are discouraged: each replica then keeps a session for what changes something, and a password
/// opens more than the API. The token is taken if both are there.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!self.url.startsWith('http://') || (has(self.insecureHttp) && self.insecureHttp)")
    .message("http:// sends the token in clear text: use https://, or set insecureHttp: true if that is meant"))]
#[serde(rename_all = "camelCase")]
pub struct JenkinsSpec {
    /// Base URL of the controller, such as `https://jenkins.example.com`. Its context path (`--prefix`) is part of it:
    /// `https://example.com/jenkins`.
    pub url: PlatformUrl,

    /// Certificates that Jenkins' certificate is verified with, instead of the public authorities.
    pub ca_bundle: Option<CaBundle>,

    /// Allows a URL with `http://`. The token then crosses the network in clear text. Defaults to false.
    pub insecure_http: Option<bool>,
}

reasons! {
    /// Reasons for `PlatformHealthy` that only Jenkins gives.
    JenkinsReason {
        AnonymousOnly:
            "Jenkins answers, but takes the connector for an anonymous caller: the credentials don't reach it, which \
             a proxy in front of it may cause.",
        AuthenticationFailed:
            "Jenkins does not accept user and token (or password): one of them is wrong, or the token was revoked.",
        PermissionDenied: "The user may not read Jenkins: grant it Overall/Read.",
        CrumbDenied:
            "With a password: Jenkins refuses the crumb that protects what changes something. Use an API token.",
        CrumbDisabled:
            "With a password: Jenkins has its protection against forged requests switched off. Only a note.",
        QuietingDown:
            "Jenkins prepares to shut down: builds that are triggered now wait. No action, unless it lasts.",
        Starting: "Jenkins starts or restarts, and shows its start page: an error if it does for five minutes.",
        ProxyError: "A proxy in front of Jenkins answers that it gets no answer from it (502, 503, 504).",
        NotJenkins:
            "The address answers, but not as the API of Jenkins: check url, its path, and proxies with a login.",
        VersionUnknown:
            "It answers as Jenkins does and does not tell its version: something on the way takes out X-Jenkins.",
        NoCredentials: "Jenkins is well; the connector has no credentials for it yet.",
    }
}

const USER: Field = Field::line("user").public();
const CREDENTIALS: Requirement =
    Requirement::any_of(&[&[USER, Field::line("api_token")], &[USER, Field::text("password")]])
        .with_additions(&[CLIENT_CERTIFICATE]);

impl Declaration for JenkinsSpec {
    fn name(&self) -> &'static str {
        "jenkins"
    }

    fn title(&self) -> &'static str {
        "Jenkins"
    }

    fn endpoint(&self, policy: AddressPolicy) -> Result<Endpoint, EndpointError> {
        self.url.endpoint(self.insecure_http.unwrap_or_default(), policy)
    }

    fn endpoint_field(&self) -> &'static str {
        "spec.platform.jenkins.url"
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
        let copied = ["/api/json", "/api", "/login", "/view/all"].iter().find(|end| path.ends_with(*end));
        let copied = copied.copied().or_else(|| path.contains("/job/").then_some("/job/…"));
        copied
            .map(|end| {
                let message = format!("the URL ends with {end}, which the connector adds itself: leave it out");
                ("spec.platform.jenkins.url".to_owned(), message)
            })
            .into_iter()
            .collect()
    }
}

/// The sample that `config/samples` shows.
#[must_use]
pub fn example() -> McpConnectorSpec {
    McpConnectorSpec {
        platform: PlatformSpec {
            jenkins: Some(JenkinsSpec {
                url: PlatformUrl("https://jenkins.example.com".into()),
                ca_bundle: None,
                insecure_http: None,
            }),
            ..PlatformSpec::default()
        },
        credentials: CredentialsReference { name: "jenkins-bot".into() },
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
        let mut spec = example().platform.jenkins.unwrap();
        for (url, problems) in [
            ("https://example.com/jenkins", 0),
            ("https://jenkins.example.com/login", 1),
            ("https://jenkins.example.com/api/json/", 1),
            ("https://jenkins.example.com/job/team/job/web", 1),
        ] {
            spec.url = PlatformUrl(url.into());
            assert_eq!(spec.problems().len(), problems, "{url}");
        }
    }
}
