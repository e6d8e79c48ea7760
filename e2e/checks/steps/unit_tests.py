"""Runs Rust's tests: two test programs at once, because many of them wait most of their time, each with how long its tests took."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .expect import cache
from .run import ROOT, now, seconds

CARGO = ROOT / "e2e" / "checks" / "cargo"
AT_ONCE = 2
COULD_NOT_START = 127
# Rust's test harness has the times as an unstable option, which the variable allows. It is set for the test programs only, since the
# compiler would compile everything anew for it.
TIMED = ("-Z", "unstable-options", "--report-time")
ALLOWED = {"RUSTC_BOOTSTRAP": "1"}
# With one of these, Cargo leaves out the tests in documentation.
TARGETS = ("--lib", "--bin", "--bins", "--test", "--tests", "--bench", "--benches", "--example", "--examples", "--all-targets")


@dataclass(frozen=True)
class Program:
    """A command that runs tests, and where."""

    name: str
    words: tuple[str, ...]
    folder: Path
    environment: dict[str, str]


def main(arguments: Sequence[str]) -> int:
    """The command `e2e/checks/unit-tests`: the arguments are those of `cargo test`, behind `--` those of the test programs."""
    selection, given = list(arguments), []
    if "--" in selection:
        place = selection.index("--")
        selection, given = selection[:place], selection[place + 1 :]
    listing = [CARGO, "test", *selection, "--no-run", "--message-format", "json-render-diagnostics"]
    built = subprocess.run(listing, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        return built.returncode
    programs = test_programs(built.stdout, given)
    if not programs:
        print("error: there are no tests", file=sys.stderr)
        return 1
    if not any(word.split("=")[0] in TARGETS for word in selection):
        words = (str(CARGO), "test", *selection, "--doc", *(("--", *given) if given else ()))
        programs.append(Program("documentation", words, ROOT, {}))
    return run_all(programs, cache() / "unit-tests.json")


def test_programs(messages: str, given: Sequence[str]) -> list[Program]:
    """What Cargo says that it has built, as it would run it itself."""
    found = []
    for line in messages.splitlines():
        message = json.loads(line)
        if message["reason"] != "compiler-artifact" or not message["profile"]["test"] or not message["executable"]:
            continue
        folder, target = Path(message["manifest_path"]).parent, message["target"]
        # What a part of its tests took says nothing of all.
        name = " ".join((f"{folder.relative_to(ROOT)}: {target['name']} ({target['kind'][0]})", *given))
        environment = ALLOWED | {"CARGO": "cargo", "CARGO_MANIFEST_DIR": str(folder)}
        found.append(Program(name, (message["executable"], *TIMED, *given), folder, environment))
    return found


def run_all(programs: Sequence[Program], remembered: Path) -> int:
    """Runs the programs, those first that took longest before; after a failure the others run all the same. The exit status of all.

    remembered: the file that has what each took.
    """
    before = last_times(remembered)
    order = sorted(programs, key=lambda program: -before.get(program.name, float("inf")))
    failed: list[str] = []
    took: dict[str, float] = {}
    printing = threading.Lock()

    def run(program: Program) -> None:
        begun = now()
        status, output = run_one(program)
        with printing:
            took[program.name] = now() - begun
            print(f"     Running {program.name}, {seconds(took[program.name])}\n{output}", flush=True)
            if status != 0:
                failed.append(f"{program.name} (exit status {status}): {' '.join(program.words)}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(run, order))
    if failed:
        print("error: tests failed in\n  " + "\n  ".join(failed), file=sys.stderr)
        return 1
    with suppress(OSError):
        remember(remembered, before | took)
    return 0


def run_one(program: Program) -> tuple[int, str]:
    """Runs a program to its end: its exit status, and what it writes."""
    try:
        done = subprocess.run(
            program.words,
            cwd=program.folder,
            env=os.environ | program.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        return COULD_NOT_START, f"error: {program.words[0]} can't be started: {error.strerror}\n"
    return done.returncode, done.stdout


def last_times(file: Path) -> dict[str, float]:
    """What each program took when all last passed on this machine."""
    try:
        found: dict[str, float] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found


def remember(file: Path, took: dict[str, float]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(took, indent=1, sort_keys=True) + "\n")
    unfinished.rename(file)
