use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::*;
use crate::{
    connector::{
        dereference::Dereferenced,
        testing::{MINIMAL, check, found, source, validated},
    },
    slim,
};
use credentials::CredentialsState;
use pod_api::report::CredentialVerdict;

pub(super) const DIGEST: &str = "0123456789abcdef";

/// As the cache keeps it: whatever a status is made from has to survive that.
pub(super) fn deployment(yaml: &str) -> Deployment {
    let text = format!("{{metadata: {{name: mcp-tresor, generation: 2}}, {yaml}}}");
    let mut deployment = serde_saphyr::from_str(&text).unwrap();
    slim::deployment(&mut deployment);
    deployment
}

pub(super) fn running(replicas: i32) -> Deployment {
    deployment(&format!(
        "spec: {{replicas: {replicas}, selector: {{}}, template: {{}}}}, status: {{observedGeneration: 2, \
         replicas: {replicas}, updatedReplicas: {replicas}, readyReplicas: {replicas}, conditions: \
         [{{type: Available, status: 'True'}}]}}"
    ))
}

pub(super) fn starting() -> Deployment {
    deployment("spec: {replicas: 1, selector: {}, template: {}}, status: {observedGeneration: 2, replicas: 1}")
}

/// As the cache keeps it.
pub(super) fn pod(yaml: &str) -> Arc<Pod> {
    let mut pod = serde_saphyr::from_str(&format!("{{metadata: {{name: p}}, status: {yaml}}}")).unwrap();
    slim::pod(&mut pod);
    Arc::new(pod)
}

pub(super) fn probe() -> ProbeReport {
    ProbeReport {
        status: HealthStatus::Ok,
        reason: "Healthy".into(),
        message: "Vault is active.".into(),
        passing: false,
        credentials: CredentialVerdict::Accepted,
        credentials_message: "The token is valid.".into(),
        version: Some("1.21.0".into()),
        identity: Some("reader".into()),
        state: Some("active".into()),
        checks: Vec::new(),
    }
}

pub(super) fn replica() -> ReplicaStatus {
    ReplicaStatus {
        details: pod_api::status::ReplicaDetails::default(),
        connector_uid: "11111111-2222-3333-4444-555555555555".into(),
        config_digest: DIGEST.into(),
        version: "0.1.0".into(),
        protocol_versions: vec!["2026-07-28".into()],
        tool_count: 12,
        tool_digest: "sha256:00".into(),
        credentials: CredentialsState {
            reason: "Loaded".into(),
            message: "ok".into(),
            mounted_revision: Some("5f3a91c2".into()),
            loaded_revision: Some("5f3a91c2".into()),
            supply: None,
        },
        probe: Some(probe()),
    }
}

pub(super) fn observed(statuses: Vec<ReplicaStatus>) -> Observation {
    Observation {
        pods: Vec::new(),
        replicas: statuses
            .into_iter()
            .map(|status| Replica { pod: "p".into(), status: Some(status), silent: false })
            .collect(),
        handshake: Some(Handshake::Succeeded(vec!["2026-07-28".into()])),
        is_tentative: false,
        is_early: false,
    }
}

pub(super) fn computed(extra: &str, deployment: &Deployment, observation: &Observation) -> Computed {
    let connector = validated(&format!("{MINIMAL}\n{extra}"));
    compute(Seen { connector: &connector, config_digest: DIGEST, deployment, observation, known_revision: None })
}

fn finding(computed: &Computed, type_: ConditionType) -> Finding {
    computed.findings.iter().find(|finding| finding.type_ == type_).unwrap().clone()
}

/// `(status, reason)` of a condition.
fn state(computed: &Computed, type_: ConditionType) -> (Option<bool>, String) {
    let finding = finding(computed, type_);
    (finding.status, finding.reason)
}

fn expect(computed: &Computed, type_: ConditionType, status: Option<bool>, reason: Reason) {
    assert_eq!(state(computed, type_), (status, reason.as_str().to_owned()), "{type_}: {:#?}", computed.findings);
}

fn has(computed: &Computed, type_: ConditionType) -> bool {
    computed.findings.iter().any(|finding| finding.type_ == type_)
}

