"""Vault servers in the cluster.

Tests import this module: `Vault()` is the one that all share, `own()` one more, which its owner
may seal and stop without anybody else's noticing.
"""

import hashlib
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from . import api as kubernetes
from . import build, components, images, lifecycle, network, pki
from .errors import ClusterError
from .layout import SOURCE, Layout
from .reporter import Reporter
from .settings import IMAGE_PREFIX

# Of the one that all share, and of those that `own` makes.
NAMESPACE = "vault"
OWN = re.compile(rf"{NAMESPACE}-[0-9a-f]{{8}}")
PORT = 8200
USER = 65532
IMAGE_NAME = f"{IMAGE_PREFIX}/vault:{build.VAULT.version.removeprefix('v')}"
# An address for a Service that a story makes; nobody has it otherwise.
ADDRESS_6 = "2001:2:0:19::8200"
PLUGINS = "/plugins"
TIMEOUT_SECONDS = 10.0
START_SECONDS = 60

Method = Literal["GET", "LIST", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True)
class Credentials:
    """How to get into the Vault server."""

    address: str
    ca_file: Path
    root_token: str
    unseal_key: str


class VaultError(ClusterError):
    """An answer of Vault that is an error; status and body are for tests to look at."""

    def __init__(self, request: str, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{request}: Vault answered {status}: {body.get('errors', body)}")
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Vault:
    """A Vault server with a namespace, an authority, keys and data of its own."""

    namespace: str = NAMESPACE
    layout: Layout = field(default_factory=Layout.from_environment)

    @property
    def host_name(self) -> str:
        """The Service's name, which its certificate is for."""
        return f"vault.{self.namespace}.svc"

    @property
    def url(self) -> str:
        """Its address for pods."""
        return f"https://{self.host_name}:{PORT}"

    @property
    def state(self) -> Path:
        """The folder with its keys; there from the first step of `up` to the last of `down`."""
        return self.layout.state / self.namespace

    @property
    def data(self) -> Path:
        """The folder that it sees as /data."""
        return self.layout.data / self.namespace

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that its own certificate is from."""
        return self.state / "ca.crt"

    @property
    def root_token_file(self) -> Path:
        """Where the root token is kept."""
        return self.state / "root-token"

    @property
    def unseal_key_file(self) -> Path:
        """Where the unseal key is kept."""
        return self.state / "unseal-key"

    def up(self, reporter: Reporter | None = None) -> None:
        """Brings the image into the cluster, and deploys."""
        reporter = reporter or Reporter()
        lifecycle.require_running(self.layout)
        load_image(self.layout, reporter)
        with reporter.step("deploying Vault", expected=10):
            self.deploy()

    def deploy(self) -> None:
        """Deploys and waits until it listens; does nothing to one that does already."""
        self._make_certificates()
        self.data.mkdir(exist_ok=True)
        os.chown(self.data, USER, USER)
        kubernetes.apply(self.layout, self.manifest())
        self.start()

    def down(self) -> None:
        """Removes it with its data, keys and certificates."""
        kinds = (
            f"namespace/{self.namespace}",
            f"persistentvolume/{self.namespace}-data",
            f"clusterrolebinding/{self.namespace}-reviews-tokens",
        )
        kubernetes.kubectl(self.layout, "delete", *kinds, "--ignore-not-found", "--wait")
        for folder in (self.data, self.state):
            shutil.rmtree(folder, ignore_errors=True)

    def init(self) -> Credentials:
        """Initialises and unseals; what has been done already is not done again."""
        if not self.api("GET", "sys/init")["initialized"]:
            answer = self.api("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            _write_secret(self.root_token_file, answer["root_token"])
            _write_secret(self.unseal_key_file, answer["keys_base64"][0])
        self.unseal()
        return self.credentials()

    def credentials(self) -> Credentials:
        """The address, authority, root token and unseal key."""
        try:
            return Credentials(
                address=self.url,
                ca_file=self.ca_file,
                root_token=self.root_token_file.read_text(),
                unseal_key=self.unseal_key_file.read_text(),
            )
        except FileNotFoundError as error:
            raise ClusterError(
                f"Vault is not initialised; run: {self.layout.program} vault init"
            ) from error

    def seal(self) -> None:
        """Seals it: it answers, but gives nothing away."""
        self.api("PUT", "sys/seal", token=self.credentials().root_token)

    def unseal(self) -> None:
        """Unseals it and waits until it serves."""
        self.api("PUT", "sys/unseal", {"key": self.credentials().unseal_key})
        # An unsealed server still has to become the active one.
        lifecycle.wait("Vault", START_SECONDS, self._not_active)

    def stop(self) -> None:
        """Ends the server and waits until its pod is gone; the data stay."""
        self._scale(0)
        lifecycle.wait("the end of Vault's pod", START_SECONDS, self._pods)

    def start(self) -> None:
        """Starts the server and waits until it listens; it is sealed then."""
        self._scale(1)
        kubernetes.kubectl(
            self.layout,
            *("--namespace", self.namespace, "rollout", "status", "deployment/vault"),
            f"--timeout={START_SECONDS}s",
        )
        # The pod is ready a moment before the way to it through the Service is.
        lifecycle.wait("Vault", START_SECONDS, self._not_listening)

    def api(
        self,
        method: Method,
        path: str,
        body: dict[str, Any] | None = None,
        token: str | None = None,
        wrap_seconds: int | None = None,
    ) -> dict[str, Any]:
        """Calls Vault's HTTP API (`path` is what follows /v1/) from the host.

        With `wrap_seconds` the answer holds a wrapping token in place of what was asked for.

        The call goes to the Service's address; the certificate is checked for the
        Service's name.
        """
        headers = {"X-Vault-Request": "true"}
        if token is not None:
            headers["X-Vault-Token"] = token
        if wrap_seconds is not None:
            headers["X-Vault-Wrap-TTL"] = str(wrap_seconds)
        content = None if body is None else json.dumps(body)
        try:
            status, text = self._exchange(method, path, content, headers)
        except http.client.RemoteDisconnected:
            # Vault closes a connection on which no request has come within 10 s, as on a busy machine.
            status, text = self._exchange(method, path, content, headers)
        decoded: dict[str, Any] = json.loads(text) if text else {}
        if status >= http.client.BAD_REQUEST:
            raise VaultError(f"{method} {path}", status, decoded)
        return decoded

    def _exchange(
        self, method: Method, path: str, content: str | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        connection = _Connection(self.service_address(), self.host_name, self.ca_file)
        try:
            connection.request(method, f"/v1/{path}", content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def register_kubernetes(self) -> None:
        """Makes the auth method `kubernetes` known, which this Vault has as a plugin only."""
        program = build.program(self.layout, build.VAULT_KUBERNETES)
        plugin = {
            "command": program.name,
            "sha256": hashlib.sha256(program.read_bytes()).hexdigest(),
        }
        token = self.credentials().root_token
        self.api("PUT", "sys/plugins/catalog/auth/kubernetes", plugin, token)

    def service_address(self) -> str:
        """The Service's cluster address, which the host reaches too."""
        path = f"/api/v1/namespaces/{self.namespace}/services/vault"
        address: str = kubernetes.get(self.layout, path)["spec"]["clusterIP"]
        return address

    def manifest(self) -> str:
        """Everything that it consists of; its certificates must have been made."""
        certificate = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "vault-tls", "namespace": self.namespace},
            "type": "kubernetes.io/tls",
            "stringData": {
                "tls.crt": (self.state / "server.crt").read_text(),
                "tls.key": (self.state / "server.key").read_text(),
            },
        }
        manifest = components.render(
            self.layout,
            SOURCE / "vault.yaml",
            any_address="[::]" if network.has_ipv6() else "0.0.0.0",
            vault_data=self.data,
            vault_image=IMAGE_NAME,
            vault_namespace=self.namespace,
            vault_plugins=PLUGINS,
            vault_url=self.url,
            vault_user=USER,
        )
        return f"{manifest}---\n{json.dumps(certificate)}\n"

    def _make_certificates(self) -> None:
        if (self.state / "server.crt").exists():
            return
        shutil.rmtree(self.state, ignore_errors=True)
        self.state.mkdir(mode=0o700)
        hosts = (self.host_name, f"{self.host_name}.cluster.local", "vault", "localhost")
        names = (*(f"DNS:{host}" for host in hosts), "IP:127.0.0.1", f"IP:{ADDRESS_6}")
        pki.authority(self.state, f"mcp-connectors-e2e-{self.namespace}")
        pki.issue(self.state, pki.Identity("server", self.host_name, names=names))

    def _not_listening(self) -> str | None:
        self.api("GET", "sys/seal-status")
        return None

    def _not_active(self) -> str | None:
        self.api("GET", "sys/health")
        return None

    def _pods(self) -> str | None:
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        found = kubernetes.get(self.layout, path)["items"]
        return f"{len(found)} pods are left" if found else None

    def _scale(self, replicas: int) -> None:
        words = ("--namespace", self.namespace, "scale", "deployment/vault")
        kubernetes.kubectl(self.layout, *words, f"--replicas={replicas}")


