//! Mute rules: listed, and deleted. They keep the actions of alarms back for a time, while the alarms themselves go on.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_cloudwatch::{operation::get_alarm_mute_rule::GetAlarmMuteRuleOutput, types::AlarmMuteRuleStatus};
use futures::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_with::skip_serializing_none;

use super::{
    Doing, Place, Whole, alarms::rule_name, hinted, int, invalid, mutation, named::alarm_named, read, rfc3339, whole,
};
use crate::CloudWatch;
use kit::args::PageArgs;
use tools::{CallContext, ErrorCode, Page, Preview, ToolDeclaration, ToolEntry, ToolError};

/// Rules that are read one by one, because a list of rules does not tell their targets.
pub(super) const MOST_RULES: usize = 50;
/// Requests for single rules at a time.
const AT_A_TIME: usize = 4;

const LIST_RULES: Doing = Doing::new("list mute rules", "cloudwatch:ListAlarmMuteRules");
const GET_RULE: Doing = Doing::new("read a mute rule", "cloudwatch:GetAlarmMuteRule");
const DELETE_RULE: Doing = Doing::new("delete a mute rule", "cloudwatch:DeleteAlarmMuteRule");

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_cloudwatch_mute_rules",
    "List mute rules",
    "Lists mute rules with their alarms, schedule and status. While a rule is active, its alarms change state and cause no \
     actions.",
);
const UNMUTE: ToolDeclaration = ToolDeclaration::mutate(
    "unmute_cloudwatch_alarms",
    "Unmute alarms",
    "Deletes a mute rule by its name, or all rules whose alarms are among the given ones. A rule that concerns other alarms, \
     too, is only deleted by its name.",
)
.idempotent();

pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    vec![read(cloudwatch, LIST, list), mutation(cloudwatch, UNMUTE, preview_unmute, unmute)]
}

/// Whether a rule mutes.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Status {
    /// It will mute.
    Scheduled,
    /// It mutes.
    Active,
    /// It is over.
    Expired,
}

#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// Only rules that concern this alarm; its name, its ARN, or the link of its page.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2_048))]
    alarm: Option<String>,
    /// Only rules of this status. Defaults to those that are scheduled or active.
    #[serde(default)]
    status: Option<Status>,
    #[serde(flatten)]
    page: PageArgs<20, MOST_RULES>,
}

/// A mute rule.
#[skip_serializing_none]
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct MuteRule {
    /// Name.
    name: String,
    /// `SCHEDULED`, `ACTIVE` or `EXPIRED`.
    status: String,
    /// Alarms whose actions are kept back.
    alarms: Vec<String>,
    /// When it begins: `at(...)` or `cron(...)`, in `timezone`.
    pub(super) schedule: Option<String>,
    /// Time zone of the schedule.
    pub(super) timezone: String,
    /// How long it mutes each time, as in ISO 8601.
    pub(super) duration: Option<String>,
    /// Why. Untrusted text.
    description: Option<String>,
    /// From when on the schedule counts; absent if from the beginning.
    starts: Option<String>,
    /// When the rule ends for good.
    ends: Option<String>,
}

impl MuteRule {
    fn of(rule: GetAlarmMuteRuleOutput) -> Self {
        let schedule = rule.rule.and_then(|rule| rule.schedule);
        Self {
            name: rule.name.unwrap_or_default(),
            status: rule.status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
            alarms: rule.mute_targets.map(|targets| targets.alarm_names().to_vec()).unwrap_or_default(),
            schedule: schedule.as_ref().and_then(|schedule| schedule.expression.clone()),
            // Where none is named it is UTC (`Schedule` of the API reference).
            timezone: schedule.as_ref().and_then(|one| one.timezone.clone()).unwrap_or_else(|| "UTC".to_owned()),
            duration: schedule.and_then(|schedule| schedule.duration),
            description: rule.description,
            starts: rule.start_date.as_ref().and_then(rfc3339),
            ends: rule.expire_date.as_ref().and_then(rfc3339),
        }
    }

    /// Whether it is about an alarm.
    pub(super) fn concerns(&self, alarm: &str) -> bool {
        self.alarms.iter().any(|one| one == alarm)
    }

    /// Whether it keeps actions back, now or later.
    pub(super) fn counts(&self) -> bool {
        self.status != "EXPIRED"
    }
}

