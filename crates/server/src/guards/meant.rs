//! What a call means where it doesn't say it in so many words, for every tool and before anything is checked. Models and
//! the programs between them and us fill in what they leave out, and write values as text; if the meaning is clear, it is
//! taken.

use serde_json::{Map, Number, Value};

use tools::Effect;

use crate::catalogue::{CONFIRM, OfferedTool};

/// Puts in place of arguments what they mean:
///
/// - `null` for an argument that may be left out is an argument that was left out. So is `""`, unless it is a text that can be
///   empty (its schema says that it can't by `minLength`, by a closed list or by a format); and, of a tool that only reads, a
///   list without entries where there must be one. A change of no entries is not one of all that there are. Where an empty
///   value has a meaning, it keeps it; and what a tool needs is never taken for left out.
/// - A number, a boolean, a list or an object that stands in a text is taken as what it is, where the argument is of that
///   type. A whole number is an integer however it is written, an integer or a boolean in the place of a text is that text,
///   and one value in the place of a list is a list of it. A number with a point in the place of a text is refused: it may have
///   been `1.10` before a client made `1.1` of it.
/// - Only `confirm`, on which it depends whether something is changed, has to be said as it is.
/// - What clients add on their own to every call, and no tool has, is dropped.
///
/// Arguments inside of others are read in the same way, but not what a caller names himself, as the keys of a secret: there
/// `null` has a meaning of its own.
pub fn read(tool: &OfferedTool, arguments: &mut Value) {
    if let Value::Object(map) = arguments {
        drop_additions(tool, map);
        let confirm = if tool.confirmed { map.remove(CONFIRM).filter(|value| !value.is_null()) } else { None };
        read_object(&tool.definition.input_schema, map, tool.entry.declaration.effect);
        map.extend(confirm.map(|value| (CONFIRM.to_owned(), value)));
    }
}

/// What n8n adds to each call (n8n-io/n8n#21716, #22787); the first of them tells that it did.
const ADDED_BY_N8N: [&str; 4] = ["toolCallId", "sessionId", "action", "chatInput"];
/// What clients put into calls of tools without arguments, because their model's API wants one.
const PLACEHOLDERS: [&str; 2] = ["_placeholder", "random_string"];

fn drop_additions(tool: &OfferedTool, map: &mut Map<String, Value>) {
    let is_of_n8n = map.contains_key(ADDED_BY_N8N[0]);
    map.retain(|name, _| {
        let is_added = (is_of_n8n && ADDED_BY_N8N.contains(&name.as_str()))
            || (tool.parameters.is_empty() && PLACEHOLDERS.contains(&name.as_str()));
        !is_added || tool.parameters.contains(name)
    });
}

fn read_object(schema: &Map<String, Value>, map: &mut Map<String, Value>, effect: Effect) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|one| one == name));
    let property = |name: &str| properties.get(name).and_then(Value::as_object);
    map.retain(|name, value| {
        property(name).is_none_or(|property| is_required(name) || !is_left_out(property, value, effect))
    });
    for (name, value) in map.iter_mut() {
        if let Some(property) = property(name) {
            read_value(property, value, effect);
        }
    }
}

fn read_value(schema: &Map<String, Value>, value: &mut Value, effect: Effect) {
    let kind = type_of(schema);
    if let Some(meant) = meant_by(schema, kind, value) {
        *value = meant;
    }
    match (value, schema.get("items")) {
        (Value::Object(map), _) => read_object(schema, map, effect),
        (Value::Array(entries), Some(Value::Object(of))) => {
            for entry in entries {
                read_value(of, entry, effect);
            }
        }
        _ => {}
    }
}

