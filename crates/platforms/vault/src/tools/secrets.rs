//! `read_vault_secret`, `get_vault_secret_keys` and `get_vault_secret_metadata`: what is in KV
//! engines. Values leave this file only through `read_vault_secret` with a key that the manifest releases.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, value::RawValue};
use serde_with::skip_serializing_none;

use super::{failed, read};
use crate::{
    Vault,
    client::{Call, Error},
    names::{Names, bounded, sieve},
    paths::{KvVersion, Location},
    wire,
};
use kit::args::Limit;
use tools::{CallContext, ErrorCode, ToolDeclaration, ToolEntry, ToolError};
use vault_api::numbers;

/// Names of keys in one answer.
const MAX_KEYS: usize = 500;
/// Bytes of a value, as JSON.
const MAX_VALUE: usize = 16 * 1024;
/// Versions in one answer.
const MAX_VERSIONS: usize = 50;

const READ: ToolDeclaration = ToolDeclaration::read(
    "read_vault_secret",
    "Read a secret",
    "Without key: the names of a secret's keys, never values. With key: the value of that key, if the \
                  connector's manifest releases it.",
)
.sensitive();

const KEYS: ToolDeclaration = ToolDeclaration::read(
    "get_vault_secret_keys",
    "Keys of a secret",
    "Answers the names of a secret's keys as a tree, down to a depth. It never answers values, whatever \
                  the manifest says.",
);

const METADATA: ToolDeclaration = ToolDeclaration::read(
    "get_vault_secret_metadata",
    "Versions of a secret",
    "Tells the versions of a secret (KV version 2): when they were made, deleted or destroyed, and what \
                  is configured for it.",
);

/// Arguments of `read_vault_secret`.
#[derive(Deserialize, JsonSchema)]
struct ReadInput {
    /// The mount followed by the path in it, without `data/`, such as `secret/apps/web`, or the link of its page.
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
struct KeysInput {
    /// The mount followed by the path in it, without `data/`, such as `secret/apps/web`, or the link of its page.
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
    /// Levels of nested keys.
    #[serde(default)]
    depth: Limit<1, 10>,
}

/// Arguments of `get_vault_secret_metadata`.
#[derive(Deserialize, JsonSchema)]
struct MetadataInput {
    /// The mount followed by the path in it, without `metadata/`, such as `secret/apps/web`, or the link of its page.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// Mount, if it should not be found by the path; `path` is then the path in it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    mount: Option<String>,
}

/// A secret's keys, or one value.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct Secret {
    /// Mount.
    mount: String,
    /// Path in the mount.
    path: String,
    /// Version of the KV engine: 1 or 2.
    kv_version: u8,
    /// Version that was read (KV version 2).
    version: Option<u64>,
    /// When that version was made (RFC 3339).
    created_at: Option<String>,
    /// When Vault will delete that version by itself (RFC 3339).
    ends_at: Option<String>,
    /// Names of the keys; left out when a value was asked for.
    keys: Option<Vec<String>>,
    /// Whether there are more keys than were answered.
    truncated: bool,
    /// The key that was asked for.
    key: Option<String>,
    /// Its value: a text in nearly every secret, and any JSON in some.
    value: Option<Value>,
    /// What to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A tree of keys.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct KeyTree {
    /// Mount.
    mount: String,
    /// Path in the mount.
    path: String,
    /// Version of the KV engine: 1 or 2.
    kv_version: u8,
    /// Version that was read (KV version 2).
    version: Option<u64>,
    /// When Vault will delete that version by itself (RFC 3339).
    ends_at: Option<String>,
    /// The keys: an object for a key with keys in it, null for a key with a value.
    keys: Map<String, Value>,
    /// Whether there are more keys than were answered.
    truncated: bool,
}

/// What is known of a secret.
#[derive(Serialize, JsonSchema)]
struct SecretMetadata {
    /// Mount.
    mount: String,
    /// Path in the mount.
    path: String,
    /// Number of the newest version; 0 if there never was one.
    current_version: u64,
    /// Number of the oldest version that is kept; 0 if there is none.
    oldest_version: u64,
    /// When it was made (RFC 3339).
    created_at: String,
    /// When a version was written last (RFC 3339).
    updated_at: String,
    /// Versions that are kept, or the mount's own number if that is larger; 10 where neither is set.
    max_versions: u64,
    /// Whether every write must state the version that it replaces; its mount may demand it, too.
    cas_required: bool,
    /// Time after which versions are deleted, such as `720h0m0s`, or the mount's own if that is shorter; `0s` for no own one.
    delete_version_after: String,
    /// What its owner wrote about it.
    custom_metadata: BTreeMap<String, String>,
    /// The newest 50 versions, newest first.
    versions: Vec<VersionState>,
    /// Whether there are more versions than were answered.
    truncated: bool,
}

