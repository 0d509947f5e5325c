"""Each project's waiting and running jobs are counted in its row, so that whose turn it is costs no look at the jobs.

The database counts by triggers, so that replicas of the release before keep the numbers right as well. SQLite loses
the triggers of a table that is copied: a later revision that changes `training_jobs` in a batch makes them again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
phase = "expand"

_WAITS, _HELD = "{}.state = 'QUEUED'", "{}.lease_token IS NOT NULL"
_TAKEN = "CASE WHEN OLD.lease_token IS NULL AND NEW.lease_token IS NOT NULL THEN NEW.update_time ELSE served_at END"
_TRIGGERS = {
    "insert": ("INSERT", "NEW.state = 'QUEUED' OR NEW.lease_token IS NOT NULL"),
    "update": (
        "UPDATE OF state, lease_token",
        "(OLD.state = 'QUEUED') <> (NEW.state = 'QUEUED') OR (OLD.lease_token IS NULL) <> (NEW.lease_token IS NULL)",
    ),
    "delete": ("DELETE", "OLD.state = 'QUEUED' OR OLD.lease_token IS NOT NULL"),
}
"""On what, and when: heartbeats, which are most of the writes, set off none."""


def upgrade() -> None:
    """Adds the numbers, the triggers that keep them and the index by which projects take turns."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        # In the order in which moves lock; nothing moves between the count and the first trigger.
        op.execute("LOCK TABLE training_jobs IN SHARE ROW EXCLUSIVE MODE")
    for name in ("waiting", "running"):
        op.add_column("project_shares", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE project_shares SET"
        " waiting = (SELECT count(*) FROM training_jobs j WHERE j.project = project_shares.project"
        " AND j.state = 'QUEUED'),"
        " running = (SELECT count(*) FROM training_jobs j WHERE j.project = project_shares.project"
        " AND j.lease_token IS NOT NULL)"
    )
    for name, (event, when) in _TRIGGERS.items():
        does = f"BEGIN {_counting(name)}; END"
        if postgresql:
            body = f"$$ BEGIN {_counting(name)}; RETURN NULL; END $$"
            # With the schema's path as it is now: pg_restore works without one.
            how = "RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT"
            op.execute(f"CREATE OR REPLACE FUNCTION count_jobs_{name}() {how} AS {body}")
            does = f"EXECUTE FUNCTION count_jobs_{name}()"
        op.execute(f"CREATE TRIGGER count_jobs_{name} AFTER {event} ON training_jobs FOR EACH ROW WHEN ({when}) {does}")
    some = sa.text("waiting > 0")
    # SQLite puts nulls first by itself.
    turn = ["running", sa.text("served_at NULLS FIRST") if postgresql else "served_at", "project"]
    op.create_index("ix_shares_turn", "project_shares", turn, postgresql_where=some, sqlite_where=some)


def downgrade() -> None:
    """Takes them away."""
    op.drop_index("ix_shares_turn", "project_shares")
    postgresql = op.get_bind().dialect.name == "postgresql"
    for name in _TRIGGERS:
        op.execute(f"DROP TRIGGER count_jobs_{name}" + (" ON training_jobs" if postgresql else ""))
        if postgresql:
            op.execute(f"DROP FUNCTION count_jobs_{name}()")
    for name in ("running", "waiting"):
        op.drop_column("project_shares", name)


def _counting(trigger: str) -> str:
    """The statement that keeps a project's row right; when a worker takes a job, it was the project's turn."""
    rows = {"insert": {"NEW": "+"}, "update": {"NEW": "+", "OLD": "-"}, "delete": {"OLD": "-"}}[trigger]
    waiting, running = (
        " ".join(f"{sign} CASE WHEN {which.format(row)} THEN 1 ELSE 0 END" for row, sign in rows.items())
        for which in (_WAITS, _HELD)
    )
    served = f", served_at = {_TAKEN}" if trigger == "update" else ""
    return (
        f"UPDATE project_shares SET waiting = waiting {waiting}, running = running {running}{served}"
        f" WHERE project = {next(iter(rows))}.project"
    )
