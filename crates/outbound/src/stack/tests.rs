//! The whole way with a platform that follows a script, in paused time: what a caller gets, when, how often the platform
//! is asked for it, what state is shown, and how it ends.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER};

use super::*;
use crate::{BreakerPosition, Held, LeftOut, changes::noting, classify_by_status};

/// What the platform does with a request.
#[derive(Clone, Copy, Debug)]
enum Act {
    Answer(u16),
    /// 429, with the seconds of `Retry-After`.
    Refuse(Option<u32>),
    /// 200, with so many requests of a thousand left for the next minute.
    Leave(u32),
    Fail(RequestError),
    /// It takes the request and never answers.
    Hang,
}

/// A platform: does what the script says, then always the last of it.
struct Upstream {
    script: RefCell<VecDeque<Act>>,
    asked: Cell<u32>,
    open: Cell<usize>,
    most_open: Cell<usize>,
}

impl Upstream {
    fn new(script: impl IntoIterator<Item = Act>) -> Self {
        let script = RefCell::new(script.into_iter().collect());
        Self { script, asked: Cell::new(0), open: Cell::new(0), most_open: Cell::new(0) }
    }

    fn now_does(&self, act: Act) {
        *self.script.borrow_mut() = VecDeque::from([act]);
    }

    async fn ask(&self, until: Instant) -> Result<Response, RequestError> {
        self.asked.set(self.asked.get() + 1);
        self.open.set(self.open.get() + 1);
        self.most_open.set(self.most_open.get().max(self.open.get()));
        let act = {
            let mut script = self.script.borrow_mut();
            if script.len() > 1 { script.pop_front().unwrap() } else { script[0] }
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut headers = HeaderMap::new();
        let outcome = match act {
            Act::Answer(status) => Ok(status),
            Act::Refuse(seconds) => {
                if let Some(seconds) = seconds {
                    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
                }
                Ok(429)
            }
            Act::Leave(remaining) => {
                for (name, value) in [("limit", 1_000), ("remaining", remaining), ("reset", 60)] {
                    headers.insert(HeaderName::try_from(format!("ratelimit-{name}")).unwrap(), value.into());
                }
                Ok(200)
            }
            Act::Fail(error) => Err(error),
            Act::Hang => {
                tokio::time::sleep_until(until).await;
                Err(RequestError::Timeout)
            }
        };
        self.open.set(self.open.get() - 1);
        let status = StatusCode::from_u16(outcome?).unwrap();
        Ok(Response { status, headers, left_out: LeftOut::default(), body: Bytes::new(), memory: Held::default() })
    }
}

fn stack() -> Stack {
    Stack::new("fake", OutboundLimits::default(), classify_by_status, Arc::default())
}

async fn call(
    stack: &Stack,
    upstream: &Upstream,
    repeat: Repeat,
    patience: Duration,
) -> (Result<u16, RequestError>, Duration) {
    let (begun, treatment) =
        (Instant::now(), Treatment { purpose: Purpose::Look, repeat, is_probe: false, account: None });
    let outcome = stack.run(treatment, begun + patience, |until| upstream.ask(until)).await;
    (outcome.map(|response| response.status.as_u16()), begun.elapsed())
}

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_fault_that_passes_is_not_seen_by_a_read() {
    let faults = [
        Act::Answer(502),
        Act::Answer(503),
        Act::Answer(504),
        Act::Refuse(None),
        Act::Fail(RequestError::Unreachable),
        Act::Fail(RequestError::DnsFailed),
        Act::Fail(RequestError::Interrupted),
    ];
    for fault in faults {
        let upstream = Upstream::new([fault, Act::Answer(200)]);
        let (outcome, lasted) = call(&stack(), &upstream, Repeat::Safe, PATIENCE).await;
        assert_eq!((outcome, upstream.asked.get()), (Ok(200), 2), "{fault:?}");
        assert!(lasted < Duration::from_millis(1_500), "{fault:?}: {lasted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_try_cannot_change_is_answered_at_once() {
    for act in [
        Act::Answer(200),
        Act::Answer(400),
        Act::Answer(401),
        Act::Answer(403),
        Act::Answer(404),
        Act::Answer(500),
        Act::Fail(RequestError::BodyTooLarge),
        Act::Fail(RequestError::Redirected(crate::Redirect::OtherHost)),
    ] {
        let upstream = Upstream::new([act]);
        let (_, lasted) = call(&stack(), &upstream, Repeat::Safe, PATIENCE).await;
        assert_eq!((upstream.asked.get(), lasted), (1, Duration::from_millis(5)), "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_may_have_been_made_is_never_made_again() {
    for act in [Act::Answer(502), Act::Answer(503), Act::Fail(RequestError::Interrupted), Act::Hang] {
        let upstream = Upstream::new([act, Act::Answer(200)]);
        let (outcome, _) = call(&stack(), &upstream, Repeat::IfNotTaken, PATIENCE).await;
        assert_eq!(upstream.asked.get(), 1, "{act:?}: {outcome:?}");
    }
    for act in [Act::Refuse(None), Act::Fail(RequestError::Unreachable)] {
        let upstream = Upstream::new([act, Act::Answer(200)]);
        let (outcome, _) = call(&stack(), &upstream, Repeat::IfNotTaken, PATIENCE).await;
        assert_eq!((outcome, upstream.asked.get()), (Ok(200), 2), "{act:?}");
        let upstream = Upstream::new([act, Act::Answer(200)]);
        call(&stack(), &upstream, Repeat::Never, PATIENCE).await.0.ok();
        assert_eq!(upstream.asked.get(), 1, "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_noted_unless_it_is_certain_that_it_was_not_taken() {
    let sent = async |acts: &[Act], purpose: Purpose, patience: Duration, leaves: Duration| {
        let upstream = Upstream::new(acts.iter().copied());
        let (stack, treatment) =
            (stack(), Treatment { purpose, repeat: Repeat::IfNotTaken, is_probe: false, account: None });
        let run = stack.run(treatment, Instant::now() + patience, |until| upstream.ask(until));
        noting(tokio::time::timeout(leaves, run)).await.1
    };
    let (unreachable, interrupted) = (Act::Fail(RequestError::Unreachable), Act::Fail(RequestError::Interrupted));
    let table: &[(&[Act], bool)] = &[
        (&[Act::Answer(200)], true),
        (&[Act::Answer(302)], true),
        (&[Act::Answer(408)], true),
        (&[Act::Answer(500)], true),
        (&[Act::Answer(503)], true),
        (&[interrupted], true),
        (&[Act::Hang], true),
        (&[unreachable, Act::Refuse(None), interrupted], true),
        (&[Act::Answer(400)], false),
        (&[Act::Answer(404)], false),
        (&[Act::Answer(501)], false),
        (&[Act::Refuse(Some(60))], false),
        (&[Act::Refuse(None), unreachable], false),
        (&[Act::Fail(RequestError::TlsInvalid(crate::TlsFault::UnknownIssuer))], false),
        (&[Act::Fail(RequestError::Redirected(crate::Redirect::OtherHost))], false),
    ];
    for (acts, taken) in table {
        assert_eq!(sent(acts, Purpose::Change, PATIENCE, PATIENCE).await, *taken, "{acts:?}");
        assert!(!sent(acts, Purpose::Step, PATIENCE, PATIENCE).await, "{acts:?}");
    }
    let (hang, moment) = (&[Act::Hang][..], Duration::from_millis(3));
    assert!(sent(hang, Purpose::Change, PATIENCE, moment).await, "its caller went");
    assert!(!sent(hang, Purpose::Change, Duration::ZERO, PATIENCE).await, "the time was up before");
}

#[tokio::test(start_paused = true)]
async fn the_pause_that_the_platform_asks_for_is_made_if_there_is_time() {
    let upstream = Upstream::new([Act::Refuse(Some(7)), Act::Answer(200)]);
    let (outcome, lasted) = call(&stack(), &upstream, Repeat::Safe, PATIENCE).await;
    assert_eq!(outcome, Ok(200));
    assert!((Duration::from_secs(7)..Duration::from_secs(8)).contains(&lasted), "{lasted:?}");

    let (stack, upstream) = (stack(), Upstream::new([Act::Refuse(Some(60)), Act::Answer(200)]));
    let (outcome, lasted) = call(&stack, &upstream, Repeat::Safe, PATIENCE).await;
    assert_eq!((outcome, lasted), (Ok(429), Duration::from_millis(5)));
    // Until then nobody else asks, either.
    let (outcome, lasted) = call(&stack, &upstream, Repeat::Safe, PATIENCE).await;
    assert!(matches!(outcome, Err(RequestError::TooFast(wait)) if wait > Duration::from_secs(59)), "{outcome:?}");
    assert_eq!((upstream.asked.get(), lasted), (1, Duration::ZERO));
    assert_eq!(stack.state().pace.paused_seconds, Some(60));
}

#[tokio::test(start_paused = true)]
async fn what_the_platform_says_is_left_slows_the_account_down_before_it_refuses() {
    let (stack, upstream) = (stack(), Upstream::new([Act::Leave(20), Act::Leave(19), Act::Leave(500)]));
    let of = |account: Option<u64>, patience: Duration| {
        let treatment = Treatment { purpose: Purpose::Look, repeat: Repeat::Safe, is_probe: false, account };
        let upstream = &upstream;
        stack.run(treatment, Instant::now() + patience, move |until| upstream.ask(until))
    };
    let begun = Instant::now();
    of(Some(1), PATIENCE).await.unwrap();
    // One in three seconds, of which the first is due.
    of(Some(1), PATIENCE).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let refused = of(Some(1), Duration::from_secs(2)).await.unwrap_err();
    assert!(matches!(refused, RequestError::TooFast(wait) if wait > Duration::from_secs(2)), "{refused:?}");
    // Requests that count for nobody are not slowed, nor does what they are told count.
    of(None, Duration::from_secs(2)).await.unwrap();
    assert_eq!((upstream.asked.get(), stack.state().pace.allowance.map(|one| one.remaining)), (3, Some(19)));
    of(Some(1), PATIENCE).await.unwrap();
    assert!((3..=4).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(stack.state().pace.allowance.map(|one| (one.remaining, one.low)), Some((500, false)));
}

#[tokio::test(start_paused = true)]
async fn refusals_alone_never_open_the_breaker() {
    let (stack, upstream) = (stack(), Upstream::new([Act::Refuse(None)]));
    for _ in 0..500 {
        call(&stack, &upstream, Repeat::Safe, Duration::from_secs(3)).await.0.ok();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(stack.state().breaker.state, BreakerPosition::Closed);
    upstream.now_does(Act::Answer(200));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(call(&stack, &upstream, Repeat::Safe, PATIENCE).await.0, Ok(200));
}

/// Calls that come ten a second. How many there were, and how many the platform was asked for.
async fn storm(stack: &Stack, upstream: &Upstream, calls: u32) -> (u32, u32) {
    let before = upstream.asked.get();
    for _ in 0..calls {
        call(stack, upstream, Repeat::Safe, Duration::from_secs(5)).await.0.ok();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (calls, upstream.asked.get() - before)
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_is_down_is_left_alone_and_found_again() {
    for act in [Act::Answer(503), Act::Fail(RequestError::Unreachable), Act::Fail(RequestError::Interrupted)] {
        let (stack, upstream) = (stack(), Upstream::new([act]));
        let (calls, asked) = storm(&stack, &upstream, 1_000).await;
        assert!(asked * 10 < calls, "{act:?}: {asked} requests for {calls} calls");
        let breaker = stack.state().breaker;
        assert_ne!(breaker.state, BreakerPosition::Closed, "{act:?}");
        // Calls are refused at once, and say when to come back.
        if let (Err(RequestError::CircuitOpen(wait)), lasted) = call(&stack, &upstream, Repeat::Safe, PATIENCE).await {
            assert_eq!(lasted, Duration::ZERO);
            assert!(wait <= Duration::from_secs(90), "{wait:?}");
        }
        upstream.now_does(Act::Answer(200));
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(call(&stack, &upstream, Repeat::Safe, PATIENCE).await.0, Ok(200), "{act:?}");
        assert_eq!(stack.state().breaker.state, BreakerPosition::Closed, "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_fails_now_and_then_is_not_asked_much_more_often() {
    let script: Vec<Act> = (0..2_000).map(|n| if n % 4 == 0 { Act::Answer(503) } else { Act::Answer(200) }).collect();
    let (stack, upstream) = (stack(), Upstream::new(script));
    let (calls, asked) = storm(&stack, &upstream, 1_000).await;
    assert!(f64::from(asked) <= f64::from(calls) * 1.2 + 10.0, "{asked} requests for {calls} calls");
    assert_eq!(stack.state().breaker.state, BreakerPosition::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_succeeds_ends_the_pause_at_once() {
    let (stack, upstream) = (stack(), Upstream::new([Act::Answer(503)]));
    storm(&stack, &upstream, 100).await;
    assert_ne!(stack.state().breaker.state, BreakerPosition::Closed);
    upstream.now_does(Act::Answer(200));
    let probe = Treatment { purpose: Purpose::Look, repeat: Repeat::Safe, is_probe: true, account: None };
    stack.run(probe, Instant::now() + PATIENCE, |until| upstream.ask(until)).await.unwrap();
    assert_eq!(call(&stack, &upstream, Repeat::Safe, PATIENCE).await.0, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_hangs_holds_up_its_places_and_nothing_else() {
    let (stack, upstream) = (stack(), Upstream::new([Act::Hang]));
    let outcomes = join_all((0..500).map(|_| call(&stack, &upstream, Repeat::Safe, Duration::from_secs(8)))).await;
    assert_eq!(upstream.most_open.get(), OutboundLimits::default().max_running);
    let (mut at_once, mut soon, mut late) = (0, 0, 0);
    for (outcome, lasted) in outcomes {
        match outcome {
            Err(RequestError::Busy(_)) if lasted.is_zero() => at_once += 1,
            Err(RequestError::Busy(_)) if lasted <= Duration::from_secs(1) => soon += 1,
            Err(RequestError::Timeout) if lasted <= Duration::from_secs(8) => late += 1,
            other => panic!("{other:?} after {lasted:?}"),
        }
    }
    // Those that ran, those that waited for a second, and all others.
    assert_eq!((late, soon, at_once), (10, 20, 470));
}

#[tokio::test(start_paused = true)]
async fn nothing_lasts_longer_than_the_caller_waits() {
    for patience in [10_u64, 300, 2_000, 9_000, 25_000] {
        let patience = Duration::from_millis(patience);
        for act in [Act::Hang, Act::Answer(503), Act::Refuse(Some(1)), Act::Fail(RequestError::Unreachable)] {
            let upstream = Upstream::new([act]);
            let (_, lasted) = call(&stack(), &upstream, Repeat::Safe, patience).await;
            assert!(lasted <= patience + Duration::from_millis(5), "{act:?}: {lasted:?} of {patience:?}");
        }
    }
}
