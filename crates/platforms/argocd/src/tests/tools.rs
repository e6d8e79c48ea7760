//! Every tool: what it asks, and what it answers.

use std::time::Duration;

use serde_json::{Value, json};

use super::{double::Double, subject, with_token};
use platform_testing::Connected;
use tools::ErrorCode;

pub(super) async fn good(connector: &Connected, tool: &str, arguments: Value) -> Value {
    connector.call(tool, arguments).await.unwrap_or_else(|error| panic!("{tool}: {error:?}"))
}

#[tokio::test]
async fn every_tool_that_reads_makes_few_requests() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    for (tool, arguments) in (subject().calls)() {
        if connector.tools[tool].declaration.effect != tools::Effect::Read {
            continue;
        }
        let before = double.total();
        good(&connector, tool, arguments).await;
        let two = [
            "list_argocd_apps",
            "list_argocd_resource_actions",
            "preview_argocd_appset",
            "get_argocd_revision_metadata",
            "get_argocd_project",
            "wait_argocd_app",
        ];
        let most = match tool {
            // The project of the application, and its global projects, know the windows' time zones.
            "get_argocd_sync_windows" => 4,
            _ if two.contains(&tool) => 2,
            _ => 1,
        };
        assert_eq!(double.total() - before, most, "{tool}");
    }
}

#[tokio::test]
async fn sync_and_health_are_told_apart() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let status = good(
        &connector,
        "get_argocd_app_status",
        json!({ "app": "web", "project": "team", "include_resources": true }),
    )
    .await;
    assert_eq!((&status["sync"]["status"], &status["health"]["status"]), (&json!("OutOfSync"), &json!("Degraded")));
    assert_eq!(status["sync"]["message"], "SyncError: can't read https://git.example.com/web.git");
    assert_eq!(status["sources"][0]["repo_url"], "https://git.example.com/web.git");
    assert_eq!(status["operation"]["phase"], "Succeeded");
    assert!(status["verdict"].as_str().unwrap().contains("the worst"), "{status}");
    assert_eq!(status["resources"].as_array().unwrap().len(), 3);
    let resources = good(&connector, "get_argocd_app_resources", json!({ "app": "web", "unhealthy_only": true })).await;
    assert_eq!(resources["items"][0]["kind"], "Deployment");
    assert_eq!(resources["items"].as_array().unwrap().len(), 1);
    let history = good(&connector, "list_argocd_app_history", json!({ "app": "web", "limit": 1 })).await;
    assert_eq!((&history["items"][0]["id"], &history["items"][0]["initiated_by"]), (&json!(1), &json!("auto-sync")));
    let next = json!({ "app": "web", "cursor": history["next_cursor"] });
    assert_eq!(good(&connector, "list_argocd_app_history", next).await["items"][0]["id"], 0);
}

#[tokio::test]
async fn filters_are_those_that_argocd_has_and_those_that_it_lacks() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    for (arguments, count, hint) in [
        (json!({ "project": "team", "health_status": "Degraded", "sync_status": "OutOfSync" }), 1, ""),
        (json!({ "namespace": "shop", "name_contains": "We" }), 1, ""),
        (json!({ "cluster": "in-cluster" }), 1, ""),
        (json!({ "project": "other" }), 0, "may not see"),
        (json!({ "health_status": "Suspended" }), 0, "none that match"),
    ] {
        let page = good(&connector, "list_argocd_apps", arguments.clone()).await;
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{arguments}");
        let hints = page["hints"].to_string();
        assert!(hints.contains(hint), "{arguments}: {hints}");
    }
    let error = connector.call("list_argocd_apps", json!({ "health_status": "Bad" })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn what_is_answered_holds_no_secret() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let diff = good(&connector, "get_argocd_diff", json!({ "app": "web" })).await;
    assert_eq!(diff["resources"].as_array().unwrap().len(), 2);
    assert_eq!(
        diff["resources"][1]["paths"][0],
        json!({ "path": "/spec/replicas", "change": "changed", "now": "1", "then": "2" })
    );
    let manifests = good(&connector, "get_argocd_manifests", json!({ "app": "web", "kind": "Secret" })).await;
    assert_eq!(manifests["manifests"], json!([{ "kind": "Secret", "stringData": { "a": "++++++++" } }]));
    let project = good(&connector, "get_argocd_project", json!({ "name": "team" })).await;
    assert_eq!(project["source_repos"][0], "https://git.example.com/*");
    let clusters = good(&connector, "list_argocd_clusters", json!({})).await;
    assert_eq!(clusters["items"][0]["status"], "Successful");
    let planned = good(&connector, "preview_argocd_appset", json!({ "name": "all" })).await;
    assert_eq!(planned["applications"][0]["name"], "web");
    assert_eq!(
        double.body("POST", "applicationsets/generate")["applicationSet"]["metadata"],
        json!({ "name": "all", "namespace": "argocd" })
    );
    let set = good(&connector, "get_argocd_appset", json!({ "name": "all" })).await;
    assert_eq!(
        (&set["generators"][0], &set["error"], &set["made"][0]["name"]),
        (&json!("git"), &json!("bad"), &json!("web"))
    );
}

