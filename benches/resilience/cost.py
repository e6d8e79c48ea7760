"""What a call costs with everything around it, with as little as configuration allows, and on bare rmcp; and what a
request to the platform costs with the outbound stack, and without it in the same program.
"""

import json
import os
import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches.resilience.setting import Setting, bare_server, only_answered
from benches.serving import LIMITS, PLATFORM_LIMITS, PLATFORM_PORT, SERVER_CORE, Server, configure, folder_call, vault
from benches.support import say, table

CONNECTIONS = (1, 32, 128)
AT_ONCE = (1, 32)
NEVER = 1_000_000_000
# Nothing may be refused here.
WIDE = {**PLATFORM_LIMITS, "maxConcurrentRequests": 256}
EVERYTHING: dict[str, Any] = {
    "limits": {
        **LIMITS,
        "repeats": {"enabled": True, "window": "1m", "warnAfter": NEVER, "refuseAfter": NEVER},
        "platform": WIDE,
    },
    "telemetry": {"audit": {"hashChain": True}},
}
LITTLE: dict[str, Any] = {"limits": {**LIMITS, "cache": {"enabled": False, "maxBytes": 65536}, "platform": WIDE}}


@dataclass
class Round:
    """What one round saw."""

    rate: float
    p50: float
    p99: float
    # CPU milliseconds of each call.
    cpu: float


def measure(setting: Setting, rmcp: Path) -> str:
    """Two tables."""
    return f"{calls(setting, rmcp)}\n\n{requests(setting)}"


def calls(setting: Setting, rmcp: Path) -> str:
    """Calls of a tool that makes one request, by three servers that take turns."""
    with ExitStack() as stack:
        servers = []
        for name, keys, changes in (
            ("every guard", setting.keys, EVERYTHING),
            ("guards off, as far as that is possible", None, LITTLE),
        ):
            folder, network = setting.new_folder(), setting.network(stack)
            configure(folder, vault(network.load), {"token": "bench"}, keys, **changes)
            servers.append(setting.serve(stack, name, folder, network, keys.token() if keys else None))
        servers.append(bare_server(setting, stack, rmcp))
        rounds: dict[tuple[str, int], list[Round]] = {}
        for number in range(setting.rounds):
            for connections in CONNECTIONS:
                for server in servers:
                    one = call_for_a_while(setting, server, connections)
                    rounds.setdefault((server.name, connections), []).append(one)
                    say(f"round {number + 1}, {connections:3} connections, {server.name}: {one.rate:,.0f} calls/s")
    rows = []
    for connections in CONNECTIONS:
        everything = rounds[servers[0].name, connections]
        for server in servers:
            rows.append([connections, *row(server.name, rounds[server.name, connections], everything)])
    head = ["connections", "server", "calls/s", "p50 ms", "p99 ms", "CPU ms a call"]
    return table([*head, "every guard ÷ it, calls/s", "every guard ÷ it, CPU"], rows)


def call_for_a_while(setting: Setting, server: Server, connections: int) -> Round:
    """One round."""
    with setting.watched(server) as used:
        report = setting.load.calls(server, folder_call("after-5"), setting.seconds, connections)
    times = only_answered(report, server.name)
    rate = times["count"] / report["seconds"]
    return Round(rate, times["p50_ms"], times["p99_ms"], used.cpu / times["count"] * 1e3)


def requests(setting: Setting) -> str:
    """Requests to the platform from one program, with the stack and without it."""
    rounds: dict[tuple[str, int], list[Round]] = {}
    for number in range(setting.rounds):
        for at_once in AT_ONCE:
            for stack in ("with", "without"):
                one = request_for_a_while(setting, stack, at_once)
                rounds.setdefault((stack, at_once), []).append(one)
                say(f"round {number + 1}, {at_once} at once, {stack} the stack: {one.rate:,.0f} requests/s")
    rows = []
    for at_once in AT_ONCE:
        for stack, name in (("with", "outbound stack"), ("without", "bare reqwest")):
            rows.append([at_once, *row(name, rounds[stack, at_once], rounds["with", at_once])])
    head = ["requests at once", "way", "requests/s", "p50 ms", "p99 ms", "CPU ms a request"]
    return table([*head, "stack ÷ it, requests/s", "stack ÷ it, CPU"], rows)


def request_for_a_while(setting: Setting, stack: str, at_once: int) -> Round:
    """One round, of a process of its own."""
    plan = {"url": f"http://127.0.0.1:{PLATFORM_PORT}", "at_once": at_once, "seconds": setting.seconds}
    process = setting.load.begun(plan, "outbound", stack, core=SERVER_CORE)
    assert process.stdout
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench-load outbound {stack} failed")
    times = json.loads(output)
    cpu = (used.ru_utime + used.ru_stime) / times["count"] * 1e3
    return Round(times["count"] / setting.seconds, times["p50_ms"], times["p99_ms"], cpu)


def row(name: str, rounds: list[Round], first: list[Round]) -> list[str]:
    """Medians, and how the first of the table does beside them."""

    def median(of: list[Round], figure: str) -> float:
        return statistics.median(getattr(one, figure) for one in of)

    rates = [one.rate for one in rounds]
    ratios = [f"{median(first, figure) / median(rounds, figure):.2f}" for figure in ("rate", "cpu")]
    return [
        name,
        f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
        f"{median(rounds, 'p50'):.2f}",
        f"{median(rounds, 'p99'):.2f}",
        f"{median(rounds, 'cpu'):.3f}",
        *(["", ""] if rounds is first else ratios),
    ]
