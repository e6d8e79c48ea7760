"""Rules and dashboards: promtool takes them, each alert is tested, and Grafana gets what it expects of a dashboard."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from rendering import ROOT, Manifest, load, of_kind, only, render, tool_path

from support import npm

RULES = ROOT / "config/prometheus/rules.yaml"
TESTS = ROOT / "config/prometheus/rules_test.yaml"
DASHBOARDS = sorted((ROOT / "config/grafana").glob("*.json"))
AUDIT = ROOT / "config/audit"
# Grafana's own schema, as TypeScript.
SCHEMA = ROOT / "e2e/checks/grafana"

SEVERITIES = {"info", "warning", "critical"}
# The kinds of panels that the dashboards use, with what each has to have.
PANELS = {"row": set(), "timeseries": {"legend", "tooltip"}, "stat": {"reduceOptions", "colorMode"}}


def promtool(*arguments: str | Path, folder: Path | None = None) -> None:
    done = subprocess.run(
        [tool_path("promtool"), *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def alerts() -> dict[str, Manifest]:
    groups = load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", RULES)


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", TESTS.name, folder=TESTS.parent)


def test_an_alert_that_is_wrong_fails_its_test(tmp_path: Path) -> None:
    tests = load(TESTS.read_text())
    tests["tests"] = [test for test in tests["tests"] if "McpToolErrors" in str(test.get("alert_rule_test"))]
    (tmp_path / TESTS.name).write_text(yaml.safe_dump(tests))
    rules = RULES.read_text()
    assert "> 0.05" in rules
    (tmp_path / "rules.yaml").write_text(rules.replace("> 0.05", "> 0.5"))
    with pytest.raises(AssertionError, match="McpToolErrors"):
        promtool("test", "rules", TESTS.name, folder=tmp_path)


def test_every_alert_is_tested() -> None:
    fired = set(re.findall(r'alertname="(\w+)"', TESTS.read_text()))
    assert fired == set(alerts())


@pytest.mark.parametrize("name", alerts())
def test_alerts_say_what_is_and_what_to_do(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(rule["annotations"]) == {"summary", "description"}
    assert len(rule["annotations"]["description"]) > 80


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_have_the_form_that_grafana_expects(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert dashboard["schemaVersion"] >= 36
    assert re.fullmatch(r"[a-z0-9-]{1,40}", dashboard["uid"])
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
        assert PANELS[panel["type"]] <= set(panel.get("options", {})), panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["description"] and panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            used = set(re.findall(r"\$(?!__)\{?(\w+)", target["expr"]))
            assert used <= set(variables), panel["title"]


# What Grafana doesn't know of a panel, and what has to be told of it.
UNKNOWN = {
    "colour": ("red", "'\"colour\"' does not exist"),
    "type": ("graph", "'\"graph\"' is not assignable"),
    "options": ({"tooltip": {"mode": "every", "sort": "none"}}, "'\"every\"' is not assignable"),
    "targets": ([{"refId": "A", "query": "up"}], "query"),
}


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the compiler finds wrong by Grafana's schema with each dashboard, and with one that has something unknown."""
    dashboards = {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}
    for place, (value, _) in UNKNOWN.items():
        wrong = json.loads(DASHBOARDS[0].read_text())
        next(panel for panel in wrong["panels"] if panel["type"] == "timeseries")[place] = value
        dashboards[f"unknown-{place}"] = wrong
    # The compiler looks for packages beside the files. It reads the schema once for all of them.
    folder, packages = tmp_path_factory.mktemp("dashboards"), npm.installed(SCHEMA) / "node_modules"
    (folder / "node_modules").symlink_to(packages)
    for name, dashboard in dashboards.items():
        text = (SCHEMA / "dashboard.ts").read_text() + json.dumps(dashboard, indent=1) + ";\n"
        (folder / f"{name}.ts").write_text(text)
    flags = ("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext")
    words = ["node", packages / "typescript/bin/tsc", *flags, "--moduleResolution", "bundler", "--pretty", "false"]
    files = [f"{name}.ts" for name in dashboards]
    done = subprocess.run([*words, *files], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1, 2} and not done.stderr, done.stderr
    # A complaint goes on in lines that begin with spaces.
    found = dict.fromkeys(dashboards, "")
    name = None
    for line in done.stdout.splitlines(keepends=True):
        if not line.startswith(" "):
            place = re.match(r"(.+)\.ts\(", line)
            assert place and place[1] in found, f"a complaint about no dashboard: {line}"
            name = place[1]
        assert name is not None, line
        found[name] += line
    return found


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_fit_grafanas_schema(path: Path, complaints: dict[str, str]) -> None:
    assert complaints[path.stem] == ""


