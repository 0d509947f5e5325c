"""Unknown names and wrong types of values are found wherever they stand in JSON, and nothing else is refused."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import pytest
from google.protobuf.descriptor import Descriptor

from gateway.envoy_edge import path_variables
from gateway.envoy_routes import PUBLIC_SERVICES
from gateway.http_rules import HttpRule, http_rules
from gateway.json_check import JsonCheck
from gateway.query_names import plain
from services.chassis.errors import InvalidArgument

RULES = http_rules(PUBLIC_SERVICES)
JOBS = "/v1/projects/acme/trainingJobs"


LISTED = 16


@pytest.fixture(scope="module")
def check() -> JsonCheck:
    return JsonCheck(RULES, max_bytes=256 * 1024)


@pytest.mark.parametrize(
    ("verb", "path", "body", "fields"),
    [
        ("POST", JOBS, {"trainingJb": {}}, ["trainingJb"]),
        ("POST", f"{JOBS}/", {"trainingJb": {}}, ["trainingJb"]),
        ("POST", JOBS, {"training_job": {"parameters": {"rnk": 4}}}, ["training_job.parameters.rnk"]),
        ("POST", JOBS, {"trainingJob": {"nme": 1, "parameters": 3}}, ["training_job.nme", "training_job.parameters"]),
        ("POST", f"{JOBS}/one:cancel", {"why": "so"}, ["why"]),
        ("POST", f"{JOBS}?validateOnly=true", {"x": 1, "y": 2}, ["x", "y"]),
        ("PATCH", "/v1/projects/acme/datasets/dogs", {"displayNme": "a"}, ["dataset.displayNme"]),
        ("POST", "/v1/projects/acme:tagImage", {"imag": ""}, ["imag"]),
    ],
)
def test_unknown_names(check: JsonCheck, verb: str, path: str, body: object, fields: list[str]) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        check.check(verb, path, json.dumps(body).encode())
    assert [violation.field for violation in wrong.value.violations] == fields
    assert wrong.value.reason == "FIELD_UNKNOWN"


def test_values_of_a_wrong_type_are_named_all_at_once(check: JsonCheck) -> None:
    parameters = {"rank": "many", "numEpochs": 2.5, "previewPrompts": [1], "trainTextEncoder": "yes", "seed": {}}
    body = {"training_job": {"displayName": 5, "parameters": parameters, "labels": {"a": 1}}}
    with pytest.raises(InvalidArgument) as wrong:
        check.check("POST", JOBS, json.dumps(body).encode())
    assert wrong.value.reason == "FIELD_TYPE_WRONG"
    assert {each.field.removeprefix("training_job."): each.description for each in wrong.value.violations} == {
        "display_name": "must be text, in quotes",
        "parameters.rank": "must be a number",
        "parameters.num_epochs": "must be a whole number",
        "parameters.preview_prompts[0]": "must be text, in quotes",
        "parameters.train_text_encoder": "must be true or false",
        "parameters.seed": "must be a single value",
        "labels['a']": "must be text, in quotes",
    }


def test_an_enum_is_refused_with_its_values(check: JsonCheck) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        check.check("PATCH", "/v1/projects/acme/datasets/dogs", b'{"textFrom": "TAGS"}')
    (violation,) = wrong.value.violations
    assert violation.field == "dataset.text_from"
    assert "TEXT_FROM_TAGS" in violation.description


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("POST", JOBS, b'{"trainingJob": {"parameters": {"rank": "4", "learningRate": "1e-4", "numEpochs": 2.0}}}'),
        ("POST", JOBS, b'{"trainingJob": {"parameters": {"rank": null, "seed": " 7", "learningRate": "NaN"}}}'),
        ("POST", "/v1/projects/acme/datasets", b'{"dataset": {"textFrom": 1, "labels": {"a": "b"}}}'),
        ("POST", "/v1/projects/acme/datasets", b'{"validateOnly": "true", "dataset": {"textFrom": "TEXT_FROM_TAGS"}}'),
        ("POST", JOBS, b'{"training_job": {"createTime": "2026-01-01T00:00:00Z"}}'),
        ("PATCH", "/v1/projects/acme/datasets/dogs", b'{"displayName": "a", "trigger_word": "b"}'),
        ("POST", JOBS, b""),
        ("POST", "/v1/nothing/here", b'{"x": 1}'),
        ("GET", JOBS, b'{"x": 1}'),
    ],
)
def test_what_is_not_its_business_passes(check: JsonCheck, verb: str, path: str, body: bytes) -> None:
    check.check(verb, path, body)


def test_half_a_character_in_a_name_can_be_answered(check: JsonCheck) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check.check("POST", "/v1/projects/p/datasets", b'{"\\ud800": 1}')
    (violation,) = refused.value.violations
    assert violation.field == "?"
    assert str(refused.value).encode("utf-8")


def test_every_rule_matches_its_own_template() -> None:
    for rule in RULES:
        path = rule.template
        for variable in rule.variables:
            begin = path.index("{" + variable)
            inner = path[begin + 1 : path.index("}", begin)].partition("=")[2] or "*"
            path = path[:begin] + inner.replace("*", "an-id") + path[path.index("}", begin) + 1 :]
        assert rule.pattern.fullmatch(path), rule.template


def test_no_method_takes_in_its_query_what_other_methods_take_in_their_path() -> None:
    """The edge refuses these names in every query, whatever the method."""
    refused = {plain(name) for name in path_variables(RULES)}
    for rule in RULES:
        if rule.body == "*":
            continue
        open_fields = {
            plain(field.name)
            for field in rule.method.input_type.fields
            if field.name != rule.body and field.name not in rule.variables
        }
        assert not open_fields & refused, rule.method.full_name


@pytest.mark.parametrize(
    ("verb", "path", "body", "fields"),
    [
        ("POST", JOBS, {"trainingJobId": "B d", "trainingJob": {"rnak": 1, "priority": 900}},
         {"training_job.rnak", "training_job_id", "training_job.priority"}),
        ("PATCH", f"{JOBS}/one", {"displayName": [], "priority": 900, "labels": {"B d": "x"}},
         {"training_job.display_name", "training_job.priority", "training_job.labels[B d]"}),
        ("POST", "/v1/projects/acme/datasets/dogs/images:batchUpdate",
         {"requests": [{"image": {"caption": "x" * 5000}}, {"image": {"numRepeats": "x", "caption": "x" * 5000}}]},
         {"requests[0].image.caption", "requests[1].image.num_repeats", "requests[1].image.caption"}),
        ("POST", f"{JOBS}:cleanUp", {"olderThan": "-5s", "validateOnly": "perhaps"}, {"older_than", "validate_only"}),
        ("POST", f"{JOBS}:cleanUp", {"olderThan": "soon", "x": 1}, {"older_than", "x"}),
    ],
)  # fmt: skip
def test_broken_field_rules_are_named_with_them(
    check: JsonCheck, verb: str, path: str, body: object, fields: set[str]
) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        check.check(verb, path, json.dumps(body).encode())
    assert {violation.field for violation in wrong.value.violations} == fields


def test_what_is_wrong_decides_the_reason_and_not_its_words(check: JsonCheck) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        check.check("POST", JOBS, json.dumps({"trainingJob": {"There is no such field": 1}}).encode())
    assert wrong.value.reason == "FIELD_UNKNOWN"
    with pytest.raises(InvalidArgument) as wrong:
        check.check("PATCH", f"{JOBS}/one", json.dumps({"labels": {"There is no such field": 1}}).encode())
    assert wrong.value.reason == "FIELD_TYPE_WRONG"


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"null", b'"x"', b"a=b", b"{'datasetID': 1}", b'{"datasetId": "a",}', b'{"datasetId": "\xff"}',
     b'{"datasetId": "a", "datasetId": "b"}', b'{"dataset": {"labels": {"a": "1", "a": "2"}}}',
     b'{"dataset":' * 5000, b"1" * 5000, b'{"datasetId": ' + b"1" * 5000 + b"}",
     b'{"datasetId": NaN}', b'{"datasetId": -Infinity}', b'{"datasetId": 1e999}',
     '{"datasetId": "a"}'.encode("utf-16")],
)  # fmt: skip
def test_what_is_no_json_object_is_refused_before_a_parser_that_takes_more(check: JsonCheck, body: bytes) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        check.check("POST", "/v1/projects/acme/datasets", body)
    assert wrong.value.reason == "JSON_INVALID"
    assert wrong.value.message.startswith("The body cannot be read as JSON: ")


@pytest.mark.parametrize(
    ("verb", "path", "body", "field"),
    [
        ("PATCH", "/v1/projects/acme/datasets/dogs", {"name": "projects/acme/datasets/cats"}, "dataset.name"),
        ("PATCH", "/v1/projects/acme/datasets/dogs", {"name": ""}, "dataset.name"),
        ("POST", f"{JOBS}/one:cancel", {"name": "projects/acme/trainingJobs/two"}, "name"),
        ("POST", "/v1/projects/acme/datasets", {"parent": "projects/rival"}, "parent"),
        ("POST", "/v1/projects/acme/datasets/", {"parent": "projects/rival"}, "parent"),
        ("POST", "/v1/projects/acme/datasets?x=1", {"parent": ["projects/acme"]}, "parent"),
    ],
)
def test_a_body_never_overrides_the_path(check: JsonCheck, verb: str, path: str, body: object, field: str) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        check.check(verb, path, json.dumps(body).encode())
    assert (wrong.value.reason, wrong.value.field) == ("BODY_OVERRIDES_PATH", field)


def test_the_beginning_of_a_body_that_is_too_large_is_left_to_whoever_refuses_it(check: JsonCheck) -> None:
    body = b'{"datasetId": "' + b"x" * 256 * 1024
    check.check("POST", "/v1/projects/acme/datasets", body[: 256 * 1024 + 1])
    with pytest.raises(InvalidArgument, match="cannot be read"):
        check.check("POST", "/v1/projects/acme/datasets", body[: 256 * 1024])


def test_a_body_may_say_what_the_path_says(check: JsonCheck) -> None:
    name = "projects/acme/datasets/dogs"
    for body in ({"name": name}, {"name": None}, {"displayName": "x"}):
        check.check("PATCH", f"/v1/{name}", json.dumps(body).encode())
    check.check("PATCH", "/v1/projects/acme/datasets/do%67s", json.dumps({"name": name}).encode())
    check.check("PATCH", f"/v1/{name}", b"\xef\xbb\xbf{}")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.verb} {rule.template}")
def test_every_variable_of_a_path_is_guarded(check: JsonCheck, rule: HttpRule) -> None:
    if rule.takes_bytes or rule.body_message is None or not rule.variables:
        return
    path = re.sub(r"\{([a-z_.]+)=([^}]*)\}", lambda found: found[2].replace("*", "a"), rule.template)
    assert "{" not in path
    for variable in rule.variables:
        inner = variable if rule.body == "*" else variable.removeprefix(f"{rule.body}.")
        body: object = "projects/another"
        for part in reversed(inner.split(".")):
            body = {part: body}
        with pytest.raises(InvalidArgument) as wrong:
            check.check(rule.verb, path, json.dumps(body).encode())
        assert wrong.value.reason == "BODY_OVERRIDES_PATH"


def _odd_body(message: Descriptor, value: object, depth: int = 2) -> dict[str, object]:
    """A value for each field, in the messages inside too. What the path says is left to it."""
    inside = {
        field.json_name: [inner] if field.is_repeated else inner
        for field in message.fields
        if depth and field.message_type is not None and not field.message_type.GetOptions().map_entry
        for inner in [_odd_body(field.message_type, value, depth - 1)]
    }
    rest = {field.json_name: value for field in message.fields if field.name not in ("name", "parent")}
    return rest | inside


@pytest.mark.parametrize(
    "value",
    [True, 0, -1, 1.5, 1e308, 2**63, 10**400, -(10**30), "", "1", "-1", "1e400", "NaN", "\ud800", "\u00b2", "x" * 300,
     [], [[]], [None], {}, {"": 1}, {"a": {"a": []}}],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_no_value_of_any_field_is_more_than_a_body_that_is_wrong(check: JsonCheck, value: object) -> None:
    for rule in RULES:
        if rule.body_message is not None:
            path = re.sub(r"\{[^}=]*=?([^}]*)\}", lambda found: found[1].replace("*", "x") or "x", rule.template)
            for body in (_odd_body(rule.body_message, value), {"labels": value}):
                with suppress(InvalidArgument):
                    check.check(rule.verb, path, json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        {"trainingJob": {"labels": {str(number): {} for number in range(20_000)}}},
        {"trainingJob": {str(number): 1 for number in range(20_000)}},
        {str(number): [] for number in range(20_000)},
        {"trainingJob": {"datasets": [1] * 20_000}},
    ],
    ids=["values", "names inside", "names", "a list"],
)
def test_of_thousands_of_faults_the_first_are_looked_at(check: JsonCheck, body: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        check.check("POST", JOBS, json.dumps(body).encode())
    assert 1 <= len(wrong.value.violations) <= LISTED
    # The message counts or names what was found.
    counted = [int(number) for number in re.findall(r"and (\d+) more", str(wrong.value))]
    assert all(number < LISTED for number in counted)


def test_a_name_that_comes_twice_is_found_among_thousands(check: JsonCheck) -> None:
    names = [*(f'"{number}":1' for number in range(20_000)), '"19999":1']
    with pytest.raises(InvalidArgument, match="'19999' comes twice"):
        check.check("POST", JOBS, f"{{{','.join(names)}}}".encode())
