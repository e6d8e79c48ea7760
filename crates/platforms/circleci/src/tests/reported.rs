//! What users of other clients reported of CircleCI's API, each with its source, against the double.

use serde_json::{Value, json};

use super::{
    TOKEN, cloud, connect,
    double::Double,
    good, server,
    world::{DEFINITION, Job, ORG, PROJECT, Run, Step, Workflow, ago, id},
};
use kit::CredentialVerdict::{Accepted, Unknown};
use tools::ErrorCode::{self, NotFound, PermissionDenied, PlatformError, PlatformUnavailable};

fn run(number: u64) -> Value {
    json!({ "pipeline_id": id('a', number) })
}

fn job() -> Value {
    json!({ "project_slug": "gh/acme/web", "job_number": 32 })
}

#[allow(clippy::needless_pass_by_value, reason = "reads better where it is called")]
fn and(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

/// Workflows of run 5, the newest first, with their states.
fn workflows(states: &[&str]) -> Vec<Workflow> {
    let one = |(number, status): (u64, &&str)| Workflow {
        number,
        run: 5,
        name: format!("w{number}"),
        status: (*status).to_owned(),
        created_at: ago(5, 100 - number),
        has_expired: false,
        max_auto_reruns: 0,
        auto_rerun_number: 0,
        is_setup: false,
    };
    (1..).zip(states).map(one).collect()
}

/// CircleCI-Public/circleci-cli #1762, #1650.
#[tokio::test]
async fn a_configuration_that_is_rejected_after_its_setup_is_an_error() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        double.change(|state| {
            state.world.workflows = workflows(&["success"]);
            state.world.runs[0].state = "errored".into();
        });
        let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
        assert_eq!((&status["status"], &status["finished"]), (&json!("error"), &json!(true)), "{status}");
        assert_eq!(status["errors"], json!(["config: no jobs"]));
        let waited = good(&connector, "wait_circleci_run", run(5)).await;
        assert_eq!((&waited["finished"], &waited["run"]["status"]), (&json!(true), &json!("error")));
        let listed = good(&connector, "list_circleci_runs", json!({ "project_slug": "gh/acme/web" })).await;
        assert_eq!(listed["items"][0]["status"], "error", "{listed}");
        let report = good(&connector, "get_circleci_failure_report", run(5)).await;
        assert_eq!(report["errors"], json!(["config: no jobs"]));
        assert!(report["hints"][0].as_str().unwrap().contains("the run itself failed"), "{report}");
    }
}

#[tokio::test]
async fn a_setup_that_has_succeeded_is_not_the_end_of_a_wait() {
    let double = Double::start().await;
    double.change(|state| {
        state.world.workflows = workflows(&["success"]);
        (state.world.runs[0].state, state.world.runs[0].created_at) = ("setup".into(), ago(0, 0));
    });
    let mut connector = cloud(&double);
    connector.patience = std::time::Duration::from_secs(30);
    let before = good(&connector, "get_circleci_pipeline_status", run(5)).await;
    assert_eq!((&before["status"], &before["finished"]), (&json!("running"), &json!(false)), "{before}");
    let wait = connector.call("wait_circleci_run", run(5));
    let reject = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        double.change(|state| state.world.runs[0].state = "errored".into());
    };
    let (waited, ()) = tokio::join!(wait, reject);
    let waited = waited.unwrap();
    assert_eq!((&waited["finished"], &waited["run"]["status"]), (&json!(true), &json!("error")), "{waited}");
}

/// superplanehq/superplane #6925, sshaw/build-status #6, eddiewebb/circleci-queue #82.
#[tokio::test]
async fn of_many_workflows_the_one_that_failed_is_looked_at() {
    let double = Double::start().await;
    double.change(|state| {
        let states = [&["unauthorized"; 12][..], &["on_hold", "failed"]].concat();
        state.world.workflows = workflows(&states);
        state.world.jobs = vec![Job {
            number: 32,
            workflow: 14,
            name: "unit".into(),
            status: "failed".into(),
            is_approval: false,
            approved_by: None,
            needs: vec![],
        }];
    });
    let connector = cloud(&double);
    let report = good(&connector, "get_circleci_failure_report", run(5)).await;
    assert_eq!((&report["jobs"][0]["name"], &report["truncated"]), (&json!("unit"), &json!(true)), "{report}");
    assert!(report["hints"][0].as_str().unwrap().contains("5 more workflows"), "{report}");
    let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
    assert_eq!((&status["status"], &status["finished"]), (&json!("failing"), &json!(false)));
    // Nothing moves: there is nothing to wait for.
    let waited = good(&connector, "wait_circleci_run", and(run(5), json!({ "wait_seconds": 20 }))).await;
    assert_eq!((&waited["waited_seconds"], &waited["run"]["status"]), (&json!(0), &json!("failing")));
    for states in [&["on_hold", "error"][..], &["error"], &["unauthorized", "success"]] {
        double.change(|state| {
            state.world.workflows = workflows(states);
            state.world.jobs.clear();
        });
        let report = good(&connector, "get_circleci_failure_report", run(5)).await;
        let hints = report["hints"].to_string();
        assert!(hints.contains("a workflow failed") && !hints.contains("nothing failed"), "{states:?}: {report}");
    }
}

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

/// CircleCI-Public/circleci-cli #1281, #1656, #1833.
#[tokio::test]
async fn both_slugs_of_an_app_project_are_the_project_that_the_manifest_names() {
    let by_ids = format!("circleci/{ORG}/{PROJECT}");
    for (manifest, asked) in
        [(by_ids.as_str(), "circleci/o/p"), ("circleci/o/p", &by_ids), ("circleci/o/p", "circleci/o/p")]
    {
        let double = Double::start().await;
        double.change(|state| {
            state.world.slug = "circleci/o/p".into();
            state.world.runs.iter_mut().for_each(|run| run.slug = "circleci/o/p".into());
            state.world.definitions = 1;
        });
        let spec = json!({ "apiVersion": "V3", "projects": [manifest] });
        let connector = connect(&double.uri(), &[("token", TOKEN)], &spec);
        assert_eq!(connector.probe().await.reason, "Healthy", "{manifest}");
        for (tool, arguments) in [
            ("list_circleci_runs", json!({ "project_slug": asked })),
            ("list_circleci_pipeline_definitions", json!({ "project_slug": manifest })),
            ("get_circleci_pipeline_status", run(5)),
            ("get_circleci_workflow", json!({ "workflow_id": id('b', 1) })),
            ("get_circleci_job", json!({ "project_slug": asked, "job_number": 32 })),
            ("trigger_circleci_pipeline", json!({ "project_slug": asked, "branch": "main" })),
        ] {
            good(&connector, tool, arguments).await;
        }
        let listed = good(&connector, "list_circleci_projects", json!({ "name_contains": "APP" })).await;
        assert_eq!(
            listed["items"],
            json!([{ "slug": "circleci/o/p", "name": "app", "vcs": "circleci" }]),
            "{manifest}"
        );
        // That both are the same is asked once; and what another project is, nobody is told.
        let project = format!("v2/project/{asked}");
        let before = double.count("GET", &project);
        good(&connector, "get_circleci_flaky_tests", json!({ "project_slug": asked })).await;
        assert_eq!(double.count("GET", &project), before, "{manifest} {asked}");
        let other = connector.call("get_circleci_flaky_tests", json!({ "project_slug": "circleci/x/y" })).await;
        assert_eq!(other.unwrap_err().code, PermissionDenied);
    }
}

