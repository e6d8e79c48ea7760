"""Which packet filter rules are taken away, and which stay."""

import unittest

from testcluster import firewall

SAVED = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-EMPTY - [0:0]
:MCP-E2E-INPUT - [0:0]
:CNI-FOREIGN - [0:0]
:ufw-user - [0:0]
-A INPUT -j MCP-E2E-INPUT
-A INPUT -m comment --comment "jump -j KUBE-FORWARD or not" -j ufw-user
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -j CNI-FOREIGN
-A KUBE-FORWARD -j KUBE-EMPTY
-A ufw-user -g KUBE-EMPTY
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
COMMIT
"""


class RemovalTest(unittest.TestCase):
    """`removal` on a host with rules of its own."""

    def setUp(self) -> None:
        self.lines = firewall.removal(SAVED, keep={"filter/CNI-FOREIGN"}).splitlines()

    def test_own_chains_are_emptied_before_any_is_deleted(self) -> None:
        doomed = ["KUBE-EMPTY", "KUBE-FORWARD", "MCP-E2E-INPUT"]
        expected = [f"-F {chain}" for chain in doomed] + [f"-X {chain}" for chain in doomed]
        self.assertEqual(self.lines[-7:], [*expected, "COMMIT"])

    def test_rules_that_lead_to_them_are_deleted(self) -> None:
        self.assertIn("-D INPUT -j MCP-E2E-INPUT", self.lines)
        self.assertIn("-D ufw-user -g KUBE-EMPTY", self.lines)

    def test_foreign_chains_and_rules_stay(self) -> None:
        self.assertFalse([line for line in self.lines if "CNI-FOREIGN" in line])
        self.assertFalse([line for line in self.lines if line.endswith("-j ufw-user")])

    def test_tables_without_own_chains_are_not_mentioned(self) -> None:
        self.assertNotIn("*nat", self.lines)

    def test_nothing_to_do_gives_nothing(self) -> None:
        self.assertEqual(firewall.removal("*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n", set()), "")


if __name__ == "__main__":
    unittest.main()
