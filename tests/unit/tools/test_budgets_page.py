"""The page about budgets says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from services.chassis.budget_policy import parse
from services.chassis.budgets import BUDGETS
from services.chassis.settings import BudgetSettings
from services.dataset.settings import Settings as DatasetSettings
from services.notifier.settings import Settings as NotifierSettings
from services.registry.settings import Settings as RegistrySettings
from services.trainer.settings import Settings as TrainerSettings

PAGE = (Path(__file__).parents[3] / "docs" / "budgets.md").read_text(encoding="utf-8")
SETTINGS: dict[str, type[BudgetSettings]] = {
    "dataset": DatasetSettings,
    "trainer": TrainerSettings,
    "registry": RegistrySettings,
    "notifier": NotifierSettings,
}


def test_every_budget_is_listed_with_its_service_and_default() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| (\w+) \| ([^|]+) \|", PAGE, flags=re.MULTILINE)
    assert [name for name, *_ in rows] == list(BUDGETS)
    for name, service, default in rows:
        limit = SETTINGS[service].model_fields[f"budget_{name}"].default
        assert default == (f"{limit:,}" if limit else "no limit"), name


def test_the_example_of_the_policy_file_is_a_policy() -> None:
    found = re.search(r"```toml\n(.+?)```", PAGE, flags=re.DOTALL)
    assert found
    defaults, projects = parse(found.group(1))
    assert (defaults["running_jobs"], projects["acme"]["stored_bytes"]) == (1, 0)
