"""The runner of make's goals, on a Makefile of its own: what it tells, what it keeps, and how it ends."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rendering import ROOT
from steps import expect, locks, report
from steps.run import Record, Run, seconds, slug

# Long enough for a busy machine: it only means that something hangs.
HANGS_SECONDS = 90

# Replaced are the lock, which the run of these tests may hold, what is looked at before, and the time between news.
DRIVER = """\
import sys
from pathlib import Path

sys.path.insert(0, "e2e/checks")
from steps import locks, preflight, runner

locks.machine_lock = lambda: Path("machine.lock")
preflight.problems = lambda goal, cleaned=False: []
runner.HEARTBEAT_SECONDS = 0.3
sys.exit(runner.run_goal(sys.argv[1], ["make", "--no-print-directory", "-j2", sys.argv[1]]))
"""


class Checkout:
    """A checkout with the runner and another Makefile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "e2e" / "checks" / "steps", folder / "e2e" / "checks" / "steps")
        shutil.copy(ROOT / "e2e" / "checks" / "step", folder / "e2e" / "checks" / "step")
        shutil.copytree(ROOT / "e2e" / "cluster", folder / "e2e" / "cluster")
        (folder / "driver.py").write_text(DRIVER)
        self.budgets()

    def makefile(self, **steps: str) -> None:
        """Writes the rules of `check`: a step's name, and its command behind those that it waits for."""
        lines = [f"check: {' '.join(steps)}", f".PHONY: check {' '.join(steps)}"]
        for name, words in steps.items():
            before, _, command = words.rpartition(":")
            lines.append(f"{name}: {before}\n\t@e2e/checks/step {name} bash -c '{command.strip()}'")
        (self.folder / "Makefile").write_text("\n".join(lines) + "\n")

    def budgets(self, **steps: float) -> None:
        """Writes a file of budgets."""
        lines = [
            "[goals]",
            "check = { cached = 1, fresh = 1 }",
            "[steps]",
            *(f'"{name}" = {{ goals = "check", cached = {may}, fresh = {may} }}' for name, may in steps.items()),
        ]
        (self.folder / "e2e/checks/steps/budgets.toml").write_text("\n".join(lines))

    def start(self, goal: str = "check", **environment: str) -> "subprocess.Popen[str]":
        given = {name: value for name, value in os.environ.items() if not name.startswith(("STEPS_", "MAKE", "MFLAGS"))}
        given |= {"XDG_CACHE_HOME": str(self.folder / "cache"), "VERBOSE": "", "WAIT": "", **environment}
        return subprocess.Popen(
            [sys.executable, "driver.py", goal],
            cwd=self.folder,
            env=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, goal: str = "check", **environment: str) -> tuple[int, str]:
        """Runs a goal to its end; the exit status and everything that was said."""
        return end_of(self.start(goal, **environment))

    def told(self, goal: str = "check") -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder / "build" / f"times-{goal}.json").read_text())
        return told

    def results(self) -> dict[str, str]:
        return {step["name"]: step["result"] for step in self.told()["steps"]}

    def wait_for(self, file: str) -> None:
        """Waits until a step has made a file."""
        wait_until((self.folder / file).exists)


