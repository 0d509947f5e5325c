"""A hundred thousand forged requests: no fault, no process that ends, and memory that stays where it was.

HOSTILE_CALLS changes their number and HOSTILE_SEED what they are. The same two make the same calls; a fault names the
seed and the number of its call. What was answered, and the memory of each process as it went, is printed (`-s`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from tests.fixtures.attacked_stack import SERVICES, AttackedStack, attacked_stack, furnish
from tests.fixtures.barrage import WAYS, Barrage
from tests.fixtures.patience import scaled

CALLS = int(os.environ.get("HOSTILE_CALLS", "100000"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))
ROUND = 1000
ROUNDS_A_LOOK = 5
ALLOWED_GROWTH_MIB = 64
"""Of a process between the middle of the calls and their end: caches are full by then."""
CHART = Path(__file__).parents[2] / "deploy" / "helm" / "values.yaml"


async def furnished(stack: AttackedStack) -> list[str]:
    async with stack.caller(stack.keys["editor"]) as caller:
        return await furnish(caller)


@pytest.mark.timeout(scaled(3600))
async def test_a_hundred_thousand_forged_requests_do_no_harm() -> None:
    with attacked_stack() as stack:
        before = stack.pids()
        looks, told_faults = [stack.memory_mib()], 0
        async with Barrage(stack, SEED, await furnished(stack)) as barrage:
            for number in range(0, CALLS, ROUND):
                await barrage.fire(range(number, min(number + ROUND, CALLS)))
                ended = {name: stack.last_words(name) for name, pid in stack.pids().items() if pid != before[name]}
                assert ended == {}, f"after {number + ROUND} calls"
                # What the calls deleted, changed or used up is made again.
                barrage.names = await furnished(stack)
                looks.append(stack.memory_mib())
                if (number // ROUND) % ROUNDS_A_LOOK == ROUNDS_A_LOOK - 1:
                    faults = barrage.tally.faults
                    print(f"\n{barrage.tally.calls:>7} calls, {len(faults)} faults, MiB:", looks[-1], flush=True)
                    print(*faults[told_faults:], sep="\n", flush=True)
                    told_faults = len(faults)
            tally = barrage.tally
        told(tally.codes)
        assert tally.faults == []
        assert tally.calls == CALLS
        assert stack.logged("Traceback", "_crashed") == []
        lowest, highest = grown(looks), {name: max(look[name] for look in looks) for name in looks[0]}
        print("\ngrown, MiB:", lowest, "at most:", highest)
        assert {name: mib for name, mib in lowest.items() if mib > ALLOWED_GROWTH_MIB} == {}
        assert {name: highest[name] for name, limit in pod_limits_mib().items() if highest[name] >= limit} == {}


def test_growth_is_of_what_stays_and_not_of_what_a_moment_takes() -> None:
    steady = [{"a": 100 + (0, 90, 10)[number % 3]} for number in range(100)]
    assert grown(steady) == {"a": 0}
    assert grown([{"a": look["a"] + 2 * number} for number, look in enumerate(steady)])["a"] > ALLOWED_GROWTH_MIB


def grown(looks: Sequence[dict[str, int]]) -> dict[str, int]:
    """MiB by which each process holds more in the last fifth of the looks than in the middle one, each at its lowest.

    A look meets a service at work or at rest: the tagger takes 100 MiB for two pictures at once and gives them back.
    What a leak holds is there at rest too.
    """
    fifth = max(1, len(looks) // 5)
    start = (len(looks) - fifth) // 2

    def lowest(name: str, some: Sequence[dict[str, int]]) -> int:
        return min(look[name] for look in some)

    return {name: lowest(name, looks[-fifth:]) - lowest(name, looks[start : start + fifth]) for name in looks[0]}


def pod_limits_mib() -> dict[str, int]:
    """What the chart gives the pod of each process of ours, with its decoders, and Envoy."""
    chart = yaml.safe_load(CHART.read_text(encoding="utf-8"))
    parts = {name: chart[name]["resources"] for name in SERVICES}
    parts |= {"envoy": chart["gateway"]["resources"], "authz": chart["gateway"]["authorizationResources"]}
    return {name: _mib(part["limits"]["memory"]) for name, part in parts.items()}


def _mib(size: str) -> int:
    return int(size[:-2]) * {"Mi": 1, "Gi": 1024}[size[-2:]]


def told(codes: Counter[tuple[str, str]]) -> None:
    """Prints what was answered."""
    for way in WAYS:
        print(f"\n{way}:", ", ".join(f"{code} {count}" for (by, code), count in sorted(codes.items()) if by == way))
