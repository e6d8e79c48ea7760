//! What KV version 2 does with versions by itself: it throws old ones away when another is written, and deletes each one
//! after a time. Both follow from what is set at the secret and at its mount (`KeyMetadata.AddVersion` and `deletionTime` of
//! hashicorp/vault-plugin-secrets-kv): of the two numbers the larger counts, of the two times the shorter.

use jiff::SignedDuration;

use super::failed;
use crate::{
    Vault,
    client::{Call, Error},
    paths::Location,
    wire,
};
use tools::CallContext;

/// Versions that are kept where nobody has set a number.
const DEFAULT_VERSIONS: u64 = 10;

/// What is set, as far as the token's policies permit to see it.
#[derive(Default)]
pub(super) struct Keeping {
    /// At the secret; nothing is set at one that is not there.
    secret: Option<wire::SecretMetadata>,
    /// At the mount.
    mount: Option<wire::KvConfig>,
    /// What is in the way of the one or the other, if it is no policy.
    obstacle: Option<String>,
}

/// What a new version does to the older ones.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pruned {
    /// Those up to this number are lost for good, as so many are kept; none where it is 0.
    UpTo(u64, u64),
    /// Those up to this number may be.
    Maybe(u64),
    /// Not even the number of the newest is known.
    Unknown,
}

impl Keeping {
    /// Asks. What can't be seen is left open.
    pub(super) async fn ask(vault: &Vault, location: &Location, context: &CallContext) -> Self {
        let config = Call::get(location.mount.split('/').chain(["config"])).optional();
        let metadata = Call::get(location.api("metadata")).optional();
        let mut obstacle = None;
        let mut note = |call: &Call, error| {
            if !matches!(error, Error::Forbidden(_)) {
                obstacle = Some(failed("read", &call.policy_path(), "read")(error).message);
            }
        };
        let secret = match vault.session.data(&metadata, context.deadline).await {
            Err(Error::NotFound) => Some(wire::SecretMetadata::default()),
            outcome => outcome.map_err(|error| note(&metadata, error)).ok(),
        };
        let mount = vault.session.data(&config, context.deadline).await.map_err(|error| note(&config, error)).ok();
        Self { secret, mount, obstacle }
    }

    /// Why it is not seen how many versions are kept.
    pub(super) fn unseen(&self) -> String {
        let why = self.obstacle.as_ref().map_or_else(
            || {
                ", for which a policy must permit read on the config of the mount and on the metadata of the secret"
                    .to_owned()
            },
            |obstacle| format!(" now: {obstacle}"),
        );
        format!("how many Vault keeps could not be read{why}")
    }

    /// What becomes of the older versions when one is written over the newest, whose number is given if it is known.
    pub(super) fn pruned(&self, newest: Option<u64>) -> Pruned {
        let Some(newest) = newest.or_else(|| self.secret.as_ref().map(|known| known.current_version)) else {
            return Pruned::Unknown;
        };
        let secret = self.secret.as_ref().map(|set| set.max_versions);
        let mount = self.mount.as_ref().map(|set| set.max_versions);
        let set = secret.unwrap_or(0).max(mount.unwrap_or(0));
        let is_known = secret.is_some() && mount.is_some();
        let kept = if set == 0 && is_known { DEFAULT_VERSIONS } else { set.max(1) };
        let last = (newest + 1).saturating_sub(kept);
        // What is gone already is no news.
        let is_there = |number: u64| match &self.secret {
            Some(known) => known.versions.iter().any(|(version, info)| {
                version.parse::<u64>().is_ok_and(|version| version <= number) && !info.destroyed
            }),
            None => number > 0,
        };
        match (is_there(last), is_known) {
            (true, true) => Pruned::UpTo(last, kept),
            (true, false) => Pruned::Maybe(last),
            (false, _) => Pruned::UpTo(0, kept),
        }
    }

