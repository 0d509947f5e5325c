"""Fixtures of the trainer's integration tests."""

from __future__ import annotations

from tests.fixtures.training_jobs import base_model, items, make_spec, one_thread, parameters

__all__ = ["base_model", "items", "make_spec", "one_thread", "parameters"]
