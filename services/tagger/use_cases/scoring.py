"""From raw scores to predictions: thresholds, replacements, exclusions, overlaps, cap. Pure, for one picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace as copy

from services.tagger.models.pictures import Category, Score, TaggerInfo
from services.tagger.models.tags import TagOptions
from services.tagger.use_cases.labels import contains_words, key, matcher, readable


def mcut(scores: Iterable[float]) -> float:
    """The threshold in the middle of the largest gap between neighbouring scores (Largeron et al. 2012, MCut).

    Fewer than two scores have no gap: the result is then 0.5. Of equal gaps the one between higher scores counts.
    """
    ordered = sorted(scores, reverse=True)
    if len(ordered) < 2:
        return 0.5
    gaps = [ordered[i] - ordered[i + 1] for i in range(len(ordered) - 1)]
    widest = gaps.index(max(gaps))
    return (ordered[widest] + ordered[widest + 1]) / 2


def predictions(scores: Sequence[Score], info: TaggerInfo, options: TagOptions) -> list[Score]:
    """The labels to give, each once: by category in the tagger's order, the best first within each.

    The cap keeps the best of all categories; the order is the one in which they read well as a caption.
    Thresholds look at what the backend said, whatever the caller then makes of the labels; the cap comes last, so that
    it is filled with labels that may be given. A category that the backend did not declare is its fault: KeyError.
    """
    kept = _above_threshold(_exclusive(scores, info), info, options)
    kept = _excluded(_replaced(kept, options.replace), options.exclude)
    kept = _unique(sorted(kept, key=lambda score: -score.score))
    if not options.keep_overlapping:
        kept = _without_overlaps(kept)
    rank = {category.name: position for position, category in enumerate(info.categories)}
    return sorted(kept[: options.max_tags], key=lambda score: (rank[score.category], -score.score))


def _replaced(scores: Sequence[Score], rules: Sequence[tuple[str, str]]) -> list[Score]:
    by_label: dict[str, str] = {}
    for old, new in rules:
        by_label.setdefault(key(old), new)
    return [copy(score, label=readable(by_label.get(key(score.label), score.label))) for score in scores]


def _excluded(scores: Sequence[Score], patterns: Sequence[str]) -> list[Score]:
    fits = matcher(patterns)
    return [score for score in scores if not fits(score.label)]


def _exclusive(scores: Sequence[Score], info: TaggerInfo) -> list[Score]:
    """Of an exclusive category (a rating) only the best label stays."""
    exclusive = {category.name for category in info.categories if category.exclusive}
    best: dict[str, Score] = {}
    for score in scores:
        if score.category in exclusive and (score.category not in best or score.score > best[score.category].score):
            best[score.category] = score
    return [score for score in scores if score.category not in exclusive or best[score.category] is score]


def _above_threshold(scores: Sequence[Score], info: TaggerInfo, options: TagOptions) -> list[Score]:
    thresholds = {category.name: _threshold(category, scores, options) for category in info.categories}
    measured = {category.name: fixed_threshold(category, options) for category in info.categories}
    return [score for score in scores if score.score >= (measured if score.measured else thresholds)[score.category]]


def _threshold(category: Category, scores: Sequence[Score], options: TagOptions) -> float:
    """A measured share or certainty is no vote of a classifier, so MCut looks at predicted scores only."""
    named = category.name in dict(options.category_thresholds)
    if not options.adaptive_threshold or named or category.on_request:
        return fixed_threshold(category, options)
    predicted = [score.score for score in scores if score.category == category.name and not score.measured]
    return max(category.adaptive_floor, mcut(predicted))


def fixed_threshold(category: Category, options: TagOptions) -> float:
    """The least score of a category that the options set; MCut aside."""
    overrides = dict(options.category_thresholds)
    if category.name in overrides:
        return overrides[category.name]
    if options.threshold is None or not category.takes_threshold:
        return category.threshold
    return options.threshold


def _unique(scores: Sequence[Score]) -> list[Score]:
    """The first of labels that mean the same."""
    first: dict[str, Score] = {}
    for score in scores:
        first.setdefault(key(score.label), score)
    return list(first.values())


def _without_overlaps(scores: Sequence[Score]) -> list[Score]:
    return [
        score
        for score in scores
        if not any(other.category == score.category and contains_words(other.label, score.label) for other in scores)
    ]
