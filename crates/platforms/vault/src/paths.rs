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
use kit::links::Link;
use tools::{ErrorCode, ToolError};

/// Characters that a path may have. Vault's own limit for a storage key is far higher; nobody types longer ones.
const MAX_PATH: usize = 1_024;

/// What the API's paths begin with.
pub(super) const API_ROOT: &str = "v1/";
/// What stands after the mount in those of version 2.
pub(super) const API_KINDS: &[&str] = &["data", "metadata", "subkeys", "delete", "undelete", "destroy"];

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

impl Mounts {
    /// Whether an engine lies where paths of the API begin.
    pub(super) fn has_api_root(&self) -> bool {
        self.secret.keys().any(|mount| format!("{mount}/").starts_with(API_ROOT))
    }

    /// Where policies want a path of an engine of version 2, if it lacks the API's own part.
    pub(super) fn api_paths(&self, path: &str) -> Option<String> {
        let segments: Vec<&str> = path.split('/').collect();
        let (mount, rest) = (1..segments.len()).rev().find_map(|count| {
            let (mount, rest) = segments.split_at_checked(count)?;
            let mount = mount.join("/");
            let is_versioned = self.secret.get(&mount).and_then(kv_version) == Some(KvVersion::Two);
            is_versioned.then_some((mount, rest))
        })?;
        let is_bare = rest.first().is_some_and(|first| *first != "config" && !API_KINDS.contains(first));
        let rest = rest.join("/");
        is_bare.then(|| {
            format!(
                "; in {mount}, a KV engine of version 2, policies want {mount}/data/{rest}, and for lists \
                 {mount}/metadata/{rest}"
            )
        })
    }
}

