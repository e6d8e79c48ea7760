"""A Vault server in the cluster.

Tests import this module: `up()`, `down()`, `init()`, `seal()`, `unseal()`, `stop()`,
`start()`, `api()`, `credentials()` and `register_kubernetes()` work on the cluster of the
environment.
"""

import hashlib
import http.client
import json
import os
import shutil
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import api as kubernetes
from . import build, components, images, lifecycle, network, pki
from .errors import ClusterError
from .layout import SOURCE, Layout
from .reporter import Reporter
from .settings import IMAGE_PREFIX

NAMESPACE = "vault"
HOST_NAME = "vault.vault.svc"
PORT = 8200
USER = 65532
IMAGE_NAME = f"{IMAGE_PREFIX}/vault:{build.VAULT.version.removeprefix('v')}"
# An address for a Service that a story makes; nobody has it otherwise.
ADDRESS_6 = "2001:2:0:19::8200"
NAMES = ("vault.vault.svc", "vault.vault.svc.cluster.local", "vault", "localhost")
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


def up(layout: Layout | None = None, reporter: Reporter | None = None) -> None:
    """Deploys Vault and waits until it listens; does nothing to one that does already."""
    layout, reporter = layout or Layout.from_environment(), reporter or Reporter()
    lifecycle.require_running(layout)
    load_image(layout, reporter)
    with reporter.step("deploying Vault", expected=10):
        _make_certificates(layout)
        layout.vault_data.mkdir(exist_ok=True)
        os.chown(layout.vault_data, USER, USER)
        kubernetes.apply(layout, _manifest(layout))
        start(layout)


def down(layout: Layout | None = None) -> None:
    """Removes Vault with its data, keys and certificates."""
    layout = layout or Layout.from_environment()
    for kind in (
        f"namespace/{NAMESPACE}",
        "persistentvolume/vault-data",
        "clusterrolebinding/vault-reviews-tokens",
    ):
        kubernetes.kubectl(layout, "delete", kind, "--ignore-not-found", "--wait")
    for folder in (layout.vault_data, layout.vault_state):
        shutil.rmtree(folder, ignore_errors=True)