#[test]
fn all_is_well() {
    let computed = computed("", &running(2), &observed(vec![replica(), replica()]));
    for finding in &computed.findings {
        assert_eq!(finding.status, Some(true), "{finding:?}");
    }
    assert_eq!(computed.findings.len(), 7);
    assert!(!computed.is_moving);
    let status = &computed.status;
    assert_eq!(status.tools.as_ref().unwrap().count, 12);
    let credentials = status.credentials.as_ref().unwrap();
    assert_eq!((credentials.loaded_replicas, credentials.replicas), (2, 2));
    assert_eq!(status.platform.as_ref().unwrap().version.as_deref(), Some("1.21.0"));
}

#[test]
fn mutations_that_nobody_may_make_are_told_and_leave_it_ready() {
    let told = computed("tools: {mutations: Confirm}", &running(1), &observed(vec![replica()]));
    expect(&told, ConditionType::Ready, Some(true), Reason::Ready);
    let message = finding(&told, ConditionType::Accepted).message;
    assert!(message.contains("spec.access.allow") && message.contains("mutations: true"), "{message}");
    let named = "tools: {mutations: Confirm}\naccess: {allow: [{namespace: a, serviceAccount: b, mutations: true}]}";
    let told = computed(named, &running(1), &observed(vec![replica()]));
    assert_eq!(finding(&told, ConditionType::Accepted).message, "The spec is valid and its references resolve.");
}

#[test]
fn what_is_being_brought_up_is_unknown_and_reconciling() {
    let nothing = Observation::default();
    let computed = computed("", &starting(), &nothing);
    expect(&computed, ConditionType::Ready, None, Reason::Starting);
    assert!(has(&computed, ConditionType::Reconciling) && !has(&computed, ConditionType::Stalled));
    assert!(computed.is_moving);
}

#[test]
fn pods_that_can_not_start_say_why() {
    let waiting = |reason: &str| {
        format!(
            "{{containerStatuses: [{{name: server, image: i, imageID: '', ready: false, restartCount: 0, state: {{waiting: {{reason: {reason}}}}}}}]}}"
        )
    };
    let restarted = "{containerStatuses: [{name: server, image: i, imageID: '', ready: false, restartCount: 3, \
                     state: {running: {}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}}]}";
    let altered = "{containerStatuses: [{name: server, image: i, imageID: '', ready: false, restartCount: 1, state: \
                   {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 78, reason: Error}}}]}";
    let unschedulable = "{conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable}]}";
    for (status, reason, part) in [
        (waiting("ErrImagePull"), Reason::ImagePullFailed, "imagePullSecrets"),
        (waiting("ImagePullBackOff"), Reason::ImagePullFailed, "imagePullSecrets"),
        (waiting("CrashLoopBackOff"), Reason::CrashLooping, "kubectl logs"),
        (restarted.to_owned(), Reason::CrashLooping, "limits.memory"),
        (altered.to_owned(), Reason::ConfigurationAltered, "reads no credentials"),
        (unschedulable.to_owned(), Reason::Unschedulable, "No node"),
    ] {
        let observation = Observation { pods: vec![pod(&status)], ..Observation::default() };
        let computed = computed("", &starting(), &observation);
        expect(&computed, ConditionType::Available, Some(false), reason);
        expect(&computed, ConditionType::Ready, Some(false), reason);
        assert!(finding(&computed, ConditionType::Ready).message.contains(part));
        assert!(!computed.is_moving && !has(&computed, ConditionType::Stalled));
    }
}

