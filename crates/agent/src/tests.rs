//! The agent's state machine against a strict double: hours pass in a moment, and each step meets real HTTP.

mod double;
mod owned;

use std::{fs, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use self::double::{Double, JWT, ROLE_ID};
use super::{
    connect,
    identity::{Identity, Means},
    pod::{self, AgentSettings},
    store::Store,
    supplier::Supplier,
};
use api::endpoint::AddressPolicy;
use credentials::supply::{SUPPLY_FILE, Supply, SupplyState};
use pod_api::agent::AgentConfig;

const LOGIN: &str = "auth/kubernetes/login";
const CREDS: &str = "database/creds/ci";
const KV2: &str = "secret/data/team/jenkins";

/// A token of Vault that somebody owns.
const OWNED: &str = "planted-owned";

/// An agent, its directories, and the Vault that it talks to.
struct Agent {
    double: Arc<Double>,
    supplier: Supplier,
    identity: TempDir,
    files: TempDir,
}

fn kv2() -> Value {
    json!({ "origin": { "kv2": { "mount": "secret", "path": "team/jenkins" } },
            "fields": { "user": "username", "api_token": "token" } })
}

fn dynamic() -> Value {
    json!({ "origin": { "dynamic": { "path": CREDS } }, "fields": { "login": "username", "password": "password" } })
}

fn by_token() -> Value {
    json!({ "token": { "mount": "kubernetes", "role": "ci" } })
}

fn by_app_role(creation_path: Option<&str>) -> Value {
    json!({ "appRole": { "mount": "approle", "roleId": ROLE_ID, "creationPath": creation_path } })
}

fn config(double: &Double, login: &Value, secrets: &[Value]) -> AgentConfig {
    serde_json::from_value(json!({
        "address": double.uri(), "insecureHttp": true, "login": login, "secrets": secrets, "refreshInterval": "60s",
    }))
    .unwrap()
}

impl Agent {
    fn new(double: Arc<Double>, login: &Value, secrets: &[Value]) -> Self {
        let (identity, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(identity.path().join("token"), format!("{JWT}\n")).unwrap();
        Self::in_directories(double, login, secrets, identity, files)
    }

    fn in_directories(
        double: Arc<Double>,
        login: &Value,
        secrets: &[Value],
        identity: TempDir,
        files: TempDir,
    ) -> Self {
        let means = Means::Mounted(identity.path().to_owned());
        Self::with_means(double, login, secrets, means, identity, files)
    }

    /// One that is lent the token in the file `token`.
    fn owned(double: Arc<Double>, secrets: &[Value]) -> Self {
        let (identity, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = identity.path().join("token");
        fs::write(&file, format!("{OWNED}\n")).unwrap();
        Self::with_means(double, &by_app_role(None), secrets, Means::OwnedFile(file), identity, files)
    }

    fn with_means(
        double: Arc<Double>,
        login: &Value,
        secrets: &[Value],
        means: Means,
        identity: TempDir,
        files: TempDir,
    ) -> Self {
        let config = config(&double, login, secrets);
        let client = connect(&config, AddressPolicy::Loopback).unwrap();
        let known = Identity::new(client.clone(), means, config.login.clone());
        let supplier = Supplier::new(client, known, Store::directory(files.path().to_owned()), &config);
        Self { double, supplier, identity, files }
    }

    fn secret_id(&self, text: &str) {
        fs::write(self.identity.path().join("secret_id"), text).unwrap();
    }

    /// One step, and what it says of itself.
    async fn step(&mut self) -> Supply {
        self.supplier.step().await;
        self.supplier.tell(self.supplier.next());
        self.supply()
    }

    /// Lets time pass, with a step whenever one is due.
    async fn run(&mut self, seconds: u64) -> Supply {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut in_a_row = 0;
        loop {
            let next = self.supplier.next();
            in_a_row = if next > Instant::now() { 0 } else { in_a_row + 1 };
            assert!(in_a_row < 4, "it never rests");
            self.until(next.min(end)).await;
            if next > end {
                return self.supply();
            }
            self.step().await;
        }
    }

    async fn until(&self, at: Instant) {
        // The double's clock goes in whole seconds.
        let passed = at.saturating_duration_since(Instant::now());
        self.double.state().clock += (passed + Duration::from_millis(500)).as_secs();
        tokio::time::pause();
        tokio::time::advance(passed).await;
        tokio::time::resume();
    }

    fn supply(&self) -> Supply {
        let text = fs::read_to_string(self.files.path().join(SUPPLY_FILE)).unwrap();
        assert!(!text.contains("planted"), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    fn said(&self) -> (SupplyState, String) {
        let supply = self.supply();
        (supply.state, supply.reason)
    }

    fn file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.files.path().join(name)).ok()
    }

    fn count(&self, path: &str) -> usize {
        self.double.count(path)
    }
}

async fn double() -> Arc<Double> {
    Arc::new(Double::start().await)
}

#[tokio::test]
async fn every_kind_of_secret_is_written_as_one_set() {
    let kv1 = json!({ "origin": { "kv1": { "mount": "old", "path": "jenkins" } }, "fields": { "pin": "pin" } });
    let issued = json!({ "origin": { "dynamic": { "path": "pki/issue/ci", "parameters": { "common_name": "ci" } } },
                         "fields": { "certificate": "password" } });
    let mut agent = Agent::new(double().await, &by_token(), &[kv2(), kv1, dynamic(), issued]);
    let supply = agent.step().await;
    assert_eq!((supply.state, supply.reason.as_str()), (SupplyState::Serving, "Loaded"), "{supply:?}");
    let read = |name: &str| agent.file(name).unwrap();
    assert_eq!((read("user"), read("api_token"), read("pin")), ("ci".into(), "planted-kv2".into(), "1234".into()));
    assert_eq!((read("password"), read("certificate")), ("planted-password-1".into(), "planted-password-2".into()));
    assert!(supply.expires.is_some() && supply.next_attempt.is_some() && supply.fetched.is_some());
    // Nothing is due.
    let seen = agent.double.state().seen.len();
    agent.step().await;
    assert_eq!(agent.double.state().seen.len(), seen);
}

#[tokio::test]
async fn a_kept_secret_is_looked_at_again() {
    let mut agent = Agent::new(double().await, &by_token(), &[kv2()]);
    agent.step().await;
    agent.run(200).await;
    // Every 48 to 60 seconds.
    assert!((4..=5).contains(&agent.count(KV2)), "{}", agent.count(KV2));
    assert_eq!((agent.count(LOGIN), agent.supply().rotations), (1, 0));
    agent.double.state().kv.insert(KV2.to_owned(), json!({ "username": "ci", "token": "planted-next" }));
    let supply = agent.run(61).await;
    assert_eq!((agent.file("api_token").as_deref(), supply.rotations), (Some("planted-next"), 1));
    // A deleted one, or one without the key, takes nothing away.
    for (data, reason) in [(Some(json!({ "username": "ci" })), "VaultSecretNotFound"), (None, "VaultSecretNotFound")] {
        match data {
            Some(data) => agent.double.state().kv.insert(KV2.to_owned(), data),
            None => agent.double.state().kv.remove(KV2),
        };
        let supply = agent.run(61).await;
        assert_eq!((supply.state, supply.reason.as_str()), (SupplyState::Degraded, reason));
        assert_eq!(agent.file("api_token").as_deref(), Some("planted-next"));
    }
}

#[tokio::test]
async fn a_dynamic_secret_goes_through_three_leases() {
    let mut agent = Agent::new(double().await, &by_token(), &[dynamic()]);
    agent.step().await;
    let mut last = agent.file("password").unwrap();
    for number in 2..=4 {
        while agent.file("password").as_ref() == Some(&last) {
            // What is in the files is good at any time.
            let leases = agent.double.leases();
            assert!(leases.iter().any(|lease| lease.ends_with(&format!("/{}", number - 1))), "{leases:?}");
            agent.run(1).await;
        }
        last = agent.file("password").unwrap();
        assert_eq!(last, format!("planted-password-{number}"));
        // The old one lives on for whoever still uses it, and is given back then.
        assert_eq!(agent.double.leases().len(), 2);
        agent.run(31).await;
        assert_eq!(agent.double.leases().len(), 1);
    }
    let supply = agent.supply();
    assert_eq!((supply.state, supply.rotations), (SupplyState::Serving, 3));
    assert!(supply.renewals >= 3 && supply.failures == 0, "{supply:?}");
    assert_eq!(agent.count(LOGIN), 1);
}

/// A static role: Vault changes its password, and gives no lease.
#[tokio::test]
async fn a_password_that_vault_changes_is_followed() {
    let role = json!({ "origin": { "dynamic": { "path": "database/static-creds/ci" } },
                       "fields": { "login": "username", "password": "password" } });
    // By its time: far apart and within the interval, and by hand, when the time that was stated no longer holds.
    for (period, by_hand, rolls_over) in
        [(100, false, false), (20, false, false), (86_400, true, false), (100, false, true)]
    {
        let double = double().await;
        double.state().rotation = (1, period, period);
        double.state().rolls_over = rolls_over;
        let mut agent = Agent::new(double, &by_token(), std::slice::from_ref(&role));
        agent.step().await;
        let before = agent.count("database/static-creds/ci");
        let mut stale = 0;
        for second in 0..300 {
            if by_hand && second == 100 {
                agent.double.state().rotation.0 += 1;
            }
            agent.run(1).await;
            let latest = {
                let vault = agent.double.state();
                let (number, next, period) = vault.rotation;
                if vault.clock < next { number } else { number + 1 + (vault.clock - next) / period }
            };
            let current = agent.file("password") == Some(format!("planted-static-{latest}"));
            stale = if current { 0 } else { stale + 1 };
            // What no time told is found at the next look, a minute later at most; one that rolls over gives the old
            // password for five seconds more, and a look in these finds nothing.
            let longest = match (by_hand, rolls_over) {
                (_, true) => 5 + 61,
                (true, false) => 61,
                (false, false) => 8,
            };
            assert!(stale <= longest, "every {period} s: stale for {stale} s");
        }
        let asked = agent.count("database/static-creds/ci") - before;
        assert!(
            asked <= usize::try_from(300 / period.min(60)).unwrap() * 2 + 8,
            "every {period} s: asked {asked} times"
        );
        assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()));
        assert_eq!(agent.supply().expires, None);
    }
}

/// What is made anew by each call, and has no lease, is made when it is due and not at each look.
#[tokio::test]
async fn what_ends_without_a_lease_is_replaced_before_it_ends() {
    let signed = json!({ "origin": { "dynamic": { "path": "pki/sign/ci", "parameters": { "common_name": "ci" } } },
                         "fields": { "certificate": "certificate" } });
    let double = double().await;
    double.state().lease_ttl = 3_000;
    let mut agent = Agent::new(double, &by_token(), &[signed]);
    let supply = agent.step().await;
    assert!(supply.expires.is_some(), "{supply:?}");
    agent.run(1_700).await;
    assert_eq!(agent.file("certificate").as_deref(), Some("planted-certificate-1"));
    agent.run(600).await;
    assert_eq!(agent.file("certificate").as_deref(), Some("planted-certificate-2"));
    assert_eq!(agent.double.state().signed, 2);
}

/// Batch tokens can't be revoked, and the leases that were made with them stay.
#[tokio::test]
async fn leases_of_batch_tokens_are_given_back_one_by_one() {
    let double = double().await;
    double.state().batch = true;
    (double.state().token_ttl, double.state().lease_ttl) = (300, 250);
    let mut agent = Agent::new(double, &by_token(), &[dynamic()]);
    agent.step().await;
    for _ in 0..40 {
        agent.run(30).await;
        let unended = agent.double.leases().len();
        assert!((1..=2).contains(&unended), "{unended}");
    }
    assert!(agent.count(LOGIN) >= 4, "{}", agent.count(LOGIN));
    assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()));
    agent.supplier.close().await;
    assert_eq!(agent.double.leases(), Vec::<String>::new());
    assert_eq!(agent.count("auth/token/revoke-self"), 0);
}

