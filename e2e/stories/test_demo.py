"""The README's first command, in a cluster that was there before."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from testcluster import vault

from support import install, kube, machine, operator

# The demo's operator takes the place of the one that is installed.
pytestmark = pytest.mark.alone

NAMESPACE = "mcp-demo"


@pytest.fixture
def installed_again(image: install.Image) -> Iterator[None]:
    """The operator is afterwards the chart's again."""
    yield
    kube.delete(NAMESPACE, "mcpconnectors", "vault")
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
    operator.install_main(image)


def test_it_ends_with_answers(image: install.Image, vault_up: None, installed_again: None, tmp_path: Path) -> None:
    given = shutil.copy(os.environ["KUBECONFIG"], tmp_path / "kubeconfig")
    environment = {"KUBECONFIG": str(given), "IMAGE": str(image), "VAULT_IMAGE": vault.IMAGE_NAME, "PLATFORM": ""}
    told = machine.run("make", "demo", env=environment, timeout=400)
    assert "+ Ready                True     Ready" in told
    assert '"serves_requests": true' in told
    assert '"code":"permission_denied"' in told, "what is not released is refused"
    assert "done. To look around:" in told


def test_it_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(machine.ProgramError, match="IMAGE must name an image with a tag that it can pull"):
        machine.run("make", "demo", env={"KUBECONFIG": str(tmp_path / "kubeconfig"), "IMAGE": "", "PLATFORM": ""})
