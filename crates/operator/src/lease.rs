//! One leader among the operator's replicas, by a Lease. No crate for it works with kube 5, and those there are don't fence.
//!
//! - The Lease is only ever *replaced*, guarded by its resourceVersion: of two who try, one gets a conflict.
//! - Whether another's Lease has run out is judged by how long this process has seen it unchanged, on its own monotonic
//!   clock. Clocks of two machines are never compared.
//! - Being leader has a deadline of its own, shorter than the Lease. The [`Fence`] stands in front of every write of this
//!   process and closes at that deadline, so that a leader which slept or lost its network writes nothing when it wakes,
//!   even in the middle of a reconcile.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::{Either, Ready, ready};
use http::{Method, Request};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use tower::{BoxError, Layer, Service};
use tracing::{info, warn};

use super::cache::root_cause;

/// How long a Lease lasts that nobody renews. With one look at it before and one after, another replica leads within 15 s
/// of a leader's sudden end.
const LEASE_DURATION: Duration = Duration::from_secs(12);
/// A leader that could not renew for so long stops. Shorter than the Lease, so that it has stopped before another starts.
const RENEW_DEADLINE: Duration = Duration::from_secs(8);
/// Time between two renewals.
const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// Time between two looks at somebody else's Lease, and between two tries after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Time that one request may take: several fit into the deadline.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this replica is not the leader, so it writes nothing")]
pub struct NotLeader;

/// Lets writes through while this process is the leader. Cheap to clone; closed at first.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<Mutex<Option<Instant>>>);

impl Fence {
    /// Whether writes may pass.
    pub fn is_open(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    fn open_until(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Fenced<S> {
        Fenced { inner, fence: self.clone() }
    }
}

/// A client's HTTP service behind a [`Fence`].
#[derive(Clone, Debug)]
pub struct Fenced<S> {
    inner: S,
    fence: Fence,
}

impl<S, B> Service<Request<B>> for Fenced<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future =
        Either<futures::future::MapErr<S::Future, fn(S::Error) -> BoxError>, Ready<Result<S::Response, BoxError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.method() == Method::GET || self.fence.is_open() {
            let into: fn(S::Error) -> BoxError = Into::into;
            Either::Left(futures::TryFutureExt::map_err(self.inner.call(request), into))
        } else {
            Either::Right(ready(Err(NotLeader.into())))
        }
    }
}

/// What was last seen of somebody else's Lease.
#[derive(Debug, Default)]
struct Observed {
    version: Option<String>,
    since: Option<Instant>,
}

impl Observed {
    /// How long the Lease has been seen in this version.
    fn age(&mut self, version: Option<String>, now: Instant) -> Duration {
        if self.since.is_none() || self.version != version {
            *self = Self { version, since: Some(now) };
        }
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

/// One replica's way to the Lease.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    fence: Fence,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the API server did not answer in time")]
    Timeout,
    #[error("failed to use the Lease")]
    Api(#[source] kube::Error),
}

impl Candidate {
    /// A candidate for a Lease. `client` must not be behind the fence.
    pub fn new(client: Client, namespace: &str, name: String, identity: String, fence: Fence) -> Self {
        Self { api: Api::namespaced(client, namespace), name, identity, fence }
    }

    /// Waits until this process is the leader, however long it takes.
    pub async fn acquire(&self) {
        let mut observed = Observed::default();
        let mut told = None;
        let mut failing = None;
        loop {
            let outcome = self.try_acquire(&mut observed).await;
            // An API server that is away for an hour is worth a line, not one a second.
            let cause = outcome.as_ref().err().map(|error| root_cause(error).to_string());
            if let Some(cause) = &cause
                && failing.as_ref() != Some(cause)
            {
                warn!(%cause, "taking the Lease failed; it is tried again until it succeeds");
            }
            failing = cause;
            match outcome {
                Ok(None) => {
                    info!(identity = %self.identity, "this replica is the leader");
                    return;
                }
                Ok(Some(holder)) => {
                    if told.as_ref() != Some(&holder) {
                        info!(%holder, "another replica is the leader; this one stands by");
                        told = Some(holder);
                    }
                }
                Err(_) => {}
            }
            tokio::time::sleep(RETRY_INTERVAL.mul_f64(rand::random_range(0.8..=1.0))).await;
        }
    }

    /// Renews the Lease until it is lost or couldn't be renewed in time. The fence is closed when this returns.
    pub async fn hold(&self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RENEW_INTERVAL).await;
            let outcome = self.renew().await;
            match outcome {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => {
                    warn!("another replica has taken the Lease");
                    break;
                }
                Err(error) => {
                    warn!(cause = %root_cause(&error), "renewing the Lease failed");
                    if renewed.elapsed() >= RENEW_DEADLINE {
                        break;
                    }
                }
            }
        }
        self.fence.close();
    }

