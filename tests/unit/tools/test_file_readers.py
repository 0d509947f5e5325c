"""The table of docs/files.md is the one that the facts give."""

from __future__ import annotations

from services.trainer.recipe.families import families
from services.trainer.recipe.families.readers import TOOLS, file_notes, forms_for, why_not
from tools.file_readers import PAGE, parts
from tools.marked_pages import refreshed


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert refreshed(page, parts()) == page, "run: python -m tools.file_readers --write"


def test_a_tool_either_applies_a_file_or_the_user_is_told_why_not() -> None:
    for facts in families().values():
        for adapter in facts.adapters:
            notes = file_notes(facts, adapter)
            for tool in TOOLS:
                told = [note for note in notes if note.startswith(f"{tool} ")]
                assert bool(forms_for(tool, facts, adapter)) == (why_not(tool, facts, adapter) == "") == (not told)
                assert all(f"use {tool}" not in note and f"or {tool}" not in note for note in told)


def test_what_dora_looks_like_in_automatic1111_is_told() -> None:
    first, second = file_notes(families()["sdxl"], "dora")
    assert first == (
        "Automatic1111 scales DoRA along the other side of each weight, so its pictures differ; "
        "use ComfyUI, Forge or diffusers."
    )
    assert second.startswith("sd-scripts leaves DoRA's scales out")
    assert file_notes(families()["sdxl"], "lora") == ()
