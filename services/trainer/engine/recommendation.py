"""Which epoch to keep, and why, from the evaluations of the epochs so far. Pure arithmetic; see docs/evaluation.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.trainer.engine.copies import COPY_LIKENESS
from services.trainer.engine.job import Evaluation, Recommendation

DRIFT_PRICE = 0.25
"""Gain that a unit of drift must be worth: a model that moves neutral prompts a lot has overpainted the base."""

COPY_PRICE = 0.1
"""Gain that previews which are copies must be worth."""

RISE = 0.05
"""Share by which the loss on moved views may lie above its lowest; beyond it the pictures are learnt by heart, unless
what they gained themselves meanwhile is more."""

CLEARLY_BETTER = 0.05
"""Gain by which an earlier epoch must beat the last one: few noised pictures tell no smaller differences apart."""

CLEARLY_BETTER_UNSEEN = 0.01
"""The same where a picture was held out, on which all epochs see the same noise and none can learn by heart."""

LEARNT = 0.02
"""Share of the base model's error that must go for anything to be seen."""

HARDLY_CHANGED = 0.02
"""Mean change of a preview's channels below which nobody sees a difference to the base model's."""

NOTICEABLE_DRIFT = 0.05
"""Change of what the canaries draw, from which on the model no longer follows prompts as the base does."""

STILL_FALLING = 0.05
"""Share of the base model's error by which the last epoch of a run beats the one before when more may help."""


@dataclass(frozen=True, slots=True)
class Named:
    """Names of the pictures that are hardly learnt, and of those that are learnt by heart."""

    hardly_learnt: Sequence[str] = ()
    by_heart: Sequence[str] = ()


def score(evaluation: Evaluation) -> float:
    """Share of the error that training has removed, less the price of drift and of copying."""
    copied = COPY_PRICE if evaluation.memorisation >= COPY_LIKENESS else 0.0
    return gain(evaluation) - DRIFT_PRICE * evaluation.drift - copied


def gain(evaluation: Evaluation) -> float:
    """Share of the base model's error that is gone: on the held-out picture if there is one, else on those trained."""
    unseen = evaluation.unseen_error if evaluation.held_out_loss is not None else None
    return 1.0 - (evaluation.photo_error if unseen is None else unseen)


def before_memorising(evaluations: Sequence[Evaluation]) -> int:
    """How many leading epochs come before the loss on moved views has risen; all of them where it does not.

    It must rise by more than the pictures' own loss falls: a subject that is hard to move is learnt while both go their
    way. A held-out picture tells more than moved ones; where there is one, the score counts it and nothing is cut.
    """
    lowest: tuple[float, float] | None = None
    for number, evaluation in enumerate(evaluations):
        if evaluation.moved_loss is None or evaluation.held_out_loss is not None:
            continue
        if lowest is None or evaluation.moved_loss < lowest[0]:
            lowest = evaluation.moved_loss, evaluation.fit_loss
        risen, gained = evaluation.moved_loss - lowest[0], lowest[1] - evaluation.fit_loss
        if risen > max(RISE * lowest[0], gained):
            return number
    return len(evaluations)


def recommend(evaluations: Sequence[Evaluation], *, finished: bool, pictures: Named = Named()) -> Recommendation:
    """The last epoch before memorising begins, or an earlier one (from 1) whose score is clearly better.

    Schedules that fall to zero average noise away towards the end, so the last epoch is the one to beat.

    Args:
        evaluations: of epochs 1, 2, … in order, at least one.
        finished: no epoch follows, so the reason may say what another run should change.
        pictures: those that the reason should name.
    """
    counted = evaluations[: before_memorising(evaluations)]
    # None that is worse than the base model on unseen pictures is kept where another is better.
    better = any(_generalises(each) for each in counted)
    scores = [score(each) if _generalises(each) or not better else float("-inf") for each in counted]
    margin = CLEARLY_BETTER if evaluations[0].held_out_loss is None else CLEARLY_BETTER_UNSEEN
    chosen = len(scores) if max(scores) <= scores[-1] + margin else scores.index(max(scores)) + 1
    reason = _reason(evaluations, chosen, finished=finished)
    return Recommendation(chosen, " ".join([reason, *_about(pictures)]))


def _generalises(evaluation: Evaluation) -> bool:
    return evaluation.unseen_error is None or evaluation.unseen_error <= 1.0 - LEARNT


def _about(pictures: Named) -> Iterator[str]:
    if pictures.hardly_learnt:
        yield f"Hardly learnt: {', '.join(pictures.hardly_learnt)}; look at caption and crop."
    if pictures.by_heart:
        yield f"Learnt by heart: {', '.join(pictures.by_heart)}; lower its repeats."


def _astray(last: Evaluation, *, finished: bool) -> str:
    """Of a run that moved the model and not towards the photos: more of the same would make it worse."""
    so_far, learnt = ("", "was") if finished else ("So far ", "is")
    changed = f", by {last.drift:.0%} where it has no part" if last.drift >= NOTICEABLE_DRIFT else ""
    nothing = "nothing" if so_far else "Nothing"
    sentence = f"{so_far}{nothing} of your subject {learnt} learnt, although the pictures change{changed}."
    return f"{sentence} Lower the learning rate." if finished else sentence


def _reason(evaluations: Sequence[Evaluation], chosen: int, *, finished: bool) -> str:
    """What a photographer sees, in a sentence or two."""
    evaluation = evaluations[chosen - 1]
    if max(1.0 - each.photo_error for each in evaluations) < LEARNT:
        last = evaluations[-1]
        if last.drift >= NOTICEABLE_DRIFT or last.photo_error > 1.0 + LEARNT:
            return _astray(last, finished=finished)
        if not finished:
            return "Nothing is learnt so far: the pictures are still those of the base model."
        return (
            "Nothing was learnt: the pictures of every epoch are those of the base model. "
            "Raise the learning rate, or train for more steps."
        )
    if not _generalises(evaluation):
        if not finished:
            return "So far only your photos themselves are learnt, not your subject in new pictures."
        return (
            "No epoch shows your subject in new pictures better than the base model does: "
            "only the photos themselves were learnt. Add photos from other sides and in other light."
        )
    if evaluation.preview_change is not None and evaluation.preview_change < HARDLY_CHANGED:
        hardly = f"Epoch {chosen} fits your photos best, but its pictures hardly differ from the base model's."
        return f"{hardly} Raise the learning rate, or train for more steps." if finished else hardly
    follows = (
        "and still follows prompts"
        if evaluation.drift < NOTICEABLE_DRIFT
        else f"but changes pictures without it as well, by {evaluation.drift:.0%}"
    )
    sentence = f"Epoch {chosen} shows your subject best {follows}"
    if before_memorising(evaluations) < len(evaluations):
        sentence += "; later ones repeat your photos instead"
    elif chosen < len(evaluations):
        sentence += "; later ones are worse"
    parts = [f"{sentence}."]
    if evaluation.memorisation >= COPY_LIKENESS:
        parts.append("One of its previews is nearly a copy of a photo.")
    if finished and chosen == len(evaluations) > 1 and gain(evaluation) - gain(evaluations[-2]) > STILL_FALLING:
        parts.append("It was still getting better at the end: more epochs may help.")
    return " ".join(parts)
