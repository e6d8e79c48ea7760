"""Says where the time of a run went: a table for people, the same as JSON, and what went over its budget."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .expect import WHOLE, Budgets
from .run import BUILD, Part, Record, Run, log_file, seconds

SLOWEST = 15
# What is shorter says nothing about where time goes.
SHORTEST_TEST = 0.1
SHORTEST_PART = 1.0
RUST_TEST = re.compile(
    r"^test (?P<name>.+?)(?: - should panic)? \.\.\. (?:ok|FAILED) <(?P<seconds>[0-9.]+)s>$", re.MULTILINE
)
# What a step says that could not look at what it should, and that fails for nothing else.
NOT_CHECKED = re.compile(r"^NOT CHECKED: (.+)$", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Tests = dict[str, list[tuple[str, float]]]


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    goal: str
    kind: str
    begun: float
    seconds: float
    status: int


def files(goal: str) -> tuple[Path, Path]:
    """Where the report of a goal is kept, as JSON and as a table; that of `make test` has the shortest names."""
    name = "times" if goal == "test" else f"times-{goal}"
    return BUILD / f"{name}.json", BUILD / f"{name}.md"


def slowest(run: Run, records: Iterable[Record]) -> Tests:
    """The slowest tests of each sort, by the output of Rust's tests and the reports of pytest."""
    found: Tests = {"unit tests": [], "checks": [], "stories": []}
    for record in records:
        report = run.report_file(record.name)
        found["unit tests"] += [(test["name"], float(test["seconds"])) for test in RUST_TEST.finditer(_output(record))]
        if report.exists():
            sort = "stories" if record.name.startswith("stories") else "checks"
            found[sort] += pytest_times(report)
    long = {sort: [test for test in tests if test[1] >= SHORTEST_TEST] for sort, tests in found.items()}
    return {sort: sorted(tests, key=lambda test: -test[1])[:SLOWEST] for sort, tests in long.items() if tests}


def _output(record: Record) -> str:
    """What a step printed; nothing if it ran to a terminal, of which there is no log, or one of another run."""
    log = log_file(record.name)
    if not log.exists() or log.stat().st_mtime < record.begun:
        return ""
    return COLOUR.sub("", log.read_text(errors="replace"))


def pytest_times(report: Path) -> list[tuple[str, float]]:
    """How long each test took, with what was made ready for it and taken away after it."""
    try:
        cases = ElementTree.parse(report).getroot().iter("testcase")
    except ElementTree.ParseError:
        # pytest was stopped while it wrote.
        return []
    return [(f"{case.get('classname', '')}::{case.get('name', '')}", float(case.get("time", 0))) for case in cases]


def summary(run: Run, ended: Ended) -> dict[str, Any]:
    """What is kept as JSON."""
    budgets = Budgets(ended.kind)
    records = run.records()
    names = {record.name for record in records}
    steps: list[dict[str, Any]] = [
        {
            "name": record.name,
            "seconds": round(record.seconds, 1),
            "began_after": round(record.begun - ended.begun, 1),
            "budget": budgets.of_step(record.name),
            "result": _result(record),
            "not_checked": NOT_CHECKED.findall(_output(record)),
        }
        for record in records
    ]
    steps += [
        {"name": name, "seconds": 0.0, "budget": budgets.of_step(name), "result": "not run"}
        for name in budgets.planned(ended.goal)
        if name not in names
    ]
    return {
        "goal": ended.goal,
        "kind": ended.kind,
        "begun": round(ended.begun),
        "seconds": round(ended.seconds, 1),
        "budget": budgets.of_goal(ended.goal),
        "status": ended.status,
        "steps": steps,
        "slowest": slowest(run, records),
        "parts": [
            {"step": part.step, "title": part.title, "seconds": round(part.seconds, 1)}
            for part in _parts(run, ended.goal)
        ],
    }


