//! Tells what a person changed from what the operator changes by itself, such as the image that comes with a new version.
//! The first is done at once. The second waits for its turn (`operator/rollout.rs`), and until then the pods and what they
//! read stay as they are: a pod that is started anew must not find a configuration that its image doesn't know.

use std::sync::Arc;

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ConfigMap},
    jiff::{SignedDuration, Timestamp},
};
use kube::{Api, ResourceExt, runtime::events::EventType};
use serde_json::json;
use tracing::warn;

use super::{
    apply::{self, is_owned},
    build::Resources,
    dereference::Dereferenced,
    difference,
    status::Computed,
    validate::ValidatedConnector,
};
use crate::{
    context::Context,
    events,
    rollout::{Candidate, Changed, Place, Progress, Turn},
    slim,
};
use api::{
    ANNOTATION_CONFIG_DIGEST, ConditionType, McpConnector, Reason,
    condition::{self, Finding},
};
use pod_api::config::{CONFIG_FILE, PLATFORM_CA_FILE, ServeConfig};

/// On the Deployment: digest of its pod template. Pods are replaced where it changes.
pub(crate) const ANNOTATION_TEMPLATE_DIGEST: &str = "mcp-connectors.io/template-digest";
/// On the Deployment: digest of what people wrote that it was made from.
pub(crate) const ANNOTATION_INPUTS_DIGEST: &str = "mcp-connectors.io/inputs-digest";
/// On the Deployment: when a change of the operator's own was rolled out to it, if its connector was Ready then.
pub(crate) const ANNOTATION_ROLLED_OUT_AT: &str = "mcp-connectors.io/rolled-out-at";

/// What would come of applying a Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// No pod is replaced.
    None,
    /// Pods are replaced because a person changed something, or there is none to be replaced.
    Asked,
    /// Pods are replaced, and no person asked for it.
    Own,
}

/// What is to be applied.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The Deployment as it is, where it has to stay so for now, and why it waits.
    pub held: Option<(Arc<Deployment>, Turn)>,
    /// When the roll-out that the Deployment remembers began.
    since: Option<Timestamp>,
    deadline: SignedDuration,
}

/// Digest of what people wrote that a connector's pods are made from. By generations and not by content, which another
/// version of the operator may read in another way.
fn inputs_digest(connector: &McpConnector, found: &Dereferenced, validated: &ValidatedConnector) -> String {
    let source = found.source.as_deref().map(|source| (source.uid(), source.metadata.generation));
    let mut inputs = json!({
        "connector": [connector.uid(), connector.metadata.generation],
        "source": source,
        "ca": validated.platform_ca.as_deref(),
        "restart": validated.restarted_at,
    });
    let config = &validated.config;
    let counter = found.shared_limit.source.as_deref();
    let further = [
        ("vault_ca", config.agent.as_ref().and_then(|agent| agent.ca_pem.as_ref()).map(|pem| json!(pem))),
        ("redis_ca", config.limits.shared.as_ref().and_then(|shared| shared.ca_pem.as_ref()).map(|pem| json!(pem))),
        ("redis_source", counter.map(|source| json!([source.uid(), source.metadata.generation]))),
    ];
    // Only those that there are, so that the digests of all others are those of the versions before.
    for (name, input) in further {
        if let (Some(inputs), Some(input)) = (inputs.as_object_mut(), input) {
            inputs.insert(name.to_owned(), input);
        }
    }
    difference::digest(&inputs)
}

fn template_digest(deployment: &Deployment) -> String {
    difference::digest(&json!(deployment.spec.as_ref().map(|spec| &spec.template)))
}

/// Whether no pod is wanted.
pub(super) fn wants_none(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(0)
}

