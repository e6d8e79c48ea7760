//! Every tool that changes something at Jenkins, CircleCI and CloudWatch, through the whole server to the strict doubles:
//! refused where the connector is read-only, announced without `confirm`, done once with it. Argo CD's and Vault's are told
//! so in `e2e/stories` and `vault_real`, where the real ones run.

use std::collections::BTreeSet;

use platform_doubles::{circleci, cloudwatch, jenkins};
use serde_json::{Value, json};

use crate::served::{Served, serve_tools};

/// A platform, and how often it was asked to change something.
struct Subject {
    platform: Value,
    credentials: Vec<(&'static str, &'static str)>,
    off_by_default: &'static [&'static str],
    changes: Box<dyn Fn() -> usize>,
}

/// A call: a tool, and its arguments.
type Call = (&'static str, Value);

/// A call that changes something and can be acted on, after the one that makes what it is about.
struct Mutation {
    before: Option<Call>,
    call: Call,
}

fn change(tool: &'static str, arguments: Value) -> Mutation {
    Mutation { before: None, call: (tool, arguments) }
}

impl Mutation {
    fn after(self, tool: &'static str, arguments: Value) -> Self {
        Self { before: Some((tool, arguments)), ..self }
    }
}

impl Subject {
    async fn serve(&self, mutations: &str) -> Served {
        let allow: Vec<&str> = ["*"].iter().chain(self.off_by_default).copied().collect();
        let limits = json!({ "callTimeout": "20s", "maxConcurrentCalls": 64, "maxResultBytes": 65536 });
        let tools = json!({ "mutations": mutations, "allow": allow, "deny": [], "prefix": "" });
        serve_tools(&self.platform, &tools, &limits, &self.credentials, "1h").await
    }
}

fn with(arguments: &Value, more: &Value) -> Value {
    let mut arguments = arguments.clone();
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    arguments
}

/// Goes through what may happen to a call that changes something.
async fn is_done_once(subject: &Subject, mutation: &Mutation) {
    let (confirmed, (tool, arguments)) = (json!({ "confirm": true }), &mutation.call);
    let confirming = subject.serve("Confirm").await;
    if let Some((tool, arguments)) = &mutation.before {
        let made = confirming.call_with(tool, arguments).await;
        assert_eq!(made["isError"], false, "{tool}: {made}");
    }
    let before = (subject.changes)();

    let read_only = subject.serve("ReadOnly").await;
    let refused = read_only.call_with(tool, &with(arguments, &confirmed)).await;
    assert_eq!(refused["isError"], true, "{tool}: {refused}");
    assert!(refused["content"][0]["text"].as_str().unwrap().contains("spec.tools.mutations"), "{tool}: {refused}");
    assert!(!read_only.tools().await.contains(*tool), "{tool} is offered where nothing may be changed");

    assert!(confirming.tools().await.contains(*tool));
    let announced = confirming.call_with(tool, arguments).await["structuredContent"].clone();
    assert_eq!(announced["applied"], false, "{tool}: {announced}");
    assert!(announced["would"].as_str().is_some_and(|would| would.len() > 10), "{tool}: {announced}");
    assert_eq!((subject.changes)(), before, "{tool} changed something before it was confirmed");

    let plan = with(&confirmed, &json!({ "plan": announced["plan"], "idempotency_key": "once" }));
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(confirming.call_with(tool, &with(arguments, &plan)).await["structuredContent"].clone());
    }
    assert_eq!((subject.changes)(), before + 1, "{tool}: {answers:?}");
    assert!(answers.iter().all(|answer| answer["applied"] == true), "{tool}: {answers:?}");
    assert_eq!((&answers[0]["result"], &answers[1]["replayed"]), (&answers[1]["result"], &json!(true)), "{tool}");
}

/// Goes through them, each on a platform of its own, and makes sure that they are all that the connector can do.
async fn are_done_once<F: Future<Output = Subject>>(start: impl Fn() -> F, mutations: &[Mutation]) {
    let subject = start().await;
    let (all, reading) = (subject.serve("Confirm").await.tools().await, subject.serve("ReadOnly").await.tools().await);
    let changing: BTreeSet<_> = all.difference(&reading).map(String::as_str).collect();
    let through: BTreeSet<_> = mutations.iter().map(|one| one.call.0).collect();
    assert_eq!(changing, through);
    for mutation in mutations {
        is_done_once(&start().await, mutation).await;
    }
}