async fn list(
    cloudwatch: Arc<CloudWatch>,
    input: ListInput,
    context: CallContext,
) -> Result<Page<MuteRule>, ToolError> {
    let limit = input.page.limit();
    let place = Place::of(input.page.cursor())?;
    let statuses = match input.status {
        None => vec![AlarmMuteRuleStatus::Scheduled, AlarmMuteRuleStatus::Active],
        Some(Status::Scheduled) => vec![AlarmMuteRuleStatus::Scheduled],
        Some(Status::Active) => vec![AlarmMuteRuleStatus::Active],
        Some(Status::Expired) => vec![AlarmMuteRuleStatus::Expired],
    };
    let alarm = match &input.alarm {
        Some(alarm) => Some(alarm_named(alarm, "alarm", &cloudwatch.session.place)?),
        None => None,
    };
    let unread = Mutex::new(None);
    let page = place
        .read(limit, &context, |token| {
            let (cloudwatch, alarm, statuses, context, unread) = (&cloudwatch, &alarm, &statuses, &context, &unread);
            async move {
                let (names, next) = cloudwatch.rule_names(alarm.as_deref(), statuses, token, limit, context).await?;
                let (rules, hint) = cloudwatch.fetch_rules(&names, context).await?;
                *unread.lock().unwrap_or_else(PoisonError::into_inner) = hint;
                Ok((rules, next))
            }
        })
        .await?;
    let unread = unread.into_inner().unwrap_or_else(PoisonError::into_inner);
    let page = if unread.is_some() {
        page
    } else {
        hinted(page, "no mute rule matches: status EXPIRED shows those that are over")
    };
    Ok(unread.into_iter().fold(page, Page::with_hint))
}

impl CloudWatch {
    /// Names of a page of rules, and AWS' token for the next page.
    async fn rule_names(
        &self,
        alarm: Option<&str>,
        statuses: &[AlarmMuteRuleStatus],
        token: Option<String>,
        limit: usize,
        context: &CallContext,
    ) -> Result<(Vec<String>, Option<String>), ToolError> {
        let answer = self
            .ask_page(LIST_RULES, context, token, |token| {
                self.session
                    .metrics
                    .list_alarm_mute_rules()
                    .set_alarm_name(alarm.map(str::to_owned))
                    .set_statuses(Some(statuses.to_vec()))
                    .max_records(int(limit))
                    .set_next_token(token)
                    .send()
            })
            .await?;
        let names = answer.alarm_mute_rule_summaries().iter().filter_map(|rule| rule_name(rule.alarm_mute_rule_arn()?));
        Ok((names.map(str::to_owned).collect(), answer.next_token.clone()))
    }

    /// Names of all rules that concern an alarm, as far as there are not too many.
    pub(super) async fn rules_of(
        &self,
        alarm: &str,
        statuses: &[AlarmMuteRuleStatus],
        context: &CallContext,
    ) -> Result<Whole<String>, ToolError> {
        whole(MOST_RULES, |token| self.rule_names(Some(alarm), statuses, token, MOST_RULES, context)).await
    }

    pub(super) async fn fetch_rule(&self, name: &str, context: &CallContext) -> Result<MuteRule, ToolError> {
        let request = || self.session.metrics.get_alarm_mute_rule().alarm_mute_rule_name(name).send();
        Ok(MuteRule::of(self.ask(GET_RULE, context, request).await?))
    }

    /// The rules of these names, and what is said of those that can't be read. One that has gone since is none.
    ///
    /// # Errors
    /// When none can be read.
    async fn fetch_rules(
        &self,
        names: &[String],
        context: &CallContext,
    ) -> Result<(Vec<MuteRule>, Option<String>), ToolError> {
        let (mut rules, mut unread, mut why) = (Vec::new(), Vec::new(), None);
        for some in names.chunks(AT_A_TIME) {
            let outcomes = join_all(some.iter().map(|name| self.fetch_rule(name, context))).await;
            for (name, outcome) in some.iter().zip(outcomes) {
                match outcome {
                    Ok(rule) => rules.push(rule),
                    Err(error) if error.code == ErrorCode::NotFound => {}
                    Err(error) => {
                        unread.push(name.as_str());
                        why.get_or_insert(error);
                    }
                }
            }
        }
        match why {
            None => Ok((rules, None)),
            Some(error) if rules.is_empty() => Err(error),
            Some(error) => {
                let hint = format!("not read, and so not known: {}; {}", unread.join(", "), error.message);
                Ok((rules, Some(hint)))
            }
        }
    }
}

