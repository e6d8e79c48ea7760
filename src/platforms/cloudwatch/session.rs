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
    error::{Error, of_sdk},
    keys::{FileKeys, Keys, SharedKeys},
    spec::{CloudWatchSpec, Service},
    transport::{Manner, Transport, classify},
};
use crate::{
    outbound::{Outbound, OutboundLimits, OutboundSettings, OutboundState, RequestError},
    platforms::{ConnectError, PlatformEnvironment},
};

/// Time that a request has to end by itself after its deadline.
const GRACE: Duration = Duration::from_millis(50);

/// AWS, as the connector's identity may use it.
pub(super) struct Session {
    pub(super) metrics: aws_sdk_cloudwatch::Client,
    pub(super) logs: aws_sdk_cloudwatchlogs::Client,
    pub(super) sts: aws_sdk_sts::Client,
    pub(super) keys: Arc<Keys>,
    ways: [Outbound; 3],
}

impl Session {
    /// Makes the clients. No connection is made.
    ///
    /// # Errors
    /// When a URL, the CA bundle or the proxy can't be used.
    pub(super) fn new(spec: &CloudWatchSpec, environment: PlatformEnvironment) -> Result<Self, ConnectError> {
        let PlatformEnvironment { credentials, ca_pem, addresses, proxy, limits, metrics } = environment;
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

        let config = |way: &Outbound, url: String, keys: SharedCredentialsProvider| {
            SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(spec.region.clone()))
                .endpoint_url(url)
                .credentials_provider(keys)
                // Keys rotate, and sessions are kept in `keys`.
                .identity_cache(IdentityCache::no_cache())
                .http_client(Transport(way.clone()))
                // Retries, timeouts and what goes with them are those of `outbound`.
                .retry_config(RetryConfig::disabled())
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
                .build()
        };
        let files = FileKeys(credentials);
        let of_files = SharedCredentialsProvider::new(files.clone());
        let for_roles = aws_sdk_sts::Client::new(&config(&sts, sts_url.clone(), of_files));
        let keys = Arc::new(Keys::new(files, spec.assume_role.clone(), for_roles));
        let shared = || SharedCredentialsProvider::new(SharedKeys(Arc::clone(&keys)));
        Ok(Self {
            metrics: aws_sdk_cloudwatch::Client::new(&config(&monitoring, monitoring_url, shared())),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config(&logs, logs_url, shared())),
            sts: aws_sdk_sts::Client::new(&config(&sts, sts_url, shared())),
            keys,
            ways: [monitoring, logs, sts],
        })
    }

    /// State of the ways to the services.
    pub(super) fn outbound(&self) -> Vec<OutboundState> {
        self.ways.iter().map(Outbound::state).collect()
    }

    /// Makes a call. `send` makes and sends the request, a second time with other keys if AWS refuses the first ones.
    pub(super) async fn call<T, E, R>(&self, manner: Manner, send: impl Fn() -> R) -> Result<T, Error>
    where
        R: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let mark = self.keys.mark();
        match once(manner, &send).await {
            Err(error) if error.is_of_keys() => {
                let renewed = timeout_at(manner.deadline, self.keys.renew(mark, manner.deadline)).await;
                if renewed == Ok(true) { once(manner, &send).await } else { Err(error) }
            }
            outcome => outcome,
        }
    }
}

async fn once<T, E, R>(manner: Manner, send: &impl Fn() -> R) -> Result<T, Error>
where
    R: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: ProvideErrorMetadata + StdError + 'static,
{
    if manner.deadline <= Instant::now() {
        return Err(Error::Request(RequestError::Timeout));
    }
    // Waiting for a role's session has no end of its own. A request has, and its end must be seen by the circuit breaker.
    match timeout_at(manner.deadline + GRACE, manner.during(Box::pin(send()))).await {
        Ok(outcome) => outcome.map_err(|error| of_sdk(&error)),
        Err(_) => Err(Error::Request(RequestError::Timeout)),
    }
}
