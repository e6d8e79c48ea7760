//! What is known of a state, and what isn't: a state of before, a part, a count that nobody made.

use serde_json::{Value, json};

use super::{
    double::{Double, app},
    tools::good,
    with_token,
};
use tools::ErrorCode;

/// Something that happens to an application.
type Event = fn(&mut Value);

/// What happens after a comparison, by which the controller compares again (`needRefreshAppStatus` in
/// `controller/appcontroller.go`), and what doesn't count; and what is said of it.
const EVENTS: &[(Event, &str)] = &[
    (
        |app| app["status"]["operationState"]["finishedAt"] = json!("2026-01-02T00:00:10Z"),
        "an operation ended at 2026-01-02T00:00:10Z",
    ),
    (|app| app["status"]["reconciledAt"] = Value::Null, "an operation ended at 2026-01-02T00:00:09Z"),
    (|app| app["spec"]["source"]["targetRevision"] = json!("v2"), "its spec was changed"),
    // As image updaters do (argoproj-labs/argocd-image-updater).
    (|app| app["spec"]["source"]["helm"]["values"] = json!("tag: 2"), "its spec was changed"),
    (|app| app["spec"]["sources"] = json!([app["spec"]["source"]]), ""),
    (|app| app["spec"]["sources"] = json!([app["spec"]["source"], { "repoURL": "https://b" }]), "its spec was changed"),
    (|app| app["spec"]["destination"]["namespace"] = json!("other"), "its spec was changed"),
    (|app| app["spec"]["ignoreDifferences"] = json!([{ "kind": "Deployment" }]), "its spec was changed"),
    (|app| app["metadata"]["annotations"]["argocd.argoproj.io/refresh"] = json!("hard"), "a comparison was asked for"),
    // The same in other words, an address that was added to a name, a dry run, and what nothing is known of.
    (|app| app["spec"]["source"]["directory"] = json!({ "jsonnet": {} }), ""),
    (|app| app["status"]["sync"]["comparedTo"]["destination"]["name"] = json!("in-cluster"), ""),
    (
        |app| {
            app["status"]["operationState"]["finishedAt"] = json!("2026-01-02T00:00:10Z");
            app["status"]["operationState"]["operation"]["sync"]["dryRun"] = json!(true);
        },
        "",
    ),
    (|app| app["status"]["sync"]["comparedTo"] = json!({ "source": { "repoURL": "" }, "destination": {} }), ""),
    (|app| app["status"]["sync"]["comparedTo"] = Value::Null, ""),
];

#[tokio::test]
async fn a_state_of_before_is_told_as_such_and_is_no_goal() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    for (number, (event, news)) in EVENTS.iter().enumerate() {
        double.change(|state| {
            state.stands_still = true;
            state.app = app();
            state.app["status"]["sync"]["status"] = json!("Synced");
            state.app["status"]["health"]["status"] = json!("Healthy");
            event(&mut state.app);
        });
        let status = good(&connector, "get_argocd_app_status", json!({ "app": "web" })).await;
        let verdict = status["verdict"].as_str().unwrap();
        let start = if news.is_empty() {
            "well: ".to_owned()
        } else {
            format!("not known yet: {news}, and Argo CD compared it last at ")
        };
        assert!(verdict.starts_with(&start), "{number}: {verdict}");
        assert_eq!(status.get("outdated").is_some(), !news.is_empty(), "{number}");
        for goal in ["operation", "sync", "health"] {
            let call = json!({ "app": "web", "for": goal, "timeout_seconds": 1 });
            let waited = good(&connector, "wait_argocd_app", call).await;
            assert_eq!(waited["finished"], json!(news.is_empty() || goal == "operation"), "{number} {goal}: {waited}");
            assert_eq!(waited.get("hints").is_some(), !news.is_empty(), "{number} {goal}: {waited}");
        }
    }
}

