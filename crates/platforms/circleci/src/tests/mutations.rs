//! The tools that change something: what they say first, what they send, and that they do it once.

use serde_json::{Value, json};

use super::{
    TOKEN, cloud, connect,
    double::Double,
    good, server,
    world::{DEFINITION, id},
};
use tools::ErrorCode;

#[allow(clippy::needless_pass_by_value, reason = "reads better where it is called")]
fn project(more: Value) -> Value {
    let mut arguments = json!({ "project_slug": "gh/acme/web" });
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    arguments
}

const RUN: &str = "v2/project/gh/acme/web/pipeline/run";

#[tokio::test]
async fn a_run_is_started_on_a_branch_or_a_tag() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let preview = connector.preview("trigger_circleci_pipeline", project(json!({}))).await.unwrap();
    assert_eq!(preview.would, "start a run of gh/acme/web on the branch main");
    assert_eq!(double.count("POST", RUN), 0);
    for (more, config) in [
        (json!({}), json!({ "branch": "main" })),
        (json!({ "branch": "feature/x" }), json!({ "branch": "feature/x" })),
        (json!({ "tag": "v1" }), json!({ "tag": "v1" })),
    ] {
        let run = good(&connector, "trigger_circleci_pipeline", project(more.clone())).await;
        let body = double.body("POST", RUN);
        assert_eq!(body, json!({ "config": config, "checkout": config }), "{more}");
        assert_eq!((&run["state"], &run["skipped"]), (&json!("pending"), &json!(false)));
    }
    let parameters = json!({ "deploy": true, "env": "stage" });
    let run = good(&connector, "trigger_circleci_pipeline", project(json!({ "parameters": parameters }))).await;
    assert_eq!((&run["pipeline_number"], &double.body("POST", RUN)["parameters"]), (&json!(9), &parameters));
    double.change(|state| assert_eq!(state.world.runs[0].parameters, parameters));
}

#[tokio::test]
async fn arguments_of_a_run_are_checked_before_anything_is_asked() {
    let double = Double::start().await;
    let connector = cloud(&double);
    for (more, argument) in [
        (json!({ "branch": "a", "tag": "b" }), "tag"),
        (json!({ "branch": "a\nb" }), "branch"),
        (json!({ "definition_id": "not-an-id-but-as-long-as-one-is-----" }), "definition_id"),
        (json!({ "parameters": { "1x": true } }), "parameters"),
        (json!({ "reuse_if_newer_than_seconds": 0 }), "reuse_if_newer_than_seconds"),
        (json!({ "reuse_if_newer_than_seconds": 60, "parameters": { "deploy": true } }), "reuse_if_newer_than_seconds"),
        (json!({ "project_slug": "acme/web" }), "project_slug"),
    ] {
        let error = connector.call("trigger_circleci_pipeline", project(more.clone())).await.unwrap_err();
        assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::InvalidArgument, Some(argument)), "{more}");
    }
    let list = connector.call("trigger_circleci_pipeline", project(json!({ "parameters": { "env": [] } }))).await;
    assert_eq!((list.unwrap_err().code, double.total()), (ErrorCode::InvalidArgument, 0));
}

#[tokio::test]
async fn parameters_that_are_not_declared_are_named_with_those_that_are() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let arguments = project(json!({ "parameters": { "deplyo": true } }));
    let acted = connector.call("trigger_circleci_pipeline", arguments.clone()).await.unwrap_err();
    let previewed = connector.preview("trigger_circleci_pipeline", arguments).await.unwrap_err();
    for error in [acted, previewed] {
        assert_eq!(error.message, "the configuration declares no parameter deplyo");
        assert_eq!(error.platform_words, Some(vec!["deploy".to_owned(), "env".to_owned()]));
    }
    double.change(|state| assert_eq!(state.world.runs.len(), 5));
}

