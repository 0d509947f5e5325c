"""Two datasets and regularisation pictures in one job, through the gateway, on a stack that only pretends to train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fiveshot import Client
from fiveshot.errors import FailedPrecondition

from tests.fixtures.running_stack import RunningStack

BOTH = ("rex-of-two:2", "mia-of-two")


def test_two_datasets_train_one_lora_and_what_is_saved_of_it_names_both(pretending: RunningStack, photos: Path) -> None:
    with Client(pretending.server, api_key=pretending.api_key) as fs:
        rex = fs.datasets.create("rex-of-two", trigger="sks", subject="dog")
        rex.upload(photos)
        mia = fs.datasets.create("mia-of-two", trigger="qux", subject="cat")
        mia.upload(photos)
        dogs = fs.datasets.create("other-dogs", subject="dog")
        dogs.upload(photos)
        asked: dict[str, Any] = {"also": {"mia-of-two": 0.5}, "regularization": "other-dogs"}
        count = len(list(rex.images))
        estimate = rex.estimate(epochs=1, **asked)
        assert (estimate.image_count, estimate.parameters.regularization_fraction) == (2 * count, 1.0)
        job = rex.train(epochs=1, **asked).wait()
        assert (job.state, job.message.image_count, job.total_steps) == (
            "succeeded", 2 * count, estimate.total_steps,
        )  # fmt: skip
        versions = [f"{each.name}/versions/1" for each in (rex, mia, dogs)]
        kept = [(each.dataset_version, each.weight, each.regularization) for each in job.message.datasets]
        assert kept == [(versions[0], 1.0, False), (versions[1], 0.5, False), (versions[2], 0.0, True)]
        assert (job.message.dataset_version, job.message.trigger_word) == (versions[0], "sks")
        assert [prompt.split()[0] for prompt in job.message.parameters.preview_prompts[:2]] == ["sks", "qux"]

        saved = job.epoch(1).save("both").message
        assert [each.dataset_version for each in saved.lineage.datasets] == versions
        assert saved.trigger_word == "sks, qux"
        assert f"| dataset version, weight 0.5 | `{versions[1]}`" in saved.model_card
        assert f"| regularisation pictures | `{versions[2]}`" in saved.model_card
        with pytest.raises(FailedPrecondition) as refused:
            rex.train(regularization="mia-of-two")
        assert refused.value.reason == "REGULARIZATION_HAS_TRIGGER_WORD"

    started = pretending.command("--json", "train", "start", *BOTH, "--regularization", "other-dogs", "-e", "1")
    assert started.exit_code == 0, started.output
    datasets = json.loads(started.stdout)["datasets"]
    assert [each.get("weight") for each in datasets] == [2.0, 1.0, None]
    again = pretending.command("train", "show", job.id)
    assert f"rex-of-two:1 ({count} images), mia-of-two:0.5" in " ".join(again.output.split())
    wrong = pretending.command("train", "estimate", "rex-of-two:much", "mia-of-two")
    assert (wrong.exit_code, "'much' is not a weight" in wrong.output) == (2, True)
    twice = pretending.command("train", "start", "rex-of-two", "rex-of-two")
    assert (twice.exit_code, "is named twice" in twice.output) == (2, True)
