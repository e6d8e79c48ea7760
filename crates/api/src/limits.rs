//! `spec.limits`: what a connector lets callers and itself do. Like the rest of the resource, without defaults in the
//! schema: they are named here and live in the types of the server's configuration.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    ca_bundle::CaBundle, connector::CredentialsReference, duration::ApiDuration, endpoint::PlatformUrl,
    pattern::NamePattern,
};

/// Requests that a platform is sent at a time, where neither the manifest nor the platform's declaration says.
pub const DEFAULT_REQUESTS_AT_A_TIME: usize = 10;

/// Bounds of a tool call. The defaults are good.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LimitsSpec {
    /// Time that a tool call may take, beside the time for which its caller lets it wait (`wait_seconds`); with it, 150s in
    /// all. 1s to 150s, 30s by default. Clients have a time of their own for a call, often 60s.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('150s')")
        .message("callTimeout must be between 1s and 150s"))]
    pub call_timeout: Option<ApiDuration>,

    /// Calls that one replica works on at a time; further ones are refused with the advice to come back. 1 to 1024,
    /// 256 by default.
    #[schemars(range(min = 1, max = 1024))]
    pub max_concurrent_calls: Option<i32>,

    /// Bytes of a tool's answer, at most. 4096 to 1048576, 262144 by default.
    #[schemars(range(min = 4096, max = 1_048_576))]
    pub max_result_bytes: Option<i32>,

    /// Calls that each caller may make: a ServiceAccount, or where `access.anonymous` lets everyone call, an address.
    /// Each replica counts by itself, unless `shared` says where all of them count.
    pub calls: Option<CallRateSpec>,

    /// Calls that each caller may make of single tools, beside `calls`. A tool that no entry names has no such bound.
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub tools: Option<Vec<ToolRateSpec>>,

    /// Counts `calls` and `tools` for all replicas together. Left out, each replica counts by itself, so that N replicas let
    /// up to N times as many calls through.
    pub shared: Option<SharedLimitSpec>,

    /// When a caller that makes the same call over and over is warned, and refused.
    pub repeats: Option<RepeatsSpec>,

    /// Answers that are given again without asking the platform: those of tools whose answers change rarely, to the same
    /// caller, until the credentials change or a call of this replica changes something at the platform.
    pub cache: Option<CacheSpec>,

    /// Bounds of the way to the platform.
    pub platform: Option<PlatformLimitsSpec>,
}

impl LimitsSpec {
    /// Name of the CredentialSource of the Redis in which replicas count together, if there is one.
    #[must_use]
    pub fn shared_credentials(&self) -> Option<&str> {
        Some(&self.shared.as_ref()?.redis.credentials.as_ref()?.name)
    }
}

/// How often a caller may call.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CallRateSpec {
    /// Calls in a minute, for as long as it goes on. 1 to 60000, 60 by default.
    #[schemars(range(min = 1, max = 60000))]
    pub per_minute: Option<i32>,

    /// Calls that may come at once after a pause. 1 to 10000, 20 by default, or `perMinute` where that is less.
    #[schemars(range(min = 1, max = 10000))]
    pub burst: Option<i32>,
}

/// How often a caller may call a tool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ToolRateSpec {
    /// The tool: its name without the prefix, `*` for any run of characters. Each tool that matches is counted by itself.
    /// Of several entries that match a tool, the one with its exact name holds, otherwise the lowest.
    pub name: NamePattern,

    /// Calls in a minute, for as long as it goes on. 1 to 60000.
    #[schemars(range(min = 1, max = 60000))]
    pub per_minute: i32,

    /// Calls that may come at once after a pause. 1 to 10000, 20 by default, or `perMinute` where that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub burst: Option<i32>,
}

/// Where calls are counted for all replicas together.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SharedLimitSpec {
    /// Redis or Valkey.
    pub redis: RedisSpec,
}

/// A Redis (5 or newer) or Valkey that all replicas reach: a single server, or a Service in front of its primary; no
/// cluster of shards. It holds a few bytes for each caller of the last minutes, under keys that begin with
/// `mcp-connectors:<namespace>/<name>:`, and nothing that has to be kept. A call waits at most 50 ms for it. While it can't be
/// asked, each replica counts by itself, and says so at `/status`, in `mcp_shared_rate_limit_available` and in its log.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!(has(self.insecurePlaintext) && self.insecurePlaintext && has(self.caBundle))")
    .message("caBundle has no meaning without TLS: remove it, or insecurePlaintext"))]
