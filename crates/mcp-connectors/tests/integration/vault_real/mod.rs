//! The Vault platform against a real Vault in dev mode. It needs a Vault binary, whose path stands in `VAULT_BIN`:
//! `VAULT_BIN=/path/to/vault cargo test --test integration -- --ignored vault_real`, or `make test`. Binaries are on
//! releases.hashicorp.com; 1.21 is what the product is tested with. The Kubernetes auth method comes as a plugin, whose
//! folder stands in `VAULT_PLUGINS`: `e2e/cluster/cluster build --only vault-plugin-auth-kubernetes` makes and prints it.

mod agent;
mod harness;
mod issuer;
mod kubernetes;
mod local;
mod login;

use std::time::Duration;

use kit::{CredentialVerdict, HealthStatus};
use serde_json::{Value, json};
use tools::ErrorCode;

use self::harness::{Connector, PLANTED, ROOT, Server};

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn reads_what_there_is() {
    let server = Server::start().await;
    server.admin("POST", "sys/mounts/old", json!({ "type": "kv", "options": { "version": "1" } })).await;
    server.admin("POST", "sys/mounts/team/kv", json!({ "type": "kv-v2" })).await;
    server.admin("POST", "sys/mounts/database", json!({ "type": "database" })).await;
    server.admin("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    server.admin("POST", "auth/approle/role/ci", json!({})).await;
    let web = json!({ "data": { "url": "https://web", "password": PLANTED, "nested": { "inner": PLANTED } } });
    server.admin("POST", "secret/data/apps/web", web).await;
    server.admin("POST", "secret/data/apps/deep/a", json!({ "data": { "x": PLANTED } })).await;
    server.admin("POST", "secret/data/private/x", json!({ "data": { "x": PLANTED } })).await;
    server.admin("POST", "team/kv/data/b c", json!({ "data": { "x": PLANTED } })).await;
    server.admin("POST", "old/apps/web", json!({ "user": "web", "password": PLANTED })).await;
    let connector = Connector::new(
        &server,
        Some(ROOT),
        &json!({
            "paths": { "deny": ["secret/private/**"] },
            "releaseValues": [
                { "path": "secret/apps/*", "keys": ["url", "gone"] },
                { "path": "old/apps/*", "keys": ["user"] },
            ],
        }),
    );

    let health = connector.ok("get_vault_health", json!({})).await;
    assert_eq!((&health["state"], &health["sealed"]), (&json!("active"), &json!(false)));
    let token = connector.ok("get_vault_token_info", json!({})).await;
    assert_eq!((&token["policies"], &token["expires_at"]), (&json!(["root"]), &Value::Null));
    let mounts = connector.ok("list_vault_mounts", json!({ "type": "kv" })).await;
    let found: Vec<_> = mounts["items"].as_array().unwrap().iter().map(|m| (&m["path"], &m["kv_version"])).collect();
    assert_eq!(json!(found), json!([["old", 1], ["secret", 2], ["team/kv", 2]]));
    let methods = connector.ok("list_vault_auth_methods", json!({})).await;
    assert_eq!(methods["items"][0], json!({ "path": "auth/approle", "type": "approle" }));
    assert_eq!(connector.ok("list_vault_roles", json!({ "mount": "auth/approle" })).await["items"], json!(["ci"]));
    assert_eq!(connector.ok("list_vault_roles", json!({ "mount": "database" })).await["items"], json!([]));
    assert_eq!(connector.fails("list_vault_roles", json!({ "mount": "none" })).await.code, ErrorCode::NotFound);

    let list = |arguments| connector.ok("list_vault_secrets", arguments);
    assert_eq!(list(json!({ "path": "secret" })).await["items"], json!(["apps/"]));
    assert_eq!(list(json!({ "path": "secret/apps/" })).await["items"], json!(["deep/", "web"]));
    assert_eq!(
        list(json!({ "path": "secret", "depth": 3 })).await["items"],
        json!(["apps/", "apps/deep/", "apps/deep/a", "apps/web"])
    );
    assert_eq!(list(json!({ "path": "old" })).await["items"], json!(["apps/"]));
    assert_eq!(list(json!({ "path": "", "mount": "team/kv" })).await["items"], json!(["b c"]));
    let nothing = list(json!({ "path": "secret/none" })).await;
    assert_eq!((&nothing["items"], nothing["hints"].as_array().unwrap().len()), (&json!([]), 1));
    let denied = connector.fails("list_vault_secrets", json!({ "path": "secret/private" })).await;
    assert!(denied.remedy.unwrap().contains("spec.platform.vault.paths"));

    let read = connector.ok("read_vault_secret", json!({ "path": "secret/apps/web" })).await;
    assert_eq!((&read["keys"], &read["version"]), (&json!(["nested", "password", "url"]), &json!(1)));
    assert!(!read.to_string().contains(PLANTED));
    let read = connector.ok("read_vault_secret", json!({ "path": "secret/apps/web", "key": "url" })).await;
    assert_eq!((&read["value"], read.get("keys")), (&json!("https://web"), None));
    let refused = connector.fails("read_vault_secret", json!({ "path": "secret/apps/web", "key": "password" })).await;
    assert_eq!(refused.code, ErrorCode::PermissionDenied);
    assert!(refused.remedy.unwrap().contains("spec.platform.vault.releaseValues"));
    let missing = connector.fails("read_vault_secret", json!({ "path": "secret/apps/web", "key": "gone" })).await;
    assert_eq!((missing.code, missing.argument.as_deref()), (ErrorCode::InvalidArgument, Some("key")));
    let keys = ["nested", "password", "url"].map(str::to_owned).to_vec();
    assert_eq!(missing.platform_words, Some(keys));
    let read = connector.ok("read_vault_secret", json!({ "path": "old/apps/web" })).await;
    assert_eq!((&read["keys"], &read["kv_version"]), (&json!(["password", "user"]), &json!(1)));
    let read = connector.ok("read_vault_secret", json!({ "path": "old/apps/web", "key": "user" })).await;
    assert_eq!(read["value"], "web");
    let spaced = connector.ok("read_vault_secret", json!({ "path": "team/kv/b c" })).await;
    assert_eq!(spaced["keys"], json!(["x"]));
    for (path, part) in [
        ("secret/private/x", "spec.platform.vault.paths"),
        ("secret/data/apps/web", "leave data/ out"),
        ("secret/apps/none", "list_vault_secrets"),
        ("nomount/x", "list_vault_mounts"),
        ("sys/auth", "KV"),
        ("secret/apps/../private/x", "segments"),
        ("secret/apps/%2e%2e/private/x", "segments"),
    ] {
        let error = connector.fails("read_vault_secret", json!({ "path": path })).await;
        assert!(error.remedy.as_deref().unwrap_or_default().contains(part), "{path}: {error:?}");
    }

    let keys = connector.ok("get_vault_secret_keys", json!({ "path": "secret/apps/web", "depth": 2 })).await;
    assert_eq!(keys["keys"], json!({ "nested": { "inner": null }, "password": null, "url": null }));
    let keys = connector.ok("get_vault_secret_keys", json!({ "path": "old/apps/web" })).await;
    assert_eq!(keys["keys"], json!({ "password": null, "user": null }));
    let metadata = connector.ok("get_vault_secret_metadata", json!({ "path": "secret/apps/web" })).await;
    assert_eq!((&metadata["current_version"], &metadata["versions"][0]["state"]), (&json!(1), &json!("readable")));
    let error = connector.fails("get_vault_secret_metadata", json!({ "path": "old/apps/web" })).await;
    assert_eq!(error.code, ErrorCode::InvalidArgument);

    assert!(connector.ok("list_vault_policies", json!({})).await["items"].as_array().unwrap().contains(&json!("root")));
    let policy = connector.ok("read_vault_policy", json!({ "name": "default" })).await;
    assert!(policy["policy"].as_str().unwrap().contains("auth/token/lookup-self"));
    assert_eq!(connector.fails("read_vault_policy", json!({ "name": "none" })).await.code, ErrorCode::NotFound);
    let can = connector.ok("check_vault_capabilities", json!({ "paths": ["secret/data/apps/web", "sys/auth"] })).await;
    assert_eq!(can["paths"][1]["verdict"], "everything is permitted");

    let report = connector.probe().await;
    assert_eq!((report.status, report.reason.as_str()), (HealthStatus::Ok, "Healthy"));
    assert_eq!((report.credentials, report.identity.as_deref()), (CredentialVerdict::Accepted, Some("token")));
    assert!(report.version.unwrap().starts_with("1."));
    assert_eq!(report.checks.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["server", "token", "mounts"]);
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn writes_deletes_and_restores() {
    let server = Server::start().await;
    server.admin("POST", "sys/mounts/old", json!({ "type": "kv", "options": { "version": "1" } })).await;
    let rule = json!({ "policy": "length=20\nrule \"charset\" { charset = \"abcde\" }" });
    server.admin("PUT", "sys/policies/password/letters", rule).await;
    let connector = Connector::new(&server, Some(ROOT), &json!({}));
    let path = "secret/apps/new";
    let reference = &server;
    let stored =
        |version: u64| async move { server_data(reference, &format!("secret/data/apps/new?version={version}")).await };

    let arguments = json!({ "path": path, "data": { "a": PLANTED },
        "generate": { "p": { "policy": "letters" }, "r": { "length": 24 } } });
    let preview = connector.preview("write_vault_secret", arguments.clone()).await;
    assert_eq!(preview.would, "write the keys a, p, r at secret/apps/new");
    assert_eq!(preview.state, json!({ "version": 0, "keys": null }));
    let written = connector.ok("write_vault_secret", arguments).await;
    assert_eq!((&written["version"], &written["keys"]), (&json!(1), &json!(["a", "p", "r"])));
    assert!(!written.to_string().contains(PLANTED));
    let data = stored(1).await;
    assert_eq!((data["p"].as_str().unwrap().len(), data["r"].as_str().unwrap().len()), (20, 24));

    let patched = connector.ok("write_vault_secret", json!({ "path": path, "data": { "a": null, "b": "2" } })).await;
    assert_eq!((&patched["version"], &patched["removed"]), (&json!(2), &json!(["a"])));
    let data = stored(2).await;
    assert_eq!((data.get("a"), &data["b"], data["p"].is_string()), (None, &json!("2"), true));
    let stale = json!({ "path": path, "data": { "b": "3" }, "cas": 1 });
    assert_eq!(connector.fails("write_vault_secret", stale).await.code, ErrorCode::Conflict);
    let replacing = json!({ "path": path, "data": { "b": "3" }, "patch": false });
    assert!(connector.preview("write_vault_secret", replacing.clone()).await.would.ends_with("p, r"));
    assert_eq!(connector.ok("write_vault_secret", replacing).await["version"], 3);
    assert_eq!(stored(3).await, json!({ "b": "3" }));
    let unknown = json!({ "path": path, "generate": { "p": { "policy": "none" } } });
    assert_eq!(connector.fails("write_vault_secret", unknown).await.code, ErrorCode::NotFound);
    server.admin("POST", "secret/metadata/strict", json!({ "cas_required": true })).await;
    let strict = json!({ "path": "secret/strict", "data": { "b": "3" } });
    assert_eq!(connector.ok("write_vault_secret", strict).await["version"], 1);

    let preview = connector.preview("delete_vault_secret", json!({ "path": path })).await;
    assert_eq!(preview.state, json!({ "current_version": 3, "versions": { "3": "readable" } }));
    assert_eq!(connector.ok("delete_vault_secret", json!({ "path": path })).await["reversible"], true);
    let gone = connector.fails("read_vault_secret", json!({ "path": path })).await;
    assert!(gone.message.starts_with("version 3 of the secret was deleted at 20"), "{gone:?}");
    assert!(gone.remedy.unwrap().contains("undelete_vault_secret"));
    assert_eq!(
        connector.ok("delete_vault_secret", json!({ "path": path, "versions": [1, 2] })).await["outcome"],
        "deleted"
    );
    assert_eq!(
        connector.ok("undelete_vault_secret", json!({ "path": path, "versions": [2] })).await["outcome"],
        "restored"
    );
    let states = connector.ok("get_vault_secret_metadata", json!({ "path": path })).await;
    let states: Vec<_> = states["versions"].as_array().unwrap().iter().map(|v| v["state"].clone()).collect();
    assert_eq!(json!(states), json!(["deleted", "readable", "deleted"]));
    // A deleted newest version can't be patched: the keys that are written are all that there are.
    assert_eq!(connector.ok("write_vault_secret", json!({ "path": path, "data": { "n": "1" } })).await["version"], 4);
    assert_eq!(stored(4).await, json!({ "n": "1" }));

    let destroy = |expected: u64| json!({ "path": path, "versions": [2], "expected_current_version": expected });
    assert_eq!(connector.fails("destroy_vault_secret", destroy(3)).await.code, ErrorCode::Conflict);
    assert!(connector.preview("destroy_vault_secret", destroy(4)).await.would.ends_with("for good"));
    assert_eq!(connector.ok("destroy_vault_secret", destroy(4)).await["reversible"], false);
    let gone = connector.fails("read_vault_secret", json!({ "path": path, "version": 2 })).await;
    assert_eq!(gone.message, "version 2 of the secret is destroyed");
    assert_eq!(
        connector.fails("read_vault_secret", json!({ "path": path, "version": 99 })).await.code,
        ErrorCode::NotFound
    );

    let old = json!({ "path": "old/x", "data": { "a": PLANTED } });
    let refused = connector.fails("write_vault_secret", old).await;
    assert_eq!(refused.argument.as_deref(), Some("patch"));
    let old = json!({ "path": "old/x", "data": { "a": PLANTED }, "patch": false });
    assert_eq!(connector.ok("write_vault_secret", old).await["keys"], json!(["a"]));
    let preview = connector.preview("delete_vault_secret", json!({ "path": "old/x" })).await;
    assert_eq!(preview.state, json!({ "keys": ["a"] }));
    assert_eq!(connector.ok("delete_vault_secret", json!({ "path": "old/x" })).await["reversible"], false);
    assert_eq!(connector.fails("read_vault_secret", json!({ "path": "old/x" })).await.code, ErrorCode::NotFound);

    // Vault answers 204 to all of these.
    for (tool, arguments) in [
        ("delete_vault_secret", json!({ "path": "secret/apps/nwe" })),
        ("delete_vault_secret", json!({ "path": "old/x" })),
        ("delete_vault_secret", json!({ "path": path, "versions": [99] })),
        ("undelete_vault_secret", json!({ "path": path, "versions": [2] })),
        ("undelete_vault_secret", json!({ "path": "secret/apps/nwe", "versions": [1] })),
        ("destroy_vault_secret", json!({ "path": path, "versions": [99], "expected_current_version": 4 })),
    ] {
        let refused = connector.fails(tool, arguments.clone()).await;
        assert!(refused.message.contains("nothing was changed"), "{tool} {arguments}: {refused:?}");
    }
    let again = json!({ "path": path, "versions": [1, 2, 3] });
    let done = connector.ok("delete_vault_secret", again).await;
    assert_eq!((&done["outcome"], done["unchanged"].as_array().unwrap().len()), (&json!("unchanged"), 3), "{done}");

    // The engine is made anew with the other version, while the list of engines is believed.
    server.admin("DELETE", "sys/mounts/old", Value::Null).await;
    server.admin("POST", "sys/mounts/old", json!({ "type": "kv", "options": { "version": "2" } })).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        connector.ok("write_vault_secret", json!({ "path": "old/x", "data": { "a": "1" } })).await["version"],
        1
    );
    assert_eq!(connector.ok("read_vault_secret", json!({ "path": "old/x" })).await["kv_version"], 2);
    server.admin("DELETE", "sys/mounts/old", Value::Null).await;
    server.admin("POST", "sys/mounts/old", json!({ "type": "kv", "options": { "version": "1" } })).await;
    let one = json!({ "path": "old/x", "data": { "a": "1" }, "patch": false });
    assert_eq!(connector.ok("write_vault_secret", one).await.get("version"), None);
    assert_eq!(server.admin("GET", "old/x", Value::Null).await["data"], json!({ "a": "1" }));
}

/// Names that Vault keeps and lists, and links as its pages have them.
#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn what_is_listed_can_be_read() {
    let server = Server::start().await;
    let connector = Connector::new(&server, Some(ROOT), &json!({}));
    let names = [
        "a%2Fb",
        "web ",
        " lead",
        "DOM\\svc",
        "100%",
        "50%25",
        "ünï-日本",
        "q?x",
        "h#x",
        "a;b",
        "...",
        "quo\"te",
        "[x]{y}|^",
    ];
    for name in names {
        let write = json!({ "path": format!("secret/n/{name}"), "data": { "k": "v" }, "cas": 0 });
        assert_eq!(connector.ok("write_vault_secret", write).await["version"], 1, "{name}");
    }
    let listed = connector.ok("list_vault_secrets", json!({ "path": "secret/n" })).await;
    let mut expected = names.to_vec();
    expected.sort_unstable();
    assert_eq!(listed["items"], json!(expected));
    for name in names {
        let read = connector.ok("read_vault_secret", json!({ "path": format!("secret/n/{name}") })).await;
        assert_eq!(read["keys"], json!(["k"]), "{name}");
    }
    for link in ["/ui/vault/secrets/secret/kv/n%2F100%25/details?version=1", "/v1/secret/data/n/100%25"] {
        let link = format!("https://vault.example.com{link}");
        assert_eq!(connector.ok("read_vault_secret", json!({ "path": link })).await["path"], "n/100%", "{link}");
    }
    // A token of another cluster: its end names a namespace that is not here.
    let foreign = Connector::new(&server, Some("hvs.CAESIJ1aWl0aGlzaXNub3RhcmVhbHRva2VuYXRhbGw.Xy9Zq"), &json!({}));
    assert_eq!(foreign.fails("list_vault_mounts", json!({})).await.code, ErrorCode::CredentialsUnavailable);
    assert_eq!(foreign.probe().await.credentials, CredentialVerdict::Rejected);
}

