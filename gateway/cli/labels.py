"""`--label KEY=VALUE`, and labels as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import typer
from fiveshot.errors import InvalidArgument

Label = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label of your own; repeatable.")]

Changed = Annotated[
    list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label to set; the others stay; repeatable.")
]
Removed = Annotated[list[str] | None, typer.Option("--remove-label", metavar="KEY", help="A label to take away.")]


def changed(current: Mapping[str, str], given: Iterable[str] | None, removed: Iterable[str] | None) -> dict[str, str]:
    """The labels after a change of some. Raises InvalidArgument for a key to remove that is not there."""
    kept = dict(current)
    for key in removed or ():
        if kept.pop(key, None) is None:
            has = f"It has {', '.join(sorted(current))}." if current else "It has none."
            raise InvalidArgument(
                f"There is no label '{key[:100]}'", field="labels", reason="LABEL_MISSING", remedy=has
            )  # fmt: skip
    return kept | parsed(given)


def parsed(given: Iterable[str] | None) -> dict[str, str]:
    """The labels that were given. Raises InvalidArgument; which keys and values there may be, the service says."""
    found: dict[str, str] = {}
    for text in given or ():
        key, separator, value = text.partition("=")
        if not separator or not key or key in found:
            problem = "is given twice" if key in found else "is not KEY=VALUE"
            raise InvalidArgument(
                f"'{text[:100]}' {problem}", field="labels", reason="LABEL_INVALID", remedy="Give --label team=pets."
            )
        found[key] = value
    return found


def shown(labels: Mapping[str, str]) -> str:
    """One line, in the order of the keys."""
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
