"""A base model is checked before a job waits for it: every file that a training reads is there and whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from services.trainer.recipe import preflight
from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE, BaseModel, load_catalogue
from services.trainer.recipe.preflight import Refused, add, findings, known

TINY = DEFAULT_CATALOGUE.parent / "base_models" / "fiveshot-tiny"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped base model that a test may damage."""
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def test_the_known_models_come_with_size_memory_and_licence() -> None:
    found = {model.id: model for model in known()}
    assert list(found) == [
        "sd-1.5",
        "sd-2.1",
        "sdxl",
        "pony-v6",
        "illustrious-xl",
        "noobai-xl-vpred",
        "flux2-klein-4b",
        "flux2-klein-base-4b",
        "z-image",
        "z-image-turbo",
        "sd-3.5-medium",
        "chroma",
        "sd-3.5-large",
        "flux-dev",
        "flux-schnell",
        "qwen-image",
        "flux2-dev",
    ]
    assert all(model.license and model.memory_bytes and model.size_bytes for model in found.values())
    # Stable Diffusion 1.5 has 1.07 billion weights, SDXL 3.47 billion.
    assert round(found["sd-1.5"].size_bytes / 1e9, 1) == 2.1
    assert round(found["sd-2.1"].size_bytes / 1e9, 1) == 2.6
    assert round(found["sdxl"].size_bytes / 1e9, 1) == 6.9


def test_the_shipped_model_is_whole() -> None:
    assert list(findings(load_catalogue()["fiveshot-tiny"])) == []


def _weights(folder: Path) -> Path:
    return next((folder / "vae").glob("*.safetensors"))


def _truncate(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size - 1)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), "model_index.json"),
        (lambda folder: (folder / "model_index.json").write_text("[]"), "model_index.json"),
        (lambda folder: shutil.rmtree(folder / "vae"), "component vae is missing"),
        (lambda folder: (folder / "unet" / "config.json").write_text("{"), "unet has no readable config.json"),
        (lambda folder: _truncate(_weights(folder)), "cut off or damaged"),
        (lambda folder: _weights(folder).write_bytes(b"x"), "cut off or damaged"),
        (lambda folder: _weights(folder).rename(folder / "vae" / "x.bin"), "no .safetensors"),
        (
            lambda folder: (folder / "unet" / "m.safetensors.index.json").write_text(
                json.dumps({"weight_map": {"a": "m-2.safetensors"}})
            ),
            "unet lacks m-2.safetensors",
        ),
        (
            lambda folder: [each.unlink() for each in (folder / "tokenizer").iterdir()],
            "tokenizer has no vocabulary",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    tmp_path: Path, folder: Path, damage: Callable[[Path], object], problem: str
) -> None:
    catalogue = tmp_path / "base_models.toml"
    add(catalogue, "sd-1.5", str(folder))
    damage(folder)
    found = list(findings(load_catalogue(catalogue)["sd-1.5"]))
    assert problem in found[0].problem
    assert all(each.remedy for each in found)


def test_a_model_is_added_beside_those_of_the_package(tmp_path: Path, folder: Path) -> None:
    catalogue = tmp_path / "data" / "base_models.toml"
    add(catalogue, "sd-1.5", str(folder))
    add(catalogue, "sdxl", "hub:owner/name")
    models = load_catalogue(catalogue)
    assert list(models) == ["fiveshot-tiny", "sd-1.5", "sdxl"]
    assert Path(models["fiveshot-tiny"].source) == TINY
    assert (Path(models["sd-1.5"].source), models["sdxl"].hub_id) == (folder, "owner/name")
    assert models["sd-1.5"].specs == load_catalogue_of_examples()["sd-1.5"].specs
    assert [each.name for each in catalogue.parent.iterdir()] == ["base_models.toml"]


def load_catalogue_of_examples() -> dict[str, BaseModel]:
    """The examples as if they were on offer."""
    text = preflight.KNOWN.read_text(encoding="utf-8").replace("\nenabled = false", "")
    return load_catalogue(preflight.KNOWN, text=text)


@pytest.mark.parametrize(
    ("identifier", "source", "kind"),
    [("sd-9", "hub:a/b", "not_found"), ("sd-1.5", "/no/such", "invalid"), ("fiveshot-tiny", "hub:a/b", "not_found")],
)
def test_a_refused_model_leaves_the_catalogue_as_it_was(
    tmp_path: Path, identifier: str, source: str, kind: str
) -> None:
    catalogue = tmp_path / "base_models.toml"
    with pytest.raises(Refused) as refused:
        add(catalogue, identifier, source)
    assert (refused.value.kind, list(tmp_path.iterdir())) == (kind, [])
    add(catalogue, "sdxl", "hub:a/b")
    before = catalogue.read_text()
    with pytest.raises(Refused) as twice:
        add(catalogue, "sdxl", "hub:a/b")
    assert (twice.value.kind, catalogue.read_text()) == ("exists", before)


def test_the_command_answers_with_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preflight.main(["check", "", "fiveshot-tiny"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    assert preflight.main(["check", str(tmp_path / "none.toml"), "x"]) == 0
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "invalid"
