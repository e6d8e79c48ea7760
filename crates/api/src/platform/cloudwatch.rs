//! CloudWatch's part of a manifest, its needs and its reasons: what the operator may know of it. No IO.

mod hosts;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{Declaration, PlatformSpec};
use crate::{
    ca_bundle::CaBundle,
    connector::{CredentialsReference, McpConnectorSpec},
    endpoint::{AddressPolicy, Endpoint, EndpointError, PlatformUrl},
    requirement::{Field, Requirement},
};

/// Requests that the metrics service is sent at a time; the logs service gets half as many. AWS documents rates a second
/// for each operation, account and region, which are shared with everybody else in the account, and no concurrency.
const REQUESTS_AT_A_TIME: usize = 8;

/// Amazon CloudWatch and CloudWatch Logs of one account and region.
///
/// The credentials are an `access_key_id` and a `secret_access_key`; with temporary ones also a `session_token`, and its
/// `expiration` (RFC 3339), if it is to be known beforehand.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("(has(self.insecureHttp) && self.insecureHttp) || ((!has(self.endpoint) || \
    !self.endpoint.startsWith('http://')) && (!has(self.endpoints) || (\
    (!has(self.endpoints.monitoring) || !self.endpoints.monitoring.startsWith('http://')) && \
    (!has(self.endpoints.logs) || !self.endpoints.logs.startsWith('http://')) && \
    (!has(self.endpoints.sts) || !self.endpoints.sts.startsWith('http://')))))")
    .message("http:// sends session tokens in clear text: use https://, or set insecureHttp: true if that is meant"))]
#[serde(rename_all = "camelCase")]
pub struct CloudWatchSpec {
    /// Region, such as `eu-central-1`. There is no default: a connector that looks into the wrong region finds nothing, and
    /// says so with confidence.
    #[schemars(length(min = 5, max = 32), regex(pattern = r"^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$"))]
    pub region: String,

    /// Base URL of all three services, instead of those of AWS in the region: a server for tests, or a gateway.
    pub endpoint: Option<PlatformUrl>,

    /// Base URLs of single services, as interface endpoints of a VPC without private DNS names have them. They go before
    /// `endpoint`.
    pub endpoints: Option<ServiceEndpoints>,

    /// Calls the FIPS endpoints of AWS, where the region has them. Defaults to false.
    pub fips: Option<bool>,

    /// Calls the dual-stack endpoints of AWS, which have IPv6 addresses too. Defaults to false.
    pub dual_stack: Option<bool>,

    /// Role that is assumed with the credentials, in this account or another one. Its sessions are renewed by themselves.
    pub assume_role: Option<AssumeRole>,

    /// Name of a quiet log group on which the probe starts an Insights query and stops it at once, instead of reading one name
    /// of a log group: this shows that queries can be run. It is a query over one second for each probe of each replica,
    /// which costs by the bytes that lie in that second, and one of the account's queries for a moment. The identity
    /// needs `logs:StartQuery` and `logs:StopQuery` for it. Left out, no query is run.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[A-Za-z0-9_./#-]+$"))]
    pub health_log_group: Option<String>,

    /// Certificates that the services' certificates are verified with, instead of the public authorities: of a gateway or a
    /// proxy that opens TLS.
    pub ca_bundle: Option<CaBundle>,

    /// Allows URLs with `http://`. Session tokens and logs then cross the network in clear text. Defaults to false.
    pub insecure_http: Option<bool>,
}

/// Base URLs of single services.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEndpoints {
    /// CloudWatch: metrics and alarms.
    pub monitoring: Option<PlatformUrl>,
    /// CloudWatch Logs.
    pub logs: Option<PlatformUrl>,
    /// The Security Token Service, which is asked who the credentials are, and for sessions of `assumeRole`.
    pub sts: Option<PlatformUrl>,
}

/// A role that is assumed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AssumeRole {
    /// ARN of the role, such as `arn:aws:iam::123456789012:role/mcp-reader`.
    #[schemars(length(min = 20, max = 2048), regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$"))]
    pub role_arn: String,
    /// The external id that the role's trust policy asks for. It is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224), regex(pattern = r"^[A-Za-z0-9_+=,.@:/-]+$"))]
    pub external_id: Option<String>,
}

