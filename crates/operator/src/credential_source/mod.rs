//! The CredentialSource controller: who uses a source, and whether its users have what they need. It reads no Secret: what
//! it says comes from the conditions of the connectors.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::controller::Action,
};
use serde_json::json;
use tracing::warn;

use super::{
    context::{API_TIMEOUT, Context},
    events,
};
use api::{
    ConditionType, CredentialSource, CredentialSourceStatus, McpConnector, Reason, STATUS_FIELD_MANAGER,
    condition::{self, Finding},
    credential_source::ConnectorUse,
};

/// Connectors that a status names.
const MAX_NAMED: usize = 100;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The status can't be written.
    #[error("failed to write the status")]
    WriteStatus(#[source] Box<kube::Error>),
    /// The API server did not answer.
    #[error("the API server did not answer in time")]
    Timeout,
}

/// Tells who uses a source and how they do.
///
/// # Errors
/// When the Kubernetes API fails. It is tried again, ever more slowly.
pub async fn reconcile(
    source: Arc<DeserializeGuard<CredentialSource>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let started = std::time::Instant::now();
    let namespace = source.namespace().unwrap_or_default();
    let newest = context.caches.sources.get(&namespace, &source.name_any()).unwrap_or(source);
    let outcome = match &newest.0 {
        Ok(source) if source.metadata.deletion_timestamp.is_none() => reconcile_valid(source, &context).await,
        Ok(_) => Ok(()),
        Err(invalid) => {
            // The connectors that use it say so in their conditions.
            warn!(namespace, error = %invalid.error, "this CredentialSource does not fit its schema");
            Ok(())
        }
    };
    context.metrics.observe_reconcile("credentialsource", started.elapsed(), outcome.is_ok());
    // Nothing is asked on an interval: every change comes from a watch.
    outcome.map(|()| Action::await_change())
}

async fn reconcile_valid(source: &CredentialSource, context: &Context) -> Result<(), Error> {
    let (namespace, name) = (source.namespace().unwrap_or_default(), source.name_any());
    let users = context.caches.users.members(&context.caches.connectors, &namespace, &name);
    let users: Vec<&McpConnector> = users
        .iter()
        .filter_map(|connector| connector.0.as_ref().ok())
        .filter(|connector| connector.metadata.deletion_timestamp.is_none())
        .collect();

    let current = source.status.clone().unwrap_or_default();
    let (callers, counters): (Vec<&McpConnector>, Vec<&McpConnector>) =
        users.iter().partition(|connector| connector.spec.credentials.name == name);
    let findings = compute(&callers, counters.len());
    let generation = source.metadata.generation;
    let status = CredentialSourceStatus {
        observed_generation: generation,
        connector_count: Some(i32::try_from(users.len()).unwrap_or(i32::MAX)),
        connectors: users.iter().take(MAX_NAMED).map(|connector| use_of(connector, &name)).collect(),
        conditions: condition::merge(&current.conditions, &findings, generation, Timestamp::now()),
    };
    if status == current {
        return Ok(());
    }
    let patch = json!({
        "apiVersion": CredentialSource::api_version(&()), "kind": CredentialSource::kind(&()), "status": status,
    });
    let api = Api::<CredentialSource>::namespaced(context.client.clone(), &namespace);
    let parameters = PatchParams::apply(STATUS_FIELD_MANAGER).force();
    let patch = Patch::Apply(&patch);
    let request = api.patch_status(&name, &parameters, &patch);
    match tokio::time::timeout(API_TIMEOUT, request).await.map_err(|_| Error::Timeout)? {
        Ok(written) => {
            for transition in events::transitions(&current.conditions, &status.conditions) {
                events::publish(&context.events, transition, &source.object_ref(&())).await;
            }
            context.caches.sources.record(DeserializeGuard(Ok(written)));
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::WriteStatus(Box::new(error))),
    }
}

fn reason_of(connector: &McpConnector, type_: ConditionType) -> Option<String> {
    let conditions = &connector.status.as_ref()?.conditions;
    condition::find(conditions, type_).map(|condition| condition.reason.clone())
}

fn use_of(connector: &McpConnector, source: &str) -> ConnectorUse {
    // Conditions say nothing of the credentials of a shared rate limit.
    let reason = |type_| reason_of(connector, type_).filter(|_| connector.spec.credentials.name == source);
    ConnectorUse {
        name: connector.name_any(),
        loaded: reason(ConditionType::CredentialsLoaded),
        accepted: reason(ConditionType::CredentialsAccepted),
    }
}

/// Whether nothing of it runs, as somebody wants it: then there is nothing to wait for.
fn is_paused(connector: &McpConnector) -> bool {
    let replicas = connector.spec.workload.as_ref().and_then(|workload| workload.replicas);
    connector.spec.suspend == Some(true) || replicas == Some(0)
}

