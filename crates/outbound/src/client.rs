//! How HTTP clients are made; and the one that shows a client certificate (mTLS), which is made anew whenever other
//! credentials are in use, so that no connection that the old certificate opened serves another request.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use url::Url;

use super::{
    CONNECT_TIMEOUT, OutboundError, RequestError, USER_AGENT,
    address::{self, CheckedResolver},
};
use api::{connector::ProxySpec, endpoint::AddressPolicy};
use credentials::CredentialsHandle;

/// Time after which a connection that nobody uses is closed. Shorter than the idle time of common load balancers (60
/// s), so that a request seldom meets a connection that the other side has just closed.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// What clients are made from.
pub(super) struct ClientRecipe {
    addresses: AddressPolicy,
    proxy: Option<reqwest::Proxy>,
    /// Authorities *instead of* the public ones.
    authorities: Option<Vec<reqwest::Certificate>>,
    tls_is_used: bool,
    idle_connections: usize,
}

impl ClientRecipe {
    pub(super) fn new(
        url: &Url,
        ca_pem: Option<&str>,
        addresses: AddressPolicy,
        proxy: Option<ProxySpec>,
        idle_connections: usize,
    ) -> Result<Self, OutboundError> {
        // A name is checked when it is resolved; an address in a URL is never resolved.
        let check = |url: &Url| match address::literal(url).and_then(|address| addresses.objection(address)) {
            Some(objection) => Err(OutboundError::ForbiddenAddress(objection)),
            None => Ok(()),
        };
        check(url)?;
        let mut tls_is_used = url.scheme() == "https";
        let proxy = match proxy {
            None => None,
            Some(proxy) => {
                let url = Url::parse(&proxy.url).map_err(|_| OutboundError::Proxy)?;
                check(&url)?;
                tls_is_used |= url.scheme() == "https";
                let bypass = proxy.no_proxy.unwrap_or_default().join(",");
                let proxy = reqwest::Proxy::all(url).map_err(|_| OutboundError::Proxy)?;
                Some(proxy.no_proxy(reqwest::NoProxy::from_string(&bypass)))
            }
        };
        let authorities = match ca_pem {
            None => None,
            Some(pem) => match reqwest::Certificate::from_pem_bundle(pem.as_bytes()) {
                Ok(certificates) if !certificates.is_empty() => Some(certificates),
                _ => return Err(OutboundError::CaBundle),
            },
        };
        Ok(Self { addresses, proxy, authorities, tls_is_used, idle_connections })
    }

    /// Makes a client, which shows `identity` to every server that asks for one.
    pub(super) fn build(&self, identity: Option<reqwest::Identity>) -> Result<reqwest::Client, OutboundError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            // As many as may be used at a time: making connections anew costs more than keeping them.
            .pool_max_idle_per_host(self.idle_connections)
            .tcp_nodelay(true)
            .dns_resolver(CheckedResolver { addresses: self.addresses })
            // Clears what the environment's variables would add.
            .no_proxy();
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        if let Some(authorities) = &self.authorities {
            builder = builder.tls_certs_only(authorities.clone());
        } else if !self.tls_is_used {
            // Spares reading the system's authorities, which need not be there.
            builder = builder.tls_certs_only([]);
        }
        if let Some(identity) = identity {
            builder = builder.identity(identity);
        }
        builder.build().map_err(|_| match (self.authorities.is_some(), self.tls_is_used) {
            (true, _) => OutboundError::CaBundle,
            (false, true) => OutboundError::PublicAuthorities,
            (false, false) => OutboundError::Client,
        })
    }
}

/// The client certificate of the credentials in use, if they hold one.
pub(super) struct Identity {
    credentials: CredentialsHandle,
    recipe: ClientRecipe,
    made: Mutex<Option<Made>>,
}

/// The client of one set of credentials; none if the set has no certificate.
struct Made {
    generation: u64,
    client: Result<Option<reqwest::Client>, RequestError>,
}

impl Identity {
    pub(super) fn new(credentials: CredentialsHandle, recipe: ClientRecipe) -> Self {
        Self { credentials, recipe, made: Mutex::new(None) }
    }

    /// The client that shows the certificate; none if the credentials in use have none.
    ///
    /// # Errors
    /// [`RequestError::ClientCertificate`] when no client can be made with it.
    pub(super) fn client(&self) -> Result<Option<reqwest::Client>, RequestError> {
        let Some(set) = self.credentials.current() else { return Ok(None) };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|made| made.generation == set.generation) {
            return made.client.clone();
        }
        let client = match set.client_certificate() {
            None => Ok(None),
            Some(pem) => reqwest::Identity::from_pem(&pem)
                .ok()
                .and_then(|identity| self.recipe.build(Some(identity)).ok())
                .map(Some)
                .ok_or(RequestError::ClientCertificate),
        };
        *made = Some(Made { generation: set.generation, client: client.clone() });
        client
    }
}
