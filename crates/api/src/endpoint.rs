//! A platform's URL: what may stand in a spec, and which addresses are never called. The operator checks it before
//! anything is made, and `serve` checks every address again when it connects, because a name may resolve to anything.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// A platform's base URL as written in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlatformUrl(pub String);

impl JsonSchema for PlatformUrl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PlatformUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 2048,
            "x-kubernetes-validations": [
                {
                    "rule": "self.startsWith('https://') || self.startsWith('http://')",
                    "message": "url must begin with https:// (or with http://, together with insecureHttp: true)",
                },
                {
                    "rule": "!self.contains('@')",
                    "message": "url must not hold credentials: put them into a Secret and name it in a CredentialSource",
                },
                {
                    "rule": "!self.contains('?') && !self.contains('#')",
                    "message": "url must not have a query or a fragment",
                },
                {
                    "rule": "isURL(self) && url(self).getHostname() != ''",
                    "message": "url must name a host, as in https://vault.example.com:8200",
                },
            ],
        })
    }
}

/// A platform's base URL, taken apart and found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL, without a trailing slash in its path.
    pub url: Url,
    /// Host as in the URL; IPv6 addresses in brackets.
    pub host: String,
    /// Port, also where the URL leaves it out.
    pub port: u16,
}

/// Why a URL can't be a platform's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is no URL.
    #[error("{0:?} is not a URL: {1}")]
    Malformed(String, url::ParseError),
    /// It has another scheme than http or https.
    #[error("the URL's scheme is {0:?}; it must be https")]
    Scheme(String),
    /// It is http, and nobody said that this is meant.
    #[error("http:// sends the credentials in clear text; use https://, or set insecureHttp: true if that is meant")]
    InsecureHttp,
    /// It has no host.
    #[error("the URL names no host")]
    NoHost,
    /// It holds a user name or password.
    #[error("the URL holds credentials; put them into a Secret and name it in a CredentialSource")]
    Credentials,
    /// It has a query or fragment.
    #[error("the URL has a query or a fragment; leave them out")]
    QueryOrFragment,
    /// Its host is an address that is never called.
    #[error("{0} is {1}; a connector never calls such an address")]
    ForbiddenAddress(String, &'static str),
}

/// Which addresses a process may call. `Cluster` is for connectors in a cluster; `Loopback` also allows 127.0.0.0/8
/// and `::1`, for a connector that runs beside its platform on one machine. The other two are for the one way to where a pod
/// gets credentials for its own identity, and for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Refuses link-local, metadata, loopback, unspecified, multicast and broadcast addresses.
    Cluster,
    /// As `Cluster`, but loopback is allowed.
    Loopback,
    /// The agent of EKS Pod Identity on the node, and nobody else.
    PodIdentityAgent,
    /// The metadata service of an EC2 instance, and nobody else.
    InstanceMetadata,
}

const LOOPBACK: &str = "a loopback address";
const UNSPECIFIED: &str = "the unspecified address";
const MULTICAST: &str = "a multicast address";
const LINK_LOCAL: &str = "a link-local address";
const OF_THE_CLOUD: &str = "a cloud metadata address";

/// Networks in which a connector calls nobody, with what is said of them. NetworkPolicies leave them out of "any address", too.
pub const REFUSED_NETWORKS: [(IpNet, &str); 15] = [
    (v4([0, 0, 0, 0], 8), UNSPECIFIED),
    (v4([127, 0, 0, 0], 8), LOOPBACK),
    (v4([169, 254, 0, 0], 16), LINK_LOCAL),
    // Metadata services that lie outside the link-local range: Alibaba Cloud's, Oracle Cloud's, and Azure's WireServer.
    (v4([100, 100, 100, 200], 32), OF_THE_CLOUD),
    (v4([192, 0, 0, 192], 32), OF_THE_CLOUD),
    (v4([168, 63, 129, 16], 32), OF_THE_CLOUD),
    (v4([224, 0, 0, 0], 4), MULTICAST),
    (v4([255, 255, 255, 255], 32), "the broadcast address"),
    (v6([0; 8], 128), UNSPECIFIED),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), LOOPBACK),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), LINK_LOCAL),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "a site-local address"),
    // What AWS has on each machine: metadata, and the agent of EKS Pod Identity.
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), OF_THE_CLOUD),
    // Google Cloud's.
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), OF_THE_CLOUD),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), MULTICAST),
];

const fn v4(address: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_octets(address), length))
}

const fn v6(address: [u16; 8], length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_segments(address), length))
}

/// The address of IPv4 that one of IPv6 leads to: one within a compatible address, behind a NAT64 gateway with the well-known
/// prefix (RFC 6052) or one for local use (RFC 8215), of 48 bits or of 96, or within a 6to4 address (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        [0x64, 0xff9b, 1, high, middle, end, 0, 0] if middle <= 0xff && end.trailing_zeros() >= 8 => {
            (high, (middle << 8) | (end >> 8))
        }
        [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, .., high, low]
        | [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)))
}

/// Addresses of the agent of EKS Pod Identity (docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html).
pub const POD_IDENTITY_ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23))];
/// Address of the metadata service of an EC2 instance.
pub const INSTANCE_METADATA_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

impl AddressPolicy {
    /// Says what is wrong with an address, or nothing if it may be called.
    #[must_use]
    pub fn objection(self, address: IpAddr) -> Option<&'static str> {
        let address = address.to_canonical();
        match self {
            Self::PodIdentityAgent => {
                return (!POD_IDENTITY_ADDRESSES.contains(&address)).then_some("not the agent of EKS Pod Identity");
            }
            Self::InstanceMetadata => {
                return (address != INSTANCE_METADATA_ADDRESS).then_some("not the instance's metadata service");
            }
            Self::Cluster | Self::Loopback => {}
        }
        let refused = REFUSED_NETWORKS.iter().find(|(network, _)| network.contains(&address));
        match (refused, address) {
            (Some((_, LOOPBACK)), _) if self == Self::Loopback => None,
            (Some((_, what)), _) => Some(what),
            (None, IpAddr::V6(v6)) => embedded(v6).and_then(|v4| self.objection(IpAddr::V4(v4))),
            (None, IpAddr::V4(_)) => None,
        }
    }
}

