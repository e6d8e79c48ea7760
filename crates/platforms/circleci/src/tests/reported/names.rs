//! Projects, branches and pages, as people name and paste them.

use serde_json::json;

use super::{on, run};
use crate::tests::{
    TOKEN, cloud, connect,
    double::Double,
    good,
    world::{ORG, PROJECT, id},
};
use tools::ErrorCode::PermissionDenied;

/// CircleCI-Public/circleci-cli #1281, #1656, #1833.
#[tokio::test]
async fn both_slugs_of_an_app_project_are_the_project_that_the_manifest_names() {
    let by_ids = format!("circleci/{ORG}/{PROJECT}");
    for (manifest, asked) in
        [(by_ids.as_str(), "circleci/o/p"), ("circleci/o/p", &by_ids), ("circleci/o/p", "circleci/o/p")]
    {
        let double = Double::start().await;
        double.change(|state| {
            state.world.slug = "circleci/o/p".into();
            state.world.runs.iter_mut().for_each(|run| run.slug = "circleci/o/p".into());
            state.world.definitions = 1;
        });
        let spec = json!({ "apiVersion": "V3", "projects": [manifest] });
        let connector = connect(&double.uri(), &[("token", TOKEN)], &spec);
        assert_eq!(connector.probe().await.reason, "Healthy", "{manifest}");
        for (tool, arguments) in [
            ("list_circleci_runs", json!({ "project_slug": asked })),
            ("list_circleci_pipeline_definitions", json!({ "project_slug": manifest })),
            ("get_circleci_pipeline_status", run(5)),
            ("get_circleci_workflow", json!({ "workflow_id": id('b', 1) })),
            ("get_circleci_job", json!({ "project_slug": asked, "job_number": 32 })),
            ("trigger_circleci_pipeline", json!({ "project_slug": asked, "branch": "main" })),
        ] {
            good(&connector, tool, arguments).await;
        }
        let listed = good(&connector, "list_circleci_projects", json!({ "name_contains": "APP" })).await;
        assert_eq!(
            listed["items"],
            json!([{ "slug": "circleci/o/p", "name": "app", "vcs": "circleci" }]),
            "{manifest}"
        );
        // That both are the same is asked once; and what another project is, nobody is told.
        let project = format!("v2/project/{asked}");
        let before = double.count("GET", &project);
        good(&connector, "get_circleci_flaky_tests", json!({ "project_slug": asked })).await;
        assert_eq!(double.count("GET", &project), before, "{manifest} {asked}");
        let other = connector.call("get_circleci_flaky_tests", json!({ "project_slug": "circleci/x/y" })).await;
        assert_eq!(other.unwrap_err().code, PermissionDenied);
    }
}

