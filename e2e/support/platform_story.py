"""What the stories of platforms with a double have in common: a connector to it, and what becomes of it when the platform
is down, refuses the credentials, limits the rate, or is slow."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mcp_types import CallToolResult
from testcluster import doubles

from . import kube
from .agent import agent_of, error_of, text_of
from .connector import (
    API_VERSION,
    LIMITS,
    OUTAGE_SECONDS,
    PROBE,
    TELEMETRY,
    Connector,
    ca_config_map,
    changed_by_agents,
)
from .kube import Manifest
from .waiting import BUSY_SECONDS, eventually

CA_CONFIG_MAP = "doubles-ca"
# How long a call may take here, and what a busy machine adds to it.
CALL_SECONDS = 5
# A double says that it is limited for so long: longer than a call may wait for it.
LIMITED_SECONDS = 20
# Longer than anybody waits.
SLOW_SECONDS = 600
# Failing answers of a double hold this word, and so do its secrets.
PLANTED = "planted"
# And credentials after a rotation hold this, which no random id can.
ROTATED = "-quokka"
# With these words a double refuses what no story asks for: only a slip in the connector does.
SLIPS = (
    "a query parameter that this path does not have",
    "a selection with a name that no bean has",
    "a cookie beside a token",
    "This page expects a form submission",
    "No valid crumb",
    "unknown parameter",
    "a token in the query",
    "not JSON",
)

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Subject:
    """A platform: its double, how a connector gets there, and what is asked of it."""

    double: doubles.Name
    # Its field in `spec.platform`, and what stands there besides the CA.
    kind: str
    platform: Manifest
    # The credentials that its double accepts at first, and those after a rotation.
    credentials: dict[str, str]
    rotated: dict[str, str]
    # Reason of PlatformHealthy when the credentials are refused.
    refused_reason: str
    # A call that finds something, part of the paths that it alone asks for, and a call that asks for others.
    asks: Call
    path: str
    asks_elsewhere: Call
    hosts: tuple[str, ...] = field(default=())

    @property
    def secret(self) -> str:
        """Name of the Secret and of the CredentialSource."""
        return f"{self.double}-bot"


def credentials(subject: Subject, fields: dict[str, str] | None = None) -> Manifest:
    """The Secret with a platform's credentials."""
    given = fields or subject.credentials
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": subject.secret}, "stringData": given}


def manifests(subject: Subject, namespace: str, **spec: Any) -> list[Manifest]:
    """A connector to the double, with its source, Secret and CA."""
    bundle = {"configMap": {"name": CA_CONFIG_MAP, "key": "ca.crt"}}
    source = {
        "apiVersion": API_VERSION,
        "kind": "CredentialSource",
        "metadata": {"name": subject.secret},
        "spec": {
            "hosts": [doubles.host(subject.double), *subject.hosts],
            "secret": {"name": subject.secret, "items": {name: name for name in subject.credentials}},
        },
    }
    connector = {
        "apiVersion": API_VERSION,
        "kind": "McpConnector",
        "metadata": {"name": subject.double},
        "spec": {
            "platform": {subject.kind: subject.platform | {"caBundle": bundle}},
            "credentials": {"name": subject.secret},
            "probe": PROBE,
            "limits": LIMITS | {"callTimeout": f"{CALL_SECONDS}s"},
            "telemetry": TELEMETRY,
            "tools": {"mutations": "Confirm"},
            "access": changed_by_agents(namespace),
        }
        | spec,
    }
    return [credentials(subject), ca_config_map(doubles.ca_file().read_text(), CA_CONFIG_MAP), source, connector]


def deploy(subject: Subject, namespace: str) -> Connector:
    """A connector to the double that runs, and waits until it is ready."""
    kube.apply(namespace, *manifests(subject, namespace))
    connector = Connector(namespace, subject.double)
    connector.wait_ready()
    return connector


@contextmanager
def running(subject: Subject, namespace: str) -> Iterator[Connector]:
    """A fresh double with a connector that is ready; afterwards what passed is looked at."""
    doubles.up(subject.double)
    connector = deploy(subject, namespace)
    yield connector
    told = doubles.requests(subject.double)
    assert told["offences"] == [], told["offences"]
    slips = [one for one in told["refused"] if any(words in one["why"] for words in SLIPS)]
    assert slips == [], slips


def call(connector: Connector, tool: str, **arguments: Any) -> CallToolResult:
    """Calls a tool; nothing that was planted may come out."""
    result = agent_of(connector).call(tool, **arguments)
    assert PLANTED not in text_of(result), text_of(result)
    return result


def answer(connector: Connector, tool: str, **arguments: Any) -> dict[str, Any]:
    """Calls a tool that must succeed."""
    result = call(connector, tool, **arguments)
    assert not result.is_error, f"{tool} failed: {text_of(result)}"
    found: dict[str, Any] = result.structured_content or {}
    return found


def do(connector: Connector, tool: str, **arguments: Any) -> dict[str, Any]:
    """Asks what a tool would do, has it done by the plan that it answers, and makes sure that it is done only once."""
    planned = answer(connector, tool, **arguments)
    assert planned["would"] and planned["plan"]
    key = f"story-{time.time_ns()}"
    confirmed = arguments | {"confirm": True, "plan": planned["plan"], "idempotency_key": key}
    done = answer(connector, tool, **confirmed)
    assert done["applied"] is True
    again = answer(connector, tool, **confirmed)
    assert again["result"] == done["result"]
    result: dict[str, Any] = done["result"]
    return result


