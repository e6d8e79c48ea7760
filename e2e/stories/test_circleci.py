"""A connector to a strict double of CircleCI: why a run failed, flaky tests, starting, approving and rerunning, and
everything that can be wrong with a CircleCI."""

from collections.abc import Iterator
from typing import Any

import pytest
from testcluster import doubles

from support import platform_story
from support.agent import agent_of, error_of
from support.connector import Connector
from support.platform_story import Subject, answer, call, do, sent

PROJECT = "gh/acme/web"
CIRCLECI = Subject(
    double="circleci",
    kind="circleCi",
    platform={
        "url": f"https://{doubles.host('circleci')}",
        "projects": [PROJECT],
        "downloadHosts": [doubles.FILES_HOST],
    },
    credentials={"token": "planted-token"},
    rotated={"token": "rotated-token-quokka"},
    refused_reason="TokenInvalidOrRevoked",
    asks=("get_circleci_flaky_tests", {"project_slug": PROJECT, "cache": False}),
    path="flaky-tests",
    asks_elsewhere=(
        "get_circleci_pipeline_status",
        {"pipeline_id": "a0000000-0000-4000-8000-000000000005", "cache": False},
    ),
)
RUN = f"POST /api/v2/project/{PROJECT}/pipeline/run"


def identifier(kind: str, number: int) -> str:
    """An id of the double."""
    return f"{kind}0000000-0000-4000-8000-{number:012}"


@pytest.fixture(scope="module")
def connector(shared_namespace: str) -> Iterator[Connector]:
    with platform_story.running(CIRCLECI, shared_namespace) as connector:
        yield connector


def test_an_agent_finds_out_why_a_run_failed(connector: Connector) -> None:
    status = connector.status()
    assert (status["platform"]["type"], status["platform"]["version"]) == ("circleCi", "API v3")
    tools = agent_of(connector).tools()
    assert {"get_circleci_failure_report", "trigger_circleci_pipeline"} <= set(tools)
    assert "rollback_circleci_component" not in tools

    report = answer(connector, "get_circleci_failure_report", project_slug=PROJECT, branch="main")
    (failed,) = report["jobs"]
    assert (failed["name"], failed["step"]["exit_code"]) == ("test", 2)
    assert "über all" in failed["log"]
    assert failed["failed_tests"][0]["name"] == "divides"
    flaky = answer(connector, "get_circleci_flaky_tests", project_slug=PROJECT)["items"]
    assert (flaky[0]["name"], flaky[0]["times_flaked"]) == ("often", 9)
    # Artifacts lie on another host, which the token must not reach.
    text = answer(connector, "get_circleci_artifact", project_slug=PROJECT, job_number=32, path="out/log.txt")
    assert "line one" in str(text)
    other = error_of(call(connector, "list_circleci_runs", project_slug="gh/other/api"))
    assert other["code"] == "permission_denied" or "projects" in str(other), other


def test_a_run_is_started_once(connector: Connector) -> None:
    before = sent(CIRCLECI, RUN)
    run: dict[str, Any] = do(connector, "trigger_circleci_pipeline", project_slug=PROJECT, parameters={"env": "stage"})
    assert (run["state"], run["pipeline_number"]) == ("pending", 6)
    assert sent(CIRCLECI, RUN) == before + 1
    wrong = error_of(call(connector, "trigger_circleci_pipeline", project_slug=PROJECT, parameters={"evn": "stage"}))
    assert "env" in wrong["platform_words"], wrong
    assert sent(CIRCLECI, RUN) == before + 1


def test_a_job_is_approved_once(connector: Connector) -> None:
    workflow = identifier("b", 3)
    do(connector, "approve_circleci_job", workflow_id=workflow, job_name="hold")
    assert sent(CIRCLECI, f"POST /api/v2/workflow/{workflow}/approve/{identifier('d', 34)}") == 1
    assert answer(connector, "get_circleci_workflow", workflow_id=workflow)["workflow"]["status"] == "running"


def test_one_path_that_hangs_holds_up_no_other_call(connector: Connector) -> None:
    platform_story.is_slow_in_one_place(CIRCLECI, connector)


def test_circleci_is_down_and_comes_back(connector: Connector) -> None:
    platform_story.is_down_and_comes_back(CIRCLECI, connector)


def test_circleci_fails_by_itself(connector: Connector) -> None:
    platform_story.fails(CIRCLECI, connector, "server-error", "UpstreamError")


def test_circleci_limits_the_rate(connector: Connector) -> None:
    platform_story.limits_the_rate(CIRCLECI, connector)


def test_a_token_that_is_revoked_is_replaced_without_a_restart(connector: Connector) -> None:
    platform_story.is_refused_and_rotated(CIRCLECI, connector)
