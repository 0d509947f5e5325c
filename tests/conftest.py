"""Fixtures for all tests: the real servers, started on demand once a session and killed at its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read by torch's thread pool when it loads: threads that spin while they wait make a busy machine ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Set in pytest's own worker processes; a command line would fold its sentences, which it leaves whole in a file.
os.environ.pop("COLUMNS", None)

pytest_plugins = [
    "tests.fixtures.garbage",
    "tests.fixtures.postgres",
    "tests.fixtures.servers",
    "tests.fixtures.session_end",
    "tests.fixtures.sharing",
]

FOLDER_MARKERS = {
    "integration": "needs the real servers of the suite on this machine",
    "contract": "one suite run over every implementation of a port",
    "e2e": "starts the whole suite",
    "attack": "long forms of what breaks such services",
    "chaos": "kills parts of the suite while it works",
}


def pytest_configure(config: pytest.Config) -> None:
    """Registers a marker for each folder, so that `-m "not e2e"` works."""
    for name, meaning in FOLDER_MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives every test the marker of its folder."""
    root = Path(__file__).parent
    for item in items:
        if not item.path.is_relative_to(root):
            continue
        folder = item.path.relative_to(root).parts[0]
        if folder in FOLDER_MARKERS:
            item.add_marker(folder)
