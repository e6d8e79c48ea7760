//! CircleCI's part of a manifest, its needs and its reasons: what the operator may know of it. No IO.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{Declaration, PlatformSpec};
use crate::{
    ca_bundle::CaBundle,
    connector::{CredentialsReference, McpConnectorSpec},
    endpoint::{AddressPolicy, Endpoint, EndpointError, PlatformUrl},
    pattern::{NamePattern, PathPattern},
    requirement::{CLIENT_CERTIFICATE, Field, Requirement},
};

/// Host of CircleCI's cloud.
pub const CLOUD_HOST: &str = "circleci.com";

/// CircleCI: the cloud, or a CircleCI Server.
///
/// The credentials are a `token`: a personal API token, best of a user that is there for this connector alone. Project
/// tokens don't work with API v2.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!self.url.startsWith('http://') || (has(self.insecureHttp) && self.insecureHttp)")
    .message("http:// sends the token in clear text: use https://, or set insecureHttp: true if that is meant"))]
#[serde(rename_all = "camelCase")]
pub struct CircleCiSpec {
    /// Base URL: `https://circleci.com`, or that of a CircleCI Server, without `/api`.
    pub url: PlatformUrl,

    /// Certificates that CircleCI Server's certificate is verified with, instead of the public authorities. If its logs
    /// and artifacts lie on other hosts, their authorities belong into it, too.
    pub ca_bundle: Option<CaBundle>,

    /// Allows a URL with `http://`. The token then crosses the network in clear text. Defaults to false.
    pub insecure_http: Option<bool>,

    /// Which version of CircleCI's API is used where there is a choice. Defaults to Auto.
    pub api_version: Option<ApiVersion>,

    /// Projects that the tools may touch, as slugs such as `gh/acme/web`, `gh/acme/*` or `circleci/<id>/<id>`; `github`
    /// and `gh` mean the same, and so do `bitbucket` and `bb`. Which project a run, workflow or job belongs to is asked
    /// of CircleCI, never believed. The first slug without `*` is also part of the probe. Left out, every project that
    /// the token's user can see.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub projects: Option<Vec<PathPattern>>,

    /// Hosts, in which `*` stands for any characters, from which logs and artifacts may be read when CircleCI links to
    /// them, beside CircleCI's own, which alone get the token: the host of `url`, and for `https://circleci.com` those
    /// below `circleci.com` and `circle-artifacts.com`. Defaults to those of Amazon S3 for `https://circleci.com`, and to
    /// none for a CircleCI Server.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub download_hosts: Option<Vec<NamePattern>>,
}

/// A version of CircleCI's API.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline, transform = crate::crd::plain_enum)]
pub enum ApiVersion {
    /// v3 on `circleci.com`; elsewhere v3 if it is there, else v2.
    #[default]
    Auto,
    /// v3, and v2 for what v3 lacks.
    V3,
    /// v2, and v1.1 for the output of steps.
    V2,
}

reasons! {
    /// Reasons for `PlatformHealthy` that only CircleCI gives.
    CircleCiReason {
        TokenInvalidOrRevoked:
            "CircleCI refuses the token (401): it was revoked, is no personal token, or is another system's. Put a \
             new one into the credentials.",
        TokenNotAllowed:
            "CircleCI knows the token and does not let it in (403): look at single sign-on, roles and IP ranges.",
        RateLow:
            "Less than a tenth of the requests that CircleCI allows is left: they are spread over the time until \
             CircleCI counts anew, so calls take longer. It passes by itself; check_circleci_connector has the \
             numbers.",
        NotCircleCI:
            "The address does not answer as CircleCI's API: look at url, its path, and proxies with a login.",
        UpstreamError: "CircleCI answers with a fault of its own (500 and above): see status.circleci.com.",
        ProjectNotVisible:
            "The token is good and does not see the first project of spec.platform.circleCi.projects: check the \
             slug, or the user's membership.",
        UsingV2: "This CircleCI has no API v3, so v2 is used. No action.",
        EndpointRetired: "CircleCI has retired an endpoint that the connector uses (410): upgrade the connector.",
        NoCredentials: "The connector has no credentials for CircleCI yet.",
    }
}

const TOKEN: Requirement = Requirement::any_of(&[&[Field::line("token")]]).with_additions(&[CLIENT_CERTIFICATE]);

