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
    // A build of a branch that comes back has a low number again.
    double.change(|state| {
        let web = state.jobs.get_mut("team/web").unwrap();
        web.builds.insert(12, web.builds[&2].clone());
    });
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
        assert!(connector.is_final(tool, about(tool, json!(12))).await, "{tool}");
        assert!(!connector.is_final(tool, about(tool, json!(2))).await, "{tool}: it may be another one soon");
        let last = about(tool, json!("lastCompleted"));
        assert!(!connector.is_final(tool, last).await, "{tool}: it is another one soon");
    }
    double.build("team/web", 12, |build| build.building = true);
    for tool in tools {
        assert!(!connector.is_final(tool, about(tool, json!(12))).await, "{tool}: it runs");
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
            "search_jenkins_jobs" | "get_jenkins_build_log" | "search_jenkins_build_log" | "get_jenkins_artifact" => 2,
            // Of tests first how they did, and then what those say that are told.
            "get_jenkins_build_stages" | "get_jenkins_test_results" => 3,
            "get_jenkins_failure_report" => 6,
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

/// All pages of a search, with what was asked for each.
async fn all_pages(double: &Double, mut arguments: Value) -> (Vec<String>, Vec<usize>) {
    let connector = with_token(double);
    let (mut found, mut asked) = (Vec::new(), Vec::new());
    loop {
        let before = double.total();
        let page = good(&connector, "search_jenkins_jobs", arguments.clone()).await;
        asked.push(double.total() - before);
        found.extend(names(&page, "items", "name"));
        assert_eq!(page["truncated"], json!(page["next_cursor"].is_string()), "{page}");
        assert!(asked.len() < 20, "{page}");
        match page["next_cursor"].as_str() {
            Some(cursor) => arguments["cursor"] = json!(cursor),
            None => return (found, asked),
        }
    }
}

#[tokio::test]
async fn a_search_goes_on_until_all_was_looked_at() {
    let double = Double::start().await;
    double.change(|state| {
        let folder = state.jobs["team"].clone();
        let plain = state.jobs["plain"].clone();
        for number in 0..30 {
            state.jobs.insert(format!("folder{number:02}"), folder.clone());
            state.jobs.insert(format!("folder{number:02}/needle"), plain.clone());
        }
    });
    let page = good(&with_token(&double), "search_jenkins_jobs", json!({ "pattern": "nowhere" })).await;
    assert_eq!(double.total(), 20);
    let hints = page["hints"].to_string();
    assert!(hints.contains("nothing was found so far") && hints.contains("20 folders"), "{page}");
    let (found, asked) = all_pages(&double, json!({ "pattern": "needle", "limit": 7 })).await;
    assert_eq!((found.len(), asked.iter().max()), (30, Some(&20)), "{asked:?}");
    assert_eq!(found.iter().collect::<std::collections::BTreeSet<_>>().len(), 30);
}

#[tokio::test]
async fn a_job_in_a_folder_of_thousands_is_found() {
    let double = Double::start().await;
    double.change(|state| {
        let plain = state.jobs["plain"].clone();
        state.jobs.extend((0..1_300).map(|number| (format!("job-{number:04}"), plain.clone())));
    });
    let connector = with_token(&double);
    let page = good(&connector, "search_jenkins_jobs", json!({ "pattern": "job-1234", "depth": 1 })).await;
    assert_eq!((names(&page, "items", "name"), double.total()), (vec!["job-1234".to_owned()], 3));
    assert_eq!((&page["next_cursor"], &page["hints"]), (&Value::Null, &Value::Null), "{page}");
    let error = connector.call("get_jenkins_job", json!({ "job": "job-12345" })).await.unwrap_err();
    assert!(error.platform_words.as_ref().unwrap().concat().contains("job-1234"), "{error:?}");
    let (found, _) = all_pages(&double, json!({ "pattern": "job-", "limit": 200 })).await;
    assert_eq!(found.len(), 1_300);
}

#[tokio::test]
async fn what_comes_before_a_failing_look_is_kept() {
    let double = Double::start().await;
    double.want("job/team/api/json", 500, "boom");
    let page = good(&with_token(&double), "search_jenkins_jobs", json!({})).await;
    assert_eq!(names(&page, "items", "name"), ["plain", "team"]);
    assert!(page["hints"][0].as_str().unwrap().contains("not told here, what is in the rest"), "{page}");
    assert!(page["next_cursor"].is_string(), "{page}");
}

#[tokio::test]
async fn jobs_are_found_by_what_people_see() {
    let double = Double::start().await;
    double.change(|state| {
        let mut request = state.jobs["team/shop/feature%2Flogin"].clone();
        request.display_name = Some("Speed up the Importer");
        state.jobs.insert("team/shop/PR-12".to_owned(), request);
    });
    let connector = with_token(&double);
    for (pattern, found, shown) in [
        ("feature/login", "team/shop/feature%2Flogin", Value::Null),
        ("team » shop » feature/login", "team/shop/feature%2Flogin", Value::Null),
        ("importer", "team/shop/PR-12", json!("Speed up the Importer")),
    ] {
        let page = good(&connector, "search_jenkins_jobs", json!({ "pattern": pattern, "depth": 3 })).await;
        assert_eq!(names(&page, "items", "name"), [found], "{pattern}");
        assert_eq!(page["items"][0]["display_name"], shown, "{pattern}");
    }
    let page = good(&connector, "search_jenkins_jobs", json!({ "pattern": "importer" })).await;
    assert!(page["hints"][0].as_str().unwrap().contains("look deeper"), "{page}");
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
    assert_eq!(none["hints"], json!(["team/web: none of its builds here matches"]));
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
    // It was checked out twice.
    assert_eq!(build["commits"].as_array().unwrap().len(), 1);
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
    let before = double.total();
    let none = good(&connector, "get_jenkins_build_stages", json!({ "job": "plain" })).await;
    assert!(none["hints"][0].as_str().unwrap().contains("no build of a pipeline"), "{none}");
    assert_eq!(double.total() - before, 1, "there is nobody to ask");
}

/// As stages that wait in the queue are told (jenkins-sync-plugin #107).
#[tokio::test]
async fn what_took_less_than_no_time_is_not_told() {
    let double = Double::start().await;
    double.build("team/web", 2, |build| {
        (build.stages[1]["durationMillis"], build.stages[1]["pauseDurationMillis"]) =
            (json!(-158_445), json!(-158_445));
    });
    let stages = good(&with_token(&double), "get_jenkins_build_stages", json!({ "job": "team/web" })).await;
    let told = |at: usize| (&stages["stages"][at]["duration_ms"], &stages["stages"][at]["paused_ms"]);
    assert!(told(0).0.is_number(), "{stages}");
    assert_eq!(told(1), (&Value::Null, &Value::Null), "{stages}");
}

/// `DownstreamFailureCause.getShortDescription` of pipeline-build-step has a link, which is a console note.
#[tokio::test]
async fn the_build_that_failed_downstream_is_told_without_its_notes() {
    let double = Double::start().await;
    let note = format!("\u{1b}[8mha:////4{}==\u{1b}[0m", "A".repeat(400));
    double.build("team/web", 2, |build| {
        let told = format!("{note}team » sign #45{note} completed with status FAILURE (propagate: false to ignore)");
        build.actions.push(json!({ "_class": "jenkins.model.InterruptedBuildAction", "causes": [
            { "_class": "org.jenkinsci.plugins.workflow.support.steps.build.DownstreamFailureCause", "shortDescription": told },
        ] }));
    });
    let connector = with_token(&double);
    for tool in ["get_jenkins_failure_report", "get_jenkins_build_status"] {
        let told = good(&connector, tool, json!({ "job": "team/web" })).await;
        let expected = "team » sign #45 completed with status FAILURE (propagate: false to ignore)";
        assert_eq!(told["interrupted_by"], json!([expected]), "{tool}");
    }
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
        report["tests"].is_null() && report["hints"][0].as_str().unwrap().contains("pipeline-graph-view"),
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
async fn of_a_huge_test_report_only_what_is_wanted_is_read() {
    let double = Double::start().await;
    let trace = "\tat com.example.shop.Service.call(Service.java)\n".repeat(80);
    let case = |number: usize| {
        json!({ "className": "com.example.T", "name": format!("test{number}"), "status": "REGRESSION", "duration": 0.5, "age": 1,
                "errorDetails": "refused", "errorStackTrace": trace })
    };
    let suite = |number: usize| json!({ "name": format!("S{number}"), "cases": (0..100).map(|at| case(number * 100 + at)).collect::<Value>() });
    let report = json!({ "_class": "hudson.tasks.junit.TestResult", "failCount": 3500, "skipCount": 0, "passCount": 120,
                         "suites": (0..35).map(suite).collect::<Value>() });
    assert!(report.to_string().len() > outbound::MAX_BODY_BYTES);
    double.build("team/web", 2, |build| build.tests = Some(report));
    let connector = with_token(&double);
    let of = |more: Value| {
        let mut arguments = json!({ "job": "team/web", "build": 2 });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let some = good(&connector, "get_jenkins_test_results", of(json!({ "limit": 5 }))).await;
    assert_eq!(some["counts"], json!({ "passed": 120, "failed": 3500, "skipped": 0 }));
    assert_eq!((names(&some, "cases", "name").len(), &some["truncated"], double.total()), (5, &json!(true), 3));
    let next = of(json!({ "limit": 120, "cursor": some["next_cursor"] }));
    let next = good(&connector, "get_jenkins_test_results", next).await;
    assert_eq!(next["cases"][0]["name"], "com.example.T.test5");
    let report = good(&connector, "get_jenkins_failure_report", of(json!({}))).await;
    assert_eq!((&report["tests"]["failed"], names(&report, "failed_tests", "name").len()), (&json!(3500), 5));
    // A single error that is larger than an answer may be is left out.
    double.build("team/web", 2, |build| {
        let tests = build.tests.as_mut().unwrap();
        tests["suites"][0]["cases"][1]["errorStackTrace"] = json!("x".repeat(outbound::MAX_BODY_BYTES + 1));
    });
    let some = good(&connector, "get_jenkins_test_results", of(json!({ "limit": 3 }))).await;
    assert_eq!(names(&some, "cases", "name").len(), 3);
    assert!(some["hints"].to_string().contains("without their errors"), "{some}");
}

#[tokio::test]
async fn tests_that_failed_and_are_not_listed_are_said_to_have() {
    let double = Double::start().await;
    double.build("team/web", 2, |build| build.tests = Some(json!({ "failCount": 4, "totalCount": 9, "suites": [] })));
    let connector = with_token(&double);
    for tool in ["get_jenkins_test_results", "get_jenkins_failure_report"] {
        let told = good(&connector, tool, json!({ "job": "team/web", "build": 2 })).await;
        assert!(told["hints"].to_string().contains("4 tests more failed"), "{tool}: {told}");
        assert!(!told["hints"].to_string().contains("no test failed"), "{tool}: {told}");
    }
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
    let expected = json!({ "stage": "Test / linux", "suite": "web", "name": "web.Login.refuses",
                           "status": "REGRESSION", "duration_ms": 250, "failing_for": 1,
                           "error": "expected 403\nat web.Login\nat web.Main" });
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
async fn an_artifact_among_thousands_is_found() {
    let double = Double::start().await;
    double.build("team/web", 2, |build| {
        build.artifacts.extend((0..5_500).map(|number| (format!("site/{number:05}.html"), b"x".to_vec())));
    });
    let connector = with_token(&double);
    let get = |path: &str| json!({ "job": "team/web", "build": 2, "path": path });
    assert_eq!(good(&connector, "get_jenkins_artifact", get("target/report.txt")).await["text"], "all is\nwell\n");
    let error = connector.call("get_jenkins_artifact", get("site/nope.html")).await.unwrap_err();
    assert_eq!((error.code, error.message.contains("among its first")), (ErrorCode::NotFound, false), "{error:?}");
}

#[tokio::test]
async fn credentials_follow_no_redirect_to_object_storage() {
    let (double, storage) = (Double::start().await, Double::start().await);
    let elsewhere = format!("{}/bucket/report.txt", storage.url());
    double.build("team/web", 2, |build| build.storage = Some(elsewhere));
    let get = json!({ "job": "team/web", "build": 2, "path": "target/report.txt" });
    let error = with_token(&double).call("get_jenkins_artifact", get).await.unwrap_err();
    assert!(error.remedy.unwrap().contains("another address"));
    assert_eq!(storage.total(), 0);
}

#[tokio::test]
async fn a_resource_root_url_keeps_no_artifact_back() {
    let double = Double::start().await;
    double.change(|state| state.resource_root = true);
    let get = json!({ "job": "team/web", "build": 2, "path": "target/report.txt" });
    let told = good(&with_token(&double), "get_jenkins_artifact", get).await;
    assert_eq!(told["text"], "all is\nwell\n");
}

#[tokio::test]
async fn odd_characters_of_a_path_are_encoded() {
    let double = Double::start().await;
    let path = "out/pages/[id]|a^b{c}.js";
    double.build("team/web", 2, |build| drop(build.artifacts.insert(path.to_owned(), b"x".to_vec())));
    double.change(|state| {
        let job = state.jobs["plain"].clone();
        state.jobs.insert("team/a[b]|c".to_owned(), job);
    });
    let connector = with_token(&double);
    let get = json!({ "job": "team/web", "build": 2, "path": path });
    assert_eq!(good(&connector, "get_jenkins_artifact", get).await["text"], "x");
    assert_eq!(good(&connector, "get_jenkins_build_status", json!({ "job": "team/a[b]|c" })).await["number"], 3);
}

#[tokio::test]
async fn jobs_and_builds_are_named_as_people_paste_them() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let page = "https://ci.example.com/jenkins/view/all/job/team/job/web";
    for (job, build, number) in [
        (format!("{page}/"), None, 2),
        (format!("<{page}/1/console>"), None, 1),
        (format!("{page}/lastStableBuild/"), None, 1),
        (format!("{page}/1/"), Some("#1"), 1),
        ("job/team/job/web".to_owned(), Some("#2"), 2),
        ("/job/team/job/web/1/".to_owned(), None, 1),
        ("team » web".to_owned(), Some("lastFailedBuild"), 2),
        ("https://ci.example.com/blue/organizations/jenkins/team%2Fweb/detail/web/1/pipeline".to_owned(), None, 1),
        ("https://ci.example.com/blue/organizations/jenkins/team%2Fshop/detail/feature%2Flogin/7/".to_owned(), None, 7),
        ("team » shop » feature/login".to_owned(), Some("lastUnstable"), 7),
    ] {
        let mut arguments = json!({ "job": job });
        if let Some(build) = build {
            arguments["build"] = json!(build);
        }
        let told = good(&connector, "get_jenkins_build_status", arguments.clone()).await;
        assert_eq!(told["number"], number, "{arguments}");
    }
    let configuration = json!({ "job": "https://ci.example.com/job/team/job/matrix/jdk=21,os=linux/5/" });
    assert_eq!(good(&connector, "get_jenkins_build_status", configuration).await["status"], "failure");
    let search = json!({ "folder": "https://ci.example.com/job/team/job/shop/", "depth": 1 });
    let found = good(&connector, "search_jenkins_jobs", search).await;
    assert_eq!(names(&found, "items", "name"), ["team/shop/feature%2Flogin"]);
    let error = connector.call("get_jenkins_build_status", json!({ "job": format!("{page}/1/"), "build": 2 })).await;
    assert_eq!(error.unwrap_err().argument.as_deref(), Some("build"));
    // A folder that is called so is meant, if there is one.
    double.change(|state| {
        let (folder, plain) = (state.jobs["team"].clone(), state.jobs["plain"].clone());
        state.jobs.extend([("job".to_owned(), folder), ("job/plain".to_owned(), plain)]);
    });
    let told = good(&connector, "get_jenkins_job", json!({ "job": "job/plain" })).await;
    assert_eq!(told["name"], "job/plain");
    let error = connector.call("get_jenkins_job", json!({ "job": "team/shop/feature/login" })).await.unwrap_err();
    assert_eq!(error.platform_words, Some(vec!["team/shop/feature%2Flogin".to_owned()]));
}

#[tokio::test]
async fn why_it_failed_is_asked_of_the_newest_build_that_did_not_succeed() {
    let double = Double::start().await;
    double.change(|state| {
        let web = state.jobs.get_mut("team/web").unwrap();
        web.builds.insert(3, super::double::Build::ended("UNSTABLE", 1_769_500_000_000));
    });
    let report = good(&with_token(&double), "get_jenkins_failure_report", json!({ "job": "team/web" })).await;
    assert_eq!((&report["build"], &report["status"]), (&json!(3), &json!("unstable")));
}

#[tokio::test]
async fn the_last_writing_of_a_long_line_is_part_of_a_report() {
    let double = Double::start().await;
    let progress = "\rDownloading layer 12345 of 20000".repeat(900);
    double.build("team/web", 2, |build| build.log = format!("{progress}\rERROR: no space left\nFinished: FAILURE\n"));
    let report = good(&with_token(&double), "get_jenkins_failure_report", json!({ "job": "team/web" })).await;
    assert_eq!(report["log_tail"], "ERROR: no space left\nFinished: FAILURE");
}

#[tokio::test]
async fn builds_are_told_by_the_names_that_people_gave_them() {
    let double = Double::start().await;
    double.build("team/web", 2, |build| build.display_name = Some("1.4.2-rc1"));
    let connector = with_token(&double);
    let list = good(&connector, "list_jenkins_builds", json!({ "job": "team/web" })).await;
    assert_eq!((&list["items"][0]["name"], &list["items"][1]["name"]), (&json!("1.4.2-rc1"), &Value::Null));
    for tool in ["get_jenkins_build_status", "get_jenkins_failure_report"] {
        assert_eq!(good(&connector, tool, json!({ "job": "team/web" })).await["name"], "1.4.2-rc1", "{tool}");
    }
    let job = good(&connector, "get_jenkins_job", json!({ "job": "team/web" })).await;
    assert_eq!(
        (&job["last_build"]["name"], &job["last_successful_build"]["name"]),
        (&json!("1.4.2-rc1"), &Value::Null)
    );
}

#[tokio::test]
async fn tests_with_reports_of_their_own_kind_are_not_nothing() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let action = |class: &str, url: &str, total: u64, failed: u64| {
        let mut told = json!({ "_class": class, "urlName": url, "skipCount": 1 });
        (told["totalCount"], told["failCount"]) = (json!(total), json!(failed));
        told
    };
    double.build("plain", 3, |build| {
        build.actions = vec![
            action("hudson.plugins.testng.TestNGTestResultBuildAction", "testngreports", 40, 3),
            action("hudson.plugins.robot.RobotBuildAction", "robot", 9, 2),
        ];
    });
    for (tool, counts) in [("get_jenkins_test_results", "counts"), ("get_jenkins_failure_report", "tests")] {
        let told = good(&connector, tool, json!({ "job": "plain", "build": 3 })).await;
        assert_eq!(told[counts], json!({ "passed": 42, "failed": 5, "skipped": 2 }), "{tool}");
        let hints = told["hints"].to_string();
        assert!(hints.contains("testngreports has 40 tests, of which 3 failed; robot has 9"), "{tool}: {hints}");
        assert!(!hints.contains("no test") && !hints.contains("tests more failed"), "{tool}: {hints}");
    }
    // Beside a report of JUnit's they are told, too.
    double.build("team/web", 2, |build| {
        build.actions = vec![
            action("hudson.tasks.junit.TestResultAction", "testReport", 6, 2),
            action("hudson.plugins.robot.RobotBuildAction", "robot", 9, 2),
        ];
    });
    let told = good(&connector, "get_jenkins_test_results", json!({ "job": "team/web", "build": 2 })).await;
    assert_eq!(told["counts"], json!({ "passed": 3, "failed": 2, "skipped": 1 }));
    assert!(told["hints"].to_string().contains("robot has 9") && !told["hints"].to_string().contains("testReport"));
    // What a plugin fails to tell, Jenkins leaves out (stapler's `Property.java`, `skipIfFail`).
    let mut untold = action("hudson.plugins.robot.RobotBuildAction", "robot", 9, 2);
    untold.as_object_mut().unwrap().remove("failCount");
    double.build("plain", 3, |build| build.actions = vec![untold]);
    for (tool, counts) in [("get_jenkins_test_results", "counts"), ("get_jenkins_failure_report", "tests")] {
        let told = good(&connector, tool, json!({ "job": "plain", "build": 3 })).await;
        assert_eq!(told[counts], Value::Null, "{tool}");
        let hints = told["hints"].to_string();
        assert!(hints.contains("robot has 9 tests, and how many failed is not told"), "{tool}: {hints}");
        assert!(!hints.contains("no test"), "{tool}: {hints}");
    }
}

#[tokio::test]
async fn a_build_of_several_jobs_tells_those_that_failed() {
    let double = Double::start().await;
    let one = |job: &str, result: Value| {
        json!({ "_class": "com.tikal.jenkins.plugins.multijob.MultiJobBuild$SubBuild",
        "jobName": job, "buildNumber": 42, "phaseName": "Test", "result": result })
    };
    double.build("plain", 3, |build| {
        build.sub_builds = vec![one("unit", json!("SUCCESS")), one("lib", json!("FAILURE")), one("slow", Value::Null)];
    });
    let report = json!({ "job": "plain", "build": 3 });
    let report = good(&with_token(&double), "get_jenkins_failure_report", report).await;
    let hints = report["hints"].to_string();
    assert!(hints.contains("did not succeed: lib #42 (FAILURE, phase Test)\""), "{hints}");
}

#[tokio::test]
async fn artifacts_of_maven_modules_are_not_said_to_be_none() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.build("plain", 3, |build| build.class = Some("hudson.maven.MavenModuleSetBuild"));
    let list = good(&connector, "list_jenkins_artifacts", json!({ "job": "plain" })).await;
    assert!(list["hints"][0].as_str().unwrap().contains("Maven modules"), "{list}");
    let get = json!({ "job": "plain", "build": 3, "path": "web-1.0.war" });
    let error = connector.call("get_jenkins_artifact", get).await.unwrap_err();
    assert!(error.remedy.as_deref().unwrap().contains("Maven modules"), "{error:?}");
}

#[tokio::test]
async fn a_node_that_takes_nothing_is_told_from_one_that_is_idle() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let told = async || good(&connector, "list_jenkins_nodes", json!({})).await["items"].clone();
    assert_eq!(told().await[0]["suspended"], Value::Null);
    // As its icon was at first, until March 2024, and since (azure-vm-agents-plugin #238, JENKINS-69191).
    for icon in ["computer-x.png", "symbol-computer-offline", "symbol-computer-not-accepting"] {
        double.change(|state| state.nodes.iter_mut().for_each(|node| node["icon"] = json!(icon)));
        let told = told().await;
        assert_eq!((&told[0]["suspended"], &told[1]["suspended"]), (&json!(true), &Value::Null), "{icon}: {told}");
    }
}

