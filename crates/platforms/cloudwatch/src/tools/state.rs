//! Switching actions of alarms on and off, and setting a state by hand.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Doing,
    alarms::{Alarm, State},
    invalid, mutation,
};
use crate::CloudWatch;
use tools::{CallContext, Preview, ToolDeclaration, ToolEntry, ToolError};

const ENABLE: Doing = Doing::new("switch actions of alarms on", "cloudwatch:EnableAlarmActions");
const DISABLE: Doing = Doing::new("switch actions of alarms off", "cloudwatch:DisableAlarmActions");
const SET: Doing = Doing::new("set the alarm's state", "cloudwatch:SetAlarmState");

const ACTIONS: ToolDeclaration = ToolDeclaration::mutate(
    "set_cloudwatch_alarm_actions_enabled",
    "Switch actions of alarms on or off",
    "Switches the actions of alarms on or off, without an end. To keep them back for a time, mute_cloudwatch_alarms is \
     better: it ends by itself.",
)
.idempotent();
const STATE: ToolDeclaration = ToolDeclaration::destroy(
    "set_cloudwatch_alarm_state",
    "Set an alarm's state",
    "Sets the state of an alarm by hand, to test what follows. It causes the real actions of that state: people are paged, \
     instances are stopped. An alarm on metrics falls back at its next evaluation; a composite one may not do so by itself.",
)
.off_by_default();

pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    vec![
        mutation(cloudwatch, ACTIONS, preview_actions, set_actions),
        mutation(cloudwatch, STATE, preview_state, set_state),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct ActionsInput {
    /// Names of the alarms, exactly as they are; or their ARNs, or links of their pages.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 2_048)))]
    names: Vec<String>,
    /// True to switch their actions on.
    enabled: bool,
}

/// What was switched.
#[derive(Serialize, JsonSchema)]
struct Switched {
    /// The alarms, as they were before.
    before: Vec<Alarm>,
    /// The alarms, as they are now.
    after: Vec<Alarm>,
}

/// The alarms, of which there must be some.
async fn alarms(cloudwatch: &CloudWatch, names: &[String], context: &CallContext) -> Result<Vec<Alarm>, ToolError> {
    if names.is_empty() || names.len() > 100 {
        return Err(invalid("names", "names must hold from 1 to 100 alarms"));
    }
    cloudwatch.states(&cloudwatch.alarm_names(names)?, context).await
}

/// Whether the actions are not known to be as they are wanted.
fn differs(alarm: &Alarm, wanted: bool) -> bool {
    alarm.actions_enabled != Some(wanted)
}

async fn preview_actions(
    cloudwatch: Arc<CloudWatch>,
    input: ActionsInput,
    context: CallContext,
) -> Result<Preview, ToolError> {
    let before = alarms(&cloudwatch, &input.names, &context).await?;
    let changed = before.iter().filter(|alarm| differs(alarm, input.enabled)).count();
    let word = if input.enabled { "on" } else { "off" };
    let would = format!("switch the actions of {changed} alarms {word}; {} are so already", before.len() - changed);
    let state: Vec<_> = before
        .iter()
        .map(|alarm| json!({ "name": alarm.name, "state": alarm.state, "actions_enabled": alarm.actions_enabled }))
        .collect();
    Ok(Preview { would, state: json!({ "alarms": state }) })
}

async fn set_actions(
    cloudwatch: Arc<CloudWatch>,
    input: ActionsInput,
    context: CallContext,
) -> Result<Switched, ToolError> {
    let before = alarms(&cloudwatch, &input.names, &context).await?;
    let wrong: Vec<String> =
        before.iter().filter(|alarm| differs(alarm, input.enabled)).map(|alarm| alarm.name.clone()).collect();
    if wrong.is_empty() {
        return Ok(Switched { after: before.clone(), before });
    }
    let metrics = &cloudwatch.session.metrics;
    if input.enabled {
        let request = || metrics.enable_alarm_actions().set_alarm_names(Some(wrong.clone())).send();
        cloudwatch.change(ENABLE, &context, request).await?;
    } else {
        let request = || metrics.disable_alarm_actions().set_alarm_names(Some(wrong.clone())).send();
        cloudwatch.change(DISABLE, &context, request).await?;
    }
    let after = alarms(&cloudwatch, &input.names, &context).await.map_err(ToolError::after_the_change)?;
    Ok(Switched { before, after })
}

#[derive(Deserialize, JsonSchema)]
struct StateInput {
    /// Name of the alarm, exactly as it is; or its ARN, or the link of its page.
    #[schemars(length(min = 1, max = 2_048))]
    name: String,
    /// The state.
    state: State,
    /// Why; it is shown with the state.
    #[schemars(length(min = 3, max = 500))]
    reason: String,
}

/// What was set.
#[derive(Serialize, JsonSchema)]
struct StateSet {
    /// The alarm, as it was before.
    before: Alarm,
    /// The alarm, as it was right after; its next evaluation may have changed it since.
    after: Alarm,
}

async fn preview_state(
    cloudwatch: Arc<CloudWatch>,
    input: StateInput,
    context: CallContext,
) -> Result<Preview, ToolError> {
    let described = cloudwatch.fetch_alarm(&input.name, &context).await?;
    let before = described.short(200);
    let actions = match before.actions_enabled {
        _ if described.actions(input.state).is_empty() => "for which it has no actions of its own",
        Some(true) => "which causes its actions unless they are muted",
        Some(false) => "without actions, which are off",
        None => "which may cause its actions",
    };
    let wanted = input.state.sdk();
    let would = if before.state == wanted.as_str() {
        format!("do nothing: the alarm {:?} is {} already", before.name, before.state)
    } else {
        format!("set the alarm {:?} from {} to {}, {actions}", before.name, before.state, wanted.as_str())
    };
    Ok(Preview { would, state: json!({ "state": before.state, "actions_enabled": before.actions_enabled }) })
}

async fn set_state(
    cloudwatch: Arc<CloudWatch>,
    input: StateInput,
    context: CallContext,
) -> Result<StateSet, ToolError> {
    let before = cloudwatch.fetch_alarm(&input.name, &context).await?.short(200);
    // A second time would cause the actions a second time.
    if before.state == input.state.sdk().as_str() {
        return Ok(StateSet { after: before.clone(), before });
    }
    cloudwatch
        .change(SET, &context, || {
            let request = cloudwatch.session.metrics.set_alarm_state().alarm_name(&before.name);
            request.state_value(input.state.sdk()).state_reason(&input.reason).send()
        })
        .await?;
    let after = cloudwatch.fetch_alarm(&input.name, &context).await.map_err(ToolError::after_the_change)?.short(200);
    Ok(StateSet { before, after })
}
