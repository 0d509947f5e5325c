"""What strangers cause fills no disk, and nothing is hidden."""

from __future__ import annotations

from typing import Any

from structlog.testing import capture_logs

from gateway.sampled_log import SampledLog
from services.chassis.logging import get_logger


def test_a_few_lines_a_minute_for_each_reason_then_a_count() -> None:
    now = [0.0]
    with capture_logs() as lines:
        log: Any = SampledLog(get_logger("test"), "refused", lines=3, clock=lambda: now[0])
        for number in range(100):
            log.note("WRONG", path=str(number))
        log.note("OTHER")
        assert [line["reason"] for line in lines] == ["WRONG"] * 3 + ["OTHER"]
        now[0] = 61.0
        log.note("WRONG", path="later")
        assert lines[-1]["left_out_before"] == 97
        log.note("WRONG", path="again")
        assert "left_out_before" not in lines[-1]
