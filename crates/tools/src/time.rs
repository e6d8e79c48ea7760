//! Times in arguments and answers: taken as RFC 3339 or relative to now (`-3h`), answered in RFC 3339, in UTC.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::ToolError;

/// What the schema says of the three forms. `resolve` is stricter.
const PATTERN: &str = "^(now|-([0-9]{1,6}[smhdw])+|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt].+)$";

/// A point in time as an agent writes it: RFC 3339 (`2026-01-31T08:00:00Z`), relative to now (`-3h`, `-1d12h`, with the
/// units s, m, h, d and w), or `now`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct TimeInput(String);

impl JsonSchema for TimeInput {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TimeInput".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 64,
            "pattern": PATTERN,
            "examples": ["2026-01-31T08:00:00Z", "-3h", "-15m", "now"],
        })
    }
}

impl TimeInput {
    /// The point in time, as seen at `now`. `argument` is the name under which it was given.
    ///
    /// # Errors
    /// [`super::ErrorCode::InvalidArgument`] when it is neither form, or out of the range of times.
    pub fn resolve(&self, argument: &str, now: Timestamp) -> Result<Timestamp, ToolError> {
        let time = if self.0 == "now" {
            Some(now)
        } else if let Some(units) = self.0.strip_prefix('-') {
            duration(units).and_then(|ago| now.checked_sub(ago).ok())
        } else {
            self.0.parse().ok()
        };
        time.ok_or_else(|| {
            ToolError::invalid_argument(format!("{argument} is no point in time"))
                .with_argument(argument)
                .with_remedy("give RFC 3339 with an offset, such as 2026-01-31T08:00:00Z, or a time ago, such as -3h")
        })
    }
}

/// `1d12h` as a duration; nothing if it isn't one.
fn duration(mut units: &str) -> Option<SignedDuration> {
    let mut whole = SignedDuration::ZERO;
    while !units.is_empty() {
        let end = units.find(|c: char| !c.is_ascii_digit())?;
        let (count, rest) = units.split_at(end);
        let unit = rest.chars().next()?;
        let seconds: i64 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        let count: i64 = count.parse().ok().filter(|_| count.len() <= 6)?;
        whole = whole.checked_add(SignedDuration::from_secs(count.checked_mul(seconds)?))?;
        units = rest.get(unit.len_utf8()..)?;
    }
    (whole > SignedDuration::ZERO).then_some(whole)
}

/// A time of a platform that counts milliseconds since 1970, in RFC 3339; nothing for 0 and what is out of range.
#[must_use]
pub fn from_milliseconds(milliseconds: i64) -> Option<String> {
    Timestamp::from_millisecond(milliseconds).ok().filter(|_| milliseconds > 0).map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(text: &str) -> Option<String> {
        let now: Timestamp = "2026-01-31T08:00:00Z".parse().unwrap();
        TimeInput(text.to_owned()).resolve("since", now).ok().map(|time| time.to_string())
    }

    #[test]
    fn both_forms_are_taken() {
        for (text, time) in [
            ("now", "2026-01-31T08:00:00Z"),
            ("-3h", "2026-01-31T05:00:00Z"),
            ("-15m", "2026-01-31T07:45:00Z"),
            ("-1d12h", "2026-01-29T20:00:00Z"),
            ("-1w", "2026-01-24T08:00:00Z"),
            ("2026-01-01T01:02:03+01:00", "2026-01-01T00:02:03Z"),
        ] {
            assert_eq!(resolve(text).as_deref(), Some(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_by_name() {
        for text in ["", "-", "3h", "-3", "-h", "-3y", "-0s", "-3h ", "yesterday", "2026-01-31", "-9999999w", "-³h"] {
            assert_eq!(resolve(text), None, "{text}");
        }
        let error = TimeInput("soon".into()).resolve("until", Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(error.argument.as_deref(), Some("until"));
    }

    #[test]
    fn milliseconds_become_rfc_3339() {
        assert_eq!(from_milliseconds(1_769_846_400_123).as_deref(), Some("2026-01-31T08:00:00.123Z"));
        assert_eq!((from_milliseconds(0), from_milliseconds(i64::MAX)), (None, None));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-0-9a-zµ]{0,12}") {
            let _outcome = resolve(&text);
        }
    }
}
