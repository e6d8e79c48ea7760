//! Which log groups there are.

use std::{sync::Arc, time::Duration};

use aws_sdk_cloudwatchlogs::types::LogGroupClass;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Doing, Place, hinted, int, invalid, read};
use crate::CloudWatch;
use kit::args::PageArgs;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError, time::from_milliseconds};

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_cloudwatch_log_groups",
    "List log groups",
    "Lists log groups with their class, retention and size. Give the beginning of the name, or a part of it.",
)
.cached(Duration::from_mins(1));

pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    vec![read(cloudwatch, LIST, list)]
}

#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// Beginning of the name, such as `/aws/lambda/`. Not together with `name_contains`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    prefix: Option<String>,
    /// Part of the name, in any case. Not together with `prefix`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    name_contains: Option<String>,
    /// Class of the group.
    #[serde(default)]
    class: Option<Class>,
    /// In a monitoring account: groups of linked accounts, too.
    #[serde(default)]
    linked_accounts: bool,
    #[serde(flatten)]
    page: PageArgs<50, 50>,
}

/// Class of a log group.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Class {
    /// All functions.
    Standard,
    /// Cheaper; queries are possible, filter_cloudwatch_log_events is not.
    InfrequentAccess,
    /// For delivery to other services only.
    Delivery,
}

/// A log group.
#[derive(Serialize, JsonSchema)]
struct LogGroup {
    /// Name.
    name: String,
    /// ARN, by which a group of a linked account is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    arn: Option<String>,
    /// Class: `STANDARD`, `INFREQUENT_ACCESS` or `DELIVERY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// Days for which events are kept; absent if for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_days: Option<i32>,
    /// Bytes that are stored, as far as AWS says; it is some hours old.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_bytes: Option<i64>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
}

async fn list(
    cloudwatch: Arc<CloudWatch>,
    input: ListInput,
    context: CallContext,
) -> Result<Page<LogGroup>, ToolError> {
    const DOING: Doing = Doing::new("list log groups", "logs:DescribeLogGroups");
    if input.prefix.is_some() && input.name_contains.is_some() {
        return Err(invalid("prefix", "give either prefix or name_contains"));
    }
    let limit = input.page.limit();
    let place = Place::of(input.page.cursor())?;
    let class = input.class.map(|class| match class {
        Class::Standard => LogGroupClass::Standard,
        Class::InfrequentAccess => LogGroupClass::InfrequentAccess,
        Class::Delivery => LogGroupClass::Delivery,
    });
    let answer = cloudwatch
        .ask(DOING, &context, || {
            cloudwatch
                .session
                .logs
                .describe_log_groups()
                .set_log_group_name_prefix(input.prefix.clone())
                .set_log_group_name_pattern(input.name_contains.clone())
                .set_log_group_class(class.clone())
                .set_include_linked_accounts(input.linked_accounts.then_some(true))
                .set_next_token(place.token.clone())
                .limit(int(limit))
                .send()
        })
        .await?;
    let found = answer.log_groups().iter().map(|group| LogGroup {
        name: group.log_group_name().unwrap_or_default().to_owned(),
        arn: group.log_group_arn().map(str::to_owned),
        class: group.log_group_class().map(|class| class.as_str().to_owned()),
        retention_days: group.retention_in_days(),
        stored_bytes: group.stored_bytes(),
        created: group.creation_time().and_then(from_milliseconds),
    });
    let page = place.page(found.collect(), answer.next_token.clone(), limit);
    Ok(hinted(page, "no log group matches: try a part of the name with name_contains, and check the region"))
}
