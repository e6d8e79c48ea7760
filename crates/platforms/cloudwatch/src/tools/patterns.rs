//! What kinds of lines a log group has: its patterns, and the anomalies that a detector has found, if there is one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_sdk_cloudwatchlogs::types::QueryLanguage;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Doing, Window, cut,
    insights::{Outcome, Question},
    query::ended_well,
    read,
};
use crate::CloudWatch;
use tools::{CallContext, ErrorCode, TimeInput, ToolDeclaration, ToolEntry, ToolError, time::from_milliseconds};

/// Patterns that are told.
const MOST_PATTERNS: i32 = 20;
/// Time that the query may take.
const WAIT: Duration = Duration::from_secs(25);

const GROUPS: Doing = Doing::new("find the log group", "logs:DescribeLogGroups");
const DETECTORS: Doing = Doing::new("look for anomaly detectors", "logs:ListLogAnomalyDetectors");
const ANOMALIES: Doing = Doing::new("read anomalies", "logs:ListAnomalies");

const FIND: ToolDeclaration = ToolDeclaration::read(
    "find_cloudwatch_log_patterns",
    "Find patterns in logs",
    "Tells what kinds of lines a log group has and how many of each: a quick way into unknown logs. It runs an Insights query, \
     which costs money by the bytes scanned. If an anomaly detector watches the group, its findings are told as well.",
);

pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    vec![read(cloudwatch, FIND, find)]
}

#[derive(Deserialize, JsonSchema)]
struct FindInput {
    /// Name of the log group, or its ARN if it belongs to a linked account.
    #[schemars(length(min = 1, max = 2_048))]
    group: String,
    /// Beginning. Defaults to one hour before `until`.
    #[serde(default)]
    since: Option<TimeInput>,
    /// End. Defaults to now.
    #[serde(default)]
    until: Option<TimeInput>,
}

/// Patterns of a log group.
#[derive(Serialize, JsonSchema)]
struct Findings {
    /// The patterns, the most frequent first.
    patterns: Vec<KindOfLine>,
    /// What the group's anomaly detector has found.
    anomalies: Vec<Anomaly>,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A kind of line.
#[derive(Serialize, JsonSchema)]
struct KindOfLine {
    /// The line, with marks where lines differ. Untrusted.
    pattern: String,
    /// How many lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<f64>,
    /// Part of all lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    /// Severity that CloudWatch reads from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<String>,
}

/// Something unusual.
#[derive(Serialize, JsonSchema)]
struct Anomaly {
    /// The lines that it is about. Untrusted.
    pattern: String,
    /// What is unusual, in CloudWatch's words.
    description: String,
    /// `HIGH`, `MEDIUM` or `LOW`.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<String>,
    /// Whether it goes on.
    active: bool,
    /// When it was first seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    /// When it was last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
}

async fn find(cloudwatch: Arc<CloudWatch>, input: FindInput, context: CallContext) -> Result<Findings, ToolError> {
    let window = Window::new(input.since.as_ref(), input.until.as_ref(), SignedDuration::from_hours(1))?;
    let is_arn = input.group.starts_with("arn:");
    let group = input.group.trim_end_matches(":*").to_owned();
    let (group_arns, group_names) = if is_arn { (vec![group.clone()], vec![]) } else { (vec![], vec![group.clone()]) };
    let question = Question {
        language: QueryLanguage::Cwli,
        group_names,
        group_arns,
        // https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Pattern.html
        text: "pattern @message".to_owned(),
        window,
        limit: Some(MOST_PATTERNS),
    };
    let mut run = cloudwatch.start_query(&question, &context).await?;
    let id = run.id.clone();
    let mut hints = Vec::new();
    let results = match run.wait(&cloudwatch, WAIT, Some(MOST_PATTERNS), &context).await? {
        Outcome::Ended(results) => {
            ended_well(&results, &id)?;
            results
        }
        Outcome::Running(results) => {
            run.stop().await;
            hints.push(
                "the query did not end in time and was stopped, so the counts are too small: ask for a shorter time"
                    .to_owned(),
            );
            results
        }
    };
    let mut patterns: Vec<KindOfLine> = results
        .results()
        .iter()
        .filter_map(|row| {
            let fields: BTreeMap<&str, &str> =
                row.iter().filter_map(|field| Some((field.field()?, field.value()?))).collect();
            let number = |name| fields.get(name).and_then(|value: &&str| value.parse().ok());
            Some(KindOfLine {
                pattern: cut(fields.get("@pattern")?, 2_048),
                count: number("@sampleCount"),
                ratio: number("@ratio"),
                severity: fields.get("@severityLabel").map(|value| (*value).to_owned()),
            })
        })
        .collect();
    patterns.sort_by(|a, b| b.count.unwrap_or_default().total_cmp(&a.count.unwrap_or_default()));
    if patterns.is_empty() {
        hints.push("no patterns: there were no lines in this time".to_owned());
    }
    let anomalies = match cloudwatch.fetch_anomalies(&group, is_arn, &context).await {
        Ok(Some(anomalies)) => anomalies,
        Ok(None) => {
            hints.push("no anomaly detector watches this group".to_owned());
            Vec::new()
        }
        // The patterns are worth telling without them.
        Err(error) if error.code != ErrorCode::DeadlineExceeded => {
            hints.push(format!("anomalies are not known: {}", error.message));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    Ok(Findings { patterns, anomalies, hints })
}

impl CloudWatch {
    /// What the first detector that watches the group has found; nothing if there is none.
    async fn fetch_anomalies(
        &self,
        group: &str,
        is_arn: bool,
        context: &CallContext,
    ) -> Result<Option<Vec<Anomaly>>, ToolError> {
        let logs = &self.session.logs;
        let arn = if is_arn {
            Some(group.to_owned())
        } else {
            let request = || logs.describe_log_groups().log_group_name_prefix(group).limit(50).send();
            let groups = self.ask(GROUPS, context, request).await?;
            let found = groups.log_groups().iter().find(|one| one.log_group_name() == Some(group));
            found.and_then(|one| one.log_group_arn()).map(str::to_owned)
        };
        let Some(arn) = arn else { return Ok(None) };
        let request = || logs.list_log_anomaly_detectors().filter_log_group_arn(&arn).limit(1).send();
        let detectors = self.ask(DETECTORS, context, request).await?;
        let Some(detector) = detectors.anomaly_detectors().first().and_then(|one| one.anomaly_detector_arn()) else {
            return Ok(None);
        };
        let request = || logs.list_anomalies().anomaly_detector_arn(detector).limit(50).send();
        let anomalies = self.ask(ANOMALIES, context, request).await?;
        let told = anomalies.anomalies().iter().take(20).map(|one| Anomaly {
            pattern: cut(one.pattern_string(), 2_048),
            description: cut(one.description(), 500),
            priority: one.priority().map(str::to_owned),
            active: one.active(),
            first_seen: from_milliseconds(one.first_seen()),
            last_seen: from_milliseconds(one.last_seen()),
        });
        Ok(Some(told.collect()))
    }
}
