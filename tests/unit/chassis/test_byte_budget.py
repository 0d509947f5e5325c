"""The budget of bytes in flight."""

from __future__ import annotations

import pytest

from services.chassis import grpc_errors
from services.chassis.byte_budget import ByteBudget
from services.chassis.errors import ResourceExhausted


def test_a_project_gets_no_more_than_its_share() -> None:
    budget = ByteBudget(total=100, per_project=60)
    with budget.holding("acme") as first, budget.holding("acme") as second, budget.holding("other") as third:
        first.at_least(40)
        with pytest.raises(ResourceExhausted) as caught:
            second.at_least(21)
        assert caught.value.quotas[0].subject == "projects/acme"
        second.at_least(20)
        third.at_least(40)
    assert budget.in_flight == 0


def test_all_projects_together_get_no_more_than_the_process_has() -> None:
    budget = ByteBudget(total=100, per_project=60)
    with budget.holding("acme") as first, budget.holding("other") as second:
        first.at_least(60)
        with pytest.raises(ResourceExhausted) as caught:
            second.at_least(41)
        assert caught.value.quotas[0].subject == "process"
        assert "acme" not in str(caught.value)
        second.at_least(40)
        assert budget.in_flight == 100


def test_what_is_held_grows_and_goes_back_whole() -> None:
    budget = ByteBudget(total=10, per_project=10)
    with budget.holding("acme") as held:
        for size in (4, 3, 9):
            held.at_least(size)
        assert budget.in_flight == 9
        with pytest.raises(ResourceExhausted):
            held.at_least(11)
        assert budget.in_flight == 9
    assert budget.in_flight == 0
    with budget.holding("acme") as held:
        held.at_least(10)


def test_the_error_says_when_to_come_back_on_the_wire_too() -> None:
    budget = ByteBudget(total=1 << 20, per_project=1 << 20)
    with budget.holding("acme") as held, pytest.raises(ResourceExhausted) as caught:
        held.at_least(1 << 21)
    again = grpc_errors.from_proto(grpc_errors.to_proto(caught.value))
    assert type(again) is ResourceExhausted
    assert again.retry_after_s == caught.value.retry_after_s == 1.0
    assert again.quotas == caught.value.quotas
    assert again.reason == "BYTES_IN_FLIGHT"
    kinds = [detail.TypeName() for detail in grpc_errors.to_proto(caught.value).details]
    assert kinds == ["google.rpc.ErrorInfo", "google.rpc.QuotaFailure", "google.rpc.RetryInfo"]
