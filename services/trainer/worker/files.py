"""Base models as the engine loads them, and what a user is told of files that cannot be used."""

from __future__ import annotations

import errno
import os
import re

from safetensors import SafetensorError

from services.trainer.engine.job import BaseModelFiles
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.worker.wire import JobError


def files_of(model: BaseModel) -> BaseModelFiles:
    """Where the weights of a catalogue's entry lie, and what belongs to them."""
    return BaseModelFiles(
        id=model.id,
        family=model.family,
        source=model.source,
        architecture=model.architecture,
        config_source=model.config_source,
        neutral_prompts=model.neutral_prompts,
        training_adapter=model.training_adapter,
        entry=model.entry,
    )


def file_error(error: OSError | SafetensorError) -> JobError:
    """What a user is told of a file that the worker cannot read or write."""
    # safetensors wraps the operating system's error and leaves its number only in the text.
    found = re.search(r"os error (\d+)", str(error))
    number = error.errno if isinstance(error, OSError) else int(found.group(1)) if found else None
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return JobError(
            "DISK_FULL",
            "The worker's disk is full.",
            "Free space in the worker's scratch folder, or give it a larger disk, then retry the job.",
        )
    # Without a number the words are a library's, which may tell where on the worker the file lies.
    message = os.strerror(number) if number else "one of them is damaged or missing"
    return JobError("WORKER_FILES", f"The worker cannot use its files: {message}.", "Look at the worker.", True)
