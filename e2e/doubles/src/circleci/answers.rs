//! What the double answers, by path: a table of the calls that there are, and one function for each version.

use serde_json::{Value, json};

use super::{
    Reply, changes, status,
    world::{CONFIG, CONTINUED, DEFINITION, Job, ORG, PROJECT, Run, Step, Workflow, World, id},
};

type Query<'a> = &'a [(String, String)];

#[allow(clippy::match_same_arms, reason = "a table")]
#[allow(clippy::unnested_or_patterns, reason = "a table")]
/// The query parameters that a call has, or nothing for a call that isn't there.
pub(super) fn parameters(method: &str, path: &[&str]) -> Option<&'static [&'static str]> {
    Some(match (method, path) {
        ("GET", ["v1.1", "projects"] | ["v1.1", "project", _, _, _, _]) => &[],
        ("GET", ["v2", "me"] | ["v2", "project", _, _, _] | ["v2", "project", _, _, _, "job" | "pipeline", _]) => {
            if path.last() == Some(&"mine") {
                &["page-token"]
            } else {
                &[]
            }
        }
        ("GET", ["v2", "project", _, _, _, "pipeline"]) => &["branch", "page-token"],
        ("GET", ["v2", "project", _, _, _, _, "tests" | "artifacts"]) => &["page-token"],
        ("GET", ["v2", "pipeline", _] | ["v2", "pipeline", _, "config"] | ["v2", "workflow", _]) => &[],
        ("GET", ["v2", "pipeline", _, "workflow"] | ["v2", "workflow", _, "job"]) => &["page-token"],
        ("GET", ["v2", "projects", _, "pipeline-definitions"]) => &["page-token"],
        ("GET", ["v2", "insights", _, _, _, "flaky-tests"]) => &[],
        ("GET", ["v2", "insights", _, _, _, "workflows"] | ["v2", "insights", _, _, _, "workflows", _, "jobs"]) => {
            &["page-token", "all-branches", "branch", "reporting-window"]
        }
        ("POST", ["v2", "project", _, _, _, "pipeline"] | ["v2", "project", _, _, _, "pipeline", "run"]) => &[],
        ("POST", ["v2", "workflow", _, "rerun" | "cancel"] | ["v2", "workflow", _, "approve", _]) => &[],
        ("POST", ["v2", "compile-config-with-defaults"]) => &[],
        ("GET", ["v3", "users"]) => &["filter[user_id]"],
        ("GET", ["v3", "jobs", _]) => &[],
        ("GET", ["v3", "jobs", _, "artifacts"]) => &["page[cursor]", "page[limit]"],
        ("GET", ["v3", "jobs", _, "tests"]) => &[],
        ("GET", ["v3", "jobs", _, "stdout" | "stderr"] | ["v3", "jobs", _, "stdout", "condensed"]) => {
            &["filter[execution]", "filter[step_num]"]
        }
        ("GET", ["v3", "pipelines"]) => &["filter[project_id]", "page[cursor]", "page[limit]"],
        ("GET", ["v3", "deploy", "components"]) => {
            &["filter[org_id]", "filter[project_id]", "page[cursor]", "page[limit]"]
        }
        ("GET", ["v3", "deploy", "environments"]) => &["filter[org_id]", "page[cursor]", "page[limit]"],
        ("GET", ["v3", "deploy", "components", _, "versions"]) => {
            &["filter[environment_id]", "page[cursor]", "page[limit]"]
        }
        ("POST", ["v3", "runs", "search"] | ["v3", "configs", "compile"] | ["v3", "projects", _, "rollback"]) => &[],
        ("POST", ["v3", "workflows", _, "rerun" | "cancel"]) => &[],
        _ => return None,
    })
}

/// The fields of a body that a call takes.
pub(super) fn fields(path: &[&str]) -> Option<&'static [&'static str]> {
    Some(match path {
        ["v3", "runs", "search"] => &["scope", "filter", "order_by", "page"],
        ["v3", "configs", "compile"] => &["data"],
        ["v3", "workflows", _, "rerun"] => &["is_from_failed"],
        ["v3", "projects", _, "rollback"] => &[
            "component_id",
            "environment_id",
            "namespace",
            "current_version",
            "target_version",
            "reason",
            "parameters",
        ],
        ["v2", "workflow", _, "rerun"] => &["from_failed", "jobs", "enable_ssh", "sparse_tree"],
        ["v2", "project", _, _, _, "pipeline", "run"] => &["definition_id", "config", "checkout", "parameters"],
        ["v2", "project", _, _, _, "pipeline"] => &["branch", "tag", "parameters"],
        ["v2", "compile-config-with-defaults"] => &["config_yaml", "options"],
        _ => return None,
    })
}

