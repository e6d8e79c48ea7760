//! Who a guard counts for and keeps things for: a ServiceAccount, or where everyone may call without a token, an address.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use crate::access::{Caller, ServiceAccount};
use outbound::CallerKey;

/// Bits of an IPv6 address that one host can't choose by itself.
const IPV6_NETWORK: u32 = 64;

/// Who a guard counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A ServiceAccount, however many pods call with it.
    Account(ServiceAccount),
    /// Whoever uses a connector that runs without a cluster.
    Local,
    /// Whoever calls without a token from an address, as [`network`] gives it; none where it isn't known.
    Address(Option<IpAddr>),
}

impl Principal {
    /// Who it is, by what the request proved and where it comes from.
    #[must_use]
    pub fn of(caller: &Caller, address: Option<IpAddr>) -> Self {
        match caller {
            Caller::ServiceAccount(account) => Self::Account(account.clone()),
            Caller::Local => Self::Local,
            Caller::Anonymous | Caller::Operator => Self::Address(address.map(network)),
        }
    }
}

impl Principal {
    /// By what it is told apart from others where only that matters.
    #[must_use]
    pub fn key(&self) -> CallerKey {
        CallerKey::of(self)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => account.fmt(f),
            Self::Local => f.write_str("local"),
            Self::Address(Some(address)) => write!(f, "anonymous:{address}"),
            Self::Address(None) => f.write_str("anonymous"),
        }
    }
}

/// The address that is counted: one host of an IPv6 network can have any address of it, so the network counts.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> IPV6_NETWORK)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_whatever_address_it_takes() {
        let network = |text: &str| super::network(text.parse().unwrap()).to_string();
        assert_eq!(network("10.0.0.1"), "10.0.0.1");
        assert_eq!(network("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    }

    #[test]
    fn a_token_counts_and_not_where_it_is_sent_from() {
        let account = Caller::ServiceAccount(ServiceAccount { namespace: "a".to_owned(), name: "b".to_owned() });
        let from = |caller: &Caller, address: &str| Principal::of(caller, Some(address.parse().unwrap()));
        assert_eq!(from(&account, "10.0.0.1"), from(&account, "10.0.0.2"));
        assert_ne!(from(&Caller::Anonymous, "10.0.0.1"), from(&Caller::Anonymous, "10.0.0.2"));
    }
}
