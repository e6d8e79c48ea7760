//! `list_vault_secrets`, `read_vault_secret`, `get_vault_secret_keys` and `get_vault_secret_metadata`: what is in KV
//! engines. Values leave this file only through `read_vault_secret` with a key that the manifest releases.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{
    Deserialize, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{failed, limit, read};
use crate::{
    platforms::vault::{
        Vault,
        client::{Call, Error},
        paths::{KvVersion, Location},
        wire,
    },
    tools::{CallContext, Effect, ErrorCode, Page, ToolDeclaration, ToolEntry, ToolError},
};

/// LIST requests of one call at most.
const MAX_LISTS: usize = 50;
/// Names of keys in one answer.
const MAX_KEYS: usize = 500;
/// Bytes of a value, as JSON.
const MAX_VALUE: usize = 16 * 1024;
/// Versions in one answer.
const MAX_VERSIONS: usize = 50;

const LIST: ToolDeclaration = ToolDeclaration {
    name: "list_vault_secrets",
    title: "Secrets below a path",
    description: "Lists the names of secrets and folders below a path of a KV engine. Folders end in a slash. depth above 1 \
                  also lists what is in them.",
    effect: Effect::Read,
    idempotent: true,
    off_by_default: false,
    sensitive: false,
};

const READ: ToolDeclaration = ToolDeclaration {
    name: "read_vault_secret",
    title: "Read a secret",
    description: "Without key: the names of a secret's keys, never values. With key: the value of that key, if the \
                  connector's manifest releases it.",
    effect: Effect::Read,
    idempotent: true,
    off_by_default: false,
    sensitive: true,
};

const KEYS: ToolDeclaration = ToolDeclaration {
    name: "get_vault_secret_keys",
    title: "Keys of a secret",
    description: "Answers the names of a secret's keys as a tree, down to a depth. It never answers values, whatever the \
                  manifest says.",
    effect: Effect::Read,
    idempotent: true,
    off_by_default: false,
    sensitive: false,
};

const METADATA: ToolDeclaration = ToolDeclaration {
    name: "get_vault_secret_metadata",
    title: "Versions of a secret",
    description: "Tells the versions of a secret (KV version 2): when they were made, deleted or destroyed, and what is \
                  configured for it.",
    effect: Effect::Read,
    idempotent: true,
    off_by_default: false,
    sensitive: false,
};

/// Arguments of `list_vault_secrets`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListInput {
    /// The mount followed by the folder in it, such as `secret/apps`. With `mount`, the folder in that mount.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    path: String,
    /// Mount, if it should not be found by the path.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    mount: Option<String>,
    /// Levels of folders to go down, 1 to 4; 1 if left out. Each folder costs a request, of which there are 50 at most.
    #[serde(default)]
    #[schemars(range(min = 1, max = 4))]
    depth: Option<u8>,
    /// Entries of one answer: 1 to 1000, 200 if left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// `next_cursor` of the answer before.
    #[serde(default)]
    cursor: Option<String>,
}

/// Arguments of `read_vault_secret`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReadInput {
    /// The mount followed by the path in it, without `data/`, such as `secret/apps/web`.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// Key whose value is wanted. Left out, the names of the keys are answered.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    key: Option<String>,
    /// Mount, if it should not be found by the path; `path` is then the path in it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    mount: Option<String>,
    /// Version (KV version 2); the newest if left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    version: Option<u64>,
}

/// Arguments of `get_vault_secret_keys`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KeysInput {
    /// The mount followed by the path in it, without `data/`, such as `secret/apps/web`.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// Mount, if it should not be found by the path; `path` is then the path in it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    mount: Option<String>,
    /// Version (KV version 2); the newest if left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    version: Option<u64>,
    /// Levels of nested keys, 1 to 10; 1 if left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10))]
    depth: Option<u8>,
}

/// Arguments of `get_vault_secret_metadata`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MetadataInput {
    /// The mount followed by the path in it, without `metadata/`, such as `secret/apps/web`.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// Mount, if it should not be found by the path; `path` is then the path in it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    mount: Option<String>,
}