#[tokio::test]
async fn the_wrong_version_and_a_deleted_one_are_told() {
    let origin = |origin: Value| json!({ "origin": origin, "fields": { "user": "username" } });
    let two = |mount: &str| origin(json!({ "kv2": { "mount": mount, "path": "team/jenkins" } }));
    let one = origin(json!({ "kv1": { "mount": "secret", "path": "jenkins" } }));
    for (secret, kept, part) in [
        (two("old"), None, "old is a KV engine of version 1, so set version: 1"),
        (one, None, "secret is a KV engine of version 2, so set version: 2"),
        (two("secret"), Some("2026-01-02T03:04:05.678Z"), "4, was deleted at 2026-01-02T03:04:05.678Z"),
        (two("secret"), Some(""), "4, is destroyed"),
    ] {
        let double = double().await;
        if let Some(deleted) = kept {
            double.state().kv.insert(KV2.to_owned(), json!(deleted));
        }
        let mut agent = Agent::new(double, &by_token(), &[secret]);
        let supply = agent.step().await;
        assert_eq!(supply.reason, "VaultSecretNotFound", "{supply:?}");
        assert!(supply.message.contains(part), "{supply:?}");
    }
    // Neither: which of both it is isn't known.
    let double = double().await;
    double.state().kv.remove(KV2);
    let supply = Agent::new(double, &by_token(), &[kv2()]).step().await;
    assert!(supply.message.contains("(or version, the KV engine's)"), "{supply:?}");
}

