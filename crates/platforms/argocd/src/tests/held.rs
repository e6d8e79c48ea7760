//! What holds an operation, a deletion or a rendering back, and what is left out of what was wanted.

use serde_json::{Value, json};

use super::{
    double::{Double, app},
    tools::good,
    with_token,
};
use platform_testing::Connected;
use tools::ErrorCode;

const COMMIT: &str = "cccccccccccccccccccccccccccccccccccccccc";
/// The one that the double's application was compared with.
const COMPARED: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// An operation that runs, with what it says.
fn running(app: &mut Value, message: &str) {
    app["operation"] = json!({ "sync": {} });
    app["status"]["operationState"] =
        json!({ "phase": "Running", "startedAt": "2026-01-03T00:00:00Z", "message": message, "operation": {} });
}

/// An application that stands still, after a change.
fn stand(double: &Double, change: impl FnOnce(&mut Value)) {
    double.change(|state| {
        state.stands_still = true;
        state.app = app();
        change(&mut state.app);
    });
}

async fn verdict(connector: &Connected) -> String {
    let status = good(connector, "get_argocd_app_status", json!({ "app": "web" })).await;
    status["verdict"].as_str().unwrap().to_owned()
}

async fn wait(connector: &Connected, goal: &str) -> Value {
    good(connector, "wait_argocd_app", json!({ "app": "web", "for": goal, "timeout_seconds": 1 })).await
}

#[tokio::test]
async fn what_a_sync_window_holds_is_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| state.is_held = true);
    let mut patient = with_token(&double.uri());
    patient.patience = std::time::Duration::from_secs(20);
    let started = good(&patient, "sync_argocd_app", json!({ "app": "web", "wait_seconds": 1 })).await;
    let summary = started["summary"].as_str().unwrap();
    assert!(summary.starts_with("Nothing more is applied: a sync window holds the operation (Running)"), "{summary}");
    assert!(verdict(&connector).await.ends_with("; a sync window holds an operation"));
    assert!(wait(&connector, "operation").await["hints"][0].as_str().unwrap().starts_with("a sync window holds"));
    let again = connector.call("sync_argocd_app", json!({ "app": "web" })).await.unwrap_err();
    assert!(again.remedy.unwrap().contains("; a sync window holds the operation"));
    let end = json!({ "app": "web" });
    let preview = connector.preview("terminate_argocd_operation", end.clone()).await.unwrap();
    assert!(preview.would.contains("; but a sync window holds the operation"), "{}", preview.would);
    let ended = good(&connector, "terminate_argocd_operation", end).await;
    assert!(ended["hints"][0].as_str().unwrap().contains("doesn't end either"), "{ended}");
    assert!(verdict(&connector).await.ends_with("; an operation is being ended"));
}

#[tokio::test]
async fn a_rollback_is_not_started_for_later() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| state.can_sync = false);
    let back = json!({ "app": "web", "history_id": 0 });
    for refused in [
        connector.preview("rollback_argocd_app", back.clone()).await.map(|_| ()),
        connector.call("rollback_argocd_app", back).await.map(|_| ()),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Conflict);
        assert!(refused.message.contains("sync windows do not permit syncs now"), "{refused:?}");
    }
    assert_eq!(double.count("POST", "applications/web/rollback"), 0);
}

