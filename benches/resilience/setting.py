"""What the parts of this benchmark get: programs, folders, networks, and a look at the processors meanwhile."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from benches.serving import PLATFORM_PORT, Keys, Load, Network, Server, add_network, serve, start
from benches.support import cpu_seconds, machine_busy, say, stolen

BARE_PORT = 9001
# Seconds of a round that the hypervisor may take, and how often rounds are made again in search of such.
HARMLESS, ATTEMPTS = 0.02, 10

Seen = TypeVar("Seen")


@dataclass
class Setting:
    """The programs, and how long they are measured."""

    program: Path
    load: Load
    folder: Path
    keys: Keys
    rounds: int
    seconds: float
    # Cores that others used in each round.
    others: list[float] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def new_folder(self) -> Path:
        """A folder of a server's own."""
        return self.folder / f"server-{next(self._numbers)}"

    def network(self, stack: ExitStack) -> Network:
        """A network of a server's own."""
        return add_network(stack, next(self._numbers))

    def serve(self, stack: ExitStack, name: str, folder: Path, network: Network, token: str | None = None) -> Server:
        """`serve` with what was configured in a folder."""
        return serve(stack, self.program, name, folder, network, token)

    @contextmanager
    def watched(self, server: Server) -> Iterator["Used"]:
        """Looks at what a server uses meanwhile, and notes what others do."""
        used = Used()
        pids = (server.process.pid, self.load.platform.pid)
        begun, before, busy, children = time.monotonic(), [cpu_seconds(pid) for pid in pids], machine_busy(), spent()
        yield used
        after = [cpu_seconds(pid) for pid in pids]
        used.cpu = after[0] - before[0]
        others = machine_busy() - busy - (sum(after) - sum(before)) - (spent() - children)
        self.others.append(max(0.0, others) / (time.monotonic() - begun))


@dataclass
class Used:
    """What a server used."""

    cpu: float = 0.0


def spent() -> float:
    """CPU seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def undisturbed(wanted: int, measure: Callable[[], Seen]) -> tuple[list[Seen], float]:
    """So many rounds of which the hypervisor took nothing to speak of, or those of which it took least; and the seconds that
    it took of one of them at most. What it takes at a time is longer than what is measured.
    """
    seen: list[tuple[float, Seen]] = []
    while len(seen) < wanted * ATTEMPTS and sum(lost <= HARMLESS for lost, _ in seen) < wanted:
        before = stolen()
        found = measure()
        seen.append((stolen() - before, found))
        say(f"{found} {seen[-1][0] * 1e3:.0f} ms taken by the hypervisor")
    kept = sorted(seen, key=lambda one: one[0])[:wanted]
    return [found for _, found in kept], kept[-1][0]


def bare_server(setting: Setting, stack: ExitStack, rmcp: Path) -> Server:
    """The same tool on bare rmcp, among the programs of a folder."""
    network = setting.network(stack)
    platform = f"http://{network.load}:{PLATFORM_PORT}"
    words: list[str | Path] = [rmcp / "bare-rmcp", f"{network.server}:{BARE_PORT}", platform]
    return start(stack, "bare rmcp", words, network, BARE_PORT, setting.folder / "errors")


def only_answered(report: dict[str, Any], what: str) -> dict[str, Any]:
    """The times of calls, all of which must have been answered."""
    outcomes = dict(report["outcomes"])
    answered = outcomes.pop("answered", None)
    if outcomes or answered is None:
        raise SystemExit(f"{what}: not every call was answered: {report['outcomes']}")
    return dict(answered)
