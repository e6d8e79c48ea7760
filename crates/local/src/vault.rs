//! What this machine logs in to Vault with, where a pod would have a token of its ServiceAccount or a mounted secret id:
//! what the source asks for, if it is here, and else the token that the person has for Vault's own command line.

use std::{fmt, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::manifests::{Key, Manifests};
use agent::Means;
use operator::plan::{CredentialMount, Plan};
use pod_api::agent::{AgentConfig, SECRET_ID_FILE};

/// What there is on this machine to log in to Vault with.
#[derive(Clone, Debug, Default)]
pub struct MachineLogins {
    /// File with a token that the methods `kubernetes` and `jwt` take.
    pub jwt_file: Option<PathBuf>,
    /// `VAULT_TOKEN`.
    pub token: Option<SecretString>,
    /// `VAULT_ADDR`. Where it is set, the person's token is for that Vault alone.
    pub address: Option<String>,
    /// Where `vault login` leaves the token (developer.hashicorp.com/vault/docs/commands/token-helper).
    pub token_file: Option<PathBuf>,
    /// Where another token helper may be named.
    pub helper_file: Option<PathBuf>,
}

/// With what a connector's agent logs in here.
#[derive(Clone, Debug)]
pub enum VaultLogin {
    /// With the secret id, or its wrapping token, in a Secret of the documents.
    SecretId {
        /// Name of the Secret.
        secret: String,
        /// What it holds.
        value: SecretString,
    },
    /// With the token in this file.
    JwtFile(PathBuf),
    /// As the owner of this token, which came from the environment.
    Token(SecretString),
    /// As the owner of the token in this file.
    TokenFile(PathBuf),
}

impl PartialEq for VaultLogin {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::SecretId { secret: name, value }, Self::SecretId { secret: other_name, value: other }) => {
                name == other_name && value.expose_secret() == other.expose_secret()
            }
            (Self::Token(value), Self::Token(other)) => value.expose_secret() == other.expose_secret(),
            (Self::JwtFile(file), Self::JwtFile(other)) | (Self::TokenFile(file), Self::TokenFile(other)) => {
                file == other
            }
            _ => false,
        }
    }
}

impl Eq for VaultLogin {}

impl fmt::Display for VaultLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretId { secret, .. } => write!(f, "AppRole with the secret id of the Secret {secret}"),
            Self::JwtFile(file) => write!(f, "the token in {}", file.display()),
            Self::Token(_) => f.write_str("the person's own token in VAULT_TOKEN"),
            Self::TokenFile(file) => write!(f, "the person's own token in {}", file.display()),
        }
    }
}

impl VaultLogin {
    /// What the agent is given.
    #[must_use]
    pub fn means(&self) -> Means {
        match self.clone() {
            Self::SecretId { value, .. } => Means::Held(value),
            Self::JwtFile(file) => Means::File(file),
            Self::Token(token) => Means::Owned(token),
            Self::TokenFile(file) => Means::OwnedFile(file),
        }
    }
}

impl MachineLogins {
    /// The login for a connector whose credentials an agent fetches.
    ///
    /// # Errors
    /// When there is none; the text says what would be one.
    pub fn find(
        &self,
        key: &Key,
        plan: &Plan,
        config: &AgentConfig,
        manifests: &Manifests,
    ) -> Result<VaultLogin, String> {
        let wanted = if let CredentialMount::SecretId(mount) = plan.credentials() {
            let values = manifests.credentials(&key.namespace, mount);
            let value = values.as_ref().and_then(|values| values.get(SECRET_ID_FILE));
            if let Some(text) = value.and_then(|value| std::str::from_utf8(value).ok()) {
                let value = SecretString::from(text.trim());
                return Ok(VaultLogin::SecretId { secret: mount.name.clone(), value });
            }
            format!("put the Secret {} with the secret id among the files", mount.name)
        } else {
            // All other logins are with a projected token.
            if let Some(file) = &self.jwt_file {
                return Ok(VaultLogin::JwtFile(file.clone()));
            }
            "name a file with a token for the role by --vault-jwt-file".to_owned()
        };
        self.own(config).map_err(|note| {
            format!(
                "spec.credentials: nothing on this machine logs in to Vault{note}; {wanted}, or log in with Vault's \
                 command line (VAULT_TOKEN, or ~/.vault-token), or put the fields into a folder of --credentials-dir"
            )
        })
    }

