//! The tools that read, on the cloud and on a Server.

use serde_json::{Value, json};

use super::{
    TOKEN, calls, cloud, connect,
    double::Double,
    good, server,
    world::{PROJECT, ago, id},
};
use tools::ErrorCode;

/// The paths that a call asked for.
fn paths(double: &Double) -> Vec<String> {
    double.seen().into_iter().map(|one| format!("{} {}", one.method, one.path)).collect()
}

#[tokio::test]
async fn every_tool_that_reads_works_on_both_and_asks_little() {
    // Requests of one call on the cloud and on a Server.
    let counts = [
        ("list_circleci_projects", 1, 1),
        ("list_circleci_runs", 4, 3),
        ("get_circleci_pipeline_status", 2, 2),
        ("wait_circleci_run", 2, 2),
        ("get_circleci_workflow", 3, 3),
        ("get_circleci_workflow_jobs", 3, 3),
        ("get_circleci_job", 3, 2),
        ("get_circleci_job_log", 4, 2),
        ("get_circleci_failure_report", 8, 8),
        ("get_circleci_job_tests", 2, 2),
        ("get_circleci_flaky_tests", 1, 1),
        ("get_circleci_insights", 2, 2),
        ("get_circleci_job_artifacts", 2, 2),
        ("get_circleci_artifact", 2, 2),
        ("list_circleci_pipeline_definitions", 2, 2),
        ("validate_circleci_config", 1, 1),
    ];
    let calls = calls();
    for (tool, on_cloud, on_server) in counts {
        let arguments = calls.iter().find(|(name, _)| *name == tool).unwrap().1.clone();
        for (is_server, expected) in [(false, on_cloud), (true, on_server)] {
            let double = if is_server { Double::start_server().await } else { Double::start().await };
            let connector = if is_server { server(&double) } else { cloud(&double) };
            good(&connector, tool, arguments.clone()).await;
            assert_eq!(double.total(), expected, "{tool} {is_server}: {:?}", paths(&double));
        }
    }
}

#[tokio::test]
async fn answers_about_what_has_ended_are_final() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let job = |number: u64| json!({ "project_slug": "gh/acme/web", "job_number": number });
        let artifact = json!({ "project_slug": "gh/acme/web", "job_number": 32, "path": "out/log.txt" });
        let failed = json!({ "workflow_id": id('b', 1) });
        // That a job has ended is not in the lists of its tests and artifacts: it must have been seen before.
        assert!(!connector.is_final("get_circleci_job_tests", job(32)).await);
        assert!(!connector.is_final("get_circleci_job_artifacts", job(32)).await);
        let of_a_run = [
            ("get_circleci_pipeline_status", json!({ "pipeline_id": id('a', 5) })),
            ("get_circleci_workflow", failed.clone()),
            ("get_circleci_workflow_jobs", failed.clone()),
            ("get_circleci_failure_report", failed.clone()),
            ("get_circleci_failure_report", json!({ "pipeline_id": id('a', 5) })),
        ];
        let of_a_job = [
            ("get_circleci_job", job(32)),
            ("get_circleci_job_log", job(32)),
            ("get_circleci_job_tests", job(32)),
            ("get_circleci_job_artifacts", job(32)),
            ("get_circleci_artifact", artifact),
        ];
        for (tool, arguments) in of_a_run.iter().chain(&of_a_job) {
            assert!(connector.tools[*tool].declaration.cached_if_final, "{tool}");
            assert!(connector.is_final(tool, arguments.clone()).await, "{tool} {arguments} {is_server}");
        }
        let mut with_links = job(32);
        with_links["include_urls"] = json!(true);
        assert!(!connector.is_final("get_circleci_job_artifacts", with_links).await, "links end");
        // The newest run is another one soon.
        let newest = json!({ "project_slug": "gh/acme/web" });
        assert!(!connector.is_final("get_circleci_failure_report", newest).await);

        double.change(|state| state.world.workflows.iter_mut().for_each(|one| one.status = "failing".into()));
        for (tool, arguments) in &of_a_run {
            assert!(!connector.is_final(tool, arguments.clone()).await, "{tool} {arguments} {is_server}");
        }
        double.change(|state| state.world.jobs.iter_mut().for_each(|one| one.status = "running".into()));
        for tool in ["get_circleci_job", "get_circleci_job_log"] {
            assert!(!connector.is_final(tool, job(32)).await, "{tool} {is_server}");
        }
    }
}

