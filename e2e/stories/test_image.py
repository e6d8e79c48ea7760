"""The image: what is in it, and that names and certificates work in it."""

import ssl
import subprocess
from pathlib import Path

from conftest import Deployed

from support import kube, vault_server
from support.connector import Connector, ca_config_map, connector, secret, source
from support.machine import run

# Where Debian's package ca-certificates puts them; e2e/image/build takes them from there.
DEBIAN_AUTHORITIES = Path("/usr/share/ca-certificates/mozilla")


def test_names_of_the_cluster_and_a_private_authority_work(running: Deployed) -> None:
    # Ready says both: the name was resolved by the cluster's DNS, and the certificate was verified.
    assert "https://vault.vault.svc:8200" in str(running.connector.object()["spec"])
    assert running.connector.condition("PlatformHealthy")["reason"] == "Healthy"


def test_a_certificate_of_another_authority_is_not_trusted(namespace: str, vault_up: None, tmp_path: Path) -> None:
    kube.apply(namespace, secret(vault_server.make_token()), ca_config_map(_other_authority(tmp_path)), source())
    kube.apply(namespace, connector())
    connector_ = Connector(namespace)
    invalid = connector_.wait_for("PlatformHealthy", "False", "TlsInvalid")
    assert "certificate" in invalid["message"]
    assert connector_.condition("Ready")["reason"] == "TlsInvalid"
    # The token was not sent to it.
    assert connector_.condition("CredentialsAccepted")["status"] == "Unknown"


def test_public_authorities_are_in_the_image(running: Deployed) -> None:
    # The nodes' processes are this machine's, so a container's files can be looked at from outside.
    roots = [
        program.parent / "root"
        for program in Path("/proc").glob("[0-9]*/cmdline")
        if program.read_bytes().split(b"\0")[:2] == [b"/mcp-connectors", b"serve"]
    ]
    assert roots, f"no process of {running.connector.owned} was found"
    # Those of the Debian package, whole, and all of them are certificates that a TLS library takes. That a public
    # server is trusted can't be shown without the internet; that others aren't is shown below.
    authorities = (roots[0] / "etc" / "ssl" / "certs" / "ca-certificates.crt").read_text()
    packaged = sorted(DEBIAN_AUTHORITIES.glob("**/*.crt"))
    assert authorities == "".join(certificate.read_text() for certificate in packaged)
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted.load_verify_locations(cadata=authorities)
    assert len(trusted.get_ca_certs()) == len(packaged) > 100
    assert sorted(found.name for found in roots[0].iterdir() if found.is_file()) == ["LICENSE", "mcp-connectors"]


def test_public_authorities_do_not_vouch_for_a_private_one(namespace: str, vault_up: None) -> None:
    manifest = connector()
    del manifest["spec"]["platform"]["vault"]["caBundle"]
    kube.apply(namespace, secret(vault_server.make_token()), source(), manifest)
    connector_ = Connector(namespace)
    connector_.wait_for("PlatformHealthy", "False", "TlsInvalid")


def test_a_name_that_does_not_exist_is_told(namespace: str, vault_up: None) -> None:
    kube.apply(namespace, secret("x"), ca_config_map(vault_server.ca_pem()), source(hosts=("no-vault.vault.svc",)))
    kube.apply(namespace, connector(vault={"url": "https://no-vault.vault.svc:8200"}))
    unreachable = Connector(namespace).wait_for("PlatformHealthy", "False", "Unreachable")
    assert unreachable["message"]


def test_pods_run_as_nobody_with_a_read_only_root(running: Deployed) -> None:
    (pod,) = running.connector.pods()
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    assert [volume["name"] for volume in spec["volumes"]] == ["config", "credentials"]
    # There is no shell to be had.
    words = [
        "kubectl",
        "--namespace",
        running.connector.namespace,
        "exec",
        pod["metadata"]["name"],
        "--",
        "/bin/sh",
        "-c",
        "true",
    ]
    tried = subprocess.run(words, capture_output=True, text=True, check=False)
    assert tried.returncode != 0
    assert "no such file" in tried.stderr


def _other_authority(folder: Path) -> str:
    words = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-subj", "/CN=another-authority", "-days", "1", "-keyout", folder / "key", "-out", folder / "crt")
    run(*words, *subject)
    return (folder / "crt").read_text()
