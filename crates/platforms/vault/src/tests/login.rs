//! Logins that Vault refuses, and tokens that come of age. Time is moved on by hand between the calls.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Double, TOKEN, connect};
use kit::{CredentialVerdict, HealthStatus};
use platform_testing::Connected;

const LOGIN: &str = "auth/approle/login";
const RENEW: &str = "auth/token/renew-self";

async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

fn log_in(double: &Double) -> Connected {
    let connector = connect(&double.uri(), None, &json!({ "auth": { "appRole": {} } }));
    connector.mount(1, &[("role_id", "planted-role"), ("secret_id", "planted-secret-id")]);
    connector
}

async fn read(connector: &Connected) -> Result<Value, tools::ToolError> {
    connector.call("read_vault_secret", json!({ "path": "secret/apps/web" })).await
}

#[tokio::test]
async fn rejected_credentials_are_tried_less_and_less() {
    // Vault counts what it rejects, each within 15 minutes of the one before, and locks the role out at the fifth.
    // As Vault 1.21 answers an address that a role or a secret id is not bound to; neither of the ids is wrong then.
    let barred =
        json!({ "errors": ["source address \"10.0.0.9\" unauthorized by CIDR restrictions on the role: %!w(<nil>)"] });
    let rejected = [(0, 1), (1, 1), (2, 2), (3, 2), (900, 2), (60, 3), (900, 3), (65, 4)].as_slice();
    let denied = [(0, 1), (1, 1), (2, 2), (3, 2), (2, 3), (60, 3), (200, 3), (60, 4), (250, 4), (60, 5)].as_slice();
    for (status, body, reason, schedule) in [
        (400, None, "LoginRejected", rejected),
        (403, None, "LoginDenied", denied),
        (400, Some(barred), "LoginDenied", rejected),
    ] {
        let double = Double::start().await;
        double.want(LOGIN, status, body);
        let connector = log_in(&double);
        for &(wait, tries) in schedule {
            later(wait).await;
            let report = connector.probe().await;
            assert_eq!((report.status, report.reason.as_str()), (HealthStatus::Error, reason));
            assert_eq!(report.credentials, CredentialVerdict::Rejected);
            read(&connector).await.unwrap_err();
            assert_eq!(double.count(LOGIN), tries, "after {wait} s");
        }
        // Other files are tried at once.
        let before = double.count(LOGIN);
        connector.mount(2, &[("role_id", "planted-role"), ("secret_id", "planted-other")]);
        read(&connector).await.unwrap_err();
        assert_eq!(double.count(LOGIN), before + 1);
    }
}

#[tokio::test]
async fn a_vault_that_cannot_log_in_now_does_not_count_against_the_credentials() {
    let double = Double::start().await;
    for status in [429, 500, 503] {
        double.want(LOGIN, status, None);
        for _ in 0..3 {
            assert_eq!(log_in(&double).probe().await.credentials, CredentialVerdict::Unknown, "{status}");
        }
    }
}

#[tokio::test]
async fn tokens_are_renewed_then_logged_in_for_again() {
    let double = Double::start().await;
    let connector = log_in(&double);
    let counts = || (double.count(LOGIN), double.count(RENEW));
    read(&connector).await.unwrap();
    later(2_100).await;
    read(&connector).await.unwrap();
    assert_eq!(counts(), (1, 0));
    later(600).await;
    read(&connector).await.unwrap();
    read(&connector).await.unwrap();
    assert_eq!(counts(), (1, 1));
    // A renewal that brings little time is the last.
    let brief = json!({ "auth": { "client_token": TOKEN, "lease_duration": 900, "renewable": true } });
    double.want(RENEW, 200, Some(brief));
    later(2_700).await;
    read(&connector).await.unwrap();
    assert_eq!(counts(), (1, 2));
    later(700).await;
    read(&connector).await.unwrap();
    assert_eq!(counts(), (2, 2));
    // A renewal that Vault refuses is followed by a login at once; one that it can't do now by nothing.
    double.want(RENEW, 503, None);
    later(2_700).await;
    read(&connector).await.unwrap();
    assert_eq!(counts(), (2, 3));
    double.want(RENEW, 403, None);
    later(2).await;
    read(&connector).await.unwrap();
    assert_eq!(counts(), (3, 4));
    connector.platform.close().await;
    // The two before were given back when they were replaced.
    given_back(&double, 3).await;
}

