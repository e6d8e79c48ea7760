//! What agents are told when Argo CD says no.

use serde_json::json;

use super::{connect, double::Double, with_token};
use tools::ErrorCode::{
    self, Conflict, CredentialsUnavailable, InvalidArgument, NotFound, PermissionDenied, PlatformError,
    PlatformUnavailable, RateLimited,
};

#[tokio::test]
async fn each_answer_has_its_words() {
    let table: &[(u16, i64, &str, ErrorCode, &str)] = &[
        (400, 9, "another operation is already in progress", Conflict, "another operation runs"),
        (400, 9, "application is deleting", Conflict, "being deleted"),
        (400, 9, "Cannot sync to x: auto-sync currently set to y", Conflict, "auto-sync"),
        (400, 3, "application web does not have deployment with id 3", InvalidArgument, "no deployment with this id"),
        (400, 9, "error resolving repo revision: rpc error", InvalidArgument, "resolve the revision"),
        (400, 3, "something else", PlatformError, "for a cause that is not known here"),
        (
            400,
            3,
            "app is not allowed in project \"x\", or the project does not exist",
            Conflict,
            "project is not there",
        ),
        (400, 9, "Failed to unmarshal \"x.yaml\"", PlatformError, "manifests can't be rendered"),
        (403, 7, "cannot sync: blocked by sync window", Conflict, "sync window"),
        (
            403,
            7,
            "permission denied: applications, sync, team/web, sub: mcp",
            PermissionDenied,
            "may not sync the application",
        ),
        (403, 7, "pods \"web\" is forbidden: User \"system\"", PermissionDenied, "Kubernetes does not let Argo CD"),
        (
            401,
            16,
            "the server has asked for the client to provide credentials",
            PlatformError,
            "does not accept Argo CD's",
        ),
        (409, 10, "the object has been modified", Conflict, "somebody else changed"),
        (500, 13, "Failed to update application. Too many conflicts", Conflict, "somebody else changed"),
        (500, 2, "there are no clusters with this name: x", Conflict, "destination names a cluster"),
        (
            400,
            3,
            "application spec for web is invalid: InvalidSpecError: repository not accessible: x",
            PlatformError,
            "reach the",
        ),
        (500, 2, "ComparisonError: failed to load", Conflict, "could not compare"),
        (404, 5, "not found", NotFound, "no such object"),
        (429, 8, "slow down", RateLimited, "limits calls"),
        (500, 2, "failed to list refs: repository not found", PlatformError, "the repository can't be read"),
        (500, 2, "rpc error: context deadline exceeded", PlatformError, "took too long"),
        (500, 2, "unable to resolve 'wip' to a commit SHA", InvalidArgument, "resolve the revision"),
        (500, 13, "boom", PlatformError, "for a cause that is not known here"),
        (501, 12, "unknown method", PlatformError, "does not have the function"),
        (503, 14, "connection refused", PlatformUnavailable, "503"),
    ];
    for (status, code, message, expected, words) in table {
        let double = Double::start().await;
        let connector = with_token(&double.uri());
        double.fail("applications/web/sync", *status, *code, message);
        let error = connector.call("sync_argocd_app", json!({ "app": "web", "project": "team" })).await.unwrap_err();
        assert_eq!(error.code, *expected, "{message}: {error:?}");
        assert!(error.message.contains(words), "{message}: {error:?}");
        assert_eq!(double.count("POST", "applications/web/sync"), 1, "{message}");
    }
}

#[tokio::test]
async fn a_missing_application_is_told_from_a_forbidden_one() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let missing = connector.call("get_argocd_app_status", json!({ "app": "wep" })).await.unwrap_err();
    assert_eq!((missing.code, missing.platform_words), (NotFound, Some(vec!["web".to_owned()])));
    let with_project = json!({ "app": "wep", "project": "team" });
    assert_eq!(connector.call("get_argocd_app_status", with_project).await.unwrap_err().code, NotFound);
    double.fail("applications/web/logs", 403, 7, "permission denied");
    let forbidden = connector.call("get_argocd_logs", json!({ "app": "web", "pod": "web-1" })).await.unwrap_err();
    assert_eq!(forbidden.code, PermissionDenied);
    assert!(forbidden.remedy.unwrap().contains("logs, get"));
}

#[tokio::test]
async fn a_login_page_is_known_as_one() {
    let double = Double::start().await;
    double.page("applications/web", 200);
    let error = with_token(&double.uri()).call("get_argocd_app_status", json!({ "app": "web" })).await.unwrap_err();
    assert!(error.message.contains("does not answer as the API of Argo CD"), "{}", error.message);
    // A path that is missing in the URL gives Argo CD's own pages.
    let elsewhere = connect(&format!("{}/argocd", double.uri()), &[("token", super::TOKEN)], &json!({}));
    assert_eq!(elsewhere.probe().await.reason, "NotArgoCD");
}

#[tokio::test]
async fn a_newer_token_is_taken_when_one_is_refused() {
    let double = Double::start().await;
    let mut connector = connect(&double.uri(), &[("token", "a.b.planted-old")], &json!({}));
    let call = connector.call("get_argocd_app_status", json!({ "app": "web" }));
    let rotate = connector.mount_when_asked(2, &[("token", super::TOKEN)]);
    let (answer, ()) = tokio::join!(call, rotate);
    assert_eq!(answer.unwrap()["name"], "web");
    assert_eq!(*connector.reread.borrow_and_update(), 1);
    connector.mount(3, &[("token", "a.b.planted-bad")]);
    let error = connector.call("get_argocd_app_status", json!({ "app": "web" })).await.unwrap_err();
    assert_eq!(error.code, CredentialsUnavailable);
}

