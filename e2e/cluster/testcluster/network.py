"""The pods' bridge, and a look at whether the network is free for a cluster."""

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import processes
from .commands import run
from .errors import ClusterError
from .settings import (
    BRIDGE,
    BRIDGE_MAC,
    CLUSTER_CIDR,
    CLUSTER_CIDR_6,
    LISTENERS,
    NODE_ADDRESS,
    NODE_ADDRESS_6,
    POD_CIDR,
    POD_CIDR_6,
    SERVICE_CIDR,
    SERVICE_CIDR_6,
    Listener,
)

LISTEN_STATE = "0A"
ANY_ADDRESS = {"0.0.0.0", "::"}


@dataclass(frozen=True)
class Socket:
    """A listening TCP socket of the machine."""

    address: str
    port: int
    inode: str


def has_ipv6() -> bool:
    """Whether the machine has IPv6, so that the cluster has both families of addresses.

    Services need its packet filter, which a kernel may lack.
    """
    switch = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    if not switch.exists() or switch.read_text().strip() != "0":
        return False
    try:
        for table in ("filter", "mangle", "nat"):
            run(["ip6tables", "--table", table, "--list-rules"])
    except ClusterError:
        return False
    return True


def create_bridge() -> None:
    """Makes the bridge; the node's own addresses are on it.

    The routes keep the host's calls to Services on the bridge, whether or not the
    host has a default route, and never let them out to another network.
    """
    ip("link", "add", "name", BRIDGE, "address", BRIDGE_MAC, "type", "bridge")
    ip("address", "add", _with_prefix(NODE_ADDRESS, POD_CIDR), "dev", BRIDGE)
    if has_ipv6():
        # Without a pod the bridge has no link on which another could have the same address.
        ip("address", "add", _with_prefix(NODE_ADDRESS_6, POD_CIDR_6), "dev", BRIDGE, "nodad")
    ip("link", "set", BRIDGE, "up")
    ip("route", "add", SERVICE_CIDR, "dev", BRIDGE, "src", NODE_ADDRESS)
    if has_ipv6():
        ip("route", "add", SERVICE_CIDR_6, "dev", BRIDGE, "src", NODE_ADDRESS_6)


def _with_prefix(address: str, network: str) -> str:
    return f"{address}/{ipaddress.ip_network(network).prefixlen}"


def bridge_exists() -> bool:
    """Whether the bridge is there."""
    return Path(f"/sys/class/net/{BRIDGE}").exists()


def remove_bridge() -> None:
    """Removes the bridge and the pods' links that are still on it."""
    ports = Path(f"/sys/class/net/{BRIDGE}/brif")
    for port in sorted(ports.iterdir()) if ports.exists() else ():
        # A pod's link also goes with its network namespace, which may be faster.
        if port.exists():
            remove_link(port.name)
    remove_link(BRIDGE)


def remove_link(name: str) -> None:
    """Removes a link; it is no error if it has gone in the meantime."""
    try:
        ip("link", "delete", name)
    except ClusterError:
        if Path(f"/sys/class/net/{name}").exists():
            raise


def conflicts() -> list[str]:
    """What of others stands in the way of a cluster, in words."""
    return [*_address_conflicts(), *_route_conflicts(), *_port_conflicts()]


def ip(*words: str) -> Any:
    """Runs the ip program; its answer is decoded if it is JSON."""
    output = run(["ip", *words])
    return json.loads(output) if words[0] == "-json" and output.strip() else None


def _overlaps(network: str) -> bool:
    found = ipaddress.ip_network(network, strict=False)
    if isinstance(found, ipaddress.IPv6Network):
        return found.overlaps(ipaddress.IPv6Network(CLUSTER_CIDR_6))
    return found.overlaps(ipaddress.IPv4Network(CLUSTER_CIDR))


def _address_conflicts() -> list[str]:
    return [
        f"the address {address['local']} of {link['ifname']} is in a range of the cluster's"
        for link in ip("-json", "address", "show") or ()
        for address in link["addr_info"]
        if link["ifname"] != BRIDGE and "local" in address and _overlaps(address["local"])
    ]


def _route_conflicts() -> list[str]:
    return [
        f"the route to {route['dst']} by {route.get('dev', '?')} is in a range of the cluster's"
        for family in ("-4", "-6")
        for route in ip("-json", family, "route", "show") or ()
        if route["dst"] != "default" and route.get("dev") != BRIDGE and _overlaps(route["dst"])
    ]


def _port_conflicts() -> list[str]:
    sockets = _listening_sockets()
    taken = [
        (listener, socket)
        for listener in LISTENERS
        for socket in sockets
        if socket.port == listener.port and _same_address(socket, listener)
    ]
    holders = processes.listening({socket.inode for _, socket in taken})
    return sorted(
        {
            f"port {listener.port}, which {listener.component} needs, is used by "
            + _describe(holders.get(socket.inode))
            for listener, socket in taken
        }
    )


def _same_address(socket: Socket, listener: Listener) -> bool:
    return socket.address in ANY_ADDRESS or socket.address == listener.address


def _describe(pid: int | None) -> str:
    if pid is None:
        return "a process of another user or container"
    return f"process {pid} ({processes.executable(pid) or 'unknown program'})"


def _listening_sockets() -> list[Socket]:
    found = []
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN_STATE:
                address, port = fields[1].split(":")
                found.append(Socket(_decode(address), int(port, 16), fields[9]))
    return found


def _decode(address: str) -> str:
    """The kernel writes addresses as 32-bit words in its own byte order."""
    data = bytes.fromhex(address)
    swapped = b"".join(data[at : at + 4][::-1] for at in range(0, len(data), 4))
    decoded = ipaddress.ip_address(swapped)
    mapped = decoded.ipv4_mapped if isinstance(decoded, ipaddress.IPv6Address) else None
    return str(mapped or decoded)
