//! What the API server would say to a document before any controller sees it: unknown fields, the OpenAPI schema of its
//! kind, lists that are sets or maps, and the CEL rules. The schemas are those of the CRDs, in this program; the words
//! are the API server's.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, prelude::BASE64_STANDARD};
use jsonschema::{ValidationError, error::ValidationErrorKind};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube_cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use api::{GROUP, VERSION, crd};

/// Bytes of a value that a message repeats, at most.
const MAX_SHOWN: usize = 200;

/// Why the schemas can't be put together: a fault of this program.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The CRDs can't be generated.
    #[error("failed to generate the CRDs")]
    Generate(#[source] serde_json::Error),
    /// A CRD has no schema.
    #[error("the CRD of {0} has no schema")]
    Missing(String),
    /// A schema is none.
    #[error("the schema of {kind} can't be used: {problem}")]
    Compile {
        /// The kind.
        kind: String,
        /// Why.
        problem: String,
    },
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The rule that says so.
    pub rule: &'static str,
    /// The field; empty for the whole object.
    pub field: String,
    /// What is wrong, as the API server puts it.
    pub message: String,
}

/// The schemas of every kind that is read.
pub struct Schemas {
    kinds: BTreeMap<(String, String), KindSchema>,
    cel: Validator,
}

struct KindSchema {
    schema: Value,
    validator: jsonschema::Validator,
    rules: Option<CompiledSchema>,
    /// Whether no value of it may be repeated.
    is_secret: bool,
}

impl Schemas {
    /// The schemas of McpConnector, CredentialSource, Secret and ConfigMap.
    ///
    /// # Errors
    /// When a schema can't be used, which is a fault of this program.
    pub fn new() -> Result<Self, SchemaError> {
        let mut kinds = BTreeMap::new();
        for definition in crd::all().map_err(SchemaError::Generate)? {
            let kind = definition.spec.names.kind.clone();
            let version = definition.spec.versions.into_iter().next();
            let schema = version
                .and_then(|version| version.schema)
                .and_then(|validation| validation.open_api_v3_schema)
                .ok_or_else(|| SchemaError::Missing(kind.clone()))?;
            let mut schema = serde_json::to_value(schema).map_err(SchemaError::Generate)?;
            let rules = Some(compile_schema(&schema));
            if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
                properties.insert("apiVersion".to_owned(), json!({ "type": "string" }));
                properties.insert("kind".to_owned(), json!({ "type": "string" }));
                properties.insert("metadata".to_owned(), schema_of::<ObjectMeta>());
            }
            kinds.insert((format!("{GROUP}/{VERSION}"), kind.clone()), KindSchema::new(&kind, schema, rules)?);
        }
        for (kind, schema) in [("Secret", schema_of::<Secret>()), ("ConfigMap", schema_of::<ConfigMap>())] {
            kinds.insert(("v1".to_owned(), kind.to_owned()), KindSchema::new(kind, schema, None)?);
        }
        Ok(Self { kinds, cel: Validator::new() })
    }

    /// Whether documents of this kind are read.
    #[must_use]
    pub fn knows(&self, api_version: &str, kind: &str) -> bool {
        self.kinds.contains_key(&(api_version.to_owned(), kind.to_owned()))
    }

    /// Checks a document as the API server would, after it has taken out of it what it takes out too: the status, and
    /// fields that are null. Rules are looked at only if nothing else is wrong.
    #[must_use]
    pub fn problems(&self, api_version: &str, kind: &str, value: &mut Value) -> Vec<Problem> {
        let Some(known) = self.kinds.get(&(api_version.to_owned(), kind.to_owned())) else { return Vec::new() };
        if let Some(object) = value.as_object_mut() {
            object.remove("status");
        }
        let mut problems = Vec::new();
        known.walk(&known.schema, value, "", &mut problems);
        problems.extend(known.validator.iter_errors(value).map(|error| known.describe(value, &error)));
        if let Some(rules) = known.rules.as_ref().filter(|_| problems.is_empty())
            && let Err(errors) = self.cel.validate_compiled(rules, value, None)
        {
            problems.extend(errors.into_iter().map(|error| {
                let message = match error.kind {
                    ErrorKind::ValidationFailure => error.message,
                    _ => format!("the rule {:?} could not be evaluated: {}", error.rule, error.message),
                };
                Problem { rule: "cel", field: error.field_path.trim_start_matches('.').to_owned(), message }
            }));
        }
        problems
    }
}

fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