fn given<'a>(query: Query<'a>, name: &str) -> Option<&'a str> {
    query.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
}

/// A page of v2. A token that was not given out is refused.
fn paged(world: &World, all: &[Value], query: Query) -> Reply {
    let from = match given(query, "page-token") {
        None => 0,
        Some("token-lost") => return not_found(),
        Some(token) => match token.strip_prefix("token-").and_then(|at| at.parse().ok()).filter(|at| *at < all.len()) {
            Some(at) => at,
            None => return Reply::fails("v2", 400, "page-token is not one of ours"),
        },
    };
    let end = (from + world.page).min(all.len());
    let lost = world.loses_pages.then(|| "token-lost".to_owned());
    let next = if end < all.len() { Some(format!("token-{end}")) } else { lost };
    Reply::json(200, json!({ "items": all[from..end], "next_page_token": next }))
}

/// A page of v3.
fn paged_v3(world: &World, all: &[Value], cursor: Option<&str>, size: usize) -> Reply {
    let from = match cursor.filter(|cursor| !cursor.is_empty()) {
        None => 0,
        Some("cursor/lost") => return Reply::fails("v3/", 404, "Not found"),
        Some(cursor) => {
            match cursor.strip_prefix("cursor/").and_then(|at| at.parse().ok()).filter(|at| *at < all.len()) {
                Some(at) => at,
                None => return Reply::fails("v3/", 400, "Invalid cursor"),
            }
        }
    };
    let end = (from + size.min(world.page)).min(all.len());
    let lost = world.loses_pages.then(|| "cursor/lost".to_owned());
    let next = if end < all.len() { Some(format!("cursor/{end}")) } else { lost };
    Reply::json(200, json!({ "data": all[from..end], "page": { "next": next, "prev": null } }))
}

pub(super) fn answer(
    world: &mut World,
    method: &str,
    path: &[&str],
    query: Query,
    body: &Value,
    range: Option<usize>,
) -> Reply {
    match path.split_first() {
        Some((&"v3", rest)) => v3(world, method, rest, query, body, range),
        Some((&"v2", rest)) => v2(world, method, rest, query, body),
        Some((_, rest)) => v11(world, rest),
        None => Reply::fails("v2", 404, "Not found"),
    }
}

fn not_found() -> Reply {
    Reply::fails("v2", 404, "Not found")
}

fn pipeline(world: &World, run: &Run) -> Value {
    let errors = json!([{ "type": "config", "message": world.config_error }]);
    let mut vcs = json!({
        "provider_name": "GitHub", "origin_repository_url": "https://github.com/acme/web",
        "target_repository_url": "https://github.com/acme/web", "revision": format!("{:040}", run.number),
        "commit": { "subject": "Add x", "body": "" },
    });
    // A run of a tag has no branch (CircleCI-Archived/api-preview-docs #61).
    match &run.tag {
        Some(tag) => vcs["tag"] = json!(tag),
        None => vcs["branch"] = json!(run.branch.as_deref().unwrap_or("main")),
    }
    json!({
        "id": id('a', run.number), "number": run.number, "state": run.state, "project_slug": run.slug,
        "created_at": run.created_at, "updated_at": run.created_at,
        "errors": if run.state == "errored" { errors } else { json!([]) },
        "trigger": {
            "type": if run.by_api { "api" } else { world.trigger }, "received_at": run.created_at,
            "actor": { "login": "jo", "avatar_url": null },
        },
        "vcs": vcs,
    })
}