#[tokio::test]
async fn what_an_operation_waits_for_is_told_where_waiting_does_not_help() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let paused = "waiting for healthy state of argoproj.io/Rollout/core";
    let (retrying, refreshing) = ("Retrying attempt #2 at 8:12AM.", json!({ "refresh": true }));
    let (unsaid, running_still) = (Value::Null, "the operation still runs: call it again");
    for (phase, message, health, retries, goes_to, retry, hint) in [
        (
            "Running",
            paused,
            "Suspended",
            0,
            "",
            &unsaid,
            "waits for argoproj.io/Rollout/core to be healthy, and something",
        ),
        ("Running", paused, "Progressing", 0, "", &unsaid, running_still),
        ("Running", retrying, "Degraded", 2, COMMIT, &unsaid, "tried again with the revision that it began with"),
        ("Running", retrying, "Degraded", 2, COMMIT, &refreshing, running_still),
        ("Running", retrying, "Degraded", 2, COMPARED, &unsaid, running_still),
        ("Running", "one or more tasks are running", "Degraded", 0, COMMIT, &unsaid, running_still),
        // It is being ended.
        ("Terminating", paused, "Suspended", 0, "", &unsaid, running_still),
        ("Terminating", retrying, "Degraded", 2, COMMIT, &unsaid, running_still),
    ] {
        stand(&double, |app| {
            running(app, message);
            app["status"]["health"]["status"] = json!(health);
            app["status"]["operationState"]["retryCount"] = json!(retries);
            app["status"]["operationState"]["phase"] = json!(phase);
            app["status"]["operationState"]["operation"]["sync"] = json!({ "revision": goes_to });
            if retry.is_object() {
                app["status"]["operationState"]["operation"]["retry"] = retry.clone();
            }
        });
        let waited = wait(&connector, "operation").await;
        assert!(waited["hints"][0].as_str().unwrap().contains(hint), "{message}: {waited}");
        assert_eq!(waited["operation"].get("revision").is_some(), !goes_to.is_empty(), "{message}");
    }
}

#[tokio::test]
async fn healing_again_and_again_is_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let (healed, nothing) = ("auto-sync has healed it 57 times", "auto-sync is on, and nothing runs yet");
    for (heals, self_heal, revision, hint) in [
        (57, true, COMPARED, healed),
        (1, true, COMPARED, nothing),
        (57, false, COMPARED, nothing),
        // A new commit.
        (57, true, COMMIT, nothing),
    ] {
        stand(&double, |app| {
            app["spec"]["syncPolicy"] = json!({ "automated": { "selfHeal": self_heal } });
            let sync = json!({ "autoHealAttemptsCount": heals, "revision": revision });
            app["status"]["operationState"]["operation"]["sync"] = sync;
            app["status"]["operationState"]["syncResult"] = json!({ "revision": revision });
        });
        let waited = wait(&connector, "sync").await;
        assert!(waited["hints"][0].as_str().unwrap().starts_with(hint), "{waited}");
        assert_eq!(waited["operation"]["self_heals"], heals);
    }
}

#[tokio::test]
async fn auto_sync_that_begins_nothing_more_is_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let failed = json!([{ "type": "SyncError", "message": "Failed last sync attempt to [cccc]: no" }]);
    for (conditions, finished, hint) in [
        (failed, json!("2026-01-02T00:00:09Z"), "auto-sync has had its try"),
        (Value::Null, Value::Null, "auto-sync has had its try"),
        (Value::Null, json!("2026-01-02T00:00:09Z"), "auto-sync is on, and nothing runs yet"),
    ] {
        stand(&double, |app| {
            app["spec"]["syncPolicy"] = json!({ "automated": {} });
            app["status"]["conditions"] = conditions;
            app["status"]["operationState"]["finishedAt"] = finished;
        });
        let waited = wait(&connector, "sync").await;
        assert!(waited["hints"][0].as_str().unwrap().starts_with(hint), "{waited}");
    }
}

