//! What is shown of connectors: a line each, or one as a tree from its source to its platform. Pure.

use std::fmt::Write as _;

use api::{ConditionType, McpConnector, condition, owned_name};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    cluster::Surroundings,
    output::{self, Mark},
};

/// A connector in a line.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    namespace: String,
    name: String,
    /// `True`, `False` or `Unknown`.
    ready: String,
    reason: String,
    message: String,
    platform: String,
    health: String,
    credentials: String,
    replicas: String,
    tools: Option<i32>,
    url: Option<String>,
}

impl Summary {
    /// Namespace and name.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Why it isn't ready, if it isn't.
    pub fn cause(&self) -> Option<String> {
        (self.ready != "True").then(|| format!("{}: {}", self.reason, self.message))
    }

    /// Whether that is more than something on its way.
    pub fn is_lasting(&self) -> bool {
        self.ready == "False"
    }
}

/// A node of the tree.
#[derive(Serialize, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is: kind and name.
    pub what: String,
    /// How it does.
    pub mark: Mark,
    /// In words; the cause where it does badly.
    pub text: String,
    /// What is below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Self>,
}

impl Node {
    fn leaf(what: String, mark: Mark, text: impl Into<String>) -> Self {
        Self { what, mark, text: text.into(), children: Vec::new() }
    }
}

/// A connector in a line. What is said of an older generation is as good as unknown.
pub fn summary(connector: &McpConnector) -> Summary {
    let status = connector.status.clone().unwrap_or_default();
    let is_current = status.observed_generation == connector.metadata.generation;
    let find = |type_| condition::find(&status.conditions, type_);
    let reason = |type_| find(type_).map_or_else(|| "-".to_owned(), |condition| condition.reason.clone());
    let (ready, why, message) = match find(ConditionType::Ready) {
        Some(ready) if is_current => (ready.status.clone(), ready.reason.clone(), ready.message.clone()),
        _ => ("Unknown".to_owned(), "-".to_owned(), "The operator has not looked at this generation yet.".to_owned()),
    };
    let replicas = [status.ready_replicas, status.replicas].map(|number| number.unwrap_or_default().to_string());
    Summary {
        namespace: connector.namespace().unwrap_or_default(),
        name: connector.name_any(),
        ready,
        reason: why,
        message,
        platform: status.platform.as_ref().and_then(|platform| platform.type_.clone()).unwrap_or_else(|| "-".into()),
        health: reason(ConditionType::PlatformHealthy),
        credentials: reason(ConditionType::CredentialsAccepted),
        replicas: replicas.join("/"),
        tools: status.tools.as_ref().map(|tools| tools.count),
        url: status.url,
    }
}

/// The lines as a table, with the cause of each that isn't ready below it.
pub fn table(summaries: &[Summary], with_namespace: bool) -> String {
    if summaries.is_empty() {
        return "There are no McpConnectors here; -A shows those of all namespaces.\n".to_owned();
    }
    let mut head = vec!["NAME", "READY", "REASON", "PLATFORM", "HEALTH", "CREDENTIALS", "REPLICAS", "TOOLS"];
    if with_namespace {
        head.insert(0, "NAMESPACE");
    }
    let rows = summaries.iter().map(|summary| {
        let tools = summary.tools.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let mut row = vec![
            (summary.name.clone(), None),
            (summary.ready.clone(), Some(mark_of(&summary.ready))),
            (summary.reason.clone(), None),
            (summary.platform.clone(), None),
            (summary.health.clone(), None),
            (summary.credentials.clone(), None),
            (summary.replicas.clone(), None),
            (tools, None),
        ];
        if with_namespace {
            row.insert(0, (summary.namespace.clone(), None));
        }
        row
    });
    let mut text = output::table(&head, &rows.collect::<Vec<_>>());
    for summary in summaries.iter().filter(|summary| summary.ready != "True") {
        let mark = output::paint(mark_of(&summary.ready), &summary.ready);
        let _ = writeln!(text, "\n{}/{} {mark}: {}", summary.namespace, summary.name, summary.message);
    }
    text
}