async fn server_data(server: &Server, path: &str) -> Value {
    server.admin("GET", path, Value::Null).await["data"]["data"].clone()
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn leases_are_looked_up_and_revoked() {
    let server = Server::start().await;
    server.admin("POST", "sys/mounts/ssh", json!({ "type": "ssh" })).await;
    let role = json!({ "key_type": "otp", "default_user": "u", "cidr_list": "0.0.0.0/0" });
    server.admin("POST", "ssh/roles/otp", role).await;
    let issued = server.admin("POST", "ssh/creds/otp", json!({ "ip": "10.0.0.1" })).await;
    let lease = json!({ "lease_id": issued["lease_id"] });
    let connector = Connector::new(&server, Some(ROOT), &json!({}));
    let known = connector.ok("lookup_vault_lease", lease.clone()).await;
    assert!(known["ttl_seconds"].as_u64().unwrap() > 0 && known["expires_at"].is_string(), "{known}");
    assert_eq!(known["renewable"], false);
    assert_eq!(connector.fails("renew_vault_lease", lease.clone()).await.code, ErrorCode::Conflict);
    assert!(connector.preview("revoke_vault_lease", lease.clone()).await.would.contains("ssh/creds/otp"));
    assert_eq!(connector.ok("revoke_vault_lease", lease.clone()).await["revoked"], true);
    assert_eq!(connector.fails("lookup_vault_lease", lease.clone()).await.code, ErrorCode::NotFound);
    assert_eq!(connector.fails("renew_vault_lease", lease.clone()).await.code, ErrorCode::NotFound);
    assert_eq!(connector.fails("revoke_vault_lease", lease).await.code, ErrorCode::NotFound);
    let login = connector.fails("revoke_vault_lease", json!({ "lease_id": "auth/token/create/x" })).await;
    assert_eq!(login.code, ErrorCode::InvalidArgument);
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn tells_bad_tokens_from_missing_policies() {
    let server = Server::start().await;
    server.admin("POST", "secret/data/apps/web", json!({ "data": { "url": "https://web", "p": PLANTED } })).await;
    let rules = "path \"secret/data/apps/*\" { capabilities = [\"read\"] }
                 path \"secret/metadata/apps/*\" { capabilities = [\"read\", \"list\"] }";
    server.policy("reader", rules).await;
    let token = server.token(&["reader"], json!({})).await;
    let spec = json!({ "releaseValues": [{ "path": "secret/apps/*", "keys": ["url"] }] });
    let mut connector = Connector::new(&server, None, &spec);

    let report = connector.probe().await;
    assert_eq!((report.status, report.reason.as_str()), (HealthStatus::Degraded, "NoCredentials"));
    assert_eq!(report.credentials, CredentialVerdict::Unknown);
    let error = connector.fails("read_vault_secret", json!({ "path": "secret/apps/web" })).await;
    assert_eq!(error.code, ErrorCode::CredentialsUnavailable);
    assert!(error.remedy.is_some());
    connector.ok("get_vault_health", json!({})).await;

    connector.mount(&[("token", &token)]);
    let report = connector.probe().await;
    assert_eq!((report.reason.as_str(), report.credentials), ("Healthy", CredentialVerdict::Accepted), "{report:?}");
    let read = connector.ok("read_vault_secret", json!({ "path": "secret/apps/web" })).await;
    assert_eq!(read["keys"], json!(["p", "url"]));
    assert!(read["hints"][0].as_str().unwrap().contains("secret/subkeys/apps/web"), "{read}");
    let error = connector.fails("get_vault_secret_keys", json!({ "path": "secret/apps/web" })).await;
    assert_eq!(error.code, ErrorCode::PermissionDenied);
    assert!(error.remedy.unwrap().contains(r#"path "secret/subkeys/apps/web" { capabilities = ["read"] }"#));
    assert_eq!(connector.fails("list_vault_policies", json!({})).await.code, ErrorCode::PermissionDenied);
    assert_eq!(connector.ok("list_vault_auth_methods", json!({})).await["items"][0]["path"], "auth/token");
    let can = json!({ "paths": ["secret/data/apps/web", "secret/data/x"] });
    let can = connector.ok("check_vault_capabilities", can).await;
    assert_eq!(
        (&can["paths"][0]["capabilities"], &can["paths"][1]["capabilities"]),
        (&json!(["read"]), &json!(["deny"]))
    );
    let blind =
        connector.preview("write_vault_secret", json!({ "path": "secret/apps/web", "data": { "x": "1" } })).await;
    assert!(blind.state["unknown"].is_string());
    let error = connector.fails("write_vault_secret", json!({ "path": "secret/apps/web", "data": { "x": "1" } })).await;
    assert!(error.remedy.unwrap().contains("patch"));

    // A policy that is narrower than the pattern is no alarm.
    server.policy("reader", "path \"secret/data/apps/web\" { capabilities = [\"read\"] }").await;
    assert_eq!(connector.probe().await.credentials, CredentialVerdict::Accepted);
    // The policy covers something else in the mount.
    server.policy("reader", "path \"secret/data/other/*\" { capabilities = [\"read\"] }").await;
    let report = connector.probe().await;
    assert_eq!((report.status, report.credentials), (HealthStatus::Ok, CredentialVerdict::PermissionMissing));
    assert!(report.credentials_message.contains("secret/data/apps/*"), "{report:?}");
    // The policy is gone.
    server.admin("DELETE", "sys/policies/acl/reader", Value::Null).await;
    assert_eq!(connector.probe().await.credentials, CredentialVerdict::PermissionMissing);
    let mut fresh = Connector::new(&server, Some(&token), &spec);
    let report = fresh.probe().await;
    assert_eq!(report.credentials, CredentialVerdict::PermissionMissing);
    assert!(report.credentials_message.contains("the mount \"secret\""), "{report:?}");
    // Vault hides the engine now, as it would one that isn't there.
    let error = fresh.fails("list_vault_secrets", json!({ "path": "secret/apps" })).await;
    assert_eq!(error.code, ErrorCode::PermissionDenied, "{error:?}");
    assert!(error.message.contains("\"secret/apps\""), "{error:?}");
    assert!(error.remedy.unwrap().contains("capability list"));
    let error = fresh.fails("read_vault_secret", json!({ "path": "secret/apps/web" })).await;
    assert_eq!(error.code, ErrorCode::PermissionDenied, "{error:?}");
    server.policy("reader", rules).await;
    assert_eq!(connector.probe().await.credentials, CredentialVerdict::Accepted);

    // Without the policy `default` a token can't even look itself up, and is good all the same.
    let bare = server.token(&["reader"], json!({ "no_default_policy": true })).await;
    fresh.mount(&[("token", &bare)]);
    let report = fresh.probe().await;
    assert_eq!((report.reason.as_str(), report.credentials), ("Healthy", CredentialVerdict::Accepted), "{report:?}");
    assert_eq!(fresh.fails("get_vault_token_info", json!({})).await.code, ErrorCode::PermissionDenied);

    // Revoked: the files are asked for again, and the call is tried with what comes.
    server.admin("POST", "auth/token/revoke", json!({ "token": token })).await;
    let report = connector.probe().await;
    assert_eq!((report.status, report.reason.as_str()), (HealthStatus::Error, "TokenInvalid"));
    assert_eq!((report.credentials, report.passing), (CredentialVerdict::Rejected, false));
    assert_eq!(*connector.reread.borrow_and_update(), 1);
    let error = connector.fails("read_vault_secret", json!({ "path": "secret/apps/web", "key": "url" })).await;
    assert_eq!(error.message, "the connector's Vault token is not accepted");
    let next = server.token(&["reader"], json!({})).await;
    connector.mount(&[("token", &next)]);
    connector.ok("read_vault_secret", json!({ "path": "secret/apps/web", "key": "url" })).await;
    assert_eq!(connector.probe().await.credentials, CredentialVerdict::Accepted);

    // Expiring, then expired.
    let brief = server.token(&["reader"], json!({ "ttl": "3s" })).await;
    connector.mount(&[("token", &brief)]);
    assert_eq!(connector.probe().await.reason, "TokenExpiring");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let report = connector.probe().await;
    assert_eq!(
        (report.reason.as_str(), report.credentials),
        ("TokenInvalid", CredentialVerdict::Expired),
        "{report:?}"
    );
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn sealed_and_quotas() {
    let server = Server::start().await;
    server.admin("POST", "sys/mounts/old", json!({ "type": "kv", "options": { "version": "1" } })).await;
    server.admin("POST", "old/x", json!({ "a": PLANTED })).await;
    let connector = Connector::new(&server, Some(ROOT), &json!({}));
    let quota = json!({ "rate": 1, "interval": "10s", "path": "old" });
    server.admin("POST", "sys/quotas/rate-limit/q", quota).await;
    connector.ok("read_vault_secret", json!({ "path": "old/x" })).await;
    assert_eq!(connector.fails("read_vault_secret", json!({ "path": "old/x" })).await.code, ErrorCode::RateLimited);
    server.admin("PUT", "sys/seal", json!({})).await;
    let report = connector.probe().await;
    assert_eq!((report.status, report.reason.as_str(), report.passing), (HealthStatus::Error, "Sealed", false));
    assert_eq!((report.credentials, report.state.as_deref()), (CredentialVerdict::Unknown, Some("sealed")));
    let error = connector.fails("read_vault_secret", json!({ "path": "old/x" })).await;
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::PlatformUnavailable, "Vault is sealed"));
    assert_eq!(connector.ok("get_vault_health", json!({})).await["state"], "sealed");
    drop(server);
    let report = connector.probe().await;
    assert_eq!((report.reason.as_str(), report.passing), ("Unreachable", true));
    let error = connector.fails("read_vault_secret", json!({ "path": "old/x" })).await;
    assert_eq!(error.code, ErrorCode::PlatformUnavailable);
}
