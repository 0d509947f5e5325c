"""The operator's self-test does what a job does, and says what a job would fail with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.trainer.engine.job import BaseModelFiles
from services.trainer.recipe.families import families
from services.trainer.worker import self_test
from tests.fixtures.miniatures import MINIATURES, write_z_image

ENTRY = """
[base_models.small]
title = "Small"
family = "{family}"
source = "model"
architecture = "{architecture}"
license = "MIT"
resolution = 16
pixel_multiple = {multiple}
memory_mib = 100

[base_models.small.parameters]
preview_steps = 2
num_epochs = 1
rank = 2
learning_rate = 3e-2
"""


def catalogue_of(files: BaseModelFiles, folder: Path) -> Path:
    """A catalogue with the model beside it."""
    multiple = families()[files.family].pixel_multiple
    path = folder / "base_models.toml"
    path.write_text(ENTRY.format(family=files.family, architecture=files.architecture, multiple=min(16, multiple)))
    return path


@pytest.mark.parametrize("family", families())
def test_a_whole_model_draws_trains_and_reads_its_files_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], family: str
) -> None:
    catalogue = catalogue_of(MINIATURES[family](tmp_path / "model"), tmp_path)
    assert self_test.main([str(catalogue), "small", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "error" not in found, found["error"]
    assert found["steps"] == self_test.STEPS
    assert found["forms"] == [form.form for form in families()[family].forms]
    assert found["previews"] == 3
    assert found["photo_error"] < 1.0


def test_what_a_job_would_fail_with_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalogue = catalogue_of(write_z_image(tmp_path / "model"), tmp_path)
    next((tmp_path / "model" / "text_encoder").glob("*.safetensors")).unlink()
    for name, kind in (("small", "invalid"), ("none", "not_found")):
        self_test.main([str(catalogue), name, "cpu"])
        error = json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
        assert error["kind"] == kind
        assert error["remedy"]
