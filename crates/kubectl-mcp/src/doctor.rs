//! Judges an installation by what could be read of it. Pure.

use std::collections::BTreeSet;

use api::{CredentialSource, McpConnector, crd, scope::Scope};
use k8s_openapi::{
    api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{CustomResourceExt, ResourceExt};
use serde::Serialize;

use crate::{cluster::Installation, status};

/// Where an operator's Deployment names the namespaces that it looks after: an argument, and a variable that counts where
/// there is no such argument.
const WATCHED: (&str, &str) = ("--watch-namespace", "WATCH_NAMESPACE");
const IGNORED: (&str, &str) = ("--ignore-namespaces", "IGNORE_NAMESPACES");

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// As it should be.
    Well,
    /// It could not be checked, or may be meant so.
    Doubtful,
    /// Something has to be done.
    Wrong,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub what: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What is, and what to do.
    pub text: String,
}

fn finding(what: impl Into<String>, verdict: Verdict, text: impl Into<String>) -> Finding {
    Finding { what: what.into(), verdict, text: text.into() }
}

/// Makes every check, in the order in which one depends on the other.
pub fn judge(installation: &Installation) -> Vec<Finding> {
    let mut findings = definitions(installation.crds.as_deref());
    findings.extend(operators(installation.operators.as_deref()));
    findings.extend(rivals(installation.operators.as_deref().unwrap_or_default()));
    findings.extend(leaders(installation));
    findings.extend(connectors(installation.connectors.as_deref()));
    findings
}

fn unread(what: &str, error: &str) -> Vec<Finding> {
    vec![finding(what, Verdict::Doubtful, format!("could not be read: {error}"))]
}

fn definitions(found: Result<&[CustomResourceDefinition], &String>) -> Vec<Finding> {
    let found = match found {
        Ok(found) => found,
        Err(error) => return unread("CRDs", error),
    };
    let ours = crd::all().unwrap_or_default();
    [McpConnector::crd_name(), CredentialSource::crd_name()]
        .into_iter()
        .map(|name| {
            let what = format!("CRD {name}");
            let install = "install the chart mcp-connectors-crds, or: kubectl apply --server-side -k config/crd";
            let Some(live) = found.iter().find(|crd| crd.name_any() == name) else {
                return finding(what, Verdict::Wrong, format!("is missing: {install}"));
            };
            let conditions = live.status.iter().flat_map(|status| status.conditions.iter().flatten());
            if !conditions.into_iter().any(|c| c.type_ == "Established" && c.status == "True") {
                return finding(what, Verdict::Wrong, "is not established: kubectl describe crd says why");
            }
            let schema = |crd: &CustomResourceDefinition| {
                crd.spec.versions.iter().find_map(|version| version.schema.clone()?.open_api_v3_schema)
            };
            let same = ours.iter().find(|crd| crd.name_any() == name).is_some_and(|ours| schema(ours) == schema(live));
            if same {
                finding(what, Verdict::Well, "is established, in the version of this program")
            } else {
                let text = "is established, in another version than this program; Helm never upgrades CRDs by itself";
                finding(what, Verdict::Doubtful, format!("{text}: {install}"))
            }
        })
        .collect()
}

fn operators(found: Result<&[Deployment], &String>) -> Vec<Finding> {
    let found = match found {
        Ok(found) => found,
        Err(error) => return unread("operator", error),
    };
    if found.is_empty() {
        return vec![finding("operator", Verdict::Wrong, "is not installed: install the chart mcp-connectors")];
    }
    let judge = |deployment: &Deployment| {
        let (namespace, name) = (deployment.namespace().unwrap_or_default(), deployment.name_any());
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
        let text = format!("{ready} of {wanted} replicas are ready");
        let look = format!("{text}: kubectl -n {namespace} describe deployment {name}");
        let (verdict, text) = match ready {
            ready if ready >= wanted && wanted > 0 => (Verdict::Well, text),
            0 => (Verdict::Wrong, look),
            _ => (Verdict::Doubtful, look),
        };
        finding(format!("operator {namespace}/{name}"), verdict, text)
    };
    found.iter().map(judge).collect()
}

