"""A platform that fails in each way that platforms do: what agents are told and how soon, how often it is asked
meanwhile, what the McpConnector shows, and that everything is well again when it is. `crates/mcp-connectors/tests/integration/faults.rs` has the
same faults without a cluster."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from support import kube, scripted_platform
from support.agent import Endpoint, headers_of, message
from support.connector import LIMITS, OUTAGE_SECONDS, Connector
from support.scripted_platform import CREDENTIALS, SOURCE, TOOL, Act, ScriptedPlatform
from support.waiting import BUSY_SECONDS, eventually

CALL_SECONDS = 5
BOUNDS = LIMITS | {
    "callTimeout": f"{CALL_SECONDS}s",
    "platform": {"requestTimeout": "2s", "maxConcurrentRequests": 4},
}
CALLS = 60
# As many as find a place at once, so that none waits for another.
AT_ONCE = 4
# Faults at once: more calls at a time than two cores answer in good time would themselves be a fault.
FAULTS_AT_ONCE = 4


@dataclass(frozen=True)
class Fault:
    """What is to be seen of a fault."""

    act: Act
    # Codes that calls end with; `answered` for an answer. On a busy machine time may be up before.
    codes: frozenset[str]
    # Status and reason of PlatformHealthy; none where nothing is wrong.
    shown: tuple[str, str] | None
    # Whether calls are soon refused without asking the platform.
    left_alone: bool
    calls: int

    @property
    def most_asked(self) -> float:
        """How many requests the calls may come to: a fifth of them may be repeated (`crates/outbound/src/retry.rs`)."""
        return self.calls - 1 if self.left_alone else self.calls * 1.2


def fault(
    act: Act, codes: str, shown: tuple[str, str] | None, left_alone: bool = False, calls: int = CALLS
) -> Fault:
    return Fault(act, frozenset(codes.split()), shown, left_alone, calls)


# What calls end with whose platform takes long, as on a busy machine each may.
LATE = "deadline_exceeded rate_limited platform_unavailable"
FAULTS = (
    fault("dead", "platform_unavailable", ("False", "Unreachable"), left_alone=True),
    fault("hang", LATE, ("False", "Timeout"), left_alone=True),
    fault("slow", "answered", None),
    fault("reset", "platform_unavailable", ("False", "Unreachable"), left_alone=True),
    fault("busy", "rate_limited", ("True", "RateLimited")),
    fault("busy-until", "rate_limited", ("True", "RateLimited")),
    fault("storm", "platform_unavailable", ("False", "ProxyError"), left_alone=True),
    fault("truncated", "platform_unavailable", ("False", "Unreachable"), left_alone=True),
    # Nine megabytes each.
    fault("enormous", "result_too_large platform_error", ("False", "NotJenkins"), calls=12),
    fault("garbage", "platform_unavailable", ("False", "Unreachable"), left_alone=True),
    fault("expired", "platform_unavailable", ("False", "TlsInvalid"), left_alone=True),
    fault("flapping", "answered platform_unavailable", None),
)


@dataclass
class Seen:
    """What calls came to."""

    codes: set[str]
    # What errors said.
    messages: set[str]
    # Seconds that the slowest took.
    longest: float
    # Seconds after which calls were told to come back, at most.
    pause: int


@pytest.fixture
def platform(tmp_path: Path, namespace: str) -> Iterator[ScriptedPlatform]:
    names = (*(one.act for one in FAULTS), "mutual")
    with scripted_platform.running(tmp_path, namespace, *names) as platform:
        yield platform


async def call_often(connector: Connector, calls: int = CALLS) -> Seen:
    """Calls the tool, some at a time, as soon as answers are there."""
    endpoint, token = Endpoint.of(connector), connector.token()
    body = message("tools/call", name=TOOL, arguments={})
    seen, left = Seen(set(), set(), 0, 0), iter(range(calls))

    async def call_on(http: httpx2.AsyncClient) -> None:
        for _ in left:
            begun = time.monotonic()
            answer = (await http.post(endpoint.url, json=body, headers=headers_of(body))).json()["result"]
            seen.longest = max(seen.longest, time.monotonic() - begun)
            error = answer["_meta"].get("mcp-connectors.io/error") or {"code": "answered"}
            seen.codes.add(error["code"])
            seen.messages.add(error.get("message", ""))
            seen.pause = max(seen.pause, error.get("retry_after_seconds", 0))

    async with endpoint.http(token) as http:
        await asyncio.gather(*(call_on(http) for _ in range(AT_ONCE)))
    return seen


def test_each_fault_has_its_answer_its_state_and_its_end(platform: ScriptedPlatform) -> None:
    names = [one.act for one in FAULTS]
    connectors = dict(zip(names, platform.deploy(CREDENTIALS, *names, limits=BOUNDS), strict=True))
    for name, connector in connectors.items():
        # A first call may take longer than it may, on a busy machine.
        eventually(f"{name}: calls are answered", lambda: answers(connector), BUSY_SECONDS)  # noqa: B023
    before = {name: platform.asked(name) for name in names}

    async def all_at_once(faults: tuple[Fault, ...]) -> list[Seen]:
        return await asyncio.gather(*(call_often(connectors[one.act], one.calls) for one in faults))

    for begin in range(0, len(FAULTS), FAULTS_AT_ONCE):
        faults = FAULTS[begin : begin + FAULTS_AT_ONCE]
        for one in faults:
            platform.does(one.act, one.act)
        for one, seen in zip(faults, asyncio.run(all_at_once(faults)), strict=True):
            asked = platform.asked(one.act) - before[one.act]
            print(f"  {one.act}: {sorted(seen.codes)} within {seen.longest:.1f} s, asked {asked} times for {one.calls} calls")
            assert seen.codes & one.codes and seen.codes <= one.codes | {"deadline_exceeded"}, (one.act, seen)
            assert seen.longest < CALL_SECONDS + BUSY_SECONDS, one.act
            assert asked <= one.most_asked, one.act
            # A probe may have heard of the time before, and what waits in line comes after it.
            assert one.act != "busy-until" or 1 <= seen.pause <= 60
    for one in FAULTS:
        if one.shown is not None:
            told = connectors[one.act].wait_for("PlatformHealthy", *one.shown, OUTAGE_SECONDS)
            assert told["message"]
        # Agents are to be told what is wrong, so the endpoint stays.
        assert connectors[one.act].condition("EndpointReady")["status"] == "True"

    for one in FAULTS:
        platform.does(one.act, "well")
    for name, connector in connectors.items():
        connector.wait_ready(OUTAGE_SECONDS)
        eventually(f"{name}: calls are answered again", lambda: answers(connector), OUTAGE_SECONDS)  # noqa: B023


def answers(connector: Connector) -> bool:
    return asyncio.run(call_often(connector, AT_ONCE)).codes == {"answered"}


def test_a_platform_that_wants_a_certificate_gets_the_one_that_is_mounted(
    platform: ScriptedPlatform, namespace: str
) -> None:
    platform.wants_certificate("mutual")
    fields = CREDENTIALS | platform.certificate("first-caller")
    (connector,) = platform.deploy(fields, "mutual", limits=BOUNDS)
    pods = connector.pod_identities()
    assert asyncio.run(call_often(connector)).codes == {"answered"}
    assert platform.shown == ["first-caller"]

    kube.apply(namespace, scripted_platform.secret(CREDENTIALS | platform.certificate("second-caller")))

    def goes_over() -> bool:
        seen = asyncio.run(call_often(connector, AT_ONCE))
        # A call may be late; none may be turned away for its certificate.
        assert seen.codes <= {"answered", *LATE.split()} and "certificate" not in str(seen.messages), seen
        return platform.shown == ["first-caller", "second-caller"]

    eventually("the new certificate is shown", goes_over, 90, explain=connector.explain)
    # Without a certificate it is turned away before there is any HTTP.
    kube.kubectl("-n", namespace, "patch", "credentialsource", SOURCE, "--type=merge", f"--patch={without_certificate()}")
    connector.wait_for("PlatformHealthy", "False", timeout=OUTAGE_SECONDS)
    assert connector.pod_identities().keys() != pods.keys(), "another set of fields is another pod"


def without_certificate() -> str:
    return '{"spec": {"secret": {"items": {"tls_certificate": null, "tls_key": null}}}}'
