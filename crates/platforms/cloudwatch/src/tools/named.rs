//! What people and models give for a name: the name itself, an ARN, or a link of AWS' console. The console writes its places
//! after `#`, with `$` for the `%` of percent-encoding and often encoded twice: `logsV2:log-groups/log-group/$252Faws$252Fx`.

use super::invalid;
use crate::place::Place;
use kit::links::Link;
use tools::ToolError;

/// A log group, by its name or by its ARN. AWS takes them in different members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: Option<String>,
    pub(super) arn: Option<String>,
    /// The stream that an ARN or a link named with it.
    pub(super) stream: Option<String>,
}

impl Group {
    fn of(text: &str) -> Self {
        if !text.starts_with("arn:") {
            return Self { name: Some(text.to_owned()), ..Self::default() };
        }
        // AWS takes ARNs without the `:*` that it shows them with. A name has no colon.
        let mut parts = text.splitn(8, ':');
        let arn: Vec<&str> = parts.by_ref().take(7).collect();
        let stream = parts.next().and_then(|rest| rest.strip_prefix("log-stream:")).filter(|name| !name.is_empty());
        Self { name: None, arn: Some(arn.join(":")), stream: stream.map(str::to_owned) }
    }

    /// The group as AWS takes it where name and ARN share a member.
    pub(super) fn identifier(self) -> String {
        self.arn.or(self.name).unwrap_or_default()
    }

    pub(super) fn is_arn(&self) -> bool {
        self.arn.is_some()
    }
}

/// The one group that an argument names.
///
/// # Errors
/// When it is a link that names none, several, or one of another region or account.
pub(super) fn group_named(text: &str, argument: &str, here: &Place) -> Result<Group, ToolError> {
    let mut groups = groups_named(text, argument, here)?.into_iter();
    match (groups.next(), groups.next()) {
        (Some(group), None) => Ok(group),
        _ => Err(invalid(argument, format!("the link in {argument} names several log groups")).with_remedy("name one")),
    }
}

/// The groups that an argument names: one, or those of a link to an Insights query.
///
/// # Errors
/// When it is a link that names none, or one of another region or account.
pub(super) fn groups_named(text: &str, argument: &str, here: &Place) -> Result<Vec<Group>, ToolError> {
    let text = text.trim();
    let Some(link) = Link::read(text) else { return Ok(vec![Group::of(text)]) };
    let place = place_of(&link, argument, here)?;
    let none = || {
        invalid(argument, format!("the link in {argument} names no log group"))
            .with_remedy("give the log group's name; list_cloudwatch_log_groups tells the names")
    };
    let place = place.ok_or_else(none)?;
    let groups = if let Some((_, rest)) = place.split_once("log-groups/log-group/") {
        // Slashes of the names themselves are still encoded.
        let mut parts = rest.split(['/', '?']);
        let name = decoded(&decoded(parts.next().unwrap_or_default()));
        let stream = (parts.next() == Some("log-events")).then(|| parts.next()).flatten();
        let stream = stream.map(|stream| decoded(&decoded(stream)));
        let stream = stream.and_then(|stream| stream.split('?').next().map(str::to_owned));
        vec![Group { name: Some(name), arn: None, stream: stream.filter(|stream| !stream.is_empty()) }]
    } else if place.starts_with("logsV2:logs-insights") {
        sources(&decoded(&decoded(&place))).iter().map(|source| Group::of(source)).collect()
    } else {
        // As the console wrote it for many years: `logEventViewer:group=/x;stream=y`.
        let place = decoded(&decoded(&place));
        let (_, rest) = place.split_once(':').ok_or_else(none)?;
        let field = |name: &str| rest.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        vec![Group {
            name: field("group").map(str::to_owned),
            arn: None,
            stream: field("stream").map(str::to_owned).filter(|stream| !stream.is_empty()),
        }]
    };
    let is_named = |group: &Group| group.arn.is_some() || group.name.as_ref().is_some_and(|name| !name.is_empty());
    if groups.is_empty() || !groups.iter().all(is_named) {
        return Err(none());
    }
    Ok(groups)
}

