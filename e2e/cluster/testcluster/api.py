"""A small client for the cluster's API server and the components' health pages."""

import http.client
import json
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import build
from .commands import run
from .errors import ClusterError
from .layout import Layout
from .settings import API_PORT, NODE_ADDRESS

TIMEOUT_SECONDS = 5.0


def tls(layout: Layout, identity: str = "") -> ssl.SSLContext:
    """Trusts the cluster's authority, and shows a certificate of it if asked to."""
    context = ssl.create_default_context(cafile=layout.pki / "ca.crt")
    if identity:
        context.load_cert_chain(layout.pki / f"{identity}.crt", layout.pki / f"{identity}.key")
    return context


def fetch(
    address: str,
    port: int,
    path: str,
    context: ssl.SSLContext | None = None,
) -> tuple[int, bytes]:
    """One GET request over HTTP, or over HTTPS with a context."""
    connection: http.client.HTTPConnection
    if context is None:
        connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT_SECONDS)
    else:
        connection = http.client.HTTPSConnection(
            address, port, timeout=TIMEOUT_SECONDS, context=context
        )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def get(layout: Layout, path: str) -> dict[str, Any]:
    """Reads an object from the API server as the administrator."""
    status, body = fetch(NODE_ADDRESS, API_PORT, path, tls(layout, "admin"))
    if status != http.client.OK:
        raise ClusterError(f"the API server answered {status} to {path}")
    found: dict[str, Any] = json.loads(body)
    return found


def kubectl(layout: Layout, *words: str, stdin: str | None = None) -> str:
    """Runs kubectl as the administrator and returns what it prints."""
    return run([_kubectl(layout), *words], stdin=stdin, env=_environment(layout))


def apply(layout: Layout, manifest: str) -> None:
    """Applies a manifest."""
    kubectl(layout, "apply", "--filename", "-", stdin=manifest)


def pass_through(layout: Layout, words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs kubectl with this program's own input and output."""
    argv = [str(_kubectl(layout)), *words]
    return subprocess.call(argv, env={**environment, **_environment(layout)})


def _kubectl(layout: Layout) -> Path:
    if not layout.kubeconfig.exists():
        raise ClusterError(f"no cluster is up; run: {layout.program} up")
    return build.program(layout, build.KUBERNETES, "kubectl")


def _environment(layout: Layout) -> dict[str, str]:
    """With a cache of its own, which goes with the cluster."""
    return {"KUBECONFIG": str(layout.kubeconfig), "KUBECACHEDIR": f"{layout.state}/kubectl"}
