"""One optimizer step of a run: passes drawn and computed, in parts where memory is short, then the update."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from services.trainer.engine.batches import DrawnPass, ForwardPass, draw_pass
from services.trainer.engine.devices import free_unused_memory
from services.trainer.engine.micro_batches import accumulate, in_parts, parts_of, smaller
from services.trainer.engine.out_of_memory import is_out_of_memory
from services.trainer.engine.passes import draw_inputs
from services.trainer.engine.precision import autocast
from services.trainer.engine.preparation import Run
from services.trainer.engine.step import Step


def train_step(run: Run, passes: Sequence[ForwardPass]) -> tuple[Tensor, int]:
    """One optimizer step; returns its loss, still on the device, and the samples it saw.

    Forward passes that do not fit into memory are done anew in halves of their samples.
    """
    parameters, state, step = run.spec.parameters, run.state, run.place.step
    drawn = [
        draw_pass(
            forward,
            run.latents[forward.bucket],
            run.captions,
            run.regularization_captions,
            parameters,
            step,
            position,
            run.preserved,
        )
        for position, forward in enumerate(passes)
    ]
    samples = sum(len(one.rows) for one in drawn)
    counted = 0
    while True:
        try:
            total = torch.zeros((), device=run.family.device)
            for position, one in enumerate(drawn):
                total += _accumulate(run, one, position, samples, counted=position < counted)
                counted = max(counted, position + 1)
            break
        except RuntimeError as error:
            if not is_out_of_memory(error) or not _can_be_smaller(run, drawn):
                raise
        # Only here have the tensors of the pass gone out of reach.
        _go_on_smaller(run, drawn)
    run.processes.add_up_gradients(list(state.weights.values()))
    run.step.update()
    state.schedule.step()
    run.average.update(step + 1)
    return run.processes.add_up(total), samples


def _accumulate(run: Run, drawn: DrawnPass, position: int, samples: int, *, counted: bool) -> Tensor:
    """Add one pass to the step; returns its share in the loss. counted: its pictures' losses are."""
    parameters, share = run.spec.parameters, run.processes.share(len(drawn.rows))
    latents = run.latents[drawn.bucket]
    with autocast(run.family.device, parameters.mixed_precision):
        inputs = draw_inputs(
            drawn,
            latents,
            run.conditioner,
            run.family.schedule,
            parameters,
            run.processes,
            run.place.step,
            position,
            samples,
        )
        if inputs is None:
            return torch.zeros((), device=run.family.device)
        parts = parts_of(inputs, drawn.captions[share], run.conditioner, run.place.micro_batch, drawn.preserved[share])
    loss, losses = accumulate(run.step, parts)
    if not counted:
        run.picture_losses.add(drawn.pictures[share], inputs.level, losses)
    return loss


def _can_be_smaller(run: Run, drawn: Sequence[DrawnPass]) -> bool:
    # Peers would wait in vain for a process that begins its step anew.
    return run.processes.count == 1 and _smaller(run, drawn) is not None


def _smaller(run: Run, drawn: Sequence[DrawnPass]) -> int | None:
    return smaller(run.place.micro_batch, max(len(one.rows) for one in drawn))


def _go_on_smaller(run: Run, drawn: Sequence[DrawnPass]) -> None:
    """Forget what there is of the step; from here on passes are computed in smaller parts, without recordings."""
    micro_batch = _smaller(run, drawn)
    assert micro_batch is not None
    run.step.forget()
    run.step = Step(run.family, run.conditioner, run.spec.parameters, run.state)
    run.place.micro_batch = micro_batch
    free_unused_memory()
    run.hooks.on_notice(in_parts(micro_batch))
