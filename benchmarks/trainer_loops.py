"""The loops that ``benchmarks.trainer`` compares, and what is measured of each."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy
import torch
import torch.nn.functional as functional
from peft import LoraConfig
from PIL import Image

from services.trainer.engine.batches import draw_pass, epoch_steps
from services.trainer.engine.families import load_family
from services.trainer.engine.job import Command, Hooks, PhaseProgress, TrainJobSpec
from services.trainer.engine.latents import BucketLatents
from services.trainer.engine.lora import add_adapters, trained_weights
from services.trainer.engine.noise import torch_generator
from services.trainer.engine.pictures import open_picture, render, views_of
from services.trainer.engine.precision import DTYPES, autocast, choose_device
from services.trainer.engine.schedules import draw_positions
from services.trainer.engine.train_loop import train
from services.trainer.recipe.plan import PictureSize, plan_job

WARM_UP = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """One loop's losses, its speed after the warm-up, and its peak of accelerator memory in MiB.

    Images per CPU second tell more than images a second on a machine that does other work; they leave helpers out.
    """

    losses: list[float]
    images_per_second: float
    images_per_cpu_second: float
    peak_mib: float


class Clock:
    """Images a second from the end of the warm-up on."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self._batch_size = batch_size
        self._device = device
        self._steps = 0
        self._started = 0.0
        self._cpu_started = 0.0

    def step(self) -> None:
        self._steps += 1
        if self._steps == WARM_UP:
            self._wait()
            self._started, self._cpu_started = time.perf_counter(), time.process_time()

    def rates(self) -> tuple[float, float]:
        """Images a second and images per CPU second."""
        self._wait()
        images = (self._steps - WARM_UP) * self._batch_size
        return images / (time.perf_counter() - self._started), images / (time.process_time() - self._cpu_started)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def plain(spec: TrainJobSpec) -> Measured:
    """The loop of diffusers' ``train_text_to_image_lora.py``, with our draws."""
    parameters, device = spec.parameters, choose_device(spec.device)
    family = load_family(spec.base_model, device, DTYPES[parameters.mixed_precision])
    pipeline = family.pipeline()
    unet, vae, text_encoder, tokenizer = pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.tokenizer
    unet.to(memory_format=torch.contiguous_format)
    add_adapters(family, parameters)
    weights = list(trained_weights({"unet": unet}).values())
    assert isinstance(unet.peft_config["default"], LoraConfig)
    optimizer = torch.optim.AdamW(
        weights, lr=parameters.learning_rate, betas=(0.9, 0.99), weight_decay=parameters.weight_decay
    )
    pictures = [open_picture(item, parameters, spec.decode) for item in spec.items]
    sizes = [PictureSize(*one.size, repeats=one.item.repeats) for one in pictures]
    plan = plan_job(sizes, parameters, family.pixel_multiple)
    shape = (plan.buckets[0].width, plan.buckets[0].height)
    views = [views_of(picture, shape, parameters) for picture in pictures]
    rows = [(number, view) for number, own in enumerate(views) for view in own]
    numbers: dict[int, tuple[int, ...]] = {
        item: tuple(row for row, (owner, _) in enumerate(rows) if owner == item) for item in range(len(pictures))
    }
    nothing = torch.zeros(0)
    table = BucketLatents(*shape, nothing, nothing, None, numbers, ())
    captions = [item.caption for item in spec.items]

    losses, clock = [], Clock(parameters.batch_size, device)
    for step, passes in enumerate(epoch_steps(plan.buckets, parameters, 0)):
        (forward,) = passes
        drawn = draw_pass(forward, table, captions, (), parameters, step, 0)
        images = []
        for row in drawn.rows:
            number, view = rows[row]
            with Image.open(spec.items[number].image_path) as opened:
                images.append(render(opened.convert("RGB"), view, shape))
        pixels = torch.from_numpy(numpy.stack(images)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        generator = torch_generator(device, parameters.seed, "noise", step, 0)
        with torch.no_grad():
            posterior = vae.encode(pixels).latent_dist
            scale = vae.config.scaling_factor
            latents = posterior.mean * scale
            latents = latents + posterior.std * scale * torch.randn(latents.shape, generator=generator, device=device)
        noise = torch.randn(latents.shape, generator=generator, device=device)
        level = draw_positions(len(latents), parameters, generator)
        tokens = tokenizer(
            list(drawn.captions),
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids.to(device)
        with autocast(device, parameters.mixed_precision):
            hidden = text_encoder(tokens)[0]
            noisy = family.schedule.noisy(latents, noise, level)
            answer = unet(noisy, family.schedule.timesteps(level), encoder_hidden_states=hidden).sample
        loss = functional.mse_loss(answer.float(), family.schedule.target(latents, noise, level))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, parameters.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        clock.step()
    return Measured(losses, *clock.rates(), _peak(device))


def ours(spec: TrainJobSpec) -> Measured:
    """The engine's loop; its rate is taken from the same steps as the plain one's."""
    device = choose_device(spec.device)
    losses: list[float] = []
    clock = Clock(spec.parameters.batch_size, device)
    rates: list[tuple[float, float]] = []

    def control() -> Command:
        clock.step()
        return Command.CONTINUE

    def phase(_: PhaseProgress) -> None:
        # The first phase after the last step is the end of the epoch.
        if losses and not rates:
            rates.append(clock.rates())

    train(spec, Hooks(on_step=lambda metrics: losses.append(metrics.loss), on_phase=phase, control=control))
    return Measured(losses, *rates[0], _peak(device))


def _peak(device: torch.device) -> float:
    if device.type != "cuda":
        return 0.0
    peak = torch.cuda.max_memory_allocated() / 2**20
    torch.cuda.reset_peak_memory_stats()
    return peak
