"""The catalogue of base models: what ships is valid, and every mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE, InvalidCatalogue, load_catalogue
from services.trainer.recipe.families import families
from services.trainer.recipe.parameter_spec import InvalidParameters
from services.trainer.recipe.parameters import resolve

ENTRY = """
[base_models.small]
title = "Small"
family = "stable-diffusion"
source = "weights"
architecture = "stable-diffusion-v1"
license = "Apache-2.0"
resolution = 64
pixel_multiple = 16
memory_mib = 100
"""


def load(folder: Path, text: str) -> object:
    path = folder / "catalogue.toml"
    path.write_text(text, encoding="utf-8")
    return load_catalogue(path)


def test_the_shipped_catalogue_offers_fiveshot_tiny_with_weights_beside_it() -> None:
    model = load_catalogue()["fiveshot-tiny"]
    parameters = resolve(model.specs, {})
    assert parameters.resolution == model.resolution
    assert model.local_path is not None
    assert (model.local_path / "model_index.json").exists()


def test_the_examples_are_valid_and_hidden() -> None:
    path = DEFAULT_CATALOGUE.with_name("base_models.example.toml")
    assert load_catalogue(path) == {}


def test_a_source_on_the_hub_gives_its_id_and_a_folder_gives_none(tmp_path: Path) -> None:
    assert load_catalogue()["fiveshot-tiny"].hub_id == ""
    text = DEFAULT_CATALOGUE.with_name("base_models.example.toml").read_text(encoding="utf-8")
    text = text.replace("enabled = false", "enabled = true").replace('"base_models/sd-1.5"', '"hub:someone/sd"')
    models = load(tmp_path, text)
    assert isinstance(models, dict)
    assert (models["sd-1.5"].hub_id, models["sd-1.5"].local_path) == ("someone/sd", None)


def test_the_examples_can_be_switched_on(tmp_path: Path) -> None:
    text = DEFAULT_CATALOGUE.with_name("base_models.example.toml").read_text(encoding="utf-8")
    models = load(tmp_path, text.replace("enabled = false", "enabled = true"))
    assert isinstance(models, dict)
    assert {model.family for model in models.values()} == set(families())


def test_paths_are_relative_to_the_catalogue_and_bare_values_are_defaults(tmp_path: Path) -> None:
    models = load(tmp_path, ENTRY + "[base_models.small.parameters]\nrank = 4\n")
    assert isinstance(models, dict)
    assert models["small"].source == str(tmp_path / "weights")
    assert resolve(models["small"].specs, {}).rank == 4


def test_what_a_family_would_pass_over_is_not_offered(tmp_path: Path) -> None:
    """A flow's loss knows no signal-to-noise ratio; other noise does not move with the size of pictures."""
    text = DEFAULT_CATALOGUE.with_name("base_models.example.toml").read_text(encoding="utf-8")
    models = load(tmp_path, text.replace("enabled = false", "enabled = true"))
    assert isinstance(models, dict)
    flows = {model.family: not families()[model.family].prediction_types for model in models.values()}
    assert set(flows.values()) == {True, False}
    given: dict[bool, dict[str, object]] = {
        True: {"min_snr_gamma": 5.0},
        False: {"timestep_sampling": "by_resolution"},
    }
    for model in models.values():
        flow = flows[model.family]
        for name, value in given[flow].items():
            with pytest.raises(InvalidParameters, match=name) as caught:
                resolve(model.specs, {name: value})
            assert flow is caught.value.faults[0].message.startswith("must be 0 for this base model")
        for name, value in given[not flow].items():
            assert getattr(resolve(model.specs, {name: value}), name) == value


def test_regularisation_pictures_are_known_where_the_weights_lie_on_this_machine(tmp_path: Path) -> None:
    def ships(text: str = ENTRY) -> bool | None:
        models = load(tmp_path, text)
        assert isinstance(models, dict)
        found: bool | None = models["small"].ships_regularization
        return found

    assert ships() is None
    (tmp_path / "weights").mkdir()
    assert ships() is False
    (tmp_path / "weights" / "regularization.safetensors").touch()
    assert ships() is True
    single = ENTRY.replace('"weights"', '"weights.safetensors"')
    assert ships(single) is None
    assert ships(single.replace("license =", 'config_source = "weights"\nlicense =')) is True
    assert ships(ENTRY.replace('"weights"', '"hub:owner/name"')) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('title = "Small"', ""), "title is missing"),
        (("resolution = 64", 'resolution = "64"'), "a whole number"),
        (('stable-diffusion"\nsource', 'gan"\nsource'), "family: 'gan'"),
        (("memory_mib = 100", "memory_mib = 100\nvram = 3"), "unknown keys vram"),
        (("base_models.small", "base_models.Small"), "lower-case"),
        (("memory_mib = 100", "memory_mib = 100\nparameters = { ranks = 3 }"), "ranks is no parameter"),
        (("memory_mib = 100", "memory_mib = 100\nparameters = { rank = 3000 }"), "parameters.rank"),
        (("memory_mib = 100", 'label_style = "poem"\nmemory_mib = 100'), "sentence or tags"),
        (("[base_models", "base_models"), "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_entry_and_key(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    with pytest.raises(InvalidCatalogue, match=words):
        load(tmp_path, ENTRY.replace(*change))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCatalogue, match="no catalogue"):
        load_catalogue(tmp_path / "absent.toml")


def test_what_is_no_file_of_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCatalogue, match="cannot be read: Is a directory"):
        load_catalogue(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(InvalidCatalogue, match="is not valid TOML"):
        load_catalogue(tmp_path / "latin.toml")
