//! The states beside the usual ones, so that every reason that the operator can give is judged in one of them.

use std::{collections::BTreeSet, sync::Arc};

use strum::IntoEnumIterator;

use super::*;
use crate::{
    connector::{
        dereference::Dereferenced,
        rollout,
        testing::{check, found, source},
    },
    rollout::Turn,
};
use api::connector::RequestsStatus;
use pod_api::status::{Supply, SupplyState};

/// A reason as the name of a file.
fn kebab(reason: Reason) -> String {
    let mut name = String::new();
    for letter in reason.as_str().chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

fn well() -> Computed {
    computed("", &running(1), &observed(vec![replica()]))
}

pub(super) fn states() -> Vec<State> {
    [refusals(), pods(), credentials(), platforms(), waiting()].into_iter().flatten().collect()
}

fn refusals() -> Vec<State> {
    let mut states: Vec<State> = [
        (Reason::InvalidSpec, "probe.timeout: must not be longer than probe.interval."),
        (Reason::CredentialFieldMissing, "The CredentialSource reader has no field token, which Vault needs."),
        (
            Reason::ProxyNotAllowed,
            "The CredentialSource reader allows no proxy: add proxy.example.com:3128 to spec.proxies, or name another proxy.",
        ),
        (Reason::CaBundleInvalid, "caBundle: there is no ConfigMap \"ca\" in this namespace."),
        (Reason::ApplyFailed, "The API server refuses the Deployment: spec.template.spec.containers[0]: Forbidden."),
    ]
    .map(|(reason, message)| refused(&kebab(reason), reason, message))
    .into();
    let message = "The operator has not read the cluster's token keys yet.".to_owned();
    let problem = NotAccepted { reason: Reason::Starting, message, lasting: false };
    let computed = compute_not_accepted(&McpConnectorStatus::default(), Some("vault"), &problem);
    states.push(state("token-keys-not-read", COMING, computed));
    states
}

fn pods() -> Vec<State> {
    let of_deployment = |reason: Reason, conditions: &str| {
        let yaml = format!(
            "spec: {{replicas: 1, progressDeadlineSeconds: 120, selector: {{}}, template: {{}}}}, status: \
             {{observedGeneration: 2, conditions: [{conditions}]}}"
        );
        state(&kebab(reason), BROKEN, computed("", &deployment(&yaml), &Observation::default()))
    };
    let homeless = "{conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable}]}";
    let homeless = Observation { pods: vec![pod(homeless)], ..Observation::default() };
    let altered = failing_pods("restartCount: 3, state: {running: {}}, lastState: {terminated: {exitCode: 78}}");
    let mut silent = observed(vec![replica(), replica()]);
    silent.replicas[1] = Replica { pod: "p".into(), status: None, silent: true };
    vec![
        of_deployment(Reason::PodsRefused, "{type: ReplicaFailure, status: 'True', message: exceeded quota}"),
        of_deployment(Reason::ProgressDeadlineExceeded, "{type: Progressing, status: 'False'}"),
        not_mounted(),
        state("unschedulable", BROKEN, computed("", &starting(), &homeless)),
        state("configuration-altered", BROKEN, computed("", &starting(), &altered)),
        state("replica-unreachable", BROKEN, computed("", &running(2), &silent)),
    ]
}

/// A CSI driver that is not there, or doesn't get what it is to mount.
fn not_mounted() -> State {
    let csi = source("{hosts: [vault.example.com], csi: {secretProviderClass: ci-bot, items: {token: ci-token}}}");
    let connector = check(MINIMAL, &Dereferenced { source: Some(Arc::new(csi)), ..found() }).unwrap();
    let waiting =
        "{conditions: [{type: PodScheduled, status: 'True'}, {type: PodReadyToStartContainers, status: 'False'}]}";
    let observation = Observation { pods: vec![pod(waiting)], ..Observation::default() };
    let deployment = deployment(
        "spec: {replicas: 1, progressDeadlineSeconds: 120, selector: {}, template: {}}, status: {observedGeneration: 2, \
         conditions: [{type: Progressing, status: 'False'}]}",
    );
    let seen = Seen {
        connector: &connector,
        config_digest: DIGEST,
        deployment: &deployment,
        observation: &observation,
        known_revision: None,
    };
    state("volume-not-mounted", BROKEN, compute(seen))
}

fn credentials() -> Vec<State> {
    let usual = [Reason::NoFields, Reason::FieldInvalid];
    let mut states: Vec<State> = Reason::CREDENTIALS_FAULTS
        .into_iter()
        .filter(|reason| !usual.contains(reason))
        .map(|reason| {
            let seen = unready(reason, "There are no credentials that can be used.");
            state(&kebab(reason), BROKEN, computed("", &running(1), &seen))
        })
        .collect();
    for (reason, verdict) in [
        (Reason::Rejected, CredentialVerdict::Rejected),
        (Reason::PermissionMissing, CredentialVerdict::PermissionMissing),
    ] {
        let seen = probed(|probe| {
            probe.credentials = verdict;
            probe.credentials_message = "The platform says no.".into();
        });
        states.push(state(&kebab(reason), BROKEN, computed("", &running(1), &seen)));
    }
    // Good credentials that their agent can't look after now.
    let degraded = with(|replica| {
        replica.credentials.supply = Some(Supply {
            state: SupplyState::Degraded,
            reason: Reason::VaultSealed.as_str().into(),
            message: "Vault is sealed; the credentials in use end at 12:30.".into(),
            ..supply()
        });
    });
    states.push(state("vault-sealed-credentials-good", CURRENT, computed("", &running(1), &degraded)));
    states
}

fn supply() -> Supply {
    let text = r#"{"state": "Serving", "reason": "Loaded", "message": "", "since": "2026-11-01T12:00:00Z"}"#;
    serde_json::from_str(text).unwrap()
}

fn platforms() -> Vec<State> {
    [
        Reason::Unreachable,
        Reason::Timeout,
        Reason::TlsInvalid,
        Reason::RateLimited,
        Reason::ServerError,
        Reason::UnexpectedResponse,
    ]
    .map(|reason| {
        let seen = probed(|probe| {
            probe.status = HealthStatus::Error;
            probe.reason = reason.as_str().into();
            probe.message = "Vault can't be used now.".into();
        });
        state(&kebab(reason), BROKEN, computed("", &running(1), &seen))
    })
    .into()
}

/// A roll-out that waits keeps a connector Ready: whoever deploys connectors need not wait for the operator's own changes,
/// and kstatus says that something is to come.
fn waiting() -> Vec<State> {
    let rollout = |name: &str, turn: Turn| {
        let mut computed = well();
        rollout::tell_waiting(&mut computed, turn);
        state(name, ("InProgress", "Healthy"), computed)
    };
    let at: k8s_openapi::jiff::Timestamp = "2026-11-01T11:59:00Z".parse().unwrap();
    let mut asked = well();
    let honoured = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
    asked.status.requests =
        Some(RequestsStatus { probe: honoured.clone(), reload: honoured.clone(), restart: honoured });
    vec![
        rollout("rollout-pending", Turn::Later),
        rollout("rollout-stopped", Turn::Stopped),
        state("requests-honoured", CURRENT, asked),
    ]
}

#[test]
fn every_reason_is_judged_in_one_state_at_least() {
    let given: BTreeSet<String> = super::states()
        .iter()
        .filter_map(|state| object(state).status)
        .flat_map(|status| status.conditions)
        .map(|condition| condition.reason)
        .collect();
    // Only sources have them, whose states are beside their own code.
    let of_sources = [Reason::NotUsed, Reason::UserNotReady];
    let missing: Vec<Reason> =
        Reason::iter().filter(|reason| !given.contains(reason.as_str()) && !of_sources.contains(reason)).collect();
    assert_eq!(missing, []);
}
