//! The status step: what was found out becomes conditions and fields, and is written only where something changed.
//!
//! `compute` is pure. Its rules: every condition is about one thing; replicas that disagree are counted and the worst
//! decides; `Ready` is the first cause in the order in which a call travels; nothing that changes at rest (times,
//! latencies, restart counts, a kubelet's alternating words) gets into a message.

mod pods;

use std::collections::BTreeMap;

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Condition};

use self::pods::{awaited_volume, trouble_of};
use super::{
    build::selector_labels,
    observe::{Handshake, Observation, Replica, is_unobserved},
    validate::{ValidatedConnector, idle_mutations},
};
use api::{
    self, ConditionType, McpConnectorStatus, Reason,
    condition::Finding,
    connector::{Authentication, CredentialsStatus, Outage, PlatformStatus, ToolsStatus},
    platform,
};
use pod_api::{
    agent::AgentConfig,
    report::{CredentialVerdict, HealthStatus, ProbeReport},
    status::{ReplicaStatus, Supply, SupplyState},
};

/// Characters of a text from a pod that get into the status.
const MAX_FOREIGN_TEXT: usize = 512;

/// A connector that was accepted and applied, and what was seen of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The connector.
    pub connector: &'a ValidatedConnector,
    /// Digest of the configuration that every replica should run with.
    pub config_digest: &'a str,
    /// The Deployment after it was applied.
    pub deployment: &'a Deployment,
    /// Its pods and the endpoint.
    pub observation: &'a Observation,
    /// The revision of the credentials that its status told before.
    pub known_revision: Option<&'a str>,
}

/// A connector that was not accepted, or could not be applied.
#[derive(Clone, Debug)]
pub struct NotAccepted {
    /// Why.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether only a person can solve it. Otherwise it passes by itself.
    pub lasting: bool,
}

/// A status without its conditions, and what was found out about those.
#[derive(Clone, Debug, PartialEq)]
pub struct Computed {
    /// Everything but the conditions.
    pub status: McpConnectorStatus,
    /// The conditions, in the order in which they are shown.
    pub findings: Vec<Finding>,
    /// Whether something is being brought up, so that it is worth looking again soon.
    pub is_moving: bool,
}

/// The status of a connector that was not accepted. What was known of its pods stays as it was: they go on as they are.
pub fn compute_not_accepted(
    current: &McpConnectorStatus,
    platform: Option<&'static str>,
    problem: &NotAccepted,
) -> Computed {
    let status = if problem.lasting { Some(false) } else { None };
    let type_ = ConditionType::Accepted;
    let mut findings = vec![
        Finding::new(ConditionType::Ready, status, problem.reason, problem.message.clone()),
        Finding::new(type_, status, problem.reason, problem.message.clone()),
    ];
    for type_ in [
        ConditionType::Available,
        ConditionType::EndpointReady,
        ConditionType::CredentialsLoaded,
        ConditionType::CredentialsAccepted,
        ConditionType::PlatformHealthy,
    ] {
        let message = "Not looked at while the connector is not accepted; what runs already goes on as it was.";
        findings.push(Finding::new(type_, None, Reason::Unknown, message));
    }
    let progress = if problem.lasting { ConditionType::Stalled } else { ConditionType::Reconciling };
    findings.push(Finding::new(progress, Some(true), problem.reason, problem.message.clone()));
    let platform = platform
        .map(|name| PlatformStatus { type_: Some(name.to_owned()), ..current.platform.clone().unwrap_or_default() });
    Computed {
        status: McpConnectorStatus { conditions: Vec::new(), platform, ..current.clone() },
        findings,
        is_moving: !problem.lasting,
    }
}