#[tokio::test]
async fn a_dry_run_is_not_told_as_a_sync() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    for (phase, dry_run, end) in [
        ("Succeeded", true, "is not what Git says"),
        ("Failed", true, "; the last operation, a dry run, failed"),
        ("Succeeded", false, "; the last operation succeeded all the same, which says only that it was applied"),
        ("Failed", false, "; the last operation failed"),
    ] {
        stand(&double, |app| {
            app["status"]["operationState"]["phase"] = json!(phase);
            app["status"]["operationState"]["operation"]["sync"] = json!({ "dryRun": dry_run });
        });
        let verdict = verdict(&connector).await;
        assert!(verdict.ends_with(end), "{phase} {dry_run}: {verdict}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_named_though_the_application_is_healthy() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let resource = |name: &str, health: &str| json!({ "version": "v1", "kind": "Service", "namespace": "shop", "name": name, "status": "OutOfSync", "health": { "status": health } });
    for (missing, expected) in [(0, None), (1, Some("; not there: Service s0")), (7, Some("Service s4 and 2 more"))] {
        stand(&double, |app| {
            app["status"]["sync"]["status"] = json!("OutOfSync");
            app["status"]["health"]["status"] = json!("Healthy");
            let names = (0..missing).map(|number| resource(&format!("s{number}"), "Missing"));
            app["status"]["resources"] = names.chain([resource("there", "Healthy")]).collect();
        });
        let verdict = verdict(&connector).await;
        assert_eq!(verdict.contains("not there"), expected.is_some(), "{verdict}");
        assert!(verdict.contains(expected.unwrap_or("what runs is healthy")), "{verdict}");
    }
}

#[tokio::test]
async fn an_operation_tells_by_what_it_failed() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let stand_at = |phase: &str| {
        stand(&double, |app| {
            app["status"]["sync"]["status"] = json!("Synced");
            app["status"]["health"]["status"] = json!("Healthy");
            app["status"]["conditions"] = json!([]);
            app["status"]["operationState"]["phase"] = json!(phase);
            // As `setResourceResult` writes them down: a hook has no status, and what is Degraded after it was applied stays Synced.
            app["status"]["operationState"]["syncResult"] = json!({ "resources": [
                { "group": "batch", "kind": "Job", "namespace": "shop", "name": "db-migrate", "status": "",
                  "syncPhase": "PreSync", "hookType": "PreSync", "hookPhase": "Failed",
                  "message": "Job has reached the specified backoff limit" },
                { "group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web", "status": "Synced",
                  "syncPhase": "Sync", "hookPhase": "Failed", "message": "exceeded its progress deadline" },
                { "kind": "Service", "namespace": "shop", "name": "web", "status": "Synced", "syncPhase": "Sync",
                  "hookPhase": "Running", "message": "service/web unchanged" },
                { "kind": "Secret", "namespace": "shop", "name": "s", "status": "SyncFailed", "syncPhase": "Sync",
                  "hookPhase": "Failed", "message": "planted in Secret" },
            ]});
        });
    };
    stand_at("Failed");
    let failed = json!([
        { "group": "batch", "kind": "Job", "namespace": "shop", "name": "db-migrate", "status": "Failed",
          "message": "Job has reached the specified backoff limit" },
        { "group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web", "status": "Failed",
          "message": "exceeded its progress deadline" },
        { "kind": "Secret", "namespace": "shop", "name": "s", "status": "SyncFailed" },
    ]);
    for tool in ["get_argocd_app_status", "wait_argocd_app"] {
        let told = good(&connector, tool, json!({ "app": "web" })).await;
        assert_eq!(told["operation"]["failed"], failed, "{tool}");
        assert_eq!(told["verdict"], "what Git says runs, and is healthy; the last operation failed");
    }
    stand_at("Succeeded");
    let well = good(&connector, "get_argocd_app_status", json!({ "app": "web" })).await;
    assert_eq!(
        (well["operation"].get("failed"), &well["verdict"]),
        (None, &json!("well: what Git says runs, and is healthy"))
    );
}

#[tokio::test]
async fn what_of_git_is_left_out_is_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    for (condition, health, expected) in [
        (
            "ExcludedResourceWarning",
            "Healthy",
            "what Argo CD compares is as Git says, and healthy; a part of what Git says is left out: see sync.message",
        ),
        (
            "RepeatedResourceWarning",
            "Progressing",
            "what Git says was applied, and is still starting; a part of what Git says is left out: see sync.message",
        ),
        ("OrphanedResourceWarning", "Healthy", "well: what Git says runs, and is healthy"),
    ] {
        stand(&double, |app| {
            app["status"]["sync"]["status"] = json!("Synced");
            app["status"]["health"]["status"] = json!(health);
            app["status"]["conditions"] =
                json!([{ "type": condition, "message": "Resource /Endpoints old is excluded" }]);
        });
        assert_eq!(verdict(&connector).await, expected);
    }
}

#[tokio::test]
async fn errors_come_before_warnings_and_what_is_cut_is_counted() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    stand(&double, |app| {
        let shared = |number: usize| json!({ "type": "SharedResourceWarning", "message": format!("crd {number}") });
        let mut all: Vec<_> = (0..12).map(shared).collect();
        all.push(json!({ "type": "SyncError", "message": "Failed last sync attempt" }));
        app["status"]["conditions"] = json!(all);
    });
    let status = good(&connector, "get_argocd_app_status", json!({ "app": "web" })).await;
    let message = status["sync"]["message"].as_str().unwrap();
    assert!(message.starts_with("SyncError: Failed last sync attempt; SharedResourceWarning: crd 0; "), "{message}");
    assert!(message.ends_with("crd 8; and 3 more"), "{message}");
}

