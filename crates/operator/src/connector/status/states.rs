//! Every state of a connector that GitOps tools must judge rightly, as the operator writes it: the test data of
//! `config/argocd`, and beside each the verdicts of kstatus and Argo CD that it must get, and what Argo CD's actions make
//! of it. `e2e/checks` has both judge.
//! Run with `MCP_CONNECTORS_WRITE_STATES=1` to write the files anew.

use std::{fmt::Write, fs, path::Path};

use kube::ResourceExt;

use super::{tests::*, *};
use crate::connector::testing::{MINIMAL, connector};
use api::{
    ANNOTATION_PROBE_REQUESTED_AT, ANNOTATION_RELOAD_REQUESTED_AT, ANNOTATION_RESTARTED_AT, McpConnector, condition,
    crd::NOT_OBSERVED,
};

mod every_reason;

/// Where Argo CD wants test data.
const FOLDER: &str = "config/argocd/resource_customizations/mcp-connectors.io/McpConnector";

struct State {
    name: String,
    /// What is beside the minimal spec.
    extra: &'static str,
    computed: Option<Computed>,
    /// Generation that the status is about, where it isn't the newest.
    behind: bool,
    /// What kstatus says of it, and Argo CD.
    verdicts: (&'static str, &'static str),
}

const CURRENT: (&str, &str) = ("Current", "Healthy");
const COMING: (&str, &str) = ("InProgress", "Progressing");
/// kstatus has no word for a fault that may pass; whoever waits for it waits on.
const BROKEN: (&str, &str) = ("InProgress", "Degraded");
const AT_AN_END: (&str, &str) = ("Failed", "Degraded");
const PAUSED: (&str, &str) = ("InProgress", "Suspended");

fn state(name: &str, verdicts: (&'static str, &'static str), computed: Computed) -> State {
    State { name: name.to_owned(), extra: "", computed: Some(computed), behind: false, verdicts }
}

fn refused(name: &str, reason: Reason, message: &str) -> State {
    let problem = NotAccepted { reason, message: message.to_owned(), lasting: true };
    state(name, AT_AN_END, compute_not_accepted(&McpConnectorStatus::default(), Some("vault"), &problem))
}

fn with(change: impl Fn(&mut ReplicaStatus)) -> Observation {
    let mut replica = replica();
    change(&mut replica);
    observed(vec![replica])
}

fn probed(change: impl Fn(&mut ProbeReport)) -> Observation {
    with(|replica| change(replica.probe.as_mut().unwrap()))
}

fn sealed() -> Observation {
    probed(|probe| {
        probe.status = HealthStatus::Error;
        probe.reason = "Sealed".into();
        probe.message = "Vault is sealed: an administrator must unseal it.".into();
        probe.credentials = CredentialVerdict::Unknown;
        probe.credentials_message = "Vault can't be asked while it is sealed.".into();
    })
}

fn failing_pods(container: &str) -> Observation {
    let status = format!(
        "{{containerStatuses: [{{name: server, image: 'registry.example.com/mcp-connectors:9', imageID: '', ready: false, {container}}}]}}"
    );
    Observation { pods: vec![pod(&status)], ..Observation::default() }
}

fn unready(reason: Reason, message: &str) -> Observation {
    with(|replica| {
        replica.credentials.reason = reason.as_str().into();
        replica.credentials.message = message.into();
        replica.credentials.loaded_revision = None;
    })
}

