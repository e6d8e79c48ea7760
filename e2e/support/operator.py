"""Operators: that of a run, which looks after nearly everything, and those that stories have for themselves.

A story that stops, kills or upgrades an operator has one of its own, and disturbs nobody. It looks after one namespace, which
the operator of the run leaves alone.
"""

import re
from dataclasses import dataclass

from . import install, kube, planted
from .install import Image
from .kube import Manifest

# One for each file of stories with an operator of its own, named after it; and two for a story about two operators.
OWN_NAMESPACES = (
    "own-deletion",
    "own-helm",
    "own-kubectl-mcp",
    "own-leadership",
    "own-operator-absence",
    "own-poll-interval",
    "own-rollout",
    "own-team-a",
    "own-team-b",
)
REPLICAS = 2
# It logs everything there is, which is for a search at the end and too much for a person.
FINE_LEVELS = ('"level":"TRACE"', '"level":"DEBUG"')
# What it says when it ends because it couldn't renew its Lease in time.
LEASE_LOST = "this replica is no longer the leader"
# Reconciles of connectors, in its metrics.
LOOKS = r'^controller_runtime_reconcile_total\{.*controller="mcpconnector".*\} (\d+)'


@dataclass(frozen=True)
class Operator:
    """A release of the operator's chart."""

    namespace: str
    # The one namespace that it looks after; empty for the operator of the run.
    watched: str = ""

    @property
    def user(self) -> str:
        """Who it is to the API server."""
        return f"system:serviceaccount:{self.namespace}:{install.RELEASE}"

    @property
    def lease(self) -> str:
        """Name of the Lease that its leader holds."""
        return f"mcp-connectors-operator-{self.watched}" if self.watched else "mcp-connectors-operator"

    def install(self, image: Image, changes: Manifest | None = None) -> None:
        """Installs or upgrades it, with other values if there are any, and waits until it runs."""
        looks_after = {"watchNamespace": self.watched} if self.watched else {"ignoreNamespaces": list(OWN_NAMESPACES)}
        install.install_operator(image, self.namespace, looks_after | (changes or {}))
        install.wait_for_operator(self.namespace)

    def uninstall(self) -> None:
        """Uninstalls it, if it is installed, and waits until it is gone."""
        install.uninstall_operator(self.namespace)

    def stop(self) -> None:
        """Stops every replica, and waits until they are gone."""
        self._kubectl("scale", f"deployment/{install.RELEASE}", "--replicas=0")
        self._kubectl("wait", "pod", "--selector", kube.OPERATOR_SELECTOR, "--for=delete", "--timeout=90s")

    def start(self) -> None:
        """Starts it, and waits until its replicas are ready."""
        self._kubectl("scale", f"deployment/{install.RELEASE}", f"--replicas={REPLICAS}")
        self._kubectl("rollout", "status", f"deployment/{install.RELEASE}", "--timeout=240s", timeout=300)

    def pods(self) -> list[Manifest]:
        """Its pods, also those that are going."""
        return kube.items(self.namespace, "pods", kube.OPERATOR_SELECTOR)

    def leader(self) -> str:
        """The pod that holds the Lease; empty when it was given back."""
        lease = kube.get(self.namespace, "lease", self.lease)
        holder: str = lease["spec"].get("holderIdentity", "")
        return holder

    def restarts(self) -> dict[str, str]:
        """How containers ended that the kubelet started anew, by pod."""
        return {
            pod["metadata"]["name"]: f"{status['restartCount']} times, last: {status['lastState']}"
            for pod in self.pods()
            for status in pod["status"].get("containerStatuses", [])
            if status["restartCount"] > 0
        }

    def faults(self) -> list[str]:
        """Restarts that are faults. One is none: on a machine that gives a leader no time for eight seconds it ends, as it
        should. That one slow answer doesn't end it is proven by unit tests, which have a clock of their own."""
        restarts = self.restarts().items()
        return [f"{pod} {how}" for pod, how in restarts if not (how.startswith("1 times") and LEASE_LOST in how)]

    def log(self, lines: int = 0) -> str:
        """What it wrote, without its finest levels; or its last lines."""
        written = self._kubectl("logs", "--selector", kube.OPERATOR_SELECTOR, "--tail=-1").splitlines()
        return "\n".join([line for line in written if not any(level in line for level in FINE_LEVELS)][-lines:])

    def metrics(self) -> dict[str, str]:
        """The metrics of its pods."""
        names = [pod["metadata"]["name"] for pod in self.pods()]
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        return {name: kube.kubectl("get", "--raw", f"{path}/{name}:8080/proxy/metrics") for name in names}

    def looks(self) -> int:
        """How often its replicas have looked at a connector, since they began."""
        counts = (int(count) for text in self.metrics().values() for count in re.findall(LOOKS, text, re.MULTILINE))
        return sum(counts)

    def tell_metrics(self) -> None:
        """Keeps its metrics for the search for credentials."""
        for pod, text in self.metrics().items():
            planted.tell(f"metrics-of-{pod}", text)

    def claim(self) -> None:
        """Makes the namespaces of a story's own operator. Those of a run that was killed go first."""
        for namespace in (self.namespace, self.watched):
            kube.delete("", "namespace", namespace)
            kube.create_namespace(namespace)

    def give_back(self) -> None:
        """Uninstalls a story's own operator, and has its namespaces deleted."""
        self.tell_metrics()
        self.uninstall()
        for namespace in (self.watched, self.namespace):
            kube.delete_namespace(namespace)

    def _kubectl(self, *words: str, timeout: float = 120) -> str:
        return kube.kubectl("--namespace", self.namespace, *words, timeout=timeout)


# The operator of the run, for everybody who doesn't name another one.
MAIN = Operator(kube.OPERATOR_NAMESPACE)


def own(namespace: str) -> Operator:
    """An operator of a story's own, to be claimed, installed and given back by it."""
    if namespace not in OWN_NAMESPACES:
        raise ValueError(f"{namespace} is none of OWN_NAMESPACES, so the operator of the run looks after it, too")
    return Operator(f"{namespace}-operator", namespace)


def looking_after(namespace: str) -> Operator:
    """The operator of a namespace."""
    return own(namespace) if namespace in OWN_NAMESPACES else MAIN


def install_main(image: Image) -> None:
    """Installs or upgrades the custom resources and the operator of the run."""
    install.install_crds()
    MAIN.install(image)