#[tokio::test]
async fn what_is_not_rendered_yet_is_not_what_git_says() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    for (phase, start, finished) in [
        ("Hydrating", "not known yet: Argo CD is rendering what Git says now", false),
        ("Failed", "Argo CD failed to render what Git says now", false),
        ("Hydrated", "well: ", true),
    ] {
        stand(&double, |app| {
            let dry = app["spec"]["source"].take();
            app["spec"]["sourceHydrator"] =
                json!({ "drySource": dry, "syncSource": { "targetBranch": "env", "path": "web" } });
            app["status"]["sync"]["status"] = json!("Synced");
            app["status"]["health"]["status"] = json!("Healthy");
            app["status"]["sourceHydrator"] = json!({ "currentOperation": { "phase": phase, "message": "no" } });
        });
        let verdict = verdict(&connector).await;
        assert!(verdict.starts_with(start), "{phase}: {verdict}");
        let waited = wait(&connector, "sync").await;
        assert_eq!((&waited["finished"], waited.get("hints").is_some()), (&json!(finished), !finished), "{waited}");
    }
}

#[tokio::test]
async fn a_deletion_that_fails_and_hooks_that_run_all_the_same_are_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let delete = |cascade: bool| json!({ "app": "web", "confirm_name": "web", "cascade": cascade });
    stand(&double, |app| {
        app["metadata"]["finalizers"] =
            json!(["resources-finalizer.argocd.argoproj.io", "post-delete-finalizer.argocd.argoproj.io/cleanup"]);
    });
    for (cascade, told) in [(false, true), (true, false)] {
        let would = connector.preview("delete_argocd_app", delete(cascade)).await.unwrap().would;
        assert_eq!(would.contains("hooks run all the same"), told, "{would}");
    }
    let deleted = good(&connector, "delete_argocd_app", delete(false)).await;
    assert!(deleted["hints"][0].as_str().unwrap().contains("hooks run all the same"), "{deleted}");

    stand(&double, |app| {
        app["metadata"]["deletionTimestamp"] = json!("2026-01-03T00:00:00Z");
        app["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
        app["status"]["conditions"] = json!([{ "type": "DeletionError", "message": "dial tcp: no such host" }]);
        app["status"]["resources"][0]["requiresDeletionConfirmation"] = json!(true);
    });
    let failed = "Argo CD said that a try to delete it failed: dial tcp: no such host";
    let verdict = verdict(&connector).await;
    assert!(verdict.contains(": a person must confirm the deletion of Deployment/web"), "{verdict}");
    assert!(verdict.ends_with(&format!("; {failed}")), "{verdict}");
    let deleted = good(&connector, "delete_argocd_app", delete(true)).await;
    assert_eq!((&deleted["already"], &deleted["hints"][0]), (&json!(true), &json!(failed)));
}

#[tokio::test]
async fn who_makes_an_application_is_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    for (tracking, parent) in [
        ("root:argoproj.io/Application:argocd/web", Some("root")),
        // In another namespace.
        ("apps_root:argoproj.io/Application:argocd/web", Some("apps/root")),
        ("argocd_web:argoproj.io/Application:argocd/web", None),
        // Itself, copied from another object, and in another form.
        ("web:argoproj.io/Application:argocd/web", None),
        ("root:argoproj.io/Application:argocd/other", None),
        ("root", None),
    ] {
        stand(&double, |app| app["metadata"]["annotations"] = json!({ "argocd.argoproj.io/tracking-id": tracking }));
        let status = good(&connector, "get_argocd_app_status", json!({ "app": "web" })).await;
        assert_eq!(status.get("parent_app"), parent.map(|parent| json!(parent)).as_ref(), "{tracking}");
        let delete = json!({ "app": "web", "confirm_name": "web" });
        let would = connector.preview("delete_argocd_app", delete).await.unwrap().would;
        assert_eq!(would.ends_with("root\", if that is synced by itself, would make it again"), parent.is_some());
        let switched = good(&connector, "set_argocd_auto_sync", json!({ "app": "web", "enabled": true })).await;
        assert_eq!(switched.get("hints").is_some(), parent.is_some(), "{switched}");
    }
}

