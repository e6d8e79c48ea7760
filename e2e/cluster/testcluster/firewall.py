"""The cluster's packet filter rules: ours are added, and later all are taken away.

kubelet, kube-proxy and the CNI plugins write chains of their own. Taking away
means: every chain with one of their names that was not there before, and every
rule that leads to one. Nothing else is touched.
"""

import shlex
from dataclasses import dataclass, field
from itertools import pairwise

from . import network
from .commands import run
from .settings import BRIDGE, CHAIN_PREFIX, CLUSTER_CIDR, CLUSTER_CIDR_6

FAMILIES = ("iptables", "ip6tables")
KUBERNETES_PREFIX = "KUBE-"
PREFIXES = (KUBERNETES_PREFIX, "CNI-", CHAIN_PREFIX)
BUILT_IN = "-"

GUARD = f"{CHAIN_PREFIX}-GUARD"
INPUT = f"{CHAIN_PREFIX}-INPUT"
FORWARD = f"{CHAIN_PREFIX}-FORWARD"


@dataclass
class Table:
    """One table as iptables-save shows it."""

    chains: set[str] = field(default_factory=set)
    rules: list[str] = field(default_factory=list)


def parse(saved: str) -> dict[str, Table]:
    """Reads what iptables-save wrote: user-defined chains, and all rules."""
    tables: dict[str, Table] = {}
    current = Table()
    for line in saved.splitlines():
        if line.startswith("*"):
            current = tables.setdefault(line[1:], Table())
        elif line.startswith(":"):
            name, policy, *_ = line[1:].split()
            if policy == BUILT_IN:
                current.chains.add(name)
        elif line.startswith("-A "):
            current.rules.append(line)
    return tables


def chains() -> dict[str, set[str]]:
    """The cluster-like chains that exist now, by family, each as table/chain."""
    return {
        family: {
            f"{table}/{chain}"
            for table, content in parse(run([f"{family}-save"])).items()
            for chain in content.chains
            if chain.startswith(PREFIXES)
        }
        for family in FAMILIES
    }


def own_rules(cluster_range: str) -> str:
    """The cluster's own chains in one family, as iptables-restore takes them.

    The guard keeps the cluster's addresses off outside interfaces. The other two let
    pods reach the node and each other where a host's own rules would drop them.
    """
    return f"""*mangle
:{GUARD} - [0:0]
-A {GUARD} -i lo -j RETURN
-A {GUARD} -i {BRIDGE} -j RETURN
-A {GUARD} -d {cluster_range} -j DROP
-I PREROUTING 1 -j {GUARD}
COMMIT
*filter
:{INPUT} - [0:0]
-A {INPUT} -i {BRIDGE} -j ACCEPT
-I INPUT 1 -j {INPUT}
:{FORWARD} - [0:0]
-A {FORWARD} -i {BRIDGE} -o {BRIDGE} -j ACCEPT
-A FORWARD -j {FORWARD}
COMMIT
"""


def add_own_rules() -> None:
    """Adds the cluster's own chains."""
    run(["iptables-restore", "--wait", "--noflush"], stdin=own_rules(CLUSTER_CIDR))
    if network.has_ipv6():
        run(["ip6tables-restore", "--wait", "--noflush"], stdin=own_rules(CLUSTER_CIDR_6))


def removal(saved: str, keep: set[str]) -> str:
    """The input for iptables-restore that takes away all but the chains to keep."""
    lines: list[str] = []
    for name, table in parse(saved).items():
        doomed = {
            chain
            for chain in table.chains
            if chain.startswith(PREFIXES) and f"{name}/{chain}" not in keep
        }
        if not doomed:
            continue
        ordered = sorted(doomed)
        lines.append(f"*{name}")
        lines += [f"-D {rule[3:]}" for rule in table.rules if _leads(rule, doomed)]
        lines += [f"-F {chain}" for chain in ordered]
        lines += [f"-X {chain}" for chain in ordered]
        lines.append("COMMIT")
    return "".join(f"{line}\n" for line in lines)


def remove(keep: dict[str, set[str]]) -> None:
    """Takes away the chains of the cluster, but none of those to keep."""
    for family in FAMILIES:
        script = removal(run([f"{family}-save"]), keep.get(family, set()))
        if script:
            run([f"{family}-restore", "--wait", "--noflush"], stdin=script)


def _leads(rule: str, doomed: set[str]) -> bool:
    """Whether a rule of a chain that stays jumps to one that goes."""
    words = shlex.split(rule)
    targets = {target for option, target in pairwise(words) if option in ("-j", "-g", "--jump")}
    return words[1] not in doomed and bool(targets & doomed)
