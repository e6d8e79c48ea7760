"""The official conformance suites against a server that has every fixture they call.

The server is `fixtures/`: a connector's own stack, of which nothing is replaced, and behind it what connectors don't
offer. No cluster is needed.
"""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import suite
from conformance.suite import Suite
from support.machine import programs

SUITES = [
    Suite("suite-0.1", ("--suite", "all", "--spec-version", "2025-11-25"), "2025-11-25", 30, "fixtures"),
    Suite("suite-0.2", ("--requirements", "2025-11-25"), "2025-11-25", 63, "fixtures"),
    Suite("suite-0.2", ("--requirements", "2026-07-28"), "2026-07-28", 164, "fixtures"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's endpoint, which answers: some scenarios pass when nothing does."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    log = tmp_path_factory.mktemp("fixtures") / "log"
    with log.open("w") as output:
        server = subprocess.Popen([programs() / "conformance-fixtures", str(port)], stdout=output, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}/mcp"
        _wait_until_it_answers(server, address, log)
        yield address
    finally:
        server.terminate()
        assert server.wait(timeout=30) == 0, log.read_text()


def _wait_until_it_answers(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    ping = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    until = time.monotonic() + 20
    while True:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, ping, headers), timeout=5) as answer:
                assert json.load(answer)["result"] == {}
                return
        except urllib.error.URLError:
            assert time.monotonic() < until, "the server doesn't answer"
            time.sleep(0.05)


@pytest.mark.parametrize("tried", SUITES, ids=str)
def test_a_suite_finds_nothing_but_what_is_expected(
    url: str, tried: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = suite.run(tried, url, tmp_path)
    with capsys.disabled():
        print(f"\n{report}")
    assert not report.unexpected, report.output
    assert not report.stale, report.output
    assert report.accepted, report.output
    assert len(report.passed) == tried.passed
