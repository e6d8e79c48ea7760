//! The clients, made once, and calls in the connector's own name: each is signed with the keys of now, and made once more
//! with newer ones when AWS refuses them.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_cloudwatch::config::{IdentityCache, StalledStreamProtectionConfig, retry::RetryConfig};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::time::{Instant, timeout_at};

use super::{
    clock::Clock,
    error::{Error, Failure, of_sdk},
    issuer::Issuer,
    keys::{Base, FileKeys, Keys, Sessions, SharedBase, SharedKeys},
    place::Place,
    transport::{Manner, Transport, classify},
};
use api::{
    endpoint::{AddressPolicy, PlatformUrl},
    platform::cloudwatch::{CloudWatchSpec, Service},
};
use credentials::identity::Identity;
use kit::{ConnectError, PlatformEnvironment};
use outbound::{Outbound, OutboundLimits, OutboundSettings, OutboundState, RequestError, classify_by_status};

/// Time that a request has to end by itself after its deadline.
const GRACE: Duration = Duration::from_millis(50);

/// AWS, as the connector's identity may use it.
pub(super) struct Session {
    pub(super) metrics: aws_sdk_cloudwatch::Client,
    pub(super) logs: aws_sdk_cloudwatchlogs::Client,
    pub(super) sts: aws_sdk_sts::Client,
    pub(super) keys: Arc<Keys>,
    pub(super) clock: Arc<Clock>,
    pub(super) place: Place,
    ways: Vec<Outbound>,
}

