"""What the services say of parameters, models and errors is known to the console in Chinese."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from services.chassis.budgets import BUDGETS
from services.tagger.adapters.installed import InstalledTaggers
from services.trainer.recipe.parameters import DEFAULT_SPECS

ROOT = Path(__file__).parents[2]
STRINGS = ROOT / "gateway" / "console" / "src" / "lib" / "strings"
_TEXT = r"'((?:[^'\\]|\\.)*)'"

# No page of the console asks for these: archives, imports, JSON over HTTP, a worker's calls, the provider's way back.
ELSEWHERE = {
    "ADAPTER_CONFIG_INVALID", "ADAPTER_CONFIG_UNUSED", "ARCHIVE_DIGEST_MISMATCH", "ARCHIVE_EMPTY",
    "ARCHIVE_ENTRY_UNSUPPORTED", "ARCHIVE_NESTED", "ARCHIVE_TOO_LARGE", "BODY_AND_QUERY_DIFFER", "BODY_OVERRIDES_PATH",
    "CALLER_NOT_ALLOWED", "DATABASE_UNFIT", "EPOCHS_MISSING", "EPOCH_OUT_OF_ORDER", "FIELD_TYPE_WRONG", "FIELD_UNKNOWN",
    "FORM_NOT_POSSIBLE", "INTERNAL_TOKEN_WRONG", "JSON_INVALID", "MESSAGE_MALFORMED", "METRIC_KEYS_AMBIGUOUS",
    "OBJECT_TOO_SHORT", "OIDC_ANSWER_USED", "OIDC_CODE_REFUSED", "OIDC_ISSUER_WRONG", "OIDC_OFF",
    "OIDC_SIGN_IN_REFUSED", "OIDC_STATE_WRONG", "OIDC_TOKEN_WRONG", "OIDC_UNAVAILABLE", "PAGE_UNKNOWN",
    "PROJECTS_HEADER_MISSING", "RANGE_NOT_SATISFIABLE", "RETURN_ADDRESS_WRONG", "SCHEMA_IN_USE", "SCHEMA_TOO_NEW",
    "SCHEMA_TOO_OLD", "UPLOAD_HEADER_MISSING", "UPLOAD_HEADER_REPEATED", "UPLOAD_NOT_FOUND",
}  # fmt: skip


def parameters() -> dict[str, str]:
    """Chinese names by the API's."""
    text = (STRINGS / "zhParameters.ts").read_text(encoding="utf-8").partition("export const descriptions")[0]
    return dict(re.findall(rf"^  (\w+): {_TEXT},$", text, flags=re.MULTILINE))


def descriptions() -> dict[str, str]:
    """Chinese sentences by the services' own."""
    text = (STRINGS / "zhParameters.ts").read_text(encoding="utf-8").partition("export const descriptions")[2]
    found = re.findall(rf"^  {_TEXT}:\s+{_TEXT},$", text, flags=re.MULTILINE)
    found += re.findall(rf"^  (\w+): {_TEXT},$", text, flags=re.MULTILINE)
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
    for tagger in (backend.describe() for backend in shelf.backends):
        said += [tagger.description, tagger.display_name]
    assert len(said) > 1
    assert set(said) - descriptions().keys() == set()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_budget_has_a_name(language: str) -> None:
    text = (STRINGS / f"{language}Operate.ts").read_text(encoding="utf-8")
    named = re.findall(r"(\w+): '", text.partition("budgets: {")[2].partition("}")[0])
    assert set(BUDGETS) - set(named) == set()


def test_every_error_of_a_page_is_told() -> None:
    raised = {
        reason
        for folder in ("services", "gateway")
        for path in (ROOT / folder).rglob("*.py")
        if not {"cli", "supervisor", "console"} & set(path.relative_to(ROOT).parts)
        for reason in re.findall(r'reason="([A-Z_]+)"', path.read_text(encoding="utf-8"))
    }
    assert len(raised) > 120
    assert raised - set(told_reasons()) - ELSEWHERE == set()
    assert ELSEWHERE - raised == set()


def told_reasons() -> list[str]:
    text = (STRINGS / "zhFaults.ts").read_text(encoding="utf-8")
    return re.findall(r"^  ([A-Z_]+): \['", text, flags=re.MULTILINE)


def test_every_error_that_is_told_exists() -> None:
    reasons = told_reasons()
    assert len(reasons) > 150
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("services", "gateway", "sdk")
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts and not path.name.endswith("_pb2.py")
    )
    assert [reason for reason in reasons if f'"{reason}"' not in code] == []