fn of_jenkins() -> Vec<Mutation> {
    let running = json!({ "job": "team/web", "build": 3 });
    let trigger = json!({ "job": "plain", "wait_seconds": 0 });
    vec![
        change("trigger_jenkins_build", trigger.clone()),
        change("rebuild_jenkins_build", json!({ "job": "team/web", "build": 2, "wait_seconds": 0 })),
        change("cancel_jenkins_build", running.clone()),
        change("cancel_jenkins_queue_item", json!({ "id": 41 }))
            .after("trigger_jenkins_build", with(&trigger, &json!({ "confirm": true }))),
        change(
            "submit_jenkins_input",
            with(&running, &json!({ "input_id": "Ship", "action": "proceed", "parameters": {} })),
        ),
        change("delete_jenkins_job", json!({ "job": "plain" })),
    ]
}

async fn jenkins_double() -> Subject {
    let double = jenkins::Double::start().await;
    double.change(|state| {
        let mut build = jenkins::Build::running(40, state.now, Vec::new(), true);
        build.inputs = vec![json!({ "id": "Ship", "message": "Ship it?", "inputs": [] })];
        state.jobs.get_mut("team/web").unwrap().builds.insert(3, build);
        // What is triggered stays in the queue.
        state.looks_until_start = None;
    });
    Subject {
        platform: json!({ "jenkins": { "url": double.url(), "insecureHttp": true } }),
        credentials: vec![("user", jenkins::USER), ("api_token", jenkins::TOKEN)],
        off_by_default: &["delete_jenkins_job"],
        changes: Box::new(move || double.count("POST", "")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jenkins_is_changed_once_and_only_when_that_is_confirmed() {
    are_done_once(jenkins_double, &of_jenkins()).await;
}

fn of_circleci() -> Vec<Mutation> {
    let id = circleci::world::id;
    let project = json!({ "project_slug": "gh/acme/web" });
    let waiting = json!({ "workflow_id": id('b', 3) });
    let versions = json!({ "component": "web", "environment": "prod", "version": "v1", "current_version": "v3" });
    vec![
        change("trigger_circleci_pipeline", project.clone()),
        change("rerun_circleci_workflow", json!({ "workflow_id": id('b', 1) })),
        change("cancel_circleci_workflow", waiting.clone()),
        change("approve_circleci_job", with(&waiting, &json!({ "job_name": "hold" }))),
        change("rollback_circleci_component", with(&project, &versions)),
    ]
}

async fn circleci_double() -> Subject {
    let double = circleci::Double::start().await;
    Subject {
        platform: json!({ "circleCi": { "url": double.uri(), "insecureHttp": true, "apiVersion": "V3" } }),
        credentials: vec![("token", circleci::TOKEN)],
        off_by_default: &["rollback_circleci_component"],
        // Searches are sent as POST as well.
        changes: Box::new(move || {
            let seen = double.seen();
            seen.iter().filter(|one| one.method == "POST" && !one.path.ends_with("/search")).count()
        }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn circleci_is_changed_once_and_only_when_that_is_confirmed() {
    are_done_once(circleci_double, &of_circleci()).await;
}

fn of_cloudwatch() -> Vec<Mutation> {
    let mute = json!({ "names": ["disk"], "minutes": 5, "reason": "test" });
    let query = json!({ "groups": ["/app/web"], "query": "fields @message", "wait_seconds": 0 });
    vec![
        change("mute_cloudwatch_alarms", mute.clone()),
        change("unmute_cloudwatch_alarms", json!({ "names": ["disk"] }))
            .after("mute_cloudwatch_alarms", with(&mute, &json!({ "confirm": true }))),
        change("set_cloudwatch_alarm_actions_enabled", json!({ "names": ["disk"], "enabled": false })),
        change("set_cloudwatch_alarm_state", json!({ "name": "disk", "state": "ALARM", "reason": "test" })),
        change("stop_cloudwatch_query", json!({ "query_id": "query-0" })).after("query_cloudwatch_logs", query),
    ]
}

async fn cloudwatch_double() -> Subject {
    let double = cloudwatch::Double::start().await;
    // Queries run until somebody stops them.
    double.change(|state| state.logs.script = vec!["Running"]);
    let changing = ["PutAlarmMuteRule", "DeleteAlarmMuteRule", "DisableAlarmActions", "SetAlarmState", "StopQuery"];
    Subject {
        platform: json!({ "cloudWatch": {
            "region": cloudwatch::REGION, "endpoint": double.url(), "insecureHttp": true,
        } }),
        credentials: vec![("access_key_id", cloudwatch::KEY), ("secret_access_key", "planted-secret-access-key")],
        off_by_default: &["set_cloudwatch_alarm_state"],
        changes: Box::new(move || changing.iter().map(|operation| double.count(operation)).sum()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudwatch_is_changed_once_and_only_when_that_is_confirmed() {
    are_done_once(cloudwatch_double, &of_cloudwatch()).await;
}
