use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::guards::{call_key::CallKeys, principal::Principal};

fn attempt(number: u64) -> Attempt {
    // Any key will do, but the same number must give the same.
    static KEYS: std::sync::LazyLock<CallKeys> = std::sync::LazyLock::new(CallKeys::default);
    let key = KEYS.of_call(&Principal::Address(None), "tool", &json!({ "number": number }));
    Attempt { caller: CallerKey::of(&"a"), key, call: key, named: false, repeatable: false }
}

fn begin(ledger: &Ledger, attempt: Attempt) -> Ticket {
    match ledger.enter(attempt) {
        Standing::New(ticket) => ticket,
        _ => panic!("it is known"),
    }
}

fn done() -> Ending {
    Ending::done("{}", false)
}

fn is_new(ledger: &Ledger, attempt: Attempt) -> bool {
    matches!(ledger.enter(attempt), Standing::New(_))
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_could_not_be_handed_over_is_given_to_the_next() {
    let ledger = Ledger::default();
    begin(&ledger, attempt(1)).end(done());
    assert!(matches!(ledger.enter(attempt(1)), Standing::Ended(Ending::Done(Some(_)), _)));
    ledger.delivered(&attempt(1));
    assert!(is_new(&ledger, attempt(1)), "who got the answer and calls again wants it twice");
}

#[tokio::test(start_paused = true)]
async fn a_named_call_is_made_once_in_ten_minutes() {
    let (ledger, named) = (Ledger::default(), Attempt { named: true, ..attempt(1) });
    begin(&ledger, named).end(done());
    ledger.delivered(&named);
    tokio::time::advance(KEPT_FOR.saturating_sub(Duration::from_secs(1))).await;
    assert!(matches!(ledger.enter(named), Standing::Ended(Ending::Done(Some(_)), _)));
    assert!(matches!(ledger.enter(Attempt { call: attempt(2).key, ..named }), Standing::OtherCall));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(is_new(&ledger, named));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_is_done_again_on_a_named_state_only() {
    let planned = Attempt { repeatable: true, ..attempt(1) };
    for ending in [Ending::failed(ToolError::new(ErrorCode::DeadlineExceeded, "late").into(), true), Ending::Panicked] {
        let ledger = Ledger::default();
        begin(&ledger, attempt(1)).end(ending);
        ledger.delivered(&attempt(1));
        assert!(matches!(ledger.enter(attempt(1)), Standing::Ended(Ending::Unknown(_) | Ending::Panicked, _)));
        assert!(is_new(&ledger, planned));
    }
    let ledger = Ledger::default();
    drop(begin(&ledger, attempt(1)));
    assert!(matches!(ledger.enter(attempt(1)), Standing::Ended(Ending::Panicked, _)), "it was cut off");
}

#[test]
fn errors_that_prove_that_nothing_was_done_are_not_kept() {
    use strum::IntoEnumIterator;
    for code in ErrorCode::iter() {
        let ledger = Ledger::default();
        let ending = Ending::failed(ToolError::new(code, "failed").into(), true);
        if let Ending::Unknown(error) = &ending {
            assert!(error.message.ends_with("not known") && error.remedy.is_some());
        }
        let undone = matches!(ending, Ending::Undone(_));
        begin(&ledger, attempt(1)).end(ending);
        assert_eq!(is_new(&ledger, attempt(1)), undone, "{code}");
    }
    let proof = [ErrorCode::Conflict, ErrorCode::NotFound, ErrorCode::RateLimited, ErrorCode::PermissionDenied];
    let none = [ErrorCode::DeadlineExceeded, ErrorCode::PlatformUnavailable, ErrorCode::PlatformError];
    let undone = |code: &ErrorCode| matches!(Ending::failed(ToolError::new(*code, "").into(), true), Ending::Undone(_));
    assert!(proof.iter().all(undone) && !none.iter().any(undone));
}

#[test]
fn where_nothing_was_sent_nothing_was_changed() {
    use strum::IntoEnumIterator;
    for code in ErrorCode::iter().filter(|code| *code != ErrorCode::OutcomeUnread) {
        let error = ToolError::new(code, "failed").with_remedy("its own");
        let Ending::Undone(Stopped::Failed(told)) = Ending::failed(error.into(), false) else { panic!("{code}") };
        assert_eq!(told.remedy.as_deref(), Some("its own"), "{code}");
    }
    assert!(matches!(Ending::failed(Stopped::Panicked, false), Ending::Undone(Stopped::Panicked)));
    assert!(matches!(Ending::failed(Stopped::Panicked, true), Ending::Panicked));
}

#[test]
fn secrets_and_long_answers_are_not_kept() {
    assert!(matches!(Ending::done("{}", true), Ending::Done(None)));
    assert!(matches!(Ending::done(&"x".repeat(MAX_TEXT + 1), false), Ending::Done(None)));
    assert!(matches!(Ending::done(&"x".repeat(MAX_TEXT), false), Ending::Done(Some(_))));
}

fn kept(ledger: &Ledger) -> usize {
    ledger.lock().values().map(LruCache::len).sum()
}

#[tokio::test(start_paused = true)]
async fn what_nobody_promised_is_bounded_and_forgotten() {
    let ledger = Ledger::default();
    for number in 0..MAX_UNNAMED as u64 + 10 {
        begin(&ledger, attempt(number)).end(done());
    }
    assert_eq!(kept(&ledger), MAX_UNNAMED);
    assert!(is_new(&ledger, attempt(0)), "the oldest has made room");
    tokio::time::advance(KEPT_FOR).await;
    begin(&ledger, attempt(1_000)).end(done());
    assert_eq!(kept(&ledger), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_promised_is_never_forgotten_for_another() {
    let ledger = Ledger::default();
    let of = |caller: u64, number| Attempt { caller: CallerKey::of(&caller), named: true, ..attempt(number) };
    let begins = |attempt| match ledger.enter(attempt) {
        Standing::New(ticket) => ticket,
        _ => panic!("there is room"),
    };
    begins(of(1, 0)).end(done());
    for number in 0..MAX_NAMED as u64 {
        begins(of(2, number)).end(done());
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    let Standing::Full(wait) = ledger.enter(of(2, 1_000)) else { panic!("it has all that it may have") };
    assert_eq!(wait, KEPT_FOR.saturating_sub(Duration::from_secs(1)));
    assert!(matches!(ledger.enter(of(2, 7)), Standing::Ended(Ending::Done(_), _)), "what it was promised stands");
    assert!(matches!(ledger.enter(of(1, 0)), Standing::Ended(Ending::Done(_), _)), "and so does what others were");
    assert!(is_new(&ledger, of(1, 1_000)));
    assert!(is_new(&ledger, Attempt { named: false, ..of(2, 1_000) }), "without a key it may act");

    // Many callers together.
    let others = (3..).flat_map(|caller| (0..MAX_NAMED as u64).map(move |number| of(caller, number)));
    let full = others.take(MAX_KEPT).position(|attempt| match ledger.enter(attempt) {
        Standing::New(ticket) => {
            ticket.end(done());
            false
        }
        _ => true,
    });
    assert!(full.is_some() && kept(&ledger) <= MAX_KEPT);
    assert!(matches!(ledger.enter(of(1, 0)), Standing::Ended(Ending::Done(_), _)));
    tokio::time::advance(KEPT_FOR).await;
    assert!(is_new(&ledger, of(2, 1_000)), "their time is over");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn duplicates_that_come_at_once_act_once(callers in 1_usize..20, pauses in prop::collection::vec(0_u64..5, 20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (ledger, acts) = (Ledger::default(), Arc::new(AtomicUsize::new(0)));
            let calls: Vec<_> = pauses.into_iter().take(callers).map(|pause| {
                let (ledger, acts) = (ledger.clone(), acts.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    match ledger.enter(attempt(1)) {
                        Standing::New(ticket) => {
                            acts.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(Duration::from_millis(10)).await;
                            ticket.end(done());
                            true
                        }
                        Standing::Runs(mut ending) => {
                            let ending = ending.wait_for(Option::is_some).await.unwrap().clone();
                            matches!(ending, Some(Ending::Done(Some(_))))
                        }
                        Standing::Ended(..) | Standing::OtherCall | Standing::Full(_) => false,
                    }
                })
            }).collect();
            for call in calls {
                assert!(call.await.unwrap());
            }
            assert_eq!(acts.load(Ordering::SeqCst), 1);
        });
    }
}