#[tokio::test]
async fn the_comparison_after_an_operation_is_waited_for() {
    let double = Double::start().await;
    let mut connector = with_token(&double.uri());
    connector.patience = std::time::Duration::from_secs(40);
    let after = |state: &mut super::double::State| {
        state.app["status"]["health"]["status"] = json!("Healthy");
        state.app["status"]["operationState"]["finishedAt"] = json!("2026-01-02T00:00:10Z");
        state.due = Some(["Synced", "Degraded"]);
    };
    for (goal, finished) in [("operation", true), ("sync", true), ("health", false)] {
        double.change(|state| {
            state.app = app();
            after(state);
        });
        let waited =
            good(&connector, "wait_argocd_app", json!({ "app": "web", "for": goal, "timeout_seconds": 4 })).await;
        assert_eq!(
            (&waited["finished"], &waited["health"]["status"]),
            (&json!(finished), &json!("Degraded")),
            "{goal}"
        );
        assert_eq!((waited.get("outdated"), &waited["reconciled_at"]), (None, &json!("2026-01-03T00:00:05Z")));
    }
    // And by whoever synced.
    double.change(|state| {
        state.app = app();
        state.app["status"]["health"]["status"] = json!("Healthy");
    });
    let at_once = good(&connector, "sync_argocd_app", json!({ "app": "web" })).await;
    assert_eq!(at_once["finished"], false);
    let waited = good(&connector, "wait_argocd_app", json!({ "app": "web", "timeout_seconds": 30 })).await;
    assert_eq!((&waited["finished"], &waited["health"]["status"]), (&json!(true), &json!("Progressing")), "{waited}");
    // Where it doesn't come, that is told.
    double.change(|state| {
        state.app = app();
        state.app["operation"] = json!({ "sync": {} });
        state.app["status"]["operationState"] =
            json!({ "phase": "Running", "startedAt": "2026-01-03T00:00:00Z", "operation": {} });
    });
    let looks = good(&connector, "wait_argocd_app", json!({ "app": "web", "timeout_seconds": 3 })).await;
    assert_eq!((&looks["finished"], &looks["outdated"]), (&json!(true), &json!(true)), "{looks}");
}

#[tokio::test]
async fn health_of_nothing_is_no_goal() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    // Of which neither Git nor the cluster can be read (akuity/kargo#1807).
    double.change(|state| {
        state.stands_still = true;
        state.app["status"]["sync"]["status"] = json!("Unknown");
        state.app["status"]["health"]["status"] = json!("Healthy");
    });
    let wait = async || {
        good(&connector, "wait_argocd_app", json!({ "app": "web", "for": "health", "timeout_seconds": 1 })).await
    };
    assert_eq!(wait().await["finished"], true, "its resources are there");
    double.change(|state| state.app["status"]["resources"] = json!([]));
    let waited = wait().await;
    assert_eq!(waited["finished"], false);
    assert!(waited["hints"][0].as_str().unwrap().starts_with("Argo CD can't compare it"), "{waited}");
}

#[tokio::test]
async fn who_will_sync_is_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let owner = json!([{ "kind": "ApplicationSet", "name": "all" }]);
    for (policy, owners, hint) in [
        (Value::Null, json!([]), "nothing runs that would sync it"),
        (json!({ "automated": {} }), json!([]), "auto-sync is on"),
        (json!({ "automated": { "enabled": false } }), owner.clone(), "If the ApplicationSet \"all\" goes in steps"),
        (json!({ "automated": {} }), owner, "auto-sync is on"),
    ] {
        double.change(|state| {
            state.app["spec"]["syncPolicy"] = policy;
            state.app["metadata"]["ownerReferences"] = owners;
        });
        let call = json!({ "app": "web", "for": "sync", "timeout_seconds": 1 });
        let waited = good(&connector, "wait_argocd_app", call).await;
        assert_eq!(waited["finished"], false);
        assert!(waited["hints"][0].as_str().unwrap().contains(hint), "{waited}");
    }
}

