//! What the double answers of API v3.

use serde_json::{Value, json};

use super::{
    Reply,
    answers::{compiled, definition},
    changes::{cancel, rerun},
    world::{Job, ORG, PROJECT, Run, Step, World, id},
};

type Paged = fn(&World, &[Value], Option<&str>, usize) -> Reply;

fn fails(status: u16, title: &str) -> Reply {
    Reply::fails("v3/", status, title)
}

fn outcome(status: &str) -> (&str, Value) {
    match status {
        "success" => ("ended", json!("succeeded")),
        "error" => ("ended", json!("errored")),
        "running" | "failing" => ("started", json!("")),
        "blocked" | "on_hold" => ("created", json!("")),
        "queued" => ("queued", json!("")),
        other => ("ended", json!(other)),
    }
}

pub(super) fn answer(
    world: &mut World,
    method: &str,
    path: &[&str],
    query: &[(String, String)],
    body: &Value,
    range: Option<usize>,
    paged: Paged,
) -> Reply {
    let given = |name: &str| query.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
    let cursor = given("page[cursor]");
    match (method, path) {
        (_, ["users"]) if given("filter[user_id]") == Some("me") => {
            paged(world, &[json!({ "id": id('e', 1), "attributes": { "login": "bot", "name": "Bot" } })], None, 1)
        }
        (_, ["users"]) => fails(400, "a filter is needed"),
        (_, ["jobs", wanted, rest @ ..]) => {
            let Some(job) = world.job(wanted).cloned() else { return fails(404, "not found") };
            of_job(world, &job, rest, query, range, paged)
        }
        (_, ["runs", "search"]) => search(world, body, paged),
        (_, ["pipelines"]) if given("filter[project_id]") == Some(PROJECT) => {
            let all: Vec<Value> = (0..world.definitions)
                .map(|number| {
                    let vcs = json!({ "provider": "github_app", "repo_id": "1", "repo_full_name": "acme/web" });
                    json!({
                        "id": definition(number),
                        "attributes": {
                            "name": format!("d{number}"), "checkout": { "type": "vcs", "vcs": vcs },
                            "config": { "type": "vcs", "file_path": ".circleci/config.yml", "vcs": vcs },
                        },
                        "references": { "project": { "id": PROJECT } },
                    })
                })
                .collect();
            paged(world, &all, cursor, usize::MAX)
        }
        (_, ["deploy", "components"]) if given("filter[org_id]") == Some(ORG) => {
            let all: Vec<Value> = (1..).zip(&world.components).map(|(number, name)| named(name, 'c', number)).collect();
            paged(world, &all, cursor, usize::MAX)
        }
        (_, ["deploy", "environments"]) if given("filter[org_id]") == Some(ORG) => {
            let all: Vec<Value> =
                (1..).zip(&world.environments).map(|(number, name)| named(name, 'd', number)).collect();
            paged(world, &all, cursor, usize::MAX)
        }
        (_, ["deploy", "components", _, "versions"]) => paged(
            world,
            &["v1", "v2", "v3"].map(|name| json!({ "attributes": { "name": name }, "references": {} })),
            cursor,
            usize::MAX,
        ),
        (_, ["projects", PROJECT, "rollback"]) => {
            // What these mean: circleci-cli 5bb7183, `internal/cmd/deploy/rollback.go`.
            if body["namespace"] == "elsewhere" {
                return fails(404, "no instance");
            }
            if world.is_rolling_back {
                return fails(409, "a command is being handled");
            }
            if body["current_version"] != "v3" {
                return fails(400, "another version runs");
            }
            Reply::json(200, json!({ "data": { "id": id('a', 9), "attributes": { "rollback_type": "pipeline" } } }))
        }
        (_, ["configs", "compile"]) => {
            let attributes = &body["data"]["attributes"];
            // Unlike the others, it refuses what it does not know (CircleCI-Public/circleci-cli #1713, `internal/apiclient/config.go`).
            let takes = |value: &Value, known: &[&str]| {
                value.as_object().is_none_or(|value| value.keys().all(|name| known.contains(&name.as_str())))
            };
            if !takes(body, &["data"])
                || !takes(&body["data"], &["attributes", "references"])
                || !takes(attributes, &["config", "enable_next_preview", "pipeline_parameters", "pipeline_values"])
                || !takes(&body["data"]["references"], &["org"])
            {
                return fails(400, "unknown member");
            }
            if !body["data"]["references"].is_null() && body["data"]["references"]["org"]["id"] != ORG {
                return fails(400, "org");
            }
            let organization = &body["data"]["references"]["org"]["id"];
            let wrong = compiled(attributes["config"].as_str(), &attributes["pipeline_values"], organization);
            let Some(message) = wrong else {
                let good = json!({ "phase": "ended", "outcome": "succeeded", "compiled_config": "version: 2\n" });
                return Reply::json(200, json!({ "data": { "id": id('e', 2), "attributes": good } }));
            };
            Reply::json(
                200,
                json!({ "data": { "id": id('e', 2), "attributes": { "phase": "ended", "outcome": "failed" } },
                        "meta": { "messages": [{ "title": message }] } }),
            )
        }
        (_, ["workflows", wanted, act]) => {
            let Some(workflow) = world.workflow(wanted).cloned() else { return fails(404, "not found") };
            if *act == "rerun" {
                let new = rerun(world, &workflow);
                return Reply::json(201, json!({ "data": { "id": new } }));
            }
            cancel(world, wanted);
            Reply::json(202, json!({ "data": { "id": wanted } }))
        }
        _ => fails(404, "not found"),
    }
}

