"""Reads settings from the environment, and says what is wrong with them: a line for each variable."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

# Kubernetes gives every pod variables named after the Services around it (DATASET_SERVICE_HOST, DATASET_PORT_80_TCP).
_SERVICE_LINK = re.compile(r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_\w+)?)")

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load(settings_class: type[SettingsT], environ: Mapping[str, str] | None = None) -> SettingsT:
    """Reads a settings class from the environment; on a mistake prints one line a variable and exits with 2.

    A variable with the class's prefix that no field knows is a mistake too: a typo must not be ignored in silence.
    `environ` is what typo detection looks at, by default the environment of the process.
    """
    prefix = str(settings_class.model_config.get("env_prefix", ""))
    problems = _unknown_variables(settings_class, prefix, os.environ if environ is None else environ)
    settings: SettingsT | None = None
    try:
        settings = settings_class()
    except ValidationError as error:
        problems += [f"  {line}" for line in wrong_variables(prefix, error, settings_class.model_fields)]
    if settings is None or problems:
        raise SystemExit(_refused(problems))
    return settings


class WrongSetting(Exception):
    """A setting turned out to be wrong when it was put to use. field: as the settings class spells it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@contextmanager
def blaming(field: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns the block's errors into WrongSetting of a field."""
    try:
        yield
    except errors as error:
        raise WrongSetting(field, str(error)) from error


def refuse(settings: BaseSettings, error: WrongSetting) -> int:
    """Prints the variable and what is wrong with it, as `load` does; the exit code."""
    return _refused([f"  {variable(settings, error.field)}: {error}"])


def variable(settings: BaseSettings, field: str) -> str:
    """The name of a field's variable."""
    return f"{settings.model_config.get('env_prefix', '')}{field}".upper()


def _refused(problems: Sequence[str]) -> int:
    print("\n".join(["The settings are wrong:", *problems]), file=sys.stderr)
    return 2


def wrong_variables(prefix: str, error: ValidationError, fields: Mapping[str, FieldInfo]) -> list[str]:
    """A line for each wrong variable: its name and what is wrong with it. fields: in what is said of several together
    they get their variables' names."""
    return [_line(prefix, item, fields) for item in error.errors(include_url=False)]


def is_service_link(name: str, prefix: str) -> bool:
    """Whether Kubernetes has set the variable for a Service whose name begins like ours."""
    return _SERVICE_LINK.fullmatch(name.upper().removeprefix(prefix.upper())) is not None


def _unknown_variables(settings_class: type[BaseSettings], prefix: str, environ: Mapping[str, str]) -> list[str]:
    if not prefix:
        return []
    known = {f"{prefix}{name}".upper() for name in settings_class.model_fields}
    given = [name for name in environ if name.upper().startswith(prefix.upper()) and name.upper() not in known]
    unknown = [name for name in given if not is_service_link(name, prefix)]
    return [f"  {name}: {no_such_setting(name, prefix, known)}" for name in sorted(unknown)]


def no_such_setting(name: str, prefix: str, known: Iterable[str]) -> str:
    """What to say of a variable that nobody reads. known: those that are read, with the prefix, in capitals."""
    bare = [each.removeprefix(prefix.upper()) for each in sorted(known)]
    near = get_close_matches(name.upper().removeprefix(prefix.upper()), bare, n=1, cutoff=0.7)
    return f"no such setting. Did you mean {prefix.upper()}{near[0]}?" if near else "no such setting"


def _line(prefix: str, item: Any, fields: Mapping[str, FieldInfo]) -> str:
    name = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "string_pattern_mismatch" and name in fields and fields[name].description:
        # An expression says nothing to whom it would help.
        message = f"is not of that form: {fields[name].description}"
    if name:
        return f"{prefix}{name}".upper() + f": {message}"
    words = sorted(map(re.escape, fields), key=len, reverse=True)
    known = re.compile(rf"\b({'|'.join(words)})\b") if words else None
    return known.sub(lambda found: f"{prefix}{found[0]}".upper(), message) if known else message
