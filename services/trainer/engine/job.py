"""What goes into a training run and what comes out of it. Plain data, safe to hand between threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import Literal

from PIL import Image

from services.trainer.engine.try_out import TryOut
from services.trainer.recipe.advice import Offers
from services.trainer.recipe.buckets import Crop
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.phases import Phase


class Command(Enum):
    """What the caller wants at this step; polled once a step."""

    CONTINUE = auto()
    PAUSE = auto()
    """Write a checkpoint after this step and return; ``resume_from`` goes on bitwise equal."""
    STOP = auto()
    """Finish this epoch with its files, then return."""
    CANCEL = auto()
    """Return at once; finished epochs keep their files."""
    DRAW = auto()
    """Draw what ``Hooks.try_out`` gives with the weights after this step, then go on bitwise as without it."""


Decode = Callable[[bytes, int, str], tuple[Image.Image, tuple[int, int]]]
"""From a file's bytes, the least side to keep, and the picture's name, to an upright RGB picture in sRGB and the
original's upright size (width, height) in pixels. The picture may be smaller than that, as long as both sides keep what
was asked for. Raises EngineError PHOTO_UNREADABLE. A function of a module, since helper processes unpickle it."""


class RunStatus(Enum):
    """Why a run returned."""

    COMPLETED = auto()
    STOPPED = auto()
    PAUSED = auto()
    CANCELLED = auto()


@dataclass(frozen=True, slots=True)
class TrainItem:
    """One training picture.

    Attributes:
        image_path: the original file (PNG or JPEG) as the user uploaded it.
        caption: final text to train on, trigger word included; its parts may be shuffled, or all of it dropped.
        repeats: its own, which ``num_repeats`` multiplies to samples an epoch.
        crop: part of the upright picture to use, or None for all of it.
        name: how errors and metadata call the picture; never a path of this machine.
        mask_path: grey PNG over the whole upright picture, white where a masked loss counts; None for no mask.
        dataset: number of its dataset in the job's ``datasets``; weight: of that dataset beside the others.
    """

    image_path: Path
    caption: str
    repeats: int = 1
    crop: Crop | None = None
    name: str = ""
    mask_path: Path | None = None
    dataset: int = 0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class TrainedDataset:
    """One of several datasets that a job trains. name: in metadata. trigger_word, subject: its own, "" for none."""

    name: str
    digest: str = ""
    trigger_word: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class BaseModelFiles:
    """A base model as the engine loads it; see ``catalogue.BaseModel`` for the attributes of the same name.

    ``source`` is a folder, a single ``.safetensors`` file or ``hub:owner/name``. ``entry`` is the id of the catalogue's
    entry where ``id`` is that of other weights for it.
    """

    id: str
    family: str
    source: str
    architecture: str
    config_source: str | None = None
    neutral_prompts: tuple[str, ...] = ()
    training_adapter: str | None = None
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Acceleration:
    """How an accelerator computes a step; what it computes stays the same up to rounding.

    Attributes:
        graphs: record the step as CUDA graphs.
        compiled: compile the denoiser's repeated blocks.
        channels_last: layout of the convolutions' weights and activations.
        fused_optimizer: one kernel for the update of all weights.
        fused_lora: fewer operations in each LoRA layer.
        reproducible: kernels that give the same bits every time.
    """

    graphs: bool
    compiled: bool
    channels_last: bool = True
    fused_optimizer: bool = True
    fused_lora: bool = True
    reproducible: bool = True


@dataclass(frozen=True, slots=True)
class InitialLora:
    """An earlier LoRA that training goes on from.

    ``path``: its file in kohya's or diffusers' form; None where a checkpoint holds what became of it. ``digest`` names
    it, the same in each attempt at a job.
    """

    digest: str
    path: Path | None


@dataclass(frozen=True, slots=True)
class TrainJobSpec:
    """One run.

    Attributes:
        parameters: with a prompt for each preview; missing ones come from the captions (``recipe.prompts``).
        output_dir: gets ``epochs/``, ``checkpoints/``, ``contact_sheet.png`` and ``loss.png``.
        decode: opens the originals.
        resume_from: a checkpoint folder of an earlier attempt at the same job.
        cache_dir: folder in which latents are kept between jobs, or None.
        initial_lora: what the adapters hold before the first step; None for adapters without effect.
        datasets: where the items come from, when there are several; () for one.
        regularization: the user's own pictures of the base model's world, instead of those that ship with it; of each,
            picture, text and crop count.
        title: name of the model to be, for file names (letters, digits, hyphens) and metadata.
        dataset_digest: digest of the frozen dataset version, for lineage in the metadata.
        created_at: when the job was created, for the metadata; None leaves the times out.
        device: ``auto``, ``cpu`` or ``cuda[:n]``.
        processes: on a CPU, processes that share each batch; 0 lets the engine choose. Sums round differently with
            another count, so a resumed run is bitwise equal only with the same one.
        sample_base_previews: draw the base model's own previews first (the first row of the contact sheet).
        streamed_blocks: of the denoiser, that do not stay on the device; see ``streaming``.
        offers: what a user may change where the memory does not suffice.
        rate_factor: what the learning rate is multiplied by from here on; the loop's own, see ``not_finite``.
        acceleration: for measurements; None lets the engine choose by device and length of the job.
    """

    base_model: BaseModelFiles
    parameters: TrainingParameters
    items: tuple[TrainItem, ...]
    output_dir: Path
    decode: Decode
    resume_from: Path | None = None
    cache_dir: Path | None = None
    initial_lora: InitialLora | None = None
    datasets: tuple[TrainedDataset, ...] = ()
    regularization: tuple[TrainItem, ...] = ()
    title: str = "lora"
    dataset_digest: str = ""
    created_at: datetime | None = None
    device: str = "auto"
    processes: int = 0
    sample_base_previews: bool = True
    streamed_blocks: int = 0
    offers: Offers = field(default_factory=Offers)
    rate_factor: float = 1.0
    acceleration: Acceleration | None = None


@dataclass(frozen=True, slots=True)
class PhaseProgress:
    """A long stretch of work other than training steps; ``total`` is 0 when it cannot be known."""

    phase: Phase
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the user should know of how the run goes, a sentence.

    Attributes:
        back_to_step: later steps are trained anew; None when the run goes on from where it is.
    """

    text: str
    back_to_step: int | None = None


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """After one optimizer step. ``step`` counts from 1 over the whole job, ``epoch`` from 1; rates are over the job."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    learning_rate: float
    images_per_second: float
    eta_seconds: float


@dataclass(frozen=True, slots=True)
class PreviewImage:
    """A sampled picture, PNG."""

    path: Path
    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """An exported LoRA file."""

    form: Literal["kohya", "diffusers", "peft"]
    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measured on fixed noise and timesteps, so that epochs can be compared.

    Attributes:
        fit_loss: mean loss on the training pictures; ``base_fit_loss`` is the base model's.
        held_out_loss: the same on a picture that is not trained on, when there are enough pictures to spare one.
        moved_loss: the same on training pictures mirrored, moved and at other sizes; None in checkpoints of old.
        drift: squared change of the prediction on the canaries (neutral prompts that have nothing to do with the
            photos), as a share of the base's own prediction.
        memorisation: likeness of the nearest training picture to a preview, 0 to 1; see ``copies``.
        preview_change: of the preview that differs most from the base model's, 0 to 1; None where those are missing.
    """

    fit_loss: float
    base_fit_loss: float
    held_out_loss: float | None
    base_held_out_loss: float | None
    drift: float
    memorisation: float
    moved_loss: float | None = None
    base_moved_loss: float | None = None
    preview_change: float | None = None

    @property
    def photo_error(self) -> float:
        """What is left of the base model's error on the training pictures: 1 is the base model, 0 would be none."""
        return self.fit_loss / max(self.base_fit_loss, 1e-12)

    @property
    def unseen_error(self) -> float | None:
        """The same on the held-out picture, or on moved views where none is; None where neither was measured."""
        if self.held_out_loss is not None and self.base_held_out_loss is not None:
            return self.held_out_loss / max(self.base_held_out_loss, 1e-12)
        if self.moved_loss is not None and self.base_moved_loss is not None:
            return self.moved_loss / max(self.base_moved_loss, 1e-12)
        return None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The epoch to keep, and why, in words for the user."""

    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class EpochResult:
    """A finished epoch: files are complete and checked when this is reported.

    Attributes:
        epoch: from 1.
        step: optimizer steps since the start of the job.
        mean_loss: mean of the epoch's step losses.
        artifacts: the LoRA in each form, kohya first.
        max_reload_difference: difference between the noise predictions of the live model and of a file read back, as a
            share of the adapter's own effect.
        checkpoint_dir: resumable state after this epoch.
        recommendation: best epoch so far.
        contact_sheet: PNG of the training pictures above the previews of all epochs so far.
        train_seconds: the epoch's steps, without export and previews; of an epoch that was resumed, those since then.
    """

    epoch: int
    step: int
    mean_loss: float
    artifacts: tuple[ArtifactFile, ...]
    previews: tuple[PreviewImage, ...]
    checkpoint_dir: Path
    evaluation: Evaluation
    max_reload_difference: float
    recommendation: Recommendation
    contact_sheet: Path
    train_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a run ended.

    Attributes:
        checkpoint_dir: the last resumable state, None before the first.
        recommendation: of all epochs of the job, also those before this run; None before the first.
        evaluations: of all epochs of the job, in order.
    """

    status: RunStatus
    step: int
    checkpoint_dir: Path | None
    recommendation: Recommendation | None
    evaluations: tuple[Evaluation, ...] = ()


def _ignore(_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Hooks:
    """Callbacks, all called on the thread that trains. An exception of a callback ends the run and comes through.

    On an accelerator ``on_step`` comes in small bursts: losses are read from the device a few times a second only.
    ``on_notice`` may say the same again when a run is resumed.
    """

    on_phase: Callable[[PhaseProgress], None] = _ignore
    on_step: Callable[[StepMetrics], None] = _ignore
    on_base_previews: Callable[[tuple[PreviewImage, ...]], None] = _ignore
    on_epoch: Callable[[EpochResult], None] = _ignore
    on_notice: Callable[[Notice], None] = _ignore
    control: Callable[[], Command] = field(default=lambda: Command.CONTINUE)
    try_out: Callable[[], TryOut | None] = field(default=lambda: None)