fn named(name: &str, kind: char, number: u64) -> Value {
    json!({ "id": id(kind, number), "attributes": { "name": name }, "references": {} })
}

fn of_job(
    world: &World,
    job: &Job,
    rest: &[&str],
    query: &[(String, String)],
    range: Option<usize>,
    paged: Paged,
) -> Reply {
    let given = |name: &str| query.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
    match rest {
        [] => {
            let (phase, result) = outcome(&job.status);
            // What is known of a step has no word about reruns (circleci-cli, `internal/apiclient/job.go`).
            let step = |step: &Step| {
                let phase = if world.log_goes_on && step.num == 101 { "started" } else { "ended" };
                json!({ "name": step.name, "type": "run", "num": step.num, "phase": phase, "outcome": outcome(step.status).1,
                        "exit_code": step.exit_code, "command": "make" })
            };
            let steps = if job.has_begun() && phase != "created" { world.steps_of(job) } else { Vec::new() };
            let machines = steps.iter().map(|step| step.execution + 1).max().unwrap_or_default();
            let steps: Vec<Value> = (0..machines)
                .map(|execution| {
                    let of_it = steps.iter().filter(|step| step.execution == execution);
                    json!({ "steps": of_it.map(step).collect::<Vec<_>>() })
                })
                .collect();
            Reply::json(
                200,
                json!({ "data": {
                    "id": id('c', job.number),
                    "attributes": {
                        "name": job.name, "type": if job.is_approval { "approval" } else { "build" }, "phase": phase, "outcome": result,
                        "started_at": "2026-11-05T10:00:00Z", "ended_at": "2026-11-05T10:01:30Z", "parallel_executions": steps,
                    },
                    "references": { "workflow": { "id": id('b', job.workflow) }, "project": { "id": PROJECT } },
                }}),
            )
        }
        ["tests"] => {
            let lines: String = if job.number == 32 {
                world.tests.iter().map(|test| format!("{test}\n")).collect::<Vec<_>>().concat()
            } else {
                String::new()
            };
            Reply { bytes: Some(lines.into_bytes()), ..Reply::json(200, Value::Null) }
        }
        ["artifacts"] => {
            let one = |(path, machine): (&str, u64)| {
                let url = format!("{}/artifacts/{path}", world.host);
                json!({ "id": "x", "attributes": { "path": path, "url": url, "execution": machine } })
            };
            let all: Vec<Value> = world.files().into_iter().map(one).collect();
            paged(world, &all, given("page[cursor]"), usize::MAX)
        }
        [_, ..] => of_step(world, job, rest, [given("filter[step_num]"), given("filter[execution]")], range),
    }
}

