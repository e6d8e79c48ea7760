//! Runs a controller: takes object references from a queue and reconciles each object, one reconcile of an object at a
//! time, many objects at once.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use kube::{
    Resource,
    runtime::{
        controller::{self, Action, applier},
        reflector::{ObjectRef, Store},
    },
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::{task::AbortOnDropHandle, time::DelayQueue};
use tracing::{error, warn};

use super::{cache::root_cause, context::Context};

/// Where a controller gets its work from, and how much it does at a time.
pub struct Work<K: Resource<DynamicType = ()> + 'static> {
    /// The objects.
    pub store: Store<K>,
    /// References to objects that something was told of.
    pub requests: mpsc::UnboundedReceiver<ObjectRef<K>>,
    /// Time after the first request for an object, in which more of them come to the same reconcile.
    pub settle: Duration,
    /// Reconciles at a time.
    pub concurrency: u16,
}

/// Runs one controller: requests come from the queue, and from its own earlier answers. Its inputs can't fail, so nothing
/// can make it back off as a whole; what fails is one object, which waits for itself.
pub async fn run_controller<K, E, R>(
    reconcile: impl Fn(Arc<K>, Arc<Context>) -> R + Send + Sync + Clone + 'static,
    context: Arc<Context>,
    work: Work<K>,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    E: std::error::Error + Send + Sync + 'static,
    R: Future<Output = Result<Action, E>> + Send + 'static,
{
    let Work { store, requests, settle, concurrency } = work;
    // What was listed before this was listening is in the store.
    let known: Vec<ObjectRef<K>> = store.state().iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect();
    let failures: Arc<Mutex<HashMap<ObjectRef<K>, u32>>> = Arc::default();
    let succeed = Arc::clone(&failures);
    let queue = stream::iter(known).chain(settled(requests, settle)).map(Ok::<_, Infallible>);
    // First come, first served. The controller itself would take any of those that wait, and while there are many, new
    // objects would wait for second looks at others.
    let turns = Arc::new(Semaphore::new(usize::from(concurrency)));
    let run = move |object: Arc<K>, context: Arc<Context>| {
        let (reference, succeed) = (ObjectRef::from_obj(object.as_ref()), Arc::clone(&succeed));
        let (reconcile, turns) = (reconcile.clone(), Arc::clone(&turns));
        // A task of its own: the controller would poll all reconciles in one, on one core, at every step of each.
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            reconcile(object, context).await
        }));
        Box::pin(async move {
            let outcome = match task.await {
                Ok(outcome) => outcome,
                // A panic ends the process here, as it does in every other task.
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // Nobody else can cancel it, and only together with this.
                    Err(_) => std::future::pending().await,
                },
            };
            if outcome.is_ok() {
                succeed.lock().unwrap_or_else(PoisonError::into_inner).remove(&reference);
            }
            outcome
        })
    };
    let on_error = move |object: Arc<K>, error: &E, _: Arc<Context>| {
        let reference = ObjectRef::from_obj(object.as_ref());
        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(reference.clone()).or_default();
        *count = count.saturating_add(1);
        warn!(object = %reference, failures = *count, %error, cause = %root_cause(error), "reconcile failed; it is tried again");
        Action::requeue(backoff(*count))
    };
    applier(run, on_error, context, store, queue, controller::Config::default())
        .for_each(|outcome| async {
            match outcome {
                // Gone between the request and its turn, or failed and told already.
                Ok(_) | Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
                Err(error) => error!(error = %root_cause(&error), "the controller's queue failed"),
            }
        })
        .await;
}

/// Lets each item through once, `settle` after it first came, however often it comes until then. Later ones don't put it
/// off further: what never rests is reconciled all the same.
fn settled<T>(requests: mpsc::UnboundedReceiver<T>, settle: Duration) -> impl Stream<Item = T>
where
    T: Clone + Eq + Hash,
{
    let state = (requests, DelayQueue::new(), HashSet::new());
    stream::unfold(state, move |(mut requests, mut waiting, mut known)| async move {
        loop {
            tokio::select! {
                request = requests.recv() => {
                    let request: T = request?;
                    if known.insert(request.clone()) {
                        waiting.insert(request, settle);
                    }
                }
                Some(due) = waiting.next() => {
                    let due = due.into_inner();
                    known.remove(&due);
                    return Some((due, (requests, waiting, known)));
                }
            }
        }
    })
}

