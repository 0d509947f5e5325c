"""What `fiveshot up` starts: the embedded servers that nobody pointed elsewhere, the services, workers, the gateway.

Every part can be a running server instead: set its FIVESHOT_ variable (see StackSettings) and it is not started.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from gateway import envoy_config, event_accounts, inside
from gateway.settings import Settings as GatewaySettings
from gateway.supervisor import servers
from gateway.supervisor.folder import Credentials, DataFolder
from gateway.supervisor.ports import DEFAULT_LISTEN, port_is_free
from gateway.supervisor.servers import HOST, ServerSpec
from gateway.supervisor.stack_settings import StackSettings

SERVICES = ("dataset", "tagger", "trainer", "registry", "notifier")
# A local stack has few callers; it need not wait long for them when it stops.
_GRACE_S = 3
# A worker ends its step before it gives its job back.
_WORKER_GRACE_S = 15
_SERVICE_STOP_S = 10.0
_WORKER_STOP_S = 20.0


class Stack:
    """The specs of a stack on a folder, with all ports chosen. stages: in the order of their dependence."""

    def __init__(self, folder: DataFolder, settings: StackSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._credentials = folder.credentials()
        self._credentials_folder = folder.sub("credentials")
        inside.make(self._credentials_folder)
        names = ("authz", *SERVICES, *(f"worker-{n + 1}" for n in range(settings.workers)))
        found = servers.free_ports(2 * len(names) + 1)
        self._ports = dict(zip(names, found, strict=False))
        measured = (*names, "envoy")
        self._metrics_ports = dict(zip(measured, found[len(names) :], strict=True)) if settings.metrics else {}
        self.server = settings.listen or _public_door()
        embedded = self._embedded()
        services = [[self._service("dataset")], [self._service("trainer")]]
        users = [*(self._service(name) for name in ("tagger", "registry", "notifier")), *self._workers()]
        self.stages = [*([embedded] if embedded else []), *services, users, [self._authz()], [self._envoy()]]

    def _embedded(self) -> list[ServerSpec]:
        """SeaweedFS and NATS, unless they run elsewhere; sets where the services find them."""
        found, self._s3, self._nats = [], self._settings.s3_endpoint, self._settings.nats_url
        if not self._s3:
            servers.check_room(self._folder.path)
            keys = self._credentials
            s3 = servers.seaweedfs(
                self._folder.sub("seaweedfs"), access_key=keys.s3_access_key, secret_key=keys.s3_secret_key
            )
            self._s3 = f"{HOST}:{s3.ports['s3']}"
            found.append(s3)
        if not self._nats:
            nats = servers.nats(
                self._folder.sub("nats"),
                password=self._credentials.nats_password,
                consumers=event_accounts.load(self._folder.event_consumers_file),
            )
            self._nats = f"nats://{HOST}:{nats.ports['nats']}"
            found.append(nats)
        return found

    def _service(self, name: str) -> ServerSpec:
        own = {
            "DATABASE_URL": self._database(name),
            "PAGE_TOKEN_KEY": self._credentials.page_token_key,
            "REQUIRE_PROJECT_HEADER": "true",
        }
        if name == "tagger":
            own["TAGGERS_DIR"] = str(self._folder.taggers)
        else:
            own["BUDGETS_FILE"] = str(self._folder.budgets_file)
        own |= self._nats_variables()
        if name in ("dataset", "trainer", "registry"):
            own |= self._s3_variables()
        if name == "notifier":
            own["ALLOWED_NETWORKS"] = json.dumps(self._settings.webhook_networks)
        if name != "registry":
            own["AUDIT_TARGET"] = self._target("registry")
        if name == "trainer":
            own |= self._catalogue()
        if name in ("tagger", "trainer"):
            own["DATASET_TARGET"] = self._target("dataset")
        if name == "trainer":
            own["REGISTRY_TARGET"] = self._target("registry")
        if name == "registry":
            own["TRAINER_TARGET"] = self._target("trainer")
        return self._python(name, f"services.{name}.app", name.upper(), own)

    def _workers(self) -> list[ServerSpec]:
        threads = str(self._settings.threads or os.cpu_count() or 1)
        found = []
        for number in range(1, self._settings.workers + 1):
            name = f"worker-{number}"
            own = {
                **self._s3_variables(),
                **self._catalogue(),
                "TRAINER_TARGET": self._target("trainer"),
                "DATASET_TARGET": self._target("dataset"),
                "REGISTRY_TARGET": self._target("registry"),
                "WORKER_ID": name,
                "SCRATCH_DIR": str(self._folder.sub(name)),
                "THREADS": threads,
                "SHUTDOWN_GRACE_S": str(_WORKER_GRACE_S),
                **({"PRETEND": "true"} if self._settings.pretend else {}),
            }
            module = "services.trainer.worker.app"
            found.append(self._python(name, module, "WORKER", own, threads=threads, stop_timeout_s=_WORKER_STOP_S))
        return found

    def _authz(self) -> ServerSpec:
        own = {"API_KEYS_FILE": str(self._folder.api_keys_file), "SESSIONS_DIR": str(self._folder.sessions)}
        own |= {f"{name.upper()}_TARGET": self._target(name) for name in SERVICES}
        return self._python("authz", "gateway.app", "GATEWAY", own)

    def _envoy(self) -> ServerSpec:
        data = self._folder.sub("gateway")
        log = self._folder.log("access")
        settings = GatewaySettings(
            public_listen=self.server,
            access_log_file=str(log),
            internal_token=SecretStr(inside.token_file(self._credentials_folder, "envoy").read_text(encoding="ascii")),
            authz_target=self._target("authz"),
            dataset_target=self._target("dataset"),
            tagger_target=self._target("tagger"),
            trainer_target=self._target("trainer"),
            registry_target=self._target("registry"),
            notifier_target=self._target("notifier"),
            otlp_endpoint=self._settings.otlp_endpoint,
            trace_share=self._settings.trace_share,
            **self._envoy_metrics(data),
        )
        config = data / "envoy.json"
        envoy_config.write(settings, config)
        ports = {"listener": int(self.server.rpartition(":")[2])}
        if not settings.envoy_metrics_listen:
            return servers.envoy(config, ports=ports, data_dir=data)
        ports["metrics"] = self._metrics_ports["envoy"]
        return servers.envoy(config, ports=ports, data_dir=data, leftovers=(settings.envoy_admin_socket,))

    def _envoy_metrics(self, data: Path) -> dict[str, Any]:
        if "envoy" not in self._metrics_ports:
            return {}
        listen = f"{HOST}:{self._metrics_ports['envoy']}"
        return {"envoy_metrics_listen": listen, "envoy_admin_socket": servers.short_socket(data, "admin.sock")}

    def _python(
        self, name: str, module: str, prefix: str, own: Mapping[str, str], *, threads: str = "1",
        stop_timeout_s: float = _SERVICE_STOP_S,
    ) -> ServerSpec:  # fmt: skip
        """One of our own processes; it is ready once it has written its port file, which it does when it serves."""
        port_file = self._folder.sub("run") / f"{name}.port"
        port_file.unlink(missing_ok=True)
        variables = {
            "LISTEN": self._target(name),
            "PORT_FILE": str(port_file),
            **self._inside(name),
            **self._traces(),
            "SHUTDOWN_GRACE_S": str(_GRACE_S),
            **own,
        }
        ports = {"grpc": self._ports[name]}
        if name in self._metrics_ports:
            ports["metrics"] = self._metrics_ports[name]
            variables["METRICS_LISTEN"] = f"{HOST}:{ports['metrics']}"
        env = {f"{prefix}_{key}": value for key, value in variables.items()}
        # One arena per thread would double what the services hold.
        env |= {"OMP_NUM_THREADS": threads, "MALLOC_ARENA_MAX": "2", "PYTHONUNBUFFERED": "1"}
        # Threads that wait by spinning take the core from the one they wait for: beside other programs a training step
        # then costs ten times as much. Sleeping costs nothing that can be measured.
        env |= {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}
        return ServerSpec(
            name=name,
            argv=(sys.executable, "-P", "-m", module),
            env=env,
            ready=port_file.exists,
            ports=ports,
            data_dir=self._folder.sub(name if name != "authz" else "gateway"),
            stop_timeout_s=stop_timeout_s,
            leftovers=(port_file,),
        )

    def _inside(self, name: str) -> dict[str, str]:
        """The token of a process and its callers, in files: one may be replaced while the stack runs."""
        holder = {"authz": "gateway"}.get(name, name.partition("-")[0])
        found = {}
        if holder in inside.HOLDERS:
            found["INTERNAL_TOKEN_FILE"] = str(inside.token_file(self._credentials_folder, holder))
        if name in inside.MAY_CALL:
            found["CALLERS_FILE"] = str(inside.callers_file(self._credentials_folder, name))
        return found

    def _traces(self) -> dict[str, str]:
        given = self._settings
        return {"OTLP_ENDPOINT": given.otlp_endpoint, "TRACE_SHARE": str(given.trace_share)}

    def _s3_variables(self) -> dict[str, str]:
        chosen = self._s3_keys(self._credentials)
        return {
            "S3_ENDPOINT": self._s3,
            "S3_ACCESS_KEY": chosen[0],
            "S3_SECRET_KEY": chosen[1],
            "S3_SECURE": str(self._settings.s3_secure).lower(),
            "S3_BUCKET": self._settings.s3_bucket,
        }

    def _nats_variables(self) -> dict[str, str]:
        given, user, password = self._settings, event_accounts.SERVICES_USER, self._credentials.nats_password
        if given.nats_url:
            user, password = given.nats_user, given.nats_password.get_secret_value()
        return {"NATS_URL": self._nats, "NATS_USER": user, "NATS_PASSWORD": password}

    def _s3_keys(self, made: Credentials) -> tuple[str, str]:
        given = self._settings
        if given.s3_endpoint:
            return given.s3_access_key, given.s3_secret_key.get_secret_value()
        return made.s3_access_key, made.s3_secret_key

    def _catalogue(self) -> dict[str, str]:
        own = self._folder.catalogue
        chosen = self._settings.catalogue or (str(own) if own.is_file() else "")
        return {"CATALOGUE": str(Path(chosen).absolute())} if chosen else {}

    def _database(self, service: str) -> str:
        if self._settings.database_url:
            return self._settings.database_url.replace("{service}", service)
        return f"sqlite+aiosqlite:///{self._folder.sub(service) / (service + '.db')}"

    def _target(self, name: str) -> str:
        return f"{HOST}:{self._ports[name]}"


def _public_door() -> str:
    """The default port if it is free, any other one if not."""
    port = int(DEFAULT_LISTEN.rpartition(":")[2])
    return DEFAULT_LISTEN if port_is_free(port) else f"{HOST}:{servers.free_ports(1)[0]}"
