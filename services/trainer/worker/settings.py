"""Settings of a worker process, read from `WORKER_…` variables."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from services.chassis.addresses import Target
from services.chassis.picture_decoding.settings import DecodeSettings
from services.chassis.setting_checks import check_effect, check_folder, check_printable
from services.chassis.settings import BaseServiceSettings, service_config
from services.chassis.store_settings import S3Settings
from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE


def _default_worker_id() -> str:
    return f"{socket.gethostname()[:60]}-{os.getpid()}"


class WorkerSettings(DecodeSettings, S3Settings, BaseServiceSettings):
    """One frozen set for the process. `listen` serves only health and reflection."""

    model_config = service_config("WORKER_")

    shutdown_grace_s: float = Field(
        50.0, ge=0, le=3600, description="seconds in which the job at hand may end its step and be given back"
    )
    # Pictures are trained on at their full size, which takes more than a look at them.
    decode_memory_mib: int = Field(
        1280, ge=64, le=65_536, description="MiB that one picture may take while it is decoded"
    )
    trainer_target: Target = Field("127.0.0.1:7453", description="host:port of the trainer; several with commas")
    dataset_target: Target = Field(
        "127.0.0.1:7451", description="host:port of the dataset service; several with commas"
    )
    registry_target: Target = Field(
        "127.0.0.1:7454", description="host:port of the registry, for files of model versions; several with commas"
    )
    catalogue: Path = Field(DEFAULT_CATALOGUE, description="TOML file with the base models; weights lie where it says")
    worker_id: str = Field(default_factory=_default_worker_id, min_length=1, max_length=100)
    scratch_dir: Path = Field(
        default_factory=lambda: Path(tempfile.gettempdir()) / "fiveshot-worker",
        description="folder for the files of the running job; emptied by the worker",
    )
    scratch_room_mib: int = Field(
        512, ge=0, description="MiB that must be free on the disk of that folder; with less no job is taken"
    )
    latent_cache_mib: int = Field(
        2048, ge=0, description="MiB of encoded pictures and base previews kept for the next job; 0 keeps none"
    )
    latent_cache_days: float = Field(
        7.0, ge=0, le=365, description="days after their last use for which those are kept at most"
    )
    base_model_cache_mib: int = Field(
        65_536,
        ge=0,
        description="MiB of base models of projects kept in that folder; 0: takes no work on such base models",
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of the training; 0 leaves it to torch")
    pretend: bool = Field(
        False, description="only pretend to train, for tests of programs: a few seconds a job, and everything marked so"
    )
    pretend_seconds: float = Field(
        2.0, ge=0, le=3600, description="how long a pretended job takes, pictures and files apart"
    )
    probe: bool = Field(True, description="measure a base model that such a device has never run, while nothing waits")
    heartbeat_seconds: float = Field(
        0.5,
        ge=0.1,
        le=10,
        description="shortest pause between two reports to the trainer, which asks for longer ones of many workers; "
        "at most a third of its lease",
    )
    acquire_wait_seconds: float = Field(20.0, ge=1, le=60, description="how long one request for a job waits")
    idle_exit_seconds: float = Field(
        0.0, ge=0, description="after so long without a job the process ends, with 0; 0: it waits for ever"
    )
    stall_seconds: float = Field(
        1800.0, ge=60, description="after so long without a word from the engine the process gives up and ends"
    )
    outage_patience_seconds: float = Field(
        600.0, ge=0, description="how long a job goes on while the trainer or the object store is away"
    )

    @field_validator("scratch_dir")
    @classmethod
    def _scratch_is_a_folder(cls, value: Path) -> Path:
        check_folder(value, written=True)
        return value

    @model_validator(mode="after")
    def _pretending_is_meant(self) -> Self:
        if not self.pretend:
            check_effect(self, ("pretend_seconds",), needs="pretend=true")
        return self

    @field_validator("worker_id")
    @classmethod
    def _id_can_be_shown(cls, value: str) -> str:
        check_printable(value)
        return value
