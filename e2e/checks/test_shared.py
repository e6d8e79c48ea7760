"""What workers share is made once, and goes with the last of them; who wants something for itself waits."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from support.shared import alone, shared, with_others


def test_the_first_makes_it_and_the_last_takes_it_away(tmp_path: Path) -> None:
    done: list[str] = []

    def make() -> str:
        done.append("made")
        return f"made {len(done)}"

    def use() -> ExitStack:
        user = ExitStack()
        got.append(user.enter_context(shared(tmp_path / "one", make, lambda: done.append("removed"))))
        return user

    got: list[str] = []
    first, second = use(), use()
    first.close()
    assert (done, got) == (["made"], ["made 1"] * 2)
    second.close()
    assert done == ["made", "removed"]
    use().close()
    assert done == ["made", "removed"] * 2


def test_what_could_not_be_made_is_tried_again(tmp_path: Path) -> None:
    def fail() -> str:
        raise OSError("not today")

    with pytest.raises(OSError, match="not today"), shared(tmp_path, fail, lambda: None):
        pass
    with shared(tmp_path, lambda: "made", lambda: None) as made:
        assert made == "made"


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
