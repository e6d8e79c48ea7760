"""What workers share is made once, and who wants it for itself waits."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from support.shared import alone, made_once, with_others


def test_the_first_makes_it(tmp_path: Path) -> None:
    done: list[str] = []

    def make() -> str:
        done.append("made")
        return f"made {len(done)}"

    assert [made_once(tmp_path / "one", make) for _ in range(3)] == ["made 1"] * 3


def test_what_could_not_be_made_is_tried_again(tmp_path: Path) -> None:
    def fail() -> str:
        raise OSError("not today")

    with pytest.raises(OSError, match="not today"):
        made_once(tmp_path, fail)
    assert made_once(tmp_path, lambda: "made") == "made"


def test_who_is_alone_waits_for_those_before_and_keeps_those_after_waiting(tmp_path: Path) -> None:
    told: list[str] = []

    def use(turn: Callable[[Path], AbstractContextManager[None]], name: str) -> threading.Thread:
        def tell() -> None:
            with turn(tmp_path / "turns"):
                told.append(name)

        thread = threading.Thread(target=tell)
        thread.start()
        # It waits, or is done.
        thread.join(0.5)
        return thread

    with with_others(tmp_path / "turns"):
        use(with_others, "beside")
        waiting = [use(alone, "alone"), use(with_others, "after")]
        told.append("before")
    for thread in waiting:
        thread.join(60)
    assert told == ["beside", "before", "alone", "after"]