fn workflow(world: &World, one: &Workflow) -> Value {
    let run = world.run(one.run).unwrap();
    if one.has_expired {
        return json!({
            "id": null, "name": null, "status": null, "pipeline_id": id('a', one.run), "pipeline_number": one.run,
            "project_slug": run.slug, "created_at": null, "stopped_at": null, "started_by": null,
        });
    }
    let ended = status::is_final(&one.status).then(|| one.created_at.clone());
    let mut value = json!({
        "id": id('b', one.number), "name": one.name, "status": one.status, "pipeline_id": id('a', one.run),
        "pipeline_number": one.run, "project_slug": run.slug, "created_at": one.created_at, "stopped_at": ended,
        "started_by": id('e', 1),
    });
    let reruns = [("max_auto_reruns", one.max_auto_reruns), ("auto_rerun_number", one.auto_rerun_number)];
    let there = reruns.into_iter().filter(|(_, number)| *number > 0);
    value.as_object_mut().unwrap().extend(there.map(|(name, number)| (name.to_owned(), json!(number))));
    if one.is_setup {
        value["tag"] = json!("setup");
    }
    value
}

fn job(world: &World, one: &Job) -> Value {
    let mut value = json!({
        "id": id('c', one.number), "name": one.name, "status": one.status, "project_slug": world.slug,
        "type": if one.is_approval { "approval" } else { "build" }, "started_at": "2026-11-05T10:00:00Z",
        "dependencies": one.needs.iter().map(|number| id('c', *number)).collect::<Vec<_>>(),
    });
    let map = value.as_object_mut().unwrap();
    // Approvals have a number, too, of which there is no detail (Kesin11/CIAnalyzer #1120).
    if one.has_begun() {
        map.insert("job_number".into(), json!(one.number));
    }
    if one.is_approval {
        map.insert("approval_request_id".into(), json!(id('d', one.number)));
    } else {
        map.insert("stopped_at".into(), json!("2026-11-05T10:01:30Z"));
    }
    map.extend(one.approved_by.iter().map(|by| ("approved_by".to_owned(), json!(by))));
    value
}

fn v11(world: &World, path: &[&str]) -> Reply {
    match path {
        ["projects"] => Reply::json(
            200,
            json!([
                { "vcs_type": "github", "username": "acme", "reponame": "web", "branches": {} },
                {
                    "vcs_type": "circleci", "slug": "circleci/o/p", "name": "app", "username": "acme", "reponame": "app",
                    "vcs_url": format!("//circleci.com/{ORG}/{PROJECT}"),
                },
                { "vcs_type": "bitbucket", "username": "other", "reponame": "api" },
            ]),
        ),
        ["project", provider, organization, project, number] if world.knows(&[provider, organization, project]) => {
            let Some(job) = world.job_by_number(number) else { return not_found() };
            // The fields of real ones of 2019, which clients keep in their sources. That there are two for reruns is documented,
            // and not where each try stands: here each is a step of its own.
            let action = |step: &Step| {
                let (num, index) = (step.num, step.execution);
                let link = format!("{}/output/{number}/{num}/{index}?signature=planted", world.files);
                let mut value = json!({
                    "index": index, "step": num, "name": step.name, "status": step.status, "exit_code": step.exit_code,
                    "failed": (step.status == "failed").then_some(true), "insignificant": step.insignificant,
                    "parallel": true, "background": false, "output_url": link,
                });
                if let Some(rerun) = step.auto_rerun_number {
                    (value["auto_rerun_number"], value["max_auto_reruns"]) = (json!(rerun), json!(3));
                }
                value
            };
            let steps = world.steps_of(job);
            let of_num = |num: u64| steps.iter().filter(move |step| step.num == num);
            let mut nums: Vec<u64> = steps.iter().map(|step| step.num).collect();
            nums.sort_unstable();
            nums.dedup();
            let steps: Vec<Value> = nums
                .into_iter()
                .map(|num| {
                    let actions: Vec<Value> = of_num(num).map(action).collect();
                    json!({ "name": actions[0]["name"], "actions": actions })
                })
                .collect();
            Reply::json(200, json!({ "build_num": job.number, "steps": steps }))
        }
        _ => not_found(),
    }
}

