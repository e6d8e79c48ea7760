//! Every tool that reads: what it asks, and what it answers.

use serde_json::{Value, json};

use super::{double::Double, good, subject, with_token};
use tools::{Effect, ErrorCode};

fn names(answer: &Value, list: &str, field: &str) -> Vec<String> {
    answer[list].as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn answers_about_an_ended_build_are_final_if_it_was_named_by_its_number() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let about = |tool: &str, build: Value| match tool {
        "search_jenkins_build_log" => json!({ "job": "team/web", "build": build, "pattern": "error" }),
        _ => json!({ "job": "team/web", "build": build }),
    };
    let tools = [
        "get_jenkins_build_status",
        "get_jenkins_build_stages",
        "get_jenkins_failure_report",
        "get_jenkins_build_log",
        "search_jenkins_build_log",
        "get_jenkins_test_results",
        "list_jenkins_artifacts",
    ];
    for tool in tools {
        assert!(connector.tools[tool].declaration.cached_if_final, "{tool}");
        assert!(connector.is_final(tool, about(tool, json!(2))).await, "{tool}");
        let last = about(tool, json!("lastCompleted"));
        assert!(!connector.is_final(tool, last).await, "{tool}: it is another one soon");
    }
    double.change(|state| state.jobs.get_mut("team/web").unwrap().builds.get_mut(&2).unwrap().building = true);
    for tool in tools {
        assert!(!connector.is_final(tool, about(tool, json!(2))).await, "{tool}: it runs");
    }
}

#[tokio::test]
async fn every_tool_that_reads_makes_few_requests() {
    let double = Double::start().await;
    let connector = with_token(&double);
    good(&connector, "trigger_jenkins_build", json!({ "job": "plain", "wait_seconds": 0 })).await;
    for (tool, arguments) in (subject().calls)() {
        if connector.tools[tool].declaration.effect != Effect::Read {
            continue;
        }
        let before = double.total();
        good(&connector, tool, arguments).await;
        let most = match tool {
            // The top, and the one folder in it; others look at the build first.
            "search_jenkins_jobs"
            | "get_jenkins_build_log"
            | "search_jenkins_build_log"
            | "get_jenkins_test_results"
            | "get_jenkins_artifact"
            | "list_jenkins_pending_inputs" => 2,
            "get_jenkins_build_stages" => 3,
            "get_jenkins_failure_report" => 5,
            _ => 1,
        };
        assert_eq!(double.total() - before, most, "{tool}");
    }
}

#[tokio::test]
async fn jobs_are_found_in_folders() {
    let double = Double::start().await;
    let connector = with_token(&double);
    for (arguments, expected) in [
        (json!({}), vec!["plain", "team", "team/matrix", "team/off", "team/shop", "team/web"]),
        (json!({ "depth": 1 }), vec!["plain", "team"]),
        (json!({ "depth": 5, "pattern": "SHOP*login" }), vec!["team/shop/feature%2Flogin"]),
        (json!({ "folder": "team", "depth": 1, "status": "failed" }), vec!["team/matrix", "team/web"]),
        (json!({ "status": "disabled" }), vec!["team/off"]),
        (json!({ "pattern": "nowhere" }), vec![]),
    ] {
        let page = good(&connector, "search_jenkins_jobs", arguments.clone()).await;
        assert_eq!(names(&page, "items", "name"), expected, "{arguments}");
        assert_eq!(page["hints"].is_array(), expected.is_empty(), "{arguments}");
    }
    let page = good(&connector, "search_jenkins_jobs", json!({ "limit": 2 })).await;
    let rest = good(&connector, "search_jenkins_jobs", json!({ "cursor": page["next_cursor"] })).await;
    assert_eq!(names(&rest, "items", "name"), ["team/matrix", "team/off", "team/shop", "team/web"]);
    let error = connector.call("search_jenkins_jobs", json!({ "folder": "tema" })).await.unwrap_err();
    assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::NotFound, Some("folder")));
}

#[tokio::test]
async fn a_search_looks_into_twenty_folders() {
    let double = Double::start().await;
    double.change(|state| {
        let folder = state.jobs["team"].clone();
        state.jobs.extend((0..30).map(|number| (format!("folder{number:02}"), folder.clone())));
    });
    let page = good(&with_token(&double), "search_jenkins_jobs", json!({})).await;
    assert_eq!(double.total(), 20);
    assert!(page["hints"][0].as_str().unwrap().contains("20 folders"), "{page}");
}

