"""The detached supervisor: `python -m gateway.supervisor DIR`, started by `fiveshot up --detach`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from gateway.supervisor.folder import ChildState, DataFolder, FolderBusyError
from gateway.supervisor.run import StackError, run


def _print(event: str, child: ChildState | None) -> None:
    what = f"{child.name} {child.state} {child.message}" if child else event
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), what.rstrip(), file=sys.stderr, flush=True)


def main() -> int:
    """Runs the stack on the folder that the command line names."""
    if len(sys.argv) != 2:
        print("usage: python -m gateway.supervisor DIR", file=sys.stderr)
        return 2
    try:
        return run(DataFolder(Path(sys.argv[1])), listen=_print)
    except (StackError, FolderBusyError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
