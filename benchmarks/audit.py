"""What the audit costs: processor time of a small call that looks and one that changes, with and without records.

    python -m benchmarks.audit [--calls 300] [--rounds 7]

Server, client and database (SQLite) share this process, so the difference between the two is what counts. Rounds of
both kinds alternate, and the fastest of each is taken: what else runs on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from fiveshot.registry.v1 import model_pb2
from fiveshot.registry.v1 import registry_service_pb2 as pb
from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from google.protobuf.field_mask_pb2 import FieldMask

from services.chassis import logging, service
from services.chassis.grpc_client import channel
from services.registry.app import build
from services.registry.settings import Settings

_CALLER = (
    ("x-fiveshot-projects", "pets"),
    ("x-fiveshot-principal", "key:backend"),
    ("x-fiveshot-role", "editor"),
    ("x-fiveshot-address", "192.0.2.7"),
    ("x-request-id", "one-of-many"),
)
_NAME = "projects/pets/models/rex"


async def measure(folder: Path, *, audited: bool, calls: int) -> dict[str, tuple[float, float]]:
    """CPU and wall-clock milliseconds of a call of each kind."""
    settings = Settings(database_url=f"sqlite+aiosqlite:///{folder}/registry.db")
    built = build(settings)
    # No call here needs the object store.
    only_sql = replace(built, needs=built.needs[:1], audit=built.audit if audited else None)
    async with service.serving(settings, only_sql) as server, channel(server.target) as connection:
        stub = RegistryServiceStub(connection)
        given = pb.CreateModelRequest(parent="projects/pets", model_id="rex", model=model_pb2.Model())
        await stub.CreateModel(given, metadata=_CALLER)
        changed = pb.UpdateModelRequest(
            model=model_pb2.Model(name=_NAME, description="words"), update_mask=FieldMask(paths=["description"])
        )
        return {
            "looks": await _timed(lambda: stub.GetModel(pb.GetModelRequest(name=_NAME), metadata=_CALLER), calls),
            "changes": await _timed(lambda: stub.UpdateModel(changed, metadata=_CALLER), calls),
        }


async def _timed(call: Callable[[], Awaitable[object]], calls: int) -> tuple[float, float]:
    for _ in range(20):
        await call()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(calls):
        await call()
    return (time.process_time() - cpu) * 1e3 / calls, (time.perf_counter() - wall) * 1e3 / calls


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description="What the audit costs.")
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    logging.errors_only()
    found: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for _ in range(given.rounds):
        for audited in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                measured = asyncio.run(measure(Path(folder), audited=audited, calls=given.calls))
            for kind, times in measured.items():
                found.setdefault((kind, audited), []).append(times)
    print("| a call that | audited | CPU, ms | wall clock, ms |\n| --- | --- | --- | --- |")
    for (kind, audited), rounds in sorted(found.items()):
        cpu, wall = (min(each[number] for each in rounds) for number in (0, 1))
        print(f"| {kind} | {'yes' if audited else 'no'} | {cpu:.2f} | {wall:.2f} |")


if __name__ == "__main__":
    main()
