"""Statements that find the job for a worker. Built once for each form of the question: building one takes longer than
sending it.

The queue's plain order is an index. A worker that tells its memory reads it by classes of need instead, the first rows
of each class that it has room for, so that however many jobs wait that are too large for it, they cost it nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    true,
)

from services.trainer.adapters.sql_tables import jobs, shares
from services.trainer.adapters.sql_writes import VERSION
from services.trainer.models.placement import highest_class
from services.trainer.ports import WorkerAsk

_job = jobs.c
# Written out, not bound: PostgreSQL keeps a plan over the partial indexes only for a constant.
WAITING = _job.state == literal_column("'QUEUED'")
HELD = _job.lease_token.is_not(None)
_ORDER = (_job.priority.desc(), _job.queued_at, _job.name)
_FIRST_OF_A_CLASS = 8
"""So many workers may take jobs of one project and class at the same moment before the next reads in order."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a worker asks by. picky: base models. own: also those of projects. exact: number formats. sized: memory.
    by_class: of the need."""

    picky: bool = False
    own: bool = False
    exact: bool = False
    sized: bool = False
    by_class: bool = False
    versioned: bool = False


def form_of(ask: WorkerAsk, *, postgres: bool) -> Form:
    """The form of a worker's question."""
    sized = ask.room.bytes > 0
    picky, exact = bool(ask.base_models), bool(ask.mixed_precisions)
    return Form(picky, ask.takes_own, exact, sized, sized and postgres, postgres)


def values_of(ask: WorkerAsk) -> Mapping[str, Any]:
    """What its statements are given."""
    values: dict[str, Any] = {"skill": ask.skill}
    if ask.base_models:
        values["models"] = ask.base_models
    if ask.mixed_precisions:
        # Jobs of a replica of before do not say.
        values["formats"] = (*ask.mixed_precisions, "")
    if ask.room.bytes:
        room = ask.room
        tries = {"tries_all": room.tries is None, "tries": room.tries or ()}
        values |= {"room": room.bytes, "highest_class": highest_class(room), **tries}
    return values


def _fits(form: Form) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [_job.needs_skill <= bindparam("skill", type_=Integer)]
    if form.picky:
        found.append(_loads("models", own=form.own))
    elif not form.own:
        found.append(_job.entry == "")
    if form.exact:
        found.append(_job.mixed_precision.in_(bindparam("formats", expanding=True)))
    if form.sized:
        tried = or_(bindparam("tries_all", type_=Boolean), _loads("tries", own=form.own))
        room: BindParameter[int] = bindparam("room", type_=BigInteger)
        found.append(or_(_job.memory_bytes <= room, and_(_job.memory_low_bytes <= room, tried)))
        found.append(_job.memory_class <= bindparam("highest_class", type_=Integer))
    return found


def _loads(values: str, *, own: bool) -> ColumnElement[bool]:
    """Base models of the catalogue that are among some values, and those of projects that are made from one."""
    named = _job.base_model.in_(bindparam(values, expanding=True))
    return or_(named, _job.entry.in_(bindparam(values, expanding=True))) if own else named


@cache
def turns(form: Form, most: int | None = None) -> Select[Any]:
    """Projects in which a job waits that fits, with their jobs at work, in the order of `models.queue.turn`. most: so
    many of them."""
    fits = select(_job.name).where(_job.project == shares.c.project, WAITING, *_fits(form))
    found = select(shares.c.project, shares.c.served_at, shares.c.running).where(shares.c.waiting > 0, fits.exists())
    return found.order_by(shares.c.running, shares.c.served_at.nulls_first(), shares.c.project).limit(most)


@cache
def first(form: Form) -> Select[Any]:
    """The first waiting job of a project that fits and that nobody else has locked."""
    return _locked(form, [])


@cache
def first_warm(form: Form) -> Select[Any]:
    """The same of a base model, if it is as urgent as another and not much younger."""
    own = [_job.base_model == bindparam("warm"), _job.memory_bytes > bindparam("beyond")]
    return _locked(form, [*own, *_near()])


@cache
def first_only_here(form: Form) -> Select[Any]:
    """The same of those that need more than the other workers have."""
    only = [_job.memory_bytes > bindparam("others"), _job.memory_class >= bindparam("lowest_class")]
    return _locked(form, [*only, *_near()])


def _near() -> list[ColumnElement[bool]]:
    return [_job.priority == bindparam("like"), _job.queued_at <= bindparam("latest")]


def _locked(form: Form, more: list[ColumnElement[bool]]) -> Select[Any]:
    statement = select(jobs, VERSION) if form.versioned else select(jobs)
    fitting = [_job.project == bindparam("of_project"), WAITING, *_fits(form), *more]
    if form.by_class:
        classes = (
            func.generate_series(0, bindparam("highest_class", type_=Integer), type_=Integer)
            .table_valued("number")
            .render_derived("classes")
        )
        own = select(_job.name).where(*fitting, _job.memory_class == classes.c.number).order_by(*_ORDER)
        heads = own.limit(_FIRST_OF_A_CLASS).lateral("heads")
        found = select(heads.c.name).select_from(classes.join(heads, true()))
        # The state again: a row that another has changed meanwhile is looked at anew, and is then no longer wanted.
        fitting = [_job.name.in_(found), WAITING]
    return statement.where(*fitting).order_by(*_ORDER).limit(1).with_for_update(of=jobs, skip_locked=True)