#[tokio::test]
async fn a_token_that_has_lived_its_longest_is_replaced_with_all_that_hangs_on_it() {
    let double = double().await;
    (double.state().token_ttl, double.state().token_max) = (100, 250);
    (double.state().lease_ttl, double.state().lease_max) = (10_000, 10_000);
    let mut agent = Agent::new(double, &by_token(), &[dynamic(), kv2()]);
    agent.step().await;
    for _ in 0..900 {
        agent.run(1).await;
        // The credentials in the files hang on a token that lives.
        let number = agent.file("password").unwrap().rsplit('-').next().unwrap().to_owned();
        let leases = agent.double.leases();
        assert!(leases.iter().any(|lease| lease.ends_with(&format!("/{number}"))), "{number} {leases:?}");
    }
    assert_eq!(agent.supply().state, SupplyState::Serving);
    let logins = agent.count(LOGIN);
    assert!((4..=7).contains(&logins), "{logins}");
    assert!(agent.count("auth/token/revoke-self") >= logins - 2);
    agent.supplier.close().await;
    assert_eq!(agent.double.tokens(), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_within_the_refresh_interval() {
    for secrets in [vec![dynamic()], vec![kv2(), dynamic()]] {
        let mut agent = Agent::new(double().await, &by_token(), &secrets);
        agent.step().await;
        agent.double.state().tokens.get_mut("planted-token-1").unwrap().revoked = true;
        agent.run(61).await;
        assert_eq!(agent.file("password").as_deref(), Some("planted-password-2"));
        assert_eq!(agent.double.leases().len(), 1);
        assert_eq!((agent.count(LOGIN), agent.supply().state), (2, SupplyState::Serving));
    }
}

#[tokio::test]
async fn it_rests_while_it_has_no_token_to_give_a_lease_back_with() {
    let mut agent = Agent::new(double().await, &by_token(), &[dynamic()]);
    let first = agent.step().await.rotations;
    while agent.supply().rotations == first {
        agent.run(1).await;
    }
    // The old lease would be given back 30 s later.
    agent.double.state().tokens.values_mut().for_each(|token| token.revoked = true);
    agent.double.state().login_refused = Some(403);
    agent.run(300).await;
    assert_eq!(agent.said(), (SupplyState::Degraded, "VaultLoginFailed".into()));
}

#[tokio::test]
async fn what_changes_twice_in_a_second_and_what_was_invalid_for_a_moment_end_in_what_is_there_last() {
    let mut agent = Agent::new(double().await, &by_token(), &[kv2()]);
    agent.step().await;
    for round in 0..20 {
        let put = |agent: &Agent, data: Value| agent.double.state().kv.insert(KV2.to_owned(), data);
        let (first, last) = (format!("planted-first-{round}"), format!("planted-last-{round}"));
        put(&agent, json!({ "username": "ci", "token": first }));
        agent.run(61).await;
        assert_eq!(agent.file("api_token"), Some(first.clone()));
        put(&agent, json!({ "username": "ci" }));
        agent.run(61).await;
        assert_eq!(agent.said(), (SupplyState::Degraded, "VaultSecretNotFound".into()));
        assert_eq!(agent.file("api_token"), Some(first));
        put(&agent, json!({ "username": "ci", "token": "planted-passing" }));
        put(&agent, json!({ "username": "ci", "token": last }));
        agent.run(301).await;
        assert_eq!(agent.file("api_token"), Some(last));
        assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()));
    }
}

