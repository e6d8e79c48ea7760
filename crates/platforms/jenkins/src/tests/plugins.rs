//! Jenkins with the plugins of its versions: the stage view (as installed up to 2.442), pipeline-graph-view in each place where
//! it has answered (2.440, 2.479, 2.516 and later), and neither.

use serde_json::{Value, json};

use super::{
    double::{Build, Double, GraphView},
    good, with_token,
};
use tools::ErrorCode;

/// What a controller has.
#[derive(Clone, Copy, Debug)]
struct Plugins {
    version: &'static str,
    stage_view: bool,
    graph_view: Option<GraphView>,
    inputs_exported: bool,
}

const ALL: [Plugins; 7] = [
    Plugins { version: "2.361.4", stage_view: true, graph_view: None, inputs_exported: false },
    Plugins { version: "2.440.3", stage_view: true, graph_view: None, inputs_exported: true },
    Plugins { version: "2.440.3", stage_view: false, graph_view: Some(GraphView::Graph), inputs_exported: true },
    Plugins { version: "2.479.3", stage_view: true, graph_view: Some(GraphView::Graph), inputs_exported: true },
    Plugins { version: "2.516.3", stage_view: false, graph_view: Some(GraphView::Overview), inputs_exported: true },
    Plugins { version: "2.541.1", stage_view: false, graph_view: Some(GraphView::Stages), inputs_exported: true },
    Plugins { version: "2.516.3", stage_view: false, graph_view: None, inputs_exported: true },
];

async fn plays(plugins: Plugins) -> Double {
    let double = Double::start().await;
    double.change(|state| {
        state.version = Some(plugins.version);
        state.stage_view = plugins.stage_view;
        state.graph_view = plugins.graph_view;
        state.inputs_exported = plugins.inputs_exported;
    });
    double
}

#[tokio::test]
async fn stages_are_told_by_whichever_plugin_is_there() {
    for plugins in ALL {
        let double = plays(plugins).await;
        let connector = with_token(&double);
        let told = good(&connector, "get_jenkins_build_stages", json!({ "job": "team/web", "build": 2 })).await;
        if !plugins.stage_view && plugins.graph_view.is_none() {
            assert!(told["hints"][0].as_str().unwrap().contains("lacks the plugins"), "{plugins:?}: {told}");
            continue;
        }
        let stages: Vec<_> =
            told["stages"].as_array().unwrap().iter().map(|one| (&one["name"], &one["status"])).collect();
        assert_eq!(stages, [(&json!("Build"), &json!("SUCCESS")), (&json!("Test"), &json!("FAILED"))], "{plugins:?}");
        assert_eq!((&told["status"], &told["failed_step"]["stage"]), (&json!("FAILED"), &json!("Test")), "{plugins:?}");
        // What a step was called with may hold a secret; what it failed with is told since September 2025.
        let (step, error) = match (plugins.stage_view, plugins.graph_view) {
            (true, _) => (json!("Shell Script"), json!("script returned exit code 2")),
            (false, Some(GraphView::Stages)) => (Value::Null, json!("script returned exit code 2")),
            (false, _) => (json!("Shell Script"), Value::Null),
        };
        assert_eq!((&told["failed_step"]["step"], &told["failed_step"]["error"]), (&step, &error), "{plugins:?}");
        let report = good(&connector, "get_jenkins_failure_report", json!({ "job": "team/web", "build": 2 })).await;
        assert_eq!(report["failed_step"], told["failed_step"], "{plugins:?}");
        // Where it answers is remembered.
        let before = double.total();
        good(&connector, "get_jenkins_build_stages", json!({ "job": "team/web", "build": 2 })).await;
        assert!(double.total() - before <= 5, "{plugins:?}");
    }
}

/// A pipeline that waits for two inputs: build 3.
fn waiting(double: &Double) {
    double.change(|state| {
        let build = Build::running(40, state.now, Vec::new(), true);
        state.jobs.get_mut("team/web").unwrap().builds.insert(3, build);
    });
    double.build("team/web", 3, |build| {
        build.inputs = vec![
            json!({ "id": "Ship", "message": "Ship it?", "proceedText": "Yes", "submitter": "release,bot", "inputs": [
                { "type": "ChoiceParameterDefinition", "name": "WHERE", "description": "",
                  "definition": { "defaultVal": "eu", "choices": ["eu", "us"] } },
            ] }),
            json!({ "id": "Go on", "message": "Go on?", "submitterParameter": "APPROVER", "inputs": [] }),
        ];
    });
}

