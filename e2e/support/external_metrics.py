"""The external metrics API with one metric, for autoscalers: the calls in flight of connectors, as their own pods tell them.
It stands for prometheus-adapter or KEDA, and runs on the node."""

import base64
import json
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from testcluster import pki
from testcluster.settings import NODE_ADDRESS

from . import kube, node_service
from .connector import Connector

METRIC = "mcp_tool_calls_in_flight"
GROUP, VERSION = "external.metrics.k8s.io", "v1beta1"
SERVICE = "external-metrics"
ADMIN_PORT = 8081


def in_flight(connector: Connector) -> int:
    """The calls that a connector's pods work on."""
    return sum(_of_pod(pod["status"]["podIP"]) for pod in connector.pods() if pod["status"].get("podIP"))


def _of_pod(address: str) -> int:
    try:
        with urllib.request.urlopen(f"http://{address}:{ADMIN_PORT}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        # It starts, or goes.
        return 0
    return int(float(next(line.split()[1] for line in lines if line.startswith(f"{METRIC} "))))


class _Api(BaseHTTPRequestHandler):
    """Answers the API server, which passes on what the autoscaler asks."""

    namespace: str

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        selector = parse_qs(url.query).get("labelSelector", [""])[0]
        name = selector.partition("connector=")[2]
        kind = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "ExternalMetricValueList", "metadata": {}, "items": []}
        if url.path.endswith(f"/namespaces/{self.namespace}/{METRIC}"):
            labels = {"connector": name}
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            value = str(in_flight(Connector(self.namespace, name)))
            kind["items"] = [{"metricName": METRIC, "metricLabels": labels, "timestamp": now, "value": value}]
        elif not url.path.endswith(f"/namespaces/{METRIC}"):
            resource = {"name": METRIC, "singularName": "", "namespaced": True, "kind": kind["kind"], "verbs": ["get"]}
            kind = {
                "apiVersion": "v1",
                "kind": "APIResourceList",
                "groupVersion": f"{GROUP}/{VERSION}",
                "resources": [resource],
            }
        self._send(kind)

    def _send(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *_arguments: Any) -> None:
        """Nobody reads it."""


@contextmanager
def serving(folder: Path, namespace: str) -> Iterator[None]:
    """The API, about connectors of a namespace."""
    host = f"{SERVICE}.{namespace}.svc"
    folder.mkdir()
    pki.authority(folder, "mcp-connectors-e2e-metrics")
    pki.issue(folder, pki.Identity("metrics", "metrics", names=(f"DNS:{host}",)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "metrics.crt", folder / "metrics.key")
    api = ThreadingHTTPServer((NODE_ADDRESS, 0), type("Api", (_Api,), {"namespace": namespace}))
    api.socket = context.wrap_socket(api.socket, server_side=True)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    node_service.lead(namespace, SERVICE, 443, api.server_address[1])
    registration = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{VERSION}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": base64.b64encode((folder / "ca.crt").read_bytes()).decode(),
            "service": {"name": SERVICE, "namespace": namespace, "port": 443},
        },
    }
    try:
        kube.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump(registration))
        yield
    finally:
        # First of all: a registered API that doesn't answer disturbs the whole cluster.
        kube.kubectl("delete", "apiservice", f"{VERSION}.{GROUP}", "--ignore-not-found")
        api.shutdown()