#[tokio::test]
async fn a_policy_that_is_added_later_is_found_soon() {
    let double = double().await;
    double.state().permitted.remove(KV2);
    let mut agent = Agent::new(double, &by_token(), &[dynamic(), kv2()]);
    let supply = agent.step().await;
    assert_eq!((supply.state, supply.reason.as_str()), (SupplyState::Failing, "VaultPermissionMissing"));
    assert!(supply.message.contains(r#"path "secret/data/team/jenkins" { capabilities = ["read"] }"#), "{supply:?}");
    assert_eq!(agent.file("password"), None, "half of a set was written");
    agent.run(40).await;
    agent.double.state().permitted.insert(KV2.to_owned());
    // By the second try, as not each one logs in anew; a try with a new token asks twice.
    let before = agent.count(KV2);
    while agent.said() != (SupplyState::Serving, "Loaded".into()) {
        assert!(agent.count(KV2) - before < 5, "{:?}", agent.supply());
        agent.until(agent.supplier.next()).await;
        agent.step().await;
    }
    agent.run(100).await;
    assert_eq!((agent.double.tokens().len(), agent.double.leases().len()), (1, 1));
    // What was tried in vain was given back, and the other secret was left alone meanwhile.
    assert!(agent.count(CREDS) <= 2, "{}", agent.count(CREDS));

    // Taken away and left so: it is tried ever more seldom, and the files stay.
    agent.double.state().permitted.remove(KV2);
    agent.run(3_600).await;
    assert_eq!(agent.said(), (SupplyState::Degraded, "VaultPermissionMissing".into()));
    let before = agent.count(KV2);
    agent.run(3_600).await;
    assert!((24..=40).contains(&(agent.count(KV2) - before)), "{}", agent.count(KV2) - before);
    assert_eq!(agent.file("api_token").as_deref(), Some("planted-kv2"));
    assert_eq!(agent.double.tokens().len(), 1);
}

/// Login MFA (hashicorp/vault#14317).
#[tokio::test]
async fn a_second_factor_that_is_wanted_is_told() {
    let double = double().await;
    double.state().second_factor = true;
    let mut agent = Agent::new(double, &by_token(), &[kv2()]);
    let supply = agent.step().await;
    assert_eq!((supply.state, supply.reason.as_str()), (SupplyState::Failing, "VaultLoginFailed"));
    assert!(supply.message.contains("login MFA"), "{supply:?}");
    // No token that is none is used.
    assert_eq!((agent.count(LOGIN), agent.double.state().seen.len()), (1, 1));
    agent.double.state().second_factor = false;
    agent.until(agent.supplier.next()).await;
    assert_eq!(agent.step().await.state, SupplyState::Serving);
}

/// KV version 1 answers numbers digit by digit, version 2 as floats (`passthrough.go` and `path_data.go` of the engine).
#[tokio::test]
async fn a_number_is_written_digit_by_digit_or_not_at_all() {
    let double = double().await;
    let answer = |number: &str, versioned: bool| {
        let data = format!(r#"{{"pin": {number}, "username": "ci", "token": {number}}}"#);
        let data = if versioned { format!(r#"{{"data": {data}, "metadata": {{}}}}"#) } else { data };
        (200, format!(r#"{{"request_id": "r", "lease_id": "", "data": {data}}}"#))
    };
    let kv1 = json!({ "origin": { "kv1": { "mount": "old", "path": "jenkins" } }, "fields": { "pin": "pin" } });
    double.state().raw.insert("old/jenkins".to_owned(), answer("40123456789012345678901.10", false));
    double.state().raw.insert(KV2.to_owned(), answer("9007199254740991", true));
    let mut agent = Agent::new(double, &by_token(), &[kv1, kv2()]);
    assert_eq!(agent.step().await.state, SupplyState::Serving);
    assert_eq!(agent.file("pin").as_deref(), Some("40123456789012345678901.10"));
    assert_eq!(agent.file("api_token").as_deref(), Some("9007199254740991"));
    agent.double.state().raw.insert(KV2.to_owned(), answer("18446744073709552000", true));
    let supply = agent.run(61).await;
    assert_eq!((supply.state, supply.reason.as_str()), (SupplyState::Degraded, "VaultSecretNotFound"));
    assert!(supply.message.contains("keep it as a text"), "{supply:?}");
    assert_eq!(agent.file("api_token").as_deref(), Some("9007199254740991"));
}

#[tokio::test]
async fn sealed_for_longer_than_the_lease() {
    let mut agent = Agent::new(double().await, &by_token(), &[dynamic()]);
    agent.step().await;
    agent.double.state().sealed = true;
    agent.run(500).await;
    let supply = agent.supply();
    assert_eq!((supply.state, supply.reason.as_str()), (SupplyState::Degraded, "VaultSealed"));
    assert!(supply.message.contains("stays in use until"), "{supply:?}");
    agent.run(200).await;
    let supply = agent.supply();
    assert_eq!((supply.state, supply.reason.as_str()), (SupplyState::Failing, "VaultSealed"));
    assert!(supply.message.contains("have ended"), "{supply:?}");
    assert_eq!(agent.file("password").as_deref(), Some("planted-password-1"));
    agent.double.state().sealed = false;
    agent.run(31).await;
    assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()));
    assert_eq!(agent.file("password").as_deref(), Some("planted-password-2"));
}

#[tokio::test]
async fn a_refused_login_says_so_and_other_files_are_tried_at_once() {
    for status in [400, 403] {
        let double = double().await;
        double.state().login_refused = Some(status);
        let mut agent = Agent::new(double, &by_token(), &[kv2()]);
        agent.step().await;
        assert_eq!(agent.said(), (SupplyState::Failing, "VaultLoginFailed".into()));
        agent.run(24 * 3_600).await;
        let tries = agent.count(LOGIN);
        assert!((280..=420).contains(&tries), "{tries}");
        agent.double.state().login_refused = None;
        fs::write(agent.identity.path().join("token"), "another").unwrap();
        fs::write(agent.identity.path().join("token"), JWT).unwrap();
        agent.supplier.look_at_identity();
        agent.step().await;
        assert_eq!(agent.count(LOGIN), tries, "the same file was tried early");
        fs::write(agent.identity.path().join("token"), "another").unwrap();
        agent.supplier.look_at_identity();
        agent.step().await;
        assert_eq!(agent.count(LOGIN), tries + 1);
        fs::remove_file(agent.identity.path().join("token")).unwrap();
        let supply = agent.run(600).await;
        assert!(supply.message.contains("missing"), "{supply:?}");
    }
}

#[tokio::test]
async fn an_app_role_is_used_sparingly() {
    let double = double().await;
    double.state().secret_ids.insert("planted-secret-id".into(), 3);
    let mut agent = Agent::new(double, &by_app_role(None), &[kv2()]);
    agent.step().await;
    let missing = agent.supply();
    assert!(missing.message.contains("secretId"), "{missing:?}");
    agent.secret_id("planted-wrong");
    agent.supplier.look_at_identity();
    agent.run(3_600).await;
    let tries = agent.count("auth/approle/login");
    assert!((4..=6).contains(&tries), "{tries}");
    assert_eq!(agent.said(), (SupplyState::Failing, "VaultLoginFailed".into()));
    agent.secret_id("planted-secret-id\n");
    agent.supplier.look_at_identity();
    agent.step().await;
    assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()));
    // Two more logins, then it is used up, which is said ahead of the next one and without a try.
    for _ in 0..2 {
        agent.double.state().tokens.values_mut().for_each(|token| token.revoked = true);
        agent.run(61).await;
    }
    let supply = agent.supply();
    assert_eq!((supply.state, supply.reason.as_str()), (SupplyState::Degraded, "VaultLoginFailed"));
    assert!(supply.message.contains("used up"), "{supply:?}");
    let tries = agent.count("auth/approle/login");
    agent.double.state().tokens.values_mut().for_each(|token| token.revoked = true);
    let supply = agent.run(600).await;
    assert!(supply.message.contains("used up"), "{supply:?}");
    assert_eq!(agent.count("auth/approle/login"), tries);
    assert_eq!(agent.file("api_token").as_deref(), Some("planted-kv2"));
}

#[tokio::test]
async fn a_secret_id_ends_by_vaults_clock_whatever_that_of_the_node_shows() {
    const DAY: i64 = 86_400;
    for ahead in [0, 3 * DAY, -3 * DAY] {
        let double = double().await;
        double.state().began -= ahead;
        double.state().secret_ids.insert("planted-secret-id".into(), 100);
        double.state().secret_ids_end = Some(1_000);
        let mut agent = Agent::new(double, &by_app_role(None), &[kv2()]);
        agent.secret_id("planted-secret-id");
        agent.step().await;
        agent.run(600).await;
        assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()), "{ahead} s ahead");
        // What is good yet is used.
        agent.double.state().tokens.values_mut().for_each(|token| token.revoked = true);
        agent.run(61).await;
        assert_eq!((agent.said(), agent.count("auth/approle/login")), ((SupplyState::Serving, "Loaded".into()), 2));
        // That it has ended is said ahead of the next login, and none is tried.
        let supply = agent.run(500).await;
        assert_eq!((supply.state, supply.reason.as_str()), (SupplyState::Degraded, "VaultLoginFailed"));
        assert!(supply.message.contains("the secret id ended at"), "{ahead} s ahead: {supply:?}");
        agent.double.state().tokens.values_mut().for_each(|token| token.revoked = true);
        agent.run(600).await;
        assert_eq!(agent.count("auth/approle/login"), 2);
    }
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once_and_only_from_where_it_should_come() {
    const PATH: &str = "auth/approle/role/ci/secret-id";
    let double = double().await;
    double.state().secret_ids.insert("planted-secret-id".into(), 100);
    let wrap = |at: &str| {
        let entry = (at.to_owned(), "planted-secret-id".to_owned());
        double.state().wrapped.insert("planted-wrapping".into(), entry);
    };
    wrap("auth/approle/role/other/secret-id");
    let mut agent = Agent::new(Arc::clone(&double), &by_app_role(Some(PATH)), &[kv2()]);
    agent.secret_id("planted-wrapping");
    agent.run(30).await;
    assert_eq!(agent.said(), (SupplyState::Failing, "WrappedSecretMismatch".into()));
    assert_eq!(double.count("sys/wrapping/unwrap"), 0);

    wrap(PATH);
    let mut agent = Agent::new(Arc::clone(&double), &by_app_role(Some(PATH)), &[kv2()]);
    agent.secret_id("planted-wrapping");
    // What Vault did not take is good yet.
    double.state().unwrap_fails = Some(503);
    let supply = agent.step().await;
    assert_ne!(supply.reason, "WrappedSecretConsumed", "{supply:?}");
    agent.run(61).await;
    assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()));
    // Logged in again with what was unwrapped.
    double.state().tokens.values_mut().for_each(|token| token.revoked = true);
    agent.run(61).await;
    assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()));
    assert_eq!(double.count("sys/wrapping/unwrap"), 2);

    let mut second = Agent::new(Arc::clone(&double), &by_app_role(Some(PATH)), &[kv2()]);
    second.secret_id("planted-wrapping");
    let supply = second.step().await;
    assert_eq!((supply.state, supply.reason.as_str()), (SupplyState::Failing, "WrappedSecretConsumed"));
    assert!(supply.message.contains("somebody else"), "{supply:?}");
}

