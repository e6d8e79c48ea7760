//! Vault's platform against a strict double, for what a real Vault in dev mode can't show: every health code, every
//! error, Enterprise's namespaces. Every failing answer holds a planted secret, which may come out nowhere.

mod changes;
mod double;
mod errors;
mod health;
mod login;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use self::double::{Double, TOKEN};
use platform_testing::{
    Connected,
    compliance::{Act, Starting, Subject},
};

pub(super) use platform_testing::PLANTED;

platform_testing::complies!(crate::tests::subject);

/// Vault in the suite that every platform must pass.
fn subject() -> Subject {
    Subject {
        connect: crate::connect,
        double: started,
        name: "vault",
        word: "vault",
        spec: |url| {
            let values = json!([{ "path": "secret/apps/*", "keys": ["a"] }]);
            json!({ "vault": { "url": url, "insecureHttp": true, "releaseValues": values } })
        },
        credentials: &[("token", TOKEN)],
        calls: || {
            let secret = json!({ "path": "secret/apps/web" });
            let versions = json!({ "path": "secret/apps/web", "versions": [1] });
            let lease = json!({ "lease_id": "database/creds/app/x" });
            vec![
                ("get_vault_health", json!({})),
                ("get_vault_token_info", json!({})),
                ("list_vault_mounts", json!({})),
                ("list_vault_auth_methods", json!({})),
                ("list_vault_roles", json!({ "mount": "database" })),
                ("list_vault_secrets", json!({ "path": "secret/apps" })),
                ("read_vault_secret", json!({ "path": "secret/apps/web", "key": "a" })),
                ("get_vault_secret_keys", secret.clone()),
                ("get_vault_secret_metadata", secret.clone()),
                ("check_vault_capabilities", json!({ "paths": ["secret/data/apps/web"] })),
                ("list_vault_policies", json!({})),
                ("read_vault_policy", json!({ "name": "default" })),
                ("lookup_vault_lease", lease.clone()),
                ("renew_vault_lease", lease.clone()),
                ("revoke_vault_lease", lease),
                ("write_vault_secret", json!({ "path": "secret/apps/web", "data": { "a": "b" } })),
                ("delete_vault_secret", secret),
                ("undelete_vault_secret", versions),
                (
                    "destroy_vault_secret",
                    json!({ "path": "secret/apps/web", "versions": [1], "expected_current_version": 1 }),
                ),
            ]
        },
        // A list of mounts, what was asked for, and a look at the token; each twice after newer credentials.
        most_requests: 4,
        tells_health: "get_vault_health",
        empty_is_404: &["list_vault_policies"],
        acts: || {
            let secret = json!({ "path": "secret/apps/web" });
            let lease = json!({ "lease_id": "database/creds/app/x" });
            let versions = json!({ "path": "secret/apps/web", "versions": [1] });
            let destroyed = json!({ "path": "secret/apps/web", "versions": [1], "expected_current_version": 1 });
            vec![
                Act::new("renew_vault_lease", lease.clone()),
                Act::new("revoke_vault_lease", lease),
                Act::new("write_vault_secret", json!({ "path": "secret/apps/web", "data": { "a": "b" } })),
                Act::new("delete_vault_secret", secret.clone()),
                Act::new("undelete_vault_secret", versions).after("delete_vault_secret", secret),
                Act::new("destroy_vault_secret", destroyed),
            ]
        },
        acting: |_| {
            Box::pin(async {
                let double = Double::start().await;
                // developer.hashicorp.com/vault/api-docs/system/leases
                let lease = json!({
                    "id": "database/creds/app/x", "issue_time": "2026-01-01T00:00:00.228946471Z", "renewable": true,
                    "expire_time": "2036-01-01T00:00:00.228946471Z", "last_renewal_time": null, "ttl": 3558,
                });
                double.want("sys/leases/lookup", 200, Some(json!({ "request_id": "r", "data": lease })));
                double.want("sys/leases/revoke", 204, Some(json!("")));
                (double.uri(), Box::new(double) as _)
            })
        },
        // What asks about something that may not stand in a path is sent as a form (developer.hashicorp.com/vault/api-docs).
        changes: |asked| {
            let path = asked.uri.path();
            let reads = ["/capabilities-self", "/leases/lookup"].iter().any(|end| path.ends_with(end));
            asked.method != "GET" && !reads && !path.starts_with("/v1/auth/")
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

/// A connector to the double: `spec` is what `spec.platform.vault` says besides the URL.
fn connect(url: &str, token: Option<&str>, spec: &Value) -> Connected {
    let mut fields = json!({ "url": url, "insecureHttp": true });
    fields.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let token: Vec<_> = token.map(|token| ("token", token)).into_iter().collect();
    Connected::new(crate::connect, &json!({ "vault": fields }), &token)
}

fn mount(connector: &Connected, generation: u64, token: &str) {
    connector.mount(generation, &[("token", token)]);
}

#[tokio::test]
async fn what_is_sensitive_and_what_is_off_is_declared() {
    let connector = connect("http://127.0.0.1:1", None, &json!({}));
    assert_eq!(connector.tools.len(), 19);
    for (name, tool) in &connector.tools {
        assert_eq!(tool.declaration.sensitive, *name == "read_vault_secret");
        assert_eq!(tool.declaration.off_by_default, *name == "destroy_vault_secret");
    }
}

#[tokio::test]
async fn a_namespace_goes_with_all_calls_but_those_of_the_root() {
    let root = Double::start().await;
    let connector = connect(&root.uri(), Some(TOKEN), &json!({ "namespace": "root" }));
    assert_eq!(connector.probe().await.reason, "Healthy");
    for namespace in ["admin/team", "/admin/team/"] {
        let double = Double::start().await.namespace("admin/team");
        let connector = connect(&double.uri(), Some(TOKEN), &json!({ "namespace": namespace }));
        assert_eq!(connector.probe().await.reason, "Healthy");
        let read = connector.call("read_vault_secret", json!({ "path": "secret/apps/web" })).await.unwrap();
        assert_eq!(read["keys"], json!(["a"]));
    }
}

#[tokio::test]
async fn mounts_are_kept_for_a_generation_and_values_never() {
    let double = Double::start().await;
    let spec = json!({ "releaseValues": [{ "path": "secret/apps/*", "keys": ["a"] }] });
    let connector = connect(&double.uri(), Some(TOKEN), &spec);
    for _ in 0..3 {
        let read = connector.call("read_vault_secret", json!({ "path": "secret/apps/web", "key": "a" })).await.unwrap();
        assert_eq!(read["value"], "released");
    }
    assert_eq!((double.count("sys/internal/ui/mounts"), double.count("secret/data/apps/web")), (1, 3));
    mount(&connector, 2, TOKEN);
    connector.call("read_vault_secret", json!({ "path": "secret/apps/web" })).await.unwrap();
    assert_eq!(double.count("sys/internal/ui/mounts"), 2);
    // Not released: Vault isn't even asked.
    connector.call("read_vault_secret", json!({ "path": "secret/apps/web", "key": "b" })).await.unwrap_err();
    assert_eq!(double.count("secret/data/apps/web"), 3);
}

#[tokio::test]
async fn a_renewed_lease_is_told() {
    let double = Double::start().await;
    let connector = connect(&double.uri(), Some(TOKEN), &json!({}));
    let lease = json!({ "lease_id": "database/creds/app/x", "increment_seconds": 60 });
    let renewed = connector.call("renew_vault_lease", lease).await.unwrap();
    assert_eq!(renewed, json!({ "lease_id": "database/creds/app/x", "ttl_seconds": 60, "renewable": true }));
}

#[tokio::test]
async fn a_newer_token_is_taken_when_one_is_refused() {
    let double = Double::start().await;
    let mut connector = connect(&double.uri(), Some("planted-old-token"), &json!({}));
    let call = connector.call("read_vault_secret", json!({ "path": "secret/apps/web" }));
    let rotate = connector.mount_when_asked(2, &[("token", TOKEN)]);
    let (read, ()) = tokio::join!(call, rotate);
    assert_eq!(read.unwrap()["keys"], json!(["a"]));
    assert_eq!(*connector.reread.borrow_and_update(), 1);
    // A call with a token that is known to be refused does not wait a second for another one.
    mount(&connector, 3, "planted-bad-token");
    for _ in 0..2 {
        let error = connector.call("read_vault_secret", json!({ "path": "secret/apps/web" })).await.unwrap_err();
        assert_eq!(error.message, "the connector's Vault token is not accepted");
        assert!(error.remedy.unwrap().contains("used up"));
    }
    let begun = Instant::now();
    for _ in 0..20 {
        connector.call("read_vault_secret", json!({ "path": "secret/apps/web" })).await.unwrap_err();
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_vault_refuses_was_not_changed() {
    let double = Double::start().await;
    let connector = connect(&double.uri(), Some(TOKEN), &json!({}));
    let upgrading =
        "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period";
    for (status, text, taken) in [
        (503, "Vault is sealed", false),
        (503, "no active Vault instance found", false),
        (429, "request path \"x\": lease count quota exceeded", false),
        (400, "cannot write to readonly storage", false),
        (500, "1 error occurred:\n\t* node is not the leader\n\n", false),
        (500, "local node not active but active cluster node not found", false),
        (400, upgrading, false),
        (400, "another text", true),
        (503, "another text", true),
        (500, "internal error", true),
    ] {
        double.want("secret/data/apps/web", status, Some(json!({ "errors": [text] })));
        let write = json!({ "path": "secret/apps/web", "data": { "a": "b" }, "patch": false });
        let (outcome, sent) = outbound::changes::noting(connector.call("write_vault_secret", write)).await;
        assert_eq!((outcome.is_err(), sent), (true, taken), "{text}: {outcome:?}");
    }
}
