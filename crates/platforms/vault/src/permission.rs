//! Whether the token's policies permit what the connector is there for. What that is follows from the manifest:
//! `releaseValues` and `paths.allow`. Without either, access to any KV mount will do.
//!
//! In a healthy state it costs one request: `capabilities-self` of the paths that stand for the manifest's patterns, or
//! the list of visible mounts where there are none.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::{
    Vault,
    client::Error,
    paths::{KvVersion, Mounts, kv_version},
    session::Token,
    wire::ResultantAcl,
};
use api::pattern::PathPattern;

/// What a `*` is replaced with, to ask for a path that a pattern stands for.
const ANY_NAME: &str = "mcp-connectors-check";

/// What was found out.
pub(super) enum Standing {
    /// Something that the connector is there for is permitted. The text says what was seen.
    Permitted(String),
    /// Nothing is. The text says which policy is missing.
    Missing(String),
}

/// What a pattern of the manifest asks of the policies.
#[derive(Debug, PartialEq, Eq)]
enum Purpose {
    /// Its mount is a pattern, so nothing can be asked for it.
    Open,
    /// No mount fits that the token sees.
    MountUnseen(String),
    /// API paths, of which one must be permitted.
    Paths(Vec<ApiPattern>),
}

/// A pattern as an API path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ApiPattern {
    /// A path that the pattern matches.
    path: String,
    /// The path up to the first wildcard.
    literal: String,
    /// As it would stand in a policy.
    policy: String,
}

impl ApiPattern {
    /// All of a mount.
    fn all_of(mount: &str) -> Self {
        let literal = format!("{mount}/");
        Self { path: format!("{literal}{ANY_NAME}"), policy: format!("{literal}*"), literal }
    }

    fn has_wildcard(&self) -> bool {
        self.path != self.literal
    }
}

/// Asks Vault.
pub(super) async fn check(vault: &Vault, token: &Token, deadline: Instant) -> Result<Standing, Error> {
    let patterns: BTreeSet<&PathPattern> = vault.rules.purposes().collect();
    if patterns.is_empty() {
        return any_kv(vault, token, deadline).await;
    }
    let mounts = match vault.known_mounts(token, super::MOUNTS_AGE) {
        Some(known) => known,
        None => vault.fetch_mounts(token, deadline).await?,
    };
    let (mut unseen, mut asked) = (BTreeSet::new(), Vec::new());
    for pattern in patterns {
        match purpose(&mounts, pattern) {
            Purpose::Open => return any_kv(vault, token, deadline).await,
            Purpose::MountUnseen(mount) => {
                unseen.insert(mount);
            }
            Purpose::Paths(paths) => asked.extend(paths),
        }
    }
    if asked.is_empty() {
        return Ok(Standing::Missing(no_mount(&unseen)));
    }
    // Capabilities are asked for at most this many paths; the rest stands or falls with them.
    asked.truncate(50);
    let paths: Vec<String> = asked.iter().map(|pattern| pattern.path.clone()).collect();
    let capabilities = match vault.session.capabilities(token, &paths, deadline).await {
        // The policy `default` permits it, and a token need not have that.
        Err(Error::Forbidden(_)) => return any_kv(vault, token, deadline).await,
        outcome => outcome?,
    };
    let permitted =
        |pattern: &&ApiPattern| capabilities.get(&pattern.path).is_some_and(|list| list.iter().any(|c| c != "deny"));
    if asked.iter().any(|pattern| permitted(&pattern)) {
        let note = if unseen.is_empty() { String::new() } else { format!("; but {}", no_mount(&unseen)) };
        return Ok(Standing::Permitted(format!("the token's policies permit what the manifest names{note}")));
    }
    // A policy may be narrower than the manifest's pattern: exactly secret/data/apps/web for secret/apps/*.
    if asked.iter().any(ApiPattern::has_wildcard)
        && let Ok(acl) = resultant_acl(vault, token, deadline).await
        && asked.iter().any(|pattern| overlaps(&acl, pattern))
    {
        return Ok(Standing::Permitted("the token's policies permit a part of what the manifest names".to_owned()));
    }
    let policies: BTreeSet<String> = asked
        .iter()
        .filter(|pattern| !pattern.policy.contains("/metadata/"))
        .map(|pattern| format!("path {:?} {{ capabilities = [\"read\"] }}", pattern.policy))
        .collect();
    let policies = policies.into_iter().take(3).collect::<Vec<_>>().join(", ");
    Ok(Standing::Missing(format!(
        "no policy of the token permits what the manifest names; it needs for example {policies}"
    )))
}

