"""Epochs compared on one scale and in words; what the numbers are is told in docs/evaluation.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fiveshot.trainer.v1 import training_job_pb2

from gateway.cli import output

Epoch = training_job_pb2.Epoch
MEASURES = ("photos", "unseen", "drift", "likeness")
COLUMNS = (">epoch", *(f">{name}" for name in MEASURES), "verdict")
# The trainer's own bounds: from here on it counts a preview as a copy, and a moved view as unlearnt.
_COPY = 0.8
_RISE = 0.05


def rows(epochs: Sequence[Epoch]) -> Iterator[tuple[str, ...]]:
    """A row for each epoch, in order, as `COLUMNS` names them; every number in per cent, less is better."""
    for epoch, word in zip(epochs, verdicts(epochs), strict=True):
        yield output.short(epoch.name), *(text.rstrip("%") for text in measures(epoch).values()), word


def measures(epoch: Epoch | None) -> dict[str, str]:
    """What was measured of an epoch, by name; every number in per cent, and "" where there is none."""
    if epoch is None or not epoch.HasField("evaluation"):
        return dict.fromkeys(MEASURES, "")
    found = epoch.evaluation
    errors = [f"{getattr(found, name):.0%}" if found.HasField(name) else "" for name in ("photo_error", "unseen_error")]
    return dict(zip(MEASURES, (*errors, f"{found.drift:.1%}", f"{found.memorisation:.0%}"), strict=True))


def in_words(epoch: Epoch) -> str:
    """The measures that there are, in a line: ``photos 62%, unseen 70%, drift 1.2%, likeness 55%``."""
    return ", ".join(f"{name} {text}" for name, text in measures(epoch).items() if text)


def legend(epochs: Sequence[Epoch]) -> Iterator[tuple[str, str]]:
    """Each column that has numbers, and what they mean. Less is better in all of them."""
    found = [each.evaluation for each in epochs if each.HasField("evaluation")]
    if not found:
        return
    if any(each.HasField("photo_error") for each in found):
        yield "photos", "what is left of the base model's error on your photos"
    if any(each.HasField("held_out_loss") for each in found):
        yield "unseen", "the same on a photo that is kept out of training"
    elif any(each.HasField("unseen_error") for each in found):
        yield "unseen", "the same on your photos mirrored, nearer and farther; it rises when they are learnt by heart"
    yield "drift", "how far prompts that have nothing to do with your photos have moved; from 5 on it shows"
    yield "likeness", f"of a preview to the nearest training photo; from {100 * _COPY:.0f} on it is a copy"


def verdicts(epochs: Sequence[Epoch]) -> list[str]:
    """Each epoch in words, beside the recommended one; "" where nothing was measured or recommended."""
    best = next((number for number, each in enumerate(epochs) if each.recommended), None)
    if best is None:
        return [""] * len(epochs)
    return [_verdict(epochs, number, best) for number in range(len(epochs))]


def _verdict(epochs: Sequence[Epoch], number: int, best: int) -> str:
    found = epochs[number].evaluation
    copy = "; a preview is a copy of a photo" if found.memorisation >= _COPY else ""
    if number == best:
        return f"recommended{copy}{output.pretended(epochs[number])}"
    if not epochs[number].HasField("evaluation"):
        return ""
    if number < best:
        return f"still learning{copy}"
    so_far = [each.evaluation for each in epochs[: number + 1] if each.HasField("evaluation")]
    if _risen([each.held_out_loss for each in so_far if each.HasField("held_out_loss")]):
        return f"past its best: an unseen picture fits less{copy}"
    if _risen([each.moved_loss for each in so_far if each.HasField("moved_loss")]):
        return f"photos learnt by heart{copy}"
    if copy:
        return copy.removeprefix("; ")
    return "hardly better" if found.fit_loss < epochs[best].evaluation.fit_loss else "no better"


def _risen(losses: Sequence[float]) -> bool:
    return bool(losses) and losses[-1] > min(losses) * (1 + _RISE)
