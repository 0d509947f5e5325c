"""Whatever is wrong with a call is told at once: each wrong field of it is named, with what it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fiveshot import Client, errors

from tests.fixtures.running_stack import RunningStack

PARENT = "/v1/projects/default"
DATASET = "projects/default/datasets/nothing-here"
LONG = "x" * 5000


@dataclass(frozen=True)
class Wrong:
    """A call with several wrong fields. named: the field of each violation, in any order."""

    verb: str
    path: str
    body: dict[str, Any] | None
    named: set[str]


CASES = [
    Wrong("GET", "/datasets?pageSize=-1&foo=2", None, {"foo"}),
    Wrong("GET", "/datasets?filter=zz&orderBy=qq", None, {"filter", "order_by"}),
    Wrong("GET", "/trainingJobs?filter=rank%3D1&orderBy=rank", None, {"filter", "order_by"}),
    Wrong("GET", "/tagJobs?pagesize=1&fliter=x", None, {"pagesize", "fliter"}),
    Wrong("GET", "/models?filter=a%3D1&orderBy=b", None, {"filter", "order_by"}),
    Wrong("GET", "/webhooks?filter=a%3D1&orderBy=b", None, {"filter", "order_by"}),
    Wrong("GET", "/previewRequests?filter=a%3D1&orderBy=b", None, {"filter", "order_by"}),
    Wrong("DELETE", "/datasets/nothing-here?force=maybe&etga=1", None, {"force", "etga"}),
    Wrong("POST", "/datasets", {"dataset_id": "B d", "dataset": {"labels": {"B d": "x"}, "trigger_word": LONG}},
          {"dataset_id", "dataset.labels[B d]", "dataset.trigger_word"}),
    Wrong("POST", "/datasets", {"datasetId": 5, "dataset": {"displayName": []}},
          {"dataset_id", "dataset.display_name"}),
    Wrong("PATCH", "/datasets/nothing-here", {"displayName": LONG, "labels": {"B d": "x"}},
          {"dataset.display_name", "dataset.labels[B d]"}),
    Wrong("POST", "/datasets/nothing-here/images:batchDelete", {"requests": [{"name": "a"}, {"name": "b"}]},
          {"requests[0].name", "requests[1].name"}),
    Wrong("POST", "/datasets/nothing-here/images:batchUpdate",
          {"requests": [{"image": {"caption": LONG}}, {"image": {"numRepeats": 9000}}]},
          {"requests[0].image.caption", "requests[1].image.num_repeats", "requests[0].image.name",
           "requests[1].image.name"}),
    Wrong("POST", "/datasets/nothing-here/images:editTags", {"edits": [{"add": LONG}, {"remove": LONG}]},
          {"edits[0].add", "edits[1].remove"}),
    Wrong("POST", "/tagJobs", {"dataset": "b d", "options": {"threshold": 7}}, {"dataset", "options.threshold"}),
    Wrong("POST", "/trainingJobs", {"trainingJob": {"priority": 900, "labels": {"B d": "x"}, "displayName": LONG}},
          {"training_job.priority", "training_job.labels[B d]", "training_job.display_name", "training_job.base_model",
           "training_job.dataset_version"}),
    Wrong("POST", "/trainingJobs:estimate", {"trainingJob": {"parameters": {"rank": "x", "numEpochs": 1.5}}},
          {"training_job.parameters.rank", "training_job.parameters.num_epochs"}),
    Wrong("PATCH", "/trainingJobs/nothing-here", {"priority": 900, "displayName": LONG},
          {"training_job.priority", "training_job.display_name"}),
    Wrong("POST", "/models", {"modelId": "B d", "model": {"labels": {"B d": "x"}, "tags": [""]}},
          {"model_id", "model.labels[B d]", "model.tags[0]"}),
    Wrong("POST", "/webhooks", {"webhookId": "B d", "webhook": {"displayName": LONG, "labels": {"B d": "x"}}},
          {"webhook_id", "webhook.display_name", "webhook.labels[B d]", "webhook.url"}),
    Wrong("POST", "/webhooks", {"webhook": {"url": "ftp://x", "eventTypes": ["nope", "neither"]}},
          {"webhook.url", "webhook.event_types"}),
    Wrong("POST", "/trainingJobs:cleanUp", {"olderThan": "-5s", "validateOnly": "perhaps", "x": 1},
          {"older_than", "validate_only", "x"}),
    # What only the service knows, with the field rules.
    Wrong("POST", "/trainingJobs", {"trainingJobId": "B d", "trainingJob": {
        "baseModel": "baseModels/fiveshot-tiny", "datasetVersion": DATASET, "priority": 900,
        "parameters": {"rank": 9000, "numEpochs": 0}}},
          {"training_job_id", "training_job.priority", "training_job.parameters.rank",
           "training_job.parameters.num_epochs", "training_job.dataset_version"}),
    Wrong("POST", "/trainingJobs:estimate", {"trainingJob": {
        "baseModel": "baseModels/nope", "datasetVersion": "nope", "labels": {"B d": "x"}}},
          {"training_job.labels[B d]", "training_job.base_model", "training_job.dataset_version"}),
    Wrong("PATCH", "/trainingJobs/nothing-here?updateMask=priority,rank", {"priority": 900},
          {"training_job.priority", "update_mask"}),
    Wrong("GET", "/datasets?pageSize=-1&filter=zz&orderBy=qq", None, {"page_size", "filter", "order_by"}),
    Wrong("GET", "/trainingJobs?pageSize=-1&filter=zz", None, {"page_size", "filter"}),
    Wrong("GET", "/tagJobs?pageSize=-1&filter=zz", None, {"page_size", "filter"}),
    Wrong("GET", "/models?pageSize=-1&orderBy=zz", None, {"page_size", "order_by"}),
    Wrong("GET", "/webhooks?pageSize=-1&orderBy=zz", None, {"page_size", "order_by"}),
    Wrong("PATCH", "/datasets/nothing-here?updateMask=name_of,subject", {"labels": {"B d": "x"}, "subject": "a\u0007b"},
          {"dataset.labels[B d]", "dataset.subject", "update_mask"}),
    Wrong("POST", "/datasets", {"datasetId": "B d", "dataset": {"displayName": "a\u0007b", "triggerWord": "a\u0007b"}},
          {"dataset_id", "dataset.display_name", "dataset.trigger_word"}),
    Wrong("POST", "/datasets/nothing-here/images:upload?fileName=a.gif&caption=" + "x" * 3000, None,
          {"caption", "file_name"}),
    Wrong("POST", "/datasets/nothing-here/images:editTags", {"filter": "zz", "edits": [{"add": LONG}, {"remove": "_"}]},
          {"filter", "edits[0].add", "edits[1].remove"}),
    Wrong("POST", "/tagJobs", {"dataset": DATASET, "options": {"threshold": 7, "tagger": "taggers/nope"}},
          {"options.threshold", "options.tagger"}),
    Wrong("POST", "/models", {"modelId": "B d", "model": {"tags": ["a", " "]}}, {"model_id", "model.tags[1]"}),
    Wrong("PATCH", "/webhooks/nothing-here?updateMask=url,secret", {"url": "ftp://x", "labels": {"B d": "x"}},
          {"webhook.labels[B d]", "webhook.url", "update_mask"}),
    Wrong("POST", "/webhooks", {"webhookId": "B d", "webhook": {"url": "http://10.0.0.1/x", "eventTypes": ["nope"]}},
          {"webhook_id", "webhook.url", "webhook.event_types"}),
    Wrong("POST", "/previewRequests", {"previewRequest": {
        "sources": ["projects/default/trainingJobs/nothing-here/epochs/1"], "prompts": ["a"], "seeds": [1, 1],
        "steps": 9000}},
          {"preview_request.steps", "preview_request.seeds", "preview_request.sources"}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.verb} {case.path}")
def test_all_wrong_fields_of_a_call_are_named(pretending: RunningStack, case: Wrong) -> None:
    answer = httpx.request(
        case.verb, f"http://{pretending.server}{PARENT}{case.path}", json=case.body,
        headers={"x-api-key": pretending.api_key},
    )  # fmt: skip
    assert answer.status_code == 400, answer.text
    violations = [each for item in answer.json()["details"] for each in item.get("fieldViolations", ())]
    assert {each["field"] for each in violations} == case.named, answer.text
    assert all(each["description"] for each in violations)
    assert "type TYPE_" not in answer.text
    assert "fiveshot." not in answer.json()["message"]


def test_all_wrong_parameters_are_named_with_what_they_may_be(pretending: RunningStack) -> None:
    wrong = {"rank": 900, "learningRate": 50, "numEpochs": 0, "resolution": 7}
    job = {"baseModel": "baseModels/fiveshot-tiny", "datasetVersion": DATASET, "parameters": wrong}
    answer = httpx.post(
        f"http://{pretending.server}{PARENT}/trainingJobs", json={"trainingJob": job},
        headers={"x-api-key": pretending.api_key},
    )  # fmt: skip
    assert answer.status_code == 400, answer.text
    violations = [each for item in answer.json()["details"] for each in item.get("fieldViolations", ())]
    parameters = {f"parameters.{name}" for name in ("rank", "learning_rate", "num_epochs", "resolution")}
    named = {each["field"].removeprefix("training_job.") for each in violations}
    # There is no such dataset either.
    assert named == {*parameters, "dataset_version"}


def test_the_python_client_names_what_it_and_the_server_find_wrong(pretending: RunningStack) -> None:
    with Client(pretending.server, api_key=pretending.api_key) as client:
        dataset = client.datasets.create()
        with pytest.raises(errors.InvalidArgument) as refused:
            dataset.train(rnak=4, num_epochs="x", rank=9000, priority=900, id="B d")
        with pytest.raises(errors.InvalidArgument) as estimated:
            dataset.estimate(rnak=4, rank=9000)
        assert not [job for job in client.jobs.list() if job.message.dataset_version.startswith(dataset.name)]
    given = {"rnak", "num_epochs"}
    found = {"training_job_id", "training_job.priority", "training_job.parameters.rank"}
    fields = [each.field for each in refused.value.violations]
    assert (set(fields[:2]), set(fields[2:])) == (given, found)
    assert [each.field for each in estimated.value.violations] == ["rnak", "training_job.parameters.rank"]
