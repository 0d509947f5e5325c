"""`fiveshot status` says what is wrong, not only what runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.stack_health import ServiceHealth, StackHealth
from gateway.supervisor import servers, stack_problems
from gateway.supervisor.folder import ChildState, DataFolder, StackState


def _state(tmp_path: Path, **states: str) -> StackState:
    children = {
        name: ChildState(name, state=state, ports={"grpc": 1}, log=str(tmp_path / name))
        for name, state in states.items()
    }
    return StackState(pid=1, server="127.0.0.1:7437", started=0.0, children=children)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, ServiceHealth]:
    """What the services say; a test changes it."""
    health: dict[str, ServiceHealth] = {"dataset": ServiceHealth("SERVING")}

    async def services(_: StackHealth) -> dict[str, ServiceHealth]:
        return health

    monkeypatch.setattr(StackHealth, "services", services)
    return health


async def test_nothing_when_all_is_well(tmp_path: Path, found: dict[str, ServiceHealth]) -> None:
    state = _state(tmp_path, dataset="ready", nats="ready")
    assert await stack_problems.problems(DataFolder(tmp_path), state) == []


async def test_each_fault_is_named(
    tmp_path: Path, found: dict[str, ServiceHealth], monkeypatch: pytest.MonkeyPatch
) -> None:
    found["dataset"] = ServiceHealth("NOT_SERVING", ("object store: OBJECT_STORE_UNAVAILABLE",))
    found["trainer"] = ServiceHealth("UNREACHABLE")
    found["tagger"] = ServiceHealth("SERVING", ("event bus: EVENT_BUS_UNAVAILABLE",))

    def full(_: Path) -> None:
        raise servers.DiskFullError("the disk is full")

    monkeypatch.setattr(servers, "check_room", full)
    state = _state(tmp_path, dataset="ready", trainer="restarting", nats="restarting", seaweedfs="ready")
    assert await stack_problems.problems(DataFolder(tmp_path), state) == [
        "dataset is not well: object store: OBJECT_STORE_UNAVAILABLE",
        "trainer does not answer",
        "tagger serves without event bus: EVENT_BUS_UNAVAILABLE",
        f"nats is restarting; see {tmp_path / 'nats'}",
        "the disk is full",
    ]