/// CircleCI-Public/circleci-cli #1823, #631, CircleCI-Public/terraform-provider-circleci #122.
#[tokio::test]
async fn parameters_are_sent_with_the_types_that_are_declared() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let with = |parameters: Value| project(json!({ "parameters": parameters }));
    for (given, sent) in [
        (json!({ "deploy": "true", "env": 8 }), json!({ "deploy": true, "env": "8" })),
        (json!({ "deploy": false, "env": "1.10" }), json!({ "deploy": false, "env": "1.10" })),
        (json!({ "env": true }), json!({ "env": "true" })),
    ] {
        connector.preview("trigger_circleci_pipeline", with(given.clone())).await.unwrap();
        good(&connector, "trigger_circleci_pipeline", with(given)).await;
        double.change(|state| {
            assert_eq!((&state.world.runs[0].parameters, state.world.runs[0].state.as_str()), (&sent, "pending"));
        });
    }
    let runs = double.count("POST", RUN);
    for (given, declared) in [
        (json!({ "deploy": "maybe" }), "deploy is a boolean"),
        (json!({ "deploy": 1 }), "deploy is a boolean"),
        (json!({ "env": 1.1 }), "env is a string"),
    ] {
        let previewed = connector.preview("trigger_circleci_pipeline", with(given.clone())).await.unwrap_err();
        let acted = connector.call("trigger_circleci_pipeline", with(given)).await.unwrap_err();
        for error in [previewed, acted] {
            assert!(error.message.starts_with("the configuration declares another type for "), "{error:?}");
            assert!(error.platform_words.as_ref().unwrap().concat().contains(declared), "{error:?}");
        }
    }
    assert_eq!(double.count("POST", RUN), runs);
    // Where a definition is named, the newest run may be of another one: what is declared isn't known.
    let named = project(json!({ "definition_id": DEFINITION, "parameters": { "deploy": "true" } }));
    good(&connector, "trigger_circleci_pipeline", named).await;
    assert_eq!(double.body("POST", RUN)["parameters"], json!({ "deploy": "true" }));
    double.fail(&format!("v2/pipeline/{}/config", id('a', 9)), 404, "x");
    double.fail(RUN, 400, "Type error for argument deploy: expected type: boolean");
    let error = connector.call("trigger_circleci_pipeline", with(json!({ "deploy": "yes" }))).await.unwrap_err();
    assert_eq!(error.message, "the configuration declares another type for deploy");
}

#[tokio::test]
async fn a_skipped_run_is_told_and_a_new_enough_one_reused() {
    let double = Double::start().await;
    let connector = cloud(&double);
    double.change(|state| state.world.skips = true);
    let skipped = good(&connector, "trigger_circleci_pipeline", project(json!({}))).await;
    assert_eq!((&skipped["skipped"], skipped.get("pipeline_id")), (&json!(true), None));
    assert!(skipped["message"].as_str().unwrap().contains("[ci skip]"));
    double.change(|state| state.world.skips = false);
    let arguments = project(json!({ "reuse_if_newer_than_seconds": 600 }));
    let first = good(&connector, "trigger_circleci_pipeline", arguments.clone()).await;
    let again = good(&connector, "trigger_circleci_pipeline", arguments.clone()).await;
    assert_eq!((&first["reused"], &again["reused"]), (&json!(false), &json!(true)));
    assert_eq!((&first["pipeline_id"], double.count("POST", RUN)), (&again["pipeline_id"], 2));
    let preview = connector.preview("trigger_circleci_pipeline", arguments).await.unwrap();
    assert!(preview.would.starts_with("start nothing: run 6"), "{}", preview.would);
}

#[tokio::test]
async fn app_based_projects_need_a_definition() {
    let double = Double::start().await;
    double.change(|state| state.world.slug = "circleci/o/p".into());
    let connector = cloud(&double);
    let arguments = json!({ "project_slug": "circleci/o/p", "branch": "main" });
    let none = connector.call("trigger_circleci_pipeline", arguments.clone()).await.unwrap_err();
    assert_eq!(none.argument.as_deref(), Some("definition_id"));
    double.change(|state| state.world.definitions = 1);
    good(&connector, "trigger_circleci_pipeline", arguments.clone()).await;
    assert_eq!(double.body("POST", "v2/project/circleci/o/p/pipeline/run")["definition_id"], DEFINITION);
    double.change(|state| state.world.definitions = 2);
    let several = connector.call("trigger_circleci_pipeline", arguments).await.unwrap_err();
    assert!(several.platform_words.unwrap().concat().contains(DEFINITION));
}

#[tokio::test]
async fn where_the_new_endpoint_takes_no_run_the_old_one_does() {
    for (has_it, wants_definition) in [(false, false), (true, true)] {
        let double = Double::start_server().await;
        double.change(|state| {
            state.world.has_run_endpoint = has_it;
            state.world.wants_definition = wants_definition;
        });
        let arguments = project(json!({ "branch": "main", "parameters": { "deploy": true } }));
        let run = good(&server(&double), "trigger_circleci_pipeline", arguments).await;
        assert_eq!(run["pipeline_number"], 6);
        let body = double.body("POST", "v2/project/gh/acme/web/pipeline");
        assert_eq!(body, json!({ "branch": "main", "parameters": { "deploy": true } }));
    }
}

