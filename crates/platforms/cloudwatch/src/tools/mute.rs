//! Muting alarms for a time, by a mute rule that ends by itself.

use std::sync::Arc;

use aws_lc_rs::digest;
use aws_sdk_cloudwatch::types::{MuteTargets, Rule, Schedule};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Doing, alarms::Alarm, invalid, mutation, named::alarm_named, rules::MuteRule};
use crate::CloudWatch;
use kit::args::Moment;
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

/// Time that a request takes at most, as a rule: the minute in which a rule begins may not pass meanwhile.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(5);
/// Alarms of one rule (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutAlarmMuteRule.html>).
const MOST_ALARMS: usize = 100;

const PUT_RULE: Doing = Doing::new("make a mute rule", "cloudwatch:PutAlarmMuteRule on the rule and on each alarm");

const MUTE: ToolDeclaration = ToolDeclaration::mutate(
    "mute_cloudwatch_alarms",
    "Mute alarms",
    "Keeps the actions of alarms back for a time, by a mute rule that ends by itself. The alarms go on being evaluated. It \
     looks at their states first, and refuses an alarm that fires already, unless allow_firing is set: people may be waiting \
     for its actions.",
)
.idempotent();
pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    vec![mutation(cloudwatch, MUTE, preview_mute, mute)]
}

#[derive(Deserialize, JsonSchema)]
struct MuteInput {
    /// Names of the alarms, exactly as they are; or their ARNs, or links of their pages.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 2_048)))]
    names: Vec<String>,
    /// Minutes for which they are muted: 1 to 21600 (15 days).
    #[schemars(range(min = 1, max = 21_600))]
    minutes: u32,
    /// When it begins, which can't lie in the past. Defaults to the next whole minute.
    #[serde(default)]
    start: Option<Moment>,
    /// Why; it is kept with the rule.
    #[schemars(length(min = 3, max = 500))]
    reason: String,
    /// Mute alarms that are in ALARM, too.
    #[serde(default)]
    allow_firing: bool,
}

/// What a mute would do, with everything checked.
struct Mute {
    rule: String,
    alarms: Vec<Alarm>,
    begins: Timestamp,
    /// The rule that does it already.
    already: Option<MuteRule>,
}

/// What was muted.
#[derive(Serialize, JsonSchema)]
struct Muted {
    /// Name of the rule, by which it can be unmuted.
    rule: String,
    /// When it begins; absent if that is not known, because somebody has changed the rule since.
    #[serde(skip_serializing_if = "Option::is_none")]
    begins: Option<String>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<String>,
    /// The alarms, as they were before.
    state_before: Vec<Alarm>,
    /// Whether the same rule was there already, so that nothing was changed.
    already: bool,
}

/// The name of the rule that these arguments make, so that the same call twice makes one rule.
fn name_of(input: &MuteInput) -> String {
    let mut names = input.names.clone();
    names.sort();
    names.dedup();
    let start = input.start.as_ref().map(|start| format!("{start:?}"));
    let text = format!("{names:?} {} {:?} {}", input.minutes, start, input.reason);
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let short: String = hex::encode(digest.as_ref()).chars().take(16).collect();
    format!("mcp-{short}")
}

