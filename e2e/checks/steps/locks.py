"""One run at a time on a machine. A lock goes with the processes that hold it, so that none is ever left over."""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import IO, Any

from .run import seconds
from .step import say

HEARTBEAT_SECONDS = 30.0


class Busy(Exception):
    """Another run holds the lock."""


def machine_lock() -> Path:
    """The lock of all of this user's checkouts, whatever their caches and temporary folders are."""
    return Path(f"/tmp/mcp-connectors-{os.getuid()}.lock")


def take(path: Path, holder: dict[str, Any], wait: bool) -> IO[str]:
    """Takes a lock and writes down who holds it; it is held until the file is closed, also by those who inherit it."""
    file = path.open("a+")
    begun = said = time.monotonic()
    while not _try(file):
        found = read(file)
        if not wait:
            file.close()
            raise Busy(describe(found))
        if said == begun or time.monotonic() - said >= HEARTBEAT_SECONDS:
            said = time.monotonic()
            say(f"waiting for {name(found)}, for {seconds(said - begun)} so far")
        time.sleep(0.5)
    note(file, holder)
    return file


def _try(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held(path: Path) -> bool:
    """Whether a process holds a lock."""
    try:
        with path.open("a+") as file:
            return not _try(file)
    except FileNotFoundError:
        return False


def note(file: IO[str], holder: dict[str, Any]) -> None:
    """Writes down who holds the lock."""
    file.seek(0)
    file.truncate()
    file.write(json.dumps(holder))
    file.flush()


def read(file: IO[str]) -> dict[str, Any]:
    """Who holds a lock, as far as it was written down."""
    file.seek(0)
    try:
        found: dict[str, Any] = json.loads(file.read())
    except ValueError:
        return {}
    return found


def name(holder: dict[str, Any]) -> str:
    """What the holder of a lock is called."""
    return f"`make {holder.get('goal', '…')}` of {holder.get('checkout', 'another checkout')}"


def describe(holder: dict[str, Any]) -> str:
    """Says who holds the lock, and what can be done about it."""
    pid, group = holder.get("pid"), holder.get("group")
    alive = pid is not None and Path(f"/proc/{pid}").exists()
    since = f", for {seconds(time.time() - holder['begun'])}" if "begun" in holder else ""
    if alive:
        return (
            f"{name(holder)} runs (process {pid}{since}). Two at once would disturb each other. Wait for it, here with "
            f"WAIT=1, or stop it: kill {pid}"
        )
    stop = f"kill -- -{group}" if group else "see `ps f`"
    return f"{name(holder)} was killed (process {pid}), but what it began still runs. Stop that: {stop}"
