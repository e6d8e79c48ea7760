//! The agent that fetches a connector's credentials, against a real Vault: logins, leases, and what Vault really refuses.

use std::{fs, io::Write, path::Path, process::Command, time::Duration};

use agent::pod::{self, AgentSettings};
use api::endpoint::AddressPolicy;
use credentials::supply::{SUPPLY_FILE, Supply, SupplyState};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    harness::{PLANTED, Server},
    issuer::{AUDIENCE, Issuer, SUBJECT},
};

const SECRET_ID_PATH: &str = "auth/approle/role/ci/secret-id";

/// An agent that runs, and its directories.
pub(crate) struct Running {
    pub(crate) identity: TempDir,
    files: TempDir,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(server: &Server, login: &Value, secrets: &Value, identity: &[(&str, &str)]) -> Self {
        Self::start_in(server, login, secrets, identity, tempfile::tempdir().unwrap())
    }

    fn start_in(server: &Server, login: &Value, secrets: &Value, identity: &[(&str, &str)], files: TempDir) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in identity {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let agent = json!({ "address": server.url, "insecureHttp": true, "login": login, "secrets": secrets,
                            "refreshInterval": "1s" });
        fs::write(directory.path().join("config.json"), json!({ "agent": agent }).to_string()).unwrap();
        let settings = AgentSettings {
            config_directory: directory.path().to_owned(),
            config_digest: None,
            identity_directory: directory.path().to_owned(),
            credentials_directory: files.path().to_owned(),
            address_policy: AddressPolicy::Loopback,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(pod::run(settings, stop.clone()));
        Self { identity: directory, files, stop, task }
    }

    pub(crate) fn file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.files.path().join(name)).ok()
    }

    fn supply(&self) -> Option<Supply> {
        let text = fs::read_to_string(self.files.path().join(SUPPLY_FILE)).unwrap_or_default();
        assert!(!text.contains(PLANTED) && !text.contains("hvs."), "{text}");
        Supply::read(self.files.path())
    }

    /// Waits until the agent says something, with bounds that a slow machine keeps.
    pub(crate) async fn until(&self, seconds: u64, what: &str, is: impl Fn(&Supply) -> bool) -> Supply {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            let supply = self.supply();
            if let Some(supply) = supply.clone().filter(|supply| is(supply)) {
                return supply;
            }
            assert!(Instant::now() < deadline, "{what}: {supply:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn serving(&self) -> Supply {
        self.until(60, "it serves", |supply| supply.state == SupplyState::Serving).await
    }

    pub(crate) async fn failing(&self, reason: &str) -> Supply {
        let is = |supply: &Supply| supply.state == SupplyState::Failing && supply.reason == reason;
        self.until(60, reason, is).await
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(30), self.task).await;
        ended.expect("it ends in time").unwrap();
    }
}

/// A Vault that lets one ServiceAccount in, with tokens that live so long.
pub(crate) async fn with_jwt(server: &Server, issuer: &Issuer, ttl: &str, longest: &str) {
    server.admin("POST", "sys/auth/jwt", json!({ "type": "jwt" })).await;
    let keys = json!({ "jwt_validation_pubkeys": [issuer.public_pem()], "jwt_supported_algs": ["ES256"] });
    server.admin("POST", "auth/jwt/config", keys).await;
    let role = json!({ "role_type": "jwt", "user_claim": "sub", "bound_subject": SUBJECT, "bound_audiences": [AUDIENCE],
                       "token_policies": ["ci"], "token_ttl": ttl, "token_max_ttl": longest });
    server.admin("POST", "auth/jwt/role/ci", role).await;
    server.policy("ci", "path \"secret/data/team/*\" { capabilities = [\"read\"] }").await;
    server.admin("POST", "secret/data/team/ci", json!({ "data": { "user": "ci", "password": PLANTED } })).await;
}

fn by_jwt() -> Value {
    json!({ "token": { "mount": "jwt", "role": "ci" } })
}