fn mark_of(status: &str) -> Mark {
    match status {
        "True" => Mark::Good,
        "False" => Mark::Bad,
        _ => Mark::Unknown,
    }
}

/// A connector with everything that it depends on and that depends on it.
pub fn tree(found: &Surroundings) -> Node {
    let summary = summary(&found.connector);
    let status = found.connector.status.clone().unwrap_or_default();
    let by_type = |type_: ConditionType| {
        condition::find(&status.conditions, type_)
            .map_or_else(|| Node::leaf(type_.to_string(), Mark::Unknown, "not told yet"), of_condition)
    };
    let credentials = by_type(ConditionType::CredentialsAccepted);
    let platform = format!("{} {}", summary.platform, status.platform.and_then(|of| of.version).unwrap_or_default());
    let children = vec![
        by_type(ConditionType::Accepted),
        Node { children: vec![by_type(ConditionType::CredentialsLoaded)], ..source(found) },
        Node { children: found.pods.iter().map(pod).collect(), ..deployment(found) },
        Node { what: "Endpoint".into(), ..by_type(ConditionType::EndpointReady) },
        Node {
            what: format!("Platform {}", platform.trim()),
            children: vec![credentials],
            ..by_type(ConditionType::PlatformHealthy)
        },
    ];
    Node {
        what: format!("McpConnector {}/{}", summary.namespace, summary.name),
        mark: mark_of(&summary.ready),
        text: format!("{}: {}", summary.reason, summary.message),
        children,
    }
}

fn of_condition(condition: &Condition) -> Node {
    let text = format!("{}: {}", condition.reason, condition.message);
    Node::leaf(condition.type_.clone(), mark_of(&condition.status), text)
}

fn source(found: &Surroundings) -> Node {
    let name = &found.connector.spec.credentials.name;
    let what = format!("CredentialSource {name}");
    let Some(source) = &found.source else {
        return Node::leaf(what, Mark::Bad, "does not exist in this namespace");
    };
    let conditions = source.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    match condition::find(conditions, ConditionType::Ready) {
        Some(ready) => Node { what, ..of_condition(ready) },
        None => Node::leaf(what, Mark::Unknown, "not told yet"),
    }
}

fn deployment(found: &Surroundings) -> Node {
    let what = format!("Deployment {}", owned_name(&found.connector.name_any()));
    let Some(deployment) = &found.deployment else {
        return Node::leaf(what, Mark::Bad, "does not exist; is the operator running? kubectl mcp doctor");
    };
    let (ready, wanted) = replicas(deployment);
    let image = deployment.spec.iter().flat_map(|spec| spec.template.spec.iter());
    let image = image.flat_map(|spec| &spec.containers).find_map(|container| container.image.clone());
    let mark = if wanted == 0 {
        Mark::Unknown
    } else if ready >= wanted {
        Mark::Good
    } else {
        Mark::Bad
    };
    Node::leaf(what, mark, format!("{ready} of {wanted} replicas are ready; image {}", image.unwrap_or_default()))
}

fn replicas(deployment: &Deployment) -> (i32, i32) {
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
    (ready, deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1))
}