fn type_of(schema: &Map<String, Value>) -> &str {
    schema.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// A value of this type that another value means, if it clearly means one.
fn meant_by(schema: &Map<String, Value>, kind: &str, value: &Value) -> Option<Value> {
    match (kind, value) {
        ("string", Value::Number(number)) => (!number.is_f64()).then(|| Value::String(number.to_string())),
        ("string", Value::Bool(flag)) => Some(Value::String(flag.to_string())),
        ("integer", Value::Number(number)) => whole(number),
        ("array", Value::Null | Value::Array(_)) => None,
        ("array", Value::String(text)) if text.trim_start().starts_with('[') => read_text(kind, text),
        ("array", value) => {
            // Several in one text are not one, and how they are told apart nobody knows.
            let is_one = value.as_str().is_none_or(|text| !text.contains([',', '\n']));
            let of = type_of(schema.get("items")?.as_object()?);
            let is_of = |value: &Value| match value {
                Value::String(_) => of != "object",
                Value::Object(_) => of == "object",
                _ => of != "object" && of != "array",
            };
            (is_one && is_of(value)).then(|| Value::Array(vec![value.clone()]))
        }
        (_, Value::String(text)) => read_text(kind, text),
        _ => None,
    }
}

/// The integer that a number is, where it is written with a point.
fn whole(number: &Number) -> Option<Value> {
    // Up to here each whole number can be told from its neighbours.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT)?;
    format!("{float:.0}").parse::<i64>().ok().map(Value::from)
}

fn is_left_out(schema: &Map<String, Value>, value: &Value, effect: Effect) -> bool {
    let count = |word: &str| schema.get(word).and_then(Value::as_u64).unwrap_or_default();
    let is_listed = |value| schema.get("enum").and_then(Value::as_array).is_none_or(|values| values.contains(value));
    match value {
        Value::Null => true,
        Value::String(text) if text.is_empty() => {
            let can_be_empty = count("minLength") == 0 && !schema.contains_key("format") && is_listed(value);
            type_of(schema) != "string" || !can_be_empty
        }
        Value::Array(entries) => entries.is_empty() && count("minItems") > 0 && effect == Effect::Read,
        _ => false,
    }
}

/// A value of this type that stands in a text, if one does.
fn read_text(kind: &str, text: &str) -> Option<Value> {
    let begins = |with: &[char]| text.trim_start().starts_with(with);
    match kind {
        "integer" | "number" if begins(&['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) => {
            let number: Number = serde_json::from_str(text).ok()?;
            let integer = if kind == "integer" { whole(&number) } else { None };
            Some(integer.unwrap_or(Value::Number(number)))
        }
        "boolean" => text.trim().to_ascii_lowercase().parse().ok().map(Value::Bool),
        "array" if begins(&['[']) => serde_json::from_str(text).ok(),
        "object" if begins(&['{']) => serde_json::from_str(text).ok(),
        _ => None,
    }
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
        read_object(&schema, arguments.as_object_mut().unwrap(), Effect::Read);
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
                "groups": { "type": "array", "items": { "type": "string" }, "minItems": 1 },
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
            (json!({ "limit": "", "quick": "", "types": "", "values": "", "of": "" }), json!({})),
            (json!({ "types": [], "groups": [] }), json!({ "types": [] })),
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
            (json!({ "limit": 50.0, "quick": "True" }), json!({ "limit": 50, "quick": true })),
            (
                json!({ "limit": "50.0", "name": 5, "folder": true }),
                json!({ "limit": 50, "name": "5", "folder": "true" }),
            ),
            (
                json!({ "limit": "1e1", "types": "a", "groups": 7 }),
                json!({ "limit": 10, "types": ["a"], "groups": ["7"] }),
            ),
            (json!({ "several": { "at": 1.0 } }), json!({ "several": [{ "at": 1 }] })),
        ] {
            assert_eq!(meant(&schema(), given.clone()), expected, "{given}");
        }
        for unclear in [
            json!({ "limit": "twenty" }),
            json!({ "limit": "20 of them" }),
            json!({ "limit": 1.5, "types": { "a": 1 } }),
            json!({ "name": 1.1, "limit": 1e300 }),
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

    #[test]
    fn a_change_of_no_entries_is_not_one_of_all_that_there_are() {
        let schema = publish::arguments(schema().as_object().unwrap());
        for effect in [Effect::Mutate, Effect::Destroy] {
            let mut given = json!({ "groups": [], "folder": "" });
            read_object(&schema, given.as_object_mut().unwrap(), effect);
            assert_eq!(given, json!({ "groups": [] }));
        }
    }

    #[test]
    fn what_clients_add_on_their_own_is_dropped() {
        let access = Access::new(&testing::config().access);
        let entries = testing::FakePlatform::default().entries();
        let catalogue = Catalogue::new(entries, &testing::tools_config(), &access, true).unwrap();
        let read_by = |tool: &str, mut arguments: Value| {
            read(catalogue.get(tool).unwrap(), &mut arguments);
            arguments
        };
        let added = json!({ "name": "a", "toolCallId": "x", "sessionId": "y", "action": "z", "chatInput": "" });
        assert_eq!(read_by("get_fake_thing", added), json!({ "name": "a" }));
        assert_eq!(read_by("wait_fake_time", json!({ "_placeholder": true, "random_string": "x" })), json!({}));
        // A model's mistakes are told.
        for kept in [json!({ "name": "a", "action": "z" }), json!({ "name": "a", "_placeholder": true })] {
            assert_eq!(read_by("get_fake_thing", kept.clone()), kept);
        }
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
