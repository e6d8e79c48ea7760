//! CircleCI's platform against a strict double of the cloud and of a Server: every tool, every row of the health table,
//! and errors. Every failing answer holds a planted secret, which may come out nowhere.

mod errors;
mod health;
mod logs;
mod mutations;
mod openapi;
mod reads;
mod reported;

use platform_doubles::circleci::{self as double, world};
use serde_json::{Value, json};

use self::{
    double::{Double, TOKEN},
    world::id,
};
use platform_testing::{
    Connected,
    compliance::{Act, Starting, Subject},
};

/// A call of every tool that finds something at the double.
fn calls() -> Vec<(&'static str, Value)> {
    let (project, run, workflow) =
        (json!({ "project_slug": "gh/acme/web" }), id('a', 5), json!({ "workflow_id": id('b', 1) }));
    let job = json!({ "project_slug": "gh/acme/web", "job_number": 32 });
    let with = |base: &Value, more: Value| {
        let mut base = base.clone();
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base
    };
    vec![
        ("list_circleci_projects", json!({})),
        ("list_circleci_runs", project.clone()),
        ("get_circleci_pipeline_status", json!({ "pipeline_id": run })),
        ("wait_circleci_run", json!({ "pipeline_id": run, "wait_seconds": 0 })),
        ("get_circleci_workflow", workflow.clone()),
        ("get_circleci_workflow_jobs", workflow.clone()),
        ("get_circleci_job", job.clone()),
        ("get_circleci_job_log", job.clone()),
        ("get_circleci_failure_report", json!({ "pipeline_id": run })),
        ("get_circleci_job_tests", job.clone()),
        ("get_circleci_flaky_tests", project.clone()),
        ("get_circleci_insights", project.clone()),
        ("get_circleci_job_artifacts", job.clone()),
        ("get_circleci_artifact", with(&job, json!({ "path": "out/log.txt" }))),
        ("list_circleci_pipeline_definitions", project.clone()),
        ("validate_circleci_config", json!({ "config": "version: 2.1" })),
        ("trigger_circleci_pipeline", project.clone()),
        ("rerun_circleci_workflow", workflow.clone()),
        ("cancel_circleci_workflow", json!({ "workflow_id": id('b', 3) })),
        ("approve_circleci_job", json!({ "workflow_id": id('b', 3), "job_name": "hold" })),
        (
            "rollback_circleci_component",
            with(
                &project,
                json!({ "component": "web", "environment": "prod", "version": "v1", "current_version": "v3" }),
            ),
        ),
    ]
}

platform_testing::complies!(crate::tests::subject);

/// CircleCI in the suite that every platform must pass.
fn subject() -> Subject {
    Subject {
        connect: crate::connect,
        double: started,
        name: "circleCi",
        word: "circleci",
        spec: |url| json!({ "circleCi": { "url": url, "insecureHttp": true, "apiVersion": "V3" } }),
        credentials: &[("token", TOKEN)],
        calls,
        // What was asked for, and that again after 404, for the older endpoint, or as often as the way out tries.
        most_requests: 4,
        tells_health: "",
        empty_is_404: &[],
        acts: || calls().into_iter().skip(16).map(|(tool, arguments)| Act::new(tool, arguments)).collect(),
        acting: |_| started(),
        // A search is sent as a form, and what compiles a configuration keeps nothing (circleci.com/docs/api/v3, /v2).
        changes: |asked| {
            let reads = ["/runs/search", "/configs/compile", "/compile-config-with-defaults"];
            asked.method == "POST" && !reads.iter().any(|end| asked.uri.path().ends_with(end))
        },
        // circleci.com/docs/api/v3/conventions.md; v2 has the token beside its items.
        pages: Some(|_, body, next| {
            let mut body: Value = serde_json::from_slice(body).ok()?;
            if body["data"].is_array() && body["page"].is_object() {
                body["page"]["next"] = json!(next);
            } else if body["items"].is_array() && body.get("next_page_token").is_some() {
                body["next_page_token"] = json!(next);
            } else {
                return None;
            }
            Some(body.to_string().into_bytes())
        }),
    }
}

fn started() -> Starting {
    Box::pin(async {
        let double = Double::start().await;
        (double.uri(), Box::new(double) as _)
    })
}

/// A connector to the double: `spec` is what `spec.platform.circleCi` says besides the URL.
fn connect(url: &str, fields: &[(&str, &str)], spec: &Value) -> Connected {
    let mut all = json!({ "url": url, "insecureHttp": true, "downloadHosts": ["127.0.0.1"] });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Connected::new(crate::connect, &json!({ "circleCi": all }), fields)
}

/// A connector to the double as the cloud.
fn cloud(double: &Double) -> Connected {
    connect(&double.uri(), &[("token", TOKEN)], &json!({ "apiVersion": "V3" }))
}

/// A connector to the double as a Server.
fn server(double: &Double) -> Connected {
    connect(&double.uri(), &[("token", TOKEN)], &json!({ "apiVersion": "V2" }))
}

/// What a tool answers that must not fail.
async fn good(connector: &Connected, tool: &str, arguments: Value) -> Value {
    connector.call(tool, arguments).await.unwrap_or_else(|error| panic!("{tool}: {error:?}"))
}

#[tokio::test]
async fn what_is_off_by_default_is_declared() {
    let connector = connect("http://127.0.0.1:1", &[], &json!({}));
    assert_eq!(connector.tools.len(), 21);
    let off: Vec<_> = connector.tools.values().filter(|tool| tool.declaration.off_by_default).collect();
    let names: Vec<_> = off.iter().map(|tool| tool.declaration.name).collect();
    assert_eq!(names, ["rollback_circleci_component"]);
    assert!(connector.tools.values().all(|tool| !tool.declaration.sensitive));
}