impl KindSchema {
    fn new(kind: &str, schema: Value, rules: Option<CompiledSchema>) -> Result<Self, SchemaError> {
        let failed = |problem: String| SchemaError::Compile { kind: kind.to_owned(), problem };
        if let Some(error) =
            rules.as_ref().and_then(|rules| rules.compilation_errors().first().map(ToString::to_string))
        {
            return Err(failed(error));
        }
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(false)
            .build(&schema)
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { schema, validator, rules, is_secret: kind == "Secret" })
    }

    /// What JSON Schema doesn't know: null stands for left out, unknown fields are refused, lists may be sets or maps,
    /// and some values are a number or a text.
    fn walk(&self, schema: &Value, value: &mut Value, path: &str, problems: &mut Vec<Problem>) {
        match value {
            Value::Object(map) => self.walk_map(schema, map, path, problems),
            Value::Array(items) => {
                if let Some(item_schema) = schema.get("items") {
                    for (index, item) in items.iter_mut().enumerate() {
                        self.walk(item_schema, item, &format!("{path}[{index}]"), problems);
                    }
                }
                self.find_duplicates(schema, items, path, problems);
            }
            Value::String(text) => {
                if schema.get("format").is_some_and(|format| format == "byte") && BASE64_STANDARD.decode(text).is_err()
                {
                    let message = "Invalid value: must be encoded in base64".to_owned();
                    problems.push(Problem { rule: "schema/format", field: path.to_owned(), message });
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        let is_either = schema.get("x-kubernetes-int-or-string").is_some_and(|either| either == true);
        if is_either && !(value.is_string() || value.is_i64() || value.is_u64()) {
            let message = format!("{path} in body must be of type integer or string: {:?}", type_name(value));
            problems.push(Problem { rule: "schema/type", field: path.to_owned(), message });
        }
    }

    fn walk_map(&self, schema: &Value, map: &mut Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let additional = schema.get("additionalProperties").filter(|schema| schema.is_object());
        let inside = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        if let Some(properties) = properties {
            map.retain(|key, value| !(value.is_null() && properties.contains_key(key)));
        }
        for (key, value) in map {
            match (properties.and_then(|properties| properties.get(key)), additional, properties) {
                (Some(schema), ..) | (None, Some(schema), _) => self.walk(schema, value, &inside(key), problems),
                (None, None, Some(_)) => problems.push(Problem {
                    rule: "schema/unknown-field",
                    field: inside(key),
                    message: format!("unknown field {:?}", inside(key)),
                }),
                // Anything goes.
                (None, None, None) => {}
            }
        }
    }

    fn find_duplicates(&self, schema: &Value, items: &[Value], path: &str, problems: &mut Vec<Problem>) {
        let list_type = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
        let keys: Vec<&str> = schema
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let identity = |item: &Value| match (list_type, item) {
            (Some("set"), _) => Some(item.clone()),
            (Some("map"), Value::Object(map)) => {
                let part = |key: &&str| Some(((*key).to_owned(), map.get(*key)?.clone()));
                Some(Value::Object(keys.iter().filter_map(part).collect()))
            }
            _ => None,
        };
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            if let Some(identity) = identity(item)
                && !seen.insert(identity.to_string())
            {
                problems.push(Problem {
                    rule: "schema/duplicate",
                    field: format!("{path}[{index}]"),
                    message: format!("Duplicate value: {}", self.shown(&identity)),
                });
            }
        }
    }

    /// A fault that JSON Schema knows, in the API server's words.
    fn describe(&self, root: &Value, error: &ValidationError<'_>) -> Problem {
        let field = field_path(root, error.instance_path().as_str());
        let value = self.shown(error.instance());
        let length = |value: &Value| value.as_array().map(Vec::len).or_else(|| value.as_object().map(Map::len));
        let count = length(error.instance()).unwrap_or_default();
        let invalid = |what: String| format!("Invalid value: {value}: {field} in body {what}");
        let (rule, message) = match error.kind() {
            ValidationErrorKind::Required { property } => {
                let property = property.as_str().unwrap_or_default();
                let field = if field.is_empty() { property.to_owned() } else { format!("{field}.{property}") };
                return Problem { rule: "schema/required", field, message: "Required value".to_owned() };
            }
            ValidationErrorKind::Type { .. } => {
                let wanted = wanted_type(&self.schema, error.schema_path().as_str());
                let actual = type_name(error.instance());
                (
                    "schema/type",
                    format!("Invalid value: {actual:?}: {field} in body must be of type {wanted}: {actual:?}"),
                )
            }
            ValidationErrorKind::Enum { options } => {
                let words: Vec<String> = options.as_array().into_iter().flatten().map(ToString::to_string).collect();
                ("schema/enum", format!("Unsupported value: {value}: supported values: {}", words.join(", ")))
            }
            ValidationErrorKind::Pattern { pattern } => {
                ("schema/pattern", invalid(format!("should match '{pattern}'")))
            }
            ValidationErrorKind::MinLength { limit } => {
                ("schema/length", invalid(format!("should be at least {limit} chars long")))
            }
            ValidationErrorKind::MaxLength { limit } => {
                ("schema/length", format!("Too long: may not be more than {limit} bytes"))
            }
            ValidationErrorKind::MinItems { limit } => {
                ("schema/length", format!("Invalid value: {count}: {field} in body should have at least {limit} items"))
            }
            ValidationErrorKind::MinProperties { limit } => (
                "schema/length",
                format!("Invalid value: {count}: {field} in body should have at least {limit} properties"),
            ),
            ValidationErrorKind::MaxItems { limit } | ValidationErrorKind::MaxProperties { limit } => {
                ("schema/length", format!("Too many: {count}: must have at most {limit} items"))
            }
            ValidationErrorKind::Minimum { limit } => {
                ("schema/range", invalid(format!("should be greater than or equal to {limit}")))
            }
            ValidationErrorKind::Maximum { limit } => {
                ("schema/range", invalid(format!("should be less than or equal to {limit}")))
            }
            _ => ("schema", format!("Invalid value: {value}: {field} in body doesn't fit its schema")),
        };
        Problem { rule, field, message }
    }

    /// A value as a message repeats it; nothing of a Secret's.
    fn shown(&self, value: &Value) -> String {
        if self.is_secret {
            return "(hidden)".to_owned();
        }
        let text = value.to_string();
        match text.char_indices().nth(MAX_SHOWN) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text,
        }
    }
}

