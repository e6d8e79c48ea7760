//! The McpConnector controller. It reads like its table of contents: dereference → validate → build → apply → observe →
//! status. Only the steps that need it see the Kubernetes API; validate, build and the computing of a status are pure.

pub mod apply;
pub mod build;
pub mod dereference;
pub(crate) mod difference;
pub mod mutations;
pub mod observe;
mod previous_issuer;
pub mod references;
pub mod requests;
pub mod rollout;
pub mod status;
#[cfg(test)]
pub(super) mod testing;
pub mod validate;

use std::{sync::Arc, time::Duration};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api, Resource, ResourceExt,
    api::{GetParams, Patch, PatchParams},
    core::{DeserializeGuard, PartialObjectMeta, Request, error_boundary::InvalidObject},
    runtime::controller::Action,
};
use serde_json::json;
use tracing::{info, warn};

use self::{
    status::{Computed, NotAccepted, Seen, compute, compute_not_accepted},
    validate::ValidatedConnector,
};
use super::{
    cache::Kind,
    context::{API_TIMEOUT, Context},
    events,
};
use api::{
    McpConnector, McpConnectorStatus, Reason, STATUS_FIELD_MANAGER, condition, owned_name, platform::Declaration,
};

/// While something is being brought up, it is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A whole reconcile takes no longer.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a reconcile failed. What a person must solve is no error: it is a condition.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A reference can't be followed.
    #[error("failed to follow the references of the spec")]
    Dereference(#[source] dereference::Error),
    /// Objects can't be built.
    #[error("failed to build the connector's objects")]
    Build(#[source] build::Error),
    /// An object can't be applied, for a reason that passes.
    #[error("failed to apply the connector's objects")]
    Apply(#[source] apply::Error),
    /// The status can't be written.
    #[error("failed to write the status")]
    WriteStatus(#[source] Box<kube::Error>),
    /// The API server did not answer.
    #[error("the API server did not answer in time")]
    Timeout,
}

/// Brings one connector into its form and tells how it does.
///
/// # Errors
/// When the Kubernetes API fails. It is tried again, ever more slowly.
pub async fn reconcile(connector: Arc<DeserializeGuard<McpConnector>>, context: Arc<Context>) -> Result<Action, Error> {
    let started = std::time::Instant::now();
    let uid = connector.uid().unwrap_or_default();
    let outcome = tokio::time::timeout(
        RECONCILE_TIMEOUT,
        Box::pin(async {
            // The scheduler's copy is older than what we wrote last.
            let namespace = connector.namespace().unwrap_or_default();
            let newest = context.caches.connectors.get(&namespace, &connector.name_any()).unwrap_or(connector);
            match &newest.0 {
                Ok(connector) => Box::pin(reconcile_valid(connector, &context)).await,
                Err(invalid) => reconcile_malformed(invalid, &context).await,
            }
        }),
    )
    .await
    .unwrap_or(Err(Error::Timeout));
    context.rollout.seen(&uid);
    context.metrics.observe_reconcile("mcpconnector", started.elapsed(), outcome.is_ok());
    outcome
}

async fn reconcile_valid(connector: &McpConnector, context: &Context) -> Result<Action, Error> {
    if connector.metadata.deletion_timestamp.is_some() {
        // Everything owned goes with it, by its owner references.
        return Ok(Action::await_change());
    }
    let namespace = connector.namespace().unwrap_or_default();
    let interval = context.settings.poll_interval;
    let (computed, next_look) = match Box::pin(converge(connector, &namespace, context)).await? {
        // In a moment there is more to say, and the first word needn't be taken back.
        Ok(seen) if seen.is_new && connector.status.is_none() => {
            return Ok(Action::requeue(LOOK_AGAIN.min(interval)));
        }
        // Nor does it say that a Deployment was just changed, which its controller will look at in a moment.
        Ok(seen) if seen.is_early => {
            return Ok(Action::requeue(LOOK_AGAIN.min(interval)));
        }
        // Nor does one late answer at the first look change what was told before.
        Ok(seen) if seen.is_tentative && is_told(connector) => {
            return Ok(Action::requeue(LOOK_AGAIN.min(interval)));
        }
        Ok(seen) => {
            let mut next_look = next_look(seen.has_ready_pods, seen.computed.is_moving || seen.has_asked, interval);
            if seen.is_rolling_out {
                next_look = next_look.min(interval);
            }
            (seen.computed, next_look)
        }
        Err(problem) => {
            context.rollout.leave(&connector.uid().unwrap_or_default());
            let platform = connector.spec.platform.declaration().map(Declaration::name);
            let current = connector.status.clone().unwrap_or_default();
            // Nothing tells when the API server would take what it has refused.
            let has_somebody_to_ask = problem.reason != Reason::ApplyFailed;
            let next_look = next_look(has_somebody_to_ask, !problem.lasting, interval);
            (compute_not_accepted(&current, platform, &problem), next_look)
        }
    };
    write_status(connector, computed, context).await?;
    Ok(Action::requeue(jittered(next_look)))
}

/// When a connector is looked at again, if no watch tells something before. Pods have to be asked; while none is there to
/// be asked, everything that could change is watched, but for what the references remember.
fn next_look(has_ready_pods: bool, is_moving: bool, interval: Duration) -> Duration {
    match (has_ready_pods, is_moving) {
        (false, _) => references::FOUND_FOR.max(interval),
        (true, true) => LOOK_AGAIN.min(interval),
        (true, false) => interval,
    }
}

/// A connector that was applied and looked at.
struct Converged {
    computed: Computed,
    /// Whether its Deployment was made just now.
    is_new: bool,
    /// Whether a pod was there to be asked.
    has_ready_pods: bool,
    /// Whether the pods were asked to do something, of which they may tell in a moment.
    has_asked: bool,
    /// Whether somebody who was asked for the first time did not answer, and nothing else has to be written.
    is_tentative: bool,
    /// Whether the controller of its Deployment hasn't looked at a change of a moment ago yet, which is all that there would
    /// be to say, and nothing else has to be written.
    is_early: bool,
    /// Whether it waits for its turn in a roll-out, or has to show that it gets through it.
    is_rolling_out: bool,
}

/// dereference → validate → build → apply → observe.
async fn converge(
    connector: &McpConnector,
    namespace: &str,
    context: &Context,
) -> Result<Result<Converged, NotAccepted>, Error> {
    let found = dereference::dereference(context, connector, namespace).await.map_err(Error::Dereference)?;
    let bundles = [&found.ca_bundle, &found.vault_ca_bundle, &found.shared_limit.ca_bundle];
    let room = context.references.room_for(bundles).await;
    let now = Timestamp::now();
    let requests = requests::read(connector, found.source.as_deref(), now);
    let validated = match validate::validate(connector, &found, &context.settings) {
        Ok(validated) => {
            let live = context.caches.config_maps.get(namespace, &owned_name(&validated.name));
            let token_keys = previous_issuer::keep(validated.token_keys.clone(), live.as_deref(), now);
            ValidatedConnector { restarted_at: requests.restarted_at, token_keys, ..validated }
        }
        Err(rejection) => {
            let lasting = rejection.reason != Reason::Starting;
            let mut message = rejection.message;
            // Whoever suspends a connector whose spec is refused may mean to stop it from using its credentials.
            if connector.spec.suspend == Some(true) {
                apply::stop(&context.client, &context.caches, connector, namespace).await.map_err(Error::Apply)?;
                let end = if message.ends_with('.') { "" } else { "." };
                message.push_str(end);
                message.push_str(" It is suspended, so its pods are stopped all the same.");
            }
            return Ok(Err(NotAccepted { reason: rejection.reason, message, lasting }));
        }
    };
    let mut resources = build::build(&validated, &context.settings).map_err(Error::Build)?;
    let plan = Box::pin(rollout::plan(context, connector, &found, &validated, &mut resources, now)).await;
    let plan = plan.map_err(Error::Apply)?;
    let held = plan.held.as_ref().map(|(deployment, _)| deployment);
    let apply::Applied { deployment, is_new } =
        match Box::pin(apply::apply(&context.client, &context.caches, &validated, &resources, held)).await {
            Ok(applied) => applied,
            Err(error @ apply::Error::NameTaken { .. }) => {
                return Ok(Err(NotAccepted { reason: error.reason(), message: error.to_string(), lasting: true }));
            }
            // The namespace is going, and the connector with it.
            Err(apply::Error::Api { source, .. }) if is_terminating(&source) => {
                let message = "The namespace is being deleted.".to_owned();
                return Ok(Err(NotAccepted { reason: Reason::ApplyFailed, message, lasting: true }));
            }
            // It passes only if somebody changes something: a quota, a policy, the spec.
            Err(error) if error.is_refusal() => {
                warn!(namespace, connector = connector.name_any(), error = %error, "the API server refused an object");
                return Ok(Err(NotAccepted { reason: error.reason(), message: error.to_string(), lasting: true }));
            }
            Err(error) => return Err(Error::Apply(error)),
        };
    let config_digest = resources.config_digest.clone();
    drop((resources, room));
    let (instance, regarding) = (&context.settings.instance, connector.object_ref(&()));
    let honoured = connector.status.as_ref().and_then(|status| status.requests.as_ref());
    // A Deployment that was made just now has nobody who could be asked, and no status yet to remember it in.
    let asked = if is_new {
        None
    } else {
        requests::honour(context, &validated, &deployment, &requests, honoured, &regarding).await
    };
    let observation = observe::observe(context, &validated, &deployment).await;
    mutations::publish(&context.client, instance, &context.mutations, &regarding, &observation).await;
    let mut computed = compute(Seen {
        connector: &validated,
        config_digest: &config_digest,
        deployment: &deployment,
        observation: &observation,
        known_revision: connector.status.as_ref().and_then(known_revision),
    });
    let is_rolling_out = rollout::follow(context, connector, &plan, &mut computed, now).await;
    let has_asked = asked.is_some();
    // One that is to have no pods is told of as that, whatever its controller knows.
    let is_early = observation.is_early && !rollout::wants_none(&deployment) && !has_asked;
    computed.status.requests = asked.or_else(|| honoured.cloned());
    Ok(Ok(Converged {
        computed,
        is_new,
        has_ready_pods: observation.has_ready_pods(),
        has_asked,
        is_tentative: observation.is_tentative && !has_asked,
        is_early,
        is_rolling_out,
    }))
}

/// Whether the status tells of the spec as it is now.
fn is_told(connector: &McpConnector) -> bool {
    connector.status.as_ref().is_some_and(|status| status.observed_generation == connector.metadata.generation)
}

fn is_terminating(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status)
        if status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == "NamespaceTerminating"))
}

