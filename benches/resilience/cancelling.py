"""How long after a caller has gone the platform's request is given up, whose answer would never have come."""

import json
from contextlib import ExitStack

from benches.resilience.setting import Setting
from benches.serving import LIMITS, PLATFORM_LIMITS, configure, folder_call, until, vault
from benches.support import percentile, say, table

CALLS = 200
# Calls at a time, and the milliseconds after which their callers go away: time enough to come to the platform.
PATIENCE = {1: 30, 100: 1000}


def measure(setting: Setting) -> str:
    """A table."""
    rows = []
    with ExitStack() as stack:
        folder, network = setting.new_folder(), setting.network(stack)
        limits = {**LIMITS, "platform": {**PLATFORM_LIMITS, "maxConcurrentRequests": 256}}
        configure(folder, vault(network.load), {"token": "bench"}, setting.keys, limits=limits)
        server = setting.serve(stack, "serve", folder, network, setting.keys.token())
        for index, (at_once, patience) in enumerate(PATIENCE.items()):
            plan = {"endpoint": server.endpoint(), "body": json.dumps(folder_call("hang-NUMBER"))}
            plan |= {"first": index * CALLS, "calls": CALLS, "at_once": at_once, "patience_ms": patience}
            with setting.watched(server):
                left = setting.load.told("cancel", plan)
                until("all requests are given up", lambda: setting.load.seen()["hanging"] == 0)
            given_up = setting.load.seen()["given_up"]
            if missing := [number for number in left if f"hang-{number}" not in given_up]:
                raise SystemExit(f"{len(missing)} calls had not come to the platform when they were given up")
            times = [(given_up[f"hang-{number}"] - at) / 1e6 for number, at in left.items()]
            if min(times) < 0:
                raise SystemExit("a request was given up before its caller had gone")
            figures = [percentile(times, share) for share in (0.5, 0.99, 1.0)]
            say(f"{at_once} at once: p99 {figures[1]:.2f} ms")
            rows.append([CALLS, at_once, *(f"{figure:.2f}" for figure in figures)])
    return table(["calls", "given up at once", "p50 ms", "p99 ms", "max ms"], rows)
