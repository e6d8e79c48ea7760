//! YAML with positions: a document as a tree in which every node knows its line, so that whatever is found out about a
//! field can be told with the place where it was written.

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1; 0 where it isn't known.
    pub line: u64,
    /// The column, from 1; 0 where it isn't known.
    pub column: u64,
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// A value and where it stands. It may be a Secret's, so it has no debug form.
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub content: Content,
}

/// What a node is.
pub enum Content {
    /// Neither list nor map.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// A map: each key with its place.
    Map(Vec<(String, Place, Node)>),
}

/// Why a text is no YAML. It repeats nothing of the text, which may hold Secrets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub place: Place,
}

/// Reads every document of a text; empty ones are left out.
///
/// # Errors
/// When the text is no YAML, or a map has a key twice.
pub fn parse(text: &str) -> Result<Vec<Node>, YamlError> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let place = error.location().map(Place::from).unwrap_or_default();
        // The place is told beside the message, and whatever follows could be of the text.
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default();
        let message = message.split(" at line ").next().unwrap_or(message).trim_start_matches("error: ");
        YamlError { message: message.to_owned(), place }
    })
}

impl Node {
    /// The value without the places.
    #[must_use]
    pub fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Content::Map(entries) => {
                Value::Object(entries.iter().map(|(key, _, node)| (key.clone(), node.value())).collect::<Map<_, _>>())
            }
        }
    }

    /// The node of a key, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|(name, ..)| name == key).map(|(.., node)| node),
            Content::Scalar(_) | Content::List(_) => None,
        }
    }

    /// Where a field stands, such as `spec.hosts[0]`: its key, or the nearest thing around it that there is.
    #[must_use]
    pub fn locate(&self, field: &str) -> Place {
        self.find(field, self.place)
    }

    fn find(&self, field: &str, own: Place) -> Place {
        let field = field.strip_prefix('.').unwrap_or(field);
        match &self.content {
            Content::Map(entries) => entries
                .iter()
                .filter_map(|(key, place, node)| Some((key.len(), *place, node, after_key(field, key)?)))
                // Keys may hold dots: the longest that fits is meant.
                .max_by_key(|(length, ..)| *length)
                .map_or(own, |(_, place, node, rest)| node.find(rest, place)),
            Content::List(items) => {
                let inside = field.strip_prefix('[').and_then(|field| field.split_once(']'));
                let item = inside.and_then(|(index, rest)| Some((items.get(index.parse::<usize>().ok()?)?, rest)));
                item.map_or(own, |(node, rest)| node.find(rest, node.place))
            }
            Content::Scalar(_) => own,
        }
    }
}

/// What of a field's path is left behind a key; nothing if it doesn't begin with it.
fn after_key<'a>(field: &'a str, key: &str) -> Option<&'a str> {
    let bracketed = || field.strip_prefix('[')?.strip_prefix(key)?.strip_prefix(']');
    let plain = || field.strip_prefix(key).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    plain().or_else(bracketed)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { place: spanned.referenced.into(), content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a value that JSON knows")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Content, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number that JSON doesn't know"))?;
        Ok(Content::Scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut map: Vec<(String, Place, Node)> = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let node = entries.next_value()?;
            if map.iter().any(|(name, ..)| *name == key.value) {
                return Err(A::Error::custom("a map has a key twice"));
            }
            map.push((key.value, key.referenced.into(), node));
        }
        Ok(Content::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "\
# a comment
kind: A
spec:
  hosts: [a, b]
  labels:
    app.example.com/name: x
    app: z
  rules:
  - name: one
  - name: two
---
---
kind: B
size: 3
on: true
nothing: null
";

    #[test]
    fn documents_are_read_with_their_values() {
        let documents = parse(TEXT).unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[1].value(), json!({"kind": "B", "size": 3, "on": true, "nothing": null}));
        assert_eq!(documents[0].value()["spec"]["labels"], json!({"app.example.com/name": "x", "app": "z"}));
    }

    #[test]
    fn a_field_is_found_where_it_was_written() {
        let documents = parse(TEXT).unwrap();
        for (field, line) in [
            ("", 2),
            ("kind", 2),
            ("spec", 3),
            ("spec.hosts[1]", 4),
            ("spec.labels.app.example.com/name", 6),
            ("spec.labels[app.example.com/name]", 6),
            ("spec.labels.app", 7),
            ("spec.rules[1].name", 10),
            // What isn't there is told at what is around it.
            ("spec.rules[1].other", 10),
            ("spec.rules[7]", 8),
            ("spec.missing.deeper", 3),
        ] {
            assert_eq!(documents[0].locate(field).line, line, "{field}");
        }
        assert_eq!(documents[1].locate("size").line, 14);
    }

    #[test]
    fn what_is_no_yaml_has_a_place_and_repeats_nothing() {
        let error = parse("a: 1\nsecret: \"hunter2\n").err().unwrap();
        assert!(error.place.line >= 2, "{error:?}");
        let twice = parse("data:\n  token: hunter2\n  token: hunter3\n").err().unwrap();
        assert_eq!(twice.place.line, 3);
        for error in [error, twice] {
            assert!(!error.message.contains("hunter"), "{error:?}");
        }
    }
}