/// A version of a secret.
#[derive(Serialize, JsonSchema)]
struct VersionState {
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
    vec![read(vault, READ, read_secret), read(vault, KEYS, keys), read(vault, METADATA, metadata)]
}

async fn read_secret(vault: Arc<Vault>, input: ReadInput, context: CallContext) -> Result<Secret, ToolError> {
    let read = |location| read_at(&vault, location, &input, &context);
    vault.at(&input.path, input.mount.as_deref(), context.deadline, read).await
}

async fn read_at(
    vault: &Vault,
    location: Location,
    input: &ReadInput,
    context: &CallContext,
) -> Result<Secret, ToolError> {
    vault.rules.check(&location)?;
    let version = input.version.or(location.linked);
    check_version(&location, version)?;
    if let Some(key) = &input.key {
        vault.rules.check_release(&location, key)?;
        return read_value(vault, &location, key, version, context).await;
    }
    let is_versioned = location.version == KvVersion::Two;
    let (tree, hints) = match tree(vault, &location, (version, 1), is_versioned, context).await {
        Ok(tree) => {
            let hint = "this Vault has no subkeys, which came with 1.10 and by which the values would not leave it; they were \
                        read and dropped";
            let hints = if is_versioned && tree.kind == DATA { vec![hint.to_owned()] } else { Vec::new() };
            (tree, hints)
        }
        // The usual policy grants data/ and not subkeys/.
        Err((SUBKEYS, Error::Forbidden(_))) if is_versioned => {
            let tree = tree_of_data(vault, &location, (version, 1), context)
                .await
                .map_err(|error| unreadable(&location, DATA, error))?;
            let hint = format!(
                "the token's policies permit no read on {}, by which the values would not leave Vault; they were read \
                 and dropped",
                location.api(SUBKEYS).join("/")
            );
            (tree, vec![hint])
        }
        Err((kind, error)) => return Err(unreadable(&location, kind, error)),
    };
    let (mut names, found) = (tree.names(), tree.version);
    let truncated = names.len() > MAX_KEYS;
    names.truncate(MAX_KEYS);
    Ok(Secret { keys: Some(names), truncated, hints, ..Secret::new(location, found) })
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
        KvVersion::One => vault
            .session
            .data::<BTreeMap<String, Box<RawValue>>>(&call, context.deadline)
            .await
            .map(|data| (data, None)),
        KvVersion::Two => vault
            .session
            .data::<wire::SecretData>(&call, context.deadline)
            .await
            .map(|answer| (answer.data.unwrap_or_default(), Some(answer.metadata))),
    };
    let (mut data, metadata) = read.map_err(|error| unreadable(location, "data", error))?;
    let Some(value) = data.remove(key) else {
        return Err(ToolError::invalid_argument(format!("key {key:?} is not at {}", location.full()))
            .with_argument("key")
            .with_remedy("platform_words are the keys that are there")
            .with_platform_words(data.into_keys().take(50)));
    };
    let room = MAX_VALUE.min(context.max_result_bytes);
    if value.get().len() > room {
        return Err(ToolError::new(ErrorCode::ResultTooLarge, format!("the value is larger than {room} bytes")));
    }
    let (value, hints) = exact(value.get(), location.version)?;
    Ok(Secret { key: Some(key.to_owned()), value: Some(value), hints, ..Secret::new(location.clone(), metadata) })
}

