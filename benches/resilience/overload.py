"""What becomes of a connector to which more calls come than its platform takes. The bounds are the defaults: ten
requests at a time and twenty that wait; only how often one caller may call is not bounded. Calls come whether or not
answers do.

What a refusal takes is set beside a ping of bare rmcp, at the same rate and from the same callers: what machine, protocol
and callers take by themselves.
"""

import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benches.resilience.setting import ATTEMPTS, HARMLESS, Setting, bare_server, only_answered, undisturbed
from benches.serving import LIMITS, PLATFORM_LIMITS, Server, configure, folder_call, vault
from benches.support import memory, table

DELAY = 0.02
CAPACITY = PLATFORM_LIMITS["maxConcurrentRequests"] / DELAY
FACTORS = (0.5, 0.9, 2.0, 5.0, 10.0)
# More than are ever waiting for an answer.
CALLERS = 512
REFUSED = "rate_limited"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@dataclass
class Round:
    """What one round saw."""

    goodput: float
    p99: float
    refused: float
    refusal_p50: float
    refusal_p99: float
    cpu: float
    highest: float

    def __str__(self) -> str:
        refused = f"{self.refused:,.0f} refused/s, p99 {self.refusal_p99:.2f} ms"
        return f"{self.goodput:,.0f} answered/s, {refused};"


def measure(setting: Setting, rmcp: Path) -> str:
    """A table, and what it comes to."""
    rounds: dict[float, list[Round]] = {}
    pings: dict[float, list[float]] = {}
    lost: dict[float, float] = {}
    with ExitStack() as stack:
        folder, network = setting.new_folder(), setting.network(stack)
        limits = {**LIMITS, "platform": PLATFORM_LIMITS}
        configure(folder, vault(network.load), {"token": "bench"}, setting.keys, limits=limits)
        server = setting.serve(stack, "serve", folder, network, setting.keys.token())
        bare = bare_server(setting, stack, rmcp)
        idle = memory(server.process.pid)
        for factor in FACTORS:
            rate = CAPACITY * factor
            rounds[factor], lost_here = undisturbed(setting.rounds, partial(called, setting, server, rate))
            pings[factor], lost_there = undisturbed(setting.rounds, partial(pinged, setting, bare, rate))
            lost[factor] = max(lost_here, lost_there)

    def median(factor: float, figure: str) -> float:
        return statistics.median(getattr(one, figure) for one in rounds[factor])

    def row(factor: float) -> list[str]:
        figures = [f"{factor:g} ({CAPACITY * factor:,.0f})", f"{median(factor, 'goodput'):,.0f}"]
        figures.append(f"{median(factor, 'p99'):.1f}")
        refusals = any(one.refused for one in rounds[factor])
        figures.append(f"{median(factor, 'refused'):,.0f}")
        figures += [f"{median(factor, name):.2f}" if refusals else "" for name in ("refusal_p50", "refusal_p99")]
        figures.append(f"{statistics.median(pings[factor]):.2f}")
        figures += [f"{median(factor, 'cpu'):.2f}", f"{max(one.highest for one in rounds[factor]):.1f}"]
        return [*figures, f"{lost[factor] * 1e3:.0f}"]

    head = ["offered × capacity (calls/s)", "answered/s", "p99 of answers ms", "refused/s", "p50 of refusals ms"]
    head += ["p99 of refusals ms", "p99 of bare rmcp's pings ms", "cores used", "highest resident MB"]
    head.append("ms of a round taken by the hypervisor")
    peak = max(median(factor, "goodput") for factor in FACTORS)
    most = FACTORS[-1]
    return "\n".join(
        [
            f"The platform answers after {DELAY * 1e3:.0f} ms, so that it takes {CAPACITY:,.0f} calls a second. At "
            f"{most:g} × capacity {median(most, 'goodput') / peak:.0%} of the best goodput is left. "
            f"Resident before: {idle:.1f} MB. Rounds of which the hypervisor took more than {HARMLESS * 1e3:.0f} ms are made again, "
            f"up to {ATTEMPTS} times as many as count: of those that count, the last column has the most.",
            "",
            table(head, [row(factor) for factor in FACTORS]),
        ]
    )


def called(setting: Setting, server: Server, rate: float) -> Round:
    """Calls for one round."""
    # The highest so far is forgotten (proc(5)).
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    with setting.watched(server) as used:
        report = setting.load.calls(server, folder_call(f"after-{DELAY * 1e3:.0f}"), setting.seconds, CALLERS, rate)
    outcomes, seconds = report["outcomes"], report["seconds"]
    if strange := set(outcomes) - {"answered", REFUSED}:
        raise SystemExit(f"calls ended as {strange}: {outcomes}")
    answered = outcomes["answered"]
    refused = outcomes.get(REFUSED, {"count": 0, "p50_ms": 0.0, "p99_ms": 0.0})
    return Round(
        answered["count"] / seconds,
        answered["p99_ms"],
        refused["count"] / seconds,
        refused["p50_ms"],
        refused["p99_ms"],
        used.cpu / seconds,
        memory(server.process.pid, "VmHWM"),
    )


def pinged(setting: Setting, bare: Server, rate: float) -> float:
    """Pings for one round; milliseconds within which bare rmcp answers 99 of 100."""
    return float(only_answered(setting.load.calls(bare, PING, setting.seconds, CALLERS, rate), "bare rmcp")["p99_ms"])
