//! `config/samples`: one file a platform, generated from the platform's own example, so that a sample can't rot; and one for
//! each other place that credentials come from.

use kube::api::ObjectMeta;
use serde_json::{Value, json};

use api::{
    CredentialSource, CredentialSourceSpec, McpConnector, McpConnectorSpec,
    credential_source::{CsiSource, Host, MountedFile, PlainValue, SecretKey, SecretSource},
    endpoint::{AddressPolicy, PlatformUrl},
    platform::{self, Declaration},
    vault_source::{KvSecret, RoleLogin, VaultKey, VaultLogin, VaultSecret, VaultSource},
    workload_identity::{AwsIdentity, WorkloadIdentity},
};

/// Why a sample can't be written, which is a fault of this program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A platform's example names no platform.
    #[error("the example of {0} names no platform")]
    NoPlatform(&'static str),
    /// A platform's example has a wrong URL.
    #[error("the example of {0} has a wrong URL")]
    Endpoint(&'static str, #[source] api::endpoint::EndpointError),
    /// It can't be written as JSON.
    #[error("failed to write the example of {0} as JSON")]
    Json(&'static str, #[source] serde_json::Error),
    /// It can't be written as YAML.
    #[error("failed to write the example of {0} as YAML")]
    Yaml(&'static str, #[source] serde_saphyr::ser_error::Error),
}

/// Every sample: file name and content.
///
/// # Errors
/// When an example is wrong, which is a fault of this program.
pub fn all() -> Result<Vec<(String, String)>, Error> {
    let mut samples = Vec::new();
    for (name, spec) in platform::examples() {
        let declaration = spec.platform.declaration().ok_or(Error::NoPlatform(name))?;
        let plain = source_for(name, declaration, &spec.credentials.name)?;
        let header = header(declaration, &spec.credentials.name);
        // Names of objects have no capitals.
        let object_name = name.to_ascii_lowercase();
        for (suffix, header, source, spec) in elsewhere(name, &plain, &spec) {
            let file = format!("{object_name}-{suffix}.yaml");
            samples.push((file, write(name, &object_name, header, &source, spec)?));
        }
        samples.push((format!("{object_name}.yaml"), write(name, &object_name, &header, &plain, spec)?));
    }
    Ok(samples)
}

fn write(
    name: &'static str,
    object_name: &str,
    header: &str,
    source: &CredentialSource,
    spec: McpConnectorSpec,
) -> Result<String, Error> {
    let connector = McpConnector::new(object_name, spec);
    let documents = [
        clean(&serde_json::to_value(source).map_err(|error| Error::Json(name, error))?),
        clean(&serde_json::to_value(connector).map_err(|error| Error::Json(name, error))?),
    ];
    let mut text = header.to_owned();
    for document in documents {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&document).map_err(|error| Error::Yaml(name, error))?);
    }
    Ok(text)
}

/// The same connector with credentials from elsewhere than one Secret: what the file is called after, what stands above it,
/// the source, and the connector.
type Elsewhere = (&'static str, &'static str, CredentialSource, McpConnectorSpec);

fn elsewhere(name: &str, plain: &CredentialSource, spec: &McpConnectorSpec) -> Vec<Elsewhere> {
    let with = |change: &dyn Fn(&mut CredentialSourceSpec)| {
        let mut source = plain.clone();
        source.spec.secret = None;
        change(&mut source.spec);
        source
    };
    match name {
        "cloudWatch" => {
            let mut own_role = spec.clone();
            if let Some(cloud_watch) = &mut own_role.platform.cloud_watch {
                cloud_watch.assume_role = None;
            }
            let role_arn = Some("arn:aws:iam::123456789012:role/mcp-cloudwatch-reader".to_owned());
            let source = with(&|source| {
                source.hosts.clear();
                let aws = AwsIdentity { role_arn: role_arn.clone(), ..AwsIdentity::default() };
                source.workload_identity = Some(WorkloadIdentity { aws });
            });
            let header = "# A connector to CloudWatch that has no credentials: it proves with a token of its ServiceAccount who \
                          it is. The role must trust\n# the cluster's OIDC provider for the subject \
                          system:serviceaccount:<namespace>:mcp-cloudwatch; see docs/credentials.md.\n";
            vec![("workload-identity", header, source, own_role)]
        }
        "jenkins" => {
            let vault = VaultSource {
                address: PlatformUrl("https://vault.vault.svc:8200".to_owned()),
                namespace: None,
                ca_bundle: None,
                insecure_http: None,
                auth: VaultLogin {
                    kubernetes: Some(RoleLogin { mount: None, role: "jenkins-reader".to_owned(), audience: None }),
                    ..VaultLogin::default()
                },
                refresh_interval: None,
                secrets: vec![VaultSecret {
                    kv: Some(KvSecret { mount: None, path: "team/jenkins".to_owned(), version: None }),
                    dynamic: None,
                    fields: [("api_token".to_owned(), VaultKey("api_token".to_owned()))].into(),
                }],
            };
            let source = with(&|source| {
                source.values = Some([("user".to_owned(), PlainValue("mcp-bot".to_owned()))].into());
                source.vault = Some(vault.clone());
            });
            let header = "# A connector to Jenkins whose token an agent fetches from Vault; the user's name is no secret, and \
                          stands here. The role must be\n# bound to the ServiceAccount mcp-jenkins; see docs/credentials.md.\n";
            vec![("vault", header, source, spec.clone())]
        }
        "argoCd" => {
            let source = with(&|source| {
                let items = [("token".to_owned(), MountedFile("argocd-token".to_owned()))].into();
                source.csi = Some(CsiSource { secret_provider_class: "argocd-bot".to_owned(), items: Some(items) });
            });
            let header = "# A connector to Argo CD whose token the Secrets Store CSI driver mounts, from the object \
                          argocd-token of a SecretProviderClass\n# that is made apart, and must be there first.\n";
            vec![("csi", header, source, spec.clone())]
        }
        _ => Vec::new(),
    }
}

fn header(declaration: &dyn Declaration, credentials: &str) -> String {
    let fields: Vec<String> =
        declaration.sample_fields().iter().map(|field| format!("--from-file={0}=./{0}", field.name)).collect();
    let title = declaration.title();
    let secret = format!(
        "# A connector to {title}, with the credentials that it calls {title} with. The Secret is made apart, and may come \
         later:\n#   kubectl create secret generic {credentials} {}\n",
        fields.join(" "),
    );
    let bundle = declaration.ca_bundle().map(|bundle| {
        let map = &bundle.config_map;
        format!("# So is the CA bundle:\n#   kubectl create configmap {} --from-file={}\n", map.name, map.key)
    });
    [secret, bundle.unwrap_or_default()].concat()
}

fn source_for(name: &'static str, declaration: &dyn Declaration, credentials: &str) -> Result<CredentialSource, Error> {
    let wrong = |error| Error::Endpoint(name, error);
    let endpoint = declaration.endpoint(AddressPolicy::Cluster).map_err(wrong)?;
    let further = declaration.further_endpoints(AddressPolicy::Cluster).map_err(wrong)?;
    let items = declaration
        .sample_fields()
        .iter()
        .map(|field| (field.name.to_owned(), SecretKey(field.name.to_owned())))
        .collect();
    Ok(CredentialSource {
        metadata: ObjectMeta { name: Some(credentials.to_owned()), ..ObjectMeta::default() },
        spec: CredentialSourceSpec {
            hosts: std::iter::once(endpoint).chain(further).map(|endpoint| Host(endpoint.host)).collect(),
            secret: Some(SecretSource { name: credentials.to_owned(), items: Some(items) }),
            proxies: Vec::new(),
            values: None,
            secrets: None,
            vault: None,
            csi: None,
            workload_identity: None,
        },
        status: None,
    })
}

/// In the order in which people write a manifest, and without the empty status.
fn clean(document: &Value) -> Value {
    json!({
        "apiVersion": document.get("apiVersion"),
        "kind": document.get("kind"),
        "metadata": document.get("metadata"),
        "spec": document.get("spec"),
    })
}
