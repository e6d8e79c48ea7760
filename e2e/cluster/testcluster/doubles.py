"""Strict doubles of platforms in the cluster: Jenkins, CircleCI and CloudWatch.

They are the program of e2e/doubles, with TLS as the real ones have it. Tests import this module:
`up()`, `down()`, `fault()`, `rotate()` and `requests()` work on the cluster of the environment.
"""

import http.client
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

from . import api as kubernetes
from . import images, lifecycle, pki
from .commands import run
from .errors import ClusterError
from .layout import Layout
from .reporter import Reporter
from .settings import IMAGE_PREFIX, NODE_ADDRESS

NAMESPACE = "platforms"
IMAGE = f"{IMAGE_PREFIX}/platform-double:1"
PORT = 8443
FILES_PORT = 8444
ADMIN_PORT = 8081
USER = 65532
TIMEOUT_SECONDS = 10.0
START_SECONDS = 60

Name = Literal["jenkins", "circleci", "cloudwatch"]
Mode = Literal["up", "down", "unauthorized", "rate-limited", "slow", "server-error", "html"]
NAMES: tuple[Name, ...] = ("jenkins", "circleci", "cloudwatch")
MODES: tuple[Mode, ...] = (
    "up",
    "down",
    "unauthorized",
    "rate-limited",
    "slow",
    "server-error",
    "html",
)
# CircleCI's logs and artifacts lie on another host.
FILES_HOST = f"circleci-files.{NAMESPACE}.svc"
# A name for a server that a test runs on the node itself; the certificate holds for it, too.
NODE_HOST = f"node.{NAMESPACE}.svc"


def up(name: Name, layout: Layout | None = None, reporter: Reporter | None = None) -> None:
    """Starts a double and waits until it listens; one that runs is replaced by a fresh one."""
    layout, reporter = layout or Layout.from_environment(), reporter or Reporter()
    lifecycle.require_running(layout)
    with reporter.step("compiling the doubles"):
        program = _program(layout)
    with reporter.step(f"loading {IMAGE}", expected=5):
        files = (images.File("/platform-double", program, 0o755),)
        images.load(layout, images.Image(IMAGE, files, ("/platform-double",)))
    with reporter.step(f"deploying the double of {name}", expected=10):
        _make_certificates(layout)
        kubernetes.apply(layout, json.dumps(_manifest(layout, name)))
        kubernetes.kubectl(
            layout,
            *("--namespace", NAMESPACE, "rollout", "status", f"deployment/{name}"),
            f"--timeout={START_SECONDS}s",
        )
        # The pod is ready a moment before the way to it through the Service is.
        lifecycle.wait(name, START_SECONDS, lambda: _not_listening(name, layout))


def down(layout: Layout | None = None) -> None:
    """Removes all doubles and their certificates."""
    layout = layout or Layout.from_environment()
    kubernetes.kubectl(layout, "delete", f"namespace/{NAMESPACE}", "--ignore-not-found", "--wait")
    shutil.rmtree(_state(layout), ignore_errors=True)


