"""Rows of tag jobs and of their images, to models and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row

from services.tagger.models.jobs import ImageOutcome, JobState, TagJob
from services.tagger.models.tags import CaptionOptions, Purpose, TagMode, TagOptions


def job_of(row: Row[Any], outcomes: Sequence[ImageOutcome]) -> TagJob:
    """A job out of its row and those of its images, in order."""
    return TagJob(
        name=row.name,
        dataset=row.dataset,
        options=_options(row.options),
        created_at=row.created_at,
        state=JobState(row.state),
        dry_run=row.dry_run,
        error=row.error,
        note=row.note,
        ended_at=row.ended_at,
        revision=row.revision,
        request_id=row.request_id,
        principal=row.principal,
        labels=row.labels,
        traceparent=row.traceparent,
        outcomes=tuple(outcomes),
    )


def job_columns(job: TagJob) -> dict[str, Any]:
    """What of a job is in its row."""
    columns = {
        field: getattr(job, field)
        for field in ("name", "dataset", "state", "dry_run", "error", "note", "created_at", "ended_at", "revision")
    }
    # The caller chose these; a column's width is no reason to refuse the job.
    return {
        **columns,
        "options": asdict(job.options),
        "request_id": job.request_id[:128],
        "principal": job.principal[:200],
        "labels": dict(job.labels),
    }


def outcome_columns(outcome: ImageOutcome) -> dict[str, Any]:
    """What of an outcome is in its row, but for the image."""
    return {
        "state": outcome.state,
        "message": outcome.message,
        "added": list(outcome.added),
        "removed": list(outcome.removed),
        "outside_domain": outcome.outside_domain,
        "calls": outcome.calls,
        "rescored": outcome.rescored,
        "caption": outcome.caption,
    }


def _options(stored: dict[str, Any]) -> TagOptions:
    # Jobs of before there were captioners have no such options.
    caption = stored.get("caption", asdict(CaptionOptions()))
    return TagOptions(
        **{
            **stored,
            "mode": TagMode(stored["mode"]),
            "exclude": tuple(stored["exclude"]),
            "prepend": tuple(stored["prepend"]),
            "category_thresholds": tuple((name, value) for name, value in stored["category_thresholds"]),
            "replace": tuple((old, new) for old, new in stored["replace"]),
            "caption": CaptionOptions(
                **{**caption, "purpose": Purpose(caption["purpose"]), "avoid": tuple(caption["avoid"])}
            ),
        }
    )