#[test]
fn a_pod_that_waits_for_the_csi_driver_says_so_and_what_to_look_at() {
    let csi = source("{hosts: [vault.example.com], csi: {secretProviderClass: ci-bot, items: {token: ci-token}}}");
    let from_csi = check(MINIMAL, &Dereferenced { source: Some(Arc::new(csi)), ..found() }).unwrap();
    let waiting =
        "{conditions: [{type: PodScheduled, status: 'True'}, {type: PodReadyToStartContainers, status: 'False'}]}";
    let observation = Observation { pods: vec![pod(waiting)], ..Observation::default() };
    let seen = |connector: &ValidatedConnector, deployment: &Deployment| {
        compute(Seen { connector, config_digest: DIGEST, deployment, observation: &observation, known_revision: None })
    };
    let early = seen(&from_csi, &starting());
    expect(&early, ConditionType::Available, None, Reason::Starting);
    assert!(finding(&early, ConditionType::Ready).message.contains("SecretProviderClass \"ci-bot\""));
    let mut late = starting();
    let progressing = serde_saphyr::from_str("{type: Progressing, status: 'False'}").unwrap();
    late.status.as_mut().unwrap().conditions.get_or_insert_default().push(progressing);
    expect(&seen(&from_csi, &late), ConditionType::Ready, Some(false), Reason::VolumeNotMounted);
    // Any other volume is there, whatever is missing.
    expect(&seen(&validated(MINIMAL), &late), ConditionType::Ready, Some(false), Reason::ProgressDeadlineExceeded);
}

#[test]
fn the_kubelets_alternating_words_change_nothing() {
    let with = |reason: &str, message: &str| {
        let status = format!(
            "{{containerStatuses: [{{name: server, image: i, imageID: '', ready: false, restartCount: 0, \
             state: {{waiting: {{reason: {reason}, message: '{message}'}}}}}}]}}"
        );
        computed("", &starting(), &Observation { pods: vec![pod(&status)], ..Observation::default() })
    };
    assert_eq!(with("ErrImagePull", "one"), with("ImagePullBackOff", "another"));

    // As seen of a memory limit under which the runtime can start no program.
    let ended = "terminated: {exitCode: 128, reason: StartError}";
    let started = |state: &str, last: &str, restarts: u32| {
        let status = format!(
            "{{containerStatuses: [{{name: server, image: i, imageID: '', ready: false, restartCount: {restarts}, \
             state: {{{state}}}, lastState: {{{last}}}}}]}}"
        );
        computed("", &starting(), &Observation { pods: vec![pod(&status)], ..Observation::default() })
    };
    let first = started(ended, "", 0);
    assert!(finding(&first, ConditionType::Ready).message.contains("memory limit"));
    assert_eq!(first, started("waiting: {reason: RunContainerError}", "", 1));
    assert_eq!(first, started("waiting: {reason: CrashLoopBackOff}", ended, 3));
}

#[test]
fn refused_pods_and_a_passed_deadline_are_lasting() {
    let refused = deployment(
        "spec: {replicas: 1, selector: {}, template: {}}, status: {observedGeneration: 2, conditions: \
         [{type: ReplicaFailure, status: 'True', message: exceeded quota}, {type: Progressing, status: 'False'}]}",
    );
    let computed_refused = computed("", &refused, &Observation::default());
    expect(&computed_refused, ConditionType::Ready, Some(false), Reason::PodsRefused);
    assert!(finding(&computed_refused, ConditionType::Ready).message.contains("exceeded quota"));

    let late = deployment(
        "spec: {replicas: 1, progressDeadlineSeconds: 120, selector: {}, template: {}}, status: {observedGeneration: 2, \
         conditions: [{type: Progressing, status: 'False'}]}",
    );
    let computed_late = computed("", &late, &Observation::default());
    expect(&computed_late, ConditionType::Ready, Some(false), Reason::ProgressDeadlineExceeded);
}

#[test]
fn suspended_and_scaled_to_zero_are_told_apart() {
    let zero = deployment("spec: {replicas: 0, selector: {}, template: {}}, status: {observedGeneration: 2}");
    expect(&computed("", &zero, &Observation::default()), ConditionType::Ready, Some(false), Reason::ScaledToZero);
    let suspended = computed("suspend: true", &zero, &Observation::default());
    expect(&suspended, ConditionType::Ready, Some(false), Reason::Suspended);
}

#[test]
fn an_older_configuration_is_pending() {
    let old = ReplicaStatus { config_digest: "old".into(), ..replica() };
    let pending = computed("", &running(2), &observed(vec![replica(), old.clone()]));
    expect(&pending, ConditionType::Ready, None, Reason::ConfigurationPending);
    assert!(finding(&pending, ConditionType::Ready).message.contains("1 of 2"));

    let mut stuck = observed(vec![old]);
    stuck.pods.push(pod("{conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable}]}"));
    let computed = computed("", &running(1), &stuck);
    expect(&computed, ConditionType::Ready, Some(false), Reason::ConfigurationPending);
    assert!(finding(&computed, ConditionType::Ready).message.contains("No node"));
}

