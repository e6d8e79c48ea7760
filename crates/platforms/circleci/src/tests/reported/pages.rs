//! Lists that come page by page: what is on a late page, behind all pages of a call, or promised and not there.

use serde_json::{Value, json};

use super::{and, job, run, workflows};
use crate::tests::{
    cloud,
    double::Double,
    good, server,
    world::{ago, id},
};
use tools::ErrorCode::{self, PlatformError};

/// CircleCI-Archived/api-preview-docs #48, CircleCI-Public/mcp-server-circleci #56.
#[tokio::test]
async fn what_lies_on_a_late_page_is_found() {
    let test = |number: usize| {
        let result = if number == 777 { "failure" } else { "success" };
        json!({ "name": format!("t{number}"), "classname": "c", "file": "f", "source": "s", "result": result, "run_time": 0.1, "message": "" })
    };
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        double.change(|state| {
            state.world.page = 100;
            state.world.tests = (0..1_000).map(test).collect();
            state.world.artifacts = (0..1_000).map(|number| (format!("out/{number:04}.txt"), b"x".to_vec())).collect();
        });
        let tests = good(&connector, "get_circleci_job_tests", job()).await;
        assert_eq!(
            (&tests["total"], &tests["failed"], &tests["cases"][0]["name"]),
            (&json!(1_000), &json!(1), &json!("t777"))
        );
        let report = good(&connector, "get_circleci_failure_report", run(5)).await;
        assert_eq!(report["jobs"][0]["failed_tests"][0]["name"], "t777", "{report}");
        let file = good(&connector, "get_circleci_artifact", and(job(), json!({ "path": "out/0650.txt" }))).await;
        assert_eq!(file["text"], "x");
        let listed =
            good(&connector, "get_circleci_job_artifacts", and(job(), json!({ "path_contains": "0650" }))).await;
        assert_eq!((&listed["count"], &listed["truncated"]), (&json!(1), &json!(false)));
    }
}

#[tokio::test]
async fn what_lies_behind_all_pages_of_a_call_is_never_said_to_be_missing() {
    let test = |number: usize| {
        let result = if number == 150 { "failure" } else { "success" };
        json!({ "name": format!("t{number:03}"), "classname": "c", "file": "f", "source": "s", "result": result, "run_time": 0.1, "message": "" })
    };
    let double = Double::start().await;
    double.change(|state| {
        state.world.tests = (0..200).map(test).collect();
        state.world.artifacts = (0..200).map(|number| (format!("out/{number:04}.txt"), b"x".to_vec())).collect();
    });
    let connector = cloud(&double);
    let first = good(&connector, "get_circleci_job_tests", job()).await;
    assert_eq!((&first["total"], &first["failed"], &first["truncated"]), (&json!(60), &json!(0), &json!(true)));
    assert!(!first["hints"].to_string().contains("none of its tests"), "{first}");
    // Through all stretches each test comes once, and the numbers add up.
    let (mut seen, mut cursor, mut last) = (Vec::new(), None::<Value>, Value::Null);
    for _ in 0..40 {
        let mut arguments = and(job(), json!({ "only_failed": false, "limit": 37 }));
        if let Some(cursor) = cursor {
            arguments["cursor"] = cursor;
        }
        last = good(&connector, "get_circleci_job_tests", arguments).await;
        seen.extend(last["cases"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()));
        cursor = last.get("next_cursor").cloned();
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..200).map(|number| format!("t{number:03}")).collect::<Vec<_>>());
    assert_eq!((&last["total"], &last["succeeded"], &last["failed"]), (&json!(200), &json!(199), &json!(1)));
    let report = good(&connector, "get_circleci_failure_report", run(5)).await;
    assert!(report["jobs"][0]["missing"].to_string().contains("after the first 40"), "{report}");
    let mut wanted = and(job(), json!({ "path": "out/0199.txt" }));
    for _ in 0..3 {
        let error = connector.call("get_circleci_artifact", wanted.clone()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::ResultTooLarge, "{error:?}");
        let remedy = error.remedy.unwrap();
        wanted["cursor"] = json!(remedy.rsplit_once(' ').unwrap().1);
    }
    assert_eq!(good(&connector, "get_circleci_artifact", wanted).await["text"], "x");
    let none = good(&connector, "get_circleci_job_artifacts", and(job(), json!({ "path_contains": "0199" }))).await;
    assert!(
        none["next_cursor"].is_string() && none["hints"][0].as_str().unwrap().starts_with("none in the 60"),
        "{none}"
    );
}

/// circleci/circleci-docs #6472: a token for a next page, which is then not found.
#[tokio::test]
async fn a_page_that_is_promised_and_not_there_costs_nothing_that_came() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        double.change(|state| state.world.loses_pages = true);
        for (tool, arguments, count) in [
            ("list_circleci_runs", json!({ "project_slug": "gh/acme/web" }), 5),
            ("get_circleci_workflow_jobs", json!({ "workflow_id": id('b', 1) }), 3),
            ("get_circleci_insights", json!({ "project_slug": "gh/acme/web" }), 3),
        ] {
            let page = good(&connector, tool, arguments.clone()).await;
            assert_eq!((page["items"].as_array().unwrap().len(), &page["truncated"]), (count, &json!(true)), "{tool}");
            let error =
                connector.call(tool, and(arguments, json!({ "cursor": page["next_cursor"] }))).await.unwrap_err();
            assert_eq!((error.code, error.argument.as_deref()), (PlatformError, Some("cursor")), "{tool}: {error:?}");
        }
        // What was not seen may have failed.
        double.change(|state| state.world.workflows = workflows(&["success"]));
        let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
        assert_eq!((&status["status"], &status["finished"]), (&json!("unknown"), &json!(false)), "{status}");
    }
}

#[tokio::test]
async fn a_list_without_what_is_wanted_says_how_far_it_was_read() {
    let double = Double::start_server().await;
    let connector = server(&double);
    double.change(|state| {
        let mut older = state.world.runs.clone();
        for (number, run) in (6..40).zip(state.world.runs.clone().into_iter().cycle()) {
            let mut run = run;
            (run.number, run.created_at) = (number, ago(1, 0));
            older.insert(0, run);
        }
        state.world.runs = older;
    });
    let early = json!({ "project_slug": "gh/acme/web", "to": "-4d" });
    let first = good(&connector, "list_circleci_runs", early.clone()).await;
    assert!(first["items"].as_array().unwrap().is_empty() && first["truncated"] == true, "{first}");
    assert!(first["hints"][0].as_str().unwrap().contains("older ones"), "{first}");
    let second = good(&connector, "list_circleci_runs", and(early, json!({ "cursor": first["next_cursor"] }))).await;
    assert_eq!(second["items"].as_array().unwrap().len(), 5, "{second}");
}