/// The name of the alarm that an argument names.
///
/// # Errors
/// When it is an ARN or a link of something else, or of another region or account.
pub(super) fn alarm_named(text: &str, argument: &str, here: &Place) -> Result<String, ToolError> {
    if let Some(rest) = text.trim().strip_prefix("arn:") {
        // arn:aws:cloudwatch:eu-central-1:123456789012:alarm:NAME, which may have colons itself.
        let parts: Vec<&str> = rest.splitn(6, ':').collect();
        if let [_, "cloudwatch", region, account, "alarm", name] = parts.as_slice() {
            of_here((Some(region), Some(account)), argument, here)?;
            return Ok((*name).to_owned());
        }
        if matches!(parts.as_slice(), [_, _, _, _, ..]) {
            return Err(invalid(argument, format!("{argument} is the ARN of something that is no alarm")));
        }
    }
    let place = match Link::read(text) {
        Some(link) => place_of(&link, argument, here)?,
        None => None,
    };
    // Nearly all texts may be the name of an alarm.
    let Some(place) = place else { return Ok(text.to_owned()) };
    let name = if let Some((_, rest)) = place.split_once("alarmsV2:alarm/") {
        rest.split('?').next().map(decoded)
    } else {
        let fields = place.split(['&', ';', ':', '?']);
        fields
            .filter_map(|part| part.split_once('='))
            .find(|(key, _)| matches!(*key, "alarm" | "name"))
            .map(|(_, name)| decoded(name))
    };
    name.filter(|name| !name.is_empty()).ok_or_else(|| {
        invalid(argument, format!("the link in {argument} names no alarm"))
            .with_remedy("give the alarm's name; list_cloudwatch_alarms tells the names")
    })
}

/// The place within CloudWatch's console that a link leads to; nothing for a link to elsewhere.
pub(super) fn place_of(link: &Link, argument: &str, here: &Place) -> Result<Option<String>, ToolError> {
    const CONSOLES: [&str; 4] =
        ["console.aws.amazon.com", "console.amazonaws.cn", "console.amazonaws-us-gov.com", "console.amazonaws.eu"];
    let host = link.host();
    let Some(before) = CONSOLES.iter().find_map(|console| host.strip_suffix(console)) else { return Ok(None) };
    if link.segments().first().map(String::as_str) != Some("cloudwatch") {
        return Ok(None);
    }
    // Of several sessions at once: `123456789012-abcdefgh.eu-central-1.console.aws.amazon.com`.
    let mut labels = before.trim_end_matches('.').rsplit('.').filter(|part| !part.is_empty());
    let of_host = labels.next();
    let account = labels.next().and_then(|session| session.split('-').next());
    of_here((link.query("region").or(of_host), account), argument, here)?;
    Ok(Some(link.fragment().to_owned()))
}

/// Says no to what is of another region or account: something of the same name may be here, and is not what was meant.
fn of_here((region, account): (Option<&str>, Option<&str>), argument: &str, here: &Place) -> Result<(), ToolError> {
    let other = |kind: &str, its: &str| {
        let its: String = its.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(32).collect();
        Err(invalid(argument, format!("{argument} is of the {kind} {its}, and this connector sees {here} only"))
            .with_remedy(format!("another {kind} needs a connector of its own")))
    };
    match (region, account, here.account()) {
        (Some(its), ..) if its != here.region() => other("region", its),
        (_, Some(its), Some(own)) if its != own => other("account", its),
        _ => Ok(()),
    }
}

