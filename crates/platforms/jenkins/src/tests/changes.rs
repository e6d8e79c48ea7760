//! What ends, settles and deletes.

use serde_json::json;

use super::{
    double::{Build, Double, Item, Job},
    good, with_token,
};
use tools::ErrorCode;

/// A build that runs: number 3 of a pipeline, and number 4 of a freestyle job.
fn running(double: &Double) {
    double.change(|state| {
        let now = state.now;
        let build = |pipeline| Build::running(40, now, Vec::new(), pipeline);
        state.jobs.get_mut("team/web").unwrap().builds.insert(3, build(true));
        state.jobs.get_mut("plain").unwrap().builds.insert(4, build(false));
    });
}

#[tokio::test]
async fn a_build_is_ended_once() {
    let double = Double::start().await;
    let connector = with_token(&double);
    running(&double);
    let preview = connector.preview("cancel_jenkins_build", json!({ "job": "team/web" })).await.unwrap();
    assert!(preview.would.contains("end build 3 of team/web"), "{}", preview.would);
    assert_eq!(double.count("POST", ""), 0);
    let ended = good(&connector, "cancel_jenkins_build", json!({ "job": "team/web" })).await;
    assert_eq!((&ended["status"], &ended["already"]), (&json!("aborted"), &json!(false)));
    let again = good(&connector, "cancel_jenkins_build", json!({ "job": "team/web" })).await;
    assert_eq!((&again["already"], double.count("POST", "")), (&json!(true), 1));
}

#[tokio::test]
async fn a_build_that_does_not_end_is_ended_harder() {
    let double = Double::start().await;
    let connector = with_token(&double);
    running(&double);
    double.build("team/web", 3, |build| build.stops = false);
    let still = good(&connector, "cancel_jenkins_build", json!({ "job": "team/web", "build": 3 })).await;
    assert_eq!(still["status"], "running");
    assert!(still["hints"][0].as_str().unwrap().contains("harder mode"), "{still}");
    let killed = good(&connector, "cancel_jenkins_build", json!({ "job": "team/web", "mode": "kill" })).await;
    assert_eq!((&killed["status"], double.count("POST", "web/3/kill")), (&json!("aborted"), 1));
    let error = connector.call("cancel_jenkins_build", json!({ "job": "plain", "mode": "term" })).await.unwrap_err();
    assert_eq!(error.argument.as_deref(), Some("mode"));
    double.change(|state| state.permissions.remove("Job/Cancel"));
    let error = connector.call("cancel_jenkins_build", json!({ "job": "plain" })).await.unwrap_err();
    assert!(error.message.contains("lacks Job/Cancel"), "{error:?}");
}