/// ckeditor/ckeditor5-dev #1423.
#[tokio::test]
async fn a_run_is_started_by_the_slug_that_the_project_has() {
    let double = Double::start().await;
    let arguments = json!({ "project_slug": "github/acme/web", "definition_id": DEFINITION, "branch": "main" });
    let started = good(&cloud(&double), "trigger_circleci_pipeline", arguments).await;
    assert_eq!((&started["pipeline_number"], &started["project_slug"]), (&json!(6), &json!("gh/acme/web")));
}

/// con/tinuous #203, #204, #206.
#[tokio::test]
async fn of_records_that_have_expired_what_is_known_is_told() {
    let double = Double::start().await;
    double.change(|state| {
        state.world.workflows = workflows(&["success", "failed"]);
        state.world.workflows[0].has_expired = true;
    });
    let connector = cloud(&double);
    let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
    assert_eq!((&status["number"], &status["status"]), (&json!(5), &json!("failed")), "{status}");
    let expired = status["workflows"].as_array().unwrap().iter().find(|one| one.get("id").is_none()).unwrap();
    assert_eq!(expired["status"], "unknown");
    let report = good(&connector, "get_circleci_failure_report", run(5)).await;
    assert_eq!(report["workflows"].as_array().unwrap().len(), 2, "{report}");
    double.fail(&format!("v2/workflow/{}/job", id('b', 2)), 404, "x");
    let report = good(&connector, "get_circleci_failure_report", run(5)).await;
    let hints = report["hints"].to_string();
    assert!(hints.contains("the jobs of the workflow w2 could not be read"), "{report}");
    assert!(hints.contains("a workflow failed") && report["truncated"] == true, "{report}");
    let workflow = good(&connector, "get_circleci_workflow", json!({ "workflow_id": id('b', 2) })).await;
    assert!(workflow["workflow"]["status"] == "failed" && workflow["truncated"] == true, "{workflow}");
    assert!(workflow["hints"][0].as_str().unwrap().contains("could not be read"), "{workflow}");
    double.change(|state| state.world.workflows.truncate(1));
    let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
    assert_eq!((&status["status"], &status["finished"]), (&json!("unknown"), &json!(false)), "{status}");
    // A run whose workflows are not shown at all is still a run.
    double.fail(&format!("v2/pipeline/{}/workflow", id('a', 5)), 404, "x");
    for tool in ["get_circleci_pipeline_status", "wait_circleci_run", "get_circleci_failure_report"] {
        let answer = good(&connector, tool, run(5)).await.to_string();
        assert!(answer.contains("workflows could not be read") && !answer.contains("proxy"), "{tool}: {answer}");
    }
}

#[tokio::test]
async fn a_job_without_its_steps_is_still_a_job() {
    for (is_server, gone) in
        [(false, format!("v2/workflow/{}/job", id('b', 1))), (true, "v1.1/project/gh/acme/web/32".into())]
    {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        double.fail(&gone, 404, "x");
        let told = good(&connector, "get_circleci_job", job()).await;
        assert_eq!(
            (&told["name"], &told["status"], &told["truncated"]),
            (&json!("test"), &json!("failed"), &json!(true))
        );
        assert!(told["hints"][0].as_str().unwrap().contains("its steps: "), "{told}");
        let log = connector.call("get_circleci_job_log", job()).await.unwrap_err();
        assert!(log.message.contains("its steps: "), "{log:?}");
    }
}

/// Kesin11/CIAnalyzer #1120, #1125.
#[tokio::test]
async fn an_approval_is_no_job_and_is_said_to_be_one() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let jobs = good(&connector, "get_circleci_workflow_jobs", json!({ "workflow_id": id('b', 3) })).await;
    let hold = jobs["items"].as_array().unwrap().iter().find(|one| one["type"] == "approval").unwrap();
    assert_eq!((&hold["job_number"], &hold["approval_request_id"]), (&json!(34), &json!(id('d', 34))));
    let error = connector
        .call("get_circleci_job", json!({ "project_slug": "gh/acme/web", "job_number": 34 }))
        .await
        .unwrap_err();
    assert!(error.code == NotFound && error.message.contains("it is an approval"), "{error:?}");
    let by_id = good(&connector, "get_circleci_job", json!({ "job_id": id('c', 34) })).await;
    assert!(by_id["hints"][0].as_str().unwrap().starts_with("it is an approval"), "{by_id}");
    let log = connector.call("get_circleci_job_log", json!({ "job_id": id('c', 34) })).await.unwrap_err();
    assert!(log.message.contains("is an approval"), "{log:?}");
}

/// Object storage answers a file as it was stored, whatever was asked for.
#[tokio::test]
async fn what_is_kept_packed_is_unpacked() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        double.change(|state| {
            state.world.packs_files = true;
            state.world.log = b"npm ERR! missing script: build\r\n".to_vec();
            state
                .world
                .artifacts
                .insert("long.txt".into(), (0..4_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect());
        });
        let log = good(&connector, "get_circleci_job_log", and(job(), json!({ "mode": "tail" }))).await;
        assert!(log["text"].as_str().unwrap().contains("missing script"), "{log}");
        let file = good(&connector, "get_circleci_artifact", and(job(), json!({ "path": "out/log.txt" }))).await;
        assert_eq!(
            (&file["text"], &file["truncated"], &file["size"]),
            (&json!("line one\nline two\n"), &json!(false), &json!(18))
        );
        for (tail, expected) in [(false, "line 0\n"), (true, "line 3999\n")] {
            let arguments = and(job(), json!({ "path": "long.txt", "max_bytes": 1_024, "tail": tail }));
            let part = good(&connector, "get_circleci_artifact", arguments).await;
            let text = part["text"].as_str().unwrap();
            assert!(if tail { text.ends_with(expected) } else { text.starts_with(expected) }, "{text}");
            assert!(part["truncated"] == true && text.len() <= 1_024, "{part}");
        }
    }
}

