"""Fixtures of the worker's integration tests."""

from __future__ import annotations

from tests.fixtures.trainer import dataset_service, dataset_target, project, start_trainer, trainer
from tests.fixtures.worker import catalogue_file, miniature, preloaded_worker, start_worker

__all__ = [
    "catalogue_file",
    "dataset_service",
    "dataset_target",
    "miniature",
    "preloaded_worker",
    "project",
    "start_trainer",
    "start_worker",
    "trainer",
]
