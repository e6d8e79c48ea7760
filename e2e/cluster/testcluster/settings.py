"""Names, addresses and ports of the cluster.

Pods and Services use the ranges that are set aside for benchmarks (198.18.0.0/15 and
2001:2::/48): no real network uses them, and nothing takes them for a private network.
Those of IPv6 are there where the machine has IPv6.
"""

from dataclasses import dataclass

CLUSTER_CIDR = "198.18.0.0/15"
POD_CIDR = "198.18.0.0/24"
SERVICE_CIDR = "198.19.0.0/16"
NODE_ADDRESS = "198.18.0.1"
CLUSTER_CIDR_6 = "2001:2::/48"
POD_CIDR_6 = "2001:2:0:18::/64"
SERVICE_CIDR_6 = "2001:2:0:19::/112"
NODE_ADDRESS_6 = "2001:2:0:18::1"
API_SERVICE_ADDRESS = "198.19.0.1"
DNS_ADDRESS = "198.19.0.10"
CLUSTER_DOMAIN = "cluster.local"

NODE_NAME = "e2e-node"
BRIDGE = "mcp-e2e0"
# A fixed address keeps the bridge's from changing whenever a pod joins it.
BRIDGE_MAC = "02:6d:63:70:00:01"
CHAIN_PREFIX = "MCP-E2E"
CGROUP = "mcp-connectors-e2e"
MAX_PODS = 200

IMAGE_PREFIX = "mcp-connectors.local"
PAUSE_IMAGE = f"{IMAGE_PREFIX}/pause:1"
BUSYBOX_IMAGE = f"{IMAGE_PREFIX}/busybox:1"

ETCD_PORT = 23790
ETCD_PEER_PORT = 23800
API_PORT = 6443
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
KUBELET_PORT = 10250
KUBELET_HEALTH_PORT = 10248
PROXY_HEALTH_PORT = 10256
PROXY_METRICS_PORT = 10249


@dataclass(frozen=True)
class Listener:
    """A port that a component will listen on."""

    component: str
    address: str
    port: int


LISTENERS = (
    Listener("etcd", "127.0.0.1", ETCD_PORT),
    Listener("etcd", "127.0.0.1", ETCD_PEER_PORT),
    Listener("kube-apiserver", NODE_ADDRESS, API_PORT),
    Listener("kube-controller-manager", "127.0.0.1", CONTROLLER_MANAGER_PORT),
    Listener("kube-scheduler", "127.0.0.1", SCHEDULER_PORT),
    Listener("kubelet", NODE_ADDRESS, KUBELET_PORT),
    Listener("kubelet", "127.0.0.1", KUBELET_HEALTH_PORT),
    Listener("kube-proxy", "127.0.0.1", PROXY_HEALTH_PORT),
    Listener("kube-proxy", "127.0.0.1", PROXY_METRICS_PORT),
)
