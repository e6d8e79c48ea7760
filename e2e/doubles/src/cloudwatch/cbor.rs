//! CBOR as JSON and back. A time, which is tag 1 in CBOR (RFC 8949, section 3.4.2), is `{"$time": seconds}` in JSON.

use ciborium::Value as Cbor;
use serde_json::{Value, json};

/// Reads a body.
pub fn decode(body: &[u8]) -> Value {
    if body.is_empty() { json!({}) } else { to_json(ciborium::from_reader(body).unwrap()) }
}

/// Writes a body.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&to_cbor(value), &mut bytes).unwrap();
    bytes
}

fn to_json(value: Cbor) -> Value {
    match value {
        Cbor::Integer(number) => json!(i64::try_from(number).unwrap()),
        Cbor::Float(number) => json!(number),
        Cbor::Text(text) => json!(text),
        Cbor::Bool(bool) => json!(bool),
        Cbor::Null => Value::Null,
        Cbor::Array(all) => all.into_iter().map(to_json).collect(),
        Cbor::Map(all) => all.into_iter().map(|(key, value)| (key.into_text().unwrap(), to_json(value))).collect(),
        Cbor::Tag(1, seconds) => json!({ "$time": to_json(*seconds) }),
        other => panic!("{other:?} is not part of any request"),
    }
}

fn to_cbor(value: &Value) -> Cbor {
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(bool) => Cbor::Bool(*bool),
        Value::Number(number) => number.as_i64().map_or_else(|| Cbor::Float(number.as_f64().unwrap()), Cbor::from),
        Value::String(text) => Cbor::Text(text.clone()),
        Value::Array(all) => Cbor::Array(all.iter().map(to_cbor).collect()),
        Value::Object(map) => match map.get("$time") {
            Some(seconds) => Cbor::Tag(1, Box::new(to_cbor(seconds))),
            None => Cbor::Map(map.iter().map(|(key, value)| (Cbor::Text(key.clone()), to_cbor(value))).collect()),
        },
    }
}
