//! What becomes of agents when the cluster changes its token issuer: kubelets replace tokens only some time before they end,
//! so those of the issuer before are taken for as long as one of them may live, if one of the cluster's keys of now has
//! signed them. What was before is read off the connector's own ConfigMap, so it outlives the operator, which such a change
//! often restarts. Pure.

use k8s_openapi::{
    api::core::v1::ConfigMap,
    jiff::{SignedDuration, Timestamp},
};

use pod_api::config::{PreviousIssuer, TOKEN_KEYS_FILE, TokenKeys};

/// The longest life of a token that connectors take.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// The cluster's keys, with the issuer that the live ConfigMap has from before.
#[must_use]
pub fn keep(current: TokenKeys, live: Option<&ConfigMap>, now: Timestamp) -> TokenKeys {
    let text = live.and_then(|live| live.data.as_ref()?.get(TOKEN_KEYS_FILE));
    let live: Option<TokenKeys> = text.and_then(|text| serde_json::from_str(text).ok());
    // In whole seconds, which are easier on a reader.
    let end = now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
    let end = Timestamp::from_second(end.as_second()).unwrap_or(end);
    let previous = match live {
        Some(live) if live.issuer != current.issuer => Some(PreviousIssuer { issuer: live.issuer, until: end }),
        Some(live) => live.previous,
        None => None,
    };
    let is_due = |previous: &PreviousIssuer| previous.until > now && previous.issuer != current.issuer;
    let previous =
        previous.filter(is_due).map(|previous| PreviousIssuer { until: previous.until.min(end), ..previous });
    TokenKeys { previous, ..current }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const THEN: &str = "2026-01-01T12:00:00Z";

    fn keys(issuer: &str) -> TokenKeys {
        TokenKeys { issuer: issuer.into(), previous: None, keys: Vec::new() }
    }

    fn live(keys: &TokenKeys) -> ConfigMap {
        let data = [(TOKEN_KEYS_FILE.to_owned(), json!(keys).to_string())].into();
        ConfigMap { data: Some(data), ..ConfigMap::default() }
    }

    #[test]
    fn the_issuer_before_is_kept_for_the_life_of_a_token() {
        let then: Timestamp = THEN.parse().unwrap();
        let after = |hours: i64| then + SignedDuration::from_hours(hours);
        assert_eq!(keep(keys("one"), None, then), keys("one"));
        assert_eq!(keep(keys("one"), Some(&live(&keys("one"))), then), keys("one"));

        let changed = keep(keys("two"), Some(&live(&keys("one"))), then);
        let previous = Some(PreviousIssuer { issuer: "one".into(), until: after(24) });
        assert_eq!(changed, TokenKeys { previous, ..keys("two") });
        assert_eq!(keep(keys("two"), Some(&live(&changed)), after(23)), changed, "its time does not begin anew");
        assert_eq!(keep(keys("two"), Some(&live(&changed)), after(24)), keys("two"));

        let back = keep(keys("one"), Some(&live(&changed)), after(1)).previous.unwrap();
        assert_eq!((back.issuer.as_str(), back.until), ("two", after(25)));
    }

    #[test]
    fn what_somebody_wrote_into_the_config_map_gets_no_longer_a_time() {
        let then: Timestamp = THEN.parse().unwrap();
        let planted = PreviousIssuer { issuer: "one".into(), until: Timestamp::MAX };
        let kept = keep(keys("two"), Some(&live(&TokenKeys { previous: Some(planted), ..keys("two") })), then);
        assert_eq!(kept.previous.unwrap().until, then + SignedDuration::from_hours(24));
        let broken =
            ConfigMap { data: Some([(TOKEN_KEYS_FILE.to_owned(), "{".to_owned())].into()), ..ConfigMap::default() };
        assert_eq!(keep(keys("two"), Some(&broken), then), keys("two"));
    }
}
