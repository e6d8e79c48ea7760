//! Which audiences the API server accepts, as the cluster itself says: the kubelet asks for the operator's own token without
//! naming any, and the API server then writes all of its own into it (TokenRequest, `spec.audiences`). Clusters call themselves
//! many names (`https://kubernetes.default.svc`, `k3s`, `rke2`, …), and a token for any of them opens the cluster.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use tokio::sync::watch;
use tracing::{info, warn};

/// The audiences; none while they are not known.
pub type ApiAudiences = Option<Vec<String>>;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{0} holds no token that names audiences")]
    NoAudiences(PathBuf),
}

/// Reads them again. Returns whether they are others than before; what can't be read now stays as it was read last.
pub async fn refresh(token_file: Option<&Path>, sender: &watch::Sender<ApiAudiences>) -> bool {
    let Some(file) = token_file else { return false };
    match read(file).await {
        Ok(audiences) => {
            let is_new = sender.borrow().as_ref() != Some(&audiences);
            if is_new {
                info!(?audiences, "the API server's audiences read");
                sender.send_replace(Some(audiences));
            }
            is_new
        }
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            warn!(error = %common::errors::with_causes(error), "reading the API server's audiences off the operator's token failed");
            false
        }
    }
}

async fn read(file: &Path) -> Result<Vec<String>, Error> {
    let token = tokio::fs::read_to_string(file).await.map_err(|source| Error::Read(file.to_owned(), source))?;
    of_token(token.trim()).ok_or_else(|| Error::NoAudiences(file.to_owned()))
}

/// The audiences of a token. It is one's own, so its signature is of no account.
fn of_token(token: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    #[derive(Deserialize)]
    struct Claims {
        aud: OneOrMore,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let audiences = match serde_json::from_slice::<Claims>(&claims).ok()?.aud {
        OneOrMore::One(audience) => vec![audience],
        OneOrMore::More(audiences) => audiences,
    };
    (!audiences.is_empty()).then_some(audiences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn token(claims: &Value) -> String {
        format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn a_token_tells_whom_it_is_for() {
        for name in ["k3s", "a", "ab", "abc", "https://kubernetes.default.svc/ü?>"] {
            assert_eq!(of_token(&token(&json!({ "aud": [name, "other"] }))), Some(vec![name.into(), "other".into()]));
            assert_eq!(of_token(&token(&json!({ "aud": name }))), Some(vec![name.into()]));
        }
        for text in ["", "a.b", "..", "opaque"] {
            assert_eq!(of_token(text), None, "{text}");
        }
        assert_eq!(of_token(&token(&json!({}))), None);
        assert_eq!(of_token(&token(&json!({ "aud": [] }))), None);
    }

    #[tokio::test]
    async fn what_was_read_last_stays_while_the_token_cant_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let (sender, receiver) = watch::channel(None);
        assert!(!refresh(None, &sender).await && !refresh(Some(&file), &sender).await);
        assert_eq!(*receiver.borrow(), None, "not known");
        std::fs::write(&file, token(&json!({ "aud": ["k3s"] }))).unwrap();
        assert!(refresh(Some(&file), &sender).await);
        assert!(!refresh(Some(&file), &sender).await, "the same again");
        std::fs::remove_file(&file).unwrap();
        assert!(!refresh(Some(&file), &sender).await);
        assert_eq!(*receiver.borrow(), Some(vec!["k3s".to_owned()]));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", payload in "[A-Za-z0-9_-]*") {
            let _audiences = (of_token(&text), of_token(&format!("a.{payload}.b")));
        }
    }
}
