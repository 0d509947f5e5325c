"""Commands in groups, in the order in which people need them, also where a terminal is too narrow for panels."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

# Cells; below, a panel would cut the names of options.
_WIDE = 80


def markup_mode() -> Any:
    """Typer's panels where the terminal has room for them; None is plain text, which cuts no name."""
    return "rich" if shutil.get_terminal_size().columns >= _WIDE else None


class Grouped(TyperGroup):
    """A group whose help lists its commands by `panels`, in their order."""

    panels: Sequence[str] = ()

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands by panel, and within one as they were made; those without a panel come last."""
        return sorted(super().list_commands(ctx), key=lambda name: self._place(ctx, name))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the plain help's commands, a section for each panel."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command and not command.hidden:
                sections.setdefault(self._panel(command) or "Commands", []).append((name, command.help or ""))
        for panel, rows in sections.items():
            with formatter.section(panel):
                formatter.write_dl([(name, " ".join(text.split())) for name, text in rows])

    def _place(self, ctx: Any, name: str) -> int:
        panel = self._panel(self.get_command(ctx, name))
        return self.panels.index(panel) if panel in self.panels else len(self.panels)

    @staticmethod
    def _panel(command: Any) -> str:
        return getattr(command, "rich_help_panel", None) or ""


def by(*panels: str) -> type[Grouped]:
    """The class of a group whose panels come in this order."""
    return type("Grouped", (Grouped,), {"panels": panels})