#[tokio::test]
async fn a_set_tells_its_steps_and_how_many_it_makes() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let strategy = json!({ "type": "RollingSync", "rollingSync": { "steps": [{}, {}] } });
    let set = |status: Value| {
        json!({ "metadata": { "name": "all", "namespace": "argocd" },
                "spec": { "generators": [{ "list": {} }], "strategy": strategy, "template": {} }, "status": status })
    };
    let one = json!([{ "name": "web", "namespace": "argocd", "status": "OutOfSync" }]);
    let waits = json!([{ "application": "web", "status": "Waiting", "step": "2", "message": "it has changes" }]);
    let call = json!({ "name": "all" });
    let ask = async |status: Value| {
        double.want("applicationsets", 200, json!({ "items": [set(status.clone())] }));
        double.want("applicationsets/all", 200, set(status));
        let listed = good(&connector, "list_argocd_appsets", json!({})).await;
        (listed["items"][0].get("applications").cloned(), good(&connector, "get_argocd_appset", call.clone()).await)
    };
    // Cut to the first, as 3.2 and later do (`updateResourcesStatus` in `applicationset_controller.go`).
    let (count, found) = ask(json!({ "resources": one, "resourcesCount": 7_200, "applicationStatus": waits })).await;
    assert_eq!((count, &found["applications"], &found["truncated"]), (Some(json!(7_200)), &json!(7_200), &json!(true)));
    let made = &found["made"][0];
    assert_eq!(
        (&made["step"], &made["rollout"], &made["rollout_message"]),
        (&json!("2"), &json!("Waiting"), &json!("it has changes"))
    );
    assert!(found["hints"].to_string().contains("with auto-sync off: one that waits"), "{found}");
    // 3.1 and before don't count; nobody heeds the steps.
    let (count, found) = ask(json!({ "resources": one })).await;
    assert_eq!((count, &found["truncated"]), (Some(json!(1)), &json!(false)));
    assert!(found["hints"].to_string().contains("whether it does is not told"), "{found}");
    let (count, found) = ask(json!({})).await;
    assert_eq!((count, found.get("applications")), (None, None));

    let mut automatic = app();
    automatic["metadata"]["name"] = json!("web-automatic");
    automatic["spec"]["syncPolicy"] = json!({ "automated": {} });
    double.want("applicationsets/generate", 200, json!({ "applications": [automatic, app()] }));
    let planned = good(&connector, "preview_argocd_appset", call.clone()).await;
    let on = |planned: &Value| [0, 1].map(|number| planned["applications"][number]["auto_sync"].clone());
    assert_eq!(on(&planned), [Value::Null, json!(false)]);
    assert!(planned["hints"][0].as_str().unwrap().contains("whether it does is not told"), "{planned}");
    let definition = json!({ "metadata": { "name": "new" }, "spec": { "generators": [], "template": {} } });
    let planned = good(&connector, "preview_argocd_appset", json!({ "definition": definition })).await;
    assert_eq!(on(&planned), [json!(true), json!(false)]);
}

