"""McpConnectors and CredentialSources: their manifests, and what a person sees of them."""

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import kube
from .install import POLL_SECONDS
from .kube import Manifest
from .operator import looking_after
from .waiting import as_it_changes, eventually

API_VERSION = "mcp-connectors.io/v1alpha1"
VAULT_HOST = "vault.vault.svc"
VAULT_URL = f"https://{VAULT_HOST}:8200"
CA_CONFIG_MAP = "vault-ca"
CREDENTIALS = "vault-reader"

# The design's promise of how late a problem is told: failureThreshold x interval + timeout + one poll of the operator,
# with the probe below.
PROBE = {"interval": "5s", "timeout": "2s"}
OUTAGE_SECONDS = 2 * 5 + 2 + POLL_SECONDS
# For stories in which nothing may change: a busy machine, on which a platform answers late, is no change.
PATIENT_PROBE = {"interval": "5s", "timeout": "30s", "failureThreshold": 5}

# Stories call faster than an agent may by default, and the same over and over.
LIMITS = {"calls": {"perMinute": 60000, "burst": 1000}, "repeats": {"enabled": False}}

# At the end of a run all that was written is searched for credentials.
TELEMETRY = {"logLevel": "trace"}

OWNED_KINDS = "deployments,replicasets,pods,services,configmaps,serviceaccounts,networkpolicies,poddisruptionbudgets"


def changed_by_agents(namespace: str) -> Manifest:
    """An `access` that names the stories' usual agent of a namespace as one who may change things."""
    return {"allow": [{"namespace": namespace, "serviceAccount": "default", "mutations": True}]}


def source(name: str = CREDENTIALS, hosts: tuple[str, ...] = (VAULT_HOST,), **secret: Any) -> Manifest:
    """A CredentialSource for Vault's token, in a Secret of the same name."""
    return {
        "apiVersion": API_VERSION,
        "kind": "CredentialSource",
        "metadata": {"name": name},
        "spec": {"hosts": list(hosts), "secret": {"name": name, "items": {"token": "token"}} | secret},
    }


def connector(name: str = "vault", vault: Manifest | None = None, **spec: Any) -> Manifest:
    """An McpConnector to the cluster's Vault."""
    ca = {"configMap": {"name": CA_CONFIG_MAP, "key": "ca.crt"}}
    return {
        "apiVersion": API_VERSION,
        "kind": "McpConnector",
        "metadata": {"name": name},
        "spec": {
            "platform": {"vault": {"url": VAULT_URL, "caBundle": ca} | (vault or {})},
            "credentials": {"name": CREDENTIALS},
            "probe": PROBE,
            "limits": LIMITS,
            "telemetry": TELEMETRY,
        }
        | spec,
    }


def secret(token: str, name: str = CREDENTIALS) -> Manifest:
    """The Secret with Vault's token."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"token": token}}


def ca_config_map(pem: str, name: str = CA_CONFIG_MAP) -> Manifest:
    """The ConfigMap with the authority of Vault's certificate."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca.crt": pem}}


def conditions_of(found: Manifest) -> dict[str, Manifest]:
    """The conditions of an McpConnector by type: those that are about its newest generation."""
    return {
        condition["type"]: condition
        for condition in found.get("status", {}).get("conditions", [])
        if condition["observedGeneration"] == found["metadata"]["generation"]
    }