#[tokio::test]
async fn a_lost_answer_is_followed_by_a_look_and_never_by_a_second_run() {
    let double = Double::start().await;
    double.change(|state| state.loses_answers = true);
    let connector = cloud(&double);
    let error = connector.call("trigger_circleci_pipeline", project(json!({}))).await.unwrap_err();
    assert_eq!(error.message, "unknown whether the run started: CircleCI's answer is missing");
    assert_eq!(error.platform_words, Some(vec![id('a', 6)]), "{error:?}");
    double.change(|state| assert_eq!(state.world.runs.len(), 6));
}

#[tokio::test]
async fn a_workflow_is_run_again_once() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let workflow = json!({ "workflow_id": id('b', 1) });
        let preview = connector.preview("rerun_circleci_workflow", workflow.clone()).await.unwrap();
        assert_eq!(preview.would, "run what failed in the workflow build of gh/acme/web, run 5, again");
        let again = good(&connector, "rerun_circleci_workflow", workflow.clone()).await;
        assert_eq!(again["workflow_id"], id('b', 4));
        let (path, body) = if is_server {
            (format!("v2/workflow/{}/rerun", id('b', 1)), json!({ "from_failed": true }))
        } else {
            (format!("v3/workflows/{}/rerun", id('b', 1)), json!({ "is_from_failed": true }))
        };
        assert_eq!(double.body("POST", &path), body);
        let twice = connector.call("rerun_circleci_workflow", workflow).await.unwrap_err();
        assert_eq!((twice.code, double.count("POST", &path)), (ErrorCode::Conflict, 1));
        assert_eq!(twice.platform_words, Some(vec![id('b', 4)]));
        let jobs = json!({ "workflow_id": id('b', 2), "jobs": [id('c', 31)] });
        good(&connector, "rerun_circleci_workflow", jobs).await;
        assert_eq!(double.body("POST", &format!("v2/workflow/{}/rerun", id('b', 2))), json!({ "jobs": [id('c', 31)] }));
    }
}

#[tokio::test]
async fn what_did_not_fail_or_has_not_ended_is_not_run_again() {
    let double = Double::start().await;
    let connector = cloud(&double);
    for (number, words) in [(2, "nothing failed"), (3, "has not ended")] {
        let error =
            connector.call("rerun_circleci_workflow", json!({ "workflow_id": id('b', number) })).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Conflict);
        assert!(error.message.contains(words), "{error:?}");
    }
    let all = json!({ "workflow_id": id('b', 2), "from_failed": false });
    good(&connector, "rerun_circleci_workflow", all).await;
    assert_eq!(double.body("POST", &format!("v3/workflows/{}/rerun", id('b', 2))), json!({ "is_from_failed": false }));
    let both = json!({ "workflow_id": id('b', 2), "from_failed": true, "jobs": [id('c', 31)] });
    assert_eq!(
        connector.call("rerun_circleci_workflow", both).await.unwrap_err().argument.as_deref(),
        Some("from_failed")
    );
}

#[tokio::test]
async fn a_workflow_is_cancelled_once_and_the_state_after_is_told() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let workflow = json!({ "workflow_id": id('b', 3) });
        let preview = connector.preview("cancel_circleci_workflow", workflow.clone()).await.unwrap();
        assert!(
            preview.would.starts_with("cancel the workflow build of gh/acme/web, run 4, which is on_hold"),
            "{}",
            preview.would
        );
        for already in [false, true] {
            let done = good(&connector, "cancel_circleci_workflow", workflow.clone()).await;
            assert_eq!(
                (&done["status"], &done["already"], &done["cancelled"]),
                (&json!("canceled"), &json!(already), &json!(true))
            );
        }
        let path = if is_server {
            format!("v2/workflow/{}/cancel", id('b', 3))
        } else {
            format!("v3/workflows/{}/cancel", id('b', 3))
        };
        assert_eq!(double.count("POST", &path), 1);
    }
    let late = Double::start().await;
    late.change(|state| {
        state.world.workflows[2].status = "running".into();
        state.world.cancels_late = 3;
    });
    let done = good(&cloud(&late), "cancel_circleci_workflow", json!({ "workflow_id": id('b', 3) })).await;
    assert_eq!(
        (&done["status"], &done["finished"], &done["cancelled"]),
        (&json!("running"), &json!(false), &json!(true))
    );
}

