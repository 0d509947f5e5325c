"""Which epoch to keep, and why, from the evaluations of the epochs so far. Pure arithmetic; see docs/evaluation.md."""

from __future__ import annotations

from collections.abc import Sequence

from services.trainer.engine.job import Evaluation, Recommendation

DRIFT_PRICE = 0.25
"""Gain that a unit of drift must be worth: a model that moves neutral prompts a lot has overpainted the base."""

COPY_LIKENESS = 0.95
"""Previews nearer than this to a training picture are copies."""

RISE = 0.05
"""Share by which the loss on moved views may lie above its lowest; beyond it the pictures are learnt by heart."""

NEAR_ENOUGH = 0.02
"""An earlier epoch within this share of the best score is preferred: it bends better to other prompts."""


def score(evaluation: Evaluation) -> float:
    """Share of the loss that training has removed, less the price of drift and of copying."""
    copied = max(0.0, evaluation.memorisation - COPY_LIKENESS) / (1.0 - COPY_LIKENESS)
    return gain(evaluation) - DRIFT_PRICE * evaluation.drift - 0.1 * copied


def gain(evaluation: Evaluation) -> float:
    """Share of the base model's loss that is gone, on the held-out picture when there is one."""
    if evaluation.held_out_loss is not None and evaluation.base_held_out_loss is not None:
        return 1.0 - evaluation.held_out_loss / max(evaluation.base_held_out_loss, 1e-12)
    return 1.0 - evaluation.fit_loss / max(evaluation.base_fit_loss, 1e-12)


def before_memorising(evaluations: Sequence[Evaluation]) -> int:
    """How many leading epochs come before the loss on moved views has risen; all of them where it does not.

    A held-out picture tells more than moved ones; where there is one, the score counts it and nothing is cut.
    """
    lowest = float("inf")
    for number, evaluation in enumerate(evaluations):
        if evaluation.moved_loss is None or evaluation.held_out_loss is not None:
            continue
        lowest = min(lowest, evaluation.moved_loss)
        if evaluation.moved_loss > lowest * (1.0 + RISE):
            return number
    return len(evaluations)


def recommend(evaluations: Sequence[Evaluation]) -> Recommendation:
    """The epoch (from 1) with the best score before memorising begins, or an earlier one that is about as good.

    Args:
        evaluations: of epochs 1, 2, … in order, at least one.
    """
    scores = [score(evaluation) for evaluation in evaluations[: before_memorising(evaluations)]]
    best = max(scores)
    margin = NEAR_ENOUGH * max(abs(best), 1e-6)
    chosen = next(number for number, value in enumerate(scores, 1) if value >= best - margin)
    return Recommendation(chosen, _reason(evaluations, chosen))


def _reason(evaluations: Sequence[Evaluation], chosen: int) -> str:
    evaluation = evaluations[chosen - 1]
    measured = "a picture kept out of training" if evaluation.held_out_loss is not None else "your pictures"
    parts = [
        f"Epoch {chosen} removes {gain(evaluation):.0%} of the base model's error on {measured}"
        f" and changes other prompts by {evaluation.drift:.1%}."
    ]
    learnt_by_heart = before_memorising(evaluations)
    if learnt_by_heart < len(evaluations):
        first = learnt_by_heart + 1
        parts.append(f"From epoch {first} on your pictures are learnt by heart: seen otherwise, they fit less.")
    elif chosen < len(evaluations):
        last = evaluations[-1]
        if gain(last) < gain(evaluation):
            parts.append("Later epochs fit less well.")
        elif score(last) < score(evaluation):
            parts.append("Later epochs fit more closely but change other prompts more than that is worth.")
        else:
            parts.append("Later epochs are at most slightly better, and an earlier one follows prompts more freely.")
    else:
        parts.append("It is still getting better; more epochs may help.")
    if evaluation.memorisation > COPY_LIKENESS:
        parts.append("A preview is close to a copy of a training picture.")
    return " ".join(parts)
