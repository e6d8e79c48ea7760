use std::net::Ipv4Addr;

use axum::{Router, http::StatusCode, routing::post};
use kube::core::DeserializeGuard;
use serde_json::{Value, json};

use super::*;
use crate::connector::{
    reconcile,
    testing::{ApiServer, CONNECTOR, DEPLOYMENT, MINIMAL, connector, context, source, with_pods},
};
use api::{ADMIN_PORT, McpConnectorStatus};

const NOW: &str = "2025-11-21T12:00:00Z";
const EARLIER: &str = "2025-11-21T11:00:00Z";
const LATER: &str = "2025-11-21T11:59:00+00:00";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn asking(annotations: &[(&'static str, &str)]) -> McpConnector {
    let mut connector = connector(MINIMAL);
    for (name, value) in annotations {
        connector.annotations_mut().insert((*name).to_owned(), (*value).to_owned());
    }
    connector
}

fn having_honoured(mut connector: McpConnector, time: &str) -> McpConnector {
    let time = Some(Time(at(time)));
    let requests = RequestsStatus { probe: time.clone(), reload: time.clone(), restart: time };
    connector.status = Some(McpConnectorStatus { requests: Some(requests), ..McpConnectorStatus::default() });
    connector
}

const ALL: [&str; 3] = [ANNOTATION_PROBE_REQUESTED_AT, ANNOTATION_RELOAD_REQUESTED_AT, ANNOTATION_RESTARTED_AT];

#[test]
fn a_later_time_is_a_request_and_an_equal_or_earlier_one_is_none() {
    let read = |connector: &McpConnector| {
        let Requests { probe, reload, restart, .. } = read(connector, None, at(NOW));
        [probe, reload, restart]
    };
    let asked = asking(&ALL.map(|name| (name, LATER)));
    assert_eq!(read(&asked), [Some(at(LATER)); 3]);
    assert_eq!(read(&having_honoured(asked.clone(), EARLIER)), [Some(at(LATER)); 3]);
    assert_eq!(read(&having_honoured(asked, LATER)), [None; 3]);
    assert_eq!(read(&having_honoured(asking(&ALL.map(|name| (name, EARLIER))), LATER)), [None; 3]);
    assert_eq!(read(&connector(MINIMAL)), [None; 3]);
}

#[test]
fn what_was_honoured_last_stays_on_the_pods_when_the_annotation_goes() {
    let gone = having_honoured(connector(MINIMAL), LATER);
    let requests = read(&gone, None, at(NOW));
    assert_eq!((requests.restart, requests.restarted_at), (None, Some(at(LATER))));
}

#[test]
fn a_request_at_the_source_is_one_for_each_of_its_connectors() {
    let mut source = source("{hosts: [vault.example.com], secret: {name: keys}}");
    source.annotations_mut().insert(ANNOTATION_RELOAD_REQUESTED_AT.to_owned(), LATER.to_owned());
    let own = asking(&[(ANNOTATION_RELOAD_REQUESTED_AT, EARLIER)]);
    assert_eq!(read(&own, Some(&source), at(NOW)).reload, Some(at(LATER)));
    assert_eq!(read(&having_honoured(own, LATER), Some(&source), at(NOW)).reload, None);
}

#[test]
fn what_is_no_time_is_refused_once_and_asks_for_nothing() {
    for (value, why) in [
        ("now", "is not a time"),
        ("", "is not a time"),
        ("2025-11-21", "is not a time"),
        ("2099-01-01T00:00:00Z", "lies in the future"),
        ("x\u{1b}[31m", "is not a time"),
    ] {
        let connector = asking(&[(ANNOTATION_RESTARTED_AT, value)]);
        let requests = read(&connector, None, at(NOW));
        assert_eq!((requests.restart, requests.restarted_at), (None, None), "{value}");
        let told = &requests.refused[ANNOTATION_RESTARTED_AT];
        assert!(told.contains(why) && !told.contains('\u{1b}'), "{told}");
        let refused = Refused::default();
        assert_eq!(refused.take_fresh("uid", &requests.refused).len(), 1);
        assert_eq!(refused.take_fresh("uid", &requests.refused).len(), 0);
        let mended = BTreeMap::new();
        assert_eq!(refused.take_fresh("uid", &mended).len(), 0);
        assert_eq!(refused.take_fresh("uid", &requests.refused).len(), 1, "made again, it is told again");
    }
    let skewed = asking(&[(ANNOTATION_RESTARTED_AT, "2025-11-21T12:04:00Z")]);
    assert!(read(&skewed, None, at(NOW)).restart.is_some(), "clocks differ");
}

#[test]
fn parts_of_a_second_make_no_request_of_their_own() {
    let connector = having_honoured(asking(&ALL.map(|name| (name, "2025-11-21T11:00:00.9Z"))), EARLIER);
    assert_eq!(read(&connector, None, at(NOW)).probe, None);
}

// ===== as a whole =====

/// A pod of the connector that takes requests, and the address that it takes them at.
async fn replica(refusals: usize) -> (String, Arc<Mutex<Vec<String>>>) {
    // Loopback has addresses enough for every test to have the admin port for itself.
    let address =
        Ipv4Addr::new(127, rand::random_range(1..250), rand::random_range(0..250), rand::random_range(1..250));
    let listener = tokio::net::TcpListener::bind((address, ADMIN_PORT)).await.unwrap();
    let taken: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = taken.clone();
    let answer = move |path: &'static str| {
        let log = log.clone();
        post(move |headers: axum::http::HeaderMap| {
            let log = log.clone();
            async move {
                let mut log = log.lock().unwrap();
                let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
                log.push(format!("{path} {bearer}"));
                if log.len() <= refusals { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::ACCEPTED }
            }
        })
    };
    let router = Router::new().route("/probe", answer("/probe")).route("/reload", answer("/reload"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address.to_string(), taken)
}

/// What the operator proves with that it asks: a token for this connector.
const OWN_TOKEN: &str = "Bearer token 1 for mcp-connectors.io/operator/team/tresor, mcp-connectors.io/operator";

/// Reconciles once, and returns what was written: the requests in the status, and reason and note of each Event.
async fn reconciled(connector: McpConnector, pods: &[String]) -> (Value, Vec<(String, String)>) {
    let server = ApiServer::default();
    let caches = with_pods(&connector, &server, pods);
    let context = context(&server, caches);
    reconcile(Arc::new(DeserializeGuard(Ok(connector))), context).await.unwrap();
    (server.object(CONNECTOR)["status"]["requests"].clone(), server.events())
}

#[tokio::test]
async fn every_replica_is_asked_once_and_it_is_remembered() {
    let (first, taken) = replica(0).await;
    let (second, also_taken) = replica(2).await;
    let asked = asking(&[(ANNOTATION_PROBE_REQUESTED_AT, EARLIER)]);
    let (requests, events) = reconciled(asked, &[first, second]).await;
    assert_eq!(*taken.lock().unwrap(), [format!("/probe {OWN_TOKEN}")]);
    assert_eq!(also_taken.lock().unwrap().len(), 3, "one that refuses is asked again");
    assert_eq!(requests, json!({"probe": EARLIER}));
    let told = events.iter().find(|(reason, _)| reason == "ProbeRequested").unwrap();
    assert!(told.1.starts_with("2 of 2 replicas were asked"), "{told:?}");
}

#[tokio::test]
async fn one_that_never_answers_is_told_of_and_not_asked_for_ever() {
    let (first, _) = replica(0).await;
    let (second, taken) = replica(99).await;
    let asked = asking(&[(ANNOTATION_RELOAD_REQUESTED_AT, EARLIER), (ANNOTATION_PROBE_REQUESTED_AT, LATER)]);
    let (requests, events) = reconciled(asked, &[first, second]).await;
    assert_eq!(*taken.lock().unwrap(), vec![format!("/reload {OWN_TOKEN}"); 3], "reading again includes a probe");
    assert_eq!(requests, json!({"reload": EARLIER, "probe": "2025-11-21T11:59:00Z"}));
    let told = events.iter().find(|(reason, _)| reason == "ReloadRequested").unwrap();
    assert!(told.1.starts_with("1 of 2 replicas were asked"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn many_that_never_answer_leave_time_for_the_rest_of_the_reconcile() {
    let mut silent = Vec::new();
    while silent.len() < 100 {
        let address =
            Ipv4Addr::new(127, rand::random_range(1..250), rand::random_range(0..250), rand::random_range(1..250));
        // The kernel takes the connections, and nobody ever answers.
        silent.extend(tokio::net::TcpListener::bind((address, ADMIN_PORT)).await);
    }
    let pods: Vec<String> = silent.iter().map(|pod| pod.local_addr().unwrap().ip().to_string()).collect();
    let (requests, events) = reconciled(asking(&[(ANNOTATION_PROBE_REQUESTED_AT, EARLIER)]), &pods).await;
    assert_eq!(requests, json!({"probe": EARLIER}));
    let told = events.iter().find(|(reason, _)| reason == "ProbeRequested").unwrap();
    assert!(told.1.starts_with("0 of 100 replicas were asked"), "{told:?}");
}

#[tokio::test]
async fn what_was_honoured_is_neither_asked_nor_written_again() {
    let (address, taken) = replica(0).await;
    let honoured = having_honoured(asking(&ALL.map(|name| (name, EARLIER))), EARLIER);
    let (requests, events) = reconciled(honoured, &[address]).await;
    assert_eq!(taken.lock().unwrap().len(), 0);
    assert_eq!(requests, json!({"probe": EARLIER, "reload": EARLIER, "restart": EARLIER}));
    assert!(!events.iter().any(|(reason, _)| reason.ends_with("Requested")), "{events:?}");
}

#[tokio::test]
async fn a_restart_changes_the_pod_template_and_nobody_is_asked() {
    let (address, taken) = replica(0).await;
    let connector = asking(&[(ANNOTATION_RESTARTED_AT, EARLIER)]);
    let server = ApiServer::default();
    let context = context(&server, with_pods(&connector, &server, &[address]));
    reconcile(Arc::new(DeserializeGuard(Ok(connector))), context).await.unwrap();
    let template = server.object(DEPLOYMENT)["spec"]["template"]["metadata"]["annotations"].clone();
    assert_eq!(template[ANNOTATION_RESTARTED_AT], EARLIER);
    assert_eq!(server.object(CONNECTOR)["status"]["requests"], json!({"restart": EARLIER}));
    assert!(server.events().iter().any(|(reason, _)| reason == "RestartRequested"));
    assert_eq!(taken.lock().unwrap().len(), 0);
}