/// CircleCI-Public/mcp-server-circleci #56, #134, mkusaka/circleci-logs; GitHub's checks link to `workflow-run`, GitHub's
/// statuses to a job of the old site.
#[tokio::test]
async fn what_people_paste_is_taken() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let workflow = id('b', 1);
    let old = "https://circleci.com/gh/acme/web/32?utm_campaign=vcs-integration-link";
    for (tool, arguments) in [
        (
            "get_circleci_workflow",
            json!({ "workflow_id": format!("https://circleci.com/workflow-run/{workflow}?utm_source=x") }),
        ),
        ("get_circleci_workflow", json!({ "workflow_id": format!("https://app.circleci.com/workflow/{workflow}") })),
        ("get_circleci_workflow", json!({ "workflow_id": old })),
        (
            "get_circleci_pipeline_status",
            json!({ "pipeline_id": format!("https://app.circleci.com/pipeline/{}", id('a', 5)) }),
        ),
        (
            "get_circleci_pipeline_status",
            json!({ "pipeline_id": format!("https://circleci.com/workflow-run/{workflow}") }),
        ),
        ("get_circleci_failure_report", json!({ "pipeline_id": old })),
        ("get_circleci_job", json!({ "job_id": old })),
        (
            "get_circleci_job",
            json!({ "job_id": format!("https://app.circleci.com/workflow/{workflow}/job/{}", id('c', 32)) }),
        ),
        (
            "get_circleci_job",
            json!({ "job_id": format!("https://app.circleci.com/pipelines/workflows/{workflow}/jobs/32") }),
        ),
        (
            "get_circleci_job",
            json!({ "job_id": "https://app.circleci.com/jobs/github/acme/web/32/parallel-runs/0/steps/0-103" }),
        ),
    ] {
        let answer = good(&connector, tool, arguments.clone()).await.to_string();
        assert!(answer.contains("failed"), "{tool} {arguments}: {answer}");
    }
    for link in [
        "https://github.com/acme/web.git",
        "git@github.com:acme/web.git",
        "gh/acme/web/",
        "https://circleci.com/gh/acme/web",
    ] {
        let runs = good(&connector, "list_circleci_runs", json!({ "project_slug": link })).await;
        assert_eq!(runs["items"].as_array().unwrap().len(), 5, "{link}");
    }
    // The branch that a link names is the one that is meant, unless another one is named.
    let branch = "https://circleci.com/gh/acme/web/tree/feature%2Fx";
    let runs = good(&connector, "list_circleci_runs", json!({ "project_slug": branch })).await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 1, "{runs}");
    let runs = good(&connector, "list_circleci_runs", json!({ "project_slug": branch, "branch": "main" })).await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 4, "{runs}");
    for (tool, argument) in [
        ("get_circleci_workflow", "workflow_id"),
        ("get_circleci_job", "job_id"),
        ("get_circleci_pipeline_status", "pipeline_id"),
    ] {
        let error = connector.call(tool, json!({ argument: "https://example.com/x" })).await.unwrap_err();
        assert_eq!(error.argument.as_deref(), Some(argument));
        assert!(error.remedy.unwrap().contains("/workflow-run/<id>"), "{tool}");
    }
    // A link says nothing about what is allowed.
    let spec = json!({ "apiVersion": "V3", "projects": ["gh/acme/api"] });
    let other = connect(&double.uri(), &[("token", TOKEN)], &spec);
    for link in [old.to_owned(), format!("https://circleci.com/workflow-run/{workflow}")] {
        for (tool, argument) in
            [("get_circleci_workflow", "workflow_id"), ("get_circleci_pipeline_status", "pipeline_id")]
        {
            let error = other.call(tool, json!({ argument: link })).await.unwrap_err();
            assert_eq!(error.code, PermissionDenied, "{tool} {link}");
        }
    }
}

