"""Agents that are made with LangChain: its adapter takes every tool of every platform, with the arguments that it has."""

import json
from pathlib import Path
from typing import Any

import yaml

from local.program import local
from local.test_serve import names, url_of, use
from support.machine import ROOT, run

AGENT = Path(__file__).parent / "langchain_agent.py"
# Nobody listens there. Tools are offered all the same.
NOWHERE = "http://127.0.0.1:9"
PLAIN: dict[str, dict[str, Any]] = {
    "argoCd": {"url": NOWHERE, "insecureHttp": True},
    "circleCi": {"url": NOWHERE, "insecureHttp": True},
    "cloudWatch": {"region": "eu-central-1", "endpoint": NOWHERE, "insecureHttp": True},
    "vault": {"url": NOWHERE, "insecureHttp": True},
}
FIELDS = {
    "argoCd": ["token"],
    "circleCi": ["token"],
    "cloudWatch": ["access_key_id", "secret_access_key"],
    "vault": ["token"],
}


def manifests(platform: str) -> str:
    """A connector to a platform that isn't there, which may do everything."""
    name, fields = platform.lower(), FIELDS[platform]
    metadata = {"name": name, "namespace": "ci"}
    kinds = {"apiVersion": "mcp-connectors.io/v1alpha1"}
    spec = {
        "platform": {platform: PLAIN[platform]},
        "credentials": {"name": name},
        "tools": {"mutations": "Confirm"},
    }
    items = {field: field for field in fields}
    source = {"hosts": ["127.0.0.1"], "secret": {"name": name, "items": items}}
    return yaml.safe_dump_all(
        [
            kinds | {"kind": "CredentialSource", "metadata": metadata, "spec": source},
            kinds | {"kind": "McpConnector", "metadata": metadata, "spec": spec},
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict.fromkeys(fields, "planted")},
        ]
    )


def test_its_adapter_takes_every_tool_and_calls_one(folder: Path) -> None:
    for platform in PLAIN:
        (folder / f"{platform}.yaml").write_text(manifests(platform))
    with local("-f", folder) as running:
        urls = [url_of(running)]
        urls += [running.wait_for(rf"^ci/{name.lower()}: serving at (\S+)").group(1) for name in PLAIN]
        told = run(ROOT / "e2e/checks/tool", "python-langchain", AGENT, *urls, "search_jenkins_jobs")
        offered = {url: use(url, names) for url in urls}
    seen = json.loads(told)
    assert {url: sorted(tool["name"] for tool in tools) for url, tools in seen["tools"].items()} == offered
    for tool in (tool for tools in seen["tools"].values() for tool in tools):
        assert tool["description"], tool["name"]
        assert tool["parameters"]["type"] == "object", tool["name"]
    answer = seen["answer"]
    assert (answer["status"], bool(answer["artifact"]["structured_content"]["items"])) == ("success", True), answer
