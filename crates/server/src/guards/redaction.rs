//! Secrets that a platform's data holds by accident, such as a token in a build log: found by their well-known form or by
//! the name of their field, and replaced by `[redacted: <kind>]`. It is a net with holes, for what should not have been
//! there; whatever a platform keeps as a secret is not answered in the first place.
//!
//! Ids, digests, UUIDs and ARNs are no secrets and stay. Time is linear in the length of the text, whatever it holds.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexSet};
use serde_json::Value;

/// Bytes of the shortest text in which a secret is looked for.
const SHORTEST: usize = 12;

/// A form of secrets. What the group `secret` matches is replaced, or all of it where there is no such group.
struct Form {
    kind: &'static str,
    pattern: &'static str,
    /// Tells what only looks like one.
    is_secret: fn(&str) -> bool,
}

const fn form(kind: &'static str, pattern: &'static str) -> Form {
    Form { kind, pattern, is_secret: |_| true }
}

/// Where forms come from: the documentation of each issuer on how its tokens begin.
const FORMS: &[Form] = &[
    form(
        "private_key",
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\z)",
    ),
    form("vault_token", r"(?-u:\b)hv[sbr]\.[A-Za-z0-9_-]{20,}"),
    Form {
        kind: "vault_token",
        pattern: r"(?:^|[^A-Za-z0-9_.-])(?<secret>s\.[A-Za-z0-9]{24})(?:[^A-Za-z0-9_.-]|$)",
        is_secret: is_mixed,
    },
    form("aws_access_key", r"(?-u:\b)(?:AKIA|ASIA)[A-Z2-7]{16}(?-u:\b)"),
    form("github_token", r"(?-u:\b)(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})"),
    form("gitlab_token", r"(?-u:\b)gl(?:pat|dt|ptt|rt|cbt|ft|soat|imt|agent|oas)-[A-Za-z0-9_-]{20,}"),
    form("slack_token", r"(?-u:\b)(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}"),
    form("slack_webhook", r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}"),
    form("circleci_token", r"(?-u:\b)CCIP(?:AT|RJ)_[A-Za-z0-9]+_[0-9a-fA-F]{40}(?-u:\b)"),
    form("jenkins_token", r"(?-u:\b)11[0-9a-f]{32}(?-u:\b)"),
    form("jwt", r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    form(
        "authorization",
        r#"(?i-u:\bauthorization)["']?\s*[:=]\s*["']?(?i-u:bearer|basic|token)\s+(?<secret>[A-Za-z0-9._~+/-]{8,}=*)"#,
    ),
    Form {
        kind: "bearer_token",
        pattern: r"(?i-u:\bbearer)\s+(?<secret>[A-Za-z0-9._~+/-]{20,}=*)",
        is_secret: |text| text.bytes().any(|byte| byte.is_ascii_digit()),
    },
    form("url_password", r#"(?-u:\b)[a-z][a-z0-9+.-]{1,31}://[^\s/:@"'<>]{0,256}:(?<secret>[^\s/@"'<>]{1,256})@"#),
    Form {
        kind: "password",
        pattern: r#"(?i-u:password|passwd|pwd|passphrase|client_?secret|secret_?(?:access_?)?key|api_?key|(?:access|auth|refresh|private|job|api|deploy|session|personal|oauth)[_-]?token)["']?\s*=\s*["']?(?<secret>[^\s"'&;,]{4,})"#,
        is_secret: is_no_placeholder,
    },
    Form {
        kind: "password",
        pattern: r#"(?i-u:password|passwd|passphrase|client_?secret|secret_?(?:access_?)?key|api_?key|(?:access|auth|refresh|private|job|api|deploy|session|personal|oauth)[_-]?token)["']?\s*:\s*["']?(?<secret>[^\s"'&;,]{8,})"#,
        is_secret: |text| is_no_placeholder(text) && text.bytes().any(|byte| byte.is_ascii_digit()),
    },
    // An option of a command and its value, as errors of Git and Helm quote them; Helmfile writes lengths and numbers between them.
    Form {
        kind: "password",
        pattern: r#"(?i-u:--?(?:[a-z0-9]+-){0,4}(?:password|passwd|passphrase|token|secret|secret-key|access-key|api-key))(?: \([0-9]{1,6} bytes\) [0-9]{1,4}:)?[ \t]+["']?(?<secret>[^\s"'`&;,-][^\s"'`&;,]{3,})"#,
        is_secret: is_no_word,
    },
    Form {
        kind: "password",
        pattern: r#"(?i-u:\blogin\b|--registry-config\b)[^\n]{0,120}?[ \t]-p[ \t]+["']?(?<secret>[^\s"'`&;,-][^\s"'`&;,]{3,})"#,
        is_secret: is_no_word,
    },
    Form {
        kind: "url_token",
        pattern: r#"[?&](?i-u:token|sig|signature|x-amz-signature|x-goog-signature)=(?<secret>[^\s"'`&\#]{8,})"#,
        is_secret: is_no_placeholder,
    },
];

/// Looked for only in texts that hold the id of an AWS access key.
const AWS_SECRET_KEY: Form = Form {
    kind: "aws_secret_key",
    pattern: r"(?:^|[^A-Za-z0-9/+_-])(?<secret>[A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+_-]|$)",
    is_secret: is_mixed,
};

/// Fields whose values are secrets, in lower case and without separators.
const FIELDS: &[&str] = &[
    "accesstoken",
    "apikey",
    "authtoken",
    "clientsecret",
    "clienttoken",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "refreshtoken",
    "secretaccesskey",
    "secretid",
    "secretkey",
    "sessiontoken",
];

struct Compiled {
    any: RegexSet,
    forms: Vec<(&'static Form, Regex)>,
    aws: Option<Regex>,
}

static COMPILED: LazyLock<Compiled> = LazyLock::new(|| {
    let forms: Vec<_> =
        FORMS.iter().filter_map(|form| Regex::new(form.pattern).ok().map(|regex| (form, regex))).collect();
    let any = RegexSet::new(forms.iter().map(|(form, _)| form.pattern)).unwrap_or_else(|_| RegexSet::empty());
    Compiled { any, forms, aws: Regex::new(AWS_SECRET_KEY.pattern).ok() }
});

/// The text without secrets, and how many there were.
#[must_use]
pub fn redact(text: &str) -> (Cow<'_, str>, u64) {
    if text.len() < SHORTEST {
        return (Cow::Borrowed(text), 0);
    }
    let compiled = &*COMPILED;
    let (mut redacted, mut count, mut aws) = (Cow::Borrowed(text), 0, false);
    for index in compiled.any.matches(text) {
        if let Some((form, regex)) = compiled.forms.get(index) {
            aws |= form.kind == "aws_access_key";
            redacted = replace(redacted, form, regex, &mut count);
        }
    }
    if let (true, Some(regex)) = (aws, &compiled.aws) {
        redacted = replace(redacted, &AWS_SECRET_KEY, regex, &mut count);
    }
    (redacted, count)
}

/// Redacts a value whose field has the name of a secret. Tells whether there was one.
#[must_use]
pub fn redact_field(name: &str, value: &mut Value) -> bool {
    let Value::String(text) = value else {
        return false;
    };
    let plain: String = name.chars().filter(|c| !"_-.".contains(*c)).map(|c| c.to_ascii_lowercase()).collect();
    if !FIELDS.contains(&plain.as_str()) || text.is_empty() || !is_no_placeholder(text) {
        return false;
    }
    *text = mark("field");
    true
}

fn mark(kind: &str) -> String {
    format!("[redacted: {kind}]")
}

fn replace<'a>(text: Cow<'a, str>, form: &Form, regex: &Regex, count: &mut u64) -> Cow<'a, str> {
    let found = |captures: &Captures<'_>| {
        let whole = captures.get(0).map_or("", |found| found.as_str());
        let Some(secret) = captures.name("secret").or_else(|| captures.get(0)) else {
            return whole.to_owned();
        };
        if !(form.is_secret)(secret.as_str()) {
            return whole.to_owned();
        }
        *count += 1;
        let start = captures.get(0).map_or(0, |found| found.start());
        let (before, after) = (secret.start() - start, secret.end() - start);
        format!(
            "{}{}{}",
            whole.get(..before).unwrap_or_default(),
            mark(form.kind),
            whole.get(after..).unwrap_or_default()
        )
    };
    match regex.replace_all(&text, found) {
        Cow::Owned(replaced) => Cow::Owned(replaced),
        Cow::Borrowed(_) => text,
    }
}

/// Whether capitals, small letters and digits are all there, as in random text and not in words or hexadecimal digits.
fn is_mixed(text: &str) -> bool {
    let has = |wanted: fn(&u8) -> bool| text.as_bytes().iter().any(wanted);
    has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
}

/// Whether it is neither a word of a sentence, such as `required`, nor what stands for a secret.
fn is_no_word(text: &str) -> bool {
    let text = text.trim_end_matches(['.', ':', ')', '!', '?']);
    is_no_placeholder(text) && text.bytes().any(|byte| !byte.is_ascii_lowercase())
}

/// Whether it isn't a variable, a mask, or what was put here instead of a secret.
fn is_no_placeholder(text: &str) -> bool {
    !text.starts_with(['$', '<', '{', '[', '%', '*', '(']) && !text.contains("***")
}

#[cfg(test)]
#[path = "redaction_tests.rs"]
pub(super) mod tests;