#[tokio::test]
async fn the_tree_leads_to_what_is_not_healthy() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let tree = good(&connector, "get_argocd_resource_tree", json!({ "app": "web", "unhealthy_only": true })).await;
    let names: Vec<_> = tree["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["web", "web-r", "web-1"]);
    assert_eq!((&tree["nodes"][2]["parent"], &tree["nodes"][2]["level"]), (&json!("ReplicaSet web-r"), &json!(3)));
    let shallow = good(&connector, "get_argocd_resource_tree", json!({ "app": "web", "depth": 1 })).await;
    assert_eq!(shallow["nodes"].as_array().unwrap().len(), 2);
    let pod = json!({ "kind": "Pod", "name": "web-1" });
    let events = good(&connector, "get_argocd_events", json!({ "app": "web", "resource": pod })).await;
    let (first, second) = (&events["events"][0], &events["events"][1]);
    assert_eq!((&first["reason"], &first["count"]), (&json!("FailedScheduling"), &json!(57)));
    assert_eq!(first["last_seen"], "2026-01-04T00:00:00.000000Z");
    assert_eq!(second["reason"], "Pulled");
    let none = json!({ "app": "web", "resource": { "kind": "Pod", "name": "web-9" } });
    assert_eq!(connector.call("get_argocd_events", none).await.unwrap_err().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn long_lists_go_on_at_their_cursors() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    for (tool, list) in [
        ("get_argocd_resource_tree", "nodes"),
        ("get_argocd_manifests", "manifests"),
        ("get_argocd_diff", "resources"),
        ("get_argocd_events", "events"),
    ] {
        let whole = good(&connector, tool, json!({ "app": "web" })).await;
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let mut arguments = json!({ "app": "web", "limit": 1 });
            if let Some(cursor) = cursor.take() {
                arguments["cursor"] = cursor;
            }
            let part = good(&connector, tool, arguments).await;
            seen.extend(part[list].as_array().unwrap().iter().cloned());
            let Some(next) = part.get("next_cursor") else { break };
            assert_eq!(part["truncated"], true, "{tool}: {part}");
            cursor = Some(next.clone());
        }
        assert_eq!(Some(&seen), whole[list].as_array(), "{tool}");
        assert!(seen.len() > 1, "{tool}: {whole}");
    }
}

#[tokio::test]
async fn what_changed_between_two_revisions_takes_two_renderings() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let between = json!({ "app": "web", "from_revision": "v1", "to_revision": "v2" });
    let diff = good(&connector, "get_argocd_diff", between).await;
    let masked = "1 are Secrets, whose values Argo CD masks here: whether those differ is not known";
    let hints = json!([masked, "nothing differs that can be seen"]);
    assert_eq!((&diff["resources"], &diff["hints"]), (&json!([]), &hints));
    let between = json!({ "app": "web", "from_revision": "v1", "to_revision": "v2", "kind": "Service" });
    assert_eq!(good(&connector, "get_argocd_diff", between).await["hints"], json!(["nothing differs"]));
    assert!(diff["compared"].as_u64().unwrap() > 0, "{diff}");
    assert_eq!(double.count("GET", "applications/web/manifests"), 4);
    assert_eq!(double.count("GET", "applications/web/managed-resources"), 0);
    double.want("applications/web/managed-resources", 200, json!({}));
    let none = good(&connector, "get_argocd_diff", json!({ "app": "web" })).await;
    assert!(none["hints"][0].as_str().unwrap().contains("has compared nothing"), "{none}");
    let error = connector.call("get_argocd_diff", json!({ "app": "web", "to_revision": "v2" })).await.unwrap_err();
    assert_eq!(error.argument.as_deref(), Some("to_revision"));

    // Argo CD would not say that it leaves the revision out.
    double.change(|state| state.app["spec"]["sources"] = json!([{ "repoURL": "https://a", "targetRevision": "main" }]));
    for (tool, argument) in [("get_argocd_diff", "from_revision"), ("get_argocd_manifests", "revision")] {
        let refused = connector.call(tool, json!({ "app": "web", argument: "v1" })).await.unwrap_err();
        assert_eq!((refused.code, refused.argument.as_deref()), (ErrorCode::InvalidArgument, Some(argument)));
        assert!(refused.remedy.unwrap().contains("only at the revisions that it follows"));
    }
    assert_eq!(double.count("GET", "applications/web/manifests"), 4);
}

#[tokio::test]
async fn logs_end_where_the_stream_says() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let logs =
        good(&connector, "get_argocd_logs", json!({ "app": "web", "pod": "web-1", "filter": "o", "tail": 1 })).await;
    assert_eq!((&logs["lines"][0]["text"], &logs["truncated"]), (&json!("two"), &json!(true)));
    assert_eq!(logs["pods"], json!(["web-1"]));
    let none = good(&connector, "get_argocd_logs", json!({ "app": "web", "kind": "Deployment", "name": "x" })).await;
    assert!(none["hints"][0].as_str().unwrap().contains("no lines"));
    let error = connector.call("get_argocd_logs", json!({ "app": "web", "pod": "broken" })).await.unwrap_err();
    assert_eq!(error.message, "these are more pods than Argo CD reads logs of at once");
    let since = |time: &str| json!({ "app": "web", "pod": "web-1", "since": time });
    good(&connector, "get_argocd_logs", since("-15m")).await;
    assert_eq!(connector.call("get_argocd_logs", since("now")).await.unwrap_err().argument.as_deref(), Some("since"));
    let both = json!({ "app": "web", "pod": "web-1", "kind": "Deployment" });
    assert_eq!(connector.call("get_argocd_logs", both).await.unwrap_err().argument.as_deref(), Some("pod"));
}

