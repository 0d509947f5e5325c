"""A finished epoch with real bytes behind its digests."""

from __future__ import annotations

import hashlib
import struct

from services.registry.models.resources import BaseModelFacts, EpochFile, EpochPreview, FinishedEpoch

JOB = "projects/pets/trainingJobs/rex"
EPOCH = f"{JOB}/epochs/3"
LORA = ("kohya", "diffusers")
PROMPTS = ("a photo of sks dog", "sks dog in the snow", 'sks dog: "close-up" | `macro`\nwith ---\nlines')


def contents() -> dict[str, bytes]:
    """Bytes by file id; the LoRA spans several chunks of any stream."""
    header = b'{"weight":{"dtype":"U8","shape":[700000],"data_offsets":[0,700000]}}'
    lora = struct.pack("<Q", len(header)) + header + bytes(range(250)) * 2800
    names = ("preview-1", "preview-2", "preview-3", "contact-sheet")
    pictures = {name: b"\x89PNG\r\n\x1a\n" + bytes([number]) * 5000 for number, name in enumerate(names, 1)}
    return {"kohya": lora, "diffusers": lora[:-1] + b"d", **pictures}


def epoch_files() -> tuple[EpochFile, ...]:
    """The files with their true sizes and digests."""
    return tuple(
        EpochFile(
            file_id,
            f"rex-{file_id}.safetensors" if file_id in LORA else f"{file_id}.png",
            "application/octet-stream" if file_id in LORA else "image/png",
            len(content),
            hashlib.sha256(content).hexdigest(),
        )
        for file_id, content in contents().items()
    )


def finished_epoch(name: str = EPOCH) -> FinishedEpoch:
    """Epoch 3 of a job in the project `pets`."""
    return FinishedEpoch(
        name=name,
        number=int(name.rsplit("/", 1)[1]),
        step=180,
        loss=0.125,
        files=epoch_files(),
        previews=tuple(EpochPreview(f"preview-{n}", prompt, 40 + n, 64, 64) for n, prompt in enumerate(PROMPTS, 1)),
        training_job=name.rsplit("/epochs/", 1)[0],
        dataset_version="projects/pets/datasets/rex/versions/1",
        dataset_digest="d" * 64,
        image_count=5,
        base_model=BaseModelFacts("baseModels/tiny", "Tiny", "Apache-2.0", "", ("stable-diffusion",), 64),
        trigger_word="sks dog",
        rank=16,
        alpha=8.0,
        parameters_sha256="a" * 64,
        settings={"learning_rate": "0.0015", "optimizer": "adamw"},
    )
