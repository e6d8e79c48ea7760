//! Logs: their end, what follows, what is looked for, and never all of a huge one.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{
    double::{Build, Double, NOTE},
    good, with_token,
};
use platform_testing::Connected;
use tools::ErrorCode;

const JOB: &str = "team/web";

async fn log(connector: &Connected, arguments: Value) -> Value {
    let mut all = json!({ "job": JOB });
    all.as_object_mut().unwrap().extend(arguments.as_object().unwrap().clone());
    good(connector, "get_jenkins_build_log", all).await
}

/// A build that runs, number 3, with such a log.
fn running(double: &Double, log: &str) {
    double.change(|state| {
        let web = state.jobs.get_mut(JOB).unwrap();
        let build = Build::running(40, state.now, Vec::new(), true);
        web.builds.insert(3, build);
    });
    double.build(JOB, 3, |build| build.log = log.to_owned());
}

#[tokio::test]
async fn the_end_of_a_log_is_whole_lines_without_colours() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let end = log(&connector, json!({ "build": "lastFailed", "tail_lines": 2 })).await;
    assert_eq!(end["text"], "error: 2 tests failed\nFinished: FAILURE");
    assert_eq!((&end["build"], &end["running"], &end["truncated"]), (&json!(2), &json!(false), &json!(true)));
    assert!(end["next_cursor"].is_null());
    let all = log(&connector, json!({ "build": 2 })).await;
    assert_eq!((all["text"].as_str().unwrap().lines().count(), &all["truncated"]), (5, &json!(false)));
}

#[tokio::test]
async fn a_running_build_is_followed_without_a_gap_or_a_repeat() {
    for first in [json!({ "from_start": true }), json!({})] {
        let double = Double::start().await;
        let connector = with_token(&double);
        running(&double, &format!("{NOTE}one\n{NOTE}two\n"));
        let begun = log(&connector, first.clone()).await;
        assert_eq!(begun["text"].as_str().unwrap().trim_end(), "one\ntwo");
        let waiting = log(&connector, json!({ "cursor": begun["next_cursor"] })).await;
        assert_eq!((&waiting["text"], &waiting["running"]), (&json!(""), &json!(true)), "{first}");
        assert!(waiting["hints"][0].as_str().unwrap().contains("nothing new"));
        double.build(JOB, 3, |build| build.log.extend([NOTE, "thr\u{fc}\n", NOTE, "four\n"]));
        let more = log(&connector, json!({ "cursor": waiting["next_cursor"] })).await;
        assert_eq!(more["text"], "thr\u{fc}\nfour\n", "{first}");
        // Another build has begun meanwhile: the cursor stays with its own.
        double.change(|state| {
            let web = state.jobs.get_mut(JOB).unwrap();
            let last = web.builds[&3].clone();
            web.builds.insert(4, last);
        });
        double.build(JOB, 3, |build| {
            build.log += "end\n";
            build.building = false;
            build.result = Some("SUCCESS");
        });
        let end = log(&connector, json!({ "cursor": more["next_cursor"] })).await;
        assert_eq!((&end["text"], &end["build"]), (&json!("end\n"), &json!(3)), "{first}");
        assert!(end["next_cursor"].is_null(), "{first}");
    }
}

#[tokio::test]
async fn pages_of_a_log_are_the_whole_log() {
    let lines: Vec<String> = (0..400).map(|number| format!("line {number} \u{fc}\u{fc}")).collect();
    for building in [true, false] {
        let double = Double::start().await;
        let connector = with_token(&double);
        running(&double, &format!("{}\n", lines.join(&format!("\n{NOTE}"))));
        double.build(JOB, 3, |build| build.building = building);
        let (mut read, mut arguments) = (String::new(), json!({ "from_start": true, "max_bytes": 1024 }));
        for _ in 0..20 {
            let part = log(&connector, arguments).await;
            read += part["text"].as_str().unwrap();
            if !part["truncated"].as_bool().unwrap() {
                break;
            }
            arguments = json!({ "cursor": part["next_cursor"], "max_bytes": 1024 });
        }
        assert_eq!(read, format!("{}\n", lines.join("\n")), "building: {building}");
    }
}

#[tokio::test]
async fn a_huge_log_is_left_when_it_is_enough() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.build(JOB, 2, |build| build.generated = 200 * 1024 * 1024);
    let begun = log(&connector, json!({ "build": 2, "from_start": true })).await;
    assert_eq!(begun["truncated"], true);
    let found = json!({ "job": JOB, "build": 2, "pattern": "far too long", "max_matches": 3, "context": 0 });
    let found = good(&connector, "search_jenkins_build_log", found).await;
    assert_eq!((found["matches"].as_array().unwrap().len(), &found["truncated"]), (3, &json!(true)));
    let sent = double.change(|state| state.sent.load(Ordering::SeqCst));
    assert!(sent < 20 * 1024 * 1024, "{sent} bytes were sent");
}

