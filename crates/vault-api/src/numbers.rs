//! Numbers in secrets, as the text that they are. KV version 1 keeps and answers them digit by digit
//! (`passthrough.go` of the engine, `json.Number`). Version 2 keeps them so, too, and answers them as 64-bit floats
//! (`path_data.go`: `json.Unmarshal` into interfaces): what it answers for a long one is another number.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The first whole number that may stand for others, too, as a 64-bit float: 2^53.
const AMBIGUOUS: u64 = 1 << 53;
/// Digits that every 64-bit float keeps.
const KEPT_DIGITS: usize = 15;

/// Whether a number, as JSON writes it, may be another one that was made a 64-bit float.
pub fn may_be_rounded(number: &str) -> bool {
    if let Ok(whole) = number.parse::<i64>() {
        return whole.unsigned_abs() >= AMBIGUOUS;
    }
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len() > KEPT_DIGITS
        || number.parse::<f64>().is_ok_and(|float| float.abs() >= 9_007_199_254_740_992.0)
}

/// Whether JSON is a number.
pub fn is_number(json: &str) -> bool {
    json.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// Whether all numbers in JSON, however deep, are so. Its length bounds how deep it is, so it must be a value of a secret and no
/// body of megabytes.
pub fn all(json: &str, are_so: &impl Fn(&str) -> bool) -> bool {
    let json = json.trim();
    match json.bytes().next() {
        Some(b'{') => serde_json::from_str::<BTreeMap<String, &RawValue>>(json)
            .is_ok_and(|members| members.values().all(|value| all(value.get(), are_so))),
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(json)
            .is_ok_and(|elements| elements.iter().all(|value| all(value.get(), are_so))),
        _ => !is_number(json) || are_so(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_float_keeps_is_known() {
        for kept in ["0", "-0", "1", "1.10", "-40.5", "9007199254740991", "1e-07", "0.1", "123456789012345", "1e15"] {
            assert!(!may_be_rounded(kept), "{kept}");
        }
        for other in [
            "9007199254740992",
            "9007199254740993",
            "-18446744073709552000",
            "18446744073709551615",
            "1e+22",
            "1.2345678901234568e+29",
            "0.12345678901234568",
            "0.1000000000000000055511151231257827",
            "1e400",
        ] {
            assert!(may_be_rounded(other), "{other}");
        }
    }

    #[test]
    fn numbers_are_found_at_any_depth_and_in_no_text() {
        let json = r#"{"a": [1, {"b\"": [2.50]}, "3", true, null], "c": {}, "d": []}"#;
        let found = std::cell::RefCell::new(Vec::new());
        assert!(all(json, &|number| {
            found.borrow_mut().push(number.to_owned());
            true
        }));
        assert_eq!(found.into_inner(), ["1", "2.50"]);
        assert!(!all(json, &|number| number != "2.50"));
    }
}
