"""A real API server accepts what charts and kustomize make, with strict validation. Only a namespace is created."""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from rendering import (
    IMAGE,
    NAMESPACE,
    ROOT,
    VARIANTS,
    Manifest,
    kustomize,
    merged,
    of_kind,
    only,
    parse,
    render,
    render_crds,
    tool,
)

pytestmark = pytest.mark.cluster

DRY_RUN = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
FOREIGN_KINDS = {"PodMonitor", "PrometheusRule"}


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace that enforces the restricted profile, with the ServiceAccounts that pods are admitted with."""
    assert os.environ.get("KUBECONFIG"), "KUBECONFIG must name a cluster"
    name = f"mcp-connectors-checks-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": labels}
    send("create", [{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
    try:
        yield name
    finally:
        tool("kubectl", "delete", "namespace", name, "--wait=false")


def send(verb: str, manifests: list[Manifest], *options: str) -> str:
    listing = {"apiVersion": "v1", "kind": "List", "items": manifests}
    return tool("kubectl", verb, *options, "--filename", "-", stdin=json.dumps(listing))


def moved(manifests: list[Manifest], namespace: str) -> list[Manifest]:
    """The manifests in a namespace that exists, without kinds that are not Kubernetes' own."""
    text = json.dumps([manifest for manifest in manifests if manifest["kind"] not in FOREIGN_KINDS])
    for other in (NAMESPACE, "ci-agents"):
        text = text.replace(f'"{other}"', f'"{namespace}"')
    return json.loads(text)


@pytest.mark.parametrize("variant", VARIANTS)
def test_chart_is_accepted(variant: str, namespace: str) -> None:
    manifests = moved(render(merged(IMAGE, VARIANTS[variant])), namespace)
    send(DRY_RUN[0], manifests, *DRY_RUN[1:])


@pytest.mark.parametrize("variant", VARIANTS)
def test_operators_pod_is_admitted_under_the_restricted_profile(variant: str, namespace: str) -> None:
    template = only(render(VARIANTS[variant]), "Deployment")["spec"]["template"]
    account = {"name": template["spec"]["serviceAccountName"], "namespace": namespace}
    send("apply", [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}], "--server-side")
    metadata = {**template["metadata"], "name": "operator", "namespace": namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    send("create", [pod], "--dry-run=server", "--validate=strict")


def test_definitions_and_roles_are_accepted() -> None:
    send(DRY_RUN[0], render_crds(), *DRY_RUN[1:])


def test_kustomize_manifests_are_accepted(namespace: str) -> None:
    manifests = kustomize(ROOT / "config/default")
    assert of_kind(manifests, "Namespace")
    send(DRY_RUN[0], moved(manifests, namespace), *DRY_RUN[1:])


def test_released_manifest_is_accepted(namespace: str, tmp_path: Path) -> None:
    for program in ("mcp-connectors-image", "mcp-connectors", "kubectl-mcp"):
        (tmp_path / program).write_text("no program\n")
    options = ("--programs", tmp_path, "--architecture", "amd64", "--output", tmp_path / "release", "--allow-dirty")
    subprocess.run([ROOT / "e2e/release/build", *options, "--image", "registry.example.com/mcp"], check=True)
    manifests = parse((tmp_path / "release/install.yaml").read_text())
    assert {"CustomResourceDefinition", "Deployment", "Namespace"} < {manifest["kind"] for manifest in manifests}
    send(DRY_RUN[0], moved(manifests, namespace), *DRY_RUN[1:])
