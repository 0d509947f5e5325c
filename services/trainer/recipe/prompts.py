"""Prompts of the previews. The planner fills them in when a job is made; the engine draws what the parameters say."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.chassis.words import has_word
from services.trainer.recipe.parameter_spec import MAX_PREVIEWS, MAX_PROMPT_CHARACTERS
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.workload import preview_count

_STOPS = frozenset(
    ["a", "an", "the", "in", "on", "at", "with", "and", "of", "is", "are", "by", "near", "from", "to", "under", "over"]
)
_PUNCTUATION = string.punctuation + "…“”‘’«»，。、！？；：（）"
_LONGEST_NOUN = 3
_FRAMES = frozenset(["photo", "photograph", "picture", "image", "drawing", "painting", "background", "view", "style"])
"""What a picture is, not what it shows: captions and neutral prompts may both say it."""


def with_prompts(
    parameters: TrainingParameters,
    templates: Sequence[str],
    captions: Sequence[str],
    subject: str = "",
    neutral: Sequence[str] = (),
) -> TrainingParameters:
    """The parameters with a prompt for each preview: as many as the user's own or their seeds, and at least three.

    The user's own come first, then the base model's templates, then captions of the dataset; when these are fewer than
    three different ones a canary comes next, and then the last of them again, with another seed.

    Args:
        templates: of the base model (catalogue), with ``{caption}`` and ``{trigger_word}``.
        captions: final texts of the dataset's pictures, in its order.
        subject: what the dataset says that they show; found in the captions where it says nothing.
        neutral: the base model's prompts without any subject of a user, for a canary.
    """
    # A caption may have several lines, a prompt has one.
    texts = [" ".join(text.split()) for text in captions if text.strip()]
    caption = texts[0] if texts else parameters.trigger_word or "a photo"
    # A template needs something to call the subject; without a trigger word its own caption says it best.
    phrase = _named(parameters.trigger_word, subject) or subject_phrase(parameters.trigger_word, texts) or caption
    prompts = list(parameters.preview_prompts)
    for text in (*(each.format(caption=caption, trigger_word=phrase) for each in templates), *texts):
        prompt = text[:MAX_PROMPT_CHARACTERS].strip()
        if prompt and prompt not in prompts:
            prompts.append(prompt)
    count = preview_count(parameters)
    prompts = prompts or [caption]
    free = count - len(prompts)
    if free > 0:
        prompts += [prompts[-1]] * (free - 1) + [*canaries(neutral, [*texts, *prompts, subject])[:1], prompts[-1]]
    return replace(parameters, preview_prompts=tuple(prompts[:count]))


@dataclass(frozen=True, slots=True)
class Described:
    """What a dataset says of its pictures; see ``with_prompts``."""

    trigger_word: str
    subject: str
    captions: tuple[str, ...]


def with_prompts_of_each(
    parameters: TrainingParameters, templates: Sequence[str], datasets: Sequence[Described], neutral: Sequence[str] = ()
) -> TrainingParameters:
    """As ``with_prompts``; several datasets take turns after the user's own prompts, and each has at least one."""
    if len(datasets) == 1:
        one = datasets[0]
        return with_prompts(parameters, templates, one.captions, one.subject, neutral)
    count = max(preview_count(parameters), min(MAX_PREVIEWS, len(datasets)))
    prompts = list(parameters.preview_prompts)
    fresh = replace(parameters, preview_prompts=(), preview_seeds=())
    of_each = [
        with_prompts(
            replace(fresh, trigger_word=one.trigger_word), templates, one.captions, one.subject, neutral
        ).preview_prompts
        for one in datasets
    ]
    for turn in zip(*of_each, strict=True):
        prompts += [prompt for prompt in dict.fromkeys(turn) if prompt not in prompts]
    prompts += [prompts[-1]] * (count - len(prompts))
    return replace(parameters, preview_prompts=tuple(prompts[:count]))


def canaries(neutral: Sequence[str], texts: Sequence[str]) -> tuple[str, ...]:
    """The neutral prompts that have nothing to do with the photos: no word of theirs is in a text about these.

    What a model draws for them tells whether it still follows prompts. All of them where each shares a word.
    """
    about = frozenset(word for text in texts for word in _content(text))
    return tuple(prompt for prompt in neutral if not about & _content(prompt)) or tuple(neutral)


def _content(text: str) -> frozenset[str]:
    """The words of a text that say what is shown, without the mark of a plural."""
    words = (_bare(word).casefold() for word in text.split())
    return frozenset(word.removesuffix("s") for word in words if word and word not in _STOPS | _FRAMES)


def _named(trigger_word: str, subject: str) -> str:
    """The trigger word with the subject, ``sks gray cat``; "" without a subject."""
    known = not subject or has_word(subject, trigger_word)
    return subject.strip() if known else f"{trigger_word} {subject}".strip()


def subject_phrase(trigger_word: str, captions: Sequence[str]) -> str:
    """The trigger word with the words that follow it in every caption: ``sks`` becomes ``sks dog``.

    A model that was taught "sks dog" draws poorly for "sks" alone. The phrase ends at punctuation, at a word that leads
    on to something else, and after three words.
    """
    if not trigger_word:
        return ""
    shared: list[str] = []
    for position in zip(*(_followers(trigger_word, caption) for caption in captions), strict=False):
        word = _bare(position[0])
        if len(captions) == 1 or not word or word.casefold() in _STOPS:
            break
        if any(each[0] in _PUNCTUATION or _bare(each).casefold() != word.casefold() for each in position):
            break
        shared.append(word)
        if any(each[-1] in _PUNCTUATION for each in position):
            break
    return " ".join([trigger_word, *shared[:_LONGEST_NOUN]])


def _followers(trigger_word: str, caption: str) -> list[str]:
    """The words after the trigger word's first place; none when it ends its clause there."""
    words, phrase = caption.split(), [word.casefold() for word in trigger_word.split()]
    bare = [_bare(word).casefold() for word in words]
    for start in range(len(words) - len(phrase) + 1):
        end = start + len(phrase)
        if bare[start:end] == [_bare(word) for word in phrase]:
            return [] if words[end - 1][-1] in _PUNCTUATION else words[end:]
    return []


def _bare(word: str) -> str:
    return word.strip(_PUNCTUATION)
