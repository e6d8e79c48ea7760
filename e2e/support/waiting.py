"""Waiting for something to become true: by looking again and again, and telling what is seen when it takes too long."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

# What a busy machine adds to anything: a story is about what happens, not about how fast the machine is.
BUSY_SECONDS = 60


def eventually(
    what: str,
    look: Callable[[], Found | None],
    timeout: float = 60,
    interval: float = 0.5,
    explain: Callable[[], str] = lambda: "",
) -> Found:
    """Looks until there is something (anything true), and returns it.

    timeout: how long it may take where the machine is idle.
    """
    begun = time.monotonic()
    while True:
        if found := look():
            print(f"  {time.monotonic() - begun:5.1f} s: {what}", flush=True)
            return found
        if time.monotonic() - begun > timeout + BUSY_SECONDS:
            raise AssertionError(f"not within {timeout:g} s and {BUSY_SECONDS} s more: {what}\n{explain()}")
        time.sleep(interval)


def throughout(what: str, holds: Callable[[], bool], seconds: float, interval: float = 0.5) -> None:
    """Looks for some time, in which it must always hold."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert holds(), f"no longer: {what}"
        time.sleep(interval)
