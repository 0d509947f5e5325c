"""The import rules refuse what they forbid: each forbidden import is written into a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import grimp
import pytest

from tests.fixtures.processes import finished

ROOT = Path(__file__).parents[3]
ROOTS = ("services", "gateway", "tools", "research", "benchmarks", "tests")
HOLES = [
    ("services.trainer.use_cases.creating", "services.trainer.worker.app"),
    ("services.dataset.use_cases.datasets", "services.chassis.sql"),
    ("services.registry.models.resources", "services.chassis.nats_events"),
    ("services.tagger.ports", "services.chassis.grpc_client"),
    ("services.tagger.use_cases.tag_images", "onnxruntime"),
    ("services.dataset.use_cases.tags", "google"),
    ("services.registry.ports", "sqlite3"),
    ("services.trainer.models.queue", "services.trainer.engine.losses"),
    ("services.trainer.engine.losses", "services.trainer.models.job"),
    ("services.trainer.engine.noise", "services.chassis.errors"),
    ("services.trainer.recipe.parameters", "services.chassis.errors"),
    ("services.trainer.recipe.costs", "torch"),
    ("services.trainer.worker.inputs", "services.trainer.adapters.s3_artifacts"),
    ("services.trainer.worker.files", "torch"),
    ("services.registry.use_cases.checked", "services.dataset.models.names"),
    ("services.chassis.names", "services.dataset.models.names"),
    ("services.chassis.outbox", "tools.lock"),
    ("services.dataset.servicer", "gateway.authz"),
    ("gateway.authz", "services.dataset.adapters.sql_reader"),
    ("gateway.app", "tools.lock"),
    ("tools.lock", "research.fiveshot_tiny.config"),
    ("tools.protos", "tests.fakes.pictures"),
    ("benchmarks.trainer", "research.fiveshot_tiny.config"),
    ("research.fiveshot_tiny.config", "tests.fakes.pictures"),
    ("tests.fakes.pictures", "benchmarks.trainer"),
]


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What lint-imports says of a copy of the tree with every hole in it, and with a room that nobody gave a place."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / ".importlinter", copy)
    for root in ROOTS:
        for path in (ROOT / root).rglob("*.py"):
            target = copy / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for importer, imported in HOLES:
        path = copy / f"{importer.replace('.', '/')}.py"
        path.write_text(path.read_text(encoding="utf-8") + f"\nimport {imported}\n", encoding="utf-8")
    (copy / "services" / "dataset" / "helpers.py").touch()
    command: list[str | Path] = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    run = finished(command, cwd=copy, env={**os.environ, "COLUMNS": "500"})
    assert run.returncode == 1, run.stdout + run.stderr
    return run.stdout


@pytest.mark.parametrize(("importer", "imported"), HOLES)
def test_a_forbidden_import_is_refused(verdict: str, importer: str, imported: str) -> None:
    assert re.search(rf"^-? +{re.escape(importer)} -> {re.escape(imported)} \(l", verdict, re.MULTILINE), verdict


def test_a_new_room_of_a_service_needs_a_place_in_the_rules(verdict: str) -> None:
    assert "services.dataset.helpers" in verdict


def test_the_rules_see_every_module() -> None:
    """A folder without __init__.py is invisible to the linter. Alembic runs its migrations by path."""
    graph = grimp.build_graph(*ROOTS, cache_dir=None)
    files = {
        str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
        for root in ROOTS
        for path in (ROOT / root).rglob("*.py")
        if "migrations" not in path.parts
    }
    assert files == graph.modules
