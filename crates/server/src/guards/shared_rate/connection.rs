//! How a connection to Redis is made: every address of its name is checked, as on the way to platforms, TLS is rustls with
//! the bundle of the manifest or the system's authorities, and the credentials are read anew each time, so that a rotated
//! password needs no restart.

use std::{future::Future, io, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, RedisConnectionInfo, aio::MultiplexedConnection};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::trouble::Trouble;
use api::endpoint::AddressPolicy;
use files::{FileContent, read_set};
use pod_api::config::{SHARED_LIMIT_PASSWORD_FILE, SHARED_LIMIT_USERNAME_FILE, SharedRateConfig};

/// Time that each step on the way to a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a credential, at most.
const MAX_CREDENTIAL_BYTES: usize = 4_096;

/// Why no connection could ever be made.
#[derive(Debug, thiserror::Error)]
pub enum SharedRateError {
    /// The CA bundle holds no certificate that can be used.
    #[error("the CA bundle of limits.shared.redis can't be used")]
    CaBundle,
    /// There is no CA bundle, and the system has no authorities.
    #[error("the system's certificate authorities, which limits.shared.redis needs without a caBundle, can't be read")]
    PublicAuthorities,
    /// The host can't stand in a certificate.
    #[error("limits.shared.redis.address names no host that a certificate could be for")]
    ServerName,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection, and what has to be polled for it to work.
pub struct Connected {
    pub connection: MultiplexedConnection,
    pub driver: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What connections are made from.
pub struct Recipe {
    host: String,
    port: u16,
    addresses: AddressPolicy,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Where the credentials lie, if it asks for any.
    credentials: Option<PathBuf>,
}

impl Recipe {
    pub fn new(
        config: &SharedRateConfig,
        credentials: PathBuf,
        addresses: AddressPolicy,
    ) -> Result<Self, SharedRateError> {
        let host = config.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if config.tls {
            let name = ServerName::try_from(host.clone()).map_err(|_| SharedRateError::ServerName)?;
            Some((build_tls(config.ca_pem.as_deref())?, name))
        } else {
            None
        };
        let credentials = config.credentials.then_some(credentials);
        Ok(Self { host, port: config.port, addresses, tls, credentials })
    }

    /// Connects and signs in.
    pub async fn connect(&self) -> Result<Connected, Trouble> {
        let info = self.read_credentials()?;
        let tcp = tokio::time::timeout(CONNECT_TIMEOUT, self.dial()).await.map_err(|_| Trouble::Timeout)?;
        let tcp = tcp.map_err(|_| Trouble::Unreachable)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some((connector, name)) => {
                let shaken = tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(name.clone(), tcp)).await;
                Box::new(shaken.map_err(|_| Trouble::Timeout)?.map_err(|_| Trouble::TlsInvalid)?)
            }
        };
        // Times are kept by whoever asks.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let signing_in = MultiplexedConnection::new_with_config(&info, stream, config);
        let signed_in = tokio::time::timeout(CONNECT_TIMEOUT, signing_in).await.map_err(|_| Trouble::Timeout)?;
        let (connection, driver) = signed_in.map_err(|error| Trouble::of(&error))?;
        Ok(Connected { connection, driver: Box::pin(driver) })
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let found: Vec<_> = tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        // One bad address refuses the name: which one is taken would be a matter of chance.
        if found.iter().any(|address| self.addresses.objection(address.ip()).is_some()) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let stream = TcpStream::connect(found.as_slice()).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn read_credentials(&self) -> Result<RedisConnectionInfo, Trouble> {
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let Some(directory) = &self.credentials else { return Ok(info) };
        let names = [SHARED_LIMIT_USERNAME_FILE, SHARED_LIMIT_PASSWORD_FILE];
        let set = read_set(directory, &names, MAX_CREDENTIAL_BYTES).map_err(|_| Trouble::NoPassword)?;
        let read = |name: &str| match set.files.get(name)? {
            FileContent::Bytes(bytes) => {
                let text = std::str::from_utf8(bytes).ok()?.trim_end_matches(['\r', '\n']);
                (!text.is_empty()).then(|| SecretString::from(text))
            }
            FileContent::TooLarge | FileContent::Unreadable(_) => None,
        };
        let password = read(SHARED_LIMIT_PASSWORD_FILE).ok_or(Trouble::NoPassword)?;
        let info = info.set_password(password.expose_secret());
        Ok(match read(SHARED_LIMIT_USERNAME_FILE) {
            Some(username) => info.set_username(username.expose_secret()),
            None => info,
        })
    }
}

fn build_tls(ca_pem: Option<&str>) -> Result<TlsConnector, SharedRateError> {
    let error = if ca_pem.is_some() { SharedRateError::CaBundle } else { SharedRateError::PublicAuthorities };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let Ok(builder) = builder else { return Err(error) };
    let builder = match ca_pem {
        Some(pem) => {
            let mut authorities = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let added = certificate.ok().and_then(|certificate| authorities.add(certificate).ok());
                if added.is_none() {
                    return Err(error);
                }
            }
            builder.with_root_certificates(authorities)
        }
        None => match builder.with_platform_verifier() {
            Ok(builder) => builder,
            Err(_) => return Err(error),
        },
    };
    Ok(TlsConnector::from(Arc::new(builder.with_no_client_auth())))
}
