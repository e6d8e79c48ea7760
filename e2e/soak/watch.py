"""What is looked at while the load goes on: memory, files, sockets and threads of the process, and what is made of it."""

import os
from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1024 * 1024
# What memory may grow by in an hour once everything is warm, beside what an allocator makes of the same load.
GROWTH_PER_HOUR, NOISE = 1 * MEBIBYTE, 2 * MEBIBYTE
# Files, sockets and threads come and go with load.
SPARE = 8
# The share of the time after which everything that fills up has filled up.
WARM = 0.4


@dataclass(frozen=True)
class Sample:
    """How a process is at a time."""

    seconds: float
    rss: int
    files: int
    sockets: int
    threads: int


def sample(pid: int, seconds: float) -> Sample:
    """Looks at a process. Raises an OSError when it has gone."""
    folder = Path("/proc") / str(pid)
    status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
    links = []
    for entry in (folder / "fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except FileNotFoundError:
            continue
    sockets = sum(link.startswith("socket:") for link in links)
    rss = int(status["VmRSS"].removesuffix(" kB")) * 1024
    return Sample(seconds, rss, len(links), sockets, int(status["Threads"]))


def slope(points: list[tuple[float, float]]) -> float:
    """The slope of the line that fits best, by least squares."""
    count = len(points)
    x_mean = sum(x for x, _ in points) / count
    y_mean = sum(y for _, y in points) / count
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / spread if spread else 0.0


def judge(samples: list[Sample]) -> tuple[list[str], list[str]]:
    """What is to be said of the samples, and what is wrong with them."""
    warm = [one for one in samples if one.seconds >= WARM * samples[-1].seconds]
    if len(warm) < 10:
        return [], [f"only {len(warm)} samples after the warm-up: too few to judge by"]
    time = warm[-1].seconds - warm[0].seconds
    per_second = slope([(one.seconds, float(one.rss)) for one in warm])
    growth, allowed = per_second * time, NOISE + GROWTH_PER_HOUR * time / 3600
    from_to = f"{warm[0].rss / MEBIBYTE:.1f} MiB to {warm[-1].rss / MEBIBYTE:.1f} MiB"
    told = [f"memory: {from_to} in {time:.0f} s; slope {per_second * 3600 / MEBIBYTE:+.2f} MiB/h"]
    wrong = []
    if growth > allowed:
        wrong.append(f"memory grew by {growth / MEBIBYTE:.1f} MiB; {allowed / MEBIBYTE:.1f} MiB are allowed")
    third = len(warm) // 3
    for name in ("files", "sockets", "threads"):
        first = max(getattr(one, name) for one in warm[:third])
        last = max(getattr(one, name) for one in warm[-third:])
        told.append(f"{name}: at most {first} in the first third, {last} in the last")
        if last > first + SPARE:
            wrong.append(f"{name} grew from {first} to {last}")
    return told, wrong
