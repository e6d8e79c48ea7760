//! CRD output: what `mcp-connectors crd` prints and `crds/` holds. The generated schema is put into the form that the
//! API server knows, and checked against the bounds that installation tools have.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{CredentialSource, McpConnector};
use common::schema;

/// Size that a CRD stays under, as JSON. `kubectl apply` without `--server-side` fails above 262,144 bytes, because it
/// writes the whole object into an annotation.
pub const MAX_CRD_BYTES: usize = 200 * 1024;

/// `status.observedGeneration` of an object that no operator has seen yet.
pub const NOT_OBSERVED: i64 = -1;

/// Both CRDs, in the order in which they are installed.
///
/// # Errors
/// When a generated schema can't be put into the API server's form, which is a fault of this program.
pub fn all() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    [CredentialSource::crd(), McpConnector::crd()].iter().map(normalize).collect()
}

/// Integer formats that schemars writes and the API server doesn't know are taken out: the bounds beside them say more.
/// So are `nullable` and a `null` among the words of an enum: without them the API server drops a `null` that somebody
/// writes, and rules see the field as left out.
fn normalize(crd: &CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut value = serde_json::to_value(crd)?;
    schema::visit(&mut value, &mut |map| {
        schema::drop_unknown_format(map);
        if map.get("nullable").is_some_and(Value::is_boolean) {
            map.remove("nullable");
        }
        if let Some(words) = map.get_mut("enum").and_then(Value::as_array_mut) {
            words.retain(|word| !word.is_null());
        }
    });
    // The one default. Without it kstatus takes an object that no operator has seen yet for finished, and whoever waits
    // for it goes on too early. It is no part of what a person writes, so no tool sees a drift.
    for version in value.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(status) = version.pointer_mut("/schema/openAPIV3Schema/properties/status") {
            status["default"] = json!({ "observedGeneration": NOT_OBSERVED });
        }
    }
    serde_json::from_value(value)
}

/// Turns the schema of an enum of words into `enum: [...]`. The form that is derived carries descriptions of its own, and
/// those would take the place of the field's, which is where defaults and meanings are documented.
pub fn plain_enum(schema: &mut schemars::Schema) {
    let words: Vec<Value> = schema
        .get("oneOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .flat_map(|variant| match (variant.get("const"), variant.get("enum").and_then(Value::as_array)) {
            (Some(word), _) => vec![word.clone()],
            (None, Some(words)) => words.clone(),
            (None, None) => Vec::new(),
        })
        .collect();
    if !words.is_empty() {
        *schema = schemars::json_schema!({ "type": "string", "enum": words });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crd_is_small_enough_to_apply() {
        for crd in all().unwrap() {
            let size = serde_json::to_vec(&crd).unwrap().len();
            assert!(size < MAX_CRD_BYTES, "{} has {size} bytes", crd.spec.names.kind);
        }
    }

    #[test]
    fn no_default_but_that_of_the_status_and_no_unknown_field_in_a_schema() {
        for crd in all().unwrap() {
            let text = serde_json::to_string(&crd.spec.versions).unwrap();
            assert_eq!(text.matches("\"default\":").count(), 1, "{}", crd.spec.names.kind);
            assert!(text.contains("\"default\":{\"observedGeneration\":-1}"), "{}", crd.spec.names.kind);
            assert!(!text.contains("preserve-unknown-fields"), "{}", crd.spec.names.kind);
        }
    }

    #[test]
    fn a_field_of_an_enum_keeps_its_own_documentation() {
        let crd = serde_json::to_value(&all().unwrap()[1]).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mutations = &schema["properties"]["spec"]["properties"]["tools"]["properties"]["mutations"];
        assert_eq!(mutations["enum"], serde_json::json!(["ReadOnly", "Confirm"]));
        assert_eq!(mutations["type"], "string");
        assert!(mutations["description"].as_str().unwrap().contains("`ReadOnly` (the default)"), "{mutations}");
    }

    #[test]
    fn every_field_of_a_spec_is_documented() {
        fn undocumented(path: &str, schema: &Value, found: &mut Vec<String>) {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
            for (name, property) in properties {
                let path = format!("{path}.{name}");
                if property.get("description").is_none() {
                    found.push(path.clone());
                }
                undocumented(&path, property, found);
                if let Some(items) = property.get("items") {
                    undocumented(&path, items, found);
                }
            }
        }
        for crd in all().unwrap() {
            let crd = serde_json::to_value(&crd).unwrap();
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let mut found = Vec::new();
            undocumented("spec", &schema["properties"]["spec"], &mut found);
            undocumented("status", &schema["properties"]["status"], &mut found);
            // Types of Kubernetes that carry no description of their own.
            found.retain(|path| !path.contains("ffinity."));
            assert_eq!(found, Vec::<String>::new());
        }
    }
}
