"""The backends of this deployment: those that ship, those of the settings, and those in the folder of taggers.

    FOLDER/NAME/model.onnx, selected_tags.csv    a WD v3 tagger, as taggers/NAME
    FOLDER/NAME/captioner.toml                   a captioner, as taggers/NAME

The folder is looked at again whenever somebody asks for taggers, so that a new one needs no restart.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path

from services.chassis.logging import get_logger
from services.chassis.setting_loading import WrongSetting, blaming
from services.tagger.adapters import captioner_file
from services.tagger.adapters.measured import MeasuredTagger
from services.tagger.adapters.openai_captioner import OpenAiCaptioner, key_reader
from services.tagger.adapters.photo_onnx import PhotoOnnxTagger
from services.tagger.adapters.wd_onnx import WdOnnxTagger
from services.tagger.models.pictures import TaggerInfo
from services.tagger.ports import Backend, Captioner, Shelf, Tagger
from services.tagger.use_cases.taggers import CombinedTagger

log = get_logger(__name__)

_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_RESERVED = frozenset({"default", "measured", "photo", "wd"})
_Signature = tuple[tuple[str, int, int], ...]


class InstalledTaggers:
    """A TaggerSource. folder: of taggers, None for none; it may be missing. api_key: of captioners that ask for it.

    Raises WrongSetting for a model of the settings that cannot be used. What is wrong in the folder is a fault of that
    tagger alone.
    """

    def __init__(
        self, *, wd_model_dir: Path | None, photo: bool, threads: int, folder: Path | None = None, api_key: str = ""
    ) -> None:
        self._threads = threads
        self._folder = folder
        self._api_key = api_key
        self._measured = MeasuredTagger()
        self._wd = None if wd_model_dir is None else _wd_of_settings(wd_model_dir, threads)
        self._photo = PhotoOnnxTagger(threads=threads) if photo else None
        self._lock = threading.Lock()
        self._found: dict[str, tuple[_Signature, Backend | TaggerInfo]] = {}
        self._shelf: Shelf | None = None

    def look(self) -> Shelf:
        """See the port."""
        with self._lock:
            found = {path.name: (_signature(path), path) for path in self._entries()}
            changed = {name for name, (signature, _) in found.items() if self._known(name) != signature}
            gone = self._found.keys() - found.keys()
            if self._shelf is None or changed or gone:
                for name in gone:
                    del self._found[name]
                for name in changed:
                    self._found[name] = (found[name][0], self._read(name, found[name][1]))
                self._shelf = self._arranged()
                log.info("taggers_changed", taggers=[each.describe().id for each in self._shelf.backends])
            return self._shelf

    def _known(self, name: str) -> _Signature | None:
        return self._found[name][0] if name in self._found else None

    def _entries(self) -> list[Path]:
        """Sub-folders whose name is no hidden one: one that is being copied is hidden."""
        if self._folder is None or not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if path.is_dir() and not path.name.startswith("."))

    def _read(self, name: str, path: Path) -> Backend | TaggerInfo:
        try:
            return self._backend(name, path)
        except OSError as error:
            return _faulty(name, f"a file of its folder cannot be read ({error.strerror})")
        except (ValueError, KeyError) as error:
            return _faulty(name, str(error))

    def _backend(self, name: str, path: Path) -> Backend:
        if not _ID.fullmatch(name) or name in _RESERVED:
            raise ValueError("its folder's name must be lower-case letters, digits and hyphens, and none of ours")
        settings = path / captioner_file.FILE
        if settings.is_file():
            file = captioner_file.read_captioner_file(settings)
            key = self._api_key if file.api_key_setting else ""
            return OpenAiCaptioner(name, file, key_reader(file.key_path(path), key))
        if (path / "model.onnx").is_file():
            tagger = WdOnnxTagger(path, id=name, threads=self._threads)
            if not tagger.available():
                raise ValueError("it needs the package onnxruntime")
            return tagger
        raise ValueError(f"its folder holds neither model.onnx nor {captioner_file.FILE}")

    def _arranged(self) -> Shelf:
        """The default holds one WD model: thresholds of one do not fit another of the same categories."""
        read = [found for _, (_, found) in sorted(self._found.items())]
        captioners = [each for each in read if isinstance(each, Captioner)]
        models = [each for each in read if not isinstance(each, Captioner | TaggerInfo)]
        wd: list[Tagger] = [*([self._wd] if self._wd else []), *models]
        photo: list[Tagger] = [self._photo] if self._photo else []
        default = CombinedTagger(
            "default",
            "Default",
            "All taggers of this deployment together. Labels of models come first, measured ones after them.",
            [*wd[:1], *photo, self._measured],
        )
        return Shelf(
            (default, *wd, *photo, self._measured, *captioners),
            tuple(each for each in read if isinstance(each, TaggerInfo)),
        )


def _wd_of_settings(folder: Path, threads: int) -> Tagger:
    with blaming("wd_model_dir", OSError, ValueError):
        tagger = WdOnnxTagger(folder, threads=threads)
    if not tagger.available():
        raise WrongSetting("wd_model_dir", "needs the package onnxruntime")
    return tagger


def _signature(folder: Path) -> _Signature:
    """Changes when a file of the folder does; empty for one that cannot be looked into, which `_read` then says."""
    found = []
    try:
        for path in sorted(folder.iterdir()):
            stat = path.stat() if path.exists() else path.lstat()
            found.append((path.name, stat.st_mtime_ns, stat.st_size))
    except OSError:
        return ()
    return tuple(found)


def _faulty(id: str, fault: str) -> TaggerInfo:
    log.warning("tagger_faulty", tagger=id, fault=fault)
    return TaggerInfo(id, id, "", "", (), (), "", "", fault=fault)
