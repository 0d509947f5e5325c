"""The suite as a cluster runs it: two replicas of every service, two gateways, a worker; servers that stay."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from gateway import api_keys, envoy_config, inside
from gateway.settings import SERVICES
from gateway.settings import Settings as GatewaySettings
from gateway.supervisor import servers
from services.chassis.store_settings import S3Settings
from tests.chaos.replicas import Gateway, Replica, Unit
from tests.fixtures.postgres import USER
from tests.fixtures.preloaded import Preloaded
from tests.fixtures.processes import running
from tests.fixtures.servers import NATS_PASSWORD, nats_address

ROOT = Path(__file__).parents[2]
KEYS = ("roll-key", "roll-secret-0123456789")
WORKER = "services.trainer.worker.app"
LOADED = (*(f"services.{name}.app" for name in SERVICES), "gateway.app", WORKER)
LOADED += ("services.trainer.worker.runner", "services.trainer.worker.pretending")
USES = {"tagger": ("dataset",), "trainer": ("dataset",), "registry": ("trainer",)}


@dataclass(frozen=True)
class Form:
    """How it is rolled. notice_s: that a service keeps answering once it has said that it ends. pretended_s: how long a
    job pretends to be trained; 0: `fiveshot-tiny` is trained. gateway_…: of a gateway's end."""

    notice_s: float = 2.0
    pretended_s: float = 5.0
    gateway_notice_s: int = 2
    gateway_quiet_s: int = 6
    gateway_calls_s: int = 6
    replicas: int = 2
    lease_s: float = 30.0


@dataclass
class Fleet:
    """What runs. doors: host:port of each gateway. databases: URL by service."""

    units: dict[str, Unit]
    doors: tuple[str, ...]
    key: str
    databases: dict[str, str]
    s3: S3Settings

    @property
    def server(self) -> str:
        """Both doors as gRPC spells it."""
        return f"ipv4:{','.join(self.doors)}"


@asynccontextmanager
async def running_fleet(
    folder: Path,
    postgres: Path,
    origin: Preloaded,
    form: Form,
    *,
    before: Callable[[Fleet], Awaitable[None]] | None = None,
    instead: Callable[[Unit], Unit] = lambda unit: unit,
) -> AsyncIterator[Fleet]:
    """The whole fleet, ready. postgres: folder of a running server's socket. before: is done when the servers run, and
    none of our processes yet. instead: what runs in the place of a unit at first."""
    folder.mkdir()
    s3_spec = servers.seaweedfs(folder / "s3", access_key=KEYS[0], secret_key=KEYS[1])
    nats_spec = servers.nats(folder / "nats", password=NATS_PASSWORD)
    async with AsyncExitStack() as stack:
        for spec in (s3_spec, nats_spec):
            await asyncio.to_thread(stack.enter_context, running(spec))
        plan = _Plan(folder, form, origin, s3_spec.ports["s3"], nats_address(nats_spec), _databases(postgres))
        units = [instead(unit) for unit in plan.units()]
        fleet = Fleet({unit.name: unit for unit in units}, tuple(plan.doors), plan.key, plan.databases, plan.s3)
        if before is not None:
            await before(fleet)
        try:
            # Services first: a gateway looks for them as soon as it runs.
            for gateways in (False, True):
                await asyncio.gather(*(unit.start() for unit in units if (unit.kind == "gateway") == gateways))
            yield fleet
        finally:
            await asyncio.gather(*(unit.kill() for unit in fleet.units.values()))


