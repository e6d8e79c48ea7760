"""What every story begins with: a cluster, Vault in it, the operator installed, and a namespace of its own."""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from testcluster import argocd

from support import install, kube, machine, vault_server
from support.connector import Connector, ca_config_map, connector, secret, source
from support.kube import Manifest

# What teaches Argo CD the health of our kinds.
ARGOCD_HEALTH = machine.ROOT / "config" / "argocd" / "argocd-cm.yaml"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Makes ready what all stories share, once: the cluster, the image, the operator, and Vault. What was up stays up."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    try:
        machine.run(machine.CLUSTER, "up", timeout=1800)
        given = os.environ.get("KUBECONFIG")
        environment = machine.cluster_environment()
        if given and given != environment["KUBECONFIG"]:
            pytest.exit(
                f"KUBECONFIG={given} is not the test cluster. The stories seal and stop Vault, reach Services from "
                "this machine and read the API server's audit log, which they can on the cluster of e2e/cluster only: "
                "unset it",
                returncode=2,
            )
        # Workers inherit it.
        os.environ.update(environment)
        image = install.provide_image()
        os.environ["MCP_CONNECTORS_IMAGE"] = str(image)
        install.install_charts(image)
        vault_server.prepare()
    except machine.ProgramError as failure:
        pytest.exit(f"the stories can't begin: {failure}", returncode=2)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """No story that is told beside others ends the operator, so nothing may have made the kubelet start it anew."""
    if hasattr(session.config, "workerinput") or not session.config.getoption("numprocesses", None):
        return
    restarted = kube.operator_restarts()
    if restarted:
        print(f"\nerror: the operator was restarted: {restarted}\n{kube.operator_log(lines=20)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


class ByFile(LoadFileScheduling):  # type: ignore[misc]
    """Gives all stories of a file to one worker, and those of the files that share an Argo CD to the same one."""

    ARGOCD = ("test_argocd.py", "test_gitops.py")

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "argocd" if file.endswith(self.ARGOCD) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Says which worker tells which stories."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def image() -> install.Image:
    """The product's image, which is in the cluster."""
    return install.provide_image()


@pytest.fixture(scope="session")
def vault_up() -> None:
    """Vault, unsealed, with the sample secrets."""
    vault_server.prepare()


@pytest.fixture(scope="session")
def argocd_up() -> Iterator[None]:
    """Argo CD, taught the health of our kinds as the README says."""
    argocd.up()
    kube.kubectl("-n", argocd.NAMESPACE, "patch", "configmap", "argocd-cm", "--patch-file", str(ARGOCD_HEALTH))
    yield
    argocd.down()


def new_namespace(story: str) -> str:
    """A namespace with a readable name that no other run has."""
    short = re.sub("[^a-z0-9]+", "-", story.lower().removeprefix("test_"))[:40].strip("-")
    name = f"{short}-{secrets.token_hex(2)}"
    kube.create_namespace(name)
    return name


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for one story, which admits only pods of the restricted profile."""
    name = new_namespace(request.function.__name__)
    print(f"namespace {name}")
    yield name
    if request.node.get_closest_marker("alone"):
        # The next story may be about what becomes of all connectors of the cluster.
        kube.kubectl("delete", "mcpconnectors", "--namespace", name, "--all")
    kube.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="module")
def shared_namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for the stories of one file."""
    name = new_namespace(request.module.__name__)
    print(f"namespace {name}")
    yield name
    kube.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@dataclass(frozen=True)
class Deployed:
    """A connector with everything that it needs, and the token of Vault that it runs on."""

    connector: Connector
    token: str


Deploy = Callable[..., Deployed]


def deploy_in(namespace: str, name: str = "vault", token: str | None = None, **spec: Any) -> Deployed:
    """Applies a connector with its source, Secret and CA, and waits until it is ready."""
    token = token or vault_server.make_token()
    manifests: list[Manifest] = [secret(token), ca_config_map(vault_server.ca_pem()), source(), connector(name, **spec)]
    kube.apply(namespace, *manifests)
    deployed = Deployed(Connector(namespace, name), token)
    deployed.connector.wait_ready()
    return deployed


@pytest.fixture
def deploy(namespace: str, vault_up: None) -> Deploy:
    """Makes a ready connector in the story's namespace."""
    return lambda **options: deploy_in(namespace, **options)


@pytest.fixture(scope="module")
def running(shared_namespace: str, vault_up: None) -> Deployed:
    """A ready connector that the stories of one file share and leave as it is."""
    return deploy_in(shared_namespace)
