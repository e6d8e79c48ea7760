"""A platform that does as it is told, for connectors in the cluster: a Jenkins, as far as the probe and `list_jenkins_nodes`
ask for it. It runs on the node; each name of a Service that leads to it is a platform with a fault of its own.
"""

import asyncio
import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from testcluster import pki
from testcluster.settings import NODE_ADDRESS

from . import kube, node_service
from .connector import API_VERSION, LIMITS, PROBE, Connector, ca_config_map
from .kube import Manifest
from .machine import run
from .waiting import eventually

Act = Literal[
    "well",
    "dead",
    "hang",
    "slow",
    "reset",
    "busy",
    "busy-until",
    "storm",
    "truncated",
    "enormous",
    "garbage",
    "expired",
    "flapping",
]
TOOL = "list_jenkins_nodes"
# The requests that the tool alone makes.
ASKED = "/computer/"
# Seconds that a platform which is slow takes, and that one which names a time asks for.
SLOW_SECONDS = 0.5
PAUSE_SECONDS = 3
SOURCE = "scripted-bot"
CREDENTIALS = {"user": "bot", "api_token": "planted-scripted-token"}
CA_CONFIG_MAP = "scripted-ca"
# Nobody listens there.
CLOSED_PORT = 9
# More than anybody reads.
ENORMOUS_BYTES = 9 * 1024 * 1024

# What Jenkins says of the caller, itself, its queue and its nodes; each reader takes what it knows.
GOOD = {
    "anonymous": False,
    "authenticated": True,
    "name": "bot",
    "mode": "NORMAL",
    "quietingDown": False,
    "useCrumbs": True,
    "items": [],
    "jobs": [],
    "busyExecutors": 0,
    "totalExecutors": 0,
    "computer": [],
}