#[tokio::test]
async fn nodes_tell_why_they_are_offline() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let nodes = good(&connector, "list_jenkins_nodes", json!({ "offline_only": true })).await;
    let cause = "Disk space is below threshold of 1.00 GiB. Only 0.21 GiB left on /home/jenkins.";
    let expected = json!([{ "name": "linux-1", "offline": true, "temporarily_offline": true, "cause": cause,
                            "executors": 4, "idle": true, "labels": [] }]);
    assert_eq!(
        (&nodes["items"], &nodes["hints"]),
        (&expected, &json!(["1 of 2 executors of nodes that are online are busy"]))
    );
    assert_eq!(good(&connector, "list_jenkins_nodes", json!({})).await["items"].as_array().unwrap().len(), 2);
    // Who took it offline is not in the reason, which is empty where nobody gave one (jenkins #6152).
    for (reason, description, cause) in [
        ("", json!("Disconnected by ann"), json!("Disconnected by ann")),
        ("new disk", json!("Disconnected by ann : new disk"), json!("Disconnected by ann : new disk")),
        ("new disk", json!("something else"), json!("new disk")),
        ("", Value::Null, Value::Null),
    ] {
        double.change(|state| {
            state.nodes[1]["offlineCauseReason"] = json!(reason);
            state.nodes[1]["offlineCause"] = json!({ "description": description });
        });
        let nodes = good(&connector, "list_jenkins_nodes", json!({ "offline_only": true })).await;
        assert_eq!(nodes["items"][0]["cause"], cause);
    }
}

