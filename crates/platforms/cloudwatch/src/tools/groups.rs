//! Which log groups there are.

use std::{sync::Arc, time::Duration};

use aws_sdk_cloudwatchlogs::types::{DataProtectionStatus, InheritedProperty, LogGroup as Told, LogGroupClass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{Doing, Place, Whole, hinted, int, invalid, read, whole};
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
    /// Part of the name, with its capitals; if nothing has these, what has others is looked for. Not together with
    /// `prefix`.
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
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct LogGroup {
    /// Name.
    name: String,
    /// ARN, by which a group of a linked account is named.
    arn: Option<String>,
    /// Class: `STANDARD`, `INFREQUENT_ACCESS` or `DELIVERY`.
    class: Option<String>,
    /// Days for which events are kept; absent if for ever, or if AWS does not say.
    retention_days: Option<i32>,
    /// True if events are kept for ever; absent if not, or if AWS does not say.
    never_expires: Option<bool>,
    /// True if data protection masks parts of its events with asterisks; absent if not, or if AWS does not say.
    data_protected: Option<bool>,
    /// Bytes that are stored, as far as AWS says; it is some hours old.
    stored_bytes: Option<i64>,
    /// When it was made.
    created: Option<String>,
}

impl LogGroup {
    /// A group with all that AWS has of it. What is missing then is none.
    fn whole(group: &Told) -> Self {
        let never_expires = group.retention_in_days().is_none().then_some(true);
        Self { never_expires, ..Self::in_part(group) }
    }

    /// A group of which AWS may have left something out, as it does where it looks for a part of the name.
    fn in_part(group: &Told) -> Self {
        // Older answers have the ARN with a mark at its end only, without which it is the one that is taken elsewhere.
        let arn = group.log_group_arn().or_else(|| group.arn().map(|arn| arn.trim_end_matches(":*")));
        // By a policy of its own, or by one of its account.
        let data_protected = group.data_protection_status() == Some(&DataProtectionStatus::Activated)
            || group.inherited_properties().contains(&InheritedProperty::AccountDataProtection);
        Self {
            name: group.log_group_name().unwrap_or_default().to_owned(),
            arn: arn.map(str::to_owned),
            class: group.log_group_class().map(|class| class.as_str().to_owned()),
            retention_days: group.retention_in_days(),
            never_expires: None,
            data_protected: data_protected.then_some(true),
            stored_bytes: group.stored_bytes(),
            created: group.creation_time().and_then(from_milliseconds),
        }
    }
}

const DOING: Doing = Doing::new("list log groups", "logs:DescribeLogGroups");
/// Groups among which a name with other capitals is looked for.
const MOST_LOOKED_AT: usize = 500;

async fn list(
    cloudwatch: Arc<CloudWatch>,
    input: ListInput,
    context: CallContext,
) -> Result<Page<LogGroup>, ToolError> {
    if input.prefix.is_some() && input.name_contains.is_some() {
        return Err(invalid("prefix", "give either prefix or name_contains"));
    }
    let limit = input.page.limit();
    let place = Place::of(input.page.cursor())?;
    let none = "no log group matches: capitals matter; try a part of the name with name_contains. This connector sees one region";
    let Some(part) = &input.name_contains else {
        let page = place
            .read_by(limit, <[_]>::len, |token| cloudwatch.groups_page(&input, None, limit, token, &context))
            .await?;
        return Ok(hinted(map(page, LogGroup::whole), none));
    };
    let page = place
        .read_by(limit, <[_]>::len, |token| cloudwatch.groups_page(&input, Some(part), limit, token, &context))
        .await?;
    if page.items.is_empty() && !page.truncated && input.page.cursor().is_none() {
        return cloudwatch.groups_with_other_capitals(&input, part, limit, none, &context).await;
    }
    let (known, hint) = cloudwatch.details_of(&page.items, input.linked_accounts, &context).await;
    let told = |group: &Told| {
        let known = known.iter().find(|one| one.log_group_name() == group.log_group_name() && same_place(one, group));
        known.map_or_else(|| LogGroup::in_part(group), LogGroup::whole)
    };
    let mut page = hinted(map(page, told), none);
    page.hints.extend(hint);
    Ok(page)
}

fn map<T>(page: Page<Told>, told: impl Fn(&Told) -> T) -> Page<T> {
    let Page { items, truncated, next_cursor, hints } = page;
    Page { items: items.iter().map(told).collect(), truncated, next_cursor, hints }
}

/// Whether two groups of one name are of one account.
fn same_place(one: &Told, other: &Told) -> bool {
    let arn = |group: &Told| group.log_group_arn().or(group.arn()).map(|arn| arn.trim_end_matches(":*").to_owned());
    match (arn(one), arn(other)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

impl CloudWatch {
    async fn groups_page(
        &self,
        input: &ListInput,
        part: Option<&String>,
        limit: usize,
        token: Option<String>,
        context: &CallContext,
    ) -> Result<(Vec<Told>, Option<String>), ToolError> {
        let class = input.class.map(|class| match class {
            Class::Standard => LogGroupClass::Standard,
            Class::InfrequentAccess => LogGroupClass::InfrequentAccess,
            Class::Delivery => LogGroupClass::Delivery,
        });
        let answer = self
            .ask_page(DOING, context, token, |token| {
                self.session
                    .logs
                    .describe_log_groups()
                    .set_log_group_name_prefix(input.prefix.clone())
                    .set_log_group_name_pattern(part.cloned())
                    .set_log_group_class(class.clone())
                    .set_include_linked_accounts(input.linked_accounts.then_some(true))
                    .set_next_token(token)
                    .limit(int(limit))
                    .send()
            })
            .await?;
        Ok((answer.log_groups.unwrap_or_default(), answer.next_token))
    }

    /// AWS looks for a part of a name with its capitals. Among the first groups, the same is looked for without them.
    async fn groups_with_other_capitals(
        &self,
        input: &ListInput,
        part: &str,
        limit: usize,
        none: &str,
        context: &CallContext,
    ) -> Result<Page<LogGroup>, ToolError> {
        let Whole { entries, cut } =
            whole(MOST_LOOKED_AT, |token| self.groups_page(input, None, 50, token, context)).await?;
        let part = part.to_lowercase();
        let matches = |group: &&Told| group.log_group_name().is_some_and(|name| name.to_lowercase().contains(&part));
        let mut found: Vec<LogGroup> = entries.iter().filter(matches).map(LogGroup::whole).collect();
        let truncated = found.len() > limit || cut;
        found.truncate(limit);
        let mut page = Page { items: found, truncated, next_cursor: None, hints: Vec::new() };
        page.hints.push(match (page.items.is_empty(), cut) {
            (true, false) => none.to_owned(),
            (false, _) => "no name has this part with these capitals; these have it with others".to_owned(),
            (true, true) => format!(
                "no name has this part with these capitals; with others it was looked for among the first {} groups only: give \
                 a prefix",
                entries.len()
            ),
        });
        Ok(page)
    }

    /// What AWS leaves out of groups that it found by a part of their name; and what is said if that can't be read.
    async fn details_of(&self, found: &[Told], linked: bool, context: &CallContext) -> (Vec<Told>, Option<String>) {
        if found.is_empty() {
            return (Vec::new(), None);
        }
        // Groups of linked accounts are named by their ARNs.
        let identifier = |group: &Told| {
            let arn = group.log_group_arn().or(group.arn()).map(|arn| arn.trim_end_matches(":*"));
            if linked { arn.or(group.log_group_name()) } else { group.log_group_name() }.map(str::to_owned)
        };
        let identifiers: Vec<String> = found.iter().filter_map(identifier).take(50).collect();
        let asked = self.ask(DOING, context, || {
            let request = self.session.logs.describe_log_groups().set_log_group_identifiers(Some(identifiers.clone()));
            request.set_include_linked_accounts(linked.then_some(true)).send()
        });
        match asked.await {
            Ok(answer) => (answer.log_groups.unwrap_or_default(), None),
            Err(error) => {
                let hint = format!("class and retention of these groups are not known: {}", error.message);
                (Vec::new(), Some(hint))
            }
        }
    }
}
