//! What kinds of lines a log group has: its patterns, and the anomalies that a detector has found, if there is one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_sdk_cloudwatchlogs::types::{AnomalyDetectorStatus, QueryLanguage};
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    Doing, LATE, Whole, Window, cut,
    events::masked,
    insights::{Outcome, Question},
    int,
    named::{Group, group_named},
    query::ended_well,
    read, whole,
};
use crate::CloudWatch;
use kit::args::Moment;
use tools::{CallContext, ErrorCode, ToolDeclaration, ToolEntry, ToolError, page::fit, time::from_milliseconds};

/// Patterns that are told.
const MOST_PATTERNS: i32 = 20;
/// Anomalies that are told.
const MOST_ANOMALIES: usize = 20;
/// Log groups that begin with the name, among which the one is looked for.
const MOST_GROUPS: usize = 500;
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
    /// Name of the log group, its ARN if it belongs to a linked account, or the link of its page.
    #[schemars(length(min = 1, max = 2_048))]
    group: String,
    /// Beginning. Defaults to one hour before `until`.
    #[serde(default)]
    since: Option<Moment>,
    /// End. Defaults to now.
    #[serde(default)]
    until: Option<Moment>,
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
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct KindOfLine {
    /// The line, with marks where lines differ. Untrusted.
    pattern: String,
    /// How many lines.
    count: Option<f64>,
    /// Part of all lines.
    ratio: Option<f64>,
    /// Severity that CloudWatch reads from it.
    severity: Option<String>,
}

/// Something unusual.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct Anomaly {
    /// The lines that it is about. Untrusted.
    pattern: String,
    /// What is unusual, in CloudWatch's words.
    description: String,
    /// `HIGH`, `MEDIUM` or `LOW`.
    priority: Option<String>,
    /// Whether it goes on.
    active: bool,
    /// `Active`; `Suppressed`, when somebody has put it aside; `Baseline`, when it counts as normal by now.
    state: String,
    /// Until when it is put aside, if that ends.
    suppressed_until: Option<String>,
    /// When it was first seen.
    first_seen: Option<String>,
    /// When it was last seen.
    last_seen: Option<String>,
}

