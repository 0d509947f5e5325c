"""An ONNX file as a function: loaded once, at its first use, and shared by threads.

The file is one that an operator has installed, from wherever it came. ONNX Runtime takes no operators but its own and
reads external data from the file's own folder alone; what it says of a file holds paths and stays in the log.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.chassis.errors import FailedPrecondition
from services.chassis.logging import get_logger

log = get_logger(__name__)

Floats = npt.NDArray[np.float32]


LONGEST_S = 120.0
"""Seconds that one run may take; a graph can hold a loop without an end."""


def unusable(name: str, why: str) -> FailedPrecondition:
    """What callers are told of a model that does not do what a model of its kind does. name: of its folder."""
    return FailedPrecondition(
        f"The model of tagger '{name}' cannot be used: {why}",
        reason="TAGGER_MODEL_UNUSABLE",
        remedy="Try another tagger, and ask the operator to put its files in order.",
    )


def runtime_installed() -> bool:
    """Whether ONNX Runtime can be imported here; it is imported only when a model is used."""
    return importlib.util.find_spec("onnxruntime") is not None


def file_sha256(path: Path) -> str:
    """The digest of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class OnnxModel:
    """One session for all threads. threads: how many cores one run may use. longest_s: seconds that it may take.

    Every method but `device` raises FailedPrecondition(TAGGER_MODEL_UNUSABLE) for a file that is no model or fails.
    """

    def __init__(self, path: Path, *, threads: int, longest_s: float = LONGEST_S) -> None:
        self._path = path
        self._threads = threads
        self._longest_s = longest_s
        self._lock = threading.Lock()
        self._session: Any = None
        self._fault = ""

    def input_shapes(self) -> list[tuple[str, list[Any]]]:
        """Element type (`tensor(float)`) and shape of each input; an axis that may vary is a string or None."""
        return [(each.type, list(each.shape or ())) for each in self._loaded().get_inputs()]

    def device(self) -> str:
        """`cuda` or `cpu`: where the model runs, or would run as far as this installation goes."""
        import onnxruntime  # Costs a fifth of a second, which a start without a model need not pay.

        providers = self._session.get_providers() if self._session else onnxruntime.get_available_providers()
        return "cuda" if "CUDAExecutionProvider" in providers else "cpu"

    def run(self, batch: Floats) -> list[Floats]:
        """All outputs for one input array. Called from several threads at once."""
        import onnxruntime

        session, options = self._loaded(), onnxruntime.RunOptions()
        late = threading.Timer(self._longest_s, setattr, (options, "terminate", True))
        late.daemon = True
        late.start()
        try:
            outputs: list[Floats] = session.run(None, {session.get_inputs()[0].name: batch}, options)
        # The library's errors have no class in common.
        except Exception as error:
            why = f"it took longer than {self._longest_s:g} seconds" if options.terminate else "it fails on a picture"
            log.error("model_failed", model=self._path.parent.name, error=str(error))
            raise unusable(self._path.parent.name, why) from error
        finally:
            late.cancel()
        return outputs

    def _loaded(self) -> Any:
        with self._lock:
            if self._fault:
                raise unusable(self._path.parent.name, self._fault)
            if self._session is None:
                import onnxruntime

                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = self._threads
                options.inter_op_num_threads = 1
                # The runtime's own arena keeps the most that its runs ever held at once, a share for each shape, and
                # a plan for each shape asks for all of a run in one block. The C library gives both back.
                options.enable_cpu_mem_arena = False
                options.enable_mem_pattern = False
                wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
                providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
                try:
                    self._session = onnxruntime.InferenceSession(str(self._path), options, providers=providers)
                except Exception as error:
                    # Read once: a new file in its folder makes a new tagger.
                    self._fault = f"{self._path.name} is damaged, or needs another ONNX Runtime"
                    log.error("model_not_loaded", model=self._path.parent.name, error=str(error))
                    raise unusable(self._path.parent.name, self._fault) from error
            return self._session