def init(layout: Layout | None = None) -> Credentials:
    """Initialises and unseals; what has been done already is not done again."""
    layout = layout or Layout.from_environment()
    if not api("GET", "sys/init", layout=layout)["initialized"]:
        answer = api("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}, layout=layout)
        _write_secret(root_token_file(layout), answer["root_token"])
        _write_secret(unseal_key_file(layout), answer["keys_base64"][0])
    unseal(layout)
    return credentials(layout)


def credentials(layout: Layout | None = None) -> Credentials:
    """The address, authority, root token and unseal key."""
    layout = layout or Layout.from_environment()
    try:
        return Credentials(
            address=f"https://{HOST_NAME}:{PORT}",
            ca_file=ca_file(layout),
            root_token=root_token_file(layout).read_text(),
            unseal_key=unseal_key_file(layout).read_text(),
        )
    except FileNotFoundError as error:
        raise ClusterError(f"Vault is not initialised; run: {layout.program} vault init") from error


def seal(layout: Layout | None = None) -> None:
    """Seals Vault: it answers, but gives nothing away."""
    layout = layout or Layout.from_environment()
    api("PUT", "sys/seal", token=credentials(layout).root_token, layout=layout)


def unseal(layout: Layout | None = None) -> None:
    """Unseals Vault and waits until it serves."""
    layout = layout or Layout.from_environment()
    api("PUT", "sys/unseal", {"key": credentials(layout).unseal_key}, layout=layout)
    # An unsealed server still has to become the active one.
    lifecycle.wait("Vault", START_SECONDS, lambda: _not_active(layout))


def stop(layout: Layout | None = None) -> None:
    """Ends the server and waits until its pod is gone; the data stay."""
    layout = layout or Layout.from_environment()
    _scale(layout, 0)
    lifecycle.wait("the end of Vault's pod", START_SECONDS, lambda: _pods(layout))


def start(layout: Layout | None = None) -> None:
    """Starts the server and waits until it listens; it is sealed then."""
    layout = layout or Layout.from_environment()
    _scale(layout, 1)
    kubernetes.kubectl(
        layout,
        *("--namespace", NAMESPACE, "rollout", "status", "deployment/vault"),
        f"--timeout={START_SECONDS}s",
    )
    # The pod is ready a moment before the way to it through the Service is.
    lifecycle.wait("Vault", START_SECONDS, lambda: _not_listening(layout))


def api(
    method: Method,
    path: str,
    body: dict[str, Any] | None = None,
    token: str | None = None,
    layout: Layout | None = None,
    wrap_seconds: int | None = None,
) -> dict[str, Any]:
    """Calls Vault's HTTP API (`path` is what follows /v1/) from the host.

    With `wrap_seconds` the answer holds a wrapping token in place of what was asked for.

    The call goes to the Service's address; the certificate is checked for the
    Service's name.
    """
    layout = layout or Layout.from_environment()
    connection = _Connection(service_address(layout), ca_file(layout))
    headers = {"X-Vault-Request": "true"}
    if token is not None:
        headers["X-Vault-Token"] = token
    if wrap_seconds is not None:
        headers["X-Vault-Wrap-TTL"] = str(wrap_seconds)
    content = None if body is None else json.dumps(body)
    try:
        connection.request(method, f"/v1/{path}", content, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    decoded: dict[str, Any] = json.loads(text) if text else {}
    if answer.status >= http.client.BAD_REQUEST:
        raise VaultError(f"{method} {path}", answer.status, decoded)
    return decoded


def register_kubernetes(layout: Layout | None = None) -> None:
    """Makes the auth method `kubernetes` known, which this Vault has as a plugin only."""
    layout = layout or Layout.from_environment()
    program = build.program(layout, build.VAULT_KUBERNETES)
    plugin = {
        "command": program.name,
        "sha256": hashlib.sha256(program.read_bytes()).hexdigest(),
    }
    token = credentials(layout).root_token
    api("PUT", "sys/plugins/catalog/auth/kubernetes", plugin, token, layout)


def service_address(layout: Layout | None = None) -> str:
    """The Service's cluster address, which the host reaches too."""
    layout = layout or Layout.from_environment()
    service = kubernetes.get(layout, f"/api/v1/namespaces/{NAMESPACE}/services/vault")
    address: str = service["spec"]["clusterIP"]
    return address


def ca_file(layout: Layout | None = None) -> Path:
    """The certificate of the authority that Vault's own certificate is from."""
    return (layout or Layout.from_environment()).vault_state / "ca.crt"


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

    def __init__(self, address: str, authority: Path) -> None:
        self._tls = ssl.create_default_context(cafile=authority)
        super().__init__(HOST_NAME, PORT, timeout=TIMEOUT_SECONDS, context=self._tls)
        self._address = address

    def connect(self) -> None:
        plain = socket.create_connection((self._address, PORT), TIMEOUT_SECONDS)
        self.sock = self._tls.wrap_socket(plain, server_hostname=HOST_NAME)


def _not_listening(layout: Layout) -> str | None:
    api("GET", "sys/seal-status", layout=layout)
    return None


def _not_active(layout: Layout) -> str | None:
    api("GET", "sys/health", layout=layout)
    return None


def _pods(layout: Layout) -> str | None:
    found = kubernetes.get(layout, f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
    return f"{len(found)} pods are left" if found else None


def _scale(layout: Layout, replicas: int) -> None:
    kubernetes.kubectl(
        layout,
        *("--namespace", NAMESPACE, "scale", "deployment/vault", f"--replicas={replicas}"),
    )


def _manifest(layout: Layout) -> str:
    certificate = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "vault-tls", "namespace": NAMESPACE},
        "type": "kubernetes.io/tls",
        "stringData": {
            "tls.crt": (layout.vault_state / "server.crt").read_text(),
            "tls.key": (layout.vault_state / "server.key").read_text(),
        },
    }
    manifest = components.render(
        layout,
        SOURCE / "vault.yaml",
        any_address="[::]" if network.has_ipv6() else "0.0.0.0",
        vault_data=layout.vault_data,
        vault_image=IMAGE_NAME,
        vault_plugins=PLUGINS,
        vault_user=USER,
    )
    return f"{manifest}---\n{json.dumps(certificate)}\n"


def _make_certificates(layout: Layout) -> None:
    folder = layout.vault_state
    if (folder / "server.crt").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    names = (*(f"DNS:{name}" for name in NAMES), "IP:127.0.0.1", f"IP:{ADDRESS_6}")
    pki.authority(folder, "mcp-connectors-e2e-vault")
    pki.issue(folder, pki.Identity("server", HOST_NAME, names=names))


def root_token_file(layout: Layout) -> Path:
    """Where the root token is kept."""
    return layout.vault_state / "root-token"


def unseal_key_file(layout: Layout) -> Path:
    """Where the unseal key is kept."""
    return layout.vault_state / "unseal-key"


def _write_secret(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content)
