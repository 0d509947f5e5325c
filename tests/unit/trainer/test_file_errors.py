"""What a worker says of files that it cannot write."""

from __future__ import annotations

import errno

import pytest
from safetensors import SafetensorError

from services.trainer.worker.files import file_error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
        # As safetensors 0.8 says it when a disk is full.
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_named_and_not_tried_again(error: OSError | SafetensorError) -> None:
    found = file_error(error)
    assert (found.reason, found.retryable) == ("DISK_FULL", False)
    assert "scratch folder" in found.remedy


@pytest.mark.parametrize("error", [OSError(errno.EIO, "x"), SafetensorError("I/O error: x (os error 5)")])
def test_other_trouble_with_files_is_tried_again(error: OSError | SafetensorError) -> None:
    found = file_error(error)
    assert (found.reason, found.retryable) == ("WORKER_FILES", True)
    assert "Input/output error" in found.message


@pytest.mark.parametrize("error", [OSError("no file at /srv/worker-3/cache"), SafetensorError("bad: /srv/worker-3/x")])
def test_where_a_file_lies_on_the_worker_is_not_told(error: OSError | SafetensorError) -> None:
    assert "srv" not in file_error(error).message
