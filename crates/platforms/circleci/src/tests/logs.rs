//! Logs, reports and files: parts of large ones, terminal output, and where the token goes.

use serde_json::{Value, json};

use super::{TOKEN, cloud, connect, double::Double, good, server, world::id};
use tools::ErrorCode;

fn job() -> Value {
    json!({ "project_slug": "gh/acme/web", "job_number": 32 })
}

#[allow(clippy::needless_pass_by_value, reason = "reads better where it is called")]
fn with(more: Value) -> Value {
    let mut arguments = job();
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    arguments
}

#[tokio::test]
async fn the_failed_step_is_what_is_looked_at() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let log = good(&connector, "get_circleci_job_log", job()).await;
        assert_eq!((&log["step"], &log["step_name"], &log["exit_code"]), (&json!(101), &json!("make"), &json!(2)));
        assert!(log["text"].as_str().unwrap().contains("error: über all\n"), "{log}");
        let tail = good(&connector, "get_circleci_job_log", with(json!({ "mode": "tail" }))).await;
        assert_eq!(
            (&tail["text"], &tail["truncated"]),
            (&json!("ok one\nerror: über all\nexit code 2\n"), &json!(false))
        );
        assert_eq!(tail["finished"], true);
        let gone = connector.call("get_circleci_job_log", with(json!({ "step": 7 }))).await.unwrap_err();
        assert_eq!((gone.code, gone.argument.as_deref()), (ErrorCode::NotFound, Some("step")));
    }
}

#[tokio::test]
async fn a_large_log_is_read_in_parts_that_make_up_the_whole() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let log: String =
            (0..2_000).map(|n| format!("\u{1b}[3{}mzeile {n} ü€😀\u{1b}[0m\n", n % 8)).collect::<Vec<_>>().concat();
        double.change(|state| state.world.log = log.clone().into_bytes());
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let (mut read, mut cursor) = (String::new(), None::<Value>);
        for _ in 0..200 {
            let mut arguments = with(json!({ "mode": "range", "max_bytes": 1_024 }));
            if let Some(cursor) = cursor {
                arguments["cursor"] = cursor;
            }
            let part = good(&connector, "get_circleci_job_log", arguments).await;
            read.push_str(part["text"].as_str().unwrap());
            cursor = part.get("next_cursor").cloned();
            if cursor.is_none() {
                assert_eq!(part["finished"], true);
                break;
            }
        }
        let plain: String = (0..2_000).map(|n| format!("zeile {n} ü€😀\n")).collect::<Vec<_>>().concat();
        assert_eq!(read.len(), plain.len());
        assert_eq!(read, plain);
        let tail = good(&connector, "get_circleci_job_log", with(json!({ "mode": "tail", "max_bytes": 1_024 }))).await;
        assert!(tail["text"].as_str().unwrap().ends_with("zeile 1999 ü€😀\n") && tail["truncated"] == true);
    }
}

#[tokio::test]
async fn a_log_that_goes_on_has_a_cursor_to_come_back_with() {
    let double = Double::start().await;
    double.change(|state| state.world.log_goes_on = true);
    let connector = cloud(&double);
    let first = good(&connector, "get_circleci_job_log", with(json!({ "mode": "range", "step": 101 }))).await;
    assert_eq!((&first["finished"], first["text"].as_str().unwrap().lines().count()), (&json!(false), 3));
    double.change(|state| {
        state.world.log_goes_on = false;
        state.world.log.extend_from_slice(b"more\n");
    });
    let arguments = with(json!({ "mode": "range", "step": 101, "cursor": first["next_cursor"] }));
    let second = good(&connector, "get_circleci_job_log", arguments).await;
    assert_eq!(
        (&second["text"], &second["finished"], second.get("next_cursor")),
        (&json!("more\n"), &json!(true), None)
    );
}

