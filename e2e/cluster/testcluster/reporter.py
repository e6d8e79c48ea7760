"""Progress on standard error: what is being done, for how long, how long still."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

HEARTBEAT_SECONDS = 15.0


def duration(seconds: float) -> str:
    """Writes a duration the way people say it: 3.2s, 45s, 2m05s."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


class Reporter:
    """Prints one line when a step begins, one when it ends and some in between."""

    def __init__(self, stream: TextIO = sys.stderr, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._stream = stream
        self._heartbeat = heartbeat
        self._started = time.monotonic()

    def say(self, message: str) -> None:
        """Prints a line with the time since the program's start."""
        elapsed = duration(time.monotonic() - self._started)
        print(f"[{elapsed:>6}] {message}", file=self._stream, flush=True)

    @contextmanager
    def step(self, title: str, expected: float | None = None, later: float = 0.0) -> Iterator[None]:
        """Reports one step; `later` is the expected time of the steps after it."""
        begun = time.monotonic()
        self.say(title + _outlook(0, expected, later))
        over = threading.Event()
        beat = threading.Thread(
            target=self._beat, args=(over, title, begun, expected, later), daemon=True
        )
        beat.start()
        try:
            yield
        except BaseException:
            self.say(f"{title}: stopped after {duration(time.monotonic() - begun)}")
            raise
        else:
            took = time.monotonic() - begun
            self.say(f"{title}: done in {duration(took)}")
            _keep(title, took)
        finally:
            over.set()
            beat.join()

    def _beat(
        self,
        over: threading.Event,
        title: str,
        begun: float,
        expected: float | None,
        later: float,
    ) -> None:
        while not over.wait(self._heartbeat):
            elapsed = time.monotonic() - begun
            self.say(f"{title}: {duration(elapsed)}{_outlook(elapsed, expected, later)}")


def _keep(title: str, took: float) -> None:
    """Tells the run of make that this is a part of what was built, fetched or started."""
    run = os.environ.get("STEPS_RUN")
    if run and Path(run).is_dir():
        step = os.environ.get("STEPS_STEP", "")
        part = {"step": step, "title": title, "begun": time.time() - took, "seconds": took}
        with (Path(run) / "parts.jsonl").open("a") as file:
            file.write(json.dumps(part) + "\n")


def _outlook(elapsed: float, expected: float | None, later: float) -> str:
    if expected is None:
        return ""
    of = f" of about {duration(expected)}" if elapsed else f", about {duration(expected)}"
    left = max(expected - elapsed, 0) + later
    return f"{of}; about {duration(left)} left in all" if left else f"{of}; longer than expected"
