"""Processes of our own are started without the working folder among the places of modules: whoever has an h2.py or a
queue.py there would have it loaded in place of the library, with all rights of the stack."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commands(source: str) -> Iterator[list[str]]:
    """The literal words behind `sys.executable` of each command in a program."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.List, ast.Tuple)) and node.elts and ast.unparse(node.elts[0]) == "sys.executable":
            yield [each.value for each in node.elts if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def test_no_module_of_the_working_folder_is_loaded() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {' '.join(words)}": words
        for folder in ("gateway", "services", "sdk")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for words in commands(path.read_text(encoding="utf-8"))
        if "-m" in words
    }
    assert len(found) >= 6, found
    assert not [command for command, words in found.items() if "-P" not in words]