def expose(port: int, layout: Layout | None = None) -> None:
    """Brings what listens on the node's address and a port to the pods, as `NODE_HOST`."""
    layout = layout or Layout.from_environment()
    name = NODE_HOST.partition(".")[0]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
    }
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
    }
    items = [service, slice_]
    kubernetes.apply(layout, json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def certificate(layout: Layout | None = None) -> tuple[Path, Path]:
    """The doubles' certificate and its key."""
    folder = _state(layout or Layout.from_environment())
    return folder / "server.crt", folder / "server.key"


def host(name: Name) -> str:
    """The name under which connectors reach a double."""
    return f"{name}.{NAMESPACE}.svc"


def fault(
    name: Name,
    mode: Mode,
    seconds: int | None = None,
    path: str | None = None,
    layout: Layout | None = None,
) -> None:
    """Changes how a double is, for requests whose path has something in it or for all.

    `slow` and `rate-limited` need the seconds.
    """
    wish = {"mode": mode, "seconds": seconds, "path": path}
    given = {key: value for key, value in wish.items() if value is not None}
    _call(name, "PUT", "/fault", given, layout)


def rotate(name: Name, credentials: dict[str, str], layout: Layout | None = None) -> None:
    """Lets a double accept these credentials from now on, and no others."""
    _call(name, "PUT", "/credentials", credentials, layout)


def requests(name: Name, layout: Layout | None = None) -> dict[str, Any]:
    """What came: `total`, `paths`, `refused` and `offences`."""
    found: dict[str, Any] = json.loads(_call(name, "GET", "/requests", None, layout))
    return found


def ca_file(layout: Layout | None = None) -> Path:
    """The certificate of the authority that the doubles' own certificates are from."""
    return _state(layout or Layout.from_environment()) / "ca.crt"


def _call(
    name: Name, method: str, path: str, body: dict[str, Any] | None, layout: Layout | None
) -> str:
    layout = layout or Layout.from_environment()
    service = kubernetes.get(layout, f"/api/v1/namespaces/{NAMESPACE}/services/{name}")
    address = service["spec"]["clusterIP"]
    connection = http.client.HTTPConnection(address, ADMIN_PORT, timeout=TIMEOUT_SECONDS)
    content = None if body is None else json.dumps(body)
    try:
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status >= http.client.BAD_REQUEST:
        raise ClusterError(f"the double of {name} answered {answer.status}: {text}")
    return text


def _not_listening(name: Name, layout: Layout) -> str | None:
    requests(name, layout)
    return None


def _program(layout: Layout) -> Path:
    return Path(run([layout.checkout / "e2e" / "checks" / "programs"]).strip()) / "platform-double"


def _manifest(layout: Layout, name: Name) -> dict[str, Any]:
    folder = _state(layout)
    labels: dict[str, str] = {"app": name}
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    }
    certificate = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "doubles-tls", "namespace": NAMESPACE},
        "type": "kubernetes.io/tls",
        "stringData": {
            "tls.crt": (folder / "server.crt").read_text(),
            "tls.key": (folder / "server.key").read_text(),
        },
    }
    ports = [
        {"name": "https", "port": 443, "targetPort": PORT},
        {"name": "admin", "port": ADMIN_PORT, "targetPort": ADMIN_PORT},
    ]
    items = [namespace, certificate, _deployment(name), _service(name, labels, ports)]
    if name == "circleci":
        files = [{"name": "https", "port": 443, "targetPort": FILES_PORT}]
        items.append(_service(FILES_HOST.partition(".")[0], labels, files))
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _service(name: str, selector: dict[str, str], ports: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": selector, "ports": ports},
    }


def _deployment(name: Name) -> dict[str, Any]:
    arguments = [
        name,
        f"--listen=0.0.0.0:{PORT}",
        f"--admin=0.0.0.0:{ADMIN_PORT}",
        f"--url=https://{host(name)}",
        "--tls-cert=/tls/tls.crt",
        "--tls-key=/tls/tls.key",
    ]
    if name == "circleci":
        arguments += [f"--files-listen=0.0.0.0:{FILES_PORT}", f"--files-url=https://{FILES_HOST}"]
    container = {
        "name": "double",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": arguments,
        # Not at the platform's own port: a double that is told to be down is no pod that is.
        "readinessProbe": {"httpGet": {"port": ADMIN_PORT, "path": "/fault"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}],
    }
    security = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            # What a double has in it lives in its process.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": name}},
            "template": {
                # Each `up` begins with a fresh one.
                "metadata": {"labels": {"app": name}, "annotations": {"e2e/begun": _now()}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 1,
                    "securityContext": security | {"seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [container],
                    "volumes": [{"name": "tls", "secret": {"secretName": "doubles-tls"}}],
                },
            },
        },
    }


def _now() -> str:
    return f"{time.time():.0f}"


def _make_certificates(layout: Layout) -> None:
    """Whoever is done first has made them for all."""
    folder = _state(layout)
    if folder.exists():
        return
    hosts = (*(host(name) for name in NAMES), FILES_HOST, NODE_HOST)
    names = tuple(f"DNS:{name}" for name in hosts)
    made = Path(tempfile.mkdtemp(prefix="doubles-", dir=layout.state))
    try:
        pki.authority(made, "mcp-connectors-e2e-doubles")
        pki.issue(made, pki.Identity("server", host(NAMES[0]), names=names))
        made.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _state(layout: Layout) -> Path:
    return layout.state / "doubles"