#[derive(Deserialize, JsonSchema)]
struct UnmuteInput {
    /// Name of the rule. Not together with `names`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    rule: Option<String>,
    /// Names of alarms, their ARNs, or links of their pages. Not together with `rule`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 10), inner(length(min = 1, max = 2_048)))]
    names: Option<Vec<String>>,
}

/// What was unmuted.
#[derive(Serialize, JsonSchema)]
struct Unmuted {
    /// Names of the rules that were deleted.
    removed: Vec<String>,
    /// Rules that were left, because they concern other alarms, too.
    kept: Vec<String>,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// What an unmuting would do.
struct Unmuting {
    /// Rules that are to be deleted.
    doomed: Vec<MuteRule>,
    /// Rules that concern other alarms, too.
    kept: Vec<MuteRule>,
    /// What of the rules is not known.
    hints: Vec<String>,
}

async fn plan_unmute(
    cloudwatch: &CloudWatch,
    input: &UnmuteInput,
    context: &CallContext,
) -> Result<Unmuting, ToolError> {
    match (&input.rule, &input.names) {
        (Some(rule), None) => {
            let doomed = vec![cloudwatch.fetch_rule(rule, context).await?];
            Ok(Unmuting { doomed, kept: Vec::new(), hints: Vec::new() })
        }
        (None, Some(alarms)) if (1..=10).contains(&alarms.len()) => {
            let alarms = cloudwatch.alarm_names(alarms)?;
            let counting = [AlarmMuteRuleStatus::Scheduled, AlarmMuteRuleStatus::Active];
            let (mut names, mut cut) = (Vec::new(), false);
            for alarm in &alarms {
                let found = cloudwatch.rules_of(alarm, &counting, context).await?;
                cut |= found.cut;
                names.extend(found.entries);
            }
            names.sort();
            names.dedup();
            cut |= names.len() > MOST_RULES;
            names.truncate(MOST_RULES);
            let (rules, unread) = cloudwatch.fetch_rules(&names, context).await?;
            let mut hints: Vec<String> = unread.into_iter().collect();
            if cut {
                hints.push(format!("only {MOST_RULES} rules are looked at in one call: call again for the others"));
            }
            // Of a rule without alarms it is not known whom it concerns.
            let is_theirs =
                |rule: &MuteRule| !rule.alarms.is_empty() && rule.alarms.iter().all(|alarm| alarms.contains(alarm));
            let (doomed, kept) = rules.into_iter().partition(is_theirs);
            Ok(Unmuting { doomed, kept, hints })
        }
        _ => Err(invalid("rule", "give either rule, or names of 1 to 10 alarms")),
    }
}

fn names_of(rules: &[MuteRule]) -> Vec<String> {
    rules.iter().map(|rule| rule.name.clone()).collect()
}

async fn preview_unmute(
    cloudwatch: Arc<CloudWatch>,
    input: UnmuteInput,
    context: CallContext,
) -> Result<Preview, ToolError> {
    let Unmuting { doomed, kept, hints } = plan_unmute(&cloudwatch, &input, &context).await?;
    let would = format!("delete {} mute rules, and leave {} that concern other alarms too", doomed.len(), kept.len());
    let would = hints.iter().fold(would, |would, hint| format!("{would}; {hint}"));
    Ok(Preview { would, state: json!({ "delete": names_of(&doomed), "keep": names_of(&kept) }) })
}

async fn unmute(cloudwatch: Arc<CloudWatch>, input: UnmuteInput, context: CallContext) -> Result<Unmuted, ToolError> {
    let Unmuting { doomed, kept, mut hints } = plan_unmute(&cloudwatch, &input, &context).await?;
    let mut removed = Vec::new();
    for rule in &doomed {
        let request = || cloudwatch.session.metrics.delete_alarm_mute_rule().alarm_mute_rule_name(&rule.name).send();
        match cloudwatch.change(DELETE_RULE, &context, request).await {
            Ok(_) => removed.push(rule.name.clone()),
            Err(error) if removed.is_empty() => return Err(error),
            Err(error) => {
                let left = doomed.len() - removed.len();
                hints.push(format!("{left} more rules should go: {}; call again for them", error.message));
                break;
            }
        }
    }
    if !kept.is_empty() {
        hints.push(
            "a rule that is kept mutes still: delete it by its name, which unmutes its other alarms too".to_owned(),
        );
    }
    if doomed.is_empty() && kept.is_empty() && hints.is_empty() {
        hints.push(
            "no mute rule concerns these alarms; their actions may be off: get_cloudwatch_alarm tells".to_owned(),
        );
    }
    Ok(Unmuted { removed, kept: names_of(&kept), hints })
}
