//! The client certificate (mTLS) that a self-hosted platform, or the proxy in front of it, may ask for: two fields that
//! every platform takes beside its own, both or none.

use std::collections::BTreeMap;

use rustls::{
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::CredentialSet;
use api::requirement::{TLS_CERTIFICATE, TLS_KEY};

/// Says what is wrong with the certificate and its key, if they are there and something is. Nothing of them is part of
/// the text.
pub(super) fn fault(fields: &BTreeMap<String, SecretString>) -> Option<&'static str> {
    let (certificate, key) = (fields.get(TLS_CERTIFICATE.name)?, fields.get(TLS_KEY.name)?);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.expose_secret().as_bytes()).collect();
    let chain = chain.unwrap_or_default();
    if chain.is_empty() {
        return Some("key `tls_certificate` holds no certificate");
    }
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()) else {
        return Some("key `tls_key` holds no private key that can be read; it must be PEM, and not encrypted");
    };
    match CertifiedKey::from_der(chain, key, &default_provider()) {
        Ok(_) => None,
        Err(rustls::Error::InconsistentKeys(_)) => Some("`tls_key` is not the key of `tls_certificate`"),
        Err(_) => Some("`tls_certificate` or `tls_key` can't be used: its kind is not known, or it is damaged"),
    }
}

impl CredentialSet {
    /// The client certificate of this set with its key, as one PEM text; none if it has none. Half a one is never part
    /// of a set.
    pub fn client_certificate(&self) -> Option<Zeroizing<Vec<u8>>> {
        let (certificate, key) = (self.field(TLS_CERTIFICATE.name)?, self.field(TLS_KEY.name)?);
        let parts = [certificate.expose_secret(), "\n", key.expose_secret(), "\n"];
        // With its whole capacity from the start, because growing would leave copies behind.
        let mut pem = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
        for part in parts {
            pem.extend_from_slice(part.as_bytes());
        }
        Some(pem)
    }
}
