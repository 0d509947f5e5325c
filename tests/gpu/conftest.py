"""What only a GPU shows. Collected everywhere; without a CUDA device each test says what makes it run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.fixtures.training_jobs import base_model, items, make_spec, parameters

__all__ = ["base_model", "items", "make_spec", "parameters"]

REASON = "needs a CUDA device and a torch built for CUDA; there: python -m pytest tests/gpu"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of this folder, and skips them where they cannot run."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("gpu")
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture
def cuda() -> torch.device:
    """The device, empty, its peak of memory reset."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.device("cuda")
