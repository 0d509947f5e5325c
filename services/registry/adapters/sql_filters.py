"""Filters of ListModels as SQL conditions."""

from __future__ import annotations

import operator

from sqlalchemy import ColumnElement, exists, select

from services.chassis.filters import Predicate
from services.registry.adapters.sql_tables import MODEL_TAGS, MODELS

_COMPARISONS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def condition(predicate: Predicate) -> ColumnElement[bool]:
    """One comparison on a row of `models`. Display names compare without regard to case, tags exactly."""
    value = str(predicate.value)
    if predicate.field == "tags":
        own = (MODEL_TAGS.c.project == MODELS.c.project, MODEL_TAGS.c.model_id == MODELS.c.model_id)
        wanted = own if value == "*" else (*own, MODEL_TAGS.c.tag == value)
        return exists(select(MODEL_TAGS.c.tag).where(*wanted))
    if predicate.op == ":":
        return MODELS.c.search_name.contains(value.casefold(), autoescape=True)
    compared: ColumnElement[bool] = _COMPARISONS[predicate.op](MODELS.c.search_name, value.casefold())
    return compared