#[tokio::test]
async fn a_job_tells_its_parameters_and_masks_defaults() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let job = good(&connector, "get_jenkins_job", json!({ "job": "team/web" })).await;
    let expected = json!({ "name": "ENV", "type": "choice", "description": "Where", "default": "dev",
                           "choices": ["dev", "prod"], "required": false });
    assert_eq!(job["parameters"][0], expected);
    assert_eq!(job["parameters"][2]["default"], "********");
    assert_eq!((&job["status"], &job["last_build"]["number"]), (&json!("failed"), &json!(2)));
    assert_eq!(job["last_successful_build"]["number"], 1);
    let branch = good(&connector, "get_jenkins_job", json!({ "job": "team/shop/feature%2Flogin" })).await;
    assert_eq!(branch["status"], "unstable");
    let folder = good(&connector, "get_jenkins_job", json!({ "job": "team/shop" })).await;
    assert_eq!((&folder["folder"], &folder["buildable"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn builds_are_listed_by_state_and_time() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let numbers = |page: &Value| {
        page["items"].as_array().unwrap().iter().map(|build| build["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let list = |more: Value| {
        let mut arguments = json!({ "job": "team/web" });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        good(&connector, "list_jenkins_builds", arguments)
    };
    let page = list(json!({ "limit": 1 })).await;
    assert_eq!((numbers(&page), page["items"][0]["status"].clone()), (vec![2], json!("failure")));
    assert_eq!(page["items"][0]["started"], "2026-01-22T16:40:00Z");
    assert_eq!(numbers(&list(json!({ "cursor": page["next_cursor"] })).await), [1]);
    assert_eq!(numbers(&list(json!({ "status": "success" })).await), [1]);
    assert_eq!(numbers(&list(json!({ "since": "2026-01-22T00:00:00Z" })).await), [2]);
    let none = list(json!({ "status": "aborted" })).await;
    assert!(none["hints"][0].as_str().unwrap().contains("none that match"), "{none}");
    let error = connector.call("list_jenkins_builds", json!({ "job": "plain", "since": "soon" })).await.unwrap_err();
    assert_eq!(error.argument.as_deref(), Some("since"));
}

#[tokio::test]
async fn a_build_tells_what_it_was_started_with() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let build = good(&connector, "get_jenkins_build_status", json!({ "job": "team/web" })).await;
    assert_eq!((&build["number"], &build["status"]), (&json!(2), &json!("failure")));
    assert_eq!(build["causes"], json!(["Started by user ann"]));
    assert_eq!(build["commits"][0]["message"], "Fix https://git.example.com/web.git");
    assert_eq!(build["parameters"][0], json!({ "name": "ENV", "value": "prod" }));
    assert_eq!(build["parameters"][1], json!({ "name": "DEPLOY_TOKEN", "value": "********" }));
    let plain = good(&connector, "get_jenkins_build_status", json!({ "job": "plain", "build": 3 })).await;
    assert_eq!(plain["commits"][0]["id"], "abc123");
}

#[tokio::test]
async fn stages_lead_to_the_step_that_failed() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let stages = good(&connector, "get_jenkins_build_stages", json!({ "job": "team/web" })).await;
    assert_eq!(names(&stages, "stages", "status"), ["SUCCESS", "FAILED"]);
    let step = json!({ "stage": "Test", "step": "Shell Script", "error": "script returned exit code 2" });
    assert_eq!(stages["failed_step"], step);
    let none = good(&connector, "get_jenkins_build_stages", json!({ "job": "plain" })).await;
    assert!(none["hints"][0].as_str().unwrap().contains("pipeline-rest-api"), "{none}");
}

#[tokio::test]
async fn a_failure_is_told_in_one_call() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let report = good(&connector, "get_jenkins_failure_report", json!({ "job": "team/web" })).await;
    assert_eq!((&report["build"], &report["failed_step"]["stage"]), (&json!(2), &json!("Test")));
    assert_eq!(report["tests"], json!({ "passed": 3, "failed": 2, "skipped": 1 }));
    assert_eq!(report["failed_tests"][0]["name"], "web.Login.refuses");
    assert!(report["log_tail"].as_str().unwrap().ends_with("error: 2 tests failed\nFinished: FAILURE"));
    double.change(|state| state.stage_view = false);
    double.build("team/web", 2, |build| build.tests = None);
    let report = good(&connector, "get_jenkins_failure_report", json!({ "job": "team/web" })).await;
    assert!(
        report["tests"].is_null() && report["hints"][0].as_str().unwrap().contains("pipeline-rest-api"),
        "{report}"
    );
}

#[tokio::test]
async fn a_report_goes_without_what_can_not_be_told() {
    let double = Double::start().await;
    double.want("job/team/job/web/2/testReport/api/json", 500, "boom");
    double.want("job/team/job/web/2/consoleText", 403, "");
    let report = good(&with_token(&double), "get_jenkins_failure_report", json!({ "job": "team/web" })).await;
    assert_eq!((&report["failed_step"]["stage"], &report["log_tail"]), (&json!("Test"), &json!("")));
    let hints = report["hints"].to_string();
    assert!(
        hints.contains("the tests: Jenkins failed") && hints.contains("the log: the connector's user may not"),
        "{hints}"
    );
}

#[tokio::test]
async fn tests_that_failed_are_told_with_their_errors() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let results = |more: Value| {
        let mut arguments = json!({ "job": "team/web" });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        good(&connector, "get_jenkins_test_results", arguments)
    };
    let failed = results(json!({ "limit": 1 })).await;
    let expected = json!({ "suite": "web", "name": "web.Login.refuses", "status": "REGRESSION", "duration_ms": 250,
                           "failing_for": 1, "error": "expected 403\nat web.Login\nat web.Main" });
    assert_eq!((&failed["cases"][0], &failed["truncated"]), (&expected, &json!(true)));
    let rest = results(json!({ "cursor": failed["next_cursor"] })).await;
    assert_eq!(names(&rest, "cases", "name"), ["web.Cart.adds"]);
    assert_eq!(results(json!({ "only_failed": false })).await["cases"].as_array().unwrap().len(), 4);
    let none = good(&connector, "get_jenkins_test_results", json!({ "job": "plain" })).await;
    assert!(none["hints"][0].as_str().unwrap().contains("no test results"), "{none}");
}

