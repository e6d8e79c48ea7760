"""What the guards and the way to the platform cost, and what they hold: the cost of a call, overload, a platform that
hangs beside one that is well, callers that go away, and credentials that rotate.

Servers have one core, callers and platform the other.
"""

import argparse
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benches.resilience import cancelling, cost, isolation, overload, rotation
from benches.resilience.setting import Setting
from benches.serving import LOAD_CORE, Keys, bare_rmcp, leave_network, load_program, start_load
from benches.support import commit, end_in_order, machine, product, say, wait_until_quiet, write_results

PARTS = {
    "cost": "What it costs",
    "overload": "More calls than the platform takes",
    "isolation": "A platform that hangs beside one that is well",
    "cancelling": "Callers that go away: until the request to the platform is given up",
    "rotation": "Rotated credentials: until the platform gets the new one",
}


def main() -> None:
    """Builds, measures, reports."""
    parser = argparse.ArgumentParser(prog="python3 -m benches.resilience", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="of each round")
    parser.add_argument(
        "--only", choices=PARTS, nargs="+", default=list(PARTS), help="only these parts; not for RESULTS.md"
    )
    parser.add_argument("--binary", type=Path, help="measure this program instead of the release build")
    parser.add_argument("--load", type=Path, help="with this program of benches/load instead of a release build")
    parser.add_argument("--wait", type=float, default=600, help="seconds to wait for a quiet machine at most")
    parser.add_argument("--no-results", action="store_true", help="print, and leave RESULTS.md as it is")
    arguments = parser.parse_args()
    end_in_order()
    if os.geteuid() != 0 or (os.cpu_count() or 1) < 2:
        raise SystemExit("network namespaces need root, and the measurement two cores")
    if set(arguments.only) != set(PARTS) and not arguments.no_results:
        raise SystemExit("--only leaves parts out of RESULTS.md: say --no-results, too")
    binary, program = product(arguments.binary), load_program(arguments.load)
    rmcp = bare_rmcp() if {"cost", "overload"} & set(arguments.only) else Path()
    quiet = wait_until_quiet(arguments.wait)
    texts = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcp-bench-")))
        leave_network()
        os.sched_setaffinity(0, {LOAD_CORE})
        load = start_load(stack, program)
        setting = Setting(binary, load, folder, Keys(folder), arguments.rounds, arguments.seconds)
        for part, title in PARTS.items():
            if part not in arguments.only:
                continue
            say(part)
            match part:
                case "cost":
                    text = cost.measure(setting, rmcp)
                case "overload":
                    text = overload.measure(setting, rmcp)
                case "isolation":
                    text = isolation.measure(setting)
                case "cancelling":
                    text = cancelling.measure(setting)
                case _:
                    text = rotation.measure(setting)
            texts += ["", f"### {title}", "", text]
    others = setting.others
    about = [
        f"- `python3 -m benches.resilience --rounds {arguments.rounds} --seconds {arguments.seconds:g}`, "
        f"commit {commit(arguments.binary)}, {time.strftime('%Y-%m-%d')}",
        f"- {machine()}",
        f"- Servers on one core; callers and platform on the other. Medians of {arguments.rounds} rounds of "
        f"{arguments.seconds:g} s. Where nothing else is said, the platform answers after 5 ms.",
        f"- Noise: {quiet}; others used {statistics.median(others):.2f} cores in the median round, "
        f"{max(others):.2f} in the worst.",
    ]
    text = "\n".join([*about, *texts])
    if arguments.no_results:
        print(text)
    else:
        write_results("resilience", text)


if __name__ == "__main__":
    main()
