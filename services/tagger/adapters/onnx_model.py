"""An ONNX file as a function: loaded once, at its first use, and shared by threads."""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def runtime_installed() -> bool:
    """Whether ONNX Runtime can be imported here; it is imported only when a model is used."""
    return importlib.util.find_spec("onnxruntime") is not None


def file_sha256(path: Path) -> str:
    """The digest of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class OnnxModel:
    """One session for all threads. threads: how many cores one run may use."""

    def __init__(self, path: Path, *, threads: int) -> None:
        self._path = path
        self._threads = threads
        self._lock = threading.Lock()
        self._session: Any = None

    def input_shape(self) -> list[Any]:
        """The declared shape of the first input; an axis that may vary is a string or None."""
        return list(self._loaded().get_inputs()[0].shape)

    def device(self) -> str:
        """`cuda` or `cpu`: where the model runs, or would run as far as this installation goes."""
        import onnxruntime  # Costs a fifth of a second, which a start without a model need not pay.

        providers = self._session.get_providers() if self._session else onnxruntime.get_available_providers()
        return "cuda" if "CUDAExecutionProvider" in providers else "cpu"

    def run(self, batch: Floats) -> list[Floats]:
        """All outputs for one input array. Called from several threads at once."""
        session = self._loaded()
        outputs: list[Floats] = session.run(None, {session.get_inputs()[0].name: batch})
        return outputs

    def _loaded(self) -> Any:
        with self._lock:
            if self._session is None:
                import onnxruntime

                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = self._threads
                options.inter_op_num_threads = 1
                wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
                providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
                self._session = onnxruntime.InferenceSession(str(self._path), options, providers=providers)
            return self._session
