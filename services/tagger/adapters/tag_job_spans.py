"""The span of a tag job at work: what it does belongs to the trace of the call that created it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import SpanKind

from services.chassis import tracing
from services.tagger.models.jobs import ImageState, TagJob


@contextmanager
def tag_job_span(job: TagJob) -> Iterator[None]:
    """Around the work of one process on a job."""
    known = {"fiveshot.tag_job": job.name, "fiveshot.images": job.count(ImageState.PENDING)}
    with tracing.span("tag job", parent=job.traceparent, kind=SpanKind.CONSUMER, attributes=known):
        yield