#[tokio::test]
async fn projects_have_slugs_and_only_allowed_ones_are_listed() {
    let double = Double::start().await;
    let all = good(&cloud(&double), "list_circleci_projects", json!({})).await;
    let slugs: Vec<_> = all["items"].as_array().unwrap().iter().map(|one| one["slug"].as_str().unwrap()).collect();
    assert_eq!(slugs, ["bb/other/api", "circleci/o/p", "gh/acme/web"]);
    let spec = json!({ "apiVersion": "V3", "projects": ["github/acme/*"] });
    let some = connect(&double.uri(), &[("token", TOKEN)], &spec);
    let some = good(&some, "list_circleci_projects", json!({})).await;
    assert_eq!(some["items"], json!([{ "slug": "gh/acme/web", "vcs": "github" }]));
    let none = good(&cloud(&double), "list_circleci_projects", json!({ "name_contains": "nothing" })).await;
    assert!(none["hints"][0].is_string(), "{none}");
}

#[tokio::test]
async fn pages_go_on_where_they_ended() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        for limit in [1, 2, 3, 100] {
            let (mut seen, mut cursor): (Vec<String>, Option<Value>) = (Vec::new(), None);
            loop {
                let mut arguments = json!({ "project_slug": "gh/acme/web", "limit": limit });
                if let Some(cursor) = &cursor {
                    arguments["cursor"] = cursor.clone();
                }
                let page = good(&connector, "list_circleci_runs", arguments).await;
                seen.extend(page["items"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()));
                assert_eq!(page["truncated"], page.get("next_cursor").is_some());
                match page.get("next_cursor") {
                    Some(next) => cursor = Some(next.clone()),
                    None => break,
                }
            }
            let all: Vec<String> = (1..=5).rev().map(|number| id('a', number)).collect();
            assert_eq!(seen, all, "{is_server} {limit}");
        }
        let arguments = json!({ "project_slug": "gh/acme/web", "cursor": "bm90LW91cnM" });
        let error = connector.call("list_circleci_runs", arguments).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{is_server}: {error:?}");
    }
}

#[tokio::test]
async fn runs_are_found_by_branch_state_and_time() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let numbers = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
    };
    let with = |more: Value| {
        let mut arguments = json!({ "project_slug": "gh/acme/web" });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    for (more, expected) in [
        (json!({ "branch": "feature/x" }), vec![4]),
        (json!({ "status": "failed" }), vec![5]),
        (json!({ "from": "-7d12h", "to": "-5d12h" }), vec![4, 3]),
        (json!({ "branch": "none" }), vec![]),
    ] {
        let found = good(&connector, "list_circleci_runs", with(more.clone())).await;
        assert_eq!(numbers(&found), expected.iter().map(|number| id('a', *number)).collect::<Vec<_>>(), "{more}");
        assert_eq!(found.get("hints").is_some(), expected.is_empty());
    }
    let body = double.body("POST", "v3/runs/search");
    assert_eq!(
        (&body["scope"]["project_ids"], &body["filter"]),
        (&json!([PROJECT]), &json!("pipeline.git.branch == \"none\""))
    );
    let odd = connector.call("list_circleci_runs", with(json!({ "branch": "a\" or \"" }))).await.unwrap_err();
    assert_eq!(odd.argument.as_deref(), Some("branch"));
    let mine = good(&connector, "list_circleci_runs", with(json!({ "mine": true, "limit": 1 }))).await;
    assert_eq!(
        (mine["items"][0]["number"].as_u64(), double.count("GET", "v2/project/gh/acme/web/pipeline/mine")),
        (Some(5), 1)
    );

    let double = Double::start_server().await;
    let connector = server(&double);
    let since = good(&connector, "list_circleci_runs", with(json!({ "from": "-6d12h" }))).await;
    assert_eq!((numbers(&since).len(), &since["truncated"]), (2, &json!(false)));
    let state = connector.call("list_circleci_runs", with(json!({ "status": "failed" }))).await.unwrap_err();
    assert_eq!(state.argument.as_deref(), Some("status"));
}

