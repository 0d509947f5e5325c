"""How much one picture may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DecodeLimits:
    """What a decoder's process gets for one picture.

    cpu_s: processor time. wall_s: time in all. memory_mib: address space beyond what the idle process has. pictures:
    after so many the process is replaced, so that nothing piles up in it.
    """

    cpu_s: int = 10
    wall_s: float = 30.0
    memory_mib: int = 480
    pictures: int = 200