#[tokio::test]
async fn lines_are_found_with_what_is_around_them() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let search = |pattern: &str, regex: bool| json!({ "job": JOB, "build": 2, "pattern": pattern, "regex": regex, "context": 1 });
    let found = good(&connector, "search_jenkins_build_log", search("error: 2", false)).await;
    let expected = json!([{ "line": 4, "text": "error: 2 tests failed", "before": ["+ make test"], "after": ["Finished: FAILURE"] }]);
    assert_eq!((&found["matches"], &found["lines_searched"]), (&expected, &json!(5)));
    let found = good(&connector, "search_jenkins_build_log", search("(?i)^finished: .*", true)).await;
    assert_eq!(found["matches"][0]["line"], 5);
    let none = good(&connector, "search_jenkins_build_log", search("^error.*", false)).await;
    assert!(none["hints"][0].as_str().unwrap().contains("nothing was found"), "{none}");
    let error = connector.call("search_jenkins_build_log", search("(", true)).await.unwrap_err();
    assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::InvalidArgument, Some("pattern")));
}

#[tokio::test]
async fn a_log_that_began_anew_is_noticed() {
    let double = Double::start().await;
    let connector = with_token(&double);
    running(&double, "a long line of the first log\n");
    let begun = log(&connector, json!({ "from_start": true })).await;
    double.build(JOB, 3, |build| build.log = "new\n".to_owned());
    let again = json!({ "job": JOB, "cursor": begun["next_cursor"] });
    let error = connector.call("get_jenkins_build_log", again).await.unwrap_err();
    assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::Conflict, Some("cursor")));
    let foreign = json!({ "job": JOB, "cursor": "Zm9v" });
    let error = connector.call("get_jenkins_build_log", foreign).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn what_jenkins_answers_in_place_of_a_log_is_none() {
    let trace = "java.net.ConnectException: planted\n\tat io.planted.Retriever.overallLog(Retriever.java:1)\n\
                 \tat org.jenkinsci.plugins.workflow.job.WorkflowRun.getLogText(WorkflowRun.java:1246)\n";
    for (is_gone, code, words) in
        [(true, ErrorCode::NotFound, "not there"), (false, ErrorCode::PlatformError, "keeps it")]
    {
        let double = Double::start().await;
        let connector = with_token(&double);
        double.build(JOB, 2, |build| {
            build.log = trace.to_owned();
            build.log_is_gone = is_gone;
        });
        for (tool, arguments) in [
            ("get_jenkins_build_log", json!({ "job": JOB, "build": 2 })),
            ("get_jenkins_build_log", json!({ "job": JOB, "build": 2, "from_start": true })),
            ("search_jenkins_build_log", json!({ "job": JOB, "build": 2, "pattern": "error" })),
        ] {
            let error = connector.call(tool, arguments).await.unwrap_err();
            assert_eq!(error.code, code, "{tool}: {error:?}");
            assert!(error.message.contains(words), "{tool}: {error:?}");
        }
        let report = good(&connector, "get_jenkins_failure_report", json!({ "job": JOB, "build": 2 })).await;
        assert_eq!(report["log_tail"], "");
        assert!(report["hints"].to_string().contains("not told here, the log"), "{report}");
    }
}

#[tokio::test]
async fn a_log_is_followed_until_all_is_done_for_its_build() {
    let double = Double::start().await;
    let connector = with_token(&double);
    // Its result is known, and its log is still written (JENKINS-68981).
    let ended = Build { pipeline: false, finishing: true, ..Build::ended("FAILURE", 1_769_300_000_000) };
    double.change(|state| state.jobs.get_mut("plain").unwrap().builds.insert(12, ended));
    let of = |tool: &str| match tool {
        "search_jenkins_build_log" => json!({ "job": "plain", "build": 12, "pattern": "deployed" }),
        _ => json!({ "job": "plain", "build": 12 }),
    };
    let log = good(&connector, "get_jenkins_build_log", of("")).await;
    assert_eq!((&log["running"], log["next_cursor"].is_string()), (&json!(true), true), "{log}");
    let tools = [
        "get_jenkins_build_status",
        "get_jenkins_failure_report",
        "get_jenkins_build_log",
        "search_jenkins_build_log",
        "get_jenkins_test_results",
        "list_jenkins_artifacts",
    ];
    for tool in tools {
        assert!(!connector.is_final(tool, of(tool)).await, "{tool}");
    }
    for tool in ["get_jenkins_build_status", "get_jenkins_failure_report"] {
        let told = good(&connector, tool, of(tool)).await;
        assert_eq!(told["status"], "failure");
        assert!(told["hints"].to_string().contains("its result is known"), "{tool}: {told}");
    }
    double.build("plain", 12, |build| {
        build.log += "deployed\n";
        build.finishing = false;
    });
    let more = json!({ "job": "plain", "cursor": log["next_cursor"] });
    assert_eq!(good(&connector, "get_jenkins_build_log", more).await["text"], "deployed\n");
    for tool in tools {
        assert!(connector.is_final(tool, of(tool)).await, "{tool}");
    }
}

#[tokio::test]
async fn a_login_page_is_no_log() {
    let double = Double::start().await;
    double.want("job/team/job/web/2/consoleText", 200, "<form>");
    let error = with_token(&double).call("get_jenkins_build_log", json!({ "job": JOB, "build": 2 })).await.unwrap_err();
    assert!(error.message.contains("does not answer as the API of Jenkins"), "{error:?}");
}
