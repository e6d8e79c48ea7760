use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::guards::{call_key::CallKeys, principal::Principal};
use credentials::CredentialSet;
use tools::{ErrorCode, ToolError};

const AGE: Duration = Duration::from_secs(30);

/// A cache, and what stands behind it.
struct Fixture {
    cache: Arc<AnswerCache>,
    keys: CallKeys,
    sets: watch::Sender<Option<Arc<CredentialSet>>>,
    asked: Arc<AtomicUsize>,
}

fn set(generation: u64) -> Arc<CredentialSet> {
    Arc::new(CredentialSet::new(generation, std::collections::BTreeMap::new()))
}

impl Fixture {
    fn new(max_bytes: usize) -> Self {
        let (sets, current) = watch::channel(Some(set(1)));
        let credentials = CredentialsHandle::new(current, watch::channel(0).0);
        let cache = Arc::new(AnswerCache::new(CacheConfig { enabled: true, max_bytes }, credentials));
        Self { cache, keys: CallKeys::default(), sets, asked: Arc::default() }
    }

    fn key(&self, caller: u8, arguments: &Value) -> CallKey {
        let address = std::net::Ipv4Addr::new(10, 0, 0, caller);
        self.keys.of_call(&Principal::Address(Some(address.into())), "tool", arguments)
    }

    /// Asks for an answer that says how often the platform was asked.
    async fn ask(&self, key: CallKey, fresh: bool) -> (u64, CacheNote) {
        let run = async {
            let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::task::yield_now().await;
            Ok(answer(number))
        };
        let (bounded, note) = self.cache.answer(key, || Some(AGE), fresh, run).await.unwrap();
        assert_eq!(bounded.value.to_string(), bounded.text);
        (bounded.value["number"].as_u64().unwrap(), note)
    }
}

fn answer(number: usize) -> Bounded {
    let value = json!({ "number": number });
    Bounded { text: value.to_string(), value, redactions: 0 }
}

const fn hit(age_seconds: u64) -> CacheNote {
    CacheNote { hit: true, age_seconds }
}

const MISS: CacheNote = CacheNote { hit: false, age_seconds: 0 };

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_for_a_while() {
    let fixture = Fixture::new(10_000);
    let key = fixture.key(1, &json!({}));
    assert_eq!(fixture.ask(key, false).await, (1, MISS));
    tokio::time::advance(Duration::from_secs(29)).await;
    assert_eq!(fixture.ask(key, false).await, (1, hit(29)));
    assert_eq!(fixture.ask(key, true).await, (2, MISS), "a fresh one is asked for, and kept");
    tokio::time::advance(Duration::from_secs(29)).await;
    assert_eq!(fixture.ask(key, false).await, (2, hit(29)));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(fixture.ask(key, false).await, (3, MISS));
}

#[tokio::test]
async fn what_may_not_be_kept_takes_the_place_of_what_was() {
    let fixture = Fixture::new(10_000);
    let key = fixture.key(1, &json!({}));
    let ask = async |age: Option<Duration>, fresh| {
        let run = async { Ok(answer(fixture.asked.fetch_add(1, Ordering::SeqCst) + 1)) };
        let (bounded, note) = fixture.cache.answer(key, || age, fresh, run).await.unwrap();
        (bounded.value["number"].as_u64().unwrap(), note.hit)
    };
    assert_eq!([ask(None, false).await, ask(None, false).await], [(1, false), (2, false)]);
    assert_eq!([ask(Some(AGE), false).await, ask(None, false).await], [(3, false), (3, true)]);
    // What was final isn't any more, as somebody found out who did not take a kept answer.
    assert_eq!([ask(None, true).await, ask(None, false).await], [(4, false), (5, false)]);
    assert_eq!(fixture.cache.state().entries, 0);
}

#[tokio::test]
async fn changed_credentials_and_mutations_throw_everything_away() {
    let fixture = Fixture::new(10_000);
    let key = fixture.key(1, &json!({}));
    fixture.ask(key, false).await;
    fixture.sets.send_replace(Some(set(2)));
    assert_eq!(fixture.ask(key, false).await, (2, MISS));
    fixture.cache.purge();
    assert_eq!(fixture.cache.state().entries, 0);
    assert_eq!(fixture.ask(key, false).await, (3, MISS));
}

#[tokio::test]
async fn what_was_asked_for_before_a_change_is_not_kept_after_it() {
    let fixture = Fixture::new(10_000);
    let key = fixture.key(1, &json!({}));
    for change in [&|| fixture.cache.purge(), &|| drop(fixture.sets.send_replace(Some(set(7))))] as [&dyn Fn(); 2] {
        let run = async {
            change();
            // Whoever comes now doesn't wait for an answer of before.
            assert!(matches!(fixture.cache.step(key, false), Step::Lead(_)));
            Ok(answer(0))
        };
        fixture.cache.answer(key, || Some(AGE), false, run).await.unwrap();
        assert_eq!(fixture.cache.state().entries, 0);
    }
}

