//! What can go wrong on the way to a platform, told apart by what a person would do about it.

use std::{error::Error, time::Duration};

use rustls::{AlertDescription, CertificateError};

use super::{
    address::{Refused, Unresolved},
    decode::{Place, place},
    uri::Redirect,
};

/// Why the client of a platform can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The CA bundle holds no PEM certificate, or one that can't be read.
    #[error("the CA bundle holds no PEM certificate that can be read")]
    CaBundle,
    /// The system has no public authorities, and there is no CA bundle.
    #[error("no public certificate authorities are found on this system; give the platform a caBundle")]
    PublicAuthorities,
    /// An address in a URL may not be called.
    #[error("the URL holds {0}; a connector never calls such an address")]
    ForbiddenAddress(&'static str),
    /// The proxy's URL can't be used.
    #[error("the proxy's URL can't be used")]
    Proxy,
    /// The client can't be made for another reason.
    #[error("failed to make the HTTP client")]
    Client,
}

/// What is wrong with a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// None of the known authorities has signed the certificate.
    UnknownIssuer,
    /// The certificate's time is over, or not yet come.
    OutsideValidity,
    /// The certificate is for another name.
    WrongName,
    /// The certificate is bad in another way.
    BadCertificate,
    /// The server asks for a client certificate and got none, or none that it takes.
    ClientCertificate,
    /// The server does not speak TLS that fits ours; a port that speaks plain HTTP is the usual cause.
    Handshake,
}

impl TlsFault {
    /// What is wrong and what to do.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::UnknownIssuer => "its certificate is signed by an authority that is not known here: set caBundle",
            Self::OutsideValidity => "its certificate has expired or is not valid yet: renew it",
            Self::WrongName => "its certificate is for another host name than the one in the URL",
            Self::BadCertificate => "its certificate can't be used",
            Self::ClientCertificate => {
                "it wants a client certificate that it knows: give the credentials the fields tls_certificate and tls_key"
            }
            Self::Handshake => "the TLS handshake failed: does that port speak https?",
        }
    }
}

/// Why a request has no usable answer. Our own words only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request can't be made: a fault of ours.
    #[error("the request can't be made")]
    Build,
    /// The credential can't stand in a header.
    #[error("the credential holds characters that can't stand in a header")]
    CredentialForm,
    /// The client certificate of the credentials can't be used.
    #[error("the client certificate of the credentials can't be used")]
    ClientCertificate,
    /// No connection was made: refused, reset, or not made in time.
    #[error("no connection can be made")]
    Unreachable,
    /// The host's name can't be resolved.
    #[error("the host's name can't be resolved")]
    DnsFailed,
    /// The host's name has an address that may not be called.
    #[error("the host's name resolves to {0}; a connector never calls such an address")]
    AddressRefused(&'static str),
    /// The TLS connection can't be made, or not with this server.
    #[error("no trusted TLS connection can be made: {}", .0.in_words())]
    TlsInvalid(TlsFault),
    /// The URL is one of `http://`, and the port speaks TLS: nothing of the request was taken.
    #[error("the port speaks TLS and wants https://, and the URL has http://")]
    TlsWanted,
    /// There was no whole answer in time.
    #[error("there was no whole answer in time")]
    Timeout,
    /// The connection ended in the middle of the exchange. Whether the request was carried out is not known.
    #[error("the connection ended before the answer did")]
    Interrupted,
    /// It was not sent: too many requests of this connector are on their way. Come back after this time.
    #[error("too many requests of this connector are on their way")]
    Busy(Duration),
    /// It was not sent: the platform takes no more requests in this time. Come back after it.
    #[error("the platform takes no more requests for a while")]
    TooFast(Duration),
    /// It was not sent: the last ones failed, and the platform is left alone for this time.
    #[error("the last requests failed, so the platform is left alone for a while")]
    CircuitOpen(Duration),
    /// The answer is larger than what is read, or than the memory that is left for it.
    #[error(
        "the answer is larger than {} MiB, or needs more memory than the connector has left",
        super::MAX_BODY_BYTES / (1024 * 1024)
    )]
    BodyTooLarge,
    /// The answer is a redirect that may not be followed.
    #[error("{0}")]
    Redirected(Redirect),
    /// The answer is a page for people.
    #[error("the answer is an HTML page, as a proxy or a login page gives it")]
    Html,
    /// Something that is not the platform answered with this status: the answer has no mark of the platform's own.
    #[error("something in front of the platform answers, with status {0}")]
    Foreign(u16),
    /// The answer is not JSON.
    #[error("the answer is not the JSON that was expected")]
    NotJson,
    /// The answer is JSON, and lacks something at this place, or has something else there, that can't be done without.
    #[error("the answer has a form that this version can't read, at {0}")]
    Unreadable(Place),
}

impl RequestError {
    /// An answer that lacks what can't be done without at a place, such as `data.id`.
    #[must_use]
    pub fn unreadable(path: &str) -> Self {
        Self::Unreadable(place(path))
    }

    /// Whether it proves that the request was not sent.
    pub(super) fn is_unsent(&self) -> bool {
        match self {
            Self::Build
            | Self::CredentialForm
            | Self::ClientCertificate
            | Self::Unreachable
            | Self::DnsFailed
            | Self::AddressRefused(_)
            | Self::TlsInvalid(_)
            | Self::TlsWanted
            | Self::Busy(_)
            | Self::TooFast(_)
            | Self::CircuitOpen(_) => true,
            Self::Timeout
            | Self::Interrupted
            | Self::BodyTooLarge
            | Self::Redirected(_)
            | Self::Html
            | Self::Foreign(_)
            | Self::NotJson
            | Self::Unreadable(_) => false,
        }
    }

    /// Tells by the chain of causes what happened.
    pub(super) fn classify(error: &reqwest::Error) -> Self {
        if error.is_builder() {
            return Self::Build;
        }
        let mut unresolved = false;
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(current) = cause {
            if let Some(Refused(objection)) = current.downcast_ref() {
                return Self::AddressRefused(objection);
            }
            if let Some(tls) = current.downcast_ref::<rustls::Error>() {
                let fault = tls_fault(tls);
                // After the handshake the request may have been taken, but for one whose client's certificate is refused: TLS 1.3
                // says so only then (RFC 8446, section 4.4.2.4), and reads nothing before.
                let before = error.is_connect() || fault == TlsFault::ClientCertificate;
                return if before { Self::TlsInvalid(fault) } else { Self::Interrupted };
            }
            unresolved |= current.is::<Unresolved>();
            // An io::Error that wraps another error names as its source that error's source, and hides the error
            // itself.
            let wrapped = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            cause = match wrapped {
                Some(inner) => Some(inner),
                None => current.source(),
            };
        }
        if unresolved || error.is_dns() {
            Self::DnsFailed
        } else if error.is_connect() {
            Self::Unreachable
        } else if error.is_timeout() {
            Self::Timeout
        } else {
            Self::Interrupted
        }
    }
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFault::UnknownIssuer,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsFault::OutsideValidity,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongName,
            _ => TlsFault::BadCertificate,
        },
        // What a server says of the client's certificate (RFC 8446, section 6.2).
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => TlsFault::ClientCertificate,
        _ => TlsFault::Handshake,
    }
}