/// The status of a connector that was accepted and applied.
pub fn compute(seen: Seen<'_>) -> Computed {
    let words = ["The spec is valid and its references resolve."].into_iter();
    let words: Vec<&str> = words.chain(idle_mutations(&seen.connector.config)).collect();
    let accepted = Finding::new(ConditionType::Accepted, Some(true), Reason::Accepted, words.join(" "));
    let available = available(seen);
    let endpoint = endpoint_ready(seen, &available);
    let reports = Reports::of(seen);
    let loaded = credentials_loaded(&reports, &available);
    let (credentials, healthy) = (credentials_accepted(&reports), platform_healthy(seen.connector, &reports));

    let domain = [accepted, available, endpoint, loaded, credentials, healthy];
    let ready = ready(&domain, seen.connector.outage);
    let is_moving = ready.status.is_none();
    let mut findings = vec![ready.clone()];
    findings.extend(domain);
    if is_moving {
        findings.push(Finding { type_: ConditionType::Reconciling, status: Some(true), ..ready });
    }
    Computed { status: fields(seen, &reports), findings, is_moving }
}

/// The first lasting cause in the order in which a call travels; else the first that is being brought up.
fn ready(domain: &[Finding], outage: Outage) -> Finding {
    let is_down = |finding: &Finding| finding.type_ == ConditionType::PlatformHealthy && finding.status == Some(false);
    let platform_down = domain.iter().any(is_down);
    let counts = |finding: &&Finding| match (outage, finding.type_) {
        (Outage::Report, ConditionType::PlatformHealthy) => finding.status.is_none(),
        // With the platform down nobody can say whether it accepts the credentials.
        (Outage::Report, ConditionType::CredentialsAccepted) => !(platform_down && finding.status.is_none()),
        _ => true,
    };
    let cause = domain
        .iter()
        .filter(counts)
        .find(|finding| finding.status == Some(false))
        .or_else(|| domain.iter().filter(counts).find(|finding| finding.status.is_none()));
    match cause {
        Some(finding) => Finding { type_: ConditionType::Ready, ..finding.clone() },
        None => Finding::new(
            ConditionType::Ready,
            Some(true),
            Reason::Ready,
            if platform_down {
                "The endpoint answers. The platform is down, which spec.probe.outage: Report leaves to PlatformHealthy."
            } else {
                "An agent that calls now can expect an answer."
            },
        ),
    }
}

fn available(seen: Seen<'_>) -> Finding {
    let type_ = ConditionType::Available;
    let no = |reason, message: String| Finding::new(type_, Some(false), reason, message);
    let starting = |message: String| Finding::new(type_, None, Reason::Starting, message);
    if seen.connector.suspended {
        return no(Reason::Suspended, "spec.suspend is true: no pod runs. Set it to false to start them again.".into());
    }
    let spec = seen.deployment.spec.as_ref();
    let status = seen.deployment.status.clone().unwrap_or_default();
    let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    if wanted == 0 {
        return no(Reason::ScaledToZero, "The Deployment has 0 replicas; scale it up to serve.".into());
    }
    if is_unobserved(seen.deployment) {
        return starting("The Deployment was just changed.".into());
    }
    let condition = |name: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == name);
    if condition("Available").is_some_and(|condition| condition.status == "True") {
        return Finding::new(type_, Some(true), Reason::Available, "The Deployment has its minimum of ready replicas.");
    }
    if let Some(failure) = condition("ReplicaFailure").filter(|condition| condition.status == "True") {
        let words = failure.message.as_deref().unwrap_or("no message");
        return no(Reason::PodsRefused, format!("The API server refuses to make pods: {}", foreign(words)));
    }
    if let Some((reason, message)) = seen.observation.pods.iter().find_map(|pod| trouble_of(pod)) {
        return no(reason, message);
    }
    let is_late = condition("Progressing").is_some_and(|condition| condition.status == "False");
    if let Some(message) = awaited_volume(seen) {
        return if is_late { no(Reason::VolumeNotMounted, message) } else { starting(message) };
    }
    if is_late {
        return no(
            Reason::ProgressDeadlineExceeded,
            format!(
                "No replica became ready within {} s; look at the pods' events and logs: kubectl describe pod -l {}",
                spec.and_then(|spec| spec.progress_deadline_seconds).unwrap_or_default(),
                selector_text(&seen.connector.name),
            ),
        );
    }
    starting(format!("{} of {wanted} replicas are ready.", status.ready_replicas.unwrap_or_default()))
}