fn states() -> Vec<State> {
    let well = |extra: &str| computed(extra, &running(1), &observed(vec![replica()]));
    let zero = deployment("spec: {replicas: 0, selector: {}, template: {}}, status: {observedGeneration: 2}");
    let expired = probed(|probe| {
        probe.credentials = CredentialVerdict::Expired;
        probe.credentials_message = "The token has ended: put a new one into the Secret.".into();
    });
    let degraded = probed(|probe| {
        probe.status = HealthStatus::Degraded;
        probe.reason = "Standby".into();
        probe.message = "The node is a standby, which forwards requests.".into();
    });
    let old = with(|replica| replica.config_digest = "old".into());
    let rotating = {
        let mut other = replica();
        other.credentials.mounted_revision = Some("0a1b2c3d".into());
        observed(vec![replica(), other])
    };
    let failed =
        Observation { handshake: Some(Handshake::Failed("no answer in 5 s".into())), ..observed(vec![replica()]) };
    vec![
        State { name: "created".to_owned(), extra: "", computed: None, behind: false, verdicts: ("InProgress", "Progressing") },
        state("starting", COMING, computed("", &starting(), &Observation::default())),
        state("ready", CURRENT, well("")),
        State { behind: true, ..state("ready-older-generation", COMING, well("")) },
        state("configuration-pending", COMING, computed("", &running(1), &old)),
        state("credentials-rotating", COMING, computed("", &running(2), &rotating)),
        state("platform-degraded", CURRENT, computed("", &running(1), &degraded)),
        state("platform-sealed", BROKEN, computed("", &running(1), &sealed())),
        State {
            extra: "probe: {outage: Report}",
            ..state("platform-sealed-report", CURRENT, computed("probe: {outage: Report}", &running(1), &sealed()))
        },
        state("credentials-expired", BROKEN, computed("", &running(1), &expired)),
        state(
            "credentials-missing",
            BROKEN,
            computed(
                "",
                &running(1),
                &unready(
                    Reason::NoFields,
                    "No field is mounted: the Secret keys does not exist, or has none of the keys.",
                ),
            ),
        ),
        state(
            "credentials-invalid",
            BROKEN,
            computed("", &running(1), &unready(Reason::FieldInvalid, "The field token is empty.")),
        ),
        state(
            "image-pull-failed",
            BROKEN,
            computed("", &starting(), &failing_pods("restartCount: 0, state: {waiting: {reason: ImagePullBackOff}}")),
        ),
        state(
            "crash-looping",
            BROKEN,
            computed(
                "",
                &starting(),
                &failing_pods(
                    "restartCount: 4, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}",
                ),
            ),
        ),
        state("handshake-failed", BROKEN, computed("", &running(1), &failed)),
        State {
            extra: "suspend: true",
            ..state("suspended", PAUSED, computed("suspend: true", &zero, &Observation::default()))
        },
        State {
            extra: "workload: {replicas: 0}",
            ..state("scaled-to-zero", PAUSED, computed("workload: {replicas: 0}", &zero, &Observation::default()))
        },
        refused(
            "host-not-allowed",
            Reason::HostNotAllowed,
            "The CredentialSource reader does not allow its credentials to be sent to vault.example.com: add it to spec.hosts.",
        ),
        refused(
            "source-not-found",
            Reason::CredentialSourceNotFound,
            "There is no CredentialSource reader in this namespace: create it, or correct spec.credentials.name.",
        ),
        refused(
            "name-taken",
            Reason::NameTaken,
            "The Service mcp-tresor exists and belongs to somebody else: delete or rename it.",
        ),
    ]
    .into_iter()
    .chain(every_reason::states())
    .collect()
}

fn object(state: &State) -> McpConnector {
    let mut connector = connector(&format!("{MINIMAL}\n{}", state.extra));
    connector.status =
        Some(McpConnectorStatus { observed_generation: Some(NOT_OBSERVED), ..McpConnectorStatus::default() });
    if let Some(computed) = &state.computed {
        let generation = connector.metadata.generation.map(|newest| newest - i64::from(state.behind));
        let at = "2026-11-01T12:00:00Z".parse().unwrap();
        connector.status = Some(McpConnectorStatus {
            observed_generation: generation,
            conditions: condition::merge(&[], &computed.findings, generation, at),
            ..computed.status.clone()
        });
    }
    connector
}

/// The message that Argo CD must show: whose words they are depends on the verdict.
fn message(state: &State) -> String {
    let object = object(state);
    let Some(status) = object.status.filter(|_| !state.behind && state.computed.is_some()) else {
        let what = if state.behind { "look at the newest generation" } else { "look at it" };
        return format!("Waiting for the operator to {what}.");
    };
    let ready = condition::find(&status.conditions, ConditionType::Ready).unwrap();
    match state.verdicts.1 {
        "Healthy" | "Suspended" => ready.message.clone(),
        _ => format!("{}: {}", ready.reason, ready.message),
    }
}