/// Refusals of what may stand in front of CircleCI: nginx, Envoy, oauth2-proxy, Kong, CloudFront (eddiewebb/circleci-queue #85).
const FOREIGN: [(u16, &str, &str); 8] = [
    (401, "text/html", "<html><title>401 Authorization Required</title><center>nginx/1.27.1</center></html>"),
    (401, "application/json", "{}"),
    (401, "application/json", r#"{"error":"invalid_token"}"#),
    (403, "text/plain", "RBAC: access denied"),
    (403, "text/html", "<TITLE>ERROR: The request could not be satisfied</TITLE>Generated by cloudfront (CloudFront)"),
    (404, "application/json", r#"{"message":"no Route matched with those values"}"#),
    (404, "text/html", "<html><h1>404 Not Found</h1><hr><center>nginx</center></html>"),
    (413, "text/html", "<html><h1>413 Request Entity Too Large</h1></html>"),
];

#[tokio::test]
async fn what_a_proxy_refuses_is_not_said_of_circleci() {
    for (status, kind, body) in FOREIGN {
        let double = Double::start().await;
        let connector = cloud(&double);
        double.foreign("v1.1/projects", status, kind, body);
        let error = connector.call("list_circleci_projects", json!({})).await.unwrap_err();
        assert_eq!(error.code, PlatformError, "{status} {body}: {error:?}");
        assert!(error.message.contains(&format!("in front of CircleCI answers with status {status}")), "{error:?}");
        // The token is good: other tools go on, and the probe says so.
        good(&connector, "get_circleci_pipeline_status", run(5)).await;
        let report = connector.probe().await;
        assert_eq!((report.reason.as_str(), report.credentials), ("Healthy", Accepted));
        // In front of everything it says nothing about the token.
        double.foreign("v3/users", status, kind, body);
        let report = connector.probe().await;
        assert_eq!((report.reason.as_str(), report.credentials), ("NotCircleCI", Unknown), "{status} {body}");
    }
}

#[tokio::test]
async fn a_fault_in_front_of_circleci_is_told_as_one() {
    for (status, code) in
        [(500, PlatformError), (502, PlatformUnavailable), (503, PlatformUnavailable), (520, PlatformError)]
    {
        let double = Double::start().await;
        let connector = cloud(&double);
        double.foreign(&format!("v2/workflow/{}", id('b', 1)), status, "text/plain", "upstream connect error");
        let error = connector.call("get_circleci_workflow", json!({ "workflow_id": id('b', 1) })).await.unwrap_err();
        assert_eq!(error.code, code, "{status}: {error:?}");
        assert!(error.message.contains("something in front of"), "{status}: {error:?}");
    }
    // What CircleCI says without any form is its own all the same.
    let double = Double::start().await;
    double.foreign(&format!("v2/workflow/{}", id('b', 1)), 403, "text/plain", "Permission denied");
    let error = cloud(&double).call("get_circleci_workflow", json!({ "workflow_id": id('b', 1) })).await.unwrap_err();
    assert_eq!(error.code, PermissionDenied, "{error:?}");
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

/// circleci-docs 9734a14, `automatic-reruns.adoc`; instana/python-sensor #807, linuxboot/heads #2019.
#[tokio::test]
async fn a_workflow_that_is_about_to_be_run_again_is_not_the_end() {
    let failed = |number: u64, created_at: String, most: u64, rerun: u64| Workflow {
        name: "build".into(),
        created_at,
        max_auto_reruns: most,
        auto_rerun_number: rerun,
        number,
        ..workflows(&["failed"]).remove(0)
    };
    let (now, old) = (|| ago(0, 0), || ago(5, 0));
    for (what, list, expected) in [
        ("the first failed just now", vec![failed(1, now(), 3, 0)], ("failing", false)),
        ("so did the second", vec![failed(1, old(), 3, 0), failed(2, now(), 3, 1)], ("failing", false)),
        ("the last", vec![failed(1, old(), 3, 2), failed(2, now(), 3, 3)], ("failed", true)),
        ("none is wanted", vec![failed(1, now(), 0, 0)], ("failed", true)),
        ("it would have come", vec![failed(1, old(), 3, 0)], ("failed", true)),
        ("it was run again by hand", vec![failed(1, old(), 3, 0), failed(2, now(), 3, 0)], ("failed", true)),
    ] {
        let double = Double::start().await;
        double.change(|state| state.world.workflows = list);
        let connector = cloud(&double);
        let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
        assert_eq!((status["status"].as_str().unwrap(), status["finished"] == true), expected, "{what}: {status}");
        let waited = good(&connector, "wait_circleci_run", and(run(5), json!({ "wait_seconds": 0 }))).await;
        assert_eq!(waited["finished"], expected.1, "{what}");
        for tool in ["get_circleci_pipeline_status", "get_circleci_failure_report"] {
            let answer = good(&connector, tool, run(5)).await;
            assert_eq!(answer["hints"].to_string().contains("run it again by itself"), !expected.1, "{what}: {answer}");
            assert_eq!(connector.is_final(tool, run(5)).await, expected.1, "{what}: {tool}");
        }
        // A second rerun beside that which comes would cost twice.
        let newest = json!({ "workflow_id": status["workflows"][0]["id"] });
        let again = connector.call("rerun_circleci_workflow", newest).await;
        assert_eq!(again.is_ok(), expected.1, "{what}: {again:?}");
    }
    let double = Double::start().await;
    double.change(|state| {
        let again = Workflow { status: "running".into(), ..failed(2, now(), 3, 1) };
        state.world.workflows = vec![failed(1, old(), 3, 0), again];
    });
    let connector = cloud(&double);
    let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
    assert_eq!((&status["status"], &status["workflows"][0]["auto_rerun_number"]), (&json!("running"), &json!(1)));
    let report = good(&connector, "get_circleci_failure_report", run(5)).await;
    assert!(
        report["hints"][0].as_str().unwrap().contains(&format!("workflow_id {} tells why", id('b', 1))),
        "{report}"
    );
}

/// A job that failed, with its steps, on the cloud and on a Server: its report, its log and what `get_circleci_job` says.
async fn told_of(status: &str, steps: &[Step]) -> Vec<[Value; 3]> {
    let mut told = Vec::new();
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        double.change(|state| {
            state.world.jobs[1].status = status.to_owned();
            state.world.steps.insert(32, steps.to_vec());
        });
        let report = good(&connector, "get_circleci_failure_report", run(5)).await;
        let log =
            connector.call("get_circleci_job_log", and(job(), json!({ "mode": "tail" }))).await.unwrap_or_default();
        told.push([report["jobs"][0].clone(), log, good(&connector, "get_circleci_job", job()).await]);
    }
    told
}

/// circleci-docs 9734a14, `automatic-reruns.adoc`; votingworks/vxsuite #9149 (no exit code after a timeout).
#[tokio::test]
async fn the_step_that_is_told_is_the_one_that_ended_the_job() {
    let rerun = |number, step: Step| Step { auto_rerun_number: Some(number), ..step };
    let (failed, passed) =
        (|num, name| Step::new(num, name, "failed", Some(1)), |num, name| Step::new(num, name, "success", Some(0)));
    let aside = Step { insignificant: true, ..failed(102, "upload") };
    for (what, steps, expected) in [
        (
            "a later try passed",
            vec![rerun(0, failed(101, "ci")), rerun(1, passed(102, "ci")), failed(103, "deploy")],
            103,
        ),
        (
            "all tries failed",
            vec![rerun(0, failed(101, "ci")), rerun(1, failed(102, "ci")), passed(103, "report")],
            102,
        ),
        ("another step of the same name", vec![failed(101, "ci"), passed(102, "ci")], 101),
        ("no output", vec![passed(101, "ci"), Step::new(102, "test", "timedout", None), passed(103, "report")], 102),
    ] {
        for [report, log, _] in told_of("failed", &steps).await {
            assert_eq!(
                (&report["step"]["num"], &log["step"]),
                (&json!(expected), &json!(expected)),
                "{what}: {report}"
            );
            assert!(report["log"].as_str().unwrap().contains(&format!("step {expected} on 0")), "{what}: {report}");
            assert!(report.get("other_steps").is_none() && report.get("missing").is_none(), "{what}: {report}");
        }
    }
    for [_, _, job] in told_of("failed", &[rerun(0, failed(101, "ci")), rerun(1, failed(102, "ci"))]).await {
        let again: Vec<bool> = job["steps"].as_array().unwrap().iter().map(|one| one["run_again"] == true).collect();
        assert_eq!(again, [true, false], "{job}");
    }
    // That it does not count is told by v1.1 only.
    let [_, [report, ..]]: [_; 2] = told_of("failed", &[aside, failed(103, "test")]).await.try_into().unwrap();
    assert_eq!(report["step"]["num"], 103, "{report}");
}

#[tokio::test]
async fn a_job_that_failed_on_several_machines_is_told_as_that() {
    let on = |execution, step: Step| Step { execution, ..step };
    let cache = |status| Step::new(102, "cache", status, Some(137));
    let mut steps = vec![on(0, cache("failed")), on(1, cache("success")), on(2, cache("success"))];
    steps.extend([1, 2].map(|machine| on(machine, Step::new(103, "test", "failed", Some(1)))));
    for [report, log, job] in told_of("failed", &steps).await {
        let place = |step: &Value| (step["num"].as_u64().unwrap(), step["execution"].as_u64().unwrap());
        let others: Vec<_> = report["other_steps"].as_array().unwrap().iter().map(place).collect();
        assert_eq!((place(&report["step"]), others), ((102, 0), vec![(103, 1), (103, 2)]), "{report}");
        assert_eq!((&log["step"], &log["execution"]), (&json!(102), &json!(0)), "{log}");
        assert!(log["hints"][0].as_str().unwrap().starts_with("2 other steps of the job failed"), "{log}");
        assert_eq!(job["steps"].as_array().unwrap().len(), 5);
    }
    let many: Vec<Step> = (0..30).map(|machine| on(machine, Step::new(101, "test", "failed", Some(1)))).collect();
    for [report, ..] in told_of("failed", &many).await {
        assert_eq!(report["other_steps"].as_array().unwrap().len(), 10);
        assert_eq!(report["missing"], json!(["19 more steps failed: get_circleci_job lists them"]));
    }
    // A step that is named without its machine is that of one on which it failed.
    let double = Double::start().await;
    double.change(|state| drop(state.world.steps.insert(32, steps)));
    let log = good(&cloud(&double), "get_circleci_job_log", and(job(), json!({ "step": 103 }))).await;
    assert_eq!((&log["execution"], &log["text"]), (&json!(1), &json!("error: of step 103 on 1\n")), "{log}");
}

/// support.circleci.com 44168007038235; mozilla/jetstream #676.
#[tokio::test]
async fn a_step_that_did_not_fail_is_never_told_as_the_one_that_did() {
    let green = [Step::new(0, "Spin up environment", "success", None), Step::new(101, "make", "canceled", None)];
    for (status, word) in [
        ("infrastructure_fail", "what the job ran on failed"),
        ("timedout", "longer than it may"),
        ("terminated-unknown", "does not know how"),
        ("failed", "does not tell here why"),
    ] {
        for steps in [&green[..], &[]] {
            for [report, log, job] in told_of(status, steps).await {
                assert_eq!((report.get("step"), report.get("log")), (None, None), "{status}: {report}");
                for said in [&report["missing"][0], &job["hints"][0]] {
                    let said = said.as_str().unwrap();
                    assert!(
                        said.contains(word) && said.contains("make (canceled)") != steps.is_empty(),
                        "{status}: {said}"
                    );
                }
                assert!(steps.is_empty() || log["hints"][0].as_str().unwrap().starts_with("no step failed"), "{log}");
            }
        }
    }
}

/// gruntwork-io/cloud-nuke #154, mozilla/bigquery-etl #2072, cypress-io/cypress #25552.
#[tokio::test]
async fn what_was_not_allowed_to_begin_says_what_that_means() {
    let double = Double::start().await;
    double.change(|state| {
        state.world.workflows = workflows(&["unauthorized"]);
        state.world.jobs[1].status = "unauthorized".into();
        state.world.trigger = "scheduled_pipeline";
    });
    let connector = cloud(&double);
    let report = good(&connector, "get_circleci_failure_report", run(5)).await;
    let failed = &report["jobs"][0];
    assert_eq!((&failed["status"], failed.get("job_number"), failed.get("step")), (&json!("unauthorized"), None, None));
    assert!(failed["missing"][0].as_str().unwrap().contains("may not use a context"), "{report}");
    assert!(report["hints"][0].as_str().unwrap().contains("own scheduler"), "{report}");
    let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
    assert!(status["hints"][0].as_str().unwrap().contains("may not use a context"), "{status}");
    assert!(status["hints"][1].as_str().unwrap().contains("own scheduler"), "{status}");
    let workflow = good(&connector, "get_circleci_workflow", json!({ "workflow_id": id('b', 1) })).await;
    assert!(workflow["hints"][0].as_str().unwrap().contains("may not use a context"), "{workflow}");
    let job = good(&connector, "get_circleci_job", json!({ "job_id": id('c', 32) })).await;
    assert!(job["hints"][0].as_str().unwrap().contains("may not use a context"), "{job}");
}

/// Where a step's standard error is kept apart, what it says there is the error.
#[tokio::test]
async fn an_error_on_standard_error_is_told() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        double.change(|state| state.world.log = b"all is well\n".to_vec());
        let report = good(&connector, "get_circleci_failure_report", run(5)).await;
        assert_eq!(report["jobs"][0]["log"], "all is well\n", "{report}");
        double.change(|state| state.world.stderr = b"no space left\n".to_vec());
        let report = good(&connector, "get_circleci_failure_report", run(5)).await;
        assert!(report["jobs"][0]["log"].as_str().unwrap().ends_with("no space left\n"), "{report}");
        double.change(|state| (state.world.log, state.world.stderr) = (Vec::new(), Vec::new()));
        let report = good(&connector, "get_circleci_failure_report", run(5)).await;
        let failed = &report["jobs"][0];
        assert_eq!((failed.get("log"), failed["step"]["num"].as_u64()), (None, Some(101)), "{report}");
        assert!(failed["missing"][0].as_str().unwrap().starts_with("its log: the step wrote nothing"), "{report}");
        let log = good(&connector, "get_circleci_job_log", and(job(), json!({ "mode": "tail" }))).await;
        assert_eq!(log["text"], "", "{log}");
    }
}

