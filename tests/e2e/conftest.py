"""One stack for all tests that only call it; tests that stop or kill parts start their own.

It ends with this folder's tests: an idle stack takes a tenth of a core from those that follow.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fiveshot.dataset.v1 import dataset_service_pb2 as ds

from gateway.supervisor import run, servers
from gateway.supervisor.folder import DataFolder
from tests.fakes import pictures
from tests.fixtures.attacked_stack import AttackedStack, attacked_stack
from tests.fixtures.otlp_receiver import Receiver, receiver
from tests.fixtures.pretending import five_photos, pretending_stack
from tests.fixtures.running_stack import PARENT, RunningStack, Stored


@pytest.fixture(scope="package")
def running_stack() -> Iterator[RunningStack]:
    """A stack that `fiveshot up --detach` would start, on a free port and a folder of its own."""
    with pytest.MonkeyPatch.context() as environment, tempfile.TemporaryDirectory(prefix="fiveshot-e2e-") as place:
        for name in [name for name in os.environ if name.startswith("FIVESHOT_")]:
            environment.delenv(name)
        # A probe of the idle worker would take both cores of a small machine from the other tests.
        environment.setenv("WORKER_PROBE", "false")
        environment.setenv("FIVESHOT_WEBHOOK_NETWORKS", '["127.0.0.0/8"]')
        environment.setenv("FIVESHOT_LISTEN", f"{servers.HOST}:{servers.free_ports(1)[0]}")
        # Open to all, as a home may be: what keeps others out must be the stack's own doing.
        Path(place).chmod(0o755)
        folder = DataFolder(Path(place) / "data")
        state = run.detach(folder, tied=True)
        # The settings of services read this name as well: a server that a later test starts would want the same port.
        environment.delenv("FIVESHOT_LISTEN")
        environment.delenv("WORKER_PROBE")
        environment.delenv("FIVESHOT_WEBHOOK_NETWORKS")
        try:
            yield RunningStack(folder, state)
        finally:
            run.stop(folder)


@pytest.fixture(scope="package")
def spans() -> Iterator[Receiver]:
    """What collects the spans of the stack that pretends."""
    with receiver() as found:
        yield found


@pytest.fixture(scope="package")
def pretending(spans: Receiver) -> Iterator[RunningStack]:
    """A stack that only pretends to train, with traces."""
    variables = {
        "FIVESHOT_OTLP_ENDPOINT": spans.target,
        "FIVESHOT_WEBHOOK_NETWORKS": '["127.0.0.0/8"]',
        # Nobody waits five seconds for a batch.
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    with pretending_stack(**variables) as stack:
        yield stack


@pytest.fixture(scope="package")
def attacked() -> Iterator[AttackedStack]:
    """A stack that strangers, crowds and holders of the wrong keys attack."""
    with attacked_stack() as stack:
        yield stack


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five photos."""
    return five_photos(tmp_path / "photos")


@pytest.fixture(scope="package")
def filled_stack(running_stack: RunningStack) -> RunningStack:
    """The stack with three datasets: `photos` holds a picture, `full` as many as it may, `empty` none."""
    asyncio.run(_fill(running_stack))
    return running_stack


@pytest.fixture(scope="module")
def before(filled_stack: RunningStack) -> Stored:
    """What is stored before the first test of a module; every test of bad input leaves exactly that."""
    return asyncio.run(filled_stack.stored())


async def _fill(stack: RunningStack) -> None:
    turns = asyncio.Semaphore(8)
    async with stack.caller() as caller:
        for name in ("photos", "full", "empty"):
            request = ds.CreateDatasetRequest(parent=PARENT, dataset_id=name)
            await caller.call(caller.dataset.CreateDataset, request)

        async def upload(name: str, seed: int) -> None:
            async with turns:
                data = pictures.png(16, 16, seed=seed)
                await caller.upload(data, parent=f"{PARENT}/datasets/{name}", file_name=f"{seed}.png")

        await asyncio.gather(upload("photos", 1000), *(upload("full", seed) for seed in range(100)))