#[tokio::test]
async fn what_kubernetes_says_instead_of_logs_is_told_with_a_filter_too() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let texts = |logs: &Value| -> Vec<String> {
        logs["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
    };
    let pass = json!("a pod has several containers, and none is its default: pass container");
    for filter in [None, Some("timeout"), Some("!timeout")] {
        let arguments = json!({ "app": "web", "pod": "sidecar", "filter": filter });
        let logs = good(&connector, "get_argocd_logs", arguments).await;
        assert!(texts(&logs)[0].ends_with("choose one of: [app istio-proxy]"), "{filter:?}: {logs}");
        assert_eq!((texts(&logs).len(), &logs["hints"][1], logs["lines"][0].get("at")), (1, &pass, None));
    }
    let waits = "container \"app\" in pod \"web-2\" is waiting to start: ContainerCreating";
    for (filter, expected) in [(None, ["two"]), (Some("ONE"), ["one"])] {
        // More lines than are wanted don't push it out.
        let arguments = json!({ "app": "web", "kind": "Deployment", "name": "half", "tail": 1, "filter": filter });
        let logs = good(&connector, "get_argocd_logs", arguments).await;
        assert_eq!(texts(&logs), [&[waits], &expected[..]].concat());
        assert_eq!(logs["pods"], json!(["web-1"]));
    }
    let none = good(&connector, "get_argocd_logs", json!({ "app": "web", "pod": "web-1", "filter": "three" })).await;
    assert_eq!(
        (texts(&none).len(), &none["hints"]),
        (0, &json!(["no line matches filter, of the last 1000 of each pod"]))
    );
}

#[tokio::test]
async fn what_prune_false_keeps_is_told_after_a_sync() {
    let double = Double::start().await;
    let mut connector = with_token(&double.uri());
    connector.patience = Duration::from_secs(15);
    let kept = json!([
        { "group": "", "kind": "ConfigMap", "namespace": "shop", "name": "old", "status": "PruneSkipped",
          "message": "ignored (no prune)" },
    ]);
    double.change(|state| state.ends = Some(("Succeeded", kept)));
    let pruning = json!({ "app": "web", "prune": true });
    let before = connector.preview("sync_argocd_app", pruning.clone()).await.unwrap().would;
    assert!(before.contains("DELETE 1 that Git no longer names, but for what Prune=false keeps"), "{before}");
    let started = good(&connector, "sync_argocd_app", json!({ "app": "web", "prune": true, "wait_seconds": 10 })).await;
    let summary = started["summary"].as_str().unwrap();
    assert!(summary.contains("(Succeeded); 1 that Git no longer names stay because of Prune=false"), "{summary}");
    let after = connector.preview("sync_argocd_app", pruning).await.unwrap().would;
    assert!(!after.contains("DELETE") && after.contains("; 1 stay because of Prune=false"), "{after}");
    let status = good(&connector, "get_argocd_app_status", json!({ "app": "web" })).await;
    let hint = status["hints"][0].as_str().unwrap();
    assert!(hint.starts_with("Git no longer names ConfigMap/old, and the last sync left it"), "{hint}");
    assert!(hint.ends_with("stays OutOfSync with it"), "the Deployment differs, too: {hint}");
    let wait = json!({ "app": "web", "for": "sync", "timeout_seconds": 1 });
    double.change(|state| {
        state.stands_still = true;
        state.app["status"]["sync"]["status"] = json!("OutOfSync");
    });
    let both = good(&connector, "wait_argocd_app", wait.clone()).await;
    assert!(both["hints"][0].as_str().unwrap().contains("sync_argocd_app does"), "{both}");
    assert!(both["hints"][1].as_str().unwrap().starts_with("Git no longer names ConfigMap/old"), "{both}");
    double.change(|state| state.app["status"]["resources"][0]["status"] = json!("Synced"));
    let all = good(&connector, "wait_argocd_app", wait).await;
    assert_eq!(all["hints"].as_array().unwrap().len(), 1, "{all}");
    assert!(all["hints"][0].as_str().unwrap().ends_with(", and nothing else differs"), "{all}");
}

#[tokio::test]
async fn a_sync_says_first_what_it_would_do() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let preview = connector.preview("sync_argocd_app", json!({ "app": "web" })).await.unwrap();
    assert!(
        preview.would.ends_with("change 1 resources; 1 that Git no longer names stay, because prune is false"),
        "{}",
        preview.would
    );
    let pruning =
        connector.preview("sync_argocd_app", json!({ "app": "web", "prune": true, "dry_run": true })).await.unwrap();
    assert!(pruning.would.starts_with("apply nothing") && pruning.would.contains("DELETE 1"), "{}", pruning.would);
    assert_eq!(double.count("POST", "applications/web/sync"), 0);
}