#[tokio::test]
async fn what_a_person_must_confirm_is_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let with = |change: &dyn Fn(&mut Value)| {
        double.change(|state| {
            state.stands_still = true;
            state.app = app();
            state.app["status"]["resources"][2]["requiresDeletionConfirmation"] = json!(true);
            change(&mut state.app);
        });
    };
    with(&|_| ());
    let confirm = "a person must confirm the deletion of ConfigMap/old (argocd app confirm-deletion";
    let sync = async |prune: bool| {
        connector.preview("sync_argocd_app", json!({ "app": "web", "prune": prune })).await.unwrap().would
    };
    assert!(sync(true).await.contains(confirm) && !sync(false).await.contains("confirm"));
    let delete = async |cascade: bool| {
        let call = json!({ "app": "web", "confirm_name": "web", "cascade": cascade });
        connector.preview("delete_argocd_app", call).await.unwrap().would
    };
    assert!(delete(true).await.contains(confirm) && !delete(false).await.contains("a person"));

    with(&|app| {
        app["operation"] = json!({ "sync": {} });
        app["status"]["operationState"] = json!({ "phase": "Running", "operation": {},
            "message": "waiting for pruning confirmation of /ConfigMap/old" });
    });
    let waited = good(&connector, "wait_argocd_app", json!({ "app": "web", "timeout_seconds": 1 })).await;
    assert!(waited["hints"][0].as_str().unwrap().contains("when a person has confirmed"), "{waited}");

    // What comes after what while it is deleted (`finalizeApplicationDeletion` in `controller/appcontroller.go`).
    let cascade = "resources-finalizer.argocd.argoproj.io";
    let (pre, post) = ("pre-delete-finalizer.argocd.argoproj.io", "post-delete-finalizer.argocd.argoproj.io");
    for (number, (finalizers, approved, stage)) in [
        (json!([cascade]), "", format!(": {confirm}")),
        (json!([cascade]), "2026-01-02T23:00:00Z", format!(": {confirm}")),
        (json!([cascade]), "2026-01-03T00:00:00Z", ": what it runs is being deleted".to_owned()),
        (
            json!([format!("{cascade}/background"), pre, format!("{pre}/cleanup")]),
            "",
            ": its PreDelete hooks come first".to_owned(),
        ),
        (json!([post]), "", ": its PostDelete hooks run".to_owned()),
        (json!([]), "", String::new()),
    ]
    .into_iter()
    .enumerate()
    {
        with(&|app| {
            app["metadata"]["deletionTimestamp"] = json!("2026-01-03T00:00:00Z");
            app["metadata"]["finalizers"] = finalizers.clone();
            app["metadata"]["annotations"]["argocd.argoproj.io/deletion-approved"] = json!(approved);
        });
        let call = json!({ "app": "web", "include_resources": true });
        let status = good(&connector, "get_argocd_app_status", call).await;
        let said = format!("the application is being deleted since 2026-01-03T00:00:00Z{stage}");
        assert!(status["verdict"].as_str().unwrap().starts_with(&said), "{number}: {}", status["verdict"]);
        assert_eq!(status["resources"][2]["requires_confirmation"], true);
    }
}

#[tokio::test]
async fn a_sync_of_named_resources_runs_no_hooks() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| {
        let hook = json!({ "group": "batch", "version": "v1", "kind": "Job", "namespace": "shop", "name": "migrate", "hook": true });
        state.app["status"]["resources"].as_array_mut().unwrap().push(hook);
    });
    let of = |group: &str, kind: &str, name: &str| json!({ "app": "web", "resources": [{ "group": group, "kind": kind, "name": name }] });
    let would = connector.preview("sync_argocd_app", of("apps", "Deployment", "web")).await.unwrap().would;
    assert!(would.ends_with("; hooks don't run"), "{would}");
    let refused = connector.call("sync_argocd_app", of("batch", "Job", "migrate")).await.unwrap_err();
    assert_eq!((refused.code, refused.argument.as_deref()), (ErrorCode::InvalidArgument, Some("resources")));
    assert_eq!(double.count("POST", "applications/web/sync"), 0);
}

#[tokio::test]
async fn previews_name_the_revisions_of_all_sources() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| {
        let sources = json!([{ "repoURL": "https://charts.example.com", "chart": "shop", "targetRevision": "1.4.2" },
                             { "repoURL": "https://git.example.com/values.git", "targetRevision": "main", "ref": "values" }]);
        state.app["spec"]["sources"] = sources.clone();
        state.app["status"]["sync"] = json!({ "status": "OutOfSync", "revisions": ["1.4.2", "bbbb"], "comparedTo": { "sources": sources,
            "destination": state.app["spec"]["destination"] } });
        state.app["status"]["history"][0] = json!({ "id": 0, "revisions": ["1.4.1", "aaaa"], "sources": sources });
    });
    for (call, said) in [
        (json!({ "app": "web" }), " to what Git said last (1.4.2, bbbb): change 1"),
        (
            json!({ "app": "web", "revisions": ["", "v2"] }),
            " to the revisions \"v2\" of source 2 of 2, which may differ",
        ),
    ] {
        let preview = connector.preview("sync_argocd_app", call).await.unwrap();
        assert!(preview.would.contains(said), "{}", preview.would);
        assert_eq!(preview.state["revision"], "1.4.2, bbbb");
    }
    let back = connector.preview("rollback_argocd_app", json!({ "app": "web", "history_id": 0 })).await.unwrap();
    assert_eq!(
        (&back.state["from_revision"], &back.state["to_revision"]),
        (&json!("1.4.2, bbbb"), &json!("1.4.1, aaaa"))
    );
    let status = good(&connector, "get_argocd_app_status", json!({ "app": "web" })).await;
    assert_eq!((&status["sources"][1]["ref"], status["sources"][0].get("ref")), (&json!("values"), None));
}

