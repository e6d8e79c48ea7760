"""Running other programs, with errors that say which one failed and why."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import ClusterError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ERROR_LINES = 20


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """Runs a program to its end and returns its standard output."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input="" if stdin is None else stdin,
            capture_output=True,
            text=True,
            env=dict(env) if env is not None else None,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{words[0]} did not end within {timeout:g}s") from error
    if done.returncode != 0:
        raise ClusterError(failure(words, done.returncode, done.stderr or done.stdout))
    return done.stdout


def failure(argv: Sequence[str], code: int, output: str) -> str:
    """Describes a failed program: its first words, its code, its last lines."""
    tail = "\n".join(output.strip().splitlines()[-ERROR_LINES:])
    return f"{' '.join(argv[:4])} ended with {code}: {tail}"


def tail(path: Path, lines: int) -> str:
    """The last lines of a log file."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return "(no log was written)"
    return "\n".join(text.splitlines()[-lines:])
