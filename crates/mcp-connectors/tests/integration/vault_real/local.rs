//! `mcp-connectors local` on a machine that has a Vault: each way to log in, what it leaves behind, and that nothing at any
//! log level holds a credential, however it is written.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    agent::{accessors, app_role, secret_id, with_jwt},
    harness::Server,
    issuer::{AUDIENCE, Issuer, SUBJECT},
};
use crate::forms::leak;

/// The token that the connector calls its platform with. Its signs look different in each encoding.
const PLATFORM: &str = "planted/platform+token=1";
/// The token that the person has.
const OWN: &str = "planted/own+token=1";

/// A machine: manifests, a home, and what its programs are started with.
struct Machine {
    folder: TempDir,
    home: TempDir,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// A program that goes on, and what it has written.
struct Running {
    child: Child,
    written: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Machine {
    /// Manifests of a connector to the Vault, whose token lies in that Vault.
    async fn new(server: &Server, auth: &Value) -> Self {
        let rules = "path \"secret/data/team/*\" { capabilities = [\"read\"] }";
        server.policy("ci", rules).await;
        let made = json!({ "id": PLATFORM, "policies": ["ci"], "ttl": "1h" });
        server.admin("POST", "auth/token/create", made).await;
        server.admin("POST", "secret/data/team/ci", json!({ "data": { "token": PLATFORM } })).await;
        let folder = tempfile::tempdir().unwrap();
        let source = json!({
            "apiVersion": "mcp-connectors.io/v1alpha1", "kind": "CredentialSource", "metadata": { "name": "bot" },
            "spec": { "hosts": ["127.0.0.1"], "vault": {
                "address": server.url, "insecureHttp": true, "auth": auth,
                "secrets": [{ "kv": { "path": "team/ci" }, "fields": { "token": "token" } }],
            } },
        });
        let connector = json!({
            "apiVersion": "mcp-connectors.io/v1alpha1", "kind": "McpConnector", "metadata": { "name": "vault" },
            "spec": { "platform": { "vault": { "url": server.url, "insecureHttp": true } },
                      "credentials": { "name": "bot" }, "probe": { "interval": "5s", "timeout": "2s" } },
        });
        for object in [&source, &connector] {
            let name = object["kind"].as_str().unwrap();
            fs::write(folder.path().join(format!("{name}.yaml")), object.to_string()).unwrap();
        }
        let environment = vec![("VAULT_ADDR".to_owned(), server.url.clone())];
        Self { folder, home: tempfile::tempdir().unwrap(), environment, arguments: Vec::new() }
    }

    fn secret(&self, secret_id: &str) {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "approle" },
                             "stringData": { "id": secret_id } });
        fs::write(self.folder.path().join("secret.yaml"), secret.to_string()).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-connectors"));
        command.args(["--log-level", "trace", "local", "--filename"]).arg(self.folder.path());
        command.args(words).args(&self.arguments).env("HOME", self.home.path());
        for name in ["VAULT_TOKEN", "VAULT_ADDR", "VAULT_CACERT", "VAULT_CONFIG_PATH"] {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, words: &[&str]) -> Running {
        let mut child = self.command(words).spawn().unwrap();
        let written = Arc::new(Mutex::new(String::new()));
        let follow = |stream: Box<dyn std::io::Read + Send>| {
            let written = Arc::clone(&written);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines() {
                    let mut written = written.lock().unwrap();
                    written.push_str(&line.unwrap());
                    written.push('\n');
                }
            })
        };
        let readers =
            vec![follow(Box::new(child.stdout.take().unwrap())), follow(Box::new(child.stderr.take().unwrap()))];
        Running { child, written, readers }
    }

    /// Checks the manifests, and returns the exit code and what was found.
    fn check(&self, words: &[&str], known: &[&str]) -> (i32, String) {
        let mut running = self.start(&[&["--check", "--output", "json"], words].concat());
        let status = running.child.wait().unwrap();
        (status.code().unwrap(), running.told(known))
    }
}

