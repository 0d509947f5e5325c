"""The step recorded as CUDA graphs: one for each kind of forward pass, one for the update.

A step of a UNet is thousands of small kernels, and on a fast accelerator the host cannot launch them as quickly as
they end. A recorded graph is launched with one call. It always reads the same memory, so the draws of a pass, made
outside, are copied into buffers of its own; gradients stay in place and the learning rate is a tensor.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from services.trainer.engine.checkpoints import TrainingState
from services.trainer.engine.conditioning import TextConditioner
from services.trainer.engine.families.base import Family
from services.trainer.engine.passes import Key, PassInputs
from services.trainer.engine.step import Step
from services.trainer.recipe.parameters import TrainingParameters

Work = Callable[[], Tensor]


class Recorder(Protocol):
    """Turns work into something that repeats it on whatever its buffers then hold."""

    def prepare(self, optimizer: Optimizer) -> None:
        """Make an optimizer's update one that can be recorded."""
        ...

    def run(self, work: Work) -> Tensor:
        """Do the work now, in a way that prepares for recording it."""
        ...

    def record(self, work: Work) -> Work:
        """Record the work without doing it. Each call of the answer does it and returns the same tensor."""
        ...


class CudaGraphs:
    """Records CUDA graphs that share one pool of memory: no two of them run at the same time."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._device = device

    def prepare(self, optimizer: Optimizer) -> None:
        # A number would be recorded as it is; schedules overwrite a tensor in place.
        for group in optimizer.param_groups:
            group["capturable"] = True
            group["lr"] = torch.tensor(float(group["lr"]), device=self._device)

    def run(self, work: Work) -> Tensor:
        # Libraries set themselves up for a stream on their first call, which a recording must not contain.
        outside = torch.cuda.current_stream()
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            result = work()
        outside.wait_stream(self._stream)
        return result

    def record(self, work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        # Other threads of the worker may use the device meanwhile; only this one's calls are recorded.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            result = work()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay


class RecordedStep(Step):
    """A step whose passes are done plainly the first time that their shapes occur, and replayed from then on.

    Shapes that occur once are so never recorded. A pass or update that cannot be recorded is done plainly for ever,
    with a warning.
    """

    def __init__(
        self,
        family: Family,
        conditioner: TextConditioner,
        parameters: TrainingParameters,
        state: TrainingState,
        recorder: Recorder,
    ) -> None:
        """Put gradients where recordings find them, and prepare the optimizer. Build after a resume."""
        super().__init__(family, conditioner, parameters, state)
        self._recorder = recorder
        self._seen: set[Key] = set()
        self._passes: dict[Key, tuple[PassInputs, Work, Tensor]] = {}
        self._replay_update: Work | None = None
        self._updates = 0
        for weight in self._weights:
            weight.grad = torch.zeros_like(weight)
        recorder.prepare(state.optimizer)

    def accumulate(self, inputs: PassInputs) -> Tensor:
        key = inputs.key()
        if key not in self._passes:
            if key not in self._seen:
                self._seen.add(key)
                return self._recorder.run(lambda: super(RecordedStep, self).accumulate(inputs))
            buffers = inputs.copy()
            replay = self._recorded(lambda: super(RecordedStep, self).accumulate(buffers))
            self._passes[key] = buffers, replay, self.sample_losses
        buffers, replay, recorded_losses = self._passes[key]
        buffers.overwrite(inputs)
        self.sample_losses = recorded_losses
        return replay()

    def update(self) -> None:
        self._updates += 1
        if self._updates == 1:
            self._recorder.run(self._update_in_place)
            return
        if self._replay_update is None:
            self._replay_update = self._recorded(self._update_in_place)
        self._replay_update()

    def forget(self) -> None:
        """Give up every recording as well, with the memory that they hold: they add to gradients that are gone."""
        super().forget()
        self._passes.clear()
        self._replay_update = None

    def _update_in_place(self) -> Tensor:
        self._clip()
        self._state.optimizer.step()
        # Zeroed rather than dropped, because the recorded passes add to this very memory.
        self._state.optimizer.zero_grad(set_to_none=False)
        return self._weights[0].detach()

    def _recorded(self, work: Work) -> Work:
        try:
            return self._recorder.record(work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            first = str(error).strip().partition("\n")[0]
            warnings.warn(f"a part of the step cannot be recorded and stays slow: {first}", stacklevel=2)
            return lambda: self._recorder.run(work)


def can_be_recorded(parameters: TrainingParameters) -> bool:
    """Whether a step has nothing that decides on the host, or waits for the device, while it runs.

    Other optimizers than AdamW do, float16's loss scaling does, and quantised layers choose kernels by their input.
    """
    return (
        parameters.optimizer == "adamw"
        and parameters.mixed_precision != "fp16"
        and parameters.base_quantization == "none"
    )
