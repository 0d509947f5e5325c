"""What a run is at work on. The values are what the API shows as a job's phase; a count may follow, `3/8`."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """In the order of a run; those from TRAINING to CHECKPOINT come again with each epoch."""

    DOWNLOADING = "downloading pictures"
    STARTING = "starting"
    LOADING = "loading base model"
    READING = "reading pictures"
    ENCODING = "caching latents"
    BASE_PREVIEWS = "sampling the base model"
    NEUTRAL_PROMPTS = "sampling neutral prompts"
    BASE_EVALUATION = "measuring the base model"
    ADAPTER = "adding the adapter"
    TRAINING = "training"
    TRY_OUT = "drawing on request"
    PREVIEWS = "sampling previews"
    EVALUATION = "evaluating"
    FILES = "writing files"
    VERIFICATION = "loading the files back"
    CHECKPOINT = "saving a checkpoint"
    STORING = "storing files"
