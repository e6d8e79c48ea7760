//! A source in Vault: what its agent is told, what is mounted for it, and where it may connect to.

use std::collections::{BTreeMap, BTreeSet, btree_map::Keys};

use super::{CredentialMount, Rejection, SecretMount, read_ca, source::is_field_name};
use crate::connector::dereference::Dereferenced;
use api::{
    McpConnector, Reason,
    duration::ApiDuration,
    endpoint::{AddressPolicy, Endpoint},
    platform::Declaration,
    vault_source::{RoleLogin, VaultLogin, VaultSecret, VaultSource},
};
use pod_api::{
    agent::{AgentConfig, LoginConfig, Origin, SECRET_ID_FILE, SecretConfig},
    config::is_operator_audience,
};

const DEFAULT_REFRESH_INTERVAL: ApiDuration = ApiDuration::from_secs(60);
const DEFAULT_AUDIENCE: &str = "vault";

/// A source in Vault, found good.
pub(super) struct ResolvedVault {
    pub(super) config: AgentConfig,
    pub(super) mount: CredentialMount,
    pub(super) endpoint: Endpoint,
}

/// Checks a source in Vault and fills in its defaults. `values` are the fields that the source has besides.
pub(super) fn resolve(
    vault: &VaultSource,
    source_name: &str,
    connector: &McpConnector,
    platform: &dyn Declaration,
    found: &Dereferenced,
    values: Keys<'_, String, String>,
    addresses: AddressPolicy,
) -> Result<ResolvedVault, Rejection> {
    let invalid = |field: &str, problem: String| {
        let message = format!("CredentialSource {source_name:?}: spec.vault.{field}: {problem}");
        Rejection::new(Reason::InvalidSpec, message)
    };
    let insecure_http = vault.insecure_http.unwrap_or_default();
    let endpoint =
        vault.address.endpoint(insecure_http, addresses).map_err(|error| invalid("address", error.to_string()))?;
    let (login, mount) = resolve_login(&vault.auth, connector, found)
        .map_err(|(field, problem)| invalid(&format!("auth.{field}"), problem))?;
    let mut fields: BTreeSet<String> = values.cloned().collect();
    let mut secrets = Vec::new();
    for (index, secret) in vault.secrets.iter().enumerate() {
        let secret = resolve_secret(secret, &mut fields)
            .map_err(|(field, problem)| invalid(&format!("secrets[{index}].{field}"), problem))?;
        secrets.push(secret);
    }
    let requirement = platform.requirement();
    if !requirement.is_met_by(&|field| fields.contains(field)) {
        return Err(Rejection::new(
            Reason::CredentialFieldMissing,
            format!(
                "{} needs the field {}; CredentialSource {source_name:?} maps only {} in spec.vault.secrets",
                platform.name(),
                requirement.in_words(),
                fields.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            ),
        ));
    }
    let ca_pem = read_ca(vault.ca_bundle.as_ref(), &found.vault_ca_bundle, "spec.vault.caBundle")?;
    let proxy = connector.spec.workload.as_ref().and_then(|workload| workload.proxy.clone());
    let config = AgentConfig {
        address: vault.address.clone(),
        insecure_http,
        namespace: vault.namespace.clone(),
        ca_pem: ca_pem.map(|pem| pem.to_string()),
        proxy,
        login,
        secrets,
        refresh_interval: vault.refresh_interval.unwrap_or(DEFAULT_REFRESH_INTERVAL),
    };
    Ok(ResolvedVault { config, mount, endpoint })
}

