//! The source of a connector's credentials: whether it fits the platform, how it gets into the pods, and what the server is
//! told of it.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::{CredentialMount, EgressTarget, PROXY_FIELD, Rejection, SecretMount, vault};
use crate::{connector::dereference::Dereferenced, context::Settings};
use api::{
    self, CredentialSource, McpConnector, Reason,
    credential_source::{CsiSource, Host, SecretKey, SecretPart, SecretSource},
    endpoint::{Endpoint, INSTANCE_METADATA_ADDRESS, POD_IDENTITY_ADDRESSES},
    platform::Declaration,
    workload_identity::{self, AwsIdentity},
};
use pod_api::config::{Layout, WorkloadIdentity};

/// Audience of tokens that prove a web identity, as EKS and the guides of AWS have it.
const AWS_AUDIENCE: &str = "sts.amazonaws.com";
/// Characters of a session's name, at most (AssumeRoleWithWebIdentity in the API reference of STS).
const MAX_SESSION_NAME: usize = 64;
/// Where the node's two services for credentials listen.
const NODE_PORT: u16 = 80;

/// A source that fits the connector.
pub(super) struct ValidSource {
    /// How the credentials get into the pods.
    pub(super) credentials: CredentialMount,
    /// How their fields lie there.
    pub(super) fields: Layout,
    /// Where they come from Vault.
    pub(super) vault: Option<vault::ResolvedVault>,
    /// The pods' own identity, where there are no credentials.
    pub(super) identity: Option<WorkloadIdentity>,
    /// Where the pods must connect to, besides the platform and Vault.
    pub(super) egress: Option<EgressTarget>,
}

impl ValidSource {
    fn mounted(credentials: CredentialMount, fields: Layout) -> Self {
        Self { credentials, fields, vault: None, identity: None, egress: None }
    }
}

/// What a source is checked against.
struct Scope<'a> {
    connector: &'a McpConnector,
    platform: &'a dyn Declaration,
    found: &'a Dereferenced,
    source: &'a str,
}

impl Scope<'_> {
    fn invalid(&self, field: &str, problem: &str) -> Rejection {
        Rejection::new(Reason::InvalidSpec, format!("CredentialSource {:?}: {field}: {problem}", self.source))
    }

    fn lacking(&self, problem: &str) -> Rejection {
        Rejection::new(Reason::CredentialFieldMissing, format!("CredentialSource {:?} {problem}", self.source))
    }
}

pub(super) fn validate_source(
    connector: &McpConnector,
    platform: &dyn Declaration,
    endpoints: &[&Endpoint],
    proxy: Option<&Endpoint>,
    found: &Dereferenced,
    settings: &Settings,
) -> Result<ValidSource, Rejection> {
    let name = &connector.spec.credentials.name;
    if let Some(problem) = &found.source_problem {
        return Err(Rejection::new(
            Reason::InvalidSpec,
            format!("CredentialSource {name:?} does not fit its schema: {problem}"),
        ));
    }
    let Some(source) = found.source.as_deref() else {
        return Err(Rejection::new(
            Reason::CredentialSourceNotFound,
            format!(
                "spec.credentials.name: there is no CredentialSource {name:?} in this namespace; create it, or correct \
                 the name"
            ),
        ));
    };
    for endpoint in endpoints {
        check_hosts(source, platform, endpoint)?;
    }
    if let Some(proxy) = proxy {
        check_proxy(source, proxy, settings)?;
    }
    let scope = Scope { connector, platform, found, source: name };
    let values = check_values(&scope, source)?;
    let spec = &source.spec;
    match (&spec.secret, &spec.secrets, &spec.vault, &spec.csi, &spec.workload_identity) {
        (Some(secret), None, None, None, None) => of_secret(&scope, secret, values),
        (None, Some(secrets), None, None, None) => of_secrets(&scope, secrets, values),
        (None, None, Some(vault), None, None) => {
            let resolved = vault::resolve(vault, name, connector, platform, found, values.keys(), settings.addresses)?;
            let layout = Layout { values, ..Layout::default() };
            let mounted = ValidSource::mounted(resolved.mount.clone(), layout);
            Ok(ValidSource { vault: Some(resolved), ..mounted })
        }
        (None, None, None, Some(csi), None) => of_csi(&scope, csi, values),
        (None, None, None, None, Some(workload_identity::WorkloadIdentity { aws })) => of_aws(&scope, aws),
        _ => Err(Rejection::new(
            Reason::InvalidSpec,
            format!(
                "CredentialSource {name:?} names no source that this operator knows: set exactly one of spec.secret, \
                 spec.secrets, spec.vault, spec.csi and spec.workloadIdentity"
            ),
        )),
    }
}

