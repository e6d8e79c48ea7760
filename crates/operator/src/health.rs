//! Whether the operator makes progress: what `/livez` and `/readyz` answer from.
//!
//! A watch of an idle kind tells nothing for hours, so its events say nothing about whether it lives. Its requests do:
//! the API server ends each after about five minutes, and a living watch asks again. They are seen at the HTTP client,
//! below everything that could wedge.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use tower::{Layer, Service};

/// kube asks for watches of 290 s and gives up on a silent one after 5 s more; twice that without an answer is a watch
/// that doesn't come back by itself.
pub(super) const WATCH_PATIENCE: Duration = Duration::from_secs(2 * 295);

#[derive(Debug)]
struct Watch {
    kind: &'static str,
    /// The last segment of its path in the API, such as `mcpconnectors`.
    plural: String,
    listed: bool,
    answered: Instant,
    last_event: Option<Instant>,
}

/// The state of every watch. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WatchHealth(Arc<Mutex<Vec<Watch>>>);

impl WatchHealth {
    fn watches(&self) -> MutexGuard<'_, Vec<Watch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a watch.
    pub fn register(&self, kind: &'static str, plural: String) {
        let watch = Watch { kind, plural, listed: false, answered: Instant::now(), last_event: None };
        self.watches().push(watch);
    }

    /// A watch told something, so its list is whole or being filled.
    pub fn moved(&self, kind: &'static str, listed: bool) {
        if let Some(watch) = self.watches().iter_mut().find(|watch| watch.kind == kind) {
            watch.listed |= listed;
            watch.last_event = Some(Instant::now());
        }
    }

    /// The API server answered a list or a watch.
    fn answered(&self, plural: &str) {
        if let Some(watch) = self.watches().iter_mut().find(|watch| watch.plural == plural) {
            watch.answered = Instant::now();
        }
    }

    /// Kinds whose watch has not been answered for longer than a living one would let pass.
    pub fn stuck(&self) -> Vec<&'static str> {
        self.stuck_at(Instant::now())
    }

    /// The same at another time.
    pub(super) fn stuck_at(&self, now: Instant) -> Vec<&'static str> {
        let is_stuck = |watch: &&Watch| now.saturating_duration_since(watch.answered) > WATCH_PATIENCE;
        self.watches().iter().filter(is_stuck).map(|watch| watch.kind).collect()
    }

    /// Kinds of which the first list isn't whole yet.
    pub fn starting(&self) -> Vec<&'static str> {
        self.watches().iter().filter(|watch| !watch.listed).map(|watch| watch.kind).collect()
    }

    /// Seconds since each watch last told something.
    pub fn last_events(&self) -> Vec<(&'static str, f64)> {
        let seconds = |watch: &Watch| Some((watch.kind, watch.last_event?.elapsed().as_secs_f64()));
        self.watches().iter().filter_map(seconds).collect()
    }
}

impl<S> Layer<S> for WatchHealth {
    type Service = Pulse<S>;

    fn layer(&self, inner: S) -> Pulse<S> {
        Pulse { inner, health: self.clone() }
    }
}

/// A client's HTTP service that notes which lists and watches the API server answers.
#[derive(Clone, Debug)]
pub struct Pulse<S> {
    inner: S,
    health: WatchHealth,
}

impl<S, B, R> Service<Request<B>> for Pulse<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let collection = (request.method() == Method::GET)
            .then(|| request.uri().path().rsplit('/').next().unwrap_or_default().to_owned());
        let health = self.health.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            if let Some(plural) = collection.filter(|_| response.status().is_success()) {
                health.answered(&plural);
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt;

    async fn ask(health: &WatchHealth, path: &str, status: u16) {
        let answer = move |_: Request<()>| async move { Response::builder().status(status).body(()) };
        let request = Request::builder().uri(path).body(()).unwrap();
        health.layer(tower::service_fn(answer)).oneshot(request).await.unwrap();
    }

    #[tokio::test]
    async fn a_watch_lives_as_long_as_the_api_server_answers_it() {
        let health = WatchHealth::default();
        health.register("Pod", "pods".into());
        health.register("Service", "services".into());
        let before = health.watches()[0].answered;
        let later = before + WATCH_PATIENCE + Duration::from_secs(1);
        assert_eq!(health.stuck_at(later), ["Pod", "Service"]);
        assert!(health.stuck().is_empty());

        while Instant::now() <= health.watches()[1].answered {
            tokio::task::yield_now().await;
        }
        ask(&health, "/api/v1/pods?watch=true", 200).await;
        ask(&health, "/api/v1/services?watch=true", 503).await;
        let watches = health.watches();
        assert!(watches[0].answered > before, "an answered watch lives");
        assert!(watches[1].answered < watches[0].answered, "a refused one doesn't");
    }

    #[test]
    fn ready_once_every_list_is_whole() {
        let health = WatchHealth::default();
        assert!(health.starting().is_empty(), "a standby watches nothing and is ready");
        health.register("Pod", "pods".into());
        health.moved("Pod", false);
        assert_eq!(health.starting(), ["Pod"]);
        health.moved("Pod", true);
        assert!(health.starting().is_empty());
    }
}
