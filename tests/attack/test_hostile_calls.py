"""A hundred thousand forged requests: no fault, no process that ends, and memory that stays where it was.

HOSTILE_CALLS changes their number and HOSTILE_SEED what they are. The same two make the same calls; a fault names the
seed and the number of its call. What was answered, and the memory of each process as it went, is printed (`-s`).
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.fixtures.attacked_stack import AttackedStack, attacked_stack, furnish
from tests.fixtures.barrage import WAYS, Barrage
from tests.fixtures.patience import scaled

CALLS = int(os.environ.get("HOSTILE_CALLS", "100000"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))
ROUND = 1000
ROUNDS_A_LOOK = 5
ALLOWED_GROWTH_MIB = 64
"""Of a process between the middle of the calls and their end: caches and arenas are full by then."""


async def furnished(stack: AttackedStack) -> list[str]:
    async with stack.caller(stack.keys["editor"]) as caller:
        return await furnish(caller)


@pytest.mark.timeout(scaled(3600))
async def test_a_hundred_thousand_forged_requests_do_no_harm() -> None:
    with attacked_stack() as stack:
        before = stack.pids()
        curve, told_faults = [stack.memory_mib()], 0
        async with Barrage(stack, SEED, await furnished(stack)) as barrage:
            for number in range(0, CALLS, ROUND):
                await barrage.fire(range(number, min(number + ROUND, CALLS)))
                ended = {name: stack.last_words(name) for name, pid in stack.pids().items() if pid != before[name]}
                assert ended == {}, f"after {number + ROUND} calls"
                # What the calls deleted, changed or used up is made again.
                barrage.names = await furnished(stack)
                if (number // ROUND) % ROUNDS_A_LOOK == ROUNDS_A_LOOK - 1:
                    curve.append(stack.memory_mib())
                    faults = barrage.tally.faults
                    print(f"\n{barrage.tally.calls:>7} calls, {len(faults)} faults, MiB:", curve[-1], flush=True)
                    print(*faults[told_faults:], sep="\n", flush=True)
                    told_faults = len(faults)
            tally = barrage.tally
        told(tally.codes)
        assert tally.faults == []
        assert tally.calls == CALLS
        assert stack.logged("Traceback", "call_crashed") == []
        middle = curve[len(curve) // 2]
        grown = {name: mib - middle[name] for name, mib in curve[-1].items()}
        assert {name: mib for name, mib in grown.items() if mib > ALLOWED_GROWTH_MIB} == {}


def told(codes: Counter[tuple[str, str]]) -> None:
    """Prints what was answered."""
    for way in WAYS:
        print(f"\n{way}:", ", ".join(f"{code} {count}" for (by, code), count in sorted(codes.items()) if by == way))