#[tokio::test]
async fn a_job_is_approved_once() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let by_name = json!({ "workflow_id": id('b', 3), "job_name": "hold" });
        let preview = connector.preview("approve_circleci_job", by_name.clone()).await.unwrap();
        assert_eq!(preview.would, "approve hold of the workflow build of gh/acme/web, so that deploy can run");
        let by_id = json!({ "workflow_id": id('b', 3), "approval_request_id": id('d', 34) });
        for (arguments, already) in [(by_name.clone(), false), (by_id, true)] {
            let done = good(&connector, "approve_circleci_job", arguments).await;
            assert_eq!((&done["already"], &done["status"]), (&json!(already), &json!("running")));
        }
        assert_eq!(double.count("POST", &format!("v2/workflow/{}/approve/{}", id('b', 3), id('d', 34))), 1);
        let gone = json!({ "workflow_id": id('b', 1), "job_name": "hold" });
        assert_eq!(connector.call("approve_circleci_job", gone).await.unwrap_err().code, ErrorCode::NotFound);
    }
    let double = Double::start().await;
    double.change(|state| state.world.jobs[3].status = "blocked".into());
    let early = json!({ "workflow_id": id('b', 3), "job_name": "hold" });
    assert_eq!(cloud(&double).call("approve_circleci_job", early).await.unwrap_err().code, ErrorCode::Conflict);
}

#[tokio::test]
async fn a_component_is_rolled_back_from_the_version_that_runs() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let arguments = |version: &str, current: &str| {
        project(json!({ "component": "web", "environment": "prod", "version": version, "current_version": current }))
    };
    let preview = connector.preview("rollback_circleci_component", arguments("v1", "v3")).await.unwrap();
    assert_eq!(preview.would, "roll web of gh/acme/web in prod back from v3 to v1");
    let done = good(&connector, "rollback_circleci_component", arguments("v1", "v3")).await;
    assert_eq!(done["kind"], "pipeline");
    let stale = connector.call("rollback_circleci_component", arguments("v1", "v2")).await.unwrap_err();
    assert_eq!(stale.code, ErrorCode::Conflict);
    assert!(stale.message.contains("current_version"), "{stale:?}");
    let gone = connector.call("rollback_circleci_component", arguments("v9", "v3")).await.unwrap_err();
    assert_eq!((gone.code, gone.argument.as_deref()), (ErrorCode::NotFound, Some("version")));
    let server = server(&Double::start_server().await).call("rollback_circleci_component", arguments("v1", "v3")).await;
    assert_eq!(server.unwrap_err().code, ErrorCode::PlatformError);
}

#[tokio::test]
async fn what_belongs_to_another_project_is_not_touched() {
    let double = Double::start().await;
    let spec = json!({ "apiVersion": "V3", "projects": ["gh/acme/api"] });
    let connector = connect(&double.uri(), &[("token", TOKEN)], &spec);
    for (tool, arguments) in super::calls() {
        if ["list_circleci_projects", "validate_circleci_config"].contains(&tool) {
            continue;
        }
        let error = connector.call(tool, arguments.clone()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::PermissionDenied, "{tool}: {error:?}");
        assert!(!error.message.contains("web"), "{tool} tells which project it is: {error:?}");
    }
    for (tool, arguments) in [
        ("get_circleci_job", json!({ "job_id": id('c', 32) })),
        ("get_circleci_job_tests", json!({ "job_id": id('c', 32) })),
        ("get_circleci_job_artifacts", json!({ "job_id": id('c', 32) })),
        ("get_circleci_pipeline_status", json!({ "pipeline_id": "https://app.circleci.com/pipelines/gh/acme/web/5" })),
    ] {
        assert_eq!(connector.call(tool, arguments).await.unwrap_err().code, ErrorCode::PermissionDenied, "{tool}");
    }
    assert!(double.seen().iter().all(|one| one.method == "GET"), "nothing was changed");
    let allowed = json!({ "apiVersion": "V3", "projects": ["github/acme/web"] });
    let allowed = connect(&double.uri(), &[("token", TOKEN)], &allowed);
    good(&allowed, "get_circleci_job", json!({ "job_id": id('c', 32) })).await;
    good(&allowed, "cancel_circleci_workflow", json!({ "workflow_id": id('b', 3) })).await;
}
