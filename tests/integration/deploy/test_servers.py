"""What the manifests say to Envoy, NATS, SeaweedFS and PostgreSQL is understood by the real ones."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from sqlalchemy import Table, insert, text

from gateway import envoy_config
from gateway.event_accounts import SERVICES_USER
from gateway.settings import Settings as GatewaySettings
from gateway.supervisor.ports import port_is_free
from gateway.supervisor.servers import HOST, ServerSpec, binary, free_ports
from services.chassis.errors import Unavailable
from services.chassis.grpc_server import start_server
from services.chassis.nats_events import EventBus
from services.chassis.settings import BaseServiceSettings
from services.chassis.sql import Database, JsonText, UtcDateTime
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters.sql_tables import jobs
from services.trainer.app import MIGRATIONS
from services.trainer.models.job import JobState
from tests.fixtures.patience import scaled
from tests.fixtures.processes import finished, finished_async, running
from tests.integration.deploy.manifests import DEPLOY, OVERLAYS, kubernetes_environment, loaded, named


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_envoy_takes_the_configuration_of_the_manifest(
    overlay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = named(overlay, "Deployment", "gateway")["spec"]["template"]["spec"]
    environment = kubernetes_environment(overlay, spec["initContainers"][0])
    settings = loaded("gateway.envoy_config", environment, monkeypatch)
    assert isinstance(settings, GatewaySettings)
    envoy_config.write(settings, tmp_path / "envoy.json")
    run = finished([binary("envoy"), "--mode", "validate", "-c", tmp_path / "envoy.json"])
    assert run.returncode == 0, run.stderr[-2000:]


async def test_nats_lets_the_services_in_and_nobody_else(tmp_path: Path) -> None:
    """With the configuration of deploy/, in another folder and on another port."""
    port, text = free_ports(1)[0], (DEPLOY / "config" / "nats.conf").read_text(encoding="utf-8")
    config = tmp_path / "nats.conf"
    config.write_text(text.replace("port: 4222", f"port: {port}").replace("/data", str(tmp_path / "data")))
    spec = ServerSpec(
        name="nats",
        argv=(str(binary("nats-server")), "-c", str(config)),
        ready=lambda: not port_is_free(port),
        ports={"nats": port},
        data_dir=tmp_path,
        env={"NATS_PASSWORD": "secret"},
    )
    with running(spec):
        bus = EventBus(f"nats://{HOST}:{port}", name="test", user=SERVICES_USER, password="secret")
        stored = await bus.publish(subject="fiveshot.events.v1.p.c.i.t", event_id="1", type="t", source="s", data=b"{}")
        assert stored == 1
        await bus.close()
        stranger = EventBus(f"nats://{HOST}:{port}", name="test", timeout_s=scaled(1))
        with pytest.raises(Unavailable):
            await stranger.open()


def test_seaweedfs_knows_every_flag() -> None:
    known = finished([binary("weed"), "help", "mini"])
    options = known.stdout + known.stderr
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    pod = named("dev", "StatefulSet", "s3")["spec"]["template"]["spec"]
    for arguments in (compose["services"]["seaweedfs"]["command"], pod["containers"][0]["args"]):
        assert arguments[0] == "mini"
        flags = [argument.split("=")[0] for argument in arguments[1:]]
        assert [flag for flag in flags if f"  {flag}" not in options] == []


async def test_the_autoscalers_query_counts_the_jobs_that_need_a_worker(postgres_url: str) -> None:
    await upgrade(postgres_url, MIGRATIONS)
    query = named("prod", "ScaledJob", "worker")["spec"]["triggers"][0]["metadata"]["query"]
    db = Database(postgres_url)
    try:
        async with db.connect() as connection:
            assert await connection.scalar(text(query)) == 0
        async with db.begin() as connection:
            for state in JobState:
                await connection.execute(insert(jobs).values(_row(jobs, name=f"job-{state}", state=str(state))))
        async with db.connect() as connection:
            count = await connection.scalar(text(query))
    finally:
        await db.dispose()
    idle = {"PAUSED", "SUCCEEDED", "FAILED", "CANCELLED"}
    assert idle < {state.value for state in JobState}
    assert count == len(JobState) - len(idle)


async def test_the_health_probe_tells_a_serving_server_from_none(free_port: int) -> None:
    async with start_server(BaseServiceSettings(), lambda server: None, service_names=[]) as running:
        assert await _probe(running.target) == 0
    assert await _probe(f"127.0.0.1:{free_port}") == 1
    assert await _probe() == 2


async def _probe(*arguments: str) -> int:
    return (await finished_async([sys.executable, "-m", "services.chassis.health_probe", *arguments])).returncode


def _row(table: Table, **given: object) -> dict[str, object]:
    """Values for all columns that must have one: the given ones, and something of the right type for the rest."""
    row: dict[str, object] = {}
    for column in table.columns:
        if column.name in given:
            row[column.name] = given[column.name]
        elif isinstance(column.type, UtcDateTime):
            row[column.name] = datetime.now(UTC)
        elif not column.nullable:
            row[column.name] = [] if isinstance(column.type, JsonText) else column.type.python_type()
    return row
