"""Starts a GPU worker: `python -m services.trainer.worker.app`, settings from `WORKER_…`.

It asks the trainer for a job, works on it, and asks again. On SIGTERM it gives the job back at the next step, so that
another worker goes on from the last finished epoch.
"""

from __future__ import annotations

import asyncio
import importlib
import sys

import grpc

from services.chassis import grpc_server, logging, telemetry
from services.chassis.settings import load
from services.trainer.recipe.catalogue import InvalidCatalogue, load_catalogue
from services.trainer.worker.settings import WorkerSettings

RUNNER = "services.trainer.worker.runner"


def _serves_nothing(_server: grpc.aio.Server) -> None:
    """A worker answers only health and reflection, which the frame adds."""


async def _serve() -> int:
    settings = load(WorkerSettings)
    logging.configure(settings, service="worker")
    tracing = telemetry.configure(settings, service="worker")
    try:
        catalogue = load_catalogue(settings.catalogue)
    except InvalidCatalogue as error:
        print(f"WORKER_CATALOGUE: {error}", file=sys.stderr)
        return 2

    async def work() -> None:
        # torch and its libraries take seconds to import; the process answers its probes meanwhile.
        runner = await asyncio.to_thread(importlib.import_module, RUNNER)
        await runner.Worker(settings, catalogue).run()

    code = await grpc_server.serve(settings, _serves_nothing, service_names=(), background=(work,))
    if tracing is not None:
        tracing.shutdown()
    return code


def main() -> None:
    """Runs the process until SIGTERM or SIGINT."""
    grpc_server.run(_serve)


if __name__ == "__main__":
    main()
