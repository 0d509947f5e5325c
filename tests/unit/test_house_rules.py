"""Rules for tests that no linter knows: they wait in one place, start processes in one place, and know no privates."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
# The two places, and the tests of them, whose programs do what is forbidden to others; and what is about to go.
ALLOWED = ("fixtures/patience.py", "fixtures/preloaded.py", "fixtures/processes.py", "integration/suite/")

WAITING = {
    "asyncio.sleep", "time.sleep", "asyncio.timeout", "asyncio.wait_for", "time.monotonic", "time.perf_counter",
    "time.process_time",
}  # fmt: skip
STARTING = {
    "subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call", "subprocess.check_output",
    "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell", "os.fork", "os.system",
}  # fmt: skip
# Public in spite of their names (https://docs.python.org/3/library/collections.html#collections.namedtuple).
_PUBLIC = {"_asdict", "_replace", "_fields"}
# Implementations of others that ours are compared with.
_REFERENCES = ("diffusers", "FluxPipeline")


def broken(code: str) -> list[str]:
    """What a test's code does against the rules, with its lines."""
    return [f"{line}: {what}" for line, what in sorted(_found(ast.parse(code)))]


def _found(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in WAITING:
                yield node.lineno, f"{name}; use tests/fixtures/patience.py"
            if name in STARTING:
                yield node.lineno, f"{name}; use tests/fixtures/processes.py"
            if name.endswith(("setattr", "patch", "patch.object")):
                texts = [part.value for part in node.args if isinstance(part, ast.Constant)]
                for text in texts:
                    if isinstance(text, str) and _is_private(text.rpartition(".")[2]):
                        yield node.lineno, f"patches {text}; find a public seam"
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and not _known(node.value):
            yield node.lineno, f"reaches into {ast.unparse(node)}; test what callers see"
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(_REFERENCES):
            for alias in node.names:
                if _is_private(alias.name):
                    yield node.lineno, f"imports {alias.name}; test what callers see"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in _PUBLIC


def _known(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("self", "cls", *_REFERENCES)


def test_tests_wait_and_start_processes_in_one_place_and_know_no_privates() -> None:
    faults = {}
    for file in sorted(TESTS.rglob("*.py")):
        name = file.relative_to(TESTS).as_posix()
        if not name.startswith(ALLOWED) and (found := broken(file.read_text(encoding="utf-8"))):
            faults[name] = found
    assert faults == {}


def test_each_rule_sees_its_fault() -> None:
    code = (
        "from services.x import _hidden\n"
        "await asyncio.sleep(1)\n"
        "subprocess.run(['true'])\n"
        "worker._trainer.x\n"
        "monkeypatch.setattr(module, '_PAUSE_S', 0)\n"
        "monkeypatch.setattr('services.x._PAUSE_S', 0)\n"
        "self._mine, made._asdict(), monkeypatch.setattr(module, 'PAUSE_S', 0)\n"
    )
    assert [fault.split(":")[0] for fault in broken(code)] == ["1", "2", "3", "4", "5", "6"]
