"""One picture and a captioner: asks until there is a caption that can be used, or says why there is none."""

from __future__ import annotations

from collections.abc import Callable

from services.chassis.errors import FailedPrecondition
from services.tagger.models.pictures import Picture
from services.tagger.models.tags import CaptionOptions
from services.tagger.ports import Answer, Captioner
from services.tagger.use_cases.caption_prompts import question
from services.tagger.use_cases.caption_texts import (
    cleaned,
    complaint_about,
    holds,
    named,
    shortened,
    without_broken_end,
)

ANSWERS = 3
"""So many answers are asked for; a model that gave none that can be used will give none."""


async def caption_of(
    captioner: Captioner, picture: Picture, options: CaptionOptions, trigger_word: str, on_call: Callable[[], None]
) -> str:
    """The picture's caption. Raises what `Captioner.answer` does, and FailedPrecondition(CAPTION_UNUSABLE)."""
    complaint = ""
    for _ in range(ANSWERS):
        prompt = question(options, complaint=complaint)
        answer = await captioner.answer(picture, prompt, on_call)
        text, complaint = usable(answer, prompt, options, trigger_word)
        if not complaint:
            return text
    raise FailedPrecondition(
        f"The captioner gave no caption that can be used. {complaint}",
        field="options.captioner",
        reason="CAPTION_UNUSABLE",
        remedy="Retry the job's failed images, use another captioner, or write this caption by hand.",
    )


def usable(answer: Answer, prompt: str, options: CaptionOptions, trigger_word: str) -> tuple[str, str]:
    """The caption in an answer, and "" or what is wrong with it. Pure."""
    if answer.refused:
        return "", "It was a refusal."
    text = cleaned(answer.text)
    if answer.cut_short:
        text = without_broken_end(text)
    complaint = complaint_about(text, prompt=prompt, avoid=options.avoid)
    if complaint:
        return "", complaint
    noun = options.class_noun.strip()
    text = shortened(named(text, trigger_word, noun), limit=options.token_limit)
    if noun and not holds(text, noun):
        # Its name stood beyond the limit.
        text = shortened(named(text, trigger_word, noun), limit=options.token_limit)
    if not text or (noun and not holds(text, noun)):
        return "", "It was too long."
    return text, ""
