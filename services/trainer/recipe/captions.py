"""The text of one sample: parts of a picture's final text shuffled, or all of it dropped. Nothing is ever added."""

from __future__ import annotations

import random

from services.trainer.recipe.parameters import TrainingParameters

SEPARATOR = ", "


def parts_of(caption: str) -> list[str]:
    """The comma-separated parts of a text, in its order."""
    return [part.strip() for part in caption.split(",") if part.strip()]


def sample_caption(caption: str, parameters: TrainingParameters, draw: random.Random) -> str:
    """The caption of one sample: empty with the chance of dropout, else its parts shuffled on request."""
    if draw.random() < parameters.caption_dropout:
        return ""
    if not parameters.shuffle_caption:
        return caption
    parts = parts_of(caption)
    kept, moving = parts[: parameters.keep_tokens], parts[parameters.keep_tokens :]
    draw.shuffle(moving)
    return SEPARATOR.join(kept + moving)
