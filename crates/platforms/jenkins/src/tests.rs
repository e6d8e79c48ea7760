//! Jenkins' platform against a strict double: every tool, every row of the health table, tokens and crumbs, errors. Every
//! failing answer holds a planted secret, which may come out nowhere.

mod bounds;
mod builds;
mod changes;
mod credentials;
mod errors;
mod health;
mod logs;
mod matrix;
mod plugins;
mod reads;
mod untold;

use platform_doubles::jenkins as double;
use serde_json::{Value, json};

use self::double::{Build, Double, PASSWORD, TOKEN, USER};
use platform_testing::{
    Connected,
    compliance::{Act, Subject},
};
use tools::Effect;

platform_testing::complies!(crate::tests::subject);

/// Jenkins in the suite that every platform must pass.
fn subject() -> Subject {
    Subject {
        connect: crate::connect,
        double: || {
            Box::pin(async {
                let double = Double::start().await;
                (double.url(), Box::new(double) as _)
            })
        },
        name: "jenkins",
        word: "jenkins",
        spec: |url| json!({ "jenkins": { "url": url, "insecureHttp": true } }),
        credentials: &[("user", USER), ("api_token", TOKEN)],
        calls: || {
            let failed = json!({ "job": "team/web", "build": 2 });
            vec![
                ("search_jenkins_jobs", json!({})),
                ("get_jenkins_job", json!({ "job": "team/web" })),
                ("list_jenkins_builds", json!({ "job": "team/web" })),
                ("get_jenkins_build_status", failed.clone()),
                ("get_jenkins_build_stages", failed.clone()),
                ("get_jenkins_failure_report", json!({ "job": "team/web" })),
                ("get_jenkins_build_log", failed.clone()),
                ("search_jenkins_build_log", json!({ "job": "team/web", "build": 2, "pattern": "error" })),
                ("get_jenkins_test_results", failed.clone()),
                ("list_jenkins_artifacts", failed.clone()),
                ("get_jenkins_artifact", json!({ "job": "team/web", "build": 2, "path": "target/report.txt" })),
                ("list_jenkins_queue", json!({})),
                ("get_jenkins_queue_item", json!({ "id": 41 })),
                ("list_jenkins_pending_inputs", failed.clone()),
                ("list_jenkins_nodes", json!({})),
                ("trigger_jenkins_build", json!({ "job": "plain" })),
                ("rebuild_jenkins_build", failed.clone()),
                ("cancel_jenkins_build", failed),
                ("cancel_jenkins_queue_item", json!({ "id": 41 })),
                (
                    "submit_jenkins_input",
                    json!({ "job": "team/web", "build": 2, "input_id": "Ship", "action": "proceed" }),
                ),
                ("delete_jenkins_job", json!({ "job": "plain" })),
            ]
        },
        // What was asked for; and after 404 the job's builds, and what is in its folder.
        most_requests: 3,
        tells_health: "",
        empty_is_404: &[],
        acts: || {
            let running = json!({ "job": "team/web", "build": 3 });
            let triggered = json!({ "job": "plain", "wait_seconds": 0 });
            let input =
                json!({ "job": "team/web", "build": 3, "input_id": "Ship", "action": "proceed", "parameters": {} });
            vec![
                Act::new("trigger_jenkins_build", triggered.clone()),
                Act::new("rebuild_jenkins_build", json!({ "job": "team/web", "build": 2, "wait_seconds": 0 })),
                Act::new("cancel_jenkins_build", running),
                Act::new("cancel_jenkins_queue_item", json!({ "id": 41 })).after("trigger_jenkins_build", triggered),
                Act::new("submit_jenkins_input", input),
                Act::new("delete_jenkins_job", json!({ "job": "plain" })),
            ]
        },
        acting: |_| {
            Box::pin(async {
                let double = Double::start().await;
                double.change(|state| {
                    let mut build = Build::running(40, state.now, Vec::new(), true);
                    build.inputs = vec![json!({ "id": "Ship", "message": "Ship it?", "inputs": [] })];
                    state.jobs.get_mut("team/web").unwrap().builds.insert(3, build);
                    // What is triggered stays in the queue.
                    state.looks_until_start = None;
                });
                (double.url(), Box::new(double) as _)
            })
        },
        changes: |asked| asked.method == "POST",
        pages: None,
    }
}

/// A connector to a URL.
fn connect(url: &str, fields: &[(&str, &str)]) -> Connected {
    Connected::new(crate::connect, &json!({ "jenkins": { "url": url, "insecureHttp": true } }), fields)
}

/// A connector with the double's token.
fn with_token(double: &Double) -> Connected {
    connect(&double.url(), &[("user", USER), ("api_token", TOKEN)])
}

/// A connector with the double's password.
fn with_password(double: &Double) -> Connected {
    connect(&double.url(), &[("user", USER), ("password", PASSWORD)])
}

async fn good(connector: &Connected, tool: &str, arguments: Value) -> Value {
    connector.call(tool, arguments).await.unwrap_or_else(|error| panic!("{tool}: {error:?}"))
}

#[tokio::test]
async fn what_is_off_by_default_is_declared() {
    let connector = connect("http://127.0.0.1:1", &[]);
    let off = connector.tools.values().filter(|tool| tool.declaration.off_by_default);
    assert_eq!(off.map(|tool| tool.declaration.name).collect::<Vec<_>>(), ["delete_jenkins_job"]);
    let destroys = connector.tools.values().filter(|tool| tool.declaration.effect == Effect::Destroy);
    let names: Vec<_> = destroys.map(|tool| tool.declaration.name).collect();
    assert_eq!(
        names,
        ["cancel_jenkins_build", "cancel_jenkins_queue_item", "delete_jenkins_job", "submit_jenkins_input"]
    );
}