impl CircleCiSpec {
    /// Hosts beside CircleCI's own from which logs and artifacts may be read, for a platform on this host.
    #[must_use]
    pub fn download_hosts(&self, platform: &str) -> Vec<NamePattern> {
        match &self.download_hosts {
            Some(hosts) => hosts.clone(),
            None if platform == CLOUD_HOST => {
                // Where artifacts and the output of steps are kept.
                vec![NamePattern("*.amazonaws.com".into())]
            }
            None => Vec::new(),
        }
    }
}

impl Declaration for CircleCiSpec {
    fn name(&self) -> &'static str {
        "circleCi"
    }

    fn title(&self) -> &'static str {
        "CircleCI"
    }

    fn endpoint(&self, policy: AddressPolicy) -> Result<Endpoint, EndpointError> {
        self.url.endpoint(self.insecure_http.unwrap_or_default(), policy)
    }

    fn endpoint_field(&self) -> &'static str {
        "spec.platform.circleCi.url"
    }

    fn ca_bundle(&self) -> Option<&CaBundle> {
        self.ca_bundle.as_ref()
    }

    fn requirement(&self) -> Requirement {
        TOKEN
    }

    /// CircleCI publishes no figure; all calls of a token share one allowance, and a burst spends it for everybody.
    fn requests_at_a_time(&self) -> usize {
        8
    }

    /// A start: CircleCI publishes no figure, and what its answers say of the limit is kept to as well.
    fn requests_per_minute(&self) -> Option<u32> {
        Some(600)
    }

    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let url = self.url.0.trim_end_matches('/');
        if url.contains("//app.circleci.com") {
            let message = "app.circleci.com is the web site: the API is at https://circleci.com";
            problems.push(("spec.platform.circleCi.url".to_owned(), message.to_owned()));
        } else if url.ends_with("/api") || url.contains("/api/v") {
            let message = "the connector adds /api and the version itself: leave them out";
            problems.push(("spec.platform.circleCi.url".to_owned(), message.to_owned()));
        }
        for (index, project) in self.projects.iter().flatten().enumerate() {
            let (segments, last) = (project.0.split('/').count(), project.0.ends_with("**"));
            if segments != 3 && !(last && segments < 3) {
                let field = format!("spec.platform.circleCi.projects[{index}]");
                problems.push((field, "a slug has three parts: provider/organization/project".to_owned()));
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
            circle_ci: Some(CircleCiSpec {
                url: PlatformUrl("https://circleci.com".into()),
                ca_bundle: None,
                insecure_http: None,
                api_version: None,
                projects: Some(vec![PathPattern("gh/acme/web".into()), PathPattern("gh/acme/api-*".into())]),
                download_hosts: None,
            }),
            ..PlatformSpec::default()
        },
        credentials: CredentialsReference { name: "circleci-bot".into() },
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
    fn what_people_copy_out_of_a_browser_is_told() {
        let mut spec = example().platform.circle_ci.unwrap();
        assert_eq!(spec.problems(), []);
        for url in ["https://app.circleci.com", "https://circleci.com/api/v2", "https://ci.example.com/api"] {
            spec.url = PlatformUrl(url.into());
            assert_eq!(spec.problems()[0].0, "spec.platform.circleCi.url", "{url}");
        }
        spec.url = PlatformUrl("https://ci.example.com/circle".into());
        spec.projects = Some(["acme/web", "gh/**", "gh/acme/web/main"].map(|text| PathPattern(text.into())).into());
        let fields: Vec<_> = spec.problems().into_iter().map(|(field, _)| field).collect();
        let named = |index| format!("spec.platform.circleCi.projects[{index}]");
        assert_eq!(fields, [named(0), named(2)]);
    }

    #[test]
    fn a_server_reads_from_no_other_host_unless_it_says_so() {
        let mut spec = example().platform.circle_ci.unwrap();
        assert_eq!(spec.download_hosts("ci.example.com"), []);
        assert!(spec.download_hosts(CLOUD_HOST).iter().any(|host| host.matches("bucket.s3.amazonaws.com")));
        spec.download_hosts = Some(vec![NamePattern("s3.example.com".into())]);
        assert_eq!(spec.download_hosts(CLOUD_HOST).len(), 1);
    }
}
