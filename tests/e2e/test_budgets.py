"""Budgets of a project through the gateway, as callers and people at the command line meet them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fiveshot.dataset.v1 import dataset_service_pb2 as ds
from fiveshot.trainer.v1 import training_service_pb2 as tr

from gateway.cli import output
from services.chassis.budgets import BUDGETS
from services.chassis.errors import PermissionDenied, ResourceExhausted
from tests.fixtures.running_stack import PARENT, RunningStack, refusal


@pytest.fixture
def full(filled_stack: RunningStack) -> Iterator[RunningStack]:
    """The stack while its project may have no other dataset: the operator changes the file, nothing is restarted."""
    file = filled_stack.folder.budgets_file
    before = file.read_text(encoding="utf-8")
    assert before.startswith("#")
    file.write_text("[projects.default]\ndatasets = 3\nimages = 200\ngpu_seconds = 7200\n", encoding="utf-8")
    yield filled_stack
    file.write_text(before, encoding="utf-8")


async def test_a_dataset_too_many_is_refused_with_budget_use_limit_and_remedy(full: RunningStack) -> None:
    async with full.caller() as caller:
        there = (await caller.call(caller.dataset.ListDatasets, ds.ListDatasetsRequest(parent=PARENT))).total_size
        error = await refusal(caller.call(caller.dataset.CreateDataset, ds.CreateDatasetRequest(parent=PARENT)))
    assert isinstance(error, ResourceExhausted)
    assert error.reason == "BUDGET_USED_UP"
    assert error.metadata == {"budget": "datasets", "used": str(there), "limit": "3"}
    (quota,) = error.quotas
    assert quota.subject == PARENT
    assert quota.description == f"datasets: {there} of 3 datasets are in use"

    status, body = await full.http("POST", f"/v1/{PARENT}/datasets", {"dataset": {}})
    assert status == 429
    assert any("QuotaFailure" in detail["@type"] for detail in body["details"])

    refused = full.command("dataset", "create", "more")
    assert refused.exit_code == output.LIMIT
    (line,) = refused.stderr.strip().splitlines()
    assert "The budget 'datasets' of projects/default is used up" in line
    assert "Delete datasets" in line


async def test_usage_is_shown_for_all_services_together(full: RunningStack) -> None:
    shown = full.command("usage", "--json")
    assert shown.exit_code == 0, shown.output
    answer = json.loads(shown.stdout)
    budgets = {budget["budget"]: budget for budget in answer["budgets"]}
    assert (answer["project"], budgets.keys()) == (PARENT, BUDGETS.keys())
    assert int(budgets["images"]["used"]) >= 101
    assert (budgets["images"]["limit"], budgets["models"]["limit"]) == ("200", "10000")
    assert int(budgets["stored_bytes"]["used"]) > 0
    assert budgets["gpu_seconds"]["window"] == "86400s"

    status, body = await full.http("GET", f"/v1/{PARENT}/datasetUsage")
    assert status == 200
    assert {budget["budget"] for budget in body["budgets"]} == {
        "datasets", "images", "stored_bytes", "uploads", "downloads",
    }  # fmt: skip

    table = full.command("usage")
    assert table.exit_code == 0, table.output
    assert "GPU seconds, last 24 h" in table.stdout
    assert "2 h 00 min" in table.stdout
    assert "█" in table.stdout


async def test_the_usage_of_another_project_is_not_shown(full: RunningStack) -> None:
    async with full.caller() as caller:
        request = tr.GetUsageRequest(name="projects/other/trainingUsage")
        error = await refusal(caller.call(caller.trainer.GetUsage, request))
    assert isinstance(error, PermissionDenied)
    status, _ = await full.http("GET", "/v1/projects/other/modelUsage")
    assert status == 403


def test_labels_are_given_shown_and_filtered_by_at_the_command_line(filled_stack: RunningStack) -> None:
    made = filled_stack.command("dataset", "create", "labelled", "--label", "team=pets", "--label", "note=a=b")
    assert made.exit_code == 0, made.output
    assert "note=a=b, team=pets" in made.stdout
    found = filled_stack.command("dataset", "list", "--json", "--filter", 'labels.note = "a=b" AND labels:team')
    assert [one["name"] for one in json.loads(found.stdout)["datasets"]] == [f"{PARENT}/datasets/labelled"]
    for wrong in ("team", "=pets", "Team=pets"):
        refused = filled_stack.command("dataset", "create", "labelled-2", "--label", wrong)
        assert refused.exit_code == output.USAGE
        (line,) = refused.stderr.strip().splitlines()
        assert "field" in line
    assert filled_stack.command("dataset", "delete", "labelled").exit_code == 0