class ScriptedPlatform:
    """The server, and the Services of a namespace that lead to it."""

    def __init__(self, folder: Path, namespace: str, names: tuple[str, ...]) -> None:
        self._folder, self._namespace = folder, namespace
        self._acts: dict[str, Act] = dict.fromkeys(names, "well")
        self._asked: Counter[str] = Counter()
        # Common names of the certificates that callers showed, in the order in which they first did.
        self.shown: list[str] = []
        self._loop = asyncio.new_event_loop()
        # Without and with a look at the caller's certificate.
        self._port = self._mutual_port = 0
        pki.authority(folder, "mcp-connectors-e2e-scripted")
        hosts = tuple(f"DNS:{self.host(name)}" for name in names)
        pki.issue(folder, pki.Identity("server", "server", names=hosts))
        _issue_expired(folder, hosts)

    def host(self, name: str) -> str:
        """The name under which connectors reach one of the platforms."""
        return f"{name}.{self._namespace}.svc"

    def does(self, name: str, act: Act) -> None:
        """Says what a platform does from now on."""
        was, self._acts[name] = self._acts[name], act
        if "dead" in (was, act):
            self._lead(name, CLOSED_PORT if act == "dead" else self._port)
            # The node takes a moment to lead elsewhere.
            address = kube.get(self._namespace, "service", name)["spec"]["clusterIP"]
            eventually(f"{name} is {act}", lambda: listens(address) == (act != "dead"))

    def asked(self, name: str) -> int:
        """How many requests of the tool came to a platform."""
        return self._asked[name]

    def wants_certificate(self, name: str) -> None:
        """Lets in only who shows a certificate of the authority, from now on."""
        self._lead(name, self._mutual_port)

    def certificate(self, common_name: str) -> dict[str, str]:
        """A client's certificate and its key, as fields of credentials."""
        pki.issue(self._folder, pki.Identity(common_name, common_name))
        files = {"tls_certificate": f"{common_name}.crt", "tls_key": f"{common_name}.key"}
        return {field: (self._folder / file).read_text() for field, file in files.items()}

    def manifests(self, fields: dict[str, str], *names: str, **spec: Any) -> list[Manifest]:
        """Connectors to some of the platforms, named as they are, with one Secret, source and CA for all."""
        bundle = {"configMap": {"name": CA_CONFIG_MAP, "key": "ca.crt"}}
        source = {
            "apiVersion": API_VERSION,
            "kind": "CredentialSource",
            "metadata": {"name": SOURCE},
            "spec": {
                "hosts": [self.host(name) for name in self._acts],
                "secret": {"name": SOURCE, "items": {field: field for field in fields}},
            },
        }
        connectors = [
            {
                "apiVersion": API_VERSION,
                "kind": "McpConnector",
                "metadata": {"name": name},
                "spec": {
                    "platform": {"jenkins": {"url": f"https://{self.host(name)}", "caBundle": bundle}},
                    "credentials": {"name": SOURCE},
                    "probe": PROBE,
                    "limits": LIMITS,
                }
                | spec,
            }
            for name in names
        ]
        return [secret(fields), ca_config_map((self._folder / "ca.crt").read_text(), CA_CONFIG_MAP), source, *connectors]

    def deploy(self, fields: dict[str, str], *names: str, **spec: Any) -> list[Connector]:
        """The same, applied; waits until all are ready."""
        kube.apply(self._namespace, *self.manifests(fields, *names, **spec))
        connectors = [Connector(self._namespace, name) for name in names]
        for connector in connectors:
            connector.wait_ready()
        return connectors

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Answers until it is left."""
        plain, mutual, expired = self._context("server"), self._context("server"), self._context("expired")
        mutual.verify_mode = ssl.CERT_REQUIRED
        mutual.load_verify_locations(self._folder / "ca.crt")

        def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
            if self._acts.get((name or "").partition(".")[0]) == "expired":
                connection.context = expired

        plain.sni_callback = choose
        self._port, self._mutual_port = (self._listen(context) for context in (plain, mutual))
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        try:
            for name in self._acts:
                self._lead(name, self._port)
            yield
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)

    def _listen(self, context: ssl.SSLContext) -> int:
        started = asyncio.start_server(self._serve, NODE_ADDRESS, 0, ssl=context)
        port: int = self._loop.run_until_complete(started).sockets[0].getsockname()[1]
        return port

    def _context(self, certificate: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Who resumes a session does not look at the certificate again.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        context.load_cert_chain(self._folder / f"{certificate}.crt", self._folder / f"{certificate}.key")
        return context

    def _lead(self, name: str, port: int) -> None:
        node_service.lead(self._namespace, name, 443, port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(await reader.readuntil(b"\r\n\r\n"), writer)
            await writer.drain()
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            # Who asked has gone.
            writer.close()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        headers = request.decode("latin-1").lower()
        name = headers.partition("\r\nhost: ")[2].partition(".")[0]
        if shown := writer.get_extra_info("peercert"):
            common_name = next(value for pair in shown["subject"] for key, value in pair if key == "commonName")
            if common_name not in self.shown:
                self.shown.append(common_name)
        of_the_tool = ASKED in headers.partition("\r\n")[0]
        self._asked[name] += of_the_tool
        body = json.dumps(GOOD)
        match self._acts[name]:
            case "hang":
                await asyncio.sleep(600)
            case "reset":
                writer.transport.abort()
                return
            case "slow":
                await asyncio.sleep(SLOW_SECONDS)
            case "busy":
                return writer.write(response("429 Too Many Requests", "text/plain"))
            case "busy-until":
                return writer.write(response("429 Too Many Requests", "text/plain", f"Retry-After: {PAUSE_SECONDS}"))
            case "storm":
                return writer.write(response("502 Bad Gateway", "text/plain"))
            case "flapping" if self._asked[name] % 4 == 0:
                return writer.write(response("502 Bad Gateway", "text/plain"))
            case "truncated":
                return writer.write(response("200 OK", "application/json", body=body)[:-10])
            case "enormous":
                body = f"[{' ' * ENORMOUS_BYTES}]"
            case "garbage":
                return writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")
        return writer.write(response("200 OK", "application/json", body=body))


@contextmanager
def running(folder: Path, namespace: str, *names: str) -> Iterator[ScriptedPlatform]:
    """Platforms that answer well, each under a name of its own in a namespace."""
    platform = ScriptedPlatform(folder, namespace, names)
    with platform.listening():
        yield platform


def listens(address: str) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((address, 443), timeout=5).close()
    except OSError:
        return False
    return True


def secret(fields: dict[str, str]) -> Manifest:
    """The Secret with what a platform accepts."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SOURCE}, "stringData": fields}


def response(status: str, kind: str, header: str = "X-Nothing: more", body: str = "") -> bytes:
    """An answer after which the connection is closed."""
    head = f"HTTP/1.1 {status}\r\nX-Jenkins: 2.528.1\r\nContent-Type: {kind}\r\n{header}\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _issue_expired(folder: Path, hosts: tuple[str, ...]) -> None:
    """A certificate of the same authority whose time is over: `openssl ca` alone can set both ends."""
    config = folder / "expired.cnf"
    (folder / "index.txt").touch()
    config.write_text(
        f"[ca]\ndefault_ca=here\n[here]\ndatabase={folder}/index.txt\nrand_serial=yes\nnew_certs_dir={folder}\n"
        "default_md=sha256\npolicy=any\nx509_extensions=server\n[any]\ncommonName=supplied\n"
        f"[server]\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName={','.join(hosts)}\n"
    )
    key, request, certificate = (folder / f"expired.{end}" for end in ("key", "csr", "crt"))
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=expired")
    run("openssl", "req", *new, "-keyout", key, "-out", request)
    begin, end = ((datetime.now(UTC) - timedelta(days=days)).strftime("%Y%m%d%H%M%SZ") for days in (2, 1))
    signer = ("-cert", folder / "ca.crt", "-keyfile", folder / "ca.key")
    times = ("-startdate", begin, "-enddate", end)
    run("openssl", "ca", "-batch", "-config", config, "-notext", *signer, *times, "-in", request, "-out", certificate)
