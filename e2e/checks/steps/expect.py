"""How long a step takes: what it may, by the file of budgets, and what it took last time on this machine."""

import json
import os
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .run import ROOT, Run, now, seconds

FILE = Path(__file__).with_name("budgets.toml")
# The goals that are made of many steps.
WHOLE = ("test", "check", "e2e")


@dataclass(frozen=True)
class Budgets:
    """The file of budgets; kind is `cached` or `fresh`."""

    kind: str
    file: Path = FILE

    @cached_property
    def _content(self) -> dict[str, dict[str, dict[str, object]]]:
        return tomllib.loads(self.file.read_text())

    def of_step(self, name: str) -> float | None:
        return self._number(self._content["steps"].get(name))

    def of_goal(self, goal: str) -> float | None:
        return self._number(self._content["goals"].get(goal))

    def planned(self, goal: str) -> list[str]:
        """The steps of a goal that is made of many."""
        if goal not in WHOLE:
            return []
        return [name for name, entry in self._content["steps"].items() if goal == "test" or goal in _goals(entry)]

    def _number(self, entry: dict[str, object] | None) -> float | None:
        return None if entry is None else float(str(entry[self.kind]))


def _goals(entry: dict[str, object]) -> list[object]:
    goals = entry["goals"]
    return goals if isinstance(goals, list) else [goals]


def cache() -> Path:
    """Where this user's machine keeps what all checkouts share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mcp-connectors"


def like(kind: str) -> str:
    """By what the times of earlier runs are told apart: what was built on the machine, and whether in this checkout."""
    return kind if (ROOT / "target").exists() else f"{kind}, nothing compiled"


def last_times() -> dict[str, dict[str, float]]:
    """What goals and steps took when they last passed on this machine, by what they found there."""
    try:
        found: dict[str, dict[str, float]] = json.loads((cache() / "times.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def remember(found: str, times: dict[str, float]) -> None:
    """Keeps what a run took, for the next one."""
    known = last_times()
    known[found] = known.get(found, {}) | times
    cache().mkdir(parents=True, exist_ok=True)
    unfinished = cache() / f".times.json.{os.getpid()}"
    unfinished.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    unfinished.rename(cache() / "times.json")


def goal_key(goal: str) -> str:
    """A goal's name among the names of steps."""
    return f"make {goal}"


class Expectation:
    """What the steps of a run are expected to take."""

    def __init__(self, run: Run) -> None:
        self._run = run
        plan = json.loads((run.folder / "plan.json").read_text())
        self.goal: str = plan["goal"]
        self._begun: float = plan["begun"]
        self._budgets = Budgets(plan["kind"])
        self._last = last_times().get(plan["like"], {})

    def of_step(self, name: str) -> float | None:
        return self._last.get(name, self._budgets.of_step(name))

    def left(self) -> float | None:
        """How long the whole run still takes; never less than what is to come would take side by side on two lanes."""
        whole = self._last.get(goal_key(self.goal), self._budgets.of_goal(self.goal))
        if whole is None:
            return None
        records = {record.name: record for record in self._run.records()}
        still = [0.0]
        for name in self._budgets.planned(self.goal):
            record = records.get(name)
            if record is not None and record.status is not None:
                continue
            elapsed = 0.0 if record is None else now() - record.begun
            still.append(max((self.of_step(name) or 0.0) - elapsed, 0.0))
        return max(whole - (now() - self._begun), sum(still) / 2, max(still))


def outlook(run: Run, name: str) -> str:
    """How long a step that begins takes, and the run."""
    expectation = Expectation(run)
    step, left = expectation.of_step(name), expectation.left()
    said = "" if step is None else f", about {seconds(step)}"
    return said if left is None else f"{said}; about {seconds(left)} left in all"