/// Run 5 with a setup and, if they are given, workflows that it continued to.
fn with_setup(double: &Double, state: &str, created_at: &str, states: &[&str]) {
    double.change(|double| {
        double.world.workflows = workflows(states);
        double.world.workflows[0].is_setup = true;
        (double.world.runs[0].state, double.world.runs[0].created_at) = (state.to_owned(), created_at.to_owned());
    });
}

/// CircleCI-Public/path-filtering-orb #14, CircleCI-Public/continuation-orb #51; circleci-docs 9734a14,
/// `dynamic-config.adoc`.
#[tokio::test]
async fn a_setup_is_run_again_only_where_it_can_still_be_continued() {
    let (now, old) = (ago(0, 0), ago(3, 0));
    for (state, created_at, states, refusal) in [
        ("created", &now, &["success", "failed"][..], Some("already")),
        ("created", &now, &["success"], Some("already")),
        ("errored", &now, &["success"], Some("already")),
        ("setup", &old, &["failed"], Some("six hours")),
        ("setup", &now, &["failed"], None),
    ] {
        let double = Double::start().await;
        with_setup(&double, state, created_at, states);
        let connector = cloud(&double);
        let setup = json!({ "workflow_id": id('b', 1), "from_failed": false });
        let (preview, act) = (
            connector.preview("rerun_circleci_workflow", setup.clone()).await.err(),
            connector.call("rerun_circleci_workflow", setup).await.err(),
        );
        for error in [preview, act] {
            assert_eq!(error.is_some(), refusal.is_some(), "{state} {states:?}: {error:?}");
            let message = error.map(|error| error.message).unwrap_or_default();
            assert!(refusal.is_none_or(|words| message.contains(words)), "{state} {states:?}: {message}");
        }
        let sent = double.count("POST", &format!("v3/workflows/{}/rerun", id('b', 1)));
        assert_eq!(sent, usize::from(refusal.is_none()), "{state} {states:?}");
    }
    let double = Double::start().await;
    with_setup(&double, "created", &now, &["success", "failed"]);
    let other = cloud(&double).call("rerun_circleci_workflow", json!({ "workflow_id": id('b', 2) })).await;
    assert!(other.is_ok(), "{other:?}");
    // Its job that continues the run may have succeeded.
    for part in [json!({}), json!({ "jobs": [id('c', 31)] })] {
        let double = Double::start().await;
        with_setup(&double, "created", &now, &["failed", "success"]);
        let connector = cloud(&double);
        let part = and(json!({ "workflow_id": id('b', 1) }), part);
        let preview = connector.preview("rerun_circleci_workflow", part.clone()).await.unwrap();
        assert!(preview.would.ends_with("a job that continues the run fails"), "{}", preview.would);
        good(&connector, "rerun_circleci_workflow", part).await;
    }
}

