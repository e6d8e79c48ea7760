"""`mcp-connectors local --check` refuses what the API server and the operator refuse, in their words."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.program import CHECK_FAILED, COULD_NOT_CHECK, run
from support.connector import ca_config_map, connector, secret, source
from support.invalid_manifests import REFUSED, with_identity, with_source
from support.kube import Manifest
from support.machine import ROOT


def check(*words: str, manifests: list[Manifest], status: int) -> list[dict[str, Any]]:
    """What is found in manifests."""
    done = run("--check", "-f", "-", "-o", "json", *words, stdin=yaml.safe_dump_all(manifests))
    assert done.returncode == status, done.stdout + done.stderr
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    return findings


def field_of(words: str) -> str | None:
    """The field that the API server's words name, where they name one."""
    for word in words.replace('"', " ").split():
        path = word.rstrip(":")
        if path.startswith("spec."):
            return path
    return None


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_api_server_refuses_is_refused_here_for_the_same_field(case: str) -> None:
    manifest, words = REFUSED[case]
    found = check(manifests=[manifest], status=CHECK_FAILED)
    told = [f"{finding.get('field', '')}: {finding['message']}" for finding in found if finding["level"] == "error"]
    assert any(words in text for text in told), told
    field = field_of(words)
    if field is not None:
        assert field in {finding.get("field") for finding in found}


