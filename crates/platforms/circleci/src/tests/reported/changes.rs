//! Starting, rerunning, cancelling and rolling back.

use serde_json::{Value, json};

use super::{RUN, and, newest, on, with_setup, workflows};
use crate::tests::{
    cloud,
    double::Double,
    good, server,
    world::{DEFINITION, PROJECT, ago, id},
};
use tools::ErrorCode::{self, NotFound};

/// ckeditor/ckeditor5-dev #1423.
#[tokio::test]
async fn a_run_is_started_by_the_slug_that_the_project_has() {
    let double = Double::start().await;
    let arguments = json!({ "project_slug": "github/acme/web", "definition_id": DEFINITION, "branch": "main" });
    let started = good(&cloud(&double), "trigger_circleci_pipeline", arguments).await;
    assert_eq!((&started["pipeline_number"], &started["project_slug"]), (&json!(6), &json!("gh/acme/web")));
}

/// CircleCI-Public/path-filtering-orb #14, CircleCI-Public/continuation-orb #51; circleci-docs 9734a14,
/// `dynamic-config.adoc`.
#[tokio::test]
async fn a_setup_is_run_again_only_where_it_can_still_be_continued() {
    let (now, old) = (ago(0, 0), ago(3, 0));
    for (state, created_at, states, refusal) in [
        ("created", &now, &["success", "failed"][..], Some("already")),
        ("created", &now, &["success"], Some("already")),
        ("errored", &now, &["success"], Some("already")),
        ("setup", &old, &["failed"], Some("six hours")),
        ("setup", &now, &["failed"], None),
    ] {
        let double = Double::start().await;
        with_setup(&double, state, created_at, states);
        let connector = cloud(&double);
        let setup = json!({ "workflow_id": id('b', 1), "from_failed": false });
        let (preview, act) = (
            connector.preview("rerun_circleci_workflow", setup.clone()).await.err(),
            connector.call("rerun_circleci_workflow", setup).await.err(),
        );
        for error in [preview, act] {
            assert_eq!(error.is_some(), refusal.is_some(), "{state} {states:?}: {error:?}");
            let message = error.map(|error| error.message).unwrap_or_default();
            assert!(refusal.is_none_or(|words| message.contains(words)), "{state} {states:?}: {message}");
        }
        let sent = double.count("POST", &format!("v3/workflows/{}/rerun", id('b', 1)));
        assert_eq!(sent, usize::from(refusal.is_none()), "{state} {states:?}");
    }
    let double = Double::start().await;
    with_setup(&double, "created", &now, &["success", "failed"]);
    let other = cloud(&double).call("rerun_circleci_workflow", json!({ "workflow_id": id('b', 2) })).await;
    assert!(other.is_ok(), "{other:?}");
    // Its job that continues the run may have succeeded.
    for part in [json!({}), json!({ "jobs": [id('c', 31)] })] {
        let double = Double::start().await;
        with_setup(&double, "created", &now, &["failed", "success"]);
        let connector = cloud(&double);
        let part = and(json!({ "workflow_id": id('b', 1) }), part);
        let preview = connector.preview("rerun_circleci_workflow", part.clone()).await.unwrap();
        assert!(preview.would.ends_with("a job that continues the run fails"), "{}", preview.would);
        good(&connector, "rerun_circleci_workflow", part).await;
    }
}

/// CircleCI-Archived/api-preview-docs #61, CircleCI-Public/trigger-circleci-pipeline-action #66; roopakv/orbs #71.
#[tokio::test]
async fn a_run_that_is_new_enough_is_found_behind_those_of_others() {
    let double = Double::start().await;
    let connector = cloud(&double);
    newest(&double, |run| (run.branch, run.tag) = (None, Some("v1".into())));
    newest(&double, |run| run.branch = Some("pull/610".into()));
    for _ in 0..4 {
        newest(&double, |_| ());
    }
    for (reference, number) in [(json!({ "tag": "v1" }), 6), (json!({ "branch": "pull/610/head" }), 7)] {
        let arguments = and(on(reference), json!({ "reuse_if_newer_than_seconds": 600 }));
        let preview = connector.preview("trigger_circleci_pipeline", arguments.clone()).await.unwrap();
        assert!(preview.would.starts_with(&format!("start nothing: run {number} ")), "{}", preview.would);
        let run = good(&connector, "trigger_circleci_pipeline", arguments).await;
        assert_eq!((&run["reused"], &run["pipeline_id"]), (&json!(true), &json!(id('a', number))), "{run}");
    }
    assert_eq!(double.count("POST", RUN), 0);
    // Not among as many as are read, and there are more.
    for _ in 0..30 {
        newest(&double, |_| ());
    }
    let arguments = and(on(json!({ "tag": "v1" })), json!({ "reuse_if_newer_than_seconds": 600 }));
    let error = connector.call("trigger_circleci_pipeline", arguments).await.unwrap_err();
    assert_eq!((error.code, double.count("POST", RUN)), (ErrorCode::ResultTooLarge, 0), "{error:?}");
    let other = and(on(json!({ "tag": "v2" })), json!({ "reuse_if_newer_than_seconds": 1 }));
    double.change(|state| state.world.runs.iter_mut().for_each(|run| run.created_at = ago(1, 0)));
    let started = good(&connector, "trigger_circleci_pipeline", other).await;
    assert_eq!((&started["reused"], double.count("POST", RUN)), (&json!(false), 1), "{started}");
}

