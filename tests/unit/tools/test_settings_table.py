"""The page of variables says what the settings classes say."""

from __future__ import annotations

import pytest

from tools.settings_table import BEGIN, CHART_SCHEMA, END, PAGE, PROCESSES, render, updated, variables, with_names


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert updated(page) == page, "run: python -m tools.settings_table --write"


def test_the_chart_takes_every_variable_and_no_other() -> None:
    schema = CHART_SCHEMA.read_text(encoding="utf-8")
    assert with_names(schema) == schema, "run: python -m tools.settings_table --write"


def test_every_variable_of_every_process_is_in_a_table() -> None:
    tables = render()
    for process in PROCESSES:
        for name in variables(process.settings):
            common = f"`<NAME>_{name.split('_', 1)[1]}`"
            assert f"| `{name}` |" in tables or f"| {common} |" in tables, name


def test_types_and_defaults_are_shown_as_people_write_them() -> None:
    tables = render()
    assert "| `<NAME>_LOG_LEVEL` | DEBUG, INFO, WARNING, ERROR | `INFO` |" in tables
    assert "| `REGISTRY_S3_SECURE` | true, false | `false` | use https |" in tables
    assert "| `REGISTRY_S3_SECRET_KEY` | secret |  |" in tables
    assert "| `WORKER_SCRATCH_DIR` | path | of the machine |" in tables


def test_a_page_without_its_markers_is_refused() -> None:
    assert updated(f"a\n{BEGIN}\nold\n{END}\nb").startswith(f"a\n{BEGIN}\n\n### Every process")
    with pytest.raises(ValueError, match="needs the lines"):
        updated("no markers")
