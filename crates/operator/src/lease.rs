//! One leader among the operator's replicas, by a Lease. No crate for it works with kube 5, and those there are don't fence.
//!
//! - The Lease is only ever *replaced*, guarded by its resourceVersion: of two who try, one gets a conflict.
//! - Whether another's Lease has run out is judged by how long this process has seen it unchanged, on its own monotonic
//!   clock. Clocks of two machines are never compared.
//! - Being leader has a deadline of its own, shorter than the Lease. The [`Fence`] stands in front of every write of this
//!   process and closes at that deadline, so that a leader which slept or lost its network writes nothing when it wakes,
//!   even in the middle of a reconcile.
//! - Renewing has a thread of its own, and is one request. A process that gets a fiftieth of a core, which is what it asks
//!   for, on a node that is busy takes seconds for what others do in milliseconds: behind its reconciles, a renewal came too
//!   late although it had been written.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::{Either, Ready, ready};
use http::{Method, Request};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
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
/// Time that one request may take: two renewals fit into the deadline.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(2500);

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

/// This replica's part in the election, which goes on in a thread of its own.
pub struct Election {
    /// Whether this replica leads. Closed when it no longer does.
    leads: watch::Receiver<bool>,
    stop: CancellationToken,
}

impl Election {
    /// Stands for election with the Lease `name` of the namespace. `config` is that of a client which is not behind the fence.
    ///
    /// # Errors
    /// When the thread or its client can't be made.
    pub async fn begin(
        config: Config,
        namespace: String,
        name: String,
        identity: String,
        fence: Fence,
    ) -> Result<Self, StartError> {
        let (leading, leads) = watch::channel(false);
        let (started, start) = oneshot::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let body = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(StartError::Thread(error)))),
            };
            runtime.block_on(async move {
                let client = match Client::try_from(config) {
                    Ok(client) => client,
                    Err(error) => return drop(started.send(Err(StartError::Client(Box::new(error))))),
                };
                drop(started.send(Ok(())));
                Candidate::new(client, &namespace, name, identity, fence).stand(&leading, &stopped).await;
            });
        };
        std::thread::Builder::new().name("lease".into()).spawn(body).map_err(StartError::Thread)?;
        // Nothing is sent by a thread that panicked.
        start.await.map_err(|_| StartError::Thread(std::io::Error::other("it ended")))??;
        Ok(Self { leads, stop })
    }

    /// Waits until this process is the leader, however long it takes.
    pub async fn won(&self) {
        // The other side of a closed channel is told by `lost`.
        let mut leads = self.leads.clone();
        let _closed = leads.wait_for(|leads| *leads).await;
    }

    /// Waits until this process no longer is the leader. The fence is closed then.
    pub async fn lost(&self) {
        let mut leads = self.leads.clone();
        while leads.changed().await.is_ok() {}
    }

    /// Gives the Lease back, so that another replica needn't wait until it has run out.
    pub async fn release(&self) {
        self.stop.cancel();
        self.lost().await;
    }
}