#[tokio::test]
async fn an_item_is_taken_out_of_the_queue() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.change(|state| state.looks_until_start = None);
    let trigger = || json!({ "job": "plain", "wait_seconds": 0 });
    good(&connector, "trigger_jenkins_build", trigger()).await;
    let preview = connector.preview("cancel_jenkins_queue_item", json!({ "id": 41 })).await.unwrap();
    assert_eq!(preview.would, "cancel the queued build of plain");
    for _ in 0..2 {
        let cancelled = good(&connector, "cancel_jenkins_queue_item", json!({ "id": 41 })).await;
        assert_eq!(cancelled, json!({ "id": 41, "cancelled": true }));
    }
    assert_eq!(double.count("POST", "cancelItem"), 1);
    good(&connector, "trigger_jenkins_build", trigger()).await;
    double.change(|state| state.permissions.remove("Job/Cancel"));
    let error = connector.call("cancel_jenkins_queue_item", json!({ "id": 42 })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::PermissionDenied);
    double.change(|state| state.begin(42));
    let started = good(&connector, "cancel_jenkins_queue_item", json!({ "id": 42 })).await;
    assert_eq!(started, json!({ "id": 42, "cancelled": false, "already_started": 4 }));
    let error = connector.call("cancel_jenkins_queue_item", json!({ "id": 99 })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_step_of_a_pipeline_is_no_build_that_waits() {
    let double = Double::start().await;
    let connector = with_token(&double);
    running(&double);
    double.change(|state| {
        let now = state.now;
        let item = Item {
            job: "team/web".to_owned(),
            parameters: Vec::new(),
            since: now,
            looks: 0,
            stuck: true,
            cancelled: false,
            build: None,
            left: None,
            step_of: Some(("team/web".to_owned(), 3)),
        };
        state.queue.insert(50, item);
        // It waits for longer than a look.
        state.looks_until_start = None;
    });
    let queue = good(&connector, "list_jenkins_queue", json!({})).await;
    assert_eq!((&queue["items"][0]["is_step"], &queue["items"][0]["job"]), (&json!(true), &json!(null)));
    let preview = connector.preview("cancel_jenkins_queue_item", json!({ "id": 50 })).await.unwrap();
    assert!(preview.would.contains("the pipeline ends by it"), "{}", preview.would);
    good(&connector, "cancel_jenkins_queue_item", json!({ "id": 50 })).await;
    let build = good(&connector, "get_jenkins_build_status", json!({ "job": "team/web", "build": 3 })).await;
    assert_eq!(build["status"], "aborted");
}

/// A pipeline that waits for two inputs.
fn waiting(double: &Double) {
    running(double);
    double.build("team/web", 3, |build| {
        build.inputs = vec![
            json!({ "id": "Ship", "message": "Ship it?", "proceedText": "Yes", "inputs": [
                { "type": "ChoiceParameterDefinition", "name": "WHERE", "description": "",
                  "definition": { "defaultVal": "eu", "choices": ["eu", "us"] } },
                { "type": "PasswordParameterDefinition", "name": "PIN", "definition": { "defaultVal": "planted" } },
            ] }),
            json!({ "id": "Go on", "message": "Go on?", "inputs": [] }),
        ];
    });
}

#[tokio::test]
async fn inputs_are_listed_with_what_they_want() {
    let double = Double::start().await;
    let connector = with_token(&double);
    waiting(&double);
    let list = good(&connector, "list_jenkins_pending_inputs", json!({ "job": "team/web" })).await;
    assert_eq!((&list["inputs"][0]["id"], &list["inputs"][0]["proceed_text"]), (&json!("Ship"), &json!("Yes")));
    let expected =
        json!({ "name": "WHERE", "type": "choice", "default": "eu", "choices": ["eu", "us"], "required": true });
    assert_eq!(list["inputs"][0]["parameters"][0], expected);
    assert_eq!(list["inputs"][0]["parameters"][1]["default"], "********");
    let stages = good(&connector, "get_jenkins_build_stages", json!({ "job": "team/web" })).await;
    assert_eq!(stages["status"], "PAUSED_PENDING_INPUT");
    let none = good(&connector, "list_jenkins_pending_inputs", json!({ "job": "team/web", "build": 2 })).await;
    assert!(none["hints"][0].as_str().unwrap().contains("waits for no input"), "{none}");
}

#[tokio::test]
async fn an_input_is_settled_once_with_all_its_parameters() {
    let double = Double::start().await;
    let connector = with_token(&double);
    waiting(&double);
    let submit = |id: &str, action: &str, parameters: serde_json::Value| json!({ "job": "team/web", "input_id": id, "action": action, "parameters": parameters });
    for (parameters, text) in [
        (json!({ "WHERE": "eu" }), "all must be given"),
        (json!({ "WHERE": "mars", "PIN": "1" }), "has no such choice"),
        (json!({ "WHERE": "eu", "PIN": "1", "X": 1 }), "is not declared"),
    ] {
        let error = connector.call("submit_jenkins_input", submit("Ship", "proceed", parameters)).await.unwrap_err();
        assert!(error.message.contains(text), "{error:?}");
    }
    let error = connector.call("submit_jenkins_input", submit("ship", "abort", json!({}))).await.unwrap_err();
    assert_eq!(error.platform_words, Some(vec!["Ship".to_owned(), "Go on".to_owned()]));
    assert_eq!(double.count("POST", ""), 0, "something was sent");
    let good_one = submit("Ship", "proceed", json!({ "WHERE": "us", "PIN": "planted-pin" }));
    let preview = connector.preview("submit_jenkins_input", good_one.clone()).await.unwrap();
    assert_eq!(preview.state["parameters"], json!({ "PIN": "********", "WHERE": "us" }));
    assert_eq!(good(&connector, "submit_jenkins_input", good_one.clone()).await["settled"], true);
    let form = double.form("job/team/job/web/3/input/Ship/proceed");
    let sent: serde_json::Value = serde_json::from_str(&form[0].1).unwrap();
    assert_eq!(sent["parameter"][0], json!({ "name": "WHERE", "value": "us" }));
    assert_eq!(connector.call("submit_jenkins_input", good_one).await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(good(&connector, "submit_jenkins_input", submit("Go on", "proceed", json!({}))).await["settled"], true);
    assert_eq!(double.form("job/team/job/web/3/input/Go%20on/proceed")[0].1, r#"{"parameter":[]}"#);
}

#[tokio::test]
async fn an_input_can_end_the_pipeline() {
    let double = Double::start().await;
    let connector = with_token(&double);
    waiting(&double);
    let abort = json!({ "job": "team/web", "input_id": "Ship", "action": "abort" });
    assert_eq!(good(&connector, "submit_jenkins_input", abort).await["settled"], true);
    let build = good(&connector, "get_jenkins_build_status", json!({ "job": "team/web" })).await;
    assert_eq!(build["status"], "aborted");
}

#[tokio::test]
async fn a_job_is_deleted_and_a_folder_never() {
    let double = Double::start().await;
    let connector = with_token(&double);
    for folder in ["team", "team/shop"] {
        let error = connector.call("delete_jenkins_job", json!({ "job": folder })).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::PermissionDenied, "{folder}");
    }
    let wrong = json!({ "job": "plain", "expected_last_build": 2 });
    assert_eq!(connector.call("delete_jenkins_job", wrong).await.unwrap_err().code, ErrorCode::Conflict);
    let right = json!({ "job": "plain", "expected_last_build": 3 });
    let preview = connector.preview("delete_jenkins_job", right.clone()).await.unwrap();
    assert!(preview.would.contains("for good"));
    assert_eq!(double.count("POST", ""), 0, "something was sent");
    let deleted = good(&connector, "delete_jenkins_job", right.clone()).await;
    assert_eq!(deleted, json!({ "job": "plain", "deleted": true, "last_build": 3 }));
    assert_eq!(connector.call("delete_jenkins_job", right).await.unwrap_err().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn the_job_of_a_branch_goes_with_its_branch() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let delete = || json!({ "job": "team/shop/feature%2Flogin" });
    let branch = |change: fn(&mut Job)| {
        double.change(|state| change(state.jobs.get_mut("team/shop/feature%2Flogin").unwrap()));
    };
    let error = connector.preview("delete_jenkins_job", delete()).await.unwrap_err();
    assert!(error.message.contains("is the job of a branch"), "{error:?}");
    assert_eq!(double.count("POST", ""), 0, "something was sent");
    // That it can't be built may have another reason: Jenkins says it.
    branch(|job| job.disabled = true);
    let error = connector.call("delete_jenkins_job", delete()).await.unwrap_err();
    assert!(error.remedy.as_deref().unwrap().contains("the next scan"), "{error:?}");
    branch(|job| job.dead = true);
    assert_eq!(good(&connector, "delete_jenkins_job", delete()).await["deleted"], true);
}

#[tokio::test]
async fn a_job_of_which_a_build_does_not_end_stays() {
    let double = Double::start().await;
    let connector = with_token(&double);
    running(&double);
    double.build("plain", 4, |build| build.stops = false);
    let kept = good(&connector, "delete_jenkins_job", json!({ "job": "plain" })).await;
    assert_eq!((&kept["deleted"], &kept["last_build"]), (&json!(false), &json!(4)));
    assert!(kept["hints"][0].as_str().unwrap().contains("build 4 did not end when it was told to, and then"), "{kept}");
    // Nothing runs: it is refused for another reason.
    double.build("plain", 4, |build| build.building = false);
    double.want("job/plain/doDelete", 400, "");
    let error = connector.call("delete_jenkins_job", json!({ "job": "plain" })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn what_ended_a_build_did_not_start_it() {
    let double = Double::start().await;
    let connector = with_token(&double);
    running(&double);
    good(&connector, "cancel_jenkins_build", json!({ "job": "team/web" })).await;
    for tool in ["get_jenkins_build_status", "get_jenkins_failure_report"] {
        let told = good(&connector, tool, json!({ "job": "team/web", "build": 3 })).await;
        assert_eq!(
            (&told["causes"], &told["interrupted_by"]),
            (&json!(["Started by user bot"]), &json!(["Aborted by bot"])),
            "{tool}"
        );
    }
}
