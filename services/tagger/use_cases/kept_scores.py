"""Raw scores that are kept with an image, so that another threshold needs no model. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from services.tagger.models.pictures import Score, Scores, TaggerInfo
from services.tagger.models.tags import TagOptions
from services.tagger.use_cases.scoring import fixed_threshold

LEAST_KEPT = 0.01
"""Scores below are not kept, but for the best of them in each category: MCut looks for gaps."""
_DIGITS = 4


def rounded(scores: Scores) -> Scores:
    """With four digits, as they are kept. Applied to all scores, so that kept ones give equal tags."""
    return replace(scores, scores=tuple(replace(each, score=round(each.score, _DIGITS)) for each in scores.scores))


def worth_keeping(scores: Scores) -> Scores:
    """The part of a picture's scores that later requests may need. A picture that failed has none."""
    groups: defaultdict[str, list[Score]] = defaultdict(list)
    for each in scores.scores:
        groups[each.category].append(each)
    kept: set[Score] = set()
    for group in groups.values():
        low = [each for each in group if each.score < LEAST_KEPT]
        kept.update(each for each in group if each.score >= LEAST_KEPT)
        kept.update([max(low, key=lambda each: each.score)] if low else [])
    return replace(scores, scores=tuple(each for each in scores.scores if each in kept))


def suffice(info: TaggerInfo, options: TagOptions) -> bool:
    """Whether the options ask for nothing below what is kept. Of an exclusive category the best is always kept."""
    return all(category.exclusive or fixed_threshold(category, options) >= LEAST_KEPT for category in info.categories)