#[tokio::test]
async fn a_sync_is_started_once_and_waited_for() {
    let double = Double::start().await;
    let mut connector = with_token(&double.uri());
    connector.patience = Duration::from_secs(15);
    let arguments = json!({ "app": "web", "project": "team", "dry_run": true, "sync_options": ["Validate=false"],
                            "resources": [{ "group": "apps", "kind": "Deployment", "name": "web" }] });
    let started = good(&connector, "sync_argocd_app", arguments).await;
    assert_eq!(
        double.body("POST", "applications/web/sync"),
        json!({
            "prune": false, "dryRun": true, "project": "team", "syncOptions": { "items": ["Validate=false"] },
            "resources": [{ "group": "apps", "kind": "Deployment", "name": "web", "namespace": "shop" }],
        })
    );
    assert!(
        started["summary"].as_str().unwrap().starts_with("Nothing was applied: the dry run has ended (Succeeded)"),
        "{started}"
    );
    assert_eq!((&started["finished"], &started["revision"]), (&json!(true), &json!("cccccccccc")));
    assert_eq!(
        (&started["results"][0]["status"], &started["results"][1]["status"]),
        (&json!("SyncFailed"), &json!("Synced"))
    );
    assert_eq!(double.count("POST", "applications/web/sync"), 1);
}

#[tokio::test]
async fn an_operation_that_runs_is_reported_and_can_be_ended() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let error = connector.call("terminate_argocd_operation", json!({ "app": "web" })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    let started = good(&connector, "sync_argocd_app", json!({ "app": "web" })).await;
    assert_eq!((&started["finished"], &started["operation"]["phase"]), (&json!(false), &json!("Running")));
    let again = connector.call("sync_argocd_app", json!({ "app": "web" })).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::Conflict);
    assert!(again.message.contains("since 2026-01-03T00:00:00Z"), "{}", again.message);
    assert!(again.remedy.unwrap().contains("terminate_argocd_operation"));
    assert_eq!(double.count("POST", "applications/web/sync"), 1);

    let operation = json!({ "sync": {} });
    double.change(|state| {
        state.stands_still = true;
        state.app["status"]["operationState"] = json!({ "phase": "Running", "operation": operation });
        state.app["operation"] = operation;
    });
    let waited = good(&connector, "wait_argocd_app", json!({ "app": "web", "timeout_seconds": 1 })).await;
    assert_eq!((&waited["finished"], &waited["operation"]["phase"]), (&json!(false), &json!("Running")));
    let ended = good(&connector, "terminate_argocd_operation", json!({ "app": "web" })).await;
    assert_eq!(ended["phase"], "Terminating");
    // It is being ended: nothing more is sent.
    good(&connector, "terminate_argocd_operation", json!({ "app": "web" })).await;
    assert_eq!(double.count("DELETE", "applications/web/operation"), 1);
}

#[tokio::test]
async fn a_sync_whose_answer_is_lost_is_not_sent_again() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| state.loses_answers = true);
    let started = good(&connector, "sync_argocd_app", json!({ "app": "web" })).await;
    assert_eq!(started["triggered"], true);
    assert_eq!(double.count("POST", "applications/web/sync"), 1);
}

#[tokio::test]
async fn what_cannot_be_synced_is_refused_before_it_is_sent() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let sync = async |arguments: Value| connector.call("sync_argocd_app", arguments).await.unwrap_err();
    let unknown = json!({ "app": "web", "resources": [{ "kind": "Deployment", "name": "web" }] });
    assert_eq!(sync(unknown).await.argument.as_deref(), Some("resources"));
    assert_eq!(sync(json!({ "app": "web", "revisions": ["a"] })).await.argument.as_deref(), Some("revisions"));
    double.change(|state| state.can_sync = false);
    let closed = sync(json!({ "app": "web" })).await;
    let why = closed.platform_words.unwrap().concat();
    assert!(why.contains("for 1h, Etc/GMT-3) is open until "), "{why}");
    let windows = good(&connector, "get_argocd_sync_windows", json!({ "app": "web" })).await;
    let (_, until) = windows["why_not"].as_str().unwrap().split_once(" is open until ").unwrap();
    let left = until.parse::<jiff::Timestamp>().unwrap().duration_since(jiff::Timestamp::now()).as_mins();
    assert!((48..=50).contains(&left), "{windows}");
    double.change(|state| {
        state.can_sync = true;
        state.app["spec"]["syncPolicy"] = json!({ "automated": {} });
    });
    assert!(sync(json!({ "app": "web", "revision": "other" })).await.message.contains("auto-sync"));
    double
        .change(|state| state.app["spec"]["sources"] = json!([{ "repoURL": "https://a" }, { "repoURL": "https://b" }]));
    assert!(sync(json!({ "app": "web", "revisions": ["HEAD", "v2"] })).await.message.contains("auto-sync"));
    assert_eq!(double.count("POST", "applications/web/sync"), 0);
}

#[tokio::test]
async fn a_sync_of_several_sources_names_positions() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| {
        state.app["spec"]["sources"] = json!([{ "repoURL": "https://a" }, { "repoURL": "https://b" }]);
    });
    good(&connector, "sync_argocd_app", json!({ "app": "web", "revisions": ["", "v2"] })).await;
    let body = double.body("POST", "applications/web/sync");
    assert_eq!((&body["revisions"], &body["sourcePositions"]), (&json!(["v2"]), &json!([2])));
}