#[tokio::test]
async fn a_sync_that_failed_says_whether_anything_was_applied() {
    let one = |status: &str| json!({ "kind": "Service", "namespace": "shop", "name": "web", "status": status });
    let hook =
        json!({ "group": "batch", "kind": "Job", "name": "migrate", "hookType": "PreSync", "hookPhase": "Failed" });
    let table = [
        (
            "Failed",
            json!([one("SyncFailed"), one("PruneSkipped")]),
            "It failed, and nothing is told to have been applied",
        ),
        ("Error", Value::Null, "It failed, and nothing is told to have been applied"),
        ("Failed", json!([one("SyncFailed"), one("Synced")]), "It failed, and a part was applied"),
        ("Failed", json!([hook]), "It failed, and a part was applied"),
        ("Succeeded", json!([one("Synced")]), "It was applied"),
        // Somebody took `operation` away.
        ("Running", json!([one("Synced")]), "Nobody carries it on: what was applied is not known"),
    ];
    // Each waits for its own operation.
    let all = table.into_iter().map(async |(phase, resources, start)| {
        let double = Double::start().await;
        let mut connector = with_token(&double.uri());
        connector.patience = std::time::Duration::from_secs(60);
        double.change(|state| state.ends = Some((phase, resources)));
        let ended = good(&connector, "sync_argocd_app", json!({ "app": "web", "wait_seconds": 50 })).await;
        assert_eq!(ended["finished"], true, "{ended}");
        assert!(ended["summary"].as_str().unwrap().starts_with(start), "{phase}: {ended}");
    });
    futures::future::join_all(all).await;
}

#[tokio::test]
async fn a_project_tells_all_that_it_permits() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.want(
        "projects/team",
        200,
        json!({ "metadata": { "name": "team" }, "spec": {
            "destinations": [
                { "name": "in-cluster", "server": "*", "namespace": "a" },
                { "server": "!https://b", "namespace": "*" },
            ],
            "permitOnlyProjectScopedClusters": true,
            "clusterResourceWhitelist": [{ "group": "", "kind": "Namespace", "name": "team-*" }],
            "namespaceResourceBlacklist": [{ "group": "apps", "kind": "DaemonSet" }],
        } }),
    );
    let project = good(&connector, "get_argocd_project", json!({ "name": "team" })).await;
    assert_eq!(
        project["destinations"],
        json!([
            { "cluster": "in-cluster", "server": "*", "namespace": "a" },
            { "cluster": "!https://b", "namespace": "*" },
        ])
    );
    assert_eq!(
        (&project["own_clusters_only"], &project["cluster_kinds"], &project["namespaced_kinds"]),
        (&json!(true), &json!({ "allowed": ["Namespace team-*"] }), &json!({ "denied": ["apps/DaemonSet"] }))
    );
}

