//! The two kinds of pattern that specs use: tool names (`get_*`) and slash-separated paths (`apps/*/db`, `apps/**`).
//! They are small on purpose: whoever reads a manifest must be able to say what it matches.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A tool name, in which `*` stands for any run of characters. `*` alone matches every tool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamePattern(pub String);

impl NamePattern {
    /// Whether `name` matches, case-sensitively.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        wildcard_matches(&self.0, name)
    }

    /// Whether the pattern names one tool exactly, which is what tools that are off by default ask for.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }
}

impl JsonSchema for NamePattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NamePattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9_.*-]+$" })
    }
}

/// A path pattern. Within a segment `*` stands for any run of characters; a last segment `**` stands for everything
/// below. `apps/*` matches `apps/web` and not `apps/web/db`; `apps/**` matches both, and not `apps`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PathPattern(pub String);

impl PathPattern {
    /// Whether `path`, without a leading or trailing slash, matches, case-sensitively.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut path = path.split('/');
        let mut pattern = self.0.split('/').peekable();
        while let Some(expected) = pattern.next() {
            if expected == "**" && pattern.peek().is_none() {
                return path.next().is_some();
            }
            match path.next() {
                Some(segment) if wildcard_matches(expected, segment) => {}
                _ => return false,
            }
        }
        path.next().is_none()
    }
}

impl JsonSchema for PathPattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PathPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 512,
            "pattern": "^[^/\\s]+(/[^/\\s]+)*$",
        })
    }
}

/// Greedy wildcard match with one point of return, so its time is bounded by the product of both lengths.
fn wildcard_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut return_to: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                return_to = Some((p, t));
                p += 1;
            }
            Some(byte) if Some(byte) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match return_to {
                Some((star, from)) => {
                    p = star + 1;
                    t = from + 1;
                    return_to = Some((star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        let cases = [
            ("*", "anything", true),
            ("get_*", "get_vault_health", true),
            ("get_*", "list_vault_mounts", false),
            ("*_secret", "read_vault_secret", true),
            ("*_secret", "read_vault_secrets", false),
            ("read_vault_secret", "read_vault_secret", true),
            ("read_vault_secret", "Read_vault_secret", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxc", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(NamePattern(pattern.into()).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn paths() {
        let cases = [
            ("apps/web", "apps/web", true),
            ("apps/*", "apps/web", true),
            ("apps/*", "apps/web/db", false),
            ("apps/**", "apps/web/db", true),
            ("apps/**", "apps", false),
            ("**", "apps", true),
            ("apps/*/db", "apps/web/db", true),
            ("apps/*/db", "apps/web/api/db", false),
            ("apps/w*", "apps/web", true),
            ("apps/web", "apps/web/", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(PathPattern(pattern.into()).matches(path), expected, "{pattern} {path}");
        }
    }

    proptest! {
        #[test]
        fn a_literal_matches_only_itself(name in "[a-z_]{1,20}", other in "[a-z_]{1,20}") {
            let pattern = NamePattern(name.clone());
            prop_assert!(pattern.matches(&name));
            prop_assert_eq!(pattern.matches(&other), name == other);
        }

        #[test]
        fn a_star_swallows_any_middle(head in "[a-z]{0,5}", middle in "[a-z_]{0,20}", tail in "[a-z]{0,5}") {
            let pattern = NamePattern(format!("{head}*{tail}"));
            let name = format!("{head}{middle}{tail}");
            prop_assert!(pattern.matches(&name));
        }
    }
}
