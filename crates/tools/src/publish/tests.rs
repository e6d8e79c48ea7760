use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;

fn published(schema: &Value) -> Value {
    Value::Object(arguments(schema.as_object().unwrap()))
}

/// One argument, as it is published.
fn argument(schema: &Value) -> Value {
    let definitions = json!({
        "Color": {
            "description": "A color.",
            "oneOf": [
                { "type": "string", "enum": ["blue", "green"] },
                { "type": "string", "const": "red", "description": "That of fire." },
            ],
        },
    });
    let whole = json!({ "type": "object", "properties": { "it": schema }, "$defs": definitions });
    published(&whole)["properties"]["it"].clone()
}

#[test]
fn what_is_published_is_plain() {
    for (given, expected) in [
        (json!({ "type": ["string", "null"], "default": null }), json!({ "type": "string" })),
        (
            json!({ "anyOf": [{ "$ref": "#/$defs/Color" }, { "type": "null" }], "description": "Which." }),
            json!({ "type": "string", "enum": ["blue", "green", "red"], "description": "Which. red: That of fire." }),
        ),
        (
            json!({ "$ref": "#/$defs/Color", "default": "red" }),
            json!({
                "type": "string",
                "enum": ["blue", "green", "red"],
                "default": "red",
                "description": "A color. red: That of fire.",
            }),
        ),
        (json!({ "const": "a" }), json!({ "type": "string", "enum": ["a"] })),
        (
            json!({ "type": ["integer", "string"], "minimum": 1, "pattern": "^[1-9]$", "default": "2" }),
            json!({ "type": "string", "pattern": "^[1-9]$", "default": "2" }),
        ),
        (
            json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": 9, "default": 3 }),
            json!({ "type": "integer", "minimum": 1, "maximum": 9, "default": 3 }),
        ),
        (
            json!({ "type": "array", "items": { "$ref": "#/$defs/Color" }, "uniqueItems": true, "default": [] }),
            json!({
                "type": "array",
                "items": {
                    "type": "string",
                    "enum": ["blue", "green", "red"],
                    "description": "A color. red: That of fire.",
                },
            }),
        ),
        (
            json!({ "type": "string", "examples": ["-3h", "now"], "description": "When\nit was." }),
            json!({ "type": "string", "description": "When it was. Such as -3h, now." }),
        ),
        (
            json!({ "type": "object", "additionalProperties": { "anyOf": [{ "type": "boolean" }, { "type": "string" }] } }),
            json!({ "type": "object", "additionalProperties": { "description": "Any value." } }),
        ),
        (
            json!({ "type": ["object", "null"], "additionalProperties": { "type": ["string", "null"] }, "maxProperties": 9 }),
            json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        ),
        (
            json!({ "type": "object" }),
            json!({ "type": "object", "additionalProperties": { "description": "Any value." } }),
        ),
        (
            json!({ "type": "object", "properties": { "a": { "type": "boolean" } }, "additionalProperties": false }),
            json!({ "type": "object", "properties": { "a": { "type": "boolean" } } }),
        ),
        (json!({ "type": "object", "additionalProperties": false }), json!({ "type": "object", "properties": {} })),
        (
            json!({ "allOf": [{ "type": "object", "properties": { "a": { "type": "boolean" } }, "required": ["a"] }] }),
            json!({ "type": "object", "properties": { "a": { "type": "boolean" } }, "required": ["a"] }),
        ),
        (
            json!({ "oneOf": [
                { "type": "object", "properties": { "kind": { "const": "a" }, "x": { "type": "string" } }, "required": ["kind"] },
                { "type": "object", "properties": { "kind": { "const": "b" } }, "required": ["kind"] },
            ] }),
            json!({
                "type": "object",
                "properties": { "kind": { "type": "string", "enum": ["a", "b"] }, "x": { "type": "string" } },
                "required": ["kind"],
            }),
        ),
    ] {
        assert_eq!(argument(&given), expected, "{given}");
    }
}

#[test]
fn lengths_are_told_as_far_as_a_grammar_holds_them() {
    let text = |length: u64| json!({ "type": "string", "minLength": 1, "maxLength": length });
    assert_eq!(argument(&text(1_000)), text(1_000));
    assert_eq!(argument(&text(1_001)), json!({ "type": "string", "minLength": 1 }));
    let list = |entries: u64, of: Value| json!({ "type": "array", "items": of, "maxItems": entries });
    assert_eq!(argument(&list(19, text(100))), list(19, text(100)));
    assert_eq!(argument(&list(20, text(100))), list(20, json!({ "type": "string", "minLength": 1 })));
    assert_eq!(argument(&list(500, text(2))), json!({ "type": "array", "items": text(2) }));
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    assert_eq!(argument(&list(8, pattern("^a{0,254}$"))), list(8, json!({ "type": "string" })));
    for kept in ["^a{0,254}$", "^[0-9]{12}$"] {
        assert_eq!(argument(&pattern(kept)), pattern(kept));
    }
    for dropped in ["a", "^(?=a)a$", "^\\p{L}+$", "^a{2000}$"] {
        assert_eq!(argument(&pattern(dropped)), json!({ "type": "string" }));
    }
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tree {
    /// Name.
    name: String,
    /// What is below.
    #[serde(default)]
    below: Vec<Self>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Trees {
    one: Tree,
    other: Option<Box<Self>>,
}

#[test]
fn a_type_that_holds_itself_ends_in_an_open_object() {
    for schema in [schemars::schema_for!(Tree), schemars::schema_for!(Trees)] {
        let schema = Value::from(schema);
        let published = published(&schema);
        assert!(!published.to_string().contains("$ref"), "{published}");
        let tree =
            json!({ "name": "a", "below": [{ "name": "b", "below": [{ "name": "c", "below": [{ "name": "d" }] }] }] });
        let value = if schema["title"] == "Trees" {
            json!({ "one": tree, "other": { "one": tree, "other": null } })
        } else {
            tree
        };
        assert!(jsonschema::is_valid(&schema, &value));
        let answer = Value::Object(answer(schema.as_object().unwrap()));
        assert!(!answer.to_string().contains("$ref") && jsonschema::is_valid(&answer, &value), "{answer}");
        if schema["title"] == "Tree" {
            assert!(jsonschema::is_valid(&published, &value), "{published}");
        }
    }
}

#[test]
fn an_answer_stays_what_it_is() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "at": { "anyOf": [{ "$ref": "#/$defs/At" }, { "type": "null" }] },
            "count": { "type": "integer", "format": "int64" },
        },
        "$defs": { "At": { "oneOf": [{ "const": "a", "description": "First." }, { "const": "b", "description": "Second." }] } },
    });
    let at = json!({ "type": "string", "enum": ["a", "b"], "description": "a: First; b: Second." });
    let expected = json!({
        "type": "object",
        "properties": { "at": { "anyOf": [at, { "type": "null" }] }, "count": { "type": "integer" } },
    });
    assert_eq!(Value::Object(answer(schema.as_object().unwrap())), expected);
}