#[tokio::test]
async fn a_run_is_found_by_id_number_and_link_and_says_how_it_does() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let link = "https://app.circleci.com/pipelines/github/acme/web/5/workflows/x";
    for arguments in [
        json!({ "pipeline_id": id('a', 5) }),
        json!({ "project_slug": "gh/acme/web", "number": 5 }),
        json!({ "pipeline_id": link }),
    ] {
        let run = good(&connector, "get_circleci_pipeline_status", arguments).await;
        assert_eq!((&run["number"], &run["status"], &run["finished"]), (&json!(5), &json!("failed"), &json!(true)));
        assert_eq!((&run["actor"], &run["vcs"]["commit_subject"]), (&json!("jo"), &json!("Add x")));
        assert_eq!(run["workflows"].as_array().unwrap().len(), 2);
    }
    for wrong in [json!({}), json!({ "pipeline_id": "x" }), json!({ "pipeline_id": id('a', 5), "number": 5 })] {
        let error = connector.call("get_circleci_pipeline_status", wrong).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
    }
    let gone = connector.call("get_circleci_pipeline_status", json!({ "pipeline_id": id('a', 99) })).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn every_state_of_a_workflow_is_told_and_ends_a_wait_or_not() {
    for (status, finished) in [
        ("success", true),
        ("failed", true),
        ("error", true),
        ("canceled", true),
        ("unauthorized", true),
        ("not_run", true),
        ("running", false),
        ("failing", false),
        ("on_hold", false),
        ("queued", false),
    ] {
        let double = Double::start().await;
        double.change(|state| {
            state.world.workflows.retain(|one| one.run == 5 && one.name == "build");
            state.world.workflows[0].status = status.to_owned();
        });
        let waited =
            good(&cloud(&double), "wait_circleci_run", json!({ "pipeline_id": id('a', 5), "wait_seconds": 0 })).await;
        assert_eq!((&waited["finished"], &waited["run"]["status"]), (&json!(finished), &json!(status)));
        assert!(
            finished && status != "failed" || waited["run"]["hints"][0].is_string() || status == "success",
            "{waited}"
        );
    }
}

#[tokio::test]
async fn a_rerun_takes_the_place_of_what_it_repeats_and_a_broken_configuration_is_told() {
    let double = Double::start().await;
    double.change(|state| {
        let mut again = state.world.workflows[0].clone();
        (again.number, again.status, again.created_at) = (9, "success".into(), ago(1, 0));
        state.world.workflows.push(again);
        state.world.runs[4].state = "errored".into();
    });
    let connector = cloud(&double);
    let run = good(&connector, "get_circleci_pipeline_status", json!({ "pipeline_id": id('a', 5) })).await;
    assert_eq!((&run["status"], &run["workflows"][0]["id"]), (&json!("success"), &json!(id('b', 9))));
    let broken = good(&connector, "get_circleci_pipeline_status", json!({ "pipeline_id": id('a', 1) })).await;
    assert_eq!((&broken["status"], &broken["errors"]), (&json!("error"), &json!(["config: no jobs"])));
}

#[tokio::test]
async fn a_wait_looks_again_until_the_run_has_ended() {
    let double = Double::start().await;
    double.change(|state| state.world.workflows.iter_mut().for_each(|one| one.status = "running".into()));
    let mut connector = cloud(&double);
    connector.patience = std::time::Duration::from_secs(30);
    let wait = connector.call("wait_circleci_run", json!({ "pipeline_id": id('a', 5) }));
    let end = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        double.change(|state| state.world.workflows.iter_mut().for_each(|one| one.status = "success".into()));
    };
    let (waited, ()) = tokio::join!(wait, end);
    assert_eq!(waited.unwrap()["finished"], true);
    assert_eq!(double.count("GET", &format!("v2/pipeline/{}/workflow", id('a', 5))), 2);
}

#[tokio::test]
async fn jobs_tell_what_waits_and_what_failed() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let jobs = good(&connector, "get_circleci_workflow_jobs", json!({ "workflow_id": id('b', 1) })).await;
    let test = &jobs["items"][1];
    assert_eq!(
        (&test["job_number"], &test["status"], &test["duration_sec"]),
        (&json!(32), &json!("failed"), &json!(90))
    );
    let held = good(&connector, "get_circleci_workflow", json!({ "workflow_id": id('b', 3) })).await;
    assert_eq!(held["approvals"][0]["approval_request_id"], id('d', 34));
    assert_eq!(held["jobs"], json!({ "blocked": 1, "on_hold": 1 }));
    let job = good(&connector, "get_circleci_job", json!({ "job_id": id('c', 32) })).await;
    assert_eq!(
        job["steps"][1],
        json!({ "num": 101, "execution": 0, "name": "make", "status": "failed", "exit_code": 2 })
    );
    let link = "https://app.circleci.com/pipelines/gh/acme/web/5/workflows/x/jobs/32";
    let job = good(&connector, "get_circleci_job", json!({ "job_id": link })).await;
    assert_eq!((&job["executor"], &job["job_number"]), (&json!("docker large"), &json!(32)));
    let waiting = good(&connector, "get_circleci_job", json!({ "job_id": id('c', 33) })).await;
    assert!(waiting["steps"].as_array().unwrap().is_empty() && waiting["hints"][0].is_string());

    let double = Double::start_server().await;
    let connector = server(&double);
    let by_id = connector.call("get_circleci_job", json!({ "job_id": id('c', 32) })).await.unwrap_err();
    assert_eq!(by_id.argument.as_deref(), Some("job_id"));
    let job = good(&connector, "get_circleci_job", json!({ "project_slug": "gh/acme/web", "job_number": 32 })).await;
    assert_eq!((&job["steps"][1]["exit_code"], &job["status"]), (&json!(2), &json!("failed")));
}

