//! The wedge of kube's `Controller` (stackabletech/trino-operator#936), reproduced, and that it can't happen here.
//!
//! The API server below is away for a while, and then answers every request within a second, but for one kind that it goes
//! on refusing, as when a right is missing. A request has to be polled to make progress, and fails when it was not for
//! five seconds, as connection attempts with their deadlines do. Each refusal makes the `Controller` stop polling all its
//! watches for up to half a minute, so the good ones fail too, for ever.

use std::{convert::Infallible, pin::Pin, sync::atomic::AtomicUsize, sync::atomic::Ordering};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{Either, Full, StreamBody};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
};
use kube::{
    Client, ResourceExt,
    client::Body,
    runtime::{Controller, controller::Action},
};

use super::*;

/// How long the API server is away.
const OUTAGE: Duration = Duration::from_secs(60);
/// How long it takes to answer.
const LATENCY: Duration = Duration::from_secs(1);
/// How long a connection attempt may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How many watches there are.
const WATCHES: usize = 8;

type Silence = StreamBody<Pin<Box<dyn futures::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>>;

/// An API server with one ConfigMap. Counts the lists that it answered after the outage.
fn api_server(listed: Arc<AtomicUsize>) -> Client {
    let begin = tokio::time::Instant::now();
    let answer = move |request: Request<Body>| {
        let listed = Arc::clone(&listed);
        async move {
            let asked = tokio::time::Instant::now();
            let was_away = asked.duration_since(begin) < OUTAGE;
            if request.uri().path().ends_with("/secrets") {
                tokio::time::sleep(LATENCY / 10).await;
                return Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
            }
            tokio::time::sleep(LATENCY).await;
            if was_away || asked.elapsed() > DEADLINE {
                return Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
            }
            let body = if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
                let silence: Pin<Box<dyn futures::Stream<Item = _> + Send>> = Box::pin(stream::pending());
                Either::Left(Silence::new(silence))
            } else {
                listed.fetch_add(1, Ordering::Relaxed);
                let list = r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[
                    {"metadata":{"name":"one","namespace":"default","resourceVersion":"1","uid":"1"}}]}"#;
                Either::Right(Full::new(Bytes::from(list)))
            };
            Ok(Response::new(body))
        }
    };
    Client::new(tower::service_fn(answer), "default")
}

#[tokio::test(start_paused = true)]
async fn kubes_controller_can_stay_wedged_after_an_outage() {
    let listed = Arc::new(AtomicUsize::new(0));
    let client = api_server(Arc::clone(&listed));
    let api = || Api::<ConfigMap>::all(client.clone());
    let refused = Api::<Secret>::all(client.clone());
    let mut controller = Controller::new(api(), watcher::Config::default()).owns(refused, watcher::Config::default());
    for _ in 1..WATCHES {
        controller = controller.owns(api(), watcher::Config::default());
    }
    let reconcile = |_: Arc<ConfigMap>, _: Arc<()>| async { Ok::<_, Infallible>(Action::await_change()) };
    let run = controller.run(reconcile, |_, _, _| Action::await_change(), Arc::new(())).for_each(|_| async {});
    drop(tokio::time::timeout(OUTAGE + Duration::from_secs(1_800), run).await);
    let listed = listed.load(Ordering::Relaxed);
    assert_eq!(listed, 0, "watches came back: the wedge is gone from kube, and with it the reason for this module");
}

#[tokio::test(start_paused = true)]
async fn watches_of_their_own_come_back_within_a_minute() {
    let listed = Arc::new(AtomicUsize::new(0));
    let client = api_server(Arc::clone(&listed));
    let (mut tasks, health) = (JoinSet::new(), WatchHealth::default());
    let refused = Api::<Secret>::all(client.clone());
    let secrets = Watched { kind: "Secret", api: refused, config: watcher::Config::default(), slim: |_| {} };
    let refused = watch(&mut tasks, &health, secrets, |_| {});
    let told = Arc::new(AtomicUsize::new(0));
    let caches: Vec<Cache<ConfigMap>> = (0..WATCHES)
        .map(|_| {
            let told = Arc::clone(&told);
            let api = Api::<ConfigMap>::all(client.clone());
            let watched = Watched { kind: "ConfigMap", api, config: watcher::Config::default(), slim: |_| {} };
            watch(&mut tasks, &health, watched, move |notice| {
                if matches!(notice, Notice::Listed(_)) {
                    told.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(OUTAGE + Duration::from_secs(60)).await;
    assert_eq!(told.load(Ordering::Relaxed), WATCHES);
    assert!(refused.state().is_empty());
    for cache in &caches {
        assert!(cache.get("default", "one").is_some());
    }
}

fn config_map(version: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "one", "namespace": "default", "resourceVersion": version},
    }))
    .unwrap()
}

#[test]
fn a_write_counts_until_the_watch_has_caught_up_with_it() {
    let (cache, mut writer) = Cache::<ConfigMap>::unwatched();
    let seen = |cache: &Cache<ConfigMap>| cache.get("default", "one").and_then(|object| object.resource_version());
    assert_eq!(seen(&cache), None);

    cache.record(config_map("5"));
    assert_eq!(seen(&cache).as_deref(), Some("5"), "written, and not watched yet");
    writer.apply_watcher_event(&watcher::Event::Apply(config_map("4")));
    assert_eq!(seen(&cache).as_deref(), Some("5"), "the watch is behind");
    writer.apply_watcher_event(&watcher::Event::Apply(config_map("7")));
    assert_eq!(seen(&cache).as_deref(), Some("7"), "somebody wrote after us");
    writer.apply_watcher_event(&watcher::Event::Apply(config_map("6")));
    assert_eq!(seen(&cache).as_deref(), Some("6"), "our write is forgotten once it was caught up with");
}

#[test]
fn only_just_what_we_wrote_is_an_echo() {
    let (cache, _writer) = Cache::<ConfigMap>::unwatched();
    assert!(!cache.caught_up(&config_map("4")), "nothing was written");
    cache.record(config_map("5"));
    assert!(!cache.caught_up(&config_map("4")), "somebody wrote before us");
    assert!(cache.caught_up(&config_map("5")));
    assert!(!cache.caught_up(&config_map("5")), "it was forgotten when it was caught up with");
    cache.record(config_map("6"));
    assert!(!cache.caught_up(&config_map("7")), "somebody wrote after us");
    assert!(lock(&cache.written).is_empty());
}

#[test]
fn what_is_kept_of_an_answer_is_as_slim_as_what_is_watched() {
    let (mut cache, _writer) = Cache::<ConfigMap>::unwatched();
    cache.slim = |object| object.managed_fields_mut().clear();
    let mut answer = config_map("5");
    answer.managed_fields_mut().push(ManagedFieldsEntry::default());
    assert!(cache.record(answer).managed_fields().is_empty());
    assert!(cache.get("default", "one").unwrap().managed_fields().is_empty());
}