/// Only what is no secret may stand in a manifest, and only what the platform knows: a slip in the name of a field must not
/// be the way in which a secret gets there.
fn check_values(scope: &Scope<'_>, source: &CredentialSource) -> Result<BTreeMap<String, String>, Rejection> {
    let requirement = scope.platform.requirement();
    let (all, public) = (requirement.names(), requirement.public_names());
    let mut values = BTreeMap::new();
    for (field, value) in source.spec.values.iter().flatten() {
        if !public.contains(&field.as_str()) {
            let problem = if all.contains(&field.as_str()) {
                "it is a secret, and must not stand in a manifest: put it into a Secret".to_owned()
            } else if public.is_empty() {
                format!("{} has no field that may stand here", scope.platform.name())
            } else {
                format!("{} has no such field; these may stand here: {}", scope.platform.name(), public.join(", "))
            };
            return Err(scope.invalid(&format!("spec.values.{field}"), &problem));
        }
        values.insert(field.clone(), value.0.clone());
    }
    Ok(values)
}

/// Checks the fields that stand at one place of the manifest, together with the values.
fn check_fields(
    scope: &Scope<'_>,
    place: &str,
    fields: &BTreeSet<&str>,
    values: &BTreeMap<String, String>,
) -> Result<(), Rejection> {
    if let Some(twice) = values.keys().find(|field| fields.contains(field.as_str())) {
        let problem = format!("{twice} is mapped in {place}, too: take it out of one of the two");
        return Err(scope.invalid(&format!("spec.values.{twice}"), &problem));
    }
    let has = |field: &str| fields.contains(field) || values.contains_key(field);
    let requirement = scope.platform.requirement();
    if !requirement.is_met_by(&has) {
        let given: Vec<&str> = fields.iter().copied().chain(values.keys().map(String::as_str)).collect();
        let also = if values.is_empty() { "" } else { " and spec.values" };
        return Err(Rejection::new(
            Reason::CredentialFieldMissing,
            format!(
                "{} needs the field {}; CredentialSource {:?} maps only {} in {place}{also}",
                scope.platform.name(),
                requirement.in_words(),
                scope.source,
                given.join(", "),
            ),
        ));
    }
    match requirement.incomplete_addition(&has) {
        Some((lacking, group)) => Err(scope
            .lacking(&format!("must map {group} in {place} together, or neither; it lacks {}", lacking.join(", ")))),
        None => Ok(()),
    }
}

/// Whether something can be a field's name, and so a file's: the rules of the schema can't say it of lists of maps without
/// costing too much.
pub(super) fn is_field_name(field: &str) -> bool {
    field.len() <= 63
        && field.starts_with(|first: char| first.is_ascii_lowercase())
        && field.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn keys(items: &BTreeMap<String, SecretKey>) -> BTreeMap<String, String> {
    items.iter().map(|(field, key)| (field.clone(), key.0.clone())).collect()
}

fn of_secret(
    scope: &Scope<'_>,
    secret: &SecretSource,
    values: BTreeMap<String, String>,
) -> Result<ValidSource, Rejection> {
    if let Some(items) = &secret.items {
        check_fields(scope, "spec.secret.items", &items.keys().map(String::as_str).collect(), &values)?;
    }
    let mount = SecretMount { name: secret.name.clone(), items: secret.items.as_ref().map(keys) };
    Ok(ValidSource::mounted(CredentialMount::Secret(mount), Layout { values, ..Layout::default() }))
}

fn of_secrets(
    scope: &Scope<'_>,
    secrets: &[SecretPart],
    values: BTreeMap<String, String>,
) -> Result<ValidSource, Rejection> {
    let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
    for secret in secrets {
        for field in secret.items.keys() {
            if !is_field_name(field) {
                let problem = format!("{field:?} is not a lower-case word with underscores, such as api_token");
                return Err(scope.invalid("spec.secrets", &problem));
            }
            if let Some(other) = fields.insert(field, &secret.name) {
                let problem =
                    format!("{field} comes from the Secrets {other:?} and {:?}: take it out of one", secret.name);
                return Err(scope.invalid("spec.secrets", &problem));
            }
        }
    }
    check_fields(scope, "spec.secrets", &fields.into_keys().collect(), &values)?;
    let mounts =
        secrets.iter().map(|secret| SecretMount { name: secret.name.clone(), items: Some(keys(&secret.items)) });
    Ok(ValidSource::mounted(CredentialMount::Secrets(mounts.collect()), Layout { values, ..Layout::default() }))
}

fn of_csi(scope: &Scope<'_>, csi: &CsiSource, values: BTreeMap<String, String>) -> Result<ValidSource, Rejection> {
    let mut files = BTreeMap::new();
    if let Some(items) = &csi.items {
        check_fields(scope, "spec.csi.items", &items.keys().map(String::as_str).collect(), &values)?;
        let mut fields_of: BTreeMap<&str, &str> = BTreeMap::new();
        for (field, file) in items {
            if let Some(other) = fields_of.insert(&file.0, field) {
                let problem = format!("{other} and {field} can't both be in the file {:?}", file.0);
                return Err(scope.invalid("spec.csi.items", &problem));
            }
            files.insert(field.clone(), file.0.clone());
        }
    }
    let mount = CredentialMount::Csi { secret_provider_class: csi.secret_provider_class.clone() };
    Ok(ValidSource::mounted(mount, Layout { files, values }))
}

fn of_aws(scope: &Scope<'_>, aws: &AwsIdentity) -> Result<ValidSource, Rejection> {
    if scope.platform.identity_hosts().is_empty() {
        return Err(Rejection::new(
            Reason::CredentialFieldMissing,
            format!(
                "{} needs the field {}; CredentialSource {:?} is an identity at AWS, which has no fields and is for \
                 cloudWatch only",
                scope.platform.name(),
                scope.platform.requirement().in_words(),
                scope.source,
            ),
        ));
    }
    let (identity, credentials, addresses) = match aws {
        AwsIdentity { role_arn: Some(role_arn), audience, pod_identity: None, instance_profile: None } => {
            let audience = audience.clone().unwrap_or_else(|| AWS_AUDIENCE.to_owned());
            if let Some(objection) = vault::audience_objection(&audience, scope.found) {
                let problem = format!("{objection}; choose one that only AWS accepts, such as {AWS_AUDIENCE}");
                return Err(scope.invalid("spec.workloadIdentity.aws.audience", &problem));
            }
            let session_name = session_name(scope.connector);
            let identity = WorkloadIdentity::AwsWebIdentity { role_arn: role_arn.clone(), session_name };
            (identity, CredentialMount::WebIdentity { audience }, &[][..])
        }
        AwsIdentity { role_arn: None, audience: None, pod_identity: Some(_), instance_profile: None } => {
            (WorkloadIdentity::AwsPodIdentity, CredentialMount::Nothing, &POD_IDENTITY_ADDRESSES[..])
        }
        AwsIdentity { role_arn: None, audience: None, pod_identity: None, instance_profile: Some(_) } => {
            (WorkloadIdentity::AwsInstanceProfile, CredentialMount::Nothing, &[INSTANCE_METADATA_ADDRESS][..])
        }
        _ => {
            let problem = "set exactly one of roleArn, podIdentity and instanceProfile, and audience with roleArn only";
            return Err(scope.invalid("spec.workloadIdentity.aws", problem));
        }
    };
    let cidrs: Vec<String> =
        addresses.iter().map(|address| format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })).collect();
    let egress = (!cidrs.is_empty()).then_some(EgressTarget::Cidrs { cidrs, port: NODE_PORT });
    Ok(ValidSource { identity: Some(identity), egress, ..ValidSource::mounted(credentials, Layout::default()) })
}