@pytest.mark.parametrize("sample", sorted((ROOT / "config" / "samples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sample_is_accepted_as_it_is(sample: Path) -> None:
    done = run("--check", "-f", str(sample))
    assert (done.returncode, "error: " in done.stdout) == (0, False), done.stdout + done.stderr


PROXIED = {"proxy": {"url": "http://proxy.example.com:3128"}}


def plain(**spec: Any) -> Manifest:
    """A connector that needs nothing but its credentials."""
    manifest = connector(**spec)
    del manifest["spec"]["platform"]["vault"]["caBundle"]
    return manifest


@pytest.mark.parametrize(
    ("case", "manifests", "rule", "words"),
    [
        ("no source", [plain()], "CredentialSourceNotFound", '"vault-reader"'),
        ("another host", [plain(), source(hosts=("example.com",))], "HostNotAllowed", "vault.vault.svc:8200"),
        ("a proxy", [plain(workload=PROXIED), source()], "ProxyNotAllowed", "proxy.example.com:3128"),
        ("another proxy", [plain(workload=PROXIED), with_source(proxies=["a"])], "ProxyNotAllowed", "allows a only"),
        ("a field less", [plain(), source(items={"password": "password"})], "CredentialFieldMissing", "token"),
        ("a secret in the manifest", [plain(), with_source(values={"token": "a"})], "InvalidSpec", "it is a secret"),
        ("an identity", [plain(), with_identity(podIdentity={})], "CredentialFieldMissing", "is for cloudWatch only"),
        ("no PEM", [connector(), source(), ca_config_map("x")], "CaBundleInvalid", "-----BEGIN CERTIFICATE-----"),
        ("an empty Secret", [plain(), source(), secret("")], "FieldMissing", "`token`"),
        ("twice", [plain(), plain(), source()], "duplicate", "declared twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_operator_refuses_is_refused_here(case: str, manifests: list[Manifest], rule: str, words: str) -> None:
    found = check(manifests=manifests, status=CHECK_FAILED)
    assert [finding["rule"] for finding in found] == [rule], found
    assert words in found[0]["message"]


@pytest.mark.parametrize(
    ("arguments", "proxies"), [((), ["proxy.example.com"]), (("--allow-proxy", "proxy.example.com:3128"), ["a"])]
)
def test_a_proxy_is_the_sources_or_the_clusters_to_allow(arguments: tuple[str, ...], proxies: list[str]) -> None:
    manifests = [plain(workload=PROXIED), with_source(proxies=proxies)]
    assert check(*arguments, manifests=manifests, status=0) == []


def test_a_good_connector_has_no_finding_with_or_without_its_secret() -> None:
    assert check(manifests=[plain(), source()], status=0) == []
    assert check(manifests=[plain(), source(), secret("hvs.token")], status=0) == []


def test_what_comes_by_itself_in_a_cluster_alone_is_a_warning() -> None:
    mounted = with_source(secret=None, csi={"secretProviderClass": "a", "items": {"token": "b"}})
    (finding,) = check(manifests=[plain(), mounted], status=0)
    assert (finding["level"], finding["rule"]) == ("warning", "NoFields")
    assert "no CSI driver" in finding["message"]


def test_several_secrets_are_one_set() -> None:
    parts = [{"name": "one", "items": {"token": "token"}}, {"name": "two", "items": {"tls_key": "token"}}]
    several = with_source(secret=None, secrets=parts, values={"tls_certificate": "x"})
    (finding,) = check(manifests=[plain(), several, secret("a", "one"), secret("b", "two")], status=CHECK_FAILED)
    assert finding["rule"] == "FieldInvalid", finding


def test_a_bundle_that_is_not_among_the_manifests_may_be_in_the_cluster() -> None:
    (finding,) = check(manifests=[connector(), source()], status=0)
    assert (finding["level"], finding["rule"]) == ("warning", "CaBundleInvalid")
    assert 'no ConfigMap "vault-ca"' in finding["message"]


def test_a_loopback_platform_is_a_warning_because_a_cluster_refuses_it() -> None:
    manifest = plain()
    manifest["spec"]["platform"]["vault"]["url"] = "https://127.0.0.1:8200"
    found = check(manifests=[manifest, source(hosts=("127.0.0.1",))], status=0)
    assert [finding["level"] for finding in found] == ["warning"]
    assert "refused in a cluster" in found[0]["message"]


def test_each_finding_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(
        "apiVersion: mcp-connectors.io/v1alpha1\nkind: CredentialSource\nmetadata:\n  name: a\nspec:\n  hosts:\n"
        "  - https://a.example.com\n  secret: {name: a}\n"
    )
    done = run("--check", "-f", str(tmp_path))
    assert done.returncode == CHECK_FAILED
    assert done.stdout.startswith(f"{path}:7:"), done.stdout
    sarif = json.loads(run("--check", "-f", str(path), "-o", "sarif").stdout)
    (result,) = sarif["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == (str(path), 7)


def test_no_value_of_a_secret_is_ever_told() -> None:
    broken = [secret("hunter2") | {"stringdata": {"x": "hunter2"}}, secret("hunter2", "b")]
    broken[1]["stringData"] = {"token": ["hunter2"]}
    broken[1]["data"] = {"other": "hunter2!"}
    done = run("--check", "-f", "-", stdin=yaml.safe_dump_all(broken))
    assert done.returncode == CHECK_FAILED
    assert len(done.stdout.splitlines()) == 3, done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_a_name_writes_no_line_of_its_own() -> None:
    odd = plain()
    odd["metadata"]["name"] = "a\n::error::pwned\r\n::add-mask::x\x1b[31m"
    done = run("--check", "-f", "-", stdin=yaml.safe_dump(odd))
    assert done.returncode == CHECK_FAILED, done.stdout + done.stderr
    assert "::error::pwned" in done.stdout
    assert not any(line.startswith("::") for line in (done.stdout + done.stderr).splitlines()), done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [("-f", "/nonexistent"), ("-f", str(ROOT / "e2e" / "local"))])
def test_what_can_not_be_checked_has_a_status_of_its_own(words: tuple[str, ...]) -> None:
    done = run("--check", *words)
    assert done.returncode == COULD_NOT_CHECK
    assert done.stderr.startswith("error: "), done.stderr


def test_nothing_to_check_is_no_success() -> None:
    done = run("--check", "-f", "-", stdin="apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")
    assert done.returncode == COULD_NOT_CHECK, done.stdout
