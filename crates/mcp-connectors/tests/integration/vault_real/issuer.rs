//! Tokens of ServiceAccounts, as a cluster issues and verifies them.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

pub(crate) const AUDIENCE: &str = "vault";
pub(crate) const SUBJECT: &str = "system:serviceaccount:team:mcp-jenkins";

/// An issuer of tokens, as a cluster is one.
pub(crate) struct Issuer(EcdsaKeyPair);

impl Issuer {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// The public key as SubjectPublicKeyInfo (RFC 5480) in PEM.
    pub(crate) fn public_pem(&self) -> String {
        let mut der = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
        der.extend_from_slice(self.0.public_key().as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(der))
    }

    /// A token of a ServiceAccount, with the claims that the kubelet's have
    /// (kubernetes.io/docs/concepts/security/service-accounts/#authenticating-credentials).
    pub(crate) fn token(&self, subject: &str, audience: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let account: Vec<_> = subject.split(':').collect();
        let [_, _, namespace, name] = account[..] else { panic!("{subject} is no ServiceAccount") };
        let account = json!({ "namespace": namespace, "serviceaccount": { "name": name, "uid": uid_of(subject) } });
        let claims = json!({ "iss": "https://cluster", "sub": subject, "aud": [audience], "iat": now, "exp": now + 600,
                             "kubernetes.io": account });
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "ES256", "typ": "JWT" })), part(&claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// What a token says, if it is one of this issuer's.
    pub(crate) fn claims(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.0.public_key().as_ref());
        key.verify(signed.as_bytes(), &signature).ok()?;
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

/// Uid of a ServiceAccount.
pub(crate) fn uid_of(subject: &str) -> String {
    format!("uid-of-{subject}")
}
