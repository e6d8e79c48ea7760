//! Jobs: steps, logs, errors and artifacts.

use serde_json::{Value, json};

use super::{and, job, run, workflows};
use crate::tests::{
    cloud,
    double::Double,
    good, server,
    world::{Step, id},
};
use tools::ErrorCode::{self, NotFound};

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

/// fnproject/fn #1615, emscripten-core/emscripten #20430, pre-commit-ci/issues #201: what CircleCI rejects has no steps, and says
/// why in the job's messages.
#[tokio::test]
async fn a_job_that_was_rejected_says_why() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let rejected = "Job was rejected because resource class medium is not a valid resource class";
        double.change(|state| {
            state.world.steps = [(32, vec![]), (33, vec![])].into();
            state.world.messages = [
                (32, json!([{ "type": "error", "reason": "invalid-resource-class", "message": rejected }])),
                (33, json!([{ "type": "warning", "reason": "no-followers" }, { "message": "nobody is following the project" }])),
            ]
            .into();
            "not_run".clone_into(&mut state.world.jobs[2].status);
        });
        let told = good(&connector, "get_circleci_job", job()).await;
        assert!(told["hints"][0].as_str().unwrap().contains(rejected), "{is_server}: {told}");
        let report = good(&connector, "get_circleci_failure_report", run(5)).await;
        assert!(report["jobs"][0]["missing"][0].as_str().unwrap().contains(rejected), "{is_server}: {report}");
        // v3 may have no description of it (CircleCI-Public/circleci-cli #1663).
        let of_v3 = format!("v3/jobs/{}", id('c', 32));
        double.fail(&of_v3, 404, "x");
        let report = good(&connector, "get_circleci_failure_report", run(5)).await;
        assert!(report["jobs"][0]["missing"].to_string().contains(rejected), "{is_server}: {report}");
        double.change(|state| drop(state.wanted.remove(&of_v3)));
        let not_run = good(&connector, "get_circleci_job", and(job(), json!({ "job_number": 33 }))).await;
        let hints = not_run["hints"].to_string();
        assert!(hints.contains("no-followers; nobody is following the project"), "{is_server}: {not_run}");
        let log = connector.call("get_circleci_job_log", job()).await.unwrap_err();
        assert!(log.code == NotFound && log.remedy.as_ref().unwrap().contains("what CircleCI says"), "{log:?}");
        // A job that did run has them beside its steps; without any it is not called one that does nothing.
        double.change(|state| state.world.steps.clear());
        let told = good(&connector, "get_circleci_job", job()).await;
        assert!(told["hints"][0].as_str().unwrap().contains(rejected), "{is_server}: {told}");
        let report = good(&connector, "get_circleci_failure_report", run(5)).await;
        assert_eq!(report["jobs"][0]["missing"], Value::Null, "{is_server}: {report}");
        double.change(|state| {
            state.world.steps = [(33, vec![])].into();
            state.world.messages = [(33, json!([]))].into();
        });
        let not_run = good(&connector, "get_circleci_job", and(job(), json!({ "job_number": 33 }))).await;
        assert!(!not_run["hints"].to_string().contains("no-op"), "{is_server}: {not_run}");
    }
}

/// facebookincubator/velox #9179: of what a step writes CircleCI keeps 50 MB, and more than can be kept here.
#[tokio::test]
async fn of_a_huge_log_the_end_is_read() {
    let double = Double::start_server().await;
    let connector = server(&double);
    let notice = "This step produced more than the 50 MB limit of output, additional output will not be recorded.\n";
    let line = "fuzzing \"a\\n\" failed with error: über\n";
    double.change(|state| {
        let end = ["***\n", notice, "Exited with code exit status 1\n"].concat();
        state.world.log = (line.repeat((9 << 20) / line.len()) + &end).into_bytes();
        state.world.stderr = b"one\ntwo\n".to_vec();
    });
    for mode in ["tail", "condensed"] {
        let log =
            good(&connector, "get_circleci_job_log", and(job(), json!({ "mode": mode, "max_bytes": 2_048 }))).await;
        let text = log["text"].as_str().unwrap();
        assert!(text.contains(notice) && text.contains(line) && log["truncated"] == true, "{mode}: {log}");
        let hints = log["hints"].to_string();
        assert!(hints.contains("only the last 8 MiB") && hints.contains("kept no more of the output"), "{mode}: {log}");
    }
    let stderr = and(job(), json!({ "mode": "tail", "stream": "stderr" }));
    assert_eq!(good(&connector, "get_circleci_job_log", stderr).await["text"], "one\ntwo\n");
    let report = good(&connector, "get_circleci_failure_report", run(5)).await;
    assert!(report["jobs"][0]["log"].as_str().unwrap().contains(notice), "{report}");
    assert!(report["jobs"][0]["missing"].to_string().contains("kept no more of the output"), "{report}");
    let range = connector.call("get_circleci_job_log", and(job(), json!({ "mode": "range" }))).await.unwrap_err();
    assert!(
        range.code == ErrorCode::ResultTooLarge && range.remedy.as_ref().unwrap().contains("mode tail"),
        "{range:?}"
    );
}

/// cahirwpz/demoscene #83, con/tinuous #164: of artifacts that have expired nothing is listed.
#[tokio::test]
async fn artifacts_that_are_not_listed_may_have_expired() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        double.change(|state| state.world.artifacts.clear());
        for more in [json!({}), json!({ "path_contains": "log" })] {
            let listed = good(&connector, "get_circleci_job_artifacts", and(job(), more)).await;
            assert!(listed["hints"][0].as_str().unwrap().contains("kept no more"), "{listed}");
        }
        let one = and(job(), json!({ "path": "out/log.txt" }));
        let error = connector.call("get_circleci_artifact", one).await.unwrap_err();
        assert!(error.code == NotFound && error.remedy.as_ref().unwrap().contains("kept no more"), "{error:?}");
        let tests = good(&connector, "get_circleci_job_tests", and(job(), json!({ "job_number": 31 }))).await;
        assert!(tests["hints"][0].as_str().unwrap().contains("kept no more"), "{tests}");
    }
}
