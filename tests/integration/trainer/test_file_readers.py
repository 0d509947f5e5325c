"""Every exported file is applied by the tools that the families' facts name, and by no other, at the trained strength.

The tools' rules are in tests/readers. `FIVESHOT_READERS=all` looks at every combination, and
`FIVESHOT_OLD_DIFFUSERS=python` applies the files with the diffusers of another environment; `make matrix` does both.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from services.trainer.engine.export import write_artifacts
from services.trainer.recipe.families.readers import TOOLS
from services.trainer.recipe.parameters import TrainingParameters
from tests.fixtures.adapted_models import MODELS, TOLERANCE, AdaptedModel, difference, load, trained_changes
from tests.fixtures.processes import finished
from tests.readers import automatic1111, comfyui, sd_scripts
from tests.readers.diffusers_files import applied
from tests.readers.reading import Base, Reading

READERS: Mapping[str, Callable[[Mapping[str, Tensor], Base], Reading]] = {
    # And Forge, whose rules are the same.
    "ComfyUI": comfyui.read,
    "Automatic1111": automatic1111.read,
    "sd-scripts": sd_scripts.read,
}
UNKNOWN_TO = {
    "flux": ("Automatic1111",),
    "z-image": ("Automatic1111", "Forge", "sd-scripts"),
    "flux2-klein": ("Automatic1111", "Forge", "sd-scripts"),
    "qwen-image": ("Automatic1111", "Forge", "sd-scripts"),
    "chroma": ("Automatic1111", "Forge"),
    "sd3": ("Automatic1111", "Forge"),
}
"""Tools that load no model of the family, or such a model and no LoRA of it under any name that is written."""
NOT_IN_OLD_DIFFUSERS = ("flux2-klein",)
"""Families whose pipeline came after the version that `make matrix` installs."""
ALL = os.environ.get("FIVESHOT_READERS") == "all"
OLD_PYTHON = os.environ.get("FIVESHOT_OLD_DIFFUSERS", "")
EVERY_CASE = [
    (adapter, targets, text)
    for adapter in ("lora", "rslora", "dora", "loha", "lokr")
    for targets in ("attention", "attention_ff", "all")
    for text in (False, True)
    # Refused when the job is created.
    if not (text and adapter in ("loha", "lokr"))
]
CASES = EVERY_CASE if ALL else [
    ("lora", "attention", True), ("lora", "attention_ff", True), ("lora", "all", False), ("lora", "all", True),
    ("rslora", "all", True), ("dora", "all", True), ("loha", "all", False), ("lokr", "all", False),
]  # fmt: skip
"""The short form leaves out what is part of another case."""


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AdaptedModel:
    return load(MODELS[request.param], tmp_path_factory.mktemp("readers") / request.param)


@pytest.fixture(scope="module")
def pipeline(model: AdaptedModel) -> Any:
    return copy.deepcopy(model.family).pipeline()


@pytest.mark.parametrize(("adapter", "targets", "text"), CASES)
def test_each_tool_applies_the_files_as_the_facts_say(
    model: AdaptedModel,
    pipeline: Any,
    parameters: Callable[..., TrainingParameters],
    tmp_path: Path,
    adapter: str,
    targets: str,
    text: bool,
) -> None:
    facts = model.family.facts
    chosen = parameters(adapter=adapter, target_modules=targets, train_text_encoder=text, rank=3, alpha=5.0)
    family, carriers = model.adapted(chosen)
    trained = trained_changes(carriers)
    assert all(change.abs().max() > 1e-3 for change in trained.values())
    files = write_artifacts(tmp_path, "x", family, carriers, chosen, {"ss_epoch": "1"})
    assert [file.form for file in files] == [form.form for form in facts.forms if adapter in form.adapters]
    said: dict[tuple[str, str], bool] = {}
    seen: dict[tuple[str, str], bool] = {}
    with_diffusers = ALL or (targets, text) == ("all", True)
    for file in files:
        form = next(form for form in facts.forms if form.form == file.form)
        tensors = load_file(file.path)
        for tool, read in READERS.items():
            if tool in UNKNOWN_TO.get(facts.name, ()):
                continue
            reading = read(tensors, model.base)
            said[tool, file.form] = adapter in form.readers.get(tool, ())
            if "Forge" not in UNKNOWN_TO.get(facts.name, ()):
                assert form.readers.get("Forge") == form.readers.get("ComfyUI")
            seen[tool, file.form] = not reading.left_over and difference(reading.changes, trained) <= TOLERANCE
        # A file that the facts do not promise to diffusers may fail to load there in any way.
        if adapter in form.readers.get("diffusers", ()) and with_diffusers:
            changes, left_over = applied(pipeline, file.path)
            assert left_over == 0
            assert difference(changes, trained) <= TOLERANCE, f"diffusers, {file.form}"
    assert seen == said


def test_the_facts_name_no_tool_that_is_not_looked_at(model: AdaptedModel) -> None:
    for form in model.family.facts.forms:
        assert set(form.readers) <= {*READERS, "Forge", "diffusers"} == set(TOOLS)


@pytest.mark.skipif(not OLD_PYTHON, reason="make matrix sets FIVESHOT_OLD_DIFFUSERS")
def test_an_older_diffusers_applies_every_file_that_todays_does(
    model: AdaptedModel, parameters: Callable[..., TrainingParameters], tmp_path: Path
) -> None:
    if model.family.facts.name in NOT_IN_OLD_DIFFUSERS:
        pytest.skip("an older diffusers has no such pipeline")
    files: dict[Path, dict[str, Tensor]] = {}
    for number, (adapter, targets, text) in enumerate(EVERY_CASE):
        chosen = parameters(adapter=adapter, target_modules=targets, train_text_encoder=text, rank=3, alpha=5.0)
        family, carriers = model.adapted(chosen)
        for file in write_artifacts(tmp_path, f"{number}-{adapter}", family, carriers, chosen, {"ss_epoch": "1"}):
            form = next(form for form in family.facts.forms if form.form == file.form)
            if adapter in form.readers.get("diffusers", ()):
                files[file.path] = trained_changes(carriers)
    script = Path(__file__).parents[2] / "readers" / "diffusers_files.py"
    answer = tmp_path / "changes.safetensors"
    done = finished([OLD_PYTHON, script, model.folder, answer, *files], limit_s=600)
    assert done.returncode == 0, done.stderr
    read = load_file(answer)
    for path, trained in files.items():
        changes = {key.partition("|")[2]: tensor for key, tensor in read.items() if key.startswith(f"{path.name}|")}
        assert changes.pop("left over") == 0, path.name
        assert difference(changes, trained) <= TOLERANCE, path.name
