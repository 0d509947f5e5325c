"""One optimizer step, and nothing but its arithmetic: forward, loss, backward; then clip and update."""

from __future__ import annotations

import torch
from torch import Tensor

from services.trainer.engine.checkpoints import TrainingState
from services.trainer.engine.conditioning import TextConditioner
from services.trainer.engine.families.base import Family
from services.trainer.engine.lora import adapters_off, wrapped_layers
from services.trainer.engine.losses import batch_loss, per_sample_loss
from services.trainer.engine.passes import PassInputs
from services.trainer.engine.precision import autocast
from services.trainer.recipe.parameters import TrainingParameters


class Step:
    """The arithmetic of a step over the live weights; ``graph_step.RecordedStep`` replays the same."""

    def __init__(
        self, family: Family, conditioner: TextConditioner, parameters: TrainingParameters, state: TrainingState
    ) -> None:
        self._family = family
        self._conditioner = conditioner
        self._parameters = parameters
        self._state = state
        self._weights = list(state.weights.values())
        self._layers = wrapped_layers(family.components.values())
        self.sample_losses = torch.empty(0)
        """Of the last pass, unweighted, float32 [B] on the device; valid until the next call."""

    def accumulate(self, inputs: PassInputs) -> Tensor:
        """Add the gradients of a forward pass to those of the step.

        Returns:
            The pass's share in the step's loss, a scalar on the device, valid until the next call.
        """
        loss = self._loss(inputs)
        self._state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if inputs.kept_weights is None:
            return loss.detach()
        # Apart, so that only one of the two holds its activations at a time.
        kept = self._preservation_loss(inputs, inputs.kept_weights)
        self._state.scaler.scale(kept).backward()  # type: ignore[no-untyped-call]
        return loss.detach() + kept.detach()

    def update(self) -> None:
        """Move the weights by the gradients and forget these."""
        self._clip()
        self._state.scaler.step(self._state.optimizer)
        self._state.scaler.update()
        self._state.optimizer.zero_grad(set_to_none=True)

    def forget(self) -> None:
        """Drop the gradients of a step that is not done to its end."""
        for weight in self._weights:
            weight.grad = None
        self.sample_losses = torch.empty(0)

    def _clip(self) -> None:
        if self._parameters.max_grad_norm > 0.0:
            self._state.scaler.unscale_(self._state.optimizer)
            torch.nn.utils.clip_grad_norm_(self._weights, self._parameters.max_grad_norm, foreach=True)

    def _loss(self, inputs: PassInputs) -> Tensor:
        family, schedule = self._family, self._family.schedule
        latents, noise, level = inputs.latents, inputs.noise, inputs.level
        with autocast(family.device, self._parameters.mixed_precision):
            conditioning = self._conditioner.encode(inputs.text)
            noisy = schedule.noisy(latents, noise, level)
            prediction = family.predict(noisy, schedule.timesteps(level), conditioning)
        losses = per_sample_loss(prediction, schedule.target(latents, noise, level), inputs.mask)
        self.sample_losses = losses.detach()
        weights = inputs.weights * schedule.weight(level, self._parameters.min_snr_gamma)
        return batch_loss(losses, weights, inputs.samples)

    def _preservation_loss(self, inputs: PassInputs, kept_weights: Tensor) -> Tensor:
        """How far the model has left what the base says of the same noisy pictures without the trigger word."""
        family, schedule, level = self._family, self._family.schedule, inputs.level
        noisy = schedule.noisy(inputs.latents, inputs.noise, level)

        def answer() -> Tensor:
            with autocast(family.device, self._parameters.mixed_precision):
                return family.predict(noisy, schedule.timesteps(level), self._conditioner.encode(inputs.kept_text))

        with torch.no_grad(), adapters_off(self._layers):
            base = answer()
        losses = per_sample_loss(answer(), base, None)
        weights = kept_weights * self._parameters.preservation_weight
        weights = weights * schedule.weight(level, self._parameters.min_snr_gamma)
        return batch_loss(losses, weights, inputs.samples)
