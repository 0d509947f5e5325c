"""Fixtures of the control plane's integration tests."""

from __future__ import annotations

from tests.fixtures.trainer import (
    catalogue_file,
    dataset_service,
    dataset_target,
    project,
    start_trainer,
    trainer,
)

__all__ = ["catalogue_file", "dataset_service", "dataset_target", "project", "start_trainer", "trainer"]
