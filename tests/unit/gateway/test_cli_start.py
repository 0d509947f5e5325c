"""What every command pays for before it does anything."""

from __future__ import annotations

import sys

from tests.fixtures.processes import finished


def test_a_command_starts_without_what_only_few_commands_need() -> None:
    heavy = ("numpy", "torch", "matplotlib", "gateway.supervisor.stack")
    check = f"import sys, gateway.cli.main; print([m for m in {heavy} if m in sys.modules])"
    assert finished((sys.executable, "-c", check), limit_s=60).stdout.strip() == "[]"