/// How long an object waits after so many failures in a row: from one second to five minutes, up to a fifth shorter.
fn backoff(failures: u32) -> Duration {
    let seconds = 2_u64.saturating_pow(failures.saturating_sub(1).min(16)).min(300);
    Duration::from_secs(seconds).mul_f64(rand::random_range(0.8..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cache::Cache, connector::testing};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{ResourceExt, runtime::watcher::Event};
    use tokio::time::{Instant, sleep};

    const SETTLE: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn what_comes_again_while_it_settles_comes_once() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut stream = Box::pin(settled(receiver, SETTLE));
        for item in ["a", "b", "a", "a"] {
            sender.send(item).unwrap();
        }
        let start = Instant::now();
        let mut both = [stream.next().await.unwrap(), stream.next().await.unwrap()];
        both.sort_unstable();
        assert_eq!(both, ["a", "b"]);
        assert!(start.elapsed() >= SETTLE);
        sender.send("a").unwrap();
        assert_eq!(stream.next().await, Some("a"), "what comes afterwards comes again");
        drop(sender);
        assert_eq!(stream.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_rests_is_not_put_off() {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                sender.send("a").unwrap();
                sleep(SETTLE / 10).await;
            }
        });
        let mut stream = Box::pin(settled(receiver, SETTLE));
        let start = Instant::now();
        for _ in 0..5 {
            assert_eq!(stream.next().await, Some("a"));
        }
        let took = start.elapsed();
        assert!(took >= SETTLE * 5 && took < SETTLE * 7, "{took:?}");
    }

    /// A controller over ConfigMaps with these names that does one at a time, and the names that it did, in order.
    /// The one named `first` takes ten seconds.
    fn run_one_at_a_time(
        names: &[&'static str],
    ) -> (mpsc::UnboundedSender<ObjectRef<ConfigMap>>, Arc<Mutex<Vec<String>>>) {
        let (sender, requests) = mpsc::unbounded_channel();
        let (cache, mut writer) = Cache::<ConfigMap>::unwatched();
        for name in names {
            let object = serde_json::json!({"metadata": {"name": name, "namespace": "here"}});
            writer.apply_watcher_event(&Event::InitApply(serde_json::from_value(object).unwrap()));
        }
        let done: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&done);
        let reconcile = move |object: Arc<ConfigMap>, _: Arc<Context>| {
            let log = Arc::clone(&log);
            async move {
                log.lock().unwrap().push(object.name_any());
                sleep(Duration::from_secs(if object.name_any() == "first" { 10 } else { 0 })).await;
                Ok::<_, Infallible>(Action::await_change())
            }
        };
        let context = testing::context(&testing::ApiServer::default(), testing::caches());
        let work = Work { store: cache.store(), requests, settle: SETTLE, concurrency: 1 };
        tokio::spawn(async move {
            let controller = run_controller(reconcile, context, work);
            tokio::pin!(controller);
            // Listed only now, so that what comes is in the queue's order and not in the store's.
            tokio::select! {
                () = &mut controller => {}
                () = tokio::task::yield_now() => writer.apply_watcher_event(&Event::InitDone),
            }
            controller.await;
        });
        (sender, done)
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_first_is_served_first() {
        let names = ["first", "h", "b", "f", "d", "a", "g", "c", "e"];
        let (sender, done) = run_one_at_a_time(&names);
        for name in names {
            sleep(SETTLE / 10).await;
            sender.send(ObjectRef::new(name).within("here")).unwrap();
        }
        sleep(Duration::from_secs(5)).await;
        assert_eq!(*done.lock().unwrap(), ["first"], "one at a time");
        sleep(Duration::from_secs(10)).await;
        assert_eq!(*done.lock().unwrap(), names);
    }

    #[test]
    fn waits_grow_to_five_minutes() {
        for (failures, seconds) in [(1, 1.0), (2, 2.0), (4, 8.0), (10, 300.0), (u32::MAX, 300.0)] {
            let wait = backoff(failures).as_secs_f64();
            assert!(wait <= seconds && wait >= seconds * 0.8, "{failures}: {wait}");
        }
    }
}