#[tokio::test]
async fn what_a_project_inherits_and_what_its_windows_concern_is_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let window = json!({ "kind": "deny", "schedule": "0 0 * * *", "duration": "24h", "applications": ["us-*"],
                         "clusters": ["us-prod"], "andOperator": true, "description": "freeze" });
    double.want("projects/team", 200, json!({ "metadata": { "name": "team" }, "spec": { "syncWindows": [window] } }));
    let ask = async || good(&connector, "get_argocd_project", json!({ "name": "team" })).await;
    let project = ask().await;
    let told = json!({ "kind": "deny", "schedule": "0 0 * * *", "duration": "24h", "manual_sync": false, "applications": ["us-*"],
                       "clusters": ["us-prod"], "all_must_match": true, "description": "freeze" });
    assert_eq!((&project["sync_windows"], project.get("hints")), (&json!([told]), None));
    double.want("projects/team/globalprojects", 200, json!({ "items": [{ "metadata": { "name": "everybody" } }] }));
    assert!(ask().await["hints"][0].as_str().unwrap().ends_with(": everybody"));
    double.text("projects/team/globalprojects", 404, "Not Found\n");
    assert_eq!(ask().await.get("hints"), None, "this Argo CD has no global projects");
    double.fail("projects/team/globalprojects", 500, 2, "no");
    assert!(ask().await["hints"][0].as_str().unwrap().contains("did not tell"));
}

#[tokio::test]
async fn windows_are_told_apart_by_the_project() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let hour =
        |ago: i64| (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(ago)).strftime("0 %-H * * *").to_string();
    let window = |zone: &str| json!({ "kind": "deny", "schedule": hour(0), "duration": "1h", "timeZone": zone });
    let bare = json!({ "kind": "deny", "schedule": hour(0), "duration": "1h" });
    double.want(
        "applications/web/syncwindows",
        200,
        json!({ "canSync": false, "activeWindows": [bare], "assignedWindows": [bare, bare] }),
    );
    double.want("projects/team", 200, json!({ "spec": { "syncWindows": [window("Etc/GMT-5")] } }));
    // The other one is a global project's, which come after the project's own.
    double.want(
        "projects/team/globalprojects",
        200,
        json!({ "items": [{ "spec": { "syncWindows": [window("UTC")] } }] }),
    );
    let found = good(&connector, "get_argocd_sync_windows", json!({ "app": "web" })).await;
    let active = |found: &Value| [0, 1].map(|number| found["windows"][number].get("active").cloned());
    assert_eq!(active(&found), [Some(json!(false)), Some(json!(true))], "{found}");
    assert!(found["why_not"].as_str().unwrap().contains("for 1h, UTC) is open until "), "{found}");
    double.fail("projects/team/globalprojects", 500, 2, "no");
    let found = good(&connector, "get_argocd_sync_windows", json!({ "app": "web" })).await;
    assert_eq!(active(&found), [None, None], "{found}");
    assert!(found["why_not"].as_str().unwrap().ends_with("for 1h) is open"), "{found}");
}

