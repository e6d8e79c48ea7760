//! What AWS' messages name: which of several things a refusal is about, in words that are the caller's own or AWS' names
//! of its members and permissions. Nothing else of a message is told.

use super::{Mistake, plain};
use crate::place::Place;
use tools::ToolError;

/// What a message names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The id of an expression.
    expression: Option<String>,
    /// Which of the queries, counted from one.
    query: Option<usize>,
    /// The member of the request whose value can't be.
    member: Option<String>,
    missing: Option<Missing>,
    pub(super) denial: Denial,
}

/// What is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Missing {
    Stream,
    Group(String),
}

/// Members of requests with the arguments that they come from, which have the same name in all tools.
const ARGUMENTS: [(&str, &str); 15] = [
    ("logGroupName", "group"),
    ("logGroupIdentifier", "group"),
    ("logGroupNames", "groups"),
    ("logGroupIdentifiers", "groups"),
    ("logGroupNamePrefix", "prefix"),
    ("logGroupNamePattern", "name_contains"),
    ("logStreamName", "stream"),
    ("logStreamNames", "streams"),
    ("filterPattern", "pattern"),
    ("queryString", "query"),
    ("queryId", "query_id"),
    ("logRecordPointer", "ptr"),
    ("limit", "limit"),
    ("startTime", "since"),
    ("endTime", "until"),
];

impl Said {
    /// The messages are those that people posted: yet-another-cloudwatch-exporter #385 (a query),
    /// fluent-plugin-cloudwatch-logs #185 and grafana/grafana #79155 (a member), percona/rds_exporter PR 123 (a stream).
    pub(super) fn of(message: &str) -> Self {
        let between = |before: &str, after: &str| Some(message.split_once(before)?.1.split_once(after)?.0);
        let query = message.split_once("MetricDataQueries.member.").and_then(|(_, rest)| rest.split('.').next());
        let group = between("Log group '", "' does not exist").filter(|name| is_group(name));
        let missing = if message.contains("log stream does not exist") {
            Some(Missing::Stream)
        } else {
            group.map(|name| Missing::Group(name.to_owned()))
        };
        Self {
            expression: between("expression '", "'").and_then(plain),
            query: query.and_then(|number| number.parse().ok()),
            // A value, which stands before it, may hold anything.
            member: message
                .split_once("' failed to satisfy constraint")
                .and_then(|(before, _)| plain(before.rsplit_once("at '")?.1)),
            missing,
            denial: Denial::of(message),
        }
    }

    /// Says what is not there.
    pub(super) fn tell_missing(&self, told: &mut ToolError, doing: &str, place: &Place) {
        let (message, remedy) = match &self.missing {
            None => return,
            Some(Missing::Stream) => (
                format!("AWS can't {doing}: the log group has no such stream, or not all of them, in {place}"),
                "capitals matter; leave out what is not there: events without streams tell which there are",
            ),
            Some(Missing::Group(_)) => (
                format!("AWS can't {doing}: there is no such log group in {place} as the one in platform_words"),
                "leave it out; list_cloudwatch_log_groups tells the names, and capitals matter",
            ),
        };
        told.message = message;
        told.remedy = Some(remedy.to_owned());
        if let Some(Missing::Group(name)) = &self.missing {
            told.platform_words = Some(vec![name.clone()]);
        }
    }

    /// Says which of several things is wrong.
    pub(super) fn tell_mistake(&self, mistake: Mistake, told: &mut ToolError, doing: &str) {
        if let (Mistake::Expression, Some(id)) = (mistake, &self.expression) {
            told.message = format!("AWS refuses to {doing}: the expression of {id} is wrong");
        }
        if let (Mistake::Unknown, Some(member)) = (mistake, &self.member) {
            told.message = format!("AWS refuses to {doing}: it takes no such {member}");
            let argument = ARGUMENTS.iter().find(|(one, _)| one == member).map(|(_, argument)| (*argument).to_owned());
            told.argument = argument.or_else(|| told.argument.take());
            let names = "a name has no : and no *, nor are there wildcards";
            if member.starts_with("logGroup") {
                told.remedy =
                    Some(format!("{names}: letters, digits and . - _ / # only; list_cloudwatch_log_groups tells them"));
            } else if member.starts_with("logStream") {
                told.remedy = Some(format!("{names}: name the streams, or leave them out and give a pattern"));
            }
        }
        // Of the first one it is not known whether it was the only one.
        if let Some(number @ 2..) = self.query {
            told.message = format!("{} (queries[{}])", told.message, number - 1);
            told.argument = Some("queries".to_owned());
        }
    }
}

/// Whether a text may be the name of a log group (`CreateLogGroup` of the API reference).
fn is_group(text: &str) -> bool {
    let is_of = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/#".contains(&byte);
    (1..=512).contains(&text.len()) && text.bytes().all(is_of)
}

/// What AWS says of what it denies: which permission, and what kind of policy
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) permission: Option<String>,
    policy: Option<&'static str>,
    /// Whether a policy forbids it. If not, there is none that allows it.
    is_explicit: bool,
    /// Whether it is about a log group that may be of another account: only of these AWS names the caller's
    /// (grafana/grafana #111504).
    is_of_group: bool,
}

