//! The words for how runs, workflows and jobs do. API v2 has them ready; API v3 tells a phase and an outcome, which are
//! brought to the same words here (as the vendor's own command line does: CircleCI-Public/circleci-cli, 5bb7183,
//! `internal/apiclient/{job,run}.go`).

/// Whether a run or workflow in this state changes no more. One that is `on_hold` waits for a person, `failing` still runs.
pub(super) fn is_final(status: &str) -> bool {
    matches!(status, "success" | "failed" | "error" | "canceled" | "unauthorized" | "not_run")
}

/// Whether a job in this state changes no more.
pub(super) fn is_final_job(status: &str) -> bool {
    is_final(status)
        || matches!(status, "retried" | "infrastructure_fail" | "timedout" | "terminated-unknown" | "skipped")
}

/// Whether a job in this state is what made its workflow fail.
pub(super) fn is_failed_job(status: &str) -> bool {
    matches!(status, "failed" | "error" | "infrastructure_fail" | "timedout" | "terminated-unknown" | "unauthorized")
}

/// Whether a job or step in this state has not begun, and may never begin.
pub(super) fn has_not_begun(status: &str) -> bool {
    never_ran(status) || matches!(status, "not_running" | "queued" | "created" | "unauthorized")
}

/// Whether a job in this state never began, if its workflow has ended. CircleCI called it `blocked`, then `skipped`,
/// and now `not_run` (ckeditor/ckeditor5 #18359, circleci/circleci-docs #9786).
pub(super) fn never_ran(status: &str) -> bool {
    matches!(status, "not_run" | "skipped" | "blocked")
}

/// What a state of a job or workflow means, where no step and no log tells it (circleci-docs 9734a14,
/// `docs/guides/modules/orchestrate/pages/{jobs-steps,workflows}.adoc`, and of serial groups
/// `controlling-serial-execution-across-your-organization.adoc`; support.circleci.com 360050273651, 44168007038235).
pub(super) fn meaning(status: &str) -> Option<&'static str> {
    Some(match status {
        "unauthorized" => {
            "whoever started the run, or approved a job, may not use a context that a job asks for (its groups, projects or \
             expressions restrict it), or has not authorised CircleCI's GitHub App; somebody who may use it can run it again"
        }
        "infrastructure_fail" => {
            "CircleCI says that what the job ran on failed (such as no machine in time, or a lost connection), and not the code; \
             a rerun may help"
        }
        "timedout" => "the job took longer than it may",
        "terminated-unknown" => "CircleCI does not know how the job ended",
        "error" => "CircleCI itself failed to start a job",
        "queued" => "it waits, such as for its turn in a serial group, which may take five hours",
        _ => return None,
    })
}

/// Whether a workflow in this state has failed or is about to.
pub(super) fn is_failed(status: &str) -> bool {
    matches!(status, "failed" | "failing" | "error" | "unauthorized")
}

/// The state that a phase and an outcome of API v3 come to. What has `begun` has a time of its start: the list of jobs
/// says `started` of what still waits for a machine.
pub(super) fn of_phase(phase: &str, outcome: &str, current: &str, begun: bool) -> String {
    let outcome = if outcome.is_empty() { current } else { outcome };
    match (phase, outcome) {
        ("started", _) if !begun => "queued",
        ("started", "failed" | "errored") => "failing",
        ("started", _) => "running",
        ("ended", "succeeded") => "success",
        ("ended", "errored") => "error",
        ("ended", other) if !other.is_empty() => other,
        (phase, _) => phase,
    }
    .to_owned()
}

/// How bad a state is, the worst first: what has failed comes before what was not allowed to begin, or waits.
pub(super) fn rank(status: &str) -> u8 {
    match status {
        "failed" | "infrastructure_fail" | "timedout" | "terminated-unknown" => 0,
        "failing" => 1,
        "error" => 2,
        "unauthorized" => 3,
        "canceled" => 4,
        "on_hold" => 5,
        "success" | "not_run" => 7,
        _ => 6,
    }
}

/// How a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunState {
    pub(super) word: &'static str,
    /// Whether it changes no more.
    pub(super) finished: bool,
    /// Whether it goes on by itself.
    pub(super) moves: bool,
}

/// Whether the configuration of a run in this state is still to come, or that of the workflows after its setup.
fn is_before_its_workflows(state: &str) -> bool {
    matches!(state, "setup-pending" | "setup" | "pending")
}

