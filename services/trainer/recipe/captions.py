"""The text of one sample: trigger word, shuffle, dropout."""

from __future__ import annotations

import random

from services.trainer.recipe.parameters import TrainingParameters

SEPARATOR = ", "


def with_trigger_word(caption: str, trigger_word: str) -> str:
    """The caption with the trigger word in front, unless it already occurs as whole words (case does not matter)."""
    if not trigger_word:
        return caption.strip()
    padded = f" {' '.join(_words(caption))} "
    if f" {' '.join(_words(trigger_word))} " in padded:
        return caption.strip()
    return SEPARATOR.join(part for part in (trigger_word, caption.strip()) if part)


def sample_caption(caption: str, parameters: TrainingParameters, draw: random.Random) -> str:
    """The caption of one sample: empty with the chance of dropout, else its parts shuffled on request."""
    if draw.random() < parameters.caption_dropout:
        return ""
    if not parameters.shuffle_caption:
        return caption
    parts = [part.strip() for part in caption.split(",") if part.strip()]
    kept, moving = parts[: parameters.keep_tokens], parts[parameters.keep_tokens :]
    draw.shuffle(moving)
    return SEPARATOR.join(kept + moving)


def _words(text: str) -> list[str]:
    return text.lower().replace(",", " ").split()