impl Session {
    /// Makes the clients. No connection is made.
    ///
    /// # Errors
    /// When a URL, the CA bundle or the proxy can't be used.
    pub(super) fn new(spec: &CloudWatchSpec, environment: PlatformEnvironment) -> Result<Self, ConnectError> {
        let PlatformEnvironment { credentials, identity, ca_pem, addresses, proxy, limits, metrics } = environment;
        let half = OutboundLimits { max_running: limits.max_running.div_ceil(2), ..limits };
        let way = |service, name, limits| {
            let endpoint = spec.service(service, addresses).map_err(ConnectError::Endpoint)?;
            let url = endpoint.url.as_str().trim_end_matches('/').to_owned();
            let settings = OutboundSettings {
                endpoint,
                ca_pem: ca_pem.clone(),
                addresses,
                proxy: proxy.clone(),
                name,
                classify,
                client_certificate: None,
                limits,
                metrics: Arc::clone(&metrics),
            };
            Ok::<_, ConnectError>((Outbound::new(settings).map_err(ConnectError::Outbound)?, url))
        };
        let (monitoring, monitoring_url) = way(Service::Monitoring, "cloudWatch", limits)?;
        let (logs, logs_url) = way(Service::Logs, "cloudWatch-logs", half)?;
        let (sts, sts_url) = way(Service::Sts, "cloudWatch-sts", half)?;

        let to_node = identity.as_ref().and_then(|identity| node_url(identity, addresses)).map(|(url, addresses)| {
            Outbound::new(OutboundSettings {
                endpoint: PlatformUrl(url).endpoint(true, addresses).map_err(ConnectError::Endpoint)?,
                // It is asked on the node, without TLS, and by no proxy.
                ca_pem: None,
                addresses,
                proxy: None,
                name: "cloudWatch-identity",
                classify: classify_by_status,
                client_certificate: None,
                limits: half,
                metrics: Arc::clone(&metrics),
            })
            .map_err(ConnectError::Outbound)
        });
        let to_node = to_node.transpose()?;

        let clock = Arc::new(Clock::default());
        let config = |way: &Outbound, url: String, keys: Option<SharedCredentialsProvider>| {
            let mut builder = SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(spec.region.clone()))
                .endpoint_url(url)
                // Keys rotate, and sessions are kept in `keys`.
                .identity_cache(IdentityCache::no_cache())
                .http_client(Transport { way: way.clone(), clock: Arc::clone(&clock) })
                // Retries, timeouts and what goes with them are those of `outbound`.
                .retry_config(RetryConfig::disabled())
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
            builder.set_credentials_provider(keys);
            builder.build()
        };
        let asked_with = |keys| aws_sdk_sts::Client::new(&config(&sts, sts_url.clone(), keys));
        let base = Arc::new(match identity {
            None => Base::Files(FileKeys(credentials)),
            Some(identity) => Base::Identity(Box::new(Sessions::new(Issuer::of_identity(
                identity,
                asked_with(None),
                to_node.clone(),
            )))),
        });
        let of_base = SharedCredentialsProvider::new(SharedBase(Arc::clone(&base)));
        let role = spec.assume_role.clone().map(|spec| Issuer::Role { spec, sts: asked_with(Some(of_base)) });
        let keys = Arc::new(Keys::new(base, role));
        let shared = || Some(SharedCredentialsProvider::new(SharedKeys(Arc::clone(&keys))));
        Ok(Self {
            metrics: aws_sdk_cloudwatch::Client::new(&config(&monitoring, monitoring_url, shared())),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config(&logs, logs_url, shared())),
            sts: aws_sdk_sts::Client::new(&config(&sts, sts_url, shared())),
            keys,
            clock,
            place: Place::new(spec.region.clone()),
            ways: [monitoring, logs, sts].into_iter().chain(to_node).collect(),
        })
    }

    /// Stops an Insights query. Tells whether it ran: AWS refuses to stop one that has ended.
    pub(super) async fn stop_query(&self, id: &str, manner: Manner) -> Result<bool, Failure> {
        match self.call(manner, || self.logs.stop_query().query_id(id).send()).await {
            Ok(stopped) => Ok(stopped.success()),
            Err(Failure { error: Error::BadRequest(_), .. }) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// State of the ways to the services: CloudWatch, CloudWatch Logs, STS, and the node's own, where one is asked.
    pub(super) fn outbound(&self) -> Vec<OutboundState> {
        self.ways.iter().map(Outbound::state).collect()
    }

    /// Makes a call. `send` makes and sends the request, a second time with other keys if AWS refuses the first ones.
    pub(super) async fn call<T, E, R>(&self, manner: Manner, send: impl Fn() -> R) -> Result<T, Failure>
    where
        R: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let mark = self.keys.mark();
        match once(manner, &send).await {
            Err(failure) if failure.error.is_of_keys() => {
                let renewed = timeout_at(manner.deadline, self.keys.renew(mark, manner.deadline)).await;
                if renewed == Ok(true) { once(manner, &send).await } else { Err(failure) }
            }
            outcome => outcome,
        }
    }
}

/// Where the node's service for an identity is asked, if one is, and the one address that it may have. On one machine, what
/// stands in for it is on loopback.
fn node_url(identity: &Identity, addresses: AddressPolicy) -> Option<(String, AddressPolicy)> {
    let on_node = |policy| if addresses == AddressPolicy::Loopback { AddressPolicy::Loopback } else { policy };
    match identity {
        Identity::WebIdentity { .. } | Identity::PodIdentity(None) => None,
        Identity::PodIdentity(Some(agent)) => {
            Some((agent.url.origin().ascii_serialization(), on_node(AddressPolicy::PodIdentityAgent)))
        }
        Identity::InstanceProfile { url } => Some((url.clone(), on_node(AddressPolicy::InstanceMetadata))),
    }
}

async fn once<T, E, R>(manner: Manner, send: &impl Fn() -> R) -> Result<T, Failure>
where
    R: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: ProvideErrorMetadata + StdError + 'static,
{
    if manner.deadline <= Instant::now() {
        return Err(Error::Request(RequestError::Timeout).into());
    }
    // Waiting for a role's session has no end of its own. A request has, and its end must be seen by the circuit breaker.
    match timeout_at(manner.deadline + GRACE, manner.during(Box::pin(send()))).await {
        Ok(outcome) => outcome.map_err(|error| of_sdk(&error)),
        Err(_) => Err(Error::Request(RequestError::Timeout).into()),
    }
}
