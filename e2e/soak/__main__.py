"""Soaks a connector and says how it went: `make soak`, or `make soak DURATION=10m RATE=100`."""

import argparse
import re
import sys

from soak.soaking import soak

UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """A time such as 90s, 10m or 1h."""
    match = re.fullmatch(r"(\d+)([smh])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 10m or 1h")
    return int(match.group(1)) * UNITS[match.group(2)]


def main() -> int:
    """Runs it. 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--duration", type=seconds, default=seconds("1h"), help="how long, 1h by default")
    parser.add_argument("--rate", type=float, default=200.0, help="calls a second, 200 by default")
    options = parser.parse_args()
    report = soak(options.duration, options.rate)
    print(report)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
