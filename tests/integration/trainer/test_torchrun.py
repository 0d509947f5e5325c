"""Two processes with gloo, our own helper or torchrun's, compute what one does with the same global batch."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from services.trainer.engine.job import EpochResult, Hooks, TrainJobSpec
from services.trainer.engine.train_loop import train
from tests.fixtures.processes import finished

JOB = Path(__file__).parents[2] / "fixtures" / "torchrun_job.py"


@pytest.mark.timeout(240)
def test_two_processes_train_what_one_does_and_torchruns_give_the_same_bytes_as_ours(
    make_spec: Callable[..., TrainJobSpec], tmp_path: Path
) -> None:
    """Gradients are added up over processes, so only the rounding of sums may differ from what one process does."""
    # Batches of three: one process has two samples, the other one; a bucket's last batch has one sample for both.
    changes = {
        "batch_size": 3, "num_epochs": 1, "num_repeats": 4, "learning_rate": 1e-3, "noise_offset": 0.1,
        "train_text_encoder": True,
    }  # fmt: skip
    alone, one = _trained(make_spec("one", job={"processes": 1}, **changes))
    helped, two = _trained(make_spec("two", job={"processes": 2}, **changes))
    assert len(alone) == 6
    assert helped == pytest.approx(alone, rel=1e-4)
    assert two.evaluation.fit_loss == pytest.approx(one.evaluation.fit_loss, rel=1e-3)

    spec = make_spec("torchrun", **changes)
    source = tmp_path / "spec.pickle"
    source.write_bytes(pickle.dumps(spec))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = finished(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", JOB, source],
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    together = [json.loads(source.with_suffix(f".{rank}.json").read_text()) for rank in range(2)]
    # Every process knows the loss of the whole batch.
    assert together == [helped, helped]
    file = next(spec.output_dir.rglob("ball-0001.safetensors"))
    assert hashlib.sha256(file.read_bytes()).hexdigest() in {artifact.sha256 for artifact in two.artifacts}
    first, second = (load_file(path) for path in (one.artifacts[0].path, file))
    assert first.keys() == second.keys()
    assert max(float((first[key] - second[key]).abs().max()) for key in first) < 1e-3
    assert not all(bool((first[key] == 0).all()) for key in first if "lora_up" in key)


def _trained(spec: TrainJobSpec) -> tuple[list[float], EpochResult]:
    """The losses of a job of one epoch, and the epoch."""
    losses: list[float] = []
    epochs: list[EpochResult] = []
    train(spec, Hooks(on_step=lambda metrics: losses.append(metrics.loss), on_epoch=epochs.append))
    (epoch,) = epochs
    return losses, epoch