/// Whether anything in any KV engine is permitted. One that is listed to everybody says nothing of that, so the rules
/// are asked.
async fn any_kv(vault: &Vault, token: &Token, deadline: Instant) -> Result<Standing, Error> {
    let mounts = vault.fetch_mounts(token, deadline).await?;
    let kv = mounts.secret.iter().filter(|(_, mount)| kv_version(mount).is_some());
    let (public, own): (Vec<_>, Vec<_>) = kv.partition(|(_, mount)| mount.is_listed_to_all());
    let public_only = own.is_empty() && !public.is_empty();
    let mut count = own.len();
    if public_only {
        let public: Vec<&str> = public.into_iter().map(|(mount, _)| mount.as_str()).collect();
        count = match permitted_of(vault, token, &public, deadline).await {
            Ok(count) => count,
            Err(error @ (Error::TokenRejected | Error::TokenBarred)) => return Err(error),
            // The policy `default` permits to ask, and a token need not have that.
            Err(_) => {
                let note =
                    "whether the token may do anything in a KV mount is not known: all that it sees are listed to all";
                return Ok(Standing::Permitted(note.to_owned()));
            }
        };
    }
    if count == 0 {
        let unseen = if public_only { "; rules with + in their path are not all seen here" } else { "" };
        return Ok(Standing::Missing(format!(
            "no policy of the token permits anything in any KV mount; it needs for example \
             path \"secret/data/*\" {{ capabilities = [\"read\"] }}{unseen}"
        )));
    }
    Ok(Standing::Permitted(format!("the token has access to {count} KV mount{}", if count == 1 { "" } else { "s" })))
}

/// In how many of these mounts anything is permitted, as far as can be asked.
async fn permitted_of(vault: &Vault, token: &Token, mounts: &[&str], deadline: Instant) -> Result<usize, Error> {
    let acl = resultant_acl(vault, token, deadline).await?;
    let count = mounts.iter().filter(|mount| overlaps(&acl, &ApiPattern::all_of(mount))).count();
    if count > 0 {
        return Ok(count);
    }
    // Rules with `+` are in no answer to that (`pathInternalUIResultantACL` in `logical_system.go` of OpenBao).
    let paths = |mount: &&&str| ["data", "metadata"].map(|kind| format!("{mount}/{kind}/{ANY_NAME}"));
    let asked: Vec<String> = mounts.iter().take(25).flat_map(|mount| paths(&mount)).collect();
    let capabilities = vault.session.capabilities(token, &asked, deadline).await?;
    let grants = |path: &String| capabilities.get(path).is_some_and(|list| list.iter().any(|c| c != "deny"));
    Ok(mounts.iter().filter(|mount| paths(mount).iter().any(grants)).count())
}

/// What the token's policies come to, with paths as they are in the connector's namespace.
async fn resultant_acl(vault: &Vault, token: &Token, deadline: Instant) -> Result<ResultantAcl, Error> {
    let acl = vault.session.resultant_acl(token, deadline).await?;
    Ok(match &vault.namespace {
        Some(namespace) => acl.below(&format!("{namespace}/")),
        None => acl,
    })
}

fn no_mount(unseen: &BTreeSet<String>) -> String {
    let names = unseen.iter().map(|mount| format!("{mount:?}")).collect::<Vec<_>>().join(", ");
    format!(
        "no policy of the token permits anything in the mount {names}, which the manifest names, or there is no such \
         mount"
    )
}

fn purpose(mounts: &Mounts, pattern: &PathPattern) -> Purpose {
    let segments: Vec<&str> = pattern.0.split('/').collect();
    let literal = segments.iter().take_while(|segment| !segment.contains('*')).count();
    let Some(first) = segments.first().filter(|_| literal > 0) else { return Purpose::Open };
    let longest = (1..=literal).rev().find_map(|count| {
        let (mount, rest) = segments.split_at_checked(count)?;
        let mount = mount.join("/");
        let version = kv_version(mounts.secret.get(&mount)?)?;
        Some((mount, rest, version))
    });
    let Some((mount, rest, version)) = longest else { return Purpose::MountUnseen((*first).to_owned()) };
    let kinds: &[Option<&str>] = match version {
        KvVersion::One => &[None],
        KvVersion::Two => &[Some("data"), Some("metadata")],
    };
    Purpose::Paths(kinds.iter().map(|kind| api_pattern(&mount, *kind, rest)).collect())
}

