//! Objects that fit their schema become what the operator would make of them: references are followed within the
//! documents, and the operator's own plan says what is accepted and what the server is to read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::{
    documents::Object,
    finding::{Finding, Level},
    yaml::Place,
};
use api::{CredentialSource, McpConnector, Reason};
use operator::plan::{Objects, Plan, Planner, Rejection, SecretMount};

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Values of a Secret by their keys.
pub type SecretValues = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// The objects of all documents.
#[derive(Default)]
pub struct Manifests {
    connectors: BTreeMap<Key, Declared>,
    sources: HashMap<Key, Arc<CredentialSource>>,
    secrets: HashMap<Key, SecretValues>,
    config_maps: HashMap<Key, Arc<ConfigMap>>,
}

struct Declared {
    connector: McpConnector,
    origin: Object,
}

/// A connector, and what the operator would say to it.
pub struct Judged<'a> {
    /// Which it is.
    pub key: &'a Key,
    /// As it was written.
    pub connector: &'a McpConnector,
    /// What it comes to, or why it isn't accepted.
    pub verdict: Result<Plan, Rejection>,
    origin: &'a Object,
}

impl Judged<'_> {
    /// The file that it stands in.
    #[must_use]
    pub fn file(&self) -> &Arc<str> {
        &self.origin.file
    }

    /// The finding for one that is accepted here, and that a cluster would refuse.
    #[must_use]
    pub fn works_here_only(&self, rejection: &Rejection) -> Finding {
        let mut finding = self.finding(Level::Warning, rejection.reason.as_str(), &rejection.message);
        finding.message.push_str("; it works on this machine, and is refused in a cluster");
        finding
    }

    /// A finding about it. Where the message begins with a field of the spec, that is the place.
    #[must_use]
    pub fn finding(&self, level: Level, rule: &str, message: &str) -> Finding {
        let begins = message.split_once(": ").filter(|(field, _)| field.starts_with("spec.") && !field.contains(' '));
        let (field, message) = match begins {
            Some((field, rest)) => (Some(field), rest),
            None => (None, message),
        };
        let place = field.map_or(self.origin.node.place, |field| self.origin.node.locate(field));
        Finding {
            object: Some(format!("McpConnector {}", self.key)),
            field: field.map(str::to_owned),
            ..Finding::about_file(level, rule, &self.origin.file, place, message)
        }
    }
}

impl Manifests {
    /// Sorts objects by their kinds. An object that is declared twice is a fault: which of the two would be in the
    /// cluster depends on the order in which they are applied.
    #[must_use]
    pub fn collect(objects: Vec<Object>) -> (Self, Vec<Finding>) {
        let mut manifests = Self::default();
        let mut findings = Vec::new();
        let mut seen: HashMap<(String, Key), (Arc<str>, Place)> = HashMap::new();
        for object in objects {
            let key = Key { namespace: object.namespace.clone(), name: object.name.clone() };
            let place = object.node.place;
            let subject = format!("{} {key}", object.kind);
            let fault = |rule: &str, message: String| Finding {
                object: Some(subject.clone()),
                ..Finding::about_file(Level::Error, rule, &object.file, place, message)
            };
            if let Some((file, first)) = seen.get(&(object.kind.clone(), key.clone())) {
                findings.push(fault("duplicate", format!("is declared twice; first at {file}:{}", first.line)));
                continue;
            }
            seen.insert((object.kind.clone(), key.clone()), (object.file.clone(), place));
            if let Err(problem) = manifests.add(key, object) {
                findings.push(*problem);
            }
        }
        (manifests, findings)
    }

    fn add(&mut self, key: Key, object: Object) -> Result<(), Box<Finding>> {
        match object.kind.as_str() {
            "McpConnector" => {
                let mut connector: McpConnector = typed(&object, &key)?;
                connector.metadata.namespace = Some(key.namespace.clone());
                connector.metadata.uid = Some(uid(&key));
                self.connectors.insert(key, Declared { connector, origin: object });
            }
            "CredentialSource" => {
                let mut source: CredentialSource = typed(&object, &key)?;
                source.metadata.namespace = Some(key.namespace.clone());
                self.sources.insert(key, Arc::new(source));
            }
            "Secret" => {
                let secret: Secret = typed(&object, &key)?;
                self.secrets.insert(key, values_of(secret));
            }
            _ => {
                let config_map: ConfigMap = typed(&object, &key)?;
                self.config_maps.insert(key, Arc::new(config_map));
            }
        }
        Ok(())
    }

    /// Which connectors there are.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.connectors.keys().cloned().collect()
    }

    /// Every connector with what the operator would say to it, by a planner.
    pub fn judge<'a>(&'a self, planner: &'a Planner) -> impl Iterator<Item = Judged<'a>> {
        self.connectors.iter().map(|(key, declared)| {
            let verdict = planner.plan(&declared.connector, self);
            Judged { key, connector: &declared.connector, verdict, origin: &declared.origin }
        })
    }

    /// The credential fields that the kubelet would mount of the documents' Secret; nothing if no document holds it.
    #[must_use]
    pub fn credentials(&self, namespace: &str, mount: &SecretMount) -> Option<SecretValues> {
        let secret = self.secrets.get(&Key { namespace: namespace.to_owned(), name: mount.name.clone() })?;
        Some(match &mount.items {
            None => secret.clone(),
            Some(items) => {
                items.iter().filter_map(|(field, key)| Some((field.clone(), secret.get(key)?.clone()))).collect()
            }
        })
    }
}

impl Objects for Manifests {
    fn source(&self, namespace: &str, name: &str) -> Option<Arc<CredentialSource>> {
        self.sources.get(&Key { namespace: namespace.to_owned(), name: name.to_owned() }).cloned()
    }

    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        self.config_maps.get(&Key { namespace: namespace.to_owned(), name: name.to_owned() }).cloned()
    }
}

fn typed<T: DeserializeOwned>(object: &Object, key: &Key) -> Result<T, Box<Finding>> {
    serde_json::from_value(object.value.clone()).map_err(|error| {
        // The words of serde repeat values, which must not be told of a Secret.
        let why = if object.kind == "Secret" { String::new() } else { format!(": {error}") };
        Box::new(Finding {
            object: Some(format!("{} {key}", object.kind)),
            ..Finding::about_file(
                Level::Error,
                Reason::InvalidSpec.as_str(),
                &object.file,
                object.node.place,
                format!("this version of the program can't read the object{why}"),
            )
        })
    })
}

/// The values that a Secret would hold: `stringData` over `data`.
fn values_of(secret: Secret) -> SecretValues {
    let data = secret.data.unwrap_or_default().into_iter().map(|(key, ByteString(value))| (key, Zeroizing::new(value)));
    let strings = secret.string_data.unwrap_or_default().into_iter();
    data.chain(strings.map(|(key, value)| (key, Zeroizing::new(value.into_bytes())))).collect()
}

/// A uid that the same object always has, in the form of a UUID.
fn uid(key: &Key) -> String {
    let hash = hex::encode(digest(&SHA256, key.to_string().as_bytes()).as_ref());
    let part = |from: usize, to: usize| hash.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}