/// Why a replica can't stand for election.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The thread didn't start.
    #[error("failed to start the thread that renews the Lease")]
    Thread(#[source] std::io::Error),
    /// The client can't be made.
    #[error("failed to make the client of the Kubernetes API")]
    Client(#[source] Box<kube::Error>),
}

/// One replica's way to the Lease.
struct Candidate {
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
    fn new(client: Client, namespace: &str, name: String, identity: String, fence: Fence) -> Self {
        Self { api: Api::namespaced(client, namespace), name, identity, fence }
    }

    /// Waits for the Lease and holds it until it is lost, or given back because of `stop`.
    async fn stand(&self, leading: &watch::Sender<bool>, stop: &CancellationToken) {
        let lead = async {
            self.acquire().await;
            leading.send_replace(true);
            self.hold().await;
        };
        if stop.run_until_cancelled(lead).await.is_none() {
            self.release().await;
        }
    }

    async fn acquire(&self) {
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

    /// Renews the Lease until another has it, or it couldn't be renewed in time. The fence is closed when this returns.
    async fn hold(&self) {
        let mut held = None;
        let mut pause = RENEW_INTERVAL;
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.renew(&mut held).await {
                Ok(true) => RENEW_INTERVAL,
                Ok(false) => {
                    warn!("another replica has taken the Lease");
                    break;
                }
                Err(error) => {
                    warn!(cause = %root_cause(&error), "renewing the Lease failed");
                    if !self.fence.is_open() {
                        break;
                    }
                    RETRY_INTERVAL / 2
                }
            };
        }
        self.fence.close();
    }

    /// Gives the Lease back, so that another replica needn't wait until it has run out.
    async fn release(&self) {
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
        if is_free && self.take(lease).await?.is_some() {
            return Ok(None);
        }
        Ok(Some(holder.unwrap_or_else(|| "unknown".into())))
    }

    /// Whether it could be renewed; not if somebody else holds it. `held`: the Lease as this process wrote it last.
    async fn renew(&self, held: &mut Option<Lease>) -> Result<bool, Error> {
        if let Some(lease) = held.take() {
            *held = self.take(lease).await?;
        }
        // At first; and when the Lease is another one than we know, which it also is when we were not told that we wrote it.
        if held.is_none()
            && let Some(lease) = self.get().await?.filter(|lease| self.is_ours(lease))
        {
            *held = self.take(lease).await?;
        }
        Ok(held.is_some())
    }

    /// Writes ourselves into a Lease, and returns it as it is now. Nothing if somebody has written it since it was read.
    async fn take(&self, mut lease: Lease) -> Result<Option<Lease>, Error> {
        let asked = Instant::now();
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        let taken = self.replace(&lease).await?;
        if taken.is_some() {
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

    async fn replace(&self, lease: &Lease) -> Result<Option<Lease>, Error> {
        match bounded(self.api.replace(&self.name, &PostParams::default(), lease)).await {
            Ok(written) => Ok(Some(written)),
            Err(Error::Api(kube::Error::Api(status))) if status.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

async fn bounded<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    tokio::time::timeout(REQUEST_TIMEOUT, request).await.map_err(|_| Error::Timeout)?.map_err(Error::Api)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;

    /// An API server that holds one Lease. It writes at once, and tells so after the `delay` of the number of the write.
    #[derive(Clone)]
    struct ApiServer {
        lease: Arc<Mutex<(u64, Value)>>,
        requests: Arc<Mutex<Vec<Method>>>,
        delay: fn(u64) -> Duration,
    }

    impl ApiServer {
        fn new(delay: fn(u64) -> Duration) -> Self {
            Self { lease: Arc::default(), requests: Arc::default(), delay }
        }

        /// What it does at once, whenever it tells of it: the Lease as it is then, and the number of the write, if it is one.
        fn answer(&self, method: &Method, body: &Value) -> (u16, Value, Option<u64>) {
            self.requests.lock().unwrap().push(method.clone());
            let (version, lease) = &mut *self.lease.lock().unwrap();
            if *method == Method::GET {
                return if lease.is_null() {
                    (404, json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"}), None)
                } else {
                    (200, lease.clone(), None)
                };
            }
            if *method == Method::PUT && body["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"] {
                return (409, json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict"}), None);
            }
            *version += 1;
            *lease = body.clone();
            lease["metadata"]["resourceVersion"] = version.to_string().into();
            (200, lease.clone(), Some(*version))
        }

        fn candidate(&self, fence: &Fence) -> Candidate {
            let server = self.clone();
            let answer = move |request: Request<Body>| {
                let server = server.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();
                    let (status, answer, write) = server.answer(&parts.method, &body);
                    tokio::time::sleep(write.map_or(Duration::ZERO, server.delay)).await;
                    let answer = Full::new(Bytes::from(answer.to_string()));
                    Ok::<_, Infallible>(http::Response::builder().status(status).body(answer).unwrap())
                }
            };
            let client = Client::new(tower::service_fn(answer), "default");
            Candidate::new(client, "default", "operator".into(), "one".into(), fence.clone())
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

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

    #[tokio::test(start_paused = true)]
    async fn it_is_renewed_by_one_request_each_time() {
        let server = ApiServer::new(|_| Duration::from_millis(10));
        let fence = Fence::default();
        let candidate = server.candidate(&fence);
        candidate.acquire().await;
        assert!(fence.is_open());
        assert!(tokio::time::timeout(MINUTE, candidate.hold()).await.is_err(), "it was lost");
        assert!(fence.is_open());
        let requests = std::mem::take(&mut *server.requests.lock().unwrap());
        assert_eq!(requests[..3], [Method::GET, Method::POST, Method::GET], "looked for, made, and read once");
        assert!(requests[3..].iter().all(|method| method == Method::PUT), "{requests:?}");
        assert!((25..=30).contains(&requests[3..].len()), "{requests:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_was_made_and_told_too_late_loses_nothing() {
        // Of each three writes the first is told after a minute.
        let server = ApiServer::new(|write| if write % 3 == 0 { MINUTE } else { Duration::from_millis(10) });
        let fence = Fence::default();
        let candidate = server.candidate(&fence);
        candidate.acquire().await;
        let closed = async {
            while fence.is_open() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = candidate.hold() => panic!("it was lost"),
            () = closed => panic!("nothing could be written for a time"),
            () = tokio::time::sleep(10 * MINUTE) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_lost_when_nothing_is_answered_before_another_may_take_it() {
        let server = ApiServer::new(|write| if write < 3 { Duration::ZERO } else { 10 * MINUTE });
        let fence = Fence::default();
        let candidate = server.candidate(&fence);
        candidate.acquire().await;
        let begun = Instant::now();
        candidate.hold().await;
        // The second write was the last that is known of, and the third, which isn't, may have been made when it was sent.
        let last_known = RENEW_INTERVAL;
        assert!(begun.elapsed() >= last_known + RENEW_DEADLINE, "{:?}", begun.elapsed());
        assert!(begun.elapsed() < last_known + LEASE_DURATION, "{:?}", begun.elapsed());
        assert!(!fence.is_open());
        let puts = server.requests.lock().unwrap().iter().filter(|method| **method == Method::PUT).count();
        assert!(puts >= 2, "it was tried once only: {puts}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_lost_at_once_when_another_has_it() {
        let server = ApiServer::new(|_| Duration::from_millis(10));
        let fence = Fence::default();
        let candidate = server.candidate(&fence);
        candidate.acquire().await;
        let other = async {
            tokio::time::sleep(MINUTE).await;
            let (version, lease) = &mut *server.lease.lock().unwrap();
            *version += 1;
            lease["metadata"]["resourceVersion"] = version.to_string().into();
            lease["spec"]["holderIdentity"] = "another".into();
        };
        tokio::join!(candidate.hold(), other);
        assert!(!fence.is_open());
        assert_eq!(server.lease.lock().unwrap().1["spec"]["holderIdentity"], "another");
        // What is given back then is nobody's but the other's.
        candidate.release().await;
        assert_eq!(server.lease.lock().unwrap().1["spec"]["holderIdentity"], "another");
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_is_stopped_gives_it_back() {
        let server = ApiServer::new(|_| Duration::from_millis(10));
        let fence = Fence::default();
        let candidate = server.candidate(&fence);
        let (leading, mut leads) = watch::channel(false);
        let stop = CancellationToken::new();
        let stops = async {
            assert!(leads.wait_for(|leads| *leads).await.is_ok());
            tokio::time::sleep(MINUTE).await;
            assert!(fence.is_open());
            stop.cancel();
        };
        tokio::join!(candidate.stand(&leading, &stop), stops);
        assert!(!fence.is_open());
        assert!(server.lease.lock().unwrap().1["spec"].get("holderIdentity").is_none());
    }
}
