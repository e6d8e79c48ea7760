//! Connections: with or without TLS, and closed all at once when the double is to be down.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::faults::Control;

/// A server on loopback that ends with this value.
pub(crate) struct Loopback {
    pub(crate) address: SocketAddr,
    server: JoinHandle<()>,
}

impl Loopback {
    /// A listener of which nobody answers yet, so that answers can hold its address.
    pub(crate) async fn bind() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    pub(crate) fn serve(listener: TcpListener, router: Router) -> Self {
        let address = listener.local_addr().unwrap();
        Self { address, server: tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// TLS with a certificate chain and a key from PEM files.
///
/// # Errors
///
/// Names the file that can't be read or doesn't hold what it should.
pub fn tls(certificates: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let wrong = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificates, &error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| wrong(certificates, &error))?)))
}

/// Serves a double's answers, for ever. While it is down, connections are accepted and closed, and those that there were
/// are closed as well.
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, control: Arc<Control>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, for example: others end meanwhile.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if control.is_down() {
            continue;
        }
        let (tls, router, control) = (tls.clone(), control.guard(router.clone()), Arc::clone(&control));
        tokio::spawn(async move {
            tokio::select! {
                () = converse(stream, tls, router) => {}
                () = control.goes_down() => {}
            }
        });
    }
}

async fn converse(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    match tls {
        None => exchange(stream, router).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => exchange(stream, router).await,
            Err(error) => eprintln!("a TLS handshake failed: {error}"),
        },
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    // A client that goes away in the middle is no fault.
    let _gone = http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}
