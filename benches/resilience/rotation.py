"""How long after the kubelet has swapped the credentials the platform gets the new ones, and which calls fail."""

import time
from contextlib import ExitStack

from benches.resilience.setting import Setting
from benches.serving import configure, folder_call, mount, vault
from benches.support import percentile, say, table

RATE = 200.0
CALLERS = 64
PAUSE = 0.5


def measure(setting: Setting) -> str:
    """A table."""
    rows = []
    swaps = max(5, round(setting.seconds * setting.rounds * 2 / PAUSE))
    for name, at_once in (("goes on for a while", False), ("is refused from the swap on", True)):
        with ExitStack() as stack:
            folder, network = setting.new_folder(), setting.network(stack)
            tokens = [f"{'strict' if at_once else 'lenient'}-{number}" for number in range(swaps + 1)]
            if at_once:
                setting.load.accept(tokens[0])
            configure(folder, vault(network.load), {"token": tokens[0]}, setting.keys)
            server = setting.serve(stack, "serve", folder, network, setting.keys.token())
            seconds = PAUSE * (swaps + 2)
            plan = setting.load.plan(server, folder_call("after-5"), seconds, CALLERS, RATE)
            with setting.watched(server):
                load = setting.load.begun(plan, "calls")
                stack.callback(load.kill)
                swapped = []
                for number, token in enumerate(tokens[1:], 1):
                    time.sleep(PAUSE)
                    mount(folder / "credentials", {"token": token}, number)
                    swapped.append(time.time_ns())
                    if at_once:
                        setting.load.accept(token)
                outcomes = setting.load.outcome(load)["outcomes"]
            setting.load.accept("")
            seen = setting.load.seen()["tokens"]
            if missed := [token for token in tokens if token not in seen]:
                raise SystemExit(f"{len(missed)} of {swaps} swaps did not come to the platform")
            times = [max(0.0, (seen[token] - at) / 1e6) for token, at in zip(tokens[1:], swapped, strict=True)]
            calls = sum(outcome["count"] for outcome in outcomes.values())
            failed = {word: outcome["count"] for word, outcome in outcomes.items() if word != "answered"}
            words = ", ".join(f"{count} {word}" for word, count in failed.items())
            figures = [f"{percentile(times, share):.1f}" for share in (0.5, 0.99, 1.0)]
            say(
                f"the old credential {name}: p99 {figures[1]} ms, "
                f"{sum(failed.values())} of {calls} calls failed {words}"
            )
            rows.append([name, swaps, *figures, calls, f"{sum(failed.values())}{f' ({words})' if words else ''}"])
    head = ["the old credential", "swaps", "p50 ms", "p99 ms", "max ms", "calls", "failed"]
    return f"{RATE:.0f} calls a second, a swap every {PAUSE} s.\n\n{table(head, rows)}"
