//! Which addresses are called: every address of a name is checked when it is resolved, because a name may resolve to
//! anything, and to something else the next time.

use std::{error::Error, net::IpAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use api::endpoint::AddressPolicy;

/// A resolver that gives only addresses that may be called. It asks the system's own resolver.
#[derive(Clone, Copy, Debug)]
pub(super) struct CheckedResolver {
    pub(super) addresses: AddressPolicy,
}

/// A name has an address that may not be called.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name has an address that may not be called")]
pub(super) struct Refused(pub(super) &'static str);

/// A name can't be resolved. What the system said is not kept: it adds nothing that a reader could act on.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name can't be resolved")]
pub(super) struct Unresolved;

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.addresses;
        Box::pin(async move {
            let found: Vec<_> =
                tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| Box::new(Unresolved))?.collect();
            // One bad address refuses the name: which one is taken would be a matter of chance.
            if let Some(objection) = found.iter().find_map(|address| policy.objection(address.ip())) {
                return Err(Box::new(Refused(objection)) as Box<dyn Error + Send + Sync>);
            }
            if found.is_empty() {
                return Err(Box::new(Unresolved) as Box<dyn Error + Send + Sync>);
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The address that stands in a URL instead of a name.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
    }
}