/// The version of a mount's KV engine; none for other engines.
pub(super) fn kv_version(mount: &wire::Mount) -> Option<KvVersion> {
    let version = mount.options.as_ref().and_then(|options| options.get("version")).and_then(|value| value.as_str());
    match (mount.kind.as_str(), version) {
        // `generic` is what KV was called until Vault 0.8; one that is as old may be of version 2 by now
        // (hashicorp/vault#27221).
        ("kv" | "generic", Some("2")) => Some(KvVersion::Two),
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
    /// Version of the secret that a link leads to.
    pub(super) linked: Option<u64>,
}

/// Where a link to Vault's pages or API leads.
struct Linked {
    /// The mount; none if it is to be found by the path.
    mount: Option<String>,
    path: String,
    version: Option<u64>,
    /// Whether the path has the engine's own part of the API path in it, such as `data`.
    is_api: bool,
}

impl Linked {
    /// Takes a path of the API apart, as Vault's pages show it: `/v1/secret/data/web` (hashicorp/vault#31660).
    fn of_path(mounts: &Mounts, path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?.strip_prefix(API_ROOT).filter(|_| !mounts.has_api_root())?;
        Some(Self { mount: None, path: path.to_owned(), version: None, is_api: true })
    }

    /// Takes a link apart. Pages: `/ui/vault/secrets/<mount>/kv/<path>/details?version=2` since Vault 1.15, with the path as one
    /// segment; `/ui/vault/secrets/<mount>/show/<path>` before; `secrets-engines` for `secrets` in newer versions.
    fn of(link: &Link) -> Option<Self> {
        let version = link.query("version").and_then(|number| number.parse().ok()).filter(|number| *number > 0);
        let segments = link.segments();
        let is_page = |pair: &[String]| matches!(pair, [vault, secrets] if vault == "vault" && (secrets == "secrets" || secrets == "secrets-engines"));
        if let Some(at) = segments.windows(2).position(is_page) {
            let (mount, rest) = segments.get(at + 2..)?.split_first()?;
            let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
            let path = match rest.as_slice() {
                [] | ["kv" | "list"] | ["kv", "list" | "create" | "configuration"] => String::new(),
                ["kv", "list", path @ ..]
                | ["show" | "list" | "edit" | "create" | "metadata" | "versions" | "diff", path @ ..] => path.join("/"),
                ["kv", path, ..] => (*path).to_owned(),
                _ => return None,
            };
            return Some(Self { mount: Some(mount.clone()), path, version, is_api: false });
        }
        let path = link.after("v1")?.join("/");
        Some(Self { mount: None, path, version, is_api: true })
    }
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

    /// Whether the path in the mount begins as the API's own do below an engine of version 2.
    pub(super) fn is_like_api(&self) -> bool {
        self.version == KvVersion::Two
            && self
                .path
                .split_first()
                .is_some_and(|(first, rest)| API_KINDS.contains(&first.as_str()) && !rest.is_empty())
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

/// Rounds of decoding after which a path is that which it looks like.
const MAX_DECODINGS: usize = 4;

/// Takes a name apart that is no secret's path: that of a mount, a policy, a lease. One slash at either end is ignored.
///
/// # Errors
/// When a server could take it for another one than it looks like.
pub(super) fn segments(argument: &'static str, text: &str) -> Result<Vec<String>, ToolError> {
    let segments = secret_segments(argument, text)?;
    if readings(&segments.join("/")).next().is_some() {
        return Err(astray(
            argument,
            "holds a backslash, an encoded character, or a segment that begins or ends with a space; write the characters \
             themselves",
        ));
    }
    Ok(segments)
}

/// Takes a secret's path apart. One slash at either end is ignored. Names may hold what Vault keeps and lists: an encoded
/// slash, a backslash, blanks at their ends. [`Rules`] then hold every path against the patterns that a server on the way
/// could take it for.
///
/// # Errors
/// When one of these is no path: it climbs, or has an empty segment.
pub(super) fn secret_segments(argument: &'static str, text: &str) -> Result<Vec<String>, ToolError> {
    if text.len() > MAX_PATH {
        return Err(astray(argument, "is longer than 1024 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(astray(argument, "holds a control character"));
    }
    let text = text.strip_prefix('/').unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let segments: Vec<String> = text.split('/').map(ToOwned::to_owned).collect();
    if segments.iter().any(String::is_empty) {
        return Err(astray(argument, "has an empty segment"));
    }
    if segments.iter().any(|segment| matches!(segment.as_str(), "." | "..")) {
        return Err(astray(argument, "has a segment of dots"));
    }
    for (round, reading) in readings(text).enumerate() {
        let climbs = reading.split('/').any(|segment| matches!(segment, "" | "." | ".."));
        if climbs || round == MAX_DECODINGS || reading.chars().any(char::is_control) {
            return Err(astray(
                argument,
                "holds an encoded dot, slash or blank that could lead a server to another path",
            ));
        }
    }
    Ok(segments)
}

fn astray(argument: &'static str, what: &str) -> ToolError {
    ToolError::invalid_argument(format!("{argument} {what}"))
        .with_argument(argument)
        .with_remedy("write segments with single slashes between them: secret/apps/web")
}

/// The other paths that a server on the way could take a path for: one that decodes once more than it should, takes a
/// backslash for a slash, or leaves out blanks at the ends of segments. Each is what comes of the one before, so the last one,
/// or that of the round [`MAX_DECODINGS`], has nothing left that could be taken otherwise.
fn readings(path: &str) -> impl Iterator<Item = String> {
    let next = |path: &String| {
        let read = decoded(path).replace('\\', "/");
        let read = read.split('/').map(str::trim).collect::<Vec<_>>().join("/");
        (read != *path).then_some(read)
    };
    std::iter::successors(next(&path.to_owned()), next).take(MAX_DECODINGS + 1)
}

/// A text decoded once; what is no code of a character stays.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = (*byte == b'%').then(|| Some(digit(bytes.get(at + 1))? * 16 + digit(bytes.get(at + 2))?)).flatten();
        out.push(code.unwrap_or(*byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Finds the mount of a path: the given one, or the longest that the path begins with.
///
/// # Errors
/// When the path is not well-formed, no mount fits, or the mount is no KV engine.
pub(super) fn locate(mounts: &Mounts, path: &str, mount: Option<&str>) -> Result<Location, ToolError> {
    let linked = match Link::read(path) {
        None => mount.is_none().then(|| Linked::of_path(mounts, path)).flatten(),
        Some(link) => Some(Linked::of(&link).ok_or_else(|| {
            ToolError::invalid_argument("path is a link that does not lead to a secret or folder of Vault")
                .with_argument("path")
                .with_remedy("pass the link of the secret's page, or the mount followed by the path: secret/apps/web")
        })?),
    };
    let path = secret_segments("path", linked.as_ref().map_or(path, |linked| linked.path.as_str()))?;
    let mount = linked.as_ref().and_then(|linked| linked.mount.as_deref()).or(mount);
    let (mount, mut rest) = if let Some(mount) = mount {
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
    if linked.as_ref().is_some_and(|linked| linked.is_api)
        && version == KvVersion::Two
        && rest.first().is_some_and(|kind| API_KINDS.contains(&kind.as_str()))
    {
        rest.remove(0);
    }
    let location = Location { mount, path: rest, version, linked: linked.and_then(|linked| linked.version) };
    let full = location.full();
    let is_below = |path: &str, mount: &str| path == mount || path.starts_with(&format!("{mount}/"));
    let strays = |path: &str| {
        let deeper = |other: &String| other.len() > location.mount.len() && is_below(path, other);
        !is_below(path, &location.mount) || mounts.secret.keys().any(deeper)
    };
    if strays(&full) || readings(&full).any(|reading| strays(&reading)) {
        return Err(ToolError::invalid_argument("the path leads into another mount")
            .with_argument("mount")
            .with_remedy("leave mount out: it is found by the path"));
    }
    Ok(location)
}

/// Vault answers the same for an engine that isn't there and one in which the token may do nothing: it hides it. A token
/// that sees no KV engine at all is short of a policy; for others a misspelt path is as likely.
fn no_mount(mounts: &Mounts, argument: &'static str, path: &str) -> ToolError {
    let sees_any = mounts.secret.values().any(|mount| kv_version(mount).is_some() && !mount.is_listed_to_all());
    let code = if sees_any { ErrorCode::NotFound } else { ErrorCode::PermissionDenied };
    let message = format!(
        "the connector's token sees no secret engine at {path:?}: there is none, or no policy of the token permits \
         anything in it"
    );
    let namespace =
        if sees_any { "" } else { "; or spec.platform.vault.namespace is not the one that the engines are in" };
    ToolError::new(code, message).with_argument(argument).with_remedy(format!(
        "list_vault_mounts tells the mounts that it sees; if the engine should be there, a policy of its token needs the \
         capability list (to list) or read (to read) below that path{namespace}"
    ))
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

    /// Whether a secret may be touched, whatever a server on the way takes its path for.
    pub(super) fn permit(&self, full: &str) -> bool {
        let permits = |path: &str| {
            let matches = |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.matches(path));
            self.allow.as_deref().is_none_or(matches) && !matches(&self.deny)
        };
        permits(full) && readings(full).all(|reading| permits(&reading))
    }

    /// Whether anything below a folder may be touched, so that it makes sense to list it.
    pub(super) fn permit_folder(&self, full: &str) -> bool {
        self.permits_folder(full) && readings(full).all(|reading| self.permits_folder(&reading))
    }

    fn permits_folder(&self, full: &str) -> bool {
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
        let releases =
            |path: &str| self.release.iter().any(|rule| rule.path.matches(path) && rule.keys.iter().any(|k| k == key));
        if releases(&full) && readings(&full).all(|reading| releases(&reading)) {
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