#[tokio::test]
async fn artifacts_are_listed_and_read_by_their_path() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let list = good(&connector, "list_jenkins_artifacts", json!({ "job": "team/web", "build": 2, "limit": 2 })).await;
    assert_eq!(names(&list, "items", "path"), ["bin/web tool", "target/report.html"]);
    let next = json!({ "job": "team/web", "build": 2, "cursor": list["next_cursor"] });
    assert_eq!(names(&good(&connector, "list_jenkins_artifacts", next).await, "items", "path"), ["target/report.txt"]);
    let get = |path: &str| json!({ "job": "team/web", "build": 2, "path": path });
    let text = good(&connector, "get_jenkins_artifact", get("target/report.txt")).await;
    assert_eq!(
        (&text["text"], &text["size"], &text["truncated"]),
        (&json!("all is\nwell\n"), &json!(12), &json!(false))
    );
    let page = good(&connector, "get_jenkins_artifact", get("target/report.html")).await;
    assert_eq!(page["text"], "<!doctype html><p>hi");
    let binary = good(&connector, "get_jenkins_artifact", get("bin/web tool")).await;
    assert_eq!((&binary["binary"], &binary["size"]), (&json!(true), &json!(4)));
    assert!(binary["text"].is_null());
    let before = double.total();
    let error = connector.call("get_jenkins_artifact", get("../../../secret")).await.unwrap_err();
    assert_eq!(
        (error.code, double.total() - before),
        (ErrorCode::NotFound, 1),
        "a path that isn't listed is asked for"
    );
    let none = good(&connector, "list_jenkins_artifacts", json!({ "job": "plain" })).await;
    assert!(none["hints"][0].as_str().unwrap().contains("no artifacts"));
}

#[tokio::test]
async fn credentials_follow_no_redirect_to_object_storage() {
    let (double, storage) = (Double::start().await, Double::start().await);
    let elsewhere = format!("{}/bucket/report.txt", storage.url());
    double.build("team/web", 2, |build| build.storage = Some(elsewhere));
    let get = json!({ "job": "team/web", "build": 2, "path": "target/report.txt" });
    let error = with_token(&double).call("get_jenkins_artifact", get).await.unwrap_err();
    assert!(error.remedy.unwrap().contains("object storage"));
    assert_eq!(storage.total(), 0);
}

#[tokio::test]
async fn nodes_tell_why_they_are_offline() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let nodes = good(&connector, "list_jenkins_nodes", json!({ "offline_only": true })).await;
    let expected = json!([{ "name": "linux-1", "offline": true, "temporarily_offline": true, "cause": "disk is full",
                            "executors": 4, "idle": true, "labels": [] }]);
    assert_eq!((&nodes["items"], &nodes["hints"]), (&expected, &json!(["1 of 6 executors are busy"])));
    assert_eq!(good(&connector, "list_jenkins_nodes", json!({})).await["items"].as_array().unwrap().len(), 2);
}
