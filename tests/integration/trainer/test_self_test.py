"""The operator's self-test does what a job does, and says what a job would fail with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.trainer.worker import self_test
from tests.fixtures.miniatures import write_z_image

ENTRY = """
[base_models.small]
title = "Small"
family = "z-image"
source = "model"
architecture = "Z-Image"
license = "MIT"
resolution = 16
pixel_multiple = 4
memory_mib = 100
presets = "z-image"

[base_models.small.parameters]
preview_steps = 1
rank = 2
learning_rate = 1e-2
"""


def test_a_whole_model_draws_trains_and_reads_its_files_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_z_image(tmp_path / "model")
    catalogue = tmp_path / "base_models.toml"
    catalogue.write_text(ENTRY)
    assert self_test.main([str(catalogue), "small", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["steps"] == self_test.STEPS
    assert found["forms"] == ["kohya", "diffusers"]
    assert found["previews"] == 3
    assert found["photo_error"] < 1.0


def test_what_a_job_would_fail_with_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_z_image(tmp_path / "model")
    next((tmp_path / "model" / "text_encoder").glob("*.safetensors")).unlink()
    catalogue = tmp_path / "base_models.toml"
    catalogue.write_text(ENTRY)
    for name, kind in (("small", "invalid"), ("none", "not_found")):
        self_test.main([str(catalogue), name, "cpu"])
        error = json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
        assert error["kind"] == kind
        assert error["remedy"]
