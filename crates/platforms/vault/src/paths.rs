//! Where a secret lies: turns the `path` and `mount` that an agent gives into a mount, a path in it and the version of
//! its KV engine, and says which of them the manifest lets the tools touch. Everything is decided after the mount is
//! known, so that no other spelling of a path leads around a rule.
//!
//! ```text
//! "secret/apps/web" ─▶ segments ─▶ longest mount among those the token sees ─▶ rules on "secret/apps/web" ─▶ API path
//! ```

use std::collections::BTreeMap;

use super::wire;
use api::{
    pattern::PathPattern,
    platform::vault::{ReleaseRule, VaultPaths},
};
use tools::{ErrorCode, ToolError};

/// Characters that a path may have. Vault's own limit for a storage key is far higher; nobody types longer ones.
const MAX_PATH: usize = 1_024;

/// Version of a KV engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KvVersion {
    /// Values without versions.
    One,
    /// Values with versions and metadata.
    Two,
}

impl KvVersion {
    /// Its number.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// The mounts that the token sees, by their path without the slash at its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Mounts {
    /// Secret engines.
    pub(super) secret: BTreeMap<String, wire::Mount>,
    /// Auth methods, without `auth/`.
    pub(super) auth: BTreeMap<String, wire::Mount>,
}

impl From<wire::VisibleMounts> for Mounts {
    fn from(visible: wire::VisibleMounts) -> Self {
        let trimmed = |map: BTreeMap<String, wire::Mount>| {
            map.into_iter().map(|(path, mount)| (path.trim_matches('/').to_owned(), mount)).collect()
        };
        Self { secret: trimmed(visible.secret), auth: trimmed(visible.auth) }
    }
}

/// The version of a mount's KV engine; none for other engines.
pub(super) fn kv_version(mount: &wire::Mount) -> Option<KvVersion> {
    let version = mount.options.as_ref().and_then(|options| options.get("version")).and_then(|value| value.as_str());
    match (mount.kind.as_str(), version) {
        ("kv", Some("2")) => Some(KvVersion::Two),
        // `generic` is what KV version 1 was called until Vault 0.8.
        ("kv" | "generic", _) => Some(KvVersion::One),
        _ => None,
    }
}

/// A place in a KV engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// Mount, without slashes around it.
    pub(super) mount: String,
    /// Segments of the path in the mount; empty for the mount itself.
    pub(super) path: Vec<String>,
    /// Version of the engine.
    pub(super) version: KvVersion,
}

impl Location {
    /// The path in the mount.
    pub(super) fn path(&self) -> String {
        self.path.join("/")
    }

    /// Mount and path, as patterns in a manifest see it.
    pub(super) fn full(&self) -> String {
        std::iter::once(self.mount.as_str()).chain(self.path.iter().map(String::as_str)).collect::<Vec<_>>().join("/")
    }

    /// Segments of the API path: with `kind` (`data`, `metadata`, …) after the mount on KV v2, without on KV v1.
    pub(super) fn api(&self, kind: &'static str) -> Vec<String> {
        let kind = (self.version == KvVersion::Two).then_some(kind);
        self.mount.split('/').chain(kind).chain(self.path.iter().map(String::as_str)).map(ToOwned::to_owned).collect()
    }

    /// The place below this one.
    pub(super) fn child(&self, name: &str) -> Self {
        let mut path = self.path.clone();
        path.extend(name.split('/').filter(|segment| !segment.is_empty()).map(ToOwned::to_owned));
        Self { path, ..self.clone() }
    }
}

