"""What every story begins with: a cluster, Vault in it, the operator installed, and a namespace of its own."""

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from testcluster import argocd, vault
from testcluster.layout import Layout

from support import install, kube, machine, operator, planted, vault_server
from support.connector import Connector, ca_config_map, connector, secret, source
from support.kube import Manifest
from support.operator import Operator
from support.recording import Recording
from support.shared import alone, made_once, with_others
from support.vault_server import VaultServer

# What a run tells, and the credentials that it may not tell.
TOLD = machine.ROOT / "build" / "told"
RECORDING = pytest.StashKey[Recording]()
# What is wrong with a run as a whole, though each story passed.
PROBLEMS = pytest.StashKey[list[str]]()

# Files whose stories take minutes together, the longest first.
LONGEST = (
    "test_argocd",
    "test_gitops",
    "test_pods_cannot_start",
    "test_cloudwatch",
    "test_argocd_credentials",
    "test_vault_logins",
    "test_poll_interval",
    "test_vault_source",
    "test_vault_outages",
    "test_operator_absence",
    "test_leadership",
    "test_rollout",
    "test_jenkins",
    "test_platform_faults",
    "test_rotation",
    "test_scaling",
    "test_circleci",
)
# The stories that need Argo CD as it is, and those that change it, take turns.
ARGOCD_TURNS = TOLD / "argocd-turns"
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
        shutil.rmtree(TOLD, ignore_errors=True)
        planted.begin(TOLD)
        recording = session.config.stash[RECORDING] = Recording(Layout.from_environment(), planted.told(TOLD))
        recording.begin()
        image = install.provide_image()
        os.environ["MCP_CONNECTORS_IMAGE"] = str(image)
        operator.install_main(image)
        # Of a run that was killed.
        for left_over in vault.owned(Layout.from_environment()):
            left_over.down()
        vault_server.prepare()
    except (machine.ProgramError, kube.RefusedError) as failure:
        pytest.exit(f"the stories can't begin: {failure}", returncode=2)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What holds for a run as a whole."""
    recording = session.config.stash.get(RECORDING, None)
    if recording is None:
        return
    try:
        problems = leaks(recording)
    except (machine.ProgramError, kube.RefusedError, OSError) as failure:
        problems = [f"what the run told can't be searched for credentials: {failure}"]
    # No story that is told beside others ends the operator, so nothing may have made the kubelet start it anew.
    if session.config.getoption("numprocesses", None):
        problems += [f"the operator was restarted: {fault}" for fault in operator.MAIN.faults()]
    session.config.stash[PROBLEMS] = problems
    if problems:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tells what is wrong with the run as a whole at its end, where a person, or a log that was cut, has it."""
    for problem in config.stash.get(PROBLEMS, []):
        terminalreporter.section("the run as a whole failed", red=True, bold=True)
        terminalreporter.write_line(f"error: {problem}")


def leaks(recording: Recording) -> list[str]:
    """Where the credentials that stories planted are, and may not be."""
    operator.MAIN.tell_metrics()
    recording.end()
    credentials, told = planted.remembered(TOLD), planted.told(TOLD)
    if not (credentials and any(recording.logs.iterdir()) and any(told.iterdir())):
        return [f"nothing was planted or nothing was kept in {recording.logs} and {told}: no leak could be found"]
    found = [*planted.search(credentials, told, recording.logs), *planted.search_tokens(told, recording.logs)]
    # What a story plants by name stands in its own text.
    files = machine.run("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    paths = [path for file in files if (path := machine.ROOT / file).is_file()]
    stories = "".join(path.read_text() for path in paths if path.suffix == ".py")
    made = {value: name for value, name in credentials.items() if value not in stories}
    found += planted.search(made, *paths)
    return [f"a credential came out: {one}" for one in found]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Gives all stories of a file to one worker, in the order of the files."""
    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first, so that no worker is left with one of them at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def image() -> install.Image:
    """The product's image, which is in the cluster."""
    return install.provide_image()


@pytest.fixture(scope="session")
def vault_up() -> None:
    """The Vault that all share, unsealed, with the sample secrets."""
    vault_server.prepare()


@pytest.fixture(scope="module")
def own_vault(vault_up: None) -> Iterator[VaultServer]:
    """One more, for the stories of one file: they may seal and stop it, and nobody else notices."""
    own = VaultServer(vault.own().namespace)
    print(f"Vault {own.namespace}")
    try:
        # Its image is that of the one that all share.
        own.server.deploy()
        own.server.init()
        own.fill()
        yield own
    finally:
        own.server.down()


@pytest.fixture(scope="session")
def argocd_up() -> str:
    """The Argo CD that all share, taught the health of our kinds as the README says; the password of our account."""

    def up() -> str:
        argocd.up()
        kube.kubectl("-n", argocd.NAMESPACE, "patch", "configmap", "argocd-cm", "--patch-file", str(ARGOCD_HEALTH))
        # A new one ends every token that the account has.
        argocd.set_password(password := secrets.token_urlsafe(12))
        return password

    return made_once(TOLD / "argocd", up)


@pytest.fixture
def beside_others_at_argocd(argocd_up: str) -> Iterator[None]:
    """Nobody stops Argo CD, or changes what it allows, while a story goes on."""
    with with_others(ARGOCD_TURNS):
        yield


@pytest.fixture
def alone_at_argocd(argocd_up: str) -> Iterator[None]:
    """A story may stop Argo CD, or change what it allows."""
    with alone(ARGOCD_TURNS):
        yield


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
    kube.delete_namespace(name)


@pytest.fixture(scope="module")
def shared_namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for the stories of one file."""
    name = new_namespace(request.module.__name__)
    print(f"namespace {name}")
    yield name
    kube.delete_namespace(name)


@pytest.fixture(scope="module")
def own_operator(request: pytest.FixtureRequest, image: install.Image) -> Iterator[Operator]:
    """An operator for the stories of one file: they may stop, kill and upgrade it, and nobody else notices."""
    own = operator.own("own-" + request.module.__name__.removeprefix("test_").replace("_", "-"))
    print(f"operator {own.namespace}, looking after {own.watched}")
    own.claim()
    own.install(image)
    yield own
    own.give_back()


@pytest.fixture
def own_namespace(own_operator: Operator) -> Iterator[str]:
    """The namespace that the file's own operator looks after. What one story makes there is gone before the next."""
    yield own_operator.watched
    words = ("delete", "mcpconnectors", "--all", "--cascade=foreground", "--timeout=120s")
    kube.kubectl("--namespace", own_operator.watched, *words, timeout=150)


@dataclass(frozen=True)
class Deployed:
    """A connector with everything that it needs, and the token of Vault that it runs on."""

    connector: Connector
    token: str


Deploy = Callable[..., Deployed]


def deploy_in(
    namespace: str,
    name: str = "vault",
    token: str | None = None,
    to: VaultServer = vault_server.SHARED,
    **spec: Any,
) -> Deployed:
    """Applies a connector with its source, Secret and CA, and waits until it is ready."""
    token = token or to.make_token()
    manifests: list[Manifest] = [secret(token), ca_config_map(to.ca_pem()), source(hosts=(to.host_name,))]
    spec["vault"] = {"url": to.url} | spec.get("vault", {})
    kube.apply(namespace, *manifests, connector(name, **spec))
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
