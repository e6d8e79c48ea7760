"""The checkout, and programs that are run."""

import functools
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "e2e" / "cluster" / "cluster"


class ProgramError(Exception):
    """A program ended with an error; the text is what it said."""

    def __init__(self, words: tuple[str, ...], status: int, output: str, errors: str) -> None:
        super().__init__(f"{' '.join(words)} ended with exit status {status}:\n{errors.strip() or output.strip()}")
        self.errors = errors


def run(
    *words: str | Path,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    timeout: float = 300,
) -> str:
    """Runs a program and returns what it prints."""
    argv = tuple(str(word) for word in words)
    done = subprocess.run(
        argv,
        input=stdin,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=timeout,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise ProgramError(argv, done.returncode, done.stdout, done.stderr)
    return done.stdout


@functools.cache
def programs() -> Path:
    """The folder of this checkout's compiled programs, which are compiled first if they are not up to date."""
    return Path(run(ROOT / "e2e" / "checks" / "programs", timeout=1800).strip())


def cluster_environment() -> dict[str, str]:
    """KUBECONFIG of the test cluster, and a PATH with kubectl, helm and vault in it."""
    environment: dict[str, str] = {}
    for line in run(CLUSTER, "env").splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        environment[name] = value.strip('"').replace('"', "").replace("$PATH", os.environ["PATH"])
    return environment
