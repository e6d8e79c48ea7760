//! Configurations that are rejected or checked.

use serde_json::{Value, json};

use super::{and, run, workflows};
use crate::tests::{cloud, double::Double, good, server};

/// CircleCI-Public/circleci-cli #1762, #1650.
#[tokio::test]
async fn a_configuration_that_is_rejected_after_its_setup_is_an_error() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        double.change(|state| {
            state.world.workflows = workflows(&["success"]);
            state.world.runs[0].state = "errored".into();
        });
        let status = good(&connector, "get_circleci_pipeline_status", run(5)).await;
        assert_eq!((&status["status"], &status["finished"]), (&json!("error"), &json!(true)), "{status}");
        assert_eq!(status["errors"], json!(["config: no jobs"]));
        let waited = good(&connector, "wait_circleci_run", run(5)).await;
        assert_eq!((&waited["finished"], &waited["run"]["status"]), (&json!(true), &json!("error")));
        let listed = good(&connector, "list_circleci_runs", json!({ "project_slug": "gh/acme/web" })).await;
        assert_eq!(listed["items"][0]["status"], "error", "{listed}");
        let report = good(&connector, "get_circleci_failure_report", run(5)).await;
        assert_eq!(report["errors"], json!(["config: no jobs"]));
        assert!(report["hints"][0].as_str().unwrap().contains("the run itself failed"), "{report}");
    }
}

/// CircleCI-Public/aws-ecr-orb #75, CircleCI-Public/circleci-cli #326.
#[tokio::test]
async fn long_errors_of_a_configuration_keep_their_lines_or_say_that_they_are_cut() {
    let tree = |count: usize| {
        let line = |number| format!("|   |   {number}. [#/workflows/w/jobs/0] expected type: Mapping, found: String");
        let lines = (1..=count).map(line);
        format!("[#/workflows/w] only 1 subschema matches out of 2\n{}", lines.collect::<Vec<_>>().join("\n"))
    };
    for (count, is_whole) in [(12, true), (200, false)] {
        let double = Double::start().await;
        double.change(|state| {
            state.world.runs[0].state = "errored".into();
            state.world.workflows.clear();
            state.world.config_error = tree(count);
        });
        let connector = cloud(&double);
        for tool in ["get_circleci_pipeline_status", "get_circleci_failure_report"] {
            let answer = good(&connector, tool, run(5)).await;
            let told = answer["errors"][0].as_str().unwrap();
            assert_eq!(told == format!("config: {}", tree(count)), is_whole, "{told}");
            assert_eq!(told.ends_with('…'), !is_whole, "{told}");
        }
    }
}

/// CircleCI-Public/circleci-cli #363, #442, #640, #1094.
#[tokio::test]
async fn a_configuration_with_values_of_pipelines_is_not_called_wrong() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let used = "<< pipeline.git.branch >> << pipeline.number >>. << pipeline.event.github.pull_request.draft >>";
        let valid = json!({ "config": format!("version: 2.1 # {used}") });
        let checked = good(&connector, "validate_circleci_config", valid).await;
        assert_eq!(checked["valid"], true, "{checked}");
        let body = double.seen().pop().unwrap().body;
        let values = if is_server {
            &body["options"]["pipeline_values"]
        } else {
            &body["data"]["attributes"]["pipeline_values"]
        };
        assert_eq!(
            *values,
            json!({
                "pipeline.git.branch": "main", "pipeline.number": 1, "pipeline.event.github.pull_request.draft": false,
            })
        );
        let odd = json!({ "config": "version: 2.1 # << pipeline.git.brnch >>" });
        let odd = connector.call("validate_circleci_config", odd).await.unwrap();
        assert_eq!(odd["valid"], false, "{odd}");
        assert!(odd["hints"][0].as_str().unwrap().contains("may be known to a run"), "{odd}");
        let with = |parameters: Value| {
            let config = "version: 2.1 # << pipeline.parameters.bug >>";
            json!({ "config": config, "parameters": parameters })
        };
        let undeclared = good(&connector, "validate_circleci_config", with(json!({}))).await;
        assert_eq!((&undeclared["valid"], undeclared.get("hints")), (&json!(false), None), "{undeclared}");
        let given = good(&connector, "validate_circleci_config", with(json!({ "bug": 3 }))).await;
        assert_eq!((&given["valid"], given.get("hints")), (&json!(true), None), "{given}");
    }
    let double = Double::start().await;
    double.change(|state| state.world.has_setup = true);
    let of_run = json!({ "project_slug": "gh/acme/web", "branch": "main" });
    let checked = good(&cloud(&double), "validate_circleci_config", of_run).await;
    assert!(checked["hints"][0].as_str().unwrap().contains("continued to"), "{checked}");
}

/// CircleCI-Public/circleci-cli #871, #751, emmeowzing/dynamic-continuation-orb #81.
#[tokio::test]
async fn a_private_orb_is_looked_for_in_the_projects_organization() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { server(&double) } else { cloud(&double) };
        let config = json!({ "config": "version: 2.1\norbs: {ops: acme/private@1.0}" });
        let alone = good(&connector, "validate_circleci_config", config.clone()).await;
        assert!(alone["errors"][0].as_str().unwrap().contains("acme/private@1.0"), "{alone}");
        assert!(alone["hints"].to_string().contains("pass project_slug"), "{alone}");
        let with = and(config, json!({ "project_slug": "gh/acme/web" }));
        assert_eq!(good(&connector, "validate_circleci_config", with).await["valid"], true);
    }
}
