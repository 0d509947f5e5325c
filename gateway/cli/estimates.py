"""An estimate in words."""

from __future__ import annotations

from fiveshot.trainer.v1 import training_job_pb2
from google.protobuf.duration_pb2 import Duration

from gateway.cli import output

_Estimate = training_job_pb2.TrainingEstimate
_FIT = {_Estimate.FIT_YES: "yes", _Estimate.FIT_TIGHT: "perhaps not", _Estimate.FIT_NO: "no"}


def facts(estimate: _Estimate) -> list[tuple[str, object]]:
    """Lines of name and value; what is not known is left empty."""
    return [
        ("images", estimate.image_count),
        ("steps an epoch", estimate.steps_per_epoch),
        ("steps", estimate.total_steps),
        ("time", _time(estimate)),
        ("of it", _parts(estimate)),
        ("basis", _basis(estimate)),
        ("memory", _memory(estimate)),
        ("fits", _fits(estimate)),
        ("captions", _captions(estimate)),
        ("files", " ".join(estimate.file_notes)),
    ]


def _time(estimate: _Estimate) -> str:
    if not estimate.HasField("duration"):
        return "not known yet: no worker has run this"
    middle = output.duration(_seconds(estimate.duration))
    if not estimate.HasField("duration_low"):
        return middle
    low, high = (output.duration(_seconds(bound)) for bound in (estimate.duration_low, estimate.duration_high))
    return f"{middle} ({low} to {high})"


def _parts(estimate: _Estimate) -> str:
    if not estimate.HasField("training_duration"):
        return ""
    start, training, ends = (
        output.duration(_seconds(part))
        for part in (estimate.start_duration, estimate.training_duration, estimate.epoch_ends_duration)
    )
    return f"start {start}, steps {training}, previews and files {ends}"


def _basis(estimate: _Estimate) -> str:
    if not estimate.basis:
        return ""
    runs = f"{estimate.measured_runs} " if estimate.measured_runs else ""
    basis = estimate.basis.replace("runs", "run", 1) if estimate.measured_runs == 1 else estimate.basis
    return f"{runs}{basis}" + (f" on {estimate.device}" if estimate.device else "")


def _memory(estimate: _Estimate) -> str:
    if not estimate.memory_bytes:
        return ""
    text = output.size(estimate.memory_bytes)
    if estimate.memory_high_bytes:
        text += f" ({output.size(estimate.memory_low_bytes)} to {output.size(estimate.memory_high_bytes)})"
    return f"{text}, by {estimate.memory_basis}" if estimate.memory_basis else text


def _fits(estimate: _Estimate) -> str:
    if estimate.fit not in _FIT:
        return ""
    text = f"{_FIT[estimate.fit]}, a worker has {output.size(estimate.device_memory_bytes)}"
    return f"{text}. {estimate.fit_remedy}" if estimate.fit_remedy else text


def _captions(estimate: _Estimate) -> str:
    if not estimate.long_captions:
        return ""
    return (
        f"{estimate.long_captions} of {estimate.image_count} are longer than the {estimate.caption_token_limit} tokens "
        f"that the model takes (the longest about {estimate.longest_caption_tokens}); their ends are cut"
    )


def _seconds(duration: Duration) -> float:
    return float(duration.seconds + duration.nanos / 1e9)
