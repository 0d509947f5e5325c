"""Jobs that go on from a saved or imported LoRA, through the gateway, on a stack that only pretends to train."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fiveshot import Client
from fiveshot.errors import InvalidArgument, NotFound

from tests.fakes.lora_files import KOHYA_WHOLE, PEFT_WHOLE, safetensors
from tests.fixtures.running_stack import RunningStack


def test_a_job_goes_on_from_a_version_and_what_is_saved_of_it_says_so(
    pretending: RunningStack, photos: Path, tmp_path: Path
) -> None:
    with Client(pretending.server, api_key=pretending.api_key) as fs:
        ds = fs.datasets.create("going-on", trigger="sks", subject="cat")
        ds.upload(photos)
        version = ds.train(epochs=1, rank=6).wait().epoch(1).save("going-on")
        assert ds.estimate(initial_lora="going-on").parameters.rank == 6
        job = ds.train(epochs=1, initial_lora="going-on@latest").wait()
        # An alias may move; the job says what it began with.
        assert (job.state, job.message.initial_lora) == ("succeeded", version.name)
        assert job.message.parameters.rank == 6
        saved = job.epoch(1).save("going-on")
        assert saved.message.lineage.initial_lora == version.name
        assert f"| went on from | `{version.name}` |" in saved.message.model_card
        for name, tensors in (("kohya", KOHYA_WHOLE), ("peft", PEFT_WHOLE)):
            file = tmp_path / f"{name}.safetensors"
            file.write_bytes(safetensors(tensors))
            fs.models.import_file(name, file, create=True, base_model="fiveshot-tiny")
            assert ds.train(epochs=1, initial_lora=name).wait().state == "succeeded"
        with pytest.raises(InvalidArgument) as refused:
            ds.train(initial_lora="going-on", rank=2)
        assert refused.value.violations[0].field == "training_job.parameters.rank"
        with pytest.raises(NotFound):
            ds.estimate(initial_lora="going-on@nothing")

    started = pretending.command("--json", "train", "start", "going-on", "--from", "going-on@1", "-e", "1")
    assert started.exit_code == 0, started.output
    assert json.loads(started.stdout)["initialLora"] == version.name
    wrong = pretending.command("train", "start", "going-on", "--from", "going-on@1", "--set", "rank=2")
    assert (wrong.exit_code, "must be at least 6" in wrong.output) == (2, True)
    estimated = pretending.command("--json", "train", "estimate", "going-on", "--from", f"{job.id}/epochs/1")
    assert json.loads(estimated.stdout)["parameters"]["rank"] == 6
