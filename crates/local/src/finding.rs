//! What was found wrong, and where: one value for people, for programs (JSON) and for code scanners (SARIF 2.1.0). Names in it
//! are of whoever wrote the manifests, so each text is cleaned as it is shown, and is one line: what begins a line is a command
//! to some continuous integrations (`::error::` of GitHub Actions).

use std::{fmt, sync::Arc};

use common::foreign::whole_line;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::yaml::Place;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is wrong: something can't be judged here.
    Note,
    /// It works here, and not in a cluster, or not well.
    Warning,
    /// It is refused.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Something that was found out about a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Which rule says so: `yaml`, `schema/…`, `cel`, `reference`, `mutations`, or a reason as conditions have it.
    #[serde(serialize_with = "shown")]
    pub rule: String,
    /// The file as it was named; `-` for standard input.
    pub file: Arc<str>,
    /// The line, from 1; 0 where it isn't known.
    pub line: u64,
    /// The column, from 1; 0 where it isn't known.
    pub column: u64,
    /// `Kind namespace/name`; nothing where no object could be read.
    #[serde(serialize_with = "shown_if_any", skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The field, such as `spec.platform`; nothing where it is about the whole object.
    #[serde(serialize_with = "shown_if_any", skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong and what to do.
    #[serde(serialize_with = "shown")]
    pub message: String,
}

fn shown<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&whole_line(text))
}

#[expect(clippy::ref_option, reason = "serde passes the field as it is")]
fn shown_if_any<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().map(whole_line).serialize(serializer)
}

impl Finding {
    /// A finding about a file as a whole, or a place in it.
    pub fn about_file(level: Level, rule: &str, file: &Arc<str>, place: Place, message: impl Into<String>) -> Self {
        Self {
            level,
            rule: rule.to_owned(),
            file: file.clone(),
            line: place.line,
            column: place.column,
            object: None,
            field: None,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}: ", whole_line(&self.file), self.line, self.column, self.level)?;
        for subject in self.object.iter().chain(&self.field) {
            write!(f, "{}: ", whole_line(subject))?;
        }
        write!(f, "{} [{}]", whole_line(&self.message), whole_line(&self.rule))
    }
}

/// Whether one of the findings is an error.
#[must_use]
pub fn any_error(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.level == Level::Error)
}

/// The findings as SARIF 2.1.0, which code scanners show beside the lines.
#[must_use]
pub fn sarif(findings: &[Finding]) -> Value {
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let result = |finding: &Finding| {
        let subject: Vec<String> =
            finding.object.iter().chain(&finding.field).map(|part| format!("{part}: ")).collect();
        json!({
            "ruleId": whole_line(&finding.rule),
            "level": finding.level,
            "message": { "text": whole_line(&format!("{}{}", subject.concat(), finding.message)) },
            "locations": [{
                "physicalLocation": {
                    "artifactLocation": { "uri": &*finding.file },
                    // Lines begin with 1 in SARIF; what has no place is told at the first.
                    "region": { "startLine": finding.line.max(1), "startColumn": finding.column.max(1) },
                },
            }],
        })
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "mcp-connectors",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|rule| json!({ "id": whole_line(rule) })).collect::<Vec<_>>(),
            } },
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding {
            object: Some("McpConnector ci/jenkins".into()),
            field: Some("spec.platform".into()),
            ..Finding::about_file(
                Level::Error,
                "cel",
                &"a.yaml".into(),
                Place { line: 7, column: 3 },
                "exactly one platform must be set",
            )
        }
    }

    #[test]
    fn a_person_reads_place_object_field_and_rule_in_one_line() {
        let line = finding().to_string();
        let expected =
            "a.yaml:7:3: error: McpConnector ci/jenkins: spec.platform: exactly one platform must be set [cel]";
        assert_eq!(line, expected);
    }

    #[test]
    fn nothing_in_a_manifest_begins_a_line_or_steers_a_terminal() {
        let odd = |name: &str| {
            format!("{name}\n::error::pwned\r\n::add-mask::x\u{1b}]0;title\u{7}\u{1b}[31m\u{202e}\u{e0041}\u{fe00}")
        };
        let finding = Finding {
            rule: odd("rule"),
            file: odd("a.yaml").into(),
            object: Some(odd("McpConnector")),
            field: Some(odd("spec.x")),
            message: odd("wrong"),
            ..finding()
        };
        let line = finding.to_string();
        assert!(line.chars().all(|c| common::foreign::is_seen(c) && c != '\n'), "{line:?}");
        for text in [serde_json::to_string(&finding).unwrap(), sarif(&[finding]).to_string()] {
            for hidden in ["\\u001b", "\u{202e}", "\u{e0041}", "\u{fe00}"] {
                // The name of a file is an address.
                assert!(text.matches(hidden).count() <= 2, "{text}");
            }
            assert!(text.contains("wrong ::error::pwned ::add-mask::x"), "{text}");
        }
    }

    #[test]
    fn a_scanner_finds_the_line() {
        let nowhere = Finding { line: 0, column: 0, level: Level::Note, ..finding() };
        let sarif = sarif(&[finding(), nowhere]);
        let run = &sarif["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"], json!([{ "id": "cel" }]));
        let place = |index: usize| run["results"][index]["locations"][0]["physicalLocation"].clone();
        assert_eq!(place(0)["region"], json!({ "startLine": 7, "startColumn": 3 }));
        assert_eq!(place(1)["region"], json!({ "startLine": 1, "startColumn": 1 }));
        assert_eq!(place(0)["artifactLocation"]["uri"], "a.yaml");
        assert_eq!((&run["results"][0]["level"], &run["results"][1]["level"]), (&json!("error"), &json!("note")));
    }
}
