//! Text from outside: names that are close to one that isn't there, texts cut and cleaned before they go into messages,
//! and JSON in one form so that digests of it can be compared.

use std::fmt::Write as _;

use serde_json::Value;

/// How like a name must be to be suggested, from 0 to 1.
const LIKE: f64 = 0.8;
/// Names that are suggested at most.
const SUGGESTIONS: usize = 3;

/// Those of `known` that somebody who wrote `name` may have meant, the likeliest first.
pub fn suggest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let name: String = name.chars().take(128).collect::<String>().to_ascii_lowercase();
    let likeness = |candidate: &str| {
        let candidate = candidate.to_ascii_lowercase();
        let contains = name.len() > 2 && (candidate.contains(&name) || name.contains(&candidate));
        strsim::jaro_winkler(&name, &candidate).max(if contains { 0.9 } else { 0.0 })
    };
    let mut near: Vec<(f64, &str)> =
        known.map(|candidate| (likeness(candidate), candidate)).filter(|(likeness, _)| *likeness >= LIKE).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    near.into_iter().take(SUGGESTIONS).map(|(_, candidate)| candidate).collect()
}

/// A name from outside, cut and with everything replaced that no tool or argument name holds.
#[must_use]
pub fn safe_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "_.-$/".contains(c) { c } else { '?' };
    name.chars().take(128).map(safe).collect()
}

/// Names in a sentence: `a`, `a or b`, `a, b or c`.
#[must_use]
pub fn alternatives(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// JSON with the keys of each object in order, so that equal values give equal texts.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                // A string's `Display` in serde_json is its JSON form.
                let _infallible = write!(text, "{}:", Value::from(key.as_str()));
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        scalar => {
            let _infallible = write!(text, "{scalar}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn suggests_what_was_meant() {
        let known = ["get_vault_health", "list_vault_mounts", "read_vault_secret"];
        assert_eq!(suggest("get_vault_helth", known.into_iter())[0], "get_vault_health");
        assert_eq!(suggest("vault_secret", known.into_iter())[0], "read_vault_secret");
        assert!(suggest("zzz", known.into_iter()).is_empty());
    }

    #[test]
    fn names_from_outside_are_harmless() {
        assert_eq!(safe_name("a\u{1b}[31m b\n"), "a??31m?b?");
        assert_eq!(safe_name(&"x".repeat(1_000)).len(), 128);
    }

    #[test]
    fn the_order_of_keys_is_no_difference() {
        let one = canonical_json(&json!({"b": [1, {"d": "\"", "c": null}], "a": true}));
        assert_eq!(one, r#"{"a":true,"b":[1,{"c":null,"d":"\""}]}"#);
        serde_json::from_str::<Value>(&one).unwrap();
    }

    proptest! {
        #[test]
        fn canonical_json_reads_back(key in "\\PC*", text in "\\PC*", number in any::<i64>()) {
            let value = json!({key: [text, number, {}]});
            prop_assert_eq!(serde_json::from_str::<Value>(&canonical_json(&value)).unwrap(), value);
        }

        #[test]
        fn no_name_panics(name in "\\PC*") {
            let _names = suggest(&name, ["get_vault_health"].into_iter());
            let _name = safe_name(&name);
        }
    }
}
