"""The samples in config/gateway fit what they are written for: the schemas of the CRDs, and what a connector is called by.

What the API server would check besides (rules in CEL) is not, and Linkerd's own CRDs can't be had from the Go module proxy;
`e2e/local/test_gateway.py` runs the samples of nginx and Envoy.
"""

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rendering import ROOT, parse


SAMPLES = ROOT / "config" / "gateway"
# Go modules that hold CRDs: version and checksum, as in a go.sum, and where the CRDs are.
MODULES = (
    (
        "sigs.k8s.io/gateway-api@v1.4.0",
        "h1:ZwlNM6zOHq0h3WUX2gfByPs2yAEsy/EenYJB78jpQfQ=",
        "config/crd/standard/*.yaml",
    ),
    (
        "istio.io/api@v1.27.0",
        "h1:KU1DeyIvZkY2k0pF9ZY+6D0ZVB1ZgvimaPkM55NVRWk=",
        "kubernetes/customresourcedefinitions.gen.yaml",
    ),
)
# The connector that every sample leads to.
SERVICE, HOST, PORT = "mcp-jenkins", "mcp-jenkins.ci.svc", 8080
AUDIENCE = f"http://{HOST}:{PORT}/mcp"


@cache
def schemas() -> dict[tuple[str, str], dict[str, Any]]:
    """The schema of each apiVersion and kind."""
    found = {
        (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]): version["schema"][
            "openAPIV3Schema"
        ]
        for crd in parse((ROOT / "crds" / "mcpconnectors.yaml").read_text())
        for version in crd["spec"]["versions"]
    }
    for module, checksum, files in MODULES:
        # In no module of its own, so nothing but this one is fetched.
        words = ["go", "mod", "download", "-json", module]
        environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}
        done = subprocess.run(words, cwd="/", env=environment, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(done.stdout)
        assert told["Sum"] == checksum, f"{module} is not the one that was looked at"
        for file in Path(told["Dir"]).glob(files):
            for crd in parse(file.read_text()):
                for version in crd["spec"]["versions"]:
                    kind = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
                    found[kind] = version["schema"]["openAPIV3Schema"]
    return found


def closed(schema: Any) -> Any:
    """The schema, refusing fields that it doesn't name, as the API server does when it is asked to be strict."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(part) for key, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
        if not open_ended and schema["properties"]:
            result["additionalProperties"] = False
    return result


def objects(file: str) -> list[dict[str, Any]]:
    return parse((SAMPLES / file).read_text())


def check(one: dict[str, Any]) -> None:
    schema = closed(schemas()[one["apiVersion"], one["kind"]])
    # What every object has need not stand in its schema.
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
    jsonschema.Draft202012Validator(schema).validate(one)


@pytest.mark.parametrize("file", ["gateway-api.yaml", "istio.yaml", "mesh.yaml"])
def test_samples_fit_the_schemas_of_their_crds(file: str) -> None:
    for one in objects(file):
        check(one)
        broken = one | {"spec": one["spec"] | {"timeOut": "0s"}}
        with pytest.raises(jsonschema.ValidationError):
            check(broken)


def test_samples_lead_to_the_service_under_its_own_name() -> None:
    _, route = objects("gateway-api.yaml")
    (rule,) = route["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": SERVICE, "port": PORT}]
    assert rule["filters"][0]["urlRewrite"]["hostname"] == HOST

    _, service, tokens, _ = objects("istio.yaml")
    (way,) = service["spec"]["http"]
    assert (way["rewrite"]["authority"], way["timeout"], way["retries"]["attempts"]) == (HOST, "0s", 0)
    assert tokens["spec"]["jwtRules"][0]["audiences"] == [AUDIENCE]

    (envoy,) = objects("envoy.yaml")
    manager = envoy["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    way = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    assert (way["host_rewrite_literal"], way["timeout"]) == (HOST, "0s")
    assert manager["preserve_external_request_id"] is True
    assert manager["http_filters"][0]["typed_config"]["providers"]["cluster"]["audiences"] == [AUDIENCE]


def test_policies_select_the_pods_of_connectors() -> None:
    source = (ROOT / "crates" / "api" / "src" / "lib.rs").read_text()
    for policy in objects("network-policy.yaml"):
        labels = policy["spec"]["podSelector"]["matchLabels"]
        assert all(f'"{name}"' in source and f'"{value}"' in source for name, value in labels.items()), labels