def own() -> Vault:
    """One that nobody else has, to be deployed and taken down by who asks for it."""
    return Vault(f"{NAMESPACE}-{secrets.token_hex(4)}")


def owned(layout: Layout) -> list[Vault]:
    """Those that somebody has for himself, or had when he was killed."""
    folders = sorted(layout.state.iterdir()) if layout.state.exists() else []
    return [Vault(folder.name, layout) for folder in folders if OWN.fullmatch(folder.name)]


def lives_in(namespace: str) -> bool:
    """Whether a namespace is that of a Vault."""
    return namespace == NAMESPACE or OWN.fullmatch(namespace) is not None


def load_image(layout: Layout, reporter: Reporter) -> None:
    """Makes Vault's image and brings it into the cluster."""
    build.ensure(layout, [build.VAULT, build.VAULT_KUBERNETES], reporter)
    program = build.program(layout, build.VAULT)
    plugin = build.program(layout, build.VAULT_KUBERNETES)
    image = images.Image(
        IMAGE_NAME,
        (
            images.File("/bin/vault", program, 0o755),
            images.File(f"{PLUGINS}/{plugin.name}", plugin, 0o755),
        ),
        ("/bin/vault",),
        user=f"{USER}:{USER}",
        workdir="/home",
    )
    with reporter.step(f"loading {IMAGE_NAME}", expected=5):
        images.load(layout, image)


class _Connection(http.client.HTTPSConnection):
    """Connects to an address, but expects and asks for the Service's name."""

    def __init__(self, address: str, name: str, authority: Path) -> None:
        self._tls = ssl.create_default_context(cafile=authority)
        super().__init__(name, PORT, timeout=TIMEOUT_SECONDS, context=self._tls)
        self._address = address

    def connect(self) -> None:
        plain = socket.create_connection((self._address, PORT), TIMEOUT_SECONDS)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


def _write_secret(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content)
