"""The tables of the trainer."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    and_,
    false,
    not_,
    or_,
)

from services.chassis import tracing
from services.chassis.audit.outbox import outbox_table
from services.chassis.outbox import events_table
from services.chassis.requests.sql import idempotency_table
from services.chassis.sql import JsonText, UtcDateTime

metadata = MetaData()

# Sorted and compared byte by byte on both databases, whatever the language of the server.
Name = String(200).with_variant(String(200, collation="C"), "postgresql")

jobs = Table(
    "training_jobs",
    metadata,
    Column("name", Name, primary_key=True),
    Column("project", Name, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("base_model", String(100), nullable=False),
    Column("dataset_version", String(300), nullable=False),
    Column("dataset_digest", String(64), nullable=False),
    Column("image_count", Integer, nullable=False),
    Column("trigger_word", Text, nullable=False),
    Column("parameters", JsonText, nullable=False),
    Column("steps_per_epoch", BigInteger, nullable=False),
    Column("samples_per_step", Integer, nullable=False),
    Column("total_steps", BigInteger, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("progress", JsonText, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("epochs_completed", Integer, nullable=False),
    Column("error", JsonText, nullable=True),
    Column("recommended_epoch", Integer, nullable=False),
    Column("recommendation_reason", Text, nullable=False),
    Column("attempts", JsonText, nullable=False),
    Column("lease_token", String(64), nullable=True),
    Column("lease_worker", String(100), nullable=True),
    Column("lease_expires_at", UtcDateTime, nullable=True),
    Column("failures", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("stop_requested", Boolean, nullable=False),
    Column("base_previews", JsonText, nullable=False),
    Column("progress_told_at", UtcDateTime, nullable=True),
    Column("seconds_per_sample", Float(53), nullable=False),
    Column("revision", Integer, nullable=False),
    # Counted here, under the row's lock, so that a heartbeat need not look them up.
    Column("last_event", BigInteger, nullable=False),
    Column("last_metric_step", BigInteger, nullable=False),
    # Whether the events of its progress were removed after its end.
    Column("thinned", Boolean, nullable=False, server_default=false()),
    Column("labels", JsonText, nullable=False, server_default="{}"),
    Column("notices", JsonText, nullable=False, server_default="[]"),
    Column("traceparent", String(tracing.LONGEST), nullable=False, server_default=""),
    # What it needs of a worker, by the estimate at its creation; 0 and "" for a job of which nothing is known.
    Column("memory_bytes", BigInteger, nullable=False, server_default="0"),
    Column("memory_low_bytes", BigInteger, nullable=False, server_default="0"),
    Column("memory_class", Integer, nullable=False, server_default="0"),
    Column("mixed_precision", String(8), nullable=False, server_default=""),
    # Of the catalogue, which a worker must load for a job on a base model of the project's own; "" for all others.
    Column("entry", String(100), nullable=False, server_default=""),
    # The skill that it needs of a worker's program.
    Column("needs_skill", Integer, nullable=False, server_default="0"),
    Column("initial_lora", JsonText, nullable=True),
    Column("datasets", JsonText, nullable=False, server_default="[]"),
    Column("queued_at", UtcDateTime, nullable=False),
    # When it came into its state; jobs that have not moved since before this was kept have none.
    Column("state_time", UtcDateTime, nullable=True),
    Column("create_time", UtcDateTime, nullable=False),
    Column("start_time", UtcDateTime, nullable=True),
    Column("end_time", UtcDateTime, nullable=True),
    Column("update_time", UtcDateTime, nullable=False),
)

_waiting = jobs.c.state == "QUEUED"
_held = jobs.c.lease_token.is_not(None)
# Partial indexes: their size is that of the queue, not of all jobs that ever were. None is over a column that
# heartbeats change, so that PostgreSQL need not write to any of them then.
Index(
    "ix_jobs_queue",
    jobs.c.project,
    jobs.c.priority.desc(),
    jobs.c.queued_at,
    jobs.c.name,
    postgresql_where=_waiting,
    sqlite_where=_waiting,
)
Index(
    "ix_jobs_queue_model",
    jobs.c.project,
    jobs.c.base_model,
    jobs.c.priority.desc(),
    jobs.c.queued_at,
    jobs.c.name,
    postgresql_where=_waiting,
    sqlite_where=_waiting,
)
# One part for each class of need: a worker reads the first row of those that it has room for.
Index(
    "ix_jobs_queue_memory",
    jobs.c.project,
    jobs.c.memory_class,
    jobs.c.priority.desc(),
    jobs.c.queued_at,
    jobs.c.name,
    postgresql_where=_waiting,
    sqlite_where=_waiting,
)
Index("ix_jobs_active", jobs.c.project, postgresql_where=_held, sqlite_where=_held)
_unthinned = and_(jobs.c.end_time.is_not(None), not_(jobs.c.thinned))
Index("ix_jobs_unthinned", jobs.c.end_time, postgresql_where=_unthinned, sqlite_where=_unthinned)
Index("ix_jobs_created", jobs.c.project, jobs.c.create_time, jobs.c.name)
Index("ix_jobs_pace", jobs.c.base_model, jobs.c.end_time)
_on_own = jobs.c.entry != ""
Index("ix_jobs_own_model", jobs.c.base_model, postgresql_where=_on_own, sqlite_where=_on_own)

shares = Table(
    "project_shares",
    metadata,
    Column("project", Name, primary_key=True),
    # When one of its jobs was last given to a worker: projects take turns.
    Column("served_at", UtcDateTime, nullable=True),
    # Its jobs that wait and that workers hold. The three are kept by triggers on the jobs (revision 0019).
    Column("waiting", Integer, nullable=False, server_default="0"),
    Column("running", Integer, nullable=False, server_default="0"),
)
_some_wait = shares.c.waiting > 0
Index(
    "ix_shares_turn",
    shares.c.running,
    shares.c.served_at.nulls_first(),
    shares.c.project,
    postgresql_where=_some_wait,
    sqlite_where=_some_wait,
)

epochs = Table(
    "epochs",
    metadata,
    Column("job", Name, ForeignKey("training_jobs.name"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("loss", Float(53), nullable=False),
    Column("files", JsonText, nullable=False),
    Column("previews", JsonText, nullable=False),
    Column("evaluation", JsonText, nullable=True),
    Column("reload_difference", Float(53), nullable=False),
    Column("train_seconds", Float(53), nullable=False),
    Column("checkpoint", JsonText, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("pretended", Boolean, nullable=False, server_default=false()),
    Column("labels", JsonText, nullable=False, server_default="{}"),
    PrimaryKeyConstraint("job", "number"),
)

metric_chunks = Table(
    "metric_chunks",
    metadata,
    Column("job", Name, ForeignKey("training_jobs.name"), nullable=False),
    Column("first_step", BigInteger, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    # Compressed JSON, see sql_metrics.
    Column("points", LargeBinary, nullable=False),
    PrimaryKeyConstraint("job", "last_step"),
)

workers = Table(
    "workers",
    metadata,
    Column("worker_id", String(100), primary_key=True),
    # Empty: it loads whatever the catalogue offers.
    Column("base_models", JsonText, nullable=False),
    Column("device", Text, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    # 0: the worker does not say. With a default on the server, for replicas of before.
    Column("device_memory_bytes", BigInteger, nullable=False, server_default="0"),
    Column("families", JsonText, nullable=False, server_default="[]"),
    # Empty: all. So do workers of before count, which do not say.
    Column("mixed_precisions", JsonText, nullable=False, server_default="[]"),
    # Unknown of workers that a replica of before noted.
    Column("skill", Integer, nullable=True),
    Column("takes_own", Boolean, nullable=True),
)

# When attempts were at work. A job that is deleted leaves them: its GPU seconds were used all the same.
attempts = Table(
    "attempt_times",
    metadata,
    Column("job", Name, nullable=False),
    Column("number", Integer, nullable=False),
    # Tells a job from a deleted one of the same name.
    Column("start_time", UtcDateTime, nullable=False),
    Column("project", Name, nullable=False),
    # None while it goes on.
    Column("end_time", UtcDateTime, nullable=True),
    PrimaryKeyConstraint("job", "number", "start_time"),
    Index("ix_attempt_times_project", "project", "end_time"),
)

previews = Table(
    "preview_requests",
    metadata,
    Column("name", Name, primary_key=True),
    Column("project", Name, nullable=False),
    Column("base_model", String(100), nullable=False),
    Column("state", String(16), nullable=False),
    # The job that it draws as it stands now; "" for epochs and versions.
    Column("live_job", Name, nullable=False),
    Column("entry", String(100), nullable=False, server_default=""),
    Column("drawing", JsonText, nullable=False),
    Column("cells", JsonText, nullable=False),
    Column("error", JsonText, nullable=True),
    Column("attempts", JsonText, nullable=False),
    Column("lease_token", String(64), nullable=True),
    Column("lease_worker", String(100), nullable=True),
    Column("lease_expires_at", UtcDateTime, nullable=True),
    Column("wanted_until", UtcDateTime, nullable=True),
    Column("revision", Integer, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("start_time", UtcDateTime, nullable=True),
    Column("end_time", UtcDateTime, nullable=True),
    Column("expire_time", UtcDateTime, nullable=False),
)
_unended = previews.c.end_time.is_(None)
Index("ix_previews_unended", previews.c.project, postgresql_where=_unended, sqlite_where=_unended)
Index("ix_previews_created", previews.c.project, previews.c.create_time, previews.c.name)
Index("ix_previews_expire", previews.c.expire_time)

base_models = Table(
    "base_models",
    metadata,
    Column("name", Name, primary_key=True),
    Column("project", Name, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("license", Text, nullable=False),
    Column("labels", JsonText, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("header_bytes", Integer, nullable=False),
    Column("header_sha256", String(64), nullable=False),
    Column("precision", String(8), nullable=False),
    Column("families", JsonText, nullable=False),
    Column("based_on", String(100), nullable=False),
    Column("family", String(60), nullable=False),
    Column("state", String(16), nullable=False),
    Column("parts", JsonText, nullable=False),
    Column("error", JsonText, nullable=True),
    Column("attempts", JsonText, nullable=False),
    Column("lease_token", String(64), nullable=True),
    Column("lease_worker", String(100), nullable=True),
    Column("lease_expires_at", UtcDateTime, nullable=True),
    Column("revision", Integer, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
)
_unready = or_(base_models.c.state == "UPLOADING", base_models.c.state == "CHECKING")
Index("ix_base_models_unready", base_models.c.update_time, postgresql_where=_unready, sqlite_where=_unready)
Index("ix_base_models_created", base_models.c.project, base_models.c.create_time, base_models.c.name)

# The hour for which a project's base models were last told as usage.
base_model_meter = Table(
    "base_model_meter",
    metadata,
    Column("project", Name, primary_key=True),
    Column("hour", UtcDateTime, nullable=False),
)

measurements = Table(
    "measurements",
    metadata,
    # SQLite numbers only INTEGER primary keys by itself.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("device", String(200), nullable=False),
    Column("base_model", String(100), nullable=False),
    Column("measurement", JsonText, nullable=False),
    Column("measured_at", UtcDateTime, nullable=False),
)
Index("ix_measurements_device", measurements.c.device, measurements.c.base_model, measurements.c.measured_at)

events = events_table(metadata)
requests = idempotency_table(metadata)
audit_outbox = outbox_table(metadata)
