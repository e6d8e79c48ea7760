//! What a token says of itself. It is read and not verified: that is for Argo CD. A token that can't be read (one of
//! an identity provider may be of another form) is used all the same.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// When a token was issued and when it ends; a token of an account or of a project's role may have no end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    issued: Option<Timestamp>,
    pub(super) ends: Option<Timestamp>,
}

/// The claims that matter (RFC 7519, section 4.1): numbers of seconds, possibly with a fraction.
#[derive(Deserialize)]
struct Claims {
    iat: Option<f64>,
    exp: Option<f64>,
}

impl Life {
    /// Reads the second part of a token.
    pub(super) fn of(token: &SecretString) -> Self {
        let payload = token.expose_secret().split('.').nth(1).unwrap_or_default();
        let claims = URL_SAFE_NO_PAD
            .decode(payload.trim_end_matches('='))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Claims>(&bytes).ok());
        let time = |seconds: f64| Timestamp::from_duration(jiff::SignedDuration::try_from_secs_f64(seconds).ok()?).ok();
        claims.map_or_else(Self::default, |claims| Self {
            issued: claims.iat.and_then(time),
            ends: claims.exp.and_then(time),
        })
    }

    /// For how long it was issued. It doesn't depend on this machine's clock, as the time that is left does.
    pub(super) fn length(&self) -> Option<Duration> {
        self.ends?.duration_since(self.issued?).try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(claims: &str) -> SecretString {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)).into()
    }

    #[test]
    fn the_second_part_tells_the_end() {
        let life = Life::of(&token(r#"{"iat":1700000000,"exp":1700086400,"sub":"ci:login"}"#));
        assert_eq!(life.length(), Some(Duration::from_hours(24)));
        assert_eq!(life.ends.unwrap().to_string(), "2023-11-15T22:13:20Z");
        assert_eq!(Life::of(&token(r#"{"iat":1700000000}"#)).ends, None);
        assert_eq!(Life::of(&token(r#"{"iat":1700000000.5,"exp":1.0e300}"#)).ends, None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _life = Life::of(&text.into());
        }
    }
}