#[tokio::test]
async fn inputs_need_no_stage_view() {
    for plugins in ALL {
        let double = plays(plugins).await;
        let connector = with_token(&double);
        waiting(&double);
        let list = good(&connector, "list_jenkins_pending_inputs", json!({ "job": "team/web" })).await;
        let ship = &list["inputs"][0];
        assert_eq!(
            (&ship["id"], &ship["message"], &ship["proceed_text"]),
            (&json!("Ship"), &json!("Ship it?"), &json!("Yes"))
        );
        let parameter =
            json!({ "name": "WHERE", "type": "choice", "default": "eu", "choices": ["eu", "us"], "required": true });
        assert_eq!(ship["parameters"], json!([parameter]), "{plugins:?}");
        let submitter = if plugins.inputs_exported { json!("release,bot") } else { Value::Null };
        assert_eq!(ship["submitter"], submitter, "{plugins:?}");
        for (id, parameters) in [("Ship", json!({ "WHERE": "us" })), ("Go on", json!({}))] {
            let submit = json!({ "job": "team/web", "input_id": id, "action": "proceed", "parameters": parameters });
            assert_eq!(good(&connector, "submit_jenkins_input", submit).await["settled"], true, "{plugins:?} {id}");
        }
        // Until July 2025 the plugin told the pipeline who approved only so.
        double.build("team/web", 3, |build| assert_eq!(build.input_value, json!({ "APPROVER": "bot" }), "{plugins:?}"));
        let none = good(&connector, "list_jenkins_pending_inputs", json!({ "job": "team/web" })).await;
        assert_eq!(none["inputs"], json!([]), "{plugins:?}");
        assert!(none["hints"][0].as_str().unwrap().contains("waits for no input"), "{plugins:?}: {none}");
    }
}

#[tokio::test]
async fn who_may_settle_an_input_is_told_to_whoever_may_not() {
    let double = plays(ALL[5]).await;
    waiting(&double);
    double.build("team/web", 3, |build| build.inputs[0]["submitter"] = json!("release,ann"));
    let connector = with_token(&double);
    let submit = json!({ "job": "team/web", "input_id": "Ship", "action": "proceed", "parameters": { "WHERE": "us" } });
    let error = connector.call("submit_jenkins_input", submit.clone()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::PermissionDenied);
    assert_eq!(error.platform_words, Some(vec!["release,ann".to_owned()]));
    // In other words of Jenkins' (`InputStepExecution.java`).
    for (page, code, words) in [
        ("This input has been already given", ErrorCode::Conflict, "settled already"),
        ("You need to have Job/Build permissions to submit this.", ErrorCode::PermissionDenied, "lacks Job/Build"),
        ("something else", ErrorCode::PermissionDenied, "refuses to settle"),
    ] {
        double.want("job/team/job/web/3/input/Ship/proceed", 400, page);
        let error = connector.call("submit_jenkins_input", submit.clone()).await.unwrap_err();
        assert_eq!(error.code, code, "{page}");
        assert!(error.message.contains(words), "{page}: {error:?}");
    }
    let abort = json!({ "job": "team/web", "input_id": "Ship", "action": "abort" });
    double.want(
        "job/team/job/web/3/input/Ship/abort",
        400,
        "You need to be 'release,ann' (or have Job/Cancel permissions)",
    );
    let error = connector.call("submit_jenkins_input", abort).await.unwrap_err();
    assert!(error.remedy.as_deref().unwrap().contains("whoever has Job/Cancel"), "{error:?}");
    assert_eq!(error.platform_words, Some(vec!["release,ann".to_owned()]));
}

#[tokio::test]
async fn every_stage_that_failed_is_told_and_the_one_that_ended_the_build_first() {
    for plugins in [ALL[1], ALL[5]] {
        let double = plays(plugins).await;
        let failed = |id: &str, name: &str, error: &str| {
            json!({ "id": id, "name": name, "status": "FAILED", "startTimeMillis": 1, "durationMillis": 2,
                    "error": { "message": error, "type": "hudson.AbortException" } })
        };
        double.build("team/web", 2, |build| {
            build.stages = vec![
                failed("6", "Lint (may fail)", "exit code 3"),
                json!({ "id": "12", "name": "Build", "status": "SUCCESS" }),
                json!({ "id": "20", "name": "Ship", "status": "FAILED", "inside": [failed("21", "Deploy", "refused")] }),
                json!({ "id": "30", "name": "Report", "status": if plugins.stage_view { "FAILED" } else { "NOT_EXECUTED" } }),
            ];
            build.steps = [("6", "8", "exit code 3"), ("21", "25", "refused")]
                .map(|(stage, id, error)| (stage.to_owned(), vec![failed(id, "Shell Script", error)]))
                .into();
        });
        let connector = with_token(&double);
        for tool in ["get_jenkins_build_stages", "get_jenkins_failure_report"] {
            let told = good(&connector, tool, json!({ "job": "team/web", "build": 2 })).await;
            assert_eq!(
                (&told["failed_step"]["stage"], &told["failed_step"]["error"]),
                (&json!("Deploy"), &json!("refused"))
            );
            assert_eq!(told["other_failed_steps"][0]["stage"], "Lint (may fail)", "{tool}: {told}");
            assert!(told["hints"].to_string().contains("several stages did not end well"), "{tool}: {told}");
        }
    }
}

