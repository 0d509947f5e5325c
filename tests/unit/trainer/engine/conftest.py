"""Fixtures of the engine's unit tests."""

from __future__ import annotations

from tests.fixtures.training_jobs import base_model, items, make_spec, one_thread, parameters

__all__ = ["base_model", "items", "make_spec", "one_thread", "parameters"]