/// CircleCI-Public/path-filtering-orb #4, #14; circleci-docs 9734a14, `dynamic-config.adoc`.
#[tokio::test]
async fn a_run_that_was_left_in_its_setup_does_not_go_on() {
    let double = Double::start().await;
    with_setup(&double, "setup", &ago(3, 0), &["success"]);
    let connector = cloud(&double);
    let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
    assert_eq!((&status["status"], &status["finished"]), (&json!("unknown"), &json!(true)), "{status}");
    let waited = good(&connector, "wait_circleci_run", and(run(5), json!({ "wait_seconds": 20 }))).await;
    assert_eq!((&waited["waited_seconds"], &waited["finished"]), (&json!(0), &json!(true)), "{waited}");
    let report = good(&connector, "get_circleci_failure_report", run(5)).await;
    for answer in [status, waited["run"].clone(), report] {
        let hints = answer["hints"].to_string();
        assert!(hints.contains("continued to no configuration") && !hints.contains("call wait"), "{answer}");
    }
    for (state, states, expected) in [
        ("setup", &["failed"][..], "failed"),
        ("pending", &["success"], "running"),
        ("setup", &["success", "running"], "running"),
        ("created", &["success"], "success"),
    ] {
        with_setup(&double, state, &ago(3, 0), states);
        let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
        assert_eq!(status["status"], expected, "{state} {states:?}: {status}");
    }
}

/// circleci-docs 9734a14, `workflows.adoc`; CircleCI-Public/circleci-cli #1400.
#[tokio::test]
async fn what_waits_for_its_turn_is_not_told_as_running() {
    let double = Double::start().await;
    double.change(|state| state.world.workflows = workflows(&["queued"]));
    let connector = cloud(&double);
    let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
    let workflow = good(&connector, "get_circleci_workflow", json!({ "workflow_id": id('b', 1) })).await;
    assert_eq!((&status["status"], &status["finished"]), (&json!("queued"), &json!(false)), "{status}");
    for answer in [status, workflow] {
        assert!(answer["hints"].to_string().contains("serial group"), "{answer}");
    }
}

/// ckeditor/ckeditor5 #18359, circleci/circleci-docs #9786.
#[tokio::test]
async fn a_success_of_which_not_all_ran_says_so() {
    for state in ["not_run", "skipped", "blocked"] {
        let double = Double::start().await;
        double.change(|double| {
            double.world.workflows = workflows(&["success"]);
            double.world.jobs.truncate(3);
            for (job, status) in double.world.jobs.iter_mut().zip(["success", "success", state]) {
                status.clone_into(&mut job.status);
            }
        });
        let connector = cloud(&double);
        let asked = json!({ "workflow_id": id('b', 1) });
        let workflow = good(&connector, "get_circleci_workflow", asked.clone()).await;
        assert!(workflow["hints"].to_string().contains("1 of its jobs never ran (publish)"), "{state}: {workflow}");
        assert!(connector.is_final("get_circleci_workflow", asked.clone()).await, "{state}");
        let report = good(&connector, "get_circleci_failure_report", asked).await;
        assert_eq!(report["jobs"], json!([]), "{state}");
    }
    let double = Double::start().await;
    let failed = good(&cloud(&double), "get_circleci_workflow", json!({ "workflow_id": id('b', 1) })).await;
    assert!(!failed["hints"].to_string().contains("never ran"), "{failed}");
}

/// A run of now, the newest of all: of main, if nothing else is said.
fn newest(double: &Double, change: impl Fn(&mut Run)) {
    double.change(|state| {
        let mut run = state.world.runs[0].clone();
        (run.number, run.created_at, run.by_api) = (run.number + 1, ago(0, 0), false);
        (run.branch, run.tag) = (Some("main".into()), None);
        change(&mut run);
        state.world.runs.insert(0, run);
    });
}

const RUN: &str = "v2/project/gh/acme/web/pipeline/run";

fn on(reference: Value) -> Value {
    and(json!({ "project_slug": "gh/acme/web" }), reference)
}

/// CircleCI-Archived/api-preview-docs #61, CircleCI-Public/trigger-circleci-pipeline-action #66; roopakv/orbs #71.
#[tokio::test]
async fn a_run_that_is_new_enough_is_found_behind_those_of_others() {
    let double = Double::start().await;
    let connector = cloud(&double);
    newest(&double, |run| (run.branch, run.tag) = (None, Some("v1".into())));
    newest(&double, |run| run.branch = Some("pull/610".into()));
    for _ in 0..4 {
        newest(&double, |_| ());
    }
    for (reference, number) in [(json!({ "tag": "v1" }), 6), (json!({ "branch": "pull/610/head" }), 7)] {
        let arguments = and(on(reference), json!({ "reuse_if_newer_than_seconds": 600 }));
        let preview = connector.preview("trigger_circleci_pipeline", arguments.clone()).await.unwrap();
        assert!(preview.would.starts_with(&format!("start nothing: run {number} ")), "{}", preview.would);
        let run = good(&connector, "trigger_circleci_pipeline", arguments).await;
        assert_eq!((&run["reused"], &run["pipeline_id"]), (&json!(true), &json!(id('a', number))), "{run}");
    }
    assert_eq!(double.count("POST", RUN), 0);
    // Not among as many as are read, and there are more.
    for _ in 0..30 {
        newest(&double, |_| ());
    }
    let arguments = and(on(json!({ "tag": "v1" })), json!({ "reuse_if_newer_than_seconds": 600 }));
    let error = connector.call("trigger_circleci_pipeline", arguments).await.unwrap_err();
    assert_eq!((error.code, double.count("POST", RUN)), (ErrorCode::ResultTooLarge, 0), "{error:?}");
    let other = and(on(json!({ "tag": "v2" })), json!({ "reuse_if_newer_than_seconds": 1 }));
    double.change(|state| state.world.runs.iter_mut().for_each(|run| run.created_at = ago(1, 0)));
    let started = good(&connector, "trigger_circleci_pipeline", other).await;
    assert_eq!((&started["reused"], double.count("POST", RUN)), (&json!(false), 1), "{started}");
}

/// CircleCI-Public/trigger-circleci-pipeline-action #62, cypress-io/cypress #32665.
#[tokio::test]
async fn a_run_of_others_is_never_told_as_the_one_that_was_asked_for() {
    let double = Double::start().await;
    let connector = cloud(&double);
    double.foreign(RUN, 502, "text/html", "<h1>502 Bad Gateway</h1>");
    newest(&double, |run| run.branch = Some("feature/x".into()));
    newest(&double, |_| ());
    for reference in [json!({ "tag": "v1" }), json!({ "branch": "main" })] {
        let error = connector.call("trigger_circleci_pipeline", on(reference.clone())).await.unwrap_err();
        let remedy = error.remedy.unwrap_or_default();
        assert!(remedy.starts_with("no run that was made since is seen"), "{reference}: {remedy}");
    }
    newest(&double, |run| (run.branch, run.tag, run.by_api) = (None, Some("v1".into()), true));
    newest(&double, |_| ());
    let error = connector.call("trigger_circleci_pipeline", on(json!({ "tag": "v1" }))).await.unwrap_err();
    assert!(error.remedy.as_ref().unwrap().contains(&id('a', 8)), "{error:?}");
}

/// roopakv/orbs #71, CircleCI-Archived/api-preview-docs #85.
#[tokio::test]
async fn a_branch_that_is_not_there_is_told_as_that() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let error = connector.call("trigger_circleci_pipeline", on(json!({ "branch": "pull/610" }))).await.unwrap_err();
    assert_eq!(
        (error.message.as_str(), error.argument.as_deref()),
        ("the repository has no such branch", Some("branch"))
    );
    let started = good(&connector, "trigger_circleci_pipeline", on(json!({ "branch": "pull/610/head" }))).await;
    assert_eq!(started["pipeline_id"], id('a', 6));
}