pub(crate) fn kv2() -> Value {
    json!({ "origin": { "kv2": { "mount": "secret", "path": "team/ci" } },
            "fields": { "user": "user", "token": "password" } })
}

pub(crate) async fn accessors(server: &Server) -> usize {
    let answer = server.admin("LIST", "auth/token/accessors", Value::Null).await;
    answer["data"]["keys"].as_array().unwrap().len()
}

async fn revoke_all(server: &Server, method: &str) {
    server.admin("POST", &format!("sys/leases/revoke-force/auth/{method}/login"), json!({})).await;
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn logs_in_with_a_token_of_the_cluster_and_goes_on_doing_so() {
    let (server, issuer) = (Server::start().await, Issuer::new());
    with_jwt(&server, &issuer, "3s", "7s").await;
    server.admin("POST", "sys/mounts/old", json!({ "type": "kv", "options": { "version": "1" } })).await;
    server.admin("POST", "old/ci", json!({ "pin": 1234 })).await;
    let rules =
        "path \"secret/data/team/*\" { capabilities = [\"read\"] } path \"old/*\" { capabilities = [\"read\"] }";
    server.policy("ci", rules).await;
    let before = accessors(&server).await;
    let kv1 = json!({ "origin": { "kv1": { "mount": "old", "path": "ci" } }, "fields": { "pin": "pin" } });
    let token = issuer.token(SUBJECT, AUDIENCE);
    let running = Running::start(&server, &by_jwt(), &json!([kv2(), kv1]), &[("token", &token)]);
    running.serving().await;
    let read = |name: &str| running.file(name).unwrap();
    assert_eq!((read("user"), read("token"), read("pin")), ("ci".into(), PLANTED.into(), "1234".into()));

    // A new version, and the end of the token's longest time.
    server.admin("POST", "secret/data/team/ci", json!({ "data": { "user": "ci", "password": "next" } })).await;
    running.until(60, "the new version", |supply| supply.rotations == 1).await;
    assert_eq!(read("token"), "next");
    running.until(60, "renewals", |supply| supply.renewals >= 4).await;
    running.serving().await;
    // Revoked by hand: found with the next look.
    revoke_all(&server, "jwt").await;
    server.admin("POST", "secret/data/team/ci", json!({ "data": { "user": "ci", "password": "third" } })).await;
    running.until(60, "a new login", |supply| supply.rotations == 2).await;
    running.end().await;
    assert_eq!(accessors(&server).await, before, "a token was not given back");
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn says_why_it_is_not_let_in_and_what_a_policy_lacks() {
    let (server, issuer) = (Server::start().await, Issuer::new());
    with_jwt(&server, &issuer, "1h", "2h").await;
    for (subject, audience) in [("system:serviceaccount:other:mcp-jenkins", AUDIENCE), (SUBJECT, "other")] {
        let token = issuer.token(subject, audience);
        let running = Running::start(&server, &by_jwt(), &json!([kv2()]), &[("token", &token)]);
        running.failing("VaultLoginFailed").await;
        // Another token is tried at once.
        fs::write(running.identity.path().join("token"), issuer.token(SUBJECT, AUDIENCE)).unwrap();
        running.serving().await;
        running.end().await;
    }

    let token = issuer.token(SUBJECT, AUDIENCE);
    server.policy("ci", "path \"secret/data/other\" { capabilities = [\"read\"] }").await;
    let running = Running::start(&server, &by_jwt(), &json!([kv2()]), &[("token", &token)]);
    let supply = running.failing("VaultPermissionMissing").await;
    assert!(supply.message.contains("secret/data/team/ci"), "{supply:?}");
    tokio::time::sleep(Duration::from_secs(8)).await;
    // The policy is changed, or another one is given to the role.
    server.policy("more", "path \"secret/data/team/*\" { capabilities = [\"read\"] }").await;
    server
        .admin(
            "POST",
            "auth/jwt/role/ci",
            json!({ "role_type": "jwt", "user_claim": "sub",
        "bound_subject": SUBJECT, "bound_audiences": [AUDIENCE], "token_policies": ["ci", "more"] }),
        )
        .await;
    running.serving().await;
    server.admin("DELETE", "secret/metadata/team/ci", Value::Null).await;
    let is = |supply: &Supply| supply.reason == "VaultSecretNotFound" && supply.state == SupplyState::Degraded;
    running.until(60, "it is gone", is).await;
    assert_eq!(running.file("token").as_deref(), Some(PLANTED));
    running.end().await;
}

pub(crate) async fn app_role(server: &Server, more: Value) -> String {
    server.admin("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    server.admin("POST", "secret/data/team/ci", json!({ "data": { "user": "ci", "password": PLANTED } })).await;
    let rules = "path \"secret/data/team/*\" { capabilities = [\"read\"] } \
                 path \"auth/approle/role/ci/secret-id/lookup\" { capabilities = [\"update\"] }";
    server.policy("ci", rules).await;
    let mut role = json!({ "token_policies": ["ci"] });
    role.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    server.admin("POST", "auth/approle/role/ci", role).await;
    let answer = server.admin("GET", "auth/approle/role/ci/role-id", Value::Null).await;
    answer["data"]["role_id"].as_str().unwrap().to_owned()
}

pub(crate) async fn secret_id(server: &Server) -> String {
    let answer = server.admin("POST", SECRET_ID_PATH, json!({})).await;
    answer["data"]["secret_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn logs_in_with_app_role_and_says_when_the_secret_id_is_used_up() {
    let server = Server::start().await;
    let role_id = app_role(&server, json!({ "secret_id_num_uses": 2 })).await;
    let login = json!({ "appRole": { "mount": "approle", "roleId": role_id } });
    let running = Running::start(&server, &login, &json!([kv2()]), &[("secret_id", &secret_id(&server).await)]);
    running.serving().await;
    revoke_all(&server, "approle").await;
    let is = |supply: &Supply| supply.state == SupplyState::Degraded && supply.message.contains("used up");
    running.until(60, "the last use", is).await;
    revoke_all(&server, "approle").await;
    running.until(60, "no login is left", is).await;
    assert_eq!(running.file("token").as_deref(), Some(PLANTED));
    fs::write(running.identity.path().join("secret_id"), secret_id(&server).await).unwrap();
    running.serving().await;
    running.end().await;

    let running = Running::start(&server, &login, &json!([kv2()]), &[("secret_id", "planted-wrong")]);
    let supply = running.failing("VaultLoginFailed").await;
    assert!(supply.message.contains("(400)"), "{supply:?}");
    running.end().await;
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn unwraps_a_secret_id_once() {
    let server = Server::start().await;
    let role_id = app_role(&server, json!({})).await;
    let login = |path: &str| json!({ "appRole": { "mount": "approle", "roleId": role_id, "creationPath": path } });
    let wrap = || async {
        let request = server.http.post(format!("{}/v1/{SECRET_ID_PATH}", server.url));
        let request = request.header("X-Vault-Token", super::harness::ROOT).header("X-Vault-Wrap-TTL", "60s");
        let answer: Value = request.json(&json!({})).send().await.unwrap().json().await.unwrap();
        answer["wrap_info"]["token"].as_str().unwrap().to_owned()
    };
    let start =
        |path: &str, token: &str| Running::start(&server, &login(path), &json!([kv2()]), &[("secret_id", token)]);
    let token = wrap().await;
    let elsewhere = start("auth/approle/role/other/secret-id", &token);
    elsewhere.failing("WrappedSecretMismatch").await;
    elsewhere.end().await;

    let first = start(SECRET_ID_PATH, &token);
    first.serving().await;
    revoke_all(&server, "approle").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    first.serving().await;
    // Somebody who comes later finds nothing in it.
    let second = start(SECRET_ID_PATH, &token);
    second.failing("WrappedSecretConsumed").await;
    fs::write(second.identity.path().join("secret_id"), wrap().await).unwrap();
    second.serving().await;
    first.end().await;
    second.end().await;
}

/// The certificate's serial number is different in each lease.
fn certificate(path: &Path) -> Option<String> {
    fs::read_to_string(path.join("certificate")).ok()
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn goes_from_lease_to_lease_before_each_ends() {
    let (server, issuer) = (Server::start().await, Issuer::new());
    with_jwt(&server, &issuer, "1h", "2h").await;
    server.admin("POST", "sys/mounts/pki", json!({ "type": "pki" })).await;
    server.admin("POST", "pki/root/generate/internal", json!({ "common_name": "ca", "ttl": "1h" })).await;
    let role = json!({ "allow_any_name": true, "ttl": "15s", "max_ttl": "15s", "generate_lease": true, "key_type": "ec",
                       "key_bits": 256 });
    server.admin("POST", "pki/roles/ci", role).await;
    server.policy("ci", "path \"pki/issue/ci\" { capabilities = [\"update\"] }").await;
    let leases = || async {
        let found = server.try_admin("LIST", "sys/leases/lookup/pki/issue/ci", Value::Null).await.unwrap();
        found.1["data"]["keys"].as_array().map_or(0, Vec::len)
    };
    let parameters = json!({ "common_name": "ci.example.com" });
    let secret = json!({ "origin": { "dynamic": { "path": "pki/issue/ci", "parameters": parameters } },
                         "fields": { "certificate": "certificate", "key": "private_key" } });
    let token = issuer.token(SUBJECT, AUDIENCE);
    let running = Running::start(&server, &by_jwt(), &json!([secret]), &[("token", &token)]);
    running.serving().await;
    let mut seen = vec![certificate(running.files.path()).unwrap()];
    let deadline = Instant::now() + Duration::from_mins(2);
    while seen.len() < 4 {
        assert!(Instant::now() < deadline, "{:?}", running.supply());
        let supply = running.supply().unwrap();
        assert_eq!(supply.state, SupplyState::Serving, "{supply:?}");
        assert!(leases().await > 0, "the last lease ended before there was another");
        let now = certificate(running.files.path()).unwrap();
        if !seen.contains(&now) {
            seen.push(now);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    running.end().await;
    // Sooner than the last one ends by itself.
    let deadline = Instant::now() + Duration::from_secs(5);
    while leases().await > 0 {
        assert!(Instant::now() < deadline, "leases were left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Memory of its own for a directory, as small as a volume of the pod; it ends with the test.
struct Volume(TempDir);

impl Volume {
    fn mount(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=0700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory.path()).status();
        assert!(mounted.unwrap().success(), "a tmpfs can't be mounted, which needs root");
        Self(directory)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN, and root; make test runs it"]
async fn says_that_its_volume_is_full_and_leaves_what_is_there() {
    let (server, issuer) = (Server::start().await, Issuer::new());
    with_jwt(&server, &issuer, "1h", "2h").await;
    let volume = Volume::mount("64k");
    let files = tempfile::tempdir_in(volume.0.path()).unwrap();
    let token = issuer.token(SUBJECT, AUDIENCE);
    let running = Running::start_in(&server, &by_jwt(), &json!([kv2()]), &[("token", &token)], files);
    running.serving().await;
    // Somebody else, or a fault, takes what is left; then comes a set that needs more than there is.
    let filler = volume.0.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
    let large = "x".repeat(24 * 1024);
    server.admin("POST", "secret/data/team/ci", json!({ "data": { "user": "ci", "password": large } })).await;
    let is = |supply: &Supply| supply.reason == "CredentialsNotWritten" && supply.state == SupplyState::Degraded;
    let supply = running.until(60, "it is full", is).await;
    assert!(supply.message.contains("stays in use"), "{supply:?}");
    assert_eq!((running.file("user").as_deref(), running.file("token").as_deref()), (Some("ci"), Some(PLANTED)));
    drop(file);
    fs::remove_file(filler).unwrap();
    running
        .until(40, "there is room again", |supply| supply.state == SupplyState::Serving && supply.rotations == 1)
        .await;
    assert_eq!(running.file("token"), Some(large));
    running.end().await;
}