/// How a run does, by what CircleCI says of the run itself and by the states of its workflows, of each name the newest.
/// `has_errors` says that the run has errors of its own: where a setup workflow made a configuration that is then rejected, that
/// workflow has succeeded, and only the run tells (CircleCI-Public/circleci-cli #1762, #1650).
pub(super) fn of_run(state: &str, has_errors: bool, workflows: &[&str]) -> RunState {
    let any = |wanted: &str| workflows.contains(&wanted);
    let coming = is_before_its_workflows(state);
    let broken = state == "errored" || (has_errors && !coming);
    let failed = broken || workflows.iter().any(|status| is_failed(status));
    let moves = |status: &&str| !is_final(status) && !matches!(*status, "on_hold" | "unknown");
    let moving: Vec<&str> = workflows.iter().copied().filter(moves).collect();
    let is = |word, finished, moves| RunState { word, finished, moves };
    if !moving.is_empty() {
        let queued = moving.iter().all(|status| *status == "queued");
        let word = if queued { "queued" } else { "running" };
        return is(if failed { "failing" } else { word }, false, true);
    }
    if any("on_hold") {
        // Something failed, and the rest waits for a person.
        return is(if failed { "failing" } else { "on_hold" }, false, false);
    }
    // The worst decides; a workflow that had nothing to do spoils nothing.
    let worst = ["failed", "error", "unauthorized", "unknown", "canceled", "success", "not_run"]
        .into_iter()
        .find(|word| any(word) || (broken && *word == "error"));
    match worst {
        None => is("pending", false, true),
        // A setup that failed, or was cancelled, makes no more workflows.
        Some("success") if coming => is("running", false, true),
        Some(word) => is(word, !any("unknown"), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_final_state_is_one() {
        for status in ["success", "failed", "error", "canceled", "unauthorized", "not_run"] {
            assert!(is_final(status) && is_final_job(status), "{status}");
        }
        for status in ["running", "failing", "on_hold", "queued", "pending", "blocked", "something new"] {
            assert!(!is_final(status) && !is_final_job(status), "{status}");
        }
        assert!(is_final_job("skipped") && has_not_begun("skipped") && never_ran("blocked") && !never_ran("queued"));
    }

    #[test]
    fn a_job_that_fails_without_a_step_has_words() {
        for status in ["error", "infrastructure_fail", "timedout", "terminated-unknown", "unauthorized"] {
            assert!(is_failed_job(status) && meaning(status).is_some(), "{status}");
        }
        for status in ["failed", "success", "canceled", "something new"] {
            assert_eq!(meaning(status), None, "{status}");
        }
    }

    #[test]
    fn phases_have_the_words_of_v2() {
        for (phase, outcome, current, begun, expected) in [
            ("created", "", "", false, "created"),
            ("queued", "", "", false, "queued"),
            ("started", "", "succeeded", false, "queued"),
            ("started", "", "", true, "running"),
            ("started", "", "failed", true, "failing"),
            ("ended", "succeeded", "", true, "success"),
            ("ended", "", "succeeded", true, "success"),
            ("ended", "errored", "", true, "error"),
            ("ended", "not_run", "", false, "not_run"),
            ("ended", "timedout", "", true, "timedout"),
            ("ended", "", "", true, "ended"),
        ] {
            assert_eq!(of_phase(phase, outcome, current, begun), expected, "{phase} {outcome} {current}");
        }
    }

    #[test]
    fn a_run_is_as_well_as_itself_and_its_workflows() {
        let (ends, waits, moves) = ((true, false), (false, false), (false, true));
        for (state, has_errors, workflows, expected, (finished, moves)) in [
            ("errored", false, &[][..], "error", ends),
            ("pending", false, &[], "pending", moves),
            ("setup-pending", false, &[], "pending", moves),
            ("created", false, &[], "pending", moves),
            ("created", false, &["success", "running"], "running", moves),
            ("created", false, &["success", "queued"], "queued", moves),
            ("created", false, &["queued", "running"], "running", moves),
            ("created", false, &["failed", "queued"], "failing", moves),
            ("created", false, &["queued", "on_hold"], "queued", moves),
            ("created", false, &["failed", "running"], "failing", moves),
            ("created", false, &["failed", "on_hold"], "failing", waits),
            ("created", false, &["unauthorized", "unauthorized", "on_hold", "failed"], "failing", waits),
            ("created", false, &["success", "on_hold"], "on_hold", waits),
            ("created", false, &["success", "failed"], "failed", ends),
            ("created", false, &["success", "canceled"], "canceled", ends),
            ("created", false, &["success", "unauthorized"], "unauthorized", ends),
            ("created", false, &["not_run", "success"], "success", ends),
            ("created", false, &["not_run"], "not_run", ends),
            ("created", false, &["error", "success"], "error", ends),
            // The configuration that the setup made was rejected.
            ("errored", true, &["success"], "error", ends),
            ("created", true, &["success"], "error", ends),
            ("created", true, &["success", "not_run"], "error", ends),
            ("errored", true, &["running"], "failing", moves),
            ("errored", true, &["failed"], "failed", ends),
            // It is still to come, unless nobody makes it any more.
            ("setup", false, &["success"], "running", moves),
            ("pending", false, &["success"], "running", moves),
            ("setup", false, &["on_hold"], "on_hold", waits),
            ("setup", false, &["failed"], "failed", ends),
            ("setup", false, &["canceled"], "canceled", ends),
            // Records that have expired.
            ("created", false, &["unknown", "success"], "unknown", waits),
            ("created", false, &["unknown", "failed"], "failed", waits),
            ("created", false, &["something new"], "running", moves),
        ] {
            let expected = RunState { word: expected, finished, moves };
            assert_eq!(of_run(state, has_errors, workflows), expected, "{state} {has_errors} {workflows:?}");
        }
    }

    #[test]
    fn no_run_is_called_well_beside_a_failure_or_before_its_end() {
        let states = ["created", "errored", "setup-pending", "setup", "pending"];
        let words = [
            "success",
            "failed",
            "error",
            "canceled",
            "unauthorized",
            "not_run",
            "running",
            "failing",
            "queued",
            "on_hold",
            "unknown",
        ];
        for (state, has_errors) in states.into_iter().flat_map(|state| [(state, false), (state, true)]) {
            for (one, other) in words.iter().flat_map(|one| words.map(|other| (*one, other))) {
                let run = of_run(state, has_errors, &[one, other]);
                let place = format!("{state} {has_errors} {one} {other}: {run:?}");
                let any = |wanted: fn(&str) -> bool| wanted(one) || wanted(other);
                if run.finished {
                    assert!(is_final(one) && is_final(other) && is_final(run.word) && !run.moves, "{place}");
                }
                if any(is_failed) || state == "errored" {
                    assert!(is_failed(run.word), "{place}");
                }
                if run.word == "success" {
                    assert!(state == "created" && !has_errors && run.finished, "{place}");
                }
            }
        }
    }
}