#[tokio::test]
async fn tests_are_counted_and_failed_ones_shown() {
    for (is_server, arguments) in [
        (false, json!({ "job_id": id('c', 32) })),
        (false, json!({ "project_slug": "gh/acme/web", "job_number": 32 })),
        (true, json!({ "project_slug": "gh/acme/web", "job_number": 32 })),
    ] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let tests = good(&connector, "get_circleci_job_tests", arguments.clone()).await;
        assert_eq!((&tests["total"], &tests["failed"], &tests["skipped"]), (&json!(3), &json!(1), &json!(1)));
        assert_eq!((&tests["cases"][0]["name"], &tests["cases"][0]["message"]), (&json!("divides"), &json!("by zero")));
        let mut all = arguments;
        (all["only_failed"], all["limit"]) = (json!(false), json!(2));
        let first = good(&connector, "get_circleci_job_tests", all.clone()).await;
        all["cursor"] = first["next_cursor"].clone();
        let second = good(&connector, "get_circleci_job_tests", all).await;
        assert_eq!((second["cases"][0]["name"].as_str(), second.get("next_cursor")), (Some("roots"), None));
    }
    let double = Double::start().await;
    let none =
        good(&cloud(&double), "get_circleci_job_tests", json!({ "project_slug": "gh/acme/web", "job_number": 31 }))
            .await;
    assert!(none["hints"][0].as_str().unwrap().contains("no test results"));
}

#[tokio::test]
async fn insights_flaky_tests_and_definitions() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let project = json!({ "project_slug": "gh/acme/web" });
    let flaky = good(&connector, "get_circleci_flaky_tests", project.clone()).await;
    assert_eq!((&flaky["items"][0]["name"], &flaky["items"][0]["times_flaked"]), (&json!("often"), &json!(9)));
    let arguments = json!({ "project_slug": "gh/acme/web", "workflow": "build", "branch": "main", "window": "7d" });
    double.want(
        "v2/insights/gh/acme/web/workflows/release/jobs",
        200,
        &[],
        &json!({ "items": [], "next_page_token": null }),
    );
    let of_tags = json!({ "project_slug": "gh/acme/web", "workflow": "release" });
    let none = good(&connector, "get_circleci_insights", of_tags).await;
    assert!(none["hints"][0].as_str().unwrap().contains("a tag started, are not counted"), "{none}");
    let jobs = good(&connector, "get_circleci_insights", arguments).await;
    assert_eq!((&jobs["items"][0]["success_rate"], &jobs["items"][0]["duration_p95_sec"]), (&json!(0.9), &json!(9)));
    let asked = double.seen().into_iter().find(|one| one.path.ends_with("workflows/build/jobs")).unwrap();
    let query = [("reporting-window", "last-7-days"), ("branch", "main")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(asked.query, query);
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        double.change(|state| state.world.definitions = 3);
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let found = good(&connector, "list_circleci_pipeline_definitions", project.clone()).await;
        assert_eq!(found["items"].as_array().unwrap().len(), 3);
        assert_eq!(found["items"][0]["config_source"], "github_app acme/web .circleci/config.yml");
    }
}

#[tokio::test]
async fn a_configuration_is_checked() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let bad = good(&connector, "validate_circleci_config", json!({ "config": "jobs: {}" })).await;
        assert_eq!((&bad["valid"], &bad["errors"]), (&json!(false), &json!(["no version"])));
        let arguments = json!({ "project_slug": "gh/acme/web", "branch": "main", "include_compiled": true });
        let own = good(&connector, "validate_circleci_config", arguments).await;
        assert_eq!(
            (&own["valid"], &own["of_run"], &own["compiled"]),
            (&json!(true), &json!(5), &json!("version: 2\n"))
        );
    }
}
