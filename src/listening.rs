//! Listening on an address, on nodes with IPv6 and without.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::TcpListener;

/// Listens. `[::]` stands for all addresses that the machine has: those of both kinds, or of IPv4 where there is no IPv6.
///
/// # Errors
/// When the address can't be listened on.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        // A node without IPv6 has no unspecified address of it.
        Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        other => other,
    }
}
