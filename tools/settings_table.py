"""Prints the environment variables of every process as Markdown, from the settings classes themselves.

python -m tools.settings_table            the tables
python -m tools.settings_table --write    puts them into docs/deploy.md between its two markers, and the names into
                                          the schema of the Helm chart, which takes no other under `env`
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import types
import typing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

PAGE = Path(__file__).parent.parent / "docs" / "deploy.md"
CHART_SCHEMA = Path(__file__).parent.parent / "deploy" / "helm" / "values.schema.json"
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


@dataclass(frozen=True)
class Process:
    """A process of the suite: its module, and where its settings class is."""

    title: str
    module: str
    settings_module: str
    settings_name: str = "Settings"

    @property
    def settings(self) -> type[BaseSettings]:
        """The class."""
        found: type[BaseSettings] = getattr(importlib.import_module(self.settings_module), self.settings_name)
        return found


PROCESSES = (
    Process("dataset", "services.dataset.app", "services.dataset.settings"),
    Process("tagger", "services.tagger.app", "services.tagger.settings"),
    Process("trainer", "services.trainer.app", "services.trainer.settings"),
    Process("registry", "services.registry.app", "services.registry.settings"),
    Process("notifier", "services.notifier.app", "services.notifier.settings"),
    Process("worker", "services.trainer.worker.app", "services.trainer.worker.settings", "WorkerSettings"),
    Process("gateway", "gateway.app", "gateway.settings"),
)


def variables(settings: type[BaseSettings]) -> dict[str, FieldInfo]:
    """The fields of a settings class by the name of their environment variable."""
    prefix = str(settings.model_config.get("env_prefix", ""))
    return {f"{prefix}{name}".upper(): field for name, field in settings.model_fields.items()}


def render() -> str:
    """A heading and a table for each process; what all have in common comes once, first."""
    by_process = {process.title: variables(process.settings) for process in PROCESSES}
    names = [{_bare(name): field for name, field in fields.items()} for fields in by_process.values()]
    common = {name: field for name, field in names[0].items() if all(_same(field, other.get(name)) for other in names)}
    parts = ["### Every process\n", "`<NAME>` is the prefix of the process: DATASET, TAGGER and so on.\n"]
    parts.append(_table({f"<NAME>_{name}": field for name, field in common.items()}))
    for title, fields in by_process.items():
        own = {name: field for name, field in fields.items() if _bare(name) not in common}
        parts += [f"### {title}\n", _table(own)]
    return "\n".join(parts)


def updated(page: str) -> str:
    """The page with fresh tables between its markers. Raises ValueError when it has none."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{render()}\n{END}{tail}"


def _table(fields: dict[str, FieldInfo]) -> str:
    rows = [f"| `{name}` | {_kind(field)} | {_default(field)} | {_meaning(field)} |" for name, field in fields.items()]
    return "\n".join(["| variable | type | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def _bare(name: str) -> str:
    return name.split("_", 1)[1]


def _same(field: FieldInfo, other: FieldInfo | None) -> bool:
    return other is not None and (field.annotation, field.default, field.description) == (
        other.annotation,
        other.default,
        other.description,
    )


def _kind(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    if typing.get_origin(annotation) in (Union, types.UnionType):
        annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
    if typing.get_origin(annotation) is Literal:
        return ", ".join(str(value) for value in typing.get_args(annotation))
    if annotation is SecretStr:
        return "secret"
    names = {str: "text", int: "whole number", float: "number", bool: "true, false", Path: "path"}
    return names.get(annotation, "JSON")


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        made = field.get_default(call_default_factory=True)
        # What differs from machine to machine is described, not shown.
        return f"`{made}`" if made in ([], {}) else "of the machine"
    value = field.default
    if value is PydanticUndefined:
        return "**required**"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Path):
        return "of the package" if value.is_absolute() else f"`{value}`"
    if isinstance(value, Enum):
        value = value.value
    if value is None or value == "":
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split()).replace("|", "\\|")


def with_names(schema: str) -> str:
    """The chart's schema with the names of all variables and what their values may be; which of them the chart sets
    itself it says beside them."""
    for process in PROCESSES:
        prefix = str(process.settings.model_config.get("env_prefix", ""))
        names = "|".join(sorted(name.removeprefix(prefix) for name in variables(process.settings)))
        # The pattern before the comma says what may stand there, the one after `not` what may not.
        schema, found = re.subn(rf'"pattern": "\^{prefix}[^"]*\$",', f'"pattern": "^{prefix}({names})$",', schema)
        if found != 1:
            raise ValueError(f"the schema has {found} patterns of {prefix}")
        rules = {name: rule for name, field in sorted(variables(process.settings).items()) if (rule := _rule(field))}
        at = rf'^( *)(?:"properties": {{"{prefix}.*}},\n *)?(?="propertyNames": {{\s*"pattern": "\^{prefix})'
        indent = " " * 10
        line = f'{indent}"properties": {json.dumps(rules)},\n{indent}'.replace("\\", "\\\\")
        schema = re.sub(at, line, schema, flags=re.MULTILINE)
    return schema


def _rule(field: FieldInfo) -> dict[str, Any] | None:
    """What the schema can say of a value. A number or a switch in quotes is right as well: its variable is a text."""
    if typing.get_origin(field.annotation) is Literal:
        return {"enum": list(typing.get_args(field.annotation))}
    if field.annotation is bool:
        words = ("true", "false", "yes", "no", "on", "off", "t", "f", "y", "n", "1", "0")
        written = dict.fromkeys(form for word in words for form in (word, word.capitalize(), word.upper()))
        return {"enum": [True, False, *written]}
    if field.annotation not in (int, float):
        return None
    kind = "integer" if field.annotation is int else "number"
    bounds: dict[str, Any] = {"type": [kind, "string"], "pattern": r"^\s*[-+]?[0-9][0-9_.eE+-]*\s*$"}
    for rule in field.metadata:
        for mark, word in (
            ("ge", "minimum"),
            ("gt", "exclusiveMinimum"),
            ("le", "maximum"),
            ("lt", "exclusiveMaximum"),
        ):
            if hasattr(rule, mark):
                bounds[word] = getattr(rule, mark)
    return bounds


def main(arguments: list[str]) -> int:
    """The exit code."""
    if arguments == ["--write"]:
        CHART_SCHEMA.write_text(with_names(CHART_SCHEMA.read_text(encoding="utf-8")), encoding="utf-8")
        PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    print(render())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
