//! Parameters: what a job declares, what a caller gives, and which values are not for everybody's eyes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::first;
use crate::wire::{ParameterDefinition, ParameterValue};
use kit::text;
use tools::ToolError;

/// What stands in place of a value that may be a secret.
pub(super) const MASKED: &str = "********";
/// Parameters of one answer, and choices of each.
const MAX_PARAMETERS: usize = 100;
const MAX_CHOICES: usize = 50;
/// Parameters that a hint names.
const MAX_NAMED: usize = 10;
/// Bytes of one value.
const MAX_VALUE: usize = 16 * 1024;

/// A value that a caller gives.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(untagged)]
pub(super) enum GivenValue {
    /// A flag.
    Flag(bool),
    /// A number.
    Number(serde_json::Number),
    /// A text.
    Text(String),
    /// Several choices, of a parameter that takes them.
    Several(Vec<String>),
}

impl GivenValue {
    fn into_texts(self) -> Vec<String> {
        match self {
            Self::Flag(flag) => vec![flag.to_string()],
            Self::Number(number) => vec![number.to_string()],
            Self::Text(text) => vec![text],
            // None of the choices: left out, it would be the default.
            Self::Several(none) if none.is_empty() => vec![String::new()],
            Self::Several(texts) => texts,
        }
    }
}

/// How several choices come to Jenkins in a form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Several {
    /// Not at all: `hudson/model/SimpleParameterDefinition.java` throws an exception.
    No,
    /// As one text with commas, as it is of one chosen alone (active-choices, `AbstractUnoChoiceParameter.java`).
    Joined,
    /// Each as a field of its own; what is none of the choices, as such a text is, is dropped
    /// (extended-choice-parameter, `ExtendedChoiceParameterDefinition.java`: `createValue(String[])`).
    Each,
}

impl Several {
    fn of(definition: &ParameterDefinition) -> Self {
        match definition.kind.as_str() {
            "PT_MULTI_SELECT" | "PT_CHECKBOX" => Self::Each,
            "ChoiceParameter" | "CascadeChoiceParameter" => Self::Joined,
            _ => Self::No,
        }
    }

    /// The fields' values.
    fn fields(self, given: Vec<String>) -> Vec<String> {
        match self {
            Self::No => given,
            Self::Joined => vec![given.join(",")],
            // Its choices have no commas, and a build tells what it had with commas between.
            Self::Each => given.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect(),
        }
    }
}

/// The values of each parameter among fields, of which one stands there more than once if it has several.
pub(super) fn by_name(fields: &[(String, String)]) -> impl Iterator<Item = (&String, Vec<&str>)> {
    fields.chunk_by(|(one, _), (next, _)| one == next).filter_map(|same| {
        let (name, _) = same.first()?;
        Some((name, same.iter().map(|(_, value)| value.as_str()).collect()))
    })
}

/// What is said where a parameter was given whose choices Jenkins doesn't tell, and which takes nothing else.
pub(super) fn may_drop(fields: &[(String, String)], declared: &[ParameterDefinition]) -> Option<String> {
    let drops = |name: &String| {
        let mut known = declared.iter().filter(|one| one.name == *name);
        known.any(|one| one.kind.starts_with("PT_") && one.kind != "PT_TEXTBOX")
    };
    let names: Vec<String> =
        by_name(fields).filter(|(name, _)| drops(name)).take(MAX_NAMED).map(|(name, _)| text::clean(name)).collect();
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!(
            "of {names} Jenkins drops what is none of the choices, which it doesn't tell: \
             get_jenkins_build_status has what the build got"
        )
    })
}

/// A parameter that is declared.
#[derive(Serialize, JsonSchema)]
pub(super) struct ParameterView {
    /// Its name.
    name: String,
    /// What it takes: string, text, boolean, choice, password, run, file, credentials, or a plugin's own.
    #[serde(rename = "type")]
    kind: String,
    /// What somebody wrote about it, cut to 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// What it is if left out; masked where it may be a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    /// What it can be: 50 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    choices: Vec<String>,
    /// Whether it must be given here. Jenkins builds without those that have no default, unless a plugin refuses.
    required: bool,
}