/// The type that a schema asks for, by the path of the keyword that refused.
fn wanted_type(schema: &Value, keyword: &str) -> String {
    schema.pointer(keyword).and_then(Value::as_str).unwrap_or("another type").to_owned()
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A JSON pointer as the API server writes paths: `spec.hosts[0]`.
fn field_path(root: &Value, pointer: &str) -> String {
    let mut path = String::new();
    let mut at = Some(root);
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if let Some(Value::Array(items)) = at {
            at = part.parse::<usize>().ok().and_then(|index| items.get(index));
            path.extend(["[", &part, "]"]);
        } else {
            at = at.and_then(|value| value.get(&part));
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&part);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "mcp-connectors.io/v1alpha1";

    fn problems(kind: &str, spec: &str) -> Vec<(String, String)> {
        let api = if kind == "Secret" { "v1" } else { API };
        let mut value: Value = serde_saphyr::from_str(&format!(
            "{{apiVersion: {api}, kind: {kind}, metadata: {{name: a, labels: {{a: b}}}}, {spec}}}"
        ))
        .unwrap();
        let found = Schemas::new().unwrap().problems(api, kind, &mut value);
        found.into_iter().map(|problem| (problem.field, problem.message)).collect()
    }

    fn one(field: &str, message: &str) -> Vec<(String, String)> {
        vec![(field.to_owned(), message.to_owned())]
    }

    #[test]
    fn a_good_document_has_no_problem_and_null_is_as_left_out() {
        let good = "spec: {hosts: [a.example.com], secret: {name: a, items: null}}, status: {unknown: 1}";
        assert_eq!(problems("CredentialSource", good), []);
        let gone = problems("CredentialSource", "spec: {hosts: [a], csi: {secretProviderClass: null}}");
        assert_eq!(gone, one("spec.csi.secretProviderClass", "Required value"));
    }

    #[test]
    fn every_kind_of_fault_has_the_api_servers_words() {
        let cases = [
            (
                "spec: {hosts: [a], secret: {name: 5}}",
                "spec.secret.name",
                "Invalid value: \"integer\": spec.secret.name in body must be of type string: \"integer\"",
            ),
            (
                "spec: {hosts: [], secret: {name: a}}",
                "spec.hosts",
                "Invalid value: 0: spec.hosts in body should have at least 1 items",
            ),
            ("spec: {hosts: [a, a], secret: {name: a}}", "spec.hosts[1]", "Duplicate value: \"a\""),
            (
                "spec: {hosts: [a]}",
                "spec",
                "exactly one source must be set: secret, secrets, vault, csi or workloadIdentity",
            ),
            (
                "metadata: {name: a, lables: {}}, spec: {hosts: [a], secret: {name: a}}",
                "metadata.lables",
                "unknown field \"metadata.lables\"",
            ),
        ];
        for (spec, field, message) in cases {
            let text = if spec.starts_with("metadata") {
                let mut value: Value = serde_saphyr::from_str(&format!("{{{spec}}}")).unwrap();
                let found = Schemas::new().unwrap().problems(API, "CredentialSource", &mut value);
                found.into_iter().map(|problem| (problem.field, problem.message)).collect()
            } else {
                problems("CredentialSource", spec)
            };
            assert_eq!(text, one(field, message), "{spec}");
        }
    }

    #[test]
    fn a_secrets_value_is_never_repeated() {
        for data in ["data: {token: hunter2!}", "stringData: {token: [hunter2]}", "data: {token: {hunter2: 1}}"] {
            let found = problems("Secret", data);
            assert_eq!(found.len(), 1, "{data}");
            assert!(!found[0].1.contains("hunter2"), "{found:?}");
        }
    }
}
