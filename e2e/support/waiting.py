"""Waiting for something to become true: by looking at each change, or else again and again, and telling what is seen
when it takes too long."""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

Found = TypeVar("Found")
State = TypeVar("State")

# What a busy machine adds to anything: a story is about what happens, not about how fast the machine is.
BUSY_SECONDS = 60


def eventually(
    what: str,
    look: Callable[[], Found | None],
    timeout: float = 60,
    interval: float = 0.2,
    explain: Callable[[], str] = lambda: "",
) -> Found:
    """Looks until there is something (anything true), and returns it.

    timeout: how long it may take where the machine is idle.
    """
    begun = time.monotonic()
    while True:
        if found := look():
            _tell(what, begun)
            return found
        if time.monotonic() - begun > timeout + BUSY_SECONDS:
            raise AssertionError(_too_late(what, timeout, explain))
        time.sleep(interval)


def as_it_changes(
    what: str,
    states: Callable[[float], Iterable[State]],
    look: Callable[[State], Found | None],
    timeout: float = 60,
    explain: Callable[[], str] = lambda: "",
) -> Found:
    """Looks at each state until there is something (anything true) in one, and returns it.

    states: those that come within some seconds, beginning with the present one.
    timeout: as of `eventually`.
    """
    begun = time.monotonic()
    for state in states(timeout + BUSY_SECONDS):
        if found := look(state):
            _tell(what, begun)
            return found
    raise AssertionError(_too_late(what, timeout, explain))


def _tell(what: str, begun: float) -> None:
    print(f"  {time.monotonic() - begun:5.1f} s: {what}", flush=True)


def _too_late(what: str, timeout: float, explain: Callable[[], str]) -> str:
    return f"not within {timeout:g} s and {BUSY_SECONDS} s more: {what}\n{explain()}"


def throughout(what: str, holds: Callable[[], bool], seconds: float, interval: float = 0.5) -> None:
    """Looks for some time, in which it must always hold."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert holds(), f"no longer: {what}"
        time.sleep(interval)