/// Takes a path apart. One slash at either end is ignored.
///
/// # Errors
/// When a server could take it for another path than it looks like.
pub(super) fn segments(argument: &'static str, text: &str) -> Result<Vec<String>, ToolError> {
    let refuse = |what: &str| {
        let message = format!("{argument} {what}");
        Err(ToolError::invalid_argument(message).with_argument(argument).with_remedy(
            "write segments with single slashes between them, as list_vault_secrets answers them: secret/apps/web",
        ))
    };
    if text.len() > MAX_PATH {
        return refuse("is longer than 1024 characters");
    }
    if text.chars().any(char::is_control) {
        return refuse("holds a control character");
    }
    if text.contains('\\') {
        return refuse("holds a backslash");
    }
    let lower = text.to_ascii_lowercase();
    if ["%2f", "%2e", "%5c", "%00", "%25"].iter().any(|encoded| lower.contains(encoded)) {
        return refuse("holds an encoded slash, dot or percent sign; write the characters themselves");
    }
    let text = text.strip_prefix('/').unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let segments: Vec<String> = text.split('/').map(ToOwned::to_owned).collect();
    if segments.iter().any(String::is_empty) {
        return refuse("has an empty segment");
    }
    if segments.iter().any(|segment| matches!(segment.as_str(), "." | "..")) {
        return refuse("has a segment of dots");
    }
    if segments.iter().any(|segment| segment.trim() != segment) {
        return refuse("has a segment that begins or ends with a space");
    }
    Ok(segments)
}

/// Finds the mount of a path: the given one, or the longest that the path begins with.
///
/// # Errors
/// When the path is not well-formed, no mount fits, or the mount is no KV engine.
pub(super) fn locate(mounts: &Mounts, path: &str, mount: Option<&str>) -> Result<Location, ToolError> {
    let path = segments("path", path)?;
    let (mount, rest) = if let Some(mount) = mount {
        (segments("mount", mount)?.join("/"), path)
    } else {
        let longest = (1..=path.len()).rev().find_map(|count| {
            let (candidate, rest) = path.split_at_checked(count)?;
            let candidate = candidate.join("/");
            mounts.secret.contains_key(&candidate).then(|| (candidate, rest.to_vec()))
        });
        longest.ok_or_else(|| no_mount(mounts, "path", &path.join("/")))?
    };
    let engine = mounts.secret.get(&mount).ok_or_else(|| no_mount(mounts, "mount", &mount))?;
    let version = kv_version(engine).ok_or_else(|| {
        ToolError::invalid_argument(format!("the mount {mount} is not a KV engine, and its secrets are not offered"))
            .with_argument("path")
            .with_remedy("list_vault_mounts tells which mounts are KV engines")
    })?;
    // With `mount` given the path may still lead into a longer mount ("team" and "kv/a" where "team/kv" is one).
    let location = Location { mount, path: rest, version };
    let full = location.full();
    let deeper = mounts
        .secret
        .keys()
        .any(|other| other.len() > location.mount.len() && (full == *other || full.starts_with(&format!("{other}/"))));
    if deeper {
        return Err(ToolError::invalid_argument("the path leads into another mount")
            .with_argument("mount")
            .with_remedy("leave mount out: it is found by the path"));
    }
    Ok(location)
}

/// Vault answers the same for an engine that isn't there and one in which the token may do nothing: it hides it. A token
/// that sees no KV engine at all is short of a policy; for others a misspelt path is as likely.
fn no_mount(mounts: &Mounts, argument: &'static str, path: &str) -> ToolError {
    let sees_any = mounts.secret.values().any(|mount| kv_version(mount).is_some());
    let code = if sees_any { ErrorCode::NotFound } else { ErrorCode::PermissionDenied };
    let message = format!(
        "the connector's token sees no secret engine at {path:?}: there is none, or no policy of the token permits \
         anything in it"
    );
    ToolError::new(code, message).with_argument(argument).with_remedy(
        "list_vault_mounts tells the mounts that it sees; if the engine should be there, a policy of its token needs \
         the capability list (to list) or read (to read) below that path",
    )
}

/// What the manifest lets the tools touch.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    allow: Option<Vec<PathPattern>>,
    deny: Vec<PathPattern>,
    release: Vec<ReleaseRule>,
}