/// A service of AWS that the connector calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Metrics and alarms.
    Monitoring,
    /// Logs.
    Logs,
    /// Who one is, and roles.
    Sts,
}

impl CloudWatchSpec {
    /// Where a service is called: where the spec says, or where AWS has it in the region.
    ///
    /// # Errors
    /// When a URL can't be a platform's.
    pub fn service(&self, service: Service, policy: AddressPolicy) -> Result<Endpoint, EndpointError> {
        let own = self.endpoints.as_ref().and_then(|endpoints| match service {
            Service::Monitoring => endpoints.monitoring.as_ref(),
            Service::Logs => endpoints.logs.as_ref(),
            Service::Sts => endpoints.sts.as_ref(),
        });
        let url = match own.or(self.endpoint.as_ref()) {
            Some(url) => url.clone(),
            None => PlatformUrl(self.url_of_aws(service)),
        };
        url.endpoint(self.insecure_http.unwrap_or_default(), policy)
    }

    fn url_of_aws(&self, service: Service) -> String {
        let (fips, dual_stack) = (self.fips.unwrap_or_default(), self.dual_stack.unwrap_or_default());
        format!("https://{}", hosts::host(service, &self.region, fips, dual_stack))
    }
}

reasons! {
    /// Reasons for `PlatformHealthy` that only CloudWatch gives.
    CloudWatchReason {
        CredentialsExpired:
            "The credentials have ended and could not be renewed: put new ones into the connector's credentials.",
        CredentialsExpiring:
            "The session token ends within 15 minutes and can't be renewed here: put a new one into the credentials.",
        CredentialsInvalid:
            "AWS does not know the access key, or its secret does not fit it: correct the connector's credentials.",
        ClockSkew:
            "AWS takes the requests for too old or too new, or will soon, because the clock of the node differs from \
             its own by more than two minutes: set the clock of the node.",
        RoleRefused:
            "The role may not be assumed: correct its ARN, its trust policy, its external id, or the permission \
             sts:AssumeRole of the credentials.",
        IdentityRejected:
            "Nobody gives the pods' own identity credentials: AWS does not accept the ServiceAccount's token, or the \
             node knows no role for the pod. The message says what to check.",
        IdentityUnavailable:
            "Who gives credentials for the pods' own identity can't be asked now: the Pod Identity agent, the \
             metadata service of the node, or the cluster's issuer.",
        PermissionDenied:
            "The identity lacks a permission that every use of CloudWatch needs, which the message names.",
        LogsPermissionDenied:
            "The identity may read alarms and not log groups; the tools for metrics and alarms work.",
        LogsFailing: "CloudWatch answers, and CloudWatch Logs does not; the tools for metrics and alarms work.",
        LogGroupNotFound:
            "The account and region have no log group of the name in spec.platform.cloudWatch.healthLogGroup: \
             correct it; the tools work.",
        QueryQuotaExhausted:
            "As many Insights queries run in the account as may, so the probe could start none: wait, or run fewer. \
             It passes by itself.",
        NoCredentials: "The connector has no credentials for AWS yet.",
        NotCloudWatch:
            "The address answers, but not as the API of CloudWatch: check endpoint, endpoints and the proxy.",
    }
}

const KEYS: [Field; 2] = [Field::line("access_key_id").public(), Field::line("secret_access_key")];
const WITH_TOKEN: [Field; 3] = [KEYS[0], KEYS[1], Field::line("session_token")];
const WITH_EXPIRATION: [Field; 4] = [KEYS[0], KEYS[1], WITH_TOKEN[2], Field::line("expiration").public()];
/// The first combination that is complete is taken, so the longest stands first.
const CREDENTIALS: Requirement = Requirement::any_of(&[&WITH_EXPIRATION, &WITH_TOKEN, &KEYS]);