#[tokio::test]
async fn a_rollback_goes_to_the_deployment_that_is_meant() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let arguments = json!({ "app": "web", "history_id": 0, "expected_revision": "aaaaaaa" });
    let preview = connector.preview("rollback_argocd_app", arguments.clone()).await.unwrap();
    assert!(preview.would.contains("deployment 0 of 2026-01-01T00:00:00Z, revision aaaaaaaaaa"), "{}", preview.would);
    let fails = async |arguments: Value| connector.call("rollback_argocd_app", arguments).await.unwrap_err();
    let unknown = fails(json!({ "app": "web", "history_id": 7 })).await;
    assert_eq!(unknown.remedy.as_deref(), Some("the history has the ids 1, 0, the newest first"));
    let other = fails(json!({ "app": "web", "history_id": 1, "expected_revision": "aaaaaaa" })).await;
    assert_eq!(other.argument.as_deref(), Some("expected_revision"));
    double.change(|state| state.app["spec"]["syncPolicy"] = json!({ "automated": { "prune": true } }));
    assert!(fails(arguments.clone()).await.remedy.unwrap().contains("set_argocd_auto_sync"));
    assert_eq!(double.count("POST", "applications/web/rollback"), 0);

    let off = good(&connector, "set_argocd_auto_sync", json!({ "app": "web", "enabled": false })).await;
    assert_eq!((&off["before"]["prune"], off.get("after")), (&json!(true), None));
    let rolled = good(&connector, "rollback_argocd_app", arguments).await;
    assert!(rolled["summary"].as_str().unwrap().contains("it goes to the deployment 0, aaaaaaaaaa"), "{rolled}");
    assert_eq!(double.body("POST", "applications/web/rollback"), json!({ "id": 0, "prune": false, "dryRun": false }));
}

#[tokio::test]
async fn auto_sync_is_switched_only_where_it_differs() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let on = json!({ "app": "web", "enabled": true, "self_heal": true });
    for _ in 0..2 {
        let after = good(&connector, "set_argocd_auto_sync", on.clone()).await;
        assert_eq!(after["after"], json!({ "prune": false, "self_heal": true }));
    }
    assert_eq!(double.count("PATCH", "applications/web"), 1);
    let wrong = json!({ "app": "web", "enabled": false, "prune": true });
    assert_eq!(connector.call("set_argocd_auto_sync", wrong).await.unwrap_err().argument.as_deref(), Some("enabled"));
}

#[tokio::test]
async fn an_application_is_deleted_once_and_by_name() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let wrong = json!({ "app": "web", "confirm_name": "wep" });
    let error = connector.call("delete_argocd_app", wrong).await.unwrap_err();
    assert_eq!((error.argument.as_deref(), double.total()), (Some("confirm_name"), 0));
    let arguments = json!({ "app": "web", "confirm_name": "web", "cascade": true });
    let preview = connector.preview("delete_argocd_app", arguments.clone()).await.unwrap();
    let kept = "but for what Delete=false or Helm's resource policy keeps";
    assert!(
        preview.would.ends_with(&format!("and DELETE the 3 resources that it manages, {kept}")),
        "{}",
        preview.would
    );
    double.change(|state| {
        state.app["status"]["resources"][0] = json!({ "group": "apiextensions.k8s.io", "version": "v1",
            "kind": "CustomResourceDefinition", "name": "carts.example.com", "status": "Synced" });
    });
    let would = connector.preview("delete_argocd_app", arguments.clone()).await.unwrap().would;
    assert!(
        would.ends_with(&format!("the 2 resources that it manages, {kept}; 1 custom resource definitions stay")),
        "{would}"
    );
    for already in [false, true] {
        let deleted = good(&connector, "delete_argocd_app", arguments.clone()).await;
        // The second time, it goes on as it was begun: the double sets no finalizer.
        assert_eq!((&deleted["already"], &deleted["cascade"]), (&json!(already), &json!(!already)));
    }
    assert_eq!(double.count("DELETE", "applications/web"), 1);
}

#[tokio::test]
async fn an_action_is_checked_before_it_is_run() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let deployment = json!({ "group": "apps", "kind": "Deployment", "name": "web" });
    let run = |action: &str, parameters: Value| json!({ "app": "web", "resource": deployment, "action": action, "parameters": parameters });
    for (arguments, argument) in [
        (run("explode", json!({})), "action"),
        (run("resume", json!({})), "action"),
        (run("scale", json!({})), "parameters"),
        (run("scale", json!({ "size": "3" })), "parameters"),
    ] {
        let error = connector.call("run_argocd_resource_action", arguments).await.unwrap_err();
        assert_eq!(error.argument.as_deref(), Some(argument));
    }
    assert_eq!(double.count("POST", "applications/web/resource/actions/v2"), 0);
    good(&connector, "run_argocd_resource_action", run("scale", json!({ "replicas": "3" }))).await;
    let body = double.body("POST", "applications/web/resource/actions/v2");
    assert_eq!(body["resourceActionParameters"], json!([{ "name": "replicas", "value": "3" }]));
}

#[tokio::test]
async fn a_hard_refresh_has_its_pause() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let hard = json!({ "app": "web", "hard": true });
    assert_eq!(good(&connector, "refresh_argocd_app", hard.clone()).await["app"], "web");
    let error = connector.call("refresh_argocd_app", hard).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::RateLimited);
    assert!(error.retry_after_seconds.is_some_and(|seconds| (1..=30).contains(&seconds)));
    assert_eq!(double.count("GET", "applications/web"), 1);
}

