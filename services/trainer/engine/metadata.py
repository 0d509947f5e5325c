"""What an exported file says about itself: ``ss_*`` as sd-scripts writes it, ``modelspec.*`` (SAI model spec 1.0.1).

A1111, ComfyUI's managers and Civitai read these. Every value must be text.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC

from services.trainer.engine.job import TrainJobSpec
from services.trainer.recipe.buckets import Bucket
from services.trainer.recipe.captions import parts_of
from services.trainer.recipe.families import families
from services.trainer.recipe.plan import StepPlan

PREDICTION_TYPES = {"epsilon": "epsilon", "v_prediction": "v"}
"""The model spec's words for those of schedulers; it has none for flow matching."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Facts of a run that its files mention and that its spec does not hold.

    ``base_digest`` is the sha256 of the denoiser's weights; ``session`` names the run and is equal for equal jobs;
    ``prediction_type`` is the scheduler's, empty for flow matching; ``zero_terminal_snr`` says how the noise ends.
    """

    base_digest: str
    buckets: Sequence[Bucket]
    plan: StepPlan
    session: str
    prediction_type: str = ""
    zero_terminal_snr: bool = False


def lora_metadata(spec: TrainJobSpec, facts: RunFacts, epoch: int, step: int) -> dict[str, str]:
    """Metadata of an epoch's file, values all text.

    The only time in it is the job's, not the clock's: the same job gives the same bytes whenever it runs.
    """
    parameters = spec.parameters
    family = families()[spec.base_model.family]
    architecture = family.architecture(spec.base_model.architecture)
    words = _trigger_words(spec)
    network_args = {"target_modules": parameters.target_modules}
    if parameters.adapter != "lora":
        network_args["algo"] = parameters.adapter
    values: dict[str, object] = {
        "ss_session_id": facts.session,
        "ss_output_name": spec.title,
        "ss_sd_model_name": spec.base_model.id,
        "ss_new_sd_model_hash": facts.base_digest,
        "ss_base_model_version": architecture.base_version,
        "ss_v2": architecture.v2,
        "ss_network_module": family.network_modules[parameters.adapter],
        "ss_network_dim": parameters.rank,
        "ss_network_alpha": parameters.alpha,
        "ss_network_args": json.dumps(network_args),
        "ss_num_epochs": parameters.num_epochs,
        "ss_epoch": epoch,
        "ss_steps": step,
        "ss_max_train_steps": facts.plan.total_steps,
        "ss_num_train_images": facts.plan.samples_per_epoch,
        "ss_num_batches_per_epoch": facts.plan.batches_per_epoch,
        "ss_batch_size_per_device": parameters.batch_size,
        "ss_total_batch_size": parameters.batch_size * parameters.gradient_accumulation_steps,
        "ss_gradient_accumulation_steps": parameters.gradient_accumulation_steps,
        "ss_gradient_checkpointing": parameters.gradient_checkpointing,
        "ss_resolution": f"({parameters.resolution}, {parameters.resolution})",
        "ss_enable_bucket": parameters.aspect_buckets,
        "ss_bucket_info": json.dumps(_bucket_info(facts.buckets)),
        "ss_tag_frequency": json.dumps({name: tag_frequency(texts) for name, texts, _ in _sets(spec, facts)}),
        "ss_dataset_dirs": json.dumps(
            {name: {"n_repeats": repeats, "img_count": len(texts)} for name, texts, repeats in _sets(spec, facts)}
        ),
        "ss_seed": parameters.seed,
        "ss_learning_rate": parameters.learning_rate,
        "ss_unet_lr": parameters.learning_rate,
        "ss_text_encoder_lr": parameters.text_encoder_learning_rate if parameters.train_text_encoder else None,
        "ss_optimizer": f"{parameters.optimizer}(weight_decay={parameters.weight_decay})",
        "ss_lr_scheduler": parameters.lr_scheduler,
        "ss_lr_warmup_steps": parameters.lr_warmup_steps,
        "ss_min_snr_gamma": parameters.min_snr_gamma or None,
        "ss_noise_offset": parameters.noise_offset or None,
        "ss_zero_terminal_snr": facts.zero_terminal_snr,
        "ss_caption_dropout_rate": parameters.caption_dropout,
        "ss_shuffle_caption": parameters.shuffle_caption,
        "ss_keep_tokens": parameters.keep_tokens,
        "ss_flip_aug": parameters.flip,
        "ss_prior_loss_weight": parameters.prior_weight,
        "ss_mixed_precision": parameters.mixed_precision,
        "ss_max_grad_norm": parameters.max_grad_norm,
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": spec.title,
        "modelspec.architecture": f"{architecture.name}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.resolution": f"{parameters.resolution}x{parameters.resolution}",
        "modelspec.trigger_phrase": ", ".join(words),
        "modelspec.usage_hint": f"Put {' or '.join(words)} into the prompt." if words else "",
        "fiveshot.dataset_digest": spec.dataset_digest,
    }
    if spec.datasets:
        values["fiveshot.dataset_digests"] = json.dumps({each.name: each.digest for each in spec.datasets})
    if spec.regularization:
        values["ss_num_reg_images"] = len(spec.regularization)
    if spec.initial_lora is not None:
        values["fiveshot.initial_lora_digest"] = spec.initial_lora.digest
    if facts.prediction_type in PREDICTION_TYPES:
        values["modelspec.prediction_type"] = PREDICTION_TYPES[facts.prediction_type]
    if spec.created_at is not None:
        values["ss_training_started_at"] = spec.created_at.timestamp()
        values["modelspec.date"] = spec.created_at.astimezone(UTC).isoformat(timespec="seconds")
    return {key: str(value) for key, value in values.items()}


def _trigger_words(spec: TrainJobSpec) -> list[str]:
    words = [dataset.trigger_word for dataset in spec.datasets] or [spec.parameters.trigger_word]
    return list(dict.fromkeys(filter(None, words)))


def _sets(spec: TrainJobSpec, facts: RunFacts) -> list[tuple[str, list[str], int]]:
    """Name of each dataset, texts of its trained pictures, and how often one of these is trained in an epoch.

    Pictures of one dataset with unequal repeats are sets of their own, named as sd-scripts names their folders; of
    several datasets it is what their weights make of it, rounded.
    """
    samples = {
        number: count for bucket in facts.buckets for number, count in zip(bucket.items, bucket.repeats, strict=True)
    }
    if not spec.datasets:
        counts = sorted(set(samples.values()))
        return [
            (
                spec.title if len(counts) == 1 else f"{count}_{spec.title}",
                [spec.items[number].caption for number, own in samples.items() if own == count],
                count,
            )
            for count in counts
        ]
    found = []
    for dataset, one in enumerate(spec.datasets):
        members = [number for number in samples if spec.items[number].dataset == dataset]
        repeats = round(sum(samples[number] for number in members) / max(1, len(members)))
        found.append((one.name, [spec.items[number].caption for number in members], repeats))
    return found


def tag_frequency(captions: Iterable[str]) -> dict[str, int]:
    """In how many trained pictures each comma-separated part of a final text occurs, the most frequent first."""
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update(list(dict.fromkeys(parts_of(caption))))
    return dict(counts.most_common())


def model_hashes(file: bytes) -> dict[str, str]:
    """Hashes by which tools recognise a LoRA, computed from the file as it is with its ``ss_*`` metadata alone.

    ``sshs_model_hash`` covers the tensors only, so it stays equal when someone edits the metadata;
    ``sshs_legacy_hash`` is the old short hash over the 64 KiB after the first MiB.
    """
    header = 8 + int.from_bytes(file[:8], "little")
    return {
        "sshs_model_hash": hashlib.sha256(file[header:]).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(file[0x100000:0x110000]).hexdigest()[:8],
    }


def _bucket_info(buckets: Sequence[Bucket]) -> dict[str, object]:
    return {
        "buckets": {
            str(number): {"resolution": [bucket.width, bucket.height], "count": bucket.size}
            for number, bucket in enumerate(buckets)
        }
    }
