"""What is wrong with the options of a command, told at once together with what the service finds wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fiveshot.errors import FiveshotError, InvalidArgument
from fiveshot.parameters import all_wrong

T = TypeVar("T")


class Faults:
    """Collected while a request is made of options."""

    def __init__(self) -> None:
        self.found: list[InvalidArgument] = []

    def take(self, make: Callable[[], T], otherwise: T) -> T:
        """What is made of an option; `otherwise` when it is wrong."""
        try:
            return make()
        except InvalidArgument as fault:
            self.found.append(fault)
            return otherwise

    def refuse(self, ask: Callable[[], object]) -> None:
        """Raises InvalidArgument if anything is wrong. ask: has the service look at the rest, and changes nothing."""
        if not self.found:
            return
        try:
            ask()
        except FiveshotError as error:
            raise all_wrong(self.found, error) from error
        raise all_wrong(self.found)