/// A value as it is kept, digit by digit.
///
/// # Errors
/// When it holds a number that can't be told so.
fn exact(json: &str, version: KvVersion) -> Result<(Value, Vec<String>), ToolError> {
    let unreadable = |message: &str| ToolError::new(ErrorCode::PlatformError, message);
    let keep_as_text = "whoever owns the secret should keep the number as a text";
    if version == KvVersion::Two && !numbers::all(json, &|number| !numbers::may_be_rounded(number)) {
        let message = "the value holds a number of so many digits that Vault's KV version 2, which answers 64-bit floats, may tell \
                       another one than it keeps";
        return Err(unreadable(message).with_remedy(keep_as_text));
    }
    let value: Value = serde_json::from_str(json).map_err(|_| unreadable("the value can't be read"))?;
    let is_same = |number: &str| serde_json::from_str::<Number>(number).is_ok_and(|read| read.to_string() == number);
    if numbers::is_number(json) && !is_same(json) {
        let hint = "the value is a number, and is told as a text so that it keeps its digits";
        return Ok((json.into(), vec![hint.to_owned()]));
    }
    if numbers::all(json, &|number| is_same(number) || !numbers::may_be_rounded(number)) {
        return Ok((value, Vec::new()));
    }
    Err(unreadable("the value holds a number that loses digits where it is told").with_remedy(keep_as_text))
}

async fn keys(vault: Arc<Vault>, input: KeysInput, context: CallContext) -> Result<KeyTree, ToolError> {
    let read = |location| keys_at(&vault, location, &input, &context);
    vault.at(&input.path, input.mount.as_deref(), context.deadline, read).await
}

async fn keys_at(
    vault: &Vault,
    location: Location,
    input: &KeysInput,
    context: &CallContext,
) -> Result<KeyTree, ToolError> {
    let depth = u8::try_from(input.depth.get()).unwrap_or(u8::MAX);
    vault.rules.check(&location)?;
    let version = input.version.or(location.linked);
    check_version(&location, version)?;
    let Tree { keys, version, .. } = tree(vault, &location, (version, depth), false, context)
        .await
        .map_err(|(kind, error)| unreadable(&location, kind, error))?;
    let mut room = MAX_KEYS;
    let (keys, truncated) = bounded(keys, &mut room);
    Ok(KeyTree {
        kv_version: location.version.number(),
        path: location.path(),
        mount: location.mount,
        version: version.as_ref().map(|version| version.version),
        ends_at: version.as_ref().and_then(|version| version.ends_at()).map(ToOwned::to_owned),
        keys,
        truncated,
    })
}

async fn metadata(vault: Arc<Vault>, input: MetadataInput, context: CallContext) -> Result<SecretMetadata, ToolError> {
    let read = |location| metadata_at(&vault, location, &context);
    vault.at(&input.path, input.mount.as_deref(), context.deadline, read).await
}

