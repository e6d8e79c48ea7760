//! The pace in paused time: how many requests it lets through, when, and which it refuses.

use proptest::prelude::*;

use super::*;

fn far() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Requests that are let through in a time, asked for without a pause.
async fn sent_in(pace: &Pace, time: Duration) -> u32 {
    let end = Instant::now() + time;
    let mut sent = 0;
    while Instant::now() < end {
        match pace.turn(None, far(), false).await {
            Ok(()) => sent += 1,
            Err(wait) => tokio::time::sleep(wait.min(Duration::from_millis(100))).await,
        }
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn without_a_bound_nothing_waits() {
    let pace = Pace::new(None);
    for _ in 0..10_000 {
        pace.turn(None, Instant::now(), false).await.unwrap();
    }
    assert_eq!(pace.state(), PaceState::default());
}

#[tokio::test(start_paused = true)]
async fn a_bound_is_kept_from_the_start() {
    let pace = Pace::new(Some(600));
    let sent = sent_in(&pace, Duration::from_secs(60)).await;
    assert!((600..=621).contains(&sent), "{sent}");
    assert_eq!(pace.state().requests_per_minute, Some(600.0));
}

#[tokio::test(start_paused = true)]
async fn the_time_that_the_platform_names_is_waited_for() {
    let pace = Pace::new(None);
    pace.turn(None, far(), false).await.unwrap();
    pace.refused(Some(Duration::from_secs(30)));
    assert_eq!(pace.state().paused_seconds, Some(30));
    let wait = pace.turn(None, far(), false).await.unwrap_err();
    assert!(wait >= Duration::from_secs(30), "{wait:?}");
    tokio::time::advance(wait).await;
    pace.turn(None, far(), false).await.unwrap();
    assert_eq!(pace.state().paused_seconds, None);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_takes_ten_a_second_is_found_out_and_hardly_refuses() {
    let pace = Pace::new(None);
    let (mut sent, mut refused, mut second, mut in_second) = (0, 0, Instant::now(), 0);
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end {
        // Forty calls a second come.
        tokio::time::advance(Duration::from_millis(25)).await;
        if second.elapsed() >= Duration::from_secs(1) {
            (second, in_second) = (Instant::now(), 0);
        }
        if pace.turn(None, Instant::now(), false).await.is_ok() {
            in_second += 1;
            if in_second > 10 {
                refused += 1;
                pace.refused(None);
            } else {
                sent += 1;
            }
        }
    }
    assert!(sent > 120 * 5, "only {sent} were taken");
    assert!(refused * 20 < sent, "{refused} were refused, {sent} taken");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_refused_once_is_sent_again_after_the_pause() {
    let (pace, begun) = (Pace::new(None), Instant::now());
    pace.turn(None, far(), false).await.unwrap();
    pace.refused(None);
    pace.turn(None, far(), true).await.unwrap();
    assert_eq!(begun.elapsed(), UNNAMED_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn it_is_forgotten_when_nothing_is_refused_any_more() {
    let pace = Pace::new(None);
    for _ in 0..50 {
        pace.turn(None, far(), false).await.unwrap();
    }
    pace.refused(None);
    assert!(pace.state().requests_per_minute.is_some());
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(pace.state(), PaceState { refused_seconds_ago: Some(60), ..PaceState::default() });
    for _ in 0..1_000 {
        pace.turn(None, Instant::now(), false).await.unwrap();
    }
}

fn told(limit: u32, remaining: u32, seconds: u64) -> Allowance {
    Allowance { limit, remaining, resets_in: Duration::from_secs(seconds) }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_an_allowance_is_spread_until_it_is_counted_anew() {
    let (pace, begun) = (Pace::new(Some(600)), Instant::now());
    pace.told(1, Some(told(1_000, 60, 60)));
    let shown = pace.state();
    assert_eq!(shown.requests_per_minute, Some(60.0));
    let allowance = AllowanceState { limit: 1_000, remaining: 60, resets_in_seconds: 60, low: true };
    assert_eq!(shown.allowance, Some(allowance));
    // Ten at a time, each of which waits for its turn, though it is further away than a second.
    let turns = futures::future::join_all((0..10).map(|_| pace.turn(Some(1), far(), false))).await;
    assert!(turns.iter().all(Result::is_ok), "{turns:?}");
    assert!((8..=9).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    // All that is left goes out by the end, and not before.
    let mut sent = 10;
    while begun.elapsed() < Duration::from_secs(59) {
        pace.turn(Some(1), far(), false).await.unwrap();
        sent += 1;
    }
    assert!((58..=62).contains(&sent), "{sent}");
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!((pace.state().allowance, pace.state().requests_per_minute), (None, Some(600.0)));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_would_come_after_the_deadline_is_refused_at_once() {
    let (pace, begun) = (Pace::new(None), Instant::now());
    pace.told(1, Some(told(100, 2, 60)));
    let within = |seconds| pace.turn(Some(1), begun + Duration::from_secs(seconds), false);
    within(5).await.unwrap();
    let wait = within(30).await.unwrap_err();
    assert_eq!((wait, begun.elapsed()), (Duration::from_secs(30), Duration::ZERO));
    // There must be time for the request itself, too.
    within(32).await.unwrap();
    assert_eq!(begun.elapsed(), wait);
}

#[tokio::test(start_paused = true)]
async fn an_allowance_that_is_spent_is_waited_for_and_one_of_another_account_is_not() {
    let (pace, begun) = (Pace::new(Some(600)), Instant::now());
    pace.told(1, Some(told(100, 0, 40)));
    assert_eq!(pace.state().paused_seconds, Some(40));
    let soon = begun + Duration::from_secs(10);
    assert_eq!(pace.turn(Some(1), soon, false).await, Err(Duration::from_secs(40)));
    pace.turn(Some(2), soon, false).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    pace.turn(Some(1), far(), false).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(40));
    // An answer that says nothing changes nothing; one to another account says that the first is not in use any more.
    pace.told(1, Some(told(100, 0, 40)));
    pace.told(1, None);
    assert_eq!(pace.state().paused_seconds, Some(40));
    pace.told(2, None);
    assert_eq!(pace.state().paused_seconds, None);
}

#[tokio::test(start_paused = true)]
async fn enough_is_not_spread_and_nothing_is_believed_for_long() {
    let (pace, begun) = (Pace::new(None), Instant::now());
    pace.told(1, Some(told(1_000, 200, 3_600)));
    for _ in 0..100 {
        pace.turn(Some(1), Instant::now(), false).await.unwrap();
    }
    pace.told(1, Some(told(1_000, 0, 3_600)));
    assert_eq!(pace.turn(Some(1), far(), false).await, Err(LONGEST_PAUSE));
    tokio::time::advance(LONGEST_PAUSE).await;
    pace.turn(Some(1), Instant::now(), false).await.unwrap();
    assert_eq!((begun.elapsed(), pace.state()), (LONGEST_PAUSE, PaceState::default()));
}

#[tokio::test(start_paused = true)]
async fn refusals_of_one_burst_count_once() {
    let pace = Pace::new(Some(6_000));
    for _ in 0..20 {
        pace.refused(None);
    }
    assert_eq!(pace.state().requests_per_minute, Some(4_200.0));
}

proptest! {
    #[test]
    fn no_more_is_sent_than_the_bound_and_a_burst(per_minute in 1_u32..3_000, pauses in prop::collection::vec(0_u64..500, 1..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (sent, passed) = runtime.block_on(async {
            let (pace, begun, mut sent) = (Pace::new(Some(per_minute)), Instant::now(), 0_u32);
            for pause in pauses {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                sent += u32::from(pace.turn(None, far(), false).await.is_ok());
            }
            (sent, begun.elapsed())
        });
        let rate = f64::from(per_minute) / 60.0;
        prop_assert!(f64::from(sent) <= burst(Some(rate)) + passed.as_secs_f64() * rate + 1.0);
    }
}