fn change_of(desired: &Deployment, live: &Deployment) -> Change {
    let (wanted, found) = (desired.annotations(), live.annotations());
    let rolls = if let Some(digest) = found.get(ANNOTATION_TEMPLATE_DIGEST) {
        Some(digest) != wanted.get(ANNOTATION_TEMPLATE_DIGEST)
    } else {
        let template = |deployment: &Deployment| json!(deployment.spec.as_ref().map(|spec| &spec.template));
        !difference::is_covered(&template(desired), &template(live))
    };
    if !rolls {
        return Change::None;
    }
    let inputs = found.get(ANNOTATION_INPUTS_DIGEST);
    let is_asked = inputs.is_some_and(|inputs| Some(inputs) != wanted.get(ANNOTATION_INPUTS_DIGEST));
    if is_asked || wants_none(desired) || wants_none(live) {
        return Change::Asked;
    }
    Change::Own
}

/// Marks the Deployment with what it was made from, and decides whether it may be applied now. If not, what its pods read
/// is put back to what they read already.
///
/// # Errors
/// When what they read has to be read, and the API server fails.
pub async fn plan(
    context: &Context,
    connector: &McpConnector,
    found: &Dereferenced,
    validated: &ValidatedConnector,
    resources: &mut Resources,
    now: Timestamp,
) -> Result<Plan, apply::Error> {
    let caches = &context.caches;
    let (namespace, name) = (&validated.namespace, resources.deployment.name_any());
    let live = caches.deployments.get(namespace, &name).filter(|live| is_owned(live.as_ref(), validated));
    let template = template_digest(&resources.deployment);
    let marks = resources.deployment.annotations_mut();
    marks.insert(ANNOTATION_TEMPLATE_DIGEST.to_owned(), template);
    marks.insert(ANNOTATION_INPUTS_DIGEST.to_owned(), inputs_digest(connector, found, validated));

    let Some(live) = live else {
        return Ok(Plan { held: None, since: None, deadline: SignedDuration::ZERO });
    };
    let replicas = live.spec.as_ref().and_then(|spec| spec.replicas).and_then(|count| u32::try_from(count).ok());
    let deadline = context.settings.rollout.ready_timeout.saturating_mul(replicas.unwrap_or(1).max(1));
    let deadline = SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX);
    let before: Option<Timestamp> = live.annotations().get(ANNOTATION_ROLLED_OUT_AT).and_then(|time| time.parse().ok());
    let since = match change_of(&resources.deployment, &live) {
        // Who is to have no pods can't show that it gets through.
        Change::None if wants_none(&resources.deployment) => None,
        Change::None => before,
        Change::Asked => None,
        Change::Own => {
            let conditions = connector.status.iter().flat_map(|status| &status.conditions);
            let was_ready = conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True");
            let candidate = Candidate {
                uid: &validated.owner.uid,
                place: Place {
                    created: connector.metadata.creation_timestamp.as_ref().map(|time| time.0),
                    namespace: namespace.clone(),
                    name: validated.name.clone(),
                },
                was_ready,
                deadline,
            };
            let known = || caches.connectors.state().iter().filter_map(|connector| connector.uid()).collect();
            // Without the configuration that they were started with, pods can't be kept as they are.
            let config_map = caches.config_maps.get(namespace, &name);
            match (context.rollout.ask(&candidate, known, now), config_map) {
                (Turn::Now, _) | (_, None) => was_ready.then_some(now),
                (turn, Some(config_map)) => {
                    let mut held = hold(resources, &live, &config_map);
                    if held.is_err() {
                        let api = Api::<ConfigMap>::namespaced(context.client.clone(), namespace);
                        let whole = apply::bounded("get", "ConfigMap", &name, api.get(&name)).await?;
                        held = hold(resources, &live, &whole);
                    }
                    if held.is_ok() {
                        return Ok(Plan { held: Some((live, turn)), since: None, deadline });
                    }
                    // Somebody has changed what the pods were made with, and nobody has it any more.
                    was_ready.then_some(now)
                }
            }
        }
    };
    // In whole seconds, as it can be read back.
    let since = since.and_then(|since| Timestamp::from_second(since.as_second()).ok());
    if let Some(since) = since {
        resources.deployment.annotations_mut().insert(ANNOTATION_ROLLED_OUT_AT.to_owned(), since.to_string());
    }
    Ok(Plan { held: None, since, deadline })
}

