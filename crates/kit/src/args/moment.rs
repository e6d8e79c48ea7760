//! Points in time as models and people write them. Where a form has one meaning it is taken, whatever the form.

use std::borrow::Cow;

use jiff::{Span, Timestamp, civil, tz::TimeZone};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use tools::ToolError;

/// Seconds from which a number counts milliseconds: the year 5138 in seconds.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// A point in time: RFC 3339 (without an offset in UTC), a date (its midnight in UTC), seconds or milliseconds since 1970, `now`,
/// `today`, `yesterday`, or relative to now: `-3h`, `now-1h`, `1h ago`, `-PT3H`, `now+30m`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Moment(String);

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 64,
            "examples": ["2026-01-31T08:00:00Z", "-3h", "-15m", "now"],
        })
    }
}

impl Moment {
    /// The point in time, as seen at `now`. `argument` is the name under which it was given.
    ///
    /// # Errors
    /// [`tools::ErrorCode::InvalidArgument`] when it is none of the forms, or out of the range of times.
    pub fn resolve(&self, argument: &str, now: Timestamp) -> Result<Timestamp, ToolError> {
        read(self.0.trim(), now).ok_or_else(|| {
            ToolError::invalid_argument(format!("{argument} is no point in time"))
                .with_argument(argument)
                .with_remedy("give RFC 3339, such as 2026-01-31T08:00:00Z, or a time ago, such as -3h")
        })
    }
}

fn read(text: &str, now: Timestamp) -> Option<Timestamp> {
    let midnight = |days_ago: i64| {
        let today = now.to_zoned(TimeZone::UTC).date();
        at(today.checked_sub(Span::new().try_days(days_ago).ok()?).ok()?.into())
    };
    match text.to_ascii_lowercase().as_str() {
        "now" => return Some(now),
        "today" => return midnight(0),
        "yesterday" => return midnight(1),
        _ => {}
    }
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: i64 = text.parse().ok()?;
        // A year, or a date without hyphens, is no number of seconds that anybody means.
        return match number {
            ..MILLISECONDS_FROM if text.len() >= 9 => Timestamp::from_second(number).ok(),
            MILLISECONDS_FROM.. => Timestamp::from_millisecond(number).ok(),
            _ => None,
        };
    }
    if let Ok(time) = text.parse::<civil::DateTime>() {
        return at(time);
    }
    relative(text, now)
}

/// A time of the clock without an offset, which is UTC, as it is in what AWS and its tools take.
fn at(time: civil::DateTime) -> Option<Timestamp> {
    time.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp())
}

/// A time that is so much earlier or later than now. It says which: `1h` alone could be either.
fn relative(text: &str, now: Timestamp) -> Option<Timestamp> {
    let lower = text.to_ascii_lowercase();
    let span = match lower.strip_prefix("now") {
        Some(rest) => rest.trim(),
        None => lower.strip_prefix("in ").map_or(lower.as_str(), str::trim),
    };
    let says = span.starts_with(['-', '+']) || span.ends_with(" ago") || lower.starts_with("in ");
    // A sign may stand apart, and weeks are `w`; both ISO 8601 and words are read.
    let (sign, rest) = match span.chars().next() {
        Some(sign @ ('-' | '+')) => (if sign == '-' { "-" } else { "" }, span.get(1..)?.trim_start()),
        _ => ("", span),
    };
    let span: Span = format!("{sign}{rest}").parse().ok()?;
    if !says || span.is_zero() {
        return None;
    }
    now.to_zoned(TimeZone::UTC).checked_add(span).ok().map(|time| time.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(text: &str) -> Option<String> {
        let now: Timestamp = "2026-01-31T08:00:00Z".parse().unwrap();
        Moment(text.to_owned()).resolve("since", now).ok().map(|time| time.to_string())
    }

    #[test]
    fn what_models_write_is_taken() {
        for (text, time) in [
            ("now", "2026-01-31T08:00:00Z"),
            ("NOW", "2026-01-31T08:00:00Z"),
            ("-3h", "2026-01-31T05:00:00Z"),
            ("- 3h", "2026-01-31T05:00:00Z"),
            ("-15m", "2026-01-31T07:45:00Z"),
            ("-1d12h", "2026-01-29T20:00:00Z"),
            ("-1w", "2026-01-24T08:00:00Z"),
            ("now-1h", "2026-01-31T07:00:00Z"),
            ("now - 1h", "2026-01-31T07:00:00Z"),
            ("now-7d", "2026-01-24T08:00:00Z"),
            ("now+30m", "2026-01-31T08:30:00Z"),
            ("in 1h", "2026-01-31T09:00:00Z"),
            ("1h ago", "2026-01-31T07:00:00Z"),
            ("2 days ago", "2026-01-29T08:00:00Z"),
            ("30 minutes ago", "2026-01-31T07:30:00Z"),
            ("-PT3H", "2026-01-31T05:00:00Z"),
            ("-P1D", "2026-01-30T08:00:00Z"),
            ("today", "2026-01-31T00:00:00Z"),
            ("yesterday", "2026-01-30T00:00:00Z"),
            ("2026-01-29", "2026-01-29T00:00:00Z"),
            ("2026-01-29T10:00:00", "2026-01-29T10:00:00Z"),
            ("2026-01-29 10:00", "2026-01-29T10:00:00Z"),
            ("2026-01-01T01:02:03+01:00", "2026-01-01T00:02:03Z"),
            ("1769846400", "2026-01-31T08:00:00Z"),
            ("1769846400123", "2026-01-31T08:00:00.123Z"),
            (" -3h ", "2026-01-31T05:00:00Z"),
        ] {
            assert_eq!(resolve(text).as_deref(), Some(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_or_could_be_two_is_refused_by_name() {
        for text in ["", "-", "3h", "-3", "-h", "-0s", "soon", "2026", "20260131", "-9999999w", "-³h", "now3h", "ago"]
        {
            assert_eq!(resolve(text), None, "{text}");
        }
        let error = Moment("soon".into()).resolve("until", Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(error.argument.as_deref(), Some("until"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-+0-9a-zPTµ: ]{0,16}") {
            let _outcome = resolve(&text);
        }
    }
}
