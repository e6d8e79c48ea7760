//! The agent as the sidecar of a pod. It never ends by itself: the kubelet counts native sidecars when it says whether a pod
//! is ready (`GenerateContainersReadyCondition` in its `pkg/kubelet/status/generate.go`), so an agent that waits for its
//! next start would take away a server whose credentials are good. What goes wrong is a state instead, which `serve` tells.

use std::{
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::FutureExt;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Agent, AgentError, POLL,
    identity::Means,
    store::Store,
    supplier::wall,
    trouble::{Rest, Trouble},
    writing::Writer,
};
use api::endpoint::AddressPolicy;
use common::errors::with_causes;
use credentials::supply::{Supply, SupplyState};
use files::DirectoryEvents;
use pod_api::agent::AgentConfig;

/// Time for which an agent has worked when an earlier fault doesn't count any more.
const RECOVERED: Duration = Duration::from_mins(10);

/// How to run the agent of a pod.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Where the operator's files are, of which the agent has a part.
    pub config_directory: PathBuf,
    /// Digest of the files that the pod was made with. Others are not used.
    pub config_digest: Option<String>,
    /// Where lies what it logs in with.
    pub identity_directory: PathBuf,
    /// Where it writes the credentials.
    pub credentials_directory: PathBuf,
    /// Which addresses Vault may have.
    pub address_policy: AddressPolicy,
}

/// Supplies credentials until `stop`, and then gives back what Vault has given. A configuration that can't be used is read
/// again when it changes, and an agent that panicked is followed by another, which takes over what it left in the files.
pub async fn run(settings: AgentSettings, stop: CancellationToken) {
    let mut changes = DirectoryEvents::watch(&settings.config_directory, POLL);
    outlast(&settings.credentials_directory, &mut changes, &stop, || supply(&settings, &stop)).await;
    tracing::info!("the agent has ended");
}

async fn supply(settings: &AgentSettings, stop: &CancellationToken) -> Result<(), AgentError> {
    let config = AgentConfig::read(&settings.config_directory, settings.config_digest.as_deref());
    let config = config.map_err(AgentError::ReadConfig)?;
    let means = Means::Mounted(settings.identity_directory.clone());
    let store = Store::directory(settings.credentials_directory.clone());
    let mut agent = Agent::new(&config, means, store, settings.address_policy)?;
    tracing::info!(secrets = config.secrets.len(), "the agent begins");
    agent.run(stop).await;
    agent.close().await;
    Ok(())
}

/// Attempts again and again until one ends well, which it does at `stop`; tells in between why it doesn't work.
async fn outlast<F: Future<Output = Result<(), AgentError>>>(
    directory: &Path,
    changes: &mut DirectoryEvents,
    stop: &CancellationToken,
    mut attempt: impl FnMut() -> F,
) {
    let mut rest = Rest::default();
    loop {
        let began = Instant::now();
        // What it held is dropped with it, and nothing is shared but the files, which are only replaced as a whole.
        let trouble = match AssertUnwindSafe(attempt()).catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Trouble::CannotBegin(with_causes(&error)),
            Err(_) => Trouble::Panicked,
        };
        tracing::error!(reason = trouble.reason().as_str(), detail = %trouble, "the agent does not work");
        if began.elapsed() >= RECOVERED {
            rest.end();
        }
        rest.after(trouble, false);
        tell(directory, &rest);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = changes.next() => rest.cut_short(),
            () = tokio::time::sleep_until(rest.until().unwrap_or_else(Instant::now)) => {}
        }
    }
}

