//! Requests of methods that are served whose members aren't what they should be. The protocol's layer takes them for methods
//! that it doesn't know; whoever sent them is told which member is wrong.

use serde_json::Value;

/// What a member must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Object,
}

/// A member of a method's parameters: its path, what it must be, and whether it must be there.
type Member = (&'static str, Form, bool);

/// The members of each method's parameters.
const METHODS: [(&str, &[Member]); 11] = [
    ("ping", &[]),
    ("server/discover", &[]),
    (
        "initialize",
        &[
            ("protocolVersion", Form::Text, true),
            ("capabilities", Form::Object, true),
            ("clientInfo", Form::Object, true),
            ("clientInfo/name", Form::Text, true),
            ("clientInfo/version", Form::Text, true),
        ],
    ),
    ("tools/list", &[("cursor", Form::Text, false)]),
    ("tools/call", &[("name", Form::Text, true), ("arguments", Form::Object, false)]),
    ("prompts/list", &[("cursor", Form::Text, false)]),
    ("prompts/get", &[("name", Form::Text, true), ("arguments", Form::Object, false)]),
    ("resources/list", &[("cursor", Form::Text, false)]),
    ("resources/templates/list", &[("cursor", Form::Text, false)]),
    ("resources/read", &[("uri", Form::Text, true)]),
    (
        "completion/complete",
        &[
            ("ref", Form::Object, true),
            ("ref/type", Form::Text, true),
            ("argument", Form::Object, true),
            ("argument/name", Form::Text, true),
            ("argument/value", Form::Text, true),
        ],
    ),
];

/// Methods that the revision 2026-07-28 has no longer.
const OF_SESSIONS: [&str; 2] = ["initialize", "ping"];

/// What is wrong with a request of a method that is served; nothing if the method isn't. `is_stateless` is whether the request is
/// of the revision 2026-07-28.
pub(super) fn describe(method: &str, params: Option<&Value>, is_stateless: bool) -> Option<String> {
    if is_stateless && OF_SESSIONS.contains(&method) {
        return None;
    }
    let (_, members) = METHODS.iter().find(|(served, _)| *served == method)?;
    let params = params.unwrap_or(&Value::Null);
    if !params.is_null() && !params.is_object() {
        return Some("params must be an object".to_owned());
    }
    let general = [("_meta", Form::Object, false)];
    let wrong = members.iter().chain(&general).find_map(|(path, form, required)| {
        let value = params.pointer(&format!("/{path}")).filter(|value| !value.is_null());
        let name = path.replace('/', ".");
        match (value, form) {
            (None, _) if *required => Some(format!("params.{name} is missing")),
            (None, _) | (Some(Value::String(_)), Form::Text) | (Some(Value::Object(_)), Form::Object) => None,
            (Some(_), Form::Text) => Some(format!("params.{name} must be a text")),
            (Some(_), Form::Object) => Some(format!("params.{name} must be an object")),
        }
    });
    // What else can be wrong lies deeper.
    Some(wrong.unwrap_or_else(|| format!("params does not have the form that {method} wants")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_member_is_named() {
        for (method, params, expected) in [
            ("tools/call", json!({"name": 5}), "params.name must be a text"),
            ("tools/call", json!({}), "params.name is missing"),
            ("tools/call", json!(null), "params.name is missing"),
            ("tools/call", json!({"name": "a", "arguments": [1]}), "params.arguments must be an object"),
            ("tools/call", json!([1]), "params must be an object"),
            ("tools/list", json!({"cursor": 1}), "params.cursor must be a text"),
            ("tools/list", json!({"_meta": "x"}), "params._meta must be an object"),
            (
                "initialize",
                json!({"protocolVersion": "1", "capabilities": {}, "clientInfo": {"name": 1}}),
                "params.clientInfo.name must be a text",
            ),
            ("resources/read", json!({"uri": {}}), "params.uri must be a text"),
            ("prompts/get", json!({"name": "a"}), "params does not have the form that prompts/get wants"),
        ] {
            assert_eq!(describe(method, Some(&params), false).as_deref(), Some(expected), "{method} {params}");
            let of_today = Some(expected).filter(|_| method != "initialize");
            assert_eq!(describe(method, Some(&params), true).as_deref(), of_today, "{method} {params}");
        }
        assert_eq!(describe("tools/sell", None, false), None);
    }
}
