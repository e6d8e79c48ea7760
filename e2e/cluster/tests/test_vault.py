"""Vault servers beside each other."""

import re
import tempfile
import unittest

from testcluster import vault
from testcluster.layout import STATE_VARIABLE, Layout


class VaultTest(unittest.TestCase):
    """The one that all share, and those of one owner each."""

    def setUp(self) -> None:
        state = tempfile.TemporaryDirectory(prefix="vault-")
        self.addCleanup(state.cleanup)
        self.layout = Layout.from_environment({STATE_VARIABLE: state.name})

    def test_two_have_nothing_in_common(self) -> None:
        shared, own = self.made("vault"), self.made(vault.own().namespace)
        self.assertNotEqual(own.namespace, vault.own().namespace)
        self.assertEqual(shared.url, "https://vault.vault.svc:8200")
        for one in (shared, own):
            text = one.manifest()
            self.assertEqual(set(re.findall(r'namespace"?: "?([\w-]+)', text)), {one.namespace})
            self.assertEqual(set(re.findall(r"https://[\w.-]+:8200", text)), {one.url})
            self.assertIn(f"kind: Namespace\nmetadata:\n  name: {one.namespace}\n", text)
            self.assertIn(f"{{path: {one.data}, type: Directory}}", text)
            self.assertIn(f"server.key of {one.namespace}", text)
        self.assertEqual(in_no_namespace(shared), {"vault-data", "vault-reviews-tokens"})
        self.assertEqual(len(in_no_namespace(own) - in_no_namespace(shared)), 2)

    def test_what_was_not_taken_down_is_found(self) -> None:
        self.made("vault")
        (self.layout.state / "vault-of-somebody").mkdir()
        self.assertEqual(vault.owned(self.layout), [])
        own = self.made(vault.own().namespace)
        self.assertEqual(vault.owned(self.layout), [own])

    def test_namespaces_of_stories_are_none_of_vaults(self) -> None:
        self.assertTrue(vault.lives_in("vault"))
        self.assertTrue(vault.lives_in(vault.own().namespace))
        # Of the stories test_vault_…, whose names end with four digits.
        for name in ("vault-ab12", "vault-outages-ab12", "vault-0123-ab12", "vault-0123abcd-ab12"):
            with self.subTest(name):
                self.assertFalse(vault.lives_in(name))

    def made(self, namespace: str) -> vault.Vault:
        """A Vault that has got as far as its certificates."""
        made = vault.Vault(namespace, self.layout)
        made.state.mkdir()
        for name in ("server.crt", "server.key"):
            (made.state / name).write_text(f"{name} of {namespace}")
        return made


def in_no_namespace(one: vault.Vault) -> set[str]:
    """The names of those of its objects that lie in no namespace."""
    return set(re.findall(r"^metadata: \{name: ([\w-]+)\}$", one.manifest(), re.MULTILINE))


if __name__ == "__main__":
    unittest.main()