#[test]
fn a_failed_handshake_and_a_silent_replica() {
    let mut failed = observed(vec![replica()]);
    failed.handshake = Some(Handshake::Failed("HTTP status 503".into()));
    let computed_failed = computed("", &running(1), &failed);
    expect(&computed_failed, ConditionType::Ready, Some(false), Reason::HandshakeFailed);

    let mut silent = observed(vec![replica(), replica()]);
    silent.replicas[1] = Replica { pod: "p".into(), status: None, silent: true };
    let computed_silent = computed("", &running(2), &silent);
    expect(&computed_silent, ConditionType::Ready, Some(false), Reason::ReplicaUnreachable);
    assert!(finding(&computed_silent, ConditionType::Ready).message.starts_with("1 of 2"));

    // A single miss is not believed: what was heard last still counts.
    let mut doubtful = observed(vec![replica()]);
    doubtful.handshake = Some(Handshake::Doubtful);
    expect(&computed("", &running(1), &doubtful), ConditionType::Ready, Some(true), Reason::Ready);
}

#[test]
fn credentials_that_are_missing_or_rotating() {
    let with = |reason: &str, mounted: Option<&str>, loaded: Option<&str>| ReplicaStatus {
        credentials: CredentialsState {
            reason: reason.into(),
            message: "key `token` is missing".into(),
            mounted_revision: mounted.map(str::to_owned),
            loaded_revision: loaded.map(str::to_owned),
            supply: None,
        },
        ..replica()
    };
    let missing = computed("", &running(1), &observed(vec![with("NoFields", None, None)]));
    expect(&missing, ConditionType::Ready, Some(false), Reason::NoFields);

    let one_of_two =
        computed("", &running(2), &observed(vec![replica(), with("FieldMissing", None, Some("5f3a91c2"))]));
    expect(&one_of_two, ConditionType::CredentialsLoaded, Some(false), Reason::FieldMissing);
    assert!(finding(&one_of_two, ConditionType::CredentialsLoaded).message.starts_with("1 of 2 replicas: "));

    let rotating = computed(
        "",
        &running(3),
        &observed(vec![
            with("Loaded", Some("new00000"), Some("new00000")),
            with("Loaded", Some("new00000"), Some("5f3a91c2")),
            replica(),
        ]),
    );
    expect(&rotating, ConditionType::CredentialsLoaded, None, Reason::Rotating);
    assert_eq!(
        finding(&rotating, ConditionType::CredentialsLoaded).message,
        "1 of 3 replicas run on revision new00000."
    );
}

#[test]
fn a_revision_is_still_told_while_no_replica_tells_of_any() {
    let connector = validated(MINIMAL);
    let deployment = running(2);
    let told = |observation: &Observation, known_revision| {
        let seen =
            Seen { connector: &connector, config_digest: DIGEST, deployment: &deployment, observation, known_revision };
        let credentials = compute(seen).status.credentials.unwrap();
        (credentials.revision, credentials.loaded_replicas, credentials.replicas)
    };
    let silent = Replica { pod: "pod".into(), status: None, silent: true };
    let mut nobody = observed(vec![]);
    nobody.replicas = vec![silent.clone(), silent.clone()];
    assert_eq!(told(&nobody, None), (None, 0, 2));
    assert_eq!(told(&nobody, Some("5f3a91c2")), (Some("5f3a91c2".to_owned()), 0, 2));
    // Where one does, that counts.
    let mut one = observed(vec![replica()]);
    one.replicas.push(silent);
    assert_eq!(told(&one, Some("earlier0")), (Some("5f3a91c2".to_owned()), 1, 2));
}

