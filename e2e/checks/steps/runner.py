"""Runs a goal of the Makefile: looks first whether it can succeed, tells what runs, and where the time went."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any

from . import expect, locks, preflight, report
from .run import OUTPUT_VARIABLE, ROOT, RUNS, VARIABLE, Run, log_file, now, seconds, shown
from .step import perform, say

HEARTBEAT_SECONDS = 30.0
# Stories take away what they made before they end.
PATIENCE_SECONDS = 60.0
# These use the cluster or the whole machine, and there is one of each.
ALONE = {"test", "check", "e2e", "demo"}
# These are for people to look at, not to search in.
SHOWS = {"demo", "try"}
COULD_NOT_BEGIN = 2
STOPPED = 130


class Stopped(Exception):
    """Somebody wants the run to end."""


def run_goal(goal: str, command: Sequence[str]) -> int:
    """Runs the command that makes a goal, from the first look to the report."""
    with stoppable():
        try:
            return _run_goal(goal, command)
        except Stopped:
            return STOPPED


def _run_goal(goal: str, command: Sequence[str]) -> int:
    begun = now()
    holder = {"pid": os.getpid(), "checkout": str(ROOT), "goal": goal, "begun": begun}
    wait = os.environ.get("WAIT", "0") not in {"", "0"}
    in_own_cluster = goal != "demo" or not preflight.given_cluster()
    kept: list[IO[str]] = []
    try:
        if goal in ALONE and in_own_cluster:
            kept.append(locks.take(locks.machine_lock(), holder, wait))
        left_over = remove_stale_runs()
        run = Run(RUNS / str(os.getpid()))
        run.folder.mkdir(parents=True)
        kept.append(locks.take(run.folder / "lock", holder, wait=False))
    except locks.Busy as error:
        say(f"error: make {goal} can't begin: {error}")
        return COULD_NOT_BEGIN
    try:
        problems = preflight.problems(goal, cleaned=left_over is not None) if in_own_cluster else []
        for warning in (problem for problem in problems if not problem.fatal):
            say(f"warning: {warning}")
        if fatal := [problem for problem in problems if problem.fatal]:
            say(f"error: make {goal} can't begin:\n" + "\n".join(f"  - {problem}" for problem in fatal))
            return COULD_NOT_BEGIN
        kind = preflight.kind()
        plan = {"goal": goal, "kind": kind, "like": expect.like(kind), "begun": begun}
        (run.folder / "plan.json").write_text(json.dumps(plan))
        status = follow(run, goal, command, left_over, holder, kept)
        told = report.summary(run, report.Ended(goal, kind, begun, now() - begun, status))
        tell(told, plan["like"])
        return status
    finally:
        shutil.rmtree(run.folder, ignore_errors=True)


def remove_stale_runs() -> list[Any] | None:
    """Forgets the runs that were killed; the step that one of them would have made at its end, if it left one."""
    at_end = None
    for folder in sorted(RUNS.glob("*")):
        if locks.held(folder / "lock"):
            continue
        run = Run(folder)
        running = [record.name for record in run.records() if record.status is None]
        say(f"an earlier run was killed (process {folder.name}{', in: ' + ', '.join(running) if running else ''})")
        if run.at_end.exists():
            at_end = json.loads(run.at_end.read_text())
        shutil.rmtree(folder)
    return at_end


def follow(
    run: Run,
    goal: str,
    command: Sequence[str],
    left_over: list[Any] | None,
    holder: dict[str, Any],
    kept: list[IO[str]],
) -> int:
    """Runs the command to its end, and what has to be done at the end."""
    many = goal in expect.WHOLE
    verbose = os.environ.get("VERBOSE", "0") not in {"", "0"}
    output = "terminal" if goal in SHOWS else "log" if many and not verbose else "both"
    os.environ |= {VARIABLE: str(run.folder), OUTPUT_VARIABLE: output}
    # What the outer make was told about its jobs is not for the inner one. Variables are in the environment, too.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        os.environ.pop(name, None)
    status = 0
    try:
        if left_over is not None:
            say("the run that was killed left its cluster; it may be in any state, so a new one is started")
            status = perform(run, *left_over)
        if status == 0:
            status = watch(run, command, holder, kept)
    except Stopped:
        status = STOPPED
    try:
        if run.at_end.exists():
            status = perform(run, *json.loads(run.at_end.read_text())) or status
    except Stopped:
        status = STOPPED
    return status or int(any(record.failed for record in run.records()))


def watch(run: Run, command: Sequence[str], holder: dict[str, Any], kept: list[IO[str]]) -> int:
    """Starts the command in a group of its own, and says every now and then what runs."""
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(run, over), daemon=True)
    # The locks are held for as long as something of the run lives, even if this process is killed.
    descriptors = [file.fileno() for file in kept]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=descriptors, process_group=0
    ) as process:
        try:
            beat.start()
            for file in kept:
                locks.note(file, {**holder, "group": process.pid})
            return process.wait()
        except Stopped:
            say("stopping what runs; once more to stop it at once")
            _stop(process)
            raise
        finally:
            over.set()
            beat.join()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    for number, patience in ((signal.SIGINT, PATIENCE_SECONDS), (signal.SIGTERM, 10.0), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(Stopped, subprocess.TimeoutExpired):
            process.wait(patience)
            return


@contextmanager
def stoppable() -> Iterator[None]:
    """Makes every signal that asks for an end the same, so that nothing is left behind."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, stop) for number in asked]
    try:
        yield
    finally:
        for number, handler in zip(asked, before, strict=True):
            signal.signal(number, handler)


def _beat(run: Run, over: threading.Event) -> None:
    expectation = expect.Expectation(run)
    begun = now()
    while not over.wait(HEARTBEAT_SECONDS):
        running = []
        for record in run.records():
            if record.status is None:
                expected = expectation.of_step(record.name)
                of = "" if expected is None else f" of about {seconds(expected)}"
                running.append(f"{record.name} ({seconds(now() - record.begun)}{of})")
        left = expectation.left()
        rest = "" if left is None else f"; about {seconds(left)} left in all" if left >= 1 else "; longer than expected"
        if running:
            say(f"[{seconds(now() - begun)}] {', '.join(running)}{rest}")


def tell(told: dict[str, Any], like: str) -> None:
    """Prints the report, keeps it, and remembers the times of what passed."""
    as_json, as_table = report.keep(told)
    if told["goal"] in expect.WHOLE:
        say("\n" + report.table(told).rstrip())
    else:
        say(f"\nmake {told['goal']}: {seconds(told['seconds'])}; where they went: {shown(as_table)}")
    for complaint in report.complaints(told):
        say(complaint)
    if told["goal"] in expect.WHOLE:
        say(f"(also in {shown(as_table)} and {shown(as_json)}; outputs in {shown(log_file('x').parent)})")
    passed = {step["name"]: step["seconds"] for step in told["steps"] if step["result"] == "passed"}
    if told["status"] == 0:
        passed[expect.goal_key(told["goal"])] = told["seconds"]
    if told["status"] == 0 or told["goal"] in expect.WHOLE:
        with suppress(OSError):
            expect.remember(like, passed)


def newest_report() -> Path | None:
    """The table of the run that ended last."""
    found = sorted(report.BUILD.glob("times*.md"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def print_times() -> int:
    """Prints the last report again."""
    newest = newest_report()
    if newest is None:
        say("error: nothing was run in this checkout yet")
        return 1
    sys.stdout.write(newest.read_text())
    return 0
