"""Removes the counters that kube-proxy leaves in the kernel.

The proxy makes packet counters (nfacct objects) for its rules; no common program
shows or removes them, but a netlink message does.
"""

import errno
import os
import socket
import struct

from .errors import ClusterError

NETLINK_NETFILTER = 12
DELETE = 7 << 8 | 3
REQUEST_WITH_ANSWER = 0x1 | 0x4
NAME_ATTRIBUTE = 1
COUNTERS = ("ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts")
# A kernel without such counters refuses the whole subsystem.
ABSENT = {0, errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP}

MESSAGE = struct.Struct("=IHHII")
FAMILY = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)


def remove_counters() -> None:
    """Removes the proxy's counters, if there are any; the rules must have gone."""
    try:
        link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    except OSError:
        return
    with link:
        for name in COUNTERS:
            link.send(_deletion(name))
            code = struct.unpack_from("=i", link.recv(4096), MESSAGE.size)[0]
            if -code not in ABSENT:
                raise ClusterError(f"cannot remove the counter {name}: {os.strerror(-code)}")


def _deletion(name: str) -> bytes:
    value = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(value), NAME_ATTRIBUTE) + value
    content = FAMILY + attribute + b"\0" * (-len(attribute) % 4)
    head = MESSAGE.pack(MESSAGE.size + len(content), DELETE, REQUEST_WITH_ANSWER, 1, 0)
    return head + content
