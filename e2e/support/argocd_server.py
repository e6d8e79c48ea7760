"""The cluster's Argo CD as the stories and the demo use it: applications from git, and connectors to it."""

import base64
import contextlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from testcluster import argocd

from . import kube
from .connector import API_VERSION, LIMITS, PROBE, Connector, ca_config_map
from .kube import Manifest
from .waiting import eventually

REPOSITORY = "workloads"
CREDENTIALS = "argocd-reader"
CA_CONFIG_MAP = "argocd-ca"
# The image of Argo CD itself is in the cluster, and has a shell.
IMAGE = f"{argocd.IMAGE}:{argocd.VERSION}"
# How soon a Deployment that doesn't start is called degraded.
PROGRESS_SECONDS = 8


def credentials(**fields: str) -> Manifest:
    """The Secret with the connector's credentials: a token, or `username` and `password`."""
    fields = fields or {"token": argocd.make_token()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": CREDENTIALS}, "stringData": fields}


def ca() -> Manifest:
    """The ConfigMap with the authority of Argo CD's certificate."""
    return ca_config_map(argocd.ca_file().read_text(), CA_CONFIG_MAP)


def source(*fields: str) -> Manifest:
    """A CredentialSource with these fields."""
    items = {field: field for field in fields or ("token",)}
    return {
        "apiVersion": API_VERSION,
        "kind": "CredentialSource",
        "metadata": {"name": CREDENTIALS},
        "spec": {"hosts": [argocd.HOST_NAME], "secret": {"name": CREDENTIALS, "items": items}},
    }


def connector(platform: Manifest | None = None, **spec: Any) -> Manifest:
    """An McpConnector to the cluster's Argo CD."""
    bundle = {"configMap": {"name": CA_CONFIG_MAP, "key": "ca.crt"}}
    return {
        "apiVersion": API_VERSION,
        "kind": "McpConnector",
        "metadata": {"name": "argocd"},
        "spec": {
            "platform": {"argoCd": {"url": f"https://{argocd.HOST_NAME}", "caBundle": bundle} | (platform or {})},
            "credentials": {"name": CREDENTIALS},
            "probe": PROBE,
            "limits": LIMITS,
        }
        | spec,
    }


def deploy_in(
    namespace: str, platform: Manifest | None = None, secret: Manifest | None = None, **spec: Any
) -> Connector:
    """Applies a connector with its source, Secret and CA, and waits until it is ready."""
    secret = secret or credentials()
    manifests = [secret, ca(), source(*secret["stringData"]), connector(platform, **spec)]
    kube.apply(namespace, *manifests)
    deployed = Connector(namespace, "argocd")
    deployed.wait_ready()
    return deployed


def workload(name: str, greeting: str, fails: bool = False) -> list[Manifest]:
    """A Deployment whose pods write a greeting into their log, and a ConfigMap."""
    script = f"echo {shlex.quote(greeting)}; " + ("exit 1" if fails else "exec sleep 1000000")
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/bin/busybox", "sh", "-c", script],
        # Otherwise a pod that ends at once is ready for a moment, which counts as progress each time.
        "readinessProbe": {"exec": {"command": ["/bin/busybox", "false" if fails else "true"]}},
        "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "32Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    labels = {"app": name}
    security = {"runAsNonRoot": True, "runAsUser": argocd.USER, "seccompProfile": {"type": "RuntimeDefault"}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "progressDeadlineSeconds": PROGRESS_SECONDS,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [container],
                    "securityContext": security,
                    "terminationGracePeriodSeconds": 0,
                },
            },
        },
    }
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-settings"},
        "data": {"greeting": greeting},
    }
    return [deployment, settings]


@dataclass(frozen=True)
class Application:
    """An application of Argo CD: a folder of the repository, deployed to a namespace."""

    name: str
    namespace: str

    def commit(self, *manifests: Manifest, message: str = "change") -> str:
        """Puts these manifests into its folder, in place of those of the same kind; gives the revision."""
        files: dict[str, str | None] = {
            f"{self.name}/{manifest['kind'].lower()}.yaml": yaml.safe_dump(manifest) for manifest in manifests
        }
        return argocd.commit(REPOSITORY, files, message)

    def create(self) -> None:
        """Makes the application, without auto-sync."""
        manifest = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": self.name, "finalizers": ["resources-finalizer.argocd.argoproj.io"]},
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": argocd.repository_url(REPOSITORY),
                    "path": self.name,
                    "targetRevision": "main",
                },
                "destination": {"server": "https://kubernetes.default.svc", "namespace": self.namespace},
            },
        }
        kube.apply(argocd.NAMESPACE, manifest)

    def sync(self) -> None:
        """Has Argo CD apply what git says, as a person would, and waits until it runs well."""
        argocd.api("POST", f"v1/applications/{self.name}/sync", {})
        self.wait_for("Synced", "Healthy")

    def object(self) -> Manifest:
        """The Application as it is."""
        return kube.get(argocd.NAMESPACE, "applications.argoproj.io", self.name)

    def states(self) -> tuple[str, str]:
        """Sync and health."""
        status = self.object().get("status", {})
        return status.get("sync", {}).get("status", ""), status.get("health", {}).get("status", "")

    def wait_for(self, sync: str, health: str, timeout: float = 120) -> None:
        """Waits until it is in these states."""
        eventually(
            f"{self.name} is {sync} and {health}",
            lambda: self.states() == (sync, health),
            timeout,
            explain=lambda: json.dumps(self.object().get("status", {}), indent=1)[:4000],
        )

    def history(self) -> list[Manifest]:
        """Its deployments, oldest first."""
        history: list[Manifest] = self.object().get("status", {}).get("history", [])
        return history

    def delete(self) -> None:
        """Removes it with what it runs."""
        words = ("delete", "application", self.name, "--ignore-not-found")
        kube.kubectl("--namespace", argocd.NAMESPACE, *words, timeout=120)


def revoke(token: str) -> None:
    """Ends a token of the connector's account."""
    claims = token.split(".")[1]
    identifier = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]
    argocd.api("DELETE", f"v1/account/{argocd.ACCOUNT}/token/{identifier}")


@contextlib.contextmanager
def granted(*rights: str) -> Iterator[None]:
    """Gives the connector's account more rights, such as `applications, update`, for a while."""
    policy = kube.get(argocd.NAMESPACE, "configmap", "argocd-rbac-cm")["data"]["policy.csv"]
    more = "".join(f"\np, {argocd.ACCOUNT}, {right}, */*, allow" for right in rights)
    kube.patch(argocd.NAMESPACE, "configmap", "argocd-rbac-cm", {"data": {"policy.csv": policy + more}})
    try:
        yield
    finally:
        kube.patch(argocd.NAMESPACE, "configmap", "argocd-rbac-cm", {"data": {"policy.csv": policy}})
