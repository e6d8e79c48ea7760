//! What is not told because there is too much of it: it is said, or a part would look like the whole.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    connect,
    double::{Build, Double, Item, TOKEN, USER},
    good, with_token,
};
use platform_testing::{
    Connected,
    altering::{Alteration, Altering, Plan},
};

/// Hints of an answer as one text.
fn hints(answer: &Value) -> String {
    answer["hints"].to_string()
}

/// Puts items into the queue.
fn wait(double: &Double, count: u64) {
    let item = Item {
        job: "plain".to_owned(),
        parameters: Vec::new(),
        since: 1,
        looks: 0,
        stuck: false,
        cancelled: false,
        build: None,
        left: None,
        step_of: None,
    };
    double.change(|state| state.queue.extend((1..=count).map(|id| (id, item.clone()))));
}

#[tokio::test]
async fn a_long_queue_is_told_to_its_end() {
    let double = Double::start().await;
    let connector = with_token(&double);
    wait(&double, 1_500);
    let (mut seen, mut arguments) = (Vec::new(), json!({ "limit": 100 }));
    loop {
        let page = good(&connector, "list_jenkins_queue", arguments.clone()).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()));
        assert_eq!(page["hints"], Value::Null, "{page}");
        match page["next_cursor"].as_str() {
            Some(cursor) => arguments["cursor"] = json!(cursor),
            None => break,
        }
    }
    assert_eq!(seen, (1..=1_500).collect::<Vec<_>>());
    wait(&double, 5_001);
    let page = good(&connector, "list_jenkins_queue", json!({ "limit": 1 })).await;
    assert!(hints(&page).contains("more items than the 5000"), "{page}");
    let report = connector.probe().await;
    let check = report.checks.iter().find(|check| check.name == "queue").unwrap();
    assert!(check.message.contains("there may be more"), "{check:?}");
}

#[tokio::test]
async fn what_the_user_may_not_see_of_the_queue_is_not_said_to_be_nothing() {
    let double = Double::start().await;
    let connector = with_token(&double);
    wait(&double, 3);
    for (unreadable, expected) in [
        ([(1, false), (2, false), (3, false)], "nothing waits of what the connector's user may see"),
        ([(1, false), (2, true), (3, true)], "2 more wait whose jobs may not be read: plain, plain"),
    ] {
        double.change(|state| state.unreadable = unreadable.into());
        let page = good(&connector, "list_jenkins_queue", json!({})).await;
        assert!(hints(&page).contains(expected), "{page}");
        assert_eq!(page["items"], json!([]));
    }
}

fn choice(name: &str, choices: usize, length: usize) -> Value {
    let choices: Vec<String> = (0..choices).map(|number| format!("v{number}-{}", "x".repeat(length))).collect();
    json!({ "name": name, "type": "ChoiceParameterDefinition", "choices": choices, "description": "d",
            "defaultParameterValue": { "value": choices[0] } })
}

/// What `plain` is when it takes these parameters.
async fn job_with(parameters: Vec<Value>) -> (Double, Connected, Value) {
    let double = Double::start().await;
    double.change(|state| state.jobs.get_mut("plain").unwrap().parameters = Some(parameters));
    let connector = with_token(&double);
    let job = good(&connector, "get_jenkins_job", json!({ "job": "plain" })).await;
    (double, connector, job)
}

#[tokio::test]
async fn parameters_and_choices_that_are_left_out_are_said_to_be() {
    let (_, _, job) = job_with((0..100).map(|number| choice(&format!("P{number}"), 2, 1)).collect()).await;
    assert_eq!((job["parameters"].as_array().unwrap().len(), &job["hints"]), (100, &Value::Null));
    let (_, _, job) = job_with((0..130).map(|number| choice(&format!("P{number}"), 2, 1)).collect()).await;
    assert!(hints(&job).contains("more parameters than the 100"), "{job}");
    let (double, connector, job) = job_with(vec![choice("WIDE", 80, 1)]).await;
    assert_eq!(job["parameters"][0]["choices"].as_array().unwrap().len(), 50);
    assert!(hints(&job).contains("more choices than are told of WIDE"), "{job}");
    let trigger = |value: &str| json!({ "job": "plain", "parameters": { "WIDE": value }, "wait_seconds": 0 });
    let error = connector.call("trigger_jenkins_build", trigger("nope")).await.unwrap_err();
    assert!(error.remedy.as_deref().unwrap().ends_with(", and there are 30 more"), "{error:?}");
    assert_eq!(error.platform_words.unwrap().len(), 50);
    good(&connector, "trigger_jenkins_build", trigger("v79-x")).await;
    assert_eq!(double.count("POST", "buildWithParameters"), 1);
    // Long choices fill no answer.
    let (_, _, job) = job_with((0..80).map(|number| choice(&format!("P{number}"), 50, 200)).collect()).await;
    assert_eq!(job["parameters"].as_array().unwrap().len(), 80);
    assert!(hints(&job).contains("more choices than are told of"), "{}", hints(&job));
    // Of choices without end a part is read, and Jenkins judges.
    let (double, connector, _) = job_with(vec![choice("WIDE", 1_200, 1)]).await;
    let error = connector.call("trigger_jenkins_build", trigger("nope")).await.unwrap_err();
    assert!(error.remedy.as_deref().unwrap().contains("isn't one that the parameter takes"), "{error:?}");
    good(&connector, "trigger_jenkins_build", trigger("v1199-x")).await;
    assert_eq!(double.count("POST", "buildWithParameters"), 2);
}

