//! Secrets that a platform's data holds by accident, such as a token in a build log: found by their well-known form or by
//! the name of their field, and replaced by `[redacted: <kind>]`. It is a net with holes, for what should not have been
//! there; whatever a platform keeps as a secret is not answered in the first place.
//!
//! Ids, digests, UUIDs and ARNs are no secrets and stay. Time is linear in the length of the text, whatever it holds.

use std::{borrow::Cow, sync::LazyLock};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
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
    // As files of OpenSSH, kubeconfigs and DER hold them: base64 without a frame, whose beginning says what it is (RFC 5958,
    // 8017, 5915). Lines of it that follow go with it.
    form(
        "private_key",
        r"(?:b3BlbnNzaC1rZXktdjEA|LS0tLS1CRUdJTi(?:BSU0EgUFJJVkFURS|BQUklWQVRFIEtF|BFQyBQUklWQVRF|BEU0EgUFJJVkFURS|BPUEVOU1NIIFBSSVZBVE|BFTkNSWVBURUQgUFJJVkFUR)|MII[A-Za-z0-9+/]{2}[AQgw]IB(?:ADANBgkqhkiG9w0BAQEFAASC|AAKCA[A-Za-z0-9]EA)|MI[GH][A-Za-z0-9]AgEAMB[AM]GByqGSM49AgEG|MHcCAQEEI|MIGkAgEBBD|MIHcAgEBBEI|MC4CAQAwBQYDK2VwBCIEI)[A-Za-z0-9+/]{20,}(?:(?:(?:\n|\\n)[ \t]*[A-Za-z0-9+/]{44,})+(?:(?:\n|\\n)[ \t]*[A-Za-z0-9+/]{16,})?)?={0,2}",
    ),
    form("aws_access_key", r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?-u:\b)"),
    form("github_token", r"(?-u:\b)(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})"),
    form(
        "gitlab_token",
        r"(?-u:\b)(?:gl(?:pat|dt|ptt|rt|cbt|ft|ffct|soat|imt|agent|oas)-[A-Za-z0-9_-]{20,}(?:\.[0-9a-z]{9})?|GR1348941[A-Za-z0-9_-]{20})",
    ),
    form("slack_token", r"(?-u:\b)(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}"),
    form("slack_webhook", r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,}"),
    form("circleci_token", r"(?-u:\b)CCIP(?:AT|RJ)_[A-Za-z0-9]+_[0-9a-fA-F]{40}(?-u:\b)"),
    form("jenkins_token", r"(?-u:\b)11[0-9a-f]{32}(?-u:\b)"),
    // Tools break long lines: header and payload may go on in following lines, since what ends them is known. What is left of
    // a signature is worth nothing without them.
    form(
        "jwt",
        r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}(?:\\?\n[ \t]*[A-Za-z0-9_-]+)*(?:\\?\n[ \t]*)?\.(?:\\?\n[ \t]*)?e(?:\\?\n[ \t]*)?y(?:\\?\n[ \t]*)?J[A-Za-z0-9_-]+(?:\\?\n[ \t]*[A-Za-z0-9_-]+)*(?:\\?\n[ \t]*)?\.(?:\\?\n[ \t]*)?[A-Za-z0-9_-]+",
    ),
    // What the following begin with, and how long they are at least, their issuers say. Compared with gitleaks' rules.
    form("npm_token", r"(?-u:\b)npm_[A-Za-z0-9]{36}(?-u:\b)"),
    form("pypi_token", r"(?-u:\b)pypi-AgE[A-Za-z0-9_-]{40,}"),
    Form {
        kind: "openai_key",
        pattern: r"(?-u:\b)sk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{40,}|[A-Za-z0-9_-]{16,}T3BlbkFJ[A-Za-z0-9_-]{16,})",
        is_secret: is_mixed,
    },
    form("anthropic_key", r"(?-u:\b)sk-ant-[a-z]{3,8}[0-9]{2}-[A-Za-z0-9_-]{40,}"),
    form("google_key", r"(?-u:\b)(?:AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{20,})"),
    form("stripe_key", r"(?-u:\b)(?:(?:sk|rk)_(?:live|test|prod)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/]{32,}=*)"),
    form("azure_key", r#"(?i-u:\b(?:account|sharedaccess)key)["']?\s*[:=]\s*["']?(?<secret>[A-Za-z0-9+/]{40,}={0,2})"#),
    form("azure_secret", r"(?:^|[^A-Za-z0-9_~.-])(?<secret>[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})"),
    form("docker_token", r"(?-u:\b)dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,}"),
    form("sendgrid_key", r"(?-u:\b)SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    form(
        "grafana_token",
        r"(?-u:\b)(?:glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|glc_[A-Za-z0-9+/]{32,}={0,2}|eyJrIjoi[A-Za-z0-9]{70,}={0,2})",
    ),
    form("terraform_token", r"(?-u:\b)[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}"),
    form("artifactory_token", r"(?-u:\b)(?:AKCp[A-Za-z0-9]{69}|cmVmdGtuOj[A-Za-z0-9]{54})(?-u:\b)"),
    form("openshift_token", r"(?-u:\b)sha256~[A-Za-z0-9_-]{43}"),
    form("sonar_token", r"(?-u:\b)sq[aup]_[a-f0-9]{40}(?-u:\b)"),
    form(
        "access_token",
        r"(?-u:\b)(?:do[opr]_v1_[a-f0-9]{64}|hf_[A-Za-z]{34}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|dapi[a-f0-9]{32}|pul-[a-f0-9]{40}|rubygems_[a-f0-9]{48}|lin_api_[A-Za-z0-9]{40}|NRAK-[A-Z0-9]{27}|sntrys_eyJ[A-Za-z0-9+/_=-]{40,}|sntryu_[a-f0-9]{64}|dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_.-]{40,}|PMAK-[a-f0-9]{24}-[a-f0-9]{34}|HRKU-AA[A-Za-z0-9_-]{58}|ATATT3[A-Za-z0-9_=-]{60,}|ops_eyJ[A-Za-z0-9+/=_-]{60,})",
    ),
    form("age_key", r"(?-u:\b)AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    // `config.json` of Docker, also within another text, and `.npmrc`: user and password in base64.
    Form {
        kind: "basic_auth",
        pattern: r#"(?:(?-u:\b)|_)auth\\?["']?\s*[:=]\s*\\?["']?(?<secret>[A-Za-z0-9+/]{8,}={0,2})"#,
        is_secret: is_user_and_password,
    },
    Form {
        kind: "password",
        pattern: r#"(?-u:\b)curl(?-u:\b)(?:\\\n|[^\n|;&]|&[^\s&])*?[ \t](?:-[a-zA-Z]{0,4}[uU][ \t]*|--(?:proxy-)?user[ \t=])["']?[^\s"':]+:(?<secret>[^\s"']+)"#,
        is_secret: |text| is_no_placeholder(text) && !text.starts_with("//"),
    },
    form(
        "authorization",
        r#"(?i-u:\bauthorization)["']?\s*[:=]\s*["']?(?i-u:bearer|basic|token)\s+(?<secret>[A-Za-z0-9._~+/-]{8,}=*)"#,
    ),
    Form {
        kind: "bearer_token",
        pattern: r"(?i-u:\bbearer)\s+(?<secret>[A-Za-z0-9._~+/-]{20,}=*)",
        is_secret: |text| text.bytes().any(|byte| byte.is_ascii_digit()),
    },
    Form {
        kind: "url_password",
        pattern: r#"(?-u:\b)[a-z][a-z0-9+.-]{1,31}://[^\s/:@"'<>]{0,256}:(?<secret>[^\s/@"'<>]{1,256})@"#,
        is_secret: is_no_placeholder,
    },
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
    // One of letters alone may be a word of a sentence: it is taken for one unless it stands alone, as a value does. Names of keys
    // and tokens are left, which manifests are full of (`secretKey: db-password`).
    Form {
        kind: "password",
        pattern: r#"(?i-u:password|passwd|passphrase)\\?["']?\s*:[ \t]*\\?["']?(?<secret>[^\s"'&;,\\/(){}\[\]<>$=|]{8,})(?:\\?["']|[ \t]*(?:[,}\]]|(?m:$)))"#,
        is_secret: is_no_word_of_passwords,
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
    "identitytoken",
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

/// What is said of a password in one word, after `password:`.
const PASSWORD_WORDS: &[&str] = &[
    "accepted",
    "authenticated",
    "authentication",
    "authorization",
    "changeable",
    "credentials",
    "deprecated",
    "different",
    "disabled",
    "encrypted",
    "exception",
    "expected",
    "expiration",
    "forbidden",
    "generated",
    "hardcoded",
    "incorrect",
    "insufficient",
    "interactive",
    "mandatory",
    "mismatch",
    "mismatched",
    "obfuscated",
    "optional",
    "overridden",
    "password",
    "prohibited",
    "protected",
    "provided",
    "received",
    "redacted",
    "rejected",
    "required",
    "restricted",
    "sensitive",
    "specified",
    "succeeded",
    "successful",
    "successfully",
    "supplied",
    "temporary",
    "unauthorized",
    "unavailable",
    "unchanged",
    "undefined",
    "unencrypted",
    "unexpected",
    "unspecified",
    "unsupported",
    "validated",
    "verified",
    "whatever",
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

/// Whether it is neither what stands for a password nor what is said of one: `Password: incorrect`.
fn is_no_word_of_passwords(text: &str) -> bool {
    let text = text.trim_end_matches(['.', ':', ')', '!', '?']);
    let is_word = PASSWORD_WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    let is_fault = text.ends_with("Exception") || text.ends_with("Error");
    // The names of a variable and of an object that holds it: `DB_PASSWORD`, `redis-password`.
    let is_variable = text.contains('_') && !text.bytes().any(|byte| byte.is_ascii_lowercase());
    let lower = text.to_ascii_lowercase();
    let is_name =
        text.contains(['-', '_', '.']) && ["passw", "secret", "credential"].iter().any(|word| lower.contains(word));
    text.len() >= 8 && is_no_placeholder(text) && !(is_word || is_fault || is_variable || is_name)
}

/// Whether it is base64 of `user:password`.
fn is_user_and_password(text: &str) -> bool {
    let decoded = BASE64.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.is_some_and(|pair| pair.contains(':') && !pair.contains(char::is_control))
}

/// Whether it isn't nothing, a variable, a mask, or what was put here instead of a secret.
fn is_no_placeholder(text: &str) -> bool {
    const NOTHING: [&str; 7] = ["empty", "false", "nil", "none", "null", "true", "undefined"];
    let is_variable = text.starts_with(['$', '<', '{', '[', '%', '*', '(']) || text.starts_with("#{");
    let first = text.chars().next().unwrap_or('*');
    let is_mask = text.len() > 2 && (first == 'x' || !first.is_alphanumeric()) && text.chars().all(|c| c == first);
    !is_variable && !is_mask && !text.contains("***") && !NOTHING.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
#[path = "redaction_tests.rs"]
pub(super) mod tests;
