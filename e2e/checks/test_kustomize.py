"""The kustomize manifests make what the charts make, so that neither lags behind."""

import shutil
from pathlib import Path

import pytest
from rendering import NAMESPACE, RELEASE, ROOT, Manifest, container, environment, kustomize, only, render, render_crds

# Labels that Helm adds.
HELM_LABELS = {"app.kubernetes.io/managed-by", "helm.sh/chart"}


@pytest.fixture(scope="module")
def default() -> list[Manifest]:
    return kustomize(ROOT / "config/default")


def by_identity(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}


def comparable(manifest: Manifest) -> Manifest:
    """The manifest without what differs by design."""
    if manifest["kind"] == "CustomResourceDefinition":
        return {"spec": manifest["spec"]}
    metadata = dict(manifest["metadata"])
    metadata["labels"] = {key: value for key, value in metadata["labels"].items() if key not in HELM_LABELS}
    return {**manifest, "metadata": metadata}


def test_kustomize_makes_what_the_charts_make(default: list[Manifest]) -> None:
    charts = by_identity(render({}) + render_crds())
    manifests = by_identity([manifest for manifest in default if manifest["kind"] != "Namespace"])
    assert set(manifests) == set(charts)
    for identity, manifest in manifests.items():
        assert comparable(manifest) == comparable(charts[identity]), identity


def test_namespace_enforces_the_restricted_profile(default: list[Manifest]) -> None:
    namespace = only(default, "Namespace")["metadata"]
    assert namespace["name"] == NAMESPACE
    for mode in ("enforce", "audit", "warn"):
        assert namespace["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"


def test_each_folder_builds_by_itself() -> None:
    for folder in ("crds", "config/crd", "config/rbac", "config/operator"):
        assert kustomize(ROOT / folder), folder


def test_another_image_goes_to_operator_and_connectors(tmp_path: Path) -> None:
    for folder in ("config", "crds"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    file = tmp_path / "config/default/kustomization.yaml"
    before = f"- name: {RELEASE}\n"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, f"{before}    newName: registry.example.com/mcp\n"))
    manifests = kustomize(tmp_path / "config/default")
    image = container(manifests)["image"]
    assert image.startswith("registry.example.com/mcp:")
    assert environment(manifests)["MCP_CONNECTORS_CONNECTOR_IMAGE"] == image