/// A field of the manifest, and what is wrong with it.
type Problem = (&'static str, String);

fn resolve_login(
    login: &VaultLogin,
    connector: &McpConnector,
    found: &Dereferenced,
) -> Result<(LoginConfig, CredentialMount), Problem> {
    let with_token = |name: &'static str, login: &RoleLogin| -> Result<(LoginConfig, CredentialMount), Problem> {
        let audience = login.audience.clone().unwrap_or_else(|| DEFAULT_AUDIENCE.to_owned());
        if let Some(objection) = audience_objection(&audience, found) {
            return Err((name, format!("audience: {objection}; choose one that only Vault accepts, such as vault")));
        }
        let mount = login.mount.clone().unwrap_or_else(|| name.to_owned());
        Ok((LoginConfig::Token { mount, role: login.role.clone() }, CredentialMount::Token { audience }))
    };
    match login {
        VaultLogin { kubernetes: Some(login), app_role: None, jwt: None } => with_token("kubernetes", login),
        VaultLogin { kubernetes: None, app_role: None, jwt: Some(login) } => with_token("jwt", login),
        VaultLogin { kubernetes: None, app_role: Some(login), jwt: None } => {
            let replicas = connector.spec.workload.as_ref().and_then(|workload| workload.replicas);
            if login.wrapping.is_some() && replicas.is_some_and(|replicas| replicas > 1) {
                let problem = "a wrapped secret id can be unwrapped by one replica only: set spec.workload.replicas of \
                               the McpConnector to 1, or leave wrapping out";
                return Err(("appRole.wrapping", problem.to_owned()));
            }
            let config = LoginConfig::AppRole {
                mount: login.mount.clone().unwrap_or_else(|| "approle".to_owned()),
                role_id: login.role_id.clone(),
                creation_path: login.wrapping.as_ref().map(|wrapping| wrapping.creation_path.clone()),
            };
            let secret = &login.secret_id.secret;
            let items = BTreeMap::from([(SECRET_ID_FILE.to_owned(), secret.key.0.clone())]);
            Ok((config, CredentialMount::SecretId(SecretMount { name: secret.name.clone(), items: Some(items) })))
        }
        _ => Err(("kubernetes", "set exactly one of kubernetes, appRole and jwt".to_owned())),
    }
}

/// Names that clusters have for themselves: of old ones, k3s, RKE2 and k0s.
const NAMES_OF_API_SERVERS: [&str; 5] = ["api", "kubernetes", "k3s", "rke2", "system:konnectivity-server"];

/// Whether tokens for this audience are good for the Kubernetes API: by the cluster's own word, and also by what clusters are
/// used to call themselves, where that isn't known, or is about to change.
pub(super) fn is_for_api_server(audience: &str, found: &Dereferenced) -> bool {
    let issuer = found.token_keys.as_ref().map(|keys| keys.issuer.as_str());
    let host = audience.split_once("://").map_or(audience, |(_, rest)| rest);
    found.api_audiences.iter().flatten().any(|accepted| accepted == audience)
        || issuer == Some(audience)
        || NAMES_OF_API_SERVERS.contains(&host)
        || host.starts_with("kubernetes.default")
        || host.starts_with("kubernetes.svc")
}

/// Why a token for an audience must not be sent to Vault or AWS: who gets it could use it elsewhere.
pub(super) fn audience_objection(audience: &str, found: &Dereferenced) -> Option<String> {
    if is_for_api_server(audience, found) {
        return Some(format!("{audience:?} is an audience of the Kubernetes API"));
    }
    (is_operator_audience(audience) || audience.ends_with("/mcp"))
        .then(|| format!("{audience:?} is an audience of connectors"))
}

fn resolve_secret(secret: &VaultSecret, fields: &mut BTreeSet<String>) -> Result<SecretConfig, Problem> {
    for field in secret.fields.keys() {
        if !is_field_name(field) {
            return Err(("fields", format!("{field:?} is not a lower-case word with underscores, such as api_token")));
        }
        if !fields.insert(field.clone()) {
            return Err(("fields", format!("{field} is mapped twice; each field comes from one place")));
        }
    }
    let path = |field: &'static str, text: &str| -> Result<String, Problem> {
        let is_path = !text.is_empty()
            && text.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..")
            && !text.contains(|c: char| c.is_control() || matches!(c, '?' | '#' | '*' | '+'));
        if is_path { Ok(text.to_owned()) } else { Err((field, format!("{text:?} is not a path such as team/jenkins"))) }
    };
    let origin = match (&secret.kv, &secret.dynamic) {
        (Some(kv), None) => {
            let mount = path("kv.mount", kv.mount.as_deref().unwrap_or("secret"))?;
            let path = path("kv.path", &kv.path)?;
            if kv.version == Some(1) { Origin::Kv1 { mount, path } } else { Origin::Kv2 { mount, path } }
        }
        (None, Some(dynamic)) => {
            let parameters = dynamic.parameters.iter().flatten();
            Origin::Dynamic {
                path: path("dynamic.path", &dynamic.path)?,
                parameters: parameters.map(|(name, value)| (name.clone(), value.0.clone())).collect(),
            }
        }
        _ => return Err(("kv", "set exactly one of kv and dynamic".to_owned())),
    };
    let fields = secret.fields.iter().map(|(field, key)| (field.clone(), key.0.clone())).collect();
    Ok(SecretConfig { origin, fields })
}