#[tokio::test]
async fn an_operation_that_nobody_takes_up_is_one_story() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| {
        state.stands_still = true;
        state.app["operation"] = json!({ "sync": {} });
        state.app["status"]["operationState"] = Value::Null;
    });
    let app = json!({ "app": "web" });
    let status = good(&connector, "get_argocd_app_status", app.clone()).await;
    assert!(status["verdict"].as_str().unwrap().ends_with("an operation waits for Argo CD's controller"), "{status}");
    let waited = good(&connector, "wait_argocd_app", json!({ "app": "web", "timeout_seconds": 1 })).await;
    assert!(waited["hints"][0].as_str().unwrap().contains("controller"), "{waited}");
    for tool in ["sync_argocd_app", "terminate_argocd_operation"] {
        for error in [
            connector.call(tool, app.clone()).await.unwrap_err(),
            connector.preview(tool, app.clone()).await.unwrap_err(),
        ] {
            assert_eq!(error.code, ErrorCode::Conflict);
            assert!(error.message.contains("controller has not taken it up"), "{tool}: {error:?}");
        }
    }
    assert_eq!(double.count("DELETE", "applications/web/operation"), 0);
    // An attempt that failed is no end.
    double.change(|state| {
        state.app["status"]["operationState"] = json!({ "phase": "Running", "retryCount": 2, "operation": {},
            "finishedAt": "2026-01-03T00:00:05Z", "message": "Retrying attempt #3 at 12:00AM." });
    });
    let status = good(&connector, "get_argocd_app_status", app.clone()).await;
    assert_eq!((&status["operation"]["failed_attempts"], status["operation"].get("finished_at")), (&json!(2), None));
    assert!(status["verdict"].as_str().unwrap().contains("tried again after it failed"), "{status}");
    // A state that says it runs, which nobody carries on, stands in nobody's way.
    double.change(|state| {
        state.app["operation"] = Value::Null;
        state.app["status"]["operationState"] = json!({ "phase": "Running", "operation": {} });
    });
    let status = good(&connector, "get_argocd_app_status", app.clone()).await;
    assert!(status["operation"]["message"].as_str().unwrap().contains("nobody carries it on"), "{status}");
    good(&connector, "sync_argocd_app", app).await;
}

#[tokio::test]
async fn a_refresh_that_hangs_is_asked_for_once_and_stops_nobody() {
    let double = Double::start().await;
    let mut connector = with_token(&double.uri());
    connector.patience = Duration::from_secs(6);
    double.change(|state| state.hangs = true);
    let calls = (0..7).map(|_| connector.call("refresh_argocd_app", json!({ "app": "web" })));
    let all = futures::future::join_all(calls);
    let plain = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        good(&connector, "list_argocd_apps", json!({})).await
    };
    let (answers, _) = tokio::join!(all, plain);
    for one in answers {
        let one = one.unwrap();
        assert_eq!((&one["refreshed"], &one["app"]), (&json!(false), &json!("web")));
        let hint = one["hints"][0].as_str().unwrap();
        assert!(hint.contains("controller") || hint.contains("on their way"), "{hint}");
    }
    // One for each that got a place, and a plain look of each.
    assert_eq!(double.count("GET", "applications/web"), 3 + 7);
    double.change(|state| state.hangs = false);
    assert_eq!(good(&connector, "refresh_argocd_app", json!({ "app": "web" })).await["refreshed"], true);
}

#[tokio::test]
async fn what_lies_deep_is_looked_at() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let node = |kind: &str, name: &str, parent: Option<(&str, &str)>, health: Option<&str>| {
        let parents: Vec<_> =
            parent.iter().map(|(kind, name)| json!({ "kind": kind, "namespace": "shop", "name": name })).collect();
        json!({ "kind": kind, "namespace": "shop", "name": name, "version": "v1", "uid": name, "parentRefs": parents,
                "health": health.map(|status| json!({ "status": status })) })
    };
    let nodes = |deepest: &str| {
        json!({ "nodes": [
            node("A", "a", None, Some("Healthy")),
            node("B", "b", Some(("A", "a")), None),
            node("C", "c", Some(("B", "b")), Some("Healthy")),
            node("D", "d", Some(("C", "c")), None),
            node("Pod", "e", Some(("D", "d")), Some(deepest)),
            // Each other's parents.
            node("X", "x", Some(("Y", "y")), Some(deepest)),
            node("Y", "y", Some(("X", "x")), None),
        ]})
    };
    let call = json!({ "app": "web", "unhealthy_only": true });
    double.want("applications/web/resource-tree", 200, nodes("Degraded"));
    let tree = good(&connector, "get_argocd_resource_tree", call.clone()).await;
    let names: Vec<_> = tree["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e", "x"]);
    let shallow = good(&connector, "get_argocd_resource_tree", json!({ "app": "web" })).await;
    assert_eq!(shallow["hints"], json!(["4 resources lie deeper than depth, of which 2 are unhealthy"]));
    double.want("applications/web/resource-tree", 200, nodes("Healthy"));
    let tree = good(&connector, "get_argocd_resource_tree", call).await;
    assert_eq!(
        tree["hints"],
        json!([
            "none of the 4 resources whose health Argo CD judges is unhealthy; the other 3 have no health in Argo CD"
        ])
    );
}

