use proptest::prelude::*;

use super::*;

const DEADLINE: SignedDuration = SignedDuration::from_secs(120);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn limits(concurrent: &str, failures: &str) -> Limits {
    Limits {
        max_concurrent: concurrent.parse().unwrap(),
        max_failures: failures.parse().unwrap(),
        ready_timeout: Duration::from_mins(2),
    }
}

/// A cluster of connectors that all need a turn; the first is the oldest.
struct World {
    rollout: Rollout,
    uids: Vec<String>,
}

impl World {
    fn new(count: usize, limits: Limits) -> Self {
        let uids: Vec<String> = (0..count).map(|number| format!("{number:03}")).collect();
        Self { rollout: Rollout::new(limits), uids }
    }

    /// All were looked at, and none that hasn't asked needs a turn.
    fn known(self) -> Self {
        self.uids.iter().for_each(|uid| self.rollout.seen(uid));
        self
    }

    fn ask(&self, number: usize, second: i64) -> Turn {
        self.ask_being(number, second, true)
    }

    fn ask_being(&self, number: usize, second: i64, was_ready: bool) -> Turn {
        let place = Place {
            created: Some(at(i64::try_from(number).unwrap())),
            namespace: "team".into(),
            name: self.uids[number].clone(),
        };
        let candidate = Candidate { uid: &self.uids[number], place, was_ready, deadline: DEADLINE };
        self.rollout.ask(&candidate, || self.uids.clone(), at(second))
    }

    /// Everybody asks, the youngest first; who gets a turn.
    fn turns(&self, of: std::ops::Range<usize>, second: i64) -> Vec<usize> {
        let all: Vec<usize> = of.rev().collect();
        // Whoever gets a turn in the first round keeps it in the second.
        let asked = all.iter().chain(&all).copied();
        let mut now: Vec<usize> = asked.filter(|number| self.ask(*number, second) == Turn::Now).collect();
        now.sort_unstable();
        now.dedup();
        now
    }

    fn follow(&self, number: usize, since: i64, is_ready: bool, second: i64) -> Progress {
        let changed = Changed { since: Some(at(since)), deadline: DEADLINE, is_ready, ready_changed: Some(at(since)) };
        self.rollout.follow(&self.uids[number], changed, at(second))
    }

    fn figures(&self, second: i64) -> (usize, usize, usize, bool) {
        let Figures { pending, running, failed, stopped } = self.rollout.figures(at(second));
        (pending, running, failed, stopped)
    }
}

#[test]
fn shares_are_numbers_or_percents_and_at_least_one() {
    for (text, all, of) in
        [("3", 100, 3), ("10%", 100, 10), ("10%", 5, 1), ("10%", 11, 2), ("1%", 0, 1), ("100%", 7, 7)]
    {
        let share: Share = text.parse().unwrap();
        assert_eq!(share.of(all), of, "{text} of {all}");
        assert_eq!(share.to_string(), text);
    }
    for text in ["", "0", "0%", "101%", "10001", "-1", "ten", "1.5", "5 %"] {
        assert_eq!(text.parse::<Share>(), Err(ShareError), "{text}");
    }
}

#[test]
fn so_many_at_a_time_and_the_oldest_first() {
    let world = World::new(5, limits("2", "2"));
    assert_eq!(world.turns(0..5, 0), [0, 1]);
    assert_eq!(world.figures(1), (3, 2, 0, false));
    assert_eq!(world.turns(2..5, 1), Vec::<usize>::new());
    assert_eq!(world.follow(1, 0, false, 10), Progress::Running);
    assert_eq!(world.turns(2..5, 11), Vec::<usize>::new());
    assert_eq!(world.follow(1, 0, true, 12), Progress::Settled);
    assert_eq!(world.turns(2..5, 13), [2]);
    assert_eq!(world.figures(14), (2, 2, 0, false));
}

#[test]
fn nobody_gets_a_turn_before_all_were_looked_at() {
    let world = World::new(3, limits("2", "1"));
    assert_eq!(world.turns(0..2, 0), Vec::<usize>::new());
    world.rollout.seen("002");
    assert_eq!(world.turns(0..2, 1), [0, 1]);
}

#[test]
fn too_many_that_do_not_become_ready_stop_the_others_until_they_do() {
    let world = World::new(10, limits("2", "2"));
    assert_eq!(world.turns(0..10, 0), [0, 1]);
    assert_eq!(world.follow(0, 0, false, 120), Progress::Failed { first: true });
    assert_eq!(world.follow(0, 0, false, 121), Progress::Failed { first: false });
    // The other one hasn't been looked at again, and its time is up all the same.
    assert_eq!(world.figures(121), (8, 0, 2, true));
    assert_eq!(world.ask(2, 121), Turn::Stopped);
    assert_eq!(world.follow(1, 0, true, 130), Progress::Settled);
    assert_eq!(world.figures(131), (8, 0, 1, false));
    assert_eq!(world.turns(2..10, 131), [2, 3]);
}

