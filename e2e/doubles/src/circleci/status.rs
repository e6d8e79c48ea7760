//! The words for how workflows and runs do, as the vendor's command line has them (CircleCI-Public/circleci-cli, 5bb7183,
//! `internal/apiclient/run.go`). The double has its own, so that a slip in the connector's is found.

/// Whether a workflow in this state changes no more.
pub(super) fn is_final(status: &str) -> bool {
    ["success", "failed", "error", "canceled", "unauthorized", "not_run"].contains(&status)
}

/// The state of a run, by those of its workflows and by what is said of the run itself.
pub(super) fn of_run(state: &str, workflows: &[&str]) -> &'static str {
    let any = |words: &[&str]| workflows.iter().any(|status| words.contains(status));
    if workflows.is_empty() {
        return if state == "errored" { "error" } else { "pending" };
    }
    if workflows.iter().any(|status| !is_final(status) && *status != "on_hold") {
        return if any(&["failed", "failing", "error", "unauthorized"]) { "failing" } else { "running" };
    }
    if state == "errored" {
        return if any(&["failed"]) { "failed" } else { "error" };
    }
    let worst = ["on_hold", "failed", "error", "unauthorized", "canceled", "success"];
    worst.into_iter().find(|word| any(&[word])).unwrap_or("not_run")
}