/// A token is given back while nobody waits for it.
async fn given_back(double: &Double, times: usize) {
    for _ in 0..200 {
        if double.count("auth/token/revoke-self") >= times {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(double.count("auth/token/revoke-self"), times);
}

/// A new secret id, or a policy that the role got later (external-secrets/external-secrets#376): the token before would
/// be a lease until it ends. One that Vault refuses is none that could be given back.
#[tokio::test]
async fn a_token_that_is_replaced_is_given_back() {
    let double = Double::start().await;
    let connector = log_in(&double);
    read(&connector).await.unwrap();
    connector.mount(2, &[("role_id", "planted-role"), ("secret_id", "planted-secret-id")]);
    read(&connector).await.unwrap();
    given_back(&double, 1).await;
    later(61).await;
    double.outdate();
    read(&connector).await.unwrap();
    given_back(&double, 2).await;
    assert_eq!(double.count(LOGIN), 3);

    let double = Double::start().await;
    double.set_uses(2);
    let connector = log_in(&double);
    for _ in 0..3 {
        read(&connector).await.unwrap();
    }
    assert!(double.count(LOGIN) > 1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(double.count("auth/token/revoke-self"), 0);

    // A batch token ends by itself (external-secrets/external-secrets#914).
    let double = Double::start().await;
    let auth = json!({ "client_token": TOKEN, "lease_duration": 3_600, "renewable": false, "token_type": "batch" });
    double.want(LOGIN, 200, Some(json!({ "request_id": "r", "auth": auth })));
    let connector = log_in(&double);
    read(&connector).await.unwrap();
    connector.platform.close().await;
    assert_eq!(double.count("auth/token/revoke-self"), 0);

    // The same token once more, of something between that remembers what a login was answered.
    let double = Double::start().await;
    let auth = json!({ "client_token": TOKEN, "lease_duration": 3_600, "renewable": true });
    double.want(LOGIN, 200, Some(json!({ "request_id": "r", "auth": auth })));
    let connector = log_in(&double);
    read(&connector).await.unwrap();
    connector.mount(2, &[("role_id", "planted-role"), ("secret_id", "planted-secret-id")]);
    read(&connector).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((double.count(LOGIN), double.count("auth/token/revoke-self")), (2, 0));
}

/// Login MFA (hashicorp/vault#14317), as Vault 1.21 answers.
#[tokio::test]
async fn a_second_factor_that_is_wanted_is_told() {
    let double = Double::start().await;
    let requirement =
        json!({ "mfa_request_id": "planted", "mfa_constraints": { "e": { "any": [{ "type": "totp" }] } } });
    let auth = json!({ "client_token": "", "accessor": "", "policies": null, "metadata": null, "lease_duration": 0,
                       "renewable": false, "token_type": "default", "mfa_requirement": requirement, "num_uses": 0 });
    double.want(LOGIN, 200, Some(json!({ "request_id": "r", "data": null, "auth": auth })));
    let connector = log_in(&double);
    let report = connector.probe().await;
    assert_eq!((report.reason.as_str(), report.credentials), ("LoginDenied", CredentialVerdict::Rejected));
    assert!(report.credentials_message.contains("login MFA"), "{report:?}");
    read(&connector).await.unwrap_err();
    // Nothing but the state of the server was asked, as the token is none.
    assert_eq!(double.total() - double.count(LOGIN), 1);
    let auth = json!({ "client_token": "", "lease_duration": 0 });
    double.want(LOGIN, 200, Some(json!({ "request_id": "r", "auth": auth })));
    assert_eq!(log_in(&double).probe().await.credentials, CredentialVerdict::Unknown);
}

/// `token_num_uses` of a role (hashicorp/vault#10664): each request takes a use.
#[tokio::test]
async fn a_token_whose_uses_are_counted_is_replaced_when_they_are_over() {
    for uses in [1, 2, 3, 6] {
        let double = Double::start().await;
        double.set_uses(uses);
        let connector = log_in(&double);
        for _ in 0..6 {
            read(&connector).await.unwrap();
        }
        assert!(double.count(LOGIN) > 1, "{uses}");
    }
}

/// hashicorp/vault-secrets-operator#1185.
#[tokio::test]
async fn a_policy_that_the_role_gets_later_is_logged_in_for() {
    let double = Double::start().await;
    let connector = log_in(&double);
    read(&connector).await.unwrap();
    double.outdate();
    assert!(read(&connector).await.unwrap_err().remedy.unwrap().contains("a policy of its token needs"));
    assert_eq!(double.count(LOGIN), 1);
    later(61).await;
    read(&connector).await.unwrap();
    assert_eq!(double.count(LOGIN), 2);
    // What no login helps with is tried ever more seldom.
    double.want("secret/subkeys/apps/web", 403, None);
    double.want("secret/data/apps/web", 403, None);
    double.capabilities(json!(["deny"]));
    for (wait, logins) in [(61, 2), (180, 3), (241, 3), (720, 4)] {
        later(wait).await;
        read(&connector).await.unwrap_err();
        assert_eq!(double.count(LOGIN), logins, "after {wait} s");
    }
}

/// What was looked up is given back by the time that its rights are asked for.
#[tokio::test]
async fn a_token_that_is_replaced_while_it_is_looked_at_is_no_finding() {
    let double = Double::start().await;
    let connector = log_in(&double);
    read(&connector).await.unwrap();
    double.look_up_slowly(Duration::from_millis(500));
    let login = async {
        while double.count("auth/token/lookup-self") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        connector.mount(2, &[("role_id", "planted-role"), ("secret_id", "planted-secret-id")]);
        read(&connector).await.unwrap();
        given_back(&double, 1).await;
    };
    let (report, ()) = tokio::join!(connector.probe(), login);
    assert_eq!((report.status, report.reason.as_str()), (HealthStatus::Ok, "Healthy"), "{report:?}");
    assert_eq!(report.credentials, CredentialVerdict::Accepted);
}

/// A disabled entity (hashicorp/vault#4791): its tokens are refused, and good again when it is enabled.
#[tokio::test]
async fn a_token_that_is_refused_for_a_while_stays_in_use() {
    let double = Double::start().await;
    let connector = log_in(&double);
    read(&connector).await.unwrap();
    double.bar(true);
    for _ in 0..3 {
        read(&connector).await.unwrap_err();
        let report = connector.probe().await;
        assert_eq!((report.reason.as_str(), report.credentials), ("LoginDenied", CredentialVerdict::Rejected));
        assert!(report.credentials_message.contains("entity is disabled"), "{report:?}");
    }
    let logins = double.count(LOGIN);
    double.bar(false);
    read(&connector).await.unwrap();
    assert_eq!(double.count(LOGIN), logins);
    // The login is tried again when its pause is over.
    later(300).await;
    assert_eq!(connector.probe().await.credentials, CredentialVerdict::Accepted);
}