fn endpoint_ready(seen: Seen<'_>, available: &Finding) -> Finding {
    let type_ = ConditionType::EndpointReady;
    let replicas = &seen.observation.replicas;
    let count = replicas.len();
    let Some(handshake) = &seen.observation.handshake else {
        // Nobody can be asked: as bad as the reason for it.
        return Finding::new(type_, available.status.filter(|ok| !ok), Reason::NoReplicas, "No replica is ready.");
    };
    if let Handshake::Failed(problem) = handshake {
        return Finding::new(
            type_,
            Some(false),
            Reason::HandshakeFailed,
            format!(
                "An MCP handshake through the Service failed: {problem}. Check that the operator may reach the \
                 connector's pods (NetworkPolicies, service mesh)."
            ),
        );
    }
    let silent = replicas.iter().filter(|replica| replica.silent).count();
    if silent > 0 {
        return Finding::new(
            type_,
            Some(false),
            Reason::ReplicaUnreachable,
            format!(
                "{silent} of {count} ready replicas don't tell the operator their state on port {}. Check that the \
                 operator may reach the connector's pods.",
                api::ADMIN_PORT,
            ),
        );
    }
    let is_current =
        |replica: &&Replica| replica.status.as_ref().is_some_and(|status| status.config_digest == seen.config_digest);
    let current = replicas.iter().filter(is_current).count();
    if current < count || count == 0 {
        return pending(seen, current, count);
    }
    if rollout_goes_on(seen.deployment) {
        return pending(seen, current, count);
    }
    Finding::new(
        type_,
        Some(true),
        Reason::Verified,
        "A handshake through the Service succeeded, and every ready replica serves this configuration.",
    )
}

/// Some ready replicas don't serve this configuration yet. It lasts if the new pods can't start.
fn pending(seen: Seen<'_>, current: usize, count: usize) -> Finding {
    let trouble = seen.observation.pods.iter().find_map(|pod| trouble_of(pod));
    let message = format!("{current} of {count} ready replicas serve this configuration.");
    let (status, message) = match (trouble, awaited_volume(seen)) {
        (Some((_, why)), _) => (Some(false), format!("{message} The others can't be replaced: {why}")),
        (None, Some(why)) => (None, format!("{message} {why}")),
        (None, None) => (None, message),
    };
    Finding::new(ConditionType::EndpointReady, status, Reason::ConfigurationPending, message)
}

fn rollout_goes_on(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    status.updated_replicas.unwrap_or_default() < status.replicas.unwrap_or_default()
}

/// What the ready replicas that answered say.
struct Reports<'a> {
    statuses: Vec<&'a ReplicaStatus>,
    /// Ready replicas, whether or not they answered.
    count: usize,
    /// Whether each replica has credentials of its own, which Vault makes for it.
    own: bool,
    /// The revision that was told before.
    known_revision: Option<&'a str>,
}

impl<'a> Reports<'a> {
    fn of(seen: Seen<'a>) -> Self {
        let replicas = &seen.observation.replicas;
        Self {
            statuses: replicas.iter().filter_map(|replica| replica.status.as_ref()).collect(),
            count: replicas.len(),
            own: seen.connector.config.agent.as_ref().is_some_and(AgentConfig::is_dynamic),
            known_revision: seen.known_revision,
        }
    }