#[tokio::test]
async fn files_that_cannot_be_written_are_said_and_tried_again() {
    let mut agent = Agent::new(double().await, &by_token(), &[kv2()]);
    agent.step().await;
    let obstacle = agent.files.path().join("..data_tmp");
    fs::create_dir(&obstacle).unwrap();
    agent.double.state().kv.insert(KV2.to_owned(), json!({ "username": "ci", "token": "planted-next" }));
    agent.run(61).await;
    assert_eq!(agent.said(), (SupplyState::Degraded, "CredentialsNotWritten".into()));
    assert_eq!(agent.file("api_token").as_deref(), Some("planted-kv2"));
    fs::remove_dir(obstacle).unwrap();
    agent.run(31).await;
    assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()));
    assert_eq!(agent.file("api_token").as_deref(), Some("planted-next"));
}

#[tokio::test]
async fn an_agent_that_begins_anew_keeps_what_the_last_one_left() {
    let mut agent = Agent::new(double().await, &by_token(), &[dynamic()]);
    agent.step().await;
    agent.double.state().sealed = true;
    let Agent { double, identity, files, .. } = agent;
    let mut agent = Agent::in_directories(double, &by_token(), &[dynamic()], identity, files);
    agent.step().await;
    assert_eq!(agent.said(), (SupplyState::Degraded, "VaultSealed".into()));
    assert_eq!(agent.file("password").as_deref(), Some("planted-password-1"));
    agent.run(700).await;
    assert_eq!(agent.said(), (SupplyState::Failing, "VaultSealed".into()));
    agent.double.state().sealed = false;
    agent.run(31).await;
    assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()));
}

#[tokio::test]
async fn it_runs_until_it_is_stopped_and_gives_everything_back() {
    let double = double().await;
    let (identity, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(identity.path().join("token"), JWT).unwrap();
    let config = config(&double, &by_token(), &[dynamic()]);
    let config_file = identity.path().join("config.json");
    fs::write(config_file, json!({ "connector": {}, "agent": config }).to_string()).unwrap();
    let settings = AgentSettings {
        config_directory: identity.path().to_owned(),
        config_digest: None,
        identity_directory: identity.path().to_owned(),
        credentials_directory: files.path().to_owned(),
        address_policy: AddressPolicy::Loopback,
    };
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(pod::run(settings, stop.clone()));
    let written = |path: &Path| path.join("password").exists();
    for _ in 0..500 {
        if written(files.path()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(written(files.path()));
    stop.cancel();
    running.await.unwrap();
    assert_eq!((double.tokens(), double.leases()), (Vec::<String>::new(), Vec::<String>::new()));
}
