"""A connector to a strict double of Jenkins: why a build failed, starting and ending one, and everything that can be wrong
with a Jenkins."""

from collections.abc import Iterator

import pytest
from testcluster import doubles

from support import platform_story
from support.agent import agent_of, error_of
from support.connector import Connector
from support.platform_story import Subject, answer, call, do, sent

JENKINS = Subject(
    double="jenkins",
    kind="jenkins",
    platform={"url": f"https://{doubles.host('jenkins')}/jenkins"},
    credentials={"user": "bot", "api_token": "planted-token"},
    rotated={"user": "bot", "api_token": "rotated-token-quokka"},
    refused_reason="AuthenticationFailed",
    asks=("get_jenkins_job", {"job": "plain", "cache": False}),
    path="job/plain",
    asks_elsewhere=("get_jenkins_build_status", {"job": "team/web", "build": 2, "cache": False}),
)
BUILD = "POST /jenkins/job/plain/build"


@pytest.fixture(scope="module")
def connector(shared_namespace: str) -> Iterator[Connector]:
    with platform_story.running(JENKINS, shared_namespace) as connector:
        yield connector


def test_an_agent_finds_out_why_a_build_failed(connector: Connector) -> None:
    status = connector.status()
    assert (status["platform"]["type"], status["platform"]["version"]) == ("jenkins", "2.528.1")
    assert "bot" in connector.condition("CredentialsAccepted")["message"]
    tools = agent_of(connector).tools()
    assert {"get_jenkins_failure_report", "trigger_jenkins_build"} <= set(tools)
    # What deletes for good must also be allowed by name.
    assert "delete_jenkins_job" not in tools

    found = answer(connector, "search_jenkins_jobs", status="failed")["items"]
    assert [job["name"] for job in found] == ["team/matrix", "team/web"]
    report = answer(connector, "get_jenkins_failure_report", job="team/web")
    assert (report["build"], report["failed_step"]["stage"]) == (2, "Test")
    assert report["failed_tests"][0]["name"] == "web.Login.refuses"
    assert report["log_tail"].endswith("error: 2 tests failed\nFinished: FAILURE")
    # Of a matrix build, the configurations that failed are looked at, which are jobs of their own.
    report = answer(connector, "get_jenkins_failure_report", job="team/matrix")
    failed = [one["job"] for one in report["failed_configurations"]]
    assert failed == ["team/matrix/jdk=21,os=linux", "team/matrix/jdk=21,os=Windows Server"]
    log = answer(connector, "get_jenkins_build_log", job=failed[0], build=5)
    assert "Finished: FAILURE of 5" in log["text"]
    matches = answer(connector, "search_jenkins_build_log", job="team/web", build=2, pattern="error")
    assert "2 tests failed" in str(matches)
    text = answer(connector, "get_jenkins_artifact", job="team/web", build=2, path="target/report.txt")
    assert "all is" in str(text)
    missing = error_of(call(connector, "get_jenkins_job", job="team/wep"))
    assert (missing["code"], "team/web" in missing["platform_words"]) == ("not_found", True)


def test_a_build_is_started_once_and_ended(connector: Connector) -> None:
    before = sent(JENKINS, BUILD)
    started = do(connector, "trigger_jenkins_build", job="plain")
    assert (started["state"], started["build"]) == ("started", 4)
    assert sent(JENKINS, BUILD) == before + 1
    running = answer(connector, "get_jenkins_build_status", job="plain", build=4)
    assert running["status"] == "running", running
    ended = do(connector, "cancel_jenkins_build", job="plain", build=4)
    assert ended["status"] == "aborted", ended


def test_parameters_are_checked_before_anything_is_sent(connector: Connector) -> None:
    wrong = error_of(call(connector, "trigger_jenkins_build", job="team/web", parameters={"ENV": "moon"}))
    assert (wrong["code"], wrong["argument"]) == ("invalid_argument", "parameters")
    assert wrong["platform_words"] == ["dev", "prod"]
    assert sent(JENKINS, "POST /jenkins/job/team/job/web/buildWithParameters") == 0


def test_one_job_that_hangs_holds_up_no_other_call(connector: Connector) -> None:
    platform_story.is_slow_in_one_place(JENKINS, connector)


def test_jenkins_is_down_and_comes_back(connector: Connector) -> None:
    platform_story.is_down_and_comes_back(JENKINS, connector)


def test_jenkins_fails_by_itself(connector: Connector) -> None:
    platform_story.fails(JENKINS, connector, "server-error", "ServerError")


def test_a_login_page_is_not_taken_for_jenkins(connector: Connector) -> None:
    platform_story.fails(JENKINS, connector, "html", "NotJenkins")


def test_a_proxy_limits_the_rate(connector: Connector) -> None:
    platform_story.limits_the_rate(JENKINS, connector)


def test_a_token_that_is_revoked_is_replaced_without_a_restart(connector: Connector) -> None:
    platform_story.is_refused_and_rotated(JENKINS, connector)
