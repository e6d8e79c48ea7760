//! Logins with AppRole.

use std::time::Duration;

use kit::{CredentialVerdict, HealthStatus};
use serde_json::{Value, json};
use tools::ErrorCode;

use super::harness::{Connector, PLANTED, Server};

async fn app_role(server: &Server, role: Value) -> String {
    server.admin("POST", "auth/approle/role/ci", role).await;
    server.admin("GET", "auth/approle/role/ci/role-id", Value::Null).await["data"]["role_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn secret_id(server: &Server) -> String {
    let answer = server.admin("POST", "auth/approle/role/ci/secret-id", json!({})).await;
    answer["data"]["secret_id"].as_str().unwrap().to_owned()
}

async fn uses_left(server: &Server, secret_id: &str) -> Option<u64> {
    let path = "auth/approle/role/ci/secret-id/lookup";
    let (_, answer) = server.try_admin("POST", path, json!({ "secret_id": secret_id })).await.unwrap();
    answer["data"]["secret_id_num_uses"].as_u64()
}

async fn accessors(server: &Server) -> usize {
    let answer = server.admin("LIST", "auth/token/accessors", Value::Null).await;
    answer["data"]["keys"].as_array().unwrap().len()
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn logs_in_with_app_role() {
    let server = Server::start().await;
    server.admin("POST", "sys/auth/machines", json!({ "type": "approle" })).await;
    server.admin("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    server.admin("POST", "secret/data/apps/web", json!({ "data": { "url": PLANTED } })).await;
    server.policy("reader", "path \"secret/+/apps/*\" { capabilities = [\"read\"] }").await;
    let limited =
        json!({ "token_policies": "reader", "token_ttl": "8s", "token_max_ttl": "10m", "secret_id_num_uses": 4 });
    let role_id = app_role(&server, limited).await;
    let secret = secret_id(&server).await;
    let login = json!({ "auth": { "appRole": {} } });
    let mut connector = Connector::new(&server, None, &login);
    assert_eq!(connector.probe().await.reason, "NoCredentials");
    connector.mount(&[("role_id", &role_id), ("secret_id", &secret)]);

    // Many at once log in once.
    let read = || connector.ok("read_vault_secret", json!({ "path": "secret/apps/web" }));
    tokio::join!(read(), read(), read(), read(), read(), read());
    assert_eq!(uses_left(&server, &secret).await, Some(3));
    let report = connector.probe().await;
    assert_eq!((report.reason.as_str(), report.credentials), ("Healthy", CredentialVerdict::Accepted), "{report:?}");
    assert_eq!(report.identity.as_deref(), Some("approle"));
    // Renewed over more than its first time, without another login.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        read().await;
    }
    assert_eq!(uses_left(&server, &secret).await, Some(3));
    // Left alone until it has ended: a new login.
    tokio::time::sleep(Duration::from_secs(9)).await;
    read().await;
    assert_eq!(uses_left(&server, &secret).await, Some(2));
    // Revoked: one new login, and no more than one a minute.
    server.admin("POST", "sys/leases/revoke-force/auth/approle/login", json!({})).await;
    read().await;
    assert_eq!(uses_left(&server, &secret).await, Some(1));
    server.admin("POST", "sys/leases/revoke-force/auth/approle/login", json!({})).await;
    for _ in 0..3 {
        let error = connector.fails("read_vault_secret", json!({ "path": "secret/apps/web" })).await;
        assert_eq!(error.message, "the connector's Vault token is not accepted");
    }
    assert_eq!(uses_left(&server, &secret).await, Some(1));

    // The secret id is changed to one that is wrong, then to a good one.
    let mut wrong = Connector::new(&server, None, &login);
    wrong.mount(&[("role_id", &role_id), ("secret_id", "planted-wrong-secret-id")]);
    let report = wrong.probe().await;
    assert_eq!((report.status, report.reason.as_str()), (HealthStatus::Error, "LoginRejected"));
    assert_eq!(report.credentials, CredentialVerdict::Rejected);
    let error = wrong.fails("read_vault_secret", json!({ "path": "secret/apps/web" })).await;
    assert_eq!((error.code, error.retry_after_seconds), (ErrorCode::CredentialsUnavailable, Some(2)));
    let next = secret_id(&server).await;
    wrong.mount(&[("role_id", &role_id), ("secret_id", &next)]);
    wrong.ok("read_vault_secret", json!({ "path": "secret/apps/web" })).await;
    // Changed to a bad one while the token works: it goes on working, and the probe says what is wrong.
    wrong.mount(&[("role_id", &role_id), ("secret_id", "planted-wrong-again")]);
    wrong.ok("read_vault_secret", json!({ "path": "secret/apps/web" })).await;
    let report = wrong.probe().await;
    assert_eq!((report.status, report.reason.as_str()), (HealthStatus::Degraded, "LoginRejected"), "{report:?}");

    // At the end the token is given back.
    let before = accessors(&server).await;
    wrong.platform.close().await;
    assert_eq!(accessors(&server).await, before - 1);

    // Another mount, and addresses that the role doesn't let in.
    let mut elsewhere = Connector::new(&server, None, &json!({ "auth": { "appRole": { "mount": "machines" } } }));
    elsewhere.mount(&[("role_id", &role_id), ("secret_id", &next)]);
    assert_eq!(elsewhere.probe().await.reason, "LoginRejected");
    let mut nowhere = Connector::new(&server, None, &json!({ "auth": { "appRole": { "mount": "none" } } }));
    nowhere.mount(&[("role_id", &role_id), ("secret_id", &next)]);
    assert_eq!(nowhere.probe().await.reason, "LoginDenied");
    server.admin("PUT", "sys/seal", json!({})).await;
    assert_eq!(nowhere.probe().await.reason, "Sealed");
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn two_replicas_with_a_wrong_secret_id_do_not_lock_the_role_out() {
    let server = Server::start().await;
    server.admin("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    server.admin("POST", "secret/data/apps/web", json!({ "data": { "url": PLANTED } })).await;
    server.policy("reader", "path \"secret/+/apps/*\" { capabilities = [\"read\"] }").await;
    let role_id = app_role(&server, json!({ "token_policies": "reader" })).await;
    let login = json!({ "auth": { "appRole": {} } });
    let mut replicas = [Connector::new(&server, None, &login), Connector::new(&server, None, &login)];
    for replica in &mut replicas {
        replica.mount(&[("role_id", &role_id), ("secret_id", "planted-wrong-secret-id")]);
    }
    // Agents go on calling.
    for _ in 0..10 {
        for replica in &replicas {
            replica.fails("read_vault_secret", json!({ "path": "secret/apps/web" })).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let good = secret_id(&server).await;
    for replica in &mut replicas {
        replica.mount(&[("role_id", &role_id), ("secret_id", &good)]);
        replica.ok("read_vault_secret", json!({ "path": "secret/apps/web" })).await;
    }
}
