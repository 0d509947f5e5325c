"""The courier: sends the deliveries that are due and writes down what came of it.

A delivery is claimed, sent, recorded. Whoever dies in between leaves a claim that runs out, and it is sent again under
the same `webhook-id`: at least once, never lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from time import perf_counter
from typing import NoReturn

from services.chassis.errors import InvalidArgument
from services.chassis.logging import get_logger
from services.chassis.patience import patiently
from services.chassis.signals import Signals, wait
from services.notifier.models.deliveries import GONE, Attempt, Claimed, Delivery
from services.notifier.ports import Answer, DeliveryStore, Sender, SendError
from services.notifier.use_cases.receiving import DUE
from services.notifier.use_cases.signing import signed_headers

log = get_logger(__name__)
_LOOK_AGAIN_S = 2.0
_SHORTEST_PAUSE_S = 0.01
# Of a claim, above the longest attempt: time to write down what came of it.
TO_RECORD_S = 30.0
_GONE = 410


class Courier:
    """Sends at most `at_once` deliveries at a time, of one webhook `each` at most: one that stalls holds up no other.

    attempt_s: the longest that one attempt takes. attempted: is told the reason of each attempt that was recorded, ""
    for one that succeeded.
    """

    def __init__(
        self,
        store: DeliveryStore,
        sender: Sender,
        signals: Signals,
        *,
        clock: Callable[[], datetime],
        attempt_s: float,
        at_once: int = 32,
        each: int = 4,
        attempted: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._store = store
        self._sender = sender
        self._signals = signals
        self._clock = clock
        self._at_once = at_once
        self._each = each
        self._attempted = attempted
        self.lease = timedelta(seconds=attempt_s + TO_RECORD_S)
        self._busy: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> NoReturn:
        """Sends until cancelled; attempts at work are given up then, and made again by the next process."""
        try:
            while True:
                changed = self._signals.next(DUE)
                await patiently(self._begin, what="deliveries of webhooks", patience_s=None)
                await self._rest(changed)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def send(self, claimed: Claimed) -> Delivery | None:
        """One attempt and its record; None when the claim was lost meanwhile. Raises Unavailable."""
        attempt = await self._attempt(claimed)
        recorded = await patiently(
            lambda: self._store.record(claimed, attempt), what="record of a delivery", patience_s=TO_RECORD_S / 2
        )
        if recorded is not None:
            self._attempted(attempt.reason)
            log.info(
                "webhook_attempted",
                delivery=recorded.name,
                state=recorded.state.value,
                status=attempt.status,
                reason=attempt.reason,
                seconds=round(attempt.duration_s, 3),
            )
        return recorded

    async def _begin(self) -> None:
        free = self._at_once - len(self._tasks)
        if free <= 0:
            return
        for claimed in await self._store.claim(free, self.lease, dict(self._busy), self._each):
            self._busy[claimed.delivery.webhook] += 1
            task = asyncio.create_task(self._one(claimed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, claimed: Claimed) -> None:
        name = claimed.delivery.webhook
        try:
            await self.send(claimed)
        except Exception:
            # The claim runs out and the delivery is sent again; one that cannot be must not end the others.
            log.exception("delivery_left_to_its_lease", delivery=claimed.delivery.name)
        finally:
            self._busy[name] -= 1
            if not self._busy[name]:
                del self._busy[name]
            self._signals.notify(DUE)

    async def _rest(self, changed: asyncio.Event) -> None:
        pause_s = _LOOK_AGAIN_S
        if len(self._tasks) < self._at_once:
            due = await patiently(self._store.next_due, what="deliveries of webhooks", patience_s=None)
            if due is not None:
                left = (due - self._clock()).total_seconds()
                # What is due now belongs to webhooks that are busy enough; the end of an attempt tells.
                pause_s = min(pause_s, max(left, _SHORTEST_PAUSE_S)) if left > 0 else pause_s
        await wait(changed, pause_s)

    async def _attempt(self, claimed: Claimed) -> Attempt:
        delivery, now, began = claimed.delivery, self._clock(), perf_counter()
        headers = signed_headers(delivery.event_id, delivery.body, claimed.webhook.secrets(now), now)
        if delivery.traceparent:
            headers["traceparent"] = delivery.traceparent
        answer, reason, message = Answer(0), "", ""
        try:
            answer = await self._sender.post(claimed.webhook.url, headers, delivery.body.encode())
            reason, message = judged(answer.status)
        except SendError as error:
            reason, message = error.reason, str(error)
        except InvalidArgument as error:
            # The address that a name leads to has changed, or the operator has closed the network.
            reason, message = error.reason, str(error)
        return Attempt(now, perf_counter() - began, answer.status, reason, message, answer.retry_after_s)


def judged(status: int) -> tuple[str, str]:
    """Why an answer is no success, in a word and in a sentence; two empty texts for one of 200 to 299."""
    if 200 <= status < 300:
        return "", ""
    if 300 <= status < 400:
        return (
            "REDIRECTED",
            f"The receiver answered {status}; redirects are not followed: set the URL that it leads to.",
        )
    if status == _GONE:
        return GONE, "The receiver answered 410: it is gone."
    return "REFUSED", f"The receiver answered {status}."


def reasons() -> Collection[str]:
    """Every reason of an attempt, for metrics that begin with 0."""
    return ("", "REDIRECTED", GONE, "REFUSED", "TIMED_OUT", "CONNECTION_FAILED", "TLS_FAILED", "ANSWER_INVALID",
            "WEBHOOK_ADDRESS_REFUSED", "WEBHOOK_HOST_UNKNOWN", "WEBHOOK_URL_INVALID")  # fmt: skip