fn api_pattern(mount: &str, kind: Option<&str>, rest: &[&str]) -> ApiPattern {
    let written = std::iter::once(mount).chain(kind).chain(rest.iter().copied()).collect::<Vec<_>>().join("/");
    let literal = written.split('*').next().unwrap_or_default().to_owned();
    let mut path = written.clone();
    if path.ends_with("**") {
        path.truncate(path.len() - 1);
    }
    let path = path.replace('*', ANY_NAME);
    let policy = if written.contains('*') { format!("{literal}*") } else { written };
    ApiPattern { path, literal, policy }
}

/// Whether any rule may permit any path that the pattern matches. In doubt it says yes: this decides about an alarm.
fn overlaps(acl: &ResultantAcl, pattern: &ApiPattern) -> bool {
    let grants = |capabilities: &[String]| capabilities.iter().any(|capability| capability != "deny");
    let meets = |rule: &str| {
        // `+` stands for one segment in a rule.
        let rule = rule.split('+').next().unwrap_or_default();
        rule.starts_with(&pattern.literal) || pattern.literal.starts_with(rule)
    };
    let exact = |path: &str| path == pattern.path || (pattern.has_wildcard() && path.starts_with(&pattern.literal));
    acl.root
        || acl.exact_paths.iter().any(|(path, rule)| grants(&rule.capabilities) && exact(path))
        || acl.glob_paths.iter().any(|(path, rule)| grants(&rule.capabilities) && meets(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn mounts() -> Mounts {
        let visible: wire::VisibleMounts = serde_json::from_value(serde_json::json!({"secret": {
            "secret/": {"type": "kv", "options": {"version": "2"}},
            "old/": {"type": "kv", "options": {"version": "1"}},
            "team/kv/": {"type": "kv", "options": {"version": "2"}},
        }}))
        .unwrap();
        Mounts::from(visible)
    }

    #[test]
    fn patterns_become_api_paths_that_stand_for_them() {
        let paths = |pattern: &str| match purpose(&mounts(), &PathPattern(pattern.into())) {
            Purpose::Paths(paths) => paths.into_iter().map(|p| (p.path, p.policy)).next().unwrap(),
            other => panic!("{other:?}"),
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(paths("secret/apps/web"), pair("secret/data/apps/web", "secret/data/apps/web"));
        assert_eq!(paths("secret/apps/*"), pair("secret/data/apps/mcp-connectors-check", "secret/data/apps/*"));
        assert_eq!(paths("secret/**"), pair("secret/data/mcp-connectors-check", "secret/data/*"));
        assert_eq!(paths("old/a"), pair("old/a", "old/a"));
        assert_eq!(paths("team/kv/a"), pair("team/kv/data/a", "team/kv/data/a"));
        assert_eq!(purpose(&mounts(), &PathPattern("gone/a".into())), Purpose::MountUnseen("gone".into()));
        assert_eq!(purpose(&mounts(), &PathPattern("**".into())), Purpose::Open);
    }

    #[test]
    fn a_narrower_policy_is_no_alarm() {
        let acl: ResultantAcl = serde_json::from_value(serde_json::json!({
            "exact_paths": {"secret/data/apps/web": {"capabilities": ["read"]},
                            "secret/data/no/web": {"capabilities": ["deny"]}},
            "glob_paths": {"secret/data/teams/": {"capabilities": ["read"]}},
        }))
        .unwrap();
        let overlap = |pattern: &str| match purpose(&mounts(), &PathPattern(pattern.into())) {
            Purpose::Paths(paths) => overlaps(&acl, &paths[0]),
            other => panic!("{other:?}"),
        };
        assert!(overlap("secret/apps/*"));
        assert!(overlap("secret/teams/a/*"));
        assert!(overlap("secret/**"));
        assert!(!overlap("secret/no/*"));
        assert!(!overlap("secret/other/*"));
        assert!(!overlap("secret/apps"));
    }
}
