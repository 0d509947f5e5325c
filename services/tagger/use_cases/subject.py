"""What all pictures of a dataset show together, as a question to the person who knows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from services.chassis.errors import DomainError, FailedPrecondition, InvalidArgument
from services.tagger.models.jobs import project_of
from services.tagger.models.pictures import KIND, OBJECT, Scores
from services.tagger.ports import Datasets, PictureDecoder
from services.tagger.use_cases.matching_images import matching_images
from services.tagger.use_cases.taggers import Taggers

T = TypeVar("T")

MOST_PICTURES = 12
"""So many pictures, evenly spread over the dataset, tell as much as all of them."""

# Means over the pictures, set on the development set (docs/tagging.md).
_NOUN = 0.25
# A noun of very many classes takes in a little of all that is like it: any four-legged animal looks half like a dog.
_NOUN_OF_MANY = {"dog": 0.6}
_WIDER = 0.4
_KIND = 0.35
# The first noun must be clearly before the second, unless both are of one family.
_LEAD = 1.4
# What looks like any animal a little is as often a toy or a drawing; what looks like any food says nothing.
_TOO_WIDE = frozenset({"animal", "food"})
# A picture agrees when the noun has this much in it.
_AGREES = 0.15
_SHOWN = 5
_LEAST_SHOWN = 0.05


@dataclass(frozen=True)
class Candidate:
    """A noun and its mean score over the pictures, 0 to 1."""

    noun: str
    score: float


@dataclass(frozen=True)
class Suggestion:
    """subject: an everyday noun, "" where nothing is sure. kind: what it is more exactly, may be empty.

    agreeing, pictures: how many show it, and how many were looked at. candidates: the best nouns, for a menu.
    """

    subject: str = ""
    kind: str = ""
    score: float = 0.0
    agreeing: int = 0
    pictures: int = 0
    candidates: tuple[Candidate, ...] = ()

    @property
    def question(self) -> str:
        """What to ask the person."""
        if not self.pictures:
            return "None of the pictures could be read. What do they show?"
        if not self.subject:
            return "It is not clear what these pictures have in common. What do they show?"
        kind = f" ({self.kind})" if self.kind else ""
        return f"These look like photos of {with_article(self.subject)}{kind}. Is that the subject?"


class SubjectVerb:
    """SuggestSubject: looks at pictures of a dataset with the tagger that names objects."""

    def __init__(self, datasets: Datasets, taggers: Taggers, decoder: PictureDecoder, executor: Executor) -> None:
        self._datasets = datasets
        self._taggers = taggers
        self._decoder = decoder
        self._executor = executor

    async def __call__(self, dataset: str, filter: str) -> Suggestion:
        """Raises NotFound for an unknown dataset, FailedPrecondition without pictures or without such a tagger."""
        tagger = self._taggers.naming_objects()
        if tagger is None:
            raise FailedPrecondition(
                "No tagger of this deployment names objects",
                reason="NO_OBJECT_TAGGER",
                remedy="Ask the operator to start the tagger with TAGGER_PHOTO=true.",
            )
        images = await matching_images(self._datasets, dataset, filter)
        loop = asyncio.get_running_loop()
        seen: list[Scores] = []
        for image in spread(images, MOST_PICTURES):
            data = await self._datasets.read_original(image.name)
            try:
                picture = await self._decoder.decode(data, field="image", owner=project_of(dataset))
            except InvalidArgument:
                # The dataset took it under other limits; the rest can still tell.
                continue
            trained = picture.part(image.crop or image.content_area)
            seen += await loop.run_in_executor(self._executor, tagger.infer, [trained])
        failures: list[DomainError] = [scores.error for scores in seen if scores.error is not None]
        if failures:
            raise failures[0]
        return suggest(seen)


def suggest(pictures: Sequence[Scores]) -> Suggestion:
    """The suggestion out of the raw scores of each picture. Pure.

    A noun is suggested when it is clearly ahead; otherwise a wider one (`vehicle`) when its nouns together are sure.
    """
    nouns, wider, kinds = _means(pictures)
    ranked = sorted(nouns, key=lambda noun: -nouns[noun])
    candidates = tuple(Candidate(noun, nouns[noun]) for noun in ranked[:_SHOWN] if nouns[noun] >= _LEAST_SHOWN)
    subject, score = _chosen(ranked, nouns, wider)
    if not subject:
        return Suggestion(pictures=len(pictures), candidates=candidates)
    agreeing = sum(_amount(scores, subject) >= _AGREES for scores in pictures)
    if 2 * agreeing < len(pictures):
        return Suggestion(pictures=len(pictures), candidates=candidates)
    named = [(value, kind) for (kind, noun), value in kinds.items() if noun == subject and value >= _KIND]
    return Suggestion(subject, max(named)[1] if named else "", score, agreeing, len(pictures), candidates)


def spread(images: Sequence[T], most: int) -> list[T]:
    """At most so many of them, at even distances, the first among them."""
    if len(images) <= most:
        return list(images)
    return [images[index * len(images) // most] for index in range(most)]


def with_article(noun: str) -> str:
    """`a dog`, `an apple`, `sunglasses`."""
    if noun.endswith("s") and not noun.endswith("ss") and noun not in ("bus", "hippopotamus", "octopus"):
        return noun
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _chosen(ranked: Sequence[str], nouns: dict[str, float], wider: dict[str, float]) -> tuple[str, float]:
    if not ranked:
        return "", 0.0
    best = ranked[0]
    second = nouns[ranked[1]] if len(ranked) > 1 else 0.0
    if nouns[best] >= _NOUN_OF_MANY.get(best, _NOUN) and nouns[best] >= _LEAD * second:
        return best, nouns[best]
    wider = {noun: value for noun, value in wider.items() if noun not in _TOO_WIDE}
    broadest = max(wider, key=lambda noun: wider[noun], default="")
    if broadest and wider[broadest] >= _WIDER:
        # Of wider nouns with the same amount the narrowest says most.
        near = [noun for noun in wider if wider[noun] >= 0.9 * wider[broadest]]
        narrowest = min(near, key=lambda noun: wider[noun])
        return narrowest, wider[narrowest]
    return "", 0.0


def _means(
    pictures: Sequence[Scores],
) -> tuple[dict[str, float], dict[str, float], dict[tuple[str, str], float]]:
    """Mean scores by noun, by wider noun, and by kind with its noun."""
    nouns: defaultdict[str, float] = defaultdict(float)
    wider: defaultdict[str, float] = defaultdict(float)
    kinds: defaultdict[tuple[str, str], float] = defaultdict(float)
    everything = [score for scores in pictures for score in scores.scores]
    families = {noun for score in everything if score.category == OBJECT for noun in score.broader}
    for score in everything:
        share = score.score / len(pictures)
        if score.category == OBJECT:
            nouns[score.label] += share
            for noun in {*score.broader, *({score.label} & families)}:
                wider[noun] += share
        elif score.category == KIND:
            kinds[score.label, score.broader[0] if score.broader else ""] += share
    return dict(nouns), dict(wider), dict(kinds)


def _amount(scores: Scores, noun: str) -> float:
    """How much of a noun, or of what it is wider than, is in a picture."""
    return sum(
        score.score
        for score in scores.scores
        if score.category == OBJECT and (score.label == noun or noun in score.broader)
    )
