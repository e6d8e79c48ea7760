"""Runs one step, says what it is and how long it took, and keeps its output."""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from . import expect
from .run import LOGS, OUTPUT_VARIABLE, STEP_VARIABLE, Part, Record, Run, log_file, now, seconds, shown

COULD_NOT_START = 127


def main(words: Sequence[str]) -> int:
    """The command `e2e/checks/step`."""
    parser = argparse.ArgumentParser(prog="e2e/checks/step", description=__doc__)
    parser.add_argument("--fine", type=int, metavar="STATUS", help="the exit status of a step with nothing to do")
    parser.add_argument("--at-end", action="store_true", help="run it when the run ends, however it does")
    parser.add_argument("--part", action="store_true", help="it is a part of the step that runs: only its time is kept")
    parser.add_argument("name")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args(words)
    run = Run.current()
    if arguments.at_end:
        if run is not None:
            run.at_end.write_text(json.dumps([arguments.name, arguments.command]))
        return 0
    if arguments.part:
        begun = now()
        status = subprocess.run(arguments.command, check=False).returncode
        if run is not None:
            run.tell(Part(os.environ.get(STEP_VARIABLE, ""), arguments.name, begun, now() - begun))
        return status
    # A signal to the run reaches the command by itself; its end is waited for.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return perform(run, arguments.name, arguments.command, arguments.fine)


def perform(run: Run | None, name: str, command: Sequence[str], fine: int | None = None) -> int:
    """Runs the command of a step to its end; its exit status."""
    record = Record(name, now())
    output = os.environ.get(OUTPUT_VARIABLE, "terminal") if run is not None else "terminal"
    outlook = ""
    if run is not None:
        outlook = expect.outlook(run, name)
        run.write(record)
    say(f"==> {name}{outlook}")
    record.status = _run(run, name, command, output)
    record.fine = record.status == fine
    record.seconds = now() - record.begun
    if run is not None:
        run.write(record)
    if not record.failed:
        say(f"    {name}: {'nothing to do' if record.fine else 'done'} in {seconds(record.seconds)}")
        return record.status
    log = f" Its output is in {shown(log_file(name))}" if output != "terminal" else ""
    if output == "log":
        say("\n" + log_file(name).read_text(errors="replace"))
    say(
        f"\nFAILED: {name}, after {seconds(record.seconds)} (exit status {record.status}).{log}"
        f"{':' if log else ' The command was:'}\n  {shlex.join(command)}"
    )
    return record.status


def _run(run: Run | None, name: str, command: Sequence[str], output: str) -> int:
    environment = dict(os.environ)
    if run is not None:
        environment[STEP_VARIABLE] = name
        given = environment.get("PYTEST_ADDOPTS", "")
        environment["PYTEST_ADDOPTS"] = f"{given} --junitxml={shlex.quote(str(run.report_file(name)))}".strip()
    if output == "terminal":
        return _wait(command, environment)
    LOGS.mkdir(parents=True, exist_ok=True)
    with log_file(name).open("wb") as log:
        if output == "log":
            return _wait(command, environment, log)
        if sys.stdout.isatty():
            environment |= {"CARGO_TERM_COLOR": "always", "FORCE_COLOR": "1"}
        environment.setdefault("PYTHONUNBUFFERED", "1")
        return _wait(command, environment, log, copy=True)


def _wait(command: Sequence[str], environment: dict[str, str], log: IO[bytes] | None = None, copy: bool = False) -> int:
    """Runs a program to its end; its exit status."""
    kept = None if log is None else subprocess.DEVNULL
    written = subprocess.PIPE if copy else log
    joined = None if log is None else subprocess.STDOUT
    try:
        process = subprocess.Popen(command, env=environment, stdin=kept, stdout=written, stderr=joined)
    except OSError as error:
        say(f"error: {command[0]} can't be started: {error.strerror}")
        return COULD_NOT_START
    if copy and log is not None and process.stdout is not None:
        while some := os.read(process.stdout.fileno(), 65536):
            log.write(some)
            sys.stdout.buffer.write(some)
            sys.stdout.buffer.flush()
    status = process.wait()
    return status if status >= 0 else 128 - status


def say(line: str) -> None:
    """Prints lines on standard error at once, so that those of two steps don't mix."""
    # Where nobody reads any more, what was begun has to be ended all the same.
    with suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