@dataclass
class _Plan:
    """Who gets which variables."""

    folder: Path
    form: Form
    origin: Preloaded
    s3_port: int
    nats_url: str
    databases: dict[str, str]
    key: str = field(default_factory=api_keys.new_secret)

    def __post_init__(self) -> None:
        count = self.form.replicas
        found = iter(servers.free_ports((len(SERVICES) + 3) * count))
        self.ports = {name: [next(found) for _ in range(count)] for name in (*SERVICES, "authz", "public", "admin")}
        self.doors = [f"{servers.HOST}:{port}" for port in self.ports["public"]]
        inside.make(self.folder / "inside")
        api_keys.save(self.folder / "keys.yaml", [api_keys.ApiKey("roll", api_keys.digest(self.key), ("*",))])
        self.s3 = S3Settings(
            s3_endpoint=f"{servers.HOST}:{self.s3_port}",
            s3_access_key=KEYS[0],
            s3_secret_key=SecretStr(KEYS[1]),
            s3_bucket="roll",
        )

    def units(self) -> list[Unit]:
        found: list[Unit] = []
        for number in range(self.form.replicas):
            found += [self._service(name, number) for name in SERVICES]
            found.append(self._gateway(number))
        return [*found, self._worker()]

    def target(self, name: str) -> str:
        return ",".join(f"{servers.HOST}:{port}" for port in self.ports[name])

    def _service(self, name: str, number: int) -> Replica:
        own = {
            "LISTEN": f"{servers.HOST}:{self.ports[name][number]}",
            "DATABASE_URL": self.databases[name],
            "PAGE_TOKEN_KEY": "page-token-key-of-the-roll",
            "REQUIRE_PROJECT_HEADER": "true",
            "SHUTDOWN_NOTICE_S": f"{self.form.notice_s:g}",
        }
        if name in ("dataset", "trainer", "registry"):
            own |= self._s3()
        if name != "tagger":
            own["NATS_URL"] = self.nats_url
        if name == "trainer":
            own["LEASE_SECONDS"] = f"{self.form.lease_s:g}"
        if name == "tagger":
            own["PHOTO"] = "false"
        if name != "registry":
            own["AUDIT_TARGET"] = self.target("registry")
        own |= {f"{other.upper()}_TARGET": self.target(other) for other in USES.get(name, ())}
        return self._process(f"{name}-{number + 1}", name, f"services.{name}.app", name.upper(), own)

    def _worker(self) -> Replica:
        own = {
            **self._s3(),
            "TRAINER_TARGET": self.target("trainer"),
            "DATASET_TARGET": self.target("dataset"),
            "SCRATCH_DIR": str(self.folder / "scratch"),
            "WORKER_ID": "worker",
            "PROBE": "false",
        }
        if self.form.pretended_s:
            own |= {"PRETEND": "true", "PRETEND_SECONDS": f"{self.form.pretended_s:g}"}
        return self._process("worker", "worker", WORKER, "WORKER", own, anew=not self.form.pretended_s)

    def _gateway(self, number: int) -> Gateway:
        name, data = f"gateway-{number + 1}", self.folder / f"gateway-{number + 1}"
        data.mkdir()
        authz = f"{servers.HOST}:{self.ports['authz'][number]}"
        targets: dict[str, Any] = {f"{service}_target": self.target(service) for service in SERVICES}
        settings = GatewaySettings(
            public_listen=self.doors[number],
            admin_listen=f"{servers.HOST}:{self.ports['admin'][number]}",
            access_log_file=str(data / "access.log"),
            internal_token=SecretStr(inside.token_file(self.folder / "inside", "envoy").read_text(encoding="ascii")),
            authz_target=authz,
            rate_limit_per_second=0,
            address_limit_per_second=0,
            unknown_limit_per_second=0,
            **targets,
        )
        envoy_config.write(settings, data / "envoy.json")
        ports = {"listener": self.ports["public"][number], "admin": self.ports["admin"][number]}
        spec = servers.envoy(data / "envoy.json", ports=ports, data_dir=data)
        own = {"LISTEN": authz, "API_KEYS_FILE": str(self.folder / "keys.yaml")}
        own |= {f"{service.upper()}_TARGET": self.target(service) for service in SERVICES}
        return Gateway(
            name,
            self._process(f"authz-{number + 1}", "authz", "gateway.app", "GATEWAY", own, holder="gateway"),
            spec,
            self.ports["admin"][number],
            self.form.gateway_notice_s,
            self.form.gateway_calls_s,
            self.form.gateway_quiet_s,
        )

    def _process(
        self, name: str, kind: str, module: str, prefix: str, own: dict[str, str], *, holder: str = "",
        anew: bool = False,
    ) -> Replica:  # fmt: skip
        tokens = self.folder / "inside"
        own = own | {"PORT_FILE": str(self.folder / f"{name}.port")}
        if (holder or kind) in inside.HOLDERS:
            own["INTERNAL_TOKEN_FILE"] = str(inside.token_file(tokens, holder or kind))
        if kind in inside.MAY_CALL:
            own["CALLERS_FILE"] = str(inside.callers_file(tokens, kind))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk' / 'python' / 'src'}"}
        environment |= {f"{prefix}_{key}": value for key, value in own.items()}
        argv = (sys.executable, "-m", module)
        return Replica(name, kind, module, environment, self.folder, None if anew else self.origin, argv)

    def _s3(self) -> dict[str, str]:
        return {
            "S3_ENDPOINT": self.s3.s3_endpoint,
            "S3_ACCESS_KEY": KEYS[0],
            "S3_SECRET_KEY": KEYS[1],
            "S3_BUCKET": self.s3.s3_bucket,
        }


def _databases(postgres: Path) -> dict[str, str]:
    """An empty database of each service."""
    found = {}
    with closing(psycopg.connect(host=str(postgres), user=USER, dbname="postgres", autocommit=True)) as connection:
        for service in SERVICES:
            name = f"{service}_{uuid.uuid4().hex[:8]}"
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            found[service] = f"postgresql+psycopg://{USER}@/{name}?host={postgres}"
    return found