/// CircleCI-Public/mcp-server-circleci #56, #134, mkusaka/circleci-logs; GitHub's checks link to `workflow-run`, GitHub's
/// statuses to a job of the old site.
#[tokio::test]
async fn what_people_paste_is_taken() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let workflow = id('b', 1);
    let old = "https://circleci.com/gh/acme/web/32?utm_campaign=vcs-integration-link";
    for (tool, arguments) in [
        (
            "get_circleci_workflow",
            json!({ "workflow_id": format!("https://circleci.com/workflow-run/{workflow}?utm_source=x") }),
        ),
        ("get_circleci_workflow", json!({ "workflow_id": format!("https://app.circleci.com/workflow/{workflow}") })),
        ("get_circleci_workflow", json!({ "workflow_id": old })),
        (
            "get_circleci_pipeline_status",
            json!({ "pipeline_id": format!("https://app.circleci.com/pipeline/{}", id('a', 5)) }),
        ),
        (
            "get_circleci_pipeline_status",
            json!({ "pipeline_id": format!("https://circleci.com/workflow-run/{workflow}") }),
        ),
        ("get_circleci_failure_report", json!({ "pipeline_id": old })),
        ("get_circleci_job", json!({ "job_id": old })),
        (
            "get_circleci_job",
            json!({ "job_id": format!("https://app.circleci.com/workflow/{workflow}/job/{}", id('c', 32)) }),
        ),
        (
            "get_circleci_job",
            json!({ "job_id": format!("https://app.circleci.com/pipelines/workflows/{workflow}/jobs/32") }),
        ),
        (
            "get_circleci_job",
            json!({ "job_id": "https://app.circleci.com/jobs/github/acme/web/32/parallel-runs/0/steps/0-103" }),
        ),
    ] {
        let answer = good(&connector, tool, arguments.clone()).await.to_string();
        assert!(answer.contains("failed"), "{tool} {arguments}: {answer}");
    }
    for link in [
        "https://github.com/acme/web.git",
        "git@github.com:acme/web.git",
        "gh/acme/web/",
        "https://circleci.com/gh/acme/web",
    ] {
        let runs = good(&connector, "list_circleci_runs", json!({ "project_slug": link })).await;
        assert_eq!(runs["items"].as_array().unwrap().len(), 5, "{link}");
    }
    // The branch that a link names is the one that is meant, unless another one is named.
    let branch = "https://circleci.com/gh/acme/web/tree/feature%2Fx";
    let runs = good(&connector, "list_circleci_runs", json!({ "project_slug": branch })).await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 1, "{runs}");
    let runs = good(&connector, "list_circleci_runs", json!({ "project_slug": branch, "branch": "main" })).await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 4, "{runs}");
    for (tool, argument) in [
        ("get_circleci_workflow", "workflow_id"),
        ("get_circleci_job", "job_id"),
        ("get_circleci_pipeline_status", "pipeline_id"),
    ] {
        let error = connector.call(tool, json!({ argument: "https://example.com/x" })).await.unwrap_err();
        assert_eq!(error.argument.as_deref(), Some(argument));
        assert!(error.remedy.unwrap().contains("/workflow-run/<id>"), "{tool}");
    }
    // A link says nothing about what is allowed.
    let spec = json!({ "apiVersion": "V3", "projects": ["gh/acme/api"] });
    let other = connect(&double.uri(), &[("token", TOKEN)], &spec);
    for link in [old.to_owned(), format!("https://circleci.com/workflow-run/{workflow}")] {
        for (tool, argument) in
            [("get_circleci_workflow", "workflow_id"), ("get_circleci_pipeline_status", "pipeline_id")]
        {
            let error = other.call(tool, json!({ argument: link })).await.unwrap_err();
            assert_eq!(error.code, PermissionDenied, "{tool} {link}");
        }
    }
}

/// roopakv/orbs #71, CircleCI-Archived/api-preview-docs #85.
#[tokio::test]
async fn a_branch_that_is_not_there_is_told_as_that() {
    let double = Double::start().await;
    let connector = cloud(&double);
    let error = connector.call("trigger_circleci_pipeline", on(json!({ "branch": "pull/610" }))).await.unwrap_err();
    assert_eq!(
        (error.message.as_str(), error.argument.as_deref()),
        ("the repository has no such branch", Some("branch"))
    );
    let started = good(&connector, "trigger_circleci_pipeline", on(json!({ "branch": "pull/610/head" }))).await;
    assert_eq!(started["pipeline_id"], id('a', 6));
}

/// CircleCI-Public/mcp-server-circleci #51.
#[test]
fn a_server_has_its_pages_beside_its_api() {
    for (called, link, is_taken) in [
        ("circle.example.com", "https://app.circle.example.com/pipelines/gh/acme/web/5", true),
        ("app.circle.example.com", "https://circle.example.com/gh/acme/web/32", true),
        ("circle.example.com", "https://app.other.example.com/pipelines/gh/acme/web/5", false),
        ("circle.example.com", "https://app.circleci.com/pipelines/gh/acme/web/5", false),
        ("10.0.0.1", "https://app.circle.example.com/pipelines/gh/acme/web/5", true),
        ("circleci", "https://app.circle.example.com/pipelines/gh/acme/web/5", true),
        ("circleci.ci.svc", "https://app.circle.example.com/pipelines/gh/acme/web/5", true),
    ] {
        let home = kit::links::Home::new("CircleCI", called, &[]);
        if let Some(pages) = crate::pages_of(called) {
            home.learn(&format!("https://{pages}"));
        }
        assert_eq!(home.check(link, "pipeline_id").is_ok(), is_taken, "{called} {link}");
    }
}

/// CircleCI-Public/mcp-server-circleci #175, apache/devlake #8634.
#[tokio::test]
async fn a_project_that_is_not_followed_is_not_told_as_missing() {
    let double = Double::start().await;
    let listed = good(&cloud(&double), "list_circleci_projects", json!({ "name_contains": "unfollowed" })).await;
    assert!(listed["hints"][0].as_str().unwrap().contains("by its slug all the same"), "{listed}");
}
