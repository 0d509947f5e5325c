"""The package itself: both clients of one source, light to import, pictures only with Pillow."""

from __future__ import annotations

import builtins
import inspect
import io
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from fiveshot import errors, pictures
from PIL import Image

from tests.fixtures.processes import finished
from tools import sync_client


def test_the_client_for_threads_is_made_of_the_one_for_asyncio() -> None:
    assert sync_client.stale() == []
    for path in sync_client.wanted():
        code = path.read_text(encoding="utf-8")
        assert "async " not in code
        assert "await " not in code
        assert "fiveshot.aio." not in code.partition("\n")[2]


def test_a_stale_file_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_client, "synchronous", lambda name, code: code)
    assert "calls.py" in sync_client.stale()


@pytest.mark.parametrize("module", sorted(path.stem for path in (sync_client.PACKAGE / "aio").glob("[!_]*.py")))
def test_both_clients_offer_the_same(module: str) -> None:
    sides = [import_module(f"fiveshot.{side}.{module}") for side in ("aio", "sync")]

    def offered(of: Any) -> dict[str, list[str]]:
        found = {}
        for name, value in vars(of).items():
            if inspect.isclass(value) and value.__module__ == of.__name__ and not name.startswith("_"):
                found[name.removeprefix("Async")] = sorted(each for each in vars(value) if not each.startswith("_"))
            elif inspect.isfunction(value) and value.__module__ == of.__name__ and not name.startswith("_"):
                found[name] = list(inspect.signature(value).parameters)
        return found

    assert offered(sides[0]) == offered(sides[1])


def test_a_server_that_reads_the_messages_loads_no_client() -> None:
    code = "import sys, fiveshot, fiveshot.dataset.v1.dataset_pb2; print([m for m in sys.modules if 'fiveshot.' in m])"
    loaded = finished([sys.executable, "-c", code]).stdout
    assert "fiveshot.dataset.v1.dataset_pb2" in loaded
    assert "client" not in loaded
    with pytest.raises(AttributeError, match="has no attribute 'Clint'"):
        import_module("fiveshot").Clint  # noqa: B018


def test_showing_and_converting_needs_pillow_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = io.BytesIO()
    Image.new("RGBA", (8, 8), "red").save(held, "PNG")
    pictures.write(held.getvalue(), tmp_path / "new" / "sheet.jpg")
    with Image.open(tmp_path / "new" / "sheet.jpg") as converted:
        assert (converted.format, converted.size) == ("JPEG", (8, 8))
    imported = builtins.__import__

    def without_pillow(name: str, *more: Any) -> Any:
        if name == "PIL":
            raise ImportError(name)
        return imported(name, *more)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(errors.FailedPrecondition) as refused:
        pictures.opened(held.getvalue())
    assert (refused.value.reason, "fiveshot-client[images]" in refused.value.remedy) == ("PILLOW_MISSING", True)
    pictures.write(held.getvalue(), tmp_path / "as-it-is.png")
    assert (tmp_path / "as-it-is.png").read_bytes() == held.getvalue()


def test_the_page_explains_every_reason_that_the_client_gives_itself() -> None:
    sources = [*sync_client.PACKAGE.glob("*.py"), *(sync_client.PACKAGE / "aio").glob("*.py")]
    given = {reason for path in sources for reason in re.findall(r'reason="([A-Z_]+)"', path.read_text())}
    page = (sync_client.PACKAGE.parents[3] / "docs" / "sdk.md").read_text(encoding="utf-8")
    assert len(given) > 15
    assert {reason for reason in given | {"NO_CONNECTION"} if f"`{reason}`" not in page} == set()
