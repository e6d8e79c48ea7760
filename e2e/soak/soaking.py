"""One connector to the double of Jenkins under load, while the double fails now and then."""

import itertools
import math
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from local import program
from soak.load import Load
from soak.watch import Sample, judge, sample

FAULTS: tuple[dict[str, object], ...] = (
    {"mode": "server-error"},
    {"mode": "down"},
    {"mode": "slow", "seconds": 1},
    {"mode": "html"},
    {"mode": "rate-limited", "seconds": 1},
)
# How long the double fails, and how long a round is in which it does so once. In a short soak rounds are shorter, so that
# it fails in each way.
FAULT_SECONDS, ROUND_SECONDS = 0.2, 20.0
# Time in which what was open for the load has to be closed.
REST = 30.0
# No guard of the connector is to spare it the work.
LIMITS = """\
  limits:
    calls: {perMinute: 60000, burst: 10000}
    repeats: {enabled: false}
    platform: {breaker: {consecutiveFailures: 20}}
"""


@dataclass
class Report:
    """What was seen, and what is wrong."""

    told: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([*self.told, *(f"WRONG: {problem}" for problem in self.wrong)])


def soak(duration: float, rate: float) -> Report:
    """Soaks a connector for some seconds, with so many calls a second."""
    jenkins = program.Running(program.DOUBLE, "jenkins", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    try:
        faults = jenkins.wait_for(r"faults at (\S+)").group(1)
        url = jenkins.wait_for(r"the platform at (\S+)").group(1)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "connector.yaml").write_text(program.manifests(url) + LIMITS)
            Path(folder, "secret.yaml").write_text(program.secret())
            with program.local("-f", folder) as running:
                running.wait_for(r"^ci/jenkins: Ready=True Ready")
                endpoint = running.wait_for(r"^ci/jenkins: serving at (\S+)").group(1)
                return _soak(running.process.pid, endpoint, faults, duration, rate)
    finally:
        jenkins.end()


def _soak(pid: int, endpoint: str, faults: str, duration: float, rate: float) -> Report:
    report = Report()
    before = sample(pid, 0)
    begun = time.monotonic()
    with Load(endpoint, rate) as load:
        samples = _watch(pid, faults, begun, duration)
    took = time.monotonic() - begun
    after = _rest(pid, before, took)
    told, wrong = judge(samples)
    calls = sum(load.outcomes.values())
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(load.outcomes.items()))
    report.told = [f"{calls} calls in {took:.0f} s, {calls / took:.0f} a second: {outcomes}", *told]
    report.wrong = wrong
    if load.seconds:
        times = sorted(load.seconds)
        at = [times[min(len(times) - 1, math.floor(share * len(times)))] * 1000 for share in (0.5, 0.99)]
        report.told.append(f"times: median {at[0]:.1f} ms, 99th percentile {at[1]:.1f} ms")
    report.told.append(f"sockets: {before.sockets} before the load, {after.sockets} after it")
    if after.sockets > before.sockets + 4:
        report.wrong.append(f"{after.sockets - before.sockets} sockets are left {REST:.0f} s after the load")
    for outcome, count in load.outcomes.items():
        if outcome.startswith(("broken", "unexpected")):
            report.wrong.append(f"{count} calls {outcome}")
    if not any(outcome.startswith("failed") for outcome in load.outcomes):
        report.wrong.append("no call failed, so the double's faults were not felt")
    if load.outcomes["answered"] < 0.5 * calls:
        report.wrong.append("fewer than half of the calls were answered")
    return report


def _watch(pid: int, faults: str, begun: float, duration: float) -> list[Sample]:
    """Looks at the process until the time is up, and has the double fail now and then."""
    samples = []
    pause = min(max(duration / 500, 0.2), 10.0)
    turns = itertools.cycle(FAULTS)
    round_ = min(ROUND_SECONDS, duration / len(FAULTS))
    next_fault = round_ / 4
    while (now := time.monotonic() - begun) < duration:
        samples.append(sample(pid, now))
        if now >= next_fault:
            next_fault += round_
            program.put_fault(faults, next(turns))
            time.sleep(FAULT_SECONDS)
            program.put_fault(faults, {"mode": "up"})
        time.sleep(pause)
    return samples


def _rest(pid: int, before: Sample, seconds: float) -> Sample:
    """How the process is when the load has ended: as before, or as it is when there was time enough."""
    end = time.monotonic() + REST
    while (now := sample(pid, seconds)).sockets > before.sockets + 4 and time.monotonic() < end:
        time.sleep(0.5)
    return now