impl Rules {
    pub(super) fn new(paths: Option<&VaultPaths>, release: Option<&Vec<ReleaseRule>>) -> Self {
        Self {
            allow: paths.and_then(|paths| paths.allow.clone()),
            deny: paths.and_then(|paths| paths.deny.clone()).unwrap_or_default(),
            release: release.cloned().unwrap_or_default(),
        }
    }

    /// Patterns of what the connector is meant for: those of `releaseValues`, and of `paths.allow`.
    pub(super) fn purposes(&self) -> impl Iterator<Item = &PathPattern> {
        self.release.iter().map(|rule| &rule.path).chain(self.allow.iter().flatten())
    }

    /// Whether a secret may be touched.
    pub(super) fn permit(&self, full: &str) -> bool {
        let matches = |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.matches(full));
        self.allow.as_deref().is_none_or(matches) && !matches(&self.deny)
    }

    /// Whether anything below a folder may be touched, so that it makes sense to list it.
    pub(super) fn permit_folder(&self, full: &str) -> bool {
        let reaches = self.allow.as_ref().is_none_or(|allow| allow.iter().any(|pattern| reaches_below(pattern, full)));
        // A last `**` covers whatever lies below; other patterns leave something uncovered.
        let anything_below = format!("{full}/\u{1}");
        let closed = self
            .deny
            .iter()
            .any(|pattern| pattern.0.rsplit('/').next() == Some("**") && pattern.matches(&anything_below));
        reaches && !closed
    }

    /// Refuses a secret that may not be touched.
    ///
    /// # Errors
    /// [`ErrorCode::PermissionDenied`], naming the field of the manifest.
    pub(super) fn check(&self, location: &Location) -> Result<(), ToolError> {
        let full = location.full();
        if location.path.is_empty() {
            return Err(ToolError::invalid_argument(format!("{full} is a mount, not a secret"))
                .with_argument("path")
                .with_remedy("list_vault_secrets tells what is in it"));
        }
        if self.permit(&full) { Ok(()) } else { Err(not_permitted(&full)) }
    }

    /// Refuses a folder below which nothing may be touched.
    ///
    /// # Errors
    /// [`ErrorCode::PermissionDenied`], naming the field of the manifest.
    pub(super) fn check_folder(&self, location: &Location) -> Result<(), ToolError> {
        let full = location.full();
        if self.permit_folder(&full) { Ok(()) } else { Err(not_permitted(&full)) }
    }

    /// Refuses a value that is not released.
    ///
    /// # Errors
    /// [`ErrorCode::PermissionDenied`], naming the field of the manifest.
    pub(super) fn check_release(&self, location: &Location, key: &str) -> Result<(), ToolError> {
        let full = location.full();
        let released = self.release.iter().any(|rule| rule.path.matches(&full) && rule.keys.iter().any(|k| k == key));
        if released {
            return Ok(());
        }
        Err(ToolError::new(ErrorCode::PermissionDenied, format!("the value of key {key:?} at {full} is not released"))
            .with_argument("key")
            .with_remedy(
                "whoever owns the McpConnector can add the path and the key to spec.platform.vault.releaseValues; \
                 without key the tool answers the names of the keys",
            ))
    }
}

fn not_permitted(full: &str) -> ToolError {
    ToolError::new(ErrorCode::PermissionDenied, format!("this connector does not touch {full}"))
        .with_argument("path")
        .with_remedy("whoever owns the McpConnector can change spec.platform.vault.paths")
}

/// Whether a pattern can match something below a folder.
fn reaches_below(pattern: &PathPattern, folder: &str) -> bool {
    let pattern: Vec<&str> = pattern.0.split('/').collect();
    let folder: Vec<&str> = folder.split('/').collect();
    for (index, segment) in folder.iter().enumerate() {
        match pattern.get(index) {
            Some(&"**") if index + 1 == pattern.len() => return true,
            Some(expected) if PathPattern((*expected).to_owned()).matches(segment) => {}
            _ => return false,
        }
    }
    pattern.len() > folder.len()
}

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;