/// CircleCI-Public/trigger-circleci-pipeline-action #62, cypress-io/cypress #32665.
#[tokio::test]
async fn a_run_of_others_is_never_told_as_the_one_that_was_asked_for() {
    let double = Double::start().await;
    let connector = cloud(&double);
    double.foreign(RUN, 502, "text/html", "<h1>502 Bad Gateway</h1>");
    newest(&double, |run| run.branch = Some("feature/x".into()));
    newest(&double, |_| ());
    for reference in [json!({ "tag": "v1" }), json!({ "branch": "main" })] {
        let error = connector.call("trigger_circleci_pipeline", on(reference.clone())).await.unwrap_err();
        let remedy = error.remedy.unwrap_or_default();
        assert!(remedy.starts_with("no run that was made since is seen"), "{reference}: {remedy}");
    }
    newest(&double, |run| (run.branch, run.tag, run.by_api) = (None, Some("v1".into()), true));
    newest(&double, |_| ());
    let error = connector.call("trigger_circleci_pipeline", on(json!({ "tag": "v1" }))).await.unwrap_err();
    assert_eq!(error.platform_words, Some(vec![id('a', 8)]), "{error:?}");
}

/// CircleCI-Public/circleci-cli #1400, mailpoet/mailpoet #6928.
#[tokio::test]
async fn what_ended_before_its_cancellation_is_not_told_as_cancelled() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        double.change(|state| state.world.cancels_too_late = true);
        let done = good(&connector, "cancel_circleci_workflow", json!({ "workflow_id": id('b', 3) })).await;
        assert_eq!(
            (&done["cancelled"], &done["status"], &done["already"]),
            (&json!(false), &json!("success"), &json!(false)),
            "{done}"
        );
    }
}

/// MetaMask/metamask-extension #28143; circleci-docs #6146, #6258.
#[tokio::test]
async fn what_is_known_of_a_rerun_is_said_before_it() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let would = async |number: u64| {
        let asked = json!({ "workflow_id": id('b', number) });
        connector.preview("rerun_circleci_workflow", asked).await.unwrap().would
    };
    double.change(|state| {
        state.world.workflows = workflows(&["failed", "success"]);
        state.world.workflows.iter_mut().for_each(|one| one.name = "deploy".into());
        // The second is the rerun.
        state.world.workflows[1].created_at = ago(1, 0);
    });
    let rerun = would(1).await;
    assert!(rerun.ends_with(&format!("again; it was run again since, as {}, which is success", id('b', 2))), "{rerun}");
    for (days, is_said) in [(89, false), (91, true)] {
        double.change(|state| {
            state.world.workflows = workflows(&["failed"]);
            state.world.workflows[0].created_at = ago(days, 0);
        });
        let said = would(1).await;
        assert_eq!(said.contains("90 days"), is_said, "{days}: {said}");
    }
}

/// CircleCI-Public/circleci-cli f20f963a.
#[tokio::test]
async fn a_rollback_is_of_the_one_that_is_meant_and_says_why_not() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let back = |component: &str, more: Value| {
        let which = json!({ "component": component, "environment": "prod", "version": "v1", "current_version": "v3" });
        connector.call("rollback_circleci_component", and(on(which), more))
    };
    let path = format!("v3/projects/{PROJECT}/rollback");
    double.change(|state| state.world.components = vec!["web", "api", "web"]);
    let alike = back("web", json!({})).await.unwrap_err();
    assert_eq!((alike.code, alike.argument.as_deref()), (ErrorCode::InvalidArgument, Some("component")));
    assert!(
        [1, 3].iter().all(|number| alike.platform_words.as_ref().unwrap().contains(&id('c', *number))),
        "{alike:?}"
    );
    assert_eq!(double.count("POST", &path), 0);
    back(&id('c', 3), json!({})).await.unwrap();
    assert_eq!(double.body("POST", &path)["component_id"], id('c', 3));
    let elsewhere = back("api", json!({ "namespace": "elsewhere" })).await.unwrap_err();
    assert_eq!((elsewhere.code, elsewhere.argument.as_deref()), (NotFound, Some("namespace")));
    double.change(|state| state.world.is_rolling_back = true);
    let twice = back("api", json!({})).await.unwrap_err();
    assert!(twice.code == ErrorCode::Conflict && twice.message.contains("already"), "{twice:?}");
    // More components than are read may hold another of that name.
    double.change(|state| {
        state.world.is_rolling_back = false;
        state.world.components = [&["web"][..], &["other"; 60]].concat();
    });
    let many = back("web", json!({})).await.unwrap_err();
    assert_eq!((many.code, double.count("POST", &path)), (ErrorCode::ResultTooLarge, 3), "{many:?}");
    assert_eq!(many.platform_words, Some(vec![id('c', 1)]), "{many:?}");
    double.change(|state| {
        state.world.components = [&["other"; 58][..], &["web", "api"]].concat();
        state.world.environments = [&["dev", "prod"][..], &["other"; 60]].concat();
    });
    back("web", json!({})).await.unwrap();
    let body = double.body("POST", &path);
    assert_eq!((&body["component_id"], &body["environment_id"]), (&json!(id('c', 59)), &json!(id('d', 2))));
}