impl PlatformUrl {
    /// Takes the URL apart and checks it.
    ///
    /// # Errors
    /// When it can't be a platform's URL; the text says why, and holds no credentials of the URL.
    pub fn endpoint(&self, insecure_http: bool, policy: AddressPolicy) -> Result<Endpoint, EndpointError> {
        if self.0.contains('@') {
            return Err(EndpointError::Credentials);
        }
        let mut url = Url::parse(&self.0).map_err(|error| EndpointError::Malformed(self.0.clone(), error))?;
        match url.scheme() {
            "https" => {}
            "http" if insecure_http => {}
            "http" => return Err(EndpointError::InsecureHttp),
            other => return Err(EndpointError::Scheme(other.to_owned())),
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(EndpointError::QueryOrFragment);
        }
        let address = match url.host() {
            None | Some(Host::Domain("")) => return Err(EndpointError::NoHost),
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                if name == "localhost" || name.ends_with(".localhost") {
                    if policy != AddressPolicy::Loopback {
                        return Err(EndpointError::ForbiddenAddress(name.to_owned(), "a loopback name"));
                    }
                } else if name == "metadata.google.internal" {
                    return Err(EndpointError::ForbiddenAddress(name.to_owned(), "a cloud metadata name"));
                }
                None
            }
            Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        };
        if let Some(address) = address
            && let Some(objection) = policy.objection(address)
        {
            return Err(EndpointError::ForbiddenAddress(address.to_string(), objection));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().ok_or(EndpointError::NoHost)?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Endpoint { url, host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) -> Result<Endpoint, EndpointError> {
        PlatformUrl(text.into()).endpoint(false, AddressPolicy::Cluster)
    }

    #[test]
    fn takes_a_url_apart() {
        let endpoint = check("https://vault.example.com:8200/base/").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("vault.example.com", 8200));
        assert_eq!(endpoint.url.as_str(), "https://vault.example.com:8200/base");
        assert_eq!(check("https://vault.example.com").unwrap().port, 443);
        assert_eq!(check("https://[2001:db8::1]:8200").unwrap().host, "[2001:db8::1]");
    }

    #[test]
    fn refuses_what_is_never_called() {
        for (text, part) in [
            ("https://169.254.169.254/latest", "link-local"),
            ("https://2852039166/latest", "link-local"),
            ("https://[fe80::1]", "link-local"),
            ("https://[::ffff:169.254.169.254]", "link-local"),
            ("https://[fd00:ec2::254]", "metadata"),
            ("https://[fd00:ec2::23]", "metadata"),
            ("https://100.100.100.200", "metadata"),
            ("https://168.63.129.16", "metadata"),
            ("https://[64:ff9b::a9fe:a9fe]", "link-local"),
            ("https://[64:ff9b:1::a9fe:a9fe]", "link-local"),
            ("https://[64:ff9b:1:a9fe:a9:fe00::]", "link-local"),
            ("https://[2002:a9fe:a9fe::1]", "link-local"),
            ("https://[::169.254.169.254]", "link-local"),
            ("https://[fec0::1]", "site-local"),
            ("https://metadata.google.internal", "metadata"),
            ("https://127.0.0.1:8200", "loopback"),
            ("https://[::1]:8200", "loopback"),
            ("https://localhost:8200", "loopback"),
            ("https://0.0.0.0", "unspecified"),
            ("https://224.0.0.1", "multicast"),
            ("http://vault.example.com", "insecureHttp"),
            ("ftp://vault.example.com", "scheme"),
            ("htps:/vault.example.com", "scheme"),
            ("https://user:pw@vault.example.com", "credentials"),
            ("https://vault.example.com?a=b", "query"),
            ("https://vault.example.com:99999", "not a URL"),
            ("https://", "not a URL"),
            ("vault.example.com", "not a URL"),
        ] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("pw"), "{error}");
        }
    }

    #[test]
    fn what_leads_to_a_public_address_is_called() {
        for address in ["64:ff9b::c633:6407", "64:ff9b:1::c633:6407", "64:ff9b:1:c633:64:700::", "2002:c633:6407::1"] {
            assert!(check(&format!("https://[{address}]")).is_ok(), "{address}");
        }
    }

    #[test]
    fn loopback_is_for_one_machine() {
        let url = PlatformUrl("http://127.0.0.1:8200".into());
        assert!(url.endpoint(true, AddressPolicy::Loopback).is_ok());
        assert!(url.endpoint(true, AddressPolicy::Cluster).is_err());
    }

    #[test]
    fn where_a_pod_gets_its_identity_nobody_else_is() {
        let pod_identity = ["169.254.170.23", "fd00:ec2::23", "::ffff:169.254.170.23"];
        for text in pod_identity.into_iter().chain(["169.254.169.254", "127.0.0.1", "10.0.0.1", "169.254.170.2"]) {
            let address: IpAddr = text.parse().unwrap();
            let may = |policy: AddressPolicy| policy.objection(address).is_none();
            assert_eq!(may(AddressPolicy::PodIdentityAgent), pod_identity.contains(&text), "{text}");
            assert_eq!(may(AddressPolicy::InstanceMetadata), text == "169.254.169.254", "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _outcome = check(&text);
        }
    }
}