/// Parameters as they are told, with choices as far as there is room for them, in bytes. Those that a pipeline asks for while it runs
/// are all required: one that is left out would be missing in the pipeline, whatever its default.
pub(super) fn views(
    declared: &[ParameterDefinition],
    required: bool,
    mut room: usize,
    hints: &mut Vec<String>,
) -> Vec<ParameterView> {
    let mut cut = Vec::new();
    let views = first(declared, MAX_PARAMETERS, "parameters", hints).into_iter().map(|definition| {
        let name = text::clean(&definition.name);
        let all = definition.choices.as_deref().unwrap_or_default();
        let fits = |choice: &String| {
            let fits = choice.len() <= room;
            room = if fits { room - choice.len() } else { 0 };
            fits
        };
        let choices: Vec<String> =
            all.iter().take(MAX_CHOICES).map(|choice| text::clean(choice)).take_while(fits).collect();
        if choices.len() < all.len() {
            cut.push(name.clone());
        }
        let default = definition.default_parameter_value.as_ref();
        ParameterView {
            kind: kind(&definition.kind),
            description: definition.description.as_deref().and_then(text::optional),
            default: default.and_then(|default| seen(&definition.name, &definition.kind, default)),
            choices,
            required,
            name,
        }
    });
    let views = views.collect();
    if !cut.is_empty() {
        let named = first(cut, MAX_NAMED, "such parameters", hints).join(", ");
        hints.push(format!("there are more choices than are told of {named}; any of them can be given"));
    }
    views
}

/// `ChoiceParameterDefinition` as `choice`.
fn kind(class: &str) -> String {
    let word: String = class.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    word.strip_suffix("ParameterDefinition").unwrap_or(&word).to_lowercase()
}

/// Whether a value may be a secret: by its class, or by its name, because many put tokens into plain strings.
pub(super) fn may_be_secret(name: &str, class: &str) -> bool {
    let (name, class) = (name.to_lowercase(), class.to_lowercase());
    let words =
        ["passw", "passphrase", "secret", "token", "credential", "api_key", "apikey", "private_key", "privatekey"];
    class.contains("password") || words.iter().any(|word| name.contains(word)) || ends_as_a_secret(&name)
}

/// Whether the last words of a name in small letters are those of a secret: `db_pass`, `github-pat`, `ssh_key`. A key alone may be one
/// to sort by.
fn ends_as_a_secret(name: &str) -> bool {
    let mut words = name.rsplit(|c: char| !c.is_alphanumeric());
    match (words.next().unwrap_or_default(), words.next()) {
        ("pass" | "pwd" | "pat" | "creds", _) => true,
        ("key", Some(of)) => {
            matches!(of, "api" | "access" | "ssh" | "secret" | "private" | "deploy" | "signing" | "encryption" | "gpg")
        }
        _ => false,
    }
}

/// A value as it may be seen.
pub(super) fn shown(name: &str, class: &str, value: &Value) -> String {
    if may_be_secret(name, class) {
        return MASKED.to_owned();
    }
    match value {
        Value::String(value) => text::clean(value),
        other => text::clean(&other.to_string()),
    }
}

/// A value that Jenkins tells, as it may be seen; nothing if it doesn't tell it, which is no sign of a secret.
pub(super) fn seen(name: &str, class: &str, value: &ParameterValue) -> Option<String> {
    let told = value.told();
    if told.is_none() && may_be_secret(name, class) {
        Some(MASKED.to_owned())
    } else {
        told.map(|told| shown(name, class, &told))
    }
}

