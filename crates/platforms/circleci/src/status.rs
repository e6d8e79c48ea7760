//! The words for how runs, workflows and jobs do. API v2 has them ready; API v3 tells a phase and an outcome, which are
//! brought to the same words here (as the vendor's own command line does: CircleCI-Public/circleci-cli, 5bb7183,
//! `internal/apiclient/{job,run}.go`).

/// Whether a run or workflow in this state changes no more. One that is `on_hold` waits for a person, `failing` still runs.
pub(super) fn is_final(status: &str) -> bool {
    matches!(status, "success" | "failed" | "error" | "canceled" | "unauthorized" | "not_run")
}

/// Whether a job in this state changes no more.
pub(super) fn is_final_job(status: &str) -> bool {
    is_final(status) || matches!(status, "retried" | "infrastructure_fail" | "timedout" | "terminated-unknown")
}

/// Whether a job in this state is what made its workflow fail.
pub(super) fn is_failed_job(status: &str) -> bool {
    matches!(status, "failed" | "error" | "infrastructure_fail" | "timedout" | "terminated-unknown" | "unauthorized")
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

/// The state of a run, by those of its workflows, of each name the newest one, and by what CircleCI says of the run
/// itself: `errored` has no workflows at all.
pub(super) fn of_run(state: &str, workflows: &[&str]) -> String {
    let any = |wanted: &str| workflows.contains(&wanted);
    let moving = workflows.iter().any(|status| !is_final(status) && *status != "on_hold");
    let word = if workflows.is_empty() {
        if state == "errored" { "error" } else { "pending" }
    } else if moving {
        if workflows.iter().any(|status| is_failed(status)) { "failing" } else { "running" }
    } else if any("on_hold") {
        "on_hold"
    } else {
        // The worst decides; a workflow that had nothing to do spoils nothing.
        ["failed", "error", "unauthorized", "canceled", "success"]
            .into_iter()
            .find(|word| any(word))
            .unwrap_or("not_run")
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_final_state_is_one() {
        for status in ["success", "failed", "error", "canceled", "unauthorized", "not_run"] {
            assert!(is_final(status) && is_final_job(status), "{status}");
        }
        for status in ["running", "failing", "on_hold", "queued", "pending", "something new"] {
            assert!(!is_final(status) && !is_final_job(status), "{status}");
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
    fn a_run_is_as_well_as_its_workflows() {
        for (state, workflows, expected) in [
            ("errored", &[][..], "error"),
            ("pending", &[], "pending"),
            ("created", &["success", "running"], "running"),
            ("created", &["failed", "running"], "failing"),
            ("created", &["failed", "on_hold"], "on_hold"),
            ("created", &["success", "failed"], "failed"),
            ("created", &["success", "canceled"], "canceled"),
            ("created", &["success", "unauthorized"], "unauthorized"),
            ("created", &["not_run", "success"], "success"),
            ("created", &["not_run"], "not_run"),
            ("created", &["error", "success"], "error"),
        ] {
            assert_eq!(of_run(state, workflows), expected, "{workflows:?}");
        }
    }
}
