//! What MCP clients and model APIs take of a tool's schemas, one rule each with who wants it. Whatever is published is held
//! against the table.

use serde_json::{Map, Value};

use tools::publish::{MAX_REPETITIONS, is_plain};

/// A rule about a schema or a part of it.
pub struct Rule {
    /// What holds.
    pub says: &'static str,
    /// Who refuses the tool, or loses a part of it, where it doesn't hold.
    pub wanted_by: &'static str,
    /// Whether it holds at a place.
    holds: fn(&Place<'_>) -> bool,
}

/// A part of a schema.
struct Place<'a> {
    node: &'a Map<String, Value>,
    path: String,
    /// Whether it is an argument that may be left out.
    is_optional: bool,
    /// Levels above it.
    depth: usize,
    /// How often the lists that it is in may repeat it.
    times: u64,
}

impl Place<'_> {
    fn has(&self, word: &str) -> bool {
        self.node.contains_key(word)
    }

    fn is(&self, kind: &str) -> bool {
        self.node.get("type").and_then(Value::as_str) == Some(kind)
    }

    fn count(&self, word: &str) -> u64 {
        self.node.get(word).and_then(Value::as_u64).unwrap_or_default()
    }

    fn entries(&self, word: &str) -> &[Value] {
        self.node.get(word).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn properties(&self) -> impl Iterator<Item = &String> {
        self.node.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys)
    }

    fn without_default(&self) -> Value {
        let mut node = self.node.clone();
        node.remove("default");
        Value::Object(node)
    }
}

/// Words of a schema that every client knows.
const KNOWN: &[&str] = &[
    "additionalProperties",
    "default",
    "description",
    "enum",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
];

/// The rules for arguments.
pub const ARGUMENTS: &[Rule] = &[
    Rule {
        says: "no $schema",
        wanted_by: "Ajv's default class (pi-mcp-adapter, llxprt-code), VS Code 1.104",
        holds: |place| !place.has("$schema"),
    },
    Rule {
        says: "no $ref and no $defs",
        wanted_by: "Gemini, langchain-google-genai, opencode, oh-my-pi",
        holds: |place| !place.has("$ref") && !place.has("$defs"),
    },
    Rule {
        says: "no anyOf, oneOf, allOf, not and no const",
        wanted_by: "Gemini, OpenAI (strict), LibreChat",
        holds: |place| !["anyOf", "oneOf", "allOf", "not", "if", "const"].iter().any(|word| place.has(word)),
    },
    Rule {
        says: "the type is one word, and never null; only values of an open object may be of any",
        wanted_by: "Gemini, Cursor, llama.cpp",
        holds: |place| {
            let is_any = place.path.ends_with("/additionalProperties") && place.node.keys().eq(["description"]);
            is_any || ["string", "integer", "number", "boolean", "array", "object"].iter().any(|kind| place.is(kind))
        },
    },
    Rule {
        says: "the arguments have properties",
        wanted_by: "OpenAI (strict and not), outlines",
        holds: |place| place.depth > 0 || place.node.get("properties").is_some_and(Value::is_object),
    },
    Rule {
        says: "what else an object holds is said by a schema, or not at all",
        wanted_by: "google-genai: it takes no tool with true or false there",
        holds: |place| place.node.get("additionalProperties").is_none_or(Value::is_object),
    },
    Rule {
        says: "an open object says of what, and has no empty properties",
        wanted_by: "langchain-google-genai, which makes it a text; autogen and mcp-use, which drop what is given",
        holds: |place| {
            let of = place.node.get("additionalProperties").and_then(Value::as_object);
            let is_told = of.is_some_and(|of| !of.is_empty());
            let has_properties = place.properties().next().is_some();
            !place.is("object") || has_properties || (is_told != place.has("properties")) || place.depth == 0
        },
    },
    Rule {
        says: "a closed list is one enum of different texts",
        wanted_by: "Gemini, langchain-google-genai, google-genai",
        holds: |place| {
            let values = place.entries("enum");
            let differ =
                values.iter().enumerate().all(|(index, value)| !values.iter().take(index).any(|one| one == value));
            !place.has("enum")
                || (place.is("string") && !values.is_empty() && values.iter().all(Value::is_string) && differ)
        },
    },
    Rule {
        says: "a list says of what",
        wanted_by: "VS Code, Gemini",
        holds: |place| !place.is("array") || place.node.get("items").is_some_and(Value::is_object),
    },
    Rule {
        says: "only words that are known everywhere",
        wanted_by: "Gemini's parameters, OpenAI (strict), Ajv (strict), llguidance",
        holds: |place| place.node.keys().all(|word| KNOWN.contains(&word.as_str())),
    },
    Rule {
        says: "what is required is there",
        wanted_by: "Gemini, OpenAI (strict)",
        holds: |place| {
            place
                .entries("required")
                .iter()
                .all(|name| place.properties().any(|known| Some(known.as_str()) == name.as_str()))
        },
    },
    Rule {
        says: "a default fits, and is not null",
        wanted_by: "Gemini, clients that fill defaults in",
        holds: |place| {
            let fits = |default| jsonschema::is_valid(&place.without_default(), default);
            place.node.get("default").is_none_or(|default| !default.is_null() && fits(default))
        },
    },
    Rule {
        says: "lengths multiply to less than 2,000",
        wanted_by: "llama.cpp, which makes a grammar of them",
        holds: |place| {
            let most = place.count("maxLength").max(place.count("maxItems"));
            most <= 1_000 && most.saturating_mul(place.times) < MAX_REPETITIONS
        },
    },
    Rule {
        says: "patterns are about the whole text, and plain",
        wanted_by: "llama.cpp, llguidance, outlines, OpenAI (strict)",
        holds: |place| {
            place.node.get("pattern").and_then(Value::as_str).is_none_or(|pattern| is_plain(pattern, place.times))
        },
    },
    Rule {
        says: "names are of letters, digits and _.-, 64 at most",
        wanted_by: "OpenAI, Anthropic, Gemini",
        holds: |place| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            place.properties().all(|name| (1..=64).contains(&name.len()) && name.chars().all(is_plain))
        },
    },
    Rule { says: "at most five levels", wanted_by: "OpenAI (strict)", holds: |place| place.depth <= 5 },
    Rule {
        says: "descriptions are ASCII",
        wanted_by: "clients that count or cut bytes",
        holds: |place| place.node.get("description").and_then(Value::as_str).is_none_or(str::is_ascii),
    },
    Rule {
        says: "an optional text can't be empty, so that an empty one is none",
        wanted_by: "n8n, MetaMCP, opencode: they send \"\" for what was not said",
        holds: |place| {
            let is_default = place.node.get("default").is_some_and(|default| default == "");
            !(place.is_optional && place.is("string"))
                || place.has("enum")
                || place.count("minLength") > 0
                || is_default
        },
    },
];