/// What there is to say of a source: `users` call their platform with it, and `counters` more sign in to the Redis of their
/// shared rate limit, of which nothing depends.
fn compute(users: &[&McpConnector], counters: usize) -> Vec<Finding> {
    let type_ = ConditionType::Ready;
    if users.is_empty() && counters > 0 {
        let message =
            format!("Used for the shared rate limit by {counters} connectors, whose replicas say how that goes.");
        return vec![Finding::new(type_, Some(true), Reason::Ready, message)];
    }
    let users: Vec<&McpConnector> = users.iter().copied().filter(|connector| !is_paused(connector)).collect();
    if users.is_empty() {
        // Not a fault: in a sync wave the source comes before the connectors.
        let message = "No connector of this namespace uses this source.";
        return vec![Finding::new(type_, Some(true), Reason::NotUsed, message)];
    }
    let state = |connector: &McpConnector, type_| {
        let conditions = connector.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        condition::find(conditions, type_).map(|condition| (condition.status.clone(), condition.message.clone()))
    };
    let (mut waiting, mut good) = (Vec::new(), 0_usize);
    for connector in &users {
        let states =
            [ConditionType::CredentialsLoaded, ConditionType::CredentialsAccepted].map(|type_| state(connector, type_));
        if let Some((_, message)) = states.iter().flatten().find(|(status, _)| status == "False") {
            let message = format!("McpConnector {}: {message}", connector.name_any());
            return vec![Finding::new(type_, Some(false), Reason::UserNotReady, message)];
        }
        if states.iter().all(|state| state.as_ref().is_some_and(|(status, _)| status == "True")) {
            good += 1;
        } else {
            waiting.push(connector.name_any());
        }
    }
    if waiting.is_empty() {
        let message = format!("{good} of {good} connectors run on these credentials, and their platforms accept them.");
        return vec![Finding::new(type_, Some(true), Reason::Ready, message)];
    }
    let names: Vec<&str> = waiting.iter().take(10).map(String::as_str).collect();
    let message =
        format!("{good} of {} connectors run on these credentials; not yet: {}", users.len(), names.join(", "));
    vec![
        Finding::new(type_, None, Reason::UserNotReady, message.clone()),
        Finding::new(ConditionType::Reconciling, Some(true), Reason::UserNotReady, message),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    fn connector(name: &str, loaded: &str, accepted: &str) -> McpConnector {
        let condition = |type_: ConditionType, status: &str| Condition {
            type_: type_.to_string(),
            status: status.to_owned(),
            reason: "AReason".to_owned(),
            message: format!("about {type_}"),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: Some(1),
        };
        let mut connector = McpConnector::new(name, api::platform::vault::example());
        connector.status = Some(api::McpConnectorStatus {
            conditions: vec![
                condition(ConditionType::CredentialsLoaded, loaded),
                condition(ConditionType::CredentialsAccepted, accepted),
            ],
            ..api::McpConnectorStatus::default()
        });
        connector
    }

    #[test]
    fn a_source_that_nobody_uses_is_ready() {
        let findings = compute(&[], 0);
        assert_eq!((findings.len(), findings[0].status, findings[0].reason.as_str()), (1, Some(true), "NotUsed"));
    }

    #[test]
    fn a_source_of_shared_rate_limits_alone_is_ready_and_says_what_it_is_for() {
        let findings = compute(&[], 2);
        assert_eq!((findings[0].status, findings[0].reason.as_str()), (Some(true), "Ready"));
        assert!(findings[0].message.contains("shared rate limit by 2 connectors"), "{}", findings[0].message);
    }

    #[test]
    fn one_user_without_credentials_makes_it_unready_and_is_named() {
        let (good, bad) = (connector("good", "True", "True"), connector("bad", "False", "Unknown"));
        let findings = compute(&[&good, &bad], 1);
        assert_eq!(findings[0].status, Some(false));
        assert_eq!(findings[0].message, "McpConnector bad: about CredentialsLoaded");
    }

    #[test]
    fn a_user_that_is_suspended_is_not_waited_for() {
        let (good, mut paused) = (connector("good", "True", "True"), connector("paused", "Unknown", "Unknown"));
        paused.spec.suspend = Some(true);
        assert_eq!(compute(&[&good, &paused], 0)[0].status, Some(true));
        assert_eq!(compute(&[&paused], 0)[0].reason, "NotUsed");
    }

    #[test]
    fn a_user_that_is_coming_up_makes_it_unknown() {
        let (good, new) = (connector("good", "True", "True"), connector("new", "True", "Unknown"));
        let findings = compute(&[&good, &new], 0);
        assert_eq!(findings[0].status, None);
        assert_eq!(findings[1].type_, ConditionType::Reconciling);
        assert!(findings[0].message.ends_with("not yet: new"), "{}", findings[0].message);
    }
}
