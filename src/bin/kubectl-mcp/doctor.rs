//! Judges an installation by what could be read of it. Pure.

use k8s_openapi::{
    api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{CustomResourceExt, ResourceExt};
use mcp_connectors::api::{CredentialSource, McpConnector, crd};
use serde::Serialize;

use crate::{cluster::Installation, status};

/// Begins the names of the operators' Leases.
const LEASE: &str = "mcp-connectors-operator";

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

/// Each operator needs a leader, which is one of its pods.
fn leaders(installation: &Installation) -> Vec<Finding> {
    let (operators, pods, leases) = match (&installation.operators, &installation.operator_pods, &installation.leases) {
        (Ok(operators), Ok(pods), Ok(leases)) => (operators, pods, leases),
        (_, Err(error), _) | (_, _, Err(error)) => return unread("leader", error),
        // Told already.
        (Err(_), ..) => return Vec::new(),
    };
    operators.iter().filter_map(ResourceExt::namespace).map(|namespace| leader(&namespace, pods, leases)).collect()
}

fn leader(namespace: &str, pods: &[Pod], leases: &[Lease]) -> Finding {
    let what = format!("leader in {namespace}");
    let mut own = leases
        .iter()
        .filter(|lease| lease.namespace().as_deref() == Some(namespace) && lease.name_any().starts_with(LEASE));
    let Some(lease) = own.next() else {
        return finding(what, Verdict::Wrong, "there is no Lease: the operator never led; its log says why");
    };
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    let lives = |pod: &Pod| pod.name_any() == holder && pod.namespace().as_deref() == Some(namespace);
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
            (|it| it.operator_pods = Ok(vec![]), "leader in system"),
            (|it| it.leases = Ok(vec![]), "leader in system"),
            (|it| it.connectors = Err("forbidden".into()), "connectors"),
        ];
        for (break_it, what) in breaks {
            let mut installation = sound();
            break_it(&mut installation);
            assert_eq!(wrong(&installation), [what]);
        }
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