/// The rules for answers.
pub const ANSWER: &[Rule] = &[
    Rule {
        says: "no $ref, no $defs and no $schema in answers",
        wanted_by: "TypeScript SDK 1.22.0, awslabs' clients, VS Code 1.104",
        holds: |place| !["$ref", "$defs", "$schema"].iter().any(|word| place.has(word)),
    },
    Rule {
        says: "an answer is an object",
        wanted_by: "the protocol",
        holds: |place| place.depth > 0 || place.is("object"),
    },
    Rule {
        says: "no format of numbers in answers",
        wanted_by: "Ajv without ajv-formats",
        holds: |place| {
            let format = place.node.get("format").and_then(Value::as_str).unwrap_or_default();
            !["int", "uint", "float", "double"].iter().any(|known| format.starts_with(known))
        },
    },
];

/// Where a published schema breaks which of the rules, and how many places were looked at.
pub fn check(rules: &'static [Rule], schema: &Map<String, Value>) -> (Vec<(&'static str, String)>, usize) {
    let mut places = Vec::new();
    collect(Place { node: schema, path: String::new(), is_optional: false, depth: 0, times: 1 }, &mut places);
    let broken = places.iter().flat_map(|place| {
        rules.iter().filter(|rule| !(rule.holds)(place)).map(|rule| (rule.says, format!("at {:?}", place.path)))
    });
    (broken.collect(), places.len())
}

fn collect<'a>(place: Place<'a>, places: &mut Vec<Place<'a>>) {
    let (depth, times) = (place.depth + 1, place.times.saturating_mul(place.count("maxItems").max(1)));
    let required = place.entries("required").to_vec();
    for (word, value) in place.node {
        match (word.as_str(), value) {
            ("properties", Value::Object(named)) => {
                for (name, value) in named {
                    let Value::Object(node) = value else { continue };
                    let is_optional = !required.iter().any(|one| one.as_str() == Some(name));
                    let path = format!("{}/{name}", place.path);
                    collect(Place { node, path, is_optional, depth, times }, places);
                }
            }
            ("items" | "additionalProperties", Value::Object(node)) => {
                let path = format!("{}/{word}", place.path);
                collect(Place { node, path, is_optional: false, depth, times }, places);
            }
            ("anyOf" | "oneOf" | "allOf", Value::Array(forms)) => {
                for (index, node) in forms.iter().filter_map(Value::as_object).enumerate() {
                    let path = format!("{}/{word}/{index}", place.path);
                    collect(Place { node, path, is_optional: false, depth, times }, places);
                }
            }
            _ => {}
        }
    }
    places.push(place);
}
