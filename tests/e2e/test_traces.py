"""One trace follows a job: from its caller through gateway, services, queue, worker and event log to a webhook."""

from __future__ import annotations

import json
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from fiveshot import AsyncClient, Client
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from tests.fixtures.otlp_receiver import Kept, Receiver
from tests.fixtures.patience import until, until_blocking
from tests.fixtures.receiver import Received, receiver
from tests.fixtures.running_stack import RunningStack

CREATE = "/fiveshot.trainer.v1.TrainingService/CreateTrainingJob"
WATCH = "/fiveshot.trainer.v1.TrainingService/WatchTrainingJob"


async def test_one_trace_leads_from_the_caller_to_the_webhook(
    pretending: RunningStack, photos: Path, spans: Receiver
) -> None:
    number, caller, unwanted = secrets.token_hex(16), secrets.token_hex(8), secrets.token_hex(16)
    mine: dict[str, Any] = {"server": pretending.server, "api_key": pretending.api_key}
    async with receiver() as there, AsyncClient(**mine) as fs:
        hook = await fs.webhooks.create(there.url, id="traced", event_types=["fiveshot.training_job.*"])
        dataset = await fs.datasets.create("traced", trigger="sks")
        await dataset.upload(photos)
        async with AsyncClient(**mine, traceparent=f"00-{unwanted}-{caller}-00") as silent:
            await silent.datasets.get("traced")
        async with AsyncClient(**mine, traceparent=f"00-{number}-{caller}-01") as traced:
            seen = await traced.datasets.get("traced")
            await seen.tag()
            job = await seen.train(epochs=2)
            _ = [update async for update in job.watch()]
        name = job.message.name

        def lacking() -> list[object]:
            """What has not arrived yet; a span does so after the request that it covers."""
            found = spans.of(number)
            ids = {span.id for span in found}
            posts = {got.headers["traceparent"].split("-")[2] for got in there.received if _kept(got, number)}
            told = any(b"STATE_SUCCEEDED" in got.body for got in there.received)
            names = {"attempt", "deliver webhook", WATCH} - {span.name for span in found}
            orphans = [span.name for span in found if span.parent not in ids | {caller}]
            return [*names, *orphans, *posts - ids, *(() if told else ("the last webhook",))]

        with suppress(AssertionError):
            await until(lambda: not lacking(), what="the last webhook and the spans of all processes")
        assert lacking() == []
        await hook.delete()

    found = {span.id: span for span in spans.of(number)}
    assert {span.service for span in found.values()} == {
        "gateway", "dataset", "tagger", "trainer", "worker", "notifier",
    }  # fmt: skip
    assert {span.parent for span in found.values()} - found.keys() == {caller}
    (tagging,) = _named(found, "tag job", "tagger")
    assert found[tagging.parent].name.endswith("TagImages")
    below = [span for span in found.values() if span.parent == tagging.id]
    assert {span.service for span in below if not span.name.startswith("publish ")} == {"dataset"}
    (created,) = _named(found, CREATE, "trainer")
    assert found[created.parent].service == "gateway"
    (attempt,) = _named(found, "attempt", "worker")
    assert attempt.parent == created.id
    assert attempt.attributes["fiveshot.training_job"] == name
    assert (attempt.attributes["fiveshot.attempt"], attempt.attributes["fiveshot.outcome"]) == (1, "SUCCEEDED")
    (waited,) = _named(found, "job queued", "trainer")
    assert waited.parent == created.id
    assert created.begin_ns <= waited.begin_ns <= attempt.begin_ns
    assert {span.parent for span in _named(found, "training", "worker")} == {attempt.id}
    delivered = _named(found, "deliver epoch", "worker")
    assert [span.attributes["fiveshot.epoch"] for span in delivered] == [0, 1, 2]
    reports = _named(found, "/fiveshot.trainer.v1.WorkerService/ReportEpoch", "trainer")
    assert {span.parent for span in reports} == {span.id for span in delivered}
    (published,) = _named(found, "publish fiveshot.training_job.created", "trainer")
    assert (published.parent, published.kind) == (created.id, 4)
    (watch,) = _named(found, WATCH, "trainer")
    assert watch.attributes["fiveshot.messages_sent"] > 5
    posts = {span.id: span for span in _named(found, "deliver webhook", "notifier")}
    kept = [got for got in there.received if _kept(got, number)]
    assert len(kept) >= 6
    for got in kept:
        header, body = got.headers["traceparent"].split("-"), json.loads(got.body)["traceparent"].split("-")
        # The event names what caused it, the request the attempt that brings it.
        assert header[1] == body[1] == number
        assert posts[header[2]].parent == body[2]
        assert body[2] in found
    assert spans.of(unwanted) == []
    beats = [span.name for span in spans.spans if "AcquireJob" in span.name or "health" in span.name]
    assert beats == []
    _the_logs_name_it(pretending, number)


def test_a_command_and_a_programs_own_span_begin_traces(pretending: RunningStack, spans: Receiver) -> None:
    listed = pretending.command("--trace", "--json", "dataset", "list")
    told = re.search(r"Trace ([0-9a-f]{32})", listed.stderr)
    assert told, listed.output
    json.loads(listed.stdout)
    own = SpanContext(int(secrets.token_hex(16), 16), int(secrets.token_hex(8), 16), False, TraceFlags(1))
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(own)))
    try:
        with Client(pretending.server, api_key=pretending.api_key) as fs:
            fs.base_models()
    finally:
        context.detach(token)
    number = trace.format_trace_id(own.trace_id)
    for each, last in ((told[1], "ListDatasets"), (number, "ListBaseModels")):

        def arrived(each: str = each, last: str = last) -> bool:
            services = {span.service for span in spans.of(each) if span.name.endswith(last)}
            return "gateway" in {span.service for span in spans.of(each)} and services - {"gateway"} != set()

        until_blocking(arrived, what="the spans of the gateway and of the service")
    mine = trace.format_span_id(own.span_id)
    until_blocking(lambda: mine in {span.parent for span in spans.of(number)}, what="the span below the program's own")


def _kept(got: Received, number: str) -> bool:
    """Whether it belongs to the trace of that number and tells of more than progress; other jobs share the stack."""
    return number in got.headers["traceparent"] and b"progress" not in got.body[:400]


def _named(found: dict[str, Kept], name: str, service: str) -> list[Kept]:
    return sorted(
        (span for span in found.values() if (span.name, span.service) == (name, service)), key=lambda s: s.begin_ns
    )


def _the_logs_name_it(stack: RunningStack, number: str) -> None:
    lines = [json.loads(line) for line in stack.folder.log("worker-1").read_text().splitlines() if number in line]
    assert {"attempt_started", "attempt_ended"} <= {line["event"] for line in lines}
    assert all(len(line["span_id"]) == 16 for line in lines)
    # Envoy writes its log when it likes to.
    log = stack.folder.log("access")
    until_blocking(lambda: f'"trace_id":"{number}"' in log.read_text(), what="the line of the gateway's log")
