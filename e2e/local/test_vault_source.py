"""`mcp-connectors local` with credentials in Vault, as far as no Vault is needed: what is said where nothing logs in, that a
check calls nobody, and that an outage is a condition. `crates/mcp-connectors/tests/integration/vault_real/local.rs` logs in to a real one.
"""

from pathlib import Path

import pytest

from local import program
from local.program import CHECK_FAILED, local, run

# Nobody listens there.
VAULT = """\
vault:
    address: http://127.0.0.1:9
    insecureHttp: true
    auth: {jwt: {role: ci}}
    secrets: [{kv: {path: team/ci}, fields: {user: user, api_token: token}}]
"""


@pytest.fixture
def in_vault(tmp_path: Path, jenkins: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Manifests of a connector whose credentials are in Vault, on a machine that has no token for it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("VAULT_TOKEN", "VAULT_ADDR", "VAULT_CACERT", "VAULT_CONFIG_PATH"):
        monkeypatch.delenv(name, raising=False)
    text = program.manifests(jenkins)
    secret = "secret: {name: bot, items: {user: user, api_token: token}}\n"
    assert secret in text
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "connector.yaml").write_text(text.replace(secret, VAULT))
    return folder


def test_what_would_log_in_is_said(in_vault: Path) -> None:
    done = run("--check", "-f", str(in_vault))
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("warning", "--vault-jwt-file", "VAULT_TOKEN", "~/.vault-token", "--credentials-dir", "[NoFields]"):
        assert word in done.stdout
    assert run("--check", "--probe", "-f", str(in_vault)).returncode == CHECK_FAILED

    (in_vault.parent / "home" / ".vault").write_text('token_helper = "/opt/helper"\n')
    assert "token helper" in run("--check", "-f", str(in_vault)).stdout


def test_a_login_of_ones_own_goes_only_where_the_environment_says(
    in_vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "planted-own")

    def told(*words: str) -> str:
        done = run("--check", "--probe", *words, "-f", str(in_vault))
        assert done.returncode == CHECK_FAILED
        assert "planted" not in done.stdout + done.stderr
        return done.stdout

    assert "is held back: VAULT_ADDR doesn't say which Vault" in told()
    monkeypatch.setenv("VAULT_ADDR", "https://vault.example.com")
    assert "it is for the Vault that VAULT_ADDR names, and the source's is http://127.0.0.1:9" in told()
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    assert "[VaultUnreachable]" in told()

    # What the manifests allow themselves is not the person's word.
    connector = in_vault / "connector.yaml"
    proxied = connector.read_text().replace("  hosts:", "  proxies: [127.0.0.1]\n  hosts:")
    proxied = proxied.replace("  credentials:", "  workload: {proxy: {url: 'http://127.0.0.1:10'}}\n  credentials:")
    connector.write_text(proxied)
    assert "through the proxy 127.0.0.1:10; say --allow-proxy 127.0.0.1:10" in told()
    assert "[VaultUnreachable]" in told("--allow-proxy", "127.0.0.1:10")


def test_a_check_asks_vault_only_with_probe(
    in_vault: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    token = tmp_path / "token"
    token.write_text("planted-jwt")
    words = ("--vault-jwt-file", str(token), "-f", str(in_vault))
    done = run("--check", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    # All that is said is that a connector in a cluster would not call this machine.
    assert "[NoFields]" not in done.stdout
    assert "[Vault" not in done.stdout
    probed = run("--check", "--probe", *words)
    assert probed.returncode == CHECK_FAILED
    assert "[VaultUnreachable]" in probed.stdout, probed.stdout
    assert "planted" not in probed.stdout + probed.stderr


def test_an_outage_is_a_condition(in_vault: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    (in_vault.parent / "home" / ".vault-token").write_text("planted-own")
    with local("-f", in_vault) as running:
        running.wait_for(r"^ci/jenkins: CredentialsLoaded=False VaultUnreachable")
        running.wait_for(r"^ci/jenkins: credentials from Vault at http://127.0.0.1:9, by the person's own token in /")
        assert "planted" not in running.told()