def end_of(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """The exit status and everything that is said until then."""
    try:
        said, _ = process.communicate(timeout=HANGS_SECONDS)
        return process.returncode, said
    finally:
        process.kill()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANGS_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def running(checkout: Checkout) -> Iterator["subprocess.Popen[str]"]:
    """A run with a step that doesn't end by itself."""
    checkout.makefile(long="touch begun; exec sleep 600")
    with checkout.start() as process:
        checkout.wait_for("begun")
        yield process
        process.terminate()
        process.communicate(timeout=HANGS_SECONDS)


def test_a_run_tells_and_keeps_where_its_time_went(checkout: Checkout) -> None:
    checkout.makefile(first="echo of the first", second="first: echo of the second")
    checkout.budgets(first=60, second=60)
    status, said = checkout.run()
    assert status == 0
    assert re.search(r"==> first, about 1 min 00 s; about .* left in all", said)
    assert "    first: done in" in said
    assert "of the first" not in said
    assert (checkout.folder / "build/logs/first.log").read_text() == "of the first\n"
    assert [step["name"] for step in checkout.told()["steps"]] == ["first", "second"]
    assert (checkout.folder / "build/times-check.md").read_text().rstrip() in said
    assert list((checkout.folder / "build/runs").iterdir()) == []


def test_the_next_run_expects_what_the_last_one_took(checkout: Checkout) -> None:
    checkout.makefile(first="sleep 0.2")
    checkout.budgets(first=60)
    assert checkout.run()[0] == 0
    assert re.search(r"==> first, about 0\.\d s", checkout.run()[1])


def test_steps_of_two_lanes_run_at_once_and_it_is_said_what_runs(checkout: Checkout) -> None:
    wait = "until [[ -e {} ]]; do sleep 0.05; done"
    checkout.makefile(
        one=f"touch one; {wait.format('two')}; sleep 0.8",
        two=f"touch two; {wait.format('one')}; sleep 0.8",
    )
    status, said = checkout.run()
    assert status == 0
    assert re.search(r"^\[.* s\] (one|two) \(.* s\), (one|two) \(", said, re.MULTILINE)


def test_a_failed_step_is_shown_whole_and_nothing_new_begins(checkout: Checkout) -> None:
    checkout.makefile(
        beside="until [[ -e failed ]]; do sleep 0.05; done; sleep 0.5; echo still > ended",
        bad="echo why it failed; touch failed; exit 3",
        later="bad beside: echo never",
    )
    checkout.budgets(bad=60, beside=60, later=60)
    status, said = checkout.run()
    assert status != 0
    assert "why it failed\n" in said
    assert "FAILED: bad, after" in said
    assert "(exit status 3). Its output is in build/logs/bad.log" in said
    assert "NOT RUN: later" in said
    assert (checkout.folder / "ended").exists()
    assert checkout.results() == {"bad": "failed (3)", "beside": "passed", "later": "not run"}


def test_what_takes_longer_than_it_may_is_said_and_is_no_failure(checkout: Checkout) -> None:
    checkout.makefile(slow="sleep 1.2", quick="true")
    checkout.budgets(slow=0.1, quick=60)
    status, said = checkout.run()
    assert status == 0
    assert re.search(r"^OVER BUDGET: slow took 1\.\d s of 0\.1 s, 1\d\d\d%$", said, re.MULTILINE)
    assert re.search(r"^OVER BUDGET: make check took .* of 1\.0 s", said, re.MULTILINE)
    assert "OVER BUDGET: quick" not in said


def test_what_could_not_be_checked_is_said_at_the_end_and_is_no_failure(checkout: Checkout) -> None:
    checkout.makefile(
        blind=r'printf "NOT CHECKED\072 nobody told\nand more\n"', sees=r'printf "it was NOT CHECKED\072 no\n"'
    )
    status, said = checkout.run()
    assert status == 0
    assert re.search(r"^NOT CHECKED: blind: nobody told$", said, re.MULTILINE)
    assert re.search(r"^\| blind .* \| not checked *\|$", said, re.MULTILINE)
    assert "NOT CHECKED: sees" not in said


def test_verbose_shows_output_as_it_comes(checkout: Checkout) -> None:
    checkout.makefile(first="echo of the first")
    assert "of the first\n" in checkout.run(VERBOSE="1")[1]


def test_a_single_step_shows_its_output_and_is_kept(checkout: Checkout) -> None:
    checkout.makefile(first="echo of the first")
    status, said = checkout.run("first")
    assert status == 0
    assert "of the first\n" in said
    assert [step["result"] for step in checkout.told("first")["steps"]] == ["passed"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_what_it_began_and_does_what_has_to_be_done(
    checkout: Checkout, number: signal.Signals
) -> None:
    down = 'e2e/checks/step --at-end "take it down" touch taken-down'
    checkout.makefile(long=f"{down}; echo $$$$ > begun.new; mv begun.new begun; exec sleep 600", later="long: true")
    checkout.budgets(long=60, later=60)
    process = checkout.start()
    checkout.wait_for("begun")
    process.send_signal(number)
    status, said = end_of(process)
    assert status == 130
    assert not Path("/proc", (checkout.folder / "begun").read_text().strip()).exists()
    assert (checkout.folder / "taken-down").exists()
    assert "NOT RUN: later" in said
    assert checkout.results()["take it down"] == "passed"


def test_what_has_to_be_done_at_the_end_is_done_after_a_failure(checkout: Checkout) -> None:
    checkout.makefile(bad='e2e/checks/step --at-end "take it down" touch taken-down; exit 1')
    assert checkout.run()[0] != 0
    assert (checkout.folder / "taken-down").exists()


def test_a_second_run_is_refused_and_told_of_the_first(
    checkout: Checkout, running: "subprocess.Popen[str]"
) -> None:
    status, said = checkout.run()
    assert status == 2
    assert f"`make check` of {checkout.folder} runs (process {running.pid}" in said
    assert f"kill {running.pid}" in said and "WAIT=1" in said


def test_a_second_run_waits_if_it_is_told_to(checkout: Checkout, running: "subprocess.Popen[str]") -> None:
    second = checkout.start(WAIT="1")
    assert second.stdout is not None
    assert "waiting for `make check`" in second.stdout.readline()
    checkout.makefile(long="true")
    running.terminate()
    status, said = end_of(second)
    assert status == 0
    assert "long: done" in said


def test_what_a_killed_run_began_is_noticed_as_long_as_it_runs(
    checkout: Checkout, running: "subprocess.Popen[str]"
) -> None:
    running.kill()
    running.wait(HANGS_SECONDS)
    status, said = checkout.run()
    assert status == 2
    assert f"was killed (process {running.pid}), but what it began still runs" in said
    group = re.search(r"kill -- -(\d+)", said)
    assert group is not None
    os.killpg(int(group[1]), signal.SIGTERM)
    checkout.makefile(long="true")
    wait_until(lambda: not locks.held(checkout.folder / "machine.lock"))
    status, said = checkout.run()
    assert status == 0
    assert f"an earlier run was killed (process {running.pid}" in said


def test_the_cluster_of_a_killed_run_is_taken_away_first(checkout: Checkout) -> None:
    stale = Run(checkout.folder / "build" / "runs" / "1")
    stale.write(Record("stories", begun=1.0))
    stale.at_end.write_text(json.dumps(["take it down", ["touch", "taken-down"]]))
    checkout.makefile(first="[[ -e taken-down ]]")
    status, said = checkout.run()
    assert status == 0, said
    assert "an earlier run was killed (process 1, in: stories)" in said
    assert list(checkout.results()) == ["take it down", "first"]


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    script = f"""
import sys, time; sys.path.insert(0, {str(ROOT / "e2e" / "checks")!r})
from pathlib import Path
from steps import locks
kept = locks.take(Path({str(path)!r}), {{"goal": "test", "checkout": "/there"}}, wait=False)
print("held", flush=True); time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert locks.held(path)
        with pytest.raises(locks.Busy, match="`make test` of /there"):
            locks.take(path, {}, wait=False)
        holder.kill()
    locks.take(path, {}, wait=False).close()


def test_the_slowest_tests_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unit-tests.log").write_text(
        "test a::quick ... ok <0.001s>\ntest a::slow ... \x1b[32mok\x1b[0m <2.500s>\n"
        "test b - should panic ... ok <0.700s>\ntest c ... ignored\n"
    )
    monkeypatch.setattr(report, "log_file", lambda name: tmp_path / f"{slug(name)}.log")
    run = Run(tmp_path)
    case = '<testcase classname="test_vault" name="test_{}" time="{}"/>'
    run.report_file("stories alone").write_text(f"<testsuites>{case.format('a', 3)}{case.format('b', 9)}</testsuites>")
    run.report_file("without a cluster").write_text("<testsuites><testcase classname='test_cut_off'")
    found = report.slowest(run, [Record(name, 0.0) for name in ("unit tests", "stories alone", "without a cluster")])
    assert found == {
        "unit tests": [("a::slow", 2.5), ("b", 0.7)],
        "stories": [("test_vault::test_b", 9.0), ("test_vault::test_a", 3.0)],
    }


def test_parts_of_a_step_are_told(checkout: Checkout) -> None:
    checkout.makefile(first='e2e/checks/step --part "making tea" sleep 1.1')
    assert checkout.run()[0] == 0
    [part] = checkout.told()["parts"]
    assert (part["step"], part["title"]) == ("first", "making tea")


def test_durations_are_said_as_people_say_them() -> None:
    said = [seconds(value) for value in (0.04, 9.94, 9.96, 59.6, 125)]
    assert said == ["0.0 s", "9.9 s", "10 s", "1 min 00 s", "2 min 05 s"]


def test_every_step_of_the_makefile_has_a_budget_and_every_budget_a_step() -> None:
    for goal in expect.WHOLE:
        told = subprocess.run(
            ["make", "--dry-run", goal],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "STEPS_RUN": "somewhere"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        if goal != "check":
            assert "e2e/run stories" in told
            told += (ROOT / "e2e/stories/run").read_text() + (ROOT / "e2e/run").read_text()
        steps = set(re.findall(r'(?:e2e/checks/step(?: --at-end)?|^tell) "([^"]+)"', told, re.MULTILINE))
        for kind in ("cached", "fresh"):
            budgets = expect.Budgets(kind)
            assert set(budgets.planned(goal)) == steps
            assert all(budgets.of_step(step) for step in steps)
            assert budgets.of_goal(goal)
