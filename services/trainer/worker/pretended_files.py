"""The files of a pretended epoch: they open as real ones do, hold nothing that was learnt, and say so."""

from __future__ import annotations

import colorsys
import hashlib
import json
import random
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save_file

from services.trainer.engine import output
from services.trainer.engine.job import ArtifactFile, PreviewImage, TrainJobSpec
from services.trainer.engine.try_out import DrawnPicture, NotWanted, TryOut
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.preview_cells import Cell

MARK = "pretended"
COMMENT = "Pretended: nothing was trained. The weights are zero and change nothing of a picture."
_LARGEST_SIDE = 256
# Layers of no model: tools that load the file find nothing to change.
_LAYER: dict[Literal["kohya", "diffusers"], tuple[str, str, str]] = {
    "kohya": ("lora_unet_none.lora_down.weight", "lora_unet_none.lora_up.weight", "lora_unet_none.alpha"),
    "diffusers": ("unet.none.lora_A.weight", "unet.none.lora_B.weight", ""),
}  # fmt: skip


def lora_files(spec: TrainJobSpec, epoch: int, step: int, folder: Path) -> tuple[ArtifactFile, ...]:
    """The LoRA in its forms, all zero, kohya first."""
    found = []
    parameters = spec.parameters
    metadata = {
        "fiveshot.pretended": "true",
        "fiveshot.dataset_digest": spec.dataset_digest,
        "ss_training_comment": COMMENT,
        "ss_output_name": f"{spec.title}-{MARK}",
        "ss_sd_model_name": spec.base_model.id,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(parameters.rank),
        "ss_network_alpha": str(parameters.alpha),
        "ss_network_args": json.dumps({"target_modules": parameters.target_modules}),
        "ss_num_epochs": str(parameters.num_epochs),
        "ss_epoch": str(epoch),
        "ss_steps": str(step),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": f"{spec.title} ({MARK})",
        "modelspec.description": COMMENT,
        "modelspec.trigger_phrase": parameters.trigger_word,
    }
    for form, (down, up, alpha) in _LAYER.items():
        path = folder / f"{spec.title}-{MARK}-{epoch:06d}-{form}.safetensors"
        tensors = {
            down: numpy.zeros((parameters.rank, 4), numpy.float16),
            up: numpy.zeros((4, parameters.rank), numpy.float16),
        }
        if alpha:
            tensors[alpha] = numpy.array(parameters.alpha, numpy.float16)
        save_file(tensors, path, metadata)
        data = path.read_bytes()
        found.append(ArtifactFile(form, path, hashlib.sha256(data).hexdigest(), len(data)))
    return tuple(found)


def previews(parameters: TrainingParameters, epoch: int, folder: Path) -> tuple[PreviewImage, ...]:
    """A picture for each prompt: a colour that prompt, seed and epoch give, and the words that it is none."""
    side = min(parameters.resolution, _LARGEST_SIDE)
    found = []
    for number, prompt in enumerate(parameters.preview_prompts):
        own = parameters.preview_seeds
        seed = own[number] if number < len(own) else (parameters.seed * 31 + number) % 2**31
        path = folder / f"preview-{number + 1}.png"
        _draw(prompt, seed, epoch, side).save(path, pnginfo=_mark(prompt))
        found.append(PreviewImage(path, prompt, seed))
    return tuple(found)


def draw_cells(asked: TryOut, cells: Sequence[Cell], step: int) -> None:
    """Pictures on request: a colour that prompt, seed and strength give. Raises NotWanted."""
    asked.folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for cell in cells:
        if not asked.wanted():
            raise NotWanted
        path, what = asked.folder / f"{cell.file_id}.png", f"strength {cell.strength:g}"
        picture = _picture(cell.prompt, cell.seed, cell.strength / 5, what, (asked.width, asked.height))
        picture.save(path, pnginfo=_mark(cell.prompt))
        drawn.append(DrawnPicture(cell, path, step))
    asked.on_pictures(drawn)


def contact_sheet(photos: Sequence[Image.Image], rows: Sequence[tuple[str, Sequence[Path]]], folder: Path) -> Path:
    """The training pictures above the previews of the epochs of this attempt."""
    path = folder / "contact_sheet.png"
    output.contact_sheet(photos, [(f"{label}\n{MARK}", files) for label, files in rows], path)
    return path


def _draw(prompt: str, seed: int, epoch: int, side: int) -> Image.Image:
    return _picture(prompt, seed, epoch / 40, f"epoch {epoch}" if epoch else "base model", (side, side))


def _picture(prompt: str, seed: int, turn: float, what: str, shape: tuple[int, int]) -> Image.Image:
    """turn: of the colour, a share of the circle. shape: width and height in pixels."""
    hue = random.Random(f"{prompt}/{seed}").random() + turn
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1.0, 0.35, 0.85))
    picture, side = Image.new("RGB", shape, (red, green, blue)), min(shape)
    size = max(8, side // 14)
    title = f"{MARK.upper()}, {what}"
    words = textwrap.wrap(prompt, max(8, 2 * (side - size) // size))[:8]
    text, font = "\n".join([title, "", *words]), ImageFont.load_default(size=size)
    ImageDraw.Draw(picture).multiline_text((size // 2, size // 2), text, (30, 30, 30), font)
    return picture


def _mark(prompt: str) -> PngInfo:
    info = PngInfo()
    info.add_text("Software", "Fiveshot, pretended")
    info.add_itxt("Description", prompt)
    return info
