//! Durations as people write them in manifests: `30s`, `1m30s`, `500ms`. The form is the one of Kubernetes' own
//! `metav1.Duration`, without its rarer units.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, written as a sequence of numbers with the units `h`, `m`, `s` and `ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiDuration(pub Duration);

impl ApiDuration {
    /// A whole number of seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: write a number with a unit, such as 500ms, 30s, 5m or 1h30m")]
pub struct ParseDurationError(String);

impl FromStr for ApiDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseDurationError(text.chars().take(64).collect());
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| *n > 0).ok_or_else(fail)?;
            let (number, tail) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| fail())?;
            let (millis_per_unit, after) = if let Some(after) = tail.strip_prefix("ms") {
                (1, after)
            } else if let Some(after) = tail.strip_prefix('s') {
                (1_000, after)
            } else if let Some(after) = tail.strip_prefix('m') {
                (60_000, after)
            } else if let Some(after) = tail.strip_prefix('h') {
                (3_600_000, after)
            } else {
                return Err(fail());
            };
            let part = number.checked_mul(millis_per_unit).map(Duration::from_millis).ok_or_else(fail)?;
            total = total.checked_add(part).ok_or_else(fail)?;
            rest = after;
        }
        if text.is_empty() { Err(fail()) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for ApiDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let (seconds, rest) = (millis / 1_000, millis % 1_000);
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        if millis == 0 {
            return f.write_str("0s");
        }
        for (number, unit) in [(hours, "h"), (minutes, "m"), (seconds, "s"), (rest, "ms")] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for ApiDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ApiDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for ApiDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": "^([0-9]+(h|ms|m|s))+$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [("500ms", 500), ("30s", 30_000), ("1m30s", 90_000), ("2h", 7_200_000), ("0s", 0)] {
            assert_eq!(text.parse::<ApiDuration>().unwrap().0.as_millis(), millis, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in ["", "30", "s", "1.5s", "-1s", "30 s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            let error = text.parse::<ApiDuration>().unwrap_err();
            assert!(error.to_string().contains("is not a duration"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(millis in 0u64..10_000_000_000) {
            let duration = ApiDuration(Duration::from_millis(millis));
            prop_assert_eq!(duration.to_string().parse::<ApiDuration>().unwrap(), duration);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _outcome = text.parse::<ApiDuration>();
        }
    }
}
