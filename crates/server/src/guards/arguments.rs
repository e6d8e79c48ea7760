//! Whether a call's arguments are of a bearable size and fit the tool's schema; and if not, a text from which a model can
//! see what to change.

use std::borrow::Cow;

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::Value;

use crate::{
    catalogue::{CONFIRM, OfferedTool},
    text::{alternatives, safe_name, suggest},
};
use tools::ToolError;

/// Levels of lists and objects in each other, at most. The object of the arguments is the first.
const MAX_DEPTH: usize = 16;
/// Entries of a list or an object, at most.
const MAX_ENTRIES: usize = 1_000;
/// Bytes of a text, at most.
const MAX_TEXT: usize = 256 * 1024;
/// Bytes of all texts and names together, at most.
const MAX_TOTAL: usize = 512 * 1024;
/// Faults that are told at a time.
const MAX_FAULTS: usize = 5;
/// Characters of a list of allowed values, at most.
const MAX_VALUES: usize = 400;

/// Checks the arguments.
///
/// # Errors
/// When they are too large or don't fit. The error names the argument by a JSON pointer and repeats no value.
pub fn check(tool: &OfferedTool, arguments: &Value) -> Result<(), ToolError> {
    measure(arguments, &mut Vec::new(), &mut 0)?;
    let faults: Vec<Fault> =
        tool.validator.iter_errors(arguments).take(MAX_FAULTS).map(|error| describe(tool, arguments, &error)).collect();
    let Some(first) = faults.first() else {
        return Ok(());
    };
    let text = faults.iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>().join("; ");
    let error = ToolError::invalid_argument(text).with_argument(first.pointer.clone());
    Err(match faults.iter().find_map(|fault| fault.remedy.clone()) {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    })
}

/// Measures arguments before a schema's patterns look at them.
fn measure<'a>(value: &'a Value, path: &mut Vec<Cow<'a, str>>, total: &mut usize) -> Result<(), ToolError> {
    if path.len() >= MAX_DEPTH && (value.is_array() || value.is_object()) {
        return Err(too_large(path, &format!("is nested deeper than {MAX_DEPTH} levels")));
    }
    match value {
        Value::String(text) if text.len() > MAX_TEXT => {
            return Err(too_large(path, &format!("is longer than {MAX_TEXT} bytes")));
        }
        Value::String(text) => *total += text.len(),
        Value::Array(items) if items.len() > MAX_ENTRIES => {
            return Err(too_large(path, &format!("has more than {MAX_ENTRIES} entries")));
        }
        Value::Object(map) if map.len() > MAX_ENTRIES => {
            return Err(too_large(path, &format!("has more than {MAX_ENTRIES} entries")));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Cow::Owned(index.to_string()));
                measure(item, path, total)?;
                path.pop();
            }
        }
        Value::Object(map) => {
            for (name, item) in map {
                *total += name.len();
                path.push(Cow::Borrowed(name));
                measure(item, path, total)?;
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    if *total > MAX_TOTAL {
        return Err(too_large(&[], &format!("have more than {MAX_TOTAL} bytes of text")));
    }
    Ok(())
}

fn too_large(path: &[Cow<'_, str>], what: &str) -> ToolError {
    let parts = path.iter().flat_map(|part| ["/".to_owned(), safe_name(part)]);
    let pointer: String = parts.collect::<String>().chars().take(MAX_VALUES).collect();
    let place = if pointer.is_empty() { "the arguments" } else { &pointer };
    ToolError::invalid_argument(format!("{place} {what}"))
        .with_remedy("send less at a time, in several calls where the tool allows it")
        .with_argument(pointer)
}

struct Fault {
    pointer: String,
    text: String,
    remedy: Option<String>,
}

fn describe(tool: &OfferedTool, arguments: &Value, error: &ValidationError<'_>) -> Fault {
    let pointer = safe_name(error.instance_path().as_str());
    let at_root = pointer.is_empty();
    let place = if at_root { "the arguments".to_owned() } else { pointer.clone() };
    let fault = |text: String| Fault { pointer: pointer.clone(), text, remedy: None };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected_arguments(tool, &pointer, unexpected),
        // A tool that takes no arguments has no properties, and a schema that refuses whatever there is.
        ValidationErrorKind::FalseSchema if at_root => {
            let names: Vec<String> =
                arguments.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
            unexpected_arguments(tool, &pointer, &names)
        }
        ValidationErrorKind::Required { property } => {
            let path = format!("{pointer}/{}", property.as_str().unwrap_or_default());
            Fault { text: format!("{path} is missing"), pointer: path, remedy: None }
        }
        ValidationErrorKind::Enum { options } => fault(format!("{place} must be one of {}", values(options))),
        ValidationErrorKind::Constant { expected_value } => {
            fault(format!("{place} must be {}", values(expected_value)))
        }
        ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::AnyOf { .. } => {
            let (mut allowed, mut types) = (Vec::new(), Vec::new());
            allowed_forms(error, &mut allowed, &mut types);
            let values = (!allowed.is_empty()).then(|| format!("one of {}", allowed.join(", ")));
            let types = (!types.is_empty()).then(|| format!("of type {}", types.join(" or ")));
            match values.into_iter().chain(types).collect::<Vec<_>>().as_slice() {
                [] => fault(format!("{place} has none of the allowed forms")),
                forms => fault(format!("{place} must be {}", forms.join(", or "))),
            }
        }
        ValidationErrorKind::Type { .. } => Fault {
            remedy: (tool.confirmed && pointer.strip_prefix('/') == Some(CONFIRM))
                .then(|| "confirm is true or false itself, not a text or a number".to_owned()),
            ..fault(format!("{place} is not of type {}", types_of(error).join(" or ")))
        },
        // The masked text names the rule and not the value.
        _ => fault(error.masked_with(place).to_string()),
    }
}

/// What each of the forms that a value may have allows: schemars makes such of an enum with documented variants, and of an
/// optional field.
fn allowed_forms(error: &ValidationError<'_>, allowed: &mut Vec<String>, types: &mut Vec<String>) {
    match error.kind() {
        ValidationErrorKind::Constant { expected_value } => allowed.push(values(expected_value)),
        ValidationErrorKind::Enum { options } => allowed.push(values(options)),
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            context.iter().flatten().for_each(|error| allowed_forms(error, allowed, types));
        }
        ValidationErrorKind::Type { .. } => types.extend(types_of(error)),
        _ => {}
    }
}