async fn write_status(connector: &McpConnector, computed: Computed, context: &Context) -> Result<(), Error> {
    let current = connector.status.clone().unwrap_or_default();
    let conditions =
        condition::merge(&current.conditions, &computed.findings, connector.metadata.generation, Timestamp::now());
    let status =
        McpConnectorStatus { observed_generation: connector.metadata.generation, conditions, ..computed.status };
    if status == current {
        return Ok(());
    }
    let namespace = connector.namespace().unwrap_or_default();
    let patch = json!({
        "apiVersion": McpConnector::api_version(&()), "kind": McpConnector::kind(&()), "status": status,
    });
    if let Some(written) = patch_status::<McpConnector>(context, &namespace, &connector.name_any(), &patch).await? {
        for transition in events::transitions(&current.conditions, &status.conditions) {
            info!(
                namespace,
                connector = %connector.name_any(),
                condition = %transition.type_,
                status = %transition.status,
                reason = %transition.reason,
                message = %transition.message,
                "condition changed"
            );
            events::publish(&context.events, transition, &connector.object_ref(&())).await;
        }
        if let Some(revision) = rotated(&current, &status) {
            events::publish_rotation(&context.events, revision, &connector.object_ref(&())).await;
        }
        context.caches.connectors.record(DeserializeGuard(Ok(written)));
    }
    Ok(())
}

