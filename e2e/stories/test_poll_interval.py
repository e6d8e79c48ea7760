"""The operator asks connectors every 15 s by default, and an outage is told within the time that the README promises.
In all other stories it asks more often."""

import re
import time
from pathlib import Path

import yaml

from support import scripted_platform
from support.connector import PROBE
from support.install import Image
from support.machine import ROOT
from support.operator import Operator
from support.scripted_platform import CREDENTIALS

DEFAULT = yaml.safe_load((ROOT / "charts" / "mcp-connectors" / "values.yaml").read_text())["pollInterval"]
POLL_SECONDS = 15
# failureThreshold x interval + timeout, and one poll.
PROMISED_SECONDS = 2 * 5 + 2 + POLL_SECONDS
POLLS = 4
NAME = "promised"


def test_an_outage_is_told_within_the_promised_time(
    own_operator: Operator, own_namespace: str, image: Image, tmp_path: Path
) -> None:
    assert (DEFAULT, PROBE) == (f"{POLL_SECONDS}s", {"interval": "5s", "timeout": "2s"})
    own_operator.install(image, {"pollInterval": DEFAULT})
    with scripted_platform.running(tmp_path, own_namespace, NAME) as platform:
        (connector,) = platform.deploy(CREDENTIALS, NAME)
        # What a new connector is looked at for is over by then.
        time.sleep(POLL_SECONDS)
        before, version = looks(own_operator), connector.object()["metadata"]["resourceVersion"]
        time.sleep(POLLS * POLL_SECONDS)
        # A look may come a little early, and those of a busy machine come late.
        assert 1 <= looks(own_operator) - before <= 2 * POLLS
        assert connector.object()["metadata"]["resourceVersion"] == version

        platform.does(NAME, "dead")
        connector.wait_for("PlatformHealthy", "False", timeout=PROMISED_SECONDS)
        assert connector.condition("Ready")["status"] == "False"
        platform.does(NAME, "well")
        connector.wait_ready(PROMISED_SECONDS)


def looks(operator: Operator) -> int:
    """How often the operator's replicas have looked at a connector."""
    pattern = r'^controller_runtime_reconcile_total\{.*controller="mcpconnector".*\} (\d+)'
    return sum(int(count) for text in operator.metrics().values() for count in re.findall(pattern, text, re.MULTILINE))
