//! The table of health: what Vault answers, and what the probe makes of it.

use serde_json::{Value, json};

use super::{Double, TOKEN, connect, double::health};
use api::{Reason, platform::vault::REASONS};
use kit::{
    CredentialVerdict::{self, Accepted, PermissionMissing, Rejected, Unknown},
    HealthStatus::{self, Degraded, Error, Ok},
};

/// Code and body of `sys/health`, and status, reason, whether it may pass, and the verdict that come of them.
type Row = (u16, Option<Value>, HealthStatus, &'static str, bool, CredentialVerdict);

#[tokio::test]
async fn every_code_has_its_finding() {
    let mut licensed = health(true, false);
    licensed["license"] = json!({ "state": "autoloaded", "expiry_time": "2020-01-01T00:00:00Z", "terminated": false });
    let mut valid = health(true, false);
    valid["license"] = json!({ "state": "autoloaded", "expiry_time": "2999-01-01T00:00:00Z", "terminated": false });
    let up = health(true, false);
    let table: Vec<Row> = vec![
        (200, Some(up.clone()), Ok, "Healthy", false, Accepted),
        (200, Some(valid), Ok, "Healthy", false, Accepted),
        (200, Some(licensed), Degraded, "LicenseExpired", false, Accepted),
        (429, Some(up.clone()), Ok, "Standby", false, Accepted),
        (429, None, Degraded, "RateLimited", true, Accepted),
        (472, Some(up.clone()), Error, "DRSecondary", false, Unknown),
        (473, Some(up.clone()), Ok, "PerformanceStandby", false, Accepted),
        (474, Some(up.clone()), Error, "StandbyIsolated", true, Unknown),
        // vault/command/server.go and vault/core.go: what was never initialised is sealed, too.
        (501, Some(health(false, true)), Error, "NotInitialized", false, Unknown),
        (503, Some(health(true, true)), Error, "Sealed", false, Unknown),
        (503, Some(up.clone()), Degraded, "Maintenance", true, Unknown),
        (503, None, Degraded, "Maintenance", true, Unknown),
        (530, Some(up.clone()), Error, "RemovedFromCluster", false, Unknown),
        (500, None, Error, "ServerError", true, Unknown),
        (299, Some(up), Degraded, "UnknownState", true, Accepted),
        (200, Some(json!("<html>planted</html>")), Error, "UnexpectedResponse", true, Unknown),
        (200, Some(json!("planted")), Error, "UnexpectedResponse", true, Unknown),
        (403, Some(json!({ "message": "planted" })), Error, "UnexpectedResponse", true, Unknown),
        (503, Some(json!("no healthy upstream")), Error, "UnexpectedResponse", true, Unknown),
        (503, Some(json!({})), Error, "UnexpectedResponse", true, Unknown),
    ];
    for (code, body, status, reason, passing, verdict) in table {
        let double = Double::start().await;
        double.want("sys/health", code, body);
        let report = connect(&double.uri(), Some(TOKEN), &json!({})).probe().await;
        assert_eq!((report.status, report.reason.as_str()), (status, reason), "{code}: {report:?}");
        assert_eq!((report.passing, report.credentials), (passing, verdict), "{code}: {report:?}");
        let known = REASONS.iter().any(|declared| declared.name == reason) || reason.parse::<Reason>().is_ok();
        assert!(known, "{reason} is not declared");
        if verdict == Unknown {
            assert_eq!(double.total(), 1, "{code}: the token was sent to a Vault that does not serve");
        }
    }
}

/// A listener may keep its version and its cluster's name to itself (`redact_version`, `redact_cluster_name`), and a server that was
/// never initialised says that it is sealed, too.
#[tokio::test]
async fn a_state_is_told_as_it_is() {
    for (code, initialized, sealed, state) in
        [(501, false, true, "not_initialized"), (503, true, true, "sealed"), (200, true, false, "active")]
    {
        let double = Double::start().await;
        let mut body = health(initialized, sealed);
        body["version"] = json!("");
        body["cluster_name"] = json!("");
        double.want("sys/health", code, Some(body));
        let connector = connect(&double.uri(), Some(TOKEN), &json!({}));
        let told = connector.call("get_vault_health", json!({})).await.unwrap();
        assert_eq!(told["state"], state);
        assert!(told["version"].is_null() && told["cluster"].is_null(), "{told}");
        assert_eq!(connector.probe().await.version, None);
    }
}

#[tokio::test]
async fn a_healthy_probe_makes_three_requests() {
    for spec in [json!({}), json!({ "releaseValues": [{ "path": "secret/apps/*", "keys": ["a"] }] })] {
        let double = Double::start().await;
        let connector = connect(&double.uri(), Some(TOKEN), &spec);
        let report = connector.probe().await;
        assert_eq!((report.credentials, report.identity.as_deref()), (Accepted, Some("approle")));
        assert_eq!((report.version.as_deref(), report.state.as_deref()), (Some("1.21.0+ent"), Some("active")));
        let first = double.total();
        connector.probe().await;
        connector.probe().await;
        assert_eq!(double.total() - first, 6);
    }
}

#[tokio::test]
async fn tokens_have_their_findings() {
    let double = Double::start().await;
    let report = connect(&double.uri(), None, &json!({})).probe().await;
    assert_eq!((report.status, report.reason.as_str(), report.credentials), (Degraded, "NoCredentials", Unknown));
    let report = connect(&double.uri(), Some("planted-bad-token"), &json!({})).probe().await;
    assert_eq!((report.status, report.reason.as_str(), report.credentials), (Error, "TokenInvalid", Rejected));
    let report = connect(&double.uri(), Some("planted\nbad"), &json!({})).probe().await;
    assert_eq!((report.reason.as_str(), report.credentials), ("TokenInvalid", Rejected));

    // A disabled entity, or another address than the token is bound to (hashicorp/vault#4353): no word of it.
    double.bar(true);
    let connector = connect(&double.uri(), Some(TOKEN), &json!({}));
    let report = connector.probe().await;
    assert_eq!((report.status, report.reason.as_str(), report.credentials), (Error, "TokenInvalid", Rejected));
    let error = connector.call("list_vault_mounts", json!({})).await.unwrap_err();
    for told in [&report.credentials_message, &error.message] {
        assert!(told.contains("entity may be disabled") && told.contains("token_bound_cidrs"), "{told}");
    }
    double.bar(false);

    double.lookup("ttl", json!(29));
    let connector = connect(&double.uri(), Some(TOKEN), &json!({}));
    let report = connector.probe().await;
    assert_eq!((report.status, report.reason.as_str(), report.credentials), (Error, "TokenExpiring", Accepted));
    // A week ahead, or a quarter of its time; what else is wrong is told beside it.
    let day = 86_400;
    for (ttl, life, period, reason) in [
        (8 * day, 32 * day, None, "Healthy"),
        (6 * day, 32 * day, None, "TokenExpiring"),
        (1_000, 3_600, None, "Healthy"),
        (800, 3_600, None, "TokenExpiring"),
        (5 * day, day, Some(32 * day), "TokenExpiring"),
        (day, 0, None, "Healthy"),
    ] {
        for (field, value) in [("ttl", json!(ttl)), ("creation_ttl", json!(life)), ("period", json!(period))] {
            double.lookup(field, value);
        }
        double.lookup("renewable", json!(true));
        let report = connector.probe().await;
        assert_eq!((report.reason.as_str(), report.credentials), (reason, Accepted), "{ttl} of {life}: {report:?}");
        if reason == "TokenExpiring" {
            assert_eq!(report.status, Degraded);
            assert!(report.message.contains("renew it, which the connector does not do"), "{report:?}");
        }
        assert!(report.credentials_message.contains("renew"), "{report:?}");
    }
    double.lookup("expire_time", Value::Null);
    double.lookup("ttl", json!(0));
    assert_eq!(connector.probe().await.reason, "Healthy");

    double.hide_mounts();
    let report = connector.probe().await;
    assert_eq!((report.status, report.reason.as_str(), report.credentials), (Ok, "Healthy", PermissionMissing));
    assert!(report.credentials_message.contains("secret/data/*"), "{report:?}");

    // Trouble after sys/health says nothing about the token, and that Vault is not well.
    double.want("auth/token/lookup-self", 500, None);
    let report = connector.probe().await;
    assert_eq!((report.status, report.reason.as_str(), report.credentials), (Error, "ServerError", Unknown));
    double.want("auth/token/lookup-self", 503, Some(json!({ "errors": ["Vault is sealed", "planted"] })));
    let report = connector.probe().await;
    assert_eq!((report.status, report.reason.as_str(), report.credentials), (Error, "Sealed", Unknown));
    assert!(report.message.starts_with("Vault can't be asked: Vault is sealed"), "{report:?}");
}

/// An engine that is tuned with `listing_visibility=unauth` is listed to all (hashicorp/vault#4134; seen of 1.21).
#[tokio::test]
async fn an_engine_that_is_listed_to_all_says_nothing_of_rights() {
    let double = Double::start().await.namespace("team");
    let config = |visibility: &str| json!({ "listing_visibility": visibility });
    let kv = |visibility: &str| json!({ "type": "kv", "options": { "version": "2" }, "config": config(visibility) });
    let mounts = |secret: Value| Some(json!({ "request_id": "r", "data": { "secret": secret, "auth": {} } }));
    double.want("sys/internal/ui/mounts", 200, mounts(json!({ "pub/": kv("unauth") })));
    double.capabilities(json!(["deny"]));
    let connector = connect(&double.uri(), Some(TOKEN), &json!({ "namespace": "team" }));
    let report = connector.probe().await;
    assert_eq!(report.credentials, PermissionMissing);
    assert!(report.credentials_message.contains("rules with +"), "{report:?}");
    // What `+` is in is in no list of rules.
    double.capabilities(json!(["read"]));
    assert_eq!(connector.probe().await.credentials, Accepted);
    double.capabilities(json!(["deny"]));
    let list = connector.call("list_vault_mounts", json!({})).await.unwrap();
    assert!(list["hints"][0].as_str().unwrap().ends_with("(listing_visibility): pub"), "{list}");
    // The namespace is in front (`policy.go` of OpenBao).
    for (path, verdict) in [
        ("team/pub/data/apps/", Accepted),
        ("te", Accepted),
        ("other/pub/", PermissionMissing),
        ("pub/", PermissionMissing),
    ] {
        let acl = json!({ "glob_paths": { path: { "capabilities": ["read"] } } });
        double.want("sys/internal/ui/resultant-acl", 200, Some(json!({ "request_id": "r", "data": acl })));
        assert_eq!(connector.probe().await.credentials, verdict, "{path}");
    }
    // Without the policy `default` it can't be asked, nor while Vault fails.
    for status in [403, 500] {
        double.want("sys/internal/ui/resultant-acl", status, None);
        let report = connector.probe().await;
        assert_eq!((report.status, report.credentials), (Ok, Accepted), "{report:?}");
    }
    double.want("sys/internal/ui/mounts", 200, mounts(json!({ "pub/": kv("unauth"), "own/": kv("") })));
    assert_eq!(connector.probe().await.credentials, Accepted);
}

#[tokio::test]
async fn what_the_manifest_names_is_asked_for() {
    let double = Double::start().await;
    double.capabilities(json!(["deny"]));
    for (spec, part) in [
        (json!({ "releaseValues": [{ "path": "secret/apps/web", "keys": ["a"] }] }), "\"secret/data/apps/web\""),
        (json!({ "paths": { "allow": ["secret/apps/**"] } }), "\"secret/data/apps/*\""),
        (json!({ "paths": { "allow": ["old/x"] } }), "\"old/x\""),
        (json!({ "paths": { "allow": ["none/x"] } }), "mount \"none\""),
    ] {
        let report = connect(&double.uri(), Some(TOKEN), &spec).probe().await;
        assert_eq!((report.status, report.credentials), (Ok, PermissionMissing), "{report:?}");
        assert!(report.credentials_message.contains(part), "{report:?}");
    }
    let open = json!({ "paths": { "allow": ["*/apps/**"] } });
    assert_eq!(connect(&double.uri(), Some(TOKEN), &open).probe().await.credentials, Accepted);
    let denying = json!({ "paths": { "deny": ["secret/x"] } });
    assert_eq!(connect(&double.uri(), Some(TOKEN), &denying).probe().await.credentials, Accepted);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let report = connect("http://127.0.0.1:1", Some(TOKEN), &json!({})).probe().await;
    assert_eq!((report.status, report.reason.as_str(), report.passing), (Error, "Unreachable", true));
    assert_eq!(report.credentials, Unknown);
}
