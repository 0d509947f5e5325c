"""What an attempt changes: pauses, when a delivery is given up, and when its webhook is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from services.chassis.errors import InvalidArgument
from services.notifier.models.deliveries import (
    Attempt,
    Delivery,
    DeliveryState,
    Event,
    RetryPolicy,
    after,
    begun_anew,
    new_delivery,
)
from services.notifier.models.event_types import EVENT_TYPES, PROGRESS, TEST, check_event_types, wants
from services.notifier.models.webhooks import Webhook

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
POLICY = RetryPolicy()
WEBHOOK = Webhook(
    "acme", "mine", "u", "Mine", "https://example.com/", (), False, "", "whsec_AAAA", "", None, None, None, 1, NOW, NOW
)  # fmt: skip
CREATED = Event("e-1", "fiveshot.training_job.created", "projects/acme/trainingJobs/j", "acme", NOW, {"a": 1})


def failed(at: datetime, status: int = 500, retry_after_s: float = 0.0) -> Attempt:
    return Attempt(at, 0.1, status, "REFUSED", f"The receiver answered {status}.", retry_after_s)


def delivery(event: Event = CREATED) -> Delivery:
    return new_delivery(WEBHOOK, event, "d-1", NOW, POLICY)


def test_a_failing_delivery_is_tried_again_with_growing_pauses_for_a_day() -> None:
    waiting, webhook, moments = delivery(), WEBHOOK, [NOW]
    while True:
        outcome = after(waiting, webhook, failed(moments[-1]), moments[-1], POLICY)
        waiting, webhook = outcome.delivery, outcome.webhook or webhook
        if waiting.state is DeliveryState.FAILED:
            break
        assert waiting.next_attempt_time is not None
        moments.append(waiting.next_attempt_time)
    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(moments)]
    wanted = (5, 20, 80, 320, 1280, 5120)
    assert all(least <= pause <= least * 1.1 for least, pause in zip(wanted, pauses, strict=False))
    assert max(pauses) <= 7200 * 1.1
    assert timedelta(hours=21) < moments[-1] - NOW <= timedelta(hours=24)
    assert waiting.next_attempt_time is None
    assert waiting.end_time == moments[-1]
    assert waiting.attempt_count == len(moments)
    assert not webhook.disabled
    assert webhook.failing_since == NOW


def test_a_success_ends_the_delivery_and_the_failures_of_the_webhook() -> None:
    outcome = after(delivery(), replace(WEBHOOK, failing_since=NOW), Attempt(NOW, 0.1, 204), NOW, POLICY)
    assert outcome.delivery.state is DeliveryState.SUCCEEDED
    assert outcome.webhook is not None
    assert (outcome.webhook.failing_since, outcome.webhook.last_success_time) == (None, NOW)


def test_a_webhook_that_failed_for_three_days_is_disabled_when_a_delivery_is_given_up() -> None:
    late = NOW + timedelta(days=1)
    for since, disabled in ((NOW - timedelta(days=1), False), (NOW - timedelta(days=2), True)):
        outcome = after(delivery(), replace(WEBHOOK, failing_since=since), failed(late), late, POLICY)
        assert outcome.delivery.state is DeliveryState.FAILED
        assert outcome.disabled is disabled
        assert outcome.webhook is not None
        assert outcome.webhook.disabled is disabled
        assert ("2025-12-30 12:00 UTC" in outcome.webhook.disabled_reason) is disabled
        assert (outcome.webhook.etag != WEBHOOK.etag) is disabled


def test_an_attempt_that_fails_on_its_way_disables_nothing_however_long_ago_the_first_failed() -> None:
    outcome = after(delivery(), replace(WEBHOOK, failing_since=NOW - timedelta(days=9)), failed(NOW), NOW, POLICY)
    assert (outcome.delivery.state, outcome.disabled) == (DeliveryState.PENDING, False)


def test_a_receiver_that_is_gone_ends_both_at_once() -> None:
    outcome = after(delivery(), WEBHOOK, failed(NOW, 410), NOW, POLICY)
    assert outcome.delivery.state is DeliveryState.FAILED
    assert outcome.disabled
    assert outcome.webhook is not None
    assert "410" in outcome.webhook.disabled_reason


def test_a_test_is_one_attempt_and_says_nothing_of_the_webhook() -> None:
    test = delivery(replace(CREATED, type=TEST))
    for attempt, state in ((failed(NOW, 410), DeliveryState.FAILED), (Attempt(NOW, 0.1, 200), DeliveryState.SUCCEEDED)):
        outcome = after(test, WEBHOOK, attempt, NOW, POLICY)
        assert (outcome.delivery.state, outcome.webhook, outcome.disabled) == (state, None, False)


def test_a_receiver_may_ask_for_a_longer_pause_but_not_for_a_longer_one_than_the_longest() -> None:
    for asked, least, most in ((600.0, 600, 600), (1.0, 5, 5.5), (1e9, 7200, 7200)):
        following = after(delivery(), WEBHOOK, failed(NOW, 429, asked), NOW, POLICY).delivery.next_attempt_time
        assert following is not None
        assert least <= (following - NOW).total_seconds() <= most


def test_a_delivery_that_is_begun_anew_has_a_day_again_and_keeps_its_attempts() -> None:
    given_up = replace(delivery(), state=DeliveryState.FAILED, tries=9, attempt_count=9, attempts=(failed(NOW),) * 3)
    late = NOW + timedelta(days=5)
    anew = begun_anew(given_up, late, POLICY)
    assert (anew.state, anew.next_attempt_time, anew.give_up_time) == (
        DeliveryState.PENDING, late, late + timedelta(days=1),
    )  # fmt: skip
    following = after(anew, WEBHOOK, failed(late), late, POLICY).delivery
    assert following.attempt_count == 10
    assert following.next_attempt_time is not None
    assert following.next_attempt_time - late < timedelta(seconds=6)


def test_only_the_newest_attempts_are_kept() -> None:
    many = replace(delivery(), attempts=(failed(NOW),) * 20, attempt_count=40)
    assert len(after(many, WEBHOOK, failed(NOW), NOW, POLICY).delivery.attempts) == 20


def test_a_body_is_a_cloud_event_and_what_standard_webhooks_asks_for() -> None:
    assert CREATED.body == {
        "specversion": "1.0", "id": "e-1", "type": "fiveshot.training_job.created", "subject": "acme",
        "source": "projects/acme/trainingJobs/j", "time": "2026-01-01T12:00:00Z", "timestamp": "2026-01-01T12:00:00Z",
        "datacontenttype": "application/json", "data": {"a": 1},
    }  # fmt: skip


def test_a_filter_names_types_in_full_or_by_their_beginning_and_progress_only_in_full() -> None:
    jobs = ["fiveshot.training_job.*"]
    assert [name for name in EVENT_TYPES if wants((), name)] == [name for name in EVENT_TYPES if name not in PROGRESS]
    assert sum(wants(jobs, name) for name in EVENT_TYPES) == 7
    assert wants(["fiveshot.dataset.*"], "fiveshot.dataset.images_added")
    assert not wants(["fiveshot.dataset.*"], "fiveshot.model.created")
    assert all(wants([*jobs, each], each) for each in PROGRESS)
    assert not wants(["fiveshot.tag_job.*"], "fiveshot.tag_job.progress")
    assert not wants(["fiveshot.usage.gpu_seconds"], "fiveshot.usage.stored_bytes")
    assert check_event_types([*jobs, *jobs]) == tuple(jobs)


@pytest.mark.parametrize("name", ["fiveshot.training_job.done", ".*", "*", "fiveshot.*x", "fiveshot.nothing.*", TEST])
def test_a_filter_that_can_never_match_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_event_types(["fiveshot.usage.*", name])
    assert caught.value.reason == "EVENT_TYPE_UNKNOWN"
    assert name in caught.value.violations[0].description


def test_a_secret_that_was_replaced_signs_until_its_time_is_over() -> None:
    rotated = replace(WEBHOOK, secret="new", previous_secret="old", previous_until=NOW)
    assert rotated.secrets(NOW - timedelta(seconds=1)) == ("new", "old")
    assert rotated.secrets(NOW) == ("new",)
