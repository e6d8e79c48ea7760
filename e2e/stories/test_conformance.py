"""The official conformance suites of MCP, run against a connector as the operator deploys it.

No suite can send a token, so that this connector lets everyone call. It is reached on a port of 127.0.0.1 that leads to
its Service, because one scenario is about servers on localhost.

A connector lacks the fixtures that most scenarios call. `conformance/test_fixtures.py` runs them on the same stack.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import deploy_in

from conformance import suite
from conformance.forwarder import forwarded
from conformance.suite import Suite
from support.agent import Endpoint, message, post

PORT = 8080
# The error that it passes by is that there is no such tool.
HOLLOW = frozenset({"input-required-result-validate-input"})

SUITES = [
    Suite("suite-0.1", ("--suite", "all", "--spec-version", "2025-11-25"), "2025-11-25", passed=7),
    Suite("suite-0.2", ("--requirements", "2025-11-25"), "2025-11-25", passed=37),
    Suite("suite-0.2", ("--requirements", "2026-07-28"), "2026-07-28", passed=101, hollow=HOLLOW),
]


@pytest.fixture(scope="module")
def endpoint(shared_namespace: str, vault_up: None) -> Iterator[Endpoint]:
    """The connector's endpoint, which answers: some scenarios pass when nothing does."""
    connector = deploy_in(shared_namespace, access={"anonymous": True}).connector
    with forwarded(connector.service_address(), PORT) as port:
        endpoint = Endpoint(f"http://127.0.0.1:{port}/mcp", "127.0.0.1")
        answer = post(endpoint, None, message("server/discover"))
        assert "2026-07-28" in answer.json()["result"]["supportedVersions"], answer.text
        yield endpoint


@pytest.mark.parametrize("tried", SUITES, ids=str)
def test_a_suite_finds_nothing_but_what_is_expected(
    endpoint: Endpoint, tried: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = suite.run(tried, endpoint.url, tmp_path)
    with capsys.disabled():
        print(f"\n{report}")
    assert not report.unexpected, report.output
    assert not report.stale, report.output
    assert report.accepted, report.output
    assert len(report.passed) == tried.passed


def test_localhost_is_refused_for_its_origin_only(endpoint: Endpoint) -> None:
    # Why a check of dns-rebinding-protection is an expected failure.
    for host in ("localhost", "127.0.0.1", "[::1]"):
        header = {"host": f"{host}:{PORT}"}
        served = post(endpoint, None, message("server/discover"), header)
        assert served.status_code == 200, served.text
        refused = post(endpoint, None, message("server/discover"), header | {"origin": f"http://{host}:{PORT}"})
        assert (refused.status_code, refused.json()["error"]["data"]["error"]) == (403, "foreign_origin")