#[test]
fn the_test_data_of_gitops_tools_is_what_the_operator_writes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(FOLDER);
    let mut tests = String::from("# Written from the operator's own code, as the files in testdata are.\ntests:\n");
    let mut verdicts = String::from("# What kstatus says of each.\n");
    let mut files = Vec::new();
    for state in states() {
        let text = serde_saphyr::to_string(&serde_json::to_value(object(&state)).unwrap()).unwrap();
        files.push((format!("testdata/{}.yaml", state.name), text));
        let quoted = serde_json::to_string(&message(&state)).unwrap();
        write!(
            tests,
            "  - healthStatus:\n      status: {}\n      message: {quoted}\n    inputPath: testdata/{}.yaml\n",
            state.verdicts.1, state.name
        )
        .unwrap();
        writeln!(verdicts, "{}: {}", state.name, state.verdicts.0).unwrap();
    }
    files.push(("health_test.yaml".to_owned(), tests));
    files.push(("kstatus.yaml".to_owned(), verdicts));
    check_or_write(&root, files);
}

/// Writes the files if that was asked for, and checks that they are what is wanted.
fn check_or_write(root: &Path, files: Vec<(String, String)>) {
    for (name, text) in files {
        let path = root.join(&name);
        if std::env::var_os("MCP_CONNECTORS_WRITE_STATES").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(there, text, "{name} is not what the operator writes: run make generate");
    }
}

/// What stands for the time of an action: Argo CD's own tests put it in the place of the real one.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The actions, whether they are there for a connector that is suspended, and what they make of a connector.
type Action = (&'static str, bool, fn(&mut McpConnector));

const ACTIONS: [Action; 5] = [
    ("probe-now", false, |connector| annotate(connector, ANNOTATION_PROBE_REQUESTED_AT)),
    ("reload-credentials", false, |connector| annotate(connector, ANNOTATION_RELOAD_REQUESTED_AT)),
    ("restart", false, |connector| annotate(connector, ANNOTATION_RESTARTED_AT)),
    ("resume", true, |connector| connector.spec.suspend = Some(false)),
    ("suspend", false, |connector| connector.spec.suspend = Some(true)),
];

fn annotate(connector: &mut McpConnector, annotation: &str) {
    connector.annotations_mut().insert(annotation.to_owned(), NO_TIME.to_owned());
}

#[test]
fn the_test_data_of_actions_is_what_the_operator_honours() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(FOLDER).join("actions");
    let mut discovery = String::from("discoveryTests:\n");
    let mut tests =
        String::from("# Written from the operator's own code, as the files in testdata are.\nactionTests:\n");
    let mut files = Vec::new();
    for state in states() {
        writeln!(discovery, "  - inputPath: ../testdata/{}.yaml\n    result:", state.name).unwrap();
        let suspended = object(&state).spec.suspend == Some(true);
        for (action, of_suspended, act) in ACTIONS {
            let disabled = suspended != of_suspended;
            writeln!(discovery, "      - name: {action}\n        disabled: {disabled}").unwrap();
            if disabled || !["ready", "suspended"].contains(&state.name.as_str()) {
                continue;
            }
            let mut connector = object(&state);
            act(&mut connector);
            let text = serde_saphyr::to_string(&serde_json::to_value(connector).unwrap()).unwrap();
            files.push((format!("testdata/{action}.yaml"), text));
            writeln!(
                tests,
                "  - action: {action}\n    inputPath: ../testdata/{}.yaml\n    expectedOutputPath: testdata/{action}.yaml",
                state.name
            )
            .unwrap();
        }
    }
    assert_eq!(files.len(), ACTIONS.len(), "each action is tried once");
    files.push(("action_test.yaml".to_owned(), tests + &discovery));
    check_or_write(&root, files);
}
