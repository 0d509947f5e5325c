"""Everything before the first step: load the base model, decode and encode pictures, sample the base, add adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from services.trainer.engine.acceleration import build_step, choose_acceleration
from services.trainer.engine.base_samples import BaseSamples, Report
from services.trainer.engine.checkpoints import Place, TrainingState, load_checkpoint
from services.trainer.engine.conditioning import TextConditioner
from services.trainer.engine.errors import EngineError
from services.trainer.engine.evaluation import Evaluator, Example
from services.trainer.engine.examples import copies_of, held_out_example, moved_examples, training_example
from services.trainer.engine.families.base import Family, SamplingRequest
from services.trainer.engine.families.fingerprint import model_fingerprint
from services.trainer.engine.identity import identity_of
from services.trainer.engine.initial_lora import put_in
from services.trainer.engine.job import (
    Acceleration,
    Evaluation,
    Hooks,
    Notice,
    PhaseProgress,
    PreviewImage,
    TrainJobSpec,
)
from services.trainer.engine.latents import BucketLatents, LatentEncoder, joined_masks
from services.trainer.engine.lora import RunningAverage, add_adapters, trained_weights
from services.trainer.engine.metadata import RunFacts
from services.trainer.engine.micro_batches import in_parts
from services.trainer.engine.not_finite import slow_down
from services.trainer.engine.optimizers import build_optimizer, build_schedule
from services.trainer.engine.picture_losses import PictureLosses
from services.trainer.engine.pictures import Picture, open_picture
from services.trainer.engine.precision import DTYPES, autocast, choose_device, gradient_scaler
from services.trainer.engine.previews import preview_request
from services.trainer.engine.processes import Processes
from services.trainer.engine.quiet import quiet_libraries
from services.trainer.engine.regularization import OwnRegularization, RegularizationSet, regularization_of
from services.trainer.engine.step import Step
from services.trainer.engine.warm import Warm
from services.trainer.recipe.captions import preserved_caption
from services.trainer.recipe.parameter_spec import InvalidParameter
from services.trainer.recipe.phases import Phase
from services.trainer.recipe.plan import JobPlan, PictureSize, plan_job
from services.trainer.recipe.prompts import with_prompts
from services.trainer.recipe.streaming import Streaming
from services.trainer.recipe.workload import evaluation_samples

THUMBNAIL_SIDE = 256


@dataclass(slots=True)
class Run:
    """A run that is ready for its next step; the train loop owns it."""

    spec: TrainJobSpec
    hooks: Hooks
    processes: Processes
    family: Family
    plan: JobPlan
    latents: list[BucketLatents]
    captions: list[str]
    preserved: tuple[str, ...]
    """Captions of the pictures on which the base model is preserved; none where it is not."""
    regularization_captions: tuple[str, ...]
    conditioner: TextConditioner
    carriers: dict[str, nn.Module]
    average: RunningAverage
    state: TrainingState
    step: Step
    picture_losses: PictureLosses
    acceleration: Acceleration
    evaluator: Evaluator | None
    """Of the main process only."""
    previews: SamplingRequest
    base_previews: tuple[PreviewImage, ...]
    thumbnails: list[Image.Image]
    facts: RunFacts
    place: Place
    checkpoint: Path | None
    """The last one, None before the first; ``checkpoint_step`` steps are done there."""
    checkpoint_step: int

    @property
    def evaluations(self) -> list[Evaluation]:
        """Of every finished epoch of the job, in order."""
        return [Evaluation(**values) for values in self.place.evaluations]

    @property
    def mixed_precision(self) -> str:
        return self.spec.parameters.mixed_precision


def prepare(spec: TrainJobSpec, hooks: Hooks, processes: Processes, warm: Warm) -> Run:
    """Load, cache and build everything that ``spec`` names, and go to the place of its checkpoint, if any.

    Raises:
        EngineError: with a reason of its own for each thing that can be wrong with model, pictures or settings.
    """
    quiet_libraries()
    parameters = spec.parameters
    device = choose_device(spec.device)
    report = _reporter(hooks)
    report(Phase.LOADING, 0, 1)
    family = warm.take(
        spec.base_model,
        device,
        DTYPES[parameters.mixed_precision],
        parameters.base_quantization,
        spec.streamed_blocks,
    )
    fingerprint = model_fingerprint(spec.base_model)
    if family.stream and processes.is_main:
        hooks.on_notice(Notice(Streaming(family.stream.streamed, family.stream.total, 0.0).sentence))

    pictures = []
    for number, item in enumerate(spec.items):
        report(Phase.READING, number, len(spec.items))
        pictures.append(open_picture(item, parameters, spec.decode))
    plan = _plan(pictures, spec, family)
    acceleration = spec.acceleration or choose_acceleration(device, plan, parameters)
    if not family.recordable or family.stream:
        acceleration = replace(acceleration, graphs=False, compiled=False)
    if not acceleration.channels_last:
        family.use_contiguous_layout()
    captions = [item.caption for item in spec.items]
    preserved = _preserved(spec)
    regularization = regularization_of(spec)
    latents, held_out = _encode(family, fingerprint, pictures, plan, regularization, spec, report)

    trained_texts = (*captions, *preserved, *(regularization.captions if regularization else ()))
    family.use_long_texts(trained_texts)
    request = preview_request(
        family,
        parameters,
        with_prompts(parameters, (), captions, neutral=spec.base_model.neutral_prompts).preview_prompts,
    )
    others = ("", *request.prompts, request.negative_prompt, *spec.base_model.neutral_prompts)
    with autocast(device, parameters.mixed_precision):
        family.release_text((*trained_texts, *others), stay=parameters.shuffle_caption)
    base_previews: tuple[PreviewImage, ...] = ()
    evaluator = None
    if processes.is_main:
        samples_of_base = BaseSamples(family, fingerprint, spec, report)
        if spec.sample_base_previews:
            base_previews = samples_of_base.previews(request)
            hooks.on_base_previews(base_previews)
        neutral = samples_of_base.neutral(captions)
        report(Phase.BASE_EVALUATION, 0, 1)
        training = [
            training_example(bucket, item, pictures[item])
            for bucket, members in zip(latents, plan.buckets, strict=True)
            for item in members.items
        ]
        samples = evaluation_samples(parameters, plan.steps.samples_per_epoch, held_out=bool(held_out))
        moved_views = moved_examples(family, fingerprint, pictures, plan, spec) if samples.moved else []
        evaluator = Evaluator(
            family,
            parameters.seed,
            parameters.mixed_precision,
            samples,
            training,
            moved_views,
            held_out,
            neutral,
            copies_of(pictures, plan, parameters),
        )

    report(Phase.ADAPTER, 0, 1)
    if parameters.gradient_checkpointing:
        family.enable_gradient_checkpointing()
    carriers = add_adapters(family, parameters)
    if spec.initial_lora is not None and spec.resume_from is None:
        assert spec.initial_lora.path is not None, "only a checkpoint stands for the file"
        put_in(spec.initial_lora.path, family, carriers)
    weights = trained_weights(carriers)
    average = RunningAverage(weights, parameters.ema_decay)
    optimizer = build_optimizer(
        weights, family.facts.denoiser.component, parameters, fused=acceleration.fused_optimizer
    )
    state = TrainingState(
        weights=weights,
        averages=average.averages,
        optimizer=optimizer,
        schedule=build_schedule(optimizer, parameters, plan.steps.total_steps),
        scaler=gradient_scaler(device, parameters.mixed_precision),
    )
    identity = identity_of(spec, fingerprint, pictures, family.training_adapter.digest, regularization)
    place = Place(identity)
    if spec.resume_from is not None:
        place = load_checkpoint(spec.resume_from, identity, state)
    if spec.rate_factor != 1.0:
        slow_down(state, spec.rate_factor)
        place.rate_factor *= spec.rate_factor
    if place.micro_batch:
        acceleration = replace(acceleration, graphs=False)
        hooks.on_notice(in_parts(place.micro_batch))
    picture_losses = PictureLosses(len(spec.items), device)
    if len(place.picture_losses) > place.epoch:
        begun = place.picture_losses.pop()
        picture_losses.start(begun if processes.is_main else None)
    conditioner = TextConditioner(family, trained=parameters.train_text_encoder, fixed_shapes=acceleration.graphs)
    with autocast(device, parameters.mixed_precision):
        conditioner.remember(["", *trained_texts])
    return Run(
        spec=spec,
        hooks=hooks,
        processes=processes,
        family=family,
        plan=plan,
        latents=latents,
        captions=captions,
        preserved=preserved,
        regularization_captions=regularization.captions if regularization else (),
        conditioner=conditioner,
        carriers=carriers,
        average=average,
        state=state,
        step=build_step(acceleration, family, conditioner, parameters, state),
        picture_losses=picture_losses,
        acceleration=acceleration,
        evaluator=evaluator,
        previews=request,
        base_previews=base_previews,
        thumbnails=[_thumbnail(picture) for picture in pictures],
        facts=RunFacts(
            fingerprint,
            plan.buckets,
            plan.steps,
            identity[:16],
            family.schedule.prediction_type,
            family.schedule.zero_terminal_snr,
        ),
        place=place,
        checkpoint=spec.resume_from,
        checkpoint_step=place.step,
    )


def _preserved(spec: TrainJobSpec) -> tuple[str, ...]:
    parameters = spec.parameters
    if parameters.preservation_weight == 0.0:
        return ()
    word, instead = parameters.trigger_word, parameters.preservation_class
    if not spec.datasets:
        return tuple(preserved_caption(item.caption, word, instead) for item in spec.items)
    of_item = [spec.datasets[item.dataset] for item in spec.items]
    return tuple(
        preserved_caption(item.caption, dataset.trigger_word, instead or dataset.subject)
        for item, dataset in zip(spec.items, of_item, strict=True)
    )


def _reporter(hooks: Hooks) -> Report:
    return lambda phase, done, total: hooks.on_phase(PhaseProgress(phase, done, total))


def _plan(pictures: Sequence[Picture], spec: TrainJobSpec, family: Family) -> JobPlan:
    sizes = [
        PictureSize(
            *picture.size,
            picture.item.crop,
            picture.item.repeats,
            masked=picture.mask is not None,
            dataset=picture.item.dataset,
            weight=picture.item.weight,
        )
        for picture in pictures
    ]
    try:
        return plan_job(sizes, spec.parameters, family.pixel_multiple)
    except InvalidParameter as error:
        remedy = f"Choose a resolution of at least {family.pixel_multiple}."
        raise EngineError("RESOLUTION_TOO_SMALL", error.message, remedy) from error


def _encode(
    family: Family,
    fingerprint: str,
    pictures: Sequence[Picture],
    plan: JobPlan,
    regularization: RegularizationSet | OwnRegularization | None,
    spec: TrainJobSpec,
    report: Report,
) -> tuple[list[BucketLatents], list[Example]]:
    """Latents of every bucket, and of the pictures that are held out."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        report(Phase.ENCODING, done, len(pictures))

    report(Phase.ENCODING, 0, len(pictures))
    encoder = LatentEncoder(family, fingerprint, spec.cache_dir, count)
    buckets = []
    for bucket in plan.buckets:
        shape = (bucket.width, bucket.height)
        members = {item: pictures[item] for item in bucket.items}
        posterior, masks, rows = encoder.encode_pictures(members, shape, spec.parameters)
        mean, std = posterior
        subject_rows = len(mean)
        if regularization is not None:
            digest = f"{regularization.digest}|{shape}"
            extra = encoder.encode_pixels(regularization.resized(*shape), digest)
            mean, std = torch.cat([mean, extra.mean]), torch.cat([std, extra.std])
        mask = joined_masks(masks, len(mean) - subject_rows, mean.shape[2], mean.shape[3])
        extra_rows = tuple(range(subject_rows, len(mean)))
        mask = None if mask is None else mask.to(family.device)
        buckets.append(BucketLatents(bucket.width, bucket.height, mean, std, mask, rows, extra_rows))
        report(Phase.ENCODING, done, len(pictures))
    return buckets, [held_out_example(family, encoder, pictures[number], spec.parameters) for number in plan.held_out]


def _thumbnail(picture: Picture) -> Image.Image:
    image = picture.image.copy()
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return image
