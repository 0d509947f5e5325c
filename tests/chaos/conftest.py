"""Fixtures of the chaos suite: a dataset service in memory, whose photos the jobs name."""

from __future__ import annotations

from tests.fixtures.trainer import catalogue_file, dataset_service, dataset_target, project

__all__ = ["catalogue_file", "dataset_service", "dataset_target", "project"]
