"""Presets stand between a base model's defaults and what a job says itself."""

from __future__ import annotations

import pytest

from services.trainer.models.base import OfferedModel
from services.trainer.proto_mapping.parameters import base_model_to_proto
from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE, BaseModel, InvalidCatalogue, load_catalogue
from services.trainer.recipe.parameter_spec import InvalidParameters
from services.trainer.recipe.parameters import resolve
from services.trainer.recipe.presets import preset_sets

EXAMPLES = DEFAULT_CATALOGUE.with_name("base_models.example.toml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def models() -> dict[str, BaseModel]:
    return load_catalogue(text=EXAMPLES.replace("\nenabled = false", ""))


def test_every_known_model_has_presets_for_a_person_a_thing_and_a_style(models: dict[str, BaseModel]) -> None:
    for model in models.values():
        (spec,) = (spec for spec in model.specs if spec.name == "preset")
        assert spec.choices == ("", "person", "thing", "style"), model.id
        for name, values in spec.sets.items():
            resolved = resolve(model.specs, {"preset": name})
            assert {key: getattr(resolved, key) for key in values} == dict(values)
    assert all(one.source for one in preset_sets().values())


def test_drawn_subjects_have_a_preset_of_their_own_on_the_base_model_that_ships() -> None:
    specs = load_catalogue()["fiveshot-tiny"].specs
    usual, drawing = resolve(specs, {}), resolve(specs, {"preset": "drawing"})
    assert (usual.num_repeats, usual.learning_rate, usual.timestep_shift) == (32, 7e-4, 0.25)
    assert (drawing.num_repeats, drawing.learning_rate, drawing.timestep_shift) == (64, 1e-3, 0.0)


def test_what_a_job_sets_goes_before_its_preset(models: dict[str, BaseModel]) -> None:
    specs = models["sdxl"].specs
    plain, person = resolve(specs, {}), resolve(specs, {"preset": "person", "rank": 8})
    assert (plain.preset, plain.rank, plain.alpha) == ("", 16, 16.0)
    assert (person.preset, person.rank, person.target_modules) == ("person", 8, "attention_ff")
    # Whoever takes an optimizer with rates of its own does not get the preset's.
    assert resolve(specs, {"preset": "person", "optimizer": "prodigy"}).learning_rate == 1.0


def test_an_unknown_preset_is_refused_by_its_name(models: dict[str, BaseModel]) -> None:
    without = load_catalogue(text=EXAMPLES.replace("\nenabled = false", "").replace('\npresets = "sdxl"', ""))["sdxl"]
    for specs, end in (
        (models["sdxl"].specs, "is not one of person, thing, style"),
        (load_catalogue()["fiveshot-tiny"].specs, "is not one of drawing"),
        (without.specs, "this base model has none"),
    ):
        with pytest.raises(InvalidParameters) as caught:
            resolve(specs, {"preset": "animal"})
        [fault] = caught.value.faults
        assert (fault.field, str(fault).endswith(end)) == ("preset", True), str(fault)


def test_a_model_says_what_each_preset_sets(models: dict[str, BaseModel]) -> None:
    message = base_model_to_proto(OfferedModel(models["z-image"], available=True))
    (spec,) = (spec for spec in message.parameter_specs if spec.parameter == "preset")
    effects = dict(zip(spec.choices, spec.choice_effects, strict=True))
    assert effects[""] == ""
    assert "timestep_shift=2.0" in effects["person"].split(", ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('presets = "sdxl"', 'presets = "gan"'), "presets: must be one of"),
        (
            ("[base_models.sdxl.parameters]", "[base_models.sdxl.parameters]\nrank = { maximum = 16 }"),
            "person sets rank",
        ),
    ],
)
def test_a_set_that_does_not_exist_or_fit_is_refused(change: tuple[str, str], words: str) -> None:
    with pytest.raises(InvalidCatalogue, match=words):
        load_catalogue(text=EXAMPLES.replace("\nenabled = false", "").replace(*change))
