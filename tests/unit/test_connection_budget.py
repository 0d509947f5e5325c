"""docs/servers.md adds up the connections to PostgreSQL as settings and chart have them."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import yaml

from services.chassis.store_settings import SqlSettings

ROOT = Path(__file__).parents[2]
SERVICES = ("dataset", "tagger", "trainer", "registry", "notifier")


def test_the_page_adds_up_what_settings_and_chart_say() -> None:
    chart = yaml.safe_load((ROOT / "deploy" / "helm" / "values.yaml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "servers.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\w+) \|(.+)\|$", page.partition("### How many connections")[2], re.MULTILINE))
    least = most = 0
    for name in SERVICES:
        settings = import_module(f"services.{name}.settings").Settings
        assert issubclass(settings, SqlSettings)
        pool = settings.model_fields["database_pool_size"].default
        part = chart[name]
        scale = part["autoscaling"]
        low, high = (
            (scale["minReplicas"], scale["maxReplicas"]) if scale["enabled"] else (part["replicas"], part["replicas"])
        )
        each = 2 * pool + 1
        spans = [f"{low} to {high}" if high > low else str(low)]
        spans += [f"{low * each} to {high * each}" if high > low else str(low * each)]
        assert [cell.strip() for cell in rows[name].split("|")] == [str(pool), str(each), *spans]
        least, most = least + low * each, most + high * each
    assert rows["together"].split("|")[-1].strip() == f"{least} to {most}"