fn supplied(state: SupplyState, reason: &str, files: &str, revision: Option<&str>) -> ReplicaStatus {
    let supply = Supply {
        state,
        reason: reason.into(),
        message: format!("about {reason}"),
        since: k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
        fetched: None,
        expires: None,
        rotations: 0,
        renewals: 0,
        failures: 0,
        next_attempt: None,
    };
    let credentials = CredentialsState {
        reason: files.into(),
        message: format!("about {files}"),
        mounted_revision: revision.map(str::to_owned),
        loaded_revision: revision.map(str::to_owned),
        supply: Some(supply),
    };
    ReplicaStatus { credentials, ..replica() }
}

#[test]
fn what_an_agent_can_not_do_is_said_and_takes_away_only_what_has_ended() {
    let of = |statuses: Vec<ReplicaStatus>| {
        let count = i32::try_from(statuses.len()).unwrap();
        computed("", &running(count), &observed(statuses))
    };
    let good = Some("5f3a91c2");
    let starting = of(vec![supplied(SupplyState::Starting, "Starting", "Starting", None)]);
    expect(&starting, ConditionType::CredentialsLoaded, None, Reason::Starting);
    let failing = of(vec![supplied(SupplyState::Failing, "VaultLoginFailed", "VaultLoginFailed", None), replica()]);
    expect(&failing, ConditionType::CredentialsLoaded, Some(false), Reason::VaultLoginFailed);
    expect(&failing, ConditionType::Ready, Some(false), Reason::VaultLoginFailed);
    let degraded = of(vec![supplied(SupplyState::Degraded, "VaultSealed", "Loaded", good), replica()]);
    expect(&degraded, ConditionType::CredentialsLoaded, Some(true), Reason::VaultSealed);
    let message = finding(&degraded, ConditionType::CredentialsLoaded).message;
    assert_eq!(message, "1 of 2 replicas: about VaultSealed");
    expect(&degraded, ConditionType::Ready, Some(true), Reason::Ready);
    // What a pod says beyond the closed list is not repeated.
    let unknown = of(vec![supplied(SupplyState::Degraded, "Pwned", "Loaded", good)]);
    expect(&unknown, ConditionType::CredentialsLoaded, Some(true), Reason::Loaded);
}

#[test]
fn credentials_that_vault_makes_are_each_replicas_own() {
    let vault = |secret: &str| {
        let spec = format!(
            "{{hosts: [vault.example.com], vault: {{address: 'https://store.example.com', auth: {{jwt: {{role: ci}}}}, \
             secrets: [{{{secret}, fields: {{token: token}}}}]}}}}"
        );
        let found = Dereferenced { source: Some(Arc::new(source(&spec))), ..found() };
        let connector = check(MINIMAL, &found).unwrap();
        let statuses = ["a", "b"].map(|revision| supplied(SupplyState::Serving, "Loaded", "Loaded", Some(revision)));
        let (deployment, observation) = (running(2), observed(statuses.to_vec()));
        let seen = Seen {
            connector: &connector,
            config_digest: DIGEST,
            deployment: &deployment,
            observation: &observation,
            known_revision: None,
        };
        compute(seen)
    };
    let own = vault("dynamic: {path: database/creds/ci}");
    expect(&own, ConditionType::CredentialsLoaded, Some(true), Reason::Loaded);
    let credentials = own.status.credentials.unwrap();
    assert_eq!((credentials.revision, credentials.loaded_replicas), (None, 2));
    let kept = vault("kv: {path: team/ci}");
    expect(&kept, ConditionType::CredentialsLoaded, None, Reason::Rotating);
}

#[test]
fn the_worst_replica_decides() {
    let sealed = ReplicaStatus {
        probe: Some(ProbeReport {
            status: HealthStatus::Error,
            reason: "Sealed".into(),
            message: "Vault is sealed.".into(),
            credentials: CredentialVerdict::Unknown,
            credentials_message: "not asked".into(),
            ..probe()
        }),
        ..replica()
    };
    let computed_down = computed("", &running(2), &observed(vec![replica(), sealed.clone()]));
    assert_eq!(state(&computed_down, ConditionType::Ready), (Some(false), "Sealed".to_owned()));
    let message = finding(&computed_down, ConditionType::PlatformHealthy).message;
    assert_eq!(message, "1 of 2 replicas: Vault is sealed.");
    assert!(!has(&computed_down, ConditionType::Stalled), "an outage is not the end");

    let reported = computed("probe: {outage: Report}", &running(1), &observed(vec![sealed]));
    expect(&reported, ConditionType::Ready, Some(true), Reason::Ready);
    assert_eq!(state(&reported, ConditionType::PlatformHealthy).0, Some(false));
}