/// The namespaces that an operator looks after, by what its Deployment says.
///
/// # Errors
/// Why that is not known: it is said elsewhere, such as in a ConfigMap, or makes no sense.
fn scope_of(deployment: &Deployment) -> Result<Scope, String> {
    let watched = setting(deployment, WATCHED)?.pop().filter(|namespace| !namespace.is_empty());
    let ignored = setting(deployment, IGNORED)?;
    let ignored = ignored.iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty());
    let ignored: BTreeSet<String> = ignored.map(str::to_owned).collect();
    Scope::new(watched, ignored).map_err(|error| error.to_string())
}

/// The values of a setting: those of its argument wherever it stands, or else the one of its variable.
fn setting(deployment: &Deployment, (argument, variable): (&str, &str)) -> Result<Vec<String>, String> {
    let pods = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let containers = || pods.into_iter().flat_map(|pods| &pods.containers);
    let mut values = Vec::new();
    for container in containers() {
        let mut arguments = container.args.iter().flatten();
        while let Some(word) = arguments.next() {
            match word.strip_prefix(argument) {
                Some("") => values.extend(arguments.next().cloned()),
                Some(rest) => values.extend(rest.strip_prefix('=').map(str::to_owned)),
                None => {}
            }
        }
    }
    if !values.is_empty() {
        return Ok(values);
    }
    let mut variables = containers().flat_map(|container| container.env.iter().flatten());
    let Some(found) = variables.find(|found| found.name == variable) else { return Ok(values) };
    let field = found.value_from.as_ref().map(|from| from.field_ref.as_ref().map(|field| field.field_path.as_str()));
    match field {
        None => Ok(found.value.iter().cloned().collect()),
        Some(Some("metadata.namespace")) => Ok(deployment.namespace().into_iter().collect()),
        Some(_) => Err(format!("the Deployment does not say {variable} itself")),
    }
}

/// Operators that look after the same connectors undo each other's work, and neither notices. One that is scaled to zero looks
/// after none.
fn rivals(operators: &[Deployment]) -> Vec<Finding> {
    let works = |one: &&Deployment| one.spec.as_ref().and_then(|spec| spec.replicas) != Some(0);
    let operators: Vec<&Deployment> = operators.iter().filter(works).collect();
    let full_name = |one: &Deployment| format!("{}/{}", one.namespace().unwrap_or_default(), one.name_any());
    let together = |(one, other): (&Deployment, &Deployment)| {
        let shared = scope_of(one).ok()?.shared(&scope_of(other).ok()?)?;
        let text = format!(
            "both look after {shared}, and each undoes what the other does: uninstall one, or give each namespaces of \
             its own, by watchNamespace and ignoreNamespaces"
        );
        Some(finding(format!("operators {} and {}", full_name(one), full_name(other)), Verdict::Wrong, text))
    };
    let pairs = |(number, one)| operators.iter().skip(number + 1).map(move |other| (one, *other));
    operators.iter().copied().enumerate().flat_map(pairs).filter_map(together).collect()
}

/// Each operator needs a leader, which is one of its pods.
fn leaders(installation: &Installation) -> Vec<Finding> {
    let (operators, pods, leases) = match (&installation.operators, &installation.operator_pods, &installation.leases) {
        (Ok(operators), Ok(pods), Ok(leases)) => (operators, pods, leases),
        (_, Err(error), _) | (_, _, Err(error)) => return unread("leader", error),
        // Told already.
        (Err(_), ..) => return Vec::new(),
    };
    operators.iter().map(|operator| leader(operator, pods, leases)).collect()
}

fn leader(operator: &Deployment, pods: &[Pod], leases: &[Lease]) -> Finding {
    let namespace = operator.namespace().unwrap_or_default();
    let (what, namespace) = (format!("leader of {namespace}/{}", operator.name_any()), Some(namespace));
    let name = match scope_of(operator) {
        Ok(scope) => scope.lease_name(),
        Err(error) => return finding(what, Verdict::Doubtful, format!("could not be checked: {error}")),
    };
    let Some(lease) = leases.iter().find(|lease| lease.namespace() == namespace && lease.name_any() == name) else {
        return finding(what, Verdict::Wrong, "there is no Lease: the operator never led; its log says why");
    };
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    let lives = |pod: &Pod| pod.name_any() == holder && pod.namespace() == namespace;
    if pods.iter().any(lives) {
        finding(what, Verdict::Well, format!("is {holder}"))
    } else if holder.is_empty() {
        finding(what, Verdict::Wrong, "is nobody: the operator's log says why")
    } else {
        finding(what, Verdict::Wrong, format!("was {holder}, which is gone; another pod should lead within 15 s"))
    }
}

