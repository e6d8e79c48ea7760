"""`mcp-connectors local` serves connectors as the cluster does, and shows the conditions that a status would hold."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from local import program
from local.program import COULD_NOT_CHECK, Running, local, run
from support.waiting import eventually

CONDITIONS = ("Accepted", "Available", "EndpointReady", "CredentialsLoaded", "CredentialsAccepted", "PlatformHealthy")


def url_of(running: Running) -> str:
    """The endpoint, once it is ready."""
    running.wait_for(r"^ci/jenkins: Ready=True Ready")
    return running.wait_for(r"^ci/jenkins: serving at (\S+)").group(1)


def use(url: str, act: Callable[[Client], Awaitable[Any]], mode: str = "auto", token: str | None = None) -> Any:
    """Does something with the official Python client."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}

    async def connected() -> Any:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode, read_timeout_seconds=30) as client,
        ):
            return await act(client)

    return asyncio.run(connected())


async def names(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


def ping(url: str, **headers: str) -> int:
    """The HTTP status of a ping."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    plain = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, plain | headers), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_a_client_calls_tools_in_both_eras(folder: Path, mode: str, version: str) -> None:
    async def look_around(client: Client) -> tuple[str, Any, Any]:
        health = await client.call_tool("check_jenkins_connector", {})
        jobs = await client.call_tool("search_jenkins_jobs", {})
        return str(client.protocol_version), health.structured_content, jobs.structured_content

    with local("-f", folder) as running:
        spoken, health, jobs = use(url_of(running), look_around, mode)
    assert spoken == version
    assert health["status"] == "ok", health
    assert jobs["items"]


def test_it_tells_every_condition_what_is_not_judged_and_that_nobody_is_asked(folder: Path) -> None:
    with local("-f", folder) as running:
        url_of(running)
        told = running.told()
    for condition in CONDITIONS:
        assert f"ci/jenkins: {condition}=True" in told
    assert "no authentication" in told
    assert "not judged here: NetworkPolicy" in told
    assert program.API_TOKEN not in told


def test_an_edit_is_applied_a_broken_one_is_told_and_what_is_gone_ends(folder: Path) -> None:
    file = folder / "connector.yaml"
    good = file.read_text()
    with local("-f", folder) as running:
        url = url_of(running)
        assert "search_jenkins_jobs" in use(url, names)

        file.write_text(good + "  tools: {prefix: my_}\n")
        eventually("the new prefix", lambda: "my_search_jenkins_jobs" in use(url, names), 15)

        file.write_text(good + "  tools: {prefix: My-}\n")
        running.wait_for(rf"^{file}:\d+:\d+: error: McpConnector ci/jenkins: spec.tools.prefix: ")
        assert "my_search_jenkins_jobs" in use(url, names)

        file.write_text("this: [is no YAML\n")
        running.wait_for(rf"^{file}:\d+:\d+: error: .*\[yaml\]")
        assert "my_search_jenkins_jobs" in use(url, names)

        file.unlink()
        running.wait_for(r"^ci/jenkins: removed")
        assert ping(url) == 404


def test_credentials_change_without_a_restart(folder: Path) -> None:
    with local("-f", folder) as running:
        url_of(running)
        begun = len(running.lines)
        (folder / "secret.yaml").write_text(program.secret("wrong"))
        running.wait_for(r"^ci/jenkins: CredentialsAccepted=False Rejected", after=begun)
        (folder / "secret.yaml").write_text(program.secret())
        running.wait_for(r"^ci/jenkins: CredentialsAccepted=True", after=begun)
        assert not any("serving at" in line for line in running.lines[begun:])


def test_credentials_come_from_a_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (folder / "secret.yaml").unlink()
    keys = tmp_path_factory.mktemp("keys")
    (keys / "bot").mkdir()
    with local("-f", folder, "--credentials-dir", keys) as running:
        running.wait_for(r"^ci/jenkins: CredentialsLoaded=False NoFields")
        (keys / "bot" / "user").write_text(program.USER)
        (keys / "bot" / "api_token").write_text(program.API_TOKEN + "\n")
        url_of(running)


def test_web_pages_and_other_names_are_refused(folder: Path) -> None:
    with local("-f", folder) as running:
        url = url_of(running)
        assert ping(url) == 200
        assert ping(url, Origin="https://example.com") == 403
        assert ping(url, Host="rebound.example.com") == 403
        assert ping(url.replace("/ci/", "/other/")) == 404


def test_a_token_is_asked_for(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    with local("-f", folder, "--token-file", file) as running:
        url = url_of(running)
        assert (ping(url), ping(url, Authorization="Bearer 0123456789abcdeX")) == (401, 401)
        assert ping(url, Authorization="Bearer 0123456789abcdef") == 200
        assert "search_jenkins_jobs" in use(url, names, token="0123456789abcdef")
        assert "0123456789abcdef" not in running.told()


def test_other_machines_are_not_let_in_without_a_proof(folder: Path) -> None:
    done = run("-f", str(folder), "--listen", "0.0.0.0:0")
    assert done.returncode == COULD_NOT_CHECK
    assert "--token-file" in done.stderr
    assert run("-f", str(folder), "--credentials-dir", str(folder / "none")).returncode == COULD_NOT_CHECK
    # What a mode can't heed is refused, not passed over.
    for words in (("--check", "--token-file", "x"), ("--stdio", "--listen", "127.0.0.1:1"), ("--connector", "a/b")):
        assert run("-f", str(folder), *words, stdin="").returncode == COULD_NOT_CHECK


def test_manifests_come_from_standard_input(jenkins: str) -> None:
    done = run("--check", "--probe", "-f", "-", stdin=program.manifests(jenkins) + program.secret())
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = run("--check", "--probe", "-f", "-", stdin=program.manifests(jenkins) + program.secret("wrong"))
    assert wrong.returncode == 1
    assert "[Rejected]" in wrong.stdout, wrong.stdout
    missing = run("--check", "--probe", "-f", "-", stdin=program.manifests(jenkins))
    assert missing.returncode == 1
    assert "[NoFields]" in missing.stdout, missing.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains(folder: Path, how: signal.Signals) -> None:
    with local("-f", folder) as running:
        url_of(running)
        assert running.end(how) == 0
        assert "draining" in running.told()


def test_nothing_to_serve_is_told() -> None:
    done = run("-f", "-", stdin="apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")
    assert done.returncode == COULD_NOT_CHECK
    assert "there is no McpConnector" in done.stderr


def test_a_suspended_connector_does_not_run(folder: Path) -> None:
    file = folder / "connector.yaml"
    good = file.read_text()
    with local("-f", folder) as running:
        url = url_of(running)
        file.write_text(good + "  suspend: true\n")
        running.wait_for(r"^ci/jenkins: Ready=False Suspended")
        assert ping(url) == 404
        begun = len(running.lines)
        file.write_text(good)
        running.wait_for(r"^ci/jenkins: Ready=True", after=begun)


def test_a_service_account_may_what_the_spec_says_with_the_clusters_keys(folder: Path, tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | {"kid": "one", "use": "sig"}
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "token-keys.json").write_text(json.dumps({"issuer": "https://issuer", "keys": [public]}))

    def token(account: str) -> str:
        now = int(time.time())
        claims = {
            "iss": "https://issuer",
            "sub": f"system:serviceaccount:ci:{account}",
            "aud": "http://mcp-jenkins.ci.svc:8080/mcp",
            "iat": now,
            "exp": now + 600,
            "kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": account}},
        }
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "one"})

    file = folder / "connector.yaml"
    rule = "{namespace: ci, serviceAccount: triage, tools: [list_*]}"
    file.write_text(file.read_text() + f"  access: {{allow: [{rule}]}}\n")
    with local("-f", folder, "--token-keys", keys) as running:
        url = url_of(running)
        assert ping(url) == 401
        assert ping(url, Authorization=f"Bearer {token('other')}") == 403
        offered = use(url, names, token=token("triage"))
        assert offered
        assert all(name.startswith("list_") for name in offered)


@pytest.mark.parametrize("color", [True, False])
def test_a_terminal_gets_a_table_that_is_drawn_anew(folder: Path, color: bool) -> None:
    ours, theirs = pty.openpty()
    argv = [program.PROGRAM, "local", "--listen", "127.0.0.1:0", "-f", folder]
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    if not color:
        environment["NO_COLOR"] = "1"
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    seen = b""
    ready = b"\x1b[32mTrue\x1b[0m" if color else b"True"
    until = time.monotonic() + 40
    while not (b"CONNECTOR" in seen and b"PlatformHealthy" in seen and seen.count(ready) >= 7):
        assert time.monotonic() < until, seen
        seen = (seen + os.read(ours, 65536)).rpartition(b"\x1b[H\x1b[2J")[2]
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    os.close(ours)
    assert b"/ci/jenkins/mcp" in seen
    assert (b"\x1b[3" in seen) is color
