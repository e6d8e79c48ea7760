//! Whether a live object already is what would be applied. Applying anyway would be correct and would cost a write: a
//! restart of the operator would then write every object of the cluster once.

use kube::api::ObjectMeta;
use serde_json::Value;

/// On every owned object: digest of what was last applied. It tells what a comparison with the live object can't: that
/// a field which was applied before is no longer wanted.
pub const ANNOTATION_APPLIED_DIGEST: &str = "mcp-connectors.io/applied-digest";

/// Digest of an object as it is to be applied: 16 hex digits of the SHA-256 of its JSON, whose keys are in order.
pub fn digest(desired: &Value) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, desired.to_string().as_bytes());
    hex::encode(hash.as_ref()).chars().take(16).collect()
}

/// The digest that a live object was applied with.
pub fn applied_digest(metadata: &ObjectMeta) -> Option<&str> {
    metadata.annotations.as_ref()?.get(ANNOTATION_APPLIED_DIGEST).map(String::as_str)
}

/// Whether everything that `desired` says also stands in `live`. What only `live` says is a default of the API server or
/// somebody else's, and no business of ours.
pub fn is_covered(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(key, wanted)| match live.get(key) {
            Some(found) => is_covered(wanted, found),
            None => is_empty(wanted),
        }),
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len() && desired.iter().zip(live).all(|(wanted, found)| is_covered(wanted, found))
        }
        (Value::String(desired), Value::String(live)) => desired == live || same_quantity(desired, live),
        (desired, live) => desired == live,
    }
}

/// The API server leaves empty values out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Number(_) => false,
    }
}

/// The API server writes quantities in their canonical form: `1000m` is read back as `1`.
fn same_quantity(desired: &str, live: &str) -> bool {
    matches!((quantity(desired), quantity(live)), (Some(desired), Some(live)) if desired == live)
}

/// A quantity in thousandths (k8s.io/apimachinery/pkg/api/resource), if it is a whole number of them.
fn quantity(text: &str) -> Option<i128> {
    const SUFFIXES: &[(&str, i128)] = &[
        ("Ki", 1_000 << 10),
        ("Mi", 1_000 << 20),
        ("Gi", 1_000 << 30),
        ("Ti", 1_000 << 40),
        ("Pi", 1_000 << 50),
        ("Ei", 1_000 << 60),
        ("m", 1),
        ("k", 1_000_000),
        ("M", 1_000_000_000),
        ("G", 1_000_000_000_000),
        ("T", 1_000_000_000_000_000),
        ("P", 1_000_000_000_000_000_000),
    ];
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|number| (number, *factor)))
        .unwrap_or((text, 1_000));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = digits.checked_mul(factor)?;
    (scaled % scale == 0).then_some(scaled / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_of_the_api_server_are_no_difference() {
        let desired =
            json!({"spec": {"ports": [{"port": 80}], "template": {"tolerations": []}, "selector": {"a": "b"}}});
        let live = json!({"spec": {
            "ports": [{"port": 80, "protocol": "TCP"}], "template": {}, "selector": {"a": "b"}, "type": "ClusterIP",
        }});
        assert!(is_covered(&desired, &live));
    }

    #[test]
    fn what_somebody_changed_is_a_difference() {
        for live in [
            json!({"ports": [{"port": 81}]}),
            json!({"ports": [{"port": 80}, {"port": 81}]}),
            json!({"ports": []}),
            json!({}),
        ] {
            assert!(!is_covered(&json!({"ports": [{"port": 80}]}), &live), "{live}");
        }
    }

    #[test]
    fn quantities_are_equal_by_value() {
        for (one, other, equal) in [
            ("1000m", "1", true),
            ("0.5", "500m", true),
            ("1024Mi", "1Gi", true),
            ("128Mi", "128M", false),
            ("1", "2", false),
            ("a", "b", false),
        ] {
            assert_eq!(same_quantity(one, other), equal, "{one} {other}");
        }
    }
}
