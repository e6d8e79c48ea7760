"""What the workers of a run share: the first that needs it makes it, the last takes it away, and some use it in turns."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def shared(place: Path, make: Callable[[], str], remove: Callable[[], None]) -> Iterator[str]:
    """Something that there is while a worker uses it: the first makes it, and what it returned is what all get.

    place: a folder of the run's own, which is empty when it begins.
    """
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    made, users = place / "made", place / "users"
    with _locked(place / "lock", fcntl.LOCK_EX):
        if not users.exists():
            made.write_text(make())
            users.touch()
        _add(users, 1)
    try:
        yield made.read_text()
    finally:
        with _locked(place / "lock", fcntl.LOCK_EX):
            if _add(users, -1) == 0:
                users.unlink()
                remove()


@contextlib.contextmanager
def with_others(place: Path) -> Iterator[None]:
    """Time in which nobody has something for itself."""
    with _in_turn(place, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def alone(place: Path) -> Iterator[None]:
    """Time in which nobody else uses something."""
    with _in_turn(place, fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def _in_turn(place: Path, how: int) -> Iterator[None]:
    """Holds a lock. Whoever waits for it keeps those who come later from getting it first."""
    with contextlib.ExitStack() as held:
        with _locked(place.with_name(f"{place.name}-queue"), fcntl.LOCK_EX):
            held.enter_context(_locked(place, how))
        yield


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield


def _add(users: Path, more: int) -> int:
    count = int(users.read_text() or 0) + more
    users.write_text(str(count))
    return count
