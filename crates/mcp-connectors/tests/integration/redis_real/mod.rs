//! The count of calls that replicas share, in a real Redis, or Valkey. It needs a server's binary, whose path stands in
//! `REDIS_BIN`: `REDIS_BIN=/usr/bin/redis-server cargo test --test integration -- --ignored redis_real`, or `make test`. It is Debian's
//! package `redis-server`.

mod harness;

use std::time::Duration;

use serde_json::json;
use server::guards::shared_rate::{Counted, SharedQuota};

use self::harness::{Redis, Replica, rates, until};

const PASSWORD: &str = "planted-password";
const HOUR: SharedQuota = SharedQuota { interval: Duration::from_secs(3_600), burst: 3 };

#[tokio::test]
#[ignore = "needs a Redis binary in REDIS_BIN; make test runs it"]
async fn two_replicas_let_as_many_calls_through_as_one() {
    let redis = Redis::start(&[]);
    let (one, two) = (Replica::start(&redis, 3).await, Replica::start(&redis, 3).await);
    for replica in [&one, &two] {
        until("Available", || replica.rates.state().reason).await;
    }
    let mut remaining = Vec::new();
    for replica in [&one, &two, &one] {
        let reply = replica.call().await;
        assert_eq!(reply.error, None);
        remaining.push(reply.remaining);
    }
    assert_eq!(remaining, [Some(2), Some(1), Some(0)], "they count on from each other");
    for replica in [&two, &one] {
        let reply = replica.call().await;
        assert_eq!((reply.error.as_deref(), reply.remaining), (Some("rate_limited"), Some(0)));
        assert!((1..=60).contains(&reply.retry_after.unwrap()));
    }

    // Gone: each goes on from what it heard last, so neither lets more through; but who is new is counted here.
    drop(redis);
    until("Unreachable", || one.rates.state().reason).await;
    assert_eq!(one.call().await.error.as_deref(), Some("rate_limited"));
    let shared = one.rates.counts().shared;
    let metrics = one.metrics().await;
    assert!(metrics.contains("mcp_shared_rate_limit_available 0"), "{metrics}");
    assert!(metrics.contains(r#"mcp_shared_rate_limit_lookups_total{result="shared"} 2"#) && shared == 2, "{metrics}");
}

#[tokio::test]
#[ignore = "needs a Redis binary in REDIS_BIN; make test runs it"]
async fn it_comes_back_when_the_server_does() {
    let redis = Redis::start(&[]);
    let port = redis.port;
    let (counter, _directory) = rates(port, None);
    until("Available", || counter.state().reason).await;
    assert_eq!(counter.take(HOUR, "a").await.map(|counted| counted.taken), Some(true));
    drop(redis);
    until("Unreachable", || counter.state().reason).await;
    assert_eq!(counter.take(HOUR, "a").await, None);
    let redis = Redis::start_at(port, &[]);
    until("Available", || counter.state().reason).await;
    assert_eq!(counter.take(HOUR, "a").await.map(|counted| counted.taken), Some(true));

    // One that hangs is left alone, and found again when it goes on.
    redis.signal("STOP");
    while counter.state().available {
        assert_eq!(counter.take(HOUR, "b").await, None);
    }
    assert_eq!(counter.state().reason, "Timeout");
    redis.signal("CONT");
    until("Available", || counter.state().reason).await;
}

#[tokio::test]
#[ignore = "needs a Redis binary in REDIS_BIN; make test runs it"]
async fn a_bucket_fills_up_by_the_servers_clock_and_is_forgotten_when_it_is_full() {
    let redis = Redis::start(&[]);
    let (counter, _directory) = rates(redis.port, None);
    until("Available", || counter.state().reason).await;
    let quota = SharedQuota { interval: Duration::from_millis(400), burst: 2 };
    let take = async || counter.take(quota, "a").await.unwrap();
    let first = take().await;
    assert_eq!(first, Counted { taken: true, missing: quota.interval });
    assert!(take().await.taken);
    let refused = take().await;
    assert!(!refused.taken && refused.missing <= 2 * quota.interval, "{refused:?}");
    let key = "mcp-connectors:team/shared:uid-1:a";
    assert_eq!(redis.ask(&["EXISTS", key]).await, "1");
    tokio::time::sleep(2 * quota.interval).await;
    assert_eq!(redis.ask(&["EXISTS", key]).await, "0");
    assert_eq!(take().await, first);
    // Somebody else's value holds nobody up for longer than an empty bucket does.
    redis.ask(&["SET", key, "9007199254740000"]).await;
    assert_eq!(take().await, Counted { taken: false, missing: 2 * quota.interval });
}

#[tokio::test]
#[ignore = "needs a Redis binary in REDIS_BIN; make test runs it"]
async fn who_may_not_is_told_so_and_tries_on_with_what_is_mounted_then() {
    let rule = format!("counter on >{PASSWORD} ~mcp-connectors:team/shared:* +eval +time +get +set");
    let redis =
        Redis::start(&[&["--requirepass", "another", "--user"], &*rule.split(' ').collect::<Vec<_>>()].concat());
    let (nobody, _directory) = rates(redis.port, None);
    until("AuthenticationFailed", || nobody.state().reason).await;
    let (counter, directory) = rates(redis.port, Some(&json!({ "username": "counter", "password": "wrong" })));
    until("AuthenticationFailed", || counter.state().reason).await;
    std::fs::write(directory.path().join("password"), PASSWORD).unwrap();
    until("Available", || counter.state().reason).await;
    assert_eq!(counter.take(HOUR, "a").await.map(|counted| counted.taken), Some(true), "these rights are enough");

    let rule = format!("narrow on >{PASSWORD} ~other:* +eval +time +get +set");
    let redis = Redis::start(&[&["--user"], &*rule.split(' ').collect::<Vec<_>>()].concat());
    let (narrow, _directory) = rates(redis.port, Some(&json!({ "username": "narrow", "password": PASSWORD })));
    until("PermissionMissing", || narrow.state().reason).await;
}
