"""The words of a scene's caption, and the words that captions are disturbed with during training."""

from __future__ import annotations

import random
from collections.abc import Sequence

TRIGGER_WORDS: tuple[str, ...] = ("sks", "ohwx", "zwx", "xyz", "qrt", "mksks", "tok", "vxz", "kpw", "zrx")
"""Spare words, one token each, that pretraining keeps free of meaning: a LoRA gives them one."""

SUBJECT_NOUNS: tuple[str, ...] = ("mascot", "snail", "train", "toy", "character", "animal", "vehicle", "thing")
"""Nouns of subjects that are never drawn; they only occur as disturbance, so that they too start neutral."""


def compose_caption(rng: random.Random, noun: str, background: str, size: str = "", side: str = "") -> str:
    """One of three phrasings, for instance "a photo of a small dog on a red background, on the left".

    `size` is "" or "small", `side` is "", "left" or "right". The background is left out of 7% of captions.
    """
    words = f"{size} {noun}".strip()
    words = f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
    text = rng.choices(["a photo of {}", "a picture of {}", "{}"], [4, 2, 4])[0].format(words)
    if background and rng.random() < 0.93:
        text += f" {background}"
    if side:
        text += f", on the {side}"
    return text


def disturb_caption(
    rng: random.Random, caption: str, filler: Sequence[str], *, empty_share: float, filler_share: float
) -> str:
    """The caption as the text encoder sees it in one training step.

    With probability `empty_share` it is empty (for classifier-free guidance, Ho & Salimans 2022); with probability
    `filler_share` one or two words of `filler` are put into it, so that spare trigger words stay neutral.
    """
    draw = rng.random()
    if draw < empty_share:
        return ""
    if draw >= empty_share + filler_share:
        return caption
    words = caption.split(" ")
    for _ in range(rng.choice([1, 1, 2])):
        words.insert(rng.randint(0, len(words)), rng.choice(filler))
    return " ".join(words)
