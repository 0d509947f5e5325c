"""What training_job.proto promises of a parameter is what the service takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from buf.validate import validate_pb2
from fiveshot.trainer.v1 import training_job_pb2
from google.protobuf.descriptor import FieldDescriptor

from services.trainer.recipe.parameter_spec import MAX_PROMPT_CHARACTERS, MAX_SEED
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve

PROTO = Path("protos/fiveshot/trainer/v1/training_job.proto")
SPECS = {spec.name: spec for spec in DEFAULT_SPECS}
MESSAGE = re.search(r"^message TrainingParameters \{\n(.*?)^\}", PROTO.read_text(), re.MULTILINE | re.DOTALL)
assert MESSAGE is not None
COMMENT = re.compile(r"^  // (.*)\n  (?:optional|repeated) \w+ (\w+) =", re.MULTILINE)
COMMENTS = {name: comment for comment, name in COMMENT.findall(MESSAGE.group(1))}
FIELDS: dict[str, FieldDescriptor] = dict(training_job_pb2.TrainingParameters.DESCRIPTOR.fields_by_name)


def test_every_field_has_a_comment() -> None:
    assert COMMENTS.keys() == FIELDS.keys()


ZEROS = sorted(name for name, comment in COMMENTS.items() if re.search(r"; 0 (disables|takes)", comment))


def test_a_0_that_a_comment_explains_is_accepted() -> None:
    assert len(ZEROS) >= 5
    for name in ZEROS:
        resolve(DEFAULT_SPECS, {name: 0})


@pytest.mark.parametrize("name", sorted(name for name in COMMENTS if SPECS[name].choices))
def test_a_choice_that_a_comment_names_is_one(name: str) -> None:
    own = COMMENTS[name].partition("; constant when")[0]
    named = set(re.findall(r"`(\w+)`", own))
    assert named
    assert named <= set(SPECS[name].choices)


def test_limits_of_the_fields_are_those_of_the_specs() -> None:
    found = {}
    for name, field in FIELDS.items():
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if rules.HasField("repeated"):
            assert rules.repeated.max_items == SPECS[name].maximum
            if rules.repeated.items.HasField("string"):
                assert rules.repeated.items.string.max_len == MAX_PROMPT_CHARACTERS
            else:
                assert (rules.repeated.items.int64.gte, rules.repeated.items.int64.lte) == (0, MAX_SEED)
            found[name] = "list"
        elif rules.HasField("string"):
            assert rules.string.max_len == SPECS[name].maximum
            found[name] = "text"
    texts = dict.fromkeys(("preview_negative_prompt", "preservation_class"), "text")
    assert found == {"preview_prompts": "list", "preview_seeds": "list", **texts}


def test_the_rate_that_0_takes_is_the_denoisers() -> None:
    found = resolve(DEFAULT_SPECS, {"text_encoder_learning_rate": 0.0, "learning_rate": 2e-4})
    assert found.text_encoder_learning_rate == 2e-4