    fn probes(&self) -> Vec<&'a ProbeReport> {
        self.statuses.iter().filter_map(|status| status.probe.as_ref()).collect()
    }

    /// The newest mounted revision: the one that a replica has mounted and that not every replica runs on. Content has
    /// no order, so it is the mounted one which most replicas don't run on yet; in rest there is only one. While no
    /// replica tells of any, it is still the one that was told before: otherwise the next one would not be seen to differ.
    fn current_revision(&self) -> Option<&'a str> {
        let mounted = || self.statuses.iter().filter_map(|status| status.credentials.mounted_revision.as_deref());
        if self.own && mounted().any(|revision| Some(revision) != mounted().next()) {
            return None;
        }
        let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
        for status in &self.statuses {
            if let Some(mounted) = status.credentials.mounted_revision.as_deref() {
                let running = |other: &&&ReplicaStatus| other.credentials.loaded_revision.as_deref() == Some(mounted);
                runs.insert(mounted, self.statuses.iter().filter(running).count());
            }
        }
        runs.into_iter().min_by_key(|(_, count)| *count).map(|(revision, _)| revision).or(self.known_revision)
    }

    /// Replicas that run on what they should.
    fn loaded(&self) -> usize {
        let on_its_own = |status: &&&ReplicaStatus| {
            let credentials = &status.credentials;
            credentials.mounted_revision.is_some() && credentials.mounted_revision == credentials.loaded_revision
        };
        match self.current_revision() {
            Some(revision) => self.on(revision),
            None if self.own => self.statuses.iter().filter(on_its_own).count(),
            None => 0,
        }
    }

    fn on(&self, revision: &str) -> usize {
        let on_it = |status: &&&ReplicaStatus| status.credentials.loaded_revision.as_deref() == Some(revision);
        self.statuses.iter().filter(on_it).count()
    }

    /// Puts how many of how many before a message, where replicas disagree.
    fn counted(&self, concerned: usize, message: &str) -> String {
        if concerned == self.count {
            foreign(message)
        } else {
            format!("{concerned} of {} replicas: {}", self.count, foreign(message))
        }
    }
}

fn credentials_loaded(reports: &Reports<'_>, available: &Finding) -> Finding {
    let type_ = ConditionType::CredentialsLoaded;
    if reports.statuses.is_empty() {
        let reason = if available.status == Some(false) { Reason::NoReplicas } else { Reason::Unknown };
        return Finding::new(type_, None, reason, "No replica has told yet which credentials it runs on.");
    }
    // Worst first.
    for reason in Reason::CREDENTIALS_FAULTS {
        let concerned: Vec<&&ReplicaStatus> =
            reports.statuses.iter().filter(|status| status.credentials.reason == reason.as_str()).collect();
        if let Some(first) = concerned.first() {
            let message = reports.counted(concerned.len(), &first.credentials.message);
            return Finding::new(type_, Some(false), reason, message);
        }
    }
    let starting = reports.statuses.iter().find(|status| status.credentials.reason == Reason::Starting.as_str());
    if let Some(first) = starting {
        return Finding::new(type_, None, Reason::Starting, foreign(&first.credentials.message));
    }
    let is_loaded = reports.loaded() == reports.count;
    match reports.current_revision() {
        revision if is_loaded => {
            if let Some((concerned, supply, reason)) = degraded(reports) {
                let message = reports.counted(concerned, &supply.message);
                return Finding::new(type_, Some(true), reason, message);
            }
            let message = match revision {
                Some(revision) => format!("Every replica runs on revision {revision}."),
                None => "Every replica runs on credentials of its own.".to_owned(),
            };
            Finding::new(type_, Some(true), Reason::Loaded, message)
        }
        Some(revision) => Finding::new(
            type_,
            None,
            Reason::Rotating,
            format!("{} of {} replicas run on revision {revision}.", reports.on(revision), reports.count),
        ),
        None => Finding::new(type_, None, Reason::Rotating, "The replicas are loading their credentials."),
    }
}

/// The agents that can't look after good credentials now, of one reason: how many, what one says, and the reason.
fn degraded<'a>(reports: &Reports<'a>) -> Option<(usize, &'a Supply, Reason)> {
    let supplies = || reports.statuses.iter().filter_map(|status| status.credentials.supply.as_ref());
    Reason::CREDENTIALS_FAULTS.into_iter().find_map(|reason| {
        let of = |supply: &&Supply| supply.state == SupplyState::Degraded && supply.reason == reason.as_str();
        Some((supplies().filter(of).count(), supplies().find(of)?, reason))
    })
}

