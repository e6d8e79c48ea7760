"""Bringing the product into the cluster: its image, its CRDs, the operator."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from . import kube
from .kube import Manifest
from .machine import CLUSTER, ROOT, run
from .waiting import eventually

IMAGE = "mcp-connectors.local/mcp-connectors:e2e"
RELEASE = "mcp-connectors"
CRDS = ("mcpconnectors.mcp-connectors.io", "credentialsources.mcp-connectors.io")

# How often the operator asks connectors for their status, so that stories wait for less than at the usual 15 s.
POLL_SECONDS = 3


@dataclass(frozen=True)
class Image:
    """An image that is in the cluster."""

    repository: str
    tag: str

    @classmethod
    def named(cls, name: str) -> "Image":
        """Takes a name apart."""
        repository, _, tag = name.rpartition(":")
        return cls(repository, tag)

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


def provide_image() -> Image:
    """The image that MCP_CONNECTORS_IMAGE names, or one from an archive, or one that is built here."""
    if name := os.environ.get("MCP_CONNECTORS_IMAGE"):
        return Image.named(name)
    archive = os.environ.get("MCP_CONNECTORS_IMAGE_TAR")
    if not archive:
        archive = str(ROOT / "build" / "mcp-connectors-e2e.tar")
        profile = os.environ.get("PROFILE", "dev")
        build = (ROOT / "e2e" / "image" / "build", "--profile", profile, "--name", IMAGE, "--output", archive)
        run(*build, timeout=1800)
    run(CLUSTER, "load-image", archive, IMAGE)
    return Image.named(IMAGE)


def install_charts(image: Image, charts: Path) -> None:
    """Installs or upgrades both charts of a checkout, and waits for the operator."""
    install_crds(charts)
    install_operator(image, kube.OPERATOR_NAMESPACE, charts=charts)
    wait_for_operator()


def install_crds(charts: Path = ROOT / "charts") -> None:
    """Installs or upgrades the chart of the custom resources."""
    _helm_upgrade(f"{RELEASE}-crds", charts / "mcp-connectors-crds", kube.OPERATOR_NAMESPACE, {})


def install_operator(
    image: Image, namespace: str, changes: Manifest | None = None, charts: Path = ROOT / "charts"
) -> None:
    """Installs or upgrades the operator's chart in a namespace, and waits until Helm finds it ready."""
    values = {
        "image": {"repository": image.repository, "tag": image.tag, "pullPolicy": "Never"},
        # The image of an earlier run has the same name: the pod is made anew.
        "podAnnotations": {"e2e/installed": f"{time.time():.0f}"},
        # At the end of a run all that was written is searched for credentials.
        "logLevel": "trace",
        "pollInterval": f"{POLL_SECONDS}s",
    }
    _helm_upgrade(RELEASE, charts / "mcp-connectors", namespace, values | (changes or {}))


def _helm_upgrade(release: str, chart: Path, namespace: str, values: Manifest) -> None:
    kube.create_namespace(namespace)
    words = ("upgrade", "--install", "--namespace", namespace, "--wait")
    # An installation of the kustomize manifests, as the demo leaves it, is taken over.
    words += ("--take-ownership", "--server-side=true", "--force-conflicts")
    run("helm", *words, release, chart, "--values", "-", stdin=yaml.safe_dump(values))


def uninstall_crds() -> None:
    """Uninstalls the chart of the custom resources, which stay."""
    _helm_uninstall(f"{RELEASE}-crds", kube.OPERATOR_NAMESPACE)


def uninstall_operator(namespace: str) -> None:
    """Uninstalls the operator's chart, if it is installed, and waits until the operator is gone."""
    _helm_uninstall(RELEASE, namespace)


def _helm_uninstall(release: str, namespace: str) -> None:
    run("helm", "uninstall", "--namespace", namespace, "--wait", "--ignore-not-found", release)


def wait_for_operator(namespace: str = kube.OPERATOR_NAMESPACE) -> None:
    """Waits until every replica of the operator is ready and of the newest template, and those before are gone.

    One of those is the leader until it ends, and does what it would have done.
    """
    words = ("rollout", "status", "deployment/mcp-connectors", "--timeout=120s")
    kube.kubectl("--namespace", namespace, *words, timeout=150)

    def are_gone() -> bool:
        pods = kube.items(namespace, "pods", kube.OPERATOR_SELECTOR)
        return not any("deletionTimestamp" in pod["metadata"] for pod in pods)

    eventually("the operator's pods before are gone", are_gone, timeout=60)
