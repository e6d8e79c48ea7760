"""What is kept of a run while it runs: a folder with a record a step, which the steps write and the runner reads."""

import json
import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build"
LOGS = BUILD / "logs"
RUNS = BUILD / "runs"
# Names the folder of the run to everything that the runner starts.
VARIABLE = "STEPS_RUN"
# The step that a program is part of.
STEP_VARIABLE = "STEPS_STEP"
# Where a step's output goes: `log` into its file; `both` there and to the terminal; `terminal` only there.
OUTPUT_VARIABLE = "STEPS_OUTPUT"


@dataclass
class Record:
    """A step that was begun; without a status it still runs, or was killed."""

    name: str
    begun: float
    seconds: float = 0.0
    status: int | None = None
    # What is no failure: a part of the stories of which none was selected.
    fine: bool = False

    @property
    def failed(self) -> bool:
        return self.status is not None and self.status != 0 and not self.fine


@dataclass(frozen=True)
class Part:
    """Something that a step built, fetched or started."""

    step: str
    title: str
    begun: float
    seconds: float


def slug(name: str) -> str:
    """A step's name as a file's."""
    return re.sub("[^a-z0-9]+", "-", name.lower().replace("'", "")).strip("-")


def log_file(name: str) -> Path:
    """Where a step's output is kept."""
    return LOGS / f"{slug(name)}.log"


def shown(path: Path) -> str:
    """A path as a message says it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


class Run:
    """The folder of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def current(cls) -> "Run | None":
        """The run that this process is part of."""
        folder = os.environ.get(VARIABLE)
        return cls(Path(folder)) if folder else None

    def write(self, record: Record) -> None:
        (self.folder / "steps").mkdir(parents=True, exist_ok=True)
        path = self.folder / "steps" / f"{slug(record.name)}.json"
        # Whoever reads it at this moment gets the old one or the new one.
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(asdict(record)))
        unfinished.rename(path)

    def records(self) -> list[Record]:
        """The steps that were begun, in that order."""
        found = [Record(**json.loads(path.read_text())) for path in (self.folder / "steps").glob("*.json")]
        return sorted(found, key=lambda record: record.begun)

    def report_file(self, name: str) -> Path:
        """Where pytest says, in JUnit's format, how long each test of a step took."""
        return self.folder / f"{slug(name)}.xml"

    @property
    def _parts(self) -> Path:
        return self.folder / "parts.jsonl"

    def tell(self, part: Part) -> None:
        """Keeps that something was built, fetched or started; `testcluster.reporter` and `e2e/checks/tool` do, too."""
        with self._parts.open("a") as file:
            file.write(json.dumps(asdict(part)) + "\n")

    def parts(self) -> list[Part]:
        """What was built, fetched and started, in that order."""
        lines = self._parts.read_text().splitlines() if self._parts.exists() else []
        return sorted((Part(**json.loads(line)) for line in lines), key=lambda part: part.begun)

    @property
    def at_end(self) -> Path:
        """The step that has to be made at the end, whatever comes: its name and its command."""
        return self.folder / "at-end.json"


def seconds(value: float) -> str:
    """A duration as people say it: 3.2 s, 45 s, 2 min 05 s."""
    if value < 9.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def now() -> float:
    """The clock that all processes of a run share."""
    return time.time()
