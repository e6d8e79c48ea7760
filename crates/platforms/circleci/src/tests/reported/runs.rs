//! Runs and their workflows: what state they are in, and which of them is looked at.

use serde_json::json;

use super::{and, on, run, with_setup, workflows};
use crate::tests::{
    cloud,
    double::Double,
    good,
    world::{Job, Workflow, ago, id},
};

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
        assert_eq!(error.platform_words, Some(vec!["deploy".to_owned(), "env".to_owned()]), "{error:?}");
    }
    // What the newest run of another reference declares says nothing.
    double.change(|state| state.world.runs[0].tag = Some("v0".into()));
    let tagged = and(with("c-deploy"), json!({ "tag": "v1" }));
    assert!(connector.preview("trigger_circleci_pipeline", tagged).await.is_ok());
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

/// CircleCI-Archived/api-preview-docs #61, CircleCI-Public/trigger-circleci-pipeline-action #32.
#[tokio::test]
async fn a_run_of_which_no_workflow_began_is_not_waited_for() {
    let double = Double::start().await;
    let mut connector = cloud(&double);
    connector.patience = std::time::Duration::from_secs(30);
    for (tag, word) in [(Some("v8".to_owned()), "filters name tags"), (None, "filters and conditions")] {
        double.change(|state| {
            state.world.workflows.clear();
            state.world.runs[0].tag = tag;
        });
        let waited = good(&connector, "wait_circleci_run", and(run(5), json!({ "wait_seconds": 20 }))).await;
        let told = &waited["run"];
        assert_eq!((&waited["waited_seconds"], &waited["finished"]), (&json!(0), &json!(true)), "{waited}");
        // Whether it had none to run, or its records have expired, CircleCI does not tell.
        assert_eq!((&told["status"], &told["finished"]), (&json!("unknown"), &json!(true)), "{waited}");
        let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
        assert_eq!((&status["status"], &status["finished"]), (&json!("unknown"), &json!(true)), "{status}");
        let report = good(&connector, "get_circleci_failure_report", run(5)).await;
        for hint in [&told["hints"][0], &report["hints"][0]] {
            let hint = hint.as_str().unwrap();
            assert!(hint.starts_with("no workflow of the run began") && hint.contains(word), "{hint}");
        }
    }
    // One that is new, or still being made, may have some soon.
    for (state, days) in [("created", 0), ("pending", 5)] {
        double
            .change(|world| (world.world.runs[0].state, world.world.runs[0].created_at) = (state.into(), ago(days, 0)));
        let waited = good(&connector, "wait_circleci_run", and(run(5), json!({ "wait_seconds": 2 }))).await;
        assert_eq!((&waited["waited_seconds"], &waited["finished"]), (&json!(2), &json!(false)), "{waited}");
        assert_eq!(waited["run"]["status"], "pending", "{waited}");
        assert!(waited["run"]["hints"][0].as_str().unwrap().starts_with("it has no workflows yet"), "{waited}");
    }
}