#[tokio::test]
async fn lines_that_came_are_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let logs = good(&connector, "get_argocd_logs", json!({ "app": "web", "pod": "gone" })).await;
    assert_eq!((logs["lines"].as_array().unwrap().len(), &logs["lines"][1]["text"]), (2, &json!("two")));
    assert!(
        logs["hints"][0].as_str().unwrap().contains("the log of a container is not where Kubernetes keeps it"),
        "{logs}"
    );
    let logs = good(&connector, "get_argocd_logs", json!({ "app": "web", "pod": "large", "tail": 1000 })).await;
    let lines = logs["lines"].as_array().unwrap();
    assert!(lines.last().unwrap()["text"].as_str().unwrap().starts_with("4999 "), "{logs}");
    assert_eq!(logs["truncated"], true);
    assert!(logs["hints"][0].as_str().unwrap().contains("a smaller tail"), "{logs}");
}

/// As many applications as make their specs larger than what is read of one answer.
fn many(count: usize) -> Vec<Value> {
    let one = |number: usize| {
        let mut app = super::double::app();
        app["metadata"]["name"] = json!(format!("shop-{number:04}"));
        app["spec"]["source"]["helm"]["values"] = json!("replicas: 2\n".repeat(700));
        app["spec"]["destination"]["namespace"] = json!(format!("shop-{}", number % 100));
        app["status"]["health"]["status"] = json!(if number.is_multiple_of(700) { "Degraded" } else { "Healthy" });
        app
    };
    (0..count).map(one).collect()
}

#[tokio::test]
async fn a_list_is_answered_however_large_its_specs_are() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| {
        state.app["status"]["health"]["status"] = json!("Healthy");
        state.others = many(1_400);
    });
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|app| app["name"].as_str().unwrap().to_owned()).collect()
    };
    let bad = good(&connector, "list_argocd_apps", json!({ "health_status": "Degraded" })).await;
    assert_eq!(names(&bad), ["shop-0000", "shop-0700"]);
    assert_eq!((&bad["items"][0]["repo_url"], bad.get("hints")), (&json!("https://git.example.com/web.git"), None));
    let page = good(&connector, "list_argocd_apps", json!({})).await;
    assert_eq!(names(&page).len(), 50);
    assert!(page["items"].as_array().unwrap().iter().all(|app| app["project"] == "team"), "{page}");
    // More than can be asked for one by one: names and states are told, and that the rest is not.
    let large = good(&connector, "list_argocd_apps", json!({ "limit": 500 })).await;
    assert_eq!(names(&large).len(), 500);
    assert!(large["hints"].to_string().contains("of 450 not all is answered"), "{}", large["hints"]);
    assert_eq!(large["items"][499].get("auto_sync"), None);

    // Where they deploy to stands in the spec: a part is looked through at a time, and nothing is left out.
    let mut found = Vec::new();
    let mut arguments = json!({ "namespace": "shop-7", "name_contains": "shop-00" });
    loop {
        let page = good(&connector, "list_argocd_apps", arguments.clone()).await;
        found.extend(names(&page));
        let Some(next) = page.get("next_cursor") else { break };
        arguments["cursor"] = next.clone();
    }
    assert_eq!(found, ["shop-0007"]);
    // A newer Argo CD tells it without the spec.
    double.change(|state| state.is_new = true);
    let before = double.total();
    let page = good(&connector, "list_argocd_apps", json!({ "namespace": "shop-7" })).await;
    assert_eq!((names(&page).len(), double.total() - before), (14, 1 + 14));
}

#[tokio::test]
async fn a_cluster_is_written_one_way_and_found_by_both_its_names() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let server = "https://0A1B2C3D.gr7.eu-west-1.eks.amazonaws.com";
    double.want(
        "clusters",
        200,
        json!({ "items": [{ "server": server, "name": "prod" }, { "server": "https://x", "name": "y" }] }),
    );
    for destination in
        [json!({ "server": server, "namespace": "shop" }), json!({ "name": "prod", "namespace": "shop" })]
    {
        double.change(|state| state.app["spec"]["destination"] = destination.clone());
        for (cluster, count) in
            [(server, 1), ("prod", 1), ("https://0a1b2c3d.gr7.eu-west-1.eks.amazonaws.com/", 1), ("y", 0)]
        {
            let page = good(&connector, "list_argocd_apps", json!({ "cluster": cluster })).await;
            assert_eq!(page["items"].as_array().unwrap().len(), count, "{destination} {cluster}");
        }
    }
    double.change(|state| state.app["spec"]["destination"] = json!({ "server": server }));
    double.fail("clusters", 403, 7, "permission denied: clusters, get, *, sub: mcp");
    let page = good(&connector, "list_argocd_apps", json!({ "cluster": "prod" })).await;
    assert!(page["hints"][0].as_str().unwrap().starts_with("clusters can't be read"), "{page}");
    let page = good(&connector, "list_argocd_apps", json!({ "cluster": server })).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    double.want("clusters", 200, json!({ "items": [{ "server": server, "name": "prod" }] }));
    let apps = good(&connector, "list_argocd_apps", json!({})).await;
    let clusters = good(&connector, "list_argocd_clusters", json!({})).await;
    assert_eq!(
        (&apps["items"][0]["destination_cluster"], &clusters["items"][0]["server"]),
        (&json!(server), &json!(server))
    );
}