fn v2(world: &mut World, method: &str, path: &[&str], query: Query, body: &Value) -> Reply {
    match (method, path) {
        (_, ["me"]) => Reply::json(200, json!({ "id": id('e', 1), "login": "bot", "name": "Bot", "avatar_url": "" })),
        (_, ["project" | "insights", provider, organization, project, rest @ ..]) => {
            if !world.knows(&[provider, organization, project]) {
                return Reply::fails("v2", 404, "Project not found");
            }
            match (method, path[0]) {
                ("POST", _) => changes::trigger(world, &[*provider, organization, project].join("/"), rest, body),
                (_, "insights") => insights(world, rest, query),
                _ => of_project(world, rest, query),
            }
        }
        (_, ["pipeline", run, rest @ ..]) => {
            let Some(run) = world.run_by_id(run) else { return not_found() };
            match rest {
                [] => Reply::json(200, pipeline(world, run)),
                ["config"] => {
                    let compiled = "version: 2\n";
                    Reply::json(
                        200,
                        if world.has_setup {
                            json!({
                                "source": CONTINUED, "compiled": compiled, "setup-config": CONFIG,
                                "compiled-setup-config": compiled,
                            })
                        } else {
                            json!({ "source": CONFIG, "compiled": compiled })
                        },
                    )
                }
                _ => {
                    let of_run = world.workflows.iter().filter(|one| one.run == run.number);
                    paged(world, &of_run.map(|one| workflow(world, one)).collect::<Vec<_>>(), query)
                }
            }
        }
        ("GET", ["workflow", wanted, rest @ ..]) => {
            let Some(one) = world.workflow(wanted).cloned() else { return not_found() };
            if rest == ["job"] {
                let jobs = world.jobs.iter().filter(|job| job.workflow == one.number);
                return paged(world, &jobs.map(|one| job(world, one)).collect::<Vec<_>>(), query);
            }
            let answer = workflow(world, &one);
            if one.status == "running" && world.cancels_late == 1 {
                "canceled".clone_into(&mut world.workflow_mut(wanted).unwrap().status);
            }
            world.cancels_late = world.cancels_late.saturating_sub(1);
            Reply::json(200, answer)
        }
        (_, ["workflow", wanted, rest @ ..]) => changes::change(world, wanted, rest, body),
        (_, ["projects", PROJECT, "pipeline-definitions"]) => {
            let all: Vec<Value> = (0..world.definitions)
                .map(|number| {
                    let source = json!({ "provider": "github_app", "repo": { "full_name": "acme/web" }, "file_path": ".circleci/config.yml" });
                    json!({ "id": definition(number), "name": format!("d{number}"), "config_source": source, "checkout_source": source })
                })
                .collect();
            paged(world, &all, query)
        }
        (_, ["compile-config-with-defaults"]) => {
            let options = &body["options"];
            let wrong = compiled(body["config_yaml"].as_str(), &options["pipeline_values"], &options["owner_id"]);
            let valid = wrong.is_none();
            // None is null, as clients met it (CircleCI-Public/mcp-server-circleci #35).
            let errors = wrong.map_or(Value::Null, |message| json!([{ "message": message }]));
            Reply::json(
                200,
                json!({ "valid": valid, "errors": errors, "output-yaml": "version: 2\n", "source-yaml": "" }),
            )
        }
        _ => not_found(),
    }
}

/// What is wrong with a configuration: also that it uses a value of pipelines that isn't given, or a parameter
/// (CircleCI-Public/circleci-cli #363, #442; 5bb7183, `acceptance/config_test.go`). A private orb is found for its organization
/// only (circleci-cli #871, with the words; 5bb7183, `internal/apiclient/config.go`).
pub(super) fn compiled(config: Option<&str>, values: &Value, organization: &Value) -> Option<String> {
    let config = config.filter(|text| text.contains("version"));
    let Some(config) = config else { return Some("no version".to_owned()) };
    if config.contains("acme/private@1.0") && organization != ORG {
        let check = "Check that the namespace, orb name and version are correct.";
        return Some(format!("Cannot find acme/private@1.0 in the orb registry. {check}"));
    }
    let words = config.split(|c: char| !c.is_ascii_alphanumeric() && !"_.".contains(c));
    let unknown: Vec<&str> = words.filter(|word| word.starts_with("pipeline.") && values[*word].is_null()).collect();
    let what = match unknown.first()? {
        one if one.starts_with("pipeline.parameters.") => {
            format!("Referred to a variable \"{one}\" that does not exist:\n<< {one} >>")
        }
        _ => format!("Unknown variable(s): {}", unknown.join(", ")),
    };
    Some(format!("Error calling job: 'build'\n{what}"))
}

pub(super) fn definition(number: usize) -> String {
    if number == 0 { DEFINITION.to_owned() } else { id('f', number as u64) }
}