/// Checks what a caller gives against what is declared, as far as Jenkins tells it, and gives the form's fields. `all_required` where
/// nothing has a default.
///
/// # Errors
/// When a parameter is not declared, is missing, or has a value that it can't have. Messages name parameters that were given,
/// never their values; what the job declares stands beside them.
pub(super) fn check(
    given: &BTreeMap<String, GivenValue>,
    declared: &[ParameterDefinition],
    all_required: bool,
) -> Result<Vec<(String, String)>, ToolError> {
    let error = |message: String| ToolError::invalid_argument(message).with_argument("parameters");
    let refuse = |message: String| Err(error(message));
    let names = || declared.iter().map(|one| text::clean(&one.name));
    if let Some(unknown) = given.keys().find(|name| !declared.iter().any(|one| one.name == **name)) {
        let unknown = text::clean(unknown);
        if declared.is_empty() {
            return refuse(format!("parameter {unknown}: this job takes no parameters"));
        }
        return Err(error(format!("parameter {unknown} is not declared"))
            .with_remedy("platform_words are those that are")
            .with_platform_words(names()));
    }
    let mut fields = Vec::new();
    for definition in declared {
        let name = text::clean(&definition.name);
        let Some(value) = given.get(&definition.name) else {
            if all_required {
                return Err(error("a parameter is missing, and all must be given".to_owned())
                    .with_remedy("platform_words are all that must be given")
                    .with_platform_words(names()));
            }
            continue;
        };
        let several = Several::of(definition);
        let values = several.fields(value.clone().into_texts());
        if values.iter().map(String::len).sum::<usize>() > MAX_VALUE {
            return refuse(format!("parameter {name} is longer than {} KiB", MAX_VALUE / 1024));
        }
        let [value] = values.as_slice() else {
            if several != Several::Each {
                return refuse(format!("parameter {name} takes one value, and not several"));
            }
            fields.extend(values.into_iter().map(|value| (definition.name.clone(), value)));
            continue;
        };
        match kind(&definition.kind).as_str() {
            // In any case, as Jenkins takes it, to which everything else is false (`BooleanParameterDefinition.java`).
            "boolean" => {
                let flag = value.trim().to_ascii_lowercase();
                if !matches!(flag.as_str(), "true" | "false") {
                    return refuse(format!("parameter {name}: allowed are true and false"));
                }
                fields.push((definition.name.clone(), flag));
                continue;
            }
            "choice" => {
                if let Some(choices) = definition.all_choices().filter(|choices| !choices.contains(value)) {
                    let allowed: Vec<_> = choices.iter().take(MAX_CHOICES).map(|choice| text::clean(choice)).collect();
                    let remedy = match choices.len() - allowed.len() {
                        0 => "platform_words are its choices".to_owned(),
                        more => format!("platform_words are its choices, and there are {more} more"),
                    };
                    return Err(error(format!("parameter {name} has no such choice"))
                        .with_remedy(remedy)
                        .with_platform_words(allowed));
                }
            }
            "run" if !value.contains('#') => {
                return refuse(format!("parameter {name} is a build of a job: job#number"));
            }
            // Those of the plugin file-parameters, too, which passes over what is no upload
            // (`AbstractFileParameterDefinition.java`).
            "file" | "base64file" | "stashedfile" => {
                return refuse(format!("parameter {name} is a file, which can't be given here"));
            }
            _ => {}
        }
        fields.push((definition.name.clone(), value.clone()));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn declared() -> Vec<ParameterDefinition> {
        serde_json::from_value(json!([
            { "name": "ENV", "type": "ChoiceParameterDefinition", "choices": ["dev", "prod"],
              "defaultParameterValue": { "value": "dev" } },
            { "name": "DRY", "type": "BooleanParameterDefinition", "defaultParameterValue": { "value": true } },
            { "name": "RUN", "type": "RunParameterDefinition" },
            { "name": "DATA", "type": "FileParameterDefinition" },
            { "name": "TEXT", "type": "Base64FileParameterDefinition" },
            { "name": "ZIP", "type": "StashedFileParameterDefinition" },
            { "name": "TAG", "type": "ChoiceParameterDefinition" },
            { "name": "PARTS", "type": "PT_MULTI_SELECT" },
            { "name": "HOSTS", "type": "CascadeChoiceParameter" },
        ]))
        .unwrap()
    }

    fn fields(given: Value) -> Result<Vec<(String, String)>, String> {
        let given = serde_json::from_value(given).unwrap();
        let in_words =
            |error: ToolError| format!("{}; {}", error.message, error.platform_words.unwrap_or_default().join(", "));
        check(&given, &declared(), false).map_err(in_words)
    }

    #[test]
    fn what_is_given_is_checked_against_what_is_declared() {
        // What plugins know of their parameters is not told: they judge (spinnaker/igor #502).
        let good = fields(json!({ "RUN": "lib#3", "DRY": false, "ENV": "prod", "TAG": "any" })).unwrap();
        let expected = [("ENV", "prod"), ("DRY", "false"), ("RUN", "lib#3"), ("TAG", "any")];
        assert_eq!(good, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (given, text) in [
            (json!({ "env": "dev" }), "is not declared; ENV, DRY"),
            (json!({ "ENV": "test" }), "has no such choice; dev, prod"),
            (json!({ "DRY": "yes" }), "allowed are true and false"),
            (json!({ "DRY": 1 }), "allowed are true and false"),
            (json!({ "RUN": 3 }), "job#number"),
            (json!({ "DATA": "x" }), "is a file"),
            (json!({ "TEXT": "eA==" }), "is a file"),
            (json!({ "ZIP": "x" }), "is a file"),
            (json!({ "RUN": "x".repeat(20_000) }), "longer than 16 KiB"),
            (json!({ "PARTS": ["x".repeat(9_000), "x".repeat(9_000)] }), "longer than 16 KiB"),
            (json!({ "TAG": ["a", "b"] }), "TAG takes one value"),
        ] {
            let message = fields(given).unwrap_err();
            assert!(message.contains(text), "{message}");
        }
    }

    #[test]
    fn several_choices_come_as_each_plugin_takes_them() {
        for (given, expected) in [
            (json!({ "PARTS": ["api", "web"] }), vec![("PARTS", "api"), ("PARTS", "web")]),
            // As a build tells what it had, so that it is built again with the same.
            (json!({ "PARTS": "api,web" }), vec![("PARTS", "api"), ("PARTS", "web")]),
            (json!({ "PARTS": "api" }), vec![("PARTS", "api")]),
            (json!({ "PARTS": [] }), vec![("PARTS", "")]),
            (json!({ "HOSTS": ["a", "b"] }), vec![("HOSTS", "a,b")]),
            (json!({ "HOSTS": "a,b" }), vec![("HOSTS", "a,b")]),
            (json!({ "ENV": ["prod"] }), vec![("ENV", "prod")]),
            (json!({ "DRY": "True" }), vec![("DRY", "true")]),
            (json!({ "DRY": " FALSE" }), vec![("DRY", "false")]),
        ] {
            let fields = fields(given.clone()).unwrap();
            let told: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(told, expected, "{given}");
            let drops = given.get("PARTS").is_some();
            assert_eq!(may_drop(&fields, &declared()).is_some_and(|hint| hint.contains("of PARTS")), drops, "{given}");
        }
    }

    #[test]
    fn what_may_be_a_secret_is_masked() {
        for (name, class, secret) in [
            ("ENV", "StringParameterValue", false),
            ("DEPLOY_TOKEN", "StringParameterValue", true),
            ("X", "hudson.model.PasswordParameterValue", true),
            ("dbPassword", "", true),
            ("DB_PASS", "", true),
            ("DEPLOY-PWD", "", true),
            ("GITHUB_PAT", "", true),
            ("AWS_ACCESS_KEY", "", true),
            ("SSH_KEY", "", true),
            ("SORT_KEY", "", false),
            ("PASS_RATE", "", false),
            ("COMPASS", "", false),
            ("PATCH", "", false),
        ] {
            assert_eq!(shown(name, class, &json!("v")) == MASKED, secret, "{name}");
        }
    }
}