/// ethereum-optimism/optimism #19462, #21364; circleci-docs #5621.
#[tokio::test]
async fn parameters_of_a_run_are_those_of_its_setup() {
    let double = Double::start().await;
    double.change(|state| state.world.has_setup = true);
    let connector = cloud(&double);
    let with = |name: &str| on(json!({ "parameters": { name: true } }));
    let preview = connector.preview("trigger_circleci_pipeline", with("deploy")).await.unwrap();
    assert!(preview.would.ends_with("with the parameters deploy"), "{}", preview.would);
    let previewed = connector.preview("trigger_circleci_pipeline", with("c-deploy")).await.unwrap_err();
    let acted = connector.call("trigger_circleci_pipeline", with("c-deploy")).await.unwrap_err();
    for error in [previewed, acted] {
        assert_eq!(error.remedy.as_deref(), Some("declared: deploy, env"), "{error:?}");
    }
    // What the newest run of another reference declares says nothing.
    double.change(|state| state.world.runs[0].tag = Some("v0".into()));
    let tagged = and(with("c-deploy"), json!({ "tag": "v1" }));
    assert!(connector.preview("trigger_circleci_pipeline", tagged).await.is_ok());
}

/// Daniel15/BuildSize #43, CircleCI-Public/mcp-server-circleci #147.
#[tokio::test]
async fn an_artifact_is_found_on_whichever_machine_left_it() {
    for named in [job(), json!({ "job_id": id('c', 32) })] {
        let double = Double::start().await;
        double.change(|state| {
            state.world.machines = [("a.txt".to_owned(), vec![2]), ("out/log.txt".to_owned(), vec![0, 1, 3])].into();
        });
        let connector = cloud(&double);
        let read = |more: Value| connector.call("get_circleci_artifact", and(named.clone(), more));
        let only = read(json!({ "path": "a.txt" })).await.unwrap();
        assert_eq!((&only["node_index"], &only["text"]), (&json!(2), &json!("a")), "{only}");
        assert_eq!(only.get("other_machines"), None);
        double.change(|state| state.world.page = 10);
        let first = read(json!({ "path": "out/log.txt" })).await.unwrap();
        assert_eq!((&first["node_index"], &first["other_machines"]), (&json!(0), &json!([1, 3])), "{first}");
        let third = read(json!({ "path": "out/log.txt", "node_index": 3 })).await.unwrap();
        assert_eq!((&third["node_index"], &third["other_machines"]), (&json!(3), &json!([0, 1])), "{third}");
        let elsewhere = read(json!({ "path": "a.txt", "node_index": 0 })).await.unwrap_err();
        assert_eq!((elsewhere.code, elsewhere.argument.as_deref()), (NotFound, Some("node_index")));
        assert_eq!(elsewhere.remedy.as_deref(), Some("these did: 2"));
        let gone = read(json!({ "path": "b.txt" })).await.unwrap_err();
        assert_eq!((gone.code, gone.argument.as_deref()), (NotFound, Some("path")));
        // What is before the cursor isn't known any more.
        double.change(|state| {
            state.world.page = 2;
            state.world.machines.insert("out/log.txt".to_owned(), (0..70).collect());
        });
        let long = read(json!({ "path": "a.txt", "node_index": 0 })).await.unwrap_err();
        let cursor = long.remedy.as_deref().and_then(|remedy| remedy.split_once("pass cursor ")).unwrap().1;
        let rest = read(json!({ "path": "a.txt", "node_index": 0, "cursor": cursor })).await.unwrap_err();
        assert!(rest.code == NotFound && rest.message.contains("the rest of the list"), "{rest:?}");
    }
}

/// CircleCI-Public/circleci-cli #1400, mailpoet/mailpoet #6928.
#[tokio::test]
async fn what_ended_before_its_cancellation_is_not_told_as_cancelled() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        double.change(|state| state.world.cancels_too_late = true);
        let done = good(&connector, "cancel_circleci_workflow", json!({ "workflow_id": id('b', 3) })).await;
        assert_eq!(
            (&done["cancelled"], &done["status"], &done["already"]),
            (&json!(false), &json!("success"), &json!(false)),
            "{done}"
        );
    }
}

/// MetaMask/metamask-extension #28143; circleci-docs #6146, #6258.
#[tokio::test]
async fn what_is_known_of_a_rerun_is_said_before_it() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let would = async |number: u64| {
        let asked = json!({ "workflow_id": id('b', number) });
        connector.preview("rerun_circleci_workflow", asked).await.unwrap().would
    };
    double.change(|state| {
        state.world.workflows = workflows(&["failed", "success"]);
        state.world.workflows.iter_mut().for_each(|one| one.name = "deploy".into());
        // The second is the rerun.
        state.world.workflows[1].created_at = ago(1, 0);
    });
    let rerun = would(1).await;
    assert!(rerun.ends_with(&format!("again; it was run again since, as {}, which is success", id('b', 2))), "{rerun}");
    for (days, is_said) in [(89, false), (91, true)] {
        double.change(|state| {
            state.world.workflows = workflows(&["failed"]);
            state.world.workflows[0].created_at = ago(days, 0);
        });
        let said = would(1).await;
        assert_eq!(said.contains("90 days"), is_said, "{days}: {said}");
    }
}

/// CircleCI-Public/aws-ecr-orb #75, CircleCI-Public/circleci-cli #326.
#[tokio::test]
async fn long_errors_of_a_configuration_keep_their_lines_or_say_that_they_are_cut() {
    let tree = |count: usize| {
        let line = |number| format!("|   |   {number}. [#/workflows/w/jobs/0] expected type: Mapping, found: String");
        let lines = (1..=count).map(line);
        format!("[#/workflows/w] only 1 subschema matches out of 2\n{}", lines.collect::<Vec<_>>().join("\n"))
    };
    for (count, is_whole) in [(12, true), (200, false)] {
        let double = Double::start().await;
        double.change(|state| {
            state.world.runs[0].state = "errored".into();
            state.world.workflows.clear();
            state.world.config_error = tree(count);
        });
        let connector = cloud(&double);
        for tool in ["get_circleci_pipeline_status", "get_circleci_failure_report"] {
            let answer = good(&connector, tool, run(5)).await;
            let told = answer["errors"][0].as_str().unwrap();
            assert_eq!(told == format!("config: {}", tree(count)), is_whole, "{told}");
            assert_eq!(told.ends_with('…'), !is_whole, "{told}");
        }
    }
}

