"""Parts of one whole stack hang or die: `fiveshot status`, `/healthz` and callers hear who is away, and it comes back.

In groups, so that it stays short; with OUTAGES_IN_TURN=1 one part after the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.cli import output
from gateway.settings import SERVICES
from gateway.supervisor import run
from gateway.supervisor.folder import StackState
from tests.fixtures.patience import until_blocking
from tests.fixtures.pretending import pretending_stack
from tests.fixtures.running_stack import RunningStack

LISTS = {
    "dataset": "datasets",
    "tagger": "tagJobs",
    "trainer": "trainingJobs",
    "registry": "models",
    "notifier": "webhooks",
}
"""What each service lists, as JSON callers spell it."""
SERVERS = {"nats": "event bus", "seaweedfs": "object store"}
"""The servers below them, and what services call each of these."""
AUTHORIZATION = "authz"
IN_TURN = bool(os.environ.get("OUTAGES_IN_TURN"))


def _groups(*groups: Sequence[str]) -> list[Sequence[str]]:
    return [(name,) for group in groups for name in group] if IN_TURN else list(groups)


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """A stack of its own: those that other tests share are not for killing."""
    with pretending_stack() as found:
        yield found


@pytest.mark.parametrize("names", _groups(SERVICES), ids=",".join)
def test_services_that_hang_are_named_and_their_callers_refused(stack: RunningStack, names: Sequence[str]) -> None:
    with _hanging(stack, names):
        until_blocking(lambda: {f"{name} does not answer" for name in names} == set(_problems(stack)), what="status")
        expected = {name: "UNREACHABLE" if name in names else "SERVING" for name in SERVICES}
        until_blocking(lambda: _healthz(stack) == (503, expected), what="/healthz")
        for name in SERVICES:
            # Were it not refused, the call would wait until its caller gives up, which fails here.
            status, answer = _list(stack, name)
            told = answer.get("message", "")
            assert (status, told) == ((503, f"The {name} service is not there") if name in names else (200, ""))
        if "dataset" in names:
            told = stack.command("dataset", "list")
            assert told.exit_code == output.UNREACHABLE
            (line,) = told.stderr.strip().splitlines()
            assert "The dataset service is not there" in line
    _is_well(stack)


@pytest.mark.parametrize("names", _groups(tuple(SERVERS)), ids=",".join)
def test_servers_that_hang_are_named_by_those_who_need_them(stack: RunningStack, names: Sequence[str]) -> None:
    lacking = {SERVERS[name] for name in names}
    with _hanging(stack, names):
        until_blocking(lambda: _away(stack)[1] == lacking, limit_s=30, what="/healthz to name them")
        # Without its store it is not well; without the bus it works on.
        assert _away(stack)[0] == (503 if "seaweedfs" in names else 200)
        (said,) = (each for each in _problems(stack) if each.startswith("dataset "))
        assert all(need in said for need in lacking)
        # What needs neither of them is done all the same, though nobody is ready.
        assert _list(stack, "dataset")[0] == 200
        assert stack.command("dataset", "list").exit_code == 0
    _is_well(stack)


def test_an_authorization_that_hangs_is_named(stack: RunningStack) -> None:
    with _hanging(stack, (AUTHORIZATION,)):
        until_blocking(lambda: _problems(stack) == ["authz does not answer"], what="status")

        def refused() -> bool:
            status, answer = _list(stack, "dataset")
            # Who was let through a moment before is remembered for a second.
            return status == 503 and answer["details"][0]["reason"] == "AUTHORIZATION_AWAY"

        until_blocking(refused, what="a call to be refused")
        status, answer = asyncio.run(stack.http("GET", "/healthz"))
        assert (status, answer["details"][0]["reason"]) == (503, "AUTHORIZATION_AWAY")
    _is_well(stack)


@pytest.mark.parametrize("names", _groups((*SERVICES, *SERVERS, AUTHORIZATION)), ids=",".join)
def test_parts_that_die_are_named_and_started_again(stack: RunningStack, names: Sequence[str]) -> None:
    before = _state(stack)
    for name in names:
        os.killpg(before.children[name].pid, signal.SIGKILL)
    # The servers are back sooner than anybody could be told.
    slow = set(names) - set(SERVERS)
    seen: set[str] = set()

    def all_named() -> bool:
        seen.update(each.split()[0] for each in _problems(stack))
        return slow <= seen

    until_blocking(all_named, what=f"status to name {', '.join(slow)}")
    _is_well(stack)
    after = _state(stack)
    restarts = {name: after.children[name].restarts - child.restarts for name, child in before.children.items()}
    assert restarts == {name: int(name in names) for name in before.children}
    assert stack.command("dataset", "list").exit_code == 0


@contextmanager
def _hanging(stack: RunningStack, names: Sequence[str]) -> Iterator[None]:
    groups = [_state(stack).children[name].pid for name in names]
    for group in groups:
        os.killpg(group, signal.SIGSTOP)
    try:
        yield
    finally:
        for group in groups:
            os.killpg(group, signal.SIGCONT)


def _is_well(stack: RunningStack) -> None:
    """Everything is back by itself, and all are served."""
    until_blocking(lambda: _problems(stack) == [], what="status to be well again")
    until_blocking(lambda: _healthz(stack) == (200, dict.fromkeys(SERVICES, "SERVING")), what="/healthz to be well")
    for name in SERVICES:
        until_blocking(lambda name=name: _list(stack, name)[0] == 200, what=f"{name} to serve")  # type: ignore[misc]


def _state(stack: RunningStack) -> StackState:
    state = run.running_state(stack.folder)
    assert state is not None
    return state


def _problems(stack: RunningStack) -> list[str]:
    told = stack.command("--json", "status")
    problems: list[str] = json.loads(told.stdout)["problems"]
    assert told.exit_code == (output.FAILED if problems else output.OK)
    return problems


def _healthz(stack: RunningStack) -> tuple[int, dict[str, str]]:
    status, found = asyncio.run(stack.http("GET", "/healthz"))
    return status, {name: each["status"] for name, each in found.get("services", {}).items()}


def _away(stack: RunningStack) -> tuple[int, set[str]]:
    """The status, and what the dataset service lacks."""
    status, found = asyncio.run(stack.http("GET", "/healthz"))
    return status, {each.partition(":")[0] for each in found["services"]["dataset"].get("away", ())}


def _list(stack: RunningStack, service: str) -> tuple[int, dict[str, Any]]:
    return asyncio.run(stack.http("GET", f"/v1/projects/default/{LISTS[service]}"))