/// As the stage view tells stages that a declarative pipeline skipped (elasticsearch-logs-plugin #3).
#[tokio::test]
async fn a_stage_that_was_skipped_is_not_the_one_that_failed() {
    for (skipped, left) in [(2, 0), (30, 5)] {
        let double = plays(ALL[1]).await;
        let failed = |id: String, name: String, milliseconds: i64| {
            json!({ "id": id, "name": name, "status": "FAILED", "startTimeMillis": 1, "durationMillis": milliseconds,
                    "error": { "message": "script returned exit code 1", "type": "hudson.AbortException" } })
        };
        double.build("team/web", 2, |build| {
            let after = (0..skipped).map(|at| failed(format!("{}", 20 + at), format!("Deploy {at}"), 50));
            build.stages = [failed("6".to_owned(), "Test".to_owned(), 9_000)].into_iter().chain(after).collect();
            build.steps = [("6".to_owned(), vec![failed("8".to_owned(), "Shell Script".to_owned(), 8_000)])].into();
        });
        let connector = with_token(&double);
        for tool in ["get_jenkins_build_stages", "get_jenkins_failure_report"] {
            let before = double.total();
            let told = good(&connector, tool, json!({ "job": "team/web", "build": 2 })).await;
            let step = (&told["failed_step"]["stage"], &told["failed_step"]["step"]);
            assert_eq!(step, (&json!("Test"), &json!("Shell Script")), "{tool}: {told}");
            let others = told["other_failed_steps"].as_array().map_or(0, Vec::len);
            assert_eq!(others, left, "{tool}: {told}");
            assert!(told["hints"].to_string().contains(": FAILED with the error of another"), "{told}");
            assert!(double.total() - before <= 14, "{tool}");
        }
    }
}

#[tokio::test]
async fn a_failure_among_the_first_steps_of_a_long_stage_is_not_taken_for_its_end() {
    for (plugins, step) in [(ALL[1], Value::Null), (ALL[3], Value::Null), (ALL[4], json!("Deploy"))] {
        let double = plays(plugins).await;
        double.build("team/web", 2, |build| {
            let step = |at: usize| match at {
                5 => json!({ "id": "5", "name": "Lint", "status": "FAILED", "error": { "message": "exit code 3" } }),
                119 => json!({ "id": "119", "name": "Deploy", "status": "FAILED", "error": { "message": "refused" } }),
                _ => json!({ "id": at.to_string(), "name": "Shell Script", "status": "SUCCESS" }),
            };
            build.steps = [("11".to_owned(), (0..120).map(step).collect())].into();
        });
        let told =
            good(&with_token(&double), "get_jenkins_build_stages", json!({ "job": "team/web", "build": 2 })).await;
        assert_eq!(
            (&told["failed_step"]["stage"], &told["failed_step"]["step"]),
            (&json!("Test"), &step),
            "{plugins:?}"
        );
        assert_eq!(told["hints"].to_string().contains("Jenkins tells only so many"), step.is_null(), "{told}");
    }
}

