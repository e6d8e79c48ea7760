//! What makes two calls the same: caller, tool and arguments, as one digest, which is computed once for each call and by
//! which loops, kept answers and repeated mutations are found. It is keyed with random bits of this process, so that
//! nobody can find out arguments by trying, and arguments themselves are kept nowhere.

use aws_lc_rs::hmac;
use serde_json::Value;

use super::principal::Principal;
use crate::text::canonical_json;

/// Bytes of a digest that are kept.
const BYTES: usize = 16;

/// A call's digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallKey([u8; BYTES]);

/// Makes digests of calls. Those of two processes can't be compared.
pub struct CallKeys(hmac::Key);

impl Default for CallKeys {
    fn default() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()))
    }
}

impl CallKeys {
    /// The key of a call. The order of the arguments makes no difference.
    #[must_use]
    pub fn of_call(&self, principal: &Principal, tool: &str, arguments: &Value) -> CallKey {
        self.digest(&[b"call", principal.to_string().as_bytes(), tool.as_bytes(), canonical_json(arguments).as_bytes()])
    }

    /// The key of a call, whoever makes it.
    #[must_use]
    pub fn of_any_caller(&self, tool: &str, arguments: &Value) -> CallKey {
        self.digest(&[b"any", tool.as_bytes(), canonical_json(arguments).as_bytes()])
    }

    /// The key of a name that a caller gave a call.
    #[must_use]
    pub fn of_name(&self, principal: &Principal, tool: &str, name: &str) -> CallKey {
        self.digest(&[b"name", principal.to_string().as_bytes(), tool.as_bytes(), name.as_bytes()])
    }

    /// The key of something that belongs to a call, or to a part of what a call is made of.
    #[must_use]
    pub fn derive(&self, key: CallKey, parts: &[&str]) -> CallKey {
        let parts: Vec<&[u8]> =
            [&b"part"[..], &key.0].into_iter().chain(parts.iter().map(|part| part.as_bytes())).collect();
        self.digest(&parts)
    }

    fn digest(&self, parts: &[&[u8]]) -> CallKey {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; BYTES];
        digest.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        CallKey(digest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_are_the_same_if_all_of_them_is() {
        let keys = CallKeys::default();
        let address = |text: &str| Principal::Address(Some(text.parse().unwrap()));
        let key = keys.of_call(&address("10.0.0.1"), "tool", &json!({"a": 1, "b": [2]}));
        assert_eq!(key, keys.of_call(&address("10.0.0.1"), "tool", &json!({"b": [2], "a": 1})));
        for other in [
            keys.of_call(&address("10.0.0.2"), "tool", &json!({"a": 1, "b": [2]})),
            keys.of_call(&address("10.0.0.1"), "tool2", &json!({"a": 1, "b": [2]})),
            keys.of_call(&address("10.0.0.1"), "tool", &json!({"a": 1, "b": [3]})),
            CallKeys::default().of_call(&address("10.0.0.1"), "tool", &json!({"a": 1, "b": [2]})),
            keys.of_any_caller("tool", &json!({"a": 1, "b": [2]})),
            keys.derive(key, &[]),
            keys.derive(key, &["ab", "c"]),
        ] {
            assert_ne!(key, other);
        }
        assert_ne!(keys.derive(key, &["ab", "c"]), keys.derive(key, &["a", "bc"]));
    }
}
