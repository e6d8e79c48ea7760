//! What generated JSON schemas have in common, be they for the Kubernetes API or for agents: schemars describes Rust's
//! unsigned and small integers by formats of its own, which neither API server nor JSON Schema knows.

use serde_json::Value;

/// Calls `change` with every object of a schema, from the outside in.
pub fn visit(schema: &mut Value, change: &mut dyn FnMut(&mut serde_json::Map<String, Value>)) {
    match schema {
        Value::Object(map) => {
            change(map);
            map.values_mut().for_each(|value| visit(value, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, change)),
        _ => {}
    }
}

/// Takes the format out of an integer's schema where only Rust knows it: the bounds beside it say more.
pub fn drop_unknown_format(schema: &mut serde_json::Map<String, Value>) {
    let is_unknown = |format: &Value| {
        matches!(format.as_str(), Some("uint8" | "uint16" | "uint32" | "uint64" | "uint" | "int8" | "int16" | "int"))
    };
    if schema.get("format").is_some_and(is_unknown) {
        schema.remove("format");
    }
}
