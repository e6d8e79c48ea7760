"""The samples of nginx and Envoy in config/gateway, in front of a connector: TLS, tokens, streams, request ids and names."""

import asyncio
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from local import program
from support.machine import ROOT
from support.machine import run as run_program
from support.waiting import eventually

SAMPLES = ROOT / "config" / "gateway"
NAME = "mcp.example.com"
MUTATIONS = """\
  tools: {mutations: Confirm}
  limits: {platform: {maxAttempts: 1}}
"""


@dataclass(frozen=True)
class Gateway:
    """Where it listens, the certificate that it shows, where the double takes faults, and what it wants of callers."""

    port: int
    certificate: Path
    faults: str
    headers: dict[str, str] = field(default_factory=dict)

    def url(self, path: str = "/ci/jenkins/mcp") -> str:
        """Its name means nothing here; its certificate is for this address too."""
        return f"https://127.0.0.1:{self.port}{path}"

    def trust(self) -> ssl.SSLContext:
        """What its certificate is verified with."""
        return ssl.create_default_context(cafile=self.certificate)


def replace(text: str, *pairs: tuple[str, str]) -> str:
    """Each of them has to be there."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def listening(words: list[str | Path], port: int, errors: Path) -> Iterator[None]:
    """A program, from when it listens at a port."""
    with errors.open("w") as file:
        process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=file)
        try:
            eventually(f"{Path(words[0]).name} listens", lambda: program.listens(port), 20, explain=errors.read_text)
            yield
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The sample, in front of what is served at a URL."""
    address, _, path = upstream.removeprefix("http://").partition("/")
    port = program.free_port()
    scratch = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    sample = replace(
        (SAMPLES / "nginx.conf").read_text(),
        ("http {\n", f"http {{\n{scratch}"),
        ("server mcp-jenkins.ci.svc.cluster.local:8080;", f"server {address};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/nginx/tls", str(folder)),
        ("http://mcp-jenkins/mcp", f"http://mcp-jenkins/{path}"),
    )
    (folder / "nginx.conf").write_text(sample)
    binary = run_program(ROOT / "e2e" / "checks" / "tool", "nginx").strip()
    words = [binary, "-p", folder, "-c", "nginx.conf", "-e", "stderr", "-g", f"daemon off; pid {folder}/pid;"]
    with listening(words, port, folder / "errors"):
        yield port, {}


@contextmanager
def envoy(folder: Path, upstream: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The sample, in front of what is served at a URL, with the key of an issuer and a token of it."""
    address, _, path = upstream.removeprefix("http://").partition("/")
    host, _, upstream_port = address.partition(":")
    port = program.free_port()
    sample = replace(
        (SAMPLES / "envoy.yaml").read_text(),
        ("{address: 0.0.0.0, port_value: 8443}", f"{{address: 127.0.0.1, port_value: {port}}}"),
        ("/etc/envoy/tls/tls.crt", f"{folder}/tls.crt"),
        ("/etc/envoy/tls/tls.key", f"{folder}/tls.key"),
        ("/etc/envoy/jwks.json", f"{folder}/jwks.json"),
        ("substitution: /mcp", f"substitution: /{path}"),
        (
            "{address: mcp-jenkins.ci.svc.cluster.local, port_value: 8080}",
            f"{{address: {host}, port_value: {upstream_port}}}",
        ),
    )
    (folder / "envoy.yaml").write_text(sample)
    manager = yaml.safe_load(sample)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    issuer = manager["http_filters"][0]["typed_config"]["providers"]["cluster"]
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    (folder / "jwks.json").write_text(json.dumps({"keys": [public | {"kid": "one", "alg": "RS256"}]}))
    claims = {"iss": issuer["issuer"], "aud": issuer["audiences"], "sub": "agent", "exp": int(time.time()) + 600}
    token = jwt.encode(claims, key, "RS256", {"kid": "one"})
    binary = run_program(ROOT / "e2e" / "checks" / "tool", "envoy").strip()
    words = [binary, "--config-path", folder / "envoy.yaml", "--disable-hot-restart", "--log-level", "warning"]
    with listening(words, port, folder / "errors"):
        yield port, {"Authorization": f"Bearer {token}"}


@pytest.fixture(params=[nginx, envoy], ids=["nginx", "envoy"])
def gateway(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A gateway in front of `local` in front of a double of Jenkins."""
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    words = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    names = ("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1")
    run_program("openssl", "req", *words, *names, "-keyout", key, "-out", certificate)
    jenkins = program.Running(program.DOUBLE, "jenkins", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    try:
        faults = jenkins.wait_for(r"faults at (\S+)").group(1)
        manifests = tmp_path / "manifests"
        manifests.mkdir()
        url = jenkins.wait_for(r"the platform at (\S+)").group(1)
        (manifests / "connector.yaml").write_text(program.manifests(url) + MUTATIONS + program.secret())
        with program.local("-f", manifests) as running:
            running.wait_for(r"^ci/jenkins: Ready=True Ready")
            serving = running.wait_for(r"^ci/jenkins: serving at (\S+)").group(1)
            with request.param(tmp_path, serving) as (port, headers):
                yield Gateway(port, certificate, faults, headers)
    finally:
        jenkins.end()


def ask(gateway: Gateway, path: str = "/ci/jenkins/mcp", **headers: str) -> tuple[int, str | None, Any]:
    """Status, request id and body of the answer to a ping."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    plain = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Host": NAME}
    request = urllib.request.Request(gateway.url(path), body, plain | gateway.headers | headers)
    try:
        with urllib.request.urlopen(request, timeout=10, context=gateway.trust()) as answer:
            return answer.status, answer.headers.get("X-Request-ID"), json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.headers.get("X-Request-ID"), None


def test_a_request_id_is_kept_and_made_where_there_is_none(gateway: Gateway) -> None:
    assert ask(gateway, **{"X-Request-ID": "ticket-4711"})[:2] == (200, "ticket-4711")
    status, made, _ = ask(gateway)
    assert status == 200
    assert made is not None
    assert len(made.replace("-", "")) == 32
    # What the connector decides by still reaches it.
    assert ask(gateway, Origin="https://example.com")[0] == 403
    assert ask(gateway, path="/ci/other/mcp")[0] == 404
    # Where tokens are checked at the edge, a wrong one gets no further.
    if gateway.headers:
        assert ask(gateway, Authorization="Bearer no.such.token")[:2] == (401, None)


def test_progress_arrives_while_the_call_runs(gateway: Gateway) -> None:
    # The item can't be seen in the queue until progress has arrived here: a gateway that holds it back never sees it start.
    program.put_fault(gateway.faults, {"mode": "server-error", "path": "queue/item"})
    heard: list[str | None] = []

    async def progressed(_progress: float, _total: float | None, message: str | None) -> None:
        heard.append(message)
        program.put_fault(gateway.faults, {"mode": "up"})

    async def call() -> Any:
        arguments = {"job": "plain", "confirm": True, "wait_seconds": 25}
        async with (
            httpx2.AsyncClient(verify=gateway.trust(), headers={"host": NAME} | gateway.headers, timeout=30) as http,
            Client(streamable_http_client(gateway.url(), http_client=http), read_timeout_seconds=40) as client,
        ):
            assert str(client.protocol_version) == "2026-07-28"
            return await client.call_tool("trigger_jenkins_build", arguments, progress_callback=progressed)

    result = asyncio.run(call())
    assert not result.is_error, result.content
    assert heard, result.structured_content
    assert result.structured_content["result"]["state"] == "started", (result.structured_content, heard)