/// Tells whose session it is: the ServiceAccount and its namespace, all of which STS allows in such a name.
fn session_name(connector: &McpConnector) -> String {
    let owner = format!("{}.{}", api::owned_name(&connector.name_any()), connector.namespace().unwrap_or_default());
    owner.chars().take(MAX_SESSION_NAME).collect()
}

fn check_hosts(source: &CredentialSource, platform: &dyn Declaration, endpoint: &Endpoint) -> Result<(), Rejection> {
    let of_provider = source.spec.hosts.is_empty() && source.spec.workload_identity.is_some();
    let is_providers = |host: &String| of_provider && host.eq_ignore_ascii_case(&endpoint.host);
    if source.spec.hosts.iter().any(|host| host.covers(&endpoint.host, endpoint.port))
        || platform.identity_hosts().iter().any(is_providers)
        // Nothing may be sent anywhere by a platform that can't use it, which is told better than by a host.
        || (of_provider && platform.identity_hosts().is_empty())
    {
        return Ok(());
    }
    let allowed = if of_provider { "the provider's own endpoints".to_owned() } else { in_words(&source.spec.hosts) };
    Err(Rejection::new(
        Reason::HostNotAllowed,
        format!(
            "{} points to {}:{}, but CredentialSource {:?} allows its credentials to be sent to {allowed} only; add the \
             host to its spec.hosts, if that is meant",
            platform.endpoint_field(),
            endpoint.host,
            endpoint.port,
            source.name_any(),
        ),
    ))
}

/// Whether somebody who answers for the credentials has said that this proxy may carry them. It sees what goes to `http://`,
/// and everything if it shows a certificate of an authority that the connector's author chose; so the author alone can't name
/// it, as little as a host. What `noProxy` leaves out is of no account: the proxy is either trusted with the credentials or not.
fn check_proxy(source: &CredentialSource, proxy: &Endpoint, settings: &Settings) -> Result<(), Rejection> {
    let mut allowed = source.spec.proxies.iter().chain(&settings.allowed_proxies);
    if allowed.any(|allowed| allowed.covers(&proxy.host, proxy.port)) {
        return Ok(());
    }
    let name = source.name_any();
    let others = match source.spec.proxies.as_slice() {
        [] => "no proxy".to_owned(),
        proxies => format!("{} only", in_words(proxies)),
    };
    Err(Rejection::new(
        Reason::ProxyNotAllowed,
        format!(
            "{PROXY_FIELD}: {}:{} would carry the credentials of CredentialSource {name:?}, which allows {others}; if that is \
             meant, who owns the source can add it to spec.proxies there, or who runs the operator to allowedProxies",
            proxy.host, proxy.port,
        ),
    ))
}

fn in_words(hosts: &[Host]) -> String {
    hosts.iter().map(|host| host.0.as_str()).collect::<Vec<_>>().join(", ")
}