/// The revision of the credentials that a status tells.
fn known_revision(status: &McpConnectorStatus) -> Option<&str> {
    status.credentials.as_ref()?.revision.as_deref()
}

/// The revision of the credentials, if it is another one than before.
fn rotated<'a>(before: &McpConnectorStatus, after: &'a McpConnectorStatus) -> Option<&'a str> {
    let earlier = known_revision(before)?;
    known_revision(after).filter(|revision| *revision != earlier)
}

/// An object that the schema let through and that doesn't fit our types, as after a downgrade, gets an answer too.
async fn reconcile_malformed(invalid: &InvalidObject, context: &Context) -> Result<Action, Error> {
    let namespace = invalid.metadata.namespace.clone().unwrap_or_default();
    let name = invalid.metadata.name.clone().unwrap_or_default();
    warn!(namespace, connector = name, error = %invalid.error, "this McpConnector does not fit its schema");
    let problem = NotAccepted {
        reason: Reason::InvalidSpec,
        message: format!(
            "This version of the operator can't read the object: {}. Correct the spec, or install the operator and the \
             CRDs in the same version.",
            invalid.error
        ),
        lasting: true,
    };
    // It may be as large as the API server takes, and the answer to the write is the whole object once more.
    let _turn = context.references.reading.acquire().await;
    // The spec doesn't fit our types; the conditions may, and what they say already isn't written again.
    let url = McpConnector::url_path(&(), Some(&namespace));
    let request = Request::new(url).get(&name, &GetParams::default());
    let request = request.map_err(|error| Error::WriteStatus(Box::new(kube::Error::BuildRequest(error))))?;
    let read = tokio::time::timeout(API_TIMEOUT, context.client.request_text(request));
    let live = match read.await.map_err(|_| Error::Timeout)? {
        Ok(text) => references::status_of(&text).map_err(kube::Error::SerdeError),
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Action::await_change()),
        Err(error) => Err(error),
    };
    let live = live.map_err(|error| Error::WriteStatus(Box::new(error)))?;
    let current: Vec<Condition> = live
        .get("conditions")
        .and_then(|conditions| serde_json::from_value(conditions.clone()).ok())
        .unwrap_or_default();
    let computed = compute_not_accepted(&McpConnectorStatus::default(), None, &problem);
    let generation = invalid.metadata.generation;
    let conditions = condition::merge(&current, &computed.findings, generation, Timestamp::now());
    if conditions != current {
        let status = McpConnectorStatus { observed_generation: generation, conditions, ..computed.status };
        let mut patch = json!({
            "apiVersion": McpConnector::api_version(&()), "kind": McpConnector::kind(&()), "status": status,
        });
        // Without it, every annotation would ask once more for what was done.
        if let (Some(requests), Some(status)) = (live.get("requests"), patch.get_mut("status")) {
            status["requests"] = requests.clone();
        }
        patch_status::<PartialObjectMeta<McpConnector>>(context, &namespace, &name, &patch).await?;
    }
    // Nothing but a new object can change what was found out.
    Ok(Action::await_change())
}

/// Patches a status; nothing if the object is gone.
async fn patch_status<K: Kind>(
    context: &Context,
    namespace: &str,
    name: &str,
    patch: &serde_json::Value,
) -> Result<Option<K>, Error> {
    let api = Api::<K>::namespaced(context.client.clone(), namespace);
    let parameters = PatchParams::apply(STATUS_FIELD_MANAGER).force();
    let patch = Patch::Apply(patch);
    let _turn = context.status_writes.acquire().await;
    let request = api.patch_status(name, &parameters, &patch);
    match tokio::time::timeout(API_TIMEOUT, request).await.map_err(|_| Error::Timeout)? {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(Error::WriteStatus(Box::new(error))),
    }
}

/// Up to a fifth shorter, so that connectors don't march in step.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::random_range(0.8..=1.0))
}

#[cfg(test)]
mod tests;
