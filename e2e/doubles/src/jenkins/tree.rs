//! Selections of fields (`tree`) as Jenkins reads them (`org/kohsuke/stapler/export/TreePruner.java`): names, with what is
//! wanted below them in brackets, and a range of a list in braces. Jenkins ignores names that it doesn't know; the double
//! refuses them, or a name with a slip in it would never be noticed.

use serde_json::{Map, Value};

/// Names that beans of Jenkins' core and of the plugins that the connector knows export.
const KNOWN: &[&str] = &[
    "actions",
    "activeConfigurations",
    "age",
    "anonymous",
    "artifacts",
    "assignedLabels",
    "author",
    "blocked",
    "buildable",
    "buildNumber",
    "building",
    "builds",
    "busyExecutors",
    "cancelled",
    "cases",
    "causes",
    "changeSet",
    "changeSets",
    "child",
    "childReports",
    "choices",
    "className",
    "color",
    "commitId",
    "computer",
    "concurrentBuild",
    "defaultParameterValue",
    "description",
    "disabled",
    "discoverableItems",
    "displayName",
    "duration",
    "enclosingBlockNames",
    "errorDetails",
    "errorStackTrace",
    "estimatedDuration",
    "executable",
    "executions",
    "failCount",
    "fullName",
    "healthReport",
    "icon",
    "id",
    "idle",
    "inProgress",
    "input",
    "inQueue",
    "inQueueSince",
    "items",
    "jobName",
    "jobs",
    "lastBuild",
    "lastFailedBuild",
    "lastSuccessfulBuild",
    "lastUnsuccessfulBuild",
    "message",
    "mode",
    "msg",
    "name",
    "nextBuildNumber",
    "number",
    "numExecutors",
    "offline",
    "offlineCause",
    "offlineCauseReason",
    "ok",
    "parameterDefinitions",
    "parameters",
    "passCount",
    "phaseName",
    "property",
    "queueId",
    "quietingDown",
    "relativePath",
    "result",
    "runs",
    "score",
    "settled",
    "shortDescription",
    "skipCount",
    "skippedMessage",
    "status",
    "stuck",
    "subBuilds",
    "submitter",
    "suites",
    "task",
    "temporarilyOffline",
    "timestamp",
    "totalCount",
    "totalExecutors",
    "type",
    "url",
    "urlName",
    "userId",
    "value",
    "waitingForInput",
    "why",
];

struct Field {
    name: String,
    below: Vec<Self>,
    range: Option<(usize, usize)>,
}

/// What a selection leaves of a bean; nothing if the selection is wrong.
pub(super) fn select(tree: &str, bean: &Value) -> Option<Value> {
    let mut rest = tree;
    let fields = fields(&mut rest)?;
    rest.is_empty().then(|| prune(&fields, bean))
}

fn fields(rest: &mut &str) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    loop {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        if !KNOWN.contains(&name.as_str()) {
            return None;
        }
        *rest = &rest[end..];
        let mut below = Vec::new();
        if let Some(inner) = rest.strip_prefix('[') {
            *rest = inner;
            below = self::fields(rest)?;
            *rest = rest.strip_prefix(']')?;
        }
        let mut range = None;
        if let Some(inner) = rest.strip_prefix('{') {
            let (bounds, after) = inner.split_once('}')?;
            let (from, to) = bounds.split_once(',')?;
            range = Some((from.parse().ok()?, to.parse().ok()?));
            *rest = after;
        }
        fields.push(Field { name, below, range });
        match rest.strip_prefix(',') {
            Some(after) => *rest = after,
            None => return Some(fields),
        }
    }
}

fn prune(fields: &[Field], bean: &Value) -> Value {
    match bean {
        Value::Object(all) => {
            let mut kept = Map::new();
            // Jenkins always tells the class of a bean.
            if let Some(class) = all.get("_class") {
                kept.insert("_class".to_owned(), class.clone());
            }
            for field in fields {
                let Some(value) = all.get(&field.name) else { continue };
                let value = match (value, field.range) {
                    (Value::Array(list), Some((from, to))) => {
                        Value::Array(list.iter().take(to).skip(from).cloned().collect())
                    }
                    _ => value.clone(),
                };
                kept.insert(field.name.clone(), prune(&field.below, &value));
            }
            Value::Object(kept)
        }
        Value::Array(list) => Value::Array(list.iter().map(|one| prune(fields, one)).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::select;

    #[test]
    fn a_selection_keeps_what_it_names() {
        let bean = serde_json::json!({ "_class": "F", "name": "a", "jobs": [{ "name": "b", "color": "red" }, { "name": "c" }] });
        let kept = select("jobs[name]{1,2}", &bean).unwrap();
        assert_eq!(kept, serde_json::json!({ "_class": "F", "jobs": [{ "name": "c" }] }));
        for wrong in ["", "nmae", "jobs[name", "name]", "jobs{0}", "jobs[name],"] {
            assert_eq!(select(wrong, &bean), None, "{wrong}");
        }
    }
}