/// The types that were expected, in quotes. That null would do, for what is left out, is told to no client, and so not here.
fn types_of(error: &ValidationError<'_>) -> Vec<String> {
    let text = error.masked().to_string();
    let kinds = text.split('"').skip(1).step_by(2).filter(|kind| *kind != "null");
    kinds.map(|kind| format!("\"{kind}\"")).collect()
}

/// The names that an object has whose place a JSON pointer says.
fn names_at<'a>(tool: &'a OfferedTool, pointer: &str) -> Vec<&'a str> {
    let mut schema = Some(&*tool.definition.input_schema);
    for part in pointer.split('/').skip(1) {
        schema = schema.and_then(|schema| {
            let property = schema.get("properties").and_then(|properties| properties.get(part));
            property.or_else(|| schema.get("items"))?.as_object()
        });
    }
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
    properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// Arguments that the tool doesn't have, with the name that was probably meant.
fn unexpected_arguments(tool: &OfferedTool, pointer: &str, unexpected: &[String]) -> Fault {
    let name = unexpected.first().map(String::as_str).unwrap_or_default();
    let known = names_at(tool, pointer);
    let near = suggest(name, known.iter().copied());
    let names = unexpected.iter().take(MAX_FAULTS).map(|name| format!("{pointer}/{}", safe_name(name)));
    let text = format!("{} is not an argument of this tool", names.collect::<Vec<_>>().join(", "));
    let remedy = match (near.as_slice(), known.as_slice()) {
        ([], []) if pointer.is_empty() => "it takes no arguments".to_owned(),
        ([], []) => "leave it out".to_owned(),
        ([], known) if pointer.is_empty() => format!("its arguments are: {}", known.join(", ")),
        ([], known) => format!("{pointer} may have: {}", known.join(", ")),
        (near, _) => format!("did you mean {}?", alternatives(near)),
    };
    Fault { pointer: format!("{pointer}/{}", safe_name(name)), text, remedy: Some(remedy) }
}

