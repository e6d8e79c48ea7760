"""Manifests that can't work, and what is said to them: by the API server (the story of invalid manifests), and without a
cluster by `mcp-connectors local --check` (e2e/local)."""

from typing import Any

from .connector import connector, source
from .kube import Manifest


def named(name: str) -> Manifest:
    return connector(name)


def with_vault(**vault: Any) -> Manifest:
    return connector(vault=vault)


def with_spec(**spec: Any) -> Manifest:
    return connector(**spec)


def with_source(**spec: Any) -> Manifest:
    manifest = source()
    manifest["spec"] |= spec
    manifest["spec"] = {key: value for key, value in manifest["spec"].items() if value is not None}
    return manifest


def with_identity(**aws: Any) -> Manifest:
    return with_source(secret=None, hosts=None, workloadIdentity={"aws": aws})


ROLE = "arn:aws:iam::123456789012:role/mcp-reader"
RULE = {"namespace": "agents", "serviceAccount": "triage"}

# What is written, and what the API server says to it.
REFUSED: dict[str, tuple[Manifest, str]] = {
    "no platform": (with_spec(platform={}), "exactly one platform must be set"),
    "an unknown platform": (with_spec(platform={"jira": {}}), 'unknown field "spec.platform.jira"'),
    "no credentials": (with_spec(credentials=None), "spec.credentials: Required value"),
    "credentials in the URL": (with_vault(url="https://user:pw@vault.vault.svc:8200"), "url must not hold credentials"),
    "a query in the URL": (with_vault(url="https://vault.vault.svc:8200?token=1"), "url must not have a query"),
    "a fragment in the URL": (with_vault(url="https://vault.vault.svc:8200#x"), "url must not have a query or a frag"),
    "another scheme": (with_vault(url="ftp://vault.vault.svc"), "url must begin with https://"),
    "no host": (with_vault(url="https://"), "url must name a host"),
    "clear text": (with_vault(url="http://vault.vault.svc:8200"), "set insecureHttp: true if that is meant"),
    "a blank Vault namespace": (with_vault(namespace="a b"), "namespace must be a path such as admin/team-a"),
    "a short interval": (with_spec(probe={"interval": "1s"}), "interval must be between 5s and 1h"),
    "a long interval": (with_spec(probe={"interval": "2h"}), "interval must be between 5s and 1h"),
    "a timeout of nothing": (with_spec(probe={"timeout": "0s"}), "timeout must be between 1s and 60s"),
    "no duration at all": (with_spec(probe={"interval": "soon"}), "spec.probe.interval"),
    "a number for a duration": (with_spec(probe={"interval": 30}), "spec.probe.interval"),
    "no failure at all": (with_spec(probe={"failureThreshold": 0}), "failureThreshold"),
    "a long call": (with_spec(limits={"callTimeout": "5m"}), "callTimeout must be between 1s and 150s"),
    "a warning after the refusal": (
        with_spec(limits={"repeats": {"warnAfter": 9}}),
        "warnAfter (2 by default) may not be more than refuseAfter (5 by default)",
    ),
    "a rate of nothing": (with_spec(limits={"calls": {"perMinute": 0}}), "spec.limits.calls.perMinute"),
    "the same tool twice": (
        with_spec(limits={"tools": [{"name": "get_*", "perMinute": 1}, {"name": "get_*", "perMinute": 2}]}),
        "Duplicate value",
    ),
    "a Redis without a port": (
        with_spec(limits={"shared": {"redis": {"address": "redis.limits.svc"}}}),
        "address must be a host and a port",
    ),
    "a CA bundle for clear text": (
        with_spec(
            limits={
                "shared": {
                    "redis": {
                        "address": "redis.limits.svc:6379",
                        "insecurePlaintext": True,
                        "caBundle": {"configMap": {"name": "corp-ca", "key": "ca.crt"}},
                    },
                },
            },
        ),
        "caBundle has no meaning without TLS",
    ),
    "a small answer": (with_spec(limits={"maxResultBytes": 1}), "maxResultBytes"),
    "a long name": (named("a" * 53), "metadata.name must be at most 52 characters"),
    "a name that begins with a digit": (named("1vault"), "must begin with a lower-case letter"),
    "a name with a dot": (named("vault.prod"), "DNS-1035"),
    "a prefix with a hyphen": (with_spec(tools={"prefix": "prod-"}), "prefix may hold lower-case letters, digits and"),
    "a tool that can't be": (with_spec(tools={"allow": ["get vault"]}), "spec.tools.allow[0]"),
    "an unknown policy": (with_spec(tools={"mutations": "Always"}), "spec.tools.mutations"),
    "anonymous with rules": (with_spec(access={"anonymous": True, "allow": [RULE]}), "allow has no meaning beside it"),
    "the API server's audience": (
        with_spec(access={"audiences": ["https://kubernetes.default.svc"]}),
        "the API server's audience can't be accepted",
    ),
    "a pattern of namespaces": (
        with_spec(access={"allow": [RULE | {"namespace": "team-*"}]}),
        "there is no pattern for it",
    ),
    "the same caller twice": (with_spec(access={"allow": [RULE, RULE]}), "Duplicate value"),
    "an address that is no CIDR": (
        with_spec(network={"egress": "CIDRs", "cidrs": ["192.0.2.1"]}),
        "each of cidrs must be a CIDR",
    ),
    "CIDRs without cidrs": (with_spec(network={"egress": "CIDRs"}), "cidrs belongs to egress: CIDRs"),
    "cidrs without CIDRs": (with_spec(network={"cidrs": ["192.0.2.0/24"]}), "cidrs belongs to egress: CIDRs"),
    "too many labels": (
        with_spec(workload={"labels": {f"label-{index}": "x" for index in range(33)}}),
        "must have at most 32 items",
    ),
    "the operator's own label": (
        with_spec(workload={"labels": {"mcp-connectors.io/connector": "other"}}),
        "are set by the operator or by your GitOps tool",
    ),
    "a proxy with credentials": (
        with_spec(workload={"proxy": {"url": "http://user:pw@proxy.example.com:3128"}}),
        "url must look like http://proxy.example.com:3128",
    ),
    "fewer pods than none": (with_spec(workload={"replicas": -1}), "spec.workload.replicas"),
    "an unknown field": (with_spec(probe={"intervall": "30s"}), 'unknown field "spec.probe.intervall"'),
    "a pod template": (with_spec(workload={"template": {}}), 'unknown field "spec.workload.template"'),
    "no source": (with_source(secret=None), "exactly one source must be set"),
    "two sources": (
        with_source(
            vault={
                "address": "https://vault.vault.svc:8200",
                "auth": {"jwt": {"role": "reader"}},
                "secrets": [{"kv": {"mount": "secret", "path": "a"}, "fields": {"token": "token"}}],
            }
        ),
        "exactly one source must be set",
    ),
    "no host for credentials": (with_source(hosts=[]), "spec.hosts"),
    "no word about hosts": (with_source(hosts=None), "hosts must say where these credentials may be sent"),
    "a Secret of another namespace": (
        with_source(secret={"name": "a", "namespace": "b"}),
        'unknown field "spec.secret.namespace"',
    ),
    "a class of another namespace": (
        with_source(secret=None, csi={"secretProviderClass": "a", "namespace": "b"}),
        'unknown field "spec.csi.namespace"',
    ),
    "a file outside of the volume": (
        with_source(secret=None, csi={"secretProviderClass": "a", "items": {"token": "../x"}}),
        "spec.csi.items.token",
    ),
    "the same Secret twice": (
        with_source(secret=None, secrets=[{"name": "a", "items": {"token": "x"}}] * 2),
        "Duplicate value",
    ),
    "one of several Secrets without items": (
        with_source(secret=None, secrets=[{"name": "a"}]),
        "spec.secrets[0].items: Required value",
    ),
    "a value whose field can't be": (
        with_source(values={"User": "a"}),
        "the fields of values are lower-case words with underscores",
    ),
    "values of an identity": (
        with_source(secret=None, values={"user": "a"}, workloadIdentity={"aws": {"podIdentity": {}}}),
        "values have no meaning beside workloadIdentity",
    ),
    "no identity at AWS": (with_identity(), "aws must name exactly one identity"),
    "two identities at AWS": (with_identity(roleArn=ROLE, podIdentity={}), "aws must name exactly one identity"),
    "an audience for nobody": (with_identity(podIdentity={}, audience="a"), "audience belongs to roleArn"),
    "a role that is none": (with_identity(roleArn="administrator-of-all"), "spec.workloadIdentity.aws.roleArn"),
    "a URL for a host": (with_source(hosts=["https://vault.vault.svc"]), "spec.hosts[0]"),
    "a URL for a proxy": (with_source(proxies=["http://proxy.example.com:3128"]), "spec.proxies[0]"),
    "no items": (with_source(secret={"name": "a", "items": {}}), "items must map 1 to 16 fields"),
    "a field that can't be": (
        with_source(secret={"name": "a", "items": {"Token": "token"}}),
        "the fields of items are lower-case words with underscores",
    ),
    "a key that can't be": (with_source(secret={"name": "a", "items": {"token": "../x"}}), "spec.secret.items.token"),
}
