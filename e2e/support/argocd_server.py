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
from .connector import API_VERSION, LIMITS, PROBE, TELEMETRY, Connector, ca_config_map
from .kube import Manifest
from .waiting import eventually

# The folder of a repository that is deployed.
PATH = "manifests"
CREDENTIALS = "argocd-reader"
CA_CONFIG_MAP = "argocd-ca"
# The image of Argo CD itself is in the cluster, and has a shell.
IMAGE = f"{argocd.IMAGE}:{argocd.VERSION}"
_SERVER_SIDE = ["ServerSideApply=true"]
# The ways in which Argo CD applies and compares by itself, as arguments of `Application.create`.
MODES: dict[str, dict[str, Any]] = {
    "client-side": {"options": []},
    "server-side apply": {"options": _SERVER_SIDE},
    "server-side diff": {
        "options": _SERVER_SIDE,
        "annotations": {"argocd.argoproj.io/compare-options": "ServerSideDiff=true"},
    },
}
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
            "telemetry": TELEMETRY,
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


def in_git(repository: str, path: str, **more: Any) -> Manifest:
    """A folder of a repository as the source of an application."""
    return {"repoURL": argocd.repository_url(repository), "path": path, "targetRevision": "main"} | more


@dataclass(frozen=True)
class Application:
    """An application of Argo CD: a repository, deployed to a namespace."""

    name: str
    namespace: str

    @property
    def repository(self) -> str:
        """Its repository: one of its own, because a commit is a new revision for every application of a repository."""
        return self.name

    def commit(self, *manifests: Manifest, message: str = "change") -> str:
        """Puts these manifests into its repository, in place of those of the same kind; gives the revision."""
        files: dict[str, str | None] = {
            f"{PATH}/{manifest['kind'].lower()}.yaml": yaml.safe_dump(manifest) for manifest in manifests
        }
        return argocd.commit(self.repository, files, message)

    def create(
        self,
        options: list[str] | None = None,
        annotations: dict[str, str] | None = None,
        sources: list[Manifest] | None = None,
    ) -> None:
        """Makes the application, or changes it; with auto-sync if there are options for it."""
        where = {"sources": sources} if sources else {"source": in_git(self.repository, PATH)}
        automated = {"automated": {"prune": True, "selfHeal": True}, "syncOptions": options}
        manifest = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {
                "name": self.name,
                "finalizers": ["resources-finalizer.argocd.argoproj.io"],
                "annotations": annotations or {},
            },
            "spec": {
                "project": "default",
                "destination": {"server": "https://kubernetes.default.svc", "namespace": self.namespace},
            }
            | where
            | ({} if options is None else {"syncPolicy": automated}),
        }
        kube.apply(argocd.NAMESPACE, manifest)

    def sync(self, options: list[str] | None = None) -> None:
        """Has Argo CD apply what git says, as a person would, and waits until it runs well."""
        deployments = len(self.history())
        argocd.api("POST", f"v1/applications/{self.name}/sync", {"syncOptions": {"items": options or []}})
        eventually("Argo CD has applied it", lambda: len(self.history()) > deployments)
        self.wait_for("Synced", "Healthy")

    def refresh(self) -> None:
        """Asks for a look at git now, instead of at the next interval."""
        patch = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
        kube.patch(argocd.NAMESPACE, "applications.argoproj.io", self.name, patch)

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

    def resource_health(self, kind: str) -> Manifest:
        """What Argo CD shows of its one resource of a kind."""
        nodes = argocd.api("GET", f"v1/applications/{self.name}/resource-tree")["nodes"]
        (found,) = [node for node in nodes if node["kind"] == kind]
        health: Manifest = found.get("health", {})
        return health

    def history(self) -> list[Manifest]:
        """Its deployments, oldest first."""
        history: list[Manifest] = self.object().get("status", {}).get("history", [])
        return history

    def delete(self) -> None:
        """Removes it with what it runs."""
        words = ("delete", "application", self.name, "--ignore-not-found")
        kube.kubectl("--namespace", argocd.NAMESPACE, *words, timeout=120)


@contextlib.contextmanager
def running(name: str, namespace: str, greeting: str = "one") -> Iterator[Application]:
    """An application that is deployed and well, for a while: a Deployment that writes a greeting, and a ConfigMap."""
    application = Application(name, namespace)
    application.commit(*workload("web", greeting), message="first")
    application.create()
    application.sync()
    try:
        yield application
    finally:
        application.delete()


def events_of_ours() -> list[str]:
    """How many events of our kinds Argo CD has taken up, each of which makes it look at an application again."""
    path = f"/api/v1/namespaces/{argocd.NAMESPACE}/services/argocd-metrics:8082/proxy/metrics"
    lines = kube.kubectl("get", "--raw", path).splitlines()
    counts = [line for line in lines if line.startswith("argocd_cluster_events_total{") and "mcp-connectors.io" in line]
    assert counts, "Argo CD has seen none, or counts them by another name"
    return counts


def revoke(token: str) -> None:
    """Ends a token of the connector's account."""
    claims = token.split(".")[1]
    identifier = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]
    argocd.api("DELETE", f"v1/account/{argocd.ACCOUNT}/token/{identifier}")


@contextlib.contextmanager
def sync_window(application: Application, **window: str) -> Iterator[None]:
    """Gives the application's project a sync window that is about this application only, for a while."""
    rule = window | {"applications": [application.name]}
    kube.patch(argocd.NAMESPACE, "appprojects.argoproj.io", "default", {"spec": {"syncWindows": [rule]}})
    try:
        yield
    finally:
        kube.patch(argocd.NAMESPACE, "appprojects.argoproj.io", "default", {"spec": {"syncWindows": None}})


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