/// What the pods were made with is not there: a file of a `ConfigMap` is known by its digest only, and is another one than
/// is wanted now, or the files are not those of the pods.
#[derive(Debug)]
struct NotKept;

/// Puts what the pods read back to what they were started with. The token keys, which they follow, stay new. Where that
/// can't be done, nothing is changed.
fn hold(resources: &mut Resources, live: &Deployment, config_map: &ConfigMap) -> Result<(), NotKept> {
    let mut data = resources.config_map.data.clone().unwrap_or_default();
    for file in [CONFIG_FILE, PLATFORM_CA_FILE] {
        match config_map.data.as_ref().and_then(|data| data.get(file)) {
            Some(kept) if slim::is_stand_in(kept) => {
                if data.get(file).map(|wanted| slim::as_kept(wanted)).as_ref() != Some(kept) {
                    return Err(NotKept);
                }
            }
            Some(text) => drop(data.insert(file.to_owned(), text.clone())),
            None => drop(data.remove(file)),
        }
    }
    let template = live.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    let digest = template.and_then(|metadata| metadata.annotations.as_ref()?.get(ANNOTATION_CONFIG_DIGEST));
    let config = data.get(CONFIG_FILE).map_or("", String::as_str);
    let found = ServeConfig::digest(config, data.get(PLATFORM_CA_FILE).map(String::as_str));
    if digest.is_some_and(|made_with| *made_with != found) {
        return Err(NotKept);
    }
    resources.config_map.data = Some(data);
    resources.config_digest = digest.cloned().unwrap_or_default();
    Ok(())
}

/// Says in the status that a connector waits, and follows one that had its turn. Whether it is worth looking again at the
/// poll interval, though nobody can be asked.
pub async fn follow(
    context: &Context,
    connector: &McpConnector,
    plan: &Plan,
    computed: &mut Computed,
    now: Timestamp,
) -> bool {
    if let Some((_, turn)) = &plan.held {
        tell_waiting(computed, *turn);
        return true;
    }
    let uid = connector.uid().unwrap_or_default();
    let is_ready = |finding: &Finding| finding.type_ == ConditionType::Ready && finding.status == Some(true);
    let is_ready = computed.findings.iter().any(is_ready);
    let conditions = connector.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let changed = Changed {
        since: plan.since,
        deadline: plan.deadline,
        is_ready,
        ready_changed: condition::find(conditions, ConditionType::Ready).map(|ready| ready.last_transition_time.0),
    };
    let progress = context.rollout.follow(&uid, changed, now);
    if progress == (Progress::Failed { first: true }) {
        let seconds = plan.deadline.as_secs();
        let image = &context.settings.connector_image;
        warn!(
            namespace = %connector.namespace().unwrap_or_default(),
            connector = %connector.name_any(),
            image,
            seconds,
            "a connector did not become Ready after it was rolled out"
        );
        let note = format!(
            "The connector did not become Ready within {seconds} s of being changed by the operator (image {image}). With \
             {} such connectors, the others are left as they are.",
            context.settings.rollout.max_failures
        );
        let regarding = kube::Resource::object_ref(connector, &());
        events::tell(&context.events, EventType::Warning, "RolloutFailed", note, &regarding).await;
    }
    progress == Progress::Running
}

/// What doesn't count anybody, so that it is written once.
pub(super) fn tell_waiting(computed: &mut Computed, turn: Turn) {
    if computed.findings.iter().any(|finding| finding.type_ == ConditionType::Reconciling) {
        return;
    }
    let (reason, message) = if turn == Turn::Stopped {
        (
            Reason::RolloutStopped,
            "The pods stay as they are, because other connectors did not become Ready when this version of the operator \
             changed them: see their Events (reason RolloutFailed). It goes on when they do.",
        )
    } else {
        (
            Reason::RolloutPending,
            "This version of the operator is to replace the pods, and does so with some connectors at a time; this one \
             waits for its turn. It goes on serving.",
        )
    };
    computed.findings.push(Finding::new(ConditionType::Reconciling, Some(true), reason, message));
}

#[cfg(test)]
mod tests;
