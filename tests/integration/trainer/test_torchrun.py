"""torchrun with two processes and gloo computes what one process does with the same global batch."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from services.trainer.engine.job import Hooks, TrainJobSpec
from services.trainer.engine.train_loop import train
from tests.fixtures.processes import finished

JOB = Path(__file__).parents[2] / "fixtures" / "torchrun_job.py"


@pytest.mark.timeout(180)
def test_two_processes_of_torchrun_train_what_one_does(make_spec: Callable[..., TrainJobSpec], tmp_path: Path) -> None:
    # Batches of three: one process has two samples, the other one; a bucket's last batch has one sample for both.
    changes = {"batch_size": 3, "num_epochs": 1, "num_repeats": 4, "learning_rate": 1e-3, "noise_offset": 0.1}
    alone: list[float] = []
    one = make_spec("one", job={"processes": 1}, **changes)
    train(one, Hooks(on_step=lambda metrics: alone.append(metrics.loss)))
    spec = make_spec("two", **changes)
    source = tmp_path / "spec.pickle"
    source.write_bytes(pickle.dumps(spec))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = finished(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", JOB, source],
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    together = [json.loads(source.with_suffix(f".{rank}.json").read_text()) for rank in range(2)]
    assert len(alone) == 6
    assert together[0] == pytest.approx(alone, rel=1e-4)
    # Every process knows the loss of the whole batch.
    assert together[1] == together[0]
    files = [next(folder.rglob("ball-0001.safetensors")) for folder in (one.output_dir, spec.output_dir)]
    first, second = (load_file(file) for file in files)
    assert first.keys() == second.keys()
    assert max(float((first[key] - second[key]).abs().max()) for key in first) < 1e-3
    assert not all(bool((first[key] == 0).all()) for key in first if "lora_up" in key)