#[test]
fn what_was_not_ready_before_takes_a_turn_and_can_not_fail() {
    let world = World::new(3, limits("1", "1")).known();
    assert_eq!(world.ask_being(0, 0, false), Turn::Now);
    let follow = |second| {
        let changed = Changed { since: None, deadline: DEADLINE, is_ready: false, ready_changed: None };
        world.rollout.follow("000", changed, at(second))
    };
    assert_eq!((follow(1), world.ask(1, 2)), (Progress::Running, Turn::Later));
    assert_eq!((follow(120), world.ask(1, 121)), (Progress::Settled, Turn::Now));
    assert_eq!(world.figures(122), (0, 1, 0, false));
}

#[test]
fn an_outage_after_it_got_through_is_not_blamed_on_the_roll_out() {
    let world = World::new(2, limits("1", "1")).known();
    assert_eq!(world.ask(0, 0), Turn::Now);
    assert_eq!(world.follow(0, 0, true, 5), Progress::Settled);
    assert_eq!(world.follow(0, 0, false, 500), Progress::Settled);
    assert_eq!(world.ask(1, 501), Turn::Now);
}

#[test]
fn the_next_leader_goes_on_where_the_last_one_stopped() {
    let world = World::new(4, limits("2", "1"));
    // Nothing but what the Deployments remember.
    assert_eq!(world.follow(0, 0, true, 50), Progress::Settled);
    assert_eq!(world.follow(1, 0, false, 50), Progress::Running);
    assert_eq!(world.turns(2..4, 51), [2], "one of two places is taken");
    assert_eq!(world.follow(1, 0, false, 200), Progress::Failed { first: true });
    assert_eq!(world.ask(3, 201), Turn::Stopped);
    // One that was changed long ago and ceased to be Ready lately got through then.
    let changed = Changed { since: Some(at(0)), deadline: DEADLINE, is_ready: false, ready_changed: Some(at(9_000)) };
    let fresh = Rollout::new(limits("1", "1"));
    assert_eq!(fresh.follow("x", changed, at(9_001)), Progress::Settled);
    assert_eq!(fresh.follow("x", changed, at(9_002)), Progress::Settled);
}

#[test]
fn a_change_that_can_not_be_written_lets_others_pass() {
    let world = World::new(2, limits("1", "1"));
    assert_eq!(world.turns(0..2, 0), [0]);
    assert_eq!(world.ask(0, 60), Turn::Now, "it tries again");
    // Not Ready in time, as far as anybody knows, until it asks again.
    assert_eq!(world.ask(1, 120), Turn::Stopped);
    assert_eq!(world.ask(0, 121), Turn::Later);
    assert_eq!(world.ask(1, 122), Turn::Now);
}

#[test]
fn whoever_is_gone_is_passed_over() {
    let world = World::new(3, limits("1", "1"));
    assert_eq!(world.turns(0..3, 0), [0]);
    world.follow(0, 0, true, 1);
    assert_eq!(world.ask(2, 2), Turn::Later, "the next in line has not asked yet");
    let later = 2 + STALE.as_secs();
    assert_eq!(world.ask(2, later), Turn::Now);

    let world = World::new(3, limits("1", "1")).known();
    assert_eq!(world.ask(2, 0), Turn::Now, "nobody else needs one");

    let world = World::new(3, limits("1", "1"));
    assert_eq!(world.turns(0..3, 0), [0]);
    world.rollout.leave("000");
    world.rollout.leave("001");
    assert_eq!(world.ask(2, 1), Turn::Now, "what is not accepted any more needs none");

    let world = World::new(3, limits("1", "1"));
    world.rollout.seen("000");
    assert_eq!(world.turns(1..3, 0), [1]);
    world.rollout.forget_others(&|uid| uid == "002");
    assert_eq!(world.ask(2, 1), Turn::Now);
}

proptest! {
    /// Whatever becomes of them, never do more run at a time than may, and all that become Ready get their turn.
    #[test]
    fn the_bound_holds(count in 1_usize..30, max in 1_u32..6, took in proptest::collection::vec(1_i64..100, 30)) {
        let world = World::new(count, limits(&max.to_string(), "1"));
        let mut running: Vec<(usize, i64)> = Vec::new();
        let mut waiting: Vec<usize> = (0..count).collect();
        for second in 0..(100 * i64::try_from(count).unwrap() + 100) {
            running.retain(|(number, since)| {
                let is_ready = second >= since + took[*number];
                world.follow(*number, *since, is_ready, second) == Progress::Running
            });
            waiting.retain(|number| {
                let now = world.ask(*number, second) == Turn::Now;
                if now { running.push((*number, second)); }
                !now
            });
            prop_assert!(running.len() <= usize::try_from(max).unwrap());
            if waiting.is_empty() && running.is_empty() { break; }
        }
        prop_assert!(waiting.is_empty() && running.is_empty());
    }
}
