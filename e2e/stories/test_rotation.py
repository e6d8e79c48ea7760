"""Credentials are rotated under load. While both are good, nobody notices. Where the old ones end first, calls fail and
say why until the new ones are read, and not after."""

import secrets
from collections.abc import Callable

import pytest

from support import kube, vault_server
from support.agent import Endpoint, Traffic, calling_all_the_time
from support.connector import CREDENTIALS, LIMITS, OUTAGE_SECONDS, Connector, ca_config_map, connector, source
from support.kube import Manifest
from support.waiting import eventually

REPLICAS = 2
# At level `trace`, in a program that is not optimised, calls are costly: more callers would take the machine from all other
# stories. `benches` measures many more.
CALLERS = {"callers": 4, "pause": 0.1}
BOUNDS = LIMITS | {"platform": {"maxConcurrentRequests": CALLERS["callers"]}}

Fields = dict[str, str]


class Token:
    """A token of Vault."""

    platform: Manifest = {}

    def make(self) -> Fields:
        """New credentials beside those that there are."""
        return {"token": vault_server.make_token()}

    def end_of(self, fields: Fields) -> Callable[[], None]:
        """What ends these."""
        return lambda: vault_server.revoke_token(fields["token"])


class AppRole:
    """Secret ids of an AppRole, for which the connector gets tokens."""

    platform: Manifest = {"auth": {"appRole": {}}}

    def __init__(self) -> None:
        self._role = f"story-{secrets.token_hex(2)}"
        self._role_id = vault_server.make_app_role(self._role, token_ttl="1h")

    def make(self) -> Fields:
        """New credentials beside those that there are."""
        return {"role_id": self._role_id, "secret_id": vault_server.make_secret_id(self._role)}

    def end_of(self, fields: Fields) -> Callable[[], None]:
        """What ends these, and all tokens that there are for them now."""
        logins = vault_server.logins_of(self._role)

        def end() -> None:
            vault_server.destroy_secret_id(self._role, fields["secret_id"])
            vault_server.revoke_logins(logins)

        return end


@pytest.mark.parametrize("kind", [Token, AppRole])
def test_credentials_are_rotated_under_load(namespace: str, vault_up: None, kind: type[Token | AppRole]) -> None:
    rotation = kind()
    first = rotation.make()
    kube.apply(
        namespace,
        *(secret(first), ca_config_map(vault_server.ca_pem()), source(items={name: name for name in first})),
        connector(vault=rotation.platform, workload={"replicas": REPLICAS}, limits=BOUNDS),
    )
    subject = Connector(namespace)
    are_ready = f"{REPLICAS} replicas are ready"
    eventually(are_ready, lambda: subject.status().get("readyReplicas") == REPLICAS, 120, explain=subject.explain)
    subject.wait_ready()
    pods, endpoint = subject.pod_identities(), Endpoint.of(subject)

    with calling_all_the_time(
        endpoint, subject.token(), "list_vault_secrets", keep_alive=False, path="secret/apps", **CALLERS
    ) as traffic:
        more_calls(traffic)
        end_first = rotation.end_of(first)
        second = rotation.make()
        put(subject, second)
        # The old ones go only now, as a careful rotation does it; nothing uses them any more.
        end_first()
        more_calls(traffic)
        assert traffic.failures == []

        rotation.end_of(second)()
        rejected = subject.wait_for("CredentialsAccepted", "False", "Rejected", OUTAGE_SECONDS)
        assert rejected["message"]
        assert traffic.failures
        put(subject, rotation.make())
        subject.wait_ready(OUTAGE_SECONDS)
        failures = list(traffic.failures)
        assert [problem for problem in failures if "credentials_unavailable" not in problem] == []
        more_calls(traffic)
        assert traffic.failures == failures
    assert subject.pod_identities() == pods
    # What is shown of a revision says nothing about the credentials.
    assert len(subject.status()["credentials"]["revision"]) == 8
    assert subject.condition("CredentialsLoaded")["reason"] == "Loaded"


def secret(fields: Fields) -> Manifest:
    """The Secret with the credentials."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": CREDENTIALS}, "stringData": fields}


def put(subject: Connector, fields: Fields) -> None:
    """Puts other credentials into the Secret, and waits until all replicas run on them."""
    before = subject.status()["credentials"]["revision"]
    kube.apply(subject.namespace, secret(fields))

    def is_in_use() -> bool:
        now = subject.status()["credentials"]
        return bool(now["revision"] != before and now["loadedReplicas"] == now["replicas"] == REPLICAS)

    eventually("all replicas run on the new revision", is_in_use, explain=subject.explain)


def more_calls(traffic: Traffic) -> None:
    """Waits until many calls were made."""
    before = traffic.calls
    eventually("calls are made", lambda: traffic.calls > before + 100)
