"""The taggers that this deployment has."""

from __future__ import annotations

from pathlib import Path

from services.chassis.settings import WrongSetting, blaming
from services.tagger.adapters.measured import MeasuredTagger
from services.tagger.adapters.photo_onnx import PhotoOnnxTagger
from services.tagger.adapters.wd_onnx import WdOnnxTagger
from services.tagger.ports import Tagger
from services.tagger.use_cases.taggers import CombinedTagger


def installed_taggers(*, wd_model_dir: Path | None, photo: bool, threads: int) -> list[Tagger]:
    """The default first: everything that works here, in one. Raises WrongSetting for a model that cannot be used."""
    measured = MeasuredTagger()
    models: list[Tagger] = []
    if wd_model_dir is not None:
        models.append(_wd_tagger(wd_model_dir, threads))
    if photo:
        models.append(PhotoOnnxTagger(threads=threads))
    default = CombinedTagger(
        "default",
        "Default",
        "All taggers of this deployment together. Labels of models come first, measured ones after them.",
        [*models, measured],
    )
    return [default, *models, measured]


def _wd_tagger(folder: Path, threads: int) -> Tagger:
    with blaming("wd_model_dir", OSError, ValueError):
        tagger = WdOnnxTagger(folder, threads=threads)
    if not tagger.available():
        raise WrongSetting("wd_model_dir", "needs the package onnxruntime")
    return tagger