#[test]
fn degraded_is_healthy_with_its_cause() {
    let standby = ReplicaStatus {
        probe: Some(ProbeReport { status: HealthStatus::Degraded, reason: "Maintenance".into(), ..probe() }),
        ..replica()
    };
    let computed = computed("", &running(1), &observed(vec![standby]));
    assert_eq!(state(&computed, ConditionType::PlatformHealthy), (Some(true), "Maintenance".to_owned()));
    expect(&computed, ConditionType::Ready, Some(true), Reason::Ready);
}

#[test]
fn rejected_credentials_make_it_unready() {
    for (verdict, reason) in [
        (CredentialVerdict::Rejected, Reason::Rejected),
        (CredentialVerdict::Expired, Reason::Expired),
        (CredentialVerdict::PermissionMissing, Reason::PermissionMissing),
    ] {
        let refused = ReplicaStatus { probe: Some(ProbeReport { credentials: verdict, ..probe() }), ..replica() };
        expect(&computed("", &running(1), &observed(vec![refused])), ConditionType::Ready, Some(false), reason);
    }
}

#[test]
fn what_a_pod_says_is_bounded_and_its_reasons_are_a_closed_list() {
    let hostile = ReplicaStatus {
        tool_digest: "x".repeat(10_000),
        probe: Some(ProbeReport {
            status: HealthStatus::Error,
            reason: "Anything\u{1b}[31m".into(),
            message: format!("{}\n\u{7}", "y".repeat(100_000)),
            version: Some("v".repeat(10_000)),
            ..probe()
        }),
        ..replica()
    };
    let computed = computed("", &running(1), &observed(vec![hostile]));
    expect(&computed, ConditionType::PlatformHealthy, Some(false), Reason::UnexpectedResponse);
    assert!(finding(&computed, ConditionType::PlatformHealthy).message.len() <= MAX_FOREIGN_TEXT);
    assert!(computed.status.tools.unwrap().digest.len() <= MAX_FOREIGN_TEXT);
    assert!(computed.status.platform.unwrap().version.unwrap().len() <= MAX_FOREIGN_TEXT);
}

#[test]
fn not_accepted_is_stalled_unless_it_passes() {
    let problem = |lasting| NotAccepted { reason: Reason::HostNotAllowed, message: "no".into(), lasting };
    let lasting = compute_not_accepted(&McpConnectorStatus::default(), Some("vault"), &problem(true));
    expect(&lasting, ConditionType::Ready, Some(false), Reason::HostNotAllowed);
    assert!(has(&lasting, ConditionType::Stalled) && !has(&lasting, ConditionType::Reconciling));
    let passing = compute_not_accepted(&McpConnectorStatus::default(), Some("vault"), &problem(false));
    expect(&passing, ConditionType::Ready, None, Reason::HostNotAllowed);
    assert!(has(&passing, ConditionType::Reconciling) && !has(&passing, ConditionType::Stalled));
}

/// Reconciling and Stalled are never both there, and exactly when Ready is Unknown something is being brought up.
#[test]
fn kstatus_reads_every_status_as_it_is_meant() {
    let deployments = [
        starting(),
        running(1),
        deployment("spec: {replicas: 0, selector: {}, template: {}}, status: {observedGeneration: 2}"),
    ];
    let observations = [
        Observation::default(),
        observed(vec![replica()]),
        observed(vec![ReplicaStatus { probe: None, ..replica() }]),
        observed(vec![ReplicaStatus { config_digest: "old".into(), ..replica() }]),
    ];
    for deployment in &deployments {
        for observation in &observations {
            let computed = computed("", deployment, observation);
            let ready = finding(&computed, ConditionType::Ready).status;
            assert_eq!(ready.is_none(), has(&computed, ConditionType::Reconciling));
            assert!(!has(&computed, ConditionType::Stalled));
            assert_eq!(ready.is_none(), computed.is_moving);
        }
    }
}
