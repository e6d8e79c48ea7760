"""Running an official conformance suite, and judging what it found by the file of expected failures."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from . import npm

SCRIPT = "@modelcontextprotocol/conformance/dist/index.js"
# Like the suites' own verdict: what a server should do and doesn't has to be named too.
FAILING = {"FAILURE", "WARNING"}


@dataclass(frozen=True)
class Suite:
    """A suite, what is run of it, against which server, and how many of its checks that passes."""

    package: str
    words: tuple[str, ...]
    revision: str
    # A check that is made no longer would go unnoticed without it.
    passed: int
    # In the name of the file of expected failures.
    server: str = "connector"
    # Scenarios that pass by any error, so that they say nothing of a server without the tool that they call.
    hollow: frozenset[str] = frozenset()

    @property
    def expected_failures(self) -> Path:
        """The file that names what the server can't pass, and why."""
        return npm.HERE / self.package / f"expected-failures-{self.server}-{self.revision}.yaml"

    def __str__(self) -> str:
        return f"{self.server}, {self.package}, {self.revision}"


@dataclass(frozen=True)
class Check:
    """One finding of a suite."""

    scenario: str
    name: str
    status: str

    def __str__(self) -> str:
        return f"{self.scenario}:{self.name}"


@dataclass(frozen=True)
class Report:
    """What a suite found."""

    suite: Suite
    checks: tuple[Check, ...]
    # The suite's own verdict, which leaves out the scenarios that it doesn't score.
    accepted: bool
    output: str

    @property
    def scenarios(self) -> list[str]:
        """All that were run."""
        return sorted({check.scenario for check in self.checks})

    @property
    def passed(self) -> list[Check]:
        """Checks that passed, and say something."""
        return [check for check in self.checks if check.status == "SUCCESS" and check.scenario not in self.suite.hollow]

    @property
    def failing(self) -> set[str]:
        """Names of the checks that failed."""
        return {str(check) for check in self.checks if check.status in FAILING}

    @property
    def expected(self) -> set[str]:
        """What may fail: names of scenarios in 0.1, of checks in 0.2."""
        return set(yaml.safe_load(self.suite.expected_failures.read_text())["server"])

    @property
    def unexpected(self) -> list[str]:
        """Failures that no entry names."""
        return sorted(name for name in self.failing if not {name, name.partition(":")[0]} & self.expected)

    @property
    def stale(self) -> list[str]:
        """Entries of which nothing failed."""
        scenarios = {name.partition(":")[0] for name in self.failing}
        return sorted(self.expected - self.failing - scenarios)

    @property
    def silent(self) -> list[str]:
        """Scenarios that show as passed, and of which no check tells anything."""
        telling = {check.scenario for check in self.passed} | {name.partition(":")[0] for name in self.failing}
        return [scenario for scenario in self.scenarios if scenario not in telling]

    def __str__(self) -> str:
        # In 0.2 each scenario also checks the form of all messages.
        forms = sum(check.name == "wire-schema-valid" for check in self.passed)
        lines = [
            f"{self.suite}: {len(self.scenarios)} scenarios; "
            f"checks: {len(self.passed)} passed ({forms} of them of the messages' form), "
            f"{len(self.failing) - len(self.unexpected)} failed as expected, {len(self.unexpected)} unexpectedly; "
            f"{len(self.stale)} expected failures passed"
        ]
        lines += [f"  without a check that tells anything: {', '.join(self.silent)}"] if self.silent else []
        lines += [f"  unexpected: {name}" for name in self.unexpected]
        lines += [f"  passes or is gone, and stands in {self.suite.expected_failures.name}: {n}" for n in self.stale]
        return "\n".join(lines)


def run(suite: Suite, url: str, results: Path) -> Report:
    """Runs a suite against a server."""
    options = ("--expected-failures", str(suite.expected_failures), "--output-dir", str(results))
    words = (*npm.program(suite.package, SCRIPT), "server", "--url", url, *suite.words, *options)
    done = subprocess.run(words, timeout=300, text=True, capture_output=True, check=False)
    checks = tuple(check for folder in sorted(results.iterdir()) for check in _read(folder))
    return Report(suite, checks, done.returncode == 0, done.stdout + done.stderr)


def _read(folder: Path) -> list[Check]:
    scenario = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", folder.name.removeprefix("server-"))
    checks = folder / "checks.json"
    if not checks.exists():
        # A scenario that broke off. The suite counts it as one failed check of the scenario's name.
        return [Check(scenario, scenario, "FAILURE")]
    return [Check(scenario, check["id"], check["status"]) for check in json.loads(checks.read_text())]