fn pod(pod: &Pod) -> Node {
    let what = format!("Pod {}", pod.name_any());
    if pod.metadata.deletion_timestamp.is_some() {
        return Node::leaf(what, Mark::Unknown, "is being deleted");
    }
    let status = pod.status.clone().unwrap_or_default();
    let is_ready = |condition: &&_| -> bool {
        let condition: &k8s_openapi::api::core::v1::PodCondition = condition;
        condition.type_ == "Ready" && condition.status == "True"
    };
    let containers = status.container_statuses.unwrap_or_default();
    let restarts: i32 = containers.iter().map(|container| container.restart_count).sum();
    let restarts = if restarts == 0 { String::new() } else { format!(", {restarts} restarts") };
    if status.conditions.iter().flatten().any(|condition| is_ready(&condition)) {
        return Node::leaf(what, Mark::Good, format!("ready{restarts}"));
    }
    let waiting = containers
        .iter()
        .find_map(|container| container.state.as_ref()?.waiting.as_ref())
        .and_then(|waiting| waiting.reason.clone());
    let unschedulable = status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    let why = waiting.or_else(|| unschedulable.and_then(|condition| condition.message.clone()));
    let phase = status.phase.unwrap_or_else(|| "Unknown".to_owned());
    Node::leaf(what, Mark::Bad, format!("not ready: {}{restarts}", why.unwrap_or(phase)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As it is printed where no colours are wanted.
    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn connector(ready: &str, generation: i64) -> McpConnector {
        serde_json::from_value(json!({
            "apiVersion": "mcp-connectors.io/v1alpha1", "kind": "McpConnector",
            "metadata": {"name": "tresor", "namespace": "team", "generation": generation},
            "spec": {"platform": {"vault": {"url": "https://vault.example.com"}}, "credentials": {"name": "reader"}},
            "status": {
                "observedGeneration": 2, "replicas": 2, "readyReplicas": 1, "platform": {"type": "vault", "version": "1.21"},
                "tools": {"count": 14, "digest": "x"},
                "conditions": [
                    {"type": "Ready", "status": ready, "reason": "Sealed", "message": "Vault is sealed.",
                     "lastTransitionTime": "2026-11-01T12:00:00Z"},
                    {"type": "PlatformHealthy", "status": "False", "reason": "Sealed", "message": "Vault is sealed.",
                     "lastTransitionTime": "2026-11-01T12:00:00Z"},
                ],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_table_ends_with_the_causes() {
        let text = plain(&table(&[summary(&connector("False", 2)), summary(&connector("True", 2))], true));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAMESPACE  NAME    READY  REASON  PLATFORM  HEALTH  CREDENTIALS  REPLICAS  TOOLS");
        assert_eq!(lines[1], "team       tresor  False  Sealed  vault     Sealed  -            1/2       14");
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[4], "team/tresor False: Vault is sealed.");
    }

    #[test]
    fn an_older_generation_says_nothing() {
        let summary = summary(&connector("True", 3));
        assert_eq!((summary.ready.as_str(), summary.reason.as_str()), ("Unknown", "-"));
    }

    #[test]
    fn the_tree_shows_causes_down_to_the_pods() {
        let pod = |name: &str, status: serde_json::Value| {
            serde_json::from_value::<Pod>(json!({"metadata": {"name": name}, "status": status})).unwrap()
        };
        let well = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let ill = json!({"phase": "Pending", "containerStatuses": [
            {"name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 3,
             "state": {"waiting": {"reason": "ImagePullBackOff"}}}]});
        let found = Surroundings {
            connector: connector("False", 2),
            source: None,
            deployment: Some(
                serde_json::from_value(json!({
                    "metadata": {"name": "mcp-tresor"}, "spec": {"replicas": 2, "selector": {}, "template": {}},
                    "status": {"readyReplicas": 1},
                }))
                .unwrap(),
            ),
            pods: vec![pod("a", well), pod("b", ill)],
        };
        let tree = tree(&found);
        assert_eq!((tree.mark, tree.text.as_str()), (Mark::Bad, "Sealed: Vault is sealed."));
        let marks: Vec<(&str, Mark)> = tree.children.iter().map(|node| (node.what.as_str(), node.mark)).collect();
        assert_eq!(
            marks,
            [
                ("Accepted", Mark::Unknown),
                ("CredentialSource reader", Mark::Bad),
                ("Deployment mcp-tresor", Mark::Bad),
                ("Endpoint", Mark::Unknown),
                ("Platform vault 1.21", Mark::Bad),
            ]
        );
        let pods: Vec<&str> = tree.children[2].children.iter().map(|node| node.text.as_str()).collect();
        assert_eq!(pods, ["ready", "not ready: ImagePullBackOff, 3 restarts"]);
        let text = plain(&output::tree(&tree));
        assert!(text.contains("│  ├─ Pod a: ready\n") && text.contains("│  └─ Pod b: not ready"), "{text}");
    }
}