    /// Gives the Lease back, so that another replica needn't wait until it has run out.
    pub async fn release(&self) {
        self.fence.close();
        let released = async {
            let mut lease = self.get().await?.filter(|lease| self.is_ours(lease));
            if let Some(lease) = &mut lease {
                if let Some(spec) = &mut lease.spec {
                    spec.holder_identity = None;
                    spec.lease_duration_seconds = Some(1);
                }
                self.replace(lease).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = released.await {
            warn!(cause = %root_cause(&error), "giving the Lease back failed; it runs out by itself");
        }
    }

    /// Nothing if this process is the leader now; else who is.
    async fn try_acquire(&self, observed: &mut Observed) -> Result<Option<String>, Error> {
        let asked = Instant::now();
        let Some(lease) = self.get().await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(None)),
            };
            return match bounded(self.api.create(&PostParams::default(), &lease)).await {
                Ok(_) => {
                    self.fence.open_until(asked + RENEW_DEADLINE);
                    Ok(None)
                }
                Err(Error::Api(kube::Error::Api(status))) if status.is_already_exists() => Ok(Some("unknown".into())),
                Err(error) => Err(error),
            };
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        let lasts = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
        let is_free = match &holder {
            None => true,
            Some(holder) if *holder == self.identity => true,
            Some(_) => observed.age(lease.resource_version(), asked) > Duration::from_secs(lasts),
        };
        if is_free && self.take(lease).await? {
            return Ok(None);
        }
        Ok(Some(holder.unwrap_or_else(|| "unknown".into())))
    }

    /// Whether it could be renewed; not if somebody else holds it.
    async fn renew(&self) -> Result<bool, Error> {
        match self.get().await? {
            Some(lease) if self.is_ours(&lease) => self.take(lease).await,
            _ => Ok(false),
        }
    }

    /// Writes ourselves into a Lease that was just read. Not if somebody was quicker.
    async fn take(&self, mut lease: Lease) -> Result<bool, Error> {
        let asked = Instant::now();
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        let taken = self.replace(&lease).await?;
        if taken {
            self.fence.open_until(asked + RENEW_DEADLINE);
        }
        Ok(taken)
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.identity)
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let is_ours = before.and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.identity);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            renew_time: Some(now.clone()),
            acquire_time: before.filter(|_| is_ours).and_then(|spec| spec.acquire_time.clone()).or(Some(now)),
            lease_transitions: before.map(|spec| spec.lease_transitions.unwrap_or(0) + i32::from(!is_ours)),
            ..LeaseSpec::default()
        }
    }

    async fn get(&self) -> Result<Option<Lease>, Error> {
        bounded(self.api.get_opt(&self.name)).await
    }

    async fn replace(&self, lease: &Lease) -> Result<bool, Error> {
        match bounded(self.api.replace(&self.name, &PostParams::default(), lease)).await {
            Ok(_) => Ok(true),
            Err(Error::Api(kube::Error::Api(status))) if status.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

async fn bounded<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    tokio::time::timeout(REQUEST_TIMEOUT, request).await.map_err(|_| Error::Timeout)?.map_err(Error::Api)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt;

    #[test]
    fn a_lease_runs_out_only_when_it_was_seen_unchanged_for_its_time() {
        let mut observed = Observed::default();
        let start = Instant::now();
        let version = |text: &str| Some(text.to_owned());
        assert_eq!(observed.age(version("1"), start), Duration::ZERO);
        assert_eq!(observed.age(version("1"), start + Duration::from_secs(14)), Duration::from_secs(14));
        assert_eq!(observed.age(version("2"), start + Duration::from_secs(16)), Duration::ZERO, "it was renewed");
        assert_eq!(observed.age(version("2"), start + Duration::from_secs(40)), Duration::from_secs(24));
    }

    #[tokio::test]
    async fn a_closed_fence_lets_reads_through_and_no_write() {
        let fence = Fence::default();
        let service = fence.layer(tower::service_fn(|_: Request<()>| async { Ok::<_, BoxError>("answered") }));
        let send = |method: Method| {
            let request = Request::builder().method(method).body(()).unwrap();
            service.clone().oneshot(request)
        };
        assert_eq!(send(Method::GET).await.unwrap(), "answered");
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(send(method).await.unwrap_err().is::<NotLeader>());
        }
        fence.open_until(Instant::now() + Duration::from_secs(60));
        assert_eq!(send(Method::PATCH).await.unwrap(), "answered");
        fence.open_until(Instant::now());
        assert!(send(Method::PATCH).await.is_err(), "the deadline has passed");
    }
}