impl Denial {
    pub(crate) fn of(message: &str) -> Self {
        const POLICIES: [&str; 7] = [
            "identity-based policy",
            "resource-based policy",
            "service control policy",
            "resource control policy",
            "permissions boundary",
            "session policy",
            "VPC endpoint policy",
        ];
        let rest = message.split_once("not authorized to perform: ").map(|(_, rest)| rest).unwrap_or_default();
        let permission = rest.split_whitespace().next().filter(|word| is_permission(word));
        // The reason stands at the end: names of objects, before it, may hold anything.
        let explicit = rest.rsplit_once("with an explicit deny").map(|(_, reason)| reason);
        let reason = explicit.or_else(|| Some(rest.rsplit_once("because no ")?.1)).unwrap_or_default();
        Self {
            permission: permission.map(str::to_owned),
            policy: POLICIES.into_iter().find(|policy| reason.contains(policy)),
            is_explicit: explicit.is_some(),
            is_of_group: message.starts_with("User with accountId"),
        }
    }

    /// What keeps a permission from the identity, if that is not the identity's own lack of it.
    pub(crate) fn cause(&self, permission: &str) -> Option<String> {
        match self.policy {
            policy if self.is_explicit => {
                let kind = policy.map(|policy| format!(" ({policy})")).unwrap_or_default();
                Some(format!("a policy forbids {permission}{kind}"))
            }
            Some(policy) if policy != "identity-based policy" => Some(format!("no {policy} allows {permission}")),
            _ => None,
        }
    }

    /// Says what helps, where that is not one permission more for the identity.
    pub(super) fn tell(&self, told: &mut ToolError, doing: &str, permission: &str) {
        let remedy = match self.cause(permission) {
            Some(cause) => {
                told.message = format!("the connector's identity may not {doing}: {cause}");
                "one permission more for the identity does not help: whoever owns that policy must change it"
            }
            None if self.is_of_group => {
                "ask for that permission; a log group of another account must be linked to this one, too"
            }
            None => return,
        };
        told.remedy = Some(remedy.to_owned());
    }
}

/// Whether a word is the name of a permission, such as `logs:StartQuery`.
fn is_permission(word: &str) -> bool {
    let is_of = |part: &str, of: fn(u8) -> bool| !part.is_empty() && part.len() <= 64 && part.bytes().all(of);
    word.split_once(':').is_some_and(|(service, action)| {
        is_of(service, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && is_of(action, |byte| byte.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_aws_says_of_what_it_denies_is_read() {
        let user = "User: arn:aws:iam::1:user/x is not authorized to perform:";
        for (message, permission, policy, is_explicit) in [
            ("planted", None, None, false),
            ("User: x is not authorized to perform: <b>:planted on y", None, None, false),
            (&format!("{user} kms:Decrypt"), Some("kms:Decrypt"), None, false),
            (
                &format!("{user} logs:StartQuery on resource: a because no identity-based policy allows the action"),
                Some("logs:StartQuery"),
                Some("identity-based policy"),
                false,
            ),
            (
                &format!("{user} logs:StartQuery on resource: a with an explicit deny in a service control policy"),
                Some("logs:StartQuery"),
                Some("service control policy"),
                true,
            ),
            (
                &format!("{user} logs:StartQuery on resource: a with an explicit deny"),
                Some("logs:StartQuery"),
                None,
                true,
            ),
            // The name of what was asked for is no reason.
            (
                &format!("{user} logs:StopQuery on resource: session policy because no permissions boundary allows it"),
                Some("logs:StopQuery"),
                Some("permissions boundary"),
                false,
            ),
        ] {
            let denial = Denial::of(message);
            assert_eq!(
                (denial.permission.as_deref(), denial.policy, denial.is_explicit),
                (permission, policy, is_explicit),
                "{message}"
            );
        }
        assert!(
            Denial::of("User with accountId: 1 is not authorized to perform StartQuery on resources x.").is_of_group
        );
    }

    #[test]
    fn what_a_message_names_is_read() {
        let constraint = "failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*";
        for (message, member, missing) in [
            (
                format!("1 validation error detected: Value '**' at 'logStreamNamePrefix' {constraint}"),
                Some("logStreamNamePrefix"),
                None,
            ),
            (
                format!("1 validation error detected: Value 'at 'x' at 'logStreamNames' {constraint}"),
                Some("logStreamNames"),
                None,
            ),
            (format!("1 validation error detected: Value 'x' at 'planted text' {constraint}"), None, None),
            ("The specified log stream does not exist.".to_owned(), None, Some(Missing::Stream)),
            (
                "Log group '/aws/x' does not exist for account ID '1' (Service: AWSLogs)".to_owned(),
                None,
                Some(Missing::Group("/aws/x".to_owned())),
            ),
            ("Log group 'planted text' does not exist for account ID '1'".to_owned(), None, None),
            ("The specified log group does not exist.".to_owned(), None, None),
        ] {
            let said = Said::of(&message);
            assert_eq!((said.member.as_deref(), said.missing), (member, missing), "{message}");
        }
    }
}
