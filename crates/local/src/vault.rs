//! What this machine logs in to Vault with, where a pod would have a token of its ServiceAccount or a mounted secret id:
//! what the source asks for, if it is here, and else the token that the person has for Vault's own command line.
//!
//! Manifests may be somebody else's. So what is the person's own goes only where the person says, and by the person's own
//! means: to the address in `VAULT_ADDR`, verified with the authorities in `VAULT_CACERT`, and through no proxy but those of
//! `--allow-proxy`. Where the manifests say otherwise it is held back.

use std::{fmt, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::manifests::{Key, Manifests};
use agent::Means;
use api::{
    credential_source::Host,
    endpoint::{AddressPolicy, PlatformUrl},
};
use operator::plan::{CredentialMount, Plan};
use pod_api::agent::{AgentConfig, SECRET_ID_FILE};

/// What there is on this machine to log in to Vault with.
#[derive(Clone, Debug, Default)]
pub struct MachineLogins {
    /// File with a token that the methods `kubernetes` and `jwt` take.
    pub jwt_file: Option<PathBuf>,
    /// `VAULT_TOKEN`.
    pub token: Option<SecretString>,
    /// `VAULT_ADDR`: the one Vault that all of these are for.
    pub address: Option<String>,
    /// `VAULT_CACERT`: file with the authorities that it is verified with; the public ones, if there is none.
    pub authorities: Option<PathBuf>,
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
    /// The login for a connector whose credentials an agent fetches, and the certificates (PEM) of the authorities that Vault
    /// is then verified with.
    ///
    /// # Errors
    /// When there is none, or none that may be sent there; the text says what would be one.
    pub fn find(
        &self,
        key: &Key,
        plan: &Plan,
        config: &AgentConfig,
        manifests: &Manifests,
        proxies: &[Host],
    ) -> Result<(VaultLogin, Option<String>), String> {
        let wanted = if let CredentialMount::SecretId(mount) = plan.credentials() {
            let values = manifests.credentials(&key.namespace, mount);
            let value = values.as_ref().and_then(|values| values.get(SECRET_ID_FILE));
            if let Some(text) = value.and_then(|value| std::str::from_utf8(value).ok()) {
                let value = SecretString::from(text.trim());
                return Ok((VaultLogin::SecretId { secret: mount.name.clone(), value }, config.ca_pem.clone()));
            }
            format!("put the Secret {} with the secret id among the files", mount.name)
        } else {
            // All other logins are with a projected token.
            if let Some(file) = &self.jwt_file {
                return self.entrust(VaultLogin::JwtFile(file.clone()), config, proxies);
            }
            "name a file with a token for the role by --vault-jwt-file".to_owned()
        };
        match self.own() {
            Ok(login) => self.entrust(login, config, proxies),
            Err(note) => Err(format!(
                "spec.credentials: nothing on this machine logs in to Vault{note}; {wanted}, or log in with Vault's \
                 command line (VAULT_TOKEN, or ~/.vault-token), or put the fields into a folder of --credentials-dir"
            )),
        }
    }

    /// The person's own token; otherwise what to say of it.
    fn own(&self) -> Result<VaultLogin, &'static str> {
        let token_file = self.token_file.as_ref().filter(|file| file.is_file());
        if self.token.is_none() && self.names_a_helper() {
            return Err(" (the token helper that Vault's command line is configured with is not supported)");
        }
        match (&self.token, token_file) {
            (Some(token), _) => Ok(VaultLogin::Token(token.clone())),
            (None, Some(file)) => Ok(VaultLogin::TokenFile(file.clone())),
            (None, None) => Err(""),
        }
    }

    /// A login that isn't the manifests' own, with the authorities to verify Vault with, if it may go where they say.
    fn entrust(
        &self,
        login: VaultLogin,
        config: &AgentConfig,
        proxies: &[Host],
    ) -> Result<(VaultLogin, Option<String>), String> {
        match self.way_to(config, proxies) {
            Ok(authorities) => Ok((login, authorities)),
            Err(why) => Err(format!("spec.credentials: {login} is held back: {why}")),
        }
    }

    fn way_to(&self, config: &AgentConfig, proxies: &[Host]) -> Result<Option<String>, String> {
        let there = &config.address.0;
        match &self.address {
            None => {
                return Err(format!(
                    "VAULT_ADDR doesn't say which Vault it is for; set it, to {there} if you know that one to be yours"
                ));
            }
            Some(own) if !is_same_base(own, there) => {
                return Err(format!("it is for the Vault that VAULT_ADDR names, and the source's is {there}"));
            }
            Some(_) => {}
        }
        if let Some(proxy) = &config.proxy {
            let endpoint = PlatformUrl(proxy.url.clone())
                .endpoint(true, AddressPolicy::Loopback)
                .map_err(|error| format!("the proxy in the manifests can't be used: {error}"))?;
            if !proxies.iter().any(|allowed| allowed.covers(&endpoint.host, endpoint.port)) {
                return Err(format!(
                    "the manifests send it through the proxy {0}:{1}; say --allow-proxy {0}:{1}, if that is meant",
                    endpoint.host, endpoint.port,
                ));
            }
        }
        match &self.authorities {
            Some(file) => std::fs::read_to_string(file)
                .map(Some)
                .map_err(|error| format!("failed to read {}, which VAULT_CACERT names: {error}", file.display())),
            None if config.ca_pem.is_some() => {
                Err("the manifests say by which authorities Vault is known (caBundle of \
                                                    the source); name a file with yours in VAULT_CACERT"
                    .to_owned())
            }
            None => Ok(None),
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

/// Whether two texts name the same place for Vault's API. Another path on the same host may be somebody else's.
fn is_same_base(one: &str, other: &str) -> bool {
    let base = |text: &str| {
        let url = Url::parse(text).ok().filter(|url| url.origin().is_tuple())?;
        Some((url.origin(), url.path().trim_end_matches('/').to_owned()))
    };
    base(one).is_some_and(|base_of_one| base(other) == Some(base_of_one))
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
        assert_eq!(machine.own(), Err(""));
        std::fs::write(&token_file, "planted-in-file").unwrap();
        assert_eq!(machine.own(), Ok(VaultLogin::TokenFile(token_file)));
        std::fs::write(&helper_file, "# one's own\ntoken_helper = \"/bin/helper\"\n").unwrap();
        assert!(machine.own().unwrap_err().contains("not supported"));
        machine.token = Some("planted-in-environment".into());
        let own = machine.own().unwrap();
        assert_eq!(own, VaultLogin::Token("planted-in-environment".into()));
        assert!(!format!("{own} {own:?} {machine:?}").contains("planted"));
    }

    fn logins() -> [VaultLogin; 3] {
        [
            VaultLogin::Token("planted".into()),
            VaultLogin::TokenFile("/home/.vault-token".into()),
            VaultLogin::JwtFile("/srv/jwt".into()),
        ]
    }

    #[test]
    fn what_is_the_persons_own_goes_to_the_vault_that_it_is_for() {
        let machine =
            |address: Option<&str>| MachineLogins { address: address.map(str::to_owned), ..MachineLogins::default() };
        let vault = config("https://vault.example.com/base");
        for (address, fits) in [
            (Some("https://vault.example.com/base"), true),
            (Some("https://Vault.example.com:443/base/"), true),
            (None, false),
            (Some("https://vault.example.com"), false),
            (Some("https://vault.example.com/other"), false),
            (Some("https://vault.example.com:8200/base"), false),
            (Some("http://vault.example.com/base"), false),
            (Some("https://evil.example.com/base"), false),
            (Some("unix:///run/vault.sock"), false),
            (Some("vault.example.com/base"), false),
        ] {
            for login in logins() {
                let sent = machine(address).entrust(login.clone(), &vault, &[]);
                assert_eq!(sent.is_ok(), fits, "{address:?}");
                if let Err(why) = sent {
                    assert!(why.starts_with(&format!("spec.credentials: {login} is held back: ")), "{why}");
                    assert!(why.contains("VAULT_ADDR") && !why.contains("planted"), "{why}");
                }
            }
        }
        // What can't be understood is equal to nothing, also to itself.
        assert!(machine(Some("")).way_to(&config(""), &[]).is_err());
    }

    #[test]
    fn what_is_the_persons_own_goes_by_the_persons_own_means() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("ca.pem");
        std::fs::write(&file, "the person's").unwrap();
        let address = "https://vault.example.com:8200";
        let with = |authorities: Option<&PathBuf>, vault: &AgentConfig, allowed: &[&str]| {
            let machine = MachineLogins {
                address: Some(address.to_owned()),
                authorities: authorities.cloned(),
                ..MachineLogins::default()
            };
            let proxies: Vec<Host> = allowed.iter().map(|host| host.parse().unwrap()).collect();
            let ways: Vec<_> =
                logins().map(|login| machine.entrust(login, vault, &proxies).map(|(_, pem)| pem)).into_iter().collect();
            assert!(ways.iter().all(|way| way.is_ok() == ways[0].is_ok()), "{ways:?}");
            ways[0].clone()
        };
        let plain = config(address);
        assert_eq!(with(None, &plain, &[]), Ok(None));
        assert_eq!(with(Some(&file), &plain, &[]), Ok(Some("the person's".to_owned())));

        let bundle = AgentConfig { ca_pem: Some("somebody's".to_owned()), ..config(address) };
        assert!(with(None, &bundle, &[]).unwrap_err().contains("VAULT_CACERT"));
        assert_eq!(with(Some(&file), &bundle, &[]), Ok(Some("the person's".to_owned())), "and not the manifests'");
        assert!(with(Some(&home.path().join("none")), &bundle, &[]).unwrap_err().contains("failed to read"));

        let proxy = serde_json::from_value(serde_json::json!({ "url": "http://proxy.example.com:3128" })).unwrap();
        let proxied = AgentConfig { proxy: Some(proxy), ..config(address) };
        assert!(with(None, &proxied, &[]).unwrap_err().contains("say --allow-proxy proxy.example.com:3128"));
        assert!(with(None, &proxied, &["proxy.example.com:80", "vault.example.com"]).is_err());
        assert_eq!(with(None, &proxied, &["proxy.example.com:3128"]), Ok(None));
    }
}