    /// When versions end that are made now, for people; nothing if they don't, as far as is known.
    pub(super) fn ends(&self) -> Option<String> {
        let mount = self.mount.as_ref().map(|set| set.delete_version_after.as_str());
        let time = |text: &str| text.parse::<SignedDuration>().ok().filter(|time| !time.is_zero());
        if mount.and_then(time).is_some_and(|time| time.is_negative()) {
            return None;
        }
        let secret = self.secret.as_ref().map(|set| set.delete_version_after.as_str());
        let times = [secret, mount].into_iter().flatten().filter_map(|text| Some((text, time(text)?)));
        match (times.min_by_key(|one| one.1), mount) {
            (Some((text, _)), Some(_)) => Some(format!("after {text}")),
            (Some((text, _)), None) => Some(format!("after {text}, unless its mount has another time")),
            (None, Some(_)) => None,
            (None, None) => Some("after some time if its mount has one, which could not be read".to_owned()),
        }
    }
}

impl Pruned {
    /// For people, to be added to what is done.
    pub(super) fn in_words(&self, unseen: &str) -> String {
        match self {
            Self::UpTo(0, _) => String::new(),
            Self::UpTo(last, kept) => format!("; lost for good, as Vault keeps {kept}: versions up to {last}"),
            Self::Maybe(last) => format!("; versions up to {last} may be lost for good: {unseen}"),
            Self::Unknown => format!("; older versions may be lost for good: {unseen}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keeping(secret: Option<(u64, &str, u64)>, mount: Option<(u64, &str)>) -> Keeping {
        let secret = secret.map(|(max, after, newest)| {
            let versions: serde_json::Map<_, _> =
                (1..=newest).map(|number| (number.to_string(), json!({ "version": number }))).collect();
            json!({ "max_versions": max, "delete_version_after": after, "current_version": newest, "versions": versions })
        });
        let mount = mount.map(|(max, after)| json!({ "max_versions": max, "delete_version_after": after }));
        Keeping {
            secret: secret.map(|set| serde_json::from_value(set).unwrap()),
            mount: mount.map(|set| serde_json::from_value(set).unwrap()),
            obstacle: None,
        }
    }

    /// As a real Vault does it: its engine's rules, of which each row was tried.
    #[test]
    fn the_larger_number_and_the_shorter_time_count() {
        use Pruned::{Maybe, Unknown, UpTo};
        for (secret, mount, newest, pruned) in [
            (Some((1, "0s", 1)), Some((0, "0s")), 1, UpTo(1, 1)),
            (Some((0, "0s", 1)), Some((1, "0s")), 1, UpTo(1, 1)),
            (Some((1, "0s", 3)), Some((3, "0s")), 3, UpTo(1, 3)),
            (Some((0, "0s", 9)), Some((0, "0s")), 9, UpTo(0, 10)),
            (Some((0, "0s", 10)), Some((0, "0s")), 10, UpTo(1, 10)),
            (Some((0, "0s", 0)), Some((1, "0s")), 0, UpTo(0, 1)),
            (Some((5, "0s", 4)), None, 4, UpTo(0, 5)),
            (Some((5, "0s", 5)), None, 5, Maybe(1)),
            (Some((0, "0s", 2)), None, 2, Maybe(2)),
            (None, Some((0, "0s")), 2, Maybe(2)),
            (None, Some((2, "0s")), 1, UpTo(0, 2)),
            (None, None, 0, UpTo(0, 1)),
            (None, None, 1, Maybe(1)),
        ] {
            assert_eq!(keeping(secret, mount).pruned(Some(newest)), pruned, "{secret:?} {mount:?} {newest}");
            // The metadata tell the newest, too.
            let unseen = if secret.is_some() { pruned } else { Unknown };
            assert_eq!(keeping(secret, mount).pruned(None), unseen, "{secret:?} {mount:?} {newest}");
        }
        for (secret, mount, ends) in [
            ("0s", Some("0s"), None),
            ("12s", Some("0s"), Some("after 12s")),
            ("2h0m0s", Some("1h0m0s"), Some("after 1h0m0s")),
            ("2h0m0s", Some("720h0m0s"), Some("after 2h0m0s")),
            ("2h0m0s", Some("-1s"), None),
            ("0s", None, Some("after some time if its mount has one, which could not be read")),
            ("12s", None, Some("after 12s, unless its mount has another time")),
        ] {
            let keeping = keeping(Some((0, secret, 1)), mount.map(|after| (0, after)));
            assert_eq!(keeping.ends().as_deref(), ends, "{secret} {mount:?}");
        }
    }
}