/// Allowed values, which are the schema's own, cut to a length.
fn values(options: &Value) -> String {
    let text = match options {
        Value::Array(options) => options.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    text.chars().take(MAX_VALUES).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{access::Access, catalogue::Catalogue, testing};
    use pod_api::config::AccessConfig;
    use tools::ErrorCode;

    fn checked(tool: &str, arguments: &Value) -> Result<(), ToolError> {
        let access = Access::new(&AccessConfig { anonymous: true, allow: vec![], audiences: vec![] });
        let entries = testing::FakePlatform::default().entries();
        let catalogue = Catalogue::new(entries, &testing::tools_config(), &access, true).unwrap();
        check(catalogue.get(tool).unwrap(), arguments)
    }

    #[test]
    fn faults_are_named_so_that_they_can_be_mended() {
        let cases = [
            ("get_fake_thing", json!({}), "/name", "/name is missing", None),
            ("get_fake_thing", json!({"name": 1}), "/name", "/name is not of type \"string\"", None),
            ("get_fake_thing", json!({"nam": "a", "name": "a"}), "/nam", "/nam is not an argument", Some("name")),
            (
                "get_fake_thing",
                json!({"name": "a", "color": "pink"}),
                "/color",
                "/color must be one of \"red\", \"blue\"",
                None,
            ),
            ("get_fake_thing", json!({"name": "a", "limit": "x"}), "/limit", "/limit is not of type \"integer\"", None),
            (
                "delete_fake_thing",
                json!({"name": "a", "confirm": "true"}),
                "/confirm",
                "/confirm is not of type \"boolean\"",
                Some("true or false itself"),
            ),
            ("get_fake_thing", json!({"name": "a", "limit": 5_000}), "/limit", "/limit is greater than", None),
            ("delete_fake_thing", json!({"name": "a", "confirm": "yes"}), "/confirm", "boolean", None),
            ("wait_fake_time", json!({"x": 1}), "/x", "/x is not an argument", Some("it takes no arguments")),
        ];
        for (tool, arguments, pointer, part, remedy) in cases {
            let error = checked(tool, &arguments).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidArgument);
            assert_eq!(error.argument.as_deref(), Some(pointer), "{error:?}");
            assert!(error.message.contains(part), "{error:?}");
            assert!(remedy.is_none_or(|part| error.remedy.as_deref().unwrap().contains(part)), "{error:?}");
        }
        checked("get_fake_thing", &json!({"name": "a", "color": "red", "limit": 3})).unwrap();
    }

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Outer {
        #[serde(rename = "queries")]
        _queries: Vec<Inner>,
    }

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "metric")]
        _metric: String,
    }

    #[test]
    fn what_an_object_inside_of_the_arguments_does_not_have_is_told_with_what_it_has() {
        let declaration = tools::ToolDeclaration::read("list_fake_points", "List", "Lists.");
        let entry = tools::ToolEntry::read(declaration, |_: Outer, _| async { Ok(serde_json::Map::new()) });
        let access = Access::new(&AccessConfig { anonymous: true, allow: vec![], audiences: vec![] });
        let catalogue = Catalogue::new(vec![entry], &testing::tools_config(), &access, true).unwrap();
        let tool = catalogue.get("list_fake_points").unwrap();
        for (wrong, remedy) in [("metrik", "did you mean metric?"), ("x", "/queries/0 may have: metric")] {
            let error = check(tool, &json!({ "queries": [{ "metric": "a", wrong: 1 }] })).unwrap_err();
            assert_eq!(error.argument, Some(format!("/queries/0/{wrong}")));
            assert_eq!(error.remedy.as_deref(), Some(remedy), "{error:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_told_before_a_schema_looks_at_it() {
        let mut deep = json!("canary");
        for _ in 0..MAX_DEPTH {
            deep = json!({ "a": [deep] });
        }
        let texts = vec!["x".repeat(MAX_TEXT / 4); 9];
        let cases = [
            (json!({ "name": "x".repeat(MAX_TEXT + 1) }), "/name", "/name is longer than 262144 bytes"),
            (json!({ "name": { "list": vec![0; MAX_ENTRIES + 1] } }), "/name/list", "has more than 1000 entries"),
            (json!({ "name": deep }), "/name/a/0/a/0/a/0/a/0/a/0/a/0/a/0/a", "is nested deeper than 16 levels"),
            (json!({ "name": texts }), "", "the arguments have more than 524288 bytes of text"),
        ];
        for (arguments, pointer, part) in cases {
            let error = checked("get_fake_thing", &arguments).unwrap_err();
            assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::InvalidArgument, Some(pointer)));
            assert!(error.message.ends_with(part), "{}", error.message);
        }
        checked("echo_fake_text", &json!({ "text": "x".repeat(MAX_TEXT) })).unwrap();
    }

    #[test]
    fn no_value_is_repeated() {
        for arguments in [json!({"name": ["canary"]}), json!({"name": "a", "color": "canary"})] {
            let error = checked("get_fake_thing", &arguments).unwrap_err();
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn no_arguments_panic(name in "\\PC*", value in "\\PC*") {
            let _outcome = checked("get_fake_thing", &json!({name: value}));
        }
    }
}
