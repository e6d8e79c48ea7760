//! Times in answers: RFC 3339, in UTC.

use jiff::Timestamp;

/// A time of a platform that counts milliseconds since 1970, in RFC 3339; nothing for 0 and what is out of range.
#[must_use]
pub fn from_milliseconds(milliseconds: i64) -> Option<String> {
    Timestamp::from_millisecond(milliseconds).ok().filter(|_| milliseconds > 0).map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_become_rfc_3339() {
        assert_eq!(from_milliseconds(1_769_846_400_123).as_deref(), Some("2026-01-31T08:00:00.123Z"));
        assert_eq!((from_milliseconds(0), from_milliseconds(i64::MAX)), (None, None));
    }
}