#[tokio::test]
async fn commits_and_parameters_of_a_build_that_are_left_out_are_said_to_be() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let of = json!({ "job": "plain", "build": 3 });
    for (count, told, more) in [(10, 10, false), (35, 35, false), (50, 50, false), (51, 50, true), (400, 50, true)] {
        double.build("plain", 3, |build| {
            build.commits = count;
            build.parameters = (0..count)
                .map(|number| json!({ "_class": "hudson.model.StringParameterValue", "name": format!("P{number}"), "value": "v" }))
                .collect();
        });
        let status = good(&connector, "get_jenkins_build_status", of.clone()).await;
        assert_eq!(status["commits"].as_array().unwrap().len(), told);
        for what in ["more commits than the 50", "more parameters than the 50"] {
            assert_eq!(hints(&status).contains(what), more, "{count}: {}", hints(&status));
        }
        let report = good(&connector, "get_jenkins_failure_report", of.clone()).await;
        assert_eq!(hints(&report).contains("more commits than the 10"), count > 10, "{count}: {}", hints(&report));
    }
}

#[tokio::test]
async fn other_lists_that_are_cut_say_so() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.change(|state| {
        state.nodes[0]["assignedLabels"] = (0..21).map(|number| json!({ "name": format!("l{number}") })).collect();
        let failed = state.jobs["team/matrix/jdk=21,os=linux"].clone();
        state.jobs.extend((0..250).map(|number| (format!("team/matrix/jdk={number:03},os=linux"), failed.clone())));
        let now = state.now;
        state.jobs.get_mut("team/web").unwrap().builds.insert(3, Build::running(40, now, Vec::new(), true));
    });
    double.build("team/web", 3, |build| {
        build.inputs =
            (0..25).map(|number| json!({ "id": format!("I{number}"), "message": "?", "inputs": [] })).collect();
        let stage =
            |number: usize| json!({ "id": number.to_string(), "name": format!("S{number}"), "status": "FAILED" });
        build.stages = (0..8).map(stage).collect();
    });
    for (tool, arguments, what) in [
        ("list_jenkins_nodes", json!({}), "more labels than the 20"),
        ("get_jenkins_job", json!({ "job": "team/matrix" }), "more configurations than the 200"),
        ("get_jenkins_build_status", json!({ "job": "team/matrix" }), "more configurations than the 200"),
        ("get_jenkins_failure_report", json!({ "job": "team/matrix" }), "more configurations than the 200"),
        ("list_jenkins_pending_inputs", json!({ "job": "team/web" }), "more inputs than the 20"),
        ("get_jenkins_build_stages", json!({ "job": "team/web" }), "more stages that failed than the 6"),
        ("get_jenkins_failure_report", json!({ "job": "team/web", "build": 3 }), "more stages that failed than the 6"),
    ] {
        let told = good(&connector, tool, arguments).await;
        assert!(hints(&told).contains(what), "{tool}: {}", hints(&told));
    }
}

/// A report of so many suites of ten tests, the last of which failed, that is too large even without its words: the texts of the states
/// are longer than real ones, so that it needs fewer of them.
fn large(suites: usize) -> Value {
    let passed = format!("PASSED{}", " ".repeat(10_000));
    let case = |status: &str| json!({ "className": "C", "name": "t", "status": status, "duration": 0.5, "age": 0 });
    let suite = |number: usize| {
        let cases = (0..10).map(|at| case(if (number, at) == (suites - 1, 9) { "FAILED" } else { &passed }));
        json!({ "name": format!("S{number}"), "cases": cases.collect::<Value>() })
    };
    json!({ "failCount": 1, "skipCount": 0, "passCount": suites * 10 - 1, "suites": (0..suites).map(suite).collect::<Value>() })
}

#[tokio::test]
async fn a_report_of_tests_without_end_is_looked_through_in_parts() {
    let double = Double::start().await;
    // Megabytes take long on a machine that is busy.
    let connector = Connected { patience: Duration::from_secs(120), ..with_token(&double) };
    assert!(large(100).to_string().len() > outbound::MAX_BODY_BYTES);
    let parts = json!({ "failCount": 3, "skipCount": 0, "totalCount": 1_510,
                        "childReports": [{ "result": large(50) }, { "result": large(100) }, { "result": large(1) }] });
    for (tests, passed) in [(large(100), 999), (large(130), 1_299), (parts, 1_507)] {
        double.build("team/web", 2, |build| build.tests = Some(tests));
        let told = good(&connector, "get_jenkins_test_results", json!({ "job": "team/web", "build": 2 })).await;
        assert_eq!(
            (&told["cases"][0]["status"], &told["counts"]["passed"]),
            (&json!("FAILED"), &json!(passed)),
            "{told}"
        );
        if passed == 1_507 {
            // A part that is too large by itself, and what comes after it.
            assert!(hints(&told).contains("only the first 500 tests were looked at, among them 1 of the 3"), "{told}");
        } else {
            assert_eq!(told["hints"], Value::Null, "{told}");
        }
    }
}

/// A range of a large report that can't be read is no sign of its size.
#[tokio::test]
async fn a_part_of_a_large_report_that_fails_is_said() {
    let double = Double::start().await;
    double.build("team/web", 2, |build| build.tests = Some(large(100)));
    let altering = Altering::start(&double.url()).await;
    let connector = connect(&altering.url, &[("user", USER), ("api_token", TOKEN)]);
    let connector = Connected { patience: Duration::from_secs(120), ..connector };
    // After the build, the whole report and its counts.
    altering.plan(Some(Plan { answer: 3, place: String::new(), alteration: Alteration::Fails }));
    let told = good(&connector, "get_jenkins_test_results", json!({ "job": "team/web", "build": 2 })).await;
    assert_eq!(told["counts"]["passed"], 999);
    assert!(hints(&told).contains("not told here, the tests after the first 0"), "{told}");
    assert!(!hints(&told).contains("too large"), "{told}");
}