async fn metadata_at(vault: &Vault, location: Location, context: &CallContext) -> Result<SecretMetadata, ToolError> {
    vault.rules.check(&location)?;
    if location.version == KvVersion::One {
        return Err(ToolError::invalid_argument(format!(
            "the mount {} is a KV engine of version 1, which keeps no versions and no metadata",
            location.mount
        ))
        .with_argument("path"));
    }
    let known: wire::SecretMetadata = vault
        .session
        .data(&Call::get(location.api("metadata")), context.deadline)
        .await
        .map_err(|error| unreadable(&location, "metadata", error))?;
    let mut versions: Vec<(u64, wire::VersionInfo)> =
        known.versions.into_iter().filter_map(|(number, info)| Some((number.parse().ok()?, info))).collect();
    versions.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    // Vault says 0 while none was thrown away.
    let oldest = versions.last().map_or(0, |(number, _)| *number);
    let truncated = versions.len() > MAX_VERSIONS;
    versions.truncate(MAX_VERSIONS);
    Ok(SecretMetadata {
        path: location.path(),
        mount: location.mount,
        current_version: known.current_version,
        oldest_version: known.oldest_version.max(oldest),
        created_at: known.created_time,
        updated_at: known.updated_time,
        max_versions: known.max_versions,
        cas_required: known.cas_required,
        delete_version_after: known.delete_version_after,
        custom_metadata: known.custom_metadata.unwrap_or_default(),
        versions: versions
            .into_iter()
            .map(|(version, info)| VersionState {
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
            ends_at: version.as_ref().and_then(|version| version.ends_at()).map(ToOwned::to_owned),
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
    error.with_remedy(if location.is_like_api() {
        "leave data/ out of the path, the tools add it"
    } else {
        "list_vault_secrets tells what is there; a version that was never made gives this, too"
    })
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
        Some(version) => call.query("version", &version),
        None => call,
    }
}

/// Where the values of a secret are.
const DATA: &str = "data";
/// Where its keys are, without the values.
const SUBKEYS: &str = "subkeys";

/// The keys of a secret.
pub(super) struct Tree {
    /// Their names, null for a value and an object for keys in it.
    pub(super) keys: Map<String, Value>,
    /// The version that was read (KV version 2).
    pub(super) version: Option<wire::VersionInfo>,
    /// What it was read from.
    kind: &'static str,
}

impl Tree {
    /// The names of the first level.
    pub(super) fn names(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }
}

/// The tree of a secret's keys. On KV version 2 Vault itself leaves the values out, if it has `subkeys`, which came with 1.10.
/// `optional` says that the caller has another way where the policies don't permit it.
///
/// # Errors
/// With what was to be read.
pub(super) async fn tree(
    vault: &Vault,
    location: &Location,
    (version, depth): (Option<u64>, u8),
    optional: bool,
    context: &CallContext,
) -> Result<Tree, (&'static str, Error)> {
    let asked = |call: Call| if optional { call.optional() } else { call };
    match location.version {
        KvVersion::One => {
            let data: Names = vault
                .session
                .data(&asked(Call::get(location.api(DATA))), context.deadline)
                .await
                .map_err(|error| (DATA, error))?;
            Ok(Tree { keys: data.at_depth(depth), version: None, kind: DATA })
        }
        KvVersion::Two => {
            let call = asked(versioned(Call::get(location.api(SUBKEYS)), version).query("depth", &depth));
            match vault.session.data::<wire::Subkeys>(&call, context.deadline).await {
                // Taken through the same sieve: whatever a server may put there, no value comes out.
                Ok(answer) => Ok(Tree {
                    keys: sieve(answer.subkeys.unwrap_or_default(), depth),
                    version: Some(answer.metadata),
                    kind: SUBKEYS,
                }),
                // What an engine of version 2 says of a path that it doesn't have (`pathInvalid` in `backend.go`).
                Err(Error::VersionedEngine) => {
                    tree_of_data(vault, location, (version, depth), context).await.map_err(|error| (DATA, error))
                }
                Err(error) => Err((SUBKEYS, error)),
            }
        }
    }
}

/// The tree of a KV version 2 secret's keys, read with its values, which are dropped while the answer is being read.
async fn tree_of_data(
    vault: &Vault,
    location: &Location,
    (version, depth): (Option<u64>, u8),
    context: &CallContext,
) -> Result<Tree, Error> {
    #[derive(Deserialize)]
    struct OnlyNames {
        #[serde(default)]
        data: Option<Names>,
        metadata: wire::VersionInfo,
    }
    let call = versioned(Call::get(location.api(DATA)), version);
    let answer: OnlyNames = vault.session.data(&call, context.deadline).await?;
    let keys = answer.data.unwrap_or_default().at_depth(depth);
    Ok(Tree { keys, version: Some(answer.metadata), kind: DATA })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_keeps_its_digits_or_is_refused() {
        for (json, of_one, of_two) in [
            ("1", Some("1"), Some("1")),
            ("40123456789012345678", Some("\"40123456789012345678\""), None),
            ("18446744073709551615", Some("18446744073709551615"), None),
            ("0.12345678901234567890123", Some("\"0.12345678901234567890123\""), None),
            ("1.10", Some("\"1.10\""), Some("\"1.10\"")),
            ("1.1", Some("1.1"), Some("1.1")),
            ("1e400", None, None),
            (r#""40123456789012345678""#, Some(r#""40123456789012345678""#), Some(r#""40123456789012345678""#)),
            (r#"{"a":[1.5,true,null]}"#, Some(r#"{"a":[1.5,true,null]}"#), Some(r#"{"a":[1.5,true,null]}"#)),
            (r#"{"a":[1.10]}"#, Some(r#"{"a":[1.1]}"#), Some(r#"{"a":[1.1]}"#)),
            (r#"{"a":[40123456789012345678]}"#, None, None),
            (r#"{"a":9007199254740993}"#, Some(r#"{"a":9007199254740993}"#), None),
        ] {
            let told = |version| exact(json, version).ok().map(|(value, _)| value.to_string());
            assert_eq!(told(KvVersion::One).as_deref(), of_one, "{json}");
            assert_eq!(told(KvVersion::Two).as_deref(), of_two, "{json}");
        }
    }

    proptest! {
        #[test]
        fn no_digit_is_lost(number in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?") {
            if let Ok((value, _)) = exact(&number, KvVersion::One) {
                let told = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                prop_assert_eq!(told, number);
            }
        }
    }
}