    /// The person's own token, if it is meant for the source's Vault; otherwise what to say of it.
    fn own(&self, config: &AgentConfig) -> Result<VaultLogin, &'static str> {
        let token_file = self.token_file.as_ref().filter(|file| file.is_file());
        if self.token.is_none() && self.names_a_helper() {
            return Err(" (the token helper that Vault's command line is configured with is not supported)");
        }
        let login = match (&self.token, token_file) {
            (Some(token), _) => VaultLogin::Token(token.clone()),
            (None, Some(file)) => VaultLogin::TokenFile(file.clone()),
            (None, None) => return Err(""),
        };
        let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin()).filter(url::Origin::is_tuple);
        match &self.address {
            // A manifest can name any address, and a token is only for those who have given it.
            Some(own) if origin(own).is_none() || origin(own) != origin(&config.address.0) => {
                Err(" (the person's own token is for the Vault that VAULT_ADDR names, which is not the source's)")
            }
            _ => Ok(login),
        }
    }

    /// Whether the token lies where only another program finds it (`token_helper = "/path"`).
    fn names_a_helper(&self) -> bool {
        let text = self.helper_file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        text.lines().any(|line| {
            let Some((name, value)) = line.split_once('=') else { return false };
            name.trim().trim_matches('"') == "token_helper" && !value.trim().trim_matches('"').is_empty()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(address: &str) -> AgentConfig {
        let login = serde_json::json!({ "token": { "mount": "jwt", "role": "ci" } });
        serde_json::from_value(serde_json::json!({
            "address": address, "login": login, "secrets": [], "refreshInterval": "60s",
        }))
        .unwrap()
    }

    #[test]
    fn the_environment_goes_before_the_file_and_another_helper_is_said() {
        let home = tempfile::tempdir().unwrap();
        let (token_file, helper_file) = (home.path().join("token"), home.path().join("config"));
        let mut machine = MachineLogins {
            token_file: Some(token_file.clone()),
            helper_file: Some(helper_file.clone()),
            ..MachineLogins::default()
        };
        let vault = config("https://vault.example.com:8200/base");
        assert_eq!(machine.own(&vault), Err(""));
        std::fs::write(&token_file, "planted-in-file").unwrap();
        assert_eq!(machine.own(&vault), Ok(VaultLogin::TokenFile(token_file)));
        std::fs::write(&helper_file, "# one's own\ntoken_helper = \"/bin/helper\"\n").unwrap();
        assert!(machine.own(&vault).unwrap_err().contains("not supported"));
        machine.token = Some("planted-in-environment".into());
        let own = machine.own(&vault).unwrap();
        assert_eq!(own, VaultLogin::Token("planted-in-environment".into()));
        assert!(!format!("{own} {own:?} {machine:?}").contains("planted"));
    }

    #[test]
    fn a_persons_token_goes_to_the_vault_that_it_is_for() {
        let mut machine = MachineLogins { token: Some("planted".into()), ..MachineLogins::default() };
        let vault = config("https://vault.example.com/base");
        assert!(machine.own(&vault).is_ok());
        for (address, fits) in [
            ("https://vault.example.com", true),
            ("https://vault.example.com:443/", true),
            ("https://vault.example.com:8200", false),
            ("http://vault.example.com", false),
            ("https://evil.example.com", false),
            ("unix:///run/vault.sock", false),
            ("vault.example.com", false),
        ] {
            machine.address = Some(address.to_owned());
            assert_eq!(machine.own(&vault).is_ok(), fits, "{address}");
        }
    }
}