impl Declaration for CloudWatchSpec {
    fn name(&self) -> &'static str {
        "cloudWatch"
    }

    fn title(&self) -> &'static str {
        "CloudWatch"
    }

    fn endpoint(&self, policy: AddressPolicy) -> Result<Endpoint, EndpointError> {
        self.service(Service::Monitoring, policy)
    }

    fn further_endpoints(&self, policy: AddressPolicy) -> Result<Vec<Endpoint>, EndpointError> {
        Ok(vec![self.service(Service::Logs, policy)?, self.service(Service::Sts, policy)?])
    }

    fn endpoint_field(&self) -> &'static str {
        match (&self.endpoints, &self.endpoint) {
            (Some(_), _) => "spec.platform.cloudWatch.endpoints",
            (None, Some(_)) => "spec.platform.cloudWatch.endpoint",
            (None, None) => "spec.platform.cloudWatch.region",
        }
    }

    fn ca_bundle(&self) -> Option<&CaBundle> {
        self.ca_bundle.as_ref()
    }

    fn requirement(&self) -> Requirement {
        CREDENTIALS
    }

    fn sample_fields(&self) -> &'static [Field] {
        &KEYS
    }

    fn requests_at_a_time(&self) -> usize {
        REQUESTS_AT_A_TIME
    }

    fn identity_hosts(&self) -> Vec<String> {
        let urls = [Service::Monitoring, Service::Logs, Service::Sts].into_iter().map(|one| self.url_of_aws(one));
        urls.filter_map(|url| Some(url::Url::parse(&url).ok()?.host_str()?.to_owned())).collect()
    }

    fn problems(&self) -> Vec<(String, String)> {
        let named = self.endpoint.is_some() && (self.fips.is_some() || self.dual_stack.is_some());
        named
            .then(|| {
                let problem = "fips and dualStack choose among the endpoints of AWS, and endpoint names another one: leave \
                               out either";
                ("spec.platform.cloudWatch.endpoint".to_owned(), problem.to_owned())
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
            cloud_watch: Some(CloudWatchSpec {
                region: "eu-central-1".into(),
                endpoint: None,
                endpoints: None,
                fips: None,
                dual_stack: None,
                assume_role: Some(AssumeRole {
                    role_arn: "arn:aws:iam::123456789012:role/mcp-cloudwatch-reader".into(),
                    external_id: Some("mcp-connectors".into()),
                }),
                health_log_group: None,
                ca_bundle: None,
                insecure_http: None,
            }),
            ..PlatformSpec::default()
        },
        credentials: CredentialsReference { name: "cloudwatch-reader".into() },
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

    fn hosts(spec: &CloudWatchSpec) -> Vec<String> {
        let own = spec.endpoint(AddressPolicy::Cluster).unwrap();
        let further = spec.further_endpoints(AddressPolicy::Cluster).unwrap();
        std::iter::once(own).chain(further).map(|endpoint| endpoint.host).collect()
    }

    #[test]
    fn each_partition_has_its_hosts() {
        let mut spec = example().platform.cloud_watch.unwrap();
        for (region, fips, dual_stack, expected) in [
            ("eu-central-1", false, false, ["monitoring.eu-central-1.amazonaws.com", "logs.", "sts."]),
            ("cn-north-1", false, false, ["monitoring.cn-north-1.amazonaws.com.cn", "logs.", "sts."]),
            ("us-gov-west-1", false, false, ["monitoring.us-gov-west-1.amazonaws.com", "logs.", "sts."]),
            ("us-east-1", true, false, ["monitoring-fips.us-east-1.amazonaws.com", "logs-fips.", "sts-fips."]),
            ("eu-west-1", false, true, ["monitoring.eu-west-1.api.aws", "logs.", "sts."]),
        ] {
            (spec.region, spec.fips, spec.dual_stack) = (region.into(), Some(fips), Some(dual_stack));
            let hosts = hosts(&spec);
            assert_eq!(hosts[0], expected[0], "{region}");
            assert!(hosts.iter().zip(expected).all(|(host, start)| host.starts_with(start)), "{hosts:?}");
            assert!(hosts.iter().all(|host| host.contains(region)), "no region of its own: {hosts:?}");
        }
    }

    #[test]
    fn a_service_of_its_own_goes_before_the_common_one() {
        let mut spec = example().platform.cloud_watch.unwrap();
        spec.endpoint = Some(PlatformUrl("https://aws.example.com".into()));
        let logs = Some(PlatformUrl("https://vpce-1.logs.eu-central-1.vpce.amazonaws.com".into()));
        spec.endpoints = Some(ServiceEndpoints { logs, ..ServiceEndpoints::default() });
        let expected = ["aws.example.com", "vpce-1.logs.eu-central-1.vpce.amazonaws.com", "aws.example.com"];
        assert_eq!(hosts(&spec), expected);
        spec.fips = Some(true);
        assert_eq!(spec.problems().len(), 1);
    }
}
