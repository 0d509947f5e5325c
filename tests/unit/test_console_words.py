"""What the services say of parameters, models and errors is known to the console in Chinese."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from services.tagger.adapters.installed import InstalledTaggers
from services.trainer.recipe.parameters import DEFAULT_SPECS

ROOT = Path(__file__).parents[2]
STRINGS = ROOT / "gateway" / "console" / "src" / "lib" / "strings"
_TEXT = r"'((?:[^'\\]|\\.)*)'"


def parameters() -> dict[str, str]:
    """Chinese names by the API's."""
    text = (STRINGS / "zhParameters.ts").read_text(encoding="utf-8").partition("export const descriptions")[0]
    return dict(re.findall(rf"^  (\w+): {_TEXT},$", text, flags=re.MULTILINE))


def descriptions() -> dict[str, str]:
    """Chinese sentences by the services' own."""
    text = (STRINGS / "zhParameters.ts").read_text(encoding="utf-8").partition("export const descriptions")[2]
    found = re.findall(rf"^  {_TEXT}:\s+{_TEXT},$", text, flags=re.MULTILINE)
    return {key.replace("\\'", "'"): value for key, value in found}


def test_every_parameter_has_a_name_and_a_description() -> None:
    known, told = parameters(), descriptions()
    assert {spec.name for spec in DEFAULT_SPECS} - known.keys() == set()
    assert {spec.description for spec in DEFAULT_SPECS} - told.keys() == set()
    assert all(re.search(r"[\u4e00-\u9fff]", text) for text in (*known.values(), *told.values()))


def test_no_name_is_of_a_parameter_that_is_gone() -> None:
    assert parameters().keys() - {spec.name for spec in DEFAULT_SPECS} == set()


def test_every_base_model_and_tagger_that_ships_is_described() -> None:
    catalogue = tomllib.loads((ROOT / "services/trainer/recipe/base_models.toml").read_text(encoding="utf-8"))
    shelf = InstalledTaggers(wd_model_dir=None, photo=False, threads=1).look()
    said = [model["description"] for model in catalogue["base_models"].values()]
    said += [backend.describe().description for backend in shelf.backends]
    assert len(said) > 1
    assert set(said) - descriptions().keys() == set()


def test_every_error_that_is_told_exists() -> None:
    text = (STRINGS / "zhFaults.ts").read_text(encoding="utf-8")
    reasons = re.findall(r"^  ([A-Z_]+): \['", text, flags=re.MULTILINE)
    assert len(reasons) > 40
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("services", "gateway", "sdk")
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts and not path.name.endswith("_pb2.py")
    )
    assert [reason for reason in reasons if f'"{reason}"' not in code] == []