@dataclass(frozen=True)
class Connector:
    """A connector in the cluster."""

    namespace: str
    name: str = "vault"

    @property
    def owned(self) -> str:
        """Name of everything that is made from it."""
        return f"mcp-{self.name}"

    @property
    def selector(self) -> str:
        """Selects what is made from it."""
        return f"mcp-connectors.io/connector={self.name}"

    def object(self) -> Manifest:
        """The McpConnector as it is."""
        return kube.get(self.namespace, "mcpconnector", self.name)

    def status(self) -> Manifest:
        """Its status; empty before there is one."""
        status: Manifest = self.object().get("status", {})
        return status

    def conditions(self) -> dict[str, Manifest]:
        """Its conditions by type: those that are about its newest generation."""
        return conditions_of(self.object())

    def condition(self, type_: str) -> Manifest:
        """One condition."""
        return self.conditions()[type_]

    def wait_for(self, type_: str, status: str, reason: str | None = None, timeout: float = 90) -> Manifest:
        """Waits for a condition to have a status, and a reason if one is named."""

        def look(found: Manifest | None) -> Manifest | None:
            assert found is not None, f"McpConnector {self.namespace}/{self.name} doesn't exist"
            condition = conditions_of(found).get(type_)
            if condition is None or condition["status"] != status:
                return None
            return condition if reason in (None, condition["reason"]) else None

        what = f"{self.name}: {type_}={status} {reason or ''}"
        states = partial(kube.follow, self.namespace, "mcpconnector", self.name)
        return as_it_changes(what, states, look, timeout, self.explain)

    def wait_for_event(self, type_: str, reason: str) -> None:
        """Waits for an Event about it, which comes after the condition that it tells of."""

        def look() -> bool:
            return (type_, reason) in {(one["type"], one["reason"]) for one in kube.events(self.namespace, self.name)}

        eventually(f"{self.name}: Event {type_} {reason}", look, explain=self.explain)

    def wait_ready(self, timeout: float = 120) -> Manifest:
        """Waits until it is ready, and returns its status."""
        self.wait_for("Ready", "True", "Ready", timeout)
        return self.status()

    def pods(self) -> list[Manifest]:
        """Its pods, without those that are going."""
        found = kube.items(self.namespace, "pods", self.selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pod_identities(self) -> dict[str, int]:
        """Uid and number of restarts of its pods."""
        return {
            pod["metadata"]["uid"]: sum(c["restartCount"] for c in pod["status"].get("containerStatuses", []))
            for pod in self.pods()
        }

    def deployment(self) -> Manifest:
        """Its Deployment."""
        return kube.get(self.namespace, "deployment", self.owned)

    def service_address(self) -> str:
        """Address of its Service, which this machine reaches too."""
        address: str = kube.get(self.namespace, "service", self.owned)["spec"]["clusterIP"]
        return address

    def token(self, service_account: str = "default", namespace: str = "", audience: str = "") -> str:
        """A token with which a ServiceAccount calls it."""
        return kube.token(namespace or self.namespace, service_account, audience or self.status()["audience"])

    def change(self, spec: Manifest) -> None:
        """Merges something into its spec."""
        kube.patch(self.namespace, "mcpconnector", self.name, {"spec": spec})

    def explain(self) -> str:
        """All that helps a person to see why it isn't as expected."""
        found = kube.find(self.namespace, "mcpconnector", self.name)
        if found is None:
            return f"McpConnector {self.namespace}/{self.name} doesn't exist"
        parts = [f"--- conditions of {self.namespace}/{self.name}, generation {found['metadata'].get('generation')}"]
        parts += [
            f"{c['type']}={c['status']} {c['reason']} (generation {c.get('observedGeneration')}): {c['message']}"
            for c in found.get("status", {}).get("conditions", [])
        ]
        parts += ["--- status.credentials", json.dumps(found.get("status", {}).get("credentials"))]
        parts += ["--- pods", kube.kubectl("--namespace", self.namespace, "get", "pods", "--output", "wide")]
        pods = kube.items(self.namespace, "pods", self.selector)
        for pod in pods[:2]:
            name = pod["metadata"]["name"]
            if any(c.get("state", {}).get("waiting") is None for c in pod["status"].get("containerStatuses", [])):
                parts += [f"--- log of {name}", kube.kubectl("--namespace", self.namespace, "logs", name, "--tail=15")]
        parts += ["--- operator", looking_after(self.namespace).log(15)]
        return "\n".join(parts)


def owned_objects(connector: Connector) -> list[str]:
    """Kind and name of everything in the namespace that has the labels of a connector."""
    found = kube.items(connector.namespace, OWNED_KINDS, connector.selector)
    return [f"{item['kind']}/{item['metadata']['name']}" for item in found]
