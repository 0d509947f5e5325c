"""Which programs a database serves: releases that differ by what was only added work on one schema beside each other.

A migration says in its module which kind it is:

    phase = "expand"           adds; every older program goes on working
    phase = "contract"         takes away or demands what older programs do not know;
    oldest_code = "0007"       the first revision whose program no longer uses what goes

Each database keeps one row: its revision, the oldest revision of a program that it serves, and the release that made
it so. A program knows the revisions up to its own; of a newer schema it knows only what that row says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Integer, MetaData, Row, String, Table, delete, insert, inspect, select

from services.chassis.errors import FailedPrecondition, Unavailable
from services.chassis.release import release

STATE_TABLE = "schema_state"
FIRST = "0001"

_table = Table(
    STATE_TABLE,
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", String(32), nullable=False),
    Column("oldest_code", String(32), nullable=False),
    Column("release", String(64), nullable=False),
)
READ = select(_table.c.revision, _table.c.oldest_code, _table.c.release)


@dataclass(frozen=True)
class SchemaState:
    """What a database says about itself. Revisions have four digits and are ordered as text."""

    revision: str
    oldest_code: str
    release: str


def demanded(modules: Sequence[Any]) -> str:
    """The oldest revision of a program that a schema serves after these migrations, in order.

    ValueError for a migration that does not say what it is.
    """
    oldest = FIRST
    for module in modules:
        phase, wanted = getattr(module, "phase", ""), getattr(module, "oldest_code", "")
        if phase not in ("expand", "contract") or (phase == "contract") != bool(wanted):
            raise ValueError(f"migration {module.revision} needs phase = 'expand', or 'contract' with oldest_code")
        if wanted > module.revision:
            raise ValueError(f"migration {module.revision} would serve no program: oldest_code is {wanted}")
        oldest = max(oldest, wanted)
    return oldest


def write(connection: Connection, revision: str, oldest_code: str) -> None:
    """Notes what the schema is now, in the transaction of the migrations."""
    _table.create(connection, checkfirst=True)
    row = connection.execute(READ).one_or_none()
    if row is None or (row.revision, row.oldest_code) != (revision, oldest_code):
        connection.execute(delete(_table))
        connection.execute(insert(_table).values(id=1, revision=revision, oldest_code=oldest_code, release=release()))


def read(connection: Connection) -> SchemaState:
    """What the database says; a database that says nothing is from before there was such a row."""
    if not inspect(connection).has_table(STATE_TABLE):
        return SchemaState("unknown", FIRST, "unknown")
    return state_of(connection.execute(READ).one())


def state_of(row: Row[*tuple[Any, ...]]) -> SchemaState:
    """A row of `READ`."""
    return SchemaState(row.revision, row.oldest_code, row.release)


def check_serves(state: SchemaState, code: str) -> None:
    """Raises FailedPrecondition(reason=SCHEMA_TOO_NEW) unless a program of revision `code` may use the database."""
    if code >= state.oldest_code:
        return
    raise FailedPrecondition(
        f"The database has schema {state.revision} of Fiveshot {state.release}, which serves programs of schema "
        f"{state.oldest_code} or newer; this is Fiveshot {release()} with schema {code}",
        reason="SCHEMA_TOO_NEW",
        remedy=f"Start Fiveshot {state.release} or newer, or restore a backup made before that upgrade.",
    )


def too_old(revision: str | None, code: str, command: str) -> Unavailable:
    """The error of a program that must wait until someone has migrated its database."""
    found = f"schema {revision}" if revision else "no schema yet"
    return Unavailable(
        f"The database has {found}; this is Fiveshot {release()} with schema {code}",
        reason="SCHEMA_TOO_OLD",
        remedy=f"Run `{command}` once against this database.",
    )
