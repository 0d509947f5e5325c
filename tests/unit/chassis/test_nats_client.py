"""What the connection to NATS says of itself."""

from __future__ import annotations

from structlog.testing import capture_logs

from services.chassis.nats_client import Complaints


async def test_a_server_that_refuses_for_hours_is_told_once_a_minute() -> None:
    now = 0.0
    complaints = Complaints(clock=lambda: now)
    with capture_logs() as lines:
        for _ in range(240):
            await complaints.hear(OSError("refused"))
            await complaints.hear(ConnectionResetError())
            now += 0.5
    said = [line["error"] for line in lines]
    assert said == ["refused", "ConnectionResetError"] * 2
