"""What the networks of the tagger took for a picture goes back to the system."""

from __future__ import annotations

import json
import sys

import pytest

from tests.fixtures.processes import finished

_PROGRAM = """
import ctypes, json
from pathlib import Path

import numpy as np

from services.chassis.memory import few_heaps
from services.tagger.adapters.photo_onnx import PhotoOnnxTagger
from services.tagger.adapters.written_text import PpOcrTextFinder
from services.tagger.models.pictures import Picture

def resident_mib():
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20

def seen(height, width):
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    picture = Picture(rgb=rgb, alpha=None, width=width, height=height)
    text.find_text(picture)
    photo.infer([picture])
    photo.find_mask(picture, (0.0, 0.0, 1.0, 1.0))

assert few_heaps()
photo, text = PhotoOnnxTagger(), PpOcrTextFinder()
seen(64, 64)
before = resident_mib()
for side in range(96, 768, 160):
    seen(side, 736)
print(json.dumps(resident_mib() - before))
"""
_MOST_MIB = 48
"""The arena of the runtime kept more than a hundred."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_pictures_of_many_shapes_leave_no_memory_behind() -> None:
    done = finished([sys.executable, "-c", _PROGRAM])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) < _MOST_MIB