/// Schemas of the forms that schemars gives; with a value that fits, in which what is optional is left out.
fn schemas() -> impl Strategy<Value = (Value, Value)> {
    let text = (1..3_000usize, any::<bool>()).prop_map(|(length, nullable)| {
        let kind = if nullable { json!(["string", "null"]) } else { json!("string") };
        (
            json!({ "type": kind, "minLength": 1, "maxLength": length, "description": "A text." }),
            json!("x".repeat(length)),
        )
    });
    let leaf = prop_oneof![
        text,
        (0..50u64).prop_map(|least| {
            (
                json!({ "type": ["integer", "null"], "format": "uint64", "minimum": least, "default": null }),
                json!(least + 1),
            )
        }),
        Just((json!({ "type": "boolean", "default": false }), json!(true))),
        Just((json!({ "type": "string", "enum": ["a", "b"], "default": "a" }), json!("b"))),
        Just((
            json!({ "oneOf": [{ "const": "a", "description": "The first." }, { "type": "string", "enum": ["b", "c"] }] }),
            json!("c"),
        )),
        Just((json!({ "anyOf": [{ "$ref": "#/$defs/Self" }, { "type": "null" }] }), json!({}))),
        Just((json!({ "$ref": "#/$defs/Closed", "description": "One." }), json!({ "a": "x" }))),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            (inner.clone(), 1..800u64).prop_map(|((of, value), most)| {
                (json!({ "type": "array", "items": of, "maxItems": most, "uniqueItems": true }), json!([value]))
            }),
            inner.clone().prop_map(|(of, value)| {
                (json!({ "type": "object", "additionalProperties": of, "maxProperties": 9 }), json!({ "key": value }))
            }),
            (proptest::collection::btree_map("[a-z]{1,6}", (inner, any::<bool>()), 0..4), any::<bool>())
                .prop_map(object),
        ]
    })
}

/// Properties by name: a schema, a value that fits it, and whether it is required.
type Properties = std::collections::BTreeMap<String, ((Value, Value), bool)>;

fn object((properties, closed): (Properties, bool)) -> (Value, Value) {
    let required: Vec<&String> = properties.iter().filter(|(_, (_, needed))| *needed).map(|(name, _)| name).collect();
    let value: Map<String, Value> = properties
        .iter()
        .filter(|(_, (_, needed))| *needed)
        .map(|(name, ((_, value), _))| (name.clone(), value.clone()))
        .collect();
    let all: Map<String, Value> =
        properties.iter().map(|(name, ((schema, _), _))| (name.clone(), schema.clone())).collect();
    let mut schema = json!({ "type": "object", "properties": all, "required": required });
    if closed || all.is_empty() {
        schema["additionalProperties"] = json!(false);
    }
    (schema, Value::Object(value))
}

proptest! {
    #[test]
    fn whatever_is_derived_is_published_soundly(
        properties in proptest::collection::btree_map("[a-z]{1,6}", (schemas(), any::<bool>()), 0..4),
        own in proptest::collection::btree_map("[a-z]{1,6}", schemas(), 0..3),
    ) {
        let (mut schema, value) = object((properties, true));
        let own = own.into_iter().map(|(name, schema)| (name, (schema, false))).collect();
        schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        schema["$defs"] = json!({
            "Self": object((own, false)).0,
            "Closed": {
                "type": "object",
                "properties": { "a": { "type": "string", "minLength": 1 }, "b": { "$ref": "#/$defs/Self" } },
                "additionalProperties": false,
            },
        });
        prop_assert!(jsonschema::is_valid(&schema, &value), "the test's own value");
        let once = arguments(schema.as_object().unwrap());
        let deep = "at most five levels";
        let broken: Vec<_> = client_rules::check(client_rules::ARGUMENTS, &once).0.into_iter().filter(|(rule, _)| *rule != deep).collect();
        prop_assert!(broken.is_empty(), "{:?} in {}", broken, Value::Object(once));
        prop_assert_eq!(&arguments(&once), &once, "a second time");
        prop_assert!(jsonschema::is_valid(&Value::Object(once.clone()), &value), "{} refuses {}", Value::Object(once), value);
        let answered = answer(schema.as_object().unwrap());
        prop_assert!(client_rules::check(client_rules::ANSWER, &answered).0.is_empty());
        prop_assert!(jsonschema::is_valid(&Value::Object(answered.clone()), &value));
        prop_assert_eq!(&answer(&answered), &answered);
    }
}
