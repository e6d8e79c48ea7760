//! Matrix projects: their configurations are jobs of their own, whose path has no `job` before the last part.

use serde_json::{Value, json};

use super::{double::Double, good, with_token};
use tools::ErrorCode;

fn jobs(list: &Value) -> Vec<(&str, &str)> {
    list.as_array().unwrap().iter().map(|one| (one["job"].as_str().unwrap(), one["status"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_matrix_project_tells_its_configurations() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let project = good(&connector, "get_jenkins_job", json!({ "job": "team/matrix" })).await;
    assert_eq!(
        jobs(&project["configurations"]),
        [
            ("team/matrix/jdk=17,os=linux", "success"),
            ("team/matrix/jdk=21,os=Windows Server", "unstable"),
            ("team/matrix/jdk=21,os=linux", "failed"),
        ]
    );
    // It is a job among others, and what is in it is not found as jobs.
    let found =
        good(&connector, "search_jenkins_jobs", json!({ "folder": "team", "depth": 5, "pattern": "matrix" })).await;
    let found: Vec<_> = found["items"].as_array().unwrap().iter().map(|one| (&one["name"], &one["folder"])).collect();
    assert_eq!(found, [(&json!("team/matrix"), &json!(false))]);
    let build = good(&connector, "get_jenkins_build_status", json!({ "job": "team/matrix" })).await;
    assert_eq!(
        jobs(&build["configurations"]),
        [
            ("team/matrix/jdk=17,os=linux", "success"),
            ("team/matrix/jdk=21,os=Windows Server", "unstable"),
            ("team/matrix/jdk=21,os=linux", "failure"),
        ]
    );
    let before = good(&connector, "get_jenkins_build_status", json!({ "job": "team/matrix", "build": 4 })).await;
    assert_eq!(before["configurations"].as_array().unwrap().len(), 3, "what is not built any more ran then: {before}");
}

#[tokio::test]
async fn a_configuration_is_asked_for_like_any_job() {
    let double = Double::start().await;
    double.build("team/matrix/jdk=21,os=linux", 5, |build| {
        build.tests = Some(json!({ "failCount": 1, "suites": [{ "name": "s", "cases": [
            { "className": "C", "name": "t", "status": "FAILED", "duration": 0.5, "age": 1 },
        ] }] }));
    });
    let connector = with_token(&double);
    let of = |build: Value| json!({ "job": "team/matrix/jdk=21,os=linux", "build": build });
    let log = good(&connector, "get_jenkins_build_log", of(json!(5))).await;
    assert_eq!(log["text"], "Building remotely\n+ make test\nFinished: FAILURE of 5");
    assert_eq!(double.count("GET", "job/team/job/matrix/jdk=21,os=linux/5/consoleText"), 1);
    let tests = good(&connector, "get_jenkins_test_results", of(json!("last"))).await;
    assert_eq!(tests["cases"][0]["name"], "C.t");
    let report = good(&connector, "get_jenkins_failure_report", of(json!("lastFailed"))).await;
    assert_eq!((&report["build"], &report["failed_configurations"]), (&json!(5), &Value::Null));
    assert!(report["log_tail"].as_str().unwrap().ends_with("Finished: FAILURE of 5"));
    let search = json!({ "job": "team/matrix/jdk=21,os=linux", "build": 5, "pattern": "make" });
    assert_eq!(good(&connector, "search_jenkins_build_log", search).await["matches"][0]["line"], 2);
    let job = good(&connector, "get_jenkins_job", json!({ "job": "team/matrix/jdk=21,os=Windows Server" })).await;
    assert_eq!((&job["status"], &job["last_build"]["number"]), (&json!("unstable"), &json!(5)));
    // The order of axes is the caller's.
    let builds = good(&connector, "list_jenkins_builds", json!({ "job": "team/matrix/os=linux,jdk=17" })).await;
    assert_eq!(builds["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_report_of_a_matrix_build_looks_at_the_configurations_that_failed() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let report = good(&connector, "get_jenkins_failure_report", json!({ "job": "team/matrix" })).await;
    let failed = &report["failed_configurations"];
    assert_eq!(
        jobs(failed),
        [("team/matrix/jdk=21,os=linux", "failure"), ("team/matrix/jdk=21,os=Windows Server", "unstable"),]
    );
    assert_eq!(failed[0]["log_tail"], "Building remotely\n+ make test\nFinished: FAILURE of 5");
    // Stages are not asked for: the build, its tests, its log, and two more logs.
    assert_eq!((double.total(), double.count("GET", "wfapi/describe")), (5, 0));
    assert_eq!(report["hints"], Value::Null, "{report}");
}

#[tokio::test]
async fn tests_of_a_matrix_build_tell_the_configuration_that_they_ran_in() {
    let double = Double::start().await;
    let child = |configuration: &str, status: &str| {
        json!({ "child": { "number": 5, "url": format!("http://wrong.example.com/job/team/job/matrix/{configuration}/5/") },
                "result": { "suites": [{ "name": "s", "cases": [{ "className": "C", "name": "t", "status": status }] }] } })
    };
    double.build("team/matrix", 5, |build| {
        let children = [child("jdk=17,os=linux", "PASSED"), child("jdk=21,os=Windows%20Server", "FAILED")];
        build.tests = Some(json!({ "failCount": 1, "skipCount": 0, "totalCount": 2, "childReports": children }));
    });
    let connector = with_token(&double);
    let tests = good(&connector, "get_jenkins_test_results", json!({ "job": "team/matrix" })).await;
    let failed =
        json!({ "job": "team/matrix/jdk=21,os=Windows Server", "suite": "s", "name": "C.t", "status": "FAILED" });
    assert_eq!(tests["cases"], json!([failed]));
    let report = good(&connector, "get_jenkins_failure_report", json!({ "job": "team/matrix" })).await;
    assert_eq!(report["failed_tests"], json!([failed]));
}

#[tokio::test]
async fn a_report_of_a_large_matrix_reads_three_logs() {
    let double = Double::start().await;
    double.change(|state| {
        let failed = state.jobs["team/matrix/jdk=21,os=linux"].clone();
        state.jobs.extend((0..40).map(|number| (format!("team/matrix/jdk={number:03},os=linux"), failed.clone())));
    });
    double.want("job/team/job/matrix/jdk=001,os=linux/5/consoleText", 403, "");
    let report = good(&with_token(&double), "get_jenkins_failure_report", json!({ "job": "team/matrix" })).await;
    let failed = report["failed_configurations"].as_array().unwrap();
    assert_eq!((failed.len(), double.count("GET", "consoleText")), (42, 4));
    assert_eq!(failed.iter().filter(|one| one["log_tail"].is_string()).count(), 2);
    let hints = report["hints"].to_string();
    assert!(hints.contains("42 configurations did not succeed"), "{hints}");
    assert!(hints.contains("the log of build 5 of team/matrix/jdk=001,os=linux"), "{hints}");
}

#[tokio::test]
async fn a_job_that_is_called_like_a_configuration_stays_a_job() {
    let double = Double::start().await;
    double.change(|state| {
        let plain = state.jobs["plain"].clone();
        state.jobs.insert("team/a=b".to_owned(), plain);
    });
    let connector = with_token(&double);
    assert_eq!(good(&connector, "get_jenkins_build_status", json!({ "job": "team/a=b" })).await["number"], 3);
    good(&connector, "trigger_jenkins_build", json!({ "job": "team/a=b", "wait_seconds": 0 })).await;
    assert_eq!(double.count("POST", "job/team/job/a=b/build"), 1);
    let error = connector.call("get_jenkins_job", json!({ "job": "nowhere/a=b" })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_configuration_that_is_not_there_is_told_with_those_that_are() {
    let double = Double::start().await;
    let error =
        with_token(&double).call("get_jenkins_build_log", json!({ "job": "team/matrix/jdk=22,os=linux" })).await;
    let error = error.unwrap_err();
    assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::NotFound, Some("job")));
    assert!(error.platform_words.as_ref().unwrap().concat().contains("team/matrix/jdk=21,os=linux"), "{error:?}");
}

#[tokio::test]
async fn nothing_is_built_or_deleted_of_a_single_configuration_and_a_run_can_be_ended() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let name = "team/matrix/jdk=17,os=linux";
    for tool in ["trigger_jenkins_build", "rebuild_jenkins_build", "delete_jenkins_job"] {
        let error = connector.preview(tool, json!({ "job": name })).await.unwrap_err();
        assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::InvalidArgument, Some("job")), "{tool}");
        assert!(connector.call(tool, json!({ "job": name })).await.is_err(), "{tool}");
    }
    assert_eq!(double.count("POST", ""), 0);
    double.build(name, 5, |build| (build.building, build.result) = (true, None));
    let ended = good(&connector, "cancel_jenkins_build", json!({ "job": name, "build": 5 })).await;
    assert_eq!((&ended["status"], double.count("POST", "jdk=17,os=linux/5/stop")), (&json!("aborted"), 1));
}
