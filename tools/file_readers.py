"""Writes the table of docs/files.md: which tool applies which file, from the families' facts.

    python -m tools.file_readers            the table
    python -m tools.file_readers --write    puts it into the page

tests/integration/trainer/test_file_readers.py proves the facts by the tools' own rules.
"""

from __future__ import annotations

import sys

from services.trainer.recipe.families import families
from services.trainer.recipe.families.readers import TOOLS, forms_for, why_not
from services.trainer.recipe.parameters import DEFAULT_SPECS
from tools.marked_pages import DOCS, cell, refresh, table

PAGE = DOCS / "files.md"


def parts() -> dict[str, str]:
    """The generated parts of the page by name."""
    return {"readers": readers()}


def readers() -> str:
    """A row for each family and adapter, a column for each tool: the files that it applies rightly, or why none."""
    adapters = next(spec.choices for spec in DEFAULT_SPECS if spec.name == "adapter")
    rows = []
    for facts in families().values():
        for adapter in adapters:
            if adapter in facts.adapters:
                cells = (", ".join(forms_for(tool, facts, adapter)) for tool in TOOLS)
                wrong = ((tool, why_not(tool, facts, adapter)) for tool in TOOLS)
                texts = (found or f"no: {reason}" for found, (_, reason) in zip(cells, wrong, strict=True))
                rows.append((facts.title, f"`{adapter}`", *(cell(text) for text in texts)))
            else:
                rows.append((facts.title, f"`{adapter}`", *("refused" for _ in TOOLS)))
    return table(("family", "adapter", *TOOLS), rows)


if __name__ == "__main__":
    if "--write" in sys.argv:
        refresh(PAGE, parts())
    else:
        print(readers())
