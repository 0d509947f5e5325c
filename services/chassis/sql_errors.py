"""What a database says when it breaks off a transaction or refuses a connection, as errors that say who must act."""

from __future__ import annotations

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from services.chassis.errors import DomainError, Internal, Unavailable

OLDEST_POSTGRESQL = 13

# Codes of PostgreSQL's appendix "Error Codes".
_READ_ONLY = "25006"
_NO_RIGHT = "42501"
_LOCKED = "55P03"

_REFUSALS = (
    "certificate verify failed",
    "does not match host name",
    "server does not support SSL",
    "certificate authentication failed",
    "requires a valid client certificate",
    "private key file",
    "root certificate file",
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "invalid sslmode",
)
"""What waiting does not help; libpq tells it in words alone."""


def unavailable() -> Unavailable:
    """The database is away, or breaks off what it was asked to do."""
    return Unavailable("The database does not answer", reason="DATABASE_UNAVAILABLE", remedy="Try again in a moment.")


def read_only() -> Unavailable:
    """The database answers and stores nothing: a standby that nobody has promoted yet, or a server that was told so."""
    return Unavailable(
        "The database takes no writes at present", reason="DATABASE_READ_ONLY", remedy="Try again in a moment."
    )


def _only_reads() -> Unavailable:
    return Unavailable(
        "The database takes no writes",
        reason="DATABASE_READ_ONLY",
        remedy="Let the address lead to the primary; of several hosts target_session_attrs=read-write finds it.",
    )


def broken_off(error: DBAPIError) -> DomainError | None:
    """What callers are told of a transaction that the database broke off; None where only the caller knows which rule
    it broke, or the statement is wrong."""
    code = getattr(error.orig, "sqlstate", None)
    if code == _READ_ONLY:
        return read_only()
    if code == _NO_RIGHT:
        return Internal(
            "The database does not let this service do its work",
            reason="DATABASE_RIGHTS_MISSING",
            remedy="Tell the operator: the user of the database lacks a right.",
        )
    if isinstance(error, OperationalError | InterfaceError):
        return unavailable()
    if error.connection_invalidated:
        return Unavailable(
            "The connection to the database was lost",
            reason="DATABASE_UNAVAILABLE",
            remedy="Try again in a moment.",
        )
    return None


def away(error: DBAPIError) -> DomainError | None:
    """What the first connection to a database met, or a migration, in the server's words, for the operator.

    Unavailable, or Internal where the settings or the server's must change; None for a fault of the program."""
    said = [line.strip() for line in str(error.orig).splitlines() if line.strip()] or ["no answer"]
    code = getattr(error.orig, "sqlstate", None)
    if code == _NO_RIGHT:
        return Internal(
            f"The user of the database lacks a right ({said[0]})",
            reason="DATABASE_RIGHTS_MISSING",
            remedy="Let it own the database, or grant it USAGE and CREATE on the schema and all rights on its tables.",
        )
    if code == _READ_ONLY:
        return _only_reads()
    if code == _LOCKED:
        return Unavailable(
            "A migration waits for a table that another session holds",
            reason="SCHEMA_IN_USE",
            remedy="Let pg_dump and long transactions end; `SELECT * FROM pg_stat_activity` shows them.",
        )
    if not isinstance(error, OperationalError | InterfaceError):
        return None
    refusals = [line for line in said if any(refusal in line for refusal in _REFUSALS)]
    why = (refusals or said)[0].rpartition(" failed: ")[2]
    if refusals:
        return Internal(
            f"The database refused the connection ({why})",
            reason="DATABASE_REFUSED",
            remedy="Check DATABASE_URL with its user and password, DATABASE_SSLMODE and the files beside it.",
        )
    return Unavailable(
        f"The database does not answer ({why})",
        reason="DATABASE_UNAVAILABLE",
        remedy="Check that the server runs and that the database address is right.",
    )


def check_server(connection: Connection) -> None:
    """Raises Internal for a PostgreSQL that is too old or cannot hold every text, and Unavailable for one that stores
    nothing."""
    asked = "current_setting('server_version_num')::int, current_setting('server_encoding')"
    version, encoding, writes = connection.execute(
        text(f"SELECT {asked}, current_setting('transaction_read_only')")
    ).one()
    check_version(version)
    if encoding != "UTF8":
        raise Internal(
            f"The database stores text as {encoding}, which has no place for most of the world's letters",
            reason="DATABASE_UNFIT",
            remedy="Make it anew: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.",
        )
    if writes == "on":
        raise _only_reads()


def check_version(number: int) -> None:
    """number: as PostgreSQL says it, 150004 for 15.4. Raises Internal."""
    if number // 10_000 < OLDEST_POSTGRESQL:
        raise Internal(
            f"PostgreSQL {number // 10_000} is too old",
            reason="DATABASE_UNFIT",
            remedy=f"Use PostgreSQL {OLDEST_POSTGRESQL} or newer.",
        )