#[serde(rename_all = "camelCase")]
pub struct RedisSpec {
    /// Host and port, such as `redis.limits.svc:6379`. With `network.egress` `Derived` and `CIDRs` the pods may connect to
    /// it as to the platform.
    #[schemars(length(min = 1, max = 259))]
    #[x_kube(validation = Rule::new(r"self.matches('^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$')")
        .message("address must be a host and a port, such as redis.limits.svc:6379"))]
    pub address: String,

    /// Certificates that its certificate is verified with, instead of the public authorities.
    pub ca_bundle: Option<CaBundle>,

    /// Connects without TLS. The password then crosses the network in clear text. Defaults to false.
    pub insecure_plaintext: Option<bool>,

    /// The CredentialSource with the field `password`, and with `username` where it is not the default user. Its `hosts` must
    /// name the host of `address`, and it must be a `secret`. Left out, Redis is not signed in to.
    pub credentials: Option<CredentialsReference>,
}

impl RedisSpec {
    /// The address as a URL, so that it is checked like every other. Its scheme says nothing.
    #[must_use]
    pub fn as_url(&self) -> PlatformUrl {
        PlatformUrl(format!("https://{}", self.address))
    }
}

/// When a caller that makes the same call over and over is warned, and refused. Tools that are made to be asked again, such
/// as `check_jenkins_connector`, are exempt. Agents that share a ServiceAccount are one caller, so leave room for each of them.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("(has(self.warnAfter) ? self.warnAfter : 2) <= (has(self.refuseAfter) ? self.refuseAfter : 5)")
    .message("warnAfter (2 by default) may not be more than refuseAfter (5 by default)"))]
#[serde(rename_all = "camelCase")]
pub struct RepeatsSpec {
    /// Whether repeated calls are looked for. Defaults to true.
    pub enabled: Option<bool>,

    /// Time within which identical calls are counted. 1s to 1h, 1m by default.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')")
        .message("window must be between 1s and 1h"))]
    pub window: Option<ApiDuration>,

    /// Identical calls after which the answers carry a warning. 1 to 50, 2 by default: the third is warned of.
    #[schemars(range(min = 1, max = 50))]
    pub warn_after: Option<i32>,

    /// Identical calls after which further ones are refused. 1 to 50, 5 by default: the sixth is refused.
    #[schemars(range(min = 1, max = 50))]
    pub refuse_after: Option<i32>,
}

/// Answers that are given again without asking the platform.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CacheSpec {
    /// Whether answers are kept. Defaults to true.
    pub enabled: Option<bool>,

    /// Bytes of the answers that one replica keeps. 65536 to 67108864, 8388608 by default.
    #[schemars(range(min = 65536, max = 67_108_864))]
    pub max_bytes: Option<i32>,
}

/// Bounds of the way to the platform, of one replica. What doesn't fit is refused with the advice when to come back.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformLimitsSpec {
    /// Requests to the platform at a time. 1 to 1000; by default 10, but 8 to CircleCI and CloudWatch (half as many to its
    /// logs), 6 to Argo CD, whose lists cost it seconds, and 4 to Jenkins, where one controller does everything.
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent_requests: Option<i32>,

    /// Requests that may wait for their turn, a second at most. 0 to 1000, 20 by default.
    #[schemars(range(min = 0, max = 1000))]
    pub max_queued_requests: Option<i32>,

    /// Requests to the platform a minute. 1 to 60000. Left out, there is no such bound, but the platform's own refusals
    /// (429) are learnt from: requests are sent more slowly for a while, and not at all before the time that it names.
    #[schemars(range(min = 1, max = 60_000))]
    pub requests_per_minute: Option<i32>,

    /// Time that one attempt of a request may take, within the time of the call. 1s to 60s; by default 10s for Vault and 30s
    /// for all others, whose answers may take long under load.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('60s')")
        .message("requestTimeout must be between 1s and 60s"))]
    pub request_timeout: Option<ApiDuration>,

    /// Attempts of one request, the first included. What may have been carried out is never sent again, unless it
    /// changes nothing; and no more than a fifth of all requests are. 1 to 5, 4 by default.
    #[schemars(range(min = 1, max = 5))]
    pub max_attempts: Option<i32>,

    /// When the circuit breaker opens, so that a platform that fails is left alone for a while.
    pub breaker: Option<BreakerSpec>,
}

/// When the circuit breaker opens. It stays open for a second, twice as long after each trial that fails, up to a minute;
/// a health probe that succeeds closes it.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BreakerSpec {
    /// Failures in a row. 1 to 100, 7 by default.
    #[schemars(range(min = 1, max = 100))]
    pub consecutive_failures: Option<i32>,

    /// Percent of failures among the requests of the last half minute, from 20 of them on. 1 to 100, 50 by default.
    #[schemars(range(min = 1, max = 100))]
    pub failure_percent: Option<i32>,
}
