//! What the double does when it is told to change something.

use serde_json::{Value, json};

use super::{
    Reply,
    world::{Job, Run, Workflow, World, id},
};

fn fails(status: u16, message: &str) -> Reply {
    Reply::fails("v2", status, message)
}

/// Starts a run, by the rules of both endpoints.
pub(super) fn trigger(world: &mut World, slug: &str, rest: &[&str], body: &Value) -> Reply {
    let by_definition = rest == ["pipeline", "run"];
    if by_definition && !world.has_run_endpoint {
        return fails(404, "Not found");
    }
    // The newer endpoint knows a project by the slug of its record only (ckeditor/ckeditor5-dev #1423).
    if by_definition && slug != world.slug {
        return fails(404, "Project not found");
    }
    if by_definition && world.wants_definition && body["definition_id"].is_null() {
        return fails(400, "definition_id is required");
    }
    let app_based = world.slug.starts_with("circleci/");
    let places: &[&Value] = if by_definition { &[&body["config"], &body["checkout"]] } else { &[body] };
    if places.iter().any(|place| place["branch"].is_string() && place["tag"].is_string()) {
        return fails(400, "branch and tag are mutually exclusive");
    }
    if app_based && (!by_definition || body["definition_id"].is_null()) {
        return fails(400, "definition_id is required");
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut branch = text(&places[0]["branch"]);
    // Those of a fork's pull request are `pull/610/head` here, and their runs have `pull/610` (roopakv/orbs #71).
    if let Some(pull) = branch.as_deref().filter(|branch| branch.starts_with("pull/")) {
        let Some(of_runs) = pull.strip_suffix("/head") else { return fails(400, "Branch not found") };
        branch = Some(of_runs.to_owned());
    }
    let parameters = body["parameters"].as_object().cloned().unwrap_or_default();
    let unknown: Vec<&str> =
        parameters.keys().map(String::as_str).filter(|name| !["deploy", "env"].contains(name)).collect();
    if !unknown.is_empty() {
        return fails(400, &format!("Unexpected argument(s): {}", unknown.join(", ")));
    }
    // A value of another type is taken, and the run is an error (CircleCI-Public/circleci-cli #1823, #631).
    let odd = |(name, value): (&String, &Value)| match (name.as_str(), value) {
        ("deploy", Value::Bool(_)) | ("env", Value::String(_)) => None,
        ("deploy", value) => {
            Some(format!("Type error for argument deploy: expected type: boolean, actual value: {value}"))
        }
        (name, value) => Some(format!("Type error for argument {name}: expected type: string, actual value: {value}")),
    };
    let odd = parameters.iter().find_map(odd);
    let state = if odd.is_some() { "errored" } else { "pending" };
    if let Some(odd) = odd {
        world.config_error = odd;
    }
    if world.skips {
        return Reply::json(200, json!({ "message": "The pipeline was skipped: [ci skip]" }));
    }
    let number = world.runs.iter().map(|run| run.number).max().unwrap_or_default() + 1;
    let run = Run {
        number,
        slug: world.slug.clone(),
        branch,
        tag: text(&places[0]["tag"]),
        by_api: true,
        state: state.to_owned(),
        created_at: jiff::Timestamp::now().to_string(),
        parameters: Value::Object(parameters),
    };
    world.runs.insert(0, run.clone());
    let answer = json!({ "id": id('a', number), "number": number, "state": "pending", "created_at": run.created_at });
    Reply::json(201, answer)
}

/// Reruns, cancels and approves.
pub(super) fn change(world: &mut World, wanted: &str, rest: &[&str], body: &Value) -> Reply {
    let Some(workflow) = world.workflow(wanted).cloned() else { return fails(404, "Not found") };
    match rest {
        ["cancel"] => {
            cancel(world, wanted);
            Reply::json(202, json!({ "message": "Accepted." }))
        }
        ["rerun"] => {
            if body["jobs"].is_array() && body["from_failed"] == true {
                return fails(400, "jobs and from_failed are mutually exclusive");
            }
            let new = rerun(world, &workflow);
            Reply::json(202, json!({ "workflow_id": new }))
        }
        ["approve", request] => {
            let number = workflow.number;
            let waits = |one: &&mut Job| one.workflow == number && one.is_approval && id('d', one.number) == *request;
            let Some(job) = world.jobs.iter_mut().find(waits) else { return fails(404, "Not found") };
            if job.status != "on_hold" {
                return fails(400, "not on hold");
            }
            (job.status, job.approved_by) = ("success".to_owned(), Some(id('e', 1)));
            "running".clone_into(&mut world.workflow_mut(wanted).unwrap().status);
            Reply::json(202, json!({ "message": "Accepted." }))
        }
        _ => fails(404, "Not found"),
    }
}

/// Takes a cancellation, which is done later (CircleCI-Public/circleci-cli 5bb7183, `internal/apiclient/workflow.go`).
pub(super) fn cancel(world: &mut World, wanted: &str) {
    if world.cancels_late == 0 {
        let ends = if world.cancels_too_late { "success" } else { "canceled" };
        ends.clone_into(&mut world.workflow_mut(wanted).unwrap().status);
    }
}

pub(super) fn rerun(world: &mut World, workflow: &Workflow) -> String {
    let number = world.workflows.len() as u64 + 1;
    let again = Workflow {
        number,
        status: "running".to_owned(),
        created_at: jiff::Timestamp::now().to_string(),
        auto_rerun_number: 0,
        ..workflow.clone()
    };
    world.workflows.push(again);
    id('b', number)
}
