"""What stands between an agent and a tool: a rate for each caller, an end to repeated calls, kept answers, marks, and
changes that are made once."""

from typing import Any

from conftest import Deploy
from testcluster import vault

from support import vault_server
from support.agent import Endpoint, agent_of, error_of, message, post
from support.connector import Connector, changed_by_agents

WRITER = """
path "secret/data/guards/*" { capabilities = ["create", "read", "update", "patch"] }
path "secret/metadata/guards/*" { capabilities = ["read", "list"] }
path "secret/subkeys/guards/*" { capabilities = ["read"] }
path "sys/mounts" { capabilities = ["read"] }
"""


def call(connector: Connector, tool: str, **arguments: Any) -> Any:
    """One call as plain HTTP, to see its headers."""
    return post(Endpoint.of(connector), connector.token(), message("tools/call", name=tool, arguments=arguments))


def test_a_caller_that_calls_too_often_is_told_when_to_come_back(deploy: Deploy) -> None:
    subject = deploy(limits={"calls": {"perMinute": 1, "burst": 3}}).connector
    for left in ("2", "1", "0"):
        answered = call(subject, "get_vault_health")
        assert answered.json()["result"]["isError"] is False
        assert (answered.headers["x-ratelimit-limit"], answered.headers["x-ratelimit-remaining"]) == ("1", left)
    refused = call(subject, "get_vault_health")
    # Clients take another status for a broken transport.
    assert refused.status_code == 200
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    error = error_of(agent_of(subject).call("get_vault_health"))
    assert error["code"] == "rate_limited"
    assert 1 <= error["retry_after_seconds"] <= 60
    # The operator looks all the same.
    assert subject.condition("Ready")["status"] == "True"


def test_the_same_call_over_and_over_is_warned_of_and_refused(deploy: Deploy) -> None:
    subject = deploy(limits={}).connector
    agent = agent_of(subject)
    for count in range(1, 6):
        result = agent.call("list_vault_secrets", path="secret/apps")
        warned = any("repeated call" in getattr(block, "text", "") for block in result.content)
        assert (result.is_error, warned) == (False, count >= 3)
    error = error_of(agent.call("list_vault_secrets", path="secret/apps"))
    assert error["code"] == "repeated_call"
    assert agent.answer("list_vault_secrets", path="secret")["items"]
    # Made to be asked again.
    for _ in range(8):
        agent.answer("get_vault_health")


def test_what_changes_rarely_is_kept_and_said_to_be(deploy: Deploy) -> None:
    vault_server.write_policy("guards", WRITER)
    subject = deploy(token=vault_server.make_token("guards")).connector

    def kept(**arguments: Any) -> bool:
        result = call(subject, "list_vault_mounts", **arguments).json()["result"]
        assert result["isError"] is False, result
        assert result["_meta"]["mcp-connectors.io/origin"]["untrusted"] is True
        hit: bool = result["_meta"]["mcp-connectors.io/cache"]["hit"]
        return hit

    assert [kept(), kept(), kept(cache=False)] == [False, True, False]


def test_a_change_is_made_once_for_its_key(deploy: Deploy, namespace: str) -> None:
    vault_server.write_policy("guards", WRITER)
    access, tools = changed_by_agents(namespace), {"mutations": "Confirm"}
    subject = deploy(token=vault_server.make_token("guards"), access=access, tools=tools).connector
    agent = agent_of(subject)

    def version(name: str) -> int:
        try:
            found: int = vault_server.api("GET", f"secret/metadata/guards/{name}")["data"]["current_version"]
        except vault.VaultError:
            return 0
        return found

    # Of an earlier run on the same cluster.
    vault_server.delete_secret("guards/once")
    write = {"path": "secret/guards/once", "data": {"color": "blue"}}
    planned = agent.answer("write_vault_secret", **write)
    assert (planned["applied"], version("once")) == (False, 0)
    done = [agent.answer("write_vault_secret", **write, confirm=True, idempotency_key="deploy-7") for _ in range(3)]
    assert [one["applied"] for one in done] == [True, True, True]
    assert done[1] == done[2]
    assert version("once") == 1
    # Without the key, whoever has an answer and calls again means it.
    agent.answer("write_vault_secret", path="secret/guards/once", data={"color": "red"}, confirm=True)
    assert version("once") == 2