#[tokio::test]
async fn a_count_that_nobody_made_is_no_zero() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let unknown = json!({ "status": "Unknown", "message": "", "attemptedAt": null });
    for (info, count) in [
        // Nothing in the cache, or what the API server itself writes when a cluster is added.
        (json!({ "connectionState": unknown, "cacheInfo": {}, "applicationsCount": 0 }), None),
        (
            json!({ "connectionState": { "status": "Successful", "attemptedAt": "2026-01-01T00:00:00Z" }, "cacheInfo": {} }),
            None,
        ),
        (
            json!({ "connectionState": { "status": "Unknown", "message": "Cluster has no applications and is not being monitored." } }),
            Some(0),
        ),
        (
            json!({ "connectionState": { "status": "Failed", "message": "i/o timeout" }, "applicationsCount": 3 }),
            Some(3),
        ),
        (
            json!({ "connectionState": { "status": "Successful" }, "cacheInfo": { "lastCacheSyncTime": "2026-01-01T00:00:00Z" } }),
            Some(0),
        ),
    ] {
        double.want("clusters", 200, json!({ "items": [{ "name": "a", "server": "https://a", "info": info }] }));
        let clusters = good(&connector, "list_argocd_clusters", json!({})).await;
        assert_eq!(clusters["items"][0].get("applications"), count.map(|count| json!(count)).as_ref(), "{info}");
    }
}

#[tokio::test]
async fn applications_in_an_application_and_one_that_is_left_alone_are_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| {
        state.app["status"]["health"]["status"] = json!("Healthy");
        state.app["status"]["resources"] =
            json!([{ "group": "argoproj.io", "kind": "Application", "name": "a", "status": "Synced" }]);
        state.app["metadata"]["annotations"]["argocd.argoproj.io/skip-reconcile"] = json!("true");
    });
    let status = good(&connector, "get_argocd_app_status", json!({ "app": "web" })).await;
    assert!(status["hints"][0].as_str().unwrap().starts_with("it manages 1 applications, whose health"), "{status}");
    assert!(status["hints"][1].as_str().unwrap().contains("skip-reconcile"), "{status}");
    let waited = good(&connector, "wait_argocd_app", json!({ "app": "web", "for": "health" })).await;
    assert_eq!(waited["finished"], true);
    assert!(waited["hints"][0].as_str().unwrap().starts_with("it manages 1 applications"), "{waited}");
}

#[tokio::test]
async fn an_older_argocd_runs_actions_by_its_own_call() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| state.is_old = true);
    let run = |action: &str, parameters: Value| {
        json!({ "app": "web", "resource": { "group": "apps", "kind": "Deployment", "name": "web" }, "action": action,
                "parameters": parameters })
    };
    good(&connector, "run_argocd_resource_action", run("restart", json!({}))).await;
    assert_eq!(double.count("POST", "applications/web/resource/actions"), 1);
    let refused =
        connector.call("run_argocd_resource_action", run("scale", json!({ "replicas": "3" }))).await.unwrap_err();
    assert_eq!((refused.code, refused.argument.as_deref()), (ErrorCode::InvalidArgument, Some("parameters")));
    assert_eq!(double.count("POST", "applications/web/resource/actions"), 1);
}

#[tokio::test]
async fn all_settings_of_auto_sync_are_answered_and_can_be_set_again() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| {
        state.app["spec"]["syncPolicy"] = json!({ "automated": { "prune": true, "allowEmpty": true } });
    });
    let off = good(&connector, "set_argocd_auto_sync", json!({ "app": "web", "enabled": false })).await;
    assert_eq!(off["before"], json!({ "prune": true, "self_heal": false, "allow_empty": true }));
    let on = json!({ "app": "web", "enabled": true, "prune": true, "allow_empty": true });
    assert_eq!(good(&connector, "set_argocd_auto_sync", on).await["after"], off["before"]);
    // What is off by `enabled` keeps its settings.
    double
        .change(|state| state.app["spec"]["syncPolicy"] = json!({ "automated": { "enabled": false, "prune": true } }));
    let on = good(&connector, "set_argocd_auto_sync", json!({ "app": "web", "enabled": true })).await;
    assert_eq!((on.get("before"), &on["after"]), (None, &json!({ "prune": true, "self_heal": false })));
}
