"""moto, which answers as CloudWatch Logs and STS do: a second opinion beside the double. It runs on the node, and knows no
CBOR, so metrics and alarms can't be asked of it."""

import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPSConnection
from typing import Any

from testcluster import doubles
from testcluster.settings import NODE_ADDRESS

from .machine import ROOT, run
from .waiting import eventually

PORT = 18443
URL = f"https://{doubles.NODE_HOST}"
REGION = "eu-central-1"
GROUP = "/app/shop"
STREAM = "one"
MESSAGES = ("started", "oops: the basket is empty", "stopped")


@contextmanager
def running() -> Iterator[None]:
    """A moto that pods reach at `URL`, with a log group in it."""
    program = run(ROOT / "e2e" / "checks" / "tool", "moto_server", timeout=600).strip()
    certificate, key = doubles.certificate()
    words = [program, "-H", NODE_ADDRESS, "-p", str(PORT), "-c", str(certificate), "-k", str(key)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            doubles.expose(PORT)
            eventually("moto listens", _listens, 60)
            _fill()
            yield
        finally:
            server.terminate()


def _listens() -> bool:
    try:
        _call("DescribeLogGroups", {})
    except (OSError, HTTPException):
        return False
    return True


def _fill() -> None:
    _call("CreateLogGroup", {"logGroupName": GROUP})
    _call("CreateLogStream", {"logGroupName": GROUP, "logStreamName": STREAM})
    now = int(time.time() * 1000)
    events = [{"timestamp": now - 60_000 + number, "message": text} for number, text in enumerate(MESSAGES)]
    _call("PutLogEvents", {"logGroupName": GROUP, "logStreamName": STREAM, "logEvents": events})


def _call(operation: str, body: dict[str, Any]) -> None:
    """Calls CloudWatch Logs from this machine. moto looks into the signature for the service only."""
    scope = f"AKIA/20260101/{REGION}/logs/aws4_request"
    headers = {
        "x-amz-target": f"Logs_20140328.{operation}",
        "content-type": "application/x-amz-json-1.1",
        "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
    }
    context = ssl.create_default_context(cafile=doubles.ca_file())
    # The certificate is for the name that pods have for it.
    context.check_hostname = False
    connection = HTTPSConnection(NODE_ADDRESS, PORT, timeout=10, context=context)
    try:
        connection.request("POST", "/", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, f"{operation}: {answer.status} {text}"
    finally:
        connection.close()