impl CloudWatch {
    /// # Errors
    /// When an alarm isn't there, or fires and may not be muted then.
    async fn plan_mute(&self, input: &MuteInput, context: &CallContext) -> Result<Mute, ToolError> {
        if input.names.is_empty() || input.names.len() > MOST_ALARMS {
            return Err(invalid("names", format!("names must hold from 1 to {MOST_ALARMS} alarms")));
        }
        if !(1..=21_600).contains(&input.minutes) {
            return Err(invalid("minutes", "minutes must be from 1 to 21600"));
        }
        let now = self.exactly_now();
        let start = input.start.as_ref().map_or(Ok(now + ON_ITS_WAY), |start| start.resolve("start", now))?;
        if start.as_second() < now.as_second() - 60 {
            return Err(invalid("start", "start can't lie in the past"));
        }
        // Schedules count whole minutes. A time that has passed might not begin at all.
        let minute = start.as_second().div_euclid(60) + i64::from(start.as_second().rem_euclid(60) > 0);
        let begins = Timestamp::from_second(minute * 60).unwrap_or(start);
        let alarms = self.states(&input.names, context).await?;
        let fires = |name: &&str| alarms.iter().any(|alarm| alarm.name == **name && alarm.state == "ALARM");
        let firing: Vec<&str> = input.names.iter().map(String::as_str).filter(fires).collect();
        if !firing.is_empty() && !input.allow_firing {
            return Err(ToolError::new(ErrorCode::Conflict, format!("in ALARM already: {}", firing.join(", ")))
                .with_argument("allow_firing")
                .with_remedy("leave them out, or set allow_firing if nobody needs to be told of them"));
        }
        let rule = name_of(input);
        let already = match self.fetch_rule(&rule, context).await {
            Ok(found) => Some(found).filter(|rule| rule.counts() && !is_over(rule, now)),
            Err(error) if error.code == ErrorCode::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(changed) = &already {
            let missing: Vec<&str> =
                input.names.iter().filter(|name| !changed.concerns(name)).map(String::as_str).collect();
            if !missing.is_empty() {
                let message =
                    format!("somebody has changed the rule {rule}, which does not mute {}", missing.join(", "));
                let remedy =
                    "give another reason, which makes another rule; or delete this one with unmute_cloudwatch_alarms";
                return Err(ToolError::new(ErrorCode::Conflict, message).with_remedy(remedy));
            }
        }
        Ok(Mute { rule, alarms, begins, already })
    }

    /// The alarms of these names, all of which must be there.
    pub(super) async fn states(&self, names: &[String], context: &CallContext) -> Result<Vec<Alarm>, ToolError> {
        let fetched = self.fetch_alarms(names, context).await?;
        let found: Vec<Alarm> = fetched.alarms.iter().map(|alarm| alarm.short(200)).collect();
        let missing: Vec<&str> =
            names.iter().filter(|name| !found.iter().any(|alarm| alarm.name == **name)).map(String::as_str).collect();
        if missing.is_empty() { Ok(found) } else { Err(self.no_alarms(&fetched, &missing, "names")) }
    }

    /// The names of alarms that may be given as ARNs or links.
    pub(super) fn alarm_names(&self, given: &[String]) -> Result<Vec<String>, ToolError> {
        given.iter().map(|name| alarm_named(name, "names", &self.session.place)).collect()
    }
}

async fn preview_mute(
    cloudwatch: Arc<CloudWatch>,
    input: MuteInput,
    context: CallContext,
) -> Result<Preview, ToolError> {
    let input = MuteInput { names: cloudwatch.alarm_names(&input.names)?, ..input };
    let plan = cloudwatch.plan_mute(&input, &context).await?;
    let would = if plan.already.is_some() {
        "do nothing: the same mute rule is there already".to_owned()
    } else {
        let begin = if input.start.is_none() { ", from the next whole minute on" } else { "" };
        format!("keep the actions of {} alarms back for {} minutes{begin}", plan.alarms.len(), input.minutes)
    };
    let states: Vec<_> = plan.alarms.iter().map(|alarm| json!({ "name": alarm.name, "state": alarm.state })).collect();
    Ok(Preview { would, state: json!({ "alarms": states, "rule": plan.rule, "already": plan.already.is_some() }) })
}

/// When a rule of ours began, unless somebody has given it another schedule.
fn began(rule: &MuteRule) -> Option<Timestamp> {
    let at = rule.schedule.as_deref().filter(|_| rule.timezone == "UTC")?.strip_prefix("at(")?.strip_suffix(')')?;
    format!("{at}:00Z").parse().ok()
}

/// Whether the one time of a rule of ours has passed, whatever its status is still.
fn is_over(rule: &MuteRule, now: Timestamp) -> bool {
    let duration = rule.duration.as_deref().and_then(|duration| duration.parse::<SignedDuration>().ok());
    let ends = began(rule).zip(duration).and_then(|(began, duration)| began.checked_add(duration).ok());
    ends.is_some_and(|ends| ends <= now)
}

async fn mute(cloudwatch: Arc<CloudWatch>, input: MuteInput, context: CallContext) -> Result<Muted, ToolError> {
    let input = MuteInput { names: cloudwatch.alarm_names(&input.names)?, ..input };
    let plan = cloudwatch.plan_mute(&input, &context).await?;
    let begins = plan.already.as_ref().map_or(Some(plan.begins), began);
    let duration = format!("PT{}M", input.minutes);
    // Somebody may have given it another time.
    let lasts_so = plan.already.as_ref().is_none_or(|rule| rule.duration.as_ref() == Some(&duration));
    let ends = begins.filter(|_| lasts_so).map(|begins| begins + SignedDuration::from_mins(i64::from(input.minutes)));
    let answer = Muted {
        rule: plan.rule.clone(),
        begins: begins.map(|begins| begins.to_string()),
        ends: ends.map(|ends| ends.to_string()),
        state_before: plan.alarms,
        already: plan.already.is_some(),
    };
    if answer.already {
        return Ok(answer);
    }
    let expression = format!("at({})", plan.begins.strftime("%Y-%m-%dT%H:%M"));
    let schedule = Schedule::builder().expression(expression).duration(duration).timezone("UTC").build();
    let targets = MuteTargets::builder().set_alarm_names(Some(input.names.clone())).build();
    cloudwatch
        .change(PUT_RULE, &context, || {
            cloudwatch
                .session
                .metrics
                .put_alarm_mute_rule()
                .name(&plan.rule)
                .description(&input.reason)
                .rule(Rule::builder().schedule(schedule.clone()).build())
                .mute_targets(targets.clone())
                .send()
        })
        .await?;
    Ok(answer)
}