#[tokio::test]
async fn a_failure_report_says_why() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        for arguments in [
            json!({ "pipeline_id": id('a', 5) }),
            json!({ "workflow_id": id('b', 1) }),
            json!({ "project_slug": "gh/acme/web", "branch": "main" }),
        ] {
            let report = good(&connector, "get_circleci_failure_report", arguments.clone()).await;
            let failed = &report["jobs"][0];
            assert_eq!((&failed["name"], &failed["step"]["exit_code"]), (&json!("test"), &json!(2)), "{arguments}");
            assert!(failed["log"].as_str().unwrap().contains("über all"), "{report}");
            assert_eq!(failed["failed_tests"][0]["name"], "divides");
            assert_eq!(report["jobs"].as_array().unwrap().len(), 1);
        }
        let fine = good(&connector, "get_circleci_failure_report", json!({ "pipeline_id": id('a', 4) })).await;
        assert!(fine["hints"][0].as_str().unwrap().contains("approval"), "{fine}");
    }
}

#[tokio::test]
async fn what_a_report_cannot_find_out_spoils_nothing() {
    let double = Double::start().await;
    double.fail(&format!("v3/jobs/{}/stdout/condensed", id('c', 32)), 422, "x");
    let report = good(&cloud(&double), "get_circleci_failure_report", json!({ "pipeline_id": id('a', 5) })).await;
    let failed = &report["jobs"][0];
    assert!(failed["missing"][0].as_str().unwrap().starts_with("its log: "), "{failed}");
    assert_eq!(failed["failed_tests"][0]["name"], "divides");
}

#[tokio::test]
async fn artifacts_are_read_with_the_token_at_circleci_and_without_it_elsewhere() {
    for (is_server, arguments) in [(false, json!({ "job_id": id('c', 32) })), (false, job()), (true, job())] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let list = good(&connector, "get_circleci_job_artifacts", arguments.clone()).await;
        let entry = json!({ "path": "out/log.txt", "node_index": 0 });
        assert_eq!((&list["count"], &list["artifacts"][2]), (&json!(3), &entry), "links are shown only when asked for");
        let mut with_path = arguments.clone();
        with_path["path"] = json!("out/log.txt");
        let file = good(&connector, "get_circleci_artifact", with_path.clone()).await;
        assert_eq!(
            (&file["text"], &file["binary"], &file["size"]),
            (&json!("line one\nline two\n"), &json!(false), &json!(18))
        );
        with_path["path"] = json!("out/image.png");
        let image = good(&connector, "get_circleci_artifact", with_path.clone()).await;
        assert_eq!((image.get("text"), &image["binary"], &image["size"]), (None, &json!(true), &json!(6)));
        with_path["path"] = json!("nothing");
        let gone = connector.call("get_circleci_artifact", with_path).await.unwrap_err();
        assert_eq!((gone.code, gone.argument.as_deref()), (ErrorCode::NotFound, Some("path")));
    }
}

#[tokio::test]
async fn links_are_shown_when_asked_for_with_a_warning() {
    let double = Double::start().await;
    let list = good(&cloud(&double), "get_circleci_job_artifacts", with(json!({ "include_urls": true }))).await;
    assert_eq!(list["artifacts"][0]["url"], format!("{}/artifacts/a.txt", double.uri()));
    assert!(list["hints"][0].as_str().unwrap().contains("don't pass them on"));
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_never_asked() {
    let double = Double::start_server().await;
    let spec = json!({ "apiVersion": "V2", "downloadHosts": ["elsewhere.example.com"] });
    let connector = connect(&double.uri(), &[("token", TOKEN)], &spec);
    for (tool, arguments) in
        [("get_circleci_job_log", job()), ("get_circleci_artifact", with(json!({ "path": "out/log.txt" })))]
    {
        let error = connector.call(tool, arguments).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::PermissionDenied, "{tool}");
        assert!(error.remedy.as_ref().unwrap().contains("downloadHosts"), "{tool}: {error:?}");
        // Whoever allows hosts has to know which (circleci/circleci-docs #4222); the rest of the link is a credential.
        assert_eq!(error.platform_words, Some(vec!["127.0.0.1".to_owned()]), "{tool}: {error:?}");
        assert!(!format!("{error:?}").contains(double.files_host().trim_start_matches("http://")), "{error:?}");
        assert!(!format!("{error:?}").contains("planted"), "{tool}: {error:?}");
    }
}
