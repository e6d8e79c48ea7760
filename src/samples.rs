//! `config/samples`: one file a platform, generated from the platform's own example, so that a sample can't rot.

use kube::api::ObjectMeta;
use serde_json::{Value, json};

use crate::{
    api::{
        CredentialSource, CredentialSourceSpec, McpConnector,
        credential_source::{Host, SecretKey, SecretSource},
        endpoint::AddressPolicy,
    },
    platforms::{self, Declaration},
};

/// Why a sample can't be written, which is a fault of this program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A platform's example names no platform.
    #[error("the example of {0} names no platform")]
    NoPlatform(&'static str),
    /// A platform's example has a wrong URL.
    #[error("the example of {0} has a wrong URL")]
    Endpoint(&'static str, #[source] crate::api::endpoint::EndpointError),
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
    platforms::examples()
        .into_iter()
        .map(|(name, spec)| {
            let declaration = spec.platform.declaration().ok_or(Error::NoPlatform(name))?;
            let source = source_for(name, declaration, &spec.credentials.name)?;
            // Names of objects have no capitals.
            let object_name = name.to_ascii_lowercase();
            let connector = McpConnector::new(&object_name, spec.clone());
            let documents = [
                clean(&serde_json::to_value(source).map_err(|error| Error::Json(name, error))?),
                clean(&serde_json::to_value(connector).map_err(|error| Error::Json(name, error))?),
            ];
            let mut text = header(declaration, &spec.credentials.name);
            for document in documents {
                text.push_str("---\n");
                text.push_str(&serde_saphyr::to_string(&document).map_err(|error| Error::Yaml(name, error))?);
            }
            Ok((format!("{object_name}.yaml"), text))
        })
        .collect()
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
