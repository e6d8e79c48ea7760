"""What can't work is refused by the API server, in words that say what to do; what needs another object to be judged is
told in the connector's conditions."""

from pathlib import Path

import pytest

from support import kube, vault_server
from support.connector import Connector, ca_config_map, connector, secret, source
from support.invalid_manifests import REFUSED
from support.machine import ROOT


@pytest.mark.parametrize("case", REFUSED)
def test_the_api_server_refuses(shared_namespace: str, case: str) -> None:
    manifest, words = REFUSED[case]
    with pytest.raises(kube.RefusedError) as refusal:
        kube.apply(shared_namespace, manifest)
    assert words in str(refusal.value), str(refusal.value)


def test_good_manifests_stay_as_they_were_written(shared_namespace: str) -> None:
    manifest = connector("minimal")
    kube.apply(shared_namespace, manifest, source("minimal-source"))
    assert kube.get(shared_namespace, "mcpconnector", "minimal")["spec"] == manifest["spec"]
    assert kube.get(shared_namespace, "credentialsource", "minimal-source")["spec"] == source("minimal-source")["spec"]


@pytest.mark.parametrize("sample", sorted((ROOT / "config" / "samples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sample_is_accepted_as_it_is(shared_namespace: str, sample: Path) -> None:
    words = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename", str(sample))
    kube.kubectl("--namespace", shared_namespace, *words)


def not_accepted(vault: Connector, reason: str, *words: str) -> None:
    """Checks what a person sees of a connector that is not accepted: at once, everywhere, and as a lasting problem."""
    accepted = vault.wait_for("Accepted", "False", reason)
    for word in words:
        assert word in accepted["message"], accepted["message"]
    conditions = vault.conditions()
    assert conditions["Ready"]["status"] == "False"
    assert conditions["Ready"]["reason"] == reason
    assert conditions["Stalled"]["status"] == "True"
    assert "Reconciling" not in conditions
    vault.wait_for_event("Warning", reason)


def accepted_again(vault: Connector) -> None:
    vault.wait_for("Accepted", "True", "Accepted")
    assert "Stalled" not in vault.conditions()


def test_a_source_that_is_not_there(namespace: str) -> None:
    vault = Connector(namespace)
    kube.apply(namespace, ca_config_map(vault_server.ca_pem()), connector())
    not_accepted(vault, "CredentialSourceNotFound", "spec.credentials.name", '"vault-reader"')
    kube.apply(namespace, source())
    accepted_again(vault)


def test_a_host_that_the_source_does_not_allow(namespace: str) -> None:
    vault = Connector(namespace)
    kube.apply(
        namespace, ca_config_map(vault_server.ca_pem()), secret("x"), source(hosts=("example.com",)), connector()
    )
    not_accepted(vault, "HostNotAllowed", "spec.platform.vault.url", "vault.vault.svc:8200", "example.com")
    # Nothing runs that could send the credentials there.
    assert kube.find(namespace, "deployment", vault.owned) is None
    kube.apply(namespace, source(hosts=("vault.vault.svc:8200",)))
    accepted_again(vault)


def test_a_proxy_that_the_source_does_not_allow(namespace: str) -> None:
    vault = Connector(namespace)
    proxied = {"proxy": {"url": "http://proxy.example.com:3128"}}
    kube.apply(namespace, ca_config_map(vault_server.ca_pem()), secret("x"), source(), connector(workload=proxied))
    not_accepted(vault, "ProxyNotAllowed", "spec.workload.proxy.url", "proxy.example.com:3128", "spec.proxies")
    # Nothing runs whose credentials it could read.
    assert kube.find(namespace, "deployment", vault.owned) is None
    allowing = source()
    allowing["spec"]["proxies"] = ["proxy.example.com:3128"]
    kube.apply(namespace, allowing)
    accepted_again(vault)
    kube.apply(namespace, source())
    not_accepted(vault, "ProxyNotAllowed", "spec.workload.proxy.url", "proxy.example.com:3128", "spec.proxies")


def test_a_source_that_lacks_a_field_of_the_platform(namespace: str) -> None:
    vault = Connector(namespace)
    lacking = source(items={"password": "password"})
    kube.apply(namespace, ca_config_map(vault_server.ca_pem()), lacking, connector())
    not_accepted(vault, "CredentialFieldMissing", "token", "password")


def test_a_ca_bundle_that_is_missing_or_no_pem(namespace: str) -> None:
    vault = Connector(namespace)
    kube.apply(namespace, source(), secret("x"), connector())
    not_accepted(vault, "CaBundleInvalid", 'no ConfigMap "vault-ca"')
    # Mended without touching the connector; ConfigMaps that were missing are looked for again.
    kube.apply(namespace, ca_config_map(vault_server.ca_pem()))
    accepted_again(vault)

    no_pem = ca_config_map("nonsense", "other-ca")
    kube.apply(namespace, no_pem)
    vault.change({"platform": {"vault": {"caBundle": {"configMap": {"name": "other-ca"}}}}})
    not_accepted(vault, "CaBundleInvalid", "other-ca", "-----BEGIN CERTIFICATE-----")
    vault.change({"platform": {"vault": {"caBundle": {"configMap": {"key": "missing"}}}}})
    not_accepted(vault, "CaBundleInvalid", 'no key "missing"')


def test_what_an_administrator_has_not_allowed(namespace: str) -> None:
    vault = Connector(namespace)
    injected = {"annotations": {"vault.hashicorp.com/agent-inject": "true"}, "priorityClassName": "urgent"}
    kube.apply(namespace, source(), secret("x"), ca_config_map(vault_server.ca_pem()), connector(workload=injected))
    settings = "allowWorkload.annotations", "allowWorkload.priorityClasses"
    not_accepted(vault, "InvalidSpec", '"vault.hashicorp.com/agent-inject"', *settings)
    assert kube.find(namespace, "deployment", vault.owned) is None
    vault.change({"workload": None})
    accepted_again(vault)


@pytest.mark.parametrize(
    "url", ["https://169.254.169.254/", "https://127.0.0.1:8200", "https://metadata.google.internal"]
)
def test_an_address_that_is_never_called(namespace: str, url: str) -> None:
    vault = Connector(namespace)
    manifest = connector(vault={"url": url})
    kube.apply(namespace, source(), manifest)
    not_accepted(vault, "InvalidSpec", "spec.platform.vault.url", "never calls such an address")
    assert kube.find(namespace, "deployment", vault.owned) is None