#[tokio::test]
async fn what_differs_is_found_where_all_is_too_large() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let crd = |name: &str, version: &str| {
        let state = json!({ "metadata": { "version": version }, "spec": "x".repeat(3 * 1024 * 1024) }).to_string();
        json!({ "group": "apiextensions.k8s.io", "kind": "CustomResourceDefinition", "name": name,
                "liveState": json!({ "metadata": { "version": "1" } }).to_string(), "targetState": state })
    };
    let listed = |name: &str, status: &str| {
        json!({ "group": "apiextensions.k8s.io", "version": "v1", "kind": "CustomResourceDefinition", "name": name,
                "status": status })
    };
    double.change(|state| {
        state.managed = vec![crd("a", "1"), crd("b", "2"), crd("c", "1")];
        state.app["status"]["resources"] =
            json!([listed("a", "Synced"), listed("b", "OutOfSync"), listed("c", "Synced")]);
    });
    let diff = good(&connector, "get_argocd_diff", json!({ "app": "web" })).await;
    assert_eq!((&diff["compared"], &diff["resources"][0]["name"]), (&json!(1), &json!("b")));
    assert!(diff["hints"][0].as_str().unwrap().contains("1 of the 1 were looked at"), "{diff}");
    let named = good(&connector, "get_argocd_diff", json!({ "app": "web", "name": "a" })).await;
    assert_eq!(named["compared"], 1);

    // A namesake of another group, and one that is too large by itself.
    let mut large = crd("b", "2");
    large["targetState"] = json!("x".repeat(9 * 1024 * 1024));
    let service = |group: &str| {
        json!({ "group": group, "kind": "Service", "namespace": "shop", "name": "web",
                "liveState": json!({ "metadata": { "version": "1" } }).to_string(),
                "targetState": json!({ "metadata": { "version": "2" } }).to_string() })
    };
    double.change(|state| {
        state.managed = vec![large, service(""), service("serving.knative.dev")];
        let service = |group: &str, status: &str| {
            json!({ "group": group, "version": "v1", "kind": "Service", "namespace": "shop", "name": "web", "status": status })
        };
        state.app["status"]["resources"] =
            json!([listed("b", "OutOfSync"), service("", "OutOfSync"), service("serving.knative.dev", "OutOfSync")]);
    });
    let diff = good(&connector, "get_argocd_diff", json!({ "app": "web" })).await;
    let found = diff["resources"].as_array().unwrap();
    assert_eq!((&diff["compared"], found.len()), (&json!(2), 2), "{diff}");
    assert_eq!(found.iter().filter(|one| one.get("group").is_some()).count(), 1, "{diff}");
    let hints = diff["hints"].to_string();
    assert!(hints.contains("3 of the 3 were looked at") && hints.contains("1 were not compared"), "{hints}");

    double.change(|state| state.app["status"]["resources"] = json!([listed("b", "Synced")]));
    let diff = good(&connector, "get_argocd_diff", json!({ "app": "web" })).await;
    assert!(diff["hints"][0].as_str().unwrap().contains("Argo CD holds all of them for Synced"), "{diff}");
}

#[tokio::test]
async fn what_fails_behind_argocd_does_not_stop_other_calls() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let ask = async || connector.call("get_argocd_manifests", json!({ "app": "web" })).await.unwrap_err();
    let path = "applications/web/manifests";
    double.fail(path, 429, 8, "grpc: received message larger than max (218103812 vs. 209715200)");
    assert_eq!(ask().await.code, ErrorCode::ResultTooLarge);
    assert_eq!(double.count("GET", path), 1);
    double.fail(path, 503, 14, "connection error: desc = \"transport: Error while dialing: dial tcp 10.0.0.1:8081\"");
    for _ in 0..30 {
        let error = ask().await;
        assert!(error.message.contains("repository server"), "{error:?}");
    }
    good(&connector, "list_argocd_apps", json!({})).await;
}

#[tokio::test]
async fn what_was_not_created_has_no_events_and_what_has_two_owners_comes_once() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let node = |kind: &str, uid: &str, owners: Value| {
        let name = "web";
        json!({ "kind": kind, "namespace": "shop", "name": name, "version": "v1", "uid": uid, "parentRefs": owners })
    };
    let owner = |kind: &str| json!({ "kind": kind, "namespace": "shop", "name": "web" });
    let claim = node("Claim", "c", json!([owner("Set"), owner("Pod")]));
    let nodes = json!([
        node("Set", "s", json!([])),
        node("Pod", "p", json!([owner("Set")])),
        claim,
        claim,
        node("Job", "", json!([]))
    ]);
    double.want("applications/web/resource-tree", 200, json!({ "nodes": nodes }));
    let tree = good(&connector, "get_argocd_resource_tree", json!({ "app": "web" })).await;
    assert_eq!((tree["nodes"].as_array().unwrap().len(), tree.get("hints")), (4, None), "{tree}");
    let actions = json!({ "app": "web", "resource": { "kind": "Claim", "name": "web" } });
    good(&connector, "list_argocd_resource_actions", actions).await;
    let events =
        good(&connector, "get_argocd_events", json!({ "app": "web", "resource": { "kind": "Job", "name": "web" } }))
            .await;
    assert!(
        events["hints"][0].as_str().unwrap().contains("Job web is not in the cluster: it was not created, or is gone"),
        "{events}"
    );
    assert_eq!(double.count("GET", "applications/web/events"), 0);
}