#[tokio::test]
async fn a_crowd_asks_once() {
    let fixture = Arc::new(Fixture::new(10_000));
    let key = fixture.key(1, &json!({}));
    let crowd: Vec<_> = (0..50)
        .map(|_| {
            let fixture = fixture.clone();
            tokio::spawn(async move { fixture.ask(key, false).await })
        })
        .collect();
    let mut hits = 0;
    for one in crowd {
        let (number, note) = one.await.unwrap();
        assert_eq!(number, 1);
        hits += usize::from(note.hit);
    }
    assert_eq!((hits, fixture.asked.load(Ordering::SeqCst)), (49, 1));
    assert!(fixture.cache.lock().flights.is_empty());
}

#[tokio::test]
async fn if_the_one_who_asks_goes_another_asks() {
    let fixture = Arc::new(Fixture::new(10_000));
    let key = fixture.key(1, &json!({}));
    let cache = fixture.cache.clone();
    let leader = tokio::spawn(async move {
        let _never = cache.answer(key, || Some(AGE), false, std::future::pending()).await;
    });
    while fixture.cache.lock().flights.is_empty() {
        tokio::task::yield_now().await;
    }
    let followers: Vec<_> = (0..10)
        .map(|_| {
            let fixture = fixture.clone();
            tokio::spawn(async move { fixture.ask(key, false).await.0 })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(fixture.asked.load(Ordering::SeqCst), 0);
    leader.abort();
    for follower in followers {
        assert_eq!(follower.await.unwrap(), 1);
    }
    assert_eq!(fixture.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_error_is_shared_by_those_who_wait_and_not_kept() {
    let fixture = Arc::new(Fixture::new(10_000));
    let key = fixture.key(1, &json!({}));
    let ask = || {
        let fixture = fixture.clone();
        async move {
            let run = async {
                fixture.asked.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Err(Stopped::from(ToolError::new(ErrorCode::NotFound, "nothing")))
            };
            let stopped = fixture.cache.answer(key, || Some(AGE), false, run).await.err();
            matches!(stopped, Some(Stopped::Failed(error)) if error.code == ErrorCode::NotFound)
        }
    };
    let crowd: Vec<_> = (0..10).map(|_| tokio::spawn(ask())).collect();
    for one in crowd {
        assert!(one.await.unwrap());
    }
    assert_eq!(fixture.asked.load(Ordering::SeqCst), 1);
    assert!(ask().await);
    assert_eq!(fixture.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn bytes_are_bounded_and_the_least_used_goes_first() {
    let fixture = Fixture::new(3 * (ENTRY_BYTES + 20));
    let keys: Vec<CallKey> = (0..4).map(|number| fixture.key(1, &json!({ "n": number }))).collect();
    for key in &keys[..3] {
        fixture.ask(*key, false).await;
    }
    fixture.ask(keys[0], false).await;
    fixture.ask(keys[3], false).await;
    assert_eq!(fixture.cache.state().entries, 3);
    assert!(fixture.ask(keys[0], false).await.1.hit);
    assert!(!fixture.ask(keys[1], false).await.1.hit);
    let tiny = Fixture::new(ENTRY_BYTES);
    tiny.ask(tiny.key(1, &json!({})), false).await;
    assert_eq!(tiny.cache.state(), CacheState { entries: 0, bytes: 0, max_bytes: ENTRY_BYTES });
}

proptest! {
    #[test]
    fn nobody_gets_an_answer_of_another_or_of_before(
        steps in prop::collection::vec((0_u8..3, 0_u8..3, 0_u8..8), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new(4 * (ENTRY_BYTES + 64));
            let (mut generation, mut era) = (1, 0);
            for (caller, argument, event) in steps {
                match event {
                    0 => { generation += 1; fixture.sets.send_replace(Some(set(generation))); }
                    1 => { era += 1; fixture.cache.purge(); }
                    2 => tokio::time::advance(AGE / 2).await,
                    _ => {}
                }
                let key = fixture.key(caller, &json!({ "a": argument }));
                let value = json!([caller, argument, generation, era]);
                let run = std::future::ready(Ok(Bounded { text: value.to_string(), value: value.clone(), redactions: 0 }));
                let (bounded, note) = fixture.cache.answer(key, || Some(AGE), false, run).await.unwrap();
                assert_eq!(bounded.value, value);
                assert!(note.age_seconds < AGE.as_secs());
                let state = fixture.cache.state();
                assert!(state.bytes <= state.max_bytes && state.entries <= 4);
            }
        });
    }
}