def _parts(run: Run, goal: str) -> list[Part]:
    """What was built, fetched and started; of a goal that is made of many steps, the parts that took longest."""
    parts = [part for part in run.parts() if part.seconds >= SHORTEST_PART]
    longest = sorted(parts, key=lambda part: -part.seconds)[: SLOWEST if goal in WHOLE else None]
    return [part for part in parts if part in longest]


def _result(record: Record) -> str:
    if record.status is None:
        return "stopped"
    if record.fine:
        return "nothing to do"
    return "passed" if record.status == 0 else f"failed ({record.status})"


def table(told: dict[str, Any]) -> str:
    """A summary for people; Markdown."""
    rows = [(step["name"], _took(step), _budget(step), _share(step), _remark(step)) for step in told["steps"]]
    rows.append(("**all of it**", _took(told), _budget(told), _share(told), ""))
    on = {"cached": "with programs that were built before", "fresh": "with programs to build"}[told["kind"]]
    text = f"# make {told['goal']}: {seconds(told['seconds'])} ({on})\n\n"
    text += _markdown(("step", "took", "budget", "share", ""), rows)
    for sort, tests in told["slowest"].items():
        slow = [(name, seconds(took)) for name, took in tests]
        text += f"\nThe slowest {sort}:\n\n" + _markdown((sort, "took"), slow)
    if told["parts"]:
        parts = [(part["title"], seconds(part["seconds"]), part["step"]) for part in told["parts"]]
        text += "\nBuilt, fetched and started:\n\n" + _markdown(("what", "took", "by"), parts)
    return text


def _remark(step: dict[str, Any]) -> str:
    if step["result"] != "passed":
        return str(step["result"])
    return "not checked" if step.get("not_checked") else ""


def _took(entry: dict[str, Any]) -> str:
    return "" if entry.get("result") == "not run" else seconds(entry["seconds"])


def _budget(entry: dict[str, Any]) -> str:
    return "" if entry["budget"] is None else seconds(entry["budget"])


def _share(entry: dict[str, Any]) -> str:
    return "" if not entry["budget"] or not _took(entry) else f"{entry['seconds'] / entry['budget']:.0%}"


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    # Numbers stand to the right.
    right = [name in {"took", "budget", "share"} for name in head]

    def line(row: tuple[str, ...]) -> str:
        cells = [
            cell.rjust(width) if of_numbers else cell.ljust(width)
            for cell, width, of_numbers in zip(row, widths, right, strict=True)
        ]
        return f"| {' | '.join(cells)} |\n"

    rule = "|".join(
        f"{'-' * (width + 1)}:" if of_numbers else "-" * (width + 2)
        for width, of_numbers in zip(widths, right, strict=True)
    )
    return line(head) + f"|{rule}|\n" + "".join(line(row) for row in rows)


def complaints(told: dict[str, Any]) -> list[str]:
    """What has to be said loudly: what failed, what was not run or not checked, and what took longer than it may."""
    lines = []
    for step in told["steps"]:
        if step["result"].startswith("failed") or step["result"] == "stopped":
            lines.append(f"{step['result'].split()[0].upper()}: {step['name']}, after {seconds(step['seconds'])}")
    if left_out := [step["name"] for step in told["steps"] if step["result"] == "not run"]:
        lines.append(f"NOT RUN: {', '.join(left_out)}")
    for step in told["steps"]:
        lines += [f"NOT CHECKED: {step['name']}: {why}" for why in step.get("not_checked", [])]
    goal = {**told, "name": f"make {told['goal']}"}
    for entry in [*told["steps"], goal]:
        if entry["budget"] and entry["seconds"] > entry["budget"]:
            lines.append(
                f"OVER BUDGET: {entry['name']} took {seconds(entry['seconds'])} of {seconds(entry['budget'])}, "
                f"{_share(entry)}"
            )
    return lines


def keep(told: dict[str, Any]) -> tuple[Path, Path]:
    """Writes the report down."""
    as_json, as_table = files(told["goal"])
    BUILD.mkdir(exist_ok=True)
    as_json.write_text(json.dumps(told, indent=1) + "\n")
    as_table.write_text(table(told))
    return as_json, as_table
