//! Argo CD's platform against a strict double: every tool, every row of the health table, logins and errors. Every
//! failing answer holds a planted secret, which may come out nowhere.

mod double;
mod errors;
mod health;
mod held;
mod login;
mod state;
mod tools;

use serde_json::{Value, json};

use self::double::{Double, TOKEN};
use platform_testing::{
    Connected,
    compliance::{Act, Starting, Subject},
};

pub(super) use platform_testing::PLANTED;

platform_testing::complies!(crate::tests::subject);

/// Argo CD in the suite that every platform must pass.
fn subject() -> Subject {
    Subject {
        connect: crate::connect,
        double: started,
        name: "argoCd",
        word: "argocd",
        spec: |url| json!({ "argoCd": { "url": url, "insecureHttp": true } }),
        credentials: &[("token", TOKEN)],
        calls: || {
            let pod = json!({ "kind": "Pod", "name": "web-1" });
            vec![
                ("list_argocd_apps", json!({})),
                ("get_argocd_app_status", json!({ "app": "web" })),
                ("get_argocd_app_resources", json!({ "app": "web" })),
                ("list_argocd_app_history", json!({ "app": "web" })),
                ("get_argocd_resource_tree", json!({ "app": "web" })),
                ("get_argocd_diff", json!({ "app": "web" })),
                ("get_argocd_manifests", json!({ "app": "web" })),
                ("get_argocd_events", json!({ "app": "web" })),
                ("get_argocd_logs", json!({ "app": "web", "pod": "web-1" })),
                ("get_argocd_revision_metadata", json!({ "app": "web", "revision": "abc1234" })),
                ("get_argocd_sync_windows", json!({ "app": "web" })),
                ("list_argocd_projects", json!({})),
                ("get_argocd_project", json!({ "name": "team" })),
                ("list_argocd_clusters", json!({})),
                ("list_argocd_appsets", json!({})),
                ("get_argocd_appset", json!({ "name": "all" })),
                ("preview_argocd_appset", json!({ "name": "all" })),
                ("list_argocd_resource_actions", json!({ "app": "web", "resource": pod })),
                ("wait_argocd_app", json!({ "app": "web", "for": "health", "timeout_seconds": 1 })),
                ("refresh_argocd_app", json!({ "app": "web" })),
                ("sync_argocd_app", json!({ "app": "web" })),
                ("rollback_argocd_app", json!({ "app": "web", "history_id": 0 })),
                ("terminate_argocd_operation", json!({ "app": "web" })),
                ("run_argocd_resource_action", json!({ "app": "web", "resource": pod, "action": "restart" })),
                ("set_argocd_auto_sync", json!({ "app": "web", "enabled": true })),
                ("delete_argocd_app", json!({ "app": "web", "confirm_name": "web" })),
            ]
        },
        // What was asked for, and after 403 the list of applications.
        most_requests: 2,
        tells_health: "",
        empty_is_404: &[],
        acts: || {
            let pod = json!({ "kind": "Pod", "name": "web-1" });
            vec![
                Act::new("sync_argocd_app", json!({ "app": "web", "wait_seconds": 0 })),
                Act::new("rollback_argocd_app", json!({ "app": "web", "history_id": 0, "wait_seconds": 0 })),
                Act::new("terminate_argocd_operation", json!({ "app": "web" })),
                Act::new("run_argocd_resource_action", json!({ "app": "web", "resource": pod, "action": "restart" })),
                Act::new("set_argocd_auto_sync", json!({ "app": "web", "enabled": true })),
                Act::new("delete_argocd_app", json!({ "app": "web", "confirm_name": "web" })),
            ]
        },
        acting: |tool| {
            let is_running = tool == "terminate_argocd_operation";
            Box::pin(async move {
                let double = Double::start().await;
                double.change(|state| {
                    state.stands_still = is_running;
                    if is_running {
                        state.app["operation"] = json!({ "sync": {} });
                        state.app["status"]["operationState"] =
                            json!({ "phase": "Running", "operation": { "sync": {} } });
                    }
                });
                (double.uri(), Box::new(double) as _)
            })
        },
        // The refresh writes an annotation (`server/application/application.go`, `Get`); `generate` computes, and writes nothing.
        changes: |asked| {
            let (path, query) = (asked.uri.path(), asked.uri.query().unwrap_or_default());
            query.contains("refresh=")
                || asked.method != "GET" && !path.ends_with("/session") && !path.ends_with("/generate")
        },
        pages: None,
    }
}

fn started() -> Starting {
    Box::pin(async {
        let double = Double::start().await;
        (double.uri(), Box::new(double) as _)
    })
}

/// A connector to the double: `spec` is what `spec.platform.argoCd` says besides the URL.
fn connect(url: &str, fields: &[(&str, &str)], spec: &Value) -> Connected {
    let mut all = json!({ "url": url, "insecureHttp": true });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Connected::new(crate::connect, &json!({ "argoCd": all }), fields)
}

/// A connector with the double's token.
fn with_token(url: &str) -> Connected {
    connect(url, &[("token", TOKEN)], &json!({}))
}

#[tokio::test]
async fn what_is_off_by_default_is_declared() {
    let connector = with_token("http://127.0.0.1:1");
    let off: Vec<_> = connector
        .tools
        .values()
        .filter(|tool| tool.declaration.off_by_default)
        .map(|one| one.declaration.name)
        .collect();
    assert_eq!(off, ["delete_argocd_app", "set_argocd_auto_sync"]);
    assert!(connector.tools.values().all(|tool| !tool.declaration.sensitive));
}

#[tokio::test]
async fn what_argocd_refuses_was_not_changed() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let refused = "application spec for web is invalid: InvalidSpecError: repository not accessible: refused";
    for (status, code, text, taken) in [(400, 9, refused, false), (501, 12, "no", false), (500, 2, "no", true)] {
        double.fail("applications/web/sync", status, code, text);
        let (outcome, sent) =
            outbound::changes::noting(connector.call("sync_argocd_app", json!({ "app": "web" }))).await;
        assert_eq!((outcome.is_err(), sent), (true, taken), "{text}: {outcome:?}");
    }
}