@pytest.mark.parametrize("place", UNKNOWN)
def test_a_panel_that_grafana_does_not_know_is_found(place: str, complaints: dict[str, str]) -> None:
    _, told = UNKNOWN[place]
    assert told in complaints[f"unknown-{place}"], complaints


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_prometheus_can_read_the_queries_of_dashboards(path: Path, tmp_path: Path) -> None:
    rules = []
    for panel in json.loads(path.read_text())["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "5m")
            rules.append({"record": f"panel:{panel['id']}:{target['refId']}", "expr": query})
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", file)


def test_a_roll_out_can_be_followed_on_the_operators_dashboard() -> None:
    figures = set(re.findall(r'"(mcpconnector_rollout_\w+)"', (ROOT / "crates/operator/src/metrics.rs").read_text()))
    panels = json.loads((ROOT / "config/grafana/operator.json").read_text())["panels"]
    queries = " ".join(target["expr"] for panel in panels for target in panel.get("targets", []))
    assert len(figures) == 4
    assert set(re.findall(r"mcpconnector_rollout_\w+", queries)) == figures


def test_the_chart_gives_rules_and_dashboards_when_asked() -> None:
    assert not of_kind(render({}), "PrometheusRule", "ConfigMap")
    manifests = render({"monitoring": {"rules": {"enabled": True}, "dashboards": {"enabled": True}}})
    groups = load(RULES.read_text())["groups"]
    assert only(manifests, "PrometheusRule")["spec"]["groups"] == groups
    dashboards = of_kind(manifests, "ConfigMap")
    assert all(config_map["metadata"]["labels"]["grafana_dashboard"] == "1" for config_map in dashboards)
    texts = [text for config_map in dashboards for text in config_map["data"].values()]
    assert sorted(map(json.dumps, map(json.loads, texts))) == sorted(
        json.dumps(json.loads(path.read_text())) for path in DASHBOARDS
    )


def test_the_prometheus_operators_form_holds_the_same_rules() -> None:
    rule = load((ROOT / "config/prometheus/prometheusrule.yaml").read_text())
    assert rule["spec"]["groups"] == load(RULES.read_text())["groups"]


def jq(query: str, *arguments: str) -> list[Manifest]:
    command = ["jq", "--compact-output", "--slurp", *arguments, "--from-file", AUDIT / query, AUDIT / "recorded-run.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_audit_queries_find_what_they_say() -> None:
    failures = jq("failures.jq")
    assert [(failure["tool"], failure["outcome"]) for failure in failures] == [
        ("get_fake_thing", "error"),
        ("no_such_tool", "denied"),
        ("get_fake_thing", "exception"),
    ]
    (calls,) = jq("calls-per-tool.jq")
    assert calls == {"get_fake_thing": 3, "delete_fake_thing": 1, "echo_fake_text": 1, "no_such_tool": 1}
    actions = jq("actions-of.jq", "--arg", "caller", "system:serviceaccount:agents:robot")
    assert [action["tool"] for action in actions] == ["echo_fake_text", "delete_fake_thing", "no_such_tool"]
    assert all("arguments" in action for action in actions)