def sent(subject: Subject, request: str) -> int:
    """How often the double was sent a request, such as `POST /jenkins/job/plain/build`."""
    count: int = doubles.requests(subject.double)["paths"].get(request, 0)
    return count


def _shows_no_secret(connector: Connector) -> None:
    told = connector.explain()
    assert not any(word in told for word in (PLANTED, ROTATED)), told


@contextmanager
def fault(subject: Subject, mode: doubles.Mode, seconds: int | None = None, path: str | None = None) -> Iterator[None]:
    """Breaks the double for a while; whatever goes wrong meanwhile, the next story finds it well."""
    doubles.fault(subject.double, mode, seconds, path)
    try:
        yield
    finally:
        doubles.fault(subject.double, "up")


def is_down_and_comes_back(subject: Subject, connector: Connector) -> None:
    """The platform closes every connection: conditions and agents are told; and all is well when it is back."""
    tool, arguments = subject.asks
    pods = connector.pod_identities()
    with fault(subject, "down"):
        told = connector.wait_for("PlatformHealthy", "False", "Unreachable", OUTAGE_SECONDS)
        assert told["message"]
        assert connector.condition("Ready")["reason"] == "Unreachable"
        # What is known of the credentials does not change with an outage.
        assert connector.condition("CredentialsAccepted")["status"] != "False"

        def agents_are_told() -> bool:
            code = error_of(call(connector, tool, **arguments))["code"]
            # On a busy machine, time may be up before a call has been tried often enough.
            assert code in ("platform_unavailable", "deadline_exceeded"), code
            return bool(code == "platform_unavailable")

        eventually("agents are told", agents_are_told, OUTAGE_SECONDS)
    connector.wait_ready(OUTAGE_SECONDS)
    answers_again(connector, subject)
    assert connector.pod_identities() == pods
    _shows_no_secret(connector)


def fails(subject: Subject, connector: Connector, mode: doubles.Mode, reason: str) -> None:
    """The platform, or what stands before it, answers with something else: that is told from an outage, in our words."""
    tool, arguments = subject.asks
    with fault(subject, mode):
        connector.wait_for("PlatformHealthy", "False", reason, OUTAGE_SECONDS)
        error = error_of(call(connector, tool, **arguments))
        assert error["code"] in ("platform_error", "platform_unavailable"), error
    connector.wait_ready(OUTAGE_SECONDS)


def limits_the_rate(subject: Subject, connector: Connector, tells_time: bool = True) -> None:
    """The platform wants fewer requests: that is no outage, and says when to come back."""
    tool, arguments = subject.asks
    with fault(subject, "rate-limited", seconds=LIMITED_SECONDS):
        connector.wait_for("PlatformHealthy", "True", "RateLimited", OUTAGE_SECONDS)
        assert connector.condition("Ready")["status"] == "True"
        error = error_of(call(connector, tool, **arguments))
        assert error["code"] == "rate_limited", error
        if tells_time:
            assert 1 <= error["retry_after_seconds"] <= LIMITED_SECONDS, error
    connector.wait_for("PlatformHealthy", "True", "Healthy", LIMITED_SECONDS + OUTAGE_SECONDS)
    answers_again(connector, subject)


def is_slow_in_one_place(subject: Subject, connector: Connector) -> None:
    """One path hangs: calls that need it end in time and say so, and others are answered meanwhile."""
    tool, arguments = subject.asks
    outcome: list[CallToolResult] = []
    hanging = threading.Thread(target=lambda: outcome.append(call(connector, tool, **arguments)))
    with fault(subject, "slow", seconds=SLOW_SECONDS, path=subject.path):
        begun = time.monotonic()
        hanging.start()
        other, words = subject.asks_elsewhere
        answer(connector, other, **words)
        assert hanging.is_alive(), f"{subject.path} did not hang: {outcome}"
        hanging.join(CALL_SECONDS + BUSY_SECONDS)
        took = time.monotonic() - begun
        assert outcome, f"the call has not ended after {took:.1f} s"
        assert took >= CALL_SECONDS - 1, f"the call ended after {took:.1f} s"
        error = error_of(outcome[0])
        assert error["code"] == "deadline_exceeded", error
    connector.wait_ready(OUTAGE_SECONDS)


def is_refused_and_rotated(subject: Subject, connector: Connector) -> None:
    """The credentials no longer count: that is told; new ones in the Secret mend it without a restart."""
    tool, arguments = subject.asks
    pods = connector.pod_identities()
    doubles.rotate(subject.double, subject.rotated)
    rejected = connector.wait_for("CredentialsAccepted", "False", "Rejected", OUTAGE_SECONDS)
    assert rejected["message"]
    assert connector.condition("PlatformHealthy")["reason"] == subject.refused_reason
    error = error_of(call(connector, tool, **arguments))
    assert error["code"] == "credentials_unavailable", error
    kube.apply(connector.namespace, credentials(subject, subject.rotated))
    connector.wait_ready(OUTAGE_SECONDS)
    answers_again(connector, subject)
    assert connector.pod_identities() == pods
    _shows_no_secret(connector)


def answers_again(connector: Connector, subject: Subject) -> None:
    """Waits until a call finds something again: the way to the platform is opened step by step."""
    tool, arguments = subject.asks
    eventually("calls are answered again", lambda: not call(connector, tool, **arguments).is_error, OUTAGE_SECONDS)
