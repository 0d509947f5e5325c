"""LoRAs as PEFT saves them: a folder with the weights and the settings that say how strongly they apply."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from fiveshot.errors import AlreadyExists, DataLoss, InvalidArgument

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"


def weights_of(given: Path) -> tuple[Path, str]:
    """The file of a LoRA and the text of the settings beside it; "" where the file is not one of PEFT's.

    given: the file, or the folder that PEFT saved. Raises InvalidArgument (FILE_UNREADABLE).
    """
    path = given / WEIGHTS if given.is_dir() else given
    beside = path.with_name(SETTINGS)
    if path.name != WEIGHTS or not beside.is_file():
        return path, ""
    try:
        return path, beside.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidArgument(
            f"{beside.name} cannot be read", field="adapter_config", reason="FILE_UNREADABLE",
            remedy="Check its permissions, and that it is text.",
        ) from None  # fmt: skip


def unpack(fetched: Path, settings: Path, folder: Path, *, overwrite: bool) -> None:
    """Writes what was downloaded in PEFT's form as PEFT reads it.

    An archive becomes a folder for each network, such as `unet`; a single file lies in `folder` with its settings, if
    it has any. Raises AlreadyExists (FILE_EXISTS), DataLoss for an archive that holds anything else.
    """
    if not zipfile.is_zipfile(fetched):
        files = {WEIGHTS: fetched, **({SETTINGS: settings} if settings.is_file() else {})}
        _check_free(files, folder, overwrite)
        for name, source in files.items():
            with source.open("rb") as data:
                _write(data, folder / name)
        return
    with zipfile.ZipFile(fetched) as archive:
        entries = {name: PurePosixPath(name) for name in archive.namelist()}
        for path in entries.values():
            if len(path.parts) != 2 or not path.parts[0].isidentifier() or path.name not in (WEIGHTS, SETTINGS):
                raise DataLoss(
                    "The archive is none of PEFT's form", reason="DIGEST_DIFFERS",
                    remedy="Download it again; if it persists, report it.",
                )  # fmt: skip
        _check_free(entries, folder, overwrite)
        for name, path in entries.items():
            with archive.open(name) as data:
                _write(data, folder / path)


def _check_free(names: Mapping[str, object], folder: Path, overwrite: bool) -> None:
    for name in names:
        if (folder / name).exists() and not overwrite:
            raise AlreadyExists(
                f"{folder / name} already exists", field="to", reason="FILE_EXISTS",
                remedy="Choose another folder, or overwrite it.",
            )  # fmt: skip


def _write(data: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            shutil.copyfileobj(data, file)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