impl Running {
    async fn until(&self, words: &str) {
        let begun = Instant::now();
        while !self.written.lock().unwrap().contains(words) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{words}: {}", self.written.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything that it wrote, once it has ended, if none of the credentials is in it.
    fn told(self, known: &[&str]) -> String {
        self.readers.into_iter().for_each(|reader| reader.join().unwrap());
        let told = self.written.lock().unwrap().clone();
        for secret in known.iter().chain(&[PLATFORM]) {
            assert_eq!(leak(&told, secret), None, "a credential came out");
        }
        told
    }

    /// Ends it as Ctrl-C does.
    fn interrupt(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

/// Serves, sees that the platform takes what was fetched, and ends.
async fn serves(machine: &Machine, by: &str, known: &[&str]) {
    let mut running = machine.start(&["--listen", "127.0.0.1:0"]);
    running.until("default/vault: Ready=True Ready").await;
    assert!(running.interrupt().success());
    let told = running.told(known);
    assert!(told.contains("default/vault: credentials from Vault at http://127.0.0.1"), "{told}");
    assert!(told.contains(by), "{by}: {told}");
    assert!(told.contains("default/vault: CredentialsLoaded=True Loaded"), "{told}");
    // Lines of every level were among what was searched.
    assert!(told.contains("logged in to Vault"), "{told}");
}

fn by_app_role(role_id: &str) -> Value {
    json!({ "appRole": { "roleId": role_id, "secretId": { "secret": { "name": "approle", "key": "id" } } } })
}

fn own_token() -> Value {
    json!({ "id": OWN, "policies": ["ci"], "ttl": "1h" })
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn the_persons_own_token_is_used_and_stays() {
    let server = Server::start().await;
    let mut machine = Machine::new(&server, &json!({ "kubernetes": { "role": "ci" } })).await;
    server.admin("POST", "auth/token/create", own_token()).await;
    let before = accessors(&server).await;
    let (code, told) = machine.check(&[], &[]);
    assert!(code == 0 && told.contains("--vault-jwt-file"), "{told}");
    let (code, told) = machine.check(&["--probe"], &[]);
    assert!(code == 1 && told.contains("nothing on this machine logs in"), "{told}");

    fs::write(machine.home.path().join(".vault-token"), OWN).unwrap();
    serves(&machine, "by the person's own token in ", &[OWN]).await;
    machine.environment.push(("VAULT_TOKEN".to_owned(), OWN.to_owned()));
    serves(&machine, "by the person's own token in VAULT_TOKEN", &[OWN]).await;
    let (code, told) = machine.check(&["--probe"], &[OWN]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(accessors(&server).await, before, "a token came or went");

    // It is not sent to another Vault than the one that it is for.
    machine.environment.push(("VAULT_ADDR".to_owned(), "https://vault.example.com".to_owned()));
    let (code, told) = machine.check(&["--probe"], &[OWN]);
    assert!(code == 1 && told.contains("held back") && told.contains("VAULT_ADDR"), "{told}");
    machine.environment.pop();
    server.admin("POST", "auth/token/revoke", json!({ "token": OWN })).await;
    let (code, told) = machine.check(&["--probe"], &[OWN]);
    assert!(code == 1 && told.contains("VaultLoginFailed") && told.contains("log in anew"), "{told}");
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn an_app_role_logs_in_with_the_secret_among_the_files_and_gives_the_token_back() {
    let server = Server::start().await;
    let role_id = app_role(&server, json!({ "secret_id_num_uses": 2 })).await;
    let machine = Machine::new(&server, &by_app_role(&role_id)).await;
    let id = secret_id(&server).await;
    machine.secret(&id);
    let before = accessors(&server).await;
    // Nobody is asked without --probe: both uses are left.
    assert_eq!(machine.check(&[], &[&id]).0, 0);
    let (code, told) = machine.check(&["--probe"], &[&id]);
    assert_eq!(code, 0, "{told}");
    serves(&machine, "by AppRole with the secret id of the Secret approle", &[&id]).await;
    assert_eq!(accessors(&server).await, before, "a token was not given back");
    let (code, told) = machine.check(&["--probe"], &[&id]);
    assert!(code == 1 && told.contains("VaultLoginFailed"), "{told}");
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn a_role_is_logged_in_to_with_the_token_of_a_file_and_a_folder_goes_before_all() {
    let (server, issuer) = (Server::start().await, Issuer::new());
    with_jwt(&server, &issuer, "1h", "2h").await;
    let mut machine = Machine::new(&server, &json!({ "jwt": { "role": "ci" } })).await;
    let (token, before) = (issuer.token(SUBJECT, AUDIENCE), accessors(&server).await);
    let file = machine.home.path().join("jwt");
    fs::write(&file, &token).unwrap();
    machine.arguments = vec!["--vault-jwt-file".to_owned(), file.display().to_string()];
    let signature = token.rsplit('.').next().unwrap();
    serves(&machine, &format!("by the token in {}", file.display()), &[&token, signature]).await;
    assert_eq!(accessors(&server).await, before, "a token was not given back");

    let keys = machine.home.path().join("keys");
    fs::create_dir_all(keys.join("bot")).unwrap();
    fs::write(keys.join("bot").join("token"), PLATFORM).unwrap();
    let mut running = machine.start(&["--listen", "127.0.0.1:0", "--credentials-dir", Path::to_str(&keys).unwrap()]);
    running.until("default/vault: Ready=True Ready").await;
    assert!(running.interrupt().success());
    let told = running.told(&[&token, signature]);
    assert!(told.contains("credentials from the folder") && !told.contains("logged in to Vault"), "{told}");
}

#[tokio::test]
#[ignore = "needs a Vault binary in VAULT_BIN; make test runs it"]
async fn a_client_on_standard_input_finds_the_credentials_there() {
    let server = Server::start().await;
    let role_id = app_role(&server, json!({})).await;
    let machine = Machine::new(&server, &by_app_role(&role_id)).await;
    let id = secret_id(&server).await;
    machine.secret(&id);
    let before = accessors(&server).await;
    let mut running = machine.start(&["--stdio", "--audit"]);
    let info = json!({ "name": "test", "version": "1" });
    let beginning = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info });
    let call = json!({ "name": "get_vault_token_info", "arguments": {} });
    let mut input = running.child.stdin.take().unwrap();
    for message in [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": beginning }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call }),
    ] {
        writeln!(input, "{message}").unwrap();
    }
    running.until("\"id\":2").await;
    drop(input);
    assert!(running.child.wait().unwrap().success());
    let told = running.told(&[&id]);
    assert!(told.contains("\"policies\":[\"ci\",\"default\"]"), "{told}");
    assert!(told.contains("credentials from Vault at"), "{told}");
    // Whoever started the process is who called.
    assert!(told.contains(r#""user":{"name":"local","type_id":1}"#), "{told}");
    assert_eq!(accessors(&server).await, before, "a token was not given back");
}