#[tokio::test]
async fn what_a_set_no_longer_makes_and_what_it_makes_twice_is_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let named = |name: &str| {
        let mut one = app();
        one["metadata"]["name"] = json!(name);
        one
    };
    double.want(
        "applicationsets/generate",
        200,
        json!({ "applications": [named("a"), named("b"), named("b"), named("c")] }),
    );
    let made = ["a", "gone"].map(|name| json!({ "name": name, "namespace": "argocd", "status": "Synced" }));
    double.want(
        "applicationsets/all",
        200,
        json!({ "metadata": { "name": "all", "namespace": "argocd" }, "spec": {}, "status": { "resources": made } }),
    );
    let plan = good(&connector, "preview_argocd_appset", json!({ "name": "all" })).await;
    assert!(plan["hints"][0].as_str().unwrap().starts_with("it has made gone, too"), "{plan}");
    assert!(plan["hints"][1].as_str().unwrap().starts_with("of b there are several: Argo CD makes none"), "{plan}");
    let definition = json!({ "metadata": { "name": "new" }, "spec": {} });
    let plan = good(&connector, "preview_argocd_appset", json!({ "definition": definition })).await;
    assert_eq!(plan["hints"].as_array().unwrap().len(), 1, "{plan}");
}

#[tokio::test]
async fn what_is_being_deleted_is_marked_in_the_list() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let since = "2026-01-03T00:00:00Z";
    for deleted in [None, Some(since)] {
        stand(&double, |app| app["metadata"]["deletionTimestamp"] = json!(deleted));
        let page = good(&connector, "list_argocd_apps", json!({})).await;
        assert_eq!(page["items"][0].get("deleted_since"), deleted.map(|since| json!(since)).as_ref());
    }
}

#[tokio::test]
async fn previews_say_what_options_and_sources_do() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let replace = "; Replace=true may DELETE resources and create them again";
    for (own, given, end) in [
        (
            json!(["CreateNamespace=true"]),
            json!(["Validate=false"]),
            "; the application's own options CreateNamespace=true don't count",
        ),
        (json!(["CreateNamespace=true"]), json!(["Replace=true", "CreateNamespace=true"]), replace),
        (json!(["Replace=true"]), json!([]), replace),
        (Value::Null, json!(["Validate=false"]), "because prune is false"),
        // Argo CD takes options as they are written.
        (json!(["replace=true"]), json!([]), "because prune is false"),
    ] {
        stand(&double, |app| app["spec"]["syncPolicy"] = json!({ "syncOptions": own }));
        let call = json!({ "app": "web", "sync_options": given });
        let would = connector.preview("sync_argocd_app", call).await.unwrap().would;
        assert!(would.ends_with(end), "{own} {given}: {would}");
    }
    // Values of Helm count, and are not told.
    for (change, told) in [(Value::Null, false), (json!({ "values": "planted: 2" }), true)] {
        stand(&double, |app| {
            app["spec"]["source"]["helm"] = json!({});
            app["status"]["history"][0]["source"] = app["spec"]["source"].clone();
            app["status"]["history"][0]["source"]["helm"] = change.clone();
        });
        let back = connector.preview("rollback_argocd_app", json!({ "app": "web", "history_id": 0 })).await.unwrap();
        assert_eq!(back.would.ends_with(", with the sources that it had then"), told, "{}", back.would);
        assert_eq!(back.state["other_sources"].as_array().unwrap().len(), usize::from(told));
        assert!(!back.state.to_string().contains("planted"));
    }
}

#[tokio::test]
async fn the_history_says_where_the_last_sync_is_not_in_it() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    for (resources, dry_run, told) in [
        (json!([{ "kind": "Service", "name": "web" }]), false, true),
        (json!([{}]), true, false),
        (Value::Null, false, false),
    ] {
        stand(&double, |app| {
            app["status"]["operationState"]["phase"] = json!("Succeeded");
            app["status"]["operationState"]["operation"]["sync"] =
                json!({ "resources": resources, "dryRun": dry_run, "revision": COMMIT });
        });
        let page = good(&connector, "list_argocd_app_history", json!({ "app": "web" })).await;
        assert_eq!(page["hints"].to_string().contains("one of some resources only"), told, "{page}");
    }
}