fn connectors(found: Result<&[McpConnector], &String>) -> Vec<Finding> {
    let found = match found {
        Ok(found) => found,
        Err(error) => return unread("connectors", error),
    };
    let mut findings: Vec<Finding> = found
        .iter()
        .map(status::summary)
        .filter_map(|summary| {
            let text = summary.cause()?;
            let verdict = if summary.is_lasting() { Verdict::Wrong } else { Verdict::Doubtful };
            Some(finding(format!("connector {}", summary.full_name()), verdict, text))
        })
        .collect();
    let well = found.len() - findings.len();
    findings.insert(0, finding("connectors", Verdict::Well, format!("{well} of {} are ready", found.len())));
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sound() -> Installation {
        let mut crds = crd::all().unwrap();
        for crd in &mut crds {
            let status = json!({"conditions": [{"type": "Established", "status": "True"}]});
            crd.status = Some(serde_json::from_value(status).unwrap());
        }
        let labels = json!({"name": "mcp-connectors", "namespace": "system"});
        Installation {
            crds: Ok(crds),
            operators: Ok(vec![
                serde_json::from_value(json!({
                    "metadata": labels, "spec": {"replicas": 2, "selector": {}, "template": {}},
                    "status": {"readyReplicas": 2},
                }))
                .unwrap(),
            ]),
            operator_pods: Ok(vec![
                serde_json::from_value(json!({"metadata": {"name": "mcp-connectors-a", "namespace": "system"}}))
                    .unwrap(),
            ]),
            leases: Ok(vec![
                serde_json::from_value(json!({
                    "metadata": {"name": "mcp-connectors-operator", "namespace": "system"},
                    "spec": {"holderIdentity": "mcp-connectors-a"},
                }))
                .unwrap(),
            ]),
            connectors: Ok(vec![]),
        }
    }

    fn wrong(installation: &Installation) -> Vec<String> {
        let all = judge(installation);
        all.into_iter().filter(|finding| finding.verdict != Verdict::Well).map(|finding| finding.what).collect()
    }

    #[test]
    fn a_sound_installation_has_nothing_wrong() {
        assert_eq!(wrong(&sound()), Vec::<String>::new());
        assert_eq!(judge(&sound()).len(), 5);
    }

    #[test]
    fn each_fault_is_found_and_only_that() {
        type Break = fn(&mut Installation);
        let breaks: [(Break, &str); 8] = [
            (|it| drop(it.crds.as_mut().unwrap().remove(0)), "CRD credentialsources.mcp-connectors.io"),
            (|it| it.crds.as_mut().unwrap()[1].status = None, "CRD mcpconnectors.mcp-connectors.io"),
            (|it| it.crds.as_mut().unwrap()[1].spec.versions[0].schema = None, "CRD mcpconnectors.mcp-connectors.io"),
            (|it| it.operators.as_mut().unwrap()[0].status = None, "operator system/mcp-connectors"),
            (|it| it.operators = Ok(vec![]), "operator"),
            (|it| it.operator_pods = Ok(vec![]), "leader of system/mcp-connectors"),
            (|it| it.leases = Ok(vec![]), "leader of system/mcp-connectors"),
            (|it| it.connectors = Err("forbidden".into()), "connectors"),
        ];
        for (break_it, what) in breaks {
            let mut installation = sound();
            break_it(&mut installation);
            assert_eq!(wrong(&installation), [what]);
        }
    }

    #[test]
    fn operators_that_look_after_the_same_namespace_are_told() {
        let operator = |name: &str, container: serde_json::Value| -> Deployment {
            let pods = json!({"metadata": {}, "spec": {"containers": [container]}});
            let spec = json!({"selector": {}, "template": pods});
            serde_json::from_value(json!({"metadata": {"namespace": "system", "name": name}, "spec": spec})).unwrap()
        };
        let all = operator("all", json!({"name": "operator", "env": [{"name": "WATCH_NAMESPACE", "value": ""}]}));
        let variable = |name, namespace| {
            operator(name, json!({"name": "operator", "env": [{"name": "WATCH_NAMESPACE", "value": namespace}]}))
        };
        let all_but = |name, namespaces| {
            operator(name, json!({"name": "operator", "env": [{"name": "IGNORE_NAMESPACES", "value": namespaces}]}))
        };
        let argument = operator("argument", json!({"name": "operator", "args": ["run", "--watch-namespace=agents"]}));
        let words = operator("words", json!({"name": "operator", "args": ["run", "--watch-namespace", "agents"]}));
        let from = |name, source: serde_json::Value| {
            operator(name, json!({"name": "operator", "env": [{"name": "WATCH_NAMESPACE", "valueFrom": source}]}))
        };
        let own = from("own", json!({"fieldRef": {"fieldPath": "metadata.namespace"}}));
        let elsewhere = from("elsewhere", json!({"configMapKeyRef": {"name": "settings", "key": "namespace"}}));
        let mut away = all.clone();
        away.spec.as_mut().unwrap().replicas = Some(0);
        let told = |operators: &[Deployment]| {
            let each = |finding: Finding| format!("{}: {}", finding.what, finding.text);
            rivals(operators).into_iter().map(each).collect::<String>()
        };

        assert_eq!(told(&[variable("one", "a"), variable("another", "b"), argument.clone()]), "");
        let both = told(&[variable("one", "a"), argument.clone(), variable("another", "agents")]);
        assert!(
            both.starts_with("operators system/argument and system/another: both look after the namespace agents, ")
        );
        let with_all = told(&[argument.clone(), all.clone()]);
        assert!(
            with_all.starts_with("operators system/argument and system/all: both look after the namespace agents, ")
        );
        assert!(told(&[words, argument.clone()]).contains("both look after the namespace agents, "));
        assert!(told(&[own.clone(), variable("one", "system")]).contains("both look after the namespace system, "));
        assert_eq!(told(&[own, argument.clone()]), "");
        assert!(told(&[all.clone(), all.clone()]).contains("both look after all namespaces, "));
        assert_eq!(told(&[all.clone(), away]), "", "one of them is scaled to zero");
        assert_eq!(told(&[all_but("rest", "b,agents"), argument.clone(), variable("another", "b")]), "");
        assert!(told(&[all_but("rest", "b"), argument.clone()]).contains("both look after the namespace agents, "));
        let ignoring = ["run", "--ignore-namespaces=b", "--ignore-namespaces", "agents,c"];
        let ignoring = operator("ignoring", json!({"name": "operator", "args": ignoring}));
        assert_eq!(told(&[ignoring.clone(), argument.clone(), variable("another", "b"), variable("third", "c")]), "");
        let rest = told(&[all_but("rest", "a"), ignoring]);
        assert!(rest.contains("both look after all namespaces but a, agents, b, c, "), "{rest}");
        let confused = ["run", "--ignore-namespaces=b", "--watch-namespace=a"];
        let confused = operator("confused", json!({"name": "operator", "args": confused}));
        assert!(leader(&confused, &[], &[]).text.contains("can't be set together"));
        assert_eq!(told(&[all, elsewhere.clone()]), "", "what it looks after stands elsewhere");
        assert_eq!(leader(&elsewhere, &[], &[]).verdict, Verdict::Doubtful);
    }

    #[test]
    fn a_connector_that_is_not_ready_is_named_with_its_cause() {
        let connector = |status: &str| {
            serde_json::from_value::<McpConnector>(json!({
                "apiVersion": "mcp-connectors.io/v1alpha1", "kind": "McpConnector",
                "metadata": {"name": "vault", "namespace": "agents", "generation": 1},
                "spec": {"platform": {}, "credentials": {"name": "reader"}},
                "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": status,
                    "reason": "Rejected", "message": "Put a new token into the Secret.",
                    "lastTransitionTime": "2026-11-01T12:00:00Z"}]},
            }))
            .unwrap()
        };
        let installation = Installation { connectors: Ok(vec![connector("True"), connector("False")]), ..sound() };
        let findings = judge(&installation);
        assert!(findings.iter().any(|finding| finding.text == "1 of 2 are ready"));
        let last = findings.last().unwrap();
        assert_eq!((last.what.as_str(), last.verdict), ("connector agents/vault", Verdict::Wrong));
        assert_eq!(last.text, "Rejected: Put a new token into the Secret.");
    }
}