#[tokio::test]
async fn what_a_mesh_refuses_is_not_said_of_argocd() {
    for (status, body) in
        [(401, json!({})), (403, json!({})), (404, json!({ "message": "no Route matched with those values" }))]
    {
        let double = Double::start().await;
        double.want("projects", status, body);
        let connector = with_token(&double.uri());
        let error = connector.call("list_argocd_projects", json!({})).await.unwrap_err();
        assert_eq!(error.code, PlatformError, "{status}: {error:?}");
        assert!(error.message.contains(&format!("answers with status {status}")), "{error:?}");
        assert_eq!(connector.probe().await.reason, "Healthy", "{status}");
    }
}

#[tokio::test]
async fn a_route_that_is_not_there_is_told_from_a_name_that_makes_none() {
    let double = Double::start().await;
    // As the gateway answers both (seen of 3.2.11).
    double.text("projects", 404, "Not Found\n");
    let connector = with_token(&double.uri());
    let error = connector.call("get_argocd_app_status", json!({ "app": "a/b" })).await.unwrap_err();
    assert_eq!(error.code, NotFound, "{error:?}");
    // A name is never sent as a path.
    for (tool, arguments) in [
        ("get_argocd_app_status", json!({ "app": "web/resource-tree/x" })),
        ("get_argocd_project", json!({ "name": "team/detailed" })),
        ("get_argocd_revision_metadata", json!({ "app": "web", "revision": "release/1.2" })),
    ] {
        let before = double.total();
        let error = connector.call(tool, arguments).await.unwrap_err();
        assert_eq!((error.code, double.total()), (InvalidArgument, before), "{error:?}");
    }
    let error = connector.call("list_argocd_projects", json!({})).await.unwrap_err();
    assert!(error.message.contains("does not have the function"), "{error:?}");
}

#[tokio::test]
async fn an_object_is_the_one_that_was_asked_for_or_none() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let bodies =
        [json!({}), json!({ "nodes": [] }), json!({ "metadata": { "name": "other" } }), json!({ "project": {} })];
    for body in bodies {
        for (path, tool, arguments) in [
            ("applications/web", "get_argocd_app_status", json!({ "app": "web" })),
            ("projects/team", "get_argocd_project", json!({ "name": "team" })),
            ("applicationsets/all", "get_argocd_appset", json!({ "name": "all" })),
            ("applicationsets/all", "preview_argocd_appset", json!({ "name": "all" })),
        ] {
            double.want(path, 200, body.clone());
            let error = connector.call(tool, arguments).await.unwrap_err();
            let place = error.platform_words.as_deref().unwrap_or_default().concat();
            assert!(place.contains("metadata.name"), "{tool} {body}: {place}: {}", error.message);
        }
    }
}

#[tokio::test]
async fn every_namespace_that_has_the_name_is_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let mut there = Vec::new();
    for namespace in ["team-a", "team-b"] {
        let mut app = super::double::app();
        app["metadata"] = json!({ "name": "shop", "namespace": namespace });
        there.push(app);
    }
    double.change(|state| state.others = there);
    let status = async |arguments: serde_json::Value| connector.call("get_argocd_app_status", arguments).await;
    let plain = status(json!({ "app": "shop" })).await.unwrap_err();
    assert_eq!(plain.argument.as_deref(), Some("app_namespace"));
    let both = Some(vec!["team-a".to_owned(), "team-b".to_owned()]);
    assert_eq!(plain.platform_words, both, "{plain:?}");
    let wrong = status(json!({ "app": "shop", "app_namespace": "team-c" })).await.unwrap_err();
    assert_eq!((wrong.code, wrong.argument.as_deref()), (NotFound, Some("app_namespace")));
    assert_eq!(wrong.platform_words, both);
    for named in ["team-b/shop", "https://argocd.example.com/argocd/applications/team-b/shop?view=tree"] {
        assert_eq!(status(json!({ "app": named })).await.unwrap()["namespace"], "team-b", "{named}");
    }
    // Who could read it knows where it is.
    double.fail("applications/web/sync", 403, 7, "permission denied");
    let denied = connector.call("sync_argocd_app", json!({ "app": "web" })).await.unwrap_err();
    assert_eq!((denied.code, denied.argument), (PermissionDenied, None));
}

#[tokio::test]
async fn the_right_that_the_answer_names_is_told() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    double.fail("applications/web/sync", 403, 7, "permission denied: applications, override, team/web, sub: mcp,");
    let error = connector.call("sync_argocd_app", json!({ "app": "web", "revision": "v1" })).await.unwrap_err();
    assert!(error.remedy.unwrap().ends_with("must give it: applications, override"));
}

#[tokio::test]
async fn arguments_that_argocd_answers_with_500_are_named() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    for (tool, arguments, argument) in [
        ("list_argocd_apps", json!({ "selector": "team=a AND tier=b" }), "selector"),
        (
            "get_argocd_revision_metadata",
            json!({ "app": "web", "revision": "abc1234", "source_index": 3 }),
            "source_index",
        ),
        ("get_argocd_revision_metadata", json!({ "app": "web", "revision": "main" }), "revision"),
    ] {
        let error = connector.call(tool, arguments).await.unwrap_err();
        assert_eq!((error.code, error.argument.as_deref()), (InvalidArgument, Some(argument)), "{error:?}");
    }
}