fn of_step(world: &World, job: &Job, rest: &[&str], named: [Option<&str>; 2], range: Option<usize>) -> Reply {
    let numbers = |step: &Step| [step.num, step.execution].map(|number| number.to_string());
    let steps = world.steps_of(job);
    let Some(step) = steps.iter().find(|step| numbers(step).each_ref().map(|number| Some(number.as_str())) == named)
    else {
        return fails(404, "not found");
    };
    let log = world.output(job.number, step.num, step.execution);
    match rest {
        // Without output, 404: the vendor's command line goes on then (`internal/cmd/job/output_list.go`).
        ["stdout", ..] if log.is_empty() => fails(404, "not found"),
        ["stdout", "condensed"] => {
            let text = String::from_utf8_lossy(&log).into_owned();
            let telling: String = text
                .lines()
                .filter(|line| line.contains("error"))
                .map(|line| format!("{line}\n"))
                .collect::<Vec<_>>()
                .concat();
            Reply { bytes: Some(telling.into_bytes()), ..Reply::json(200, Value::Null) }
        }
        ["stdout"] => {
            let from = range.unwrap_or(0);
            if from > log.len() {
                return fails(416, "range");
            }
            let bytes = Some(log[from..].to_vec());
            let headers = if world.log_goes_on { vec![] } else { vec![("x-terminal", "true".to_owned())] };
            Reply { bytes, headers, ..Reply::json(if from > 0 { 206 } else { 200 }, Value::Null) }
        }
        _ if world.stderr.is_empty() => fails(404, "not found"),
        _ => Reply { bytes: Some(world.stderr.clone()), ..Reply::json(200, Value::Null) },
    }
}

/// The search, with the two comparisons that are known of its language.
fn search(world: &World, body: &Value, paged: Paged) -> Reply {
    let limit = body["page"]["limit"].as_u64().unwrap_or_default();
    if !(1..=20).contains(&limit) {
        return fails(400, "Invalid page size");
    }
    if body["scope"]["project_ids"] != json!([PROJECT]) {
        return fails(404, "no such project");
    }
    let time = |name: &str| body["scope"][name].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let (Some(from), Some(to)) = (time("from"), time("to")) else { return fails(400, "from and to are needed") };
    let filter = body["filter"].as_str().unwrap_or_default();
    let mut wanted: (Option<&str>, Option<&str>) = (None, None);
    for part in filter.split(" and ").filter(|part| !part.is_empty()) {
        let value = |name: &str| part.strip_prefix(name)?.strip_prefix(" == \"")?.strip_suffix('"');
        match (value("pipeline.git.branch"), value("pipeline.status")) {
            (Some(branch), _) => wanted.0 = Some(branch),
            (_, Some(status)) => wanted.1 = Some(status),
            _ => return fails(400, "Invalid filter"),
        }
    }
    let status = |run: &Run| {
        let workflows: Vec<&str> =
            world.workflows.iter().filter(|one| one.run == run.number).map(|one| one.status.as_str()).collect();
        super::status::of_run(&run.state, &workflows)
    };
    let fits = |run: &&Run| {
        let at: jiff::Timestamp = run.created_at.parse().unwrap();
        from <= at
            && at <= to
            && wanted.0.is_none_or(|branch| run.branch.as_deref() == Some(branch))
            && wanted.1.is_none_or(|one| status(run) == one)
    };
    let entry = |run: &Run| {
        // What the run itself says is not in its outcome: the setup of one whose configuration was rejected succeeded
        // (CircleCI-Public/circleci-cli #1762).
        let workflows: Vec<&str> =
            world.workflows.iter().filter(|one| one.run == run.number).map(|one| one.status.as_str()).collect();
        let rejected = run.state == "errored" && !workflows.is_empty();
        let status = if rejected { super::status::of_run("created", &workflows) } else { status(run) };
        let errors =
            if run.state == "errored" { json!([{ "type": "config", "message": "no jobs" }]) } else { json!([]) };
        let (phase, _) = outcome(status);
        let current = if status == "success" { "succeeded" } else { status };
        let commit = json!({ "subject": "Add x", "url": "", "author": { "name": "Jo", "login": "jo" } });
        let vcs = json!({ "branch": run.branch, "tag": run.tag, "revision": "abc", "commit": commit });
        json!({
            "id": id('a', run.number),
            "attributes": { "phase": phase, "current_outcome": current, "created_at": run.created_at, "errors": errors },
            "references": {
                "project": { "id": PROJECT }, "user": { "id": id('e', 1) },
                "event": { "attributes": { "type": "push", "vcs": vcs } },
            },
        })
    };
    let all: Vec<Value> = world.runs.iter().filter(fits).map(entry).collect();
    paged(world, &all, body["page"]["cursor"].as_str(), usize::try_from(limit).unwrap())
}