/// stapler writes control characters as they are (jenkins_api_client #294), and junit why a test was skipped.
#[tokio::test]
async fn texts_with_control_characters_and_reasons_of_tests_are_told() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.build("team/web", 2, |build| {
        let tests = build.tests.as_mut().unwrap();
        tests["suites"][0]["cases"][1]["errorDetails"] = json!("\u{1b}[31mexpected\u{1b}[39m 403\u{7}");
        tests["suites"][0]["cases"][3]["skippedMessage"] = json!("needs a GPU");
        build.parameters =
            vec![json!({ "_class": "hudson.model.StringParameterValue", "name": "NOTE", "value": "a\u{1}b" })];
    });
    let build = json!({ "job": "team/web", "build": 2 });
    let status = good(&connector, "get_jenkins_build_status", build.clone()).await;
    assert_eq!(status["parameters"][0]["name"], "NOTE", "{status}");
    let report = good(&connector, "get_jenkins_failure_report", build.clone()).await;
    assert!(report["failed_tests"][0]["error"].as_str().unwrap().starts_with("expected 403"), "{report}");
    let all = json!({ "job": "team/web", "build": 2, "only_failed": false });
    let tests = good(&connector, "get_jenkins_test_results", all).await;
    let skipped = tests["cases"].as_array().unwrap().iter().find(|one| one["status"] == "SKIPPED").unwrap();
    assert_eq!(skipped["error"], "needs a GPU");
}
