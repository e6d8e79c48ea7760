"""What the workers of a run share: the first that needs it makes it, and some use it in turns."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path


def made_once(place: Path, make: Callable[[], str]) -> str:
    """What the first worker got when it made something, while the others waited.

    place: a folder of the run's own, which is empty when it begins.
    """
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = place / "made"
    with _locked(place / "lock", fcntl.LOCK_EX):
        if not made.exists():
            made.write_text(make())
        return made.read_text()


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
