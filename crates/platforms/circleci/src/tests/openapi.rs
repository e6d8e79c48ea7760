//! What passes between the connector and the double, held against the OpenAPI document that CircleCI publishes for v2.
//! The document is not part of this repository; to run the test, fetch it and say where it is:
//!
//! ```sh
//! curl -o /tmp/circleci.json https://circleci.com/docs/api/v2/openapi.json
//! CIRCLECI_OPENAPI=/tmp/circleci.json cargo test --lib circleci::tests::openapi -- --ignored
//! ```

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    calls,
    double::{Double, Exchange},
    good, server,
    world::id,
};

/// What the connector uses and older copies of the document don't describe.
const NEWER: &[&str] = &["pipeline/run", "pipeline-definitions", "compile-config-with-defaults"];

struct Document(Value);

impl Document {
    /// The operation of an exchange, and the template of its path.
    fn operation(&self, one: &Exchange) -> Option<(&str, &Value)> {
        let path = one.path.strip_prefix("v2")?;
        let paths = self.0["paths"].as_object().unwrap();
        let fitting = paths.iter().filter(|(template, _)| fits(template, path));
        // A fixed segment says more than a placeholder.
        let best = fitting.min_by_key(|(template, _)| template.matches('{').count())?;
        Some((best.0, best.1.get(one.method.to_lowercase())?))
    }

    fn errors(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut schema = schema.clone();
        loosen(&mut schema);
        schema["components"] = self.0["components"].clone();
        loosen(&mut schema["components"]);
        let validator = jsonschema::options().build(&schema).unwrap();
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }
}

/// A template fits a path; a slug is one placeholder of three segments.
fn fits(template: &str, path: &str) -> bool {
    fn rest(template: &[&str], path: &[&str]) -> bool {
        match (template.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((&"{project-slug}", after)), Some(_)) => path.get(3..).is_some_and(|path| rest(after, path)),
            (Some((head, after)), Some((first, others))) => {
                (head.starts_with('{') || head == first) && rest(after, others)
            }
            _ => false,
        }
    }
    rest(&template.split('/').collect::<Vec<_>>(), &path.split('/').collect::<Vec<_>>())
}

/// OpenAPI 3.0 has words for null of its own.
fn loosen(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let nullable = ["nullable", "x-nullable"].iter().any(|word| map.get(*word) == Some(&json!(true)));
            if nullable && let Some(Value::String(kind)) = map.get("type").cloned() {
                map.insert("type".into(), json!([kind, "null"]));
            }
            map.values_mut().for_each(loosen);
        }
        Value::Array(list) => list.iter_mut().for_each(loosen),
        _ => {}
    }
}

#[test]
fn templates_fit_paths() {
    assert!(fits("/project/{project-slug}/{job-number}/tests", "/project/gh/acme/web/32/tests"));
    assert!(fits("/workflow/{id}/job", "/workflow/x/job") && !fits("/workflow/{id}", "/workflow/x/job"));
}

#[tokio::test]
#[ignore = "needs CIRCLECI_OPENAPI: a copy of https://circleci.com/docs/api/v2/openapi.json"]
#[allow(clippy::disallowed_methods, reason = "settings of a test")]
async fn requests_and_answers_are_those_of_the_published_document() {
    let path = std::env::var("CIRCLECI_OPENAPI").unwrap();
    let document = Document(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
    let (mut wrong, mut covered) = (Vec::new(), BTreeSet::new());
    for (tool, arguments) in calls() {
        if tool == "rollback_circleci_component" {
            continue;
        }
        let double = Double::start_server().await;
        double.change(|state| state.world.has_run_endpoint = false);
        let connector = server(&double);
        good(&connector, tool, arguments).await;
        assert_eq!(connector.probe().await.reason, "Healthy");
        if tool == "list_circleci_runs" {
            good(&connector, tool, json!({ "project_slug": "gh/acme/web", "mine": true })).await;
            let number = json!({ "project_slug": "gh/acme/web", "number": 5 });
            good(&connector, "get_circleci_pipeline_status", number).await;
            let config = json!({ "project_slug": "gh/acme/web", "branch": "main" });
            good(&connector, "validate_circleci_config", config).await;
            let jobs = json!({ "project_slug": "gh/acme/web", "workflow": "build", "branch": "main" });
            good(&connector, "get_circleci_insights", jobs).await;
            let jobs = json!({ "workflow_id": id('b', 1), "jobs": [id('c', 31)] });
            good(&connector, "rerun_circleci_workflow", jobs).await;
        }
        for one in double.seen().iter().filter(|one| one.path.starts_with("v2/")) {
            if NEWER.iter().any(|part| one.path.contains(part)) {
                continue;
            }
            let place = format!("{} {}", one.method, one.path);
            let Some((template, operation)) = document.operation(one) else {
                wrong.push(format!("{place} is not there"));
                continue;
            };
            covered.insert(format!("{} {template}", one.method));
            let declared: Vec<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "query")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            // Lists state a token for their next page, also where the document forgets to take it.
            let unknown =
                one.query.iter().filter(|(name, _)| name != "page-token" && !declared.contains(&name.as_str()));
            wrong.extend(unknown.map(|(name, _)| format!("{place}: {name} is no parameter")));
            if !one.body.is_null() {
                let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                wrong.extend(document.errors(schema, &one.body).into_iter().map(|error| format!("{place}: {error}")));
            }
            let schema = &operation["responses"][one.status.to_string()]["content"]["application/json"]["schema"];
            if schema.is_null() {
                wrong.push(format!("{place}: {} is no answer of it", one.status));
            }
            wrong.extend(
                document.errors(schema, &one.answer).into_iter().map(|error| format!("{place} answers {error}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let me = &document.0["paths"]["/me"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    assert!(!document.errors(me, &json!({ "login": 1 })).is_empty(), "the document is not understood");
    assert!(covered.len() >= 20, "{covered:?}");
}
