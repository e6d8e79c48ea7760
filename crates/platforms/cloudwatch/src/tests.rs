//! CloudWatch's platform against a strict double: every tool, every row of the health table, credentials and errors. Every
//! failing answer holds a planted secret, which may come out nowhere.

mod alarms;
mod errors;
mod health;
mod hosts;
mod identity;
mod logs;
mod tools;
mod workload;

use platform_doubles::cloudwatch as double;
use serde_json::{Value, json};

use self::double::{Double, KEY, REGION};
use platform_testing::{
    Connected,
    compliance::{Act, Subject},
};

const SECRET: &str = "planted-secret-access-key";
const CREDENTIALS: &[(&str, &str)] = &[("access_key_id", KEY), ("secret_access_key", SECRET)];

platform_testing::complies!(crate::tests::subject);

/// CloudWatch in the suite that every platform must pass.
fn subject() -> Subject {
    Subject {
        connect: crate::connect,
        double: || {
            Box::pin(async {
                let double = Double::start().await;
                (double.url(), Box::new(double) as _)
            })
        },
        name: "cloudWatch",
        word: "cloudwatch",
        spec: |url| json!({ "cloudWatch": { "region": REGION, "endpoint": url, "insecureHttp": true } }),
        credentials: CREDENTIALS,
        calls: || {
            vec![
                ("list_cloudwatch_metrics", json!({})),
                ("get_cloudwatch_metric_data", json!({ "namespace": "AWS/EC2", "metric": "CPUUtilization" })),
                ("list_cloudwatch_alarms", json!({})),
                ("get_cloudwatch_alarm", json!({ "name": "cpu" })),
                ("list_cloudwatch_log_groups", json!({})),
                ("query_cloudwatch_logs", json!({ "groups": ["/app/web"], "query": "fields @message" })),
                ("get_cloudwatch_query", json!({ "query_id": "query-0" })),
                ("stop_cloudwatch_query", json!({ "query_id": "query-0" })),
                ("analyze_cloudwatch_metric", json!({ "namespace": "AWS/EC2", "metric": "CPUUtilization" })),
                ("get_cloudwatch_alarm_history", json!({ "name": "cpu" })),
                ("explain_cloudwatch_alarm", json!({ "name": "cpu" })),
                ("list_cloudwatch_mute_rules", json!({})),
                ("mute_cloudwatch_alarms", json!({ "names": ["disk"], "minutes": 5, "reason": "test" })),
                ("unmute_cloudwatch_alarms", json!({ "rule": "mcp-1" })),
                ("set_cloudwatch_alarm_actions_enabled", json!({ "names": ["disk"], "enabled": true })),
                ("set_cloudwatch_alarm_state", json!({ "name": "disk", "state": "OK", "reason": "test" })),
                ("filter_cloudwatch_log_events", json!({ "group": "/app/web" })),
                ("tail_cloudwatch_logs", json!({ "group": "/app/web", "seconds": 1 })),
                ("get_cloudwatch_log_context", json!({ "ptr": "pointer-3" })),
                ("find_cloudwatch_log_patterns", json!({ "group": "/app/web" })),
            ]
        },
        most_requests: 2,
        tells_health: "",
        empty_is_404: &[],
        acts: || {
            let mute = json!({ "names": ["disk"], "minutes": 5, "reason": "test" });
            let query = json!({ "groups": ["/app/web"], "query": "fields @message", "wait_seconds": 0 });
            vec![
                Act::new("mute_cloudwatch_alarms", mute.clone()),
                Act::new("unmute_cloudwatch_alarms", json!({ "names": ["disk"] }))
                    .after("mute_cloudwatch_alarms", mute),
                Act::new("set_cloudwatch_alarm_actions_enabled", json!({ "names": ["disk"], "enabled": false })),
                Act::new("set_cloudwatch_alarm_state", json!({ "name": "disk", "state": "ALARM", "reason": "test" })),
                Act::new("stop_cloudwatch_query", json!({ "query_id": "query-0" }))
                    .after("query_cloudwatch_logs", query),
            ]
        },
        acting: |_| {
            Box::pin(async {
                let double = Double::start().await;
                // Queries run until somebody stops them.
                double.change(|state| state.logs.script = vec!["Running"]);
                (double.url(), Box::new(double) as _)
            })
        },
        // By the operation's name, in CBOR's path or JSON's header.
        changes: |asked| {
            let mut operation =
                asked.uri.path().rsplit('/').next().into_iter().chain(asked.operation.rsplit('.').next());
            let verbs = ["Put", "Delete", "Enable", "Disable", "Set", "Stop"];
            operation.any(|name| verbs.iter().any(|verb| name.starts_with(verb)))
        },
        // All lists that are asked for have a token, but the events of a stream, which end where their token comes again.
        pages: Some(|asked, body, next| {
            let is_json = asked.operation.rsplit('.').next().unwrap_or_default();
            if ["DescribeLogGroups", "FilterLogEvents", "ListAnomalies", "ListLogAnomalyDetectors"].contains(&is_json) {
                let mut body: Value = serde_json::from_slice(body).ok()?;
                body["nextToken"] = json!(next);
                return Some(body.to_string().into_bytes());
            }
            let of_cbor = asked.uri.path().rsplit('/').next().unwrap_or_default();
            let lists =
                ["DescribeAlarms", "DescribeAlarmHistory", "ListMetrics", "ListAlarmMuteRules", "GetMetricData"];
            lists.contains(&of_cbor).then(|| {
                let mut body = double::cbor::decode(body);
                body["NextToken"] = json!(next);
                double::cbor::encode(&body)
            })
        }),
    }
}

/// A connector to the double: `spec` is what `spec.platform.cloudWatch` says besides region and endpoint.
fn connect(url: &str, fields: &[(&str, &str)], spec: &Value) -> Connected {
    let mut all = json!({ "region": REGION, "endpoint": url, "insecureHttp": true });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let mut connected = Connected::new(crate::connect, &json!({ "cloudWatch": all }), fields);
    // A query is looked at after a second and a half.
    connected.patience = std::time::Duration::from_secs(20);
    connected
}

/// A connector with the double's keys.
fn with_keys(url: &str) -> Connected {
    connect(url, CREDENTIALS, &json!({}))
}
