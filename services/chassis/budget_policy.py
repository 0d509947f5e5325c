"""Where the limits of projects come from: defaults in the settings, and a policy file for the whole suite over them.

    [defaults]              # of every project that is not named below
    datasets = 50

    [projects.acme]
    datasets = 200
    gpu_seconds = 86_400    # 0 is no limit

The file counts as it is: a changed one holds from the next call on, one that turned wrong leaves what was known.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.chassis.budgets import BUDGETS, Budgets
from services.chassis.callers import Watched
from services.chassis.errors import InvalidArgument
from services.chassis.logging import get_logger
from services.chassis.names import check_id
from services.chassis.setting_loading import blaming
from services.chassis.settings import BudgetSettings
from services.chassis.telemetry import counter

log = get_logger(__name__)

LARGEST = 2**63 - 1
REFUSALS = counter("fiveshot_budget_refusals_total", "Calls refused because a budget was used up", ["budget"])
for _budget in BUDGETS:
    # A counter that begins with its first refusal hides that one from rates.
    REFUSALS.labels(_budget)


class InvalidPolicy(Exception):
    """The policy file cannot be used; the text says where it is wrong."""


class PolicyFile:
    """The limits of a project by the name of the budget. defaults: out of the settings. path: None for no file.

    Raises InvalidPolicy when the file is wrong at the start.
    """

    def __init__(self, defaults: Mapping[str, int], path: Path | None) -> None:
        self._defaults = dict(defaults)
        self._projects: Mapping[str, Mapping[str, int]] = {}
        self._file = Watched(path) if path is not None else None
        self._common = self._defaults
        self._fault = ""
        if path is not None:
            self._take_over()

    def __call__(self, project: str) -> Mapping[str, int]:
        """The limits as they are now."""
        try:
            self._take_over()
            self._fault = ""
        except InvalidPolicy as error:
            # Asked at every call; the log should hold it once.
            if str(error) != self._fault:
                self._fault = str(error)
                log.error("budgets_file_wrong", error=self._fault)
        own = self._projects.get(project)
        return {**self._common, **own} if own else self._common

    def _take_over(self) -> None:
        try:
            text = self._file.changed() if self._file is not None else None
        except UnicodeDecodeError as error:
            raise InvalidPolicy("the file is not UTF-8") from error
        except OSError as error:
            raise InvalidPolicy(f"the file cannot be read: {error.strerror}") from error
        if text is not None:
            common, self._projects = parse(text)
            self._common = {**self._defaults, **common}


def parse(text: str) -> tuple[Mapping[str, int], Mapping[str, Mapping[str, int]]]:
    """The defaults and the limits by project of a policy file. Raises InvalidPolicy."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidPolicy(f"not TOML: {error}") from error
    if unknown := sorted(document.keys() - {"defaults", "projects"}):
        raise InvalidPolicy(f"'{unknown[0]}' is unknown; use [defaults] and [projects.ID]")
    projects = document.get("projects", {})
    if not isinstance(projects, dict):
        raise InvalidPolicy("'projects' is not a table; use [projects.ID]")
    return _limits(document.get("defaults", {}), "defaults"), {
        _project(name): _limits(entry, f"projects.{name}") for name, entry in projects.items()
    }


def _project(name: str) -> str:
    try:
        return check_id(name, field="projects")
    except InvalidArgument as error:
        raise InvalidPolicy(f"projects.{name}: {error}") from error


def _limits(table: Any, where: str) -> Mapping[str, int]:
    if not isinstance(table, dict):
        raise InvalidPolicy(f"'{where}' is not a table; use [{where}]")
    for name, limit in table.items():
        if name not in BUDGETS:
            raise InvalidPolicy(f"{where}.{name} is unknown; the budgets are {', '.join(BUDGETS)}")
        if not isinstance(limit, int) or isinstance(limit, bool) or not 0 <= limit <= LARGEST:
            raise InvalidPolicy(f"{where}.{name} is not a whole number from 0, which is no limit, up to {LARGEST}")
    return table


def project_budgets(settings: BudgetSettings) -> Budgets:
    """The budgets that the settings ask for. Raises WrongSetting."""
    limits = {name: getattr(settings, f"budget_{name}", 0) for name in BUDGETS}
    with blaming("budgets_file", InvalidPolicy):
        policy = PolicyFile(limits, settings.budgets_file)
    return Budgets(policy, refused=lambda budget: REFUSALS.labels(budget).inc())