fn of_project(world: &World, rest: &[&str], query: Query) -> Reply {
    match rest {
        [] => Reply::json(
            200,
            json!({
                "id": PROJECT, "slug": world.slug, "name": "web", "organization_name": "acme", "organization_slug": "gh/acme",
                "organization_id": ORG,
                "vcs_info": { "vcs_url": "https://github.com/acme/web", "provider": "GitHub", "default_branch": "main" },
            }),
        ),
        ["pipeline"] | ["pipeline", "mine"] => {
            let branch = given(query, "branch");
            let runs =
                world.runs.iter().filter(|run| branch.is_none_or(|branch| run.branch.as_deref() == Some(branch)));
            paged(world, &runs.map(|run| pipeline(world, run)).collect::<Vec<_>>(), query)
        }
        ["pipeline", number] => match number.parse().ok().and_then(|number| world.run(number)) {
            Some(run) => Reply::json(200, pipeline(world, run)),
            None => not_found(),
        },
        ["job", number] => match world.job_by_number(number) {
            Some(job) => Reply::json(
                200,
                json!({
                    "name": job.name, "number": job.number, "status": job.status, "parallelism": 1, "duration": 90_000,
                    "executor": { "resource_class": "large", "type": "docker" }, "web_url": "https://app.circleci.com/x",
                    "latest_workflow": { "id": id('b', job.workflow), "name": "build" }, "parallel_runs": [],
                    "started_at": "2026-11-05T10:00:00Z", "stopped_at": "2026-11-05T10:01:30Z", "contexts": [],
                    "messages": world.messages.get(&job.number).unwrap_or(&json!([])),
                    "created_at": "2026-11-05T09:59:00Z", "queued_at": "2026-11-05T09:59:30Z",
                    "project": { "id": PROJECT, "slug": world.slug, "name": "web", "external_url": "https://github.com/acme/web" },
                    "pipeline": { "id": id('a', world.run_of(job)) }, "organization": { "name": "acme" },
                }),
            ),
            None => not_found(),
        },
        [number, "tests"] if world.job_by_number(number).is_some() => {
            let tests = if *number == "32" { &world.tests[..] } else { &[] };
            paged(world, tests, query)
        }
        [number, "artifacts"] if world.job_by_number(number).is_some() => {
            let one =
                |(path, machine): (&str, u64)| json!({ "path": path, "node_index": machine, "url": link(world, path) });
            paged(world, &world.files().into_iter().map(one).collect::<Vec<_>>(), query)
        }
        _ => not_found(),
    }
}

fn link(world: &World, path: &str) -> String {
    format!("{}/artifacts/{path}", world.host)
}

fn insights(world: &World, rest: &[&str], query: Query) -> Reply {
    let windows = ["last-24-hours", "last-7-days", "last-30-days", "last-60-days", "last-90-days"];
    if given(query, "reporting-window").is_some_and(|window| !windows.contains(&window)) {
        return Reply::fails("v2", 400, "reporting-window");
    }
    if rest == ["flaky-tests"] {
        let test = |name: &str, times: u64| {
            json!({
                "test-name": name, "classname": "math", "file": "m.rs", "source": "x", "job-name": "test", "job-number": 32,
                "workflow-name": "build", "workflow-id": id('b', 1), "pipeline-number": 5, "times-flaked": times,
                "workflow-created-at": "2026-11-05T10:00:00.000Z", "time-wasted": 3,
            })
        };
        return Reply::json(
            200,
            json!({ "flaky-tests": [test("rarely", 1), test("often", 9)], "total-flaky-tests": 2 }),
        );
    }
    let insight = |name: &str| {
        json!({
            "name": name, "project_id": PROJECT, "window_start": "2026-10-06T00:00:00Z", "window_end": "2026-11-05T00:00:00Z",
            "metrics": {
                "total_runs": 10, "successful_runs": 9, "failed_runs": 1, "success_rate": 0.9, "throughput": 0.33, "mttr": 60,
                "total_credits_used": 500, "total_recoveries": 1,
                "duration_metrics": { "min": 1, "mean": 5, "median": 5, "p95": 9, "max": 10, "standard_deviation": 1.5 },
            },
        })
    };
    paged(world, &["build", "deploy", "lint"].map(insight), query)
}

fn v3(world: &mut World, method: &str, path: &[&str], query: Query, body: &Value, range: Option<usize>) -> Reply {
    super::answers_v3::answer(world, method, path, query, body, range, paged_v3)
}
