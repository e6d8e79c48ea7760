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

/// What a request is answered with that a control group holds up (`respondLogical` in `http/logical.go`).
fn wrapped() -> Value {
    let info = json!({ "token": "planted-wrapping-token", "accessor": "planted", "ttl": 86_400, "creation_path": READ,
                       "creation_time": "2026-01-01T00:00:00Z", "wrapped_accessor": "" });
    json!({ "request_id": "", "lease_id": "", "renewable": false, "lease_duration": 0, "data": null, "wrap_info": info,
            "warnings": null, "auth": null })
}

/// Status, body, and the code and a part of the message that come of them.
type Row = (u16, Option<Value>, ErrorCode, &'static str);

#[tokio::test]
async fn every_answer_has_its_words() {
    let says = |text: &str| Some(json!({ "errors": [text, "planted"] }));
    let gone = |destroyed: bool, deleted: &str| {
        let metadata = json!({ "version": 3, "created_time": "t", "deletion_time": deleted, "destroyed": destroyed });
        Some(json!({ "request_id": "r", "data": { "data": null, "metadata": metadata }, "planted": "planted" }))
    };
    let table: Vec<Row> = vec![
        (400, None, PlatformError, "why is not known"),
        (
            400,
            says("Upgrading from non-versioned to versioned data. This backend will"),
            PlatformUnavailable,
            "upgraded",
        ),
        (400, says("Waiting for the primary to upgrade from non-versioned to"), PlatformUnavailable, "upgraded"),
        (400, says("1 error occurred:\n\t* relative paths not supported\n\n"), InvalidArgument, "way out of it"),
        (400, says("operation unavailable in namespaces"), PermissionDenied, "root namespace"),
        (400, says("missing client token"), PlatformError, "X-Vault-Token"),
        (
            400,
            says("error performing token check: failed to persist lease entry: cannot write to readonly storage"),
            PlatformUnavailable,
            "not replicated",
        ),
        (400, says("lease is expired and has failed previous revocation attempts"), Conflict, "has ended"),
        (404, says("namespace not found"), PlatformError, "no such namespace"),
        (429, says("request path \"x\": lease count quota exceeded"), PlatformUnavailable, "makes no more leases"),
        (200, Some(wrapped()), PermissionDenied, "somebody's approval"),
        (400, says("failed to revoke entry: resp: (*logical.Response)(nil) err: x"), PlatformError, "still work"),
        (500, says("failed to revoke entry: resp: (*logical.Response)(nil) err: x"), PlatformError, "still work"),
        (404, says("no handler for route \"x\". route entry not found."), NotFound, "no engine"),
        (400, says("check-and-set parameter did not match the current version"), Conflict, "has changed since"),
        (400, says("check-and-set parameter required for this call"), Conflict, "demands check-and-set"),
        (400, says("invalid lease"), NotFound, "no such lease"),
        (400, says("lease is not renewable"), Conflict, "can't be renewed"),
        (400, says("tokens cannot be renewed through this endpoint"), Conflict, "can't be renewed"),
        (403, None, PermissionDenied, "refuses to read secret/data/apps/web (403), though the policies"),
        (403, says("2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"), PermissionDenied, "though"),
        (404, None, NotFound, "no secret at apps/web in the mount secret (KV version 2)"),
        (404, gone(false, "2020-01-01T00:00:00Z"), NotFound, "version 3 of the secret was deleted at 2020-01-01"),
        (404, gone(true, ""), NotFound, "version 3 of the secret is destroyed"),
        (405, None, InvalidArgument, "does not support"),
        (412, None, PlatformUnavailable, "not replicated"),
        (413, None, InvalidArgument, "too large"),
        (423, None, PlatformUnavailable, "locked"),
        (429, None, RateLimited, "quota"),
        (472, None, PlatformUnavailable, "disaster recovery"),
        (500, None, PlatformError, "(status 500), and why is not known"),
        (500, says("could not find version data"), PlatformError, "lost its content"),
        (500, says("local node not active but active cluster node not found"), PlatformUnavailable, "no active node"),
        (503, says("no active Vault instance found"), PlatformUnavailable, "no active node"),
        (503, says("namespace is sealed"), PlatformUnavailable, "namespace of Vault is sealed"),
        (503, says("API access to this namespace has been locked by an administrator"), PlatformUnavailable, "locked"),
        (503, says("active context and overloaded, try again later"), PlatformUnavailable, "overloaded"),
        (501, None, PlatformUnavailable, "not initialised"),
        (502, None, PlatformError, "behind this secret engine"),
        (503, says("Vault is sealed"), PlatformUnavailable, "Vault is sealed"),
        (503, None, PlatformUnavailable, "maintained"),
        (418, None, PlatformError, "status 418"),
        (
            502,
            Some(json!("<html>planted</html>")),
            PlatformError,
            "something in front of Vault answers with status 502",
        ),
        (
            503,
            Some(json!("<html>planted</html>")),
            PlatformError,
            "something in front of Vault answers with status 503",
        ),
        (200, Some(json!("planted")), PlatformError, "does not answer as the API of Vault"),
        (200, Some(json!({ "data": ["planted"] })), PlatformError, "connector can't read"),
        (200, Some(json!({ "auth": "planted" })), PlatformError, "connector can't read"),
        (204, None, PlatformError, "connector can't read"),
    ];
    for (status, body, code, part) in table {
        let double = Double::start().await;
        double.want(READ, status, body);
        let connector = connect(&double.uri(), Some(TOKEN), &spec());
        let error =
            connector.call("read_vault_secret", json!({ "path": "secret/apps/web", "key": "a" })).await.unwrap_err();
        assert_eq!(error.code, code, "{status}: {error:?}");
        assert!(error.message.contains(part), "{status}: {error:?}");
        let place = error.platform_words.as_deref().and_then(<[_]>::first).filter(|place| place.starts_with("data"));
        assert_eq!(place.is_some(), part == "connector can't read", "{status}: {error:?}");
        let comes_back =
            ["not replicated", "upgraded", "no active node"].iter().any(|word| error.message.contains(word));
        assert_eq!(error.retry_after_seconds.is_some(), comes_back, "{status}: {error:?}");
    }
}

/// Whatever status it has: an answer without Vault's own form is never Vault's word about a token, a policy or a secret.
#[tokio::test]
async fn what_something_in_front_of_vault_says_is_not_vaults_word() {
    // Envoy's filters, nginx, Kong, an OAuth proxy, a load balancer without a body: `e2e/doubles/ANSWERS.md`.
    let bodies = [
        json!("RBAC: access denied"),
        json!("<html><center>nginx</center></html>"),
        json!({ "message": "no Route matched with those values" }),
        json!({}),
        json!(""),
        json!({ "errors": "planted" }),
        json!({ "errors": [{ "code": 403 }] }),
    ];
    for status in [400, 401, 403, 404, 405, 412, 413, 423, 429, 472, 500, 501, 502, 503, 504] {
        for body in &bodies {
            let double = Double::start().await;
            double.want(READ, status, Some(body.clone()));
            let connector = connect(&double.uri(), Some(TOKEN), &spec());
            let read = json!({ "path": "secret/apps/web", "key": "a" });
            let error = connector.call("read_vault_secret", read).await.unwrap_err();
            let code = if status == 429 { RateLimited } else { PlatformError };
            assert_eq!(error.code, code, "{status} {body}: {error:?}");
            assert!(error.message.starts_with("something in front of Vault"), "{status} {body}: {error:?}");
            // The same at the tools that take 404 for an empty list.
            double.want("secret/metadata/apps", status, Some(body.clone()));
            let error = connector.call("list_vault_secrets", json!({ "path": "secret/apps" })).await.unwrap_err();
            assert_eq!(error.code, code, "{status} {body}: {error:?}");
        }
    }
}

/// Vault's 403 is the same whatever is missing, so it is looked up with `sys/capabilities-self`: terms of a policy
/// (hashicorp/vault#4368, #5856), a capability, and what can't be known.
#[tokio::test]
async fn what_a_403_lacks_is_looked_up() {
    let read = ("read_vault_secret", json!({ "path": "secret/apps/web", "key": "a" }), READ);
    let patch = ("write_vault_secret", json!({ "path": "secret/apps/web", "data": { "a": "b" } }), READ);
    let renew = ("renew_vault_lease", json!({ "lease_id": "database/creds/app/x" }), "sys/leases/renew");
    let delete = ("delete_vault_secret", json!({ "path": "secret/apps/web" }), READ);
    let needs = |path: &str, capability: &str| format!("needs: path {path:?} {{ capabilities = [{capability:?}] }}");
    let terms = "terms there that the call does not meet".to_owned();
    let unknown = "may lack: path".to_owned();
    for ((tool, arguments, path), granted, remedy) in [
        (&read, Some(json!(["deny"])), needs(READ, "read")),
        (&read, Some(json!(["list", "update"])), needs(READ, "read")),
        (&read, Some(json!(["read"])), terms.clone()),
        (&read, Some(json!(["root"])), terms.clone()),
        (&read, None, unknown.clone()),
        (&patch, Some(json!(["create", "update"])), needs(READ, "patch")),
        (&patch, Some(json!(["patch"])), terms.clone()),
        (&renew, Some(json!(["deny"])), needs("sys/leases/renew", "update")),
        (&renew, Some(json!(["update"])), unknown.clone()),
        (&renew, Some(json!(["create", "update"])), terms.clone()),
        (&delete, Some(json!(["read"])), needs(READ, "delete")),
        (&delete, Some(json!(["delete"])), terms.clone()),
    ] {
        let double = Double::start().await;
        double.want(path, 403, Some(json!({ "errors": ["1 error occurred:\n\t* permission denied\n\n", "planted"] })));
        match &granted {
            Some(granted) => double.capabilities(granted.clone()),
            None => double.want("sys/capabilities-self", 403, None),
        }
        let error = connect(&double.uri(), Some(TOKEN), &spec()).call(tool, arguments.clone()).await.unwrap_err();
        assert_eq!(error.code, PermissionDenied, "{tool} {granted:?}: {error:?}");
        assert!(error.remedy.as_ref().unwrap().contains(&remedy), "{tool} {granted:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_proxys_refusal_leaves_the_credentials_as_they_are() {
    for path in ["sys/internal/ui/mounts", "auth/token/lookup-self"] {
        for body in [json!("RBAC: access denied"), json!({ "message": "planted" })] {
            let double = Double::start().await;
            double.want(path, 403, Some(body));
            let report = connect(&double.uri(), Some(TOKEN), &json!({})).probe().await;
            assert_ne!(report.credentials, kit::CredentialVerdict::Rejected, "{path}: {report:?}");
            assert_ne!(report.credentials, kit::CredentialVerdict::PermissionMissing, "{path}: {report:?}");
            assert_eq!(report.status, kit::HealthStatus::Error, "{path}: {report:?}");
            assert!(report.message.contains("something in front of"), "{path}: {report:?}");
        }
    }
}

/// A gateway that answers in Vault's form, and lets no client at `sys/internal`. Vault has no policy for that path.
#[tokio::test]
async fn a_list_of_mounts_that_is_closed_is_told_and_no_policy_is_made_up() {
    let double = Double::start().await;
    double.want("sys/internal/ui/mounts", 403, Some(json!({ "errors": ["permission denied"] })));
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    let error = connector.call("read_vault_secret", json!({ "path": "secret/apps/web" })).await.unwrap_err();
    assert_eq!(error.code, PlatformError, "{error:?}");
    assert!(error.message.contains("sys/internal/ui/mounts"), "{error:?}");
    assert!(!error.remedy.unwrap().contains("capabilities"));
    let report = connector.probe().await;
    assert_eq!((report.status, report.credentials), (kit::HealthStatus::Error, kit::CredentialVerdict::Accepted));
    assert!(report.message.contains("/v1/sys/internal/ui/mounts"), "{report:?}");
}

/// A token of another cluster: its end names a namespace that isn't here (openbao/openbao#297).
#[tokio::test]
async fn a_token_of_another_cluster_is_not_accepted() {
    let double = Double::start().await;
    let text = "error performing token check: failed to look up namespace from the token: no namespace";
    for path in ["sys/internal/ui/mounts", "auth/token/lookup-self", READ] {
        double.want(path, 500, Some(json!({ "errors": [text] })));
    }
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    for (tool, arguments) in
        [("read_vault_secret", json!({ "path": "secret/apps/web" })), ("get_vault_token_info", json!({}))]
    {
        let error = connector.call(tool, arguments).await.unwrap_err();
        assert_eq!(error.code, CredentialsUnavailable, "{error:?}");
    }
    let report = connector.probe().await;
    assert_eq!((report.reason.as_str(), report.credentials), ("TokenInvalid", kit::CredentialVerdict::Rejected));
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

/// A change that waits for approval was not made.
#[tokio::test]
async fn what_a_control_group_holds_up_is_not_told_as_done() {
    for (tool, path) in
        [("write_vault_secret", READ), ("delete_vault_secret", READ), ("renew_vault_lease", "sys/leases/renew")]
    {
        let double = Double::start().await;
        double.want(path, 200, Some(wrapped()));
        let connector = connect(&double.uri(), Some(TOKEN), &spec());
        let (outcome, sent) = outbound::changes::noting(connector.call(tool, arguments(tool))).await;
        assert!(!sent, "{tool}");
        assert!(outcome.unwrap_err().message.contains("has done nothing"), "{tool}");
    }
    // As something between may write it, and on the way to a value.
    let double = Double::start().await;
    double.want(READ, 200, Some(json!(serde_json::to_string_pretty(&wrapped()).unwrap())));
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    let read = connector.call("read_vault_secret", json!({ "path": "secret/apps/web", "key": "a" })).await.unwrap_err();
    assert!(read.message.contains("has done nothing"), "{read:?}");
    // A secret may hold a key of that name.
    let double = Double::start().await;
    let data = json!({ "data": { "wrap_info": { "a": 1 }, "a": "released" }, "metadata": { "version": 1 } });
    double.want(READ, 200, Some(json!({ "request_id": "r", "data": data, "wrap_info": null })));
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    let read = connector.call("read_vault_secret", json!({ "path": "secret/apps/web", "key": "a" })).await.unwrap();
    assert_eq!(read["value"], "released");
}

/// `PrintablePathCheckHandler` answers 400 without a word, before Vault (hashicorp/vault#4917).
#[tokio::test]
async fn a_character_that_cannot_be_seen_is_told() {
    for (name, is_seen) in [("we\u{a0}b", false), ("web\u{200b}", false), ("u\u{308}n\"i'", true), ("日本 x", true)] {
        let double = Double::start().await;
        let mut url = url::Url::parse("http://vault/").unwrap();
        url.path_segments_mut().unwrap().push(name);
        double.want(&format!("secret/metadata/apps{}", url.path()), 400, Some(json!("")));
        let connector = connect(&double.uri(), Some(TOKEN), &spec());
        let path = format!("secret/apps/{name}");
        let error = connector.call("get_vault_secret_metadata", json!({ "path": path })).await.unwrap_err();
        assert_eq!(error.code == InvalidArgument, !is_seen, "{name:?}: {error:?}");
    }
}

/// An address with a path too many, such as `…/v1`: what every Vault has isn't there (seen of 1.21).
#[tokio::test]
async fn an_address_with_a_path_too_many_is_told() {
    let double = Double::start().await;
    double.want("sys/health", 403, Some(json!({ "errors": ["permission denied"] })));
    for path in ["sys/internal/ui/mounts", "auth/token/lookup-self"] {
        let text = format!("no handler for route \"v1/{path}\". route entry not found.");
        double.want(path, 404, Some(json!({ "errors": [text] })));
    }
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    for (tool, arguments) in
        [("read_vault_secret", json!({ "path": "secret/apps/web" })), ("get_vault_token_info", json!({}))]
    {
        let error = connector.call(tool, arguments).await.unwrap_err();
        assert!(error.remedy.as_ref().unwrap().contains("spec.platform.vault.url, which leaves out /v1"), "{error:?}");
    }
    assert!(connector.probe().await.message.contains("correct the path in url"));
}

/// A namespace that was deleted or never made (OpenBao): nothing is told of what is in it.
#[tokio::test]
async fn a_namespace_that_is_not_there_is_no_empty_place() {
    let double = Double::start().await;
    for path in ["secret/metadata/apps", "sys/policies/acl", "sys/internal/ui/mounts", "auth/token/lookup-self"] {
        double.want(path, 404, Some(json!({ "errors": ["namespace not found"] })));
    }
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    for (tool, arguments) in
        [("list_vault_secrets", json!({ "path": "secret/apps" })), ("list_vault_policies", json!({}))]
    {
        let error = connector.call(tool, arguments).await.unwrap_err();
        assert!(error.message.contains("no such namespace"), "{tool}: {error:?}");
    }
    assert!(connector.probe().await.message.contains("no such namespace"));
}

#[tokio::test]
async fn capabilities_that_are_not_told_are_not_known() {
    let double = Double::start().await;
    double.capabilities(json!(["deny"]));
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    let paths = ["secret/data/web ", "secret/apps/web", "secret/metadata/", "old/x"];
    let told = connector.call("check_vault_capabilities", json!({ "paths": paths })).await.unwrap();
    let verdicts: Vec<&str> =
        told["paths"].as_array().unwrap().iter().map(|path| path["verdict"].as_str().unwrap()).collect();
    let denied = "nothing is permitted: no policy covers the path, or one denies it";
    assert!(verdicts[0].starts_with("not known"), "{told}");
    // A path as the tools take it (hashicorp/vault#4348, #12665).
    assert!(verdicts[1].starts_with(denied), "{told}");
    assert!(verdicts[1].ends_with("want secret/data/apps/web, and for lists secret/metadata/apps/web"), "{told}");
    assert_eq!(verdicts[2..], [denied, denied]);
}

/// The rule for a list ends in a slash, and the path that people ask about doesn't (hashicorp/vault#4765).
#[tokio::test]
async fn the_right_to_a_list_is_told_of_a_path_without_a_slash() {
    let double = Double::start().await;
    double.capabilities(
        json!({ "secret/metadata/apps/": ["list"], "secret/metadata/": ["deny"], "secret/metadata": ["list"] }),
    );
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    let paths = ["secret/metadata/apps", "secret/metadata/apps/", "secret/metadata", "secret/data/apps"];
    let told = connector.call("check_vault_capabilities", json!({ "paths": paths })).await.unwrap();
    let verdict = |index: usize| told["paths"][index]["verdict"].as_str().unwrap();
    assert!(verdict(0).ends_with("; a list is asked of secret/metadata/apps/, where it is permitted"), "{told}");
    assert_eq!(verdict(1), "permitted: list");
    assert!(verdict(2).ends_with("; a list is asked of secret/metadata/, where it is not permitted"), "{told}");
    assert!(verdict(3).starts_with("nothing is permitted") && !verdict(3).contains("a list is asked"), "{told}");
}

/// Success that brought less than was asked for (hashicorp/vault#1173), and a renewal that shortens (#1079).
#[tokio::test]
async fn what_a_renewal_brings_is_told() {
    let double = Double::start().await;
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    let renewed = |seconds: u64, warnings: Value| {
        double.want(
            "sys/leases/renew",
            200,
            Some(json!({ "lease_id": "x", "renewable": true, "lease_duration": seconds, "warnings": warnings })),
        );
        connector.call("renew_vault_lease", json!({ "lease_id": "database/creds/app/x", "increment_seconds": 3_600 }))
    };
    assert_eq!(renewed(3_600, Value::Null).await.unwrap().get("hints"), None);
    let capped = json!(["TTL of \"1h\" exceeded the effective max_ttl of \"45s\"; TTL value is capped accordingly"]);
    for told in [renewed(45, Value::Null).await.unwrap(), renewed(3_600, capped).await.unwrap()] {
        assert!(told["hints"][0].as_str().unwrap().contains("less time than was asked for"), "{told}");
    }
    let lease = json!({ "id": "x", "issue_time": "2026-01-01T00:00:00Z", "expire_time": "2036-01-02T00:00:00Z",
                        "ttl": 7_200, "renewable": true, "last_renewal": null });
    double.want("sys/leases/lookup", 200, Some(json!({ "request_id": "r", "data": lease })));
    for (seconds, shortens) in [(60, true), (7_200, false)] {
        let renew = json!({ "lease_id": "database/creds/app/x", "increment_seconds": seconds });
        let would = connector.preview("renew_vault_lease", renew).await.unwrap().would;
        assert_eq!(would.contains("end earlier than now"), shortens, "{would}");
    }
}

/// The credential is gone at the other side, and the lease has ended without being cleaned up (hashicorp/vault#29392).
#[tokio::test]
async fn a_lease_that_the_engine_cannot_end_is_no_fault_of_the_arguments() {
    let double = Double::start().await;
    let lease = json!({ "id": "x", "issue_time": "2026-01-01T00:00:00Z", "expire_time": "2026-01-02T00:00:00Z", "ttl": -86_400,
                        "renewable": true, "last_renewal": null });
    let connector = connect(&double.uri(), Some(TOKEN), &spec());
    for (revoke_error, hint) in [(Value::Null, "it is still there"), (json!("planted"), "it may still work")] {
        let mut lease = lease.clone();
        lease["revoke_error"] = revoke_error;
        double.want("sys/leases/lookup", 200, Some(json!({ "request_id": "r", "data": lease })));
        let told = connector.call("lookup_vault_lease", arguments("lookup_vault_lease")).await.unwrap();
        assert!(told["hints"][0].as_str().unwrap().contains(hint), "{told}");
    }
    // With an id that ends in that of a namespace which isn't there (hashicorp/vault#5460; seen of 1.21).
    double.want("sys/leases/renew", 500, Some(json!({ "errors": ["no namespace"] })));
    let call = connector.call("renew_vault_lease", arguments("renew_vault_lease"));
    let (outcome, sent) = outbound::changes::noting(call).await;
    assert_eq!((outcome.unwrap_err().code, sent), (NotFound, false));
    let text = "failed to revoke entry: resp: (*logical.Response)(nil) err: error revoking user token: planted";
    double.want("sys/leases/revoke", 400, Some(json!({ "errors": [text] })));
    let error = connector.call("revoke_vault_lease", arguments("revoke_vault_lease")).await.unwrap_err();
    assert_eq!(error.code, PlatformError);
    assert!(error.message.contains("the system behind the engine"), "{error:?}");
}
