//! `docs/api.md`: every field of the custom resources, generated from the definitions that are installed.

use std::fmt::Write as _;

use serde_json::Value;

use api::crd;

/// Types of Kubernetes itself: its own documentation says more.
const OF_KUBERNETES: [&str; 5] = ["affinity", "conditions", "resources", "tolerations", "topologySpreadConstraints"];

const HEAD: &str = "# API reference\n\n\
    Written by `make generate` from the definitions in `crds/`. `kubectl explain mcpconnector.spec` shows the same. `[]` is an \
    entry of a list, `.*` a value of a map. What is not marked as required may be left out; no field has a default in the \
    schema, so a manifest stays as it was written.\n";

/// The reference as Markdown.
///
/// # Errors
/// When a definition can't be written as JSON, which is a fault of this program.
pub fn fields() -> Result<String, serde_json::Error> {
    let mut text = HEAD.to_owned();
    for crd in crd::all()? {
        let kind = crd.spec.names.kind.clone();
        for version in serde_json::to_value(&crd.spec.versions)?.as_array().into_iter().flatten() {
            let Some(schema) = version.pointer("/schema/openAPIV3Schema") else { continue };
            let _ = writeln!(text, "\n## {kind} `{}`\n\n{}", text_of(version, "name"), line_of(schema));
            for part in ["spec", "status"] {
                let _ = writeln!(text, "\n### {kind}: {part}\n\n| Field | Type | Meaning |\n|---|---|---|");
                if let Some(schema) = schema.pointer(&format!("/properties/{part}")) {
                    rows(schema, part, &mut text);
                }
            }
        }
    }
    Ok(text)
}

/// A row for each property of an object, and for what is below it.
fn rows(schema: &Value, path: &str, text: &mut String) {
    let list = |schema: &Value, name: &str| schema.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let required = list(schema, "required");
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{name}");
        let mark = if required.iter().any(|required| required == name) { ", required" } else { "" };
        let mut meaning = line_of(property);
        for rule in list(property, "x-kubernetes-validations") {
            let _ = write!(meaning, " <br>Rule: {}.", cell(text_of(&rule, "message")));
        }
        let _ = writeln!(text, "| `{path}` | {}{mark} | {meaning} |", type_of(property));
        if OF_KUBERNETES.contains(&name.as_str()) {
            continue;
        }
        rows(property, &path, text);
        for (below, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
            if let Some(schema) = property.get(below) {
                rows(schema, &format!("{path}{mark}"), text);
            }
        }
    }
}

fn type_of(schema: &Value) -> String {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<String> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    let below = |name: &str| schema.get(name).filter(|below| below.is_object()).map(type_of);
    match (text_of(schema, "type"), below("items"), below("additionalProperties")) {
        ("array", Some(items), _) => format!("list of {items}"),
        ("object", _, Some(values)) => format!("map to {values}"),
        ("", ..) => "integer or string".to_owned(),
        (name, ..) => name.to_owned(),
    }
}

fn line_of(schema: &Value) -> String {
    cell(text_of(schema, "description"))
}

fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A text in one line of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_a_row_with_its_type_and_meaning() {
        let text = fields().unwrap();
        for row in [
            "| `spec.tools.mutations` | `ReadOnly`, `Confirm` | `ReadOnly` (the default)",
            "| `spec.access.allow[].namespace` | string, required | Namespace of the ServiceAccount.",
            "| `spec.access.allow` | list of object |",
            "| `spec.workload.labels` | map to string |",
            "| `spec.hosts` | list of string |",
            "| `status.requests.probe` | string |",
        ] {
            assert!(text.contains(row), "{row}");
        }
        assert!(!text.contains("spec.workload.affinity.") && text.contains("| `spec.workload.affinity` |"));
        assert!(text.contains("Rule: interval must be between 5s and 1h."));
    }
}
