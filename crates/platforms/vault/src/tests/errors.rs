//! The table of errors: what Vault answers to a call, and what the agent is told.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Double, TOKEN, connect};
use platform_testing::Connected;
use tools::ErrorCode::{
    self, Conflict, CredentialsUnavailable, DeadlineExceeded, InvalidArgument, NotFound, PermissionDenied,
    PlatformError, PlatformUnavailable, RateLimited,
};

const READ: &str = "secret/data/apps/web";

fn spec() -> Value {
    json!({ "releaseValues": [{ "path": "secret/apps/*", "keys": ["a"] }] })
}

/// Status, body, and the code and a part of the message that come of them.
type Row = (u16, Option<Value>, ErrorCode, &'static str);

#[tokio::test]
async fn every_answer_has_its_words() {
    let says = |text: &str| Some(json!({ "errors": [text, "planted"] }));
    let gone = |destroyed: bool, deleted: &str| {
        let metadata = json!({ "version": 3, "created_time": "t", "deletion_time": deleted, "destroyed": destroyed });
        Some(json!({ "data": { "data": null, "metadata": metadata }, "planted": "planted" }))
    };
    let table: Vec<Row> = vec![
        (400, None, InvalidArgument, "Vault calls the request invalid"),
        (400, says("check-and-set parameter did not match the current version"), Conflict, "has changed since"),
        (400, says("check-and-set parameter required for this call"), Conflict, "demands check-and-set"),
        (400, says("invalid lease"), NotFound, "no such lease"),
        (400, says("lease is not renewable"), Conflict, "can't be renewed"),
        (403, None, PermissionDenied, "may not read secret/data/apps/web"),
        (404, None, NotFound, "no secret at apps/web in the mount secret (KV version 2)"),
        (404, gone(false, "2020-01-01T00:00:00Z"), NotFound, "version 3 of the secret was deleted at 2020-01-01"),
        (404, gone(true, ""), NotFound, "version 3 of the secret is destroyed"),
        (405, None, InvalidArgument, "does not support"),
        (412, None, PlatformUnavailable, "not replicated"),
        (413, None, InvalidArgument, "too large"),
        (423, None, PlatformUnavailable, "locked"),
        (429, None, RateLimited, "quota"),
        (472, None, PlatformUnavailable, "disaster recovery"),
        (500, None, PlatformError, "status 500"),
        (501, None, PlatformUnavailable, "not initialised"),
        (502, None, PlatformError, "behind this secret engine"),
        (503, says("Vault is sealed"), PlatformUnavailable, "Vault is sealed"),
        (503, None, PlatformUnavailable, "maintained"),
        (418, None, PlatformError, "status 418"),
        (502, Some(json!("<html>planted</html>")), PlatformError, "does not answer as the API of Vault"),
        (503, Some(json!("<html>planted</html>")), PlatformError, "does not answer as the API of Vault"),
        (200, Some(json!("planted")), PlatformError, "does not answer as the API of Vault"),
        (200, Some(json!({ "data": ["planted"] })), PlatformError, "can't read, at data"),
        (200, Some(json!({ "auth": "planted" })), PlatformError, "can't read, at data"),
        (204, None, PlatformError, "can't read, at data"),
    ];
    for (status, body, code, part) in table {
        let double = Double::start().await;
        double.want(READ, status, body);
        let connector = connect(&double.uri(), Some(TOKEN), &spec());
        let error =
            connector.call("read_vault_secret", json!({ "path": "secret/apps/web", "key": "a" })).await.unwrap_err();
        assert_eq!(error.code, code, "{status}: {error:?}");
        assert!(error.message.contains(part), "{status}: {error:?}");
        assert_eq!(error.retry_after_seconds.is_some(), status == 412, "{status}: {error:?}");
    }
}

#[tokio::test]
async fn a_policy_that_comes_later_is_noticed() {
    let double = Double::start().await;
    double.hide_mounts();
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    let list = || connector.call("list_vault_secrets", json!({ "path": "secret/apps" }));
    assert_eq!(list().await.unwrap_err().code, PermissionDenied);
    double.show_mounts();
    // Longer than the list of mounts is believed when it lacks one.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    list().await.unwrap();
}

#[tokio::test]
async fn a_wait_that_vault_states_is_passed_on() {
    let double = Double::start().await;
    double.want_with(READ, 429, &[("retry-after", "7")], None);
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    let error =
        connector.call("read_vault_secret", json!({ "path": "secret/apps/web", "key": "a" })).await.unwrap_err();
    assert_eq!(error.retry_after_seconds, Some(7));
}

#[tokio::test]
async fn redirects_are_followed_to_the_same_resource_only() {
    let (double, other) = (Double::start().await, Double::start().await);
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    let elsewhere = format!("{}/v1/{READ}", other.uri());
    for (location, part) in [(elsewhere.as_str(), "redirect to another host"), ("/v1/secret/data/other", "a redirect")]
    {
        double.want_with(READ, 307, &[("location", location)], None);
        let error =
            connector.call("read_vault_secret", json!({ "path": "secret/apps/web", "key": "a" })).await.unwrap_err();
        assert_eq!(error.code, PlatformError);
        assert!(error.message.contains(part), "{error:?}");
    }
    assert_eq!((other.total(), double.count("secret/data/other")), (0, 0));
}

#[tokio::test]
async fn no_server_and_no_credentials_are_told() {
    let connector = connect("http://127.0.0.1:1", None, &json!({}));
    for name in connector.tools.keys() {
        if *name == "get_vault_health" {
            continue;
        }
        let arguments = arguments(name);
        let error = connector.call(name, arguments).await.unwrap_err();
        assert_eq!(error.code, CredentialsUnavailable, "{name}: {error:?}");
        assert!(error.remedy.is_some(), "{name}");
    }
    let connector = connect("http://127.0.0.1:1", Some(TOKEN), &json!({}));
    for name in connector.tools.keys() {
        let error = connector.call(name, arguments(name)).await.unwrap_err();
        assert_eq!(error.code, PlatformUnavailable, "{name}: {error:?}");
    }
}

/// Every tool, with every call failing in every way, gives out nothing that was planted.
#[tokio::test]
async fn no_tool_passes_anything_on() {
    for status in [400, 403, 404, 429, 500, 503] {
        for token in [TOKEN, "planted-bad-token"] {
            let double = Double::start().await;
            for path in ["sys/health", "auth/token/lookup-self", "sys/auth", READ, "secret/subkeys/apps/web"] {
                if path != "auth/token/lookup-self" || status != 403 {
                    double.want(path, status, None);
                }
            }
            let connector = connect(&double.uri(), Some(token), &spec());
            // Known to be refused after the first call, so that no other waits for newer credentials.
            for name in connector.tools.keys() {
                let _outcome = connector.call(name, arguments(name)).await;
            }
            connector.probe().await;
        }
    }
}

#[tokio::test]
async fn a_slow_answer_ends_with_the_deadline() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connector = connect(&url, Some(TOKEN), &json!({}));
    let error = connector.call("get_vault_health", json!({})).await.unwrap_err();
    assert_eq!(error.code, DeadlineExceeded);
    let report = Connected { patience: Duration::from_millis(200), ..connector }.probe().await;
    assert_eq!((report.reason.as_str(), report.passing), ("Timeout", true));
}

fn arguments(name: &str) -> Value {
    (super::subject().calls)().into_iter().find(|(tool, _)| *tool == name).unwrap().1
}