/// A text without percent-encoding, whether it is written with `%` or, as the console does after `#`, with `$`. What is no
/// encoding stays as it is.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits
            .filter(|digits| matches!(first, b'%' | b'$') && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// The log groups of a link to an Insights query: `~(…source~(~'*2faws*2fx~'*2fy)…)`.
fn sources(place: &str) -> Vec<String> {
    let Some((_, rest)) = place.split_once("source~(") else { return Vec::new() };
    let list = rest.split(')').next().unwrap_or_default();
    list.split('~').filter_map(|entry| entry.strip_prefix('\'')).map(|name| decoded(&name.replace('*', "%"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Place {
        let place = Place::new("eu-central-1".to_owned());
        place.learn(Some("123456789012"));
        place
    }

    #[test]
    fn an_alarm_is_named_by_its_name_its_arn_or_a_link() {
        let console = "https://eu-central-1.console.aws.amazon.com/cloudwatch";
        for (text, name) in [
            ("cpu", "cpu".to_owned()),
            (" with blanks ", " with blanks ".to_owned()),
            ("arn: the name of an alarm", "arn: the name of an alarm".to_owned()),
            ("https://example.com/is-down", "https://example.com/is-down".to_owned()),
            ("arn:aws:cloudwatch:eu-central-1:123456789012:alarm:a:b c", "a:b c".to_owned()),
            (&format!("{console}/home?region=eu-central-1#alarmsV2:alarm/my%20alarm"), "my alarm".to_owned()),
            (
                &format!("<{console}/deeplink.js?region=eu-central-1#alarmsV2:alarm/web$2Fcpu?~(x)>"),
                "web/cpu".to_owned(),
            ),
            ("https://console.aws.amazon.com/cloudwatch/home?region=eu-central-1#s=Alarms&alarm=cpu", "cpu".to_owned()),
            (&format!("{console}/home#alarm:alarmFilter=ANY;name=cpu"), "cpu".to_owned()),
            (
                "https://123456789012-abcdefgh.eu-central-1.console.aws.amazon.com/cloudwatch/home#alarmsV2:alarm/cpu",
                "cpu".to_owned(),
            ),
        ] {
            assert_eq!(alarm_named(text, "name", &here()).unwrap(), name, "{text}");
        }
        for (text, words) in [
            ("arn:aws:cloudwatch:us-east-1:123456789012:alarm:a", "region us-east-1"),
            ("arn:aws:cloudwatch:eu-central-1:210987654321:alarm:a", "account 210987654321"),
            ("arn:aws:logs:eu-central-1:123456789012:log-group:/x", "no alarm"),
            (
                "https://210987654321-abcdefgh.eu-central-1.console.aws.amazon.com/cloudwatch/home#alarmsV2:alarm/a",
                "account 210987654321",
            ),
            ("https://us-east-1.console.aws.amazon.com/cloudwatch/home#alarmsV2:alarm/a", "region us-east-1"),
            (&format!("{console}/home#dashboards:"), "names no alarm"),
        ] {
            let error = alarm_named(text, "name", &here()).unwrap_err();
            assert!(error.message.contains(words), "{text}: {error:?}");
        }
    }

    #[test]
    fn a_log_group_is_named_by_its_name_its_arn_or_a_link() {
        let console = "https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#";
        let named = |name: &str, stream: Option<&str>| Group {
            name: Some(name.to_owned()),
            arn: None,
            stream: stream.map(str::to_owned),
        };
        let arn = |stream: Option<&str>| Group {
            name: None,
            arn: Some("arn:aws:logs:eu-central-1:123456789012:log-group:/x".to_owned()),
            stream: stream.map(str::to_owned),
        };
        for (text, group) in [
            ("/aws/lambda/web", named("/aws/lambda/web", None)),
            ("arn:aws:logs:eu-central-1:123456789012:log-group:/x", arn(None)),
            ("arn:aws:logs:eu-central-1:123456789012:log-group:/x:*", arn(None)),
            ("arn:aws:logs:eu-central-1:123456789012:log-group:/x:log-stream:a/b", arn(Some("a/b"))),
            (
                &format!("{console}logsV2:log-groups/log-group/$252Faws$252Flambda$252Fweb"),
                named("/aws/lambda/web", None),
            ),
            (
                &format!(
                    "{console}logsV2:log-groups/log-group/$252Fx/log-events/2026$252F01$252F$255B$2524LATEST$255Da$3Fstart$3D1"
                ),
                named("/x", Some("2026/01/[$LATEST]a")),
            ),
            (&format!("{console}logEventViewer:group=/aws/x;stream=s;start=1"), named("/aws/x", Some("s"))),
            (&format!("{console}logStream:group=%252Faws%252Fx"), named("/aws/x", None)),
        ] {
            assert_eq!(group_named(text, "group", &here()).unwrap(), group, "{text}");
        }
        let insights =
            format!("{console}logsV2:logs-insights$3FqueryDetail$3D~(end~0~source~(~'*2faws*2fx~'*2fy)~x~1)");
        assert_eq!(groups_named(&insights, "groups", &here()).unwrap(), [named("/aws/x", None), named("/y", None)]);
        for text in [
            &insights,
            &format!("{console}alarmsV2:alarm/a"),
            "https://example.com/x",
            "https://us-east-1.console.aws.amazon.com/cloudwatch/home#logsV2:log-groups/log-group/$252Fx",
            "https://210987654321-a.eu-central-1.console.aws.amazon.com/cloudwatch/home#logsV2:log-groups/log-group/$252Fx",
        ] {
            assert_eq!(group_named(text, "group", &here()).unwrap_err().argument.as_deref(), Some("group"), "{text}");
        }
    }
}
