"""The notifier as its own process."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from fiveshot.notifier.v1 import notifier_service_pb2 as service_pb
from fiveshot.notifier.v1 import webhook_pb2 as pb
from fiveshot.notifier.v1.notifier_service_pb2_grpc import NotifierServiceStub

from services.chassis.grpc_client import channel
from tests.fixtures.patience import within
from tests.fixtures.processes import async_child, finished_async, listening

HEAVY = ("httpcore", "anyio", "standardwebhooks", "numpy", "PIL", "minio", "torch", "onnxruntime")


async def test_it_starts_from_its_environment_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    given = {
        "NOTIFIER_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'notifier.db'}",
        # Nobody is there: events wait, and webhooks can be made.
        "NOTIFIER_NATS_URL": "nats://127.0.0.1:1",
        "NOTIFIER_ALLOWED_NETWORKS": '["127.0.0.0/8"]',
        "NOTIFIER_PORT_FILE": str(tmp_path / "port"),
        "NOTIFIER_METRICS_LISTEN": "127.0.0.1:0",
    }
    argv = [sys.executable, "-m", "services.notifier.app"]
    async with async_child(argv, env={**os.environ, **given}) as process:
        await listening(process, tmp_path / "port")
        connection = channel(f"127.0.0.1:{(tmp_path / 'port').read_text().strip()}")
        webhook = pb.Webhook(url="http://127.0.0.1:9/")
        request = service_pb.CreateWebhookRequest(parent="projects/pets", webhook_id="mine", webhook=webhook)
        made = await NotifierServiceStub(connection).CreateWebhook(request)
        assert made.name == "projects/pets/webhooks/mine"
        await connection.close(None)
        process.send_signal(signal.SIGTERM)
        async with within():
            output, errors = await process.communicate()
    assert process.returncode == 0, (output, errors)


async def test_it_loads_what_sends_only_when_it_sends() -> None:
    check = f"import sys, services.notifier.app; print([m for m in {HEAVY} if m in sys.modules])"
    assert (await finished_async([sys.executable, "-c", check])).stdout.strip() == "[]"


async def test_a_network_that_is_none_is_refused_at_the_start() -> None:
    given = {"NOTIFIER_ALLOWED_NETWORKS": '["10.0.0.0/33"]'}
    ended = await finished_async([sys.executable, "-m", "services.notifier.app"], env={**os.environ, **given})
    assert ended.returncode == 2
    assert "NOTIFIER_ALLOWED_NETWORKS" in ended.stderr