async fn find(cloudwatch: Arc<CloudWatch>, input: FindInput, context: CallContext) -> Result<Findings, ToolError> {
    let now = cloudwatch.now();
    let window = Window::new(input.since.as_ref(), input.until.as_ref(), SignedDuration::from_hours(1), now)?;
    let group = group_named(&input.group, "group", &cloudwatch.session.place)?;
    let (group_arns, group_names) = (group.arn.clone().into_iter().collect(), group.name.clone().into_iter().collect());
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
    if patterns.is_empty() && hints.is_empty() {
        hints.push("no patterns: the query found no lines in this time".to_owned());
        hints.extend(window.is_fresh(now).then(|| LATE.to_owned()));
    }
    hints.extend(masked(patterns.iter().map(|kind| &kind.pattern)));
    let room = context.max_result_bytes.saturating_sub(4_096) / 2;
    let (patterns, full) = fit(patterns, room);
    if full || int(patterns.len()) >= MOST_PATTERNS {
        hints.push(format!("these are the first {} patterns, and there may be more", patterns.len()));
    }
    let anomalies = match cloudwatch.fetch_anomalies(&group, &context).await {
        Ok(Detected::By(Whole { entries, cut }, status)) => {
            if status != Some(AnomalyDetectorStatus::Analyzing) {
                let status = status.as_ref().map_or("in a state that AWS does not tell", |status| status.as_str());
                hints.push(format!(
                    "the anomaly detector of this group is {status}, not ANALYZING: that it finds nothing says nothing"
                ));
            }
            let (entries, full) = fit(entries, room);
            if cut || full {
                hints.push(format!("there are more anomalies than these {}", entries.len()));
            }
            entries
        }
        Ok(Detected::ByNobody) => {
            hints.push("no anomaly detector watches this group".to_owned());
            Vec::new()
        }
        Ok(Detected::Unknown) => {
            hints.push("whether an anomaly detector watches this group is not known: its ARN was not found".to_owned());
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

/// What is known of a group's anomalies.
enum Detected {
    /// Its detector, which is in this state, has found these.
    By(Whole<Anomaly>, Option<AnomalyDetectorStatus>),
    /// It has no detector.
    ByNobody,
    /// The group was not found, so neither is a detector.
    Unknown,
}

impl CloudWatch {
    /// What the first detector that watches the group has found.
    async fn fetch_anomalies(&self, group: &Group, context: &CallContext) -> Result<Detected, ToolError> {
        let logs = &self.session.logs;
        let arn = match (&group.arn, &group.name) {
            (Some(arn), _) => Some(arn.clone()),
            (None, Some(name)) => self.arn_of(name, context).await?,
            (None, None) => None,
        };
        let Some(arn) = arn else { return Ok(Detected::Unknown) };
        let detectors = whole(1, |token| {
            let arn = &arn;
            async move {
                let request =
                    |token| logs.list_log_anomaly_detectors().filter_log_group_arn(arn).set_next_token(token).send();
                let answer = self.ask_page(DETECTORS, context, token, request).await?;
                Ok((answer.anomaly_detectors.unwrap_or_default(), answer.next_token))
            }
        })
        .await?;
        let detector = detectors.entries.into_iter().next();
        let status = detector.as_ref().and_then(|one| one.anomaly_detector_status.clone());
        let Some(detector) = detector.and_then(|one| one.anomaly_detector_arn) else {
            return Ok(if detectors.cut { Detected::Unknown } else { Detected::ByNobody });
        };
        let anomalies = whole(MOST_ANOMALIES, |token| {
            let detector = &detector;
            async move {
                let request =
                    |token| logs.list_anomalies().anomaly_detector_arn(detector).limit(50).set_next_token(token).send();
                let answer = self.ask_page(ANOMALIES, context, token, request).await?;
                Ok((answer.anomalies.unwrap_or_default(), answer.next_token))
            }
        })
        .await?;
        let told = anomalies.entries.iter().map(|one| Anomaly {
            pattern: cut(one.pattern_string(), 2_048),
            description: cut(one.description(), 500),
            priority: one.priority().map(str::to_owned),
            active: one.active(),
            // Both members say it, and either may be left out.
            state: if one.suppressed() == Some(true) { "Suppressed" } else { one.state().as_str() }.to_owned(),
            suppressed_until: Some(one.suppressed_until()).filter(|until| *until > 0).and_then(from_milliseconds),
            first_seen: from_milliseconds(one.first_seen()),
            last_seen: from_milliseconds(one.last_seen()),
        });
        Ok(Detected::By(Whole { entries: told.collect(), cut: anomalies.cut }, status))
    }

    /// The ARN of the log group of this name.
    async fn arn_of(&self, name: &str, context: &CallContext) -> Result<Option<String>, ToolError> {
        let groups = whole(MOST_GROUPS, |token| async move {
            let request = |token| {
                let request = self.session.logs.describe_log_groups().log_group_name_prefix(name);
                request.limit(50).set_next_token(token).send()
            };
            let answer = self.ask_page(GROUPS, context, token, request).await?;
            let found = answer.log_groups.unwrap_or_default();
            // They come in the order of their names, so the one itself is the first.
            let is_there = found.iter().any(|one| one.log_group_name() == Some(name));
            Ok((found, answer.next_token.filter(|_| !is_there)))
        })
        .await?;
        let found = groups.entries.into_iter().find(|one| one.log_group_name() == Some(name));
        let arn = |one: aws_sdk_cloudwatchlogs::types::LogGroup| one.log_group_arn.or(one.arn);
        Ok(found.and_then(arn).map(|arn| arn.trim_end_matches(":*").to_owned()))
    }
}
