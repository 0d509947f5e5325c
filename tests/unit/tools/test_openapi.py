"""The OpenAPI document: valid, complete, and true to the protos and their rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.envoy_routes import PUBLIC_SERVICES
from gateway.http_rules import http_rules
from gateway.roles import LEAST_ROLE
from tools.openapi.document import TARGET, document, text

Part = dict[str, Any]


@pytest.fixture(scope="module")
def checked_in() -> Part:
    loaded: Part = json.loads(TARGET.read_text(encoding="utf-8"))
    return loaded


def _operations(found: Part) -> dict[str, Part]:
    return {each["operationId"]: each for verbs in found["paths"].values() for each in verbs.values()}


def test_what_is_checked_in_is_what_the_protos_say() -> None:
    assert TARGET.read_text(encoding="utf-8") == text(), "run `make protos`"


def test_it_is_a_valid_document(checked_in: Part) -> None:
    OpenAPIV31SpecValidator(checked_in).validate()


def test_every_public_method_with_a_path_is_in_it_once_for_each_path(checked_in: Part) -> None:
    rules = http_rules(PUBLIC_SERVICES)
    operations = _operations(checked_in)
    assert len(operations) == len(rules) > 70
    for rule in rules:
        found = [each for each in operations.values() if each["x-grpc-method"].endswith(f"/{rule.method.name}")]
        assert {each["x-role"] for each in found if rule.method.full_name in _dotted(each)} == {
            LEAST_ROLE[rule.method.full_name]
        }


def _dotted(operation: Part) -> str:
    return str(operation["x-grpc-method"]).removeprefix("/").replace("/", ".")


def test_nothing_in_it_is_without_words(checked_in: Part) -> None:
    silent = [name for name, each in _operations(checked_in).items() if not each["summary"]]
    silent += [
        f"{name} {parameter['name']}"
        for name, each in _operations(checked_in).items()
        for parameter in each.get("parameters", ())
        if not parameter["description"]
    ]
    for name, schema in checked_in["components"]["schemas"].items():
        if not schema.get("description"):
            silent.append(name)
        if name not in ("Status", "ErrorDetail"):
            silent += [f"{name}.{field}" for field, each in schema.get("properties", {}).items() if not _words(each)]
    assert silent == []


def _words(schema: Part) -> str:
    return str(schema.get("description", ""))


def test_limits_behaviour_and_json_forms_of_the_protos_are_those_of_the_schemas() -> None:
    schemas = document()["components"]["schemas"]
    dataset = schemas["Dataset"]["properties"]
    assert dataset["triggerWord"]["maxLength"] == 40
    assert dataset["numRepeats"]["maximum"] == 1000
    assert dataset["imageCount"]["readOnly"] is True
    assert dataset["sizeBytes"]["type"] == "string"
    assert dataset["createTime"]["format"] == "date-time"
    assert dataset["labels"]["maxProperties"] == 64
    assert dataset["labels"]["additionalProperties"] == {"type": "string", "maxLength": 63}
    assert schemas["TrainingParameters"]["properties"]["previewPrompts"]["items"] == {
        "type": "string", "minLength": 1, "maxLength": 500,
    }  # fmt: skip
    assert "STATE_QUEUED" in schemas["TrainingJob.State"]["enum"]
    assert "Waits for a worker" in schemas["TrainingJob.State"]["description"]
    assert "right must exceed left" in schemas["Crop"]["description"].lower()


def test_what_the_path_sets_is_in_no_body_and_no_query(checked_in: Part) -> None:
    operations = _operations(checked_in)
    assert "parent" not in checked_in["components"]["schemas"]["CreateDatasetBody"]["properties"]
    listing = [each["name"] for each in operations["ListDatasets"]["parameters"]]
    assert listing == ["project", "pageSize", "pageToken", "filter", "orderBy"]
    change = operations["UpdateDataset"]
    assert [(each["name"], each["in"]) for each in change["parameters"]] == [
        ("project", "path"), ("dataset", "path"), ("updateMask", "query"),
    ]  # fmt: skip
    assert change["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Dataset")


def test_files_are_bodies_as_they_are(checked_in: Part) -> None:
    operations = _operations(checked_in)
    assert list(operations["UploadImageContent"]["requestBody"]["content"]) == ["application/octet-stream"]
    answer = operations["GetModelFileContent"]["responses"]["200"]
    assert answer["content"]["application/octet-stream"]["schema"]["format"] == "binary"
    assert {"etag", "content-length", "content-disposition"} <= set(answer["headers"])
    assert operations["WatchTrainingJob"]["responses"]["200"]["x-stream"] == "lines"
