"""A connector to a strict double of CloudWatch: which alarms fire and since when, what the logs say, muting an alarm, and
everything that can be wrong with AWS."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from testcluster import doubles

from support import kube, moto_server, platform_story
from support.agent import Endpoint, Traffic, agent_of, calling_all_the_time, error_of
from support.connector import Connector
from support.platform_story import Subject, answer, call, do, sent
from support.waiting import eventually

CLOUDWATCH = Subject(
    double="cloudwatch",
    kind="cloudWatch",
    platform={"region": "eu-central-1", "endpoint": f"https://{doubles.host('cloudwatch')}"},
    credentials={"access_key_id": "AKIAplanted00planted", "secret_access_key": "planted-secret-access-key"},
    rotated={"access_key_id": "AKIAROTATED000000001", "secret_access_key": "rotated-secret-quokka"},
    refused_reason="CredentialsInvalid",
    asks=("list_cloudwatch_metrics", {"namespace": "AWS/EC2", "cache": False}),
    path="operation/ListMetrics",
    asks_elsewhere=("list_cloudwatch_alarms", {}),
)
PUT_RULE = "POST /service/GraniteServiceVersion20100801/operation/PutAlarmMuteRule"


@pytest.fixture(scope="module")
def connector(shared_namespace: str) -> Iterator[Connector]:
    with platform_story.running(CLOUDWATCH, shared_namespace) as connector:
        yield connector


def test_an_agent_sees_what_fires_and_why(connector: Connector) -> None:
    assert connector.status()["platform"]["type"] == "cloudWatch"
    assert "arn:aws:sts::123456789012:user/reader" in connector.condition("CredentialsAccepted")["message"]
    tools = agent_of(connector).tools()
    assert {"explain_cloudwatch_alarm", "query_cloudwatch_logs", "mute_cloudwatch_alarms"} <= set(tools)

    firing = answer(connector, "list_cloudwatch_alarms", state="ALARM")["items"]
    assert {alarm["name"] for alarm in firing} == {"cpu", "site"}
    cpu = answer(connector, "explain_cloudwatch_alarm", name="cpu")
    assert (cpu["threshold"], cpu["alarm"]["since"]) == (90.0, "2026-09-21T14:13:20Z")
    assert cpu["series"][0]["points"]
    site = answer(connector, "explain_cloudwatch_alarm", name="site")
    assert [child["name"] for child in site["children"]] == ["cpu", "disk"]
    # AWS tells little of children, so their details are asked for by name.
    assert [child["actions_enabled"] for child in site["children"]] == [True, True]


def test_an_agent_reads_logs(connector: Connector) -> None:
    events = answer(connector, "filter_cloudwatch_log_events", group="/app/web", pattern="oops")["items"]
    assert [event["message"] for event in events] == ["five oops", "three oops", "one oops"]
    begun = answer(connector, "query_cloudwatch_logs", groups=["/app/web"], query="fields @message", wait_seconds=0)
    query = {"query_id": begun["query_id"]}
    ended = eventually(
        "the query has ended",
        lambda: (found := answer(connector, "get_cloudwatch_query", **query))["status"] == "Complete" and found,
    )
    assert ended["rows"][0]["@message"] == "row 0"
    wrong = error_of(call(connector, "query_cloudwatch_logs", groups=["/app/web"], query="bad query"))
    assert (wrong["code"], wrong["argument"]) == ("invalid_argument", "query")


def test_keys_are_rotated_while_agents_call(connector: Connector) -> None:
    tool, arguments = CLOUDWATCH.asks
    pods, endpoint, token = connector.pod_identities(), Endpoint.of(connector), connector.token()
    # AWS takes a few of these a second, and the connector keeps to that. Told before the story in which AWS throttles, which
    # makes the connector slower for some minutes.
    with calling_all_the_time(endpoint, token, tool, keep_alive=False, pause=0.5, **arguments) as traffic:
        eventually("calls are made", lambda: traffic.calls > 5)
        rotate(connector, traffic, CLOUDWATCH.credentials, CLOUDWATCH.rotated)
        # Back to the keys that the other stories know.
        rotate(connector, traffic, CLOUDWATCH.rotated, CLOUDWATCH.credentials)
    assert traffic.failures == []
    connector.wait_ready()
    assert connector.pod_identities() == pods


def rotate(connector: Connector, traffic: Traffic, old: dict[str, str], new: dict[str, str]) -> None:
    """As a careful person does it: the user has both keys until the old ones are used no more."""
    doubles.rotate("cloudwatch", old | {"second_access_key_id": new["access_key_id"]})
    before = connector.status()["credentials"]["revision"]
    kube.apply(connector.namespace, platform_story.credentials(CLOUDWATCH, new))

    def rotated() -> bool:
        now = connector.status()["credentials"]
        return bool(now["revision"] != before and now["loadedReplicas"] == now["replicas"])

    eventually("the new keys are in use", rotated, explain=connector.explain)
    doubles.rotate("cloudwatch", new)
    after = traffic.calls
    eventually("calls are made without the old keys", lambda: traffic.calls > after + 10)


def test_an_agent_reads_logs_of_moto(connector: Connector, namespace: str) -> None:
    # Who wrote the double has not written this one. Metrics and alarms come from the double, as moto has no CBOR.
    elsewhere = {"endpoints": {"logs": moto_server.URL, "sts": moto_server.URL}}
    subject = replace(CLOUDWATCH, platform=CLOUDWATCH.platform | elsewhere, hosts=(doubles.NODE_HOST,))
    with moto_server.running():
        other = platform_story.deploy(subject, namespace)
        assert "arn:aws:sts::123456789012:user/moto" in other.condition("CredentialsAccepted")["message"]
        groups = answer(other, "list_cloudwatch_log_groups")["items"]
        assert [group["name"] for group in groups] == [moto_server.GROUP]
        found = answer(other, "filter_cloudwatch_log_events", group=moto_server.GROUP, pattern="oops")["items"]
        assert [event["message"] for event in found] == [moto_server.MESSAGES[1]]
        rows = answer(other, "query_cloudwatch_logs", groups=[moto_server.GROUP], query="fields @message")
        assert rows["status"] == "Complete"
        assert {row["@message"] for row in rows["rows"]} == set(moto_server.MESSAGES)
        missing = error_of(call(other, "filter_cloudwatch_log_events", group="/nobody/has/this"))
        assert missing["code"] == "not_found", missing


def test_a_connector_without_credentials_proves_who_it_is(connector: Connector, namespace: str) -> None:
    # Who verifies the token's signature at AWS has the cluster's keys; the double looks at what the token says.
    aws = {"roleArn": "arn:aws:iam::123456789012:role/reader"}
    _, bundle, source, manifest = platform_story.manifests(CLOUDWATCH, namespace)
    source["spec"] = {"hosts": source["spec"]["hosts"], "workloadIdentity": {"aws": aws | {"audience": "nobody"}}}
    kube.apply(namespace, bundle, source, manifest)
    other = Connector(namespace, CLOUDWATCH.double)
    refused = other.wait_for("CredentialsAccepted", "False", "Rejected")
    assert "OIDC provider" in refused["message"]
    assert other.condition("PlatformHealthy")["reason"] == "IdentityRejected"
    assert other.condition("CredentialsLoaded")["status"] == "True"
    source["spec"]["workloadIdentity"]["aws"] = aws
    kube.apply(namespace, source)
    other.wait_ready()
    identity = f"assumed-role/reader/mcp-{CLOUDWATCH.double}.{namespace}"[: len("assumed-role/reader/") + 64]
    assert identity in other.condition("CredentialsAccepted")["message"]

    def fired() -> set[str]:
        # Nodes send calls to the pod before, which is about to go, until they have heard that it left the Service.
        found = call(other, "list_cloudwatch_alarms", state="ALARM")
        return set() if found.is_error else {alarm["name"] for alarm in found.structured_content["items"]}

    assert eventually("the pod of before answers no more", fired) == {"cpu", "site"}


def test_an_alarm_is_muted_once(connector: Connector) -> None:
    before = sent(CLOUDWATCH, PUT_RULE)
    muted = do(connector, "mute_cloudwatch_alarms", names=["disk"], minutes=30, reason="deployment")
    assert (muted["already"], sent(CLOUDWATCH, PUT_RULE)) == (False, before + 1)
    # One that fires is muted only if that is said.
    refused = error_of(call(connector, "mute_cloudwatch_alarms", names=["cpu"], minutes=30, reason="deployment"))
    assert (refused["code"], refused["argument"]) == ("conflict", "allow_firing")
    (rule,) = answer(connector, "list_cloudwatch_mute_rules")["items"]
    do(connector, "unmute_cloudwatch_alarms", rule=rule["name"])
    assert answer(connector, "list_cloudwatch_mute_rules")["items"] == []


def test_one_operation_that_hangs_holds_up_no_other_call(connector: Connector) -> None:
    platform_story.is_slow_in_one_place(CLOUDWATCH, connector)


def test_aws_is_down_and_comes_back(connector: Connector) -> None:
    platform_story.is_down_and_comes_back(CLOUDWATCH, connector)


def test_aws_fails_by_itself(connector: Connector) -> None:
    platform_story.fails(CLOUDWATCH, connector, "server-error", "ServerError")


def test_aws_throttles(connector: Connector) -> None:
    # AWS says no time.
    platform_story.limits_the_rate(CLOUDWATCH, connector, tells_time=False)


def test_keys_that_are_deactivated_are_replaced_without_a_restart(connector: Connector) -> None:
    platform_story.is_refused_and_rotated(CLOUDWATCH, connector)
