"""Writes the table of errors from the code that raises them.

    python -m tools.error_docs            the parts of docs/errors.md
    python -m tools.error_docs --write    puts them into the page

Read from the syntax tree: each place that makes a DomainError or an EngineError with its reason, message and remedy.
A value that is only known when the code runs appears as `…`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from google.rpc import code_pb2

from gateway.envoy_replies import replies
from services.chassis.grpc_errors import STATUS_CODES
from tools.marked_pages import DOCS, cell, refresh, table

PAGE = DOCS / "errors.md"
ROOT = Path(__file__).parent.parent
# What answers callers of the API; the command line's own errors are explained where they occur.
SOURCES = (
    "services", "gateway/authz.py", "gateway/json_check.py", "gateway/sessions.py", "gateway/console_sessions.py",
    "gateway/claims.py", "gateway/oidc",
)  # fmt: skip
_KINDS = {kind.__name__: kind for kind in STATUS_CODES}
_ENGINE = "EngineError"
_UNKNOWN = "…"
Names = dict[str, list[ast.expr]]


@dataclass(frozen=True)
class Raised:
    """A place that makes an error. kind: its class. The texts are patterns; several when the code chooses."""

    kind: str
    reasons: tuple[str, ...]
    messages: tuple[str, ...]
    remedies: tuple[str, ...]
    where: str


def parts() -> dict[str, str]:
    """The generated parts of the page by name."""
    found = list(places())
    calls = [place for place in found if place.kind in _KINDS]
    runs = [place for place in found if place.kind == _ENGINE]
    kinds = STATUS_CODES.items()
    rows = [(f"`{kind.__name__}`", f"`{status.name}`", cell(kind.__doc__ or "")) for kind, status in kinds]
    return {
        "statuses": table(("error", "status", "meaning"), rows),
        "reasons": _reasons(calls),
        "gateway": _gateway(),
        "training": _reasons(runs, with_status=False),
    }


def places() -> Iterator[Raised]:
    """Every place of the sources that makes an error, file by file."""
    for source in SOURCES:
        path = ROOT / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            yield from places_in(file.read_text(encoding="utf-8"), file.relative_to(ROOT).as_posix())


def places_in(code: str, path: str) -> Iterator[Raised]:
    """Every place of one file's code that makes an error. path: what the places are named after."""
    tree = ast.parse(code)
    yield from _Module(tree, path).places(tree, _assigned(tree))


class _Module:
    """One file. calls: every call in it, by the name of what is called."""

    def __init__(self, tree: ast.Module, path: str) -> None:
        self._path = path
        self._calls: dict[str, list[ast.Call]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                self._calls.setdefault(_called(node), []).append(node)

    def places(self, scope: ast.AST, names: Names) -> Iterator[Raised]:
        """Those inside a scope, in which the names stand for these values."""
        for node in ast.iter_child_nodes(scope):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from self.places(node, names | self._arguments(node) | _assigned(node))
                continue
            if isinstance(node, ast.Call):
                place = _place(node, names, f"{self._path}:{node.lineno}")
                if place is not None:
                    yield place
            yield from self.places(node, names)

    def _arguments(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Names:
        """What the callers of a function in this file give as its parameters."""
        parameters = [each.arg for each in function.args.args if each.arg not in ("self", "cls")]
        found: Names = {}
        for call in self._calls.get(function.name, []):
            pairs = [*zip(parameters, call.args, strict=False), *((item.arg, item.value) for item in call.keywords)]
            for name, value in pairs:
                if name is not None:
                    found.setdefault(name, []).append(value)
        return found


def _place(call: ast.Call, names: Names, where: str) -> Raised | None:
    kind = _called(call)
    given = {item.arg: item.value for item in call.keywords}
    if kind == _ENGINE and len(call.args) >= 3:
        reason, message, remedy = (tuple(_texts(argument, names)) for argument in call.args[:3])
        return Raised(kind, reason, message, remedy, where)
    if kind not in _KINDS or not call.args:
        return None
    reasons = tuple(_texts(given["reason"], names)) if "reason" in given else (_KINDS[kind].default_reason,)
    remedies = tuple(_texts(given["remedy"], names)) if "remedy" in given else ()
    return Raised(kind, reasons, tuple(_texts(call.args[0], names)), remedies, where)


def _called(call: ast.Call) -> str:
    """The last name of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else str(getattr(call.func, "id", ""))


def _assigned(scope: ast.AST) -> Names:
    """What the names of a scope are set to; names of functions inside it are left out."""
    found: Names = {}
    left = list(ast.iter_child_nodes(scope))
    while left:
        node = left.pop(0)
        if isinstance(node, ast.Assign):
            for target in node.targets:
                _bind(target, node.value, found)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            left += ast.iter_child_nodes(node)
    return found


def _bind(target: ast.expr, value: ast.expr, found: Names) -> None:
    if isinstance(target, ast.Name):
        found.setdefault(target.id, []).append(value)
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for inner, part in zip(target.elts, value.elts, strict=False):
            _bind(inner, part, found)


def _texts(node: ast.expr, names: Names) -> list[str]:
    """The texts that an expression can be; `…` for what only the running code knows."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        return ["".join(part.value if isinstance(part, ast.Constant) else _UNKNOWN for part in node.values)]  # type: ignore[misc]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, names), *_texts(node.orelse, names)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [left + right for left in _texts(node.left, names) for right in _texts(node.right, names)]
    if isinstance(node, ast.Name) and node.id in names:
        # Without the name itself, which may be set from its own former value.
        rest = {name: values for name, values in names.items() if name != node.id}
        return [text for value in names[node.id] for text in _texts(value, rest)]
    return [_UNKNOWN]


def _reasons(found: Iterable[Raised], *, with_status: bool = True) -> str:
    grouped: dict[tuple[str, str], list[Raised]] = {}
    for place in found:
        for reason in place.reasons:
            if reason != _UNKNOWN:
                grouped.setdefault((reason, place.kind), []).append(place)
    rows = []
    for (reason, kind), same in sorted(grouped.items()):
        status = (f"`{STATUS_CODES[_KINDS[kind]].name}`",) if with_status else ()
        messages = [text for place in same for text in place.messages]
        remedies = [text for place in same for text in place.remedies]
        rows.append((f"`{reason}`", *status, _lines(messages), _lines(remedies)))
    columns = ("reason", "status", "when", "remedy") if with_status else ("reason", "when", "remedy")
    return table(columns, rows)


def _lines(texts: Iterable[str]) -> str:
    known = [text for text in dict.fromkeys(texts) if text.strip(f"{_UNKNOWN} ")]
    return "<br>".join(cell(text) for text in known)


def _gateway() -> str:
    rows = [
        (f"`{reason}`", str(reply.status), f"`{code_pb2.Code.Name(reply.code)}`", cell(reply.remedy))
        for reason, reply in replies().items()
    ]
    return table(("reason", "HTTP status", "status", "remedy"), rows)


def main(arguments: list[str]) -> int:
    """The exit code."""
    if arguments == ["--write"]:
        refresh(PAGE, parts())
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    print("\n\n".join(parts().values()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
