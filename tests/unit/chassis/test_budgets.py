"""Budgets of projects: the rules, and the policy file that they come from."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.chassis import grpc_errors
from services.chassis.budget_policy import LARGEST, InvalidPolicy, PolicyFile, parse, project_budgets
from services.chassis.budgets import DATASETS, IMAGES, STORED_BYTES, UPLOADS, AtOnce, Budgets
from services.chassis.errors import ResourceExhausted
from services.chassis.request_context import RequestContext, use
from services.chassis.setting_loading import WrongSetting
from services.chassis.settings import BudgetSettings


def budgets(**limits: int) -> Budgets:
    return Budgets(lambda project: limits if project == "acme" else {})


def write(file: Path, text: str) -> None:
    """As an editor saves: a new file in place of the old."""
    partial = file.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, file)


def test_what_fits_is_taken_and_one_more_is_refused() -> None:
    ours = budgets(images=3)
    ours.check("acme", IMAGES, 2)
    ours.check("acme", DATASETS, 10**12)
    ours.check("other", IMAGES, 3)
    with pytest.raises(ResourceExhausted):
        ours.check("acme", IMAGES, 3)
    with pytest.raises(ResourceExhausted):
        ours.check("acme", IMAGES, 2, wanted=2)


def test_a_refusal_names_budget_use_limit_field_and_remedy_across_the_wire() -> None:
    with pytest.raises(ResourceExhausted) as caught:
        budgets(stored_bytes=1000).check("acme", STORED_BYTES, 900, wanted=200, field="header.parent")
    error = grpc_errors.from_proto(grpc_errors.to_proto(caught.value))
    assert isinstance(error, ResourceExhausted)
    assert error.message == (
        "The budget 'stored_bytes' of projects/acme is used up: 900 of 1000 bytes are in use, and 200 more are needed"
    )
    assert (error.reason, error.field) == ("BUDGET_USED_UP", "header.parent")
    assert error.metadata == {"budget": "stored_bytes", "used": "900", "limit": "1000"}
    (quota,) = error.quotas
    assert quota.subject == "projects/acme"
    assert quota.description == "stored_bytes: 900 of 1000 bytes are in use, and 200 more are needed"
    assert error.remedy.startswith("Delete images")
    assert "operator" in error.remedy
    assert error.retry_after_s is None


def test_calls_at_once_are_counted_by_project_until_they_end() -> None:
    at_once = AtOnce(budgets(uploads=2), UPLOADS)
    with at_once.one("acme"), at_once.one("acme"), at_once.one("other"), at_once.one("other"), at_once.one("other"):
        with pytest.raises(ResourceExhausted) as caught, at_once.one("acme"):
            pass
        assert caught.value.retry_after_s
        assert (at_once.of("acme"), at_once.of("other")) == (2, 3)
    assert (at_once.of("acme"), at_once.of("other")) == (0, 0)


def test_one_caller_leaves_places_for_the_others_of_its_project() -> None:
    at_once = AtOnce(budgets(uploads=16), UPLOADS)

    def taken(caller: str, places: ExitStack) -> int:
        """How many it gets of those that are left."""
        with use(RequestContext(principal=caller)):
            for number in range(20):
                try:
                    places.enter_context(at_once.one("acme"))
                except ResourceExhausted:
                    return number
        raise AssertionError("no end")

    with ExitStack() as places:
        assert [taken(caller, places) for caller in ("key:slow", "key:slow", "key:other", "key:third")] == [14, 0, 2, 0]
        assert at_once.of("acme") == 16
    # A process of the suite that works for nobody in particular has all of them.
    with ExitStack() as places:
        assert taken("", places) == 16
    assert at_once.of("acme") == 0


def test_a_refusal_is_counted_by_its_budget() -> None:
    def refusals() -> float:
        return REGISTRY.get_sample_value("fiveshot_budget_refusals_total", {"budget": "uploads"}) or 0.0

    class Settings(BudgetSettings):
        budget_uploads: int = 1

    ours, before = project_budgets(Settings()), refusals()
    with pytest.raises(ResourceExhausted):
        ours.check("acme", UPLOADS, 1)
    assert refusals() == before + 1


def test_a_project_of_the_file_goes_before_the_files_defaults_and_these_before_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "budgets.toml"
    write(file, "[defaults]\nimages = 20\n[projects.acme]\nimages = 0\ndatasets = 7\n")
    policy = PolicyFile({"images": 10, "uploads": 5, "datasets": 6}, file)
    assert policy("other") == {"images": 20, "uploads": 5, "datasets": 6}
    assert policy("acme") == {"images": 0, "uploads": 5, "datasets": 7}
    assert Budgets(policy).limit("acme", IMAGES) == 0


def test_a_changed_file_holds_from_the_next_call_on(tmp_path: Path) -> None:
    file = tmp_path / "budgets.toml"
    write(file, "")
    ours = Budgets(PolicyFile({}, file))
    ours.check("acme", IMAGES, 5)
    write(file, "[projects.acme]\nimages = 5\n")
    with pytest.raises(ResourceExhausted):
        ours.check("acme", IMAGES, 5)
    write(file, "[projects.acme]\nimages = 6\n")
    ours.check("acme", IMAGES, 5)


def test_a_file_that_turns_wrong_leaves_what_was_known_and_is_logged_once(tmp_path: Path) -> None:
    file = tmp_path / "budgets.toml"
    write(file, "[projects.acme]\nimages = 5\n")
    policy = PolicyFile({}, file)
    with capture_logs() as logs:
        write(file, "[projects.acme]\nimages = -5\n")
        assert [policy("acme") for _ in range(3)] == [{"images": 5}] * 3
        file.unlink()
        assert [policy("acme") for _ in range(3)] == [{"images": 5}] * 3
        write(file, "[projects.acme]\nimages = 9\n")
        assert policy("acme") == {"images": 9}
    assert [entry["event"] for entry in logs] == ["budgets_file_wrong"] * 2
    assert "projects.acme.images" in logs[0]["error"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[projects.acme", "not TOML"),
        ("[default]\nimages = 1", "'default'"),
        ("projects = 3", "'projects'"),
        ("[projects]\nacme = 3", "'projects.acme'"),
        ("[projects.Acme]\nimages = 1", "projects.Acme"),
        ("[projects.acme]\npictures = 1", "projects.acme.pictures is unknown; the budgets are datasets, images"),
        ("[projects.acme]\nimages = 1.5", "projects.acme.images"),
        ("[projects.acme]\nimages = true", "projects.acme.images"),
        ("[projects.acme]\nimages = '7'", "projects.acme.images"),
        (f"[defaults]\nimages = {LARGEST + 1}", "defaults.images"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_in_it(text: str, named: str) -> None:
    with pytest.raises(InvalidPolicy, match=r".+") as caught:
        parse(text)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"images = 1"])
def test_a_wrong_file_at_the_start_is_a_wrong_setting(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "budgets.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(WrongSetting) as caught:
        project_budgets(BudgetSettings(budgets_file=file))
    assert caught.value.field == "budgets_file"


def test_an_empty_path_is_no_file() -> None:
    assert BudgetSettings.model_validate({"budgets_file": ""}).budgets_file is None