/// Puts beside the files why nobody looks after them.
fn tell(directory: &Path, rest: &Rest) {
    let Some(trouble) = &rest.trouble else { return };
    let now = Timestamp::now();
    let writer = Writer::new(directory.to_owned());
    let left = writer.read_state().unwrap_or_else(|| Supply::starting(now));
    let usable = left.fetched.is_some() && left.expires.is_none_or(|end| end > now);
    let state = if usable { SupplyState::Degraded } else { SupplyState::Failing };
    let reason = trouble.reason().as_str().to_owned();
    let since = if (left.state, &left.reason) == (state, &reason) { left.since } else { now };
    let supply = Supply {
        state,
        reason,
        message: trouble.to_string(),
        since,
        failures: left.failures + 1,
        next_attempt: rest.until().map(wall),
        ..left
    };
    if let Err(error) = writer.write_state(&supply) {
        tracing::warn!(%error, "the agent's state could not be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pod_api::config::ServeConfig;

    fn supply(directory: &Path) -> (SupplyState, String, String) {
        let supply = Supply::read(directory).unwrap();
        (supply.state, supply.reason, supply.message)
    }

    fn changes(directory: &Path) -> DirectoryEvents {
        DirectoryEvents::watch(directory, POLL)
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_panics_is_followed_by_another_and_the_files_stay_good() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let left = Supply {
            state: SupplyState::Serving,
            reason: "Loaded".into(),
            fetched: Some(Timestamp::now()),
            ..Supply::starting(Timestamp::now())
        };
        let store = Writer::new(path.clone());
        store.write(&[("token".to_owned(), "planted".into())].into()).unwrap();
        store.write_state(&left).unwrap();
        let (stop, mut attempts) = (CancellationToken::new(), 0);
        outlast(&path, &mut changes(Path::new("/nonexistent")), &stop, || {
            attempts += 1;
            let (number, path) = (attempts, path.clone());
            async move {
                if number > 1 {
                    let (state, reason, message) = supply(&path);
                    assert_eq!((state, reason.as_str()), (SupplyState::Degraded, "AgentFailed"), "{message}");
                }
                assert!(number == 4, "it fails for the {number}th time");
                Ok(())
            }
        })
        .await;
        assert_eq!(attempts, 4);
        let told = Supply::read(&path).unwrap();
        assert_eq!((told.failures, told.fetched), (3, left.fetched));
        // A fault that stays is met seldom: two quick tries, then one in five minutes.
        assert!(told.next_attempt.unwrap() > Timestamp::now() + Duration::from_mins(3), "{told:?}");
        assert_eq!(std::fs::read_to_string(path.join("token")).unwrap(), "planted");
    }

    #[tokio::test]
    async fn a_configuration_that_somebody_else_has_changed_is_not_used_and_nothing_is_called() {
        let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let vault = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let agent = |address: &str| {
            let login = serde_json::json!({"token": {"mount": "jwt", "role": "ci"}});
            let agent = serde_json::json!({
                "address": address, "insecureHttp": true, "login": login, "secrets": [], "refreshInterval": "60s",
            });
            serde_json::json!({ "agent": agent }).to_string()
        };
        let made_with = ServeConfig::whole_digest(&agent("https://vault.example.com"), None);
        let elsewhere = format!("http://{}", vault.local_addr().unwrap());
        std::fs::write(folder.path().join("token"), "planted").unwrap();
        std::fs::write(folder.path().join("config.json"), agent(&elsewhere)).unwrap();
        let settings = AgentSettings {
            config_directory: folder.path().to_owned(),
            config_digest: Some(made_with),
            identity_directory: folder.path().to_owned(),
            credentials_directory: files.path().to_owned(),
            address_policy: AddressPolicy::Loopback,
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(settings, stop.clone()));
        let told = async {
            while Supply::read(files.path()).is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
        let (state, reason, message) = supply(files.path());
        assert_eq!((state, reason.as_str()), (SupplyState::Failing, "AgentFailed"));
        assert!(message.contains("somebody other than the operator"), "{message}");
        let called = tokio::time::timeout(Duration::from_millis(300), vault.accept()).await;
        assert!(called.is_err(), "somebody else's Vault is called");
        stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn a_configuration_that_cannot_be_used_is_read_again_when_it_changes() {
        let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let config_file = folder.path().join("config.json");
        let settings = AgentSettings {
            config_directory: folder.path().to_owned(),
            config_digest: None,
            identity_directory: folder.path().join("identity"),
            credentials_directory: files.path().to_owned(),
            address_policy: AddressPolicy::Cluster,
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(settings, stop.clone()));
        let says = async |reason: &str, word: &str| {
            for _ in 0..1_000 {
                if let Some(supply) = Supply::read(files.path())
                    && supply.reason == reason
                    && supply.message.contains(word)
                {
                    assert_eq!(supply.state, SupplyState::Failing);
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("{reason} {word}: {:?}", Supply::read(files.path()));
        };
        says("AgentFailed", "failed to read").await;
        std::fs::write(&config_file, "{}").unwrap();
        says("AgentFailed", "holds no configuration").await;
        let agent = |address: &str| {
            let login = serde_json::json!({"token": {"mount": "jwt", "role": "ci"}});
            serde_json::json!({"agent": {"address": address, "login": login, "secrets": [], "refreshInterval": "60s"}})
        };
        std::fs::write(&config_file, agent("https://127.0.0.1").to_string()).unwrap();
        says("AgentFailed", "127.0.0.1").await;
        // Now it begins, and has nothing to log in with.
        std::fs::write(&config_file, agent("https://vault.example.com").to_string()).unwrap();
        says("VaultLoginFailed", "missing").await;
        assert!(!running.is_finished());
        stop.cancel();
        running.await.unwrap();
    }
}
