"""Whether a connector whose platform answers feels that another's hangs with hundreds of calls: of two processes on one
core, and of two connectors in one process (`local`).
"""

import os
import statistics
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benches.resilience.setting import Setting, only_answered, undisturbed
from benches.serving import (
    LIMITS,
    PLATFORM_LIMITS,
    PLATFORM_PORT,
    Network,
    Server,
    configure,
    folder_call,
    start,
    until,
    vault,
)
from benches.support import stop, table

HELD = 500
# Of the connector that is well: far from what a core can do, so that what is measured is not a queue of its own.
RATE = 400.0
CALLERS = 32
LOCAL_PORT = 8300
MANIFESTS = """\
apiVersion: mcp-connectors.io/v1alpha1
kind: CredentialSource
metadata: {name: vault}
spec: {hosts: [127.0.0.1], secret: {name: vault}}
---
apiVersion: v1
kind: Secret
metadata: {name: vault}
stringData: {token: bench}
"""
CONNECTOR = """\
---
apiVersion: mcp-connectors.io/v1alpha1
kind: McpConnector
metadata: {{name: {name}}}
spec:
  platform: {{vault: {{url: "http://127.0.0.1:{port}", insecureHttp: true}}}}
  credentials: {{name: vault}}
  limits:
    calls: {{perMinute: 60000, burst: 10000}}
    repeats: {{enabled: false}}
    maxConcurrentCalls: 1000
    platform: {{maxConcurrentRequests: 1000, requestTimeout: 30s}}
"""


@dataclass
class Round:
    """Times of the connector that is well, in milliseconds: while the other's platform answers, and while it hangs."""

    p50: tuple[float, float]
    p99: tuple[float, float]

    def __str__(self) -> str:
        return f"p99 {self.p99[0]:.2f} ms, {self.p99[1]:.2f} ms while {HELD} calls hang;"


def measure(setting: Setting) -> str:
    """A table."""
    rows = []
    for name, begin in (("two processes on one core", two_processes), ("one process (`local`)", one_process)):
        with ExitStack() as stack:
            hanging, steady = begin(setting, stack)
            rounds, lost = undisturbed(setting.rounds, partial(one_round, setting, hanging, steady))
        row = [name]
        for figure in ("p50", "p99"):
            pairs = [getattr(one, figure) for one in rounds]
            row += [f"{statistics.median(pair[side] for pair in pairs):.2f}" for side in (0, 1)]
            row.append(f"{statistics.median(during / before for before, during in pairs):.2f}")
        rows.append([*row, f"{lost * 1e3:.0f}"])
    head = [
        "arrangement",
        "p50 ms",
        f"p50 ms while {HELD} hang",
        "ratio",
        "p99 ms",
        f"p99 ms while {HELD} hang",
        "ratio",
        "ms of a pair taken by the hypervisor",
    ]
    words = (
        f"{RATE:.0f} calls a second to the connector that is well, in {setting.rounds} pairs of rounds that take turns."
    )
    return f"{words} Ratios are medians of the pairs'.\n\n{table(head, rows)}"


def two_processes(setting: Setting, stack: ExitStack) -> tuple[Server, Server]:
    """`serve` twice."""
    limits = {
        **LIMITS,
        "maxConcurrentCalls": 1000,
        "platform": {**PLATFORM_LIMITS, "maxConcurrentRequests": 1000, "requestTimeout": "30s"},
    }
    servers = []
    for name in ("hanging", "steady"):
        folder, network = setting.new_folder(), setting.network(stack)
        configure(folder, vault(network.load), {"token": "bench"}, setting.keys, limits=limits)
        servers.append(setting.serve(stack, name, folder, network, setting.keys.token()))
    return servers[0], servers[1]


def one_process(setting: Setting, stack: ExitStack) -> tuple[Server, Server]:
    """`local` with two connectors, beside the platform: nothing but loopback is allowed to it."""
    folder = setting.new_folder()
    folder.mkdir()
    connectors = [CONNECTOR.format(name=name, port=PLATFORM_PORT) for name in ("hanging", "steady")]
    (folder / "all.yaml").write_text("".join([MANIFESTS, *connectors]))
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
    stack.callback(os.close, descriptor)
    here = Network(descriptor, "127.0.0.1", "127.0.0.1")
    words: list[str | Path] = [setting.program, "local", "--listen", f"127.0.0.1:{LOCAL_PORT}", "-f", folder]
    paths = [f"/default/{name}/mcp" for name in ("hanging", "steady")]
    server = start(stack, "local", words, here, LOCAL_PORT, setting.folder / "errors", path=paths[1])
    return replace(server, path=paths[0]), server


def one_round(setting: Setting, hanging: Server, steady: Server) -> Round:
    """Calls to one connector without and with calls that hang at the other."""
    before = times(setting, steady)
    plan = setting.load.plan(hanging, folder_call("hang"), 600, HELD, addresses=is_local(hanging))
    hold = setting.load.begun(plan, "calls")
    try:
        until(f"{HELD} calls hang", lambda: setting.load.seen()["hanging"] == HELD)
        during = times(setting, steady)
        held = setting.load.seen()["hanging"]
    finally:
        stop(hold)
    if held != HELD:
        raise SystemExit(f"only {held} of {HELD} calls still hang at the end of the round")
    until("the calls that hung are given up", lambda: setting.load.seen()["hanging"] == 0)
    return Round((before["p50_ms"], during["p50_ms"]), (before["p99_ms"], during["p99_ms"]))


def times(setting: Setting, server: Server) -> dict[str, Any]:
    """How long calls of a connector take."""
    with setting.watched(server):
        report = setting.load.calls(
            server, folder_call("after-5"), setting.seconds, CALLERS, RATE, addresses=is_local(server)
        )
    return only_answered(report, server.name)


def is_local(server: Server) -> bool:
    """Whether callers are known by their address."""
    return server.port == LOCAL_PORT