#[tokio::test]
async fn a_source_hydrator_is_a_source() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| {
        state.app["spec"]["source"] = Value::Null;
        state.app["spec"]["sourceHydrator"] = json!({
            "drySource": { "repoURL": "https://git.example.com/dry.git", "path": "charts/shop", "targetRevision": "main" },
            "syncSource": { "targetBranch": "env/prod", "path": "shop" },
            "hydrateTo": { "targetBranch": "env/prod-next" },
        });
        state.app["status"]["sourceHydrator"] = json!({ "currentOperation": { "phase": "Failed", "message": "no push" } });
    });
    let status = good(&connector, "get_argocd_app_status", json!({ "app": "web" })).await;
    assert_eq!(
        status["sources"],
        json!([{ "repo_url": "https://git.example.com/dry.git", "path": "charts/shop", "target_revision": "main",
                 "hydrated": { "branch": "env/prod", "path": "shop", "written_to": "env/prod-next" } }])
    );
    assert!(status["hints"][0].as_str().unwrap().ends_with("no push"), "{status}");
    let listed = &good(&connector, "list_argocd_apps", json!({})).await["items"][0];
    assert_eq!(
        (&listed["repo_url"], &listed["target_revision"]),
        (&json!("https://git.example.com/dry.git"), &json!("env/prod"))
    );
}

#[tokio::test]
async fn a_revision_is_told_by_what_its_source_is() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let ask = async |revision: &str| {
        good(&connector, "get_argocd_revision_metadata", json!({ "app": "web", "revision": revision })).await
    };
    assert_eq!(ask("abc1234").await["of"], "git");
    let chart = json!({ "repoURL": "https://charts.example.com", "chart": "shop", "targetRevision": "1.*" });
    double.change(|state| state.app["spec"]["source"] = chart.clone());
    let found = ask("1.4.2").await;
    assert_eq!(
        (&found["of"], &found["author"], &found["description"]),
        (&json!("chart"), &json!("Ann, Ben"), &json!("The shop"))
    );
    double.change(|state| state.app["spec"]["source"] = json!({ "repoURL": "oci://registry.example.com/shop" }));
    assert_eq!(ask("sha256:aaaa").await["of"], "oci");
    // Of several sources, the one that has the revision.
    double.change(|state| {
        state.app["spec"]["sources"] = json!([chart, { "repoURL": "https://git.example.com/values.git" }]);
        state.app["status"]["sync"]["revisions"] = json!(["1.4.2", "bbbbbbb"]);
    });
    assert_eq!(ask("bbbbbbb").await["of"], "git");
    assert_eq!(ask("1.4.2").await["of"], "chart");
    // And of a past deployment, the source that it had.
    double.change(|state| {
        state.app["status"]["history"][1]["revision"] = json!("0.9.0");
        state.app["status"]["history"][1]["source"] = json!({ "repoURL": "https://old.example.com", "chart": "old" });
        state.app["spec"]["sources"] = Value::Null;
        state.app["spec"]["source"] = json!({ "repoURL": "https://git.example.com/web.git" });
    });
    assert_eq!(ask("0.9.0").await["of"], "chart");
}

#[tokio::test]
async fn an_application_that_was_just_made_is_told_as_such() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.change(|state| {
        state.app["status"] = json!({ "sync": { "status": "" }, "health": {}, "history": [{ "id": 3, "revision": "", "source": { "repoURL": "" } }] });
    });
    let status = good(&connector, "get_argocd_app_status", json!({ "app": "web" })).await;
    assert!(status["verdict"].as_str().unwrap().starts_with("it was not compared with Git yet"), "{status}");
    let refused = connector.preview("rollback_argocd_app", json!({ "app": "web", "history_id": 3 })).await.unwrap_err();
    assert!(refused.message.contains("not written down where"), "{refused:?}");
}

#[tokio::test]
async fn health_is_found_where_argocd_keeps_it() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    // As 3.0 and later answer where their API server could not fill it in (argoproj/argo-cd#24832).
    double.change(|state| {
        state.app["status"]["resourceHealthSource"] = json!("appTree");
        for resource in state.app["status"]["resources"].as_array_mut().unwrap() {
            resource["health"] = Value::Null;
        }
    });
    let unhealthy = json!({ "app": "web", "unhealthy_only": true });
    let found = good(&connector, "get_argocd_app_resources", unhealthy.clone()).await;
    assert_eq!(
        (&found["items"][0]["kind"], &found["items"][0]["health"]["status"]),
        (&json!("Deployment"), &json!("Degraded"))
    );
    assert_eq!(found["hints"], json!(["1 of its resources have no health in Argo CD, which judges some kinds only"]));
    double.fail(
        "applications/web/resource-tree",
        500,
        2,
        "error getting cached app resource tree: cache: key is missing",
    );
    let unknown = good(&connector, "get_argocd_app_resources", unhealthy).await;
    assert!(unknown["hints"][0].as_str().unwrap().starts_with("the health of its resources is not known"), "{unknown}");

    // What nobody has created is missing, though the tree says nothing of its health.
    let node = json!({ "kind": "ConfigMap", "namespace": "shop", "name": "gone", "version": "v1" });
    double.want("applications/web/resource-tree", 200, json!({ "nodes": [node] }));
    let tree = good(&connector, "get_argocd_resource_tree", json!({ "app": "web", "unhealthy_only": true })).await;
    assert_eq!(tree["nodes"][0]["health"]["status"], "Missing");
}