/// A secret's keys, or one value.
#[derive(Serialize, JsonSchema)]
struct Secret {
    /// Mount.
    mount: String,
    /// Path in the mount.
    path: String,
    /// Version of the KV engine: 1 or 2.
    kv_version: u8,
    /// Version that was read (KV version 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// When that version was made (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    /// Names of the keys; left out when a value was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<String>>,
    /// Whether there are more keys than were answered.
    truncated: bool,
    /// The key that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Its value: a text in nearly every secret, and any JSON in some.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    /// What to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A tree of keys.
#[derive(Serialize, JsonSchema)]
struct KeyTree {
    /// Mount.
    mount: String,
    /// Path in the mount.
    path: String,
    /// Version of the KV engine: 1 or 2.
    kv_version: u8,
    /// Version that was read (KV version 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// The keys: an object for a key with keys in it, null for a key with a value.
    keys: Map<String, Value>,
    /// Whether there are more keys than were answered.
    truncated: bool,
}

/// What is known of a secret.
#[derive(Serialize, JsonSchema)]
struct Metadata {
    /// Mount.
    mount: String,
    /// Path in the mount.
    path: String,
    /// Number of the newest version; 0 if there never was one.
    current_version: u64,
    /// Number of the oldest version that is kept.
    oldest_version: u64,
    /// When it was made (RFC 3339).
    created_at: String,
    /// When it was changed last (RFC 3339).
    updated_at: String,
    /// Versions that are kept; 0 for the mount's own number, which is 10 unless configured.
    max_versions: u64,
    /// Whether every write must state the version that it replaces.
    cas_required: bool,
    /// Time after which versions are deleted, such as `720h0m0s`; `0s` for never.
    delete_version_after: String,
    /// What its owner wrote about it.
    custom_metadata: BTreeMap<String, String>,
    /// The newest 50 versions, newest first.
    versions: Vec<Version>,
    /// Whether there are more versions than were answered.
    truncated: bool,
}

/// A version of a secret.
#[derive(Serialize, JsonSchema)]
struct Version {
    /// Its number.
    version: u64,
    /// `readable`, `deleted` (can be restored) or `destroyed`.
    state: &'static str,
    /// When it was made (RFC 3339).
    created_at: String,
    /// When it was or will be deleted (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<String>,
}

pub(super) fn entries(vault: &Arc<Vault>) -> Vec<ToolEntry> {
    vec![
        read(vault, LIST, list),
        read(vault, READ, read_secret),
        read(vault, KEYS, keys),
        read(vault, METADATA, metadata),
    ]
}

async fn list(vault: Arc<Vault>, input: ListInput, context: CallContext) -> Result<Page<String>, ToolError> {
    let limit = limit(input.limit, 200, 1_000)?;
    let depth = input.depth.unwrap_or(1);
    if !(1..=4).contains(&depth) {
        return Err(ToolError::invalid_argument("depth must be from 1 to 4").with_argument("depth"));
    }
    if input.path.trim_matches('/').is_empty() && input.mount.is_none() {
        return Err(ToolError::invalid_argument("path is empty")
            .with_argument("path")
            .with_remedy("begin with a mount, as list_vault_mounts tells them"));
    }
    let root = vault.locate(&input.path, input.mount.as_deref(), context.deadline).await?;
    vault.rules.check_folder(&root)?;
    let (mut entries, mut hidden, mut lists, mut cut) = (Vec::new(), false, 0, false);
    let mut folders = vec![(root.clone(), String::new(), 1)];
    while let Some((folder, prefix, level)) = folders.pop() {
        if lists == MAX_LISTS {
            cut = true;
            break;
        }
        lists += 1;
        let call = Call::list(folder.api("metadata"));
        let path = call.policy_path();
        let names = match vault.session.list(&call, context.deadline).await {
            Ok(names) => names.unwrap_or_default(),
            // A folder further down that is closed is no reason to hide the others.
            Err(Error::Forbidden) if level > 1 => {
                hidden = true;
                continue;
            }
            Err(error) => return Err(failed("list", &path, "list")(error)),
        };
        for name in names {
            let child = folder.child(&name);
            let is_folder = name.ends_with('/');
            let permitted =
                if is_folder { vault.rules.permit_folder(&child.full()) } else { vault.rules.permit(&child.full()) };
            if !permitted {
                hidden = true;
                continue;
            }
            let entry = format!("{prefix}{name}");
            if is_folder && level < depth {
                folders.push((child, entry.clone(), level + 1));
            }
            entries.push(entry);
        }
    }
    let is_empty = entries.is_empty();
    let mut page = Page::cut(entries, String::as_str, input.cursor.as_deref(), limit)?;
    if is_empty {
        page = page.with_hint(format!(
            "there is nothing at {}; it may be a secret and no folder, which read_vault_secret tells",
            root.full()
        ));
    }
    if hidden {
        page = page.with_hint("some entries are left out: the manifest's paths or Vault's policies don't permit them");
    }
    if cut {
        page = page.with_hint(format!("only {MAX_LISTS} folders were looked into; list the others by themselves"));
    }
    Ok(page)
}

async fn read_secret(vault: Arc<Vault>, input: ReadInput, context: CallContext) -> Result<Secret, ToolError> {
    let location = vault.locate(&input.path, input.mount.as_deref(), context.deadline).await?;
    vault.rules.check(&location)?;
    check_version(&location, input.version)?;
    if let Some(key) = &input.key {
        vault.rules.check_release(&location, key)?;
        return read_value(&vault, &location, key, input.version, &context).await;
    }
    let (names, version, hints) = match tree(&vault, &location, input.version, 1, &context).await {
        Ok((tree, version)) => (tree.into_iter().map(|(name, _)| name).collect(), version, Vec::new()),
        // The usual policy grants data/ and not subkeys/. The values are dropped while the answer is being read.
        Err(Error::Forbidden) if location.version == KvVersion::Two => {
            let (names, version) = names_of_data(&vault, &location, input.version, &context).await?;
            let hint = format!(
                "the token's policies permit no read on {}, by which the values would not leave Vault; they were read and \
                 dropped",
                location.api("subkeys").join("/")
            );
            (names, Some(version), vec![hint])
        }
        Err(error) => return Err(unreadable(&location, "subkeys", error)),
    };
    let mut names: Vec<String> = names;
    let truncated = names.len() > MAX_KEYS;
    names.truncate(MAX_KEYS);
    Ok(Secret { keys: Some(names), truncated, hints, ..Secret::new(location, version) })
}

async fn read_value(
    vault: &Vault,
    location: &Location,
    key: &str,
    version: Option<u64>,
    context: &CallContext,
) -> Result<Secret, ToolError> {
    let call = versioned(Call::get(location.api("data")), version);
    let read = match location.version {
        KvVersion::One => {
            vault.session.data::<Map<String, Value>>(&call, context.deadline).await.map(|data| (data, None))
        }
        KvVersion::Two => vault
            .session
            .data::<wire::SecretData>(&call, context.deadline)
            .await
            .map(|answer| (answer.data.unwrap_or_default(), Some(answer.metadata))),
    };
    let (mut data, metadata) = read.map_err(|error| unreadable(location, "data", error))?;
    let Some(value) = data.remove(key) else {
        let mut names: Vec<String> = data.into_iter().map(|(name, _)| name).collect();
        names.sort();
        names.truncate(50);
        return Err(ToolError::invalid_argument(format!("key {key:?} is not at {}", location.full()))
            .with_argument("key")
            .with_remedy(format!("keys: {}", names.join(", "))));
    };
    let room = MAX_VALUE.min(context.max_result_bytes);
    if serde_json::to_vec(&value).map_or(usize::MAX, |bytes| bytes.len()) > room {
        return Err(ToolError::new(ErrorCode::ResultTooLarge, format!("the value is larger than {room} bytes")));
    }
    Ok(Secret { key: Some(key.to_owned()), value: Some(value), ..Secret::new(location.clone(), metadata) })
}

async fn keys(vault: Arc<Vault>, input: KeysInput, context: CallContext) -> Result<KeyTree, ToolError> {
    let depth = input.depth.unwrap_or(1);
    if !(1..=10).contains(&depth) {
        return Err(ToolError::invalid_argument("depth must be from 1 to 10").with_argument("depth"));
    }
    let location = vault.locate(&input.path, input.mount.as_deref(), context.deadline).await?;
    vault.rules.check(&location)?;
    check_version(&location, input.version)?;
    let (tree, version) = tree(&vault, &location, input.version, depth, &context)
        .await
        .map_err(|error| unreadable(&location, "subkeys", error))?;
    let mut room = MAX_KEYS;
    let (keys, truncated) = bounded(tree, &mut room);
    Ok(KeyTree {
        kv_version: location.version.number(),
        path: location.path(),
        mount: location.mount,
        version: version.map(|version| version.version),
        keys,
        truncated,
    })
}

async fn metadata(vault: Arc<Vault>, input: MetadataInput, context: CallContext) -> Result<Metadata, ToolError> {
    let location = vault.locate(&input.path, input.mount.as_deref(), context.deadline).await?;
    vault.rules.check(&location)?;
    if location.version == KvVersion::One {
        return Err(ToolError::invalid_argument(format!(
            "the mount {} is a KV engine of version 1, which keeps no versions and no metadata",
            location.mount
        ))
        .with_argument("path"));
    }
    let known: wire::Metadata = vault
        .session
        .data(&Call::get(location.api("metadata")), context.deadline)
        .await
        .map_err(|error| unreadable(&location, "metadata", error))?;
    let mut versions: Vec<(u64, wire::VersionInfo)> =
        known.versions.into_iter().filter_map(|(number, info)| Some((number.parse().ok()?, info))).collect();
    versions.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    let truncated = versions.len() > MAX_VERSIONS;
    versions.truncate(MAX_VERSIONS);
    Ok(Metadata {
        path: location.path(),
        mount: location.mount,
        current_version: known.current_version,
        oldest_version: known.oldest_version,
        created_at: known.created_time,
        updated_at: known.updated_time,
        max_versions: known.max_versions,
        cas_required: known.cas_required,
        delete_version_after: known.delete_version_after,
        custom_metadata: known.custom_metadata.unwrap_or_default(),
        versions: versions
            .into_iter()
            .map(|(version, info)| Version {
                version,
                state: if info.destroyed {
                    "destroyed"
                } else if info.deleted_at().is_some() {
                    "deleted"
                } else {
                    "readable"
                },
                created_at: info.created_time,
                deleted_at: Some(info.deletion_time).filter(|time| !time.is_empty()),
            })
            .collect(),
        truncated,
    })
}

impl Secret {
    fn new(location: Location, version: Option<wire::VersionInfo>) -> Self {
        Self {
            kv_version: location.version.number(),
            path: location.path(),
            mount: location.mount,
            version: version.as_ref().map(|version| version.version),
            created_at: version.map(|version| version.created_time),
            keys: None,
            truncated: false,
            key: None,
            value: None,
            hints: Vec::new(),
        }
    }
}

/// Words an error of reading a secret, and adds what is usually wrong with the path.
fn unreadable(location: &Location, kind: &'static str, error: Error) -> ToolError {
    let path = location.api(kind).join("/");
    if error != Error::NotFound {
        return failed("read", &path, "read")(error);
    }
    let (mount, version) = (&location.mount, location.version.number());
    let error = ToolError::new(
        ErrorCode::NotFound,
        format!("there is no secret at {} in the mount {mount} (KV version {version})", location.path()),
    )
    .with_argument("path");
    match location.path.first().map(String::as_str) {
        Some("data" | "metadata" | "subkeys") if location.version == KvVersion::Two => {
            error.with_remedy("leave data/ out of the path, the tools add it")
        }
        _ => error.with_remedy("list_vault_secrets tells what is there; a version that was never made gives this, too"),
    }
}

fn check_version(location: &Location, version: Option<u64>) -> Result<(), ToolError> {
    match version {
        Some(0) => Err(ToolError::invalid_argument("version must be at least 1").with_argument("version")),
        Some(_) if location.version == KvVersion::One => {
            Err(ToolError::invalid_argument("a KV engine of version 1 keeps no versions").with_argument("version"))
        }
        _ => Ok(()),
    }
}

fn versioned(call: Call, version: Option<u64>) -> Call {
    match version {
        Some(version) => call.query("version", version),
        None => call,
    }
}

/// The tree of a secret's keys. On KV version 2 Vault itself leaves the values out.
async fn tree(
    vault: &Vault,
    location: &Location,
    version: Option<u64>,
    depth: u8,
    context: &CallContext,
) -> Result<(Map<String, Value>, Option<wire::VersionInfo>), Error> {
    match location.version {
        KvVersion::One => {
            let data: Names = vault.session.data(&Call::get(location.api("data")), context.deadline).await?;
            Ok((data.at_depth(depth), None))
        }
        KvVersion::Two => {
            let call = versioned(Call::get(location.api("subkeys")), version).query("depth", depth);
            let answer: wire::Subkeys = vault.session.data(&call, context.deadline).await?;
            // Taken through the same sieve: whatever a server may put there, no value comes out.
            Ok((sieve(answer.subkeys.unwrap_or_default(), depth), Some(answer.metadata)))
        }
    }
}

/// The names of a KV version 2 secret's keys, read with its values, which are dropped at once.
async fn names_of_data(
    vault: &Vault,
    location: &Location,
    version: Option<u64>,
    context: &CallContext,
) -> Result<(Vec<String>, wire::VersionInfo), ToolError> {
    #[derive(Deserialize)]
    struct OnlyNames {
        #[serde(default)]
        data: Option<Names>,
        metadata: wire::VersionInfo,
    }
    let call = versioned(Call::get(location.api("data")), version);
    let answer: OnlyNames =
        vault.session.data(&call, context.deadline).await.map_err(|error| unreadable(location, "data", error))?;
    let names = answer.data.unwrap_or_default().0.into_iter().map(|(name, _)| name).collect();
    Ok((names, answer.metadata))
}

/// Keys whose values are skipped while they are parsed: null for a value, an object for keys in it.
#[derive(Default)]
struct Names(Map<String, Value>);

impl Names {
    fn at_depth(self, depth: u8) -> Map<String, Value> {
        sieve(self.0, depth)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Names;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Names, A::Error> {
                let mut names = Map::new();
                while let Some(name) = entries.next_key::<String>()? {
                    let Node(node) = entries.next_value()?;
                    names.insert(name, node);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// A key's value: its keys if it is an object, nothing otherwise.
struct Node(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Keys(Names),
            Nothing(IgnoredAny),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::Keys(Names(names)) => Value::Object(names),
            Either::Nothing(_) => Value::Null,
        }))
    }
}

/// Lets names through down to a depth, and no value.
fn sieve(tree: Map<String, Value>, depth: u8) -> Map<String, Value> {
    let below = |value| match value {
        Value::Object(keys) if depth > 1 => Value::Object(sieve(keys, depth - 1)),
        _ => Value::Null,
    };
    tree.into_iter().map(|(name, value)| (name, below(value))).collect()
}

/// Cuts a tree to a number of keys; says whether it was cut.
fn bounded(tree: Map<String, Value>, room: &mut usize) -> (Map<String, Value>, bool) {
    let (mut kept, mut cut) = (Map::new(), false);
    for (name, value) in tree {
        if *room == 0 {
            return (kept, true);
        }
        *room -= 1;
        let value = match value {
            Value::Object(keys) => {
                let (keys, shortened) = bounded(keys, room);
                cut |= shortened;
                Value::Object(keys)
            }
            other => other,
        };
        kept.insert(name, value);
    }
    (kept, cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_value_gets_through() {
        let secret =
            json!({"a": "planted", "b": {"c": "planted", "d": {"e": 1}}, "f": ["planted"], "g": null, "h": true});
        let names: Names = serde_json::from_value(secret.clone()).unwrap();
        assert_eq!(Value::Object(names.at_depth(1)), json!({"a": null, "b": null, "f": null, "g": null, "h": null}));
        let names: Names = serde_json::from_value(secret.clone()).unwrap();
        let deep = json!({"a": null, "b": {"c": null, "d": {"e": null}}, "f": null, "g": null, "h": null});
        assert_eq!(Value::Object(names.at_depth(10)), deep);
        let Value::Object(secret) = secret else { panic!() };
        assert_eq!(Value::Object(sieve(secret, 10)), deep);
    }

    #[test]
    fn a_tree_is_cut() {
        let tree: Map<String, Value> = serde_json::from_value(json!({"a": {"b": null, "c": null}, "d": null})).unwrap();
        let (kept, cut) = bounded(tree.clone(), &mut 2);
        assert_eq!((Value::Object(kept), cut), (json!({"a": {"b": null}}), true));
        assert!(!bounded(tree, &mut 4).1);
    }
}