#[tokio::test]
async fn the_stage_in_which_a_build_ended_is_told_though_it_did_not_fail() {
    let stage = |id: &str, name: &str, status: &str| json!({ "id": id, "name": name, "status": status });
    // A time limit has no message (`ErrorExt.java`).
    let mut timed_out = stage("12", "Ship", "ABORTED");
    timed_out["error"] =
        json!({ "message": null, "type": "org.jenkinsci.plugins.workflow.steps.FlowInterruptedException" });
    for plugins in [ALL[1], ALL[4], ALL[5]] {
        for (result, ended, expected) in [
            ("ABORTED", timed_out.clone(), "ABORTED"),
            ("UNSTABLE", stage("12", "Ship", "UNSTABLE"), "UNSTABLE"),
            // Its controller was stopped (pipeline-graph-view-plugin #944).
            ("FAILURE", stage("12", "Ship", "IN_PROGRESS"), "UNKNOWN"),
        ] {
            let double = plays(plugins).await;
            double.build("team/web", 2, |build| {
                build.result = Some(result);
                build.stages = vec![stage("6", "Build", "SUCCESS"), ended.clone()];
                let mut step = ended;
                step["name"] = json!("Shell Script");
                // The stage view says so of a step that makes its stage unstable.
                if plugins.stage_view && expected == "UNSTABLE" {
                    step["status"] = json!("SUCCESS");
                }
                build.steps = [("12".to_owned(), vec![step])].into();
            });
            let connector = with_token(&double);
            for tool in ["get_jenkins_build_stages", "get_jenkins_failure_report"] {
                let told = good(&connector, tool, json!({ "job": "team/web", "build": 2 })).await;
                let step = &told["failed_step"];
                assert_eq!((&step["stage"], &step["status"]), (&json!("Ship"), &json!(expected)), "{plugins:?} {tool}");
                assert_ne!(step["error"], "null", "{plugins:?} {tool}");
                let is_told = expected == "ABORTED" || (expected == "UNSTABLE" && !plugins.stage_view);
                assert_eq!(step["step"] == "Shell Script", is_told, "{plugins:?} {tool}: {told}");
                assert_eq!(told["hints"].to_string().contains("as if they ran"), expected == "UNKNOWN", "{told}");
                assert!(!told["hints"].to_string().contains("left out"), "{told}");
            }
            let told = good(&connector, "get_jenkins_build_stages", json!({ "job": "team/web", "build": 2 })).await;
            assert_eq!(told["stages"][1]["status"], expected);
        }
    }
}

#[tokio::test]
async fn what_the_failed_step_wrote_is_told_where_others_wrote_after_it() {
    for plugins in ALL {
        let double = plays(plugins).await;
        let step = "+ make\ncc: 'x' <undeclared>\nmake: *** Error 1\n";
        double.build("team/web", 2, |build| {
            build.step_logs = [("12".to_owned(), format!("{}{step}", "compiling\n".repeat(2_000)))].into();
            build.log = format!("{step}{}Finished: FAILURE\n", "deleted: sha256\n".repeat(200));
        });
        let connector = with_token(&double);
        let failed = json!({ "job": "team/web", "build": 2 });
        let report = good(&connector, "get_jenkins_failure_report", failed.clone()).await;
        assert!(!report["log_tail"].as_str().unwrap().contains("undeclared"), "{plugins:?}");
        if !plugins.stage_view && plugins.graph_view.is_none() {
            assert_eq!(report["failed_step_log"], Value::Null);
            continue;
        }
        let log = report["failed_step_log"].as_str().unwrap();
        assert!(log.ends_with("cc: 'x' <undeclared>\nmake: *** Error 1"), "{plugins:?}: {log}");
        assert_eq!(log.lines().count(), 40, "{plugins:?}");
        // Where it wrote nothing, what else there is is said.
        double.build("team/web", 2, |build| build.step_logs.clear());
        let report = good(&with_token(&double), "get_jenkins_failure_report", failed.clone()).await;
        assert!(report["hints"].to_string().contains("other steps may have written"), "{plugins:?}: {report}");
        // What stands at the end of the log is told once.
        double.build("team/web", 2, |build| {
            build.step_logs = [("12".to_owned(), step.to_owned())].into();
            build.log = format!("{}{step}Finished: FAILURE\n", "compiling\n".repeat(200));
        });
        let report = good(&with_token(&double), "get_jenkins_failure_report", failed).await;
        assert!(report["log_tail"].as_str().unwrap().contains("undeclared"), "{plugins:?}");
        assert_eq!((&report["failed_step_log"], &report["hints"]), (&Value::Null, &Value::Null), "{plugins:?}");
    }
}

#[tokio::test]
async fn a_step_that_can_not_be_told_keeps_no_stage_back() {
    let double = Double::start().await;
    double.want("job/team/job/web/2/execution/node/11/wfapi/describe", 500, "boom");
    let told = good(&with_token(&double), "get_jenkins_build_stages", json!({ "job": "team/web", "build": 2 })).await;
    assert_eq!(told["stages"].as_array().unwrap().len(), 2);
    assert_eq!(told["failed_step"]["error"], "script returned exit code 2");
    assert!(told["hints"].to_string().contains("not told here, a step that failed"), "{told}");
}

#[tokio::test]
async fn the_graph_view_helps_where_the_stage_view_fails() {
    let double = plays(Plugins { stage_view: true, ..ALL[5] }).await;
    double.want("job/team/job/web/2/wfapi/describe", 500, "java.lang.NullPointerException");
    let told = good(&with_token(&double), "get_jenkins_build_stages", json!({ "job": "team/web", "build": 2 })).await;
    assert_eq!(told["failed_step"]["stage"], "Test");
}
