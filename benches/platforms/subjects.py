"""The five platforms as this benchmark has them: doubles of Jenkins, CircleCI and CloudWatch (`e2e/doubles`), and for
Vault and Argo CD the platform of `benches/load`, which answers as they do and looks at nothing.
"""

import json
import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benches.serving import LOAD_CORE, Load, start_load, until
from benches.support import child_setup, stop


@dataclass(frozen=True)
class Subject:
    """A platform, how a connector gets there, and a call that finds something."""

    name: str
    # Its field in `spec.platform`, and that of it which names the address.
    kind: str
    address_field: str
    port: int
    path: str
    more: dict[str, Any]
    credentials: dict[str, str]
    tool: str
    arguments: dict[str, Any]

    def platform(self, host: str) -> dict[str, Any]:
        """`spec.platform`."""
        address = f"http://{host}:{self.port}{self.path}"
        return {self.kind: {self.address_field: address, "insecureHttp": True, **self.more}}


SUBJECTS = (
    Subject(
        "CloudWatch",
        "cloudWatch",
        "endpoint",
        8201,
        "",
        {"region": "eu-central-1"},
        {"access_key_id": "AKIAplanted00planted", "secret_access_key": "planted-secret-access-key"},
        "list_cloudwatch_metrics",
        {"namespace": "AWS/EC2", "cache": False},
    ),
    Subject(
        "Jenkins",
        "jenkins",
        "url",
        8202,
        "/jenkins",
        {},
        {"user": "bot", "api_token": "planted-token"},
        "get_jenkins_job",
        {"job": "plain", "cache": False},
    ),
    Subject(
        "CircleCI",
        "circleCi",
        "url",
        8203,
        "",
        {"projects": ["gh/acme/web"]},
        {"token": "planted-token"},
        "get_circleci_flaky_tests",
        {"project_slug": "gh/acme/web", "cache": False},
    ),
    Subject(
        "Vault", "vault", "url", 8204, "", {}, {"token": "bench"}, "list_vault_secrets", {"path": "secret/after-0"}
    ),
    Subject("Argo CD", "argoCd", "url", 8205, "", {}, {"token": "bench"}, "list_argocd_apps", {"cache": False}),
)


@dataclass(frozen=True)
class Running:
    """A platform that runs."""

    subject: Subject
    # How many requests came so far.
    requests: Callable[[], int]


def run_platforms(stack: ExitStack, double: Path, program: Path) -> list[Running]:
    """Starts the platforms in the network of this process."""
    running = []
    for subject in SUBJECTS:
        if subject.name in ("Vault", "Argo CD"):
            load = start_load(stack, program, subject.port)
            running.append(Running(subject, partial(came, load)))
            continue
        admin = subject.port + 100
        words: list[str | Path] = [double, subject.name.lower(), "--listen", f"0.0.0.0:{subject.port}"]
        words += ["--url", f"http://127.0.0.1:{subject.port}", "--admin", f"127.0.0.1:{admin}"]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, preexec_fn=child_setup(LOAD_CORE))
        stack.callback(stop, process)
        running.append(Running(subject, partial(came_to_double, admin)))
    for one in running:
        until(f"{one.subject.name} answers", partial(answers, one))
    return running


def answers(one: Running) -> bool:
    """Whether a platform tells how many requests came. An OSError if it does not run yet."""
    return one.requests() >= 0


def came(load: Load) -> int:
    """How many requests came to a platform of the load program."""
    return int(load.seen()["requests"])


def came_to_double(admin: int) -> int:
    """How many requests came to a double."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/requests", timeout=10) as answer:
        return int(json.load(answer)["total"])
