"""Budgets and their use."""

from __future__ import annotations

from collections.abc import Iterable

from fiveshot.usage.v1 import usage_pb2

from services.chassis.budgets import BudgetUse
from services.trainer.proto_mapping.jobs import to_duration


def usage_to_proto(name: str, uses: Iterable[BudgetUse]) -> usage_pb2.Usage:
    """The use of each budget."""
    message = usage_pb2.Usage(name=name)
    for use in uses:
        told = message.budgets.add(budget=use.budget.name, unit=use.budget.unit, used=use.used, limit=use.limit)
        if use.window is not None:
            told.window.CopyFrom(to_duration(use.window))
    return message
