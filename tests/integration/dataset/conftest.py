"""The dataset service for the tests of this folder."""

from __future__ import annotations

from tests.fixtures.dataset import dataset_server

__all__ = ["dataset_server"]
