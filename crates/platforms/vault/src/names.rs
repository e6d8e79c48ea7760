//! Names of keys without their values: what is parsed by it never holds a value, and what has gone through [`sieve`]
//! holds none either.

use serde::{
    Deserialize,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// Keys whose values are skipped while they are parsed: null for a value, an object for keys in it.
#[derive(Default)]
pub(super) struct Names(Map<String, Value>);

impl Names {
    /// The names down to a depth.
    pub(super) fn at_depth(self, depth: u8) -> Map<String, Value> {
        sieve(self.0, depth)
    }

    /// The names of the first level.
    pub(super) fn into_names(self) -> Vec<String> {
        self.0.into_iter().map(|(name, _)| name).collect()
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Names;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Names, A::Error> {
                let mut names = Map::new();
                while let Some(name) = entries.next_key::<String>()? {
                    let Node(node) = entries.next_value()?;
                    names.insert(name, node);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// A key's value: its keys if it is an object, nothing otherwise.
struct Node(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Keys(Names),
            Nothing(IgnoredAny),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::Keys(Names(names)) => Value::Object(names),
            Either::Nothing(_) => Value::Null,
        }))
    }
}

/// Lets names through down to a depth, and no value.
pub(super) fn sieve(tree: Map<String, Value>, depth: u8) -> Map<String, Value> {
    let below = |value| match value {
        Value::Object(keys) if depth > 1 => Value::Object(sieve(keys, depth - 1)),
        _ => Value::Null,
    };
    tree.into_iter().map(|(name, value)| (name, below(value))).collect()
}

/// Cuts a tree to a number of keys; says whether it was cut.
pub(super) fn bounded(tree: Map<String, Value>, room: &mut usize) -> (Map<String, Value>, bool) {
    let (mut kept, mut cut) = (Map::new(), false);
    for (name, value) in tree {
        if *room == 0 {
            return (kept, true);
        }
        *room -= 1;
        let value = match value {
            Value::Object(keys) => {
                let (keys, shortened) = bounded(keys, room);
                cut |= shortened;
                Value::Object(keys)
            }
            other => other,
        };
        kept.insert(name, value);
    }
    (kept, cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_value_gets_through() {
        let secret =
            json!({"a": "planted", "b": {"c": "planted", "d": {"e": 1}}, "f": ["planted"], "g": null, "h": true});
        let names: Names = serde_json::from_value(secret.clone()).unwrap();
        assert_eq!(Value::Object(names.at_depth(1)), json!({"a": null, "b": null, "f": null, "g": null, "h": null}));
        let names: Names = serde_json::from_value(secret.clone()).unwrap();
        let deep = json!({"a": null, "b": {"c": null, "d": {"e": null}}, "f": null, "g": null, "h": null});
        assert_eq!(Value::Object(names.at_depth(10)), deep);
        let Value::Object(secret) = secret else { panic!() };
        assert_eq!(Value::Object(sieve(secret, 10)), deep);
    }

    #[test]
    fn a_tree_is_cut() {
        let tree: Map<String, Value> = serde_json::from_value(json!({"a": {"b": null, "c": null}, "d": null})).unwrap();
        let (kept, cut) = bounded(tree.clone(), &mut 2);
        assert_eq!((Value::Object(kept), cut), (json!({"a": {"b": null}}), true));
        assert!(!bounded(tree, &mut 4).1);
    }
}
