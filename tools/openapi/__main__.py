"""python -m tools.openapi            fails when gateway/openapi.json is not what the protos say
python -m tools.openapi --write    writes it anew

`python -m tools.protos generate` and `check` do the same beside the stubs.
"""

from __future__ import annotations

import sys

from tools.openapi.document import TARGET, check, text


def main(arguments: list[str]) -> int:
    """The exit code."""
    if arguments == ["--write"]:
        TARGET.write_text(text(), encoding="utf-8")
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    check()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