fn credentials_accepted(reports: &Reports<'_>) -> Finding {
    let type_ = ConditionType::CredentialsAccepted;
    let probes = reports.probes();
    for (verdict, reason, status) in [
        (CredentialVerdict::Rejected, Reason::Rejected, Some(false)),
        (CredentialVerdict::Expired, Reason::Expired, Some(false)),
        (CredentialVerdict::PermissionMissing, Reason::PermissionMissing, Some(false)),
        (CredentialVerdict::Unknown, Reason::Unknown, None),
        (CredentialVerdict::Accepted, Reason::Accepted, Some(true)),
    ] {
        let concerned: Vec<&&ProbeReport> = probes.iter().filter(|probe| probe.credentials == verdict).collect();
        if let Some(first) = concerned.first() {
            let message = reports.counted(concerned.len(), &first.credentials_message);
            return Finding::new(type_, status, reason, message);
        }
    }
    Finding::new(type_, None, Reason::Unknown, "No replica has asked the platform yet.")
}

fn platform_healthy(connector: &ValidatedConnector, reports: &Reports<'_>) -> Finding {
    let type_ = ConditionType::PlatformHealthy;
    let probes = reports.probes();
    let Some(worst) = probes.iter().max_by_key(|probe| probe.status) else {
        return Finding::new(type_, None, Reason::Unknown, "No replica has asked the platform yet.");
    };
    let alike = probes.iter().filter(|probe| probe.status == worst.status && probe.reason == worst.reason).count();
    let is_known = worst.reason.parse::<Reason>().is_ok()
        || platform::declared_reasons().iter().any(|(name, reasons)| {
            *name == connector.platform && reasons.iter().any(|reason| reason.name == worst.reason)
        });
    Finding {
        type_,
        status: Some(worst.status != HealthStatus::Error),
        // The list of reasons is closed: what a pod says beyond it is not repeated.
        reason: if is_known { worst.reason.clone() } else { Reason::UnexpectedResponse.as_str().to_owned() },
        message: reports.counted(alike, &worst.message),
    }
}

fn fields(seen: Seen<'_>, reports: &Reports<'_>) -> McpConnectorStatus {
    let connector = seen.connector;
    let deployment = seen.deployment.status.clone().unwrap_or_default();
    let url = api::endpoint_url(&connector.namespace, &connector.name);
    let probe = reports.probes().into_iter().find(|probe| probe.version.is_some() || probe.identity.is_some());
    let current = reports.statuses.iter().find(|status| status.config_digest == seen.config_digest);
    let bounded = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    McpConnectorStatus {
        observed_generation: None,
        audience: Some(url.clone()),
        url: Some(url),
        authentication: Some(if connector.config.access.anonymous {
            Authentication::Anonymous
        } else {
            Authentication::ServiceAccountToken
        }),
        replicas: Some(deployment.replicas.unwrap_or_default()),
        ready_replicas: Some(deployment.ready_replicas.unwrap_or_default()),
        selector: Some(selector_text(&connector.name)),
        tools: current
            .map(|status| ToolsStatus { count: bounded(status.tool_count), digest: foreign(&status.tool_digest) }),
        platform: Some(PlatformStatus {
            type_: Some(connector.platform.to_owned()),
            version: probe.and_then(|probe| probe.version.as_deref()).map(foreign),
            identity: probe.and_then(|probe| probe.identity.as_deref()).map(foreign),
        }),
        credentials: (reports.count > 0).then(|| CredentialsStatus {
            revision: reports.current_revision().map(foreign),
            loaded_replicas: bounded(reports.loaded()),
            replicas: bounded(reports.count),
        }),
        // They are no finding: the reconcile puts them in.
        requests: None,
        protocol_versions: match &seen.observation.handshake {
            Some(Handshake::Succeeded(versions)) => versions.iter().map(|version| foreign(version)).collect(),
            _ => current.map(|status| status.protocol_versions.clone()).unwrap_or_default(),
        },
        conditions: Vec::<Condition>::new(),
    }
}

fn selector_text(name: &str) -> String {
    selector_labels(name).iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// A text that somebody else wrote: one line of characters that are seen, cut to a length.
fn foreign(text: &str) -> String {
    common::foreign::line(text, MAX_FOREIGN_TEXT)
}

#[cfg(test)]
mod states;
#[cfg(test)]
mod tests;