/// juniorguru/junior.guru #1722.
#[tokio::test]
async fn a_report_by_branch_says_that_it_is_of_the_newest_run() {
    for (state, words) in [("running", "so far"), ("success", "how they ended")] {
        let double = Double::start().await;
        double.change(|double| double.world.workflows = workflows(&[state]));
        let connector = cloud(&double);
        let report = good(&connector, "get_circleci_failure_report", on(json!({ "branch": "main" }))).await;
        let hints = report["hints"].to_string();
        assert!(hints.contains(words) && hints.contains("only the newest run"), "{state}: {report}");
        let by_id = good(&connector, "get_circleci_failure_report", run(5)).await;
        assert!(!by_id["hints"].to_string().contains("only the newest run"), "{by_id}");
    }
}

/// CircleCI-Public/circleci-cli #363, #442, #640, #1094.
#[tokio::test]
async fn a_configuration_with_values_of_pipelines_is_not_called_wrong() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let used = "<< pipeline.git.branch >> << pipeline.number >>. << pipeline.event.github.pull_request.draft >>";
        let valid = json!({ "config": format!("version: 2.1 # {used}") });
        let checked = good(&connector, "validate_circleci_config", valid).await;
        assert_eq!(checked["valid"], true, "{checked}");
        let body = double.seen().pop().unwrap().body;
        let values = if is_server {
            &body["options"]["pipeline_values"]
        } else {
            &body["data"]["attributes"]["pipeline_values"]
        };
        assert_eq!(
            *values,
            json!({
                "pipeline.git.branch": "main", "pipeline.number": 1, "pipeline.event.github.pull_request.draft": false,
            })
        );
        let odd = json!({ "config": "version: 2.1 # << pipeline.git.brnch >>" });
        let odd = connector.call("validate_circleci_config", odd).await.unwrap();
        assert_eq!(odd["valid"], false, "{odd}");
        assert!(odd["hints"][0].as_str().unwrap().contains("may be known to a run"), "{odd}");
        let with = |parameters: Value| {
            let config = "version: 2.1 # << pipeline.parameters.bug >>";
            json!({ "config": config, "parameters": parameters })
        };
        let undeclared = good(&connector, "validate_circleci_config", with(json!({}))).await;
        assert_eq!((&undeclared["valid"], undeclared.get("hints")), (&json!(false), None), "{undeclared}");
        let given = good(&connector, "validate_circleci_config", with(json!({ "bug": 3 }))).await;
        assert_eq!((&given["valid"], given.get("hints")), (&json!(true), None), "{given}");
    }
    let double = Double::start().await;
    double.change(|state| state.world.has_setup = true);
    let of_run = json!({ "project_slug": "gh/acme/web", "branch": "main" });
    let checked = good(&cloud(&double), "validate_circleci_config", of_run).await;
    assert!(checked["hints"][0].as_str().unwrap().contains("continued to"), "{checked}");
}

/// CircleCI-Public/circleci-cli 7c87a076; circleci-docs 9734a14, `jobs-steps.adoc`.
#[tokio::test]
async fn a_job_that_never_ran_or_does_nothing_is_told_as_that() {
    let double = Double::start().await;
    let connector = cloud(&double);
    double.fail(&format!("v3/jobs/{}", id('c', 33)), 404, "Not Found");
    for tool in ["get_circleci_job", "get_circleci_job_log"] {
        let error = connector.call(tool, json!({ "job_id": id('c', 33) })).await.unwrap_err();
        assert!(error.code == NotFound && error.message.contains("it never ran, or"), "{error:?}");
    }
    double.change(|state| {
        state.world.steps.insert(31, Vec::new());
    });
    let nothing = good(&connector, "get_circleci_job", json!({ "job_id": id('c', 31) })).await;
    assert_eq!((&nothing["status"], &nothing["steps"]), (&json!("success"), &json!([])));
    assert!(nothing["hints"].to_string().contains("no-op"), "{nothing}");
}

/// CircleCI-Public/mcp-server-circleci #51.
#[test]
fn a_server_has_its_pages_beside_its_api() {
    for (called, link, is_taken) in [
        ("circle.example.com", "https://app.circle.example.com/pipelines/gh/acme/web/5", true),
        ("app.circle.example.com", "https://circle.example.com/gh/acme/web/32", true),
        ("circle.example.com", "https://app.other.example.com/pipelines/gh/acme/web/5", false),
        ("circle.example.com", "https://app.circleci.com/pipelines/gh/acme/web/5", false),
        ("10.0.0.1", "https://app.circle.example.com/pipelines/gh/acme/web/5", true),
        ("circleci", "https://app.circle.example.com/pipelines/gh/acme/web/5", true),
        ("circleci.ci.svc", "https://app.circle.example.com/pipelines/gh/acme/web/5", true),
    ] {
        let home = kit::links::Home::new("CircleCI", called, &[]);
        if let Some(pages) = crate::pages_of(called) {
            home.learn(&format!("https://{pages}"));
        }
        assert_eq!(home.check(link, "pipeline_id").is_ok(), is_taken, "{called} {link}");
    }
}

/// CircleCI-Public/circleci-cli f20f963a.
#[tokio::test]
async fn a_rollback_is_of_the_one_that_is_meant_and_says_why_not() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let back = |component: &str, more: Value| {
        let which = json!({ "component": component, "environment": "prod", "version": "v1", "current_version": "v3" });
        connector.call("rollback_circleci_component", and(on(which), more))
    };
    let path = format!("v3/projects/{PROJECT}/rollback");
    double.change(|state| state.world.components = vec!["web", "api", "web"]);
    let alike = back("web", json!({})).await.unwrap_err();
    assert_eq!((alike.code, alike.argument.as_deref()), (ErrorCode::InvalidArgument, Some("component")));
    assert!([1, 3].iter().all(|number| alike.remedy.as_ref().unwrap().contains(&id('c', *number))), "{alike:?}");
    assert_eq!(double.count("POST", &path), 0);
    back(&id('c', 3), json!({})).await.unwrap();
    assert_eq!(double.body("POST", &path)["component_id"], id('c', 3));
    let elsewhere = back("api", json!({ "namespace": "elsewhere" })).await.unwrap_err();
    assert_eq!((elsewhere.code, elsewhere.argument.as_deref()), (NotFound, Some("namespace")));
    double.change(|state| state.world.is_rolling_back = true);
    let twice = back("api", json!({})).await.unwrap_err();
    assert!(twice.code == ErrorCode::Conflict && twice.message.contains("already"), "{twice:?}");
    // More components than are read may hold another of that name.
    double.change(|state| {
        state.world.is_rolling_back = false;
        state.world.components = [&["web"][..], &["other"; 60]].concat();
    });
    let many = back("web", json!({})).await.unwrap_err();
    assert_eq!((many.code, double.count("POST", &path)), (ErrorCode::ResultTooLarge, 3), "{many:?}");
    assert!(many.remedy.as_ref().unwrap().contains(&id('c', 1)), "{many:?}");
    double.change(|state| {
        state.world.components = [&["other"; 58][..], &["web", "api"]].concat();
        state.world.environments = [&["dev", "prod"][..], &["other"; 60]].concat();
    });
    back("web", json!({})).await.unwrap();
    let body = double.body("POST", &path);
    assert_eq!((&body["component_id"], &body["environment_id"]), (&json!(id('c', 59)), &json!(id('d', 2))));
}
