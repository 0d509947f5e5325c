"""What a caller may ask of the device that a run computes on: its name, its memory, and how much of it a run held."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import torch

from services.trainer.engine.precision import DTYPES, choose_device

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def use_threads(count: int) -> None:
    """CPU threads that runs of this process compute with; 0 leaves it to torch."""
    if count:
        torch.set_num_threads(count)


def device_name(device: str) -> str:
    """How estimates know a device, by its name in a spec: those of one hold for others of its name."""
    chosen = choose_device(device)
    if chosen.type == "cuda":
        return str(torch.cuda.get_device_name(chosen))
    return f"cpu {torch.get_num_threads()} threads"


def device_memory_bytes(device: str) -> int:
    """All memory of the device; a CPU's is that of the machine, or of the container that the process may use."""
    chosen = choose_device(device)
    if chosen.type == "cuda":
        return int(torch.cuda.get_device_properties(chosen).total_memory)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    text = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.is_file() else ""
    return min(total, int(text)) if text.isdigit() else total


def number_formats(device: str) -> tuple[str, ...]:
    """The values of ``mixed_precision`` that the device computes in, be it slowly."""
    chosen = choose_device(device)
    if chosen.type == "cuda":
        with torch.cuda.device(chosen):
            return tuple(name for name in DTYPES if name != "bf16" or torch.cuda.is_bf16_supported())
    return tuple(DTYPES)


def free_unused_memory() -> None:
    """Hands memory that earlier runs left unused back to the device and the system."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryMeter:
    """The most memory in use since it was made: of the accelerator, or of this process on a CPU.

    ``baseline_bytes`` were in use before, but for what the run would have loaded itself.
    """

    def __init__(self, device: str, *, held_bytes: int = 0) -> None:
        """held_bytes: of the baseline, weights that an earlier run has left for this one."""
        self._device = choose_device(device)
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            baseline = int(torch.cuda.memory_allocated(self._device))
        else:
            # Or this run would be told to need what an earlier one kept.
            free_unused_memory()
            baseline = _status("VmRSS")
            _forget_peak()
        self.baseline_bytes = max(0, baseline - held_bytes)

    def peak_bytes(self) -> int:
        """Bytes; 0 where it cannot be known."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        return _status("VmHWM")


def _forget_peak() -> None:
    """Makes Linux count the peak anew; where it will not, the peak is the process' own."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return


def _status(name: str) -> int:
    """Bytes that Linux tells of this process: VmRSS now, VmHWM at most. 0 elsewhere."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    found = next((line for line in lines if line.startswith(f"{name}:")), None)
    return int(found.split()[1]) * 1024 if found else 0
