//! What a call means where it doesn't say it in so many words, for every tool and before anything is checked. Models and
//! the programs between them and us fill in what they leave out, and write values as text; if the meaning is clear, it is
//! taken.

use serde_json::{Map, Value};

use crate::catalogue::{CONFIRM, OfferedTool};

/// Puts in place of arguments what they mean:
///
/// - `null` for an argument that may be left out is an argument that was left out. So is `""`, where the argument is a text
///   that can't be empty: its schema says so by `minLength`, by a closed list or by a format. Where an empty text has a
///   meaning, it keeps it; and what a tool needs is never taken for left out.
/// - A number, a boolean, a list or an object that stands in a text is taken as what it is, where the argument is of that
///   type. Only `confirm`, on which it depends whether something is changed, has to be said as it is.
///
/// Arguments inside of others are read in the same way, but not what a caller names himself, as the keys of a secret: there
/// `null` has a meaning of its own.
pub fn read(tool: &OfferedTool, arguments: &mut Value) {
    if let Value::Object(map) = arguments {
        let confirm = if tool.confirmed { map.remove(CONFIRM).filter(|value| !value.is_null()) } else { None };
        read_object(&tool.definition.input_schema, map);
        map.extend(confirm.map(|value| (CONFIRM.to_owned(), value)));
    }
}

fn read_object(schema: &Map<String, Value>, map: &mut Map<String, Value>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|one| one == name));
    let property = |name: &str| properties.get(name).and_then(Value::as_object);
    map.retain(|name, value| property(name).is_none_or(|property| is_required(name) || !is_left_out(property, value)));
    for (name, value) in map.iter_mut() {
        if let Some(property) = property(name) {
            read_value(property, value);
        }
    }
}

fn read_value(schema: &Map<String, Value>, value: &mut Value) {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if let Value::String(text) = value
        && let Some(meant) = read_text(kind, text)
    {
        *value = meant;
    }
    match (value, schema.get("items")) {
        (Value::Object(map), _) => read_object(schema, map),
        (Value::Array(entries), Some(Value::Object(of))) => entries.iter_mut().for_each(|entry| read_value(of, entry)),
        _ => {}
    }
}

fn is_left_out(schema: &Map<String, Value>, value: &Value) -> bool {
    let is_text = schema.get("type").is_some_and(|kind| kind == "string");
    let is_listed = |value| schema.get("enum").and_then(Value::as_array).is_none_or(|values| values.contains(value));
    let can_be_empty = || {
        schema.get("minLength").and_then(Value::as_u64).unwrap_or_default() == 0
            && !schema.contains_key("format")
            && is_listed(value)
    };
    value.is_null() || (is_text && value == "" && !can_be_empty())
}

/// A value of this type that stands in a text, if one does.
fn read_text(kind: &str, text: &str) -> Option<Value> {
    let begins = |with: &[char]| text.trim_start().starts_with(with);
    let is_meant = match kind {
        "integer" | "number" => begins(&['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']),
        "boolean" => matches!(text, "true" | "false"),
        "array" => begins(&['[']),
        "object" => begins(&['{']),
        _ => false,
    };
    is_meant.then(|| serde_json::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{access::Access, catalogue::Catalogue, testing};
    use tools::publish;

    fn meant(schema: &Value, mut arguments: Value) -> Value {
        let schema = publish::arguments(schema.as_object().unwrap());
        read_object(&schema, arguments.as_object_mut().unwrap());
        arguments
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "name": { "type": "string", "minLength": 1 },
                "folder": { "type": ["string", "null"], "minLength": 1, "default": null },
                "text": { "type": ["string", "null"] },
                "state": { "enum": ["on", "off"] },
                "limit": { "type": ["integer", "null"] },
                "quick": { "type": "boolean", "default": true },
                "types": { "type": "array", "items": { "type": "string" } },
                "values": { "type": "object", "additionalProperties": true },
                "of": {
                    "type": "object",
                    "properties": { "kind": { "type": "string" }, "group": { "type": "string", "minLength": 1 } },
                    "required": ["kind"],
                },
                "several": { "type": "array", "items": { "type": "object", "properties": { "at": { "type": "integer" } } } },
            },
            "required": ["name"],
        })
    }

    #[test]
    fn what_was_left_out_is_not_there() {
        for (given, expected) in [
            (json!({ "folder": null, "limit": null, "quick": null, "types": null, "of": null }), json!({})),
            (json!({ "folder": "", "state": "", "text": "" }), json!({ "text": "" })),
            // What is needed is told as wrong by whoever checks it.
            (json!({ "name": null }), json!({ "name": null })),
            (json!({ "name": "" }), json!({ "name": "" })),
            (json!({ "of": { "kind": "", "group": "" } }), json!({ "of": { "kind": "" } })),
            (json!({ "several": [{ "at": null }, { "at": 1 }] }), json!({ "several": [{}, { "at": 1 }] })),
            // Names that a caller makes up.
            (
                json!({ "values": { "a": null, "b": "" }, "other": null }),
                json!({ "values": { "a": null, "b": "" }, "other": null }),
            ),
        ] {
            assert_eq!(meant(&schema(), given.clone()), expected, "{given}");
        }
    }

    #[test]
    fn what_stands_in_a_text_is_taken_as_what_it_is() {
        for (given, expected) in [
            (json!({ "limit": "20", "quick": "false" }), json!({ "limit": 20, "quick": false })),
            (json!({ "types": "[\"a\", \"b\"]" }), json!({ "types": ["a", "b"] })),
            (json!({ "values": "{\"a\": 1}" }), json!({ "values": { "a": 1 } })),
            (json!({ "of": "{\"kind\": \"x\", \"group\": \"\"}" }), json!({ "of": { "kind": "x" } })),
            (json!({ "several": "[{\"at\": \"7\"}]" }), json!({ "several": [{ "at": 7 }] })),
        ] {
            assert_eq!(meant(&schema(), given.clone()), expected, "{given}");
        }
        for unclear in [
            json!({ "limit": "twenty" }),
            json!({ "limit": "20 of them" }),
            json!({ "limit": "" }),
            json!({ "quick": "yes" }),
            json!({ "types": "a, b" }),
            json!({ "values": "[1]" }),
            json!({ "name": "20", "text": "[1]", "state": "true" }),
        ] {
            assert_eq!(meant(&schema(), unclear.clone()), unclear);
        }
    }

    #[test]
    fn whether_to_act_is_said_as_it_is() {
        let access = Access::new(&testing::config().access);
        let entries = testing::FakePlatform::default().entries();
        let catalogue = Catalogue::new(entries, &testing::tools_config(), &access, true).unwrap();
        let tool = catalogue.get("delete_fake_thing").unwrap();
        for (given, expected) in [(json!("true"), json!("true")), (json!(true), json!(true))] {
            let mut arguments = json!({ "name": "a", "confirm": given, "plan": "", "idempotency_key": null });
            read(tool, &mut arguments);
            assert_eq!(arguments, json!({ "name": "a", "confirm": expected }));
        }
        let mut arguments = json!({ "name": "a", "confirm": null });
        read(tool, &mut arguments);
        assert_eq!(arguments, json!({ "name": "a" }));
    }

    proptest! {
        #[test]
        fn reading_twice_is_reading_once(name in "[a-z]{1,6}", text in "\\PC{0,12}") {
            let given = json!({ "name": text, "limit": text, "types": text, "values": { name.clone(): text }, "of": text });
            let once = meant(&schema(), given);
            prop_assert_eq!(meant(&schema(), once.clone()), once);
        }
    }
}
