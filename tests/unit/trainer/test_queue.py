"""Places in the queue agree with the order in which jobs are really served."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.trainer.models.queue import ProjectQueue, expected_end, overall_position, turn
from tests.unit.trainer.jobs import NOW

_queues = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 4), st.one_of(st.none(), st.integers(0, 3))), min_size=1, max_size=5
).map(
    lambda rows: [
        ProjectQueue(f"p{n}", waiting, active, None if served is None else NOW + timedelta(seconds=served))
        for n, (waiting, active, served) in enumerate(rows)
    ]
)


def _served_order(queues: list[ProjectQueue]) -> list[str]:
    """What happens when workers come one after the other: the project whose turn it is, again and again."""
    left = {queue.project: queue for queue in queues}
    order: list[str] = []
    while any(queue.waiting for queue in left.values()):
        first = min((queue for queue in left.values() if queue.waiting), key=turn)
        order.append(first.project)
        served = NOW + timedelta(hours=1, seconds=len(order))
        left[first.project] = replace(first, waiting=first.waiting - 1, active=first.active + 1, served_at=served)
    return order


@given(_queues)
def test_every_position_is_the_place_at_which_the_job_is_served(queues: list[ProjectQueue]) -> None:
    order = _served_order(queues)
    count: dict[str, int] = {}
    for place, project in enumerate(order, 1):
        count[project] = count.get(project, 0) + 1
        assert overall_position(queues, project, count[project]) == place


def test_the_end_is_not_guessed_without_a_known_pace() -> None:
    known = {"jobs_ahead": 2, "samples_left": 100, "mean_samples": 50.0, "workers": 2}
    assert expected_end(NOW, **known, seconds_per_sample=0.0) is None  # type: ignore[arg-type]
    end = expected_end(NOW, **known, seconds_per_sample=0.1)  # type: ignore[arg-type]
    assert end == NOW + timedelta(seconds=2 * 50 * 0.1 / 2 + 100 * 0.1)
    alone = expected_end(NOW, **{**known, "workers": 0}, seconds_per_sample=0.1)  # type: ignore[arg-type]
    assert alone == NOW + timedelta(seconds=2 * 50 * 0.1 + 100 * 0.1)
