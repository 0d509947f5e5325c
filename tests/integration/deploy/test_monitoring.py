"""Dashboards and alert rules: valid, explained, up to date, and each rule fires when it should and not before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.fixtures.monitoring import DASHBOARDS, DEPLOY, RULES, expressions, panels, promtool, rules
from tests.fixtures.processes import finished
from tools import dashboards

ROOT = DEPLOY.parent
CASES = Path(__file__).with_name("rules_test.yaml")


def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    checked = finished([promtool(), "check", "rules", "--lint-fatal", RULES])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    bare = [{name: value for name, value in rule.items() if name != "annotations"} for rule in rules()]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": bare}]}))
    (tmp_path / CASES.name).write_text(CASES.read_text(encoding="utf-8"))
    tested = finished([promtool(), "test", "rules", tmp_path / CASES.name])
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_rule_is_tested_both_ways() -> None:
    cases = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    fires = {case["alertname"] for case in cases if case["exp_alerts"]}
    quiet = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    assert fires == quiet == {rule["alert"] for rule in rules()}


def test_every_query_is_valid(tmp_path: Path) -> None:
    queries = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(expressions().values())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": queries}]}))
    checked = finished([promtool(), "check", "rules", "--lint=none", file])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len(queries) > 60


def test_the_scrape_configuration_is_valid(tmp_path: Path) -> None:
    text = (DEPLOY / "prometheus" / "prometheus.yaml").read_text(encoding="utf-8")
    asked = yaml.safe_load(text)
    # Debian builds Prometheus without the discovery of Kubernetes; its two lines are left out there.
    assert asked["scrape_configs"][0].pop("kubernetes_sd_configs") == [{"role": "pod"}]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(asked))
    checked = finished([promtool(), "check", "config", "--syntax-only", tmp_path / "prometheus.yaml"])
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_has_a_severity_and_a_runbook(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^### (\w+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in [heading.lower() for heading in headings]
    assert {"summary", "description"} <= rule["annotations"].keys()


def test_dashboards_are_written_from_their_list() -> None:
    assert {path.stem for path in DASHBOARDS} == set(dashboards.DASHBOARDS)
    for path in DASHBOARDS:
        assert path.read_text(encoding="utf-8") == dashboards.render(path.stem), "python -m tools.dashboards --write"
        ids = [panel["id"] for panel in panels(path)]
        assert ids == sorted(set(ids))
