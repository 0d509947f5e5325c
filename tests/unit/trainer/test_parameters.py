"""Resolving parameters: defaults, types, limits, and the field that a refusal names."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from services.trainer.recipe.parameter_spec import InvalidParameter, InvalidParameters, ParameterSpec
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve

SPECS = {spec.name: spec for spec in DEFAULT_SPECS}


def test_every_parameter_has_a_default_that_its_own_spec_accepts() -> None:
    assert all(spec.check(spec.default) == spec.default for spec in DEFAULT_SPECS)
    assert resolve(DEFAULT_SPECS, {}).num_epochs == SPECS["num_epochs"].default


def test_whole_floats_pass_as_integers_because_json_has_only_floats() -> None:
    assert resolve(DEFAULT_SPECS, {"num_epochs": 7.0}).num_epochs == 7
    assert isinstance(resolve(DEFAULT_SPECS, {"learning_rate": 1}).learning_rate, float)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("num_epochs", 0, "between 1 and 200"),
        ("num_epochs", 10_000, "between 1 and 200"),
        ("num_epochs", 2.5, "a whole number"),
        ("num_epochs", True, "a whole number"),
        ("learning_rate", float("nan"), "between"),
        ("seed", -1, "between 0 and 2147483647, got -1"),
        ("learning_rate", "fast", "a number"),
        ("flip", 1, "true or false"),
        ("optimizer", "sgd", "adamw, adamw8bit"),
        ("trigger_word", "x" * 65, "at most 64 characters"),
        ("preview_prompts", ["a"] * 9, "at most 8 entries"),
        ("preview_seeds", [1] * 9, "at most 8 entries"),
        ("preview_seeds", [-1], "whole numbers from 0"),
        ("preview_seeds", [2**31], "whole numbers from 0"),
        ("preview_seeds", [True], "whole numbers from 0"),
        ("preview_seeds", 7, "a list of whole numbers"),
        ("preview_prompts", "a dog", "a list of texts"),
        ("preview_prompts", ["x" * 501], "at most 500 characters"),
        ("epochs", 3, "not a parameter"),
    ],
)
def test_a_refusal_names_the_field_and_what_is_accepted(name: str, value: object, words: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        resolve(DEFAULT_SPECS, {name: value})
    (fault,) = caught.value.faults
    assert fault.field == name
    assert words in fault.message


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"adapter": "lokr", "train_text_encoder": True}, "train_text_encoder"),
        ({"optimizer": "schedule_free", "lr_scheduler": "cosine"}, "lr_scheduler"),
        ({"optimizer": "prodigy", "learning_rate": 1e-4}, "learning_rate"),
        ({"optimizer": "prodigy", "text_encoder_learning_rate": 0.5}, "text_encoder_learning_rate"),
        ({"crop_variants": 4}, "crop_jitter"),
    ],
)
def test_parameters_that_exclude_each_other_are_refused(given: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        resolve(DEFAULT_SPECS, given)
    assert [fault.field for fault in caught.value.faults] == [field]


def test_an_optimizer_that_finds_its_own_rate_has_defaults_of_its_own() -> None:
    own = resolve(DEFAULT_SPECS, {"optimizer": "prodigy"})
    assert (own.learning_rate, own.text_encoder_learning_rate, own.lr_scheduler) == (1.0, 1.0, "constant")
    given = {"optimizer": "prodigy", "learning_rate": 0.5, "lr_scheduler": "cosine"}
    chosen = resolve(DEFAULT_SPECS, given)
    assert (chosen.learning_rate, chosen.text_encoder_learning_rate, chosen.lr_scheduler) == (0.5, 0.5, "cosine")
    assert resolve(DEFAULT_SPECS, {"optimizer": "schedule_free"}).lr_scheduler == "constant"
    # A base model's limits are for the rates of the others.
    narrow = {"learning_rate": {"default": 1e-3, "maximum": 1e-2}}
    specs = [spec.override(narrow.get(spec.name, {})) for spec in DEFAULT_SPECS]
    assert resolve(specs, {"optimizer": "prodigy"}).learning_rate == 1.0


def test_what_was_resolved_resolves_to_itself() -> None:
    """The trainer resolves a job when it is made, the worker once more when it is trained."""
    for optimizer in SPECS["optimizer"].choices:
        first = resolve(DEFAULT_SPECS, {"optimizer": optimizer})
        assert resolve(DEFAULT_SPECS, asdict(first)) == first


def test_a_rate_of_0_for_the_text_encoder_takes_the_denoisers() -> None:
    found = resolve(DEFAULT_SPECS, {"learning_rate": 3e-4, "text_encoder_learning_rate": 0})
    assert found.text_encoder_learning_rate == 3e-4


def test_all_that_is_wrong_is_named_at_once_in_the_order_of_the_specs() -> None:
    given = {
        "preview_steps": 0, "rank": 0, "optimizer": "sgd", "learning_rate": float("nan"), "no_such": 1,
        "adapter": "lokr", "train_text_encoder": True, "crop_variants": 4,
    }  # fmt: skip
    with pytest.raises(InvalidParameters) as caught:
        resolve(DEFAULT_SPECS, given)
    fields = [fault.field for fault in caught.value.faults]
    assert fields == [
        "no_such", "learning_rate", "optimizer", "rank", "train_text_encoder", "crop_jitter", "preview_steps"
    ]  # fmt: skip


def test_a_refused_value_is_not_held_against_those_that_go_with_it() -> None:
    with pytest.raises(InvalidParameters) as caught:
        resolve(DEFAULT_SPECS, {"optimizer": "schedule_free", "lr_scheduler": "sine", "crop_variants": 99})
    assert [fault.field for fault in caught.value.faults] == ["lr_scheduler", "crop_variants"]


def test_a_base_model_may_narrow_limits_but_not_contradict_itself() -> None:
    narrowed = SPECS["rank"].override({"default": 8, "maximum": 16})
    assert (narrowed.default, narrowed.maximum) == (8, 16)
    with pytest.raises(InvalidParameter, match="between"):
        SPECS["rank"].override({"default": 32, "maximum": 16})
    with pytest.raises(InvalidParameter, match="cannot change type"):
        SPECS["rank"].override({"type": "string"})


def test_a_spec_without_limits_accepts_any_finite_number() -> None:
    free = ParameterSpec("x", "float", 0.0, None, None, (), "")
    assert free.check(-1e9) == -1e9
    with pytest.raises(InvalidParameter):
        free.check(float("inf"))
